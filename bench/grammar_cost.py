"""What a grammar costs per token, beside what the step costs that gives the token.

    python bench/grammar_cost.py [TOKENIZER_FOLDER] [--step-ms 40] [--rounds 20]

The tokenizer is DeepSeek-V2's with the model's 102,400 ids (from MIDFILL_DATA) unless another is
given. The answer is fixed and a schema's instance: an edit command. For each of its tokens the mask
is computed and the token taken, as the engine does; the first round of all meets a new grammar,
the others one that is kept. Two JSON lines. `of_step` is the mean over a step of --step-ms.
"""

import argparse
import json
import os
import statistics
import time
from pathlib import Path

import torch

from midfill.config.constraint import from_schema
from midfill.engine.grammar import Grammars
from midfill.tokenizer.tokenizer import Tokenizer

ROWS = 102_400
DATA = Path(os.environ.get("MIDFILL_DATA", Path(__file__).parents[2] / "shared" / "data"))
TEXT = {"type": "string"}
EDIT = {
    "type": "object",
    "properties": {"old": TEXT, "new": TEXT, "all": {"type": "boolean"}},
    "required": ["old", "new"],
    "additionalProperties": False,
}
SCHEMA = {
    "type": "object",
    "properties": {
        "command": {"enum": ["edit", "create", "delete"]},
        "path": TEXT,
        "edits": {"type": "array", "items": EDIT, "minItems": 1, "maxItems": 20},
    },
    "required": ["command", "path", "edits"],
    "additionalProperties": False,
}
ANSWER = {
    "command": "edit",
    "path": "src/shop/cart.py",
    "edits": [
        {"old": "return price * count", "new": "return round(price * count, 2)", "all": True},
        {"old": "def total(self):", "new": "def total(self) -> float:"},
    ],
}


def main() -> None:
    """Print a line for the first answer and one for the others."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("tokenizer", nargs="?", type=Path)
    parser.add_argument("--step-ms", type=float, default=40.0)
    parser.add_argument("--rounds", type=int, default=20)
    args = parser.parse_args()
    folder = args.tokenizer or DATA / "tokenizers" / "deepseek-v2-rebuilt"
    tokenizer = Tokenizer.from_folder(folder)
    tokenizer.pad_to(max(ROWS, tokenizer.vocab_size))
    grammars = Grammars(tokenizer)
    vocabulary = _milliseconds(lambda: (grammars.words, grammars.text_bits))
    constraint = from_schema(SCHEMA)
    compiling = _milliseconds(lambda: grammars.matcher(constraint))
    ids = tokenizer.encode(json.dumps(ANSWER))
    rounds = [_round(grammars, ids) for _ in range(args.rounds)]
    for name, chosen in (("first answer", rounds[:1]), ("later answers", rounds[1:])):
        if not chosen:
            continue
        each = [a + b for masks, advances in chosen for a, b in zip(masks, advances, strict=True)]
        row = {
            "bench": "grammar", "case": name, "vocabulary": tokenizer.rows, "tokens": len(ids),
            "mask_us": _mean(m for masks, _ in chosen for m in masks),
            "advance_us": _mean(a for _, advances in chosen for a in advances),
            "mean_us": _mean(each), "max_us": round(max(each), 1),
            "of_step": f"{_mean(each) / args.step_ms / 10:.3f} %", "step_ms": args.step_ms,
            "vocabulary_ms": round(vocabulary, 1), "compile_ms": round(compiling, 2),
        }  # fmt: skip
        print(json.dumps(row | {"load": round(os.getloadavg()[0], 2)}))


def _round(grammars: Grammars, ids: list[int]) -> tuple[list[float], list[float]]:
    """Microseconds of each mask and each advance."""
    matcher = grammars.matcher(from_schema(SCHEMA))
    masks, advances = [], []
    for token in ids:
        start = time.perf_counter()
        mask = matcher.mask()
        middle = time.perf_counter()
        matcher.advance(token)
        advances.append(1e6 * (time.perf_counter() - middle))
        masks.append(1e6 * (middle - start))
        assert mask[token]
        assert mask.dtype == torch.bool
    assert matcher.ended
    return masks, advances


def _milliseconds(work) -> float:
    start = time.perf_counter()
    work()
    return 1e3 * (time.perf_counter() - start)


def _mean(values) -> float:
    return round(statistics.fmean(values), 1)


if __name__ == "__main__":
    main()
