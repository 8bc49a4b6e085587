"""What the rules count in a text, in one pass each: native code where it is built, else Python.

A character is a code point. A line ends at `\\n`, which is not part of it, nor is one `\\r` before
it; a text that ends with `\\n` has no further, empty line. A letter is what Unicode calls one
(`str.isalpha`), white space what `str.isspace` says. Functions that begin with `plain_` are the
readable twins of `native/text.cpp` and equal it on every text.
"""

import html
import re
from collections.abc import Callable, Iterator
from functools import lru_cache
from typing import NamedTuple

try:
    from midfill.corpus import _native as native  # pyright: ignore[reportAttributeAccessIssue]
except ImportError:  # no compiler was there
    native = None


class TextStatistics(NamedTuple):
    """Counts of one text."""

    characters: int
    lines: int
    longest_line: int  # characters
    line_characters: int  # of all lines together, without their ends
    letters: int
    spaces: int  # white space of every kind, ends of lines too

    @property
    def mean_line(self) -> float:
        """Characters in a line, on average; 0 for an empty text."""
        return self.line_characters / max(self.lines, 1)


def plain_text_statistics(text: str) -> tuple[int, int, int, int, int, int]:
    """The fields of TextStatistics, by Python alone."""
    lines = text.split("\n")
    if not lines[-1]:
        lines.pop()
    lengths = [len(line) - line.endswith("\r") for line in lines]
    letters = sum(map(str.isalpha, text))
    spaces = sum(map(str.isspace, text))
    return len(text), len(lines), max(lengths, default=0), sum(lengths), letters, spaces


_MARKUP = re.compile(
    r"""(?xia)
    <!--(?s:.*?)(?:-->|\Z)                                                    # comment
    | <[!?][^>]*(?:>|\Z)                                                      # declaration
    | </?(?P<tag>[a-z](?:[^>"']|"[^"]*(?:"|\Z)|'[^']*(?:'|\Z))*+)(?:>|\Z)     # tag
    """
)
_RAW = re.compile(r"(?P<name>(?ai:script|style))(?=[\s/]|\Z)")
_RAW_END = {name: re.compile(rf"</(?ai:{name})(?=[\s/>]|\Z)") for name in ("script", "style")}
_REFERENCE = re.compile(r"&#?[0-9A-Za-z]{1,32};")


def _visible_pieces(text: str) -> Iterator[str]:
    at = 0
    while hit := _MARKUP.search(text, at):
        yield text[at : hit.start()]
        at = hit.end()
        raw = hit["tag"] and text[hit.start() + 1] != "/" and _RAW.match(hit["tag"])
        if raw:
            end = _RAW_END[raw["name"].lower()].search(text, at)
            at = end.start() if end else len(text)
    yield text[at:]


_BLOCKS = re.compile(
    r"(?ai:address|article|aside|blockquote|br|dd|div|dl|dt|figure|footer|form|h[1-6]|header|hr|li|main"
    r"|nav|ol|option|p|pre|section|table|td|th|title|tr|ul)(?=[\s/]|\Z)"
)


def visible_text(text: str) -> str:
    """What a reader of an HTML page sees: its text, a line for each block, entities resolved."""
    parts, at = [], 0
    while hit := _MARKUP.search(text, at):
        parts.append(text[at : hit.start()])
        at, tag = hit.end(), hit["tag"]
        if tag and text[hit.start() + 1] != "/" and (raw := _RAW.match(tag)):
            end = _RAW_END[raw["name"].lower()].search(text, at)
            at = end.start() if end else len(text)
        elif tag and _BLOCKS.match(tag):
            parts.append("\n")
    lines = (
        " ".join(line.split()) for line in html.unescape("".join([*parts, text[at:]])).split("\n")
    )
    return re.sub(r"\n{3,}", "\n\n", "\n".join(lines)).strip() + "\n"


def plain_visible_characters(text: str) -> int:
    """The same as `visible_characters`, by Python alone."""
    seen = "".join(_REFERENCE.sub("x", piece) for piece in _visible_pieces(text))
    return len(" ".join(seen.split()))


_ENCODED = re.compile(
    r"(?P<run>[A-Za-z0-9+/]{60,})|(?:0[xX]|\\x)[0-9A-Fa-f]{1,16}(?![0-9A-Za-z_])[, \t\r\n]*"
)
_PADDING = re.compile("=*")
_LETTER, _DIGIT = re.compile("[A-Za-z]"), re.compile("[0-9]")


