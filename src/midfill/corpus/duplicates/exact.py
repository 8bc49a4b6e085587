"""Files with equal bytes."""

from collections import defaultdict
from collections.abc import Collection, Iterable
from dataclasses import dataclass

from midfill.config.corpus.duplicates import Duplicates
from midfill.corpus.duplicates.sketch import ranked
from midfill.corpus.record import Document


@dataclass(frozen=True, slots=True, kw_only=True)
class Copies:
    """How much of a set of files is there more than once."""

    files: int  # beyond the first of each content
    bytes: int  # of these


def copies(documents: Iterable[Document]) -> Copies:
    """Exact copies by SHA-256, of any size.

    On the files that repository-level deduplication left, this is what it cannot see: Jaccard
    similarity is blind to a library inside a larger repository.
    """
    sizes = [sorted(d.size for d in group) for group in _by_content(documents)]
    return Copies(files=sum(len(s) - 1 for s in sizes), bytes=sum(sum(s[1:]) for s in sizes))


def remove_copies(
    documents: Iterable[Document], config: Duplicates, reference: Collection[str] = ()
) -> dict[str, str]:
    """Ids of files whose bytes another one has, to the id of the one that stays.

    The best by `ranked` stays. Files below `exact_bytes` and references are left alone.
    """
    removed = {}
    for group in _by_content(
        document for document in documents if document.size >= config.exact_bytes
    ):
        named = {d.id for d in group if d.id in reference or d.repo in reference}
        best, *others = ranked(group, named)
        removed |= {d.id: best.id for d in others if d.id not in named}
    return removed


def _by_content(documents: Iterable[Document]) -> list[list[Document]]:
    groups = defaultdict(list)
    for document in documents:
        groups[document.sha256].append(document)
    return list(groups.values())
