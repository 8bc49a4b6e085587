"""Dart: relative imports, exports and parts, and `package:` names of packages in the repository."""

import re
from collections.abc import Iterable, Mapping, Sequence

from midfill.corpus.dependencies.family import Family, File, Resolver
from midfill.corpus.dependencies.paths import folder_of, join, named
from midfill.corpus.dependencies.words import at_line_starts, outside_comments

LANGUAGES = ("Dart",)

_DIRECTIVE = re.compile(r"\n[ \t]*(?:import|export|part(?:[ \t]+of)?)[ \t]+[\"']([^\"'\n$]+)[\"']")
_WORDS = ("import", "export", "part")
_NAME = re.compile(r"^name:[ \t]*[\"']?(\w+)", re.MULTILINE)


class _Dart:
    def __init__(self, everything: Mapping[str, File]) -> None:
        self._packages: dict[str, str] = {}  # the folder of each
        for path in named(everything, "pubspec.yaml"):
            name = _NAME.search(everything[path].text[:100_000])
            if name:
                self._packages.setdefault(name[1], folder_of(path))

    def needs(self, file: File) -> Iterable[str]:
        text = "\n" + file.text
        for match in outside_comments(text, at_line_starts(_DIRECTIVE, text, _WORDS)):
            path = self._path(file.path, match[1])
            if path is not None:
                yield path

    def _path(self, user: str, stated: str) -> str | None:
        if not stated.startswith("package:"):
            return None if ":" in stated else join(folder_of(user), stated)
        package, _, rest = stated.removeprefix("package:").partition("/")
        folder = self._packages.get(package)
        return None if folder is None else join(folder, f"lib/{rest}")


def resolver(files: Sequence[File], everything: Mapping[str, File]) -> Resolver:
    """Resolves libraries and parts among the files of the repository."""
    return _Dart(everything)


FAMILY: Family = resolver
