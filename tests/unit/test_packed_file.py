"""The packed file: the numbers are the network's, whoever packs; anything odd and it is made again."""

import json
import logging
import os
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from conftest import randomise
from midfill.config.model import GQAConfig, MLAConfig, ModelConfig, RopeConfig
from midfill.errors import CheckpointError, ConfigError
from midfill.kernels import cpu, quant
from midfill.model import packed_file
from midfill.model.checkpoint import Checkpoint, open_checkpoint
from midfill.model.convert import convert, save_hf
from midfill.model.gguf import GGUFFile, TensorOut, write_gguf
from midfill.model.hf_config import to_hf_config
from midfill.model.packed_weights import PackedWeights, packed_weights
from midfill.model.transformer import Transformer
from midfill.recipes.models import tiny
from random_blocks import random_blocks

if cpu.native is None:
    pytest.skip(f"there are no compiled kernels: {cpu.why_not}", allow_module_level=True)


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


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    out = {}
    for name, make in CONFIGS.items():
        out[name] = tmp_path_factory.mktemp(name)
        network = Transformer(make())
        randomise(network)
        save_hf(network, out[name])
    return out


def stored(folders: dict[str, Path], to: Path, name: str, form: str) -> Checkpoint:
    """A model in one of the forms in which it is found."""
    if form == "folder":
        return open_checkpoint(folders[name])
    if form in ("float16", "bfloat16"):
        quant_ = {"float16": "F16", "bfloat16": "BF16"}[form]
        return open_checkpoint(convert(folders[name], to / form, "hf", quant_))
    if form == "bin":
        shutil.copytree(folders[name], to / "bin")
        state = load_file(to / "bin/model.safetensors")
        (to / "bin/model.safetensors").unlink()
        torch.save(state, to / "bin/pytorch_model.bin")
        return open_checkpoint(to / "bin")
    return open_checkpoint(convert(folders[name], to / "model.gguf", "gguf", form))


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


FORMS = ["folder", "float16", "bfloat16", "bin", "F32", "F16", "BF16", "Q8_0", "Q4_0"]


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("name", CONFIGS)
def test_the_numbers_are_those_of_the_checkpoint(folders, tmp_path, name: str, form: str):
    if name == "all_biases" and form.isupper():
        pytest.skip("GGUF as we write it has no such network")
    checkpoint = stored(folders, tmp_path, name, form)
    in_memory = packed_weights(checkpoint, folder=None)
    check(in_memory, checkpoint)
    assert not in_memory.mapped
    assert in_memory.notes == ()
    written = packed_weights(checkpoint, folder=tmp_path / "cache")
    mapped = packed_weights(checkpoint, folder=tmp_path / "cache")
    for weights in (written, mapped):
        assert weights.mapped
        assert same(weights, in_memory)


def same(a: PackedWeights, b: PackedWeights) -> bool:
    return a._file.blocks == b._file.blocks and np.array_equal(a._file.data, b._file.data)


def test_matrices_keep_the_type_they_are_stored_in(folders, tmp_path):
    weights = packed_weights(stored(folders, tmp_path, "tiny", "Q4_0"), folder=None)
    assert weights.matrix("model.layers.0.self_attn.q_a_proj.weight").kind == "Q4_0"
    assert weights.matrix("model.layers.0.mlp.gate_up").kind == "Q4_0"
    assert weights.matrix("lm_head.weight").kind == "Q8_0"
    block = weights.experts(1)
    assert (block.count, block.gate_up.kind, block.down.kind) == (8, "Q4_0", "Q4_0")
    assert block.gate_up.stride == block.down.stride
    assert block.gate_up.stride % 64 == 0


def test_a_tied_head_is_the_embedding(folders):
    weights = packed_weights(open_checkpoint(folders["qwen2"]), folder=None)
    head, embedding = (weights.matrix(f"{n}.weight") for n in ("lm_head", "model.embed_tokens"))
    assert np.shares_memory(head.data, embedding.data)


def test_everything_is_aligned_and_read_only(folders, tmp_path):
    weights = packed_weights(open_checkpoint(folders["tiny"]), folder=tmp_path)
    for name in weights._file.blocks:
        view = weights._file.view(name)
        assert view.ctypes.data % 64 == 0
        assert not view.flags.writeable


