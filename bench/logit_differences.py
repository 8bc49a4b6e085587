"""Largest logit difference to transformers in every oracle configuration, as the table in docs.

    python bench/logit_differences.py [--write]

Float32, 2 x 96 tokens, weights that put logits at a magnitude of about 7. `--write` puts the table
into docs/02-network.md between its markers.
"""

import argparse
import itertools
import sys
import tempfile
from pathlib import Path

import torch

ROOT = Path(__file__).parent.parent
sys.path.insert(0, str(ROOT / "tests"))

from midfill.model import mla  # noqa: E402
from midfill.model.checkpoint import load_network, open_checkpoint  # noqa: E402
from midfill.model.transformer import Transformer  # noqa: E402
from oracle_cases import CASES, reference, tokens  # noqa: E402

OFFSETS = (5_000, 60_000, 130_000, 163_000)
PAGE = ROOT / "docs" / "02-network.md"
BEGIN, END = "<!-- logit differences -->", "<!-- end of logit differences -->"


def chunked(network: Transformer, ids: torch.Tensor, edges: list[int]) -> torch.Tensor:
    """Logits read through the cache in chunks with the given edges."""
    cache = network.new_cache(ids.shape[0], capacity=8)
    return torch.cat([network(ids[:, a:b], cache) for a, b in itertools.pairwise(edges)], dim=1)


@torch.no_grad()
def row(case: object) -> list[str]:
    """The differences of one configuration."""
    theirs, ids = reference(case), tokens()  # type: ignore[arg-type]
    with tempfile.TemporaryDirectory() as folder:
        theirs.save_pretrained(folder)
        ours = load_network(open_checkpoint(Path(folder)), torch.float32)
        want = theirs(ids).logits

        def off(got: torch.Tensor) -> str:
            return f"{(got - want).abs().max():.1e}"

        latent = hasattr(ours.layers[0].self_attn, "kv_b_proj")
        forms = []
        for expand in (True, False):
            choose = mla.expand_is_cheaper
            mla.expand_is_cheaper = lambda *_, expand=expand: expand
            forms.append(off(ours(ids)) if latent or expand else "")
            mla.expand_is_cheaper = choose
        far = 0.0
        for offset in OFFSETS:
            there = theirs(ids, position_ids=offset + torch.arange(96)[None]).logits
            far = max(far, float((ours(ids, first=offset) - there).abs().max()))
        steps = off(chunked(ours, ids, list(range(97))))
        chunks = off(chunked(ours, ids, [0, 7, 8, 60, 96]))
    return [case.name, *forms, steps, chunks, f"{far:.1e}"]  # type: ignore[attr-defined]


def main() -> None:
    """Print the table, or write it into the chapter."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--write", action="store_true")
    args = parser.parse_args()
    head = ["configuration", "one pass", "absorbed", "token by token", "chunks", "at 5K to 163K"]
    lines = ["| " + " | ".join(head) + " |", "|---" + "|--:" * (len(head) - 1) + "|"]
    lines += ["| " + " | ".join(row(case)) + " |" for case in CASES]
    table = "\n".join(lines)
    print(table)
    if args.write:
        text = PAGE.read_text(encoding="utf-8")
        before, rest = text.split(BEGIN)
        PAGE.write_text(f"{before}{BEGIN}\n{table}\n{END}{rest.split(END)[1]}", encoding="utf-8")


if __name__ == "__main__":
    main()
