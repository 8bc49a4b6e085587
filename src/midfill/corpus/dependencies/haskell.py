"""Haskell, PureScript, Elm and their kin: modules by the names that they declare."""

import re
from collections.abc import Iterable, Mapping, Sequence

from midfill.corpus.dependencies.family import Family, File, Resolver
from midfill.corpus.dependencies.words import (
    Comments,
    Declared,
    at_line_starts,
    outside_comments,
)

LANGUAGES = ("Haskell", "C2HS Haskell", "PureScript", "Elm", "Idris", "Agda", "Lean")

_STATEMENT = re.compile(
    r"\n[ \t]*(?:(?:port[ \t]+|safe[ \t]+)?module[ \t\n]+(?P<module>[A-Z][\w.']*)"
    r"|(?:open[ \t]+|public[ \t]+|\{#[ \t]*)?import[ \t]+"
    r"(?:\{-#[ \t]*SOURCE[ \t]*#-\}[ \t]*)?(?:safe[ \t]+)?(?:qualified[ \t]+)?"
    r"(?:\"[^\"\n]*\"[ \t]+)?(?:public[ \t]+)?(?P<imported>[A-Z][\w.']*))"
)
_WORDS = ("port", "safe", "module", "open", "public", "{#", "import")
_COMMENTS = Comments(line="--", opening="{-", closing="-}")


class _Haskell:
    def __init__(self, files: Sequence[File]) -> None:
        self._declared = Declared()
        self._imports: dict[str, list[str]] = {}
        for file in sorted(files, key=lambda file: file.path):
            statements = _statements(file.text)
            modules = (match["module"] for match in statements if match["module"])
            self._declared.add("", next(modules, "") or _name(file), file.path)
            self._imports[file.path] = [m["imported"] for m in statements if m["imported"]]

    def needs(self, file: File) -> Iterable[str]:
        for name in self._imports.get(file.path, ()):
            found = self._declared.find("", name, file.path)
            if found:
                yield found


def _statements(text: str) -> list[re.Match[str]]:
    text = "\n" + text
    return [*outside_comments(text, at_line_starts(_STATEMENT, text, _WORDS), _COMMENTS)]


def _name(file: File) -> str:
    """The name of a module that declares none: the capitalised end of the path, as Lean has it."""
    parts = file.path.rpartition(".")[0].split("/")
    while parts and not parts[0][:1].isupper():
        parts.pop(0)
    return ".".join(parts)


def resolver(files: Sequence[File], everything: Mapping[str, File]) -> Resolver:
    """Resolves modules among the files of these languages."""
    return _Haskell(files)


FAMILY: Family = resolver
