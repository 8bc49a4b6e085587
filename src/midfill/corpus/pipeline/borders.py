"""Where each file begins inside the documents of a shard: what rearranging by file needs.

    shards/train-00000.files.bin   in tokens of the shard, uint64

A document of several files has its path comments in its text; these numbers say where they are. One
that has a hole begins, as a whole, with its one entry.
"""

import hashlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from midfill.corpus.pipeline.merge import Slices
from midfill.corpus.pipeline.tokens import FILES
from midfill.corpus.whole import replacing


def file_starts(slices: Slices, parts: Sequence[Path]) -> NDArray[np.uint64]:
    """Where the files of these documents begin when the documents follow each other.

    `parts` are the paths of what `tokens.py` wrote about each part, whatever their ending.
    """
    known = {
        number: np.fromfile(parts[number].with_suffix(FILES), "<u8")
        for number in np.unique(slices.file).tolist()
    }
    begins = np.cumsum(slices.tokens) - slices.tokens
    found = [np.empty(0, np.uint64)]
    columns = (slices.file, slices.start, slices.start + slices.tokens, begins)
    for number, start, end, begin in zip(*columns, strict=True):
        starts = known[int(number)]
        low, high = np.searchsorted(starts, np.array([start, end]))
        found.append(starts[low:high] - start + begin)
    return np.concatenate(found)


def write_file_starts(path: Path, slices: Slices, parts: Sequence[Path]) -> dict[str, Any]:
    """Write the file of a shard where it is not there yet; return its entry in the index."""
    starts = file_starts(slices, parts)
    data = starts.astype("<u8").tobytes()
    if not path.exists() or path.read_bytes() != data:
        with replacing(path) as file:
            file.write(data)
    return {"files": len(starts), "sha256": hashlib.sha256(data).hexdigest()}
