"""A GGUF file with the true sizes of DeepSeek-Coder-V2-Lite and random weights, to measure speed.

    python bench/make_lite_gguf.py OUT.gguf [--dtype q4_0|q8_0] [--layers 27] [--seed 0]
    python bench/make_lite_gguf.py OUT.gguf --one-layer-attention

The first is 8.98 GB in Q4_0 (16.70 GB in Q8_0) and is read by llama.cpp and midfill alike; the
second has one dense layer with the same latent attention and nothing else of size: 59 MB, in which
the time that a long context costs shows at once. Written piece by piece: memory holds one pool of
random blocks, never a tensor. The vocabulary is DeepSeek's own, from the benchmark data
(MIDFILL_DATA, or the data folder of the tests).

Limits of what such a file can tell: random routing is uniform, real routing is skewed; random
logits say nothing of quality.
"""

import argparse
import json
import os
import random
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from math import prod
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from midfill.errors import ConfigError, UserError
from midfill.kernels.quant import TYPES, BlockType
from midfill.model.gguf import GGUFFile, TensorOut, write_gguf

ROOT = Path(__file__).parent.parent
VOCABULARY = Path("tokenizers") / "llama-cpp-vectors" / "ggml-vocab-deepseek-llm.gguf"
COPIED = ("tokenizer.ggml.tokens", "tokenizer.ggml.token_type", "tokenizer.ggml.merges")
FILE_TYPES = {"Q4_0": 2, "Q8_0": 7}
LITE_LAYERS = 27
WITHOUT_Q_RANK = (26, 27)  # with other numbers of layers llama.cpp insists on a q_lora_rank

HEADS, KV_RANK, NOPE, ROPE, VALUE = 16, 512, 128, 64, 128
VOCAB, EXPERTS, TOP_K, SHARED = 102400, 64, 6, 2

STD = 0.02  # of the weights
SCALES = {"Q4_0": STD / 4.6, "Q8_0": STD / 74}  # uniform nibbles deviate by 4.6, bytes by 74
# Random blocks of each type; tensors are cut from them at random offsets. An odd number, so that a
# tensor that goes round holds no row twice.
POOL = (1 << 21) - 1


@dataclass(frozen=True, slots=True, kw_only=True)
class Sizes:
    """What differs between the whole network and its attention alone."""

    layers: int = LITE_LAYERS
    dim: int = 2048
    hidden: int = 10944  # of the dense layer
    expert_hidden: int = 1408
    q_rank: int = 0  # 0: queries are not compressed
    matrix: str = "Q4_0"
    name: str = "synthetic DeepSeek-Coder-V2-Lite"


@dataclass(frozen=True, slots=True)
class Row:
    """One tensor: name, type, shape (outermost first) and the share read for each token."""

    name: str
    kind: BlockType
    shape: tuple[int, ...]
    read: float = 1.0

    @property
    def bytes(self) -> int:
        """Bytes stored."""
        return prod(self.shape) // self.kind.elements * self.kind.bytes


ONE_LAYER = Sizes(
    layers=1, dim=256, hidden=64, q_rank=64, matrix="Q8_0", name="one layer of Lite's attention"
)


def rows(sizes: Sizes) -> Iterator[Row]:
    """Every tensor of the file, in order."""
    matrix, exact, f32 = TYPES[sizes.matrix], TYPES["Q8_0"], TYPES["F32"]
    yield Row("token_embd.weight", matrix, (VOCAB, sizes.dim), 0.0)
    for i in range(sizes.layers):
        layer = [*_attention(sizes), *(_experts(sizes) if i else _dense(sizes))]
        for name, kind, shape, read in layer:
            yield Row(f"blk.{i}.{name}.weight", kind or matrix, shape, read)
    yield Row("output_norm.weight", f32, (sizes.dim,))
    yield Row("output.weight", exact, (VOCAB, sizes.dim))


Part = tuple[str, BlockType | None, tuple[int, ...], float]  # type None: that of the matrices


def _attention(sizes: Sizes) -> list[Part]:
    dim, exact, f32 = sizes.dim, TYPES["Q8_0"], TYPES["F32"]
    width = HEADS * (NOPE + ROPE)
    query: list[Part] = [("attn_q", None, (width, dim), 1.0)]
    if sizes.q_rank:
        query = [
            ("attn_q_a", None, (sizes.q_rank, dim), 1.0),
            ("attn_q_a_norm", f32, (sizes.q_rank,), 1.0),
            ("attn_q_b", None, (width, sizes.q_rank), 1.0),
        ]
    return [
        ("attn_norm", f32, (dim,), 1.0),
        *query,
        ("attn_kv_a_mqa", None, (KV_RANK + ROPE, dim), 1.0),
        ("attn_kv_a_norm", f32, (KV_RANK,), 1.0),
        ("attn_k_b", exact, (HEADS, KV_RANK, NOPE), 1.0),
        ("attn_v_b", exact, (HEADS, VALUE, KV_RANK), 1.0),
        ("attn_output", None, (dim, HEADS * VALUE), 1.0),
        ("ffn_norm", f32, (dim,), 1.0),
    ]


