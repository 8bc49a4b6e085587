"""Small token shards, written without a corpus build, and the byte tokenizer they are made with."""

from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from conftest import write_byte_tokenizer
from midfill.corpus.shards import FORMAT, INDEX, digest, write_shard
from midfill.corpus.whole import write_sealed
from midfill.tokenizer.tokenizer import Tokenizer

Ids = Sequence[int] | NDArray[np.integer]


def byte_tokenizer(folder: Path) -> Tokenizer:
    """256 bytes, two merges, and sentinels."""
    folder.mkdir(parents=True, exist_ok=True)
    write_byte_tokenizer(folder)
    return Tokenizer.from_folder(folder)


def document(tokenizer: Tokenizer, text: str) -> NDArray[np.uint32]:
    """A text as a build encodes it: begin, ids, end."""
    return np.array([tokenizer.bos_id, *tokenizer.encode(text), tokenizer.eos_id], np.uint32)


def write_token_shards(
    folder: Path,
    documents: Sequence[Ids],
    held_out: Sequence[Ids] = (),
    *,
    vocabulary: int,
    shards: int = 3,
    dtype: str = "<u2",
    **index: object,
) -> Path:
    """Token shards with these documents and held-out documents; returns their folder."""
    size = max(1, -(-len(documents) // shards))
    parts = [documents[i : i + size] for i in range(0, len(documents), size)]
    named = [("train", i, part) for i, part in enumerate(parts)]
    named += [("held_out", 0, held_out)] * bool(len(held_out))
    made = [
        write_shard(folder, f"{split}-{i:05}", split, dtype, map(np.asarray, part))
        for split, i, part in named
    ]
    rows = [asdict(shard) for shard in made]
    content = {"format": FORMAT, "vocabulary": vocabulary, "shards": rows, "digest": digest(made)}
    write_sealed(folder / INDEX, content | index)
    return folder
