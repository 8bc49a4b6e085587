"""Imports of JavaScript and TypeScript (also JSX, TSX and the scripts of Vue files).

What a specifier names is decided as Node, TypeScript and the bundlers agree to: a relative path
with its suffix left out or written as that of the compiled file (`./a.js` for a.ts), a folder by its
package.json or its index, a name by `paths` and `baseUrl` of the nearest tsconfig.json or
jsconfig.json, by `imports` of the own package.json (`#a`), or as a package of this repository.
Entries that a build would make (`dist/index.js`) are looked for in `src`. Not found: AMD's `define`,
globs of bundlers, aliases that only a bundler's configuration knows.
"""

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from posixpath import dirname, join, normpath, splitext
from typing import Any

from midfill.corpus.dependencies.family import File

LANGUAGES = ("JavaScript", "TypeScript", "JSX", "Vue")

# From a keyword to its specifier: no clause holds a parenthesis, an equals sign or a string. The
# keyword nearest to the specifier counts, so that one pass is enough for all that have no specifier.
_CLAUSE = re.compile(
    r"(?:[^\"'`;()=/]|//[^\n]*+|/\*(?:[^*]|\*(?!/))*+(?:\*/|\Z)|/)*+(?:([\"'])([^\"'\n]++)\1)?"
)
_CALL = re.compile(
    r"(?:import|require)\s*+\(\s*+(?:/\*[^*]{0,200}+\*/\s*+)?+([\"'`])([^\"'`\n$]++)\1\s*+[,)]"
)
_REFERENCE = re.compile(r"///[ \t]*<reference[ \t]+path[ \t]*=[ \t]*([\"'])([^\"'\n]+)\1")
_PART = re.compile(
    r"[\w$\"'`]|(?<!\.)\."
)  # before a keyword: a longer name, a property or a string
_FROM = re.compile(r"\bfrom\s*+$")
_KEYWORD = re.compile(r"(?<![\w$.\"'`-])(?:import|export)(?![\w$:])")
# What decides on a line whether a template or a comment opens at a place.
_TOKEN = re.compile(r"""//|/\*|`|"(?:[^"\\\n]|\\[\s\S])*+"?|'(?:[^'\\\n]|\\[\s\S])*+'?""")
_TOP = 20_000  # characters: references stand before any code
_NEAR = 300  # characters in front of a keyword which are searched for a comment on its line

_SCRIPTS = (".js", ".jsx", ".mjs", ".cjs")
_TYPED = (".ts", ".tsx", ".mts", ".cts", ".d.ts", ".d.mts", ".d.cts")
_OTHER = (".vue", ".svelte", ".json")
_COMPILED_FROM = {
    ".js": (".ts", ".tsx", ".d.ts", ".jsx"),
    ".jsx": (".tsx", ".d.ts"),
    ".mjs": (".mts", ".d.mts"),
    ".cjs": (".cts", ".d.cts"),
}
_BUILT = frozenset(("dist", "lib", "build", "out", "esm", "cjs", "es", "umd", "types"))
# The conditions of `exports`, the ones nearest to the sources first.
_CONDITIONS = ("source", "import", "module", "browser", "node", "default", "require", "types")
_DEEP = 16  # configurations that are read for one, and conditions in conditions
_SAMPLES = frozenset(("test", "tests", "__tests__", "fixtures", "__fixtures__"))  # made-up packages
_CONFIGS = ("tsconfig.json", "jsconfig.json")


def specifiers(text: str) -> list[str]:
    """What the imports, exports, requires and references of a file name, in order of kind.

    Comments, templates and strings do not count. Time is linear in the text.
    """
    found = [*_clauses(text, "import"), *_clauses(text, "export"), *_requires(text)]
    kept = _outside(text, sorted(found)) if found else []
    if text.find("<reference", 0, _TOP) >= 0:
        kept += [f"./{one[2]}" for one in _REFERENCE.finditer(text, 0, _TOP)]
    return kept


def _clauses(text: str, keyword: str) -> Iterator[tuple[int, str]]:
    """`import a from "b"`, `import "b"`, `import("b")` and `export ... from "b"`, with places."""
    at = text.find(keyword)
    while at >= 0:
        end, specifier = _clause(text, at)
        if specifier is not None:
            yield specifier
        at = text.find(keyword, end)


def _clause(text: str, at: int) -> tuple[int, tuple[int, str] | None]:
    """Up to where the text after a keyword was read, and what it names with its place."""
    found = _CLAUSE.match(text, at + 6)
    assert found is not None  # it matches nothing, too
    end = found.end()
    called = text.startswith("(", end)
    if not called and found[2] is None:
        return end, None
    quote = end if called else found.start(1)
    start = _last_keyword(text, at, quote)
    if start < 0:
        return end, None
    bare = text[start] == "i" and not text[start + 6 : quote].strip()
    if called:
        call = _CALL.match(text, start) if bare else None
        return (call.end(), (start, call[2])) if call else (end, None)
    return end, (start, found[2]) if bare or _FROM.search(text, start, quote) else None


