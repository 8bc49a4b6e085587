"""From bytes to text, or a reason."""

import hashlib

import pytest

from midfill.corpus.record import Drop
from midfill.corpus.sources.decode import decode, document


@pytest.mark.parametrize(
    ("data", "text"),
    [
        (b"", ""),
        ("ü\r\nno end".encode(), "ü\r\nno end"),
        (b"\xef\xbb\xbfx = 1\n", "x = 1\n"),
        (b"\xef\xbb\xbf\xef\xbb\xbfx", "\ufeffx"),
        ("\ufeffhä\n".encode("utf-16-le"), "hä\n"),
        ("\ufeffhä\n".encode("utf-16-be"), "hä\n"),
        ("# -*- coding: latin-1 -*-\nx = 'é'\n".encode("latin-1"), "# -*- coding: latin-1 -*-\nx = 'é'\n"),
        ('<?xml version="1.0" encoding="ISO-8859-15"?><a>€</a>'.encode("iso-8859-15"),
         '<?xml version="1.0" encoding="ISO-8859-15"?><a>€</a>'),
        ('<meta charset="windows-1252"><p>“x”'.encode("cp1252"), '<meta charset="windows-1252"><p>“x”'),
        ("// vim: set fileencoding=shift_jis :\n日本".encode("shift_jis"),
         "// vim: set fileencoding=shift_jis :\n日本"),
        ("a é\n;; Local Variables:\n;; coding: latin-1-unix\n;; End:\n".encode("latin-1"),
         "a é\n;; Local Variables:\n;; coding: latin-1-unix\n;; End:\n"),
    ],
)  # fmt: skip
def test_decoding(data: bytes, text: str):
    assert decode(data) == text


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"a\0b", "binary"),
        (b"\xff\xfe", "encoding"),
        (b"\xff\xfe\x00\xd8", "encoding"),
        (b"\xff\xfea\0\0\0", "binary"),
        (b"\xe9 undeclared", "encoding"),
        (b"# coding: utf-8\n\xe9", "encoding"),
        (b"# coding: utf-7\n\xe9", "encoding"),
        (b"# coding: unicode_escape\n\xe9", "encoding"),
        (b"# coding: rot13\n\xe9", "encoding"),
        (b"# coding: no-such-thing\n\xe9", "encoding"),
        (b"# coding: ascii\n\xe9", "encoding"),
        (b"\xed\xa0\x80", "encoding"),
    ],
)
def test_what_is_no_text(data: bytes, reason: str):
    found = decode(data)
    # An empty UTF-16 file is a text: the mark alone.
    assert (
        found == "" if data == b"\xff\xfe" else isinstance(found, Drop) and found.reason == reason
    )


def test_size_and_checksum_are_those_of_the_bytes():
    data = "\ufeffhä".encode("utf-16")
    found = document("r", "p", data)
    assert (found.size, getattr(found, "sha256", "")) == (
        len(data),
        hashlib.sha256(data).hexdigest(),
    )
