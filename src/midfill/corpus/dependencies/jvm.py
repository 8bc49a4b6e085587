"""Java, Kotlin, Scala and their kin: packages and the types declared in them.

An import of a name is an edge to the file that declares it (also of a nested type, a static member
or a Kotlin function). What needs no import - the types of the same package, and those of a package
imported whole - is an edge where the type's name stands in the text as a word; a Kotlin function or
a Scala extension used without an import of its own is not seen.
"""

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from midfill.corpus.dependencies.family import Family, File, Resolver
from midfill.corpus.dependencies.paths import stem_of
from midfill.corpus.dependencies.words import (
    Declared,
    capitalised,
    indentation,
    mentioned,
    top_level,
    without_comments,
)

LANGUAGES = ("Java", "Kotlin", "Scala", "Groovy", "AspectJ", "Xtend")

_MODIFIERS = (
    "public|protected|private|internal|abstract|static|final|sealed|non-sealed|strictfp|data|open|"
    "value|inline|inner|annotation|case|implicit|lazy|expect|actual|suspend|fun(?=[ \t]+interface)|"
    "operator|infix|tailrec|external|const|lateinit|override|transparent|opaque|privileged"
)
_ANNOTATION = r"@[\w.]+(?:\([^()\n]{0,200}\))?"
_TYPE = r"(?:class|@?interface|enum(?:[ \t]+class)?|record|object|trait|typealias|type|aspect)"
_OUTER_LINE = re.compile(r"\n[a-z@][^\n]*")
_INNER_IMPORT = re.compile(r"\n[ \t]+(import[ \t][^\n]+)")
_STATEMENT = re.compile(
    r"import[ \t]+(?P<imported>[^\n;]+)"
    r"|package[ \t]+(?:(?P<object>object)[ \t]+)?(?P<package>[\w.`]+)"
    rf"|(?:(?:{_ANNOTATION}|{_MODIFIERS})(?:\[[\w.]*\])?[ \t]+){{0,8}}"
    rf"(?:{_TYPE}[ \t]+(?P<type>[A-Za-z_$]\w*)"
    # A Kotlin function or property may name its receiver first.
    r"|(?:fun|val|var|def|given)[ \t]+(?:<[^\n>]{0,200}>[ \t]*)?"
    r"(?:[\w<>?,* ]{1,200}\.)?(?P<member>[A-Za-z_]\w*))"
)
_INNER_TYPES = tuple(
    re.compile(rf"{kind}[ \t]+([A-Z]\w*)")
    for kind in ("class", "interface", "enum", "object", "trait", "record")
)
_LONGEST = 4000  # characters of one import with braces over several lines
_RENAMED = re.compile(r"[ \t]*(?:=>|[ \t]as[ \t]).*", re.DOTALL)


@dataclass(slots=True)
class _Unit:
    packages: list[str] = field(default_factory=list)  # the file's own last, those around it before
    imports: list[str] = field(default_factory=list)
    types: list[str] = field(default_factory=list)
    members: list[str] = field(default_factory=list)  # functions and values outside every type
    package_object: str = ""  # the package whose Scala object this file holds

    @property
    def package(self) -> str:
        return self.packages[-1] if self.packages else ""


