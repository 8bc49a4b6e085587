"""A configured source, opened: which class reads which kind of place."""

import os
from pathlib import Path

from midfill.config.corpus.build import SourceConfig
from midfill.config.corpus.sources import Fetching
from midfill.corpus.sources.archive import ArchiveSource
from midfill.corpus.sources.folder import FolderSource
from midfill.corpus.sources.git import GitSource
from midfill.corpus.sources.packages import PackageList
from midfill.corpus.sources.source import Source


def opened(config: SourceConfig, fetching: Fetching) -> Source:
    """The source that `config` describes; nothing is read or fetched yet."""
    path = config.path
    if config.kind == "packages":
        path = _list_named(path)
        return PackageList(
            path=path, index=config.index or "pypi", skip=config.skip, fetching=fetching
        )
    if config.kind == "git":
        return GitSource(path=path, commit=config.commit or "HEAD")
    if config.kind == "archives":
        return ArchiveSource(path=path)
    if config.kind == "table":
        from midfill.corpus.sources.tables import TableSource

        return TableSource(path=path)
    if config.kind == "pages":
        from midfill.corpus.sources.pages import PageSource

        return PageSource(path=path)
    return FolderSource(path=path, single=config.kind == "repository")


def _list_named(path: str) -> str:
    """The path of a list: as given, or by its name in the folder that MIDFILL_DATA names."""
    data = os.environ.get("MIDFILL_DATA")
    named = Path(data or ".", "corpora", f"{path}.json")
    return str(named) if data and not Path(path).exists() and named.is_file() else path
