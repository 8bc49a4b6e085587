"""Builds the cases of `infilling-held-out`: lines of a corpus build's held-out repositories.

    python scripts/build_held_out_lines.py BUILD --out cases.jsonl

`midfill evaluate infilling-held-out MODEL --data BUILD` makes the same cases with the defaults and
keeps them in the cache folder; a file is for other sizes, and to be kept beside results.
"""

import argparse
import json
import sys
from pathlib import Path

from midfill.errors import UserError
from midfill.evaluate.benchmarks.held_out_lines import LANGUAGES, Drawing, write_cases
from midfill.evaluate.corpus_texts import CorpusTexts


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("build", type=Path)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--cases", type=int, default=500, help="of each language")
    parser.add_argument("--languages", nargs="+", default=LANGUAGES)
    parser.add_argument("--prefix", type=int, default=1024, help="characters before a line")
    parser.add_argument("--suffix", type=int, default=512, help="characters behind it")
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    try:
        drawing = Drawing(
            cases=options.cases,
            languages=tuple(options.languages),
            prefix=options.prefix,
            suffix=options.suffix,
            seed=options.seed,
        )
        counts = write_cases(options.out, CorpusTexts(options.build), drawing, _Told())
    except UserError as problem:
        sys.exit(f"{problem.what}: {problem.why}\n{problem.fix}")
    print(json.dumps(counts))


class _Told:
    """Says on stderr how much of the training split was read, at each tenth."""

    def __init__(self) -> None:
        self._shown = -1

    def __call__(self, done: int, of: int) -> None:
        tenth = 10 * done // of
        if tenth > self._shown:
            self._shown = tenth
            print(f"{done:,} of {of:,} tokens read", file=sys.stderr, flush=True)


if __name__ == "__main__":
    main()
