"""Shell: files that `source` or `.` (or, in Bats, `load`) read.

What stands before the last literal part of a path - `$DIR/`, `$(dirname "$0")/`,
`${BASH_SOURCE%/*}/` - is taken for the script's own folder, then for one of those above it; a path
with a folder in it is at last looked for anywhere. A here-document is text, not commands.
"""

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence

from midfill.corpus.dependencies.family import Family, File, Resolver
from midfill.corpus.dependencies.paths import Suffixes, ancestors, join
from midfill.corpus.dependencies.words import here_documents, places_of, within

LANGUAGES = ("Shell", "Fish", "Execline", "Gentoo Ebuild", "Gentoo Eclass")

_SOURCE = re.compile(
    r"\n(?P<before>[^\n#'\"]{0,200}?(?:&&|\|\||;|\bthen|\bdo|\{)[ \t]*|[ \t]*)"
    r"(?P<word>source|\.|load|bats_load_library)[ \t]+"
    r"(?P<path>(?:\$\((?:[^()\n]|\([^()\n]*\)){0,200}\)|\"[^\"\n]{0,300}\"|[^\s;&|\"]){1,300})"
)
_WORDS = tuple(
    word + blank for word in (".", "source", "load", "bats_load_library") for blank in " \t"
)
_BEFORE = frozenset(" \t\n;&|{no")  # what `before` may end with
_VARIABLE = re.compile(
    r"\$\((?:[^()\n]|\([^()\n]*\)){0,200}\)|`[^`\n]{0,200}`|\$\{[^}\n]{0,100}\}|\$\w+|\$[@*#?]"
)


class _Shell:
    def __init__(self, files: Sequence[File], everything: Mapping[str, File]) -> None:
        self._everything = everything
        self._suffixes = Suffixes(everything)

    def needs(self, file: File) -> Iterable[str]:
        text = "\n" + file.text
        matches = list(_sources(text))
        texts = here_documents(text) if matches else []
        for match in matches:
            if within(match.start("word"), texts):
                continue
            found = self._find(file.path, match["word"], match["path"])
            if found:
                yield found

    def _find(self, user: str, word: str, path: str) -> str | None:
        name, computed = _literal(path)
        if not name or any(character in name for character in "*?$(){}[]<>=,"):
            return None
        endings = ("", ".bash", ".sh") if word.endswith(("load", "library")) else ("",)
        for folder in ancestors(user):
            for ending in endings:
                place = join(folder, name + ending)
                if place in self._everything:
                    return place
            if computed is None:  # an absolute path lies in no repository
                return None
        name = name.removeprefix("./")
        if ".." in name or not (computed or "/" in name):
            return None
        return self._suffixes.unique(name)


def _sources(text: str) -> Iterator[re.Match[str]]:
    """What `_SOURCE` finds, tried only on lines that hold one of its words; one match a line."""
    end = 0
    for place in places_of(text, _WORDS):
        if place < end or text[place - 1] not in _BEFORE:
            continue
        end = text.find("\n", place)
        end = len(text) if end < 0 else end
        match = _SOURCE.match(text, text.rfind("\n", 0, place))
        if match is not None:
            yield match


def _literal(path: str) -> tuple[str, bool | None]:
    """The literal end of a path, and whether something computed stood before it."""
    bare = _VARIABLE.sub("\0", path.strip()).replace('"', "").replace("'", "")
    bare = bare.split()[0] if bare.split() else ""
    if "\0" not in bare:
        return (bare, None) if bare.startswith(("/", "~")) else (bare, False)
    end = bare.rpartition("\0")[2]
    return (end.lstrip("/"), True) if end.startswith("/") else ("", True)


def resolver(files: Sequence[File], everything: Mapping[str, File]) -> Resolver:
    """Resolves sourced files among those of the repository."""
    return _Shell(files, everything)


FAMILY: Family = resolver
