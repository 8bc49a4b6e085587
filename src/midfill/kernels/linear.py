"""Linear layers with the weights laid out as oneDNN wants them: the same numbers, read faster.

A bfloat16 product of one row reads row-major weights at half the speed of the memory. In oneDNN's own
layout it reads them at full speed (bench/decode_speed.py), and no product is slower.
"""

from functools import cache

import torch
from jaxtyping import Float
from torch import Tensor, nn


@cache
def can_pack() -> bool:
    """Whether this build of torch packs and multiplies bfloat16 weights; it is not a public interface."""
    try:
        layer = nn.Linear(4, 3, bias=False, dtype=torch.bfloat16).requires_grad_(False)
        x = torch.ones(2, 4, dtype=torch.bfloat16)
        return torch.allclose(PackedLinear(layer)(x), layer(x), atol=1e-2)
    except (RuntimeError, AttributeError, NotImplementedError):
        return False


class PackedLinear(nn.Module):
    """What a bfloat16 nn.Linear computes, for inference on a processor; keeps its own copy."""

    def __init__(self, layer: nn.Linear) -> None:
        super().__init__()
        self.rows = layer.out_features
        self.packed = torch.ops.mkldnn._reorder_linear_weight(layer.weight.detach(), 1)
        self.bias = layer.bias

    def forward(self, x: Float[Tensor, "*batch D"]) -> Float[Tensor, "*batch rows"]:
        """x times the weights, plus the bias."""
        flat = x.reshape(-1, x.shape[-1])
        out = torch.ops.mkldnn._linear_pointwise(flat, self.packed, self.bias, "none", [], "")
        return out.view(*x.shape[:-1], self.rows)
