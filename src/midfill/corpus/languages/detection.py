"""Which language a file is written in: by its name, and by its text where the name leaves a choice.

The order: exact file name, longest extension, then, if that leaves several languages or none, the
interpreter line, an editor's mode line, and rules over the head of the text.
"""

from dataclasses import dataclass
from typing import Literal

from midfill.corpus.languages import content
from midfill.corpus.languages.table import LANGUAGES, OUTSIDE, TABLES

By = Literal["name", "interpreter", "content", "ambiguous"]


@dataclass(frozen=True, slots=True)
class Detection:
    """A language and what decided it; "ambiguous": the likeliest of several, nothing decided."""

    language: str | None  # one of the 338; None: another language, or none that is known
    by: By
    outside: str | None = None  # the language's name, where it is known and not one of the 338


def _found(name: str, by: By) -> Detection:
    """A detection of a language by its name, listed or not."""
    return Detection(name, by) if name in LANGUAGES else Detection(None, by, name)


def _certain(names: list[str]) -> bool:
    """Whether a text can change nothing: one language, or several that are all of no interest."""
    return not names[1:] or not (names[0] in LANGUAGES or any(map(_wanted, names[1:])))


def _wanted(name: str) -> bool:
    """Whether a language is on one of the two papers' lists."""
    return name in LANGUAGES or name in OUTSIDE


def _settled(table: str) -> dict[str, Detection]:
    """The keys that need no look at the text."""
    return {
        key: _found(names[0], "name") for key, names in TABLES[table].items() if _certain(names)
    }


_NAMED = _settled("file_names")
_SETTLED = _settled("extensions")
_SHARED: dict[str, list[str]] = {
    key: names for key, names in TABLES["extensions"].items() if not _certain(names)
}
_GENERIC = frozenset(TABLES["generic"])
# Names that go on behind a dot: `Dockerfile.dev`, `Kconfig.cpu`.
_STEMS = {
    stem: _found(TABLES["file_names"][stem][0], "name")
    for stem in ("Dockerfile", "Makefile", "GNUmakefile", "Kconfig", "Containerfile", "Jenkinsfile")
}
_LONGEST_NAME = 255  # characters of a file's name that are looked at; file systems allow no more
_UNKNOWN = Detection(None, "name")
_UNDECIDED = Detection(None, "content")


def detect(path: str, text: str | None = None) -> Detection:
    """The language of a file by its path and, where that leaves a choice, by its text.

    Without a text, the likeliest language of a shared extension comes back as "ambiguous". Only the
    head of a text is read, and its last lines for a mode line.
    """
    name = path[path.rfind("/") + 1 :][-_LONGEST_NAME:]
    known = _NAMED.get(name)
    if known is not None:
        return known
    extension = name
    while (dot := extension.find(".", 1)) > 0:
        extension = extension[dot:]
        key = extension if extension in _SETTLED or extension in _SHARED else extension.lower()
        known = _SETTLED.get(key)
        if known is not None:
            return known
        if key in _SHARED:
            return _choose(key, text)
    return _without_extension(path, name, text)


def _choose(extension: str, text: str | None) -> Detection:
    """One of the languages that share an extension."""
    candidates = _SHARED[extension]
    if text is not None:
        said, by = content.declared(text)
        if said in candidates and said is not None:
            return _found(said, by)
        if "XML" in candidates and text.lstrip("\ufeff").startswith("<?xml "):
            return Detection("XML", "content")
        said = content.ruled(extension, text)
        if said is not None:
            return _found(said, "content")
    if extension in _GENERIC:
        return Detection(None, "ambiguous")
    return _found(candidates[0], "ambiguous")


def _without_extension(path: str, name: str, text: str | None) -> Detection:
    """A file whose name ends in nothing that is known."""
    if name.endswith(".in") and not name.endswith(".in.in"):
        return detect(name[:-3], text)  # a template of configure's is what it is a template of
    known = _NAMED.get("/".join(path.rsplit("/", 2)[-2:])) or _STEMS.get(name.partition(".")[0])
    if known is not None:
        return known
    if text is None:
        return _UNKNOWN
    said, by = content.declared(text)
    if said is not None:
        return _found(said, by)
    return _found("XML", "content") if text.startswith("<?xml ") else _UNDECIDED
