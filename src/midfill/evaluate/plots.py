"""The drawings of a report as SVG text: no script, colours from the page, a title on every mark.

Lengths are user units of a drawing `WIDTH` wide, which the page scales.
"""

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from midfill.pages import svg
from midfill.pages.svg import WIDTH

_LABELS = 190  # of it, for the names of rows
_VALUES = 150  # for the numbers behind them
_ROW = 30
_AXIS = 30  # below the rows
_BINS = 32  # of a histogram, at most


@dataclass(frozen=True, slots=True, kw_only=True)
class Mark:
    """One score with its interval, as shares."""

    label: str
    value: float
    low: float
    high: float
    kind: Literal["first", "rule", "baseline"]


def scores(marks: Sequence[Mark], ceiling: float | None = None) -> str:
    """A row for each score: its point and interval; a dashed line where no answer can pass more."""
    most = svg.round_up(max(mark.high for mark in marks))
    left, right, height = _LABELS, WIDTH - _VALUES, len(marks) * _ROW

    def x(share: float) -> float:
        return left + share / most * (right - left)

    parts = _grid(most, x, height)
    if ceiling is not None and ceiling < 1 and ceiling <= most:
        line = f'<line class="ceiling" x1="{x(ceiling):.1f}" x2="{x(ceiling):.1f}" y1="0" y2="{height}"/>'
        parts.append(f"<g>{svg.title(f'attainable: {100 * ceiling:.1f} %')}{line}</g>")
    for i, mark in enumerate(marks):
        y = (i + 0.5) * _ROW
        numbers = f"{100 * mark.low:.1f}-{100 * mark.high:.1f}"
        parts += [
            f'<g class="{mark.kind}">',
            svg.title(f"{mark.label}: {100 * mark.value:.1f} %, 95 % interval {numbers}"),
            svg.text(left - 12, y, mark.label, "end name"),
            f'<line class="whisker" x1="{x(mark.low):.1f}" x2="{x(mark.high):.1f}" y1="{y}" y2="{y}"/>',
            *(
                f'<line class="cap" x1="{x(end):.1f}" x2="{x(end):.1f}" y1="{y - 4}" y2="{y + 4}"/>'
                for end in (mark.low, mark.high)
            ),
            f'<circle class="point" cx="{x(mark.value):.1f}" cy="{y}" r="5"/>',
            svg.text(right + 14, y, f"{100 * mark.value:.1f}", "value"),
            svg.text(right + 58, y, numbers, "soft"),
            "</g>",
        ]
    return svg.drawing(height + _AXIS, parts, "Score under each rule, with its 95 % interval")


def bars(rows: Mapping[str, Mapping[str, float]], name: str) -> str:
    """For each row a bar of every measure, as shares; the first row is the model's."""
    most = svg.round_up(max(value for row in rows.values() for value in row.values()))
    measures = list(dict.fromkeys(measure for row in rows.values() for measure in row))
    thick, gap = 16, 14
    left, right = _LABELS, WIDTH - _VALUES
    row_height = thick * len(measures) + gap
    height = row_height * len(rows)

    def x(share: float) -> float:
        return left + share / most * (right - left)

    parts = _grid(most, x, height)
    for i, (label, row) in enumerate(rows.items()):
        top = i * row_height + gap / 2
        parts.append(f'<g class="{"first" if i == 0 else "baseline"}">')
        parts.append(svg.text(left - 12, top + thick * len(measures) / 2, label, "end name"))
        for j, measure in enumerate(measures):
            if measure not in row:
                continue
            y, value = top + j * thick, row[measure]
            parts += [
                f'<g class="measure-{j}">{svg.title(f"{label}, {measure}: {100 * value:.1f} %")}',
                f'<rect class="bar" x="{left}" y="{y:.1f}" height="{thick - 5}" '
                f'width="{max(x(value) - left, 1.5):.1f}" rx="2"/>',
                svg.text(x(value) + 8, y + (thick - 5) / 2, f"{100 * value:.1f} {measure}", "tiny"),
                "</g>",
            ]
        parts.append("</g>")
    return svg.drawing(height + _AXIS, parts, name)


