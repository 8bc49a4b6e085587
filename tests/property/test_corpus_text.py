"""The compiled loops over characters equal their twins in Python, on every text."""

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from midfill.corpus.rules import characters
from midfill.corpus.rules.characters import (
    plain_encoded_characters,
    plain_secret_anchors,
    plain_text_statistics,
    plain_visible_characters,
)

native = characters.native
pytestmark = pytest.mark.skipif(native is None, reason="the extension is not built here")

STRANGE = ["\r", "\n", "\r\n", "\v", "\f", "\x1c", "\x85", "\u2028", "\u2029", "\xa0", "\x00"]
STRANGE += ["é", "ß", "ª", "×", "÷", "º", "µ", "中", "я", "─", "𝐀", "𐐀", "😀", "\ud800", "ſ", "K"]
HTML = [
    "<",
    ">",
    "<!--",
    "-->",
    "<!",
    "<?",
    "</",
    "<p ",
    "<b>",
    "'",
    '"',
    "a='>'",
    "&amp;",
    "&#160;",
]
HTML += ["&", ";", "<script>", "</script", "</SCRIPT >", "<style\n", "</style/", "<scriptx>", "/>"]
HTML += ["x" * 32, "&" + "x" * 33 + ";", "<ſcript>", "<!-->", "text ", "  "]
HEX = [
    "0x",
    "\\x",
    "1f",
    "0X",
    ",",
    " ",
    "_",
    "A" * 16,
    "A" * 59,
    "A" * 60,
    "B",
    "7",
    "/" * 9,
    "+/",
    "=",
    "\n",
    "g",
]
SECRETS = [
    "AKIA",
    "ghp_",
    "sk-",
    "SK",
    "key-",
    "f",
    "password",
    "PassWord",
    "_key",
    "token",
    "api-key",
]
SECRETS += ["=", ":", ">", "'", '"', "`", "]", " ", "\t", "\n", "\r", "b", "hunter22", "a@b", "@"]
SECRETS += [
    "://",
    "u:p@h",
    "/",
    "x" * 255,
    "1.2.3.4",
    "255",
    ".",
    "2001",
    ":",
    "::",
    "_",
    "-",
    "é",
    "𝐀",
]


def texts(*pools: list[str]) -> st.SearchStrategy[str]:
    pieces = st.sampled_from([piece for pool in pools for piece in pool])
    return st.lists(pieces, max_size=30).map("".join) | st.text(
        st.characters(codec=None, categories=None), max_size=80
    )


@given(texts(STRANGE, ["word", "a line of words\n"]))
@example("")
@example("\n")
@example("a\r")
@example("\r\n\n\r\r\n")
def test_statistics(text: str):
    assert native.text_statistics(text) == plain_text_statistics(text)


@given(texts(STRANGE, HTML))
@example("<script")
@example("<!--")
@example("a <b>c</b>\u2028 d")
def test_visible_characters(text: str):
    assert native.visible_characters(text) == plain_visible_characters(text)


@given(texts(STRANGE, HEX))
@example("\\x")
@example("0x")
def test_encoded_characters(text: str):
    assert native.encoded_characters(text) == plain_encoded_characters(text)


@given(texts(STRANGE, SECRETS))
@example('token = "' + "x" * 256 + '"')
@example('token = "' + "x" * 257 + '"')
@example("token = " + "x1" * 128)
@example("token = " + "x1" * 128 + "x")
@example("x://" + "u" * 126 + ":" + "p" * 128 + "@h")
@example("x://" + "u" * 126 + ":" + "p" * 129 + "@h")
@settings(max_examples=150)
def test_secret_anchors(text: str):
    assert native.secret_anchors(text) == plain_secret_anchors(text)


def test_every_character_is_classed_as_python_does():
    for start in range(0, 0x110000, 0x1000):
        text = "".join(map(chr, range(start, start + 0x1000)))
        assert native.text_statistics(text) == plain_text_statistics(text)


@pytest.mark.parametrize("wide", ["", "Ā", "𝐀"])  # one, two and four bytes a character
def test_widths(wide: str):
    text = wide + "password = 'hunter22'\n<b>x</b> 0x1f, AKIA 93.184.216.34 a@b.org\r\n" * 3
    assert native.text_statistics(text) == plain_text_statistics(text)
    assert native.visible_characters(text) == plain_visible_characters(text)
    assert native.encoded_characters(text) == plain_encoded_characters(text)
    assert native.secret_anchors(text) == plain_secret_anchors(text)
