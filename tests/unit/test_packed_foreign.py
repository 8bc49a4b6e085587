"""Packing GGUF files that others write: legacy, mixed and fused tensors."""

from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from conftest import randomise
from midfill.config.model import GQAConfig
from midfill.kernels import quant
from midfill.model.checkpoint import Checkpoint, open_checkpoint
from midfill.model.convert import convert, save_hf
from midfill.model.gguf import GGUFFile, TensorOut, write_gguf
from midfill.model.packed_weights import packed_weights
from midfill.model.transformer import Transformer
from packed_models import check, check_expansion, llama, needs_kernels
from random_blocks import random_blocks

pytestmark = needs_kernels


def rewritten(path: Path, target: Path, change) -> Checkpoint:
    """A copy of a GGUF file; `change(name, float32 values, type)` gives what to write instead.

    Of types that we do not quantise to, any numbers are written.
    """
    file = GGUFFile(path)
    raw, out = path.read_bytes(), []
    for info in file.tensors.values():
        type_ = quant.BY_ID[info.type_id]
        values = torch.empty(info.shape)
        data = np.frombuffer(raw, np.uint8, info.size, info.offset).copy()
        quant.dequantise(torch.from_numpy(data), type_, values)
        for name, value, kind in change(info.name, values, type_.name) or ():
            if quant.TYPES[kind].pack is None:
                count = value.numel() // quant.TYPES[kind].elements
                as_bytes = torch.from_numpy(random_blocks(kind, count, len(out)).reshape(-1))
            else:
                as_bytes = quant.quantise(value.contiguous(), quant.TYPES[kind])
            out.append(
                TensorOut(
                    name,
                    tuple(value.shape),
                    quant.TYPES[kind].id,
                    lambda as_bytes=as_bytes: iter([as_bytes]),
                )
            )
    write_gguf(target, file.metadata, out)
    return open_checkpoint(target)


@pytest.mark.parametrize("kind", ["F32", "BF16", "Q8_0"])
def test_a_legacy_expansion_is_split(tiny_folders, tmp_path, kind: str):
    path = convert(tiny_folders["v2_plain_query"], tmp_path / "new.gguf", "gguf", "F32")
    halves = {}

    def join(name: str, value: Tensor, stored_as: str):
        base, _, half = name.rpartition(".attn_")
        if half not in ("k_b.weight", "v_b.weight"):
            return [(name, value, stored_as)]
        halves[base, half[0]] = value
        if (base, "k") not in halves or (base, "v") not in halves:
            return None
        both = [halves[base, "k"].transpose(1, 2), halves[base, "v"]]
        return [(base + ".attn_kv_b.weight", torch.cat(both, dim=1).flatten(0, 1), kind)]

    checkpoint = rewritten(path, tmp_path / "legacy.gguf", join)
    weights = packed_weights(checkpoint, folder=None)
    prefix = "model.layers.0.self_attn."
    assert weights.matrix(prefix + "v_up").kind == kind
    if kind != "Q8_0":
        assert weights.notes == ()
        return check(weights, checkpoint)
    assert weights.matrix(prefix + "k_up").kind == "BF16"
    (note,) = weights.notes
    more = 3 * 4 * 32 * 64 * 2 - 3 * 4 * 32 * 64 // 32 * 34
    assert note == (
        "the keys' half of Q8_0 kv_b_proj is transposed, held as BF16: "
        f"3 matrices, {more:,} bytes more"
    )
    a = checkpoint.config.attention
    want = checkpoint.weights.read(prefix + "kv_b_proj.weight", torch.float32)
    k_HNC, v_HVC = want.unflatten(0, (a.heads, -1)).split([a.nope_dim, a.v_dim], dim=1)
    rounded = torch.cat([k_HNC.bfloat16().float(), v_HVC], dim=1).flatten(0, 1)
    check_expansion(weights, prefix + "kv_b_proj.weight", rounded, a)


MIXED = {
    "token_embd": "Q2_K", "output": "Q6_K", "attn_q": "Q4_K", "attn_k": "Q3_K", "attn_v": "Q5_K",
    "attn_output": "Q4_1", "ffn_gate": "Q5_0", "ffn_up": "Q5_0", "ffn_down": "Q5_1",
}  # fmt: skip


def test_every_quantised_type(tmp_path):
    network = Transformer(llama(dim=256, attention=GQAConfig(heads=4, kv_heads=2, head_dim=64)))
    randomise(network)
    save_hf(network, tmp_path / "model")
    path = convert(tmp_path / "model", tmp_path / "new.gguf", "gguf", "F32")

    def change(name: str, value: Tensor, stored_as: str):
        return [(name, value, MIXED.get(name.split(".")[-2], stored_as))]

    checkpoint = rewritten(path, tmp_path / "mixed.gguf", change)
    weights = packed_weights(checkpoint, folder=None)
    check(weights, checkpoint)
    kinds = {block["matrix"][0] for block in weights._file.blocks.values() if "matrix" in block}
    assert kinds == set(MIXED.values())
    assert weights.notes == ()


def test_fused_queries_keys_and_values(tiny_folders, tmp_path):
    path = convert(tiny_folders["llama"], tmp_path / "new.gguf", "gguf", "Q8_0")
    parts = {}

    def fuse(name: str, value: Tensor, stored_as: str):
        base, _, part = name.rpartition(".attn_")
        if part not in ("q.weight", "k.weight", "v.weight"):
            return [(name, value, stored_as)]
        parts[base, part[0]] = value
        if not all((base, p) in parts for p in "qkv"):
            return None
        fused = torch.cat([parts[base, p] for p in "qkv"])
        return [(base + ".attn_qkv.weight", fused, stored_as)]

    checkpoint = rewritten(path, tmp_path / "fused.gguf", fuse)
    check(packed_weights(checkpoint, folder=None), checkpoint)


@pytest.mark.parametrize("where", ["dense", "experts"])
def test_gate_and_up_of_different_types_are_both_widened(tiny_folders, tmp_path, where: str):
    path = convert(tiny_folders["tiny"], tmp_path / "new.gguf", "gguf", "Q8_0")
    part = {"dense": "ffn_up.weight", "experts": "ffn_up_exps.weight"}[where]

    def change(name: str, value: Tensor, stored_as: str):
        return [(name, value, "Q4_0" if name.endswith(part) else stored_as)]

    weights = packed_weights(rewritten(path, tmp_path / "mixed.gguf", change), folder=None)
    dense, experts = weights.matrix("model.layers.0.mlp.gate_up"), weights.experts(1).gate_up
    assert (dense.kind, experts.kind) == (
        ("BF16", "Q8_0") if where == "dense" else ("Q8_0", "BF16")
    )
    assert weights.notes[0].startswith("gate is Q8_0 and up Q4_0, held as BF16: ")