def _last_keyword(text: str, first: int, until: int) -> int:
    """Where the last `import` or `export` between two places stands; -1 where there is none."""
    at = until
    while True:
        at = max(text.rfind("import", first, at), text.rfind("export", first, at))
        if at < 0 or (_KEYWORD.match(text, at) and not _in_comment(text, at)):
            return at


def _requires(text: str) -> Iterator[tuple[int, str]]:
    """`require("a")`, with its place."""
    at = text.find("require")
    while at >= 0:
        found = _CALL.match(text, at)
        if found and not (at and _PART.match(text, at - 1)) and not _in_comment(text, at):
            yield at, found[2]
        at = text.find("require", found.end() if found else at + 7)


def _in_comment(text: str, at: int) -> bool:
    """Whether the line of a place starts as documentation or has `//` before it, but no address."""
    low = max(0, at - _NEAR)
    line = text.rfind("\n", low, at) + 1 or low
    slashes = text.find("//", line, at)
    while slashes > 0 and text[slashes - 1] == ":":
        slashes = text.find("//", slashes + 2, at)
    return slashes >= 0 or text[line:at].lstrip().startswith("*")


def _outside(text: str, found: Sequence[tuple[int, str]]) -> list[str]:
    """The specifiers whose places lie in no template and no comment of several lines."""
    if "`" not in text and "/*" not in text:
        return [specifier for _, specifier in found]
    kept: list[str] = []
    spans = _spans(text, found[-1][0])
    span = next(spans, None)
    for at, specifier in found:
        while span is not None and span[1] <= at:
            span = next(spans, None)
        if span is None or at < span[0]:
            kept.append(specifier)
    return kept


def _spans(text: str, until: int) -> Iterator[tuple[int, int]]:
    """From where to where templates and long comments reach that start before `until`."""
    ahead = {opening: text.find(opening) for opening in ("`", "/*")}
    at = 0
    while True:
        for opening, place in ahead.items():
            if -1 < place < at:
                ahead[opening] = text.find(opening, at)
        places = [place for place in ahead.values() if place >= 0]
        if not places or min(places) > until:
            return
        place = min(places)
        opened, at = _opening(text, max(at, text.rfind("\n", at, place) + 1), place)
        if opened:
            start, at = at, _closing(text, at)
            yield start, at


def _opening(text: str, line: int, place: int) -> tuple[bool, int]:
    """Whether something opens at `place`; if not, the place to look on from."""
    for token in _TOKEN.finditer(text, line):
        if token.start() >= place:
            return token.start() == place, place if token.start() == place else place + 1
        if token[0] == "//":
            end = text.find("\n", place)
            return False, len(text) if end < 0 else end
        if token.end() > place:
            return False, token.end()
    return False, len(text)


def _closing(text: str, start: int) -> int:
    """Where the template or the comment ends that opens at `start`."""
    if text[start] == "/":
        end = text.find("*/", start + 2)
        return len(text) if end < 0 else end + 2
    at = start + 1
    while (end := text.find("`", at)) >= 0:
        escapes = end
        while escapes > at and text[escapes - 1] == "\\":
            escapes -= 1
        if (end - escapes) % 2 == 0:
            return end + 1
        at = end + 1
    return len(text)


@dataclass(frozen=True, slots=True)
class _Paths:
    """What one configuration of the compiler says about names."""

    base: str | None = None  # names are also paths from here
    patterns: Mapping[str, Sequence[str]] = field(default_factory=dict)  # paths from `at`
    at: str = ""


