"""Where a corpus comes from: folders, git, archives, package lists, tables and web pages."""

from midfill.corpus.sources.archive import ArchiveSource
from midfill.corpus.sources.folder import FolderSource
from midfill.corpus.sources.git import GitSource
from midfill.corpus.sources.packages import PINNED, Package, PackageList
from midfill.corpus.sources.pages import PageSource
from midfill.corpus.sources.source import Reference, Source, Span
from midfill.corpus.sources.tables import TableSource

__all__ = [
    "PINNED",
    "ArchiveSource",
    "FolderSource",
    "GitSource",
    "Package",
    "PackageList",
    "PageSource",
    "Reference",
    "Source",
    "Span",
    "TableSource",
]