def _dense(sizes: Sizes) -> list[Part]:
    up, down = (sizes.hidden, sizes.dim), (sizes.dim, sizes.hidden)
    return [
        ("ffn_gate", None, up, 1.0),
        ("ffn_up", None, up, 1.0),
        ("ffn_down", None, down, 1.0),
    ]


def _experts(sizes: Sizes) -> list[Part]:
    dim, hidden, chosen = sizes.dim, sizes.expert_hidden, TOP_K / EXPERTS
    shared = SHARED * hidden  # all shared experts are one wide one
    return [
        ("ffn_gate_inp", TYPES["F32"], (EXPERTS, dim), 1.0),
        ("ffn_gate_exps", None, (EXPERTS, hidden, dim), chosen),
        ("ffn_up_exps", None, (EXPERTS, hidden, dim), chosen),
        ("ffn_down_exps", None, (EXPERTS, dim, hidden), chosen),
        ("ffn_gate_shexp", None, (shared, dim), 1.0),
        ("ffn_up_shexp", None, (shared, dim), 1.0),
        ("ffn_down_shexp", None, (dim, shared), 1.0),
    ]


def metadata(sizes: Sizes, vocabulary: GGUFFile) -> dict[str, Any]:
    """The keys llama.cpp and midfill need."""
    keys: dict[str, Any] = {
        "block_count": sizes.layers,
        "context_length": 163840,
        "embedding_length": sizes.dim,
        "feed_forward_length": sizes.hidden,
        "attention.head_count": HEADS,
        "attention.head_count_kv": 1,
        "attention.layer_norm_rms_epsilon": 1e-6,
        "attention.kv_lora_rank": KV_RANK,
        "attention.key_length": KV_RANK + ROPE,
        "attention.value_length": KV_RANK,
        "attention.key_length_mla": NOPE + ROPE,
        "attention.value_length_mla": VALUE,
        "rope.freq_base": 10000.0,
        "rope.dimension_count": ROPE,
        "rope.scaling.type": "yarn",
        "rope.scaling.factor": 40.0,
        "rope.scaling.original_context_length": 4096,
        "rope.scaling.yarn_log_multiplier": 0.0707,
        "expert_count": EXPERTS,
        "expert_used_count": TOP_K,
        "expert_shared_count": SHARED,
        "expert_feed_forward_length": sizes.expert_hidden,
        "expert_weights_scale": 1.0,
        "leading_dense_block_count": 1,
        "vocab_size": VOCAB,
    }
    if sizes.q_rank or sizes.layers not in WITHOUT_Q_RANK:
        keys["attention.q_lora_rank"] = sizes.q_rank
    general = {
        "general.architecture": "deepseek2",
        "general.name": sizes.name,
        "general.file_type": FILE_TYPES[sizes.matrix],
        "general.quantization_version": 2,
        "tokenizer.ggml.model": "gpt2",
        "tokenizer.ggml.pre": "deepseek-llm",
        "tokenizer.ggml.bos_token_id": 100000,
        "tokenizer.ggml.eos_token_id": 100001,
    }
    texts = {key: list(vocabulary.metadata[key]) for key in COPIED}
    missing = range(len(texts[COPIED[0]]), VOCAB)
    texts[COPIED[0]] += [f"[PAD{id_}]" for id_ in missing]
    texts[COPIED[1]] += [5] * len(missing)  # unused
    return general | texts | {f"deepseek2.{key}": value for key, value in keys.items()}


def vocabulary_file() -> GGUFFile:
    """DeepSeek's vocabulary in the benchmark data. Raises ConfigError where there is none."""
    data = Path(os.environ.get("MIDFILL_DATA", ROOT.parent / "shared" / "data"))
    if not (data / VOCABULARY).is_file():
        raise ConfigError(
            f"there is no vocabulary {data / VOCABULARY}",
            why="the file must hold DeepSeek's tokens: llama.cpp loads none without",
            fix="MIDFILL_DATA=/folder/with/tokenizers/llama-cpp-vectors",
        )
    return GGUFFile(data / VOCABULARY)


