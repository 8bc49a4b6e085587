"""RMSNorm, the only normalisation of these models."""

from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn

from midfill.kernels.autocast import product_dtype


class RMSNorm(nn.Module):
    """Scale to unit root mean square, then by a learned weight. Source: arXiv 1910.07467."""

    def __init__(self, width: int, eps: float) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(width))
        self.eps = eps

    def forward(self, x: Float[Tensor, "*batch D"]) -> Float[Tensor, "*batch D"]:
        """Statistics in float32; the result is rounded to x's type before the weight, as trained.

        Under autocast it comes out in autocast's type: products would round it to that anyway.
        """
        dtype = product_dtype(x)
        if torch.is_grad_enabled() and (x.requires_grad or self.weight.requires_grad):
            return _Norm.apply(x, self.weight, self.eps).to(dtype)
        wide = x.float()
        return (self.weight * (wide * _scale(wide, self.eps)).to(x.dtype)).to(dtype)


def _scale(wide: Float[Tensor, "*batch D"], eps: float) -> Float[Tensor, "*batch 1"]:
    return torch.rsqrt(wide.square().mean(-1, keepdim=True) + eps)


class _Norm(torch.autograd.Function):
    """The same with a gradient that passes over x as seldom as it can, and keeps x alone."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, eps: float) -> Tensor:
        wide = x if x.dtype == torch.float64 else x.float()
        scale = _scale(wide, eps)
        ctx.save_for_backward(x, weight, scale)
        return weight * (wide * scale).to(x.dtype)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:
        x, weight, scale = ctx.saved_tensors
        unit = x.to(scale.dtype) * scale
        grad = grads[0].to(scale.dtype)
        product = grad * unit
        grad_weight = product.sum(tuple(range(x.dim() - 1))).to(weight.dtype)
        along = (product @ weight.to(scale.dtype) / x.shape[-1])[..., None]
        grad_x = grad.mul(weight).addcmul_(unit, along, value=-1).mul_(scale)
        return grad_x.to(x.dtype), grad_weight, None
