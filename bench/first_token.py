"""Time to the first token of a fill: cold, after a line was typed, and what makes it shorter.

    python bench/first_token.py MODEL [--threads 2 --rounds 3 --json]

The prompt has 2,048 tokens before the cursor. Everything behind the cursor is new after a key
stroke, because it stands behind the prefix in the prompt; so how much is there decides:

    a line typed, N behind        the prefix is known up to its last whole page, the rest is read
    a line typed, 512 behind, auto    only as much of the suffix as was lately read in 0.4 s
    typed along, 512 behind       what is typed is how the last answer begins: nothing is read

Every round has another prompt, and types another line, so nothing is known that should not be. A
model without sentinels reads prefix and suffix as one text, which costs the same. The medians are
told. `engine_speed.py` compares the first two kinds with llama.cpp, in the same prompts' shape.
"""

import argparse
import json
import os
import statistics
import sys
import time
from collections.abc import Callable, Hashable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import machine

if TYPE_CHECKING:
    from midfill import Coder
    from midfill.config.engine import SuffixTokens
    from midfill.engine.results import Piece, Prompt

PROMPT, LINE = 2048, 20  # tokens of a fill, and of the line that is typed
SUFFIXES = (32, 48, 128, 512)  # tokens after the cursor
LONG = 512  # of these, what the remedies are tried on
PROPOSED = 24  # tokens of the answer that is typed along


@dataclass(frozen=True, slots=True)
class Row:
    """One case: the median of its rounds."""

    case: str
    seconds: float
    ratio: float  # to the cold case
    read: int  # tokens that went through the network before the first one came
    samples: list[float]


def edited(tokens: list[int], line: list[int], suffix: int) -> list[int]:
    """`tokens` after `line` was typed before the last `suffix` of them."""
    return tokens[:-suffix] + line + tokens[-suffix:]


def first_piece(ask: "Callable[[], Iterator[Piece]]") -> "tuple[float, Piece]":
    """Seconds from the question until there is a token, and the piece that tells it."""
    start = time.perf_counter()
    piece = next(piece for piece in ask() if piece or piece.tokens or piece.finish_reason)
    return time.perf_counter() - start, piece


