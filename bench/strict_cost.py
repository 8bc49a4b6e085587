"""What the promise of equal bits costs: a chat of several turns, `strict` against `fast`.

    python bench/strict_cost.py [MODEL] [--turns 8] [--question 60] [--reply 120]

The kernels give the same bits either way; `strict` only refuses to reuse a page of the cache that the
other form of latent attention has written. So a reply, written absorbed, is read again in the
expanded form when it becomes part of the next prompt. Dense models have one form and lose nothing.
Prompts are random ids: nothing is hit by chance. Turns of both are interleaved.
"""

import argparse
import json
import os
import random
import time

import midfill
from midfill.kernels.cpu import level


def turn(coder: midfill.Coder, ids: list[int], reply: int) -> tuple[float, float, list[int]]:
    """Seconds to the first token and to the last of a reply, and its tokens."""
    start, first, tokens = time.perf_counter(), 0.0, []
    for piece in coder.stream(ids, max_tokens=reply, ignore_eos=True, speculate=None):
        first = first or time.perf_counter() - start
        tokens += [token.id for token in piece.tokens]
    return first, time.perf_counter() - start, tokens


def main() -> None:
    """Print seconds to the first token, seconds in all and tokens read, for both."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("model", nargs="?", default="smollm2-135m-instruct")
    parser.add_argument("--turns", type=int, default=8)
    parser.add_argument("--question", type=int, default=60, help="tokens of each question")
    parser.add_argument("--reply", type=int, default=120, help="tokens of each reply")
    parser.add_argument("--threads", type=int, default=None)
    parser.add_argument("--json", action="store_true")
    given = parser.parse_args()
    coders = {
        name: midfill.load(given.model, threads=given.threads, strict=name == "strict")
        for name in ("strict", "fast")
    }
    draw = random.Random(0)
    vocab = coders["strict"].config.vocab
    ids = {name: [] for name in coders}
    first, whole = dict.fromkeys(coders, 0.0), dict.fromkeys(coders, 0.0)
    for number in range(given.turns + 1):
        question = [draw.randrange(100, vocab - 1000) for _ in range(given.question)]
        for name, coder in coders.items():
            waited, seconds, tokens = turn(coder, ids[name] + question, given.reply)
            ids[name] += question + tokens
            if number:  # the first turn warms up
                first[name] += waited
                whole[name] += seconds
    rows = {
        name: {
            "first_token_s": first[name] / given.turns,
            "turn_s": whole[name] / given.turns,
            "read": coder.scheduler.counters.read,
            "reused": coder.scheduler.counters.reused,
        }
        for name, coder in coders.items()
    }
    cost = rows["strict"]["turn_s"] / rows["fast"]["turn_s"] - 1
    wait = rows["strict"]["first_token_s"] / rows["fast"]["first_token_s"]
    if given.json:
        print(json.dumps({"model": given.model, **rows, "cost": cost, "first_token_ratio": wait}))
        return
    for name, row in rows.items():
        print(
            f"{name}: first token {row['first_token_s']:.2f} s, turn {row['turn_s']:.2f} s, "
            f"{row['read']:,} tokens read, {row['reused']:,} reused"
        )
    print(
        f"strict costs {100 * cost:.1f} % of a turn, {wait:.2f} x the wait for its first token "
        f"(kernels {level()}, load {os.getloadavg()[0]:.1f})"
    )


if __name__ == "__main__":
    main()