class _JavaScript:
    """What specifiers name in one repository."""

    def __init__(self, own: Sequence[File], files: Mapping[str, File]) -> None:
        self._files = files
        self._packages: dict[str, tuple[str, dict[str, Any]]] = {}  # by name: folder, package.json
        self._manifests: dict[str, dict[str, Any]] = {}  # by folder
        self._configs: dict[str, str] = {}  # by folder, the path of its configuration
        for path in sorted(files):
            folder, _, name = path.rpartition("/")
            if "node_modules" in path and "node_modules" in folder.split("/"):
                continue
            if name == "package.json":
                self._add_manifest(folder, files[path].text)
            elif name in _CONFIGS:
                self._configs[folder] = path  # tsconfig.json comes after jsconfig.json
        self._paths: dict[str, _Paths] = {}
        self._found: dict[tuple[str, bool, str], str | None] = {}

    def needs(self, file: File) -> Iterator[str]:
        """Paths of the files of the repository that `file` imports."""
        folder = dirname(file.path)
        typed = not file.path.endswith(_SCRIPTS)
        for specifier in specifiers(file.text):
            key = folder, typed, specifier
            if key not in self._found:
                self._found[key] = self._resolve(folder, typed, specifier)
            found = self._found[key]
            if found is not None:
                yield found

    def _add_manifest(self, folder: str, text: str) -> None:
        manifest = _lenient_json(text)
        self._manifests[folder] = manifest
        name = manifest.get("name")
        if isinstance(name, str) and name and _SAMPLES.isdisjoint(folder.split("/")):
            self._packages.setdefault(name, (folder, manifest))

    def _resolve(self, folder: str, typed: bool, specifier: str) -> str | None:
        wanted = specifier.rpartition("!")[2].partition("?")[0]  # loaders and their questions
        if wanted in (".", "..") or wanted.startswith(("./", "../")):
            return self._at(join(folder, wanted), typed)
        own = self._nearest(folder, self._manifests)
        if wanted.startswith("#"):
            imports = self._manifests[own].get("imports") if own is not None else None
            return self._entry(own or "", imports, wanted, typed)
        found = self._configured(folder, typed, wanted) or self._package(typed, wanted)
        if found is None and wanted.startswith(("@/", "~/")):  # what Vue's templates set up
            inner = (join(own or "", root, wanted[2:]) for root in ("src", ""))
            return next(filter(None, (self._at(path, typed) for path in inner)), None)
        return found

    def _at(self, path: str, typed: bool) -> str | None:
        """The file at a path as written in an import; None outside the repository."""
        path = normpath(path)
        if path.startswith(("..", "/")):
            return None
        return self._file(path, typed) or self._folder("" if path == "." else path, typed)

    def _file(self, path: str, typed: bool) -> str | None:
        if path in self._files:
            return path
        stem, suffix = splitext(path)
        for other in _COMPILED_FROM.get(suffix, ()):
            if stem + other in self._files:
                return stem + other
        suffixes = (*_TYPED, *_SCRIPTS, *_OTHER) if typed else (*_SCRIPTS, *_TYPED, *_OTHER)
        return next((path + one for one in suffixes if path + one in self._files), None)

    def _folder(self, folder: str, typed: bool) -> str | None:
        manifest = self._manifests.get(folder)
        if manifest is not None:
            entry = self._main(folder, manifest, typed)
            if entry is not None:
                return entry
        return self._file(join(folder, "index"), typed)

    def _main(self, folder: str, manifest: Mapping[str, Any], typed: bool) -> str | None:
        """The file that a package gives to those who import it by its name."""
        entry = self._entry(folder, manifest.get("exports"), ".", typed)
        for key in ("source", "module", "main", "types", "typings"):
            value = manifest.get(key)
            if entry is None and isinstance(value, str) and value:
                entry = self._built(folder, value, typed)
        return entry

    def _entry(self, folder: str, table: Any, wanted: str, typed: bool) -> str | None:
        """What `exports` or `imports` of a package.json give for `wanted`."""
        if not isinstance(table, dict) or not any(key[:1] in (".", "#") for key in table):
            table = {".": table}
        for key, targets in table.items():
            star = _filled(key, wanted)
            if star is None:
                continue
            for target in _targets(targets):
                found = self._built(folder, target.replace("*", star), typed)
                if found is not None:
                    return found
        return None

    def _built(self, folder: str, target: str, typed: bool) -> str | None:
        """The file at a path of a package, or the source that a build would make it from."""
        path = normpath(join(folder, target.lstrip("/")))
        if path.startswith(".."):
            return None
        found = self._file(path, typed)
        if found is not None:
            return found
        inner = normpath(target.lstrip("/")).split("/")
        while inner and inner[0] in _BUILT:
            inner = inner[1:]
            stem = join(folder, "src", *inner)
            for one in (stem, splitext(stem)[0].removesuffix(".d").removesuffix(".min")):
                if (found := self._file(one, typed)) is not None:
                    return found
        return self._file(join(path, "index"), typed)

    def _package(self, typed: bool, wanted: str) -> str | None:
        """A file of another package of this repository."""
        parts = wanted.split("/")
        count = 2 if wanted.startswith("@") else 1
        known = self._packages.get("/".join(parts[:count]))
        if known is None:
            return None
        folder, manifest = known
        inner = "/".join(parts[count:])
        if not inner:
            main = self._main(folder, manifest, typed)
            sources = (join(folder, "src", "index"), join(folder, "index"))
            return main or next(filter(None, (self._file(one, typed) for one in sources)), None)
        return (
            self._entry(folder, manifest.get("exports"), f"./{inner}", typed)
            or self._at(join(folder, inner), typed)
            or self._at(join(folder, "src", inner), typed)
        )

    def _configured(self, folder: str, typed: bool, wanted: str) -> str | None:
        """The file that `paths` or `baseUrl` of the nearest configuration give for a name."""
        at = self._nearest(folder, self._configs)
        if at is None:
            return None
        if at not in self._paths:
            self._paths[at] = self._read(self._configs[at], set())
        paths = self._paths[at]
        matches = [
            (len(pattern.partition("*")[0]), pattern, star)
            for pattern in paths.patterns
            if (star := _filled(pattern, wanted)) is not None
        ]
        for _, pattern, star in sorted(matches, reverse=True):  # the longest start wins
            for target in paths.patterns[pattern]:
                found = self._at(join(paths.at, target.replace("*", star)), typed)
                if found is not None:
                    return found
        return None if paths.base is None else self._at(join(paths.base, wanted), typed)

    def _read(self, path: str, seen: set[str]) -> _Paths:
        """What a configuration says about names, with what it extends or refers to."""
        file = self._files.get(path)
        if file is None or path in seen or len(seen) > _DEEP:
            return _Paths()
        seen.add(path)
        config = _lenient_json(file.text)
        folder = dirname(path)
        options = config.get("compilerOptions")
        options = options if isinstance(options, dict) else {}
        base, patterns = options.get("baseUrl"), options.get("paths")
        own = normpath(join(folder, base)) if isinstance(base, str) else None
        if isinstance(patterns, dict):
            listed = {key: _texts(value) for key, value in patterns.items() if key.count("*") < 2}
            return _Paths(own, listed, own or folder)
        for other in self._others(folder, config):
            inherited = self._read(other, seen)
            if inherited.patterns or inherited.base is not None:
                return _Paths(own or inherited.base, inherited.patterns, inherited.at)
        return _Paths(own)

    def _others(self, folder: str, config: Mapping[str, Any]) -> Iterator[str]:
        """Configurations which this one extends, the last first, and those it refers to."""
        for name in reversed(_texts(config.get("extends"))):
            if name.startswith("."):
                path = normpath(join(folder, name))
                yield path if path in self._files else f"{path}.json"
        references = config.get("references")
        for reference in references if isinstance(references, list) else ():
            name = reference.get("path") if isinstance(reference, dict) else None
            if isinstance(name, str):
                path = normpath(join(folder, name))
                yield path if path in self._files else join(path, _CONFIGS[0])

    @staticmethod
    def _nearest(folder: str, table: Mapping[str, Any]) -> str | None:
        """The innermost of the folders in `table` that holds `folder`."""
        while folder not in table:
            if not folder:
                return None
            folder = dirname(folder)
        return folder


