"""One run of a benchmark: answers, what each rule takes from them, verdicts, scores.

    tasks -> the judge's self-check -> answers, kept as they finish -> verdicts, meanwhile -> Result

Answers are kept in a file of samples, so that a run that was ended goes on where it was; verdicts
are kept by content. So a run over kept samples asks no model and runs no program twice.
"""

import dataclasses
import json
import os
import platform
import subprocess
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, wait
from contextlib import ExitStack
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from time import monotonic
from typing import Any

from midfill import __version__
from midfill.errors import ConfigError
from midfill.evaluate.judging import AS_IS, PARSING, Judge
from midfill.evaluate.records import Kept, Key, Samples, read_samples
from midfill.evaluate.result import (
    Baseline,
    Decoding,
    Judged,
    Result,
    SampleResult,
    TaskResult,
    score_rules,
)
from midfill.evaluate.selfcheck import self_check
from midfill.evaluate.source import Answer, AnswerSource, Question, check_decoding, seed_of
from midfill.evaluate.statistics import wilson
from midfill.evaluate.task import Benchmark, Prompt, Style, Task
from midfill.evaluate.verdicts import Verdicts, default_path, judge_version, tools_of
from midfill.sandbox.verdict import Level, Limits

SAMPLES, JUDGED = "samples.jsonl", "judged.jsonl"
GREEDY = Decoding()
HOLE = "<HOLE>"


@dataclass(frozen=True, slots=True, kw_only=True)
class Stage:
    """How far a run is; `answers` counts those that were kept from an earlier run too."""

    doing: str  # "checking the judge", "answering", "judging", "baselines"
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


@dataclass(frozen=True, slots=True, kw_only=True)
class Judging:
    """How answers are judged."""

    workers: int | None = None  # None: one for each core
    level: Level | None = None  # None: the best of this machine
    minimum: Level = "C"
    verdicts: Path | None = field(default_factory=default_path)  # None: none are kept
    baselines: bool = True


def evaluate(
    benchmark: Benchmark,
    source: AnswerSource | Path,
    *,
    style: Style = "instruct",
    decoding: Decoding = GREEDY,
    limit: int | None = None,
    rule: str | None = None,
    ks: Sequence[int] = (1,),
    folder: Path | None = None,
    judging: Judging | None = None,
    told: Told = lambda stage: None,
) -> Result:
    """Ask `source` the first `limit` tasks, or read its answers from a file, and score them.

    `rule` becomes the default among the benchmark's rules; all are scored. With `folder` answers
    are kept there, and taken from there. Raises ConfigError, and SandboxError where programs cannot
    be run safely or the judge fails its own check; no score is made then.
    """
    began, judging = monotonic(), judging or Judging()
    everything = benchmark.tasks(style)
    tasks = _limited(everything, limit)
    check_decoding(decoding)
    rules = _ordered(benchmark, rule)
    given = _given(source, tasks, [task.task_id for task in everything])
    if given:
        decoding = dataclasses.replace(decoding, samples=max(map(len, _by_task(given).values())))
        rules = (AS_IS,) if next(iter(given.values())).extracted else rules
    _check_ks(ks, tasks, given, decoding)
    with ExitStack() as stack:
        verdicts = Verdicts(judging.verdicts)
        stack.callback(verdicts.close)
        judge = stack.enter_context(
            Judge(
                benchmark,
                verdicts,
                workers=judging.workers,
                level=judging.level,
                minimum=judging.minimum,
            )
        )
        check = self_check(benchmark, tasks, judge, _steps(told, "checking the judge"))
        run = _Run(tasks, rules, decoding, judge, told)
        if isinstance(source, Path):
            for (task_id, sample), kept in given.items():
                run.take(task_id, sample, kept.answer)
        else:
            samples = _open(folder, benchmark, source, style, decoding, tasks, stack)
            run.ask(source, samples)
        run.finish()
        baselines = _baselines(benchmark, tasks, judge, told) if judging.baselines else ()
        results = run.results()
        return Result(
            benchmark=benchmark.name,
            version=benchmark.version,
            model=str(source) if isinstance(source, Path) else source.name,
            style=style,
            decoding=decoding,
            judge=judge_version(),
            limits=judge.limits or Limits(),
            level=judge.level,
            rules=score_rules(results, rules, ks),
            tasks=results,
            of=len(everything),
            baselines=baselines,
            self_check=check,
            toolchains={language: tools_of(language) for language in sorted(judge.languages)},
            environment=environment(),
            seeds={} if decoding.seed is None else {"sampling": decoding.seed},
            revision=revision(),
            made=datetime.now(UTC).isoformat(timespec="seconds"),
            seconds=monotonic() - began,
            notes=_notes(source, run),
        )


