"""Rotary position embedding, with linear, YaRN and Llama 3 stretching.

Sources: DeepSeek-Coder §3.6 (linear), DeepSeek-V2 §3.1.4 and arXiv 2309.00071 §3.2 (YaRN).
Shapes: B batch, S new tokens, H heads, R rotary width.
"""

import math

import torch
from jaxtyping import Float, Int
from torch import Tensor

from midfill.config.model import LinearScaling, Llama3Scaling, RopeConfig, YarnScaling

Angles = tuple[Float[Tensor, "B S 1 half"], Float[Tensor, "B S 1 half"]]  # cos, sin


def inverse_frequencies(config: RopeConfig) -> Float[Tensor, " half"]:
    """Radians per token of each rotary pair, float32.

    The order of the operations is part of the contract: the released models were trained with it,
    and an algebraically equal form moves logits by 4e-2 at position 160,000.
    """
    powers = config.theta ** (
        torch.arange(0, config.dim, 2, dtype=torch.int64).float() / config.dim
    )
    plain = 1.0 / powers
    scaling = config.scaling
    if scaling is None:
        return plain
    if isinstance(scaling, LinearScaling):
        return plain / scaling.factor
    if isinstance(scaling, Llama3Scaling):
        return _llama3(plain, scaling)
    stretched = 1.0 / (scaling.factor * powers)
    keep = 1 - _yarn_ramp(config, scaling)
    return stretched * (1 - keep) + plain * keep


def _yarn_ramp(config: RopeConfig, scaling: YarnScaling) -> Float[Tensor, " half"]:
    """0 for pairs that keep their frequency, 1 for pairs stretched in full."""

    def pair_with_turns(turns: float) -> float:  # which pair turns this often in `trained` tokens
        return (
            config.dim
            * math.log(scaling.trained / (turns * 2 * math.pi))
            / (2 * math.log(config.theta))
        )

    low, high = pair_with_turns(scaling.fast), pair_with_turns(scaling.slow)
    if scaling.truncate:
        low, high = math.floor(low), math.ceil(high)
    low, high = max(low, 0), min(high, config.dim - 1)
    if low == high:
        high += 0.001
    pairs = torch.arange(config.dim // 2, dtype=torch.float32)
    return ((pairs - low) / (high - low)).clamp(0, 1)


def _llama3(plain: Tensor, scaling: Llama3Scaling) -> Tensor:
    wavelength = 2 * math.pi / plain
    long, short = scaling.trained / scaling.low, scaling.trained / scaling.high
    smooth = (scaling.trained / wavelength - scaling.low) / (scaling.high - scaling.low)
    between = (1 - smooth) * plain / scaling.factor + smooth * plain
    stretched = torch.where(wavelength > long, plain / scaling.factor, plain)
    return torch.where((wavelength <= long) & (wavelength >= short), between, stretched)


def magnitude(config: RopeConfig) -> float:
    """The factor on cos and sin: g(mscale) / g(mscale_all_dim), 1 for the released models."""
    scaling = config.scaling
    if not isinstance(scaling, YarnScaling):
        return 1.0
    if scaling.attention_factor is not None:
        return scaling.attention_factor
    if scaling.mscale and scaling.mscale_all_dim:
        return _g(scaling.factor, scaling.mscale) / _g(scaling.factor, scaling.mscale_all_dim)
    return _g(scaling.factor, 1.0)


def mla_scale(config: RopeConfig, width: int) -> float:
    """The softmax scale of latent attention over keys of `width`: width^-0.5 times g^2.

    Leaving out g^2 is the best-known bug of other implementations.
    """
    scaling = config.scaling
    scale = width**-0.5
    if isinstance(scaling, YarnScaling) and scaling.mscale_all_dim:
        scale *= _g(scaling.factor, scaling.mscale_all_dim) ** 2
    return scale


def _g(factor: float, mscale: float) -> float:
    return 0.1 * mscale * math.log(factor) + 1.0 if factor > 1 else 1.0


class Rotary:
    """Cosines and sines for positions; not a Module, so no cast of the model rounds it."""

    def __init__(self, config: RopeConfig) -> None:
        self.inv_freq = inverse_frequencies(config)
        self.magnitude = magnitude(config)

    def __call__(self, positions: Int[Tensor, "B S"]) -> Angles:
        """cos and sin of every pair's angle, float32, with a dimension for the heads."""
        if self.inv_freq.device != positions.device:
            self.inv_freq = self.inv_freq.to(positions.device)
        angle = positions[:, :, None, None].float() * self.inv_freq
        if self.magnitude == 1.0:
            return angle.cos(), angle.sin()
        return angle.cos() * self.magnitude, angle.sin() * self.magnitude


def rotate_halves(x: Float[Tensor, "B S H R"], angles: Angles) -> Float[Tensor, "B S H R"]:
    """Rotate the pairs (i, i + R/2): the layout of llama and qwen2 in Hugging Face files."""
    cos, sin = angles
    a, b = x.float().chunk(2, dim=-1)
    return torch.cat([a * cos - b * sin, b * cos + a * sin], dim=-1).to(x.dtype)


def rotate_pairs(x: Float[Tensor, "B S H R"], angles: Angles) -> Float[Tensor, "B S H R"]:
    """Rotate the neighbouring pairs (2i, 2i + 1): the layout of latent attention."""
    cos, sin = angles
    a, b = x.float().unflatten(-1, (-1, 2)).unbind(-1)
    return torch.stack([a * cos - b * sin, a * sin + b * cos], dim=-1).flatten(-2).to(x.dtype)
