"""GGUF's quantised blocks: bytes to numbers and, for the simple types, back.

Each type packs a fixed number of elements of a row into a block of bytes: one or two float16 scales
and the small integers they multiply. Layouts: ggml; every type is held bit-equal to the `gguf`
package by tests/oracle/test_quant.py. Shapes: N blocks.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

import torch
from jaxtyping import Float, UInt8
from torch import Tensor

from midfill.kernels.blocks import BLOCKS, Block

Blocks = UInt8[Tensor, "N bytes"]
Values = Float[Tensor, "N elements"]

CHUNK = 1 << 18  # elements unpacked at a time: the temporaries stay in the cache


class Parts(NamedTuple):
    """Blocks taken apart. An element is d·scale·q - dmin·minimum; G groups of a block share both."""

    d: Float[Tensor, "N 1"]
    q: Float[Tensor, "N G each"]  # small whole numbers
    scale: Float[Tensor, "N G"] | None = None  # small whole numbers; None: one
    dmin: Float[Tensor, "N 1"] | None = None  # None: there are no minima
    minimum: Float[Tensor, "N G"] | None = None

    def scales(self) -> Float[Tensor, "N G"]:
        """What the numbers of each group are multiplied by."""
        return self.d if self.scale is None else self.d * self.scale

    def minima(self) -> Float[Tensor, "N G"] | None:
        """What is then taken off."""
        if self.dmin is None or self.minimum is None:
            return self.dmin
        return self.dmin * self.minimum

    def values(self) -> Values:
        """The elements."""
        minima, values = self.minima(), self.scales()[:, :, None] * self.q
        return (values if minima is None else values - minima[:, :, None]).flatten(1)


@dataclass(frozen=True, slots=True)
class BlockType(Block):
    """A tensor type that can be unpacked, and packed if it is a simple one."""

    unpack: Callable[[Blocks], Values]
    pack: Callable[[Values], Blocks] | None = None
    split: Callable[[Blocks], Parts] | None = None  # of quantised types


def _half(blocks: Tensor, at: int) -> Tensor:
    """The float16 at byte `at` of every block, as float32 [N, 1]."""
    return blocks[:, at : at + 2].contiguous().view(torch.float16).float()


def _nibbles(packed: Tensor) -> Tensor:
    """Low nibbles, then high nibbles: uint8 [N, k] -> float32 [N, 2k]."""
    return torch.cat([packed & 15, packed >> 4], dim=1).float()


def _fifth_bits(blocks: Tensor, at: int) -> Tensor:
    """The 32 bits at byte `at`, bit j for element j, as 0 or 16: float32 [N, 32]."""
    shifts = torch.arange(8, dtype=torch.uint8)
    bits = (blocks[:, at : at + 4, None] >> shifts) & 1
    return bits.reshape(len(blocks), 32).float() * 16


def _split_q8_0(blocks: Blocks) -> Parts:
    return Parts(_half(blocks, 0), blocks[:, None, 2:].view(torch.int8).float())


def _split_q4_0(blocks: Blocks) -> Parts:
    return Parts(_half(blocks, 0), (_nibbles(blocks[:, 2:]) - 8)[:, None])


def _split_q4_1(blocks: Blocks) -> Parts:
    return Parts(_half(blocks, 0), _nibbles(blocks[:, 4:])[:, None], dmin=-_half(blocks, 2))


def _split_q5_0(blocks: Blocks) -> Parts:
    q = _nibbles(blocks[:, 6:]) + _fifth_bits(blocks, 2) - 16
    return Parts(_half(blocks, 0), q[:, None])


def _split_q5_1(blocks: Blocks) -> Parts:
    q = _nibbles(blocks[:, 8:]) + _fifth_bits(blocks, 4)
    return Parts(_half(blocks, 0), q[:, None], dmin=-_half(blocks, 2))


def _k_parts(blocks: Tensor, q: Tensor) -> Parts:
    """The head of Q4_K and Q5_K, d, dmin, eight 6-bit scales and minima, with the numbers `q`."""
    s = blocks[:, 4:16]
    first, second, third = s[:, :4], s[:, 4:8], s[:, 8:]
    scale = torch.cat([first & 63, (third & 15) | ((first >> 6) << 4)], dim=1).float()
    minimum = torch.cat([second & 63, (third >> 4) | ((second >> 6) << 4)], dim=1).float()
    return Parts(_half(blocks, 0), q.float(), scale, _half(blocks, 2), minimum)


def _k_nibbles(packed: Tensor) -> Tensor:
    """Each 32-byte run holds one sub-block in its low, the next in its high nibbles: [N, 8, 32]."""
    runs = packed.reshape(len(packed), 4, 1, 32)
    return torch.cat([runs & 15, runs >> 4], dim=2).reshape(len(packed), 8, 32)


def _split_q4_k(blocks: Blocks) -> Parts:
    return _k_parts(blocks, _k_nibbles(blocks[:, 16:]))


def _split_q5_k(blocks: Blocks) -> Parts:
    shifts = torch.arange(8, dtype=torch.uint8)[:, None]
    fifth = ((blocks[:, None, 16:48] >> shifts) & 1) << 4
    return _k_parts(blocks, _k_nibbles(blocks[:, 48:]) | fifth)


def _split_q6_k(blocks: Blocks) -> Parts:
    low = blocks[:, :128].reshape(-1, 2, 1, 64)
    low = torch.cat([low & 15, low >> 4], dim=2).reshape(-1, 16, 16)
    q = (low | (_two_bits(blocks[:, 128:192]) << 4)).float() - 32
    return Parts(_half(blocks, 208), q, blocks[:, 192:208].view(torch.int8).float())


def _two_bits(packed: Tensor) -> Tensor:
    """Each 32-byte run holds four sub-blocks of 32, two bits each, lowest first: [N, 16, 16]."""
    shifts = torch.tensor([0, 2, 4, 6], dtype=torch.uint8)[:, None]
    return ((packed.reshape(-1, 2, 1, 32) >> shifts) & 3).reshape(-1, 16, 16)


def _split_q2_k(blocks: Blocks) -> Parts:
    both = blocks[:, :16]  # a scale in the low, a minimum in the high nibble, for each 16 elements
    scale, minimum = (both & 15).float(), (both >> 4).float()
    q = _two_bits(blocks[:, 16:80]).float()
    return Parts(_half(blocks, 80), q, scale, _half(blocks, 82), minimum)


def _split_q3_k(blocks: Blocks) -> Parts:
    low, high = blocks[:, 96:104], blocks[:, 104:108, None]  # of sixteen 6-bit scales
    shifts = torch.tensor([0, 2, 4, 6], dtype=torch.uint8)
    high = ((high >> shifts) & 3).transpose(1, 2).reshape(-1, 16)
    scale = (torch.cat([low & 15, low >> 4], dim=1) | (high << 4)).float() - 32
    third = (blocks[:, None, :32] >> torch.arange(8, dtype=torch.uint8)[:, None]) & 1
    q = (_two_bits(blocks[:, 32:96]) | (third.reshape(-1, 16, 16) << 2)).float() - 4
    return Parts(_half(blocks, 108), q, scale)


def _pack_q8_0(values: Values) -> Blocks:
    d = values.abs().amax(1, keepdim=True) / 127
    inverse = torch.where(d == 0, 0.0, 1 / d)
    scaled = values * inverse
    q = (scaled.abs() + 0.5).floor().copysign(scaled)  # halves away from zero, as ggml rounds
    return torch.cat([_bytes(d), q.to(torch.int8).view(torch.uint8)], dim=1)


def _pack_q4_0(values: Values) -> Blocks:
    at = values.abs().argmax(1, keepdim=True)
    d = values.gather(1, at) / -8
    inverse = torch.where(d == 0, 0.0, 1 / d)
    q = (values * inverse + 8.5).clamp(0, 15).to(torch.uint8)
    return torch.cat([_bytes(d), q[:, :16] | (q[:, 16:] << 4)], dim=1)


def _bytes(scale: Tensor) -> Tensor:
    """A float32 scale [N, 1] as the two bytes of its float16."""
    return scale.to(torch.float16).view(torch.uint8)


def _unpack_plain(dtype: torch.dtype) -> Callable[[Blocks], Values]:
    return lambda blocks: blocks.contiguous().view(dtype).float()


def _pack_plain(dtype: torch.dtype) -> Callable[[Values], Blocks]:
    return lambda values: values.to(dtype).contiguous().view(torch.uint8)


def _plain(name: str, dtype: torch.dtype) -> BlockType:
    b = BLOCKS[name]
    return BlockType(b.name, b.id, b.elements, b.bytes, _unpack_plain(dtype), _pack_plain(dtype))


def _type(name: str, split: Callable, pack: Callable | None = None) -> BlockType:
    def unpack(blocks: Blocks) -> Values:
        return split(blocks).values()

    b = BLOCKS[name]
    return BlockType(b.name, b.id, b.elements, b.bytes, unpack, pack, split)


TYPES = {
    kind.name: kind
    for kind in (
        _plain("F32", torch.float32),
        _plain("F16", torch.float16),
        _plain("BF16", torch.bfloat16),
        _type("Q4_0", _split_q4_0, _pack_q4_0),
        _type("Q4_1", _split_q4_1),
        _type("Q5_0", _split_q5_0),
        _type("Q5_1", _split_q5_1),
        _type("Q8_0", _split_q8_0, _pack_q8_0),
        _type("Q2_K", _split_q2_k),
        _type("Q3_K", _split_q3_k),
        _type("Q4_K", _split_q4_k),
        _type("Q5_K", _split_q5_k),
        _type("Q6_K", _split_q6_k),
    )
}
BY_ID = {kind.id: kind for kind in TYPES.values()}


def dequantise(raw: UInt8[Tensor, " bytes"], kind: BlockType, out: Tensor) -> None:
    """Fill `out` (any shape and float dtype) with the numbers packed in `raw`, chunk by chunk."""
    flat = out.view(-1)
    step = max(CHUNK // kind.elements, 1)
    for start in range(0, flat.numel() // kind.elements, step):
        blocks = raw[start * kind.bytes : (start + step) * kind.bytes].view(-1, kind.bytes)
        values = kind.unpack(blocks).reshape(-1)
        flat[start * kind.elements : start * kind.elements + values.numel()].copy_(values)


def quantise(values: Tensor, kind: BlockType) -> UInt8[Tensor, " bytes"]:
    """The bytes of `values` packed row by row; rows must be a multiple of the block."""
    assert kind.pack is not None, kind.name
    assert values.shape[-1] % kind.elements == 0, (values.shape, kind.name)
    flat = values.reshape(-1)
    out = torch.empty(flat.numel() // kind.elements * kind.bytes, dtype=torch.uint8)
    step = max(CHUNK // kind.elements, 1) * kind.elements
    for start in range(0, flat.numel(), step):
        packed = kind.pack(flat[start : start + step].float().view(-1, kind.elements)).reshape(-1)
        at = start // kind.elements * kind.bytes
        out[at : at + packed.numel()] = packed
    return out
