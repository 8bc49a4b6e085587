"""The papers' tables that can run here, beside the published values.

Every row has a class of comparability (see `published.Comparable`), and only a run of the same data
under the same protocol shares the column of the published values. Anything else stands apart with
what differs; what cannot run has its reason. A published value belongs to the published model: ours
is never a reproduction of it unless the weights are the same.
"""

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from midfill.evaluate.published import (
    FIGURE_3,
    FIGURE_3_ITEMS,
    FIGURE_3_NOTE,
    MEANING,
    SLIPS,
    TABLES,
    Column,
    Comparable,
    Table,
)
from midfill.evaluate.report import aligned, cell, interval, markdown_table
from midfill.evaluate.report_files import write_all
from midfill.evaluate.result import Result, RuleScore
from midfill.evaluate.statistics import wilson
from midfill.pages.harmless import clean

LEGEND = "; ".join(f"class {kind.value}: {meaning}" for kind, meaning in MEANING.items())


@dataclass(frozen=True, slots=True, kw_only=True)
class Ours:
    """Our value for one column, as a share with its interval."""

    model: str
    value: float
    low: float
    high: float
    n: int  # tasks that were run
    rule: str
    level: str
    other_rules: Mapping[str, float]

    def __str__(self) -> str:
        return f"{100 * self.value:.1f} ({interval(self.low, self.high)})"


@dataclass(frozen=True, slots=True, kw_only=True)
class PaperRow:
    """One measured set of one table: what is published, and what ours is worth beside it."""

    table: str
    column: str
    n: int | None  # items of the published set
    unit: str
    benchmark: str | None  # what midfill runs for it
    published: Mapping[str, float | None]
    kind: Comparable
    reasons: tuple[str, ...]  # what differs, or why there is nothing
    ours: Ours | None

    @property
    def shares_column(self) -> bool:
        """Whether our value may stand in the column of the published ones."""
        return self.ours is not None and self.kind == Comparable.SAME


@dataclass(frozen=True, slots=True, kw_only=True)
class PaperTable:
    """One table of a paper with its rows; the papers' columns are the rows here."""

    name: str
    title: str
    paper: str
    protocol: str
    models: tuple[str, ...]
    rows: tuple[PaperRow, ...]
    notes: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class PaperReport:
    """All tables, and the names of the models that were run."""

    tables: tuple[PaperTable, ...]
    models: tuple[str, ...]

    def to_json(self) -> dict[str, Any]:
        """As plain values."""
        return asdict(self) | {"classes": {int(k): meaning for k, meaning in MEANING.items()}}


def benchmarks() -> list[tuple[str, str]]:
    """What to run for the papers' tables: benchmark and style of prompt, each pair once."""
    return list(
        dict.fromkeys(
            (column.benchmark, table.style)
            for table in TABLES.values()
            for column in table.columns
            if column.benchmark and column.kind != Comparable.NOT_RUN
        )
    )


def paper_report(results: Mapping[str, Result]) -> PaperReport:
    """The published tables with our results in them; the names in the mapping are the caller's."""
    runs = list(results.values())
    tables = [_table(table, runs) for table in TABLES.values()]
    return PaperReport(
        tables=(*tables, _figure_3()),
        models=tuple(dict.fromkeys(run.model for run in runs)),
    )


def _table(table: Table, runs: Sequence[Result]) -> PaperTable:
    return PaperTable(
        name=table.name,
        title=table.title,
        paper=table.paper,
        protocol=table.protocol,
        models=tuple(table.rows),
        rows=tuple(_row(table, column, runs) for column in table.columns),
        notes=(*table.notes, *_slips(table)),
    )


def _slips(table: Table) -> Iterator[str]:
    found = [str(slip) for slip in SLIPS if slip.table == table.name]
    if found:
        yield f"Does not follow from its row: {'; '.join(found)}."


