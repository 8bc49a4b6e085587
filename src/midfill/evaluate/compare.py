"""Two models on the same problems: what only one of them solves tells more than two intervals.

The score of a problem is compared with the score of the same problem. Where each has one answer
that passed or did not, the exact McNemar test looks at the problems on which they differ; the
difference of the scores always has an interval, from resampled problems. Several rules are several
comparisons, and Holm's method corrects their p values for that.
"""

import json
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from midfill.errors import ConfigError
from midfill.evaluate.report import aligned, cell, markdown_table, percent
from midfill.evaluate.report_files import write_all
from midfill.evaluate.result import Result, TaskResult
from midfill.evaluate.statistics import CONFIDENCE, bootstrap, holm, mcnemar
from midfill.pages.harmless import clean

SIGNIFICANT = 1 - CONFIDENCE


@dataclass(frozen=True, slots=True, kw_only=True)
class RuleComparison:
    """Two models under one extraction rule, on the tasks about which something is known of both."""

    rule: str
    n: int  # tasks compared
    first: float
    second: float
    difference: float  # second minus first
    low: float  # of its 95 % interval
    high: float
    only_first: tuple[str, ...]  # tasks that only one of them passes
    only_second: tuple[str, ...]
    p: float | None  # of the exact McNemar test; None: answers are not one pass or fail a task
    corrected: float | None  # by Holm, for the number of rules

    @property
    def differ(self) -> bool:
        """Whether the two differ by more than chance, after correction."""
        if self.corrected is not None:
            return self.corrected < SIGNIFICANT
        return not self.low <= 0 <= self.high


@dataclass(frozen=True, slots=True, kw_only=True)
class Comparison:
    """Two models on one benchmark."""

    benchmark: str
    version: str
    first: str
    second: str
    rules: tuple[RuleComparison, ...]
    unknown: tuple[str, ...]  # tasks left out: nothing is known of one of the answers
    unshared: int  # tasks that only one of the runs has
    differences: tuple[str, ...]  # what else differs between the runs besides the model

    def to_json(self) -> dict[str, Any]:
        """As plain values."""
        return asdict(self)


def compare(first: Result, second: Result) -> Comparison:
    """The second model beside the first, under every rule that both were scored by.

    Raises ConfigError where the two are not of the same benchmark and data, or share nothing.
    """
    _check_same(first, second)
    ours, theirs = ({task.task_id: task for task in run.tasks} for run in (first, second))
    shared = [name for name in ours if name in theirs]
    rules = [rule for rule in first.rules if rule in second.rules]
    if not shared or not rules:
        raise ConfigError(
            f"the two runs of {first.benchmark} share no {'rule' if shared else 'task'}",
            why="only what both were asked, and scored by, can be compared",
            fix="run both with the same --limit and the same midfill",
        )
    pairs = {name: (ours[name], theirs[name]) for name in shared}
    unknown = [n for n, (a, b) in pairs.items() if not all(_known(x, rules) for x in (a, b))]
    known = {name: pair for name, pair in pairs.items() if name not in set(unknown)}
    found = [_under(rule, known) for rule in rules]
    corrected = holm({one["rule"]: one["p"] for one in found if one["p"] is not None})
    return Comparison(
        benchmark=first.benchmark,
        version=first.version,
        first=first.model,
        second=second.model,
        rules=tuple(RuleComparison(**one, corrected=corrected.get(one["rule"])) for one in found),
        unknown=tuple(unknown),
        unshared=len(ours.keys() ^ theirs.keys()),
        differences=tuple(_differences(first, second)),
    )


def _check_same(first: Result, second: Result) -> None:
    if first.benchmark != second.benchmark:
        raise ConfigError(
            f"{first.benchmark} is compared with {second.benchmark}",
            why="a pair of answers must be to the same problem",
            fix="give two results of one benchmark",
        )
    if first.version != second.version:
        raise ConfigError(
            f"the two runs of {first.benchmark} have different data",
            why=f"SHA-256 {first.version[:12]} is not {second.version[:12]}",
            fix="run the older one again with the data of the newer one",
        )


def _known(task: TaskResult, rules: list[str]) -> bool:
    """Whether every answer has a value under every rule."""
    return bool(task.samples) and all(
        rule in sample.rules and sample.rules[rule].value is not None
        for sample in task.samples
        for rule in rules
    )


