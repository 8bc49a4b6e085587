"""Imports of Python and Cython, resolved as the interpreter resolves them.

An edge says that a statement makes the interpreter run another file of the repository, wherever the
statement stands: in a function, in a `try`, under `TYPE_CHECKING`. `import a.b.c` runs the packages
`a` and `a.b` before `a.b.c`, so all three are needed, but not the packages in which the importing
file lies itself: these are running already when it is read. They are needed where a name is taken
from them (`from . import name`) that is no module. What such a package imports in turn are its own
edges, never those of the file that takes the name.

A name is looked for below the folder that holds the importing file's outermost package, then
below the folders above, below the roots of projects (`src`, `lib`, and what setup.py, setup.cfg and
pyproject.toml declare), at last as a package of that name wherever there is only one. Not found:
implicit relative imports of Python 2, changes of `sys.path`, notebooks.
"""

import configparser
import re
import tomllib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from posixpath import dirname, join, normpath, splitext
from typing import Any, NamedTuple

from midfill.corpus.dependencies.family import File

LANGUAGES = ("Python", "Cython")

# Top-level modules of the standard library, from Python 2.7 to 3.15, as no interpreter knows all of
# them and the result must not depend on the one that runs.
STANDARD = frozenset(
    """
    __builtin__ __future__ _thread abc aifc annotationlib anydbm argparse array ast asynchat
    asyncio asyncore atexit audioop base64 BaseHTTPServer bdb binascii binhex bisect builtins bz2
    calendar cgi CGIHTTPServer cgitb chunk cmath cmd code codecs codeop collections colorsys
    compileall concurrent ConfigParser configparser contextlib contextvars Cookie cookielib copy
    copy_reg copyreg cPickle cProfile crypt cStringIO csv ctypes curses dataclasses datetime dbm
    decimal difflib dis distutils doctest dumbdbm dummy_threading email encodings ensurepip enum
    errno faulthandler fcntl filecmp fileinput fnmatch fractions ftplib functools gc genericpath
    getopt getpass gettext glob graphlib grp gzip hashlib heapq hmac html htmlentitydefs
    HTMLParser http httplib imaplib imghdr imp importlib inspect io ipaddress itertools json
    keyword lib2to3 linecache locale logging lzma mailbox mailcap marshal math mimetypes mmap
    modulefinder msvcrt multiprocessing netrc nis nntplib ntpath nturl2path numbers opcode
    operator optparse os ossaudiodev pathlib pdb pickle pickletools pipes pkgutil platform
    plistlib poplib posix posixpath pprint profile pstats pty pwd py_compile pyclbr pydoc pyexpat
    Queue queue quopri random re readline reprlib resource rlcompleter robotparser runpy sched
    secrets select selectors shelve shlex shutil signal SimpleHTTPServer site smtpd smtplib sndhdr
    socket SocketServer socketserver spwd sqlite3 sre_compile sre_constants sre_parse ssl stat
    statistics string StringIO stringprep struct subprocess sunau symtable sys sysconfig syslog
    tabnanny tarfile telnetlib tempfile termios textwrap threading time timeit Tkinter tkinter
    tkMessageBox token tokenize tomllib trace traceback tracemalloc tty turtle turtledemo types
    typing unicodedata unittest urllib urllib2 urlparse UserDict UserList UserString uu uuid venv
    warnings wave weakref webbrowser whichdb winreg winsound wsgiref xdrlib xml xmlrpc xmlrpclib
    zipapp zipfile zipimport zlib zoneinfo
    """.split()
)

