"""What else a benchmark asks of the same model: a second try, and the tasks in another way.

Both are optional methods of a benchmark. `retry(task, completion, judged)` is the task as it is put
again after an answer that failed, as Aider does; `arms(task)` are other prompts for the same task,
whose scores stand beside the score: holes filled without what follows them.
"""

from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from typing import Any

from midfill.evaluate.asking import Run, Stage, Told
from midfill.evaluate.records import Key, Samples
from midfill.evaluate.result import Baseline, Judged
from midfill.evaluate.source import AnswerSource
from midfill.evaluate.task import Task

FIRST_TRY = "first try"  # the measure that holds the score before the second one
KEPT = "also-asked-{name}.jsonl"  # beside the samples
UNKNOWN = Judged(code="", value=None, status="infra")


def second_tries(
    run: Run, source: AnswerSource, folder: Path | None, facts: Mapping[str, Any]
) -> None:
    """Put every task again whose answer failed under the default rule; `run` then has both tries.

    The score becomes that of two tries, and that of the first stands beside it.
    """
    retry = getattr(run.judge.benchmark, "retry", None)
    if retry is None:
        return
    for number in range(run.decoding.samples):
        again = _again(run, number, retry)
        # A second try is known again by what it mends: what the tests say may hold an address.
        first = [_with_answer(run, task.task_id, number) for task in again]
        name, facts = f"second-try-{number}", {**facts, "try": 2}
        found = _asked(run, source, again, folder, facts, name, kept_as=first)
        for task in run.tasks:
            _merge(run, (task.task_id, number), found)


def _with_answer(run: Run, task_id: str, number: int) -> Task:
    task = next(task for task in run.tasks if task.task_id == task_id)
    start = run.answers[task_id, number].text
    return replace(task, prompt=replace(task.prompt, answer_start=start))


def _again(run: Run, number: int, retry: Callable[..., Task]) -> list[Task]:
    """The tasks whose answer of this number failed, as they are put again."""
    again = []
    for task in run.tasks:
        key = (task.task_id, number)
        judged = run.judged[key].get(run.rules[0])
        if judged is not None and judged.value is not None and judged.value < 1:
            again.append(retry(task, run.answers[key].text, judged))
    return again


def _asked(
    run: Run,
    source: AnswerSource,
    tasks: Sequence[Task],
    folder: Path | None,
    facts: Mapping[str, Any],
    name: str,
    rules: tuple[str, ...] | None = None,
    kept_as: Sequence[Task] | None = None,
) -> Run:
    """One answer to each of the tasks, judged; kept in a file, by the prompts of `kept_as`."""
    one = replace(run.decoding, samples=1)
    found = Run(tasks, rules or run.rules, one, run.judge, _named(run.told, name))
    with ExitStack() as stack:
        samples = None
        if folder is not None and tasks:
            path = folder / KEPT.format(name=name)
            samples = stack.enter_context(Samples(path, facts, kept_as or tasks))
        found.ask(source, samples)
        found.finish()
    return found


def _named(told: Told, name: str) -> Told:
    def tell(stage: Stage) -> None:
        told(replace(stage, doing=name.replace("-", " ")))

    return tell


def _merge(run: Run, key: Key, second: Run) -> None:
    """Both tries as one answer: passed if either is."""
    again = second.judged.get((key[0], 0))
    answer = second.answers.get((key[0], 0))
    if answer is not None and again is not None:
        before = run.answers[key]
        run.answers[key] = replace(
            answer,
            tokens=_sum(before.tokens, answer.tokens),
            seconds=_sum(before.seconds, answer.seconds),
        )
        run.earlier[key] = (before.text,)
    run.judged[key] = {
        rule: _better(first, None if again is None else again.get(rule, UNKNOWN))
        for rule, first in run.judged[key].items()
    }


def _better(first: Judged, second: Judged | None) -> Judged:
    """The try that counts; a measure of form counts where both tries have it."""
    passed = first.value == 1
    also = {FIRST_TRY: first.value or 0.0}
    if passed or second is None:
        return replace(first, also={**first.also, **also})
    least = {name: min(first.also.get(name, 1.0), share) for name, share in second.also.items()}
    return replace(second, also={**least, **also})


def _sum(one: Any, other: Any) -> Any:
    return None if one is None or other is None else one + other


def arms(
    run: Run, source: AnswerSource, folder: Path | None, facts: Mapping[str, Any]
) -> list[Baseline]:
    """What the same model scores where the same tasks are put to it in other ways."""
    prompts = getattr(run.judge.benchmark, "arms", None)
    if prompts is None:
        return []
    tasks: dict[str, list[Task]] = {}
    for task in run.tasks:
        for name, prompt in prompts(task).items():
            tasks.setdefault(name, []).append(replace(task, prompt=prompt))
    found = []
    for name, asked in tasks.items():
        plain = name.replace(" ", "-")
        arm = _asked(run, source, asked, folder, {**facts, "arm": name}, plain, run.rules[:1])
        judged = [arm.judged[task.task_id, 0].get(run.rules[0], UNKNOWN) for task in asked]
        groups = [str(task.row.get("group", "")) for task in asked]
        found.append(baseline(f"the model itself, {name}", judged, groups, own=True))
    return found


def baseline(
    name: str, judged: Sequence[Judged], groups: Sequence[str], *, own: bool = False
) -> Baseline:
    """The score of some answers, and of each group that they are of; "" is none.

    What is not known of them counts as not passed.
    """
    values = [one.value or 0.0 for one in judged]
    names = dict.fromkeys(measure for one in judged for measure in one.also)
    parts: dict[str, list[float]] = {}
    for group, value in zip(groups, values, strict=True):
        if group:
            parts.setdefault(group, []).append(value)
    return Baseline(
        name=name,
        value=sum(values) / len(values),
        n=len(values),
        passed=sum(value == 1 for value in values),
        also={m: sum(one.also.get(m, 0.0) for one in judged) / len(judged) for m in names},
        unknown=sum(one.value is None for one in judged),
        own=own,
        groups={group: (sum(of) / len(of), len(of)) for group, of in parts.items()},
    )
