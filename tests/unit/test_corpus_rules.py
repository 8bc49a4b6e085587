"""The papers' filters at their borders, and all rules of a repository together."""

import pytest

from midfill.config.corpus.rules import (
    STARCODER_TOKENS,
    FilterConfig,
    GeneratedConfig,
    LicenceConfig,
    RulesConfig,
)
from midfill.corpus.record import Document, Drop
from midfill.corpus.rules.characters import text_statistics, visible_characters
from midfill.corpus.rules.filters import Filters
from midfill.corpus.rules.inspect import inspect, judge
from midfill.errors import ConfigError


def document(text: str, path: str = "a.py", language: str | None = "Python", **more) -> Document:
    return Document(
        repo="r", path=path, text=text, size=len(text), sha256="0" * 64, language=language, **more
    )


def reason(text: str, **more) -> str | None:
    drop = Filters()(document(text, **more))
    return drop and drop.reason


def value(text: str, **more) -> float | str | None:
    drop = Filters()(document(text, **more))
    return drop and drop.value


# ---- lines


@pytest.mark.parametrize("length", [999, 1000, 1001])
def test_longest_line(length: int):
    text = "ab\n" * 30 + "x" * length + "\n"
    assert reason(text) == ("longest_line" if length > 1000 else None)
    assert value(text) == (1001 if length > 1000 else None)


@pytest.mark.parametrize(("total", "dropped"), [(199, False), (200, False), (201, True)])
def test_mean_line_of_two(total: int, dropped: bool):
    text = "x" * 100 + "\n" + "y" * (total - 100) + "\n"
    assert reason(text) == ("mean_line" if dropped else None)
    assert value(text) == (100.5 if dropped else None)


@pytest.mark.parametrize(
    ("text", "lines", "longest", "together"),
    [
        ("", 0, 0, 0),
        ("\n", 1, 0, 0),
        ("\r\n", 1, 0, 0),
        ("a", 1, 1, 1),
        ("a\n", 1, 1, 1),
        ("a\n\n", 2, 1, 1),
        ("ab\r\nc", 2, 2, 3),
        ("ab\rc", 1, 4, 4),  # a lone CR ends no line
        ("ab\r\r\n", 1, 3, 3),
        ("a\vb\fc\x1cd\x85e\u2028f\u2029g", 1, 13, 13),  # nor does anything that splitlines knows
        ("中文\n𝐀𝐀𝐀", 2, 3, 5),
    ],
)
def test_what_a_line_is(text: str, lines: int, longest: int, together: int):
    counts = text_statistics(text)
    assert (counts.lines, counts.longest_line, counts.line_characters) == (lines, longest, together)


# ---- letters


@pytest.mark.parametrize("letters", [24, 25, 26])
@pytest.mark.parametrize("letter", ["a", "é", "中", "я", "𝐀"])
def test_letters(letters: int, letter: str):
    text = letter * letters + "1" * (100 - letters)
    assert reason(text) == ("letters" if letters < 25 else None)
    assert value(text) == (0.24 if letters < 25 else None)


def test_drawn_boxes_are_no_letters():
    assert reason("┌──┐\n│ab│\n└──┘\n") == "letters"


def test_digits_are_no_letters():
    assert reason("x1 = 1234567890123") == "letters"


@pytest.mark.parametrize("text", [" ", "\n", "\n\n"])
def test_white_space_alone_has_no_letters(text: str):
    assert reason(text) == "letters"


def test_empty():
    assert Filters()(document("")) == Drop("empty", 0)


# ---- XML


@pytest.mark.parametrize("before", [0, 85, 86, 87])
def test_xml_declaration_lies_in_the_first_hundred_characters(before: int):
    text = " " * before + '<?xml version="1.0"?>\n' + "<a>words and words and words</a>\n" * 5
    assert len("<?xml version=") == 14
    assert reason(text, language="XML") == ("xml" if before <= 86 else None)
    assert reason(text, language="XSLT") is None


# ---- HTML


@pytest.mark.parametrize("visible", [99, 100, 101])
def test_visible_text_in_characters(visible: int):
    text = "<p>\n" + "x" * visible + "\n</p>\n"
    expected = None if visible >= 100 else "html_visible"
    assert reason(text, language="HTML") == expected
    assert reason(text, language="HTML ERB") is None


