"""PHP: classes by their full names, and included files.

A class is found where it is declared, whatever the autoloader; where several files declare it, the
one that composer.json's PSR-4 folders name, else the nearest. Names of the own namespace need no
`use` and are edges where they stand in the text as words. A path that is computed, other than from
the file's own folder, is not seen, nor a name that begins with a part of a namespace (`Sub\\Name`).
"""

import json
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from midfill.corpus.dependencies.family import Family, File, Resolver
from midfill.corpus.dependencies.paths import folder_of, join, named
from midfill.corpus.dependencies.words import (
    Declared,
    at_places,
    capitalised,
    line_starts,
    matches_at,
    mentioned,
    outside_comments,
    without_comments,
)

LANGUAGES = ("PHP", "HTML PHP")

_STATEMENT = (
    r"(?:<\?(?:php)?[ \t]+)?(?:"
    r"namespace[ \t]+(?P<namespace>[\w\\]+)"
    r"|use[ \t]+(?P<use>[^;\n({]+(?:\{[^}]{0,5000}\})?)[ \t]*;"
    r"|(?:(?:abstract|final|readonly)[ \t]+){0,3}(?:class|interface|trait|enum)[ \t]+(?P<type>\w+)"
    r"|function[ \t]+&?[ \t]*(?P<function>\w+)[ \t]*\()"
)
_OUTER = re.compile(rf"\n{_STATEMENT}")
_INNER = re.compile(rf"\n[ \t]*{_STATEMENT}")
_TRAITS = re.compile(r"\n[ \t]+use[ \t]+([\w\\, ]+)[;{]")
_INCLUDE = re.compile(
    r"(?:require|include)(?:_once)?[ \t]*\(?[ \t]*"
    r"((?:__DIR__|(?:\\?dirname[ \t]*\([ \t]*){1,4}(?:__FILE__|__DIR__)[ \t]*(?:,[ \t]*\d[ \t]*)?"
    r"(?:\)[ \t]*){1,4})[ \t]*\.[ \t]*)?[\"']([^\"'$\n]+)[\"']"
)
_FULL_NAME = re.compile(r"\\(?<!\w\\)([A-Z]\w*(?:\\\w+)*)")
_WORDS = (  # that a statement begins with
    "<?",
    "namespace",
    "use",
    "abstract",
    "final",
    "readonly",
    "class",
    "interface",
    "trait",
    "enum",
    "function",
)
_QUOTED_NAMES = 2000  # full names looked at in one file


@dataclass(slots=True)
class _Unit:
    namespaces: list[str] = field(default_factory=list)
    uses: list[str] = field(default_factory=list)
    traits: list[str] = field(default_factory=list)  # as they are named in classes
    functions_used: list[str] = field(default_factory=list)
    types: list[tuple[str, str]] = field(default_factory=list)
    functions: list[tuple[str, str]] = field(default_factory=list)


class _Php:
    def __init__(self, files: Sequence[File], everything: Mapping[str, File]) -> None:
        self._everything = everything
        self._types, self._functions = Declared(), Declared()
        self._full_names: set[str] = set()  # of types
        self._autoload = list(_psr(everything))
        self._autoloaded: dict[str, str | None] = {}  # file by full name
        self._units: dict[str, _Unit] = {}
        for file in sorted(files, key=lambda file: file.path):
            self._units[file.path] = unit = _read(file.text)
            for namespace, name in unit.types:
                self._types.add(namespace, name, file.path)
                self._full_names.add(_joined(namespace, name))
            for namespace, name in unit.functions:
                self._functions.add(namespace, name, file.path)

    def needs(self, file: File) -> Iterable[str]:
        unit = self._units.get(file.path) or _read(file.text)
        yield from self._included(file)
        for name in unit.functions_used:
            found = _find(self._functions, name, file.path)
            if found:
                yield found
        for name in self._full_names.intersection(self._names(unit, file)):
            found = self._class(name, file.path)
            if found:
                yield found

    def _names(self, unit: _Unit, file: File) -> Iterator[str]:
        """Full names of the classes that a file may need."""
        yield from unit.uses
        for name in unit.traits:
            yield from (_joined(namespace, name) for namespace in unit.namespaces)
        text = without_comments(file.text)
        yield from dict.fromkeys(_FULL_NAME.findall(text)[:_QUOTED_NAMES])
        words = capitalised(text)
        for _, name in unit.types:
            words.pop(name, None)
        for namespace in unit.namespaces or [""]:
            for name in mentioned(words, self._types.among(namespace, words)):
                yield _joined(namespace, name)

    def _class(self, name: str, user: str) -> str | None:
        if name not in self._autoloaded:
            self._autoloaded[name] = next(self._places(name), None)
        return self._autoloaded[name] or _find(self._types, name, user)

    def _places(self, name: str) -> Iterator[str]:
        """Files of the repository where composer's autoloader would look for a class."""
        for prefix, folder in self._autoload:
            if name.startswith(prefix):
                path = join(folder, name[len(prefix) :].replace("\\", "/") + ".php")
                if path and path in self._everything:
                    yield path

    def _included(self, file: File) -> Iterator[str]:
        text = "\n" + file.text
        for match in outside_comments(text, at_places(_INCLUDE, text, ("require", "include"))):
            base, name = match.groups()
            folder = folder_of(file.path)
            for _ in range(_levels_up(base or "")):
                folder = folder_of(folder)
            places = [join(folder, name.lstrip("/"))]
            if not base:
                places = [join(folder, name), join("", name)]
            yield from (place for place in places if place and place in self._everything)


