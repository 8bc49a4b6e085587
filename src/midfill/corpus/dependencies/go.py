"""Go: an import names a package, which is a folder of a module.

An edge goes to every file of the imported folder that can be imported (no tests, no `main`). Files
of one package see each other without import: there an edge goes to the file that declares an
exported name, or a type or function of any case met as such, which stands in the text as a word.
A test of the package's own kind needs all files of its package. Modules of one repository find each
other with or without a go.work or a replace directive.
"""

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import NamedTuple

from midfill.corpus.dependencies.family import Family, File, Resolver
from midfill.corpus.dependencies.paths import ancestors, folder_of, join
from midfill.corpus.dependencies.words import Declared, capitalised, mentioned, without_comments

LANGUAGES = ("Go",)

_LARGEST_PACKAGE = 256  # files; the first by path stand for a larger one, which is generated
_PACKAGE = re.compile(r"\npackage[ \t]+(\w+)")
_BODY = re.compile(r"\n(?:func|type|var|const)\b")
_IMPORTED = re.compile(r"[\"`]([^\"`\n]+)[\"`]")
_LINE_COMMENT = re.compile(r"//[^\n]*")
_DECLARED = re.compile(r"\n(?:func|type|var|const)[ \t]+([A-Z]\w*)")
_GROUPED = re.compile(r"\n\t([A-Z]\w*)[ \t][^\n:({]*=")
_MODULE = re.compile(r"^[ \t]*module[ \t]+\"?([^\s\"]+)", re.MULTILINE)
_REPLACE = re.compile(r"(\S+)(?:[ \t]+v\S+)?[ \t]+=>[ \t]+(\.\.?/\S*|\.\.?)(?=\s|$)")


class _Unit(NamedTuple):
    package: str
    imports: list[str]
    names: list[str]


class _Go:
    def __init__(self, files: Sequence[File], everything: Mapping[str, File]) -> None:
        self._modules = dict(_modules(everything))  # the folder of each module's path
        self._replaced = dict(_replacements(everything))  # by folder of the go.mod and path
        self._units: dict[str, _Unit] = {}
        self._declared = Declared()
        self._folders: dict[str, list[str]] = {}
        for file in sorted(files, key=lambda file: file.path):
            unit = _read(file.text)
            self._units[file.path] = unit
            if not file.path.endswith("_test.go"):
                self._folders.setdefault(folder_of(file.path), []).append(file.path)
                for name in unit.names:
                    self._declared.add(_scope(file.path, unit), name, file.path)

    def needs(self, file: File) -> Iterable[str]:
        unit = self._units.get(file.path) or _read(file.text)
        for name in unit.imports:
            folder = self._folder(file.path, name)
            if folder is not None:
                yield from self._package(folder)
        if file.path.endswith("_test.go"):
            if not unit.package.endswith("_test"):
                yield from self._package(folder_of(file.path), unit.package)
        else:
            yield from self._beside(file, unit)

    def _package(self, folder: str, package: str = "") -> Iterator[str]:
        for path in self._folders.get(folder, [])[:_LARGEST_PACKAGE]:
            name = self._units[path].package
            if name == package if package else name not in ("main", "documentation"):
                yield path

    def _beside(self, file: File, unit: _Unit) -> Iterator[str]:
        scope = _scope(file.path, unit)
        if scope not in self._declared or len(self._folders[folder_of(file.path)]) < 2:
            return
        words = capitalised(without_comments(file.text))
        for name in unit.names:
            words.pop(name, None)
        for name in mentioned(words, self._declared.among(scope, words)):
            found = self._declared.find(scope, name, file.path)
            if found:
                yield found

    def _folder(self, user: str, name: str) -> str | None:
        """The folder of this repository that an import path names, if it is one."""
        if name.startswith("."):
            return join(folder_of(user), name)
        for around in ancestors(user):
            vendored = join(around, f"vendor/{name}")
            if vendored in self._folders:
                return vendored
        module, rest = name, ""
        for _ in range(32):
            folder = self._module_folder(user, module)
            if folder is not None:
                return join(folder, rest) if rest else folder
            module, slash, last = module.rpartition("/")
            if not slash:
                return None
            rest = f"{last}/{rest}" if rest else last
        return None

    def _module_folder(self, user: str, module: str) -> str | None:
        if self._replaced:
            for around in ancestors(user):
                if (around, module) in self._replaced:
                    return self._replaced[around, module]
        return self._modules.get(module)


def _scope(path: str, unit: _Unit) -> str:
    return f"{folder_of(path)}:{unit.package}"


def _modules(everything: Mapping[str, File]) -> Iterator[tuple[str, str]]:
    """Module path and folder of every go.mod, those deeper in the repository first."""
    for path in sorted(everything, reverse=True):
        if path.rpartition("/")[2] == "go.mod":
            match = _MODULE.search(everything[path].text[:100_000])
            if match:
                yield match[1], folder_of(path)


def _replacements(everything: Mapping[str, File]) -> Iterator[tuple[tuple[str, str], str]]:
    for path, file in everything.items():
        if path.rpartition("/")[2] in ("go.mod", "go.work"):
            for line in file.text[:1_000_000].split("\n"):
                match = _REPLACE.search(line[:1000]) if "=>" in line else None
                folder = join(folder_of(path), match[2]) if match else None
                if match and folder is not None:
                    yield (folder_of(path), match[1]), folder


def _read(text: str) -> _Unit:
    text = "\n" + text
    body = _BODY.search(text)
    head = without_comments(text[: body.start()] if body else text)
    head = _LINE_COMMENT.sub("", head)
    package = _PACKAGE.search(head)
    first = head.find("\nimport")
    imports = _IMPORTED.findall(head, first) if first >= 0 else []
    names = _DECLARED.findall(text) + _GROUPED.findall(text)
    return _Unit(package[1] if package else "", imports, names)


def resolver(files: Sequence[File], everything: Mapping[str, File]) -> Resolver:
    """Resolves packages among the Go files of the repository."""
    return _Go(files, everything)


FAMILY: Family = resolver
