"""One comment line with a path in it, as the first line of a file in a document.

V1's example is `#utils.py`: the mark, then the path, no blank. Other marks are followed by one, as
in `// src/a.c` and `<!-- p/x.html -->`. Source: DeepSeek-Coder §2.2 and its README.
"""

import re

from midfill.corpus.languages.table import LANGUAGES, OUTSIDE

# Everything that some language takes for the end of a line, and what terminals take for commands.
_CONTROLS = re.compile("[\x00-\x1f\x7f-\x9f\u2028\u2029]+")


def comment(language: str | None, text: str) -> str:
    """A comment line that holds `text`, without a line end; `#` where nothing better is known.

    Nothing in the text ends the comment: control characters become blanks, marks of a block comment
    are pulled apart, and a backslash at the end goes, since it would join the next line in C.
    """
    known = LANGUAGES.get(language or "") or OUTSIDE.get(language or "")
    line = _CONTROLS.sub(" ", text).rstrip("\\ ")
    if known is not None and known.line_comment is not None:
        blank = "" if known.line_comment == "#" else " "
        return known.line_comment + blank + line
    if known is not None and known.block_comment is not None:
        start, end = known.block_comment
        for mark in (start, end, "--") if start.startswith("<") else (start, end):
            line = _apart(line, mark)
        return f"{start} {line} {end}"
    return "#" + line


def _apart(text: str, mark: str) -> str:
    """The text with a blank inside each occurrence of a mark, or instead of one of one character."""
    instead = " ".join(mark) if len(mark) > 1 else " "
    while mark in text:
        text = text.replace(mark, instead)
    return text
