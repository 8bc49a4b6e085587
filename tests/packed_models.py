"""Small networks in the forms in which models are found, and whether their packed weights hold them."""

import os
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor

from midfill.config.model import GQAConfig, MLAConfig, ModelConfig, RopeConfig
from midfill.kernels import cpu
from midfill.model.checkpoint import Checkpoint, open_checkpoint
from midfill.model.convert import convert
from midfill.model.packed_weights import PackedWeights
from midfill.recipes.models import tiny

needs_kernels = pytest.mark.skipif(
    cpu.native is None, reason=f"there are no compiled kernels: {cpu.why_not}"
)


def llama(**changes) -> ModelConfig:
    """Grouped heads, a width that is no multiple of 16."""
    values = {
        "family": "llama", "vocab": 100, "dim": 96, "layers": 2, "hidden": 88 + 8,
        "attention": GQAConfig(heads=6, kv_heads=2, head_dim=16), "rope": RopeConfig(dim=16),
        "context": 64, "dtype": "float32",
    }  # fmt: skip
    return ModelConfig(**(values | changes))


def qwen2() -> ModelConfig:
    attention = GQAConfig(heads=6, kv_heads=2, head_dim=16, qkv_bias=True)
    return llama(family="qwen2", attention=attention, tie_embedding=True)


def all_biases() -> ModelConfig:
    attention = GQAConfig(heads=6, kv_heads=2, head_dim=16, qkv_bias=True, out_bias=True)
    return llama(attention=attention, mlp_bias=True, hidden=72, dim=88)


def v2_plain_query() -> ModelConfig:
    moe = tiny().moe
    assert moe is not None
    attention = MLAConfig(heads=4, kv_rank=64, nope_dim=32, rope_dim=8, v_dim=32)
    return replace(tiny(), attention=attention, moe=replace(moe, hidden=64))


CONFIGS = {f.__name__: f for f in (tiny, v2_plain_query, llama, qwen2, all_biases)}


def stored(tiny_folders: dict[str, Path], to: Path, name: str, form: str) -> Checkpoint:
    """A model in one of the forms in which it is found."""
    if form == "folder":
        return open_checkpoint(tiny_folders[name])
    if form in ("float16", "bfloat16"):
        quant_ = {"float16": "F16", "bfloat16": "BF16"}[form]
        return open_checkpoint(convert(tiny_folders[name], to / form, "hf", quant_))
    if form == "bin":
        shutil.copytree(tiny_folders[name], to / "bin")
        state = load_file(to / "bin/model.safetensors")
        (to / "bin/model.safetensors").unlink()
        torch.save(state, to / "bin/pytorch_model.bin")
        return open_checkpoint(to / "bin")
    return open_checkpoint(convert(tiny_folders[name], to / "model.gguf", "gguf", form))


def rows_of_pair(joined: Tensor, hidden: int) -> tuple[Tensor, Tensor]:
    """gate and up out of their panels."""
    gate, up = joined.unflatten(0, (-1, 2, 16)).unbind(1)
    assert not gate.flatten(0, 1)[hidden:].any()
    assert not up.flatten(0, 1)[hidden:].any()
    return gate.flatten(0, 1)[:hidden], up.flatten(0, 1)[:hidden]


def check(weights: PackedWeights, checkpoint: Checkpoint) -> None:
    """Every number of the checkpoint is in the packed weights, in its place."""
    for name, shape in checkpoint.config.tensors():
        want = checkpoint.weights.read(name, torch.float32)
        if name.endswith("kv_b_proj.weight"):
            check_expansion(weights, name, want, checkpoint.config.attention)
            continue
        got = tensor_of(weights, name, shape)
        assert torch.equal(got, want), name


def tensor_of(weights: PackedWeights, name: str, shape: tuple[int, ...]) -> Tensor:
    base, _, leaf = name.rpartition(".mlp.")
    part = leaf.split(".")[-2] if leaf else ""
    if part not in ("gate_proj", "up_proj", "down_proj"):
        if len(shape) == 1:
            return torch.from_numpy(weights.array(name).copy())
        matrix = weights.matrix(name)
        bias = name.removesuffix("weight") + "bias"
        assert (matrix.bias is None) == (bias not in weights)
        return matrix.values()
    which = ("gate_proj", "up_proj").index(part) if part != "down_proj" else None
    if leaf.startswith("experts."):
        block = weights.experts(int(base.rsplit(".", 1)[1]))
        expert = int(leaf.split(".")[1])
        matrix = block.down[expert] if which is None else block.gate_up[expert]
    else:
        owner = f"{base}.mlp." + ("shared_experts." if leaf.startswith("shared") else "")
        matrix = weights.matrix(owner + ("down_proj.weight" if which is None else "gate_up"))
    if name.endswith(".bias"):
        assert matrix.bias is not None
        values = torch.from_numpy(matrix.bias.copy())
    else:
        values = matrix.values()
    return values if which is None else rows_of_pair(values, shape[0])[which]


def check_expansion(weights: PackedWeights, name: str, want: Tensor, a) -> None:
    prefix = name.removesuffix("kv_b_proj.weight")
    k_HCN = weights.matrix(prefix + "k_up").values().view(a.heads, a.kv_rank, a.nope_dim)
    v_HVC = weights.matrix(prefix + "v_up").values().view(a.heads, a.v_dim, a.kv_rank)
    assert torch.equal(torch.cat([k_HCN.transpose(1, 2), v_HVC], dim=1).flatten(0, 1), want)
    expanded = weights.array(prefix + "k_expand")
    assert expanded.shape == (a.heads, a.nope_dim, a.kv_rank)
    bits = torch.from_numpy(expanded.view(np.int16).copy()).view(torch.bfloat16)
    assert torch.equal(bits, k_HCN.transpose(1, 2).bfloat16())
    v_expand = weights.matrix(prefix + "v_expand")
    assert v_expand.kind == "BF16"
    assert torch.equal(v_expand.values(), v_HVC.flatten(0, 1).bfloat16().float())


def same(a: PackedWeights, b: PackedWeights) -> bool:
    return a._file.blocks == b._file.blocks and np.array_equal(a._file.data, b._file.data)


def run_python(code: str) -> str:
    result = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=50, env=environment()
    )
    assert result.returncode == 0, result.stderr
    return result.stdout


def environment() -> dict[str, str]:
    return os.environ | {"OMP_NUM_THREADS": "1"}
