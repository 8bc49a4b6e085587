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
import json
from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from midfill.corpus.whole import replacing, write_json
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
    ids_path, starts_path = folder / f"{name}.bin", folder / f"{name}.starts.bin"
    (folder / f"{name}.json").unlink(missing_ok=True)
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
    write_json(folder / f"{name}.json", asdict(shard))
    return shard


def read_shard(folder: Path, name: str) -> Shard | None:
    """The index of a finished shard, or None."""
    try:
        return Shard(**json.loads((folder / f"{name}.json").read_text("utf-8")))
    except (FileNotFoundError, ValueError, TypeError):
        return None


def is_whole(folder: Path, name: str) -> bool:
    """Whether a shard is finished and both of its files have their size."""
    shard = read_shard(folder, name)
    if shard is None:
        return False
    sizes = {
        ".bin": shard.tokens * np.dtype(shard.dtype).itemsize,
        ".starts.bin": 8 * shard.documents,
    }
    paths = {folder / f"{name}{ending}": size for ending, size in sizes.items()}
    return all(path.is_file() and path.stat().st_size == size for path, size in paths.items())


@dataclass(frozen=True, slots=True)
class TokenShards:
    """The shards of a corpus, ids mapped from disk and not read."""

    folder: Path
    index: dict[str, Any]

    @classmethod
    def open(cls, folder: Path) -> "TokenShards":
        """The shards in `folder`, or in its folder `shards`. Raises CorpusError."""
        folder = Path(folder)
        if not (folder / INDEX).exists() and (folder / "shards" / INDEX).exists():
            folder = folder / "shards"
        try:
            index = json.loads((folder / INDEX).read_text())
        except (OSError, ValueError) as error:
            raise CorpusError(
                f"{folder} holds no finished shards",
                why=str(error),
                fix=f"midfill corpus build --out {folder}",
            ) from error
        if not isinstance(index, dict) or index.get("format") != FORMAT:
            raise CorpusError(
                f"{folder / INDEX} is no index of token shards",
                why=f"its format is not {FORMAT!r}",
                fix="midfill corpus build writes such a folder",
            )
        return cls(folder, index)

    def shards(self, split: str = "train") -> list[Shard]:
        """The shards of a split, in their order."""
        return [Shard(**one) for one in self.index["shards"] if one["split"] == split]

    def ids(self, shard: Shard) -> NDArray[Any]:
        """Its ids, mapped. Raises CorpusError where the file has another size."""
        path = self.folder / f"{shard.name}.bin"
        found = path.stat().st_size if path.exists() else 0
        if found != shard.tokens * np.dtype(shard.dtype).itemsize:
            raise CorpusError(
                f"{path} has {found:,} bytes",
                why=f"its index says {shard.tokens:,} ids of type {shard.dtype}",
                fix="build the corpus again: finished stages are kept",
            )
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


def digest(shards: Iterable[Shard]) -> str:
    """One SHA-256 over those of all shards, in their order."""
    whole = hashlib.sha256()
    for shard in shards:
        whole.update(bytes.fromhex(shard.sha256) + bytes.fromhex(shard.starts_sha256))
    return whole.hexdigest()
