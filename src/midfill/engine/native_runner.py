"""The runner over compiled kernels: pages in one block of memory, one call for a whole step."""

import mmap
from collections.abc import Sequence
from contextlib import suppress

import numpy as np
import torch
from jaxtyping import Float, UInt8
from torch import Tensor

from midfill.config.model import GQAConfig, ModelConfig
from midfill.engine.runner import PAGE, Span
from midfill.kernels.cpu import native
from midfill.model.native import NativeNetwork


def page_bytes(config: ModelConfig, *, int8: bool = False) -> int:
    """Bytes of one page of the compiled network's cache, all layers; as network.cpp lays it out."""
    a = config.attention
    if isinstance(a, GQAConfig):
        padded = -(-a.head_dim // 16) * 16  # values come 16 at a time
        return config.layers * PAGE * a.kv_heads * 2 * (a.head_dim + padded)
    width = -(-(a.kv_rank + a.rope_dim) // 32) * 32
    return config.layers * PAGE * (width + width // 32 * 2 if int8 else 2 * width)


def _reserve(pages: int, each: int) -> np.ndarray:
    """Zeros [pages, each] that take memory only as they are written; in large pages where there are."""
    whole = mmap.mmap(-1, pages * each)
    if hasattr(mmap, "MADV_HUGEPAGE"):
        with suppress(OSError):  # a kernel without them
            whole.madvise(mmap.MADV_HUGEPAGE)
    return np.frombuffer(whole, np.uint8).reshape(pages, each)


class NativeRunner:
    """Reads steps through a NativeNetwork; what a sequence gets does not depend on the others."""

    invariant = True

    def __init__(self, network: NativeNetwork, pages: int, *, int8: bool = False) -> None:
        """`int8`: latents are kept in 8 bits, with a scale for every 32."""
        assert native is not None
        assert not int8 or not isinstance(network.config.attention, GQAConfig)
        self.network, self.int8 = network, int8
        self._memory = _reserve(pages, page_bytes(network.config, int8=int8))
        network.network.set_pages(self._memory, int8)

    @property
    def config(self) -> ModelConfig:
        """The network's sizes."""
        return self.network.config

    @property
    def notes(self) -> tuple[str, ...]:
        """What is held otherwise than it is stored, and why."""
        return self.network.weights.notes

    @property
    def pages(self) -> int:
        """How many pages the pool has."""
        return len(self._memory)

    def memory(self, page: int) -> UInt8[Tensor, " bytes"]:
        """The bytes of a page, layer after layer; not a copy."""
        return torch.from_numpy(self._memory[page])

    def step(self, spans: Sequence[Span]) -> Float[Tensor, "wanted W"]:
        """Read all spans, fill their pages; float32 logits of the wanted tokens, in order."""
        tokens = np.array([token for span in spans for token in span.tokens], np.int32)
        assert len(tokens) == 0 or 0 <= tokens.min() <= tokens.max() < self.config.vocab
        rows, tables = [], []
        for span in spans:
            count = -(-(span.start + len(span.tokens)) // PAGE)
            rows.append((len(span.tokens), span.start, span.expanded, span.wanted, count))
            tables += span.pages[:count]
        wanted = sum(span.wanted for span in spans)
        width = -(-self.config.vocab // 16) * 16
        logits = np.empty((wanted, width), np.float32)
        self.network.network.step(
            self.pages,
            tokens,
            np.array(rows, np.int32).reshape(-1, 5),
            np.array(tables, np.int32),
            logits,
        )
        return torch.from_numpy(logits)[:, : self.config.vocab]

    def copy_page(self, source: int, target: int) -> None:
        """Make page `target` hold what page `source` holds."""
        self._memory[target] = self._memory[source]

    def clear_page(self, page: int) -> None:
        """Forget what a page holds: it is about to be given to another sequence."""
        self._memory[page] = 0

    def rotate(self, pages: Sequence[int], by: int) -> None:
        """Move the keys in `pages` by `by` positions (rotary part only), for a shifted context."""
        self.network.network.rotate(self.pages, np.array(pages, np.int32), by)