# ---------------------------------------------------------------------------------- what is asked


def _limited(tasks: Sequence[Task], limit: int | None) -> list[Task]:
    if limit is not None and limit < 1:
        raise ConfigError(f"--limit is {limit}", why="it must be at least 1", fix="--limit 10")
    chosen = list(tasks[:limit])
    if not chosen:
        raise ConfigError(
            "the benchmark has no tasks", why="its file holds none", fix="give another file of data"
        )
    return chosen


def _ordered(benchmark: Benchmark, rule: str | None) -> tuple[str, ...]:
    """The rules, the chosen one first."""
    if rule is None:
        return benchmark.rules
    if rule not in benchmark.rules:
        raise ConfigError(
            f"{benchmark.name} has no extraction rule {rule!r}",
            why=f"it has {', '.join(benchmark.rules)}",
            fix=f"--rule {benchmark.rules[0]}",
        )
    return (rule, *(one for one in benchmark.rules if one != rule))


def _given(
    source: AnswerSource | Path, tasks: Sequence[Task], known: Sequence[str]
) -> dict[Key, Kept]:
    return read_samples(source, tasks, known) if isinstance(source, Path) else {}


def _by_task(keys: Mapping[Key, Any]) -> dict[str, list[int]]:
    found: dict[str, list[int]] = {}
    for task_id, sample in keys:
        found.setdefault(task_id, []).append(sample)
    return found


def _check_ks(
    ks: Sequence[int], tasks: Sequence[Task], given: Mapping[Key, Kept], decoding: Decoding
) -> None:
    """Raise ConfigError before anything is asked where a task has fewer answers than a k."""
    counts = {name: len(all_) for name, all_ in _by_task(given).items()}
    for task in tasks:
        n = counts.get(task.task_id, 0) if given else decoding.samples
        wrong = [k for k in ks if not 1 <= k <= n]
        if wrong:
            raise ConfigError(
                f"pass@{wrong[0]} was asked for, and {task.task_id} has {n} answers",
                why="no honest estimate can be made from fewer answers than k",
                fix=f"-n {wrong[0]} --temperature 0.2" if wrong[0] > n else "--k 1",
            )


def _open(
    folder: Path | None,
    benchmark: Benchmark,
    source: AnswerSource,
    style: Style,
    decoding: Decoding,
    tasks: Sequence[Task],
    stack: ExitStack,
) -> Samples | None:
    if folder is None:
        return None
    run = run_of(benchmark, source, style, decoding)
    return stack.enter_context(Samples(folder / SAMPLES, run, tasks))


def run_of(
    benchmark: Benchmark, source: AnswerSource, style: Style, decoding: Decoding
) -> dict[str, Any]:
    """Everything that decides the answers, besides prompts; how many are drawn does not."""
    plain = dataclasses.asdict(decoding)
    plain.pop("samples")
    if decoding.temperature == 0:  # nothing is drawn
        plain = {"temperature": 0.0, "max_tokens": decoding.max_tokens}
    return {
        "benchmark": benchmark.name,
        "data": benchmark.version[:16],
        "style": style,
        "source": source.describe(),
        "decoding": plain,
    }


def shown_prompt(prompt: Prompt) -> str:
    """A prompt for a reader."""
    if prompt.messages is not None:
        turns = [f"[{turn['role']}]\n{turn['content']}" for turn in prompt.messages]
        turns += [f"[assistant]\n{prompt.answer_start}"] * bool(prompt.answer_start)
        return "\n\n".join(turns)
    if prompt.suffix is not None:
        return f"{prompt.prefix or ''}{prompt.answer_start}{HOLE}{prompt.suffix}"
    return (prompt.text or "") + prompt.answer_start


