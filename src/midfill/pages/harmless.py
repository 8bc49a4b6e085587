"""Texts of models and of their programs, made safe to show: in a terminal, in a page, in a table."""

import re

_SEQUENCES = re.compile(  # of a terminal: CSI, OSC and the like, two characters
    r"\x1b\[[0-?]*[ -/]*[@-~]|\x1b[\]PX^_][^\x07\x1b]*(?:\x07|\x1b\\)?|\x1b[ -/]*[0-~]"
)
_INVISIBLE = re.compile(
    "[\x00-\x08\x0b-\x1f\x7f-\x9f\u061c\u200b-\u200f\u2028-\u202e\u2060-\u2069\ufeff\ud800-\udfff]"
)


def clean(text: str) -> str:
    """The text without terminal sequences, with every other unseen character made visible."""
    return visible(_SEQUENCES.sub("", text.replace("\r\n", "\n")))


def visible(text: str) -> str:
    """The text with control, direction and zero-width characters and lone surrogates spelled out."""
    return _INVISIBLE.sub(_spelled, text)


def _spelled(match: re.Match[str]) -> str:
    code = ord(match[0])
    if code < 0x20:
        return chr(0x2400 + code)
    return "␡" if code == 0x7F else f"\\u{code:04x}"


def one_line(text: str, width: int = 100) -> str:
    """The first line of a text that says something, harmless and cut to a width."""
    lines = (line.strip() for line in clean(text[: 20 * width]).splitlines())
    first = next(filter(None, lines), "")
    return first if len(first) <= width else first[: width - 1] + "…"
