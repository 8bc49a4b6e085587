"""Every block type against the `gguf` package on random blocks; packing against it too."""

import gguf
import numpy as np
import pytest
import torch

from midfill.kernels import quant

BLOCKED = [t for t in quant.TYPES.values() if t.elements > 1]


def random_blocks(kind: quant.BlockType, seed: int, n: int = 300) -> np.ndarray:
    """Random bytes whose float16 scales are finite, as they are in any real file."""
    rng = np.random.default_rng(seed)
    raw = rng.integers(0, 256, (n, kind.bytes), dtype=np.uint8)
    halves = {"Q6_K": (208,), "Q4_1": (0, 2), "Q5_1": (0, 2), "Q4_K": (0, 2), "Q5_K": (0, 2)}
    for at in halves.get(kind.name, (0,)):
        raw[:, at : at + 2] = rng.normal(0, 0.1, (n, 1)).astype(np.float16).view(np.uint8)
    return raw


@pytest.mark.parametrize("kind", BLOCKED, ids=lambda t: t.name)
@pytest.mark.parametrize("seed", [0, 1])
def test_unpacking_is_bit_equal_to_gguf(kind: quant.BlockType, seed: int):
    raw = random_blocks(kind, seed)
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
    raw = torch.from_numpy(random_blocks(kind, 5).reshape(-1))
    whole, pieces = torch.empty(300 * 256), torch.empty(300 * 256)
    quant.dequantise(raw, kind, whole)
    monkeypatch.setattr(quant, "CHUNK", 7 * 256)
    quant.dequantise(raw, kind, pieces)
    assert torch.equal(whole, pieces)
