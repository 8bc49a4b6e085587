"""What a benchmark asks, what a model answered, and what that was worth."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, Protocol

from midfill.sandbox.verdict import Limits, Verdict

Style = Literal["base", "instruct", "instruct-v1"]  # V2's chat prompts, or those of V1


@dataclass(frozen=True, slots=True, kw_only=True)
class Prompt:
    """What a model is asked: a text to continue, a hole to fill, or a conversation; one of them."""

    text: str | None = None
    prefix: str | None = None  # with `suffix`: a hole
    suffix: str | None = None
    messages: tuple[Mapping[str, str], ...] | None = None
    answer_start: str = ""  # words put into the model's mouth; not part of its completion
    stop: tuple[str, ...] = ()
    max_tokens: int = 512


@dataclass(frozen=True, slots=True, kw_only=True)
class Task:
    """One problem of a benchmark, with the prompt it is asked with."""

    task_id: str
    prompt: Prompt
    language: str = "python"
    row: Mapping[str, Any] = field(default_factory=dict)  # as it stands in the data file


@dataclass(frozen=True, slots=True, kw_only=True)
class Program:
    """What the sandbox is given to judge: the arguments of `midfill.sandbox.judge`."""

    code: str
    tests: str
    entry_point: str | None = None
    language: str = "python"
    limits: Limits = field(default_factory=Limits)
    trusted_tests: bool = False  # nothing but the benchmark's own data is in them
    sealed: bool = True  # False: Python tests that need the program's own process


@dataclass(frozen=True, slots=True, kw_only=True)
class Score:
    """What one completion is worth under one extraction rule."""

    value: float | None  # 1 passed, 0 not, between for similarities; None: not known (infra)
    detail: str = ""
    verdict: Verdict | None = None  # where a program was run
    also: Mapping[str, float] = field(default_factory=dict)  # exact_match, ...: shares, 0 to 1

    def __post_init__(self) -> None:
        """Refuse a per cent where a share belongs: means of the two would be printed as one."""
        for name, share in {"value": self.value or 0.0, **self.also}.items():
            if not 0 <= share <= 1:
                raise ValueError(f"{name} is {share}, and should lie between 0 and 1")


class Benchmark(Protocol):
    """A set of problems, how they are put to a model, and how answers are scored."""

    name: str
    version: str  # SHA-256 of the data file
    rules: tuple[str, ...]  # names of the extraction rules that apply; the first is the default

    def tasks(self, style: Style) -> list[Task]:
        """All problems in the order of the file, as this kind of model is asked."""
        ...

    def extract(self, task: Task, completion: str, rule: str) -> str:
        """What `rule` takes from a completion."""
        ...

    def program(self, task: Task, extracted: str) -> Program | Score:
        """What to run to score it; or the score itself, where nothing is run."""
        ...

    def canonical(self, task: Task) -> str | None:
        """The reference answer as `extract` would have given it; None where the data has none."""
        ...

    def baselines(self, task: Task) -> Mapping[str, str]:
        """Answers that need no model, by name, to stand beside every score."""
        ...
