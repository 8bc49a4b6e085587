"""`midfill tokenizer compare`: bytes per token, by language and vocabulary, as table and page."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from midfill.errors import ResourceError
from midfill.hub.progress import Progress
from midfill.pages import page as pages
from midfill.pages import svg
from midfill.terminal import show
from midfill.terminal.tokenizer_load import vocabulary_of
from midfill.terminal.tokenizer_texts import Texts
from midfill.tokenizer.compression import ALL, Row, as_records, measure
from midfill.tokenizer.fast import FastEncoder
from midfill.tokenizer.tokenizer import Tokenizer

_LEFT, _BEHIND = 150, 60  # of a drawing: for names of languages, for numbers
_THICK, _GAP, _AXIS = 13, 16, 26
_DRAWN = 12  # languages, at most; the table has all
_LEAST = 20_000  # bytes of a language that is drawn


def compare_tokenizers(
    models: Sequence[str], on: Sequence[Path], page: Path | None, *, json: bool, quiet: bool
) -> int:
    """Measure each vocabulary on the same texts; print the table and write the page."""
    texts = Texts(on)
    encoders = _encoders(models, quiet=quiet)
    with show.progress(quiet=quiet) as report:
        done = 0

        def counted() -> Any:
            nonlocal done
            for one in texts:
                yield one
                done += len(one.text.encode())
                if report:
                    report(Progress(label="encoding", done_bytes=done))

        rows = measure(encoders, counted())
    if not rows[0].texts:
        raise texts.nothing()
    if unread := texts.told_unread():
        show.note(f"warning: {unread}", quiet=quiet)
    entries = {name: encoder.tokenizer.vocab_size for name, encoder in encoders.items()}
    if page is not None:
        _write(page, as_page(entries, rows))
    if json:
        show.as_json({"entries": entries, "rows": as_records(rows)})
    else:
        show.table(cells(rows), ("language", "texts", "bytes", *_heads(entries)))
        show.note("\nbytes per token; more is better", quiet=quiet)
        if page is not None:
            print(f"\npage     {page}")
    return 0


def _encoders(models: Sequence[str], *, quiet: bool) -> dict[str, FastEncoder]:
    """An encoder for each, by a short name, or by what was typed where two would be called alike."""
    loaded = [(typed, *vocabulary_of(typed, quiet=quiet)) for typed in models]
    names = [name for _, name, _ in loaded]
    return {
        name if names.count(name) == 1 else typed: FastEncoder(Tokenizer(vocabulary))
        for typed, name, vocabulary in loaded
    }


def _heads(entries: dict[str, int]) -> list[str]:
    return [f"{name} ({count:,})" for name, count in entries.items()]


def cells(rows: Sequence[Row]) -> list[tuple[str, ...]]:
    """The table's rows in words."""
    return [
        (
            row.language,
            f"{row.texts:,}",
            show.size(row.bytes),
            *(f"{row.bytes_per_token(name):.2f}" for name in row.tokens),
        )
        for row in rows
    ]


def as_page(entries: dict[str, int], rows: Sequence[Row]) -> str:
    """The page: a drawing of the languages with the most bytes, and the table of all."""
    whole = rows[0]
    lead = (
        f"Bytes of text that one token stands for, on {whole.texts:,} texts of "
        f"{show.size(whole.bytes)}; more is better. Behind a name, the entries of the vocabulary: "
        "more entries compress better and cost more in the network."
    )
    drawn = [row for row in rows if row.language == ALL or row.bytes >= _LEAST][: _DRAWN + 1]
    table = pages.table(("language", "texts", "bytes", *_heads(entries)), cells(rows), first=True)
    return pages.page(
        "Vocabularies compared",
        "<h1>Vocabularies compared</h1>"
        + pages.section("Bytes per token", lead, drawing(drawn))
        + pages.section("All languages", "", table),
        wide=len(entries) > 3,
    )


def drawing(rows: Sequence[Row]) -> str:
    """A bar of each vocabulary for each language, the first vocabulary in the page's colour."""
    names = list(rows[0].tokens)
    most = max(row.bytes_per_token(name) for row in rows for name in names)
    right = svg.WIDTH - _BEHIND - 110
    height = len(rows) * (_THICK * len(names) + _GAP)

    def x(value: float) -> float:
        return _LEFT + value / most * (right - _LEFT)

    parts = [
        f'<line class="grid" x1="{x(tick):.1f}" x2="{x(tick):.1f}" y1="0" y2="{height}"/>'
        + svg.text(x(tick), height + 14, f"{tick:g}", "mid soft")
        for tick in svg.ticks(most, 5)
    ]
    for i, row in enumerate(rows):
        top = i * (_THICK * len(names) + _GAP) + _GAP / 2
        middle = top + _THICK * len(names) / 2
        parts.append(svg.text(_LEFT - 12, middle, row.language, "end name"))
        for j, name in enumerate(names):
            parts.append(_bar(row, name, j, top + j * _THICK, x(row.bytes_per_token(name))))
    return svg.drawing(height + _AXIS, parts, "Bytes per token by language and vocabulary")


def _bar(row: Row, name: str, place: int, y: float, end: float) -> str:
    value = row.bytes_per_token(name)
    told = svg.title(f"{row.language}, {name}: {value:.2f} bytes per token")
    rect = f'<rect class="bar" x="{_LEFT}" y="{y:.1f}" height="{_THICK - 3}" width="{end - _LEFT:.1f}" rx="2"/>'
    label = svg.text(end + 6, y + (_THICK - 3) / 2, f"{value:.2f} {name}", "tiny")
    return f'<g class="{"first" if place == 0 else "baseline"}">{told}{rect}{label}</g>'


def _write(path: Path, text: str) -> None:
    from midfill.corpus.whole import replacing

    try:
        with replacing(path) as file:
            file.write(text.encode())
    except OSError as error:
        raise ResourceError(
            f"{path} cannot be written",
            why=error.strerror or str(error),
            fix="give a --page in a folder that can be written",
        ) from error
