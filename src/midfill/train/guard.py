"""When a step is left out, and when a run ends: numbers that are none, and gradients that jump.

DeepSeek-Coder-V2 §3.2 tells of spikes that came from a normalisation; where a number stopped being
one is what its reader would have wanted to know.
"""

import math
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn

from midfill.config.train import GuardConfig
from midfill.errors import TrainError
from midfill.train.parallel.pieces import local


@dataclass(slots=True)
class Guard:
    """Remembers the gradient norms of the last steps. Its state is part of a checkpoint."""

    config: GuardConfig
    norms: deque[float] = field(default_factory=deque)
    left_out: int = 0  # steps in a row

    def leaves_out(self, norm: float) -> bool:
        """Whether the update of a step with this gradient norm is left out.

        Raises TrainError when too many in a row would be.
        """
        limit = self.config.spike * self._mean()
        if not self.config.spike or len(self.norms) < self.config.window or norm <= limit:
            self.norms.append(norm)
            while len(self.norms) > self.config.window:
                self.norms.popleft()
            self.left_out = 0
            return False
        self.left_out += 1
        if self.left_out > self.config.most_left_out:
            raise TrainError(
                f"{self.left_out} steps in a row had gradient norms above {limit:.3g}",
                why=f"the last is {norm:.3g}, the mean before them {self._mean():.3g}",
                fix="go on from an earlier checkpoint with a lower optimiser.lr, or look at the data "
                "of these steps",
            )
        return True

    def state(self) -> dict[str, Any]:
        """What a checkpoint keeps."""
        return {"norms": list(self.norms), "left_out": self.left_out}

    def restore(self, state: dict[str, Any]) -> None:
        """Go on from a checkpoint's state."""
        self.norms, self.left_out = deque(state["norms"]), state["left_out"]

    def _mean(self) -> float:
        return sum(self.norms) / len(self.norms) if self.norms else math.inf


@contextmanager
def watching(network: nn.Module) -> Iterator[list[str]]:
    """Inside, the names of modules whose output holds a number that is none, in order of their run."""
    found: list[str] = []

    def look(name: str) -> Any:
        def hook(module: nn.Module, args: Any, output: Any) -> None:
            if any(not torch.isfinite(x).all() for x in _tensors(output)):
                found.append(name)

        return hook

    hooks = [m.register_forward_hook(look(name)) for name, m in network.named_modules() if name]
    try:
        yield found
    finally:
        for hook in hooks:
            hook.remove()


def where(
    network: nn.Module,
    found: Iterable[str],
    together: Callable[[Iterable[str]], list[str]] = list,
) -> str:
    """Which numbers are none: weights, then outputs, then gradients; the first of each.

    `together` joins what several processes found.
    """
    named = list(network.named_parameters())
    weights = [name for name, p in named if _broken(p)]
    gradients = [name for name, p in named if p.grad is not None and _broken(p.grad)]
    told = [
        f"{kind} {names[0]}" + (f" and {len(names) - 1} more" if len(names) > 1 else "")
        for kind, names in (
            ("the weight", together(weights)),
            ("the output of", together(found)),
            ("the gradient of", together(gradients)),
        )
        if names
    ]
    return "; ".join(told) or "only the loss"


def _broken(tensor: Tensor) -> bool:
    """Whether a number is none in the piece of this process."""
    return not bool(torch.isfinite(local(tensor)).all())


def _tensors(output: Any) -> Iterator[Tensor]:
    if isinstance(output, Tensor):
        yield output
    elif isinstance(output, tuple | list):
        for one in output:
            yield from _tensors(one)
