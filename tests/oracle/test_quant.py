"""Every block type against the `gguf` package on random blocks; packing against it too."""

import gguf
import numpy as np
import pytest
import torch

from midfill.kernels import quant
from random_blocks import random_blocks

BLOCKED = [t for t in quant.TYPES.values() if t.elements > 1]


@pytest.mark.parametrize("kind", BLOCKED, ids=lambda t: t.name)
@pytest.mark.parametrize("seed", [0, 1])
def test_unpacking_is_bit_equal_to_gguf(kind: quant.BlockType, seed: int):
    raw = random_blocks(kind.name, 300, seed)
    want = gguf.quants.dequantize(raw.reshape(-1), gguf.GGMLQuantizationType(kind.id))
    got = torch.empty(300 * kind.elements)
    quant.dequantise(torch.from_numpy(raw.reshape(-1)), kind, got)
    np.testing.assert_array_equal(got.numpy(), want)


@pytest.mark.parametrize("name", ["Q8_0", "Q4_0", "BF16", "F16"])
def test_packing_is_bit_equal_to_gguf(name: str):
    kind = quant.TYPES[name]
    values = torch.randn(40, 96, generator=torch.Generator().manual_seed(2))
    values[3] = 0
    want = gguf.quants.quantize(values.numpy(), gguf.GGMLQuantizationType(kind.id))
    got = quant.quantise(values, kind)
    np.testing.assert_array_equal(got.numpy(), want.reshape(-1).view(np.uint8))


def test_block_sizes_are_those_of_gguf():
    for kind in quant.TYPES.values():
        sizes = gguf.GGML_QUANT_SIZES[gguf.GGMLQuantizationType(kind.id)]
        assert sizes == (kind.elements, kind.bytes)


def test_chunks_join_without_a_seam(monkeypatch: pytest.MonkeyPatch):
    kind = quant.TYPES["Q4_K"]
    raw = torch.from_numpy(random_blocks(kind.name, 300, 5).reshape(-1))
    whole, pieces = torch.empty(300 * 256), torch.empty(300 * 256)
    quant.dequantise(raw, kind, whole)
    monkeypatch.setattr(quant, "CHUNK", 7 * 256)
    quant.dequantise(raw, kind, pieces)
    assert torch.equal(whole, pieces)
