"""Which lines of a file are worth asking a model for: no blank ones, comments or lone brackets."""

from collections.abc import Iterator, Sequence

from midfill.corpus.languages import LANGUAGES

SHORTEST, LONGEST = 8, 160  # characters of a line, without white space around it
LETTERS = 3  # at least, or digits: what has fewer is punctuation
BEFORE, BEHIND = 3, 2  # lines in the file that are not blank, at least
_STRINGS = ('"""', "'''")  # docstrings are prose


def worth_asking(line: str) -> bool:
    """Whether a line, by itself, says enough to be asked for."""
    body = line.strip()
    if not SHORTEST <= len(body) <= LONGEST:
        return False
    return sum(sign.isalnum() for sign in body) >= LETTERS


def askable(lines: Sequence[str], language: str) -> Iterator[int]:
    """Indices of the lines of code with context before and behind that are worth asking for.

    Marks of comments and docstrings within strings are taken for marks.
    """
    said = [i for i, line in enumerate(lines) if line.strip()]
    inside = set(said[BEFORE : len(said) - BEHIND])
    prose = set(_prose(lines, language))
    return (i for i in said if i in inside and i not in prose and worth_asking(lines[i]))


def _prose(lines: Sequence[str], language: str) -> Iterator[int]:
    """Indices of lines in which a comment or a docstring begins, goes on or ends."""
    known = LANGUAGES.get(language)
    pairs = [(mark, mark) for mark in _STRINGS] if language == "Python" else []
    pairs += [known.block_comment] if known and known.block_comment else []
    line_comment = known.line_comment if known else None
    end = ""  # of the comment that is open
    for i, line in enumerate(lines):
        body = line.strip()
        if end or any(start in body for start, _ in pairs) or _says_nothing(body, line_comment):
            yield i
        end = _open_behind(body, pairs, line_comment, end)


def _says_nothing(body: str, line_comment: str | None) -> bool:
    """Whether a line is a comment, a string and nothing else, or was no text (U+FFFD)."""
    if line_comment and body.startswith(line_comment):
        return True
    return (body[:1] in ("'", '"') and body[-1:] == body[:1]) or "\ufffd" in body


def _open_behind(
    body: str, pairs: Sequence[tuple[str, str]], line_comment: str | None, end: str
) -> str:
    """The mark that ends the comment in which a line leaves off; empty where it leaves off in code."""
    at = 0
    while True:
        if end:
            found = body.find(end, at)
            if found < 0:
                return end
            at, end = found + len(end), ""
            continue
        begun = [(body.find(start, at), start, stop) for start, stop in pairs if start in body[at:]]
        if not begun:
            return ""
        found, start, end = min(begun)
        if line_comment and 0 <= body.find(line_comment, at) < found:
            return ""
        at = found + len(start)
