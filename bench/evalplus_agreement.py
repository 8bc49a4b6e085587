"""Whether EvalPlus's own evaluator and midfill agree on every sample of HumanEval+ or MBPP+.

    python bench/evalplus_agreement.py SAMPLES.jsonl --peers PEERS/bin/python --set humaneval+
    python bench/evalplus_agreement.py --made 2 --peers PEERS/bin/python --set mbpp+

SAMPLES holds EvalPlus's own lines ({"task_id", "solution"}) or those of a run of midfill's, from
whose completions `--rule` takes the program; both evaluators then get the same program. Without it
samples are made: the reference, `--made` mutants of it, and programs that are wrong on purpose.
Compared are "base" (the inputs that EvalPlus took from the original tests) and "plus" (those and its
own). EvalPlus runs as it is; it is told where its data lies by HUMANEVAL_OVERRIDE_PATH and
MBPP_OVERRIDE_PATH, and wants an answer to every task: tasks without one get a stub that is not
compared. Samples on which the two differ are given to both once more, EvalPlus with one worker, since
its limits are of the clock. Needs EvalPlus's own files under MIDFILL_DATA.
"""

import argparse
import json
from collections import Counter, defaultdict
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import machine
import peers
from sandbox_speed import full_rows, judge_all

from midfill.errors import ConfigError, UserError
from midfill.evaluate.benchmarks import benchmark
from midfill.evaluate.mutants import mutants
from midfill.evaluate.task import Benchmark, Program, Task
from midfill.sandbox import Sandbox

FILES = {"humaneval+": "HumanEvalPlus", "mbpp+": "MbppPlus"}
OVERRIDES = {"humaneval+": "HUMANEVAL_OVERRIDE_PATH", "mbpp+": "MBPP_OVERRIDE_PATH"}
STUB = "# no answer\n"  # passes nothing, at once
KINDS = ("base", "plus")


@dataclass(frozen=True, slots=True, kw_only=True)
class Sample:
    """A program that answers a task."""

    task: Task
    name: str
    code: str


def read(path: Path, one: Benchmark, rule: str | None) -> list[Sample]:
    """The programs of a samples file. Raises ConfigError for tasks that the set does not have."""
    tasks = {task.task_id: task for task in one.tasks("instruct")}
    found = []
    for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1):
        row = json.loads(line)
        task = tasks.get(row["task_id"])
        if task is None:
            raise ConfigError(
                f"line {number} of {path} answers {row['task_id']}",
                why=f"{one.name} has no such task",
                fix="give the samples' own set with --set",
            )
        code = row.get("solution")
        if code is None:
            code = one.extract(task, row["completion"], rule or one.rules[0])
        found.append(Sample(task=task, name=f"line {number}", code=code))
    return found


def make(one: Benchmark, most: int, limit: int | None) -> list[Sample]:
    """References, mutants of them, and programs that are wrong in other ways."""
    found = []
    for task in one.tasks("instruct")[:limit]:
        canonical = one.canonical(task) or ""
        codes = {"reference": canonical}
        entry_point = one.program(task, canonical).entry_point  # type: ignore[union-attr]
        for number, mutant in enumerate(mutants(canonical, entry_point, most)):
            codes[f"{mutant.kind} in line {mutant.line}, number {number}"] = mutant.code
        codes["returns None"] = f"def {entry_point}(*given, **named):\n    return None\n"
        codes["raises"] = f"def {entry_point}(*given, **named):\n    raise SystemExit(0)\n"
        codes["does not parse"] = f"def {entry_point}(:\n"
        found += [Sample(task=task, name=name, code=code) for name, code in codes.items()]
    return found


def ours(
    one: Benchmark, samples: list[Sample], sandbox: Sandbox, inputs: dict[str, int]
) -> list[dict[str, str]]:
    """Our verdicts on all inputs, and on the first of them, which are EvalPlus's base."""
    programs = [one.program(sample.task, sample.code) for sample in samples]
    whole = [program for program in programs if isinstance(program, Program)]
    plus = judge_all(sandbox, whole, sandbox.workers)
    failed = [i for i, verdict in enumerate(plus) if not verdict.passed]
    parts = [first(whole[i], inputs[samples[i].task.task_id]) for i in failed]
    base = dict(zip(failed, judge_all(sandbox, parts, sandbox.workers), strict=True))
    return [
        {
            "base": base[i].status if i in base else "pass",
            "plus": verdict.status,
            "detail": verdict.detail,
        }
        for i, verdict in enumerate(plus)
    ]


