"""The network with the loss behind it: what is trained, wrapped and called as one module."""

from collections.abc import Sequence
from contextlib import AbstractContextManager
from functools import partial

import torch
from jaxtyping import Int
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from midfill.config.train import TrainConfig
from midfill.model.transformer import Transformer
from midfill.train.loss import Loss, cross_entropy


class Objective(nn.Module):
    """Next-token loss of packed sequences. Shapes: B sequences, S tokens."""

    def __init__(self, network: Transformer) -> None:
        super().__init__()
        self.network = network

    def forward(
        self,
        tokens: Int[Tensor, "B S"],
        targets: Int[Tensor, "B S"],
        documents: Sequence[Sequence[int]],
    ) -> Loss:
        """The sum of the targets' cross-entropies in nats, and how many there are."""
        hidden = self.network.hidden(tokens, documents=documents)
        return cross_entropy(hidden, self.network.lm_head.weight, targets)


def prepare(network: Transformer, config: TrainConfig) -> Objective:
    """The objective with blocks that are compiled, or computed again in the backward pass."""
    for block in network.layers:
        if config.compile:
            block.compile()
        if config.checkpointing:
            block.forward = partial(checkpoint, block.forward, use_reentrant=False)
    return Objective(network)


def autocast(config: TrainConfig, device: torch.device) -> AbstractContextManager[object]:
    """Products in the run's precision; weights, norms and sums stay float32."""
    enabled = config.precision == "bfloat16"
    return torch.autocast(device.type, torch.bfloat16, enabled=enabled)
