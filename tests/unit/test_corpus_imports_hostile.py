"""No text makes a family raise, and none makes it slow: time grows as the text does."""

import importlib

import pytest

from midfill.corpus.dependencies.family import File

FAMILIES = "jvm c csharp go rust php ruby swift lua perl shell haskell dart includes".split()
PATTERNS = {
    "open comments": "/* ",
    "open comments after slashes": "// /* ",
    "comment ends": "*/ ",
    "open braces": "\nuse a::{",
    "open imports": "\nimport (\n",
    "open scala imports": "\nimport a.{b,",
    "open includes": '\n#include "',
    "includes": '\n#include "a/b.h"',
    "requires": "\nrequire 'a/b'",
    "uses": "\nuse A::B;",
    "open requires": "require dirname(dirname(",
    "open strings": '\nimport "',
    "sources": "\n. $(((",
    "sources in a line": "source a && . ",
    "variables": "\nsource ${a",
    "here-documents": "\ncat <<A",
    "many here-documents": "\ncat <<A{n}",
    "types": "\nclass A{n} B{n}",
    "one type": " class A class",
    "modifiers": "public static final abstract ",
    "attributes": "[a] [b ",
    "annotations": "@A(",
    "dots": "a.b.",
    "blanks": " \t",
    "newlines and blanks": "\n    ",
    "modules": "\nmod a{n};",
    "pod": "\n=pod x",
    "paths": "crate::a::b super::c::d \\A\\B",
    "words": "A{n} ",
    "no line end": "import require use include source ",
    "nul": "\0",
    "surrogates": "\ud800\nimport \ud800;",
    "far above": '\n#include "' + "../" * 30 + 'x"',
    "functions": "\nfun a.a.a.a.a.a",
    "receivers": "\nfun " + "a" * 300,
    "go strings": "\nimport `",
    "targets": '.target(name: "A{n}"',
}


SLOW = pytest.mark.slow


def _hostile(pattern: str, size: int) -> str:
    count = size // len(pattern)
    if "{n}" in pattern:
        return "".join(pattern.replace("{n}", str(number)) for number in range(count // 2))
    return pattern * count


# A pass over each pair of places would take hours for the longer text: the time limit is the check.
@pytest.mark.parametrize("size", [20_000, pytest.param(1_000_000, marks=SLOW)])
@pytest.mark.parametrize("name", FAMILIES)
@pytest.mark.timeout(600)
def test_texts_made_to_be_slow(name: str, size: int):
    family = importlib.import_module(f"midfill.corpus.dependencies.{name}")
    configuration = ("Cargo.toml", "go.mod", "composer.json", "Package.swift", "CMakeLists.txt")
    configuration += ("pubspec.yaml", "x.gemspec", "x.rockspec", "compile_flags.txt")
    for pattern in PATTERNS.values():
        text = _hostile(pattern, size)
        files = [File(path, text, family.LANGUAGES[0]) for path in ("a/b.x", "d\n.x")]
        everything = {file.path: file for file in files}
        everything |= {path: File(path, text, None) for path in configuration}
        resolver = family.FAMILY(files, everything)
        for file in files:
            found = list(resolver.needs(file))
            assert len(found) <= size


@pytest.mark.parametrize("name", FAMILIES)
def test_no_files_and_a_file_that_the_resolver_never_saw(name: str):
    family = importlib.import_module(f"midfill.corpus.dependencies.{name}")
    resolver = family.FAMILY([], {})
    stranger = File("x/y", "import a;\nuse a::b;\n#include <a>\nrequire 'a'\n", family.LANGUAGES[0])
    assert list(resolver.needs(stranger)) == []


@pytest.mark.parametrize("count", [2000, pytest.param(50_000, marks=SLOW)])
@pytest.mark.parametrize("name", FAMILIES)
def test_many_files_of_one_name(name: str, count: int):
    family = importlib.import_module(f"midfill.corpus.dependencies.{name}")
    text = (
        '#include "q/x.h"\nimport p.X;\nrequire "x"\nuse p::X;\n. q/x.h\npackage p;\nclass X {}\n'
    )
    files = [File(f"d{number}/x.h", text, family.LANGUAGES[0]) for number in range(count)]
    everything = {file.path: file for file in files}
    resolver = family.FAMILY(files, everything)
    edges = sum(len(list(resolver.needs(file))) for file in files)
    assert edges < 10 * len(files)