_GAP = r"(?:[ \t\f]|\\\r?\n)"  # what may stand between two words of one statement
_NAMES = r"((?:[^\n\r;#\\()'\"=]|\\\r?\n)*+)"
_IMPORT = re.compile(rf"[ \t\f]*+(c?)import{_GAP}++{_NAMES}")
_FROM = re.compile(
    rf"[ \t\f]*+from(?={_GAP}|\.){_GAP}*+(\.(?:\.|{_GAP})*+)?+((?!c?import\b)[\w.]++)?+{_GAP}*+"
    rf"(c?)import(?:{_GAP}*+\(((?:[^()#'\"]|#[^\n]*+)*+)\)|{_GAP}*+{_NAMES})"
)
_AFTER = re.compile(r"[;:][ \t\f]*(?=from[ \t.][^;:]*$|c?$)")  # in front of `import`, on its line
_DYNAMIC = re.compile(r"import(?:_module|__)\(\s*([\"'])(\.*)([\w.]+)\1")
_MODULE = re.compile(rf"{_GAP}*+(\w++(?:\.\w++)*+)(?:{_GAP}+as{_GAP}+\w+)?{_GAP}*")
_COMMENT = re.compile(r"#[^\n]*|\\\r?\n")
# What decides on a line whether a place in it is code. A string that does not end on its line ends
# with it, so that reading on takes time in proportion to the line.
_TOKEN = re.compile(r"""#|\"{3}|'{3}|"(?:[^"\\\n]|\\[\s\S])*+"?|'(?:[^'\\\n]|\\[\s\S])*+'?""")
_LONG = 500  # characters: statements further from the start of their line are not looked for
_MOST = 10_000  # modules or names of one statement


class Import(NamedTuple):
    """One statement."""

    module: str  # dotted; empty for `from . import x`
    level: int  # leading dots
    listed: str | None = None  # what `from` takes, as it is written; None: of `import`
    cython: bool = False  # cimport

    @property
    def names(self) -> tuple[str, ...] | None:
        """What `from` takes, without new names for it; None for `import`."""
        if self.listed is None:
            return None
        listed = _COMMENT.sub(" ", self.listed)
        return tuple(words[0] for part in listed.split(",", _MOST) if (words := part.split()))


def imports(text: str) -> list[Import]:
    """The import statements of a file and `import_module` of literals, in their order.

    Statements inside strings and comments do not count. Time is linear in the text.
    """
    found = [(at, statement) for at, statements in _candidates(text) for statement in statements]
    if not found or ('"""' not in text and "'''" not in text):
        return [statement for _, statement in found]
    strings = _long_strings(text, found[-1][0])
    start, end = next(strings, (len(text), len(text)))
    kept: list[Import] = []
    for at, statement in found:
        while at >= end and start < len(text):
            start, end = next(strings, (len(text), len(text)))
        if at < start:
            kept.append(statement)
    return kept


def _candidates(text: str) -> Iterator[tuple[int, list[Import]]]:
    """What looks like an import, with its place, be it in a long string or not."""
    at = text.find("import")
    line = 0  # where the line of `at` starts
    looked = 0  # up to where line ends were looked for
    done = 0  # what was read already
    while at >= 0:
        after = text[at + 6 : at + 7]
        if at >= done and after in " \t\\(*_\f":
            line = text.rfind("\n", looked, at) + 1 or line
            looked = at
            if at - line < _LONG:
                read = _call if after == "_" else _statement
                statements, done = read(text, line, at)
                if statements:
                    yield at, statements
        at = text.find("import", at + 6)


def _statement(text: str, line: int, at: int) -> tuple[list[Import], int]:
    """The import whose keyword stands at `at`, in a line from `line`, and where it ends."""
    start = _joined(text, line)
    head = text[start:at]
    bare = head.strip()
    if bare not in ("", "c") and (";" in bare or not bare.startswith("from")):
        after = _AFTER.search(head)
        if after is None or not _is_code(text, start, start + after.start()):
            return [], _line_end(text, at)
        start += after.end()
    if found := _FROM.match(text, start):
        statements = _from(found)
        return statements, found.end() if statements else _line_end(text, at)
    if found := _IMPORT.match(text, start):
        modules = [_MODULE.fullmatch(part) for part in found[2].split(",", _MOST)]
        cython = bool(found[1])
        return [Import(one[1], 0, None, cython) for one in modules if one], found.end()
    return [], _line_end(text, at)


def _joined(text: str, line: int) -> int:
    """Where the statement starts that goes on in this line after backslashes, if it does."""
    for _ in range(3):
        if not text.endswith(("\\\n", "\\\r\n"), max(0, line - 3), line):
            break
        before = text.rfind("\n", max(0, line - _LONG), line - 1)
        if before < 0 and line > _LONG:
            break
        line = before + 1
    return line


def _line_end(text: str, at: int) -> int:
    end = text.find("\n", at)
    return len(text) if end < 0 else end


