"""Where weights are read from: one interface over every file format.

A `Weights` answers to the names of `ModelConfig.tensors()`: the original DeepSeek / Hugging Face
ones, one tensor per expert, whatever the spelling in the file is.
"""

from typing import Protocol

import torch
from torch import Tensor

from midfill.config.model import CHOICE_BIAS

DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16}


def dtype_in_file(name: str, dtype: torch.dtype) -> torch.dtype:
    """The type of tensor `name` in a checkpoint of `dtype`: rounding the bias would move choices."""
    return torch.float32 if name.endswith(CHOICE_BIAS) else dtype


class Weights(Protocol):
    """The tensors of one checkpoint, read one at a time."""

    where: str  # the file or folder, for messages

    def shape(self, name: str) -> tuple[int, ...] | None:
        """The shape of tensor `name`, or None if the checkpoint lacks it."""
        ...

    def read(self, name: str, dtype: torch.dtype) -> Tensor:
        """Tensor `name` in `dtype`; shares the file's memory if it is stored just so."""
        ...

    def release(self, name: str) -> None:
        """Give back the memory of the file's copy of `name`: the caller has its own now."""
        ...

    def stored_dtype(self) -> str:
        """The type most of the matrices are kept in: float32, float16 or bfloat16."""
        ...

    def file_bytes(self) -> int:
        """Bytes of all files."""
        ...

    def __len__(self) -> int:
        """How many tensors the files hold."""
        ...