@pytest.mark.parametrize("visible", [199, 200, 201])
def test_visible_share(visible: int):
    """Of 1000 characters: 200 are a fifth."""
    words = ("wordword " * 30)[: visible - 2] + "x"  # and the gap between its two parts
    text = words[:60] + "\n<!--\n" + "\n".join(["c" * 9] * 50)
    text += "c" * (1000 - len(text) - len(words[60:]) - 5) + "\n-->" + words[60:] + "\n"
    assert len(text) == 1000
    assert visible_characters(text) == visible
    assert reason(text, language="HTML") == (None if visible >= 200 else "html_share")


@pytest.mark.parametrize(
    ("text", "visible"),
    [
        ("", 0),
        ("a  \n b", 3),
        ("  a  ", 1),
        ("<b>a</b> <i>c</i>", 3),
        ("<script>var a = '<b>';</script>x", 1),
        ("<SCRIPT src='x'>a</SCRIPT >x", 1),
        ("<style>p{}</style>x", 1),
        ("<scripted>abc</scripted>", 3),
        ("<script>no end", 0),
        ("<!-- a <b> c -->x", 1),
        ("<!-- no end", 0),
        ("<!DOCTYPE html>x", 1),
        ("<a title='>'>x</a>", 1),
        ("<a title='no end>x</a>", 0),
        ("a < b", 5),
        ("1 <2", 4),
        ("&amp;&#160;&nope", 7),
        ("<", 1),
        ("</", 2),
        ("</p", 0),
    ],
)
def test_visible_characters_by_hand(text: str, visible: int):
    assert visible_characters(text) == visible


