"""C#: namespaces over several files, and the types declared in them.

A `using` makes the types of a namespace visible, it names no file: an edge goes to each file that
declares a visible type (of the own namespaces, those around them, those in `using`) whose name
stands in the text as a word, and to the file of a type that `using static` or an alias names. A
namespace used only for its extension methods is not seen. A partial type is the file called as it,
else the nearest.
"""

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from midfill.corpus.dependencies.family import Family, File, Resolver
from midfill.corpus.dependencies.words import (
    Declared,
    capitalised,
    indentation,
    line_starts,
    matches_at,
    mentioned,
    places_of,
    without_comments,
)

LANGUAGES = ("C#",)

_USING = re.compile(
    r"\n[ \t]*(global[ \t]+)?using[ \t]+(?:(static)[ \t]+|\w+[ \t]*(=)[ \t]*)?(?:global::)?([\w.]+)[^\n;]{0,200};"
)
_NAMESPACE = re.compile(r"\n([ \t]*)namespace[ \t]+([\w.]+)")
_WORDS = ("global", "using", "namespace")
_KINDS = ("class", "interface", "struct", "enum", "record", "delegate")
_TYPE = re.compile(
    r"(?:class|interface|struct|enum|record|delegate[ \t]+[\w<>,.?\[\]]+)[ \t]+([A-Za-z_]\w*)"
)
_BEFORE_TYPE = re.compile(r"[ \t]*(?:\[[^\n\]]*\][ \t]*)*(?:[a-z]+[ \t]+)*")


@dataclass(slots=True)
class _Unit:
    namespaces: list[str] = field(default_factory=list)
    usings: list[str] = field(default_factory=list)
    types: list[tuple[str, str]] = field(default_factory=list)  # namespace, name
    named: list[str] = field(default_factory=list)  # full names of `using static` and aliases


class _CSharp:
    def __init__(self, files: Sequence[File]) -> None:
        self._declared = Declared()
        self._units: dict[str, _Unit] = {}
        everywhere: dict[str, None] = {}
        for file in sorted(files, key=lambda file: file.path):
            self._units[file.path] = unit = _read(file.text, everywhere)
            for namespace, name in unit.types:
                self._declared.add(namespace, name, file.path)
        self._global_usings = list(everywhere)

    def needs(self, file: File) -> Iterable[str]:
        unit = self._units.get(file.path) or _read(file.text, {})
        for name in unit.named:
            yield from self._named(name, unit, file.path)
        scopes = [scope for scope in self._visible(unit) if scope in self._declared]
        if not scopes:
            return
        words = capitalised(without_comments(file.text))
        for _, name in unit.types:
            words.pop(name, None)
        for scope in scopes:
            for name in mentioned(words, self._declared.among(scope, words)):
                found = self._declared.find(scope, name, file.path)
                if found:
                    yield found

    def _visible(self, unit: _Unit) -> list[str]:
        """Namespaces whose types need no prefix, each once."""
        around = [scope for name in unit.namespaces for scope in _around(name)]
        used = [*unit.usings, *self._global_usings]
        relative = [f"{scope}.{name}" for scope in around if scope for name in unit.usings]
        return list(dict.fromkeys([*around, "", *used, *relative]))

    def _named(self, name: str, unit: _Unit, user: str) -> Iterator[str]:
        for prefix in ("", *(f"{scope}." for own in unit.namespaces for scope in _around(own))):
            scope, _, last = f"{prefix}{name}".rpartition(".")
            found = self._declared.find(scope, last, user)
            if found:
                yield found
                return


def _around(namespace: str) -> list[str]:
    parts = namespace.split(".")[:16]
    return [".".join(parts[:count]) for count in range(len(parts), 0, -1)]


def _read(text: str, everywhere: dict[str, None]) -> _Unit:
    """What a file declares and uses; its global usings are added to `everywhere`."""
    unit = _Unit()
    text = "\n" + without_comments(text)
    starts = line_starts(text, _WORDS)
    for match in matches_at(_USING, text, starts):
        is_global, static, alias, name = match.groups()
        if static or alias:
            unit.named.append(name)
        elif is_global:
            everywhere[name] = None
        else:
            unit.usings.append(name)
    namespaces = _namespaces(matches_at(_NAMESPACE, text, starts))
    unit.namespaces = list(dict.fromkeys(name for _, name in namespaces))[:64]
    unit.types = list(_types(text, namespaces))
    return unit


def _namespaces(matches: Iterable[re.Match[str]]) -> list[tuple[int, str]]:
    """Where each namespace begins, and its full name: one further to the right lies in the last."""
    found: list[tuple[int, str]] = []
    open_ones: list[tuple[int, str]] = []
    for match in matches:
        indent = len(match[1])
        while open_ones and open_ones[-1][0] >= indent:
            open_ones.pop()
        name = f"{open_ones[-1][1]}.{match[2]}" if open_ones else match[2]
        if len(open_ones) < 16:
            open_ones.append((indent, name))
        found.append((match.start(), name))
    return found


def _types(text: str, namespaces: Sequence[tuple[int, str]]) -> Iterator[tuple[str, str]]:
    """Namespace and name of each type that lies in no other type, as indentation shows it."""
    declared = [
        (match.start(), indentation(text, match.start()), match[1])
        for match in _type_matches(text)
        if _begins_a_line(text, match.start())
    ]
    least: dict[int, int] = {}  # by namespace, as places in `namespaces`
    owners: list[int] = []
    current = -1
    for place, indent, _ in declared:
        while current + 1 < len(namespaces) and namespaces[current + 1][0] < place:
            current += 1
        owners.append(current)
        least[current] = min(indent, least.get(current, indent))
    for (_, indent, name), owner in zip(declared, owners, strict=True):
        if indent == least[owner]:
            yield (namespaces[owner][1] if owner >= 0 else ""), name


def _type_matches(text: str) -> Iterator[re.Match[str]]:
    """Each kind's matches, which may overlap those of another: `record class A`."""
    ends = dict.fromkeys((kind[:2] for kind in _KINDS), 0)
    for place in places_of(text, _KINDS):
        kind = text[place : place + 2]
        match = _TYPE.match(text, place) if place >= ends[kind] else None
        if match is not None:
            ends[kind] = match.end()
            yield match


def _begins_a_line(text: str, place: int) -> bool:
    """Only modifiers and attributes stand before this place in its line."""
    begin = text.rfind("\n", max(0, place - 400), place) + 1
    return bool(begin) and _BEFORE_TYPE.fullmatch(text, begin, place) is not None


def resolver(files: Sequence[File], everything: Mapping[str, File]) -> Resolver:
    """Resolves namespaces and types among the C# files of the repository."""
    return _CSharp(files)


FAMILY: Family = resolver
