"""Perl: packages by their paths, on `lib` and what `use lib` names, else where they are declared.

`use`, `require`, `do`, the checks `use_ok` and `require_ok`, and the classes that `parent`, `base`,
`extends`, `with` or any other module is given by name. What stands in documentation (POD) or after
`__END__` does not count.
"""

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence

from midfill.corpus.dependencies.family import Family, File, Resolver
from midfill.corpus.dependencies.paths import Suffixes, ancestors, folder_of, join
from midfill.corpus.dependencies.words import (
    Comments,
    Declared,
    at_line_starts,
    here_documents,
    outside_comments,
    within,
)

LANGUAGES = ("Perl", "XS", "Mason")

_STATEMENT = re.compile(
    r"\n[ \t]*(?:(?:eval|BEGIN)[ \t]*\{[ \t]*)?(?:"
    r"(?:use|no|require)[ \t]+(?P<module>[A-Za-z_]\w*(?:(?:::|')\w+)*)(?P<list>[^\n;]*)"
    r"|(?:require|do)[ \t]*\(?[ \t]*[\"'](?P<file>[^\"'$\n]+)[\"']"
    r"|(?:extends|with|use_ok|require_ok)\b[ \t]*\(?(?P<classes>[^\n;]*)"
    r"|package[ \t]+(?P<package>[A-Za-z_]\w*(?:::\w+)*))"
)
_STATEMENT_WORDS = ("eval", "BEGIN", "use", "no", "require", "do", "extends", "with", "package")
_QUOTED = re.compile(r"[\"']([A-Za-z_]\w*(?:::\w+)*)[\"']")
_WORDS = re.compile(r"qw[ \t]*[(\[{/<|!]([^)\]}/>|!\n]*)")
_PATH = re.compile(r"[\"'/ (]([\w.][\w./-]*)[\"') ]")
_POD = Comments(line="#", opening="\n=", closing="\n=cut")
_END = re.compile(r"\n__(?:END|DATA)__[ \t\r]*\n")


class _Perl:
    def __init__(self, files: Sequence[File], everything: Mapping[str, File]) -> None:
        self._everything = everything
        self._suffixes = Suffixes(path for path in everything if path.endswith(".pm"))
        self._names = {path.rpartition("/")[2] for path in everything}
        self._declared = Declared()
        self._found: dict[tuple[str, str, tuple[str, ...]], str | None] = {}
        self._statements: dict[str, list[re.Match[str]]] = {}
        for file in sorted(files, key=lambda file: file.path):
            self._statements[file.path] = found = _statements(file.text)
            for match in found:
                if match["package"]:
                    self._declared.add("", match["package"], file.path)

    def needs(self, file: File) -> Iterable[str]:
        roots: list[str] = []
        for match in self._statements.get(file.path, ()):
            if match["module"] == "lib":
                roots += [*_PATH.findall(match["list"] + " "), *_words(match["list"])]
            for name in _modules(match):
                found = self._find(folder_of(file.path), name, tuple(roots[:16]))
                found = found or self._declared.find("", name, file.path)
                if found:
                    yield found
            if match["file"]:
                yield from self._files(file.path, match["file"], roots[:16])

    def _find(self, folder: str, name: str, roots: tuple[str, ...]) -> str | None:
        """The file on the path of a package, for files in this folder."""
        path = name.replace("::", "/").replace("'", "/") + ".pm"
        if path.rpartition("/")[2] not in self._names:
            return None
        asked = folder, path, roots
        if asked not in self._found:
            self._found[asked] = next(self._on_path(*asked), None)
        return self._found[asked]

    def _on_path(self, folder: str, path: str, roots: tuple[str, ...]) -> Iterator[str]:
        for around in ancestors(f"{folder}/" if folder else ""):
            for root in ("lib", "", "t/lib", *roots):
                place = join(around, f"{root}/{path}" if root else path)
                if place in self._everything:
                    yield place or ""
        ends_so = self._suffixes.unique(path) if "/" in path else None
        if ends_so:
            yield ends_so

    def _files(self, user: str, name: str, roots: list[str]) -> Iterator[str]:
        places = [join(folder_of(user), name), join("", name), join("lib", name)]
        places += [join(root, name) for root in roots]
        found = next((place for place in places if place in self._everything), None)
        if found:
            yield found


def _statements(text: str) -> list[re.Match[str]]:
    end = _END.search(text)
    text = "\n" + (text[: end.start() + 1] if end else text)
    texts = here_documents(text)
    found = outside_comments(text, at_line_starts(_STATEMENT, text, _STATEMENT_WORDS), _POD)
    return [match for match in found if not within(match.end() - 1, texts)]


def _modules(match: re.Match[str]) -> Iterator[str]:
    """Names of the packages that one statement needs."""
    module, listed = match["module"], match["classes"]
    if module:
        yield module
        listed = match["list"]
    if listed:
        quoted = [*_QUOTED.findall(listed[:4000]), *_words(listed)]
        # To `use Mojo::Base 'Mojo::Log'` and others a name with a package in it is a class.
        known = match["classes"] or module in ("parent", "base")
        yield from (name for name in quoted if known or "::" in name)


def _words(listed: str) -> list[str]:
    return [word for words in _WORDS.findall(listed[:4000]) for word in words.split()]


def resolver(files: Sequence[File], everything: Mapping[str, File]) -> Resolver:
    """Resolves packages and files among the Perl files of the repository."""
    return _Perl(files, everything)


FAMILY: Family = resolver