@pytest.mark.parametrize(
    "piece", ["<", "<!--", "<script>", "<a b='", "<a ", "</", "&", "<style>x</styl", "<div>", "<!"]
)
def test_hostile_html_ends(piece: str):
    """A search back over a megabyte at each of its places would take longer than a test may."""
    visible_characters(piece * (1_000_000 // len(piece)))


# ---- JSON and YAML


@pytest.mark.parametrize("length", [49, 50, 51, 4999, 5000, 5001])
@pytest.mark.parametrize(
    ("language", "path", "expected"),
    [
        ("JSON", "a.json", "json_size"),
        ("YAML", "a.yaml", "yaml_size"),
        (None, "a.YML", "yaml_size"),
        ("Jupyter Notebook", "a.ipynb", None),
        ("Python", "a.yaml", None),
    ],
)
def test_data_size(length: int, language: str | None, path: str, expected: str | None):
    text = ("word " * 10 + "\n") * 98 + "x" * 9
    text = text[:length].ljust(length, "y")
    inside = 50 <= length <= 5000
    assert reason(text, language=language, path=path) == (None if inside else expected)


# ---- StarCoder's further filters


def test_the_further_filters_are_off():
    text = "x = 'abc'\n"
    assert Filters()(document(text, stars=0)) is None
    assert len(Filters().rules) == 6


@pytest.mark.parametrize(("stars", "dropped"), [(4, True), (5, True), (6, False), (None, False)])
def test_stars(stars: int | None, dropped: bool):
    rule = Filters(FilterConfig(stars=5))
    assert rule(document("abc\n", stars=stars)) == (Drop("stars", stars) if dropped else None)


@pytest.mark.parametrize("comment", [0, 1, 2, 79, 80, 81])
def test_comment_share(comment: int):
    """Of 100 characters."""
    pytest.importorskip("midfill.corpus.languages")
    text = "#" * comment + "\n" * (comment > 0)
    text += "x" * (100 - len(text))
    drop = Filters(FilterConfig(comments=(0.01, 0.8), letters=0))(document(text))
    assert (drop and drop.reason) == (None if 1 <= comment <= 80 else "comments")


@pytest.mark.parametrize("tokens", [39, 40, 41])
def test_characters_per_token(tokens: int):
    config = FilterConfig(characters_per_token=STARCODER_TOKENS)
    rule = Filters(config, count_tokens=lambda text: tokens)
    drop = rule(document("x" * 100))
    assert drop == (Drop("characters_per_token", 100 / 41) if tokens == 41 else None)
    assert rule(document("x" * 100, language="Go")) is None


@pytest.mark.parametrize(
    "wrong",
    [
        {"letters": 1.1},
        {"mean_line": -1},
        {"data_least": 9, "data_most": 8},
        {"comments": (0.5, 0.4)},
        {"html_share": float("nan")},
        {"stars": True},
        {"characters_per_token": {"Python": -1}},
    ],
)
def test_thresholds_are_checked(wrong: dict):
    with pytest.raises(ConfigError):
        FilterConfig(**wrong)


def test_shares_of_generated_files_are_checked():
    with pytest.raises(ConfigError, match="encoded_share"):
        GeneratedConfig(encoded_share=2)


# ---- all together

CODE = "def add(first, second):\n    return first + second\n"


def test_each_document_has_one_reason_and_the_first_counts():
    long_line = "x" * 1001 + "\n"
    documents = [
        document(CODE, path="a.py"),
        document(long_line, path="vendor/a.py"),  # both: the papers' filters come first
        document(CODE, path="vendor/b.py"),
        document("# Code generated by tool. DO NOT EDIT.\n" + CODE, path="c.py"),
        document("# SPDX-License-Identifier: GPL-3.0-only\n" + CODE, path="d.py"),
        document(CODE, path="e.py", drop=Drop("duplicate", "x")),
    ]
    result = inspect(documents, RulesConfig(), metadata="MIT License")
    assert [one.path for one in result] == [one.path for one in documents]
    assert [one.drop and one.drop.reason for one in result] == [
        None,
        "longest_line",
        "vendored",
        "generated_header",
        "licence",
        "duplicate",
    ]
    assert [one.licence for one in result] == ["MIT"] * 4 + ["GPL-3.0-only", "MIT"]


def test_the_given_documents_are_not_changed():
    given = document("contact = 'ann@cosmos-lab.io'\n" + CODE)
    before = given.text
    (result,) = inspect([given], RulesConfig(), metadata="MIT")
    assert (given.text, given.drop, given.licence) == (before, None, None)
    assert "<EMAIL>" in result.text


def test_dropped_documents_are_masked_too():
    given = document("x" * 1001 + "\nmail ann@cosmos-lab.io\n")
    inspection = judge([given], RulesConfig(), metadata="MIT")
    assert inspection.documents[0].drop == Drop("longest_line", 1001)
    assert "ann@" not in inspection.documents[0].text
    assert inspection.masked == {"email": 1}


def test_policy_of_licences():
    def first(config: LicenceConfig, metadata: str | None) -> Drop | None:
        return inspect([document(CODE)], RulesConfig(licence=config), metadata)[0].drop

    assert first(LicenceConfig(), None) == Drop("licence_unknown")
    assert first(LicenceConfig(unknown=True), None) is None
    assert first(LicenceConfig(), "MPL-2.0") == Drop("licence", "MPL-2.0")
    assert first(LicenceConfig(allow=frozenset({"MPL-2.0"})), "MPL-2.0") is None
    assert first(LicenceConfig(allow=None), "GPLv3") is None


@pytest.mark.parametrize(
    "text",
    [
        "",
        "\x00" * 1000,
        "\ud800 = 1\n" * 100,
        "(" * 100_000,
        "#" * 1_000_000,
        "/*" * 400_000,
        '"""' * 300_000,
        "password=" * 100_000,
        "a@b." * 200_000,
        "://a:b" * 150_000,
        "1.2.3.4" * 100_000,
        "2001:" * 200_000,
        "eyJ-" * 200_000,
        "-----BEGIN PRIVATE KEY-----\n" * 30_000,
        "token='" + "x" * 1_000_000,
        " " * 1_000_000,
        "# " + "generated " * 100_000,
        "SPDX-License-Identifier: " + "(" * 100_000,
        "licence " * 100_000,
        "0x" * 400_000,
    ],
    ids=lambda text: f"{text[:20]!r}-{len(text)}",
)
@pytest.mark.parametrize("path", ["a.py", "LICENSE", "x/\n.js"])
def test_hostile_text_ends_soon(text: str, path: str):
    (result,) = inspect([document(text, path=path, language="JavaScript")], RulesConfig())
    assert isinstance(result.drop, Drop)
