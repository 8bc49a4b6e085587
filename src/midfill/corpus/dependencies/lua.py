"""Lua: `require` of dotted names as `?.lua` and `?/init.lua`, `dofile` and `loadfile`.

Looked for in the repository, `src`, `lua` and `lib`, at the file's level and at each above, in what
a rockspec states, then anywhere if only one path ends so.
"""

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence

from midfill.corpus.dependencies.family import Family, File, Resolver
from midfill.corpus.dependencies.paths import Suffixes, ancestors, folder_of, join
from midfill.corpus.dependencies.words import Comments, outside_comments

LANGUAGES = ("Lua", "MoonScript")

_REQUIRE = re.compile(
    r"require[ \t]*[(,]?[ \t]*(\.\.\.[ \t]*\.\.[ \t]*)?(?:\"([^\"\n]+)\"|'([^'\n]+)'|\[\[([^\]\n]+)\]\])"
)
_FILE = re.compile(r"(?:dofile|loadfile)[ \t]*\(?[ \t]*[\"']([^\"'\n]+)[\"']")
_ROCK = re.compile(r"[\[{,\s][\"']?([\w.\-]+)[\"']?\]?[ \t]*=[ \t]*[\"']([^\"'\n]+\.lua)[\"']")
_COMMENTS = Comments(line="--", opening="--[[", closing="]]")
_ENDINGS = (".lua", "/init.lua", ".moon")
_ROOTS = ("", "src/", "lua/", "lib/")


class _Lua:
    def __init__(self, files: Sequence[File], everything: Mapping[str, File]) -> None:
        self._everything = everything
        self._suffixes = Suffixes(path for path in everything if path.endswith((".lua", ".moon")))
        self._stated = dict(_stated(everything))

    def needs(self, file: File) -> Iterable[str]:
        if "require" in file.text:
            for match in self._matches(_REQUIRE, file.text):
                found = self._find(file.path, match)
                if found:
                    yield found
        if "dofile" in file.text or "loadfile" in file.text:
            for match in self._matches(_FILE, file.text):
                places = (join(folder_of(file.path), match[1]), join("", match[1]))
                yield from (place for place in places if place and place in self._everything)

    def _matches(self, pattern: re.Pattern[str], text: str) -> Iterator[re.Match[str]]:
        for match in outside_comments(text, pattern.finditer(text), _COMMENTS):
            begin = text.rfind("\n", max(0, match.start() - 400), match.start()) + 1
            before = text[begin : match.start()]
            if "--" not in before and not before[-1:].isalnum() and before[-1:] not in ("_", "."):
                yield match

    def _find(self, user: str, match: re.Match[str]) -> str | None:
        name = (match[2] or match[3] or match[4]).strip()
        path = name.replace(".", "/")
        if match[1]:  # `... .. ".x"`: below the module that this file is
            inside = user.removesuffix("/init.lua").removesuffix(".lua")
            return self._at(join(inside, path.strip("/"))) or self._at(
                join(folder_of(user), path.strip("/"))
            )
        if name in self._stated:
            return self._stated[name]
        for folder in ancestors(user):
            for root in _ROOTS:
                found = self._at(join(folder, root + path))
                if found:
                    return found
        if "/" not in path:
            return None
        return self._suffixes.unique(f"{path}.lua") or self._suffixes.unique(f"{path}/init.lua")

    def _at(self, path: str | None) -> str | None:
        if path:
            for end in _ENDINGS:
                if path + end in self._everything:
                    return path + end
        return None


def _stated(everything: Mapping[str, File]) -> Iterator[tuple[str, str]]:
    """Module and file as a rockspec names them."""
    for path in sorted(everything):
        if path.endswith(".rockspec"):
            for name, file in _ROCK.findall(everything[path].text[:200_000]):
                for folder in ancestors(path):
                    place = join(folder, file)
                    if place in everything:
                        yield name, place or ""
                        break


def resolver(files: Sequence[File], everything: Mapping[str, File]) -> Resolver:
    """Resolves required modules among the Lua files of the repository."""
    return _Lua(files, everything)


FAMILY: Family = resolver
