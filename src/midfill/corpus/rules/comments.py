"""How much of a file is comment, and the comments it begins with."""

import re
from functools import lru_cache

from midfill.corpus.record import Document

HEAD = 8192  # characters in which a head may lie

# Blank lines, comments of any family, and the few lines that must come before a comment.
_HEAD = re.compile(
    r"""(?x)
    (?:
        [ \t\r\n\f\ufeff]++
      | /\*(?s:.*?)(?:\*/|\Z)
      | <!--(?s:.*?)(?:-->|\Z)
      | --\[=*\[(?s:.*?)(?:\]=*\]|\Z)
      | [rRuU]?\"{3}(?s:.*?)(?:\"{3}|\Z)
      | [rRuU]?'{3}(?s:.*?)(?:'{3}|\Z)
      | \{-(?s:.*?)(?:-\}|\Z)
      | \(\*(?s:.*?)(?:\*\)|\Z)
      | =begin\b(?s:.*?)(?:^=(?:end|cut)|\Z)[^\n]*
      | (?:\#|//|--|;|%|!|\.\\"|dnl\b|[Rr][Ee][Mm]\b|'|"|\*)[^\n]*
      | <\?(?:php|xml)[^\n]*
      | \{\#(?s:.*?)(?:\#\}|\Z)
      | @(?:charset|echo)\b[^\n]*
    )*+
    """,
    re.MULTILINE,
)


@lru_cache(maxsize=1)  # two rules ask for it
def head(text: str) -> str:
    """The comments that a text begins with, blank lines and `#!` lines included; often empty."""
    hit = _HEAD.match(text, 0, HEAD)
    return hit[0] if hit else ""


_RIGHTS = ("licen", "copyright", "spdx", "permission", "redistribut", "public domain", "all rights")
# A directive of C's preprocessor looks like a comment of other languages.
_DIRECTIVE = re.compile(
    r"^[ \t]*#[ \t]*(?:include|define|undef|if|ifn?def|endif|else|elif|pragma|import)\b",
    re.MULTILINE,
)


def speaks_of_rights(comments: str) -> bool:
    """Whether comments may say who owns a text, or what others may do with it."""
    folded = comments.lower()
    return any(word in folded for word in _RIGHTS)


def licence_end(text: str) -> int:
    """Where a text goes on behind the comments at its start, if these speak of rights; else 0."""
    comments = head(text)
    if directive := _DIRECTIVE.search(comments):
        comments = comments[: directive.start()]
    return len(comments) if speaks_of_rights(comments) else 0


@lru_cache(maxsize=512)
def _comment_pattern(line: str | None, block: tuple[str, str] | None) -> re.Pattern[str] | None:
    parts = []
    if block:
        opening, closing = map(re.escape, block)
        parts.append(rf"{opening}(?s:.*?)(?:{closing}|\Z)")
    if line:
        parts.append(rf"{re.escape(line)}[^\n]*")
    if line == "#":  # Python's documentation strings
        parts.append(r"^[ \t]*\"{3}(?s:.*?)(?:\"{3}|\Z)")
    return re.compile("|".join(parts), re.MULTILINE) if parts else None


def comment_characters(document: Document) -> int | None:
    """Characters of a document in comments; None where its language has no known comment signs."""
    from midfill.corpus.languages import LANGUAGES

    language = LANGUAGES.get(document.language or "")
    pattern = language and _comment_pattern(language.line_comment, language.block_comment)
    if not pattern:
        return None
    return sum(len(hit[0]) for hit in pattern.finditer(document.text))