@pytest.mark.parametrize(("quant_", "small"), [("int8", "Q8_0"), ("int4", "Q4_0")])
@pytest.mark.parametrize("form", ["folder", "bfloat16", "F16"])
def test_quantised_while_packing(folders, tmp_path, form: str, quant_: str, small: str):
    checkpoint = stored(folders, tmp_path, "v2_plain_query", form)
    weights = packed_weights(checkpoint, folder=tmp_path / "cache", quant=quant_)
    attention = "model.layers.1.self_attn."
    kinds = {"model.embed_tokens.weight": "Q8_0", "lm_head.weight": "Q8_0"}
    kinds |= {attention + "k_up": "Q8_0", attention + "v_up": "Q8_0"}
    kinds |= {attention + "q_proj.weight": small, "model.layers.0.mlp.down_proj.weight": small}
    for name, kind in kinds.items():
        assert weights.matrix(name).kind == kind, name
    assert weights.experts(1).gate_up.kind == weights.experts(2).down.kind == small
    name = attention + "q_proj.weight"
    value = checkpoint.weights.read(name, torch.float32)
    want = torch.empty_like(value)
    quant.dequantise(quant.quantise(value, quant.TYPES[small]), quant.TYPES[small], want)
    assert torch.equal(weights.matrix(name).values(), want)
    a = checkpoint.config.attention
    name = attention + "kv_b_proj.weight"
    k_HCN = weights.matrix(attention + "k_up").values().view(a.heads, a.kv_rank, a.nope_dim)
    v = weights.matrix(attention + "v_up").values().view(a.heads, a.v_dim, a.kv_rank)
    check_expansion(weights, name, torch.cat([k_HCN.transpose(1, 2), v], dim=1).flatten(0, 1), a)
    unquantised = packed_weights(checkpoint, folder=tmp_path / "cache")  # beside the other
    assert unquantised.matrix(attention + "q_proj.weight").kind in quant.TYPES
    assert unquantised.path != weights.path


def test_a_width_that_cannot_be_quantised_stays(tmp_path):
    network = Transformer(llama(hidden=40))
    randomise(network)
    save_hf(network, tmp_path / "model")
    checkpoint = open_checkpoint(tmp_path / "model")
    weights = packed_weights(checkpoint, folder=None, quant="int4")
    assert weights.matrix("model.layers.0.mlp.down_proj.weight").kind == "F32"
    assert weights.matrix("model.layers.0.mlp.gate_up").kind == "Q4_0"
    assert weights.matrix("model.layers.0.mlp.gate_up").rows == 2 * 48
    assert weights.notes == ("rows of 40 do not divide into blocks of 32: kept as F32: 2 matrices",)


def test_quantising_what_is_quantised_changes_nothing(folders, tmp_path):
    checkpoint = stored(folders, tmp_path, "tiny", "Q8_0")
    assert same(
        packed_weights(checkpoint, folder=None, quant="int4"),
        packed_weights(checkpoint, folder=None),
    )


def test_an_unknown_quant_is_refused(folders):
    with pytest.raises(ConfigError, match="int3"):
        packed_weights(open_checkpoint(folders["tiny"]), folder=None, quant="int3")


# ------------------------------------------------------------------------ files that others write


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
def test_a_legacy_expansion_is_split(folders, tmp_path, kind: str):
    path = convert(folders["v2_plain_query"], tmp_path / "new.gguf", "gguf", "F32")
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


def test_fused_queries_keys_and_values(folders, tmp_path):
    path = convert(folders["llama"], tmp_path / "new.gguf", "gguf", "Q8_0")
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
def test_gate_and_up_of_different_types_are_both_widened(folders, tmp_path, where: str):
    path = convert(folders["tiny"], tmp_path / "new.gguf", "gguf", "Q8_0")
    part = {"dense": "ffn_up.weight", "experts": "ffn_up_exps.weight"}[where]

    def change(name: str, value: Tensor, stored_as: str):
        return [(name, value, "Q4_0" if name.endswith(part) else stored_as)]

    weights = packed_weights(rewritten(path, tmp_path / "mixed.gguf", change), folder=None)
    dense, experts = weights.matrix("model.layers.0.mlp.gate_up"), weights.experts(1).gate_up
    assert (dense.kind, experts.kind) == (
        ("BF16", "Q8_0") if where == "dense" else ("Q8_0", "BF16")
    )
    assert weights.notes[0].startswith("gate is Q8_0 and up Q4_0, held as BF16: ")


# --------------------------------------------------------------------------------- the file on disk


@pytest.fixture
def model(folders, tmp_path) -> Path:
    shutil.copytree(folders["llama"], tmp_path / "model")
    return tmp_path / "model"


def is_packed_again(model: Path, cache: Path) -> bool:
    """Whether a call wrote the file anew; its numbers are checked too."""
    told = []
    checkpoint = open_checkpoint(model)
    weights = packed_weights(checkpoint, folder=cache, progress=lambda *at: told.append(at))
    check(weights, checkpoint)
    assert weights.mapped
    if told:
        assert told[-1][0] == told[-1][1]
        assert [done for done, _ in told] == sorted(done for done, _ in told)
    return bool(told)


