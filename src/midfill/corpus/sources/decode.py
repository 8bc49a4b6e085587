"""From the bytes of a file to text, or a reason: nothing is repaired, nothing left out.

UTF-8 first, then UTF-16 by its byte order mark, then the encoding that the file itself declares
(PEP 263, XML and HTML declarations, Emacs and vim modelines). A byte order mark is not part of the
text; size and SHA-256 are always those of the bytes as they were found.
"""

import codecs
import hashlib
import re

from midfill.corpus.record import Document, Drop, Unread

_HEAD, _TAIL = 1024, 3000  # bytes in which a declaration is looked for; Emacs looks at 3000
_NAME = rb"([A-Za-z0-9][-\w.]{0,39})"
_HEAD_DECLARATIONS = (
    re.compile(rb"^[ \t\f]*#.*?coding[:=][ \t]*" + _NAME, re.M),  # PEP 263, and Ruby's
    re.compile(rb"-\*-.*?\bcoding:[ \t]*" + _NAME),
    re.compile(rb"<\?xml\b[^>]*?\bencoding\s*=\s*[\"']" + _NAME),
    re.compile(rb"<meta\b[^>]*?\bcharset\s*=\s*[\"']?\s*" + _NAME, re.I),
    re.compile(rb"@charset\s+[\"']" + _NAME),
)
_VIM = re.compile(rb"\b(?:vim?|ex):[^\n]*?\b(?:fileencoding|fenc)=" + _NAME)
_EMACS_TAIL = re.compile(rb"Local Variables:[\s\S]*?\bcoding:[ \t]*" + _NAME)
# Names of Python codecs that are no encodings of text files, or that hide one text in another.
_REFUSED = {"utf-7", "unicode-escape", "raw-unicode-escape", "idna", "punycode", "undefined"}


def decode(data: bytes, stated: str | None = None) -> str | Drop:
    """The text of a file, or why it has none: `binary` or `encoding`.

    `stated` is an encoding that came with the file, such as a web server's.
    """
    if data.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        return _decoded(data, "utf-16")
    if b"\0" in data:
        return Drop("binary")
    try:
        text = data.decode()
    except UnicodeDecodeError:
        name = (_codec(stated) if stated else None) or declared(data)
        return Drop("encoding") if name is None else _decoded(data, name)
    return text[1:] if text.startswith("\ufeff") else text


def _decoded(data: bytes, encoding: str) -> str | Drop:
    try:
        text = data.decode(encoding)
    except ValueError:
        return Drop("encoding", encoding)
    return Drop("binary") if "\0" in text else text


def declared(data: bytes) -> str | None:
    """Python's name of the encoding that the file says it has, if Python knows it."""
    head, tail = data[:_HEAD], data[-_TAIL:]
    hits = [pattern.search(head) for pattern in _HEAD_DECLARATIONS]
    hits += [_VIM.search(head), _VIM.search(tail), _EMACS_TAIL.search(tail)]
    names = (_codec(hit[1].decode("ascii")) for hit in hits if hit)
    return next((name for name in names if name), None)


def _codec(name: str) -> str | None:
    name = re.sub(r"-(unix|dos|mac)$", "", name.lower())  # Emacs appends the line ends
    try:
        found = codecs.lookup(name)
    except (LookupError, ValueError):
        return None
    text = getattr(found, "_is_text_encoding", True)
    return found.name if text and found.name.replace("_", "-") not in _REFUSED else None


def document(repo: str, path: str, data: bytes, stated: str | None = None) -> Document | Unread:
    """The document of one file, or why there is none."""
    text = decode(data, stated)
    if isinstance(text, Drop):
        return Unread(path, len(data), text)
    digest = hashlib.sha256(data).hexdigest()
    return Document(repo=repo, path=path, text=text, size=len(data), sha256=digest)
