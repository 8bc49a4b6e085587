"""The GGUF container: metadata and tensors in one file, read by mapping, written in one pass.

Layout: magic, version 3, counts, key/value pairs, tensor table, then the aligned data. Dimensions
are stored innermost first; here shapes are always outermost first, as in torch. Torch is imported
only to hand out tensors.
"""

import mmap
import struct
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from math import prod
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO

from midfill.errors import CheckpointError
from midfill.kernels.blocks import BY_ID, UNREADABLE

if TYPE_CHECKING:
    from torch import Tensor

MAGIC = b"GGUF"
ALIGNMENT = 32
SCALARS = {
    0: "B",
    1: "b",
    2: "H",
    3: "h",
    4: "I",
    5: "i",
    6: "f",
    7: "?",
    10: "Q",
    11: "q",
    12: "d",
}
FLOAT32, STRING, ARRAY = 6, 8, 9


@dataclass(frozen=True, slots=True)
class TensorInfo:
    """One row of the tensor table."""

    name: str
    shape: tuple[int, ...]  # outermost first
    type_id: int
    offset: int  # bytes from the start of the file

    @property
    def elements(self) -> int:
        """Numbers stored."""
        return prod(self.shape)

    @property
    def type_name(self) -> str:
        """The type's name, also of types that cannot be read."""
        known = BY_ID.get(self.type_id)
        return known.name if known else UNREADABLE.get(self.type_id, f"type {self.type_id}")

    @property
    def size(self) -> int:
        """Bytes stored; 0 for a type that cannot be read."""
        known = BY_ID.get(self.type_id)
        return self.elements // known.elements * known.bytes if known else 0


