"""What a step of several rows costs in steps of one: the table that prompt look-up reckons with.

python bench/row_costs.py MODEL [--threads 2] [--json]
"""

import argparse
import json
import os
import random
import time

import midfill
from midfill.engine.runner import Span
from midfill.kernels.cpu import level

DEPTH = 256  # tokens cached
ROWS = (1, 2, 3, 4, 6, 8, 12, 16)
REPEATS = 25


def main() -> None:
    """Print milliseconds and the ratio for each number of rows."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("model")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--json", action="store_true")
    given = parser.parse_args()
    runner = midfill.load(given.model, threads=given.threads, context=4096).runner
    draw = random.Random(1)

    def some(count: int) -> list[int]:
        return [draw.randrange(runner.config.vocab // 2) for _ in range(count)]

    runner.step([Span(tokens=some(DEPTH), start=0, pages=range(8), wanted=0)])
    one = None
    for rows in ROWS:
        times = []
        for _ in range(REPEATS):
            span = Span(tokens=some(rows), start=DEPTH, pages=range(8), wanted=rows)
            start = time.perf_counter()
            runner.step([span])
            times.append(time.perf_counter() - start)
        best = sorted(times)[REPEATS // 8]
        one = one or best
        row = {"rows": rows, "ms": round(1000 * best, 2), "cost": round(best / one, 2)}
        line = (
            json.dumps(row) if given.json else f"{rows:2} rows {row['ms']:7.2f} ms {row['cost']}x"
        )
        print(line, flush=True)
    if not given.json:
        print(f"kernels {level()}, load {os.getloadavg()[0]:.1f}")


if __name__ == "__main__":
    main()
