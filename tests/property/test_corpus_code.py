"""The compiled loops over source code equal their twins in Python, on every text."""

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from midfill.corpus.dependencies import (
    c,
    csharp,
    dart,
    haskell,
    perl,
    php,
    rust,
    shell,
    swift,
    words,
)
from midfill.corpus.dependencies.csharp import _KINDS
from midfill.corpus.dependencies.shell import _WORDS
from midfill.corpus.dependencies.words import (
    Comments,
    at_line_starts,
    at_places,
    matches_at,
    plain_capitalised,
    plain_line_starts,
    plain_outside,
    plain_places,
    plain_without_comments,
)
from midfill.corpus.languages import LANGUAGES
from midfill.corpus.quality.heuristics import Marks, _marks, measure, plain_counts
from midfill.corpus.quality.labels import label, lot
from midfill.corpus.quality.model import plain_code_words
from midfill.corpus.record import Document, Drop

native = words.native
pytestmark = pytest.mark.skipif(native is None, reason="the extension is not built here")

STRANGE = ["\r", "\v", "\f", "\x1c", "\x85", "\u2028", "\xa0", "\x00", "é", "ª", "²", "½", "中"]
STRANGE += ["٣", "𝟗", "𝐀", "😀", "\ud800", "ſ", "ﬁ", "İ"]
MARKS = ['"', "'", "`", "\\", "\\\\", '"""', "'''", "//", "/*", "*/", "/", "*", "#", "--", "--[["]
MARKS += ["]]", "=pod", "\n=", "\n=cut", "<!--", "-->", "<<A", "\nA\n", "⍝", "r", "R'", 'b"', "{-"]
NAMES = ["a", "ab_1", "x1", "1x", "_", "A", "Foo", "fooBar", "Bar", "fooBAR", "Foo_é", "0", "12"]
BLANKS = [" ", "    ", "\t", "\n", "\n", "\n    ", "\n\t", "\r\n", " " * 90, "w" * 210]
CODE = [
    "def",
    "def f(",
    "async def g",
    "function",
    "fn ",
    "sub",
    "(defun",
    "(define x",
    "if",
    "for",
]
CODE += ["else", "int f(int a)", ")", "(", " {", "{", "}", ";", "=", ") const", "\n{", "~T()", "@x"]
CODE += ["static", "class", "interface", "struct", "enum", "record", "delegate", "source ", ". "]
CODE += ["pub", "use", "mod", "#[", "import", "namespace"]
COMMENTS = [words.SLASHES, Comments("--", "--[[", "]]"), Comments("#", "\n=", "\n=cut")]
COMMENTS += [Comments("%", "{-", "-}"), Comments("//", "中", "中é")]
LINE_WORDS = [("use", "pub"), ("@", "import", "private"), ("<?", "class"), ("#[",), ("中a", "def")]
ODD_MARKS = [
    Marks("⍝", None, None, False, True, False),
    Marks('"', '"', '"', False, True, True),
    Marks(None, "=pod", "\n=cut", False, False, True),
    Marks("#", None, None, True, True, True),
]

pieces = st.sampled_from(STRANGE + MARKS + NAMES + BLANKS + CODE)
texts = st.lists(pieces, max_size=60).map("".join) | st.text(
    st.characters(codec=None, categories=None), max_size=80
)


@given(texts, st.integers(0, 80))
@example("", 4)
@example("\n \t\n", 4)
@example("a1b22_c__d é²", 40)
def test_words(text: str, most: int):
    found = np.frombuffer(native.code_words(text, most), np.uint64)
    assert found.tolist() == plain_code_words(text, most).tolist()
    assert len(found) <= most


def test_words_by_hand():
    """Numbers are alike, names are cut at their underscores, blanks count at a line's start only."""
    numbers = np.frombuffer(native.code_words("1 23 456", 9), np.uint64)
    assert len(set(numbers.tolist())) == 1
    assert len(numbers) == 3
    one = np.frombuffer(native.code_words("ab_cd  =\n  x", 9), np.uint64)
    assert len(one) == 6  # ab, _, cd, =, the indentation, x
    assert one[0] == np.frombuffer(native.code_words("ab", 9), np.uint64)[0]


