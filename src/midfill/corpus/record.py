"""The record of the corpus: one file of one repository, and why it was dropped if it was.

Every stage takes and returns these; on disk they are rows of one Arrow schema (`table.py`).
"""

from collections.abc import Callable
from dataclasses import dataclass, field

TEXT = "Text"  # the language of documents that are prose throughout, such as web pages


@dataclass(frozen=True, slots=True)
class Drop:
    """Why a document is not used: one word for counting, and what decided it, for reading."""

    reason: str  # such as "longest_line"; the same word wherever the same rule drops
    value: float | str | None = None  # the number or the name that decided; never a secret


@dataclass(slots=True, kw_only=True)
class Document:
    """One file of one repository, as text. Stages fill in what they find out."""

    repo: str  # unique in a corpus, such as "pypi/flask-3.1.2"
    path: str  # POSIX, relative to the repository
    text: str  # line ends and a missing last newline as they were
    size: int  # bytes of the file as it was found
    sha256: str  # of those bytes, hex
    source: str = ""  # the kind of source that brought it, such as "pypi" or "folder"
    stars: int | None = None  # of the repository
    created: str | None = None  # of the repository, ISO date; None where nobody knows
    language: str | None = None  # one of the 338 names
    licence: str | None = None  # SPDX expression; None: unknown
    depends_on: tuple[str, ...] = ()  # paths in the same repository
    quality: float | None = None  # of the learned classifier, 0 to 1
    drop: Drop | None = None
    dup_of: str | None = None  # id of the document or repository that was kept instead
    contaminated_by: str | None = None  # set and task of the first benchmark text found

    @property
    def id(self) -> str:
        """Unique in a corpus: repository and path."""
        return f"{self.repo}:{self.path}"


Rule = Callable[[Document], Drop | None]  # None: keep


@dataclass(slots=True, kw_only=True)
class Repository:
    """The files of one repository, or of one archive, with those that could not be read."""

    name: str
    documents: list[Document] = field(default_factory=list)
    licence: str | None = None  # as its metadata states it, SPDX
    unread: list["Unread"] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class Unread:
    """A file, or an archive, that gave no document."""

    path: str  # empty: the whole archive
    size: int
    drop: Drop  # such as "encoding", "binary", "link", "traversal", "bomb", "truncated", "sha256"
