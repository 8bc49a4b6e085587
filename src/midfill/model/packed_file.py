"""A file of blocks that is mapped, not read: what was packed once is there at the next start.

    header   magic, versions, sizes, hash of the source, hash of the index
    index    JSON: {"blocks": {name: {..., "offset", "bytes"}}, "notes": [...], "origin": path}
    blocks   each at a multiple of 64 bytes; offsets count from the first

A cache, not a format: nobody else reads it, and one that is not exactly as expected is made again.
All processes that map it share its memory. Without a place on disk the same blocks lie in memory.
"""

import hashlib
import json
import logging
import mmap
import os
import shutil
import struct
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from errno import ENOSPC
from pathlib import Path
from typing import Any

import numpy as np

log = logging.getLogger("midfill.model")

MAGIC = b"MIDFILLP"
VERSION = 1  # of the file
PACKING = 1  # of what is in the blocks: kernels/native/formats.h and the set of packed_weights.py
HEADER = struct.Struct("<8sIIQQ32s32s")  # + index bytes, bytes of the whole file, source, index
ALIGNMENT = 64
SAMPLE = 1 << 20  # bytes hashed at either end of a source file

Report = Callable[[int, int], None]  # bytes done, bytes in all


@dataclass(frozen=True, slots=True)
class Block:
    """Bytes to store under a name, made when they are due, and what the index says of them."""

    name: str
    bytes: int
    info: dict[str, Any]
    chunks: Callable[[], Iterator[np.ndarray]]  # pieces in order


@dataclass(frozen=True, slots=True, eq=False)
class PackedFile:
    """Blocks that lie ready, read-only: in a mapped file (`path`), or in memory (None)."""

    blocks: dict[str, dict[str, Any]]
    notes: tuple[str, ...]
    data: np.ndarray
    path: Path | None = None
    map: mmap.mmap | None = None

    def view(self, name: str) -> np.ndarray:
        """The bytes of a block, not copied."""
        block = self.blocks[name]
        return self.data[block["offset"] : block["offset"] + block["bytes"]]

    def bring_in(self) -> None:
        """Have all pages of the map ready, so that no later step waits for them one by one."""
        if self.map is None:
            return
        advice = getattr(mmap, "MADV_POPULATE_READ", 22 if sys.platform == "linux" else None)
        with suppress(OSError, ValueError):  # a kernel before 5.14 does not know it
            if advice is not None:
                self.map.madvise(advice)


def hash_of(files: Iterable[Path], *more: str) -> bytes:
    """What tells whether files have changed, wherever they lie.

    Hashed are each file's name, size and time of change, its first and its last MiB, and `more`:
    all of a large model would take longer than packing it.
    """
    digest = hashlib.sha256(json.dumps(more).encode())
    for path in files:
        stat = path.stat()
        digest.update(f"\0{path.name}\0{stat.st_size}\0{stat.st_mtime_ns}\0".encode())
        with path.open("rb") as file:
            digest.update(file.read(SAMPLE))
            file.seek(max(stat.st_size - SAMPLE, 0))
            digest.update(file.read(SAMPLE))
    return digest.digest()


def open_packed(path: Path, source: bytes) -> PackedFile | None:
    """Map the file at `path`; None, with a line in the log, if it is not what `source` needs.

    Raises OSError where it cannot be read at all.
    """
    try:
        with path.open("rb") as file:
            size = os.fstat(file.fileno()).st_size
            found = _read_index(file.read(HEADER.size), file.read, size, source)
            if isinstance(found, str):
                log.info("%s %s: it is made again", path, found)
                return None
            whole = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
    except FileNotFoundError:
        return None
    index, base = found
    data = np.frombuffer(whole, np.uint8)[base:]
    return PackedFile(index["blocks"], tuple(index["notes"]), data, path, whole)


