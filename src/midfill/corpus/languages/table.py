"""The 338 names and what belongs to each: extensions, file names, interpreters, comment marks.

Facts come from linguist (MIT) and, for names it has not, from Pygments (BSD-2) and by hand; both
licences lie beside the tables. The list mixes the vocabularies of the two and of linguist's past:
Docker and Dockerfile, Bro and Zeek, Jade and Pug are pairs of names for one language each. The
first of such a pair is given to its own extension (`.docker`, `.bro`, `.jade`) and to no other file.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from importlib import resources
from types import MappingProxyType
from typing import Any, Literal

Kind = Literal["programming", "markup", "data", "prose"]


@dataclass(frozen=True, slots=True)
class Language:
    """One language: how its files are called and how it writes comments."""

    name: str
    kind: Kind
    extensions: tuple[str, ...]  # with the dot, as linguist spells them; several may claim one
    file_names: tuple[str, ...]
    interpreters: tuple[str, ...]  # without version
    line_comment: str | None  # the mark that starts a comment which ends with the line
    block_comment: tuple[str, str] | None
    v1: bool  # one of V1's 87 (DeepSeek-Coder, table 1)


def read(name: str) -> dict[str, Any]:
    """A table of this package."""
    path = resources.files("midfill.corpus.languages").joinpath(name)
    return json.loads(path.read_text(encoding="utf-8"))


TABLES = read("languages.json")


def _keys(table: str) -> dict[str, tuple[str, ...]]:
    """A table from key to languages, turned into one from language to keys."""
    keys: dict[str, list[str]] = {}
    for key, names in TABLES[table].items():
        for name in names:
            keys.setdefault(name, []).append(key)
    return {name: tuple(found) for name, found in keys.items()}


def _languages() -> dict[str, Language]:
    """All languages of the tables that have an entry of their own."""
    extensions, file_names, interpreters = map(_keys, ("extensions", "file_names", "interpreters"))
    return {
        name: Language(
            name=name,
            kind=entry["kind"],
            extensions=extensions.get(name, ()),
            file_names=file_names.get(name, ()),
            interpreters=interpreters.get(name, ()),
            line_comment=entry.get("line"),
            block_comment=tuple(entry["block"]) if "block" in entry else None,
            v1="v1" in entry,
        )
        for name, entry in TABLES["languages"].items()
    }


_ALL = _languages()
_LISTED = 338  # the tables put the listed names first

LANGUAGES: Mapping[str, Language] = MappingProxyType(dict(list(_ALL.items())[:_LISTED]))
"""The list of DeepSeek-Coder-V2, by name."""

OUTSIDE: Mapping[str, Language] = MappingProxyType(dict(list(_ALL.items())[_LISTED:]))
"""What is not on that list but wanted: V1's nine others, Markdown and reStructuredText."""

V1: frozenset[str] = frozenset(name for name, language in _ALL.items() if language.v1)
"""V1's 87 languages; nine of them are in OUTSIDE, and a `Detection` names those as `outside`."""
