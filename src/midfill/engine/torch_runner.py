"""The runner that always works: a Transformer whose cache lies in pages. Rows depend on the batch.

One-token spans of similar length are one forward pass, longer ones a pass each. A sequence whose
pages are neighbours is attended where it lies; others are gathered.
Shapes: B batch, S new tokens, T cached tokens, W vocabulary.
"""

from collections.abc import Iterator, Sequence

import torch
from jaxtyping import Float
from torch import Tensor

from midfill.config.model import DTYPE_BYTES, GQAConfig
from midfill.engine.runner import PAGE, Span
from midfill.model.cache import Cache, Step
from midfill.model.rope import rotate_halves, rotate_pairs
from midfill.model.transformer import Transformer

ALIKE = 256  # tokens by which the lengths of one batch may always differ


class PagedCache(Cache):
    """What the layers see of some sequences: per layer [heads, pages, PAGE, width], and who has which."""

    def __init__(
        self, layers: list[list[Tensor]], tables: Sequence[Sequence[int]], starts: Sequence[int]
    ) -> None:
        self.layers = layers
        self.lengths = list(starts)
        first = tables[0][0]
        lone = len(tables) == 1 and list(tables[0]) == list(range(first, first + len(tables[0])))
        self._first = first * PAGE if lone else None  # where a lone sequence of neighbours begins
        longest = max(len(table) for table in tables)
        padded = [[*table, *[table[0]] * (longest - len(table))] for table in tables]
        self._table = torch.tensor(padded, device=self.device)

    def _reserve(self, total: int) -> None:
        assert total <= self._table.shape[1] * PAGE, "the pages do not cover the tokens"

    def update(self, layer: int, step: Step, *new: Tensor) -> list[Tensor]:
        """Store the new [B, heads, S, width] of `layer`; return all T tokens of every row."""
        store = self._scatter_gather if self._first is None else self._slice
        pairs = zip(self.layers[layer], new, strict=True)
        return [store(buffer, step, value) for buffer, value in pairs]

    def _slice(self, buffer: Tensor, step: Step, value: Tensor) -> Tensor:
        assert self._first is not None
        assert step.start is not None
        row = buffer.flatten(1, 2)[:, self._first : self._first + step.total]
        row[:, step.start :] = value[0]
        return row[None]

    def _scatter_gather(self, buffer: Tensor, step: Step, value: Tensor) -> Tensor:
        pages = self._table.gather(1, step.positions // PAGE)
        buffer[:, pages, step.positions % PAGE] = value.transpose(0, 1)
        heads = torch.arange(len(buffer), device=buffer.device)[None, :, None]
        table = self._table[:, None, : -(-step.total // PAGE)]
        return buffer[heads, table].flatten(2, 3)[:, :, : step.total]


class TorchRunner:
    """A Transformer with a pool of pages."""

    invariant = False
    notes: tuple[str, ...] = ()

    def __init__(self, network: Transformer, pages: int) -> None:
        self.network = network
        self.config = network.config
        self.pages = pages
        a = self.config.attention
        shapes = [(1, a.cache_per_token)]
        if isinstance(a, GQAConfig):
            shapes = [(a.kv_heads, a.head_dim)] * 2
        self._layers = [
            [
                torch.zeros(heads, pages, PAGE, width, dtype=network.dtype, device=network.device)
                for heads, width in shapes
            ]
            for _ in range(self.config.layers)
        ]  # zeros that nobody touched take no memory on a processor

    @torch.inference_mode()
    def step(self, spans: Sequence[Span]) -> Float[Tensor, "wanted W"]:
        """Read all spans, fill their pages; float32 logits of the wanted tokens, in order."""
        found: dict[int, Tensor] = {}
        for group in _groups(spans):
            hidden = self._hidden([spans[i] for i in group])
            for i, row in zip(group, hidden, strict=True):
                found[i] = row[len(row) - spans[i].wanted :]
        wanted = torch.cat([found[i] for i in range(len(spans))])
        return self.network.logits(wanted).cpu()

    def _hidden(self, spans: Sequence[Span]) -> Tensor:
        cache = PagedCache(self._layers, [s.pages for s in spans], [s.start for s in spans])
        tokens = torch.tensor([list(s.tokens) for s in spans], device=self.network.device)
        return self.network.hidden(tokens, cache)

    @torch.inference_mode()
    def copy_page(self, source: int, target: int) -> None:
        """Make page `target` hold what page `source` holds."""
        for buffer in self._buffers():
            buffer[:, target] = buffer[:, source]

    @torch.inference_mode()
    def clear_page(self, page: int) -> None:
        """Forget what a page holds: not even a NaN of its former owner stays."""
        for buffer in self._buffers():
            buffer[:, page] = 0

    @torch.inference_mode()
    def rotate(self, pages: Sequence[int], by: int) -> None:
        """Move the keys in `pages` by `by` positions; values and latents know none."""
        if not pages:
            return
        a = self.config.attention
        turn, start = (rotate_halves, 0) if isinstance(a, GQAConfig) else (rotate_pairs, a.kv_rank)
        angle = self.network.rotary.inv_freq.double() * by
        for buffer, *_ in self._layers:
            index = torch.tensor(list(pages), device=buffer.device)
            old = buffer[:, index]
            keys = old[..., start:].reshape(1, -1, 1, old.shape[-1] - start)
            turned = angle.to(buffer.device).expand(1, keys.shape[1], 1, -1)
            new = turn(keys, (turned.cos().float(), turned.sin().float()))
            old[..., start:] = new.reshape(old[..., start:].shape)
            buffer[:, index] = old

    def _buffers(self) -> Iterator[Tensor]:
        return (buffer for buffers in self._layers for buffer in buffers)


def dtype_name(dtype: torch.dtype) -> str:
    """How the configuration calls `dtype`."""
    return next(name for name in DTYPE_BYTES if getattr(torch, name) == dtype)


def _groups(spans: Sequence[Span]) -> Iterator[list[int]]:
    """Which spans go together through the network: single tokens behind contexts alike in length."""
    yield from ([i] for i, span in enumerate(spans) if len(span.tokens) > 1)
    single = [i for i, span in enumerate(spans) if len(span.tokens) == 1]
    group: list[int] = []
    for i in sorted(single, key=lambda i: spans[i].start):
        if group and spans[i].start > 2 * spans[group[0]].start + ALIKE:
            yield group
            group = []
        group.append(i)
    if group:
        yield group
