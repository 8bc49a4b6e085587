"""Rust: the tree of modules below each crate's root, walked as `mod` declares it.

An edge goes to the file of each declared module, to the file that a path of `use` (or a `crate::` or
`super::` path in the code) ends in, and through the `use` of that module to where a re-exported name
comes from. Crates of one repository find each other by the names in their Cargo.toml, also renamed.
"""

import re
import tomllib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from midfill.corpus.dependencies.family import Family, File, Resolver
from midfill.corpus.dependencies.paths import ancestors, folder_of, join, named, stem_of
from midfill.corpus.dependencies.words import (
    at_line_starts,
    matches_at,
    outside_comments,
    places_of,
)

LANGUAGES = ("Rust",)

_ITEM = re.compile(
    r"\n[ \t]*(?:#\[path[ \t]*=[ \t]*\"(?P<path>[^\"\n]+)\"\][ \t\r]*\n?[ \t]*)?"
    r"(?:#\[[^\n\]]*\][ \t\r]*\n?[ \t]*)?(?P<pub>pub(?:\([^)\n]*\))?[ \t]+)?"
    r"(?:mod[ \t]+(?:r#)?(?P<mod>\w+)[ \t]*;|(?P<use>use|extern[ \t]+crate)[ \t]+|(?(pub)"
    r"(?:(?:unsafe|async|const|extern(?:[ \t]+\"[^\"\n]*\")?)[ \t]+)*"
    r"(?:struct|enum|union|trait|fn|type|const|static|macro)[ \t]+(?:mut[ \t]+)?(?P<name>\w+)|(?!)))"
)
_CRATE_PATH = re.compile(r"crate((?:::\w+)+)")
_SUPER_PATH = re.compile(r"super((?:::\w+)+)")
_INCLUDED = re.compile(r"include(?:_str|_bytes)?!\([ \t]*\"([^\"\n]+)\"")
_ITEM_WORDS = ("#[", "pub", "mod", "use", "extern")
_LEAF = re.compile(r"(?<![\w:#*\s])\s*+([\w:#*]*+)\s*+(?:as\s++(\w++)\s*+)?([{},]|\Z)")
_LINE_COMMENT = re.compile(r"//[^\n]*")
_LONGEST_USE = 10_000  # characters
_LONGEST_MANIFEST = 200_000  # characters
_LONGEST_LINE = 2000
_DEEPEST_BRACES = 32
_PLAIN_PARTS = 16  # of a path without braces, up to which it is split at once
_MOST_HOPS = 8  # re-exports followed one after the other

_Path = tuple[str, ...]


@dataclass(slots=True)
class _Unit:
    mods: list[tuple[str, str]] = field(default_factory=list)  # name, stated path or ""
    uses: list[_Path] = field(default_factory=list)  # a last "*" stands for all names
    names: dict[str, _Path] = field(default_factory=dict)  # what `use` brings in, and whence
    paths: list[_Path] = field(default_factory=list)  # found in the code
    included: list[str] = field(default_factory=list)
    public: frozenset[str] = frozenset()


@dataclass(slots=True)
class _Module:
    root: str  # the crate's root file
    parent: str | None = None
    beside: bool = True  # its modules lie in its own folder, not in one called as it
    children: dict[str, str] = field(default_factory=dict)


