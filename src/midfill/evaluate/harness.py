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
from concurrent.futures import Future
from contextlib import ExitStack
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from time import monotonic
from typing import Any

from midfill import __version__
from midfill.errors import ConfigError
from midfill.evaluate.arms import arms, baseline, second_tries
from midfill.evaluate.asking import Run, Stage, Told, by_task
from midfill.evaluate.judging import AS_IS, PARSING, Judge
from midfill.evaluate.records import Kept, Key, Samples, read_samples
from midfill.evaluate.result import (
    Baseline,
    Decoding,
    Judged,
    Result,
    SampleResult,
    score_rules,
)
from midfill.evaluate.selfcheck import self_check
from midfill.evaluate.source import AnswerSource, check_decoding
from midfill.evaluate.task import Benchmark, Style, Task
from midfill.evaluate.verdicts import Verdicts, default_path, judge_version, tools_of
from midfill.sandbox.verdict import Level, Limits

SAMPLES, JUDGED = "samples.jsonl", "judged.jsonl"
GREEDY = Decoding()


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
    check_choice(benchmark, limit, rule)
    tasks = _limited(everything, limit)
    check_decoding(decoding)
    rules = _ordered(benchmark, rule)
    given = _given(source, tasks, [task.task_id for task in everything])
    if given:
        decoding = dataclasses.replace(decoding, samples=max(map(len, by_task(given).values())))
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
        run = Run(tasks, rules, decoding, judge, told)
        if isinstance(source, Path):
            for (task_id, sample), kept in given.items():
                run.take(task_id, sample, kept.answer)
        else:
            samples = _open(folder, benchmark, source, style, decoding, tasks, stack)
            run.ask(source, samples)
        run.finish()
        baselines = _baselines(benchmark, tasks, judge, told) if judging.baselines else []
        if not isinstance(source, Path):
            facts = run_of(benchmark, source, style, decoding)
            second_tries(run, source, folder, facts)
            baselines += arms(run, source, folder, facts) if judging.baselines else []
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
            baselines=tuple(baselines),
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


def check_choice(benchmark: Benchmark, limit: int | None, rule: str | None) -> None:
    """Raise ConfigError for a limit or a rule that there is not, before a model is loaded."""
    _ordered(benchmark, rule)
    if limit is not None and limit < 1:
        raise ConfigError(f"--limit is {limit}", why="it must be at least 1", fix="--limit 10")


def _limited(tasks: Sequence[Task], limit: int | None) -> list[Task]:
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


def _check_ks(
    ks: Sequence[int], tasks: Sequence[Task], given: Mapping[Key, Kept], decoding: Decoding
) -> None:
    """Raise ConfigError before anything is asked where a task has fewer answers than a k."""
    counts = {name: len(all_) for name, all_ in by_task(given).items()}
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


def _steps(told: Told, doing: str) -> Callable[[int, int], None]:
    return lambda done, of: told(Stage(doing=doing, done=done, of=of))


def _baselines(
    benchmark: Benchmark, tasks: Sequence[Task], judge: Judge, told: Told
) -> list[Baseline]:
    """What answers that need no model score on the same tasks."""
    futures: dict[str, list[Future[Judged]]] = {}
    groups: dict[str, list[str]] = {}
    for task in tasks:
        with PARSING:
            texts = benchmark.baselines(task)
        for name, text in texts.items():
            futures.setdefault(name, []).append(judge.begin_extracted(task, text))
            groups.setdefault(name, []).append(str(task.row.get("group", "")))
    of, done = sum(map(len, futures.values())), 0
    found = []
    for name, asked in futures.items():
        judged = []
        for future in asked:
            judged.append(future.result())
            done += 1
            told(Stage(doing="baselines", done=done, of=of))
        found.append(baseline(name, judged, groups[name]))
    return found


def _notes(source: AnswerSource | Path, run: Run) -> tuple[str, ...]:
    notes = [] if isinstance(source, Path) else list(source.notes)
    notes += getattr(run.judge.benchmark, "notes", ())
    if isinstance(source, Path) and hasattr(run.judge.benchmark, "retry"):
        notes.append("one try: who failed at first could not be asked again")
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