def resolver(own: Sequence[File], files: Mapping[str, File]) -> _JavaScript:
    """The family of JavaScript and TypeScript."""
    return _JavaScript(own, files)


def _filled(pattern: str, wanted: str) -> str | None:
    """What stands for the star of a pattern in a name that fits it: empty without a star."""
    start, star, end = pattern.partition("*")
    if not star:
        return "" if pattern == wanted else None
    fits = wanted.startswith(start) and wanted.endswith(end)
    if not fits or len(wanted) < len(start) + len(end):
        return None
    return wanted[len(start) : len(wanted) - len(end)]


def _targets(value: Any, depth: int = 0) -> list[str]:
    """The paths in a target of `exports`, the conditions nearest to sources first."""
    if isinstance(value, str):
        return [value]
    if depth > _DEEP:
        return []
    if isinstance(value, list):
        return [one for entry in value for one in _targets(entry, depth + 1)]
    if not isinstance(value, dict):
        return []
    known = [key for key in _CONDITIONS if key in value]
    keys = [*known, *(key for key in value if key not in known)]
    return [one for key in keys for one in _targets(value[key], depth + 1)]


def _texts(value: Any) -> list[str]:
    return [one for one in (value if isinstance(value, list) else [value]) if isinstance(one, str)]


_JSON_EXTRA = re.compile(r'("(?:[^"\\\n]|\\.)*+")|//[^\n]*+|/\*(?:[^*]|\*(?!/))*+(?:\*/|\Z)')
_JSON_COMMA = re.compile(r'("(?:[^"\\\n]|\\.)*+")|,(?=\s*+[}\]])')


def _lenient_json(text: str) -> dict[str, Any]:
    """A JSON object, comments and commas before closing brackets allowed; empty if it is none."""
    plain = text.removeprefix("\ufeff")
    for extra in (_JSON_EXTRA, _JSON_COMMA):
        plain = extra.sub(lambda found: found[1] or "", plain)
    try:
        value = json.loads(plain)
    except (ValueError, RecursionError):
        return {}
    return value if isinstance(value, dict) else {}
