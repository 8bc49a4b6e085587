"""128K tokens of DeepSeek-Coder-V2-Lite's latent cache: really filled, then really read.

    python bench/long_cache.py [--tokens 131072] [--json]

The network has Lite's attention (27 layers, 16 heads, latents of 512 + 64) and little beside it, so
that the memory measured is that of the cache. Sequences of 512 tokens are read until every page is
full; then one token attends to all of them, and its logits are compared with those that PyTorch
computes in float32 from the same pages, whose numbers were taken out of the runner's memory. Done in
bfloat16 and in int8; printed are the bytes of the pages and what the process really grew by.
"""

import argparse
import json
import os
import tempfile
import time
from pathlib import Path

import torch
from lines import resident_bytes

from midfill.config.model import MLAConfig, ModelConfig
from midfill.engine.native_runner import NativeRunner
from midfill.engine.runner import PAGE, Span
from midfill.engine.threads import cores
from midfill.kernels.cpu import level, native, why_not
from midfill.model.cache import Cache
from midfill.model.checkpoint import load_network, open_checkpoint
from midfill.model.convert import save_hf
from midfill.model.native import NativeNetwork
from midfill.model.packed_weights import packed_weights
from midfill.model.transformer import Transformer
from midfill.recipes.models import deepseek_coder_v2_lite

CHUNK = 512
VOCAB = 512


def network_config(tokens: int) -> ModelConfig:
    """Lite's attention in an otherwise narrow network."""
    lite = deepseek_coder_v2_lite()
    assert isinstance(lite.attention, MLAConfig)
    return ModelConfig(
        family="deepseek_v2",
        vocab=VOCAB,
        dim=64,
        layers=lite.layers,
        hidden=64,
        attention=lite.attention,
        rope=lite.rope,
        context=max(tokens + 1, lite.context),
        dtype="float32",
    )


