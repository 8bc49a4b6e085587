"""What came of one run of a benchmark: every answer, every verdict, and what makes it one number.

A number means nothing without seven facts: the version of the data, the style of the prompt, the
decoding, the extraction rule, the judge, its limits, and how well programs were isolated. A Result
carries all of them, and all samples, so that any report can be made from its file alone.
"""

import dataclasses
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from types import NoneType, UnionType
from typing import Any, Literal, Self, get_args, get_origin, get_type_hints

from midfill.errors import ConfigError
from midfill.evaluate.statistics import Interval, bootstrap, pass_at_k, wilson
from midfill.evaluate.task import Score, Style
from midfill.sandbox.verdict import Limits

FORMAT = 1  # of the JSON; raised when a reader of the old one would misread the new one


@dataclass(frozen=True, slots=True, kw_only=True)
class Decoding:
    """How answers were drawn."""

    temperature: float = 0.0  # 0 is greedy
    top_p: float = 1.0
    top_k: int = 0  # 0: all
    samples: int = 1  # answers for each task
    max_tokens: int | None = None  # None: what each task allows
    seed: int | None = None

    def __str__(self) -> str:
        how = f"temperature {self.temperature:g}, top_p {self.top_p:g}"
        parts = ["greedy" if self.temperature == 0 else how]
        parts += [f"top_k {self.top_k}"] * bool(self.temperature and self.top_k)
        parts.append(f"{self.samples} answer{'s' * (self.samples != 1)} a task")
        parts += [f"at most {self.max_tokens} tokens"] * (self.max_tokens is not None)
        parts += [f"seed {self.seed}"] * bool(self.temperature and self.seed is not None)
        return ", ".join(parts)