class _Rust:
    def __init__(self, files: Sequence[File], everything: Mapping[str, File]) -> None:
        self._everything = everything
        self._units = {file.path: _read(file.text) for file in files}
        self._modules: dict[str, _Module] = {}
        self._libraries: dict[str, str] = {}  # root file by crate name
        self._renamed: dict[str, dict[str, str]] = {}  # root file by name and manifest's folder
        manifests = dict(_manifests(everything))
        for folder, manifest in manifests.items():
            self._add_library(folder, manifest)
        for folder, manifest in manifests.items():
            self._add_renamed(folder, manifest)
        roots = {*self._libraries.values(), *filter(self._is_root, self._units)}
        for root in [*sorted(roots), *sorted(self._units)]:  # the rest: outside every tree
            if root in self._units:
                self._grow(root)

    def needs(self, file: File) -> Iterable[str]:
        unit = self._units.get(file.path)
        if unit is None:
            return
        yield from self._modules[file.path].children.values()
        for path in (*unit.uses, *unit.paths):
            module, rest = self._start(file.path, path)
            if module is not None:
                yield self._walk(module, rest, file.path)
        for name in unit.included:
            found = join(folder_of(file.path), name)
            if found is not None:
                yield found

    def _add_library(self, folder: str, manifest: dict) -> None:
        package, library = _table(manifest, "package"), _table(manifest, "lib")
        root = join(folder, str(library.get("path", "src/lib.rs")))
        name = library.get("name") or package.get("name")
        if isinstance(name, str) and root in self._units:
            self._libraries.setdefault(name.replace("-", "_"), root)

    def _add_renamed(self, folder: str, manifest: dict) -> None:
        """Dependencies that are in this repository under another name than their own."""
        tables = [
            _table(table, kind)
            for table in (manifest, _table(manifest, "workspace"))
            for kind in ("dependencies", "dev-dependencies", "build-dependencies")
        ]
        for name, wanted in (item for table in tables for item in table.items()):
            if isinstance(wanted, dict) and isinstance(wanted.get("path"), str):
                root = join(folder, f"{wanted['path']}/src/lib.rs")
                package = wanted.get("package")
                if isinstance(package, str):
                    root = self._libraries.get(package.replace("-", "_"), root)
                if root in self._units:
                    self._renamed.setdefault(name.replace("-", "_"), {})[folder] = root

    def _is_root(self, path: str) -> bool:
        folder, _, name = path.rpartition("/")
        last = folder.rpartition("/")[2]
        above = folder.rpartition("/")[0].rpartition("/")[2]
        return (
            name in ("lib.rs", "main.rs", "build.rs")
            or last in ("examples", "tests", "benches")
            or (last == "bin" and above == "src")
        )

    def _grow(self, root: str) -> None:
        """Note the modules below a file that no other file has declared."""
        if root in self._modules:
            return
        self._modules[root] = _Module(root)
        waiting = [root]
        while waiting:
            path = waiting.pop()
            module = self._modules[path]
            for name, stated in self._units[path].mods:
                child = self._child(path, name, stated)
                if child is None or name in module.children:
                    continue
                module.children[name] = child
                if child not in self._modules:
                    beside = bool(stated) or stem_of(child) == "mod"
                    self._modules[child] = _Module(module.root, path, beside)
                    waiting.append(child)

    def _child(self, path: str, name: str, stated: str) -> str | None:
        folder = folder_of(path)
        if stated:
            return found if (found := join(folder, stated)) in self._units else None
        below = folder if self._modules[path].beside else path[: -len(".rs")]
        for candidate in (f"{name}.rs", f"{name}/mod.rs"):
            found = join(below, candidate) or ""
            if found in self._units:
                return found
        return None

    def _start(self, user: str, path: _Path) -> tuple[str | None, _Path]:
        """The file that a path begins in, and what of the path is left."""
        if not path:
            return None, path
        first, rest = path[0], path[1:]
        here = self._modules[user]
        if first in ("crate", "$crate"):
            return here.root, rest
        if first == "self":
            return user, rest
        if first == "super":
            module: str | None = here.parent
            while rest and rest[0] == "super" and module:
                module, rest = self._modules[module].parent, rest[1:]
            return module, rest
        if first in here.children:
            return here.children[first], rest
        return self._crate(user, first), rest

    def _crate(self, user: str, name: str) -> str | None:
        """The root of another crate; in Rust 2015 a path may also begin at the own root."""
        if name in self._renamed:
            for folder in ancestors(user):
                if folder in self._renamed[name]:
                    return self._renamed[name][folder]
        root = self._modules[user].root
        if name in self._libraries:
            return self._libraries[name]
        return self._modules[root].children.get(name)

    def _walk(self, module: str, rest: _Path, user: str) -> str:
        """The file that the path ends in: along modules, and along what they import by name."""
        seen: set[tuple[str, _Path]] = set()
        for _ in range(_MOST_HOPS):
            while rest and rest[0] in self._modules[module].children:
                module, rest = self._modules[module].children[rest[0]], rest[1:]
            if not rest or rest[0] in ("*", "self") or rest[0] in self._units[module].public:
                return module
            target = self._imported(module, rest[0])
            if target is None or target[0] is None or target[0] == user or (module, rest) in seen:
                return module
            seen.add((module, rest))
            module, rest = target[0], target[1] + rest[1:]
        return module

    def _imported(self, module: str, name: str) -> tuple[str | None, _Path] | None:
        """Where `module` has a name from, if one of its `use` names it or a module that has it."""
        unit = self._units[module]
        if name in unit.names:
            return self._start(module, unit.names[name])
        for path in unit.uses[:256]:
            if path[-1] == "*":
                start, rest = self._start(module, path[:-1])
                while start and rest and rest[0] in self._modules[start].children:
                    start, rest = self._modules[start].children[rest[0]], rest[1:]
                if start and not rest and name in self._units[start].public:
                    return start, (name,)
        return None


