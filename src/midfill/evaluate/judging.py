"""Answers to scores: what a rule takes from an answer, run once, in as many threads as workers.

A hostile answer must not end a run: whatever it makes our own code do is a failure of ours, of the
kind `infra`, and never a wrong answer. Such a failure of the machine is tried again first.
"""

import threading
from collections.abc import Mapping
from concurrent.futures import CancelledError, Future, ThreadPoolExecutor
from dataclasses import replace
from functools import partial
from types import TracebackType
from typing import Any, Self

from midfill.errors import ResourceError, UserError
from midfill.evaluate.benchmarks.common import parsed
from midfill.evaluate.result import Judged
from midfill.evaluate.task import Benchmark, Program, Score, Task
from midfill.evaluate.verdicts import Verdicts, cut, key_of
from midfill.evaluate.work import Work, judge_work
from midfill.hub.datasets import datasets
from midfill.sandbox import Sandbox
from midfill.sandbox.languages import available
from midfill.sandbox.verdict import Level, Limits

TRIES = 3  # of work that the machine failed
# CPython 3.11 counts the depth of the syntax trees of all threads together, and raises SystemError
# where two are made at once; catch_warnings, too, is for one thread.
PARSING = threading.RLock()
AS_IS = "as-is"  # the rule for programs that somebody else has extracted


