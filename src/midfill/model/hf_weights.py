"""Weights in a Hugging Face folder: safetensors (one file or shards) or PyTorch .bin files.

Reading is lazy and memory-mapped. Experts may be stored one by one (the original spelling) or
fused (`mlp.experts.gate_up_proj`, gate rows first).
"""

import json
import pickle
import re
import struct
from collections import Counter
from dataclasses import dataclass
from math import prod
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from midfill.errors import CheckpointError
from midfill.model.files import weight_files
from midfill.model.mapped import MappedFile

SAFETENSORS_DTYPES = {
    "F64": torch.float64,
    "F32": torch.float32,
    "F16": torch.float16,
    "BF16": torch.bfloat16,
}
UNREADABLE = (  # what torch.load raises for files that are cut off or garbled
    OSError,
    RuntimeError,
    EOFError,
    ValueError,
    LookupError,
    TypeError,
    AttributeError,
    AssertionError,
    ArithmeticError,
    struct.error,
)
EXPERT = re.compile(r"(.*\.mlp\.experts)\.(\d+)\.(gate|up|down)_proj\.weight")


@dataclass(frozen=True, slots=True)
class _Entry:
    """Where one tensor of a safetensors file lies."""

    file: MappedFile
    dtype: str
    shape: tuple[int, ...]
    start: int
    size: int

    def view(self) -> Tensor:
        if self.dtype not in SAFETENSORS_DTYPES:
            raise CheckpointError(
                f"{self.file.path} stores weights as {self.dtype}",
                why=f"midfill reads {', '.join(SAFETENSORS_DTYPES)}",
                fix="export the checkpoint in bfloat16",
            )
        raw = self.file.bytes(self.start, self.size)
        if self.start % SAFETENSORS_DTYPES[self.dtype].itemsize:  # legal, but not viewable
            raw = raw.clone()
        return raw.view(SAFETENSORS_DTYPES[self.dtype]).view(self.shape)


def open_hf_weights(folder: Path) -> "SafetensorsWeights | BinWeights":
    """The weights in `folder`. Raises CheckpointError when there are none or they are damaged."""
    files = weight_files(folder)
    if not files:
        raise CheckpointError(
            f"{folder} holds no weights",
            why="there is neither a *.safetensors nor a pytorch_model*.bin file in it",
            fix=f"fetch the weights into {folder}, or name a model of `midfill models`",
        )
    return (
        BinWeights(folder, files)
        if files[0].suffix == ".bin"
        else SafetensorsWeights(folder, files)
    )


class _HFWeights:
    """What both file formats share: names, fused experts, types."""

    def __init__(self, folder: Path, files: list[Path]) -> None:
        self.where = str(folder)
        self.files = files

    def file_bytes(self) -> int:
        """Bytes of all weight files."""
        return sum(path.stat().st_size for path in self.files)

    def find(self, name: str, have: Any) -> tuple[str, tuple[int, str] | None] | None:
        """The stored tensor that holds `name`, and which part of it."""
        for spelled in (name, name.removeprefix("model.")):
            if spelled in have:
                return spelled, None
            match = EXPERT.fullmatch(spelled)
            if match is None:
                continue
            fused = f"{match[1]}.{'down_proj' if match[3] == 'down' else 'gate_up_proj'}"
            if fused in have:
                return fused, (int(match[2]), match[3])
        return None


def _expert_part(tensor: Tensor, part: Any) -> Tensor:
    """One expert's matrix inside a fused tensor [experts, rows, columns]."""
    if part is None:
        return tensor
    expert, kind = part
    matrix = tensor[expert]
    half = matrix.shape[0] // 2
    return {"gate": matrix[:half], "up": matrix[half:], "down": matrix}[kind]


def _expert_shape(shape: tuple[int, ...], part: Any) -> tuple[int, ...]:
    if part is None:
        return shape
    rows = shape[1] if part[1] == "down" else shape[1] // 2
    return (rows, *shape[2:])


class SafetensorsWeights(_HFWeights):
    """Tensors of safetensors files, each a view of the mapped file until it is converted."""

    def __init__(self, folder: Path, files: list[Path]) -> None:
        super().__init__(folder, files)
        self.entries: dict[str, _Entry] = {}
        for path in files:
            self.entries |= read_safetensors_header(path)

    def __len__(self) -> int:
        return len(self.entries)

    def shape(self, name: str) -> tuple[int, ...] | None:
        """The shape of tensor `name`, or None if it is missing."""
        found = self.find(name, self.entries)
        return found and _expert_shape(self.entries[found[0]].shape, found[1])

    def read(self, name: str, dtype: torch.dtype) -> Tensor:
        """Tensor `name`; a view of the file when `dtype` is the stored type."""
        found = self.find(name, self.entries)
        assert found is not None, name
        stored = _expert_part(self.entries[found[0]].view(), found[1])
        value = stored.to(dtype)
        if value is not stored:
            self.release(name)
        return value

    def release(self, name: str) -> None:
        """Give back the mapped pages of `name`."""
        found = self.find(name, self.entries)
        if found is None:
            return
        entry, part = self.entries[found[0]], found[1]
        if part is None:
            entry.file.release(entry.start, entry.size)
        else:
            expert, kind = part
            each = entry.size // entry.shape[0]
            size = each if kind == "down" else each // 2
            start = entry.start + expert * each + (size if kind == "up" else 0)
            entry.file.release(start, size)

    def stored_dtype(self) -> str:
        """The type most elements are kept in."""
        count: Counter[str] = Counter()
        for entry in self.entries.values():
            count[entry.dtype] += entry.size
        common = count.most_common(1)[0][0] if count else "F32"
        return {"F16": "float16", "BF16": "bfloat16"}.get(common, "float32")


