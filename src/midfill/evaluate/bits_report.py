"""Measurements of bits for people: lines for a terminal, and a page with the loss by position."""

import math
from collections.abc import Sequence
from pathlib import Path

from midfill.corpus.whole import replacing, write_json
from midfill.evaluate.bits import ALL, FILE, Bits, Bucket, Share
from midfill.evaluate.report import aligned
from midfill.pages import page as pages
from midfill.pages import svg
from midfill.pages.harmless import clean

PAGE = "bits.html"
_LEFT, _RIGHT, _TALL, _LEGEND = 54, 24, 260, 20

Table = tuple[list[str], list[list[str]]]


def labels(found: Sequence[Bits]) -> list[str]:
    """What the models are called: two of the same name with their windows, or their numbers."""
    for names in (
        [one.model for one in found],
        [f"{one.model} ({one.window:,})" for one in found],
    ):
        if len(set(names)) == len(names):
            return names
    return [f"{one.model} ({i})" for i, one in enumerate(found, 1)]


def share_table(found: Sequence[Bits]) -> Table:
    """Bits per byte of all documents and of each language, a column for each model."""
    head = ["language", "documents", "bytes"]
    for name in labels(found):
        head += [name, "95 % interval"]
    names = list(dict.fromkeys(name for one in found for name in one.languages))
    return head, [_share_row(name, found) for name in (ALL, *names)]


def _share_row(name: str, found: Sequence[Bits]) -> list[str]:
    shares = [one.all if name == ALL else one.languages.get(name) for one in found]
    known = next(share for share in shares if share is not None)
    row = [name, f"{known.documents:,}", f"{known.bytes:,}"]
    for share in shares:
        row += ["-", "-"] if share is None else _figures(share)
    return row


def _figures(share: Share) -> list[str]:
    return [f"{share.bits_per_byte:.4f}", f"{share.low:.4f}-{share.high:.4f}"]


def position_table(found: Sequence[Bits]) -> Table:
    """Bits per byte by tokens before; of two models with the change from the first to the second."""
    head = ["tokens before", *labels(found)]
    head += ["change"] * (len(found) == 2)
    by_place = [{(b.first, b.end): b for b in one.positions} for one in found]
    rows = []
    for first, end in sorted({place for buckets in by_place for place in buckets}):
        buckets = [one.get((first, end)) for one in by_place]
        row = [f"{first:,}-{end - 1:,}"]
        row += ["-" if b is None else f"{b.bits_per_byte:.4f}" for b in buckets]
        rows.append([*row, _change(*buckets)] if len(buckets) == 2 else row)
    return head, rows


def _change(before: Bucket | None, after: Bucket | None) -> str:
    if before is None or after is None or not before.bits:
        return "-"
    return f"{100 * (after.bits_per_byte / before.bits_per_byte - 1):+.2f} %"


def notes(found: Sequence[Bits]) -> list[str]:
    """What a reader must know before he believes the figures."""
    told = []
    if len({one.digest for one in found}) > 1:
        told.append("not the same documents: the figures cannot be compared")
    if len({(one.window, one.stride) for one in found}) > 1:
        told.append("not the same windows: part of the difference is what the models see")
    for name, one in zip(labels(found), found, strict=True):
        told.append(
            f"{name}: windows of {one.window:,} tokens every {one.stride:,}; positions are of the "
            f"first windows of {one.filling:,} documents"
        )
        if one.lossy_bytes:
            told.append(f"{name}: its tokenizer cannot express {one.lossy_bytes:,} bytes")
    return told


def as_text(found: Sequence[Bits]) -> str:
    """The figures for a terminal."""
    lines = [f"bits per byte  {clean(', '.join(labels(found)))}", ""]
    for head, rows in (share_table(found), position_table(found)):
        lines += [*aligned([clean(name) for name in head], rows, indent="  "), ""] * bool(rows)
    lines += [f"  note: {clean(note)}" for note in notes(found)]
    return "\n".join(lines) + "\n"


