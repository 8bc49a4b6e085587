"""Eight streams at once against one: tokens per second together, and each stream's share.

    python bench/streams.py [MODEL] [--streams 8] [--tokens 256] [--rounds 3]

All go through `Coder.stream`, read in turn as the server reads them. The share of a stream is how many
tokens it had when the first of them was finished. Interleaved: one stream, then all, and again.
"""

import argparse
import json
import os
import time

import midfill
from midfill.kernels.cpu import level

BEGINNINGS = (
    "def fibonacci(n):", "class Stack:", "import os\n", "for i in range(", "SELECT name FROM",
    "The fastest way to", "#include <stdio.h>\n", "function add(a, b) {", "x = [", "while True:",
)  # fmt: skip


def run(coder: midfill.Coder, streams: int, tokens: int, number: int) -> tuple[float, list[int]]:
    """Seconds for `streams` answers of `tokens` tokens, and what each had when the first ended."""
    prompts = [f"{number}.{i} {BEGINNINGS[i % len(BEGINNINGS)]}" for i in range(streams)]
    start = time.perf_counter()
    sources = [
        coder.stream(prompt, max_tokens=tokens, ignore_eos=True, speculate=None)
        for prompt in prompts
    ]
    had, share = [0] * streams, []
    left = list(range(streams))
    while left:
        for i in list(left):
            piece = next(sources[i], None)
            if piece is None:
                left.remove(i)
                continue
            had[i] += len(piece.tokens)
            if piece.finish_reason and not share:
                share = list(had)
    return time.perf_counter() - start, share


def main() -> None:
    """Print the ratio and the fairness."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("model", nargs="?", default="smollm2-135m-instruct")
    parser.add_argument("--streams", type=int, default=8)
    parser.add_argument("--tokens", type=int, default=256)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--threads", type=int, default=None)
    parser.add_argument("--json", action="store_true")
    given = parser.parse_args()
    coder = midfill.load(given.model, threads=given.threads, max_running=given.streams)
    run(coder, given.streams, 16, 0)
    one, many, shares = [], [], []
    for number in range(1, given.rounds + 1):
        one.append(given.tokens / run(coder, 1, given.tokens, number)[0])
        seconds, share = run(coder, given.streams, given.tokens, number)
        many.append(given.streams * given.tokens / seconds)
        shares.append(max(share) / min(share))
    row = {
        "model": given.model,
        "streams": given.streams,
        "one": max(one),
        "together": max(many),
        "ratio": max(many) / max(one),
        "largest_to_smallest_share": max(shares),
        "kernels": level(),
        "load": os.getloadavg()[0],
    }
    if given.json:
        print(json.dumps(row))
        return
    print(
        f"{row['model']}: one stream {row['one']:.0f} tokens/s, {row['streams']} together "
        f"{row['together']:.0f} ({row['ratio']:.2f}x); largest over smallest share "
        f"{row['largest_to_smallest_share']:.2f} (kernels {row['kernels']}, load {row['load']:.1f})"
    )


if __name__ == "__main__":
    main()
