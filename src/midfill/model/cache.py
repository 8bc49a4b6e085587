"""What attention remembers of the tokens it has read, and which of them each new token may see.

Grouped-query layers keep keys and values, latent layers one latent and one rotated key per token
(never expanded keys and values). Rows of a batch may differ in length: each row's new tokens are
written behind its own last one, padding is overwritten by the tokens that come later.
Shapes: B batch, S new tokens, T cached tokens (new ones included).
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Bool, Int
from torch import Tensor

from midfill.config.model import GQAConfig, ModelConfig
from midfill.kernels.attention import Pieces


@dataclass(frozen=True, slots=True)
class Step:
    """Where the new tokens of one forward pass stand, and what they see."""

    positions: Int[Tensor, "B S"]
    start: int | None  # the common first position, None if the rows differ
    total: int  # T, the longest row after this pass
    mask: Bool[Tensor, "#B 1 S T"] | None  # None: everything (S = 1) or `causal`
    causal: bool
    pieces: Pieces | None = None  # of packed rows: each token sees its own piece only


def full_step(
    batch: int,
    tokens: int,
    device: torch.device,
    first: int = 0,
    pieces: Pieces | None = None,
) -> Step:
    """A pass without a cache: whole sequences from position `first` on, causal."""
    positions = torch.arange(first, first + tokens, device=device).expand(batch, tokens)
    return Step(positions, first, tokens, None, causal=tokens > 1, pieces=pieces)


class Cache:
    """Per-layer buffers [B, heads, capacity, width] that grow as the sequences do."""

    def __init__(
        self,
        config: ModelConfig,
        batch: int = 1,
        *,
        dtype: torch.dtype,
        device: torch.device | str = "cpu",
        capacity: int = 256,
    ) -> None:
        a = config.attention
        if isinstance(a, GQAConfig):
            shapes = [(a.kv_heads, a.head_dim)] * 2
        else:
            shapes = [(1, a.kv_rank + a.rope_dim)]
        self.capacity = min(capacity, config.context)
        self.limit = config.context
        self.lengths = [0] * batch
        self.layers = [
            [
                torch.zeros(batch, heads, self.capacity, width, dtype=dtype, device=device)
                for heads, width in shapes
            ]
            for _ in range(config.layers)
        ]

    @property
    def device(self) -> torch.device:
        """Where the buffers are."""
        return self.layers[0][0].device

    def plan(self, tokens: int) -> Step:
        """Make room for `tokens` more in every row and say where they stand."""
        starts, total = self.lengths, max(self.lengths) + tokens
        self._reserve(total)
        offsets = torch.arange(tokens, device=self.device)
        if len(set(starts)) == 1:
            start = starts[0]
            positions = (offsets + start).expand(len(starts), tokens)
            if tokens == 1 or start == 0:
                return Step(positions, start, total, None, causal=tokens > 1)
            mask = torch.arange(total, device=self.device) <= (offsets + start)[None, None, :, None]
            return Step(positions, start, total, mask, causal=False)
        positions = torch.tensor(starts, device=self.device)[:, None] + offsets
        mask = torch.arange(total, device=self.device) <= positions[:, None, :, None]
        return Step(positions, None, total, mask, causal=False)

    def update(self, layer: int, step: Step, *new: Tensor) -> list[Tensor]:
        """Store the new [B, heads, S, width] of `layer`; return views of all T tokens."""
        out = []
        for buffer, value in zip(self.layers[layer], new, strict=True):
            if step.start is not None:
                buffer[:, :, step.start : step.start + value.shape[2]] = value
            else:
                rows = torch.arange(len(self.lengths), device=self.device)[:, None]
                buffer[rows, :, step.positions] = value.transpose(1, 2)
            out.append(buffer[:, :, : step.total])
        return out

    def advance(self, counts: Sequence[int]) -> None:
        """Count `counts[b]` of the tokens just stored in row b as read; the rest was padding."""
        self.lengths = [length + count for length, count in zip(self.lengths, counts, strict=True)]

    def keep(self, rows: Sequence[int]) -> None:
        """Forget all rows but `rows`; the same row may be asked for more than once."""
        self.lengths = [self.lengths[row] for row in rows]
        index = torch.tensor(list(rows), device=self.device)
        self.layers = [[buffer[index] for buffer in buffers] for buffers in self.layers]

    def _reserve(self, total: int) -> None:
        if total <= self.capacity:
            return
        assert total <= self.limit, f"{total} tokens in a context of {self.limit}"
        capacity = min(max(total, 2 * self.capacity), self.limit)
        for buffers in self.layers:
            for i, old in enumerate(buffers):
                new = old.new_zeros(*old.shape[:2], capacity, old.shape[3])
                new[:, :, : self.capacity] = old
                buffers[i] = new
        self.capacity = capacity


def join(caches: Sequence[Cache]) -> Cache:
    """One cache whose rows are those of `caches`, in order."""
    joined = object.__new__(Cache)
    joined.limit = caches[0].limit
    joined.capacity = max(c.capacity for c in caches)
    joined.lengths = [length for c in caches for length in c.lengths]
    joined.layers = []
    for layer in zip(*(c.layers for c in caches), strict=True):
        buffers = []
        for parts in zip(*layer, strict=True):
            first = parts[0]
            out = first.new_zeros(
                len(joined.lengths), first.shape[1], joined.capacity, first.shape[3]
            )
            row = 0
            for part in parts:
                out[row : row + part.shape[0], :, : part.shape[2]] = part
                row += part.shape[0]
            buffers.append(out)
        joined.layers.append(buffers)
    return joined