def test_the_second_start_only_maps(model, tmp_path):
    assert is_packed_again(model, tmp_path / "deep/cache")
    assert not is_packed_again(model, tmp_path / "deep/cache")
    assert not list(tmp_path.rglob("*.part"))


def test_the_file_of_a_model_that_is_gone_is_removed(model, tmp_path):
    cache = tmp_path / "cache"
    shutil.copytree(model, tmp_path / "other")
    assert is_packed_again(model, cache)
    assert is_packed_again(tmp_path / "other", cache)
    (cache / "foreign.packed").write_bytes(b"not ours")
    shutil.rmtree(tmp_path / "other")
    assert not is_packed_again(model, cache)
    assert len(list(cache.glob("*.packed"))) == 3  # a start that writes nothing removes nothing
    shutil.copytree(model, tmp_path / "third")
    assert is_packed_again(tmp_path / "third", cache)
    left = {path.name.partition("-")[0] for path in cache.glob("*.packed")}
    assert left == {"model", "third", "foreign.packed"}


DAMAGE = {
    "no header": lambda raw: b"",
    "half a header": lambda raw: raw[:50],
    "another magic": lambda raw: b"GGUF" + raw[4:],
    "another version": lambda raw: raw[:8] + b"\xff" + raw[9:],
    "another packing": lambda raw: raw[:12] + b"\xff" + raw[13:],
    "a garbled index": lambda raw: raw[:150] + b"\xff\xfe" + raw[152:],
    "an endless index": lambda raw: raw[:16] + b"\xff" * 8 + raw[24:],
    "another source": lambda raw: raw[:40] + bytes([raw[40] ^ 1]) + raw[41:],
    "cut off": lambda raw: raw[:-1],
    "longer": lambda raw: raw + b"\0",
    "cut off in the index": lambda raw: raw[:200],
}


@pytest.mark.parametrize("damage", DAMAGE)
def test_a_damaged_file_is_made_again(model, tmp_path, damage: str, caplog):
    cache = tmp_path / "cache"
    assert is_packed_again(model, cache)
    (path,) = cache.glob("*.packed")
    good = path.read_bytes()
    path.write_bytes(DAMAGE[damage](good))
    with caplog.at_level(logging.INFO, logger="midfill.model"):
        assert is_packed_again(model, cache)
    assert "it is made again" in caplog.text
    assert path.read_bytes() == good


def test_a_changed_source_is_packed_again(model, tmp_path):
    cache = tmp_path / "cache"
    assert is_packed_again(model, cache)
    state = load_file(model / "model.safetensors")
    state["model.layers.1.mlp.up_proj.weight"][3, 5] += 1
    save_file(state, model / "model.safetensors")
    assert is_packed_again(model, cache)
    assert not is_packed_again(model, cache)
    assert len(list(cache.glob("*.packed"))) == 1


def test_what_an_interrupted_process_left_does_no_harm(model, tmp_path):
    cache = tmp_path / "cache"
    is_packed_again(model, cache)
    (path,) = cache.glob("*.packed")
    path.rename(path.with_name(path.name + ".part"))
    assert is_packed_again(model, cache)
    assert not list(cache.glob("*.part"))


def in_memory_because(model: Path, folder: Path) -> str:
    checkpoint = open_checkpoint(model)
    weights = packed_weights(checkpoint, folder=folder)
    check(weights, checkpoint)
    assert not weights.mapped
    assert weights.path is None
    return weights.notes[-1]


def test_a_folder_that_cannot_be_made(model, tmp_path):
    (tmp_path / "file").write_text("")
    note = in_memory_because(model, tmp_path / "file" / "cache")
    assert note.startswith("the packed weights take memory of their own")
    assert "ot a directory" in note


def test_a_full_disk(model, tmp_path, monkeypatch: pytest.MonkeyPatch):
    usage = shutil.disk_usage(tmp_path)._replace(free=1000)
    monkeypatch.setattr(packed_file.shutil, "disk_usage", lambda _: usage)
    assert "No space left" in in_memory_because(model, tmp_path / "cache")
    assert not list((tmp_path / "cache").glob("*.pa*"))


def test_a_disk_that_fills_up_meanwhile(folders, tmp_path):
    """Also for .bin files, whose tensors are needed a second time."""
    stored(folders, tmp_path, "tiny", "bin")
    code = f"""
import resource, signal
from pathlib import Path
from midfill.model.checkpoint import open_checkpoint
from midfill.model.packed_weights import packed_weights
resource.setrlimit(resource.RLIMIT_FSIZE, (200_000, 200_000))
weights = packed_weights(open_checkpoint(Path({str(tmp_path / "bin")!r})),
                         folder=Path({str(tmp_path / "cache")!r}))
print(weights.mapped, weights.notes[-1])
"""
    result = run_python(code)
    assert result.startswith("False the packed weights take memory of their own"), result
    assert "File too large" in result
    assert not list((tmp_path / "cache").glob("*.pa*"))