def _figure_3() -> PaperTable:
    models = tuple(curve.name for curve in FIGURE_3)
    means = {c.name: round(100 * sum(c.values) / len(c.values), 1) for c in FIGURE_3}
    row = PaperRow(
        table="Figure 3",
        column="mean of 12 points",
        n=FIGURE_3_ITEMS,
        unit="%",
        benchmark=None,
        published=means,
        kind=Comparable.NOT_RUN,
        reasons=("in-house problems, and a training of its own",),
        ours=None,
    )
    return PaperTable(
        name="Figure 3",
        title="pass@1 while GRPO learns from the compiler or from a reward model",
        paper="V2",
        protocol="every 50 steps to 600",
        models=models,
        rows=(row,),
        notes=(FIGURE_3_NOTE,),
    )


def _row(table: Table, column: Column, runs: Sequence[Result]) -> PaperRow:
    fitting = [run for run in runs if _fits(table, column, run)]
    run = min(fitting, key=lambda one: len(list(_differences(table, column, one))), default=None)
    kind, reasons = _class(table, column, run)
    return PaperRow(
        table=table.name,
        column=column.name,
        n=column.n,
        unit=column.unit,
        benchmark=None if column.kind == Comparable.NOT_RUN else column.benchmark,
        published={model: table.value(model, column.name) for model in table.rows},
        kind=kind,
        reasons=reasons,
        ours=None if run is None else _ours(column, run),
    )


def _fits(table: Table, column: Column, run: Result) -> bool:
    """Whether a run belongs to a column at all: a base model's never to a table of chat models."""
    same_kind = (run.style == "base") == (table.style == "base")
    return run.benchmark == column.benchmark and same_kind


def _class(table: Table, column: Column, run: Result | None) -> tuple[Comparable, tuple[str, ...]]:
    """How far the row compares, and why not further."""
    stated = (column.reason,) if column.reason else ()
    if run is None:
        return column.kind, stated
    differences = tuple(_differences(table, column, run))
    if column.kind == Comparable.NOT_RUN:
        return Comparable.PROTOCOL, ("on a file of the user's", *differences)
    if column.kind == Comparable.SAME and differences:
        return Comparable.PROTOCOL, differences
    return column.kind, (*stated, *differences)


def _differences(table: Table, column: Column, run: Result) -> Iterator[str]:
    """In what a run departs from the table's protocol."""
    if run.style != table.style:
        yield f"prompt {run.style} instead of {table.style}"
    if run.decoding.temperature != 0 or run.decoding.samples != 1:
        yield f"{run.decoding} instead of one greedy answer"
    if run.decoding.max_tokens is not None:
        yield f"at most {run.decoding.max_tokens} tokens instead of the protocol's"
    if len(run.tasks) < run.of:
        yield f"{len(run.tasks)} of {run.of} tasks"
    elif column.kind == Comparable.SAME and len(run.tasks) != column.n:
        yield f"{len(run.tasks)} tasks instead of {column.n}"
    if column.rule is not None and column.rule not in run.rules:
        yield f"extraction rule {run.rule} instead of {column.rule}"
    if run.incomplete:
        yield f"incomplete: nothing is known about {run.infra} answers"


def _ours(column: Column, run: Result) -> Ours:
    rule = column.rule if column.rule and column.rule in run.rules else run.rule
    value, low, high = _measured(run.rules[rule], column.measure)
    return Ours(
        model=run.model,
        value=value,
        low=low,
        high=high,
        n=len(run.tasks),
        rule=rule,
        level=run.level,
        other_rules={
            name: _measured(score, column.measure)[0]
            for name, score in run.rules.items()
            if name != rule
        },
    )


def _measured(score: RuleScore, measure: str | None) -> tuple[float, float, float]:
    if measure is None or measure not in score.also:
        return score.value, score.low, score.high
    value = score.also[measure]
    span = wilson(round(value * score.n), score.n)
    return value, min(span.low, value), max(span.high, value)


