"""Charts and heat maps of any width: the drawing is stretched to the page, its words are not.

Coordinates of a drawing are thousandths of its width and height. No script: what is pointed at
tells its numbers by a title.
"""

import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from midfill.pages import svg
from midfill.pages.numbers import short
from midfill.pages.page import text
from midfill.pages.series import Buckets, Numbers, Places, buckets, drawable, smooth

_BUCKETS = 300  # of a line: about one for each pixel or two
_PROBES = 100  # places along x that tell their numbers
_LABELS = 7  # of an axis, at most about
_CELLS = 80  # of a row of a heat map
_SIDE = 1000


@dataclass(frozen=True, slots=True, kw_only=True)
class Line:
    """A series of numbers."""

    name: str
    x: Numbers
    y: Numbers
    kind: str = "of-0"  # a class of the page that has a colour
    smooth: bool = False
    pale: bool = False  # with all that it covers as a pale band


@dataclass(frozen=True, slots=True, kw_only=True)
class Dot:
    """A point by itself, and what it tells. One without a height is drawn at the top."""

    x: float
    y: float
    told: str
    kind: str = "of-0"


@dataclass(frozen=True, slots=True, kw_only=True)
class Axis:
    """A direction of a chart."""

    name: str  # with its unit
    log: bool = False
    zero: bool = False  # begins there


@dataclass(frozen=True, slots=True, kw_only=True)
class Chart:
    """What is drawn over a pair of axes."""

    x: Axis
    y: Axis
    lines: Sequence[Line]
    dots: Sequence[Dot] = ()
    levels: Sequence[tuple[float, str]] = ()  # heights that have a name
    moments: Sequence[tuple[float, str]] = ()  # places along x that have one
    tall: bool = False


@dataclass(frozen=True, slots=True)
class Scale:
    """From the values of an axis to thousandths of its length."""

    least: float
    most: float
    log: bool

    def at(self, value: float) -> float:
        """Where a value is."""
        if self.log:
            return _SIDE * math.log(value / self.least) / math.log(self.most / self.least)
        return _SIDE * (value - self.least) / (self.most - self.least)

    def has(self, value: float) -> bool:
        """Whether it is on the axis."""
        return self.least <= value <= self.most

    def places(self, values: Numbers, count: int) -> Places:
        """In which of `count` equal parts of the axis each value is."""
        low, high = self.least, self.most
        along = (
            np.log(values / low) / np.log(high / low) if self.log else (values - low) / (high - low)
        )
        return np.clip((along * count).astype(np.int64), 0, count - 1)

    def ticks(self) -> list[float]:
        """Round numbers on the axis, about `_LABELS`."""
        low, high = self.least, self.most
        if not self.log or high / low < 8:
            apart = svg.step((high - low) / _LABELS)
            first, last = math.ceil(low / apart - 1e-9), math.floor(high / apart + 1e-9)
            return [i * apart for i in range(first, last + 1)]
        decades = range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1)
        every = math.ceil(len(decades) / (_LABELS + 2))
        parts = (1, 2, 5) if high / low < 1000 else (1,)
        found = [part * 10.0**d for d in decades[::every] for part in parts]
        return [tick for tick in found if self.has(tick)]


def x_scale(axis: Axis, values: Sequence[float]) -> Scale:
    """From the least to the largest of the values, which are not none."""
    least, most = (0.0 if axis.zero and not axis.log else min(values)), max(values)
    return Scale(*_apart(least, most, log=axis.log), axis.log)


def y_scale(axis: Axis, values: Sequence[float]) -> Scale:
    """As `x_scale`, with some room; a linear one ends at round numbers."""
    scale = x_scale(axis, values)
    if axis.log:
        room = (scale.most / scale.least) ** 0.04
        return Scale(scale.least / room, scale.most * room, log=True)
    apart = svg.step((scale.most - scale.least) / _LABELS)
    least, most = math.floor(scale.least / apart + 1e-9), math.ceil(scale.most / apart - 1e-9)
    return Scale(least * apart, most * apart, log=False)


def _apart(least: float, most: float, *, log: bool) -> tuple[float, float]:
    """The ends of an axis, apart also where all values are equal."""
    if most - least > 1e-6 * max(abs(least), abs(most)):
        return least, most
    if log:
        return least / 1.5, most * 1.5
    room = abs(most) / 2 or 1.0
    return least - room, most + room