def histogram(passed: Sequence[int], failed: Sequence[int]) -> str:
    """How long the answers are, in tokens: those that passed below those that did not."""
    most = max(*passed, *failed, 1)
    width = svg.step(most / _BINS, whole=True)
    count = math.floor(most / width) + 1
    piles = [(_pile(passed, width, i), _pile(failed, width, i)) for i in range(count)]
    tallest = max(sum(pile) for pile in piles)
    left, right, height = 44, WIDTH - 12, 170

    def y(answers: float) -> float:
        return 8 + (height - 8) * (1 - answers / tallest)

    parts = []
    for tick in svg.ticks(tallest, 4, whole=True):
        parts.append(
            f'<line class="grid" x1="{left}" x2="{right}" y1="{y(tick):.1f}" y2="{y(tick):.1f}"/>'
        )
        parts.append(svg.text(left - 8, y(tick), f"{tick:g}", "end soft"))
    each = (right - left) / count
    for i, (good, bad) in enumerate(piles):
        span = f"{i * width:g} to {(i + 1) * width - 1:g} tokens: {good} passed, {bad} did not"
        parts.append(f"<g>{svg.title(span)}")
        for kind, low, high in (("good", 0, good), ("bad", good, good + bad)):
            if high > low:
                parts.append(
                    f'<rect class="{kind}" x="{left + i * each + 1:.1f}" y="{y(high):.1f}" '
                    f'width="{max(each - 2, 1):.1f}" height="{y(low) - y(high):.1f}" rx="1.5"/>'
                )
        parts.append("</g>")
    every = math.ceil(count / 8)
    for i in range(0, count, every):
        parts.append(svg.text(left + i * each, height + 16, f"{i * width:g}", "soft"))
    parts.append(svg.text(right, height + 32, "tokens of the answer", "end soft"))
    return svg.drawing(height + 42, parts, "Histogram of the lengths of the answers in tokens")


def heat(cells: Mapping[tuple[float, float], tuple[float, int]]) -> str:
    """Needle in a haystack: (length, depth) to (share found, trials); depth grows downwards."""
    lengths = sorted({length for length, _ in cells})
    depths = sorted({depth for _, depth in cells})
    left, top, tall = 62, 6, 28
    each = (WIDTH - left - 8) / len(lengths)
    parts = []
    for i, length in enumerate(lengths):
        label = f"{length / 1000:g}K" if length >= 1000 else f"{length:g}"
        parts.append(
            svg.text(left + (i + 0.5) * each, top + tall * len(depths) + 14, label, "mid soft")
        )
        for j, depth in enumerate(depths):
            if (length, depth) not in cells:
                continue
            share, trials = cells[length, depth]
            x, y = left + i * each + 1, top + j * tall + 1
            parts += [
                f'<g class="{"dark" if share > 0.75 else "pale"}">',
                svg.title(f"{length:g} tokens, depth {depth:g} %: {100 * share:.0f} % of {trials}"),
                f'<rect class="bad" x="{x:.1f}" y="{y}" width="{each - 2:.1f}" height="{tall - 2}" rx="3"/>',
                f'<rect class="good" x="{x:.1f}" y="{y}" width="{each - 2:.1f}" height="{tall - 2}" rx="3" '
                f'fill-opacity="{share:.3f}"/>',
                svg.text(x + each / 2 - 1, y + tall / 2 - 1, f"{100 * share:.0f}", "mid cell"),
                "</g>",
            ]
    parts += [
        svg.text(left - 8, top + (j + 0.5) * tall, f"{depth:g} %", "end soft")
        for j, depth in enumerate(depths)
    ]
    height = top + tall * len(depths) + 42
    parts.append(svg.text(WIDTH - 8, height - 10, "length of the context in tokens", "end soft"))
    return svg.drawing(height, parts, "Share of needles found, by length of the context and depth")


def _pile(lengths: Iterable[int], width: float, i: int) -> int:
    return sum(i * width <= length < (i + 1) * width for length in lengths)


def _grid(most: float, x: Callable[[float], float], height: float) -> list[str]:
    parts = []
    for tick in svg.ticks(100 * most, 5):
        at = x(tick / 100)
        parts.append(f'<line class="grid" x1="{at:.1f}" x2="{at:.1f}" y1="0" y2="{height}"/>')
        parts.append(svg.text(at, height + 16, f"{tick:g}{' %' * (tick == 0)}", "mid soft"))
    return parts
