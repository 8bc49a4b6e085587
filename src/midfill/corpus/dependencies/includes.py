"""Languages that name other files by literal paths: one pattern and a few endings for each.

A path is looked for beside the file, then in the folders above it; where a language has include
folders (Protocol Buffers, Verilog, Thrift), at last anywhere if only one path ends so.
"""

import re
from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple

from midfill.corpus.dependencies.family import Family, File, Resolver
from midfill.corpus.dependencies.paths import Suffixes, ancestors, folder_of, join
from midfill.corpus.dependencies.words import Comments, outside_comments


class _Kind(NamedTuple):
    pattern: re.Pattern[str]  # its first group that is set is the path
    endings: tuple[str, ...] = ("",)  # what may follow a path
    comments: Comments = Comments(line="//", opening="/*", closing="*/")
    above: bool = False  # also in the folders above
    anywhere: bool = False  # also anywhere, if unique
    hidden: bool = False  # the file's name may begin with "_", as Sass has it


_HASH = Comments(line="#", opening='\n"""', closing='\n"""')
_NONE = Comments(line="%", opening="\n\\begin{comment}", closing="\\end{comment}")
_QUOTED = r"(?:\"([^\"\n]+)\"|'([^'\n]+)')"


def _lines(start: str, path: str = _QUOTED) -> re.Pattern[str]:
    return re.compile(rf"\n[ \t]*{start}[ \t]*{path}")


_SHEET = re.compile(
    rf"\n[ \t]*@(?:import|use|forward|require)[ \t]+(?:\([^)\n]*\)[ \t]*)?(?:url\()?{_QUOTED}"
)

_KINDS: Mapping[str, _Kind] = {
    "Protocol Buffer": _Kind(
        _lines(r"import(?:[ \t]+(?:public|weak))?"), above=True, anywhere=True
    ),
    "Thrift": _Kind(_lines("(?:cpp_)?include"), above=True, anywhere=True),
    "Zig": _Kind(re.compile(r"@(?:import|embedFile)\([ \t]*\"([^\"\n]+\.\w+)\"")),
    "TeX": _Kind(
        re.compile(r"\\(?:input|include|subfile|usepackage|documentclass|bibliography)(?:\[[^\]\n]*\])?\{([^}\\\n]+)\}"),
        ("", ".tex", ".sty", ".cls", ".bib"), _NONE, above=True,
    ),
    "Verilog": _Kind(_lines("`include"), anywhere=True, above=True),
    "SystemVerilog": _Kind(_lines("`include"), anywhere=True, above=True),
    "Solidity": _Kind(re.compile(r"\n[ \t]*import[ \t]+(?:[^\n\"';]{0,500}from[ \t]+)?\"([^\"\n]+)\""), above=True),
    "Julia": _Kind(re.compile(r"\binclude\([ \t]*\"([^\"\n]+)\"[ \t]*\)"), comments=_HASH),
    "R": _Kind(_lines(r"(?:base::|sys\.)?source[ \t]*\("), comments=Comments("#", "\0", "\0"), above=True),
    "Erlang": _Kind(_lines(r"-include(?:_lib)?[ \t]*\("), ("",), Comments("%", "\0", "\0"), above=True, anywhere=True),
    "Nix": _Kind(re.compile(r"(?:import|callPackage)[ \t]+(\.\.?/[\w./-]+)"), ("", "/default.nix"), Comments("#", "/*", "*/")),
    "PowerShell": _Kind(
        re.compile(r"\n[ \t]*\.[ \t]+[\"']?(?:\$PSScriptRoot|\.)[\\/]([\w.\\/-]+)"), ("",), Comments("#", "<#", "#>")
    ),
    "Tcl": _Kind(
        re.compile(r"\n[ \t]*source[ \t]+(?:\[file[ \t]+join[ \t]+\[file[ \t]+dirname[ \t]+\[info[ \t]+script\]\][ \t]+)?[\"{]?([\w./-]+)"),
        ("",), Comments("#", "\0", "\0"), above=True,
    ),
    "Makefile": _Kind(re.compile(r"\n[ \t]*[-s]?include[ \t]+(?:\$[({]\w+[)}]/?)?([\w./-]+)"), ("",), Comments("#", "\0", "\0"), above=True),
    "CMake": _Kind(
        re.compile(r"\n[ \t]*(?i:include|add_subdirectory)[ \t]*\([ \t]*\"?(?:\$\{\w+\}/)?([\w./-]+)"),
        ("", ".cmake", "/CMakeLists.txt"), Comments("#", "#[[", "]]"), above=True, anywhere=True,
    ),
    "Meson": _Kind(re.compile(r"\n[ \t]*subdir[ \t]*\([ \t]*'([^'\n]+)'"), ("/meson.build",), Comments("#", "\0", "\0")),
    "SCSS": _Kind(_SHEET, ("", ".scss", ".css", "/_index.scss"), above=True, hidden=True),
    "Sass": _Kind(re.compile(r"\n[ \t]*@(?:import|use|forward)[ \t]+[\"']?([\w./-]+)"), ("", ".sass", ".scss"), above=True, hidden=True),
    "Less": _Kind(_SHEET, ("", ".less", ".css")),
    "CSS": _Kind(_SHEET),
    "Stylus": _Kind(_SHEET, ("", ".styl")),
    "QML": _Kind(_lines("import"), ("", "/qmldir")),
    "GraphQL": _Kind(re.compile(r"\n#[ \t]*import[ \t]+(?:[^\n\"]{0,200}from[ \t]+)?\"([^\"\n]+)\"")),
    "LilyPond": _Kind(re.compile(r"\\include[ \t]+\"([^\"\n]+)\""), ("",), Comments("%", "%{", "%}"), above=True),
    "OpenSCAD": _Kind(_lines("(?:include|use)", r"<([^>\n]+)>"), above=True),
    "YANG": _Kind(re.compile(r"\n[ \t]*(?:import|include)[ \t]+([\w.-]+)"), (".yang",), above=True),
    "XSLT": _Kind(re.compile(r"<xsl:(?:import|include)[ \t\n]+href=\"([^\"\n]+)\""), ("",), Comments("\0", "<!--", "-->")),
    "Stan": _Kind(re.compile(r"\n[ \t]*#include[ \t]+[<\"]?([\w./-]+)")),
    "GDScript": _Kind(re.compile(r"(?:preload|load)\([ \t]*\"(?:res://)?([^\"\n]+)\"|\nextends[ \t]+\"(?:res://)?([^\"\n]+)\""), ("",), Comments("#", "\0", "\0"), above=True),
}  # fmt: skip