def run_python(code: str) -> str:
    result = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=50, env=environment()
    )
    assert result.returncode == 0, result.stderr
    return result.stdout


def environment() -> dict[str, str]:
    return os.environ | {"OMP_NUM_THREADS": "1"}


def test_two_processes_at_once_write_once(folders, tmp_path):
    code = f"""
import json
from pathlib import Path
from midfill.model.checkpoint import open_checkpoint
from midfill.model.packed_weights import packed_weights
told = []
checkpoint = open_checkpoint(Path({str(folders["tiny"])!r}))
print("ready", flush=True)
input()
weights = packed_weights(checkpoint, folder=Path({str(tmp_path)!r}),
                         progress=lambda *at: told.append(at))
print(json.dumps([weights.mapped, bool(told), int(weights._file.data.sum())]))
"""
    pair = [
        subprocess.Popen(
            [sys.executable, "-c", code],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env=environment(),
        )
        for _ in range(2)
    ]
    for process in pair:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
    for process in pair:
        assert process.stdin is not None
        process.stdin.write("\n")
        process.stdin.flush()
    told = [json.loads(process.communicate(timeout=50)[0]) for process in pair]
    assert [mapped for mapped, _, _ in told] == [True, True]
    assert sorted(wrote for _, wrote, _ in told) == [False, True]
    assert told[0][2] == told[1][2]
    assert len(list(tmp_path.glob("*.packed"))) == 1


# ------------------------------------------------------------------------------------ bad weights


@pytest.mark.parametrize(
    "name",
    [
        "model.embed_tokens.weight",
        "model.norm.weight",
        "model.layers.0.mlp.gate_proj.weight",
        "model.layers.1.mlp.experts.3.down_proj.weight",
        "model.layers.1.mlp.gate.weight",
        "model.layers.2.self_attn.kv_b_proj.weight",
    ],
)
@pytest.mark.parametrize("quant_", [None, "int8"])
def test_a_tensor_with_a_nan_is_named(folders, tmp_path, name: str, quant_: str | None):
    shutil.copytree(folders["tiny"], tmp_path / "model")
    state = load_file(folders["tiny"] / "model.safetensors")
    state[name].view(-1)[7] = float("nan")
    save_file(state, tmp_path / "model/model.safetensors")
    with pytest.raises(CheckpointError, match="NaN or infinite") as caught:
        packed_weights(open_checkpoint(tmp_path / "model"), folder=tmp_path, quant=quant_)
    assert name in caught.value.what
    assert not list(tmp_path.glob("*.pa*"))


def test_a_missing_tensor_is_named(folders, tmp_path):
    shutil.copytree(folders["tiny"], tmp_path / "model")
    state = load_file(folders["tiny"] / "model.safetensors")
    del state["model.layers.1.mlp.experts.3.down_proj.weight"]
    save_file(state, tmp_path / "model/model.safetensors")
    with pytest.raises(CheckpointError, match=r"experts\.3\.down_proj"):
        packed_weights(open_checkpoint(tmp_path / "model"), folder=tmp_path)


# ------------------------------------------------------------------------------------------ memory


def test_packing_needs_memory_for_one_tensor(tmp_path):
    config = llama(vocab=16384, dim=1024, hidden=4096, dtype="bfloat16")
    generator = torch.Generator().manual_seed(0)
    state = {
        name: (
            torch.randint(-99, 99, shape, dtype=torch.int8, generator=generator) / 500
        ).bfloat16()
        for name, shape in config.tensors()
    }
    (tmp_path / "model").mkdir()
    save_file(state, tmp_path / "model/model.safetensors")
    (tmp_path / "model/config.json").write_text(json.dumps(to_hf_config(config)))
    code = f"""
from pathlib import Path
from midfill.model.checkpoint import open_checkpoint
from midfill.model.packed_weights import packed_weights

def resident(key):
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith(key))

checkpoint = open_checkpoint(Path({str(tmp_path / "model")!r}))
folder = Path({str(tmp_path)!r})
for quant, where in (("int4", None), ("int4", None), (None, folder), ("int8", folder)):
    Path("/proc/self/clear_refs").write_text("5")  # the peak is what is resident now
    before = resident("VmRSS")
    weights = packed_weights(checkpoint, folder=where, quant=quant)
    print(resident("VmHWM") - before, weights.bytes)
    del weights
"""
    _, (memory, memory_bytes), (plain, _), (small, _) = (  # the first: what torch takes once
        map(int, line.split()) for line in run_python(code).splitlines()
    )
    largest, spare = 16384 * 1024 * 2, 25_000_000
    assert plain < largest + spare
    assert small < largest + spare
    assert memory < memory_bytes + largest + spare