# -------------------------------------------------------------------------------------- the run


class _Run:
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
        numbers = _by_task(self.answers)
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
        )


def _numbers(place: Any) -> dict[str, float]:
    return {str(k): float(v) for k, v in place.items()} if isinstance(place, Mapping) else {}


def _steps(told: Told, doing: str) -> Callable[[int, int], None]:
    return lambda done, of: told(Stage(doing=doing, done=done, of=of))


def _baselines(
    benchmark: Benchmark, tasks: Sequence[Task], judge: Judge, told: Told
) -> tuple[Baseline, ...]:
    """What answers that need no model score on the same tasks."""
    futures: dict[str, list[Future[Judged]]] = {}
    for task in tasks:
        with PARSING:
            texts = benchmark.baselines(task)
        for name, text in texts.items():
            futures.setdefault(name, []).append(judge.begin_extracted(task, text))
    of, done = sum(map(len, futures.values())), 0
    found = []
    for name, asked in futures.items():
        judged = []
        for future in asked:
            judged.append(future.result())
            done += 1
            told(Stage(doing="baselines", done=done, of=of))
        found.append(_baseline(name, judged))
    return tuple(found)


def _baseline(name: str, judged: Sequence[Judged]) -> Baseline:
    values = [one.value or 0.0 for one in judged]
    names = dict.fromkeys(measure for one in judged for measure in one.also)
    return Baseline(
        name=name,
        value=sum(values) / len(values),
        n=len(values),
        passed=sum(value == 1 for value in values),
        also={m: sum(one.also.get(m, 0.0) for one in judged) / len(judged) for m in names},
    )


def _notes(source: AnswerSource | Path, run: _Run) -> tuple[str, ...]:
    notes = [] if isinstance(source, Path) else list(source.notes)
    long = sum(answer.finish == "context" for answer in run.answers.values())
    if long:
        notes.append(f"{long} prompts were longer than the model's context: no answer, not passed")
    return tuple(notes)


# ------------------------------------------------------------------------------- what is written


def write_judged(result: Result, path: Path) -> None:
    """One line for each answer with what every rule made of it, and by which versions."""
    versions = {"judge": result.judge, "level": result.level, **result.toolchains}
    part = path.with_name(path.name + ".part")
    with part.open("w", encoding="utf-8") as file:
        for task in result.tasks:
            for number, sample in enumerate(task.samples):
                line = {"task_id": task.task_id, "sample": number, "language": task.language}
                line |= {**_plain(sample), "versions": versions}
                file.write(json.dumps(line) + "\n")
    part.replace(path)


def _plain(sample: SampleResult) -> dict[str, Any]:
    rules = {
        rule: {
            name: getattr(judged, name)
            for name in "status value sealed level cpu_s wall_s rerun detail extracted code".split()
        }
        for rule, judged in sample.rules.items()
    }
    return {"completion": sample.completion, "problem": sample.problem, "rules": rules}


def environment() -> dict[str, str]:
    """The machine and the programs that judged."""
    return {
        "midfill": __version__,
        "python": platform.python_version(),
        "system": platform.platform(),
        "processor": _processor(),
        "cores": str(os.cpu_count()),
    }


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return platform.processor() or platform.machine()
    named = (line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    return next(named, platform.machine())


def revision() -> str | None:
    """The git revision of midfill's sources, where they are a checkout."""
    folder = Path(__file__).resolve().parents[3]
    if not (folder / ".git").exists():
        return None
    run = partial(subprocess.run, capture_output=True, text=True, check=False, timeout=10)
    try:
        head = run(["git", "-C", str(folder), "rev-parse", "HEAD"])
        changed = run(["git", "-C", str(folder), "status", "--porcelain", "-uno"])
    except (OSError, subprocess.SubprocessError):
        return None
    return (head.stdout.strip() + "+changed" * bool(changed.stdout.strip())) or None
