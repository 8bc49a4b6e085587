"""A file mapped into memory, whose bytes become tensors without a copy.

Pages are read when a tensor is used, and can be given back once it has been copied elsewhere, so
that loading never holds a checkpoint twice.
"""

import mmap
from pathlib import Path

import torch
from jaxtyping import UInt8
from torch import Tensor


class MappedFile:
    """The bytes of a file; writes to its tensors stay in this process (copy on write)."""

    def __init__(self, path: Path) -> None:
        self.path = path
        with path.open("rb") as file:
            self.map = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_COPY)

    def __len__(self) -> int:
        return len(self.map)

    def bytes(self, start: int, size: int) -> UInt8[Tensor, " size"]:
        """`size` bytes from `start`, as a tensor that shares the file's pages."""
        if size == 0:
            return torch.empty(0, dtype=torch.uint8)
        return torch.frombuffer(self.map, dtype=torch.uint8, count=size, offset=start)

    def release(self, start: int, size: int) -> None:
        """Give back the pages that lie wholly inside a range that is not needed any more."""
        if not hasattr(self.map, "madvise"):  # Windows
            return
        page = mmap.PAGESIZE
        first, end = -(-start // page) * page, (start + size) // page * page
        if end > first:
            self.map.madvise(mmap.MADV_DONTNEED, first, end - first)
