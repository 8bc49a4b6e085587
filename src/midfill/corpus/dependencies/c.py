"""C and its kin: included files, and the named modules of C++20.

A quoted name is looked for beside the file, then in the folders above it and their `include` and
`src`, then in include folders that the repository states (compile_flags.txt, CMake, where literal)
or that other includes have shown to be such, at last anywhere if only one path ends so. A name in
angle brackets skips the first step, and one of the standard library is looked for only in
`include` and in folders that are stated. A header is no edge to the file that implements it.
"""

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import NamedTuple

from midfill.corpus.dependencies.family import Family, File, Resolver
from midfill.corpus.dependencies.paths import Suffixes, ancestors, folder_of, join
from midfill.corpus.dependencies.words import (
    at_line_starts,
    line_starts,
    matches_at,
    outside_comments,
)

LANGUAGES = (
    "C",
    "C++",
    "CUDA",
    "Objective-C",
    "Objective-C++",
    "Arduino",
    "GLSL",
    "HLSL",
    "Metal",
    "OpenCL",
    "RenderScript",
    "DeviceTree",
    "Lex",
    "Assembly",
    "GAS",
    "NASM",
)

_INCLUDE = re.compile(
    r"\n[ \t]*[#%][ \t]*(include(?:_next)?|import)[ \t]*(?:\"([^\"\n]{1,400})\"|<([^>\n]{1,400})>)"
)
_MODULE = re.compile(
    r"\n[ \t]*(?:(export)[ \t]+)?(?:"
    r"(module)[ \t]+([\w.]+(?:[ \t]*:[ \t]*[\w.]+)?)[ \t]*;"
    r"|import[ \t]+(?:([\w.]*(?::[ \t]*[\w.]+)?)|\"([^\"\n]+)\"|<([^>\n]+)>)[ \t]*;)"
)
_MODULE_WORDS = ("export ", "import ", "\nmodule")  # a file without these knows no modules
_FLAG = re.compile(r"^(?:-I|-iquote|-isystem)[ \t]*([^\s]+)$", re.MULTILINE)
_CMAKE = re.compile(r"include_directories[ \t]*\(([^()]{0,2000})\)", re.IGNORECASE)
_CMAKE_WORDS = frozenset("PUBLIC PRIVATE INTERFACE BEFORE AFTER SYSTEM".split())
_CMAKE_HERE = re.compile(
    r"\$\{(?:CMAKE_CURRENT_SOURCE_DIR|CMAKE_SOURCE_DIR|PROJECT_SOURCE_DIR)\}/?"
)
_STANDARD = frozenset(
    "assert complex ctype errno fenv float inttypes iso646 limits locale math setjmp signal "
    "stdalign stdarg stdatomic stdbit stdbool stdckdint stddef stdint stdio stdlib stdnoreturn "
    "string tgmath threads time uchar wchar wctype "
    "aio cpio dirent dlfcn fcntl fmtmsg fnmatch ftw getopt glob grp iconv langinfo libgen malloc "
    "memory monetary mqueue ndbm netdb nl_types poll pthread pwd regex sched search semaphore "
    "spawn strings stropts syslog tar termios trace ulimit unistd utime utmpx values wordexp "
    "windows winsock winsock2 zconf".split()
) - {"zconf", "trace", "tar", "search", "memory", "values"}
_MOST_ROOTS = 64


class _Include(NamedTuple):
    name: str
    quoted: bool
    imported: bool  # Objective-C: <Framework/Header.h> names no folder
    next_one: bool  # include_next: the file of this name after this one