def _from(found: re.Match[str]) -> list[Import]:
    dots, module, cython, inside, plain = found.groups()
    listed = plain if inside is None else inside
    level = dots.count(".") if dots else 0
    if not listed.strip() or not (level or module):
        return []
    return [Import(module or "", level, listed, bool(cython))]


def _call(text: str, line: int, at: int) -> tuple[list[Import], int]:
    """`import_module("a.b")` or `__import__("a.b")` at `at`."""
    found = _DYNAMIC.match(text, at)
    if found is None or not _is_code(text, line, at):
        return [], at
    return [Import(found[3], len(found[2]))], found.end()


def _is_code(text: str, line: int, at: int) -> bool:
    """Whether a place is neither in a comment nor in a string that starts on its line."""
    for token in _TOKEN.finditer(text, line, at):
        if token[0] == "#" or token.end() >= at:
            return False
    return True


def _long_strings(text: str, until: int) -> Iterator[tuple[int, int]]:
    """From where to where the triple-quoted strings reach that start before `until`."""
    ahead = {quote: text.find(quote) for quote in ('"""', "'''")}
    at = 0
    while True:
        for quote, place in ahead.items():
            if -1 < place < at:
                ahead[quote] = text.find(quote, at)
        places = [place for place in ahead.values() if place >= 0]
        if not places or min(places) > until:
            return
        start = _opening(text, max(at, text.rfind("\n", at, min(places)) + 1), min(places))
        if not text.startswith(('"""', "'''"), start):
            at = start
            continue
        at = _closing(text, text[start : start + 3], start + 3)
        yield start, at


def _opening(text: str, line: int, quote: int) -> int:
    """`quote` if a long string opens there, else a later place from which to look for one."""
    for token in _TOKEN.finditer(text, line):
        if token.start() >= quote or token[0] in ('"""', "'''"):
            return token.start()
        if token[0] == "#":
            return _line_end(text, quote)
        if token.end() > quote:
            return token.end()
    return len(text)


def _closing(text: str, quote: str, at: int) -> int:
    """Where the long string ends whose content starts at `at`."""
    while (end := text.find(quote, at)) >= 0:
        escapes = end
        while escapes > at and text[escapes - 1] == "\\":
            escapes -= 1
        if (end - escapes) % 2 == 0:
            return end + 3
        at = end + 1
    return len(text)


@dataclass(slots=True)
class _Nodes:
    """Python files by their paths without suffix, packages by those of their folders."""

    plain: dict[str, str] = field(default_factory=dict)  # .py
    stubs: dict[str, str] = field(default_factory=dict)  # .pyi
    cython: dict[str, str] = field(default_factory=dict)  # .pyx
    headers: dict[str, str] = field(default_factory=dict)  # .pxd

    def add(self, path: str) -> str | None:
        """Take in a file and return its node; None for a file that is no module."""
        stem, suffix = splitext(path)
        table = {".py": self.plain, ".pyi": self.stubs, ".pyx": self.cython, ".pxd": self.headers}
        if suffix not in table:
            return None
        if stem == "__init__" or stem.endswith("/__init__"):
            node = dirname(stem)
            table[suffix][node] = path
            return node
        if not table[suffix].get(stem, "").endswith(f"/__init__{suffix}"):
            table[suffix][stem] = path  # a package wins over a module of its name
        return stem

    def file(self, node: str, user: str, cython: bool = False) -> str | None:
        """The file that stands for a node where `user` imports it."""
        if cython:
            return self.headers.get(node) or self.cython.get(node)
        if user.endswith(".pyi"):
            return self.stubs.get(node) or self.plain.get(node) or self.cython.get(node)
        return self.plain.get(node) or self.cython.get(node) or self.stubs.get(node)

    def __contains__(self, node: str) -> bool:
        tables = (self.plain, self.stubs, self.cython, self.headers)
        return any(node in table for table in tables)


