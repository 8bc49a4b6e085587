"""Where expanding latents becomes faster than absorbing: one V2-Lite attention layer on this machine.

    python bench/mla_crossover.py [--cached 4096] [--dtype bfloat16] [--threads N]

One JSON line per number of new tokens: milliseconds of both forms, and which one the count of
multiplications (`expand_is_cheaper`) chooses.
"""

import argparse
import json
import os
import statistics
import time

import torch

from midfill.config.model import MLAConfig, RopeConfig
from midfill.model.cache import Step
from midfill.model.mla import LatentAttention, expand_is_cheaper
from midfill.model.weights import DTYPES

NEW = (1, 4, 16, 64, 128, 171, 256, 512)


@torch.inference_mode()
def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--cached", type=int, default=4096)
    parser.add_argument("--dtype", choices=DTYPES, default="bfloat16")
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    torch.manual_seed(0)
    config, total = MLAConfig(), args.cached
    layer = LatentAttention(config, RopeConfig(dim=config.rope_dim), 2048, 0).to(DTYPES[args.dtype])
    latent = torch.randn(1, total, config.kv_rank + config.rope_dim, dtype=DTYPES[args.dtype])
    for new in NEW:
        q_nope = torch.randn(1, new, config.heads, config.nope_dim, dtype=latent.dtype)
        q_rope = torch.randn(1, new, config.heads, config.rope_dim, dtype=latent.dtype)
        positions = torch.arange(total - new, total)
        mask = torch.arange(total) <= positions[None, None, :, None] if new > 1 else None
        step = Step(positions[None], total - new, total, mask, causal=False)
        times: dict[str, list[float]] = {"expanded": [], "absorbed": []}
        for round_ in range(8):
            for name, attend in (
                ("expanded", layer.attend_expanded),
                ("absorbed", layer.attend_absorbed),
            ):
                start = time.perf_counter()
                attend(q_nope, q_rope, latent, step)
                if round_ >= 2:
                    times[name].append(1e3 * (time.perf_counter() - start))
        row: dict[str, object] = {"bench": "mla_crossover", "new": new, "cached": total}
        row |= {f"{name}_ms": round(statistics.median(t), 2) for name, t in times.items()}
        row["counted_choice"] = "expanded" if expand_is_cheaper(config, new, total) else "absorbed"
        row |= {"dtype": args.dtype, "threads": args.threads, "load": round(os.getloadavg()[0], 2)}
        print(json.dumps(row), flush=True)


if __name__ == "__main__":
    main()