class _Jvm:
    def __init__(self, files: Sequence[File]) -> None:
        self._declared = Declared()
        self._units: dict[str, _Unit] = {}
        self._elsewhere: set[str] = set()  # names asked for that no file declares
        for file in sorted(files, key=lambda file: file.path):
            self._units[file.path] = unit = _read(file.text)
            facade = [f"{stem_of(file.path)}Kt"] if file.path.endswith(".kt") else []  # for Java
            for name in (*unit.types, *unit.members, *facade):
                self._declared.add(unit.package, name, file.path)
            if unit.package_object:
                self._declared.add(unit.package_object, "", file.path)

    def needs(self, file: File) -> Iterable[str]:
        unit = self._units.get(file.path) or _read(file.text)
        whole = list(unit.packages) or [""]
        for imported in unit.imports:
            yield from self._imported(imported, unit, file.path, whole)
        yield from self._used(file, unit, whole)

    def _imported(self, name: str, unit: _Unit, user: str, whole: list[str]) -> Iterator[str]:
        """The file of an imported name; a package imported whole is added to `whole`."""
        everything = name.endswith(".*")
        name = name.removesuffix(".*")
        for around in ("", *reversed(unit.packages)):  # Scala: also from the packages around
            full = f"{around}.{name}" if around else name
            if everything and full in self._declared:
                whole.append(full)
                package_object = self._declared.find(full, "", user)
                if package_object:
                    yield package_object
                return
            found = self._find(full, user)
            if found:
                yield found
                return

    def _find(self, name: str, user: str) -> str | None:
        """The file of `a.b.Type`, or of the type or package object that has such a member."""
        asked = name
        for _ in range(16 if name not in self._elsewhere else 0):
            scope, _, last = name.rpartition(".")
            found = self._declared.find(scope, last, user) or self._declared.find(scope, "", user)
            if found:
                return found
            if not scope:
                break
            name = scope
        self._elsewhere.add(asked)
        return None

    def _used(self, file: File, unit: _Unit, whole: list[str]) -> Iterator[str]:
        scopes = [scope for scope in dict.fromkeys(whole) if scope in self._declared]
        if not scopes:
            return
        words = capitalised(without_comments(file.text))
        for name in unit.types:
            words.pop(name, None)
        for scope in scopes:
            for name in mentioned(words, self._declared.among(scope, words)):
                found = self._declared.find(scope, name, file.path)
                if found:
                    yield found


def _read(text: str) -> _Unit:
    unit = _Unit()
    text = "\n" + without_comments(text)
    for line in _OUTER_LINE.finditer(text):
        match = _STATEMENT.match(text, line.start() + 1, line.end())
        if match is None:
            continue
        if match["imported"]:
            unit.imports += _names(_whole(text, match, match["imported"]))
        elif match["package"]:
            _enter(unit, match["package"].replace("`", ""), bool(match["object"]))
        elif match["type"]:
            unit.types.append(match["type"])
        else:
            unit.members.append(match["member"])
    for line in _INNER_IMPORT.finditer(text):  # Scala allows them anywhere
        match = _STATEMENT.match(text, line.start(1), line.end())
        if match and match["imported"]:
            unit.imports += _names(_whole(text, match, match["imported"]))
    unit.types = unit.types or _indented(text)
    return unit


def _indented(text: str) -> list[str]:
    """The outermost types of a file that indents all of them."""
    found = (match for kind in _INNER_TYPES for match in kind.finditer(text))
    return top_level((indentation(text, match.start()), match[1]) for match in found)


def _enter(unit: _Unit, name: str, is_object: bool) -> None:
    full = f"{unit.package}.{name}" if unit.packages else name
    if is_object:
        unit.package_object = full
    elif full not in unit.packages and len(unit.packages) < 16:
        unit.packages.append(full)


def _whole(text: str, match: re.Match[str], imported: str) -> str:
    """The text of an import, to its closing brace where that is on a later line."""
    if "{" not in imported or "}" in imported:
        return imported
    end = text.find("}", match.end(), match.end() + _LONGEST)
    return imported if end < 0 else imported + text[match.end() : end + 1]


def _names(imported: str) -> Iterator[str]:
    """The full names of one import; a package imported whole ends with `.*`."""
    imported = imported.partition("//")[0].strip().removeprefix("static ").strip()
    if imported.replace(".", "").isidentifier() and not imported.endswith(("._", ".given")):
        yield imported
        return
    for part in _split(imported):
        prefix, brace, inside = part.partition("{")
        selected = inside.partition("}")[0].split(",") if brace else [""]
        for name in selected:
            full = _RENAMED.sub("", prefix + name.strip())
            full = full.replace("`", "").replace(" ", "").removeprefix("_root_.")
            if full.endswith(("._", ".given")):
                full = full.rpartition(".")[0] + ".*"
            if full:
                yield full


def _split(imported: str) -> list[str]:
    """`a.{B, C}, d.E` at the commas outside braces; `a.{B}` comes before such a comma at most."""
    if "," not in imported:
        return [imported]
    return [part.strip() for part in re.split(r",(?![^{}]*\})", imported[:_LONGEST])]


def resolver(files: Sequence[File], everything: Mapping[str, File]) -> Resolver:
    """Resolves imports and uses of types among the files of the Java virtual machine's languages."""
    return _Jvm(files)


FAMILY: Family = resolver
