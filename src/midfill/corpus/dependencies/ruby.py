"""Ruby: `require_relative`, `require` on the load path, `load` and `autoload`.

The load path is taken to be `lib` (and what a gemspec names), `test`, `spec` and the folder itself,
at the file's own level and at each above; then any `lib` of the repository if only one has the file.
Constants that a framework loads by their names are not seen.
"""

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence

from midfill.corpus.dependencies.family import Family, File, Resolver
from midfill.corpus.dependencies.paths import Suffixes, ancestors, folder_of, join
from midfill.corpus.dependencies.words import (
    Comments,
    here_documents,
    outside_comments,
    within,
)

LANGUAGES = ("Ruby", "Crystal")

_FOLDER = (
    r"(?:File\.(?:expand_path|join|dirname)[ \t]*\(?[ \t]*)?"
    r"(?:File\.dirname[ \t]*\(?__FILE__\)?|__dir__)?[ \t]*[,+]?[ \t]*"
)
_REQUIRE = re.compile(
    r"\n[ \t]*(?:begin[ \t]*;?[ \t]*)?(require_relative|require|load|autoload)\b[ \t]*\(?[ \t]*"
    rf"(?::\w+[ \t]*,[ \t]*)?({_FOLDER})[\"']([^\"'#\n]+(?:[\"'][ \t]*,[ \t]*[\"'][^\"'#\n]+)*)[\"']([ \t]*,[ \t]*(?:__FILE__|__dir__))?"
)
_JOINED = re.compile(r"[\"'][ \t]*,[ \t]*[\"']")
_PATHS = re.compile(r"require_paths?[ \t]*=[ \t]*(\[[^\]\n]*\]|[\"'][^\"'\n]*[\"']|%w\[[^\]\n]*\])")
_COMMENTS = Comments(line="#", opening="\n=begin", closing="\n=end")
_ALWAYS = ("lib", "test", "spec", "")


class _Ruby:
    def __init__(self, files: Sequence[File], everything: Mapping[str, File]) -> None:
        self._everything = everything
        self._suffixes = Suffixes(path for path in everything if path.endswith((".rb", ".cr")))
        self._roots = tuple(dict.fromkeys([*_ALWAYS, *_stated_roots(everything)]))[:16]

    def needs(self, file: File) -> Iterable[str]:
        if "require" not in file.text and "load" not in file.text:
            return
        end = file.text.find("\n__END__\n")
        text = "\n" + (file.text if end < 0 else file.text[:end])
        texts = here_documents(text)
        for match in outside_comments(text, _REQUIRE.finditer(text), _COMMENTS):
            if within(match.start(1), texts):
                continue
            found = self._find(file.path, match)
            if found:
                yield found

    def _find(self, user: str, match: re.Match[str]) -> str | None:
        word, base, name, from_file = match.groups()
        name = _JOINED.sub("/", name)
        if word == "require_relative" or base.strip() or from_file:
            folder = folder_of(user)
            if from_file and "__FILE__" in from_file:  # expand_path takes the file for a folder
                name = name.removeprefix("../") if name.startswith("../") else f"../{name}"
            return self._at(join(folder, name.lstrip("/")))
        if name.startswith(("./", "../")):
            return self._at(join(folder_of(user), name)) or self._at(join("", name))
        return next(filter(None, self._on_load_path(user, name)), None)

    def _on_load_path(self, user: str, name: str) -> Iterator[str | None]:
        for folder in ancestors(user):
            for root in self._roots:
                yield self._at(join(folder, f"{root}/{name}" if root else name))
        if ".." not in name:
            yield self._suffixes.unique(f"lib/{name}.rb")

    def _at(self, path: str | None) -> str | None:
        if path is None:
            return None
        return next((p for p in (f"{path}.rb", path, f"{path}.cr") if p in self._everything), None)


def _stated_roots(everything: Mapping[str, File]) -> Iterator[str]:
    for path in sorted(everything):
        if path.endswith(".gemspec"):
            for stated in _PATHS.findall(everything[path].text[:100_000]):
                yield from re.findall(r"[\w./-]+", stated.removeprefix("%w"))


def resolver(files: Sequence[File], everything: Mapping[str, File]) -> Resolver:
    """Resolves required files among those of the repository."""
    return _Ruby(files, everything)


FAMILY: Family = resolver