class Judge:
    """Scores answers to one benchmark. The sandbox is made when the first program comes."""

    def __init__(
        self,
        benchmark: Benchmark,
        verdicts: Verdicts,
        *,
        workers: int | None = None,
        level: Level | None = None,
        minimum: Level = "C",
    ) -> None:
        self.benchmark, self.verdicts = benchmark, verdicts
        self._make_sandbox = partial(Sandbox, workers, level=level, minimum=minimum)
        self._sandbox: Sandbox | None = None
        self._lock = threading.Lock()
        self._scores: dict[bytes, Future[Score]] = {}
        self._threads: ThreadPoolExecutor | None = None
        self._workers = workers
        self._known_data = any(file.content == benchmark.version for file in datasets())
        self._closing = False
        self.limits: Limits | None = None  # the largest that a program was given
        self.languages: set[str] = set()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._closing = True
        if self._threads is not None:
            self._threads.shutdown(wait=True, cancel_futures=True)
        if self._sandbox is not None:
            self._sandbox.close()

    @property
    def level(self) -> str:
        """Of isolation; "-" as long as nothing had to be run."""
        return "-" if self._sandbox is None else self._sandbox.level

    @property
    def sandbox(self) -> Sandbox:
        """Where programs are run. Raises SandboxError where they cannot be run safely."""
        with self._lock:
            if self._sandbox is None:
                self._sandbox = self._make_sandbox()
            return self._sandbox

    def begin(
        self, task: Task, completion: str, rules: tuple[str, ...]
    ) -> Future[dict[str, Judged]]:
        """Score an answer under each rule, in a thread."""
        return self._submit(self._under_rules, task, completion, rules)

    def begin_extracted(
        self, task: Task, extracted: str, *, most_cpu_s: float | None = None
    ) -> Future[Judged]:
        """Score what a rule would have given, in a thread; a program within less time, if so told."""
        return self._submit(self._extracted, task, extracted, extracted, most_cpu_s)

    def _submit(self, work: Any, *arguments: Any) -> Future[Any]:
        if self._threads is None:
            from midfill.engine.threads import cores

            self._threads = ThreadPoolExecutor(self._workers or cores(), "judge")
        return self._threads.submit(work, *arguments)

    def _under_rules(
        self, task: Task, completion: str, rules: tuple[str, ...]
    ) -> dict[str, Judged]:
        judged = {}
        for rule in rules:
            if self._closing:  # the run was ended: nobody waits for the rest
                raise CancelledError
            judged[rule] = self._under(task, completion, rule)
        return judged

    def _under(self, task: Task, completion: str, rule: str) -> Judged:
        try:
            with PARSING:
                extracted = self._take(task, completion, rule)
        except Exception as failure:  # the border to an answer that nobody vouches for
            return _failed(f"extraction failed: {type(failure).__name__}: {failure}")
        return self._extracted(task, extracted, completion)

    def _take(self, task: Task, completion: str, rule: str) -> str:
        return completion if rule == AS_IS else self.benchmark.extract(task, completion, rule)

    def _extracted(
        self, task: Task, extracted: str, completion: str, most_cpu_s: float | None = None
    ) -> Judged:
        try:
            with PARSING:
                work = _hurried(self.benchmark.program(task, extracted), most_cpu_s)
                more = self._measures(task, completion, extracted)
                valid = _parses(work)
            score = work if isinstance(work, Score) else self.score(work)
            more = {**more, **self._measures_of(score)}
        except UserError:
            raise
        except Exception as failure:  # the border to an answer that nobody vouches for
            return _failed(f"scoring failed: {type(failure).__name__}: {failure}", extracted)
        return Judged.of(
            replace(score, also={**score.also, **more}),
            extracted=extracted,
            code=work.code if isinstance(work, Program) else "",
            syntax_valid=valid,
        )

    def _measures(self, task: Task, completion: str, extracted: str) -> Mapping[str, float]:
        """What some benchmarks measure besides the score."""
        measures = getattr(self.benchmark, "measures", None)
        return measures(task, completion, extracted) if measures else {}

    def _measures_of(self, score: Score) -> Mapping[str, float]:
        """What some benchmarks read in a verdict besides the score."""
        measures_of = getattr(self.benchmark, "measures_of", None)
        return measures_of(score) if measures_of else {}

    def score(self, work: Program | Work) -> Score:
        """What running it is worth; the same work is run once, however often it is asked."""
        if isinstance(work, Program) and not self._known_data:
            work = replace(work, trusted_tests=False)
        self._note(work)
        level = self.sandbox.level
        with PARSING:
            key = key_of(work, level)
        with self._lock:
            known = self._scores.get(key)
            future = self._scores.setdefault(key, Future())
        if known is not None:
            return known.result()
        try:
            future.set_result(self._kept_or_run(key, work))
        except BaseException as failure:
            future.set_exception(failure)
            raise
        return future.result()

    def _kept_or_run(self, key: bytes, work: Program | Work) -> Score:
        kept = self.verdicts.get(key)
        if kept is not None:
            return kept
        score = cut(judge_work(work, self.sandbox))
        for _ in range(TRIES - 1):
            if score.value is not None:
                break
            score = cut(judge_work(work, self.sandbox))
        self.verdicts.put(key, score)
        return score

    def _note(self, work: Program | Work) -> None:
        """Remember what the result has to tell. Raises ResourceError without a toolchain."""
        if work.language not in self.languages:
            if why := available(work.language):
                raise ResourceError(
                    f"{self.benchmark.name} cannot be judged here",
                    why=why,
                    fix=f"scripts/install-toolchains.sh {work.language}",
                )
            self.languages.add(work.language)
        if self.limits is None or work.limits.cpu_s > self.limits.cpu_s:
            self.limits = work.limits


def _hurried(work: Any, most_cpu_s: float | None) -> Any:
    """A program with a shorter limit; anything else as it is."""
    if most_cpu_s is None or not isinstance(work, Program):
        return work
    limits = replace(work.limits, cpu_s=min(work.limits.cpu_s, most_cpu_s))
    return replace(work, limits=limits)


def _parses(work: Any) -> bool | None:
    """Whether a Python program is one; None for anything else."""
    if isinstance(work, Program) and work.language == "python":
        return parsed(work.code) is not None
    return None


def _failed(detail: str, extracted: str = "") -> Judged:
    return Judged(code="", value=None, status="infra", detail=detail[:2000], extracted=extracted)