def fill(runner: NativeRunner, tokens: int, ids: torch.Tensor) -> float:
    """Fill all pages but the last with sequences of CHUNK tokens; seconds it took."""
    start, each = time.perf_counter(), CHUNK // PAGE
    for first in range(0, tokens, CHUNK):
        pages = range(first // PAGE, first // PAGE + each)
        part = ids[first : first + CHUNK].tolist()
        runner.step([Span(tokens=part, start=0, pages=pages, expanded=CHUNK, wanted=0)])
    return time.perf_counter() - start


def latents(runner: NativeRunner, tokens: int) -> list[torch.Tensor]:
    """What the pages hold, layer by layer, as float32 [tokens, 576]."""
    a = runner.config.attention
    assert isinstance(a, MLAConfig)
    width, layers = a.kv_rank + a.rope_dim, runner.config.layers
    out = [torch.empty(tokens, width) for _ in range(layers)]
    for page in range(tokens // PAGE):
        each = runner.memory(page).view(layers, -1)
        for layer, raw in enumerate(each):
            to = out[layer][page * PAGE : (page + 1) * PAGE]
            if runner.int8:
                q = raw[: PAGE * width].view(torch.int8).view(PAGE, width // 32, 32)
                scales = raw[PAGE * width :].view(torch.float16).view(PAGE, width // 32, 1)
                # the kernels multiply in bfloat16 too
                to.copy_((q.float() * scales.float()).bfloat16().view(PAGE, width))
            else:
                to.copy_(raw.view(torch.bfloat16).view(PAGE, width))
    return out


@torch.inference_mode()
def read_by_torch(network: Transformer, held: list[torch.Tensor], token: int) -> torch.Tensor:
    """The logits of one more token over the same latents, in float32."""
    tokens = len(held[0])
    cache = Cache(network.config, 1, dtype=torch.float32, capacity=tokens + 1)
    for (buffer,), values in zip(cache.layers, held, strict=True):
        buffer[0, 0, :tokens] = values
    cache.lengths = [tokens]
    return network(torch.tensor([[token]]), cache)[0, 0]


def measure(
    folder: Path, tokens: int, *, int8: bool, plain: torch.Tensor | None
) -> tuple[dict[str, object], torch.Tensor]:
    """One cache type: bytes, growth of the process, seconds to fill and to read, and the check.

    `plain`: the log-probabilities with the other cache type, to tell what 8 bits do to them.
    """
    checkpoint = open_checkpoint(folder)
    weights = packed_weights(checkpoint, folder=None)
    before = resident_bytes()["rss"]
    runner = NativeRunner(NativeNetwork(checkpoint.config, weights), tokens // PAGE + 1, int8=int8)
    ids = torch.randint(VOCAB, (tokens,), generator=torch.Generator().manual_seed(1))
    seconds = fill(runner, tokens, ids)
    last = Span(tokens=[7], start=tokens, pages=range(tokens // PAGE + 1))
    times = []
    for _ in range(5):
        start = time.perf_counter()
        got = runner.step([last])[0].clone()
        times.append(time.perf_counter() - start)
    grown = resident_bytes()["rss"] - before
    wanted = read_by_torch(load_network(checkpoint, torch.float32), latents(runner, tokens), 7)
    got, wanted = got.log_softmax(-1), wanted.log_softmax(-1)
    off = (got - wanted).abs()
    effect = None if plain is None else float((got - plain).abs().mean())
    row = {
        "cache": "int8" if int8 else "bfloat16",
        "tokens": tokens,
        "page_bytes": tokens // PAGE * runner.memory(0).numel(),
        "bytes_per_token": runner.memory(0).numel() / PAGE,
        "grown_bytes": grown,
        "fill_s": seconds,
        "read_ms": 1000 * min(times),
        "logprob_difference_mean": float(off.mean()),
        "logprob_difference_max": float(off.max()),
        "same_choice": bool(got.argmax() == wanted.argmax()),
        "effect_of_8_bits_mean": effect,
    }
    return row, got


def main() -> None:
    """Measure both types in fresh processes' worth of memory, one after the other."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--tokens", type=int, default=131_072)
    parser.add_argument("--threads", type=int, default=cores())
    parser.add_argument("--cache", choices=("bfloat16", "int8"), default=None)
    parser.add_argument("--json", action="store_true")
    given = parser.parse_args()
    assert native is not None, why_not
    native.set_threads(given.threads)
    plain = None
    with tempfile.TemporaryDirectory() as folder:
        torch.manual_seed(0)
        network = Transformer(network_config(given.tokens))
        for parameter in network.parameters():
            if parameter.dim() > 1:
                torch.nn.init.normal_(parameter, std=parameter.shape[1] ** -0.5)
        save_hf(network, Path(folder) / "model")
        for cache in (given.cache,) if given.cache else ("bfloat16", "int8"):
            model = Path(folder) / "model"
            row, plain = measure(model, given.tokens, int8=cache == "int8", plain=plain)
            if given.json:
                print(json.dumps(row), flush=True)
                continue
            print(
                f"{row['cache']}: {row['tokens']:,} tokens in {row['page_bytes'] / 1e9:.3f} GB of pages "
                f"({row['bytes_per_token']:,.0f} bytes each), process grew by "
                f"{row['grown_bytes'] / 1e9:.3f} GB; filled in {row['fill_s']:.1f} s, one token over "
                f"all of them {row['read_ms']:.1f} ms; log-probabilities off by "
                f"{row['logprob_difference_mean']:.1e} (most {row['logprob_difference_max']:.1e}), "
                f"same choice: {row['same_choice']}"
                + (
                    f"; from bfloat16 to int8 they move by {row['effect_of_8_bits_mean']:.1e}"
                    if row["effect_of_8_bits_mean"] is not None
                    else ""
                ),
                flush=True,
            )
    if not given.json:
        print(f"kernels {level()}, load {os.getloadavg()[0]:.1f}")


if __name__ == "__main__":
    main()