def read_safetensors_header(path: Path) -> dict[str, _Entry]:
    """Name to place of every tensor in a safetensors file. Raises CheckpointError if damaged."""

    def damaged(why: str) -> CheckpointError:
        return CheckpointError(f"{path} is damaged", why=why, fix="fetch the file again")

    size = path.stat().st_size
    if size < 8:
        raise damaged(f"it has {size} bytes; a safetensors file begins with an 8-byte length")
    file = MappedFile(path)
    length = int.from_bytes(file.map[:8], "little")
    if length > size - 8:
        raise damaged(f"its header claims {length} bytes, the whole file has {size}")
    try:
        header = json.loads(file.map[8 : 8 + length])
    except (ValueError, RecursionError) as error:
        raise damaged(f"its header is not JSON: {error}") from None
    if not isinstance(header, dict):
        raise damaged(f"its header is a {type(header).__name__}, not an object")
    entries = {}
    header.pop("__metadata__", None)
    for name, info in header.items():
        entry = _entry(file, 8 + length, info)
        if entry is None:
            raise damaged(f"the header's entry for {name!r} is malformed")
        if entry.start + entry.size > size:
            raise damaged(
                f"it is cut off: tensor {name!r} ends at byte {entry.start + entry.size} of {size}"
            )
        itemsize = getattr(SAFETENSORS_DTYPES.get(entry.dtype), "itemsize", None)
        if itemsize is not None and prod(entry.shape) * itemsize != entry.size:
            raise damaged(
                f"tensor {name!r} of shape {entry.shape} does not fit its {entry.size} bytes"
            )
        entries[name] = entry
    return entries


def _entry(file: MappedFile, base: int, info: Any) -> _Entry | None:
    """The place a header's entry describes; None if it makes no sense."""
    try:
        start, end = info["data_offsets"]
        shape, dtype = tuple(info["shape"]), str(info["dtype"])
        if all(isinstance(n, int) and n >= 0 for n in (*shape, start, end, end - start)):
            return _Entry(file, dtype, shape, base + start, end - start)
    except (KeyError, TypeError, ValueError):
        pass
    return None


class BinWeights(_HFWeights):
    """Tensors of PyTorch .bin files, unpickled with weights_only: no code runs."""

    def __init__(self, folder: Path, files: list[Path]) -> None:
        super().__init__(folder, files)
        self.tensors: dict[str, Tensor] = {}
        for path in files:
            self.tensors |= _load_bin(path)

    def __len__(self) -> int:
        return len(self.tensors)

    def shape(self, name: str) -> tuple[int, ...] | None:
        """The shape of tensor `name`, or None if it is missing."""
        found = self.find(name, self.tensors)
        return found and _expert_shape(tuple(self.tensors[found[0]].shape), found[1])

    def read(self, name: str, dtype: torch.dtype) -> Tensor:
        """Tensor `name`; shares the mapped file when `dtype` is the stored type."""
        found = self.find(name, self.tensors)
        assert found is not None, name
        return _expert_part(self.tensors[found[0]], found[1]).to(dtype)

    def release(self, name: str) -> None:
        """Drop our reference: torch owns the mapping."""
        found = self.find(name, self.tensors)
        if found is not None and found[1] is None:
            self.tensors[found[0]] = torch.empty(0)

    def stored_dtype(self) -> str:
        """The type most elements are kept in."""
        count: Counter[torch.dtype] = Counter()
        for tensor in self.tensors.values():
            count[tensor.dtype] += tensor.numel()
        common = count.most_common(1)[0][0] if count else torch.float32
        return {torch.float16: "float16", torch.bfloat16: "bfloat16"}.get(common, "float32")


def _load_bin(path: Path) -> dict[str, Tensor]:
    for mapped in (True, False):  # files older than torch 1.6 cannot be mapped
        try:
            loaded = torch.load(path, map_location="cpu", weights_only=True, mmap=mapped)
        except pickle.UnpicklingError as error:
            raise CheckpointError(
                f"{path} cannot be unpickled safely",
                why=_first_line(error),
                fix="use a safetensors export of this model",
            ) from None
        except UNREADABLE as error:
            if mapped and "mmap" in str(error):
                continue
            raise CheckpointError(
                f"{path} is damaged", why=_first_line(error), fix="fetch the file again"
            ) from None
        if not isinstance(loaded, dict):
            raise CheckpointError(
                f"{path} holds no tensors by name",
                why=f"it is a {type(loaded).__name__}",
                fix="name a checkpoint saved as a state dictionary",
            )
        return {k: v for k, v in loaded.items() if isinstance(v, Tensor)}
    raise AssertionError("unreachable")


def _first_line(error: Exception) -> str:
    return (str(error).strip() or type(error).__name__).splitlines()[0]