@dataclass(frozen=True, slots=True, kw_only=True)
class Judged:
    """What one extraction rule made of an answer, and what that was worth."""

    code: str  # the program, or the text that was compared
    value: float | None  # 1 passed, 0 not, between for similarities; None: not known
    status: str  # pass, wrong, error, timeout, memory or infra
    detail: str = ""
    output: str = ""
    sealed: bool | None = None  # None: nothing was run
    level: str | None = None
    cpu_s: float = 0.0
    wall_s: float = 0.0
    rerun: bool = False  # a time-out that was run again alone
    extracted: str = ""  # what the rule took from the answer; empty: it found nothing
    syntax_valid: bool | None = None  # None: not looked at
    also: Mapping[str, float] = field(default_factory=dict)  # further measures, 0 to 1

    @classmethod
    def of(
        cls, score: Score, *, extracted: str, code: str = "", syntax_valid: bool | None = None
    ) -> Self:
        """The score of what was `extracted`; `code` is the whole program that was run."""
        verdict = score.verdict
        plain = "infra" if score.value is None else "pass" if score.value == 1 else "wrong"
        return cls(
            code=code or extracted,
            value=score.value,
            status=plain if verdict is None else verdict.status,
            detail=score.detail or ("" if verdict is None else verdict.detail),
            output="" if verdict is None else verdict.output,
            sealed=None if verdict is None else verdict.sealed,
            level=None if verdict is None else verdict.level,
            cpu_s=0.0 if verdict is None else verdict.cpu_s,
            wall_s=0.0 if verdict is None else verdict.wall_s,
            rerun=verdict is not None and verdict.first is not None,
            extracted=extracted,
            syntax_valid=syntax_valid,
            also=dict(score.also),
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class SampleResult:
    """One answer of the model, and what each rule made of it."""

    completion: str
    rules: Mapping[str, Judged]  # empty: the model gave no answer, and nothing is known
    tokens: int | None = None
    finish: str | None = None  # "stop", "length" (the token limit), ...
    seconds: float | None = None
    problem: str = ""  # why there is no answer: what the endpoint said
    earlier: tuple[str, ...] = ()  # completions before this one, which failed


@dataclass(frozen=True, slots=True, kw_only=True)
class TaskResult:
    """One problem with its answers."""

    task_id: str
    samples: tuple[SampleResult, ...]
    language: str = "python"
    prompt: str = ""  # as the model saw it, or the part of it that a reader needs
    place: Mapping[str, float] = field(
        default_factory=dict
    )  # needle: "length" in tokens, "depth" in %
    group: str = ""  # a part of the benchmark with a score of its own: a setting, a difficulty


@dataclass(frozen=True, slots=True, kw_only=True)
class RuleScore:
    """The score under one extraction rule. All tasks count, also those about which nothing is known."""

    value: float  # mean over tasks of the mean over samples: pass@1, or a mean similarity
    low: float  # of the 95 % interval
    high: float
    interval: str  # "wilson" or "bootstrap over tasks"
    n: int  # tasks
    samples: int
    passed: int  # samples whose value is 1
    unknown: int  # samples about which nothing is known; they count as not passed
    empty: int  # samples from which the rule took nothing
    syntax_valid: int | None  # samples that parse; None: not looked at
    pass_at: Mapping[str, float] = field(default_factory=dict)  # "1", "10": unbiased pass@k
    also: Mapping[str, float] = field(default_factory=dict)  # means of further measures
    groups: Mapping[str, tuple[float, int]] = field(default_factory=dict)  # name -> value, tasks


@dataclass(frozen=True, slots=True, kw_only=True)
class Baseline:
    """What an answer that needs no model scores on the same tasks, or the model asked otherwise."""

    name: str
    value: float
    n: int
    passed: int
    also: Mapping[str, float] = field(default_factory=dict)
    unknown: int = 0  # answers about which nothing is known; they count as not passed
    own: bool = False  # the same model's, asked in another way
    groups: Mapping[str, tuple[float, int]] = field(default_factory=dict)  # name -> value, tasks


@dataclass(frozen=True, slots=True, kw_only=True)
class SelfCheck:
    """What the judge said of reference answers and of broken ones, before any score."""

    canonical: int  # reference answers that were run
    canonical_passed: int
    failing: Mapping[str, str] = field(default_factory=dict)  # task -> why its reference fails
    mutants: int = 0
    mutants_killed: int = 0
    survivors: Mapping[str, str] = field(default_factory=dict)  # mutant -> why it passes
    note: str = ""  # why there was none, or what is special about it


@dataclass(frozen=True, slots=True, kw_only=True)
class Result:
    """One run of a benchmark on one model, whole."""

    benchmark: str
    version: str  # SHA-256 of the data
    model: str
    style: Style
    decoding: Decoding
    judge: str  # its name and version
    limits: Limits
    level: str  # of isolation; "-" where nothing was run
    rules: Mapping[str, RuleScore]  # the first is the default
    tasks: tuple[TaskResult, ...]
    of: int  # tasks of the benchmark; more than len(tasks) when a limit was given
    baselines: tuple[Baseline, ...] = ()
    self_check: SelfCheck | None = None
    toolchains: Mapping[str, str] = field(default_factory=dict)  # language -> version
    environment: Mapping[str, str] = field(default_factory=dict)
    seeds: Mapping[str, int] = field(default_factory=dict)
    revision: str | None = None  # of midfill's sources
    made: str = ""  # ISO date and time
    seconds: float | None = None  # generation and judging
    notes: tuple[str, ...] = ()

    @property
    def rule(self) -> str:
        """The default extraction rule."""
        return next(iter(self.rules))

    @property
    def samples(self) -> int:
        """Answers of all tasks."""
        return sum(len(task.samples) for task in self.tasks)

    @property
    def infra(self) -> int:
        """Answers about which nothing is known under some rule, because machine or endpoint failed."""
        return sum(_unknown(sample, None) for task in self.tasks for sample in task.samples)

    @property
    def incomplete(self) -> bool:
        """Whether the score is only a lower bound."""
        return self.infra > 0

    @property
    def at_limit(self) -> int | None:
        """Answers that ended at the token limit; None where no reason was recorded."""
        ends = [sample.finish for task in self.tasks for sample in task.samples]
        known = [end for end in ends if end is not None]
        return known.count("length") if known else None

    @property
    def attainable(self) -> float | None:
        """The largest possible score, as tasks whose reference answer fails cannot be passed."""
        check = self.self_check
        if check is None or not check.canonical:
            return None
        lost = sum(task.task_id in check.failing for task in self.tasks)
        return 1 - lost / len(self.tasks) if self.tasks else None

    def facts(self, rule: str | None = None) -> dict[str, str]:
        """The seven facts that make one number."""
        limits = self.limits
        return {
            "data": f"{self.benchmark} {self.version[:12]}",
            "prompt": self.style,
            "decoding": str(self.decoding),
            "extraction": rule or self.rule,
            "judge": self.judge,
            "limits": f"{limits.cpu_s:g} s cpu, {limits.wall_s:g} s wall, {limits.memory_mb} MB",
            "isolation": self.level,
        }

    def to_json(self) -> dict[str, Any]:
        """The whole as plain values; `from_json` undoes it."""
        derived = {
            "infra": self.infra,
            "incomplete": self.incomplete,
            "at_limit": self.at_limit,
            "attainable": self.attainable,
        }
        return {"format": FORMAT} | _plain(self) | {"derived": derived}

    @classmethod
    def from_json(cls, raw: Any, where: str = "the result") -> Self:
        """A Result from its plain values. Raises ConfigError."""
        if not isinstance(raw, dict) or raw.get("format") != FORMAT:
            raise ConfigError(
                f"{where} is not a result that this midfill reads",
                why=f"its format should be {FORMAT}",
                fix="run the evaluation again; its samples are kept, only the scoring is repeated",
            )
        fields = {name: value for name, value in raw.items() if name not in ("format", "derived")}
        try:
            return _build(cls, fields)
        except (TypeError, ValueError, AttributeError) as problem:
            raise ConfigError(
                f"{where} is damaged", why=str(problem), fix="run the evaluation again"
            ) from problem


def read_result(path: Path) -> Result:
    """The Result in a JSON file, or in the `result.json` of a folder. Raises ConfigError."""
    file = path / "result.json" if path.is_dir() else path
    try:
        raw = json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError) as problem:
        raise ConfigError(
            f"{file} cannot be read as a result",
            why=str(problem),
            fix="give a result.json, or the folder that `midfill evaluate ... --out` wrote",
        ) from problem
    return Result.from_json(raw, str(file))