class Pool:
    """Random blocks of every type, from which tensors are cut."""

    def __init__(self, seed: int, blocks: int = POOL) -> None:
        self.seed, self.count = seed, blocks
        self.blocks: dict[str, Tensor] = {}

    def parts(self, row: Row) -> Callable[[], Iterator[Tensor]]:
        """The bytes of `row`, in pieces of at most the pool's size."""
        if row.kind.name == "F32":
            return lambda: iter([self._plain(row).view(-1).view(torch.uint8)])
        return lambda: self._cut(row)

    def _plain(self, row: Row) -> Tensor:
        if "norm" in row.name:
            return torch.ones(row.shape)
        random_numbers = torch.Generator().manual_seed(self._draw(row).getrandbits(63))
        return torch.randn(row.shape, generator=random_numbers) * STD

    def _cut(self, row: Row) -> Iterator[Tensor]:
        pool = self._pool(row.kind)
        at, left = self._draw(row).randrange(self.count), prod(row.shape) // row.kind.elements
        while left:
            piece = pool[at : at + left]
            yield piece.view(-1)
            at, left = 0, left - len(piece)

    def _draw(self, row: Row) -> random.Random:
        """Random numbers that depend on the seed and the tensor alone."""
        return random.Random(f"{self.seed} {row.name}")

    def _pool(self, kind: BlockType) -> Tensor:
        """Blocks of random integers under one scale; no -128, which real Q8_0 files never hold."""
        if kind.name not in self.blocks:
            generator = torch.Generator().manual_seed(self.seed)
            shape = (self.count, kind.bytes)
            blocks = torch.randint(0, 256, shape, dtype=torch.uint8, generator=generator)
            if kind.name == "Q8_0":
                blocks[blocks == 128] = 129
            scale = torch.tensor([SCALES[kind.name]], dtype=torch.float16)
            blocks[:, :2] = scale.view(torch.uint8)
            self.blocks[kind.name] = blocks
        return self.blocks[kind.name]


def write_lite(
    path: Path,
    sizes: Sizes,
    seed: int = 0,
    progress: Callable[[int, int], None] | None = None,
) -> list[Row]:
    """Write the file; it appears under its name when it is whole. Returns what it holds."""
    table, pool = list(rows(sizes)), Pool(seed)
    keys = metadata(sizes, vocabulary_file())
    out = [TensorOut(row.name, row.shape, row.kind.id, pool.parts(row)) for row in table]
    path.parent.mkdir(parents=True, exist_ok=True)
    write_gguf(path, keys, out, progress)
    return table


def bytes_table(table: list[Row]) -> list[tuple[str, int, str, str, int, float]]:
    """Tensors of one kind together: name, count, type, shape, bytes, bytes read for each token."""
    groups: dict[str, list[Row]] = {}
    for row in table:
        name = ".".join(p for p in row.name.split(".") if p not in ("blk", "weight"))
        groups.setdefault(name.lstrip("0123456789."), []).append(row)
    return [
        (
            name,
            len(group),
            group[0].kind.name,
            "x".join(map(str, group[0].shape)),
            sum(row.bytes for row in group),
            sum(row.bytes * row.read for row in group),
        )
        for name, group in groups.items()
    ]


def bytes_per_token(table: list[Row]) -> float:
    """Bytes of weights that one token reads: all but the embedding, and the chosen experts."""
    return sum(row.bytes * row.read for row in table)


def show_table(table: list[Row]) -> None:
    """Print the bytes of every kind of tensor and their sums."""
    form = "{:<16}{:>6}  {:<5}{:>14}{:>11}{:>15}"
    print(form.format("tensor", "count", "type", "shape", "MB", "MB per token"))
    for name, count, kind, shape, size, read in bytes_table(table):
        print(form.format(name, count, kind, shape, f"{size / 1e6:.2f}", f"{read / 1e6:.2f}"))
    total, read = sum(row.bytes for row in table), bytes_per_token(table)
    weights = f"{sum(prod(row.shape) for row in table):,} weights"
    print(form.format("total", len(table), "", "", f"{total / 1e6:.1f}", f"{read / 1e6:.1f}"))
    print(weights)


def show_progress(name: str) -> Callable[[int, int], None]:
    """One line on stderr that is written over, at most ten times a second."""
    shown = 0.0

    def report(done: int, total: int) -> None:
        nonlocal shown
        if done < total and time.monotonic() - shown < 0.1:
            return
        shown = time.monotonic()
        end = "\n" if done == total else ""
        line = f"\r{name}: {done / 1e9:.2f} of {total / 1e9:.2f} GB"
        print(line, end=end, file=sys.stderr, flush=True)

    return report


def main() -> None:
    """Write the file and print what it holds."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("out", type=Path, nargs="?", help="without it, only the table is printed")
    parser.add_argument("--dtype", choices=["q4_0", "q8_0"], default="q4_0")
    parser.add_argument("--layers", type=int, default=LITE_LAYERS)
    parser.add_argument("--one-layer-attention", action="store_true")
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args()
    if args.layers < 1:
        parser.error("--layers must be at least 1")
    sizes = Sizes(layers=args.layers, matrix=args.dtype.upper())
    if args.one_layer_attention:
        sizes = ONE_LAYER
    table = list(rows(sizes))
    if args.out is not None:
        started = time.perf_counter()
        write_lite(args.out, sizes, args.seed, show_progress(args.out.name))
        took = time.perf_counter() - started
        row = {"file": str(args.out), "bytes": args.out.stat().st_size, "seconds": round(took, 1)}
        print(json.dumps(row))
    show_table(table)


if __name__ == "__main__":
    try:
        main()
    except UserError as error:
        sys.exit(str(error))
