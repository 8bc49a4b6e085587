"""Packed weights hold the network's numbers, in the type they were stored in or were asked for."""

import shutil

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

from conftest import randomise
from midfill.errors import CheckpointError, ConfigError
from midfill.kernels import quant
from midfill.model.checkpoint import open_checkpoint
from midfill.model.convert import save_hf
from midfill.model.packed_weights import packed_weights
from midfill.model.transformer import Transformer
from packed_models import CONFIGS, check, check_expansion, llama, needs_kernels, same, stored

pytestmark = needs_kernels

FORMS = ["folder", "float16", "bfloat16", "bin", "F32", "F16", "BF16", "Q8_0", "Q4_0"]


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("name", CONFIGS)
def test_the_numbers_are_those_of_the_checkpoint(tiny_folders, tmp_path, name: str, form: str):
    if name == "all_biases" and form.isupper():
        pytest.skip("GGUF as we write it has no such network")
    checkpoint = stored(tiny_folders, tmp_path, name, form)
    in_memory = packed_weights(checkpoint, folder=None)
    check(in_memory, checkpoint)
    assert not in_memory.mapped
    assert in_memory.notes == ()
    written = packed_weights(checkpoint, folder=tmp_path / "cache")
    mapped = packed_weights(checkpoint, folder=tmp_path / "cache")
    for weights in (written, mapped):
        assert weights.mapped
        assert same(weights, in_memory)


def test_matrices_keep_the_type_they_are_stored_in(tiny_folders, tmp_path):
    weights = packed_weights(stored(tiny_folders, tmp_path, "tiny", "Q4_0"), folder=None)
    assert weights.matrix("model.layers.0.self_attn.q_a_proj.weight").kind == "Q4_0"
    assert weights.matrix("model.layers.0.mlp.gate_up").kind == "Q4_0"
    assert weights.matrix("lm_head.weight").kind == "Q8_0"
    block = weights.experts(1)
    assert (block.count, block.gate_up.kind, block.down.kind) == (8, "Q4_0", "Q4_0")
    assert block.gate_up.stride == block.down.stride
    assert block.gate_up.stride % 64 == 0


def test_a_tied_head_is_the_embedding(tiny_folders):
    weights = packed_weights(open_checkpoint(tiny_folders["qwen2"]), folder=None)
    head, embedding = (weights.matrix(f"{n}.weight") for n in ("lm_head", "model.embed_tokens"))
    assert np.shares_memory(head.data, embedding.data)


def test_everything_is_aligned_and_read_only(tiny_folders, tmp_path):
    weights = packed_weights(open_checkpoint(tiny_folders["tiny"]), folder=tmp_path)
    for name in weights._file.blocks:
        view = weights._file.view(name)
        assert view.ctypes.data % 64 == 0
        assert not view.flags.writeable


@pytest.mark.parametrize(("quant_", "small"), [("int8", "Q8_0"), ("int4", "Q4_0")])
@pytest.mark.parametrize("form", ["folder", "bfloat16", "F16"])
def test_quantised_while_packing(tiny_folders, tmp_path, form: str, quant_: str, small: str):
    checkpoint = stored(tiny_folders, tmp_path, "v2_plain_query", form)
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


def test_quantising_what_is_quantised_changes_nothing(tiny_folders, tmp_path):
    checkpoint = stored(tiny_folders, tmp_path, "tiny", "Q8_0")
    assert same(
        packed_weights(checkpoint, folder=None, quant="int4"),
        packed_weights(checkpoint, folder=None),
    )


def test_an_unknown_quant_is_refused(tiny_folders):
    with pytest.raises(ConfigError, match="int3"):
        packed_weights(open_checkpoint(tiny_folders["tiny"]), folder=None, quant="int3")


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
def test_a_tensor_with_a_nan_is_named(tiny_folders, tmp_path, name: str, quant_: str | None):
    shutil.copytree(tiny_folders["tiny"], tmp_path / "model")
    state = load_file(tiny_folders["tiny"] / "model.safetensors")
    state[name].view(-1)[7] = float("nan")
    save_file(state, tmp_path / "model/model.safetensors")
    with pytest.raises(CheckpointError, match="NaN or infinite") as caught:
        packed_weights(open_checkpoint(tmp_path / "model"), folder=tmp_path, quant=quant_)
    assert name in caught.value.what
    assert not list(tmp_path.glob("*.pa*"))


def test_a_missing_tensor_is_named(tiny_folders, tmp_path):
    shutil.copytree(tiny_folders["tiny"], tmp_path / "model")
    state = load_file(tiny_folders["tiny"] / "model.safetensors")
    del state["model.layers.1.mlp.experts.3.down_proj.weight"]
    save_file(state, tmp_path / "model/model.safetensors")
    with pytest.raises(CheckpointError, match=r"experts\.3\.down_proj"):
        packed_weights(open_checkpoint(tmp_path / "model"), folder=tmp_path)
