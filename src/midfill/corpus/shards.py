"""Token shards: plain little-endian files with a JSON index, which numpy alone can read.

    shards/train-00000.bin         ids, uint16 where the vocabulary fits, else uint32
    shards/train-00000.starts.bin  where each document begins, in tokens, uint64
    shards/train-00000.json        the shard's index, written last: a shard without it is not there
    shards/index.json              all shards, the tokenizer's digest and the run, written last

A document is `bos`, its ids, `eos`; documents follow each other without padding, so that any
position is found by arithmetic.
"""

import hashlib
import itertools
import os
from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from midfill.corpus.whole import read_sealed, replacing, sha256_of, write_json
from midfill.errors import CorpusError

FORMAT = "midfill token shards 1"
INDEX = "index.json"
SMALL = 1 << 16  # vocabularies below this fit into 16 bits


@dataclass(frozen=True, slots=True, kw_only=True)
class Shard:
    """The index of one shard."""

    name: str
    split: str  # "train" or "held_out"
    dtype: str  # as numpy writes it: "<u2" or "<u4"
    tokens: int
    documents: int
    sha256: str  # of the ids
    starts_sha256: str


def dtype_for(vocabulary: int) -> str:
    """The type of ids below `vocabulary`, little-endian."""
    return "<u2" if vocabulary <= SMALL else "<u4"


def write_shard(
    folder: Path, name: str, split: str, dtype: str, documents: Iterable[NDArray[Any]]
) -> Shard:
    """Write one shard, its index last; what was there under these names is replaced."""
    folder.mkdir(parents=True, exist_ok=True)
    starts, tokens, digest = [], 0, hashlib.sha256()
    ids_path, starts_path, index_path = shard_files(folder, name)
    index_path.unlink(missing_ok=True)
    with replacing(ids_path) as file:
        for ids in documents:
            data = np.ascontiguousarray(ids, dtype=dtype).tobytes()
            assert not len(ids) or int(ids.max()) <= np.iinfo(dtype).max
            file.write(data)
            digest.update(data)
            starts.append(tokens)
            tokens += len(ids)
    begins = np.asarray(starts, "<u8").tobytes()
    with replacing(starts_path) as file:
        file.write(begins)
    shard = Shard(
        name=name,
        split=split,
        dtype=dtype,
        tokens=tokens,
        documents=len(starts),
        sha256=digest.hexdigest(),
        starts_sha256=hashlib.sha256(begins).hexdigest(),
    )
    write_json(index_path, asdict(shard))
    return shard


def shard_files(folder: Path, name: str) -> list[Path]:
    """The files of a shard: ids, starts, index."""
    return [folder / f"{name}{ending}" for ending in (".bin", ".starts.bin", ".json")]


@dataclass(frozen=True, slots=True)
class TokenShards:
    """The shards of a corpus, ids mapped from disk and not read."""

    folder: Path
    index: dict[str, Any]

    @classmethod
    def open(cls, folder: Path) -> "TokenShards":
        """The shards in `folder`, or in its folder `shards`. Raises CorpusError."""
        folder = Path(folder)
        if not os.access(folder / INDEX, os.F_OK) and os.access(folder / "shards", os.F_OK):
            folder = folder / "shards"
        index = read_sealed(folder / INDEX)
        if index is None:
            absent = not os.access(folder / INDEX, os.F_OK)
            raise CorpusError(
                f"{folder} holds no finished shards" if absent else f"{folder / INDEX} is damaged",
                why=f"there is no {INDEX}, which is written last"
                if absent
                else "it is not the index that a build of this version wrote",
                fix=_again(folder),
            )
        if index.get("format") != FORMAT:
            raise CorpusError(
                f"{folder / INDEX} is no index of token shards",
                why=f"its format is not {FORMAT!r}",
                fix="midfill corpus build writes such a folder",
            )
        return cls(folder, index)

    def check(self, *, digests: bool = False) -> None:
        """Raise CorpusError naming a file of another size, or of other bytes, than the index says.

        Sizes cost nothing; `digests` reads all files, about a gigabyte per second.
        """
        for shard in (Shard(**one) for one in self.index["shards"]):
            ids, starts, _ = shard_files(self.folder, shard.name)
            self._check(ids, shard.tokens * np.dtype(shard.dtype).itemsize, shard.sha256, digests)
            self._check(starts, 8 * shard.documents, shard.starts_sha256, digests)
        for name, one in self.index.get("files", {}).items():
            path = self.folder / f"{name}.files.bin"
            self._check(path, 8 * one["files"], one["sha256"], digests)

    def _check(self, path: Path, size: int, sha256: str, digests: bool) -> None:
        found = path.stat().st_size if path.is_file() else None
        if found == size and not (digests and sha256_of(path) != sha256):
            return
        what, why = f"{path} is damaged", f"its SHA-256 is not the one in {INDEX}"
        if found is None:
            what, why = f"there is no {path}", f"{INDEX} lists it"
        elif found != size:
            what, why = f"{path} has {found:,} bytes", f"{INDEX} says {size:,}"
        raise CorpusError(what, why=why, fix=_again(self.folder))

    def shards(self, split: str = "train") -> list[Shard]:
        """The shards of a split, in their order."""
        return [Shard(**one) for one in self.index["shards"] if one["split"] == split]

    def ids(self, shard: Shard) -> NDArray[Any]:
        """Its ids, mapped. Raises CorpusError where the file has another size."""
        path, *_ = shard_files(self.folder, shard.name)
        self._check(path, shard.tokens * np.dtype(shard.dtype).itemsize, shard.sha256, False)
        if not shard.tokens:
            return np.empty(0, shard.dtype)
        return np.memmap(path, shard.dtype, mode="r")

    def starts(self, shard: Shard) -> NDArray[np.uint64]:
        """Where its documents begin, in tokens."""
        return np.fromfile(self.folder / f"{shard.name}.starts.bin", "<u8")

    def documents(self, split: str = "train") -> Iterator[NDArray[Any]]:
        """The ids of every document, bos and eos included."""
        for shard in self.shards(split):
            ids, starts = self.ids(shard), self.starts(shard)
            borders = [*starts.tolist(), shard.tokens]
            for start, end in itertools.pairwise(borders):
                yield ids[start:end]


def _again(folder: Path) -> str:
    """How to have shards made again, for an error."""
    out = folder.parent if folder.name == "shards" else folder
    return f"midfill corpus build CONFIG --out {out}, as before, makes again what is missing"


def digest(shards: Iterable[Shard]) -> str:
    """One SHA-256 over those of all shards, in their order."""
    whole = hashlib.sha256()
    for shard in shards:
        whole.update(bytes.fromhex(shard.sha256) + bytes.fromhex(shard.starts_sha256))
    return whole.hexdigest()