def _read_index(
    header: bytes, read: Callable[[int], bytes], size: int, source: bytes | None
) -> tuple[dict[str, Any], int] | str:
    """The index after a sound header and where the blocks begin, or what is wrong with the file.

    `source` None: of any model.
    """
    if len(header) < HEADER.size or not header.startswith(MAGIC):
        return "is damaged"
    _, version, packing, length, whole, of, checksum = HEADER.unpack(header)
    if (version, packing) != (VERSION, PACKING):
        return "was written by another version of midfill"
    if source is not None and of != source:
        return "was made of another model, or of this one before it changed"
    if whole != size or length > size:
        return f"is damaged: it has {size} of {whole} bytes"
    raw = read(length)
    if hashlib.sha256(raw).digest() != checksum:
        return "is damaged"
    return json.loads(raw), aligned(HEADER.size + length)


def write_packed(
    path: Path,
    source: bytes,
    origin: Path,
    blocks: Sequence[Block],
    notes: Sequence[str],
    report: Report | None,
) -> None:
    """Write `blocks`, one piece in memory at a time. `path` appears only when it is whole.

    `origin` is the file or folder that was packed. Raises OSError. The caller keeps other processes
    away.
    """
    index, total = _layout(blocks, notes)
    index["origin"] = str(origin)
    raw = json.dumps(index).encode()
    base = aligned(HEADER.size + len(raw))
    header = HEADER.pack(
        MAGIC, VERSION, PACKING, len(raw), base + total, source, hashlib.sha256(raw).digest()
    )
    temporary = path.with_name(path.name + ".part")
    try:
        temporary.unlink(missing_ok=True)  # of a process that was killed
        if shutil.disk_usage(path.parent).free < base + total:
            raise OSError(ENOSPC, os.strerror(ENOSPC), str(path))
        with temporary.open("wb") as file:
            file.write(header + raw)
            file.write(bytes(base - file.tell()))
            for offset, chunk in _stream(blocks, report):
                file.seek(base + offset)
                file.write(chunk.data)
            file.truncate(base + total)
            file.flush()
            os.fsync(file.fileno())  # else a power failure could leave zeros behind a good header
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


def remove_orphans(folder: Path) -> None:
    """Remove the packed files in `folder` whose model is no longer where it was.

    Who has one mapped keeps it. What cannot be read or removed stays.
    """
    for path in folder.glob("*.packed"):
        with suppress(OSError):
            origin = _origin(path)
            if origin is not None and not origin.exists():
                path.unlink()
                log.info("%s is removed: its model is no longer at %s", path, origin)


def _origin(path: Path) -> Path | None:
    """What the packed file at `path` was made of; None if it does not tell."""
    with path.open("rb") as file:
        size = os.fstat(file.fileno()).st_size
        found = _read_index(file.read(HEADER.size), file.read, size, None)
    if isinstance(found, str) or "origin" not in found[0]:
        return None
    return Path(found[0]["origin"])


def hold_in_memory(
    blocks: Sequence[Block], notes: Sequence[str], report: Report | None
) -> PackedFile:
    """The same blocks in memory of this process."""
    index, total = _layout(blocks, notes)
    whole = np.frombuffer(mmap.mmap(-1, max(total, 1)), np.uint8)  # aligned, and zero
    for offset, chunk in _stream(blocks, report):
        whole[offset : offset + chunk.size] = chunk
    whole.flags.writeable = False
    return PackedFile(index["blocks"], tuple(notes), whole)


def _layout(blocks: Sequence[Block], notes: Sequence[str]) -> tuple[dict[str, Any], int]:
    """The index, with offsets from the first block, and the bytes of all blocks."""
    placed, at = {}, 0
    for block in blocks:
        placed[block.name] = {**block.info, "offset": at, "bytes": block.bytes}
        at = aligned(at + block.bytes)
    return {"blocks": placed, "notes": list(notes)}, at


def _stream(blocks: Sequence[Block], report: Report | None) -> Iterator[tuple[int, np.ndarray]]:
    """Every piece and its offset from the first block."""
    total, done, at = sum(block.bytes for block in blocks), 0, 0
    for block in blocks:
        start = at
        for chunk in block.chunks():
            yield at, chunk
            at += chunk.size
            done += chunk.size
            if report is not None:
                report(done, total)
        assert at - start == block.bytes, (block.name, at - start, block.bytes)
        at = aligned(at)


def aligned(size: int) -> int:
    """The next place at which a block may begin."""
    return -(-size // ALIGNMENT) * ALIGNMENT