marks = st.sampled_from(sorted(LANGUAGES)).map(_marks) | st.sampled_from(ODD_MARKS)


@given(texts, marks)
@example('"""doc\n"""', _marks("Python"))
@example("x = r'''a'''", _marks("Python"))
@example(" " * 201 + '"""a"""', _marks("Python"))
@example("`\\", _marks("Go"))
@example("'a\\\nb'", _marks("C"))
@example("/*/ a */ b", _marks("C"))
@example("--[[ a\n]]", _marks("Lua"))
@example("void f(int a)\n{\n}\nint g(void) {}\n", _marks("C"))
@example("a b c d def e(", _marks("C"))
@example("a b c d e def f(", _marks("C"))
@example("f" + "x" * 201 + ") {", _marks("C"))
@example("f" + "x" * 200 + ") {", _marks("C"))
@example("f()" + "x" * 80 + " " * 80 + "{", _marks("C"))
@example("f()" + "x" * 81 + " " * 80 + "{", _marks("C"))
@example("f()" + " " * 80 + "\n" + " " * 80 + "{", _marks("C"))
@example("f()" + " " * 80 + "\n" + " " * 81 + "{", _marks("C"))
@example("f() g(\n{\nh()\n{", _marks("C"))
def test_counts(text: str, marks: Marks):
    assert native.code_counts(text, *marks) == plain_counts(text, *marks)


