"""Edges of a small repository written as a mapping from paths to texts."""

from collections.abc import Mapping
from textwrap import dedent
from types import ModuleType

from midfill.corpus.dependencies.family import File


def edges(
    family: ModuleType, texts: Mapping[str, str], *own: str, language: str = ""
) -> dict[str, set[str]]:
    """What each file needs, itself left out; files that need nothing are left out.

    Files whose names end with one of `own` are the family's, all when none is given.
    """
    language = language or family.LANGUAGES[0]
    everything = {path: File(path, dedent(text), language) for path, text in texts.items()}
    files = [file for path, file in everything.items() if path.endswith(own or ("",))]
    resolver = family.FAMILY(files, everything)
    found = {file.path: {*resolver.needs(file)} - {file.path} for file in files}
    return {path: needed for path, needed in found.items() if needed}
