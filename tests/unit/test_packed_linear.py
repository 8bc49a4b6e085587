"""Packed layers compute what the plain ones do; a packed network is the same network."""

import pytest
import torch
from torch import nn

import midfill
from midfill.kernels.linear import PackedLinear, can_pack

needs_packing = pytest.mark.skipif(
    not can_pack(), reason="this build of torch packs no bfloat16 weights"
)


@needs_packing
@pytest.mark.parametrize("shape", [(7,), (1, 7), (3, 7), (2, 5, 7), (0, 7)])
@pytest.mark.parametrize("bias", [False, True])
def test_a_packed_layer_is_the_layer(shape: tuple[int, ...], bias: bool):
    torch.manual_seed(0)
    layer = nn.Linear(7, 5, bias=bias, dtype=torch.bfloat16).requires_grad_(False)
    x = torch.randn(shape, dtype=torch.bfloat16)
    torch.testing.assert_close(PackedLinear(layer)(x), layer(x))


@needs_packing
def test_a_packed_network_is_the_network(tiny_folder, monkeypatch: pytest.MonkeyPatch):
    packed = midfill.load(tiny_folder, dtype="bfloat16", device="cpu")
    assert any(isinstance(m, PackedLinear) for m in packed.network.modules())
    monkeypatch.setattr("midfill.engine.load.can_pack", lambda: False)
    plain = midfill.load(tiny_folder, dtype="bfloat16", device="cpu")
    ids = list(range(60))
    off = abs(packed.logits(ids) - plain.logits(ids))
    assert off.mean() < 0.05  # sums may be taken in another order
