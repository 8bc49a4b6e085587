"""Matrices in the layout of the compiled kernels, and what those kernels compute, readably.

A matrix is cut into panels of 16 rows; in a panel, one vector of 64 bytes holds four columns of all
16 rows. Nothing is rounded: the bytes of the file can be had back. native/formats.h draws the blocks.
Packing needs the extension; `pack_reference` and `linear_reference` are what tests hold it to.
"""

from dataclasses import dataclass
from types import ModuleType

import numpy as np
import torch
from jaxtyping import Float, Float32, Int32, UInt8
from torch import Tensor

from midfill.kernels.cpu import native, why_not
from midfill.kernels.quant import TYPES, Parts, dequantise

Bytes = UInt8[np.ndarray, " bytes"]
PANEL = 16  # rows
GROUP = 32  # columns that share the scale of an activation
KINDS = tuple(TYPES) if native is None else tuple(native.KINDS)
OFFSET = {"Q8_0": 128, "Q4_0": 8, "Q5_0": 16, "Q6_K": 32, "Q3_K": 4}  # makes the numbers unsigned


@dataclass(frozen=True, slots=True, eq=False)
class PackedMatrix:
    """A matrix [rows, cols] in panels, and the bias of its product if there is one."""

    kind: str
    rows: int
    cols: int
    data: Bytes
    bias: Float32[np.ndarray, " rows"] | None = None

    def unpack(self) -> Bytes:
        """The rows as a GGUF file holds them."""
        type_ = TYPES[self.kind]
        out = np.empty(self.rows * self.cols // type_.elements * type_.bytes, np.uint8)
        _extension().unpack(_id(self.kind), self.data, self.rows, self.cols, out)
        return out

    def values(self, dtype: torch.dtype = torch.float32) -> Float[Tensor, "rows cols"]:
        """The numbers."""
        out = torch.empty(self.rows, self.cols, dtype=dtype)
        dequantise(torch.from_numpy(self.unpack()), TYPES[self.kind], out)
        return out

    def read_rows(self, ids: Int32[np.ndarray, " ids"]) -> Float32[np.ndarray, "ids cols"]:
        """Some rows' numbers: how an embedding is looked up."""
        out = np.empty((len(ids), self.cols), np.float32)
        _extension().read_rows(_id(self.kind), self.data, self.rows, self.cols, ids, out)
        return out

    def nonfinite(self) -> int:
        """How many numbers, or scales of a quantised matrix, are NaN or infinite."""
        return _extension().count_nonfinite(_id(self.kind), self.data, self.rows, self.cols)


def packed_bytes(kind: str, rows: int, cols: int) -> int:
    """Bytes of a packed matrix."""
    return _extension().packed_bytes(_id(kind), rows, cols)


def pack(
    kind: str,
    raw: Bytes,
    rows: int,
    cols: int,
    source_rows: Int32[np.ndarray, " rows"] | None = None,
) -> PackedMatrix:
    """`rows` rows of GGUF blocks or plain numbers; row i is row `source_rows[i]` of `raw`."""
    out = np.empty(packed_bytes(kind, rows, cols), np.uint8)
    _extension().pack(_id(kind), raw, source_rows, rows, cols, out)
    return PackedMatrix(kind, rows, cols, out)


def _extension() -> ModuleType:
    assert native is not None, why_not
    return native


def _id(kind: str) -> int:
    return _extension().KINDS[kind]


# ----------------------------------------------------------------------------------- the references


def pack_reference(kind: str, raw: UInt8[Tensor, " bytes"], rows: int, cols: int) -> Tensor:
    """What `pack` does, from the numbers of the blocks instead of their bytes."""
    type_ = TYPES[kind]
    if type_.split is None:  # words of four bytes: one number, or two
        row_bytes = torch.nn.functional.pad(raw.view(rows, -1), (0, -cols * type_.bytes % 4))
        return _across(row_bytes.view(rows, -1, 1, 4)).flatten()
    parts = type_.split(raw.view(-1, type_.bytes))
    heads, small = _scale_bytes(kind, parts)
    unsigned = (parts.q + OFFSET.get(kind, 0)).to(torch.uint8)
    runs = _across(unsigned.view(rows, cols // type_.elements, -1, 4))  # [P, B, runs, 64]
    runs = runs.unflatten(2, (-1, GROUP // 4))
    pieces = [_across(s.view(rows, *runs.shape[1:3], 1)) for s in small] + _number_bytes(kind, runs)
    subs = torch.cat([piece.flatten(3) for piece in pieces], dim=-1).flatten(2)
    heads = [_across(h.view(rows, runs.shape[1], 2)) for h in heads]
    return torch.cat([*heads, subs], dim=-1).flatten()


def _across(x: UInt8[Tensor, "rows B *rest"]) -> Tensor:
    """Rows padded to panels and moved inside, before the last dimension: [P, B, *, 16 · last]."""
    x = torch.cat([x, x.new_zeros(-len(x) % PANEL, *x.shape[1:])])
    return x.unflatten(0, (-1, PANEL)).movedim(1, -2).flatten(-2)


def _scale_bytes(kind: str, parts: Parts) -> tuple[list[Tensor], list[Tensor]]:
    """The float16 of each block, and the small scales of each group of 32 as columns of bytes."""
    halves = [parts.d]
    if parts.dmin is not None:
        halves.append(parts.dmin if parts.minimum is not None else -parts.dmin)
    small = []
    for factors in (parts.scale, parts.minimum):
        if factors is not None:
            by_group = factors.to(torch.int8).view(torch.uint8).unflatten(1, (8, -1))
            small += list(by_group.unbind(2))
    return [half.to(torch.float16).view(torch.uint8) for half in halves], small


def _number_bytes(kind: str, runs: UInt8[Tensor, "P B S 8 64"]) -> list[Tensor]:
    """The unsigned numbers of each group of 32, spread over its vectors bit by bit."""

    def two_bits(shift: int) -> Tensor:
        parts = ((runs >> shift) & 3).unflatten(3, (2, 4))
        return sum(parts[..., i, :] << 2 * i for i in range(4))  # type: ignore[return-value]

    def one_bit(shift: int) -> Tensor:
        bits = ((runs >> shift) & 1).unflatten(4, (8, 8))
        return sum(bits[..., i] << i for i in range(8))  # type: ignore[return-value]

    if kind == "Q8_0":
        return [runs]
    if kind == "Q2_K":
        return [two_bits(0)]
    if kind == "Q3_K":
        return [two_bits(0), one_bit(2)]
    nibbles = (runs[..., :4, :] & 15) | (runs[..., 4:, :] << 4)
    upper = {"Q5_0": one_bit, "Q5_1": one_bit, "Q5_K": one_bit, "Q6_K": two_bits}.get(kind)
    return [nibbles] if upper is None else [nibbles, upper(4)]


def quantise_activations(
    x: Float32[Tensor, "M cols"],
) -> tuple[Float32[Tensor, "M G 32"], Float32[Tensor, "M G"]]:
    """Whole numbers -127 ... 127 and the scale of each group of 32, both as float32."""
    groups = x.unflatten(1, (-1, GROUP))
    largest = groups.abs().amax(2)
    most = torch.full_like(largest, 127.0)  # a number over a tensor would be rounded twice
    inverse = torch.where(largest > 0, most / largest, 0.0)
    return (groups * inverse[:, :, None]).round(), largest / most  # halves to the even number


def linear_reference(x: Float32[Tensor, "M cols"], matrix: PackedMatrix) -> Tensor:
    """x times the transposed matrix, plus its bias, as the kernels compute it.

    BF16: activations are rounded to it. Quantised: activations in int8, whole numbers multiplied
    and summed exactly over each group of columns that shares a scale, then scaled and summed in
    float32, group after group.
    """
    type_ = TYPES[matrix.kind]
    bias = 0 if matrix.bias is None else torch.from_numpy(matrix.bias.copy())
    if type_.split is None:
        x = x.bfloat16().float() if matrix.kind == "BF16" else x
        return x @ matrix.values().T + bias
    parts = type_.split(torch.from_numpy(matrix.unpack()).view(-1, type_.bytes))
    scales, minima = parts.scales().view(matrix.rows, -1), parts.minima()
    q = parts.q.view(matrix.rows, scales.shape[1], -1)
    whole, activation = quantise_activations(x)
    whole = whole.flatten(1).unflatten(1, (scales.shape[1], -1))
    activation = activation.repeat_interleave(GROUP // whole.shape[2], dim=1)
    out = torch.zeros(len(x), matrix.rows)
    for g in range(scales.shape[1]):
        out += scales[:, g] * activation[:, g, None] * (whole[:, g] @ q[:, g].T)
        if minima is not None:
            minimum = minima.view(matrix.rows, -1)[:, g]
            out -= minimum * activation[:, g, None] * whole[:, g].sum(1, keepdim=True)
    return out + bias