def score_rules(
    tasks: Sequence[TaskResult], rules: Sequence[str], ks: Sequence[int] = (1,)
) -> dict[str, RuleScore]:
    """The score of the tasks under each rule, with pass@k for the `ks`. Raises ConfigError."""
    return {rule: _score_rule(tasks, rule, ks) for rule in rules}


def _score_rule(tasks: Sequence[TaskResult], rule: str, ks: Sequence[int]) -> RuleScore:
    """Samples that are not known count as not passed: the denominator never shrinks."""
    judged = {task.task_id: [s.rules.get(rule) for s in task.samples] for task in tasks}
    flat = [one for all_ in judged.values() for one in all_]
    known = [one for one in flat if one is not None]
    means = [_mean([_value(one) for one in all_]) for all_ in judged.values()]
    passed = {name: sum(_value(one) == 1 for one in all_) for name, all_ in judged.items()}
    interval, method = _interval(means)
    counts = {name: (len(all_), passed[name]) for name, all_ in judged.items()}
    looked = [one.syntax_valid for one in known if one.syntax_valid is not None]
    return RuleScore(
        value=_mean(means),
        low=interval.low,
        high=interval.high,
        interval=method,
        n=len(tasks),
        samples=len(flat),
        passed=sum(passed.values()),
        unknown=sum(_unknown(sample, rule) for task in tasks for sample in task.samples),
        empty=sum(not one.extracted.strip() for one in known),
        syntax_valid=sum(looked) if looked else None,
        pass_at={str(k): pass_at_k(counts, k).value for k in ks},
        also=_further(known, len(flat)),
        groups=_groups(tasks, means),
    )