def _under(rule: str, pairs: dict[str, tuple[TaskResult, TaskResult]]) -> dict[str, Any]:
    """Everything of a RuleComparison but the correction."""
    values = {name: (_value(a, rule), _value(b, rule)) for name, (a, b) in pairs.items()}
    n = len(values)
    differences = [b - a for a, b in values.values()]
    spread = bootstrap(differences) if n else None
    plain = all(value in (0, 1) for pair in values.values() for value in pair) and all(
        len(task.samples) == 1 for pair in pairs.values() for task in pair
    )
    only_first = tuple(name for name, (a, b) in values.items() if a > b)
    only_second = tuple(name for name, (a, b) in values.items() if b > a)
    return {
        "rule": rule,
        "n": n,
        "first": sum(a for a, _ in values.values()) / n if n else 0.0,
        "second": sum(b for _, b in values.values()) / n if n else 0.0,
        "difference": sum(differences) / n if n else 0.0,
        "low": spread.low if spread else -1.0,
        "high": spread.high if spread else 1.0,
        "only_first": only_first,
        "only_second": only_second,
        "p": mcnemar(len(only_first), len(only_second)) if plain else None,
    }


def _value(task: TaskResult, rule: str) -> float:
    return sum(sample.rules[rule].value or 0.0 for sample in task.samples) / len(task.samples)


def _differences(first: Result, second: Result) -> Iterator[str]:
    """Facts besides the rule in which the runs differ."""
    ours, theirs = first.facts(), second.facts()
    for name in ours:
        if name != "extraction" and ours[name] != theirs[name]:
            yield f"{name}: {ours[name]} | {theirs[name]}"


def _table(found: Comparison) -> tuple[list[str], list[list[str]]]:
    head = ["rule", "tasks", "first", "second", "difference", "95 % interval"]
    head += ["only first", "only second", "p", "p (Holm)", ""]
    rows = []
    for one in found.rules:
        row = [one.rule, str(one.n), percent(one.first), percent(one.second)]
        row += [_signed(one.difference), f"{_signed(one.low)} to {_signed(one.high)}"]
        row += [str(len(one.only_first)), str(len(one.only_second)), _p(one.p), _p(one.corrected)]
        rows.append([*row, "differ" if one.differ else "no difference shown"])
    return head, rows


def _signed(share: float) -> str:
    return f"{100 * share:+.1f}"


def _p(value: float | None) -> str:
    if value is None:
        return "-"
    return f"{value:.3f}" if value >= 0.001 else f"{value:.1e}"


def _notes(found: Comparison) -> Iterator[str]:
    if found.unknown:
        names = ", ".join(found.unknown)
        yield f"incomplete: nothing is known about {len(found.unknown)} tasks, left out: {names}"
    if found.unshared:
        yield f"{found.unshared} tasks were asked in only one of the runs, and are left out"
    if found.differences:
        yield f"the runs differ in more than the model: {'; '.join(found.differences)}"
    if any(one.p is None for one in found.rules):
        yield "no McNemar test: a task has several answers, or values between 0 and 1"


def comparison_text(found: Comparison) -> str:
    """The comparison for a terminal, with the tasks that only one model passes."""
    lines = [
        f"{clean(found.benchmark)} {found.version[:12]}",
        f"  first   {clean(found.first)}",
        f"  second  {clean(found.second)}",
        "",
        *aligned(*_table(found), indent="  "),
        "",
    ]
    one = found.rules[0]  # of the other rules they are in the JSON and the Markdown
    for side, names in (("first", one.only_first), ("second", one.only_second)):
        ids = ", ".join(map(clean, names)) or "none"
        lines.append(f"  only {side} passes under {one.rule}: {ids}")
    lines += [f"  note: {clean(note)}" for note in _notes(found)]
    return "\n".join(lines) + "\n"


def write_comparison(found: Comparison, folder: Path) -> dict[str, Path]:
    """Write comparison.json and comparison.md into `folder`; each is whole or not there."""
    texts = {
        "comparison.json": json.dumps(found.to_json(), indent=1) + "\n",
        "comparison.md": comparison_markdown(found),
    }
    return write_all(folder, texts)


def comparison_markdown(found: Comparison) -> str:
    """The comparison as Markdown."""
    parts = [
        f"# {cell(found.benchmark)}: {cell(found.first)} and {cell(found.second)}",
        markdown_table(*_table(found)),
        *(f"> {cell(note)}" for note in _notes(found)),
    ]
    rows = [
        [one.rule, side, ", ".join(names)]
        for one in found.rules
        for side, names in (("first", one.only_first), ("second", one.only_second))
        if names
    ]
    parts += [markdown_table(["rule", "only this passes", "tasks"], rows)] if rows else []
    return "\n\n".join(parts) + "\n"