def _joined(namespace: str, name: str) -> str:
    return f"{namespace}\\{name}" if namespace else name


def _find(declared: Declared, name: str, user: str) -> str | None:
    namespace, _, last = name.strip("\\").rpartition("\\")
    return declared.find(namespace, last, user)


def _levels_up(base: str) -> int:
    """Folders between that of the file and the one that `dirname(...)` names."""
    levels = base.count("dirname") - ("__FILE__" in base)
    stated = re.search(r",[ \t]*(\d)", base)
    return levels + (int(stated[1]) - 1 if stated else 0)


def _read(text: str) -> _Unit:
    unit = _Unit()
    text = "\n" + without_comments(text)
    namespace = ""
    starts = line_starts(text, _WORDS)
    for used in matches_at(_TRAITS, text, starts):
        _add_uses(unit, used[1])
    unit.traits = list(unit.uses)
    found = list(matches_at(_OUTER, text, starts))
    if not any(match["type"] or match["function"] for match in found):
        found = list(matches_at(_INNER, text, starts))
    for match in found:
        if match["namespace"]:
            namespace = match["namespace"].strip("\\")
            unit.namespaces.append(namespace)
        elif match["use"]:
            _add_uses(unit, match["use"])
        elif match["type"]:
            unit.types.append((namespace, match["type"]))
        elif match["function"] and match[0].startswith("\nfunction"):
            unit.functions.append((namespace, match["function"]))
    unit.namespaces = list(dict.fromkeys(unit.namespaces))[:64]
    return unit


def _add_uses(unit: _Unit, stated: str) -> None:
    """Add the names of `A\\B`, `A\\B as C, D` or `A\\{B, function c}`."""
    stated = stated.strip()
    if stated.replace("\\", "").isidentifier():
        unit.uses.append(stated.strip("\\"))
        return
    kind, _, rest = stated.partition(" ")
    functions = kind == "function"
    if kind in ("function", "const"):
        stated = rest
    prefix, brace, inside = stated.partition("{")
    for part in (inside if brace else stated).rstrip("} \n\t").split(","):
        words = part.split()
        if not words:
            continue
        functions_here = functions or words[0] == "function"
        name = words[1] if words[0] in ("function", "const") and len(words) > 1 else words[0]
        full = (prefix.strip() + name if brace else name).strip("\\")
        (unit.functions_used if functions_here else unit.uses).append(full)


def _psr(everything: Mapping[str, File]) -> Iterator[tuple[str, str]]:
    """Prefix and folder of each PSR-4 rule of the repository's composer.json files."""
    for path in named(everything, "composer.json"):
        try:
            stated = json.loads(everything[path].text)
        except (ValueError, RecursionError):
            continue
        for section in ("autoload", "autoload-dev"):
            rules = _table(_table(stated, section), "psr-4")
            for prefix, folders in list(rules.items())[:64]:
                for folder in folders if isinstance(folders, list) else [folders]:
                    root = join(folder_of(path), folder) if isinstance(folder, str) else None
                    if root is not None and prefix:
                        yield prefix, root


def _table(value: object, name: str) -> dict:
    table = value.get(name) if isinstance(value, dict) else None
    return table if isinstance(table, dict) else {}


def resolver(files: Sequence[File], everything: Mapping[str, File]) -> Resolver:
    """Resolves classes, functions and includes among the PHP files of the repository."""
    return _Php(files, everything)


FAMILY: Family = resolver