def _interval(means: list[float]) -> tuple[Interval, str]:
    """Wilson's where every task is passed or not; otherwise resampled tasks."""
    if all(mean in (0, 1) for mean in means):
        return wilson(sum(mean == 1 for mean in means), len(means)), "wilson"
    return bootstrap(means), "bootstrap over tasks"


def _further(known: list[Judged], samples: int) -> dict[str, float]:
    names = dict.fromkeys(name for one in known for name in one.also)
    return {name: sum(one.also.get(name, 0.0) for one in known) / samples for name in names}


def _groups(tasks: Sequence[TaskResult], means: list[float]) -> dict[str, tuple[float, int]]:
    groups: dict[str, list[float]] = {}
    for task, mean in zip(tasks, means, strict=True):
        if task.group:
            groups.setdefault(task.group, []).append(mean)
    return {name: (_mean(values), len(values)) for name, values in groups.items()}


def _unknown(sample: SampleResult, rule: str | None) -> bool:
    """Whether nothing is known about a sample under `rule`, or under some rule."""
    judged = sample.rules.values() if rule is None else [sample.rules.get(rule)]
    return not sample.rules or any(one is None or one.value is None for one in judged)


def _value(judged: Judged | None) -> float:
    return 0.0 if judged is None or judged.value is None else judged.value


def _mean(values: Sequence[float]) -> float:
    return sum(values) / len(values) if values else 0.0


def _plain(value: Any) -> Any:
    if dataclasses.is_dataclass(value):
        return {f.name: _plain(getattr(value, f.name)) for f in dataclasses.fields(value)}
    if isinstance(value, Mapping):
        return {key: _plain(item) for key, item in value.items()}
    return [_plain(item) for item in value] if isinstance(value, list | tuple) else value


def _build(kind: Any, raw: Any) -> Any:
    """A value of the type `kind` from plain JSON. Raises TypeError, ValueError, AttributeError."""
    origin, inner = get_origin(kind), get_args(kind)
    if origin is UnionType:
        return None if raw is None and NoneType in inner else _build(inner[0], raw)
    if dataclasses.is_dataclass(kind):
        hints = _hints(kind)
        strange = raw.keys() - hints.keys()
        if strange:
            raise ValueError(f"unknown field {sorted(strange)[0]!r}")
        return kind(**{name: _build(hints[name], value) for name, value in raw.items()})  # type: ignore[operator]
    if origin is Mapping:
        return {key: _build(inner[1], value) for key, value in raw.items()}
    if origin is tuple and not isinstance(raw, list):
        raise TypeError(f"{raw!r} stands where a list should")
    if origin is tuple and inner[-1] is ...:
        return tuple(_build(inner[0], value) for value in raw)
    if origin is tuple:
        return tuple(_build(part, value) for part, value in zip(inner, raw, strict=True))
    if origin is Literal and raw not in inner:
        raise ValueError(f"{raw!r} is none of {', '.join(inner)}")
    return _scalar(kind, raw)


@cache
def _hints(kind: Any) -> dict[str, Any]:
    return get_type_hints(kind)


def _scalar(kind: Any, raw: Any) -> Any:
    allowed = {float: (int, float), int: int, str: str, bool: bool}.get(kind)
    if allowed is not None and (
        not isinstance(raw, allowed) or (isinstance(raw, bool) and kind is not bool)
    ):
        raise TypeError(f"{raw!r} stands where a value of type {kind.__name__} should")
    return raw
