"""What a step costs, and what this machine could do: model FLOP utilisation is their ratio."""

import time

import torch

from midfill.config.model import GQAConfig, ModelConfig

SIDE = {"cpu": 1024, "cuda": 8192}  # of the square matrices whose product is timed
SECONDS = 0.3


def flops_per_token(config: ModelConfig, length: int) -> float:
    """Floating-point operations of a training step, forward and backward, for each token.

    Six for every weight a token passes, the head among them, and for causal attention twice a
    product of each token with half of the others. Computing activations again is not counted.
    """
    a = config.attention
    if isinstance(a, GQAConfig):
        width = a.heads * 2 * a.head_dim
    else:
        width = a.heads * (a.nope_dim + a.rope_dim + a.v_dim)
    return 6 * config.active_parameters + 6 * config.layers * width * length / 2


def measured_peak(device: torch.device, dtype: torch.dtype) -> float:
    """Floating-point operations per second of a large product in `dtype`, the best of many."""
    side = SIDE.get(device.type, 1024)
    a = torch.ones(side, side, dtype=dtype, device=device)
    best, end = float("inf"), time.perf_counter() + SECONDS
    while time.perf_counter() < end:
        start = time.perf_counter()
        torch.mm(a, a)
        if device.type == "cuda":
            torch.cuda.synchronize()
        best = min(best, time.perf_counter() - start)
    return 2 * side**3 / best
