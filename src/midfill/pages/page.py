"""An HTML page of its own, and its parts: sections, facts, tables. Every text is escaped."""

import html
import re
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from midfill.pages.harmless import clean

POLICY = "default-src 'none'; style-src 'unsafe-inline'; img-src data:"
ICON = (
    "data:image/svg+xml,%3Csvg xmlns='http://www.w3.org/2000/svg' viewBox='0 0 32 32'%3E%3Crect "
    "width='32' height='32' rx='8' fill='%23125e56'/%3E%3Cpath d='M7 8h18M7 24h18' stroke='%23fff' "
    "stroke-width='3' stroke-linecap='round'/%3E%3Crect x='7' y='13' width='18' height='6' rx='2' "
    "fill='%235fe0c4'/%3E%3C/svg%3E"
)
_SIZE = re.compile(r"[\d.,]+ [KMGT]?B")  # words to the left, numbers and sizes to the right


def page(title: str, body: str, *, wide: bool = False) -> str:
    """A page of its own with the report's looks; `body` is HTML, `wide` for large tables."""
    css = Path(__file__).with_name("page.css").read_text(encoding="utf-8")
    return (
        '<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        f'<meta http-equiv="Content-Security-Policy" content="{POLICY}">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        '<meta name="color-scheme" content="light dark">\n'
        f'<title>{text(title)}</title>\n<link rel="icon" href="{ICON}">\n'
        f"<style>\n{css}</style>\n</head>\n<body>\n<main{' class=wide' * wide}>\n{body}</main>\n</body>\n</html>\n"
    )


def text(value: str) -> str:
    """A text of anybody's, harmless in HTML, in an attribute too."""
    return html.escape(clean(value))


def fact(name: str, value: str) -> str:
    """One entry of a list of facts."""
    return f"<div><dt>{text(name)}</dt><dd>{text(value)}</dd></div>"


def facts(values: Mapping[str, str]) -> str:
    """A list of facts."""
    return (
        f'<dl class="facts">{"".join(fact(name, value) for name, value in values.items())}</dl>\n'
    )


def section(name: str, lead: str, body: str) -> str:
    """A section; `lead` says what it shows, `body` is HTML."""
    told = f'<p class="lead">{text(lead)}</p>' if lead else ""
    return f"<section><h2>{name}</h2>{told}{body}</section>\n"


def table(
    head: Sequence[str], rows: Iterable[Sequence[str]], *, first: bool = False, last: bool = False
) -> str:
    """A table; columns with words go to the left. `first` sets off the first row, `last` our column."""
    rows = list(rows)
    kinds = [_kind([row[i] for row in rows]) for i in range(len(head))]
    if last and head[-1] == "ours":
        kinds[-1] = ' class="ours"'
    top = "".join(f"<th{kind}>{text(name)}</th>" for kind, name in zip(kinds, head, strict=True))
    lines = []
    for i, values in enumerate(rows):
        cells = "".join(
            f"<td{_colour(value) or kind}>{text(value)}</td>"
            for kind, value in zip(kinds, values, strict=True)
        )
        row = ' class="first"' * (first and i == 0)
        lines.append(f"<tr{row}>{cells}</tr>")
    return f"<table><thead><tr>{top}</tr></thead><tbody>{''.join(lines)}</tbody></table>"


def wide(table: str, width: int) -> str:
    """A table of many columns, which on a narrow screen is scrolled and not crushed."""
    return f'<div class="scroll"><div style="min-width:{width}px">{table}</div></div>'


def _kind(values: Sequence[str]) -> str:
    words = (c.isalpha() for value in values if not _SIZE.fullmatch(value) for c in value)
    return ' class="text"' * any(words)


def _colour(value: str) -> str:
    return {"✓": ' class="yes"', "✗": ' class="no"'}.get(value, "")
