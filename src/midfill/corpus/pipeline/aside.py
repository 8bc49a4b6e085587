"""Some of what was dropped, kept for reading: the same documents in every run."""

import hashlib
from collections import defaultdict
from collections.abc import Iterable
from typing import TYPE_CHECKING

from midfill.corpus import table
from midfill.corpus.record import Document

if TYPE_CHECKING:
    import pyarrow as pa

_LONGEST = 20_000  # characters of a sample


def lot_of(name: str) -> bytes:
    """The lot that a document draws: the smallest are kept."""
    return hashlib.blake2b(name.encode("utf-8", "surrogatepass")).digest()


class Aside:
    """At most `most` dropped documents for each stage and reason, chosen by the hash of their name."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._kept: defaultdict[tuple[str, str], list[tuple[bytes, Document]]] = defaultdict(list)

    def add(self, stage: str, documents: Iterable[Document]) -> None:
        """Consider the dropped ones among these."""
        for document in documents:
            if document.drop is None or not self._most:
                continue
            lot = lot_of(document.id)
            kept = self._kept[stage, document.drop.reason]
            if len(kept) < self._most or lot < kept[-1][0]:
                kept.append((lot, document))
                kept.sort(key=lambda one: one[0])
                del kept[self._most :]

    def table(self) -> "pa.Table":
        """The samples as documents, their texts cut, with a column `stage`."""
        rows = [(stage, d) for (stage, _), kept in sorted(self._kept.items()) for _, d in kept]
        for _, document in rows:
            document.text = document.text[:_LONGEST]
        stages = table.arrow().array([stage for stage, _ in rows], table.arrow().string())
        return table.to_table([document for _, document in rows]).append_column("stage", stages)
