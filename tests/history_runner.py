"""A runner without a network: its logits are a function of all tokens its pages hold, nothing else.

It remembers of every token which one it was, where it stood and in which form it was read, and
fails where the history of a sequence has a hole or a token from elsewhere. So an answer that is the
same alone and among others proves that no page was ever shared, copied or evicted wrongly.
"""

from collections.abc import Iterable, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import torch

from midfill.config.engine import Sampling
from midfill.config.model import ModelConfig
from midfill.engine.request import Token
from midfill.engine.runner import PAGE, Span
from midfill.engine.scheduler import Scheduler
from midfill.recipes.models import deepseek_coder_1_3b, tiny

WIDTH = 24  # tokens of the vocabulary

Slot = tuple[int, bool]  # token, read in the expanded form


class HistoryRunner:
    invariant = True
    notes = ()

    def __init__(self, pages: int, *, context: int = 2048, forms: bool = True, latent: bool = True):
        """`forms`: the form a token was read in changes the logits, as in strict mode it may."""
        recipe = tiny() if latent else deepseek_coder_1_3b()
        self.config: ModelConfig = replace(recipe, vocab=WIDTH, context=context)
        self.pages = pages
        self.forms = forms
        self.slots: list[list[Slot | None]] = [[None] * PAGE for _ in range(pages)]
        self.places: list[list[int]] = [[-1] * PAGE for _ in range(pages)]
        self.steps: list[list[Span]] = []

    def step(self, spans: Sequence[Span]) -> torch.Tensor:
        self.steps.append(list(spans))
        written: set[int] = set()
        for span in spans:
            end = span.start + len(span.tokens)
            assert len(span.tokens) > 0
            assert len(span.pages) * PAGE >= end
            now = set(span.pages[span.start // PAGE : (end - 1) // PAGE + 1])
            assert not now & written, "two sequences write to one page"
            written |= now
            for position, token in enumerate(span.tokens, span.start):
                page, slot = span.pages[position // PAGE], position % PAGE
                self.slots[page][slot] = (token, self.forms and position < span.expanded)
                self.places[page][slot] = position
        rows = [row for span in spans for row in self._rows(span)]
        return torch.tensor(np.array(rows), dtype=torch.float32).reshape(-1, WIDTH)

    def _rows(self, span: Span) -> list[np.ndarray]:
        end = span.start + len(span.tokens)
        history = [slot for page in span.pages for slot in self.slots[page]][:end]
        places = [place for page in span.pages for place in self.places[page]][:end]
        assert places == list(range(end)), "a token from elsewhere"
        lengths = range(end - span.wanted + 1, end + 1)
        return [logits_after(history[:length]) for length in lengths]

    def copy_page(self, source: int, target: int) -> None:
        self.slots[target] = list(self.slots[source])
        self.places[target] = list(self.places[source])

    def clear_page(self, page: int) -> None:
        self.slots[page] = [None] * PAGE
        self.places[page] = [-1] * PAGE

    def rotate(self, pages: Sequence[int], by: int) -> None:
        for page in pages:
            self.places[page] = [place + by for place in self.places[page]]


def logits_after(history: Sequence[Slot | None]) -> np.ndarray:
    return np.random.default_rng(abs(hash(tuple(history)))).normal(size=WIDTH) * 3


class Told:
    """What the events of one request say, collected."""

    def __init__(self) -> None:
        self.prompt: list[tuple[int, float | None]] = []
        self.tokens: dict[int, list[int]] = {}
        self.logprobs: dict[int, list[float | None]] = {}
        self.ends: dict[int, str] = {}

    def add(self, events: Iterable[Token]) -> "Told":
        for event in events:
            assert event.index not in self.ends, "nothing follows the end"
            if event.of_prompt:
                assert not self.tokens
                self.prompt.append((event.choice.token, event.choice.logprob))
                continue
            if event.choice is not None:
                self.tokens.setdefault(event.index, []).append(event.choice.token)
                self.logprobs.setdefault(event.index, []).append(event.choice.logprob)
            if event.finish is not None:
                self.ends[event.index] = event.finish
        return self

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Told) and vars(self) == vars(other)

    __hash__ = None


def alone(prompt: Sequence[int], sampling: Sampling, **options: Any) -> Told:
    """What a request says that has a fresh engine for itself."""
    runner = HistoryRunner(64)
    return Told().add(Scheduler(runner).submit(prompt, sampling, **options))


def check(scheduler: Scheduler) -> None:
    """Every page is held exactly as often as the answers and the tree say."""
    pool, tree = scheduler.tables.pool, scheduler.tables.tree
    held = [0] * len(pool.refs)
    for answer in scheduler.planner.answers:
        assert len(set(answer.table.pages)) == len(answer.table.pages)
        assert answer.running or not answer.table.pages
        assert answer.read <= len(answer.table.pages) * PAGE
        for page in answer.table.pages:
            held[page] += 1
    for page, node in tree._nodes.items():
        held[page] += 1
        assert node.parent is tree.root or node.parent.page in tree._nodes
        assert node.parent.children[node.key] is node
    assert pool.refs == held
    assert sorted(pool._free) == [page for page, count in enumerate(held) if not count]


def check_empty(scheduler: Scheduler) -> None:
    """Nobody is left, and without the prefix tree all pages are free."""
    assert scheduler.planner.answers == []
    scheduler.tables.tree.clear()
    assert scheduler.tables.pool.free == scheduler.runner.pages
