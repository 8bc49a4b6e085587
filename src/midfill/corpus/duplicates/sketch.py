"""The map: what deduplication must know of a repository or a file, without its text."""

import hashlib
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, Protocol, TypeVar

import numpy as np

from midfill.config.corpus.duplicates import Duplicates
from midfill.corpus.duplicates.bands import shape
from midfill.corpus.duplicates.minhash import band_keys, band_keys_of_all
from midfill.corpus.duplicates.shingles import Hashes, shingles
from midfill.corpus.record import Document
from midfill.corpus.rules.comments import licence_end
from midfill.corpus.table import arrow

if TYPE_CHECKING:
    import pyarrow as pa


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Sketch:
    """One repository or file as near-duplicates are looked for."""

    id: str  # of the document; of a repository its name
    repo: str
    level: Literal["repo", "file"]
    keys: Hashes  # one for each band; without meaning if there are no shingles
    shingles: int  # with repeats; 0: too few words, never a near-duplicate
    size: int  # bytes
    sha256: str  # of a file its bytes; of a repository the sorted digests of its files
    stars: int | None = None
    created: str | None = None
    reference: bool = False  # of a set whose duplicates are removed, and which itself stays whole


class Ranked(Protocol):
    """What decides which of several duplicates stays; sketches and documents have it."""

    @property
    def id(self) -> str:
        """Unique at its level."""
        ...

    @property
    def stars(self) -> int | None:
        """Of the repository."""
        ...

    @property
    def created(self) -> str | None:
        """Of the repository, ISO date."""
        ...


R = TypeVar("R", bound=Ranked)


def ranked(items: Iterable[R], reference: Collection[str] = ()) -> list[R]:
    """The items, best first: references, then most stars, then newest, then smallest id.

    Unknown stars are fewer than none, an unknown date is older than any. Of duplicates the first
    one stays.
    """
    best = sorted(items, key=lambda item: item.id)
    best.sort(key=lambda item: item.created or "", reverse=True)
    best.sort(key=lambda item: -1 if item.stars is None else item.stars, reverse=True)
    best.sort(key=lambda item: not (item.id in reference or getattr(item, "reference", False)))
    return best


def sketch(
    documents: Sequence[Document], config: Duplicates, reference: Collection[str] = ()
) -> list[Sketch]:
    """Sketches of the documents of one repository, at the levels that the configuration asks for.

    The repository's comes first. `reference` holds ids (of repositories: names) that always stay;
    a repository named there has all its files in the reference too.
    """
    if not documents:
        return []
    bands, rows = shape(config)
    texts = [document.text for document in documents]
    starts = starts_of(texts, config)
    sketches = []
    if config.level == "repo":
        counts, keys = band_keys_of_all(texts, starts, config.words, config.seed, bands, rows)
        return [_of_repository(documents, counts, keys, reference)]
    counts, keys = band_keys(texts, starts, config.words, config.seed, bands, rows)
    if config.level == "both":
        sketches.append(_of_repository(documents, int(counts[-1]), keys[-1], reference))
    for document, count, own in zip(documents, counts[:-1], keys[:-1], strict=True):
        sketches.append(
            Sketch(
                id=document.id, repo=document.repo, level="file", keys=own, shingles=int(count),
                size=document.size, sha256=document.sha256, stars=document.stars,
                created=document.created,
                reference=document.id in reference or document.repo in reference,
            )
        )  # fmt: skip
    return sketches


def starts_of(texts: Sequence[str], config: Duplicates) -> list[int]:
    """Where the shingles of each text begin."""
    return [licence_end(text) if config.strip_licence else 0 for text in texts]


def shingle_set(texts: Sequence[str], config: Duplicates) -> Hashes:
    """The sorted shingles of a file, or of all files of a repository: what `verify` loads."""
    return shingles(texts, starts_of(texts, config), config.words, config.seed)


def to_arrow(sketches: Sequence[Sketch], config: Duplicates) -> "pa.Table":
    """Sketches as columns; the band keys are lists of fixed length of 64-bit numbers."""
    pa = arrow()
    bands, _ = shape(config)
    keys = np.array([s.keys for s in sketches], np.uint64).reshape(-1)
    columns = {
        "id": pa.array([s.id for s in sketches], pa.string()),
        "repo": pa.array([s.repo for s in sketches], pa.string()),
        "level": pa.array([s.level for s in sketches], pa.string()),
        "keys": pa.FixedSizeListArray.from_arrays(pa.array(keys, pa.uint64()), bands),
        "shingles": pa.array([s.shingles for s in sketches], pa.int64()),
        "size": pa.array([s.size for s in sketches], pa.int64()),
        "sha256": pa.array([s.sha256 for s in sketches], pa.string()),
        "stars": pa.array([s.stars for s in sketches], pa.int64()),
        "created": pa.array([s.created for s in sketches], pa.string()),
        "reference": pa.array([s.reference for s in sketches], pa.bool_()),
    }
    return pa.table(columns)


def from_arrow(table: "pa.Table") -> list[Sketch]:
    """What `to_arrow` was given."""
    column = table.column("keys").combine_chunks()
    flat = column.flatten().to_numpy(zero_copy_only=False)
    keys = flat.reshape(-1, column.type.list_size)
    rest = table.drop_columns(["keys"]).to_pylist()
    return [Sketch(keys=own, **row) for own, row in zip(keys, rest, strict=True)]


def _of_repository(
    documents: Sequence[Document], count: int, keys: Hashes, reference: Collection[str]
) -> Sketch:
    first = documents[0]
    digests = sorted(document.sha256 for document in documents)
    return Sketch(
        id=first.repo, repo=first.repo, level="repo", keys=keys, shingles=count,
        size=sum(document.size for document in documents),
        sha256=hashlib.sha256("\n".join(digests).encode()).hexdigest(),
        stars=first.stars, created=first.created, reference=first.repo in reference,
    )  # fmt: skip
