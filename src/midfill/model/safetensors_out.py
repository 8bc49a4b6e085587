"""Writing safetensors one tensor at a time: memory for one, however large the file is."""

import json
from collections.abc import Callable, Iterable
from math import prod
from pathlib import Path

import torch
from torch import Tensor

from midfill.model.weights import dtype_in_file

NAMES = {torch.float32: "F32", torch.float16: "F16", torch.bfloat16: "BF16"}


def write_safetensors(
    path: Path,
    shapes: Iterable[tuple[str, tuple[int, ...]]],
    dtype: torch.dtype,
    read: Callable[[str], Tensor],
) -> int:
    """Write the named tensors, each fetched by `read` when its turn comes; return their bytes.

    The file appears under its name only when it is complete.
    """
    header: dict[str, object] = {"__metadata__": {"format": "pt"}}
    offset = 0
    names = []
    for name, shape in shapes:
        kind = dtype_in_file(name, dtype)
        size = prod(shape) * kind.itemsize
        entry = {
            "dtype": NAMES[kind],
            "shape": list(shape),
            "data_offsets": [offset, offset + size],
        }
        header[name] = entry
        names.append(name)
        offset += size
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    temporary = path.with_name(path.name + ".part")
    try:
        with temporary.open("wb") as file:
            file.write(len(text).to_bytes(8, "little") + text)
            for name in names:
                flat = read(name).to(dtype_in_file(name, dtype)).contiguous().view(-1)
                file.write(flat.view(torch.uint8).numpy().data)
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)
    return offset