class _Python:
    """What `import` finds in one repository."""

    def __init__(self, own: Sequence[File], files: Mapping[str, File]) -> None:
        self._nodes = _Nodes()
        self._folders: set[str] = set()  # that hold modules, at any depth
        self._packages: set[str] = set()  # folders with an __init__
        for file in own:
            node = self._nodes.add(file.path)
            if node is None:
                continue
            if splitext(file.path)[0].rpartition("/")[2] == "__init__":
                self._packages.add(node)
            folder = dirname(file.path)
            while folder not in self._folders:
                self._folders.add(folder)
                folder = dirname(folder)
        declared, self._named = _declared_roots(files)
        self._projects = sorted(self._roots_of_projects(declared), key=lambda at: (len(at), at))
        self._lone = self._lone_packages()
        self._own_root: dict[str, str] = {}
        self._bases: dict[tuple[str, str], list[str]] = {}
        self._in_projects: dict[str, list[str]] = {}

    def needs(self, file: File) -> Iterator[str]:
        """Paths of the files that the import statements of `file` make the interpreter run."""
        folder = dirname(file.path)
        if file.path.endswith(".pyx"):  # read before it, unasked
            yield self._nodes.headers.get(file.path.removesuffix(".pyx"), file.path)
        for statement in imports(file.text):
            parts = statement.module.split(".") if statement.module else []
            if statement.level:
                base = _above(folder, statement.level - 1)
                found = (
                    self._follow(base, parts, statement, file.path)[0] if base is not None else ()
                )
            else:
                found = self._absolute(folder, parts, statement, file.path)
            yield from found

    def _absolute(
        self, folder: str, parts: Sequence[str], statement: Import, user: str
    ) -> Iterable[str]:
        """The files of the first base that has the whole module, else of one that has a part."""
        partly: Iterable[str] = ()
        for base in self._starts(folder, parts[0]):
            found, whole = self._follow(base, parts[1:], statement, user)
            if whole:
                return found
            partly = partly or found
        return partly

    def _follow(
        self, base: str, parts: Sequence[str], statement: Import, user: str
    ) -> tuple[list[str], bool]:
        """The files on the way from `base` along `parts`, and whether the way leads to the end."""
        found: list[str] = []
        node = base
        for part in parts:
            if not self._encloses(node, user):
                self._take(node, statement, user, found)
            node = join(node, part)
            if node not in self._nodes and node not in self._folders:
                return found, False
        names = statement.names
        missing = names is None
        for name in names or ():
            missing |= not self._take(join(node, name), statement, user, found)
        if missing or not self._encloses(node, user):
            self._take(node, statement, user, found)
        return found, bool(found) or node in self._nodes

    def _take(self, node: str, statement: Import, user: str, found: list[str]) -> bool:
        """Add what stands for a node to the files that were found; False where nothing does."""
        file = self._nodes.file(node, user, statement.cython)
        if file is not None:
            found.append(file)
        return file is not None

    @staticmethod
    def _encloses(node: str, user: str) -> bool:
        return not node or user.startswith(f"{node}/")

    def _starts(self, folder: str, top: str) -> list[str]:
        """Where the module or package `top` may lie for a file in `folder`, the likeliest first."""
        root = self._own_root.get(folder)
        if root is None:
            root = folder
            while root in self._packages and root:
                root = dirname(root)
            self._own_root[folder] = root
        if top in STANDARD:  # not any local namesake, only where it comes before the library
            node = join(root, top)
            beside = root in self._projects or f"{folder}/".startswith(f"{node}/")
            return [node] if beside and self._known(node) else []
        if (root, top) not in self._bases:
            self._bases[root, top] = list(dict.fromkeys(self._search(root, top)))
        return self._bases[root, top]

    def _search(self, root: str, top: str) -> Iterator[str]:
        above = root
        while True:
            for inner in ("", *_ROOTS):
                node = join(above, inner, top)
                if join(above, inner).rstrip("/") not in self._packages and self._known(node):
                    yield node
            if not above:
                break
            above = dirname(above)
        if top not in self._in_projects:
            nodes = (join(project, top) for project in self._projects)
            self._in_projects[top] = [node for node in nodes if self._known(node)]
        yield from self._in_projects[top]
        if top in self._named:
            yield self._named[top]
        if top in self._lone:
            yield self._lone[top]

    def _known(self, node: str) -> bool:
        return node in self._nodes or node in self._folders

    def _roots_of_projects(self, declared: Iterable[str]) -> set[str]:
        """Folders which a project puts on the search path, by habit or by declaration."""
        roots = {"", *declared}
        roots |= {join(root, inner) for root in roots for inner in _ROOTS}
        return {root for root in roots if root in self._folders and root not in self._packages} | {
            ""
        }

    def _lone_packages(self) -> dict[str, str]:
        """Outermost packages whose names nobody else bears, apart from samples and tests."""
        found: dict[str, list[str]] = {}
        for node in self._packages:
            if node and dirname(node) not in self._packages:
                found.setdefault(node.rpartition("/")[2], []).append(node)
        return {
            name: nodes[0]
            for name, nodes in found.items()
            if len(nodes) == 1 and _SAMPLES.isdisjoint(nodes[0].split("/")[:-1])
        }