LANGUAGES = tuple(_KINDS)


class _Includes:
    def __init__(self, everything: Mapping[str, File]) -> None:
        self._everything = everything
        self._suffixes: Suffixes | None = None

    def needs(self, file: File) -> Iterable[str]:
        kind = _KINDS.get(file.language or "")
        if kind is None:
            return
        text = "\n" + file.text
        for match in outside_comments(text, kind.pattern.finditer(text), kind.comments):
            if _commented(text, match, kind.comments.line):
                continue
            stated = next(filter(None, match.groups()), "").replace("\\", "/")
            for name in stated.split(",") if file.language == "TeX" else [stated]:
                found = self._find(file.path, name.strip(), kind)
                if found:
                    yield found

    def _find(self, user: str, name: str, kind: _Kind) -> str | None:
        if not name:
            return None
        for folder in ancestors(user) if kind.above else [folder_of(user)]:
            found = self._at(folder, name, kind)
            if found:
                return found
        if not kind.anywhere or ".." in name or "/" not in name.strip("/"):
            return None
        if self._suffixes is None:
            self._suffixes = Suffixes(self._everything)
        return self._suffixes.unique(name)

    def _at(self, folder: str, name: str, kind: _Kind) -> str | None:
        names = [name]
        if kind.hidden:
            before, slash, last = name.rpartition("/")
            names.append(f"{before}{slash}_{last}")
        for spelled in names:
            for ending in kind.endings:
                place = join(folder, spelled + ending)
                if place in self._everything:
                    return place
        return None


def _commented(text: str, match: re.Match[str], line: str) -> bool:
    begin = text.rfind("\n", max(0, match.start() - 400), match.start()) + 1
    return line in text[begin : match.start()]


def resolver(files: Sequence[File], everything: Mapping[str, File]) -> Resolver:
    """Resolves literal paths among all files of the repository."""
    return _Includes(everything)


FAMILY: Family = resolver