def _columns(table: PaperTable) -> tuple[list[str], list[list[str]]]:
    """Published values; ours beside them where it may be."""
    shared = any(row.shares_column for row in table.rows)
    head = ["set", "n", *table.models, *("ours",) * shared]
    rows = []
    for row in table.rows:
        unit = "" if row.unit == "%" else f" ({row.unit})"
        values = [_digits(value, row.unit) for value in row.published.values()]
        ours = [str(row.ours) if row.shares_column else "-"] * shared
        rows.append([f"{row.column}{unit}", str(row.n or "-"), *values, *ours])
    return head, rows


def _digits(value: float | None, unit: str) -> str:
    """As printed: percent with one digit behind the point, or two."""
    if value is None:
        return "-"
    return f"{value:g}" if unit != "%" or round(value, 1) != value else f"{value:.1f}"


def _apart(table: PaperTable) -> Iterator[str]:
    """Our values that may not stand in a column, each with what differs; then what is not there."""
    for row in table.rows:
        if row.ours is not None and not row.shares_column:
            yield f"class {row.kind.value}, {row.column}: ours {row.ours} · {'; '.join(row.reasons)}"
        elif row.ours is not None and row.ours.other_rules:
            other = ", ".join(f"{name} {100 * v:.1f}" for name, v in row.ours.other_rules.items())
            yield f"class 1, {row.column}: under {row.ours.rule}; other rules: {other}"
    missing: dict[tuple[Comparable, tuple[str, ...]], list[str]] = {}
    for row in table.rows:
        if row.ours is None:
            name = f"{row.column} ({row.benchmark})" if row.benchmark else row.column
            missing.setdefault((row.kind, row.reasons), []).append(name)
    for (kind, reasons), columns in missing.items():
        yield " · ".join([f"class {kind.value}, not run: {', '.join(columns)}", *reasons])


def _heading(table: PaperTable) -> str:
    source = "" if table.name.startswith(table.paper) else f" ({table.paper})"
    return f"{table.name}{source}: {table.title}"


def paper_text(report: PaperReport) -> str:
    """The tables for a terminal."""
    lines = [f"ours: {clean(', '.join(report.models)) or 'nothing was run'}", LEGEND]
    for table in report.tables:
        lines += ["", _heading(table), f"  {table.protocol}"]
        lines += aligned(*_columns(table), indent="  ")
        lines += [f"  {clean(line)}" for line in (*_apart(table), *table.notes)]
    return "\n".join(lines) + "\n"


def paper_markdown(report: PaperReport) -> str:
    """The tables as Markdown."""
    parts = [
        "# The papers' tables beside ours",
        f"Ours: {cell(', '.join(report.models))}. {LEGEND}.",
    ]
    for table in report.tables:
        parts += [
            f"## {cell(_heading(table))}",
            cell(table.protocol) + ".",
        ]
        parts += [markdown_table(*_columns(table))]
        parts += ["\n".join(f"- {cell(line)}" for line in (*_apart(table), *table.notes))]
    return "\n\n".join(filter(None, parts)) + "\n"


def paper_html(report: PaperReport) -> str:
    """The tables as one page."""
    from midfill.pages.page import page, table, text

    body = '<div class="bar"><i></i><b>midfill</b> evaluation</div><h1>The papers\' tables beside ours</h1>'
    body += (
        f'<p class="model">{text(", ".join(report.models))}</p><p class="lead">{text(LEGEND)}</p>'
    )
    for one in report.tables:
        lines = "".join(f"<li>{text(line)}</li>" for line in (*_apart(one), *one.notes))
        body += (
            f"<section><h2>{text(_heading(one))}</h2>"
            f'<p class="lead">{text(one.protocol)}</p>'
            f'<div class="sheet">{table(*_columns(one), last=True)}</div>'
            f'<ul class="notes plain">{lines}</ul></section>\n'
        )
    return page("The papers' tables beside ours", body, wide=True)


def write_paper(report: PaperReport, folder: Path) -> dict[str, Path]:
    """Write paper.json, paper.md and paper.html into `folder`; each is whole or not there."""
    texts = {
        "paper.json": json.dumps(report.to_json(), indent=1) + "\n",
        "paper.md": paper_markdown(report),
        "paper.html": paper_html(report),
    }
    return write_all(folder, texts)
