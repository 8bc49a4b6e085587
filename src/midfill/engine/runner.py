"""What the scheduler needs of a network: one step over the new tokens of several sequences.

The cache is a pool of pages of PAGE tokens each; who owns which page is the scheduler's business
(engine/pages.py), a runner only reads and writes where it is told. Two runners exist: the compiled
one (engine/native_runner.py), whose rows do not depend on what else is in the step, and the
PyTorch one (engine/torch_runner.py), which always works.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from jaxtyping import Float
from torch import Tensor

from midfill.config.model import ModelConfig

PAGE = 64  # tokens of one page
GRID = 256  # latent attention: whole cells of this size of a prompt are read in the expanded form


@dataclass(frozen=True, slots=True, kw_only=True)
class Span:
    """New tokens of one sequence, read in one step."""

    tokens: Sequence[int]
    start: int  # position of the first; those before it are in `pages` already
    pages: Sequence[int]  # page i of the sequence holds positions 64·i on; they cover `tokens` too
    expanded: int = 0  # positions below this use the expanded form of latent attention
    wanted: int = 1  # logits of so many of the last tokens; 0: none, len(tokens): all


class Runner(Protocol):
    """A network with a pool of pages."""

    invariant: bool  # whether a sequence's logits are the same to the bit in any step

    @property
    def notes(self) -> tuple[str, ...]:
        """What a user should know of the weights: which are held otherwise than stored, and why."""
        ...

    @property
    def config(self) -> ModelConfig:
        """The network's sizes."""
        ...

    @property
    def pages(self) -> int:
        """How many pages the pool has."""
        ...

    def step(self, spans: Sequence[Span]) -> Float[Tensor, "wanted W"]:
        """Read all spans, fill their pages; float32 logits of the wanted tokens, in order."""
        ...

    def copy_page(self, source: int, target: int) -> None:
        """Make page `target` hold what page `source` holds."""
        ...

    def clear_page(self, page: int) -> None:
        """Forget what a page holds: it is about to be given to another sequence."""
        ...

    def rotate(self, pages: Sequence[int], by: int) -> None:
        """Move the keys in `pages` by `by` positions (rotary part only), for a shifted context."""
        ...
