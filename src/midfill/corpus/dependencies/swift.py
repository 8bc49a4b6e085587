"""Swift: files of one module see each other, other modules are imported whole.

A module is a target of Package.swift (its stated path, else Sources/NAME or Tests/NAME), or a folder
below Sources or Tests, or all that is left. An edge goes to each file of the own module or of an
imported one that declares a type whose name stands in the text as a word; extensions declare none.
"""

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import NamedTuple

from midfill.corpus.dependencies.family import Family, File, Resolver
from midfill.corpus.dependencies.paths import ancestors, folder_of, join, named
from midfill.corpus.dependencies.words import (
    Declared,
    at_line_starts,
    capitalised,
    mentioned,
    without_comments,
)

LANGUAGES = ("Swift",)

_IMPORT = re.compile(
    r"\n[ \t]*(?:@\w+(?:\([^)\n]*\))?[ \t]+)*(?:(?:public|internal|private|package)[ \t]+)?import[ \t]+"
    r"(?:(?:class|struct|enum|protocol|func|typealias|var|let)[ \t]+)?(\w+)"
)
_IMPORT_WORDS = ("@", "public", "internal", "private", "package", "import")
_TYPE = re.compile(
    r"\n(?:(?:@\w+(?:\([^)\n]*\))?|public|open|internal|private|fileprivate|package|final|indirect|"
    r"nonisolated|distributed)[ \t]+)*(?:class|struct|enum|protocol|actor|typealias)[ \t]+(\w+)"
)
_TARGET = re.compile(
    r"\.(?:target|executableTarget|testTarget|macro|plugin)\(\s*name:\s*\"([^\"\n]+)\""
)
_TARGET_PATH = re.compile(r"path:\s*\"([^\"\n]+)\"")
_LONGEST_TARGET = 4000  # characters between a target's name and its path


class _Unit(NamedTuple):
    imports: list[str]
    types: list[str]


class _Swift:
    def __init__(self, files: Sequence[File], everything: Mapping[str, File]) -> None:
        self._targets = dict(_targets(everything))  # the name of the module in a folder
        self._declared = Declared()
        self._units: dict[str, _Unit] = {}
        for file in sorted(files, key=lambda file: file.path):
            self._units[file.path] = unit = _read(file.text)
            for name in unit.types:
                self._declared.add(self._module(file.path), name, file.path)

    def needs(self, file: File) -> Iterable[str]:
        unit = self._units.get(file.path) or _read(file.text)
        scopes = dict.fromkeys([self._module(file.path), *unit.imports])
        visible = [scope for scope in scopes if scope in self._declared]
        if not visible:
            return
        words = capitalised(without_comments(file.text))
        for name in unit.types:
            words.pop(name, None)
        for scope in visible:
            for name in mentioned(words, self._declared.among(scope, words)):
                found = self._declared.find(scope, name, file.path)
                if found:
                    yield found

    def _module(self, path: str) -> str:
        below = ""
        for folder in ancestors(path):
            if folder in self._targets:
                return self._targets[folder]
            if below and folder.rpartition("/")[2] in ("Sources", "Tests"):
                return below
            below = folder.rpartition("/")[2]
        return ""


def _targets(everything: Mapping[str, File]) -> Iterator[tuple[str, str]]:
    """Folder and name of each target of the repository's packages."""
    for path in named(everything, "Package.swift"):
        text = without_comments(everything[path].text)
        found = list(_TARGET.finditer(text))
        ends = [*(match.start() for match in found[1:]), len(text)][: len(found)]
        for match, end in zip(found, ends, strict=True):
            stated = _TARGET_PATH.search(text, match.end(), min(end, match.end() + _LONGEST_TARGET))
            folders = [stated[1]] if stated else [f"Sources/{match[1]}", f"Tests/{match[1]}"]
            for folder in folders:
                root = join(folder_of(path), folder.rstrip("/"))
                if root is not None:
                    yield root, match[1]


def _read(text: str) -> _Unit:
    text = "\n" + without_comments(text)
    imports = (match[1] for match in at_line_starts(_IMPORT, text, _IMPORT_WORDS))
    return _Unit(list(dict.fromkeys(imports)), _TYPE.findall(text))


def resolver(files: Sequence[File], everything: Mapping[str, File]) -> Resolver:
    """Resolves modules and types among the Swift files of the repository."""
    return _Swift(files, everything)


FAMILY: Family = resolver