_ROOTS = ("src", "lib", "Lib", "python")
_SAMPLES = frozenset(
    "test tests testing fixtures testdata data docs doc examples example samples templates "
    "vendor vendored third_party node_modules".split()
)


def resolver(own: Sequence[File], files: Mapping[str, File]) -> _Python:
    """The family of Python and Cython."""
    return _Python(own, files)


def _above(folder: str, levels: int) -> str | None:
    """The folder so many levels up; None above the repository."""
    for _ in range(levels):
        if not folder:
            return None
        folder = dirname(folder)
    return folder


_PACKAGE_DIR = re.compile(r"\bpackage_dir\s*=\s*(?:\{([^{}]*)\}|dict\(([^()]*)\))")
_PAIR = re.compile(r"[\"']([\w.]*)[\"']\s*:\s*[\"']([^\"'\n]*)[\"']")


def _declared_roots(files: Mapping[str, File]) -> tuple[set[str], dict[str, str]]:
    """What the projects of a repository declare: folders of packages, and packages of odd folders."""
    roots: set[str] = set()
    named: dict[str, str] = {}
    readers = {"setup.py": _setup_py, "setup.cfg": _setup_cfg, "pyproject.toml": _pyproject}
    for path, file in files.items():
        folder, _, name = path.rpartition("/")
        if name not in readers:
            continue
        roots.add(folder)
        for package, at in readers[name](file.text):
            node = normpath(join(folder, at or "."))
            if node.startswith("../") or node == ".." or at.startswith("/"):
                continue
            node = "" if node == "." else node
            if package:
                named[package] = node
            else:
                roots.add(node)
    return roots, named


def _setup_py(text: str) -> Iterator[tuple[str, str]]:
    for found in _PACKAGE_DIR.finditer(text):
        yield from _PAIR.findall(found[1] or "")


def _setup_cfg(text: str) -> Iterator[tuple[str, str]]:
    parser = configparser.RawConfigParser(strict=False)
    try:
        parser.read_string(text)
    except configparser.Error:
        return
    for where in parser.get("options.packages.find", "where", fallback="").split():
        yield "", where
    for line in parser.get("options", "package_dir", fallback="").splitlines():
        package, equals, folder = line.partition("=")
        if equals:
            yield package.strip(), folder.strip()


def _pyproject(text: str) -> list[tuple[str, str]]:
    try:
        tool = tomllib.loads(text).get("tool")
    except (tomllib.TOMLDecodeError, RecursionError):
        return []
    found = [("", at) for at in _strings(tool, "setuptools", "packages", "find", "where")]
    found += [("", at) for at in _strings(tool, "pytest", "ini_options", "pythonpath")]
    found += [("", at) for at in _strings(tool, "pdm", "build", "package-dir")]
    hatch = _strings(tool, "hatch", "build", "targets", "wheel", "packages")
    found += [("", dirname(at.rstrip("/"))) for at in hatch]
    package_dir = _inside(tool, "setuptools", "package-dir")
    if isinstance(package_dir, dict):
        found += [(name, at) for name, at in package_dir.items() if isinstance(at, str)]
    poetry = _inside(tool, "poetry", "packages")
    for entry in poetry if isinstance(poetry, list) else []:
        found += [("", at) for at in _strings(entry, "from")]
    return found


def _inside(table: Any, *keys: str) -> Any:
    """What lies under these keys; None where there is no such thing."""
    for key in keys:
        table = table.get(key) if isinstance(table, dict) else None
    return table


def _strings(table: Any, *keys: str) -> list[str]:
    """The strings under these keys, be it one or a list."""
    value = _inside(table, *keys)
    return [one for one in (value if isinstance(value, list) else [value]) if isinstance(one, str)]