def _encoded_length(text: str, hit: re.Match[str]) -> int:
    run = hit["run"]
    if run is None:
        return len(hit[0])
    if not _LETTER.search(run) or not _DIGIT.search(run) or run.count("/") * 8 > len(run):
        return 0
    padding = _PADDING.match(text, hit.end())
    return len(run) + (len(padding[0]) if padding else 0)


def plain_encoded_characters(text: str) -> int:
    """The same as `encoded_characters`, by Python alone."""
    return sum(_encoded_length(text, hit) for hit in _ENCODED.finditer(text))


# Beginnings of tokens that companies gave a shape. `(?=...)` where the beginning alone is a word.
PREFIXES = (
    r"AKIA|ASIA|AIza|ya29\.|gh[pousr]_|github_pat_|glpat-|xox[abprs]-|xapp-|[sr]k_live_"
    r"|SK(?=[0-9A-Fa-f])|SG\.|npm_|pypi-|sk-|eyJ|-----BEGIN\ |hooks\.slack\.com/|hf_"
    r"|(?:dop_v1_|shpat_|key-|rubygems_)(?=[0-9A-Fa-f])|EAACEdEose0cBA|sq0|AGE-SECRET-KEY-1"
    r"|dckr_pat_|lin_api_|AccountKey="
)
KEYWORDS = (
    "password|passwd|passphrase|pwd|secret|token|apikey|api_key|api-key|access_key|accesskey"
    "|auth_key|private_key|credential"
)
ASSIGNED = r"""[\w-]{0,24}+["']?+[\])]?+[ \t]{0,8}+[=:][=>]?+[ \t]{0,8}+"""
QUOTED = r"""[A-Za-z]?(?P<quote>["'`])(?P<value>(?:(?!(?P=quote))[^\x00-\x20]){6,256})(?P=quote)"""
_KEY = r"[A-Za-z0-9+/_=!@#%^&*~-]"
BARE = rf"(?=(?P<bare>{_KEY}{{8,256}}+)(?:\r?\n|\r?\Z))(?={_KEY}*?[0-9])(?={_KEY}*?[A-Za-z])"
_ANCHOR = re.compile(
    rf"""(?xa)(?=
    (?<![A-Za-z0-9])(?:{PREFIXES})
    | (?i:{KEYWORDS}){ASSIGNED}(?:{QUOTED}|{BARE})
    | (?<=[A-Za-z0-9._+%-])@[A-Za-z0-9]                                # e-mail
    | ://(?=[^\x00-\x20/"'<>@:]{{0,255}}:)[^\x00-\x20/"'<>@]{{0,255}}@  # name and password
    | (?<![A-Za-z0-9._+%-])[0-9]{{1,3}}(?:\.[0-9]{{1,3}}){{3}}(?!\w|\.[0-9])
    | (?<![A-Za-z0-9._+%:-])[23][0-9A-Fa-f]{{3}}:[:0-9A-Fa-f]
    )"""
)


def plain_secret_anchors(text: str) -> list[int]:
    """The same as `secret_anchors`, by Python alone."""
    return [hit.start() for hit in _ANCHOR.finditer(text)]


_statistics: Callable[[str], tuple[int, int, int, int, int, int]] = (
    native.text_statistics if native else plain_text_statistics
)
_visible: Callable[[str], int] = native.visible_characters if native else plain_visible_characters
_encoded: Callable[[str], int] = native.encoded_characters if native else plain_encoded_characters
_anchors: Callable[[str], list[int]] = native.secret_anchors if native else plain_secret_anchors


@lru_cache(maxsize=1)  # the rules ask one after the other for the same text
def text_statistics(text: str) -> TextStatistics:
    """Counts of one text, in one pass."""
    return TextStatistics(*_statistics(text))


def visible_characters(text: str) -> int:
    """Characters that a reader of an HTML page sees: each run of white space counts as one.

    Outside comments, declarations and tags, and outside the content of `script` and `style`; a
    character reference is one character. Linear in the text, whatever it holds.
    """
    return _visible(text)


def encoded_characters(text: str) -> int:
    """Characters of encoded data: long runs of base64, and numbers such as `0x1F, ` and `\\x1f`.

    A run has at least 60 characters, among them a digit and a letter, and at most an eighth of
    them are slashes, so that neither a path nor a line drawn with slashes is one.
    """
    return _encoded(text)


def secret_anchors(text: str) -> list[int]:
    """Places, ascending, where `privacy.mask` has to look: no secret begins elsewhere.

    Beginnings of known keys, names such as `password` to which a value is given, an `@` between an
    e-mail's parts, `://` before a name and a password, and numbers that have the shape of an
    Internet address.
    """
    return _anchors(text)