class _C:
    def __init__(self, files: Sequence[File], everything: Mapping[str, File]) -> None:
        self._everything = everything
        self._suffixes = Suffixes(everything)
        self._includes: dict[str, list[_Include]] = {}
        self._modules: dict[str, str] = {}  # the file of each C++ module's interface
        self._module_of: dict[str, str] = {}
        self._imports: dict[str, list[str]] = {}
        self._stated = _stated_roots(everything)
        for file in sorted(files, key=lambda file: file.path):
            self._scan(file)
        self._roots = list(dict.fromkeys([*self._stated, *self._shown_roots()]))[:_MOST_ROOTS]

    def needs(self, file: File) -> Iterable[str]:
        if file.path not in self._includes:
            self._scan(file)
        for include in self._includes[file.path]:
            found = self._find(file.path, include)
            if found:
                yield found
        for name in self._imports.get(file.path, ()):
            whole = self._module_of.get(file.path, "").partition(":")[0] + name
            found = self._modules.get(whole if name.startswith(":") else name)
            if found:
                yield found

    def _scan(self, file: File) -> None:
        self._includes[file.path] = list(dict.fromkeys(_includes(file.text)))
        if file.language != "C":
            self._scan_modules(file)

    def _scan_modules(self, file: File) -> None:
        text = "\n" + file.text
        starts = line_starts(text, ("export", "import", "module"))
        if not starts or not any(word in file.text for word in _MODULE_WORDS):
            return
        imports = self._imports.setdefault(file.path, [])
        for match in outside_comments(text, matches_at(_MODULE, text, starts)):
            exported, declares, own, imported, quoted, angled = match.groups()
            if declares:
                name = own.replace(" ", "").replace("\t", "")
                self._module_of[file.path] = name
                if exported or ":" in name:
                    self._modules.setdefault(name, file.path)
                else:  # it implements what an interface declares
                    imports.append(name)
            elif imported:
                imports.append(imported.replace(" ", ""))
            elif quoted or angled:
                unit = _Include(quoted or angled, bool(quoted), False, False)
                self._includes[file.path].append(unit)

    def _shown_roots(self) -> list[str]:
        """Folders from which an include that has only one possible file must have been found."""
        roots: dict[str, int] = {}
        for include in dict.fromkeys(i for found in self._includes.values() for i in found):
            if "/" not in include.name or ".." in include.name:
                continue
            found = self._suffixes.unique(include.name)
            if found:
                root = found[: -len(include.name)].rstrip("/")
                roots[root] = roots.get(root, 0) + 1
        return sorted(roots, key=lambda root: (-roots[root], root))

    def _find(self, user: str, include: _Include) -> str | None:
        if include.quoted and not include.next_one:
            beside = join(folder_of(user), include.name)
            if beside in self._everything:
                return beside
        for path in self._in_roots(user, include):
            if path in self._everything and not (include.next_one and path == user):
                return path
        return self._anywhere(include)

    def _in_roots(self, user: str, include: _Include) -> Iterator[str]:
        standard = not include.quoted and _is_standard(include.name)
        for folder in ancestors(user):
            if not standard:
                yield join(folder, include.name) or ""
            yield join(folder, f"include/{include.name}") or ""
            if not standard:
                yield join(folder, f"src/{include.name}") or ""
        for root in self._stated if standard else self._roots:
            yield join(root, include.name) or ""

    def _anywhere(self, include: _Include) -> str | None:
        if include.next_one or (not include.quoted and _is_standard(include.name)):
            return None
        name = include.name
        while name.startswith(("../", "./")):
            name = name.partition("/")[2]
        if ".." in name:
            return None
        found = self._suffixes.unique(name)
        if found is None and include.imported:
            found = self._suffixes.unique(name.rpartition("/")[2])
        return found


def _includes(text: str) -> Iterator[_Include]:
    text = "\n" + text
    for match in outside_comments(text, at_line_starts(_INCLUDE, text, ("#", "%"))):
        word, quoted, angled = match.groups()
        name = (quoted or angled).strip().replace("\\", "/")
        yield _Include(name, quoted is not None, word == "import", word == "include_next")


def _is_standard(name: str) -> bool:
    """A header of the C, C++ or POSIX library, or of the system."""
    stem, dot, _ = name.partition(".")
    return not dot or stem in _STANDARD or name.startswith("sys/")


def _stated_roots(everything: Mapping[str, File]) -> list[str]:
    """Include folders that build files name literally, the nearest to the repository first."""
    roots: list[str] = []
    for path in sorted(everything, key=lambda path: (path.count("/"), path)):
        name = path.rpartition("/")[2]
        if name == "compile_flags.txt":
            stated = _FLAG.findall(everything[path].text)
        elif name == "CMakeLists.txt":
            stated = [
                _CMAKE_HERE.sub("", word.strip('"')) or "."
                for found in _CMAKE.findall(everything[path].text)
                for word in found.split()
                if word not in _CMAKE_WORDS
            ]
        else:
            continue
        joined = (join(folder_of(path), word) for word in stated if "$" not in word)
        roots += [root for root in joined if root is not None]
    return list(dict.fromkeys(roots))[:_MOST_ROOTS]


def resolver(files: Sequence[File], everything: Mapping[str, File]) -> Resolver:
    """Resolves includes and C++ modules among all files of the repository."""
    return _C(files, everything)


FAMILY: Family = resolver