def chart(drawn: Chart) -> str:
    """The chart, as HTML."""
    found = [
        (line, *drawable(line.x, line.y, log_x=drawn.x.log, log_y=drawn.y.log))
        for line in drawn.lines
    ]
    found = [(line, x, y) for line, x, y in found if len(x)]
    if not found:
        return _figure(drawn.y.name, '<p class="nothing">nothing logged</p>')
    across = x_scale(drawn.x, [float(end) for _, x, _ in found for end in (x[0], x[-1])])
    curves = []
    for line, x, y in found:
        raw = buckets(x, y, across.places(x, _BUCKETS))
        curves.append((line, raw, smooth(raw.mean) if line.smooth else raw.mean))
    up = y_scale(drawn.y, list(_heights(drawn, curves)))
    parts = [
        *_grid(across, up),
        *(_moment(across.at(x), told) for x, told in drawn.moments if across.has(x)),
        *(_level(up.at(y)) for y, _ in drawn.levels if up.has(y)),
        *(_band(line, raw, across, up) for line, raw, _ in curves if line.pale),
        *(_path(line, raw.x, mean, across, up) for line, raw, mean in curves),
        *_probes(drawn, found, across),
        *(_dot(dot, across, up) for dot in drawn.dots if across.has(dot.x)),
    ]
    named = [(up.at(y), name) for y, name in drawn.levels if up.has(y)]
    plot = _plot(f"{drawn.y.name} over {drawn.x.name}", parts, _labels(across, up), named)
    return _figure(drawn.y.name, plot, drawn.x.name, tall=drawn.tall)


def heat(
    rows: Mapping[str, tuple[Numbers, Numbers]],
    x: Axis,
    name: str,
    shade: Callable[[float], tuple[str, float]],
) -> str:
    """A row of cells along x for each series, coloured by the mean in the cell.

    `shade` gives a value's class, which has a colour, and how opaque it is, from 0 to 1.
    """
    series = {row: drawable(*points) for row, points in rows.items()}
    series = {row: points for row, points in series.items() if len(points[0])}
    if not series:
        return _figure(name, '<p class="nothing">nothing logged</p>')
    across = x_scale(x, [float(end) for at, _ in series.values() for end in (at[0], at[-1])])
    count = min(_CELLS, max(len(at) for at, _ in series.values()))
    parts, high = [], _SIDE / len(series)
    for i, (row, (at, values)) in enumerate(series.items()):
        cells = buckets(at, values, across.places(at, count))
        ends = [*cells.place[1:].tolist(), count]
        for j, (start, end) in enumerate(zip(cells.place.tolist(), ends, strict=True)):
            kind, opacity = shade(float(cells.mean[j]))
            told = f"{row}, {short(cells.x[j])} {x.name}: {_span(cells, j)}"
            parts.append(
                f'<rect class="{kind}" x="{_SIDE * start / count:.1f}" y="{i * high:.1f}" '
                f'width="{_SIDE * (end - start) / count:.1f}" height="{high:.1f}" '
                f'fill-opacity="{opacity:.2f}">{svg.title(told)}</rect>'
            )
    labels = [_y_label((i + 0.5) * high, row) for i, row in enumerate(series)]
    labels += [_x_label(across.at(tick), tick) for tick in across.ticks()]
    plot = _plot(name, parts, labels, look=f"height:{max(20 * len(series), 60)}px")
    return _figure(name, plot, x.name, kind="heat")


def legend(entries: Iterable[tuple[str, str]]) -> str:
    """Which class of the page is what."""
    items = "".join(f'<li class="{kind}">{text(name)}</li>' for kind, name in entries)
    return f'<ul class="legend">{items}</ul>'


def _heights(drawn: Chart, curves: Iterable[tuple[Line, Buckets, Numbers]]) -> Iterator[float]:
    """What the y axis must hold."""
    for line, raw, mean in curves:
        low, high = (raw.low, raw.high) if line.pale else (mean, mean)
        yield from (float(low.min()), float(high.max()))
    for y in [*(dot.y for dot in drawn.dots), *(level for level, _ in drawn.levels)]:
        if math.isfinite(y) and (y > 0 or not drawn.y.log):
            yield y


def _grid(across: Scale, up: Scale) -> Iterator[str]:
    for tick in up.ticks():
        yield f'<path class="grid" d="M0 {_SIDE - up.at(tick):.1f}H{_SIDE}"/>'
    yield f'<path class="grid" d="M0 {_SIDE}H{_SIDE}"/>'
    for tick in across.ticks():
        yield f'<path class="grid" d="M{across.at(tick):.1f} 0V{_SIDE}"/>'