class GGUFFile:
    """A GGUF file's metadata and tensor table; data stays on disk until it is asked for."""

    def __init__(self, path: Path) -> None:
        """Read the header of `path`. Raises CheckpointError if it is not a sound GGUF file."""
        self.path = path
        self.bytes = path.stat().st_size
        if self.bytes < 24:
            raise self._damaged(f"it has {self.bytes} bytes; a GGUF header has at least 24")
        with path.open("rb") as file:
            self._map = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
        self._at = 0
        self._check_magic()
        try:
            tensors, pairs = self._scalar("Q"), self._scalar("Q")
            self.metadata: dict[str, Any] = {}
            for _ in range(pairs):
                key = self._string()
                self.metadata[key] = self._value(self._scalar("I"))
            table = [self._tensor_row() for _ in range(tensors)]
        except (struct.error, KeyError, OverflowError, MemoryError, RecursionError) as error:
            raise self._damaged(f"its header breaks off or is garbled ({error})") from None
        alignment = self.metadata.get("general.alignment", ALIGNMENT)
        if not isinstance(alignment, int) or alignment < 1:
            raise self._damaged(f"its alignment is {alignment!r}")
        base = -(-self._at // alignment) * alignment
        self.tensors = {
            name: TensorInfo(name, shape, kind, base + offset)
            for name, shape, kind, offset in table
        }
        self._map.close()
        for info in self.tensors.values():
            if info.offset + info.size > self.bytes:
                end = info.offset + info.size
                raise self._damaged(
                    f"it is cut off: {info.name} ends at byte {end} of {self.bytes}"
                )

    @property
    def architecture(self) -> str:
        """The value of general.architecture."""
        return str(self.metadata.get("general.architecture", ""))

    def _damaged(self, why: str) -> CheckpointError:
        return CheckpointError(f"{self.path} is damaged", why=why, fix="fetch the file again")

    def _check_magic(self) -> None:
        magic, version = self._map[:4], int.from_bytes(self._map[4:8], "little")
        if magic != MAGIC:
            raise CheckpointError(
                f"{self.path} is not a GGUF file",
                why=f"it begins with {magic!r} instead of {MAGIC!r}",
                fix="name a .gguf file, or a folder with config.json and *.safetensors",
            )
        if version not in (2, 3):
            raise CheckpointError(
                f"{self.path} is GGUF version {version}",
                why="midfill reads the little-endian versions 2 and 3",
                fix="convert the model again with a current converter",
            )
        self._at = 8

    def _scalar(self, code: str) -> Any:
        (value,) = struct.unpack_from("<" + code, self._map, self._at)
        self._at += struct.calcsize("<" + code)
        return value

    def _string(self) -> str:
        length = self._scalar("Q")
        if length > self.bytes - self._at:
            raise struct.error(f"a string of {length} bytes")
        raw = self._map[self._at : self._at + length]
        self._at += length
        return raw.decode("utf-8", errors="replace")

    def _value(self, kind: int) -> Any:
        if kind == STRING:
            return self._string()
        if kind == FLOAT32:  # the shortest decimal: 1e-5, not 9.99999974737875e-06
            return float(f"{self._scalar('f'):.8g}")
        if kind != ARRAY:
            return self._scalar(SCALARS[kind])
        inner, count = self._scalar("I"), self._scalar("Q")
        if count > self.bytes:
            raise struct.error(f"an array of {count} elements")
        if inner in SCALARS:
            values = struct.unpack_from(f"<{count}{SCALARS[inner]}", self._map, self._at)
            self._at += struct.calcsize(f"<{count}{SCALARS[inner]}")
            return list(values)
        return [self._value(inner) for _ in range(count)]

    def _tensor_row(self) -> tuple[str, tuple[int, ...], int, int]:
        name = self._string()
        dims = [self._scalar("Q") for _ in range(self._scalar("I"))]
        return name, tuple(reversed(dims)), self._scalar("I"), self._scalar("Q")


@dataclass(frozen=True, slots=True)
class TensorOut:
    """A tensor to write: its row of the table, and the bytes, made when they are due."""

    name: str
    shape: tuple[int, ...]  # outermost first
    type_id: int
    parts: Callable[[], Iterator["Tensor"]]  # uint8 pieces in order

    @property
    def size(self) -> int:
        """Bytes it will take."""
        block = BY_ID[self.type_id]
        return prod(self.shape) // block.elements * block.bytes


def write_gguf(
    path: Path,
    metadata: Mapping[str, Any],
    tensors: list[TensorOut],
    progress: Callable[[int, int], None] | None = None,
) -> None:
    """Write a GGUF file; it appears under its name only when it is complete."""
    total = sum(t.size for t in tensors)
    temporary = path.with_name(path.name + ".part")
    try:
        with temporary.open("wb") as file:
            _write_header(file, metadata, tensors)
            done = 0
            for tensor in tensors:
                _pad(file)
                for part in tensor.parts():
                    file.write(part.numpy().data)
                done += tensor.size
                if progress is not None:
                    progress(done, total)
            _pad(file)
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


def _write_header(file: BinaryIO, metadata: Mapping[str, Any], tensors: list[TensorOut]) -> None:
    file.write(MAGIC + struct.pack("<IQQ", 3, len(tensors), len(metadata)))
    for key, value in metadata.items():
        file.write(_packed_string(key))
        file.write(_packed_value(value))
    offset = 0
    for t in tensors:
        file.write(_packed_string(t.name))
        file.write(struct.pack(f"<I{len(t.shape)}Q", len(t.shape), *reversed(t.shape)))
        file.write(struct.pack("<IQ", t.type_id, offset))
        offset += -(-t.size // ALIGNMENT) * ALIGNMENT


def _pad(file: BinaryIO) -> None:
    file.write(b"\0" * (-file.tell() % ALIGNMENT))


def _packed_string(text: str) -> bytes:
    raw = text.encode("utf-8")
    return struct.pack("<Q", len(raw)) + raw


def _packed_value(value: Any) -> bytes:
    if isinstance(value, list):
        kind = _kind(value[0]) if value else STRING
        if value and all(isinstance(v, int) and not isinstance(v, bool) for v in value):
            kind = 5  # token types are int32 in every file
        packed = b"".join(_packed_bare(v, kind) for v in value)
        return struct.pack("<IIQ", ARRAY, kind, len(value)) + packed
    kind = _kind(value)
    return struct.pack("<I", kind) + _packed_bare(value, kind)


def _kind(value: Any) -> int:
    if isinstance(value, str):
        return STRING
    if isinstance(value, bool):
        return 7
    if isinstance(value, float):
        return 6
    return 4 if value >= 0 else 5


def _packed_bare(value: Any, kind: int) -> bytes:
    return _packed_string(value) if kind == STRING else struct.pack("<" + SCALARS[kind], value)