def as_page(found: Sequence[Bits]) -> str:
    """A page: the loss by position, and the tables."""
    names = " and ".join(labels(found))
    body = f'<h1>Bits per byte</h1><p class="model">{pages.text(names)}</p>'
    body += "".join(f'<p class="lead">{pages.text(note)}</p>' for note in notes(found))
    drawn = [one for one in found if one.positions]
    if drawn:
        body += pages.section(
            "By position",
            "Bits per byte by how many tokens stand before, from the beginnings of documents that "
            "fill a window. In colour: the first model.",
            f'<div class="sheet">{curves(drawn)}</div>'
            f'<div class="sheet">{pages.table(*position_table(found))}</div>',
        )
    shares = f'<div class="sheet">{pages.table(*share_table(found), first=True)}</div>'
    body += pages.section("By language", "Less is better.", shares)
    return pages.page("Bits per byte", body, wide=True)


def curves(found: Sequence[Bits]) -> str:
    """Bits per byte over the number of tokens before, which doubles at each mark."""
    points = [[(_middle(b), b.bits_per_byte) for b in one.positions] for one in found]
    across = [x for line in points for x, _ in line]
    values = [y for line in points for _, y in line]
    apart = svg.step(max((max(values) - min(values)) / 4, 1e-3))
    low, high = (
        apart * math.floor(min(values) / apart),
        apart * (math.floor(max(values) / apart) + 1),
    )
    top = _LEGEND * len(found) + 12
    wide = max(math.log2(max(across) / min(across)), 1.0)

    def x(tokens: float) -> float:
        share = math.log2(tokens / min(across)) / wide
        return _LEFT + 10 + share * (svg.WIDTH - _LEFT - _RIGHT - 20)

    def y(bits: float) -> float:
        return top + (high - bits) / (high - low) * _TALL

    right = svg.WIDTH - _RIGHT
    parts = []
    for i in range(round((high - low) / apart) + 1):
        at = y(low + i * apart)
        parts.append(f'<line class="grid" x1="{_LEFT}" x2="{right}" y1="{at:.1f}" y2="{at:.1f}"/>')
        parts.append(svg.text(_LEFT - 8, at, f"{low + i * apart:g}", "end soft"))
    for place in sorted({b.first for one in found for b in one.positions if b.first >= 32}):
        label = f"{place // 1024}K" if place >= 1024 else f"{place}"
        if min(across) <= place <= max(across):
            parts.append(svg.text(x(place), top + _TALL + 16, label, "mid soft"))
    drawn = list(enumerate(zip(labels(found), found, points, strict=True)))
    for i, (name, one, line) in reversed(drawn):  # the first on top
        parts.append(f'<g class="{"first" if i == 0 else "baseline"}">')
        path = " ".join(f"{x(place):.1f},{y(bits):.1f}" for place, bits in line)
        parts.append(f'<polyline class="whisker" fill="none" points="{path}"/>')
        for bucket, (place, bits) in zip(one.positions, line, strict=True):
            told = f"{name}, {bucket.first}-{bucket.end - 1} tokens before: {bits:.4f}"
            mark = f'<circle class="point" cx="{x(place):.1f}" cy="{y(bits):.1f}" r="4"/>'
            parts.append(f"<g>{svg.title(told)}{mark}</g>")
        parts.append(
            f'<circle class="point" cx="{_LEFT + 10}" cy="{_LEGEND * (i + 0.5):g}" r="4"/>'
        )
        parts.append(svg.text(_LEFT + 22, _LEGEND * (i + 0.5), name, "soft"))
        parts.append("</g>")
    parts.append(svg.text(right, top + _TALL + 34, "tokens before", "end soft"))
    return svg.drawing(top + _TALL + 46, parts, "Bits per byte by position in the context")


def _middle(bucket: Bucket) -> float:
    return math.sqrt(bucket.first * bucket.end)


def write_bits(found: Sequence[Bits], folder: Path) -> Path:
    """Write the page, and for one model the measurement itself; return the page's path."""
    folder.mkdir(parents=True, exist_ok=True)
    if len(found) == 1:
        write_json(folder / FILE, found[0].to_json())
    with replacing(folder / PAGE) as file:
        file.write(as_page(found).encode())
    return folder / PAGE