@pytest.mark.parametrize("unit", ["`\\`", "'\\", '"""a', "f(", "/*", "\t(", "a b c d e "])
@pytest.mark.timeout(20)
def test_counts_take_time_in_proportion(unit: str):
    text = unit * (200_000 // len(unit)) + "\\"
    assert measure(text, "JavaScript").lines == 1


@given(texts, st.sampled_from(COMMENTS))
@example("/* a */b/*c", words.SLASHES)
@example('" /* */ "/* x */', words.SLASHES)
@example("// /* a\n*/ /* b", words.SLASHES)
@example(" " * 399 + "// /*a*/ b", words.SLASHES)
@example("//" + " " * 400 + "/*a*/ b", words.SLASHES)
def test_comments(text: str, comments: Comments):
    assert native.without_comments(text, *comments) == plain_without_comments(text, *comments)
    places = list(range(len(text)))
    assert native.outside(text, places, *comments) == plain_outside(text, places, *comments)


@given(texts, st.sampled_from(["//", "--", "#", "中"]))
@example('Foo "Bar Baz" Bar // Foo Zip', "//")
@example("fooBar Foo_é fooBar2", "//")
@example("A /B/C //D\nA /\n/B E", "//")
@example('A" B "C\n"D" E', "//")
@example("A中B C\nA", "中")
@example("//" + " " * 398 + "Foo", "//")
@example("//" + " " * 399 + "Foo", "//")
@example("A" + " " * 300 + "// B" + " " * 96 + "C D", "//")
def test_capitalised(text: str, line: str):
    assert native.capitalised(text, line) == plain_capitalised(text, line)


@given(texts, st.sampled_from(LINE_WORDS))
def test_line_starts(text: str, starts: tuple[str, ...]):
    assert native.line_starts(text, starts) == plain_line_starts(text, starts)


@given(texts, st.sampled_from([_KINDS, _WORDS, ("//", "/*", "fo"), ("aa", "aaa")]))
@example("aaaa", ("aa", "aaa"))
def test_places(text: str, wanted: tuple[str, ...]):
    assert native.places(text, wanted) == plain_places(text, wanted)


STATEMENTS = [
    "\npub mod a;",
    "\nuse a::{b,\n c};",
    '\n#[path = "x"]\nmod b;',
    "\npub(crate) fn f()",
]
STATEMENTS += ["\nuse A\\B;", "\n    use C, D;", "require_once __DIR__ . '/a.php'", "include 'b'"]
STATEMENTS += ["<?php ", "namespace A;", "\nfinal class A", "\n@testable import A", "\nimport B"]
STATEMENTS += ["\nuse Foo::Bar qw(a)", "\nrequire 'a.pl'", "\neval { require A", "\npackage A"]
STATEMENTS += ["\n  namespace A.B", '\n#include "a.h"', "\n# include <b>", "\nexport module a:b;"]
STATEMENTS += [
    "\nimport <a>;",
    "\n. ./a.sh",
    '\nif x; then . "$(dirname "$0")/b"',
    "; source c && . d",
]
STATEMENTS += ["\nglobal using A.B;", "\n using static A;", "\nusing B = C;", "\nimport 'a.dart'"]
STATEMENTS += ["\nmodule A where", "\nimport qualified B", "{# import C", "\nopen import D"]
STATEMENTS += [
    "\n@main struct A",
    "\npublic final class B",
    "\npub struct C",
    "\nmod d;",
    "\n#[e] ",
]
STATEMENTS += ["crate::a::super::b", "super::super::c", 'include_str!("x")', "crate::crate"]
STATEMENTS += ["record class A", "class class B", "delegate int C", "# then . x", "&& load x;"]
BY_LINE = [
    (c._INCLUDE, ("#", "%")),
    (c._MODULE, ("export", "import", "module")),
    (csharp._NAMESPACE, csharp._WORDS),
    (csharp._USING, csharp._WORDS),
    (dart._DIRECTIVE, dart._WORDS),
    (haskell._STATEMENT, haskell._WORDS),
    (perl._STATEMENT, perl._STATEMENT_WORDS),
    (php._INNER, php._WORDS),
    (php._OUTER, php._WORDS),
    (php._TRAITS, php._WORDS),
    (rust._ITEM, rust._ITEM_WORDS),
    (swift._IMPORT, swift._IMPORT_WORDS),
]
statements = st.lists(
    st.sampled_from(STATEMENTS) | st.sampled_from(STATEMENTS) | pieces, max_size=30
).map("".join)


@given(statements, st.sampled_from(BY_LINE))
def test_patterns_of_lines_find_what_they_find_everywhere(text, tried):
    pattern, starts = tried
    expected = [(found.span(), found.groups()) for found in pattern.finditer(text)]
    assert [(found.span(), found.groups()) for found in at_line_starts(pattern, text, starts)] == (
        expected
    )


@given(statements)
def test_patterns_of_places_find_what_they_find_everywhere(text: str):
    places = plain_places(text, ("crate::", "super::", "include"))
    for pattern in (rust._CRATE_PATH, rust._SUPER_PATH, rust._INCLUDED):
        found = [one.span() for one in matches_at(pattern, text, places)]
        assert found == [one.span() for one in pattern.finditer(text)]
    included = [one.span() for one in at_places(php._INCLUDE, text, ("require", "include"))]
    assert included == [one.span() for one in php._INCLUDE.finditer(text)]


@given(statements)
def test_sourced_files_are_those_of_the_pattern(text: str):
    found = [one.span() for one in shell._sources("\n" + text)]
    assert found == [one.span() for one in shell._SOURCE.finditer("\n" + text)]


def test_an_empty_mark_is_refused():
    with pytest.raises(ValueError, match="empty"):
        native.without_comments("a", "//", "", "*/")
    with pytest.raises(ValueError, match="one character"):
        native.places("a", ("a",))
    with pytest.raises(ValueError, match="Latin-1"):
        native.places("a", ("中b",))


@given(st.lists(texts, min_size=1, max_size=8), st.floats(0, 1))
def test_a_share_of_labels_is_those_of_the_chosen_documents(given_texts: list[str], share: float):
    documents = [
        Document(
            repo="r", path=f"src/{number}.py", text=text, size=len(text), sha256="",
            language="Python", drop=Drop("minified") if number % 2 else None,
        )
        for number, text in enumerate(given_texts)
    ]  # fmt: skip
    chosen = [one for one in label(documents) if lot(one.id) < int(share * 2**64)]
    assert list(label(documents, share=share)) == chosen
    assert list(label(documents, share=0)) == []
