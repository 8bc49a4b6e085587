"""Decode speed at batch 1: midfill against transformers, both in bfloat16, interleaved.

    python bench/decode_speed.py [MODEL] [--tokens 64] [--rounds 5] [--threads N]

The same weights (MODEL written as a Hugging Face folder in bfloat16) and the same greedy decoding
of the same number of tokens; transformers as its users call it (`generate` with its cache and its
default attention). One JSON line per round and implementation, then the ratio of the medians.
"""

import argparse
import json
import os
import statistics
import tempfile
import time
from pathlib import Path

import torch
from transformers import AutoModelForCausalLM

import midfill
from midfill.hub import resolve
from midfill.model.convert import convert

PROMPT = "def quicksort(values):\n    "


def main() -> None:
    """Print the rounds and the ratio."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("model", nargs="?", default="smollm2-135m-instruct")
    parser.add_argument("--tokens", type=int, default=64)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    with tempfile.TemporaryDirectory() as folder:
        convert(resolve(args.model), Path(folder), "hf", "BF16")
        ours = midfill.load(folder, dtype="bfloat16", device="cpu", threads=args.threads)
        theirs = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.bfloat16).eval()
        ids = ours.encode_prompt(PROMPT).ids
        prompt = torch.tensor([ids])

        def run_ours() -> list[int]:
            return ours.complete(ids, max_tokens=args.tokens, ignore_eos=True).tokens

        @torch.inference_mode()
        def run_theirs() -> list[int]:
            out = theirs.generate(
                prompt, attention_mask=torch.ones_like(prompt), max_new_tokens=args.tokens,
                min_new_tokens=args.tokens, do_sample=False, pad_token_id=0,
            )  # fmt: skip
            return out[0, len(ids) :].tolist()

        speeds: dict[str, list[float]] = {"midfill": [], "transformers": []}
        for round_ in range(args.rounds + 1):
            for name, run in (("midfill", run_ours), ("transformers", run_theirs)):
                start = time.perf_counter()
                tokens = run()
                rate = len(tokens) / (time.perf_counter() - start)
                if round_:  # the first warms up
                    speeds[name].append(rate)
                    row = {"bench": "decode", "impl": name, "tokens_per_s": round(rate, 2)}
                    print(json.dumps(row | _state(args.threads)), flush=True)
        medians = {name: statistics.median(values) for name, values in speeds.items()}
        ratio = medians["midfill"] / medians["transformers"]
        row = {
            "bench": "decode",
            "model": args.model,
            **{k: round(v, 2) for k, v in medians.items()},
        }
        print(json.dumps(row | {"ratio": round(ratio, 2)} | _state(args.threads)))


def _state(threads: int) -> dict[str, float]:
    return {"threads": threads, "load": round(os.getloadavg()[0], 2)}


if __name__ == "__main__":
    main()
