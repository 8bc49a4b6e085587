"""Answers on their way from a source to verdicts: what is asked, what is kept, what is judged.

Judging goes on while the model writes, and whoever runs it is told how far both are.
"""

from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, wait
from dataclasses import dataclass
from time import monotonic
from typing import Any

from midfill.evaluate.judging import Judge
from midfill.evaluate.records import Key, Samples
from midfill.evaluate.result import Decoding, Judged, SampleResult, TaskResult
from midfill.evaluate.source import Answer, AnswerSource, Question, seed_of
from midfill.evaluate.statistics import wilson
from midfill.evaluate.task import Prompt, Task

HOLE = "<HOLE>"


@dataclass(frozen=True, slots=True, kw_only=True)
class Stage:
    """How far a run is; `answers` counts those that were kept from an earlier run too."""

    doing: str  # "checking the judge", "answering", "judging", "baselines", ...
    done: int
    of: int
    judged: int = 0
    passed: int = 0
    tokens: int = 0  # written in this run
    seconds: float = 0.0  # of this stage

    @property
    def running(self) -> str:
        """The score so far with its interval, as text; empty as long as there is none."""
        if not self.judged:
            return ""
        span = wilson(self.passed, self.judged)
        share = 100 * self.passed / self.judged
        return f"{share:.1f} % ({100 * span.low:.1f} to {100 * span.high:.1f})"


Told = Callable[[Stage], None]  # who is told how far a run is


class Run:
    """Answers on their way to verdicts."""

    def __init__(
        self,
        tasks: Sequence[Task],
        rules: tuple[str, ...],
        decoding: Decoding,
        judge: Judge,
        told: Told,
    ) -> None:
        self.tasks, self.rules, self.decoding = tasks, rules, decoding
        self.judge, self.told = judge, told
        self.answers: dict[Key, Answer] = {}
        self.judged: dict[Key, Mapping[str, Judged]] = {}
        self.earlier: dict[Key, tuple[str, ...]] = {}  # answers before a later try
        self.pending: dict[Future[dict[str, Judged]], Key] = {}
        self.began = monotonic()
        self.tokens = self.known = self.passed = 0
        self._tasks = {task.task_id: task for task in tasks}

    @property
    def wanted(self) -> list[Key]:
        """Every answer of the run: first one for each task, then the second ones."""
        return [(t.task_id, i) for i in range(self.decoding.samples) for t in self.tasks]

    def take(self, task_id: str, sample: int, answer: Answer) -> None:
        """Have an answer judged."""
        self.answers[task_id, sample] = answer
        if answer.problem:
            self.judged[task_id, sample] = {}
            return
        future = self.judge.begin(self._tasks[task_id], answer.text, self.rules)
        self.pending[future] = (task_id, sample)

    def ask(self, source: AnswerSource, samples: Samples | None) -> None:
        """Take the answers that are kept, and ask for the others."""
        kept = {} if samples is None else samples.kept
        for task_id, sample in self.wanted:
            if (task_id, sample) in kept:
                self.take(task_id, sample, kept[task_id, sample])
        missing = [key for key in self.wanted if key not in self.answers]
        greedy = self.decoding.temperature == 0
        seeds = [None if greedy else seed_of(self.decoding.seed, *key) for key in missing]
        questions = [
            Question(prompt=self._tasks[key[0]].prompt, seed=seed)
            for key, seed in zip(missing, seeds, strict=True)
        ]
        self.tell()
        for number, answer in source.answers(questions, self.decoding):
            if samples is not None:
                samples.add(*missing[number], answer, seeds[number])
            self.tokens += answer.tokens or 0
            self.take(*missing[number], answer)
            self.collect()

    def collect(self, *, block: bool = False) -> None:
        """Take the verdicts that are there, with `block` at least one. Raises what judging raised."""
        done = [future for future in self.pending if future.done()]
        if block and not done:
            done = list(wait(self.pending, return_when=FIRST_COMPLETED).done)
        for future in done:
            rules = self.judged[self.pending.pop(future)] = future.result()
            value = rules[self.rules[0]].value
            self.known += value is not None
            self.passed += value == 1
        self.tell()

    def finish(self) -> None:
        """Wait for every verdict."""
        self.tell()
        while self.pending:
            self.collect(block=True)

    def tell(self) -> None:
        """Say how far it is, under the default rule."""
        self.told(
            Stage(
                doing="answering" if len(self.answers) < len(self.wanted) else "judging",
                done=len(self.answers),
                of=len(self.wanted),
                judged=self.known,
                passed=self.passed,
                tokens=self.tokens,
                seconds=monotonic() - self.began,
            )
        )

    def results(self) -> tuple[TaskResult, ...]:
        """All tasks with their answers."""
        numbers = by_task(self.answers)
        return tuple(
            TaskResult(
                task_id=task.task_id,
                samples=tuple(
                    self._sample((task.task_id, i)) for i in sorted(numbers.get(task.task_id, ()))
                ),
                language=task.language,
                prompt=shown_prompt(task.prompt),
                place=_numbers(task.row.get("place")),
                group=str(task.row.get("group", "")),
            )
            for task in self.tasks
        )

    def _sample(self, key: Key) -> SampleResult:
        answer = self.answers[key]
        return SampleResult(
            completion=answer.text,
            rules=self.judged[key],
            tokens=answer.tokens,
            finish=answer.finish or None,
            seconds=answer.seconds,
            problem=answer.problem,
            earlier=self.earlier.get(key, ()),
        )


def _numbers(place: Any) -> dict[str, float]:
    return {str(k): float(v) for k, v in place.items()} if isinstance(place, Mapping) else {}


def by_task(keys: Mapping[Key, Any]) -> dict[str, list[int]]:
    """The numbers of the answers to each task."""
    found: dict[str, list[int]] = {}
    for task_id, sample in keys:
        found.setdefault(task_id, []).append(sample)
    return found


def shown_prompt(prompt: Prompt) -> str:
    """A prompt for a reader."""
    if prompt.messages is not None:
        turns = [f"[{turn['role']}]\n{turn['content']}" for turn in prompt.messages]
        turns += [f"[assistant]\n{prompt.answer_start}"] * bool(prompt.answer_start)
        return "\n\n".join(turns)
    if prompt.suffix is not None:
        return f"{prompt.prefix or ''}{prompt.answer_start}{HOLE}{prompt.suffix}"
    return (prompt.text or "") + prompt.answer_start
