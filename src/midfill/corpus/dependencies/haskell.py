"""Haskell, PureScript, Elm and their kin: modules by the names that they declare."""

import re
from collections.abc import Iterable, Mapping, Sequence

from midfill.corpus.dependencies.family import Family, File, Resolver
from midfill.corpus.dependencies.words import Comments, Declared, outside_comments

LANGUAGES = ("Haskell", "C2HS Haskell", "PureScript", "Elm", "Idris", "Agda", "Lean")

_MODULE = re.compile(r"\n[ \t]*(?:port[ \t]+|safe[ \t]+)?module[ \t\n]+([A-Z][\w.']*)")
_IMPORT = re.compile(
    r"\n[ \t]*(?:open[ \t]+|public[ \t]+|\{#[ \t]*)?import[ \t]+"
    r"(?:\{-#[ \t]*SOURCE[ \t]*#-\}[ \t]*)?(?:safe[ \t]+)?(?:qualified[ \t]+)?"
    r"(?:\"[^\"\n]*\"[ \t]+)?(?:public[ \t]+)?([A-Z][\w.']*)"
)
_COMMENTS = Comments(line="--", opening="{-", closing="-}")


class _Haskell:
    def __init__(self, files: Sequence[File]) -> None:
        self._declared = Declared()
        for file in sorted(files, key=lambda file: file.path):
            self._declared.add("", _name(file), file.path)

    def needs(self, file: File) -> Iterable[str]:
        if "import" not in file.text:
            return
        text = "\n" + file.text
        for match in outside_comments(text, _IMPORT.finditer(text), _COMMENTS):
            found = self._declared.find("", match[1], file.path)
            if found:
                yield found


def _name(file: File) -> str:
    """The declared name; without one, the capitalised end of the path, as Lean has it."""
    text = "\n" + file.text
    match = next(outside_comments(text, _MODULE.finditer(text), _COMMENTS), None)
    if match:
        return match[1]
    parts = file.path.rpartition(".")[0].split("/")
    while parts and not parts[0][:1].isupper():
        parts.pop(0)
    return ".".join(parts)


def resolver(files: Sequence[File], everything: Mapping[str, File]) -> Resolver:
    """Resolves modules among the files of these languages."""
    return _Haskell(files)


FAMILY: Family = resolver
