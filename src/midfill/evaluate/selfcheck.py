"""The judge is judged first: reference answers must pass on this machine, and broken ones fail.

A machine that lacks a package, or a sandbox that forbids too much, fails right answers and would
print a low score of the model; one that runs nothing passes wrong ones. Neither prints a score.
"""

import ast
import copy
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future

from midfill.errors import SandboxError
from midfill.evaluate.benchmarks.common import parsed
from midfill.evaluate.judging import PARSING, Judge
from midfill.evaluate.mutants import mutants
from midfill.evaluate.result import Judged, SelfCheck
from midfill.evaluate.task import Benchmark, Score, Task

MUTATED = 25  # tasks, spread evenly, whose reference is broken in several ways
MUTANTS = 2  # of each, besides those that cannot be right
MUTANT_CPU_S = 2.0  # enough to fail in; a loop that never ends is run twice, up to the limit
UNKNOWN = 5  # tasks without a reference that are given nonsense
PASS_SHARE = 0.99
KILL_SHARE = 0.8  # one mutant in ten is no wrong program, or the tests do not see that it is
NONSENSE = ")("  # a syntax error everywhere
NO_ANSWER = "7919/6353"  # a number that no problem has for an answer
EXIT = "import os, sys\nos._exit(0)\n"
_NAMED = 5  # tasks that an error names


def self_check(
    benchmark: Benchmark,
    tasks: Sequence[Task],
    judge: Judge,
    told: Callable[[int, int], None] | None = None,
) -> SelfCheck:
    """What the judge says of references and of broken ones. Raises SandboxError where it fails."""
    with PARSING:
        references = {task.task_id: benchmark.canonical(task) for task in tasks}
    with_one = [task for task in tasks if references[task.task_id] is not None]
    canonical = {
        task.task_id: judge.begin_extracted(task, references[task.task_id] or "")
        for task in with_one
    }
    changed = {
        f"{task.task_id}: {how}": judge.begin_extracted(task, text, most_cpu_s=MUTANT_CPU_S)
        for task in _spread(with_one, MUTATED)
        for how, text in broken(benchmark, task, references[task.task_id] or "").items()
    }
    for task in _spread([t for t in tasks if references[t.task_id] is None], UNKNOWN):
        changed[f"{task.task_id}: nonsense"] = judge.begin_extracted(task, NONSENSE)
    verdicts = _gathered(
        {**{("", k): v for k, v in canonical.items()}, **{("m", k): v for k, v in changed.items()}},
        told,
    )
    found = _summary(
        {name: verdicts["", name] for name in canonical},
        {name: verdicts["m", name] for name in changed},
    )
    _refuse(benchmark, found)
    return found


def _spread(tasks: Sequence[Task], most: int) -> list[Task]:
    """At most so many, evenly from the whole."""
    step = max(len(tasks) / most, 1)
    return [tasks[int(i * step)] for i in range(min(len(tasks), most))]


def broken(benchmark: Benchmark, task: Task, reference: str) -> dict[str, str]:
    """Broken versions of a reference answer, by what is broken."""
    with PARSING:
        return _broken(benchmark, task, reference)


def _broken(benchmark: Benchmark, task: Task, reference: str) -> dict[str, str]:
    if isinstance(benchmark.program(task, reference), Score):
        return {"another answer": NO_ANSWER}
    if task.prompt.suffix is not None or task.language != "python":
        return {"nonsense": NONSENSE}
    if parsed(reference.strip(), "eval"):
        return {"in brackets": f"[{reference}]"}
    tree = parsed(reference)
    if tree is None:
        return {"nonsense": NONSENSE}
    found = {"ends early": EXIT + reference, "returns nothing": _no_returns(tree)}
    for mutant in mutants(reference, most=MUTANTS):
        found[f"{mutant.kind} in line {mutant.line}"] = mutant.code
    return {how: text for how, text in found.items() if text}


def _no_returns(tree: ast.AST) -> str:
    """The program with every value that is returned left out; nothing where it returns none."""
    changed = copy.deepcopy(tree)
    returns = [node for node in ast.walk(changed) if isinstance(node, ast.Return) and node.value]
    for node in returns:
        node.value = None
    return ast.unparse(changed) if returns else ""


def _gathered(
    futures: Mapping[tuple[str, str], Future[Judged]], told: Callable[[int, int], None] | None
) -> dict[tuple[str, str], Judged]:
    verdicts = {}
    for number, (name, future) in enumerate(futures.items(), 1):
        verdicts[name] = future.result()
        if told:
            told(number, len(futures))
    return verdicts


def _summary(canonical: Mapping[str, Judged], broken: Mapping[str, Judged]) -> SelfCheck:
    survivors = {name: _why(one) for name, one in broken.items() if one.value in (1, None)}
    failing = {name: _why(one) for name, one in canonical.items() if one.value != 1}
    return SelfCheck(
        canonical=len(canonical),
        canonical_passed=len(canonical) - len(failing),
        failing=failing,
        mutants=len(broken),
        mutants_killed=len(broken) - len(survivors),
        survivors=survivors,
        note="" if canonical else "the data holds no reference answers",
    )


def _why(judged: Judged) -> str:
    if judged.value == 1:
        return "the tests do not notice it"
    return f"{judged.status}: {judged.detail}".removesuffix(": ")[:500]


def _refuse(benchmark: Benchmark, found: SelfCheck) -> None:
    """Raise SandboxError where the judge cannot be trusted.

    One failure is let pass in any number: of few tasks one is more than the allowed share.
    """
    known: Mapping[str, str] = getattr(benchmark, "known_failures", {})
    unexplained = [name for name in found.failing if name not in known]
    allowed = max(1, (1 - PASS_SHARE) * found.canonical)
    if found.canonical and (len(unexplained) > allowed or not found.canonical_passed):
        raise _refusal(
            f"{len(unexplained)} of {found.canonical} reference answers of {benchmark.name} fail here",
            found.failing,
        )
    if len(found.survivors) > max(1, (1 - KILL_SHARE) * found.mutants):
        raise _refusal(
            f"{len(found.survivors)} of {found.mutants} broken answers to {benchmark.name} pass here",
            found.survivors,
        )


def _refusal(what: str, cases: Mapping[str, str]) -> SandboxError:
    shown = "; ".join(f"{name}: {_first(why)}" for name, why in list(cases.items())[:_NAMED])
    return SandboxError(
        f"no score: {what}",
        why=shown + "; ..." * (len(cases) > _NAMED),
        fix="midfill doctor tells what this machine lacks; a score under this judge would mean nothing",
    )


def _first(text: str) -> str:
    return next(iter(text.splitlines()), "")[:120]