def _moment(at: float, told: str) -> str:
    return f'<path class="moment" d="M{at:.1f} 0V{_SIDE}">{svg.title(told)}</path>'


def _level(at: float) -> str:
    return f'<path class="level" d="M0 {_SIDE - at:.1f}H{_SIDE}"/>'


def _band(line: Line, raw: Buckets, across: Scale, up: Scale) -> str:
    there = _points(raw.x, raw.high, across, up)
    back = reversed(_points(raw.x, raw.low, across, up))
    return f'<path class="band {line.kind}" d="M{"L".join([*there, *back])}Z"/>'


def _path(line: Line, x: Numbers, y: Numbers, across: Scale, up: Scale) -> str:
    points = _points(x, y, across, up)
    if len(points) == 1:  # a path that goes nowhere shows its round end
        return f'<path class="dot {line.kind}" d="M{points[0]}h0">{svg.title(line.name)}</path>'
    return f'<path class="line {line.kind}" d="M{"L".join(points)}"/>'


def _points(x: Numbers, y: Numbers, across: Scale, up: Scale) -> list[str]:
    return [
        f"{across.at(a):.1f} {_SIDE - up.at(b):.1f}"
        for a, b in zip(x.tolist(), y.tolist(), strict=True)
    ]


def _probes(
    drawn: Chart, found: Iterable[tuple[Line, Numbers, Numbers]], across: Scale
) -> Iterator[str]:
    """Strips over the drawing that tell what every line is there."""
    told: dict[int, list[str]] = {}
    for line, x, y in found:
        cells = buckets(x, y, across.places(x, _PROBES))
        for i, place in enumerate(cells.place.tolist()):
            at = told.setdefault(place, [f"{short(cells.x[i])} {drawn.x.name}"])
            at.append(f"{line.name}: {_span(cells, i)}")
    for place, lines in sorted(told.items()):
        strip = f'x="{_SIDE * place / _PROBES:.1f}" width="{_SIDE / _PROBES:.1f}" height="{_SIDE}"'
        yield f'<rect class="probe" {strip}>{svg.title(chr(10).join(lines))}</rect>'


def _span(cells: Buckets, i: int) -> str:
    """The mean of a bucket, and its ends where they differ."""
    low, mean, high = (float(values[i]) for values in (cells.low, cells.mean, cells.high))
    return f"{mean:.4g}" + f" ({low:.4g} to {high:.4g})" * (low < high)


def _dot(dot: Dot, across: Scale, up: Scale) -> str:
    height = up.at(dot.y) if up.has(dot.y) else _SIDE
    place = f"M{across.at(dot.x):.1f} {_SIDE - height:.1f}h0"
    return f'<path class="dot {dot.kind}" d="{place}">{svg.title(dot.told)}</path>'


def _labels(across: Scale, up: Scale) -> list[str]:
    return [
        *(_y_label(_SIDE - up.at(tick), short(tick)) for tick in up.ticks()),
        *(_x_label(across.at(tick), tick) for tick in across.ticks()),
    ]


def _y_label(at: float, shown: str) -> str:
    return f'<span class="y" style="top:{at / 10:.2f}%">{text(shown)}</span>'


def _x_label(at: float, tick: float) -> str:
    return f'<span class="x" style="left:{at / 10:.2f}%">{text(short(tick))}</span>'


def _plot(
    name: str,
    parts: Iterable[str],
    labels: Iterable[str],
    levels: Iterable[tuple[float, str]] = (),
    look: str = "",
) -> str:
    """The drawing with its labels around it; the names of levels stand in it."""
    named = "".join(
        f'<span class="named" style="bottom:{at / 10:.2f}%">{text(level)}</span>'
        for at, level in levels
    )
    box = f'viewBox="0 0 {_SIDE} {_SIDE}" preserveAspectRatio="none"'
    return (
        f'<div class="plot" role="img" aria-label="{text(name)}"{f" style={look}" if look else ""}>'
        f"<svg {box}>{''.join(parts)}</svg>{''.join(labels)}{named}</div>"
    )


def _figure(name: str, plot: str, x: str = "", *, tall: bool = False, kind: str = "") -> str:
    under = f'<p class="under">{text(x)}</p>' if x else ""
    looks = " ".join(filter(None, ("chart", "tall" * tall, kind)))
    return f'<figure class="{looks}"><figcaption>{text(name)}</figcaption>{plot}{under}</figure>'