def _read(text: str) -> _Unit:
    text = "\n" + text
    unit = _Unit()
    public: list[str] = []
    for match in outside_comments(text, at_line_starts(_ITEM, text, _ITEM_WORDS)):
        if match["name"]:
            public.append(match["name"])
        elif match["mod"]:
            unit.mods.append((match["mod"], match["path"] or ""))
        else:
            end = text.find(";", match.end(), match.end() + _LONGEST_USE)
            if end >= 0:
                _add_uses(unit, text[match.end() : end])
    unit.public = frozenset(public)
    places = places_of(text, ("crate::", "super::", "include"))
    for first, pattern in (("crate", _CRATE_PATH), ("super", _SUPER_PATH)):
        found = dict.fromkeys(match[1] for match in matches_at(pattern, text, places))
        unit.paths += [(first, *path[2:].split("::")[:16]) for path in found]
    unit.included = [match[1] for match in matches_at(_INCLUDED, text, places)]
    return unit


def _add_uses(unit: _Unit, tree: str) -> None:
    """Add the paths of a `use` tree such as `a::{b, c::{d as e, self}, f::*}`."""
    parts = tree.split("::")
    if len(parts) <= _PLAIN_PARTS and all(map(str.isidentifier, parts)):
        _add_use(unit, tuple(parts), "")
        return
    stack: list[_Path] = [()]
    for stated, name, end in _LEAF.findall(_LINE_COMMENT.sub("", tree)):
        names = (one.removeprefix("r#") for one in stated.split("::") if one)
        path = (*stack[-1], *names)[:17]
        if end == "{":
            if len(stack) >= _DEEPEST_BRACES:
                return
            stack.append(path)
            continue
        if stated:
            _add_use(unit, path, name)
        if end == "}" and len(stack) > 1:
            stack.pop()


def _add_use(unit: _Unit, path: _Path, name: str) -> None:
    *before, last = path
    if last == "self" and before:
        path, last = tuple(before), before[-1]
    unit.uses.append(path)
    if last != "*":
        unit.names.setdefault(name or last, path)


def _manifests(everything: Mapping[str, File]) -> Iterator[tuple[str, dict]]:
    for path in named(everything, "Cargo.toml"):
        text = everything[path].text
        # The parser's time grows with the square of a dotted key's length.
        if len(text) > _LONGEST_MANIFEST or max(map(len, text.split("\n"))) > _LONGEST_LINE:
            continue
        try:
            manifest = tomllib.loads(text)
        except (ValueError, RecursionError):
            continue
        yield folder_of(path), manifest


def _table(manifest: dict, name: str) -> dict:
    table = manifest.get(name)
    return table if isinstance(table, dict) else {}


def resolver(files: Sequence[File], everything: Mapping[str, File]) -> Resolver:
    """Resolves modules and crates among the Rust files of the repository."""
    return _Rust(files, everything)


FAMILY: Family = resolver