def first(program: Program, inputs: int) -> Program:
    """The same program against the first inputs only."""
    loop = "enumerate(inputs)"
    assert program.tests.count(loop) == 1, "the tests have another form"
    return replace(program, tests=program.tests.replace(loop, f"enumerate(inputs[:{inputs}])"))


def theirs(
    one: Benchmark, samples: list[Sample], given: argparse.Namespace, workers: int
) -> list[dict[str, str]]:
    """EvalPlus's verdicts, in the order of the samples; "plus" needs both of its parts to pass."""
    answered = {sample.task.task_id for sample in samples}
    lines = [{"task_id": each.task.task_id, "solution": each.code} for each in samples]
    lines += [
        {"task_id": task.task_id, "solution": STUB}
        for task in one.tasks("instruct")
        if task.task_id not in answered
    ]
    request = {
        "dataset": one.name.removesuffix("+"),
        "samples": lines,
        "workers": workers,
        "min_time_limit": given.min_time_limit,
    }
    where = {OVERRIDES[one.name]: str(peers.evalplus_file(FILES[one.name]))}
    found = peers.ask(given.peers, "evaluate-evalplus", request, **where)
    numbers: dict[str, int] = defaultdict(int)
    verdicts = []
    for sample in samples:
        name = sample.task.task_id
        row = found[name][numbers[name]]
        numbers[name] += 1
        both = row["base_status"] if row["base_status"] != "pass" else row["plus_status"]
        verdicts.append({"base": row["base_status"], "plus": both})
    return verdicts


def agree(mine: dict[str, str], other: dict[str, str]) -> bool:
    """Whether two verdicts are the same in pass or not, for base and for plus."""
    return all((mine[kind] == "pass") == (other[kind] == "pass") for kind in KINDS)


def compare(given: argparse.Namespace) -> dict[str, Any]:
    """All verdicts, and the samples on which they differ."""
    one = benchmark(given.set)
    samples = (
        read(given.samples, one, given.rule)
        if given.samples
        else make(one, given.made, given.limit)
    )
    inputs = {name: len(row["base_input"]) for name, row in full_rows(FILES[one.name]).items()}
    with Sandbox(given.workers, level=given.level) as sandbox:
        mine = ours(one, samples, sandbox, inputs)
        other = theirs(one, samples, given, given.workers)
        differ = [i for i in range(len(samples)) if not agree(mine[i], other[i])]
        chosen = [samples[i] for i in differ]
        mine_again = ours(one, chosen, sandbox, inputs) if chosen else []
        other_again = theirs(one, chosen, given, 1) if chosen else []
        level = sandbox.level
    rows = [
        {
            "task": samples[i].task.task_id,
            "sample": samples[i].name,
            "ours": {kind: mine[i][kind] for kind in KINDS},
            "evalplus": other[i],
            "ours again": {kind: again[kind] for kind in KINDS},
            "evalplus again": later,
            "differs_again": not agree(again, later),
            "detail": mine[i]["detail"],
        }
        for i, again, later in zip(differ, mine_again, other_again, strict=True)
    ]
    return {
        "set": one.name,
        "level": level,
        "samples": len(samples),
        "ours": {kind: dict(Counter(row[kind] for row in mine)) for kind in KINDS},
        "evalplus": {kind: dict(Counter(row[kind] for row in other)) for kind in KINDS},
        "differences": rows,
    }


def main() -> None:
    """Print every difference, then the totals."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("samples", nargs="?", type=Path)
    parser.add_argument("--peers", required=True, help="the Python of an environment with evalplus")
    parser.add_argument("--set", choices=tuple(FILES), default="humaneval+")
    parser.add_argument("--rule", help="extraction rule for completions; default: midfill's own")
    parser.add_argument("--made", type=int, default=2, help="mutants of each reference, at most")
    parser.add_argument("--limit", type=int, help="make samples for the first tasks only")
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--level", choices=("A", "B", "C-strict", "C"))
    parser.add_argument("--min-time-limit", type=float, default=4.0, help="EvalPlus's, in seconds")
    parser.add_argument("--json", action="store_true")
    given = parser.parse_args()
    try:
        found = compare(given)
    except UserError as error:
        raise SystemExit(str(error)) from None
    if given.json:
        print(json.dumps(machine.describe() | found))
        return
    for row in found["differences"]:
        print("; ".join(f"{key}: {value}" for key, value in row.items()))
    lasting = sum(row["differs_again"] for row in found["differences"])
    print(
        f"{found['set']}: {found['samples']} samples at level {found['level']}; ours "
        f"{found['ours']}, EvalPlus {found['evalplus']}; {len(found['differences'])} differ, "
        f"{lasting} of them again when run alone"
    )


if __name__ == "__main__":
    main()
