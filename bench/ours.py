"""midfill as an engine that answers JSON lines (bench/lines.py), with the operations of its peers.

    python bench/ours.py [--model FILE --threads 2 --context 4096 ...]

`fill`, `decode` and `prefill` drive the runner itself: the pages of its pool are handed out here,
sequence by sequence. `first_token` goes through `Coder.stream` as a user's request does, prefix
reuse and all; the engine then owns the pages, so a process answers either kind, not both.
"""

import argparse
import os
import time
from functools import partial
from typing import Any

import torch
from first_token import first_piece
from lines import Answer, answer_lines, common, resident_bytes

import midfill
from midfill.engine.runner import GRID, PAGE, Span
from midfill.kernels.cpu import level

CHUNK = 512  # prompt tokens read in one step, as many as the peer computes at once


class Midfill:
    """A model and the pages of its runner."""

    def open(
        self, model: str, *, threads: int, context: int, sequences: int = 1, **load: Any
    ) -> Answer:
        """Load `model` with room for `context` tokens in each of `sequences`."""
        start = time.perf_counter()
        self.pages_each = -(-context // PAGE)
        room = self.pages_each * PAGE * sequences
        self.coder = midfill.load(model, threads=threads, context=room, **load)
        self.runner = self.coder.runner
        if self.runner.pages < self.pages_each * sequences:
            pages = f"{self.runner.pages} pages, not {self.pages_each * sequences}"
            raise RuntimeError(f"the runner has {pages}: it was opened with context={room}")
        self.held: list[list[int]] = [[] for _ in range(sequences)]
        self.following = torch.zeros(sequences, dtype=torch.int64)
        self.driven = ""  # by "steps" or by "requests"
        return {
            "engine": "midfill",
            "version": f"midfill {midfill.__version__}, torch {torch.__version__}",
            "system": f"kernels: {level() or 'PyTorch only'}",
            "settings": {
                "runner": type(self.runner).__name__, "invariant": self.runner.invariant,
                "chunk": CHUNK, "threads": threads, "pages": self.runner.pages,
            },
            "seconds": time.perf_counter() - start,
        }  # fmt: skip

    @torch.inference_mode()
    def fill(self, prompts: list[list[int]]) -> Answer:
        """Make the pages hold exactly `prompts`, sequence by sequence."""
        self._drive("steps")
        start, read = time.perf_counter(), 0
        prompts = prompts + [[] for _ in self.held[len(prompts) :]]
        for i, prompt in enumerate(prompts):
            if prompt and prompt != self.held[i]:
                kept = min(common(self.held[i], prompt), len(prompt) - 1)
                self.following[i] = self._read(i, prompt[kept:], kept)
                read += len(prompt) - kept
            self.held[i] = prompt
        return {"seconds": time.perf_counter() - start, "tokens": read}

    @torch.inference_mode()
    def decode(self, count: int) -> Answer:
        """`count` greedy tokens in every sequence that is not empty, then back."""
        self._drive("steps")
        active = [i for i, prompt in enumerate(self.held) if prompt]
        places = [len(self.held[i]) for i in active]
        expanded = [self._cells(place) for place in places]
        tokens = self.following[active].tolist()
        pages = [self._pages(i, place + count) for i, place in zip(active, places, strict=True)]
        rows = list(zip(places, pages, expanded, strict=True))
        ids = []
        start = time.perf_counter()
        for step in range(count):
            spans = [
                Span(
                    tokens=[token], start=place + step, pages=p[: (place + step) // PAGE + 1],
                    expanded=e, wanted=1,
                )
                for token, (place, p, e) in zip(tokens, rows, strict=True)
            ]  # fmt: skip
            tokens = self.runner.step(spans).numpy().argmax(1).tolist()
            ids.append(tokens)
        seconds = time.perf_counter() - start
        return {"seconds": seconds, "tokens": count * len(active), "ids": ids}

    @torch.inference_mode()
    def prefill(self, tokens: list[int]) -> Answer:
        """Read `tokens` after sequence 0, then back."""
        self._drive("steps")
        start = time.perf_counter()
        following = self._read(0, tokens, len(self.held[0]))
        seconds = time.perf_counter() - start
        return {"seconds": seconds, "tokens": len(tokens), "ids": [following]}

    def first_token(self, tokens: list[int]) -> Answer:
        """A request for one token after `tokens`, as a user makes it."""
        self._drive("requests")
        ask = partial(self.coder.stream, tokens, max_tokens=1, ignore_eos=True)
        seconds, piece = first_piece(ask)
        return {"seconds": seconds, "ids": [token.id for token in piece.tokens]}

    def memory(self) -> Answer:
        """Largest and present resident size."""
        return resident_bytes()

    def _drive(self, by: str) -> None:
        if self.driven not in ("", by):
            raise RuntimeError(f"its pages are taken by {self.driven}: start another process")
        self.driven = by

    def _pages(self, sequence: int, length: int) -> list[int]:
        """The pages of a sequence of `length` tokens."""
        first = sequence * self.pages_each
        return list(range(first, first + -(-length // PAGE)))

    def _cells(self, length: int) -> int:
        """How many of a prompt's positions the latent form reads expanded: whole cells."""
        return length // GRID * GRID

    def _read(self, sequence: int, tokens: list[int], first: int) -> int:
        """Read `tokens` from position `first` on; the greedy token after the last."""
        end = first + len(tokens)
        pages, expanded = self._pages(sequence, end), self._cells(end)
        logits = torch.empty(0)
        for at in range(0, len(tokens), CHUNK):
            chunk = tokens[at : at + CHUNK]
            last = at + len(chunk) == len(tokens)
            covered = pages[: -(-(first + at + len(chunk)) // PAGE)]
            span = Span(
                tokens=chunk, start=first + at, pages=covered, expanded=expanded, wanted=int(last)
            )
            logits = self.runner.step([span])
        return int(logits[0].argmax())


def main() -> None:
    """Open the model that is given, if one is, and answer."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--model")
    parser.add_argument("--threads", type=int, default=os.cpu_count() or 1)
    parser.add_argument("--context", type=int, default=4096, help="tokens of each sequence")
    parser.add_argument("--sequences", type=int, default=1)
    args = vars(parser.parse_args())
    engine = Midfill()
    if args["model"]:
        engine.open(**args)
    answer_lines(engine)


if __name__ == "__main__":
    main()
