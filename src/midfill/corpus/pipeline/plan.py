"""Which repositories are handled together: parts of about equal size, whatever the input's order."""

import hashlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from midfill.corpus.sources.source import Reference


@dataclass(frozen=True, slots=True, kw_only=True)
class Part:
    """Repositories that one task reads: each with the number of its source."""

    number: int
    references: tuple[tuple[int, Reference], ...]

    @property
    def bytes(self) -> int:
        """As estimated, unpacked."""
        return sum(reference.bytes for _, reference in self.references)


def parts(references: Iterable[tuple[int, Reference]], part_bytes: int) -> Iterator[Part]:
    """Parts of up to `part_bytes`, each repository in one of them, a giant one alone.

    Repositories are taken in the order of the hashes of their names, so that parts are alike in
    kind and a build does not depend on the order in which a source names them.
    """
    chosen: list[tuple[int, Reference]] = []
    size = count = 0
    for source, reference in sorted(references, key=_hash):
        if chosen and size + reference.bytes > part_bytes:
            yield Part(number=count, references=tuple(chosen))
            chosen, size, count = [], 0, count + 1
        chosen.append((source, reference))
        size += reference.bytes
    if chosen:
        yield Part(number=count, references=tuple(chosen))


def _hash(one: tuple[int, Reference]) -> tuple[bytes, int, str]:
    source, reference = one
    name = reference.name.encode("utf-8", "surrogatepass")
    return hashlib.blake2b(name, digest_size=16).digest(), source, reference.name
