"""The elements of drawings as SVG text: no script, colours from the page, a title on every mark.

Lengths are user units of a drawing `WIDTH` wide, which the page scales.
"""

import html
import math
from collections.abc import Iterable

from midfill.pages.harmless import clean

WIDTH = 760


def ticks(most: float, about: int, *, whole: bool = False) -> list[float]:
    """Round numbers from 0 to `most`, about so many."""
    apart = step(most / about, whole=whole)
    return [i * apart for i in range(math.floor(most / apart + 1e-9) + 1)]


def step(least: float, *, whole: bool = False) -> float:
    """The smallest of 1, 2, 5, 10, 20, ... and their parts that is at least `least`."""
    if whole:
        least = max(least, 1)
    scale = 10.0 ** math.floor(math.log10(least))
    return next(m * scale for m in (1, 2, 5, 10) if m * scale >= least * (1 - 1e-9))


def round_up(share: float) -> float:
    """Where an axis from 0 ends: just above the largest value, at most at 100 %."""
    percent = max(100 * share, 1)
    apart = step(percent / 5)
    return min(apart * math.ceil(percent / apart) / 100, 1.0)


def drawing(height: float, parts: Iterable[str], name: str) -> str:
    """The whole drawing; `name` is read to those who do not see it."""
    return (
        f'<svg viewBox="0 0 {WIDTH} {height:g}" role="img" aria-label="{_escaped(name)}">'
        f"{''.join(parts)}</svg>"
    )


def text(x: float, y: float, text: str, kind: str) -> str:
    """A text around the height `y`; `kind` are classes of the page: end, mid, soft, tiny, name."""
    shown = text if len(text) <= 26 or "name" not in kind else text[:25] + "…"
    return f'<text class="{kind}" x="{x:.1f}" y="{y:.1f}" dy=".35em">{_escaped(shown)}</text>'


def title(text: str) -> str:
    """What is shown when the mark it stands in is pointed at."""
    return f"<title>{_escaped(text)}</title>"


def _escaped(text: str) -> str:
    return html.escape(clean(text))
