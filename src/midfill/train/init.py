"""New weights: N(0, std) for matrices, ones for norms, zeros for biases. Source: DeepSeek-V2 §3.1.2."""

import hashlib

import torch
from torch import Tensor

from midfill.model.transformer import Transformer


@torch.no_grad()
def initialise(network: Transformer, std: float, seed: int) -> None:
    """Fill everything; the same numbers on any device and any number of processes."""
    for buffer in network.buffers():
        buffer.zero_()
    for name, parameter in network.named_parameters():
        if name.endswith("bias"):
            parameter.zero_()
        elif parameter.dim() == 1:
            parameter.fill_(1.0)
        elif parameter.dim() == 2:
            parameter.copy_(normal(name, tuple(parameter.shape), std, seed))
        else:
            for expert, matrix in enumerate(parameter):
                matrix.copy_(normal(f"{name}.{expert}", tuple(matrix.shape), std, seed))


def normal(name: str, shape: tuple[int, ...], std: float, seed: int) -> Tensor:
    """N(0, std) of `shape`, float32, a function of the name and the seed alone.

    Of stacked experts each has a name of its own, so a process that holds some can make those.
    """
    digest = hashlib.sha256(f"{seed} {name}".encode()).digest()
    generator = torch.Generator().manual_seed(int.from_bytes(digest[:8], "little"))
    return std * torch.randn(shape, generator=generator)