class Bench:
    """A model and real code around a cursor."""

    def __init__(self, coder: "Coder", rounds: int) -> None:
        self.coder, self.rounds = coder, rounds
        self.rows: list[Row] = []
        self.code = "".join(
            (Path(json.__file__).parent.parent / name).read_text(encoding="utf-8")
            for name in ("argparse.py", "csv.py", "textwrap.py")
        )
        self._texts = 0

    def run(self) -> None:
        """All cases."""
        self._first(self._text(64), self._behind(32))  # warms up
        behind = self._behind(SUFFIXES[0])
        self._add("cold", [self._first(self._text(), behind) for _ in range(self.rounds)])
        for count in SUFFIXES:
            self._typed_line(f"a line typed, {count} behind", count, None)
        self._typed_line(f"a line typed, {LONG} behind, auto", LONG, "auto")
        self._typed_along()

    def _typed_line(self, case: str, count: int, cap: "SuffixTokens") -> None:
        before, behind = self._text(), self._behind(count)
        self._first(before, behind, cap)
        lines = [f"    value_{n} = compute(first, second, limit={n})\n" for n in range(self.rounds)]
        self._add(case, [self._first(before + line, behind, cap) for line in lines])

    def _typed_along(self) -> None:
        behind, samples = self._behind(LONG), []
        for document in range(self.rounds):
            before = self._text()
            pieces = self._ask(before, behind, most=PROPOSED, document=document)
            proposed = "".join(pieces).rstrip("\ufffd")
            typed = proposed[: len(proposed) // 2]
            samples.append(self._first(before + typed, behind, most=PROPOSED, document=document))
            assert not samples[-1][1], "the proposal was not taken over"
        self._add(f"typed along, {LONG} behind", samples)

    def _ask(
        self, before: str, behind: str, cap: "SuffixTokens" = None, *,
        most: int = 1, document: Hashable = None,
    ) -> "Iterator[Piece]":  # fmt: skip
        from midfill.config.engine import Sampling

        sampling = Sampling(max_tokens=most, ignore_eos=True)
        return self.coder.generate(self._prompt(before, behind, cap), sampling, document=document)

    def _first(
        self, before: str, behind: str, cap: "SuffixTokens" = None, **how: Any
    ) -> tuple[float, int]:
        """Seconds to the first token, and the tokens that were read for it."""
        read = self.coder.scheduler.counters.read
        seconds, _ = first_piece(lambda: self._ask(before, behind, cap, **how))
        return seconds, self.coder.scheduler.counters.read - read

    def _add(self, case: str, samples: list[tuple[float, int]]) -> None:
        seconds = [taken for taken, _ in samples]
        median = statistics.median(seconds)
        cold = self.rows[0].seconds if self.rows else median
        read = round(statistics.median(tokens for _, tokens in samples))
        self.rows.append(Row(case, median, median / cold, read, seconds))

    def _text(self, count: int = PROMPT) -> str:
        """About so many tokens of code, each time with another beginning."""
        self._texts += 1
        return f"# file {self._texts}\n" + self._cut(self.code, count)

    def _behind(self, count: int) -> str:
        """About so many tokens of other code."""
        return self._cut(self.code[len(self.code) // 2 :], count)

    def _cut(self, text: str, count: int) -> str:
        tokenizer = self.coder.tokenizer
        return tokenizer.decode(tokenizer.encode(text[: 16 * count])[:count])

    def _prompt(self, before: str, behind: str, cap: "SuffixTokens" = None) -> "Prompt":
        from midfill.engine.keystrokes import cut_suffix, suffix_limit
        from midfill.engine.results import Prompt

        coder, tokenizer = self.coder, self.coder.tokenizer
        if tokenizer.fim is not None:
            return coder.encode_fill(before, behind, suffix_tokens=cap)
        kept = cut_suffix(tokenizer, behind, suffix_limit(cap, coder.scheduler.planner.pace))
        return Prompt(tokenizer.encode(before) + tokenizer.encode(kept), before, suffix=behind)


def markdown(rows: list[Row]) -> str:
    """The table."""
    lines = ["| case | first token | to cold | tokens read |", "|---|--:|--:|--:|"]
    for row in rows:
        time_ = f"{row.seconds:.2f} s" if row.seconds >= 0.1 else f"{1e3 * row.seconds:.1f} ms"
        lines.append(f"| {row.case} | {time_} | {row.ratio:.4f} | {row.read} |")
    return "\n".join(lines)


def main() -> None:
    """Measure and show the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("model", help="a name or a path, as midfill.load takes it")
    parser.add_argument("--threads", type=int, default=len(os.sched_getaffinity(0)))
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--json", action="store_true", help="one JSON line per row, no table")
    args = parser.parse_args()
    if args.rounds < 1 or args.threads < 1:
        parser.error("--rounds and --threads must be at least 1")

    import midfill

    load = os.getloadavg()
    coder = midfill.load(args.model, threads=args.threads, context=2 * PROMPT)
    bench = Bench(coder, args.rounds)
    bench.run()
    about = {
        "bench": "first_token",
        "model": coder.name,
        "runner": type(coder.runner).__name__,
        "machine": machine.describe(),
        "threads": args.threads,
        "rounds": args.rounds,
        "load_before": load,
        "load_after": os.getloadavg(),
    }
    if args.json:
        for row in bench.rows:
            print(json.dumps({"bench": "first_token", "model": coder.name, **asdict(row)}))
        print(json.dumps(about))
    else:
        print(markdown(bench.rows))
        print("\n" + json.dumps(about, indent=2))


if __name__ == "__main__":
    from midfill.errors import UserError

    try:
        main()
    except UserError as error:
        sys.exit(str(error))
