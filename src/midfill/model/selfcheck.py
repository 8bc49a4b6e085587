"""A network whose logits are known: this machine's arithmetic is right if it reproduces them.

Weights are sines, so nothing has to be stored but the answer. The answer below was computed by
transformers; tests/oracle/test_selfcheck.py computes it again.
"""

import torch

from midfill.config.model import ModelConfig
from midfill.model.transformer import Transformer
from midfill.recipes.models import tiny

TOKENS = [1, 2, 3, 5, 8, 13, 21, 34, 55, 89]
LOGITS = [
    1.126065,
    -0.172685,
    -2.743003,
    1.469517,
    0.467067,
    0.624996,
    -1.262902,
    -0.321956,
]  # of ids 0, 64, 128, ... after the last token
TOLERANCE = 1e-3


def sine_weights(network: torch.nn.Module) -> None:
    """Fill every parameter with sines of its own index, scaled to keep activations near one."""
    with torch.no_grad():
        named = sorted((name.removeprefix("model."), p) for name, p in network.named_parameters())
        for number, (name, p) in enumerate(named):
            index = torch.arange(p.numel(), dtype=torch.float64)
            wave = torch.sin(0.7 * (index % 1009).square() + number).view(p.shape)
            if "norm" in name:
                p.copy_(1 + 0.3 * wave)
            else:
                p.copy_(wave * (1.5 / p.shape[-1] ** 0.5))


def config() -> ModelConfig:
    """The network that is checked: every part of V2."""
    return tiny()


@torch.no_grad()
def logits() -> list[float]:
    """What this machine computes: in one pass, after reading the tokens one by one."""
    network = Transformer(config()).eval()
    sine_weights(network)
    cache = network.new_cache()
    out = torch.empty(0)
    for token in TOKENS:
        out = network(torch.tensor([[token]]), cache)[0, 0]
    return out[::64].tolist()


def deviation() -> float:
    """Largest difference between this machine's logits and the known ones."""
    return max(abs(a - b) for a, b in zip(logits(), LOGITS, strict=True))
