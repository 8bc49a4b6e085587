"""Our GGUF files in llama.cpp, and files of the `gguf` package's writer in midfill."""

from dataclasses import replace
from pathlib import Path

import gguf
import numpy as np
import pytest
import torch

import midfill
from conftest import BOS, randomise, write_byte_tokenizer
from llamacpp import greedy
from midfill.config.model import GQAConfig, LinearScaling, MLAConfig, ModelConfig, RopeConfig
from midfill.model.convert import convert, save_hf
from midfill.model.gguf import GGUFFile
from midfill.model.transformer import Transformer
from midfill.recipes.models import tiny

PROMPT = [BOS, 12, 200, 31, 77, 140]


def _tiny(**changes) -> ModelConfig:
    """`tiny` without groups: llama.cpp scores groups by the sum of two, DeepSeek by the maximum."""
    config = tiny()
    assert config.moe is not None
    moe = replace(config.moe, method="greedy", groups=1, top_groups=1)
    return replace(config, **({"moe": moe} | changes))


def _dense(family: str, kv_heads: int, **changes) -> ModelConfig:
    attention = GQAConfig(heads=4, kv_heads=kv_heads, head_dim=16, qkv_bias=family == "qwen2")
    values = {
        "family": family,
        "vocab": 512,
        "dim": 64,
        "layers": 3,
        "hidden": 128,
        "attention": attention,
        "rope": RopeConfig(dim=16, theta=100000.0),
        "context": 2048,
        "dtype": "float32",
    }
    return ModelConfig(**(values | changes))


CONFIGS = {
    "deepseek2": _tiny(),
    "deepseek2, no query compression": _tiny(
        layers=27,  # llama.cpp tells Lite, which has none, by its number of layers
        attention=MLAConfig(heads=4, kv_rank=32, nope_dim=16, rope_dim=8, v_dim=16),
    ),
    "deepseek2, unequal widths": _tiny(
        attention=MLAConfig(heads=4, q_rank=32, kv_rank=64, nope_dim=32, rope_dim=8, v_dim=16)
    ),
    "llama, multi-head": _dense("llama", 4),
    "llama, linear x4": _dense(
        "llama", 2, rope=RopeConfig(dim=16, theta=100000.0, scaling=LinearScaling(factor=4.0))
    ),
    "llama, multi-query, tied": _dense("llama", 1, tie_embedding=True),
    "qwen2": _dense("qwen2", 2),
    "qwen2, tied": _dense("qwen2", 2, tie_embedding=True),
}


@pytest.fixture(scope="module", params=CONFIGS)
def folder(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A Hugging Face folder with random weights."""
    folder = tmp_path_factory.mktemp("hf")
    network = Transformer(CONFIGS[request.param])
    randomise(network)
    save_hf(network, folder)
    write_byte_tokenizer(folder)
    return folder


# Lossy types on 3 layers only: 27 of random weights are chaotic beneath any rounding.
QUANTS = [(name, "F32") for name in CONFIGS] + [
    (name, quant)
    for name, config in CONFIGS.items()
    if config.layers == 3
    for quant in ("BF16", "F16", "Q8_0")
]


@pytest.mark.parametrize(("folder", "quant"), QUANTS, indirect=["folder"])
def test_llamacpp_generates_the_same_from_our_file(folder: Path, quant: str, tmp_path: Path):
    path = tmp_path / "model.gguf"
    convert(folder, path, "gguf", quant)
    coder = midfill.load(path, dtype="float32")
    tokens, logprobs = greedy(path, PROMPT, 32)
    if quant == "F32":
        assert coder.complete(PROMPT, max_tokens=32, ignore_eos=True).tokens == tokens
    logits = torch.from_numpy(coder.logits(PROMPT + tokens))[len(PROMPT) - 1 : -1]
    ours = logits.log_softmax(1)[range(32), tokens].tolist()
    pairs = [(a, b) for a, b in zip(ours, logprobs, strict=True) if b is not None]
    assert len(pairs) > 3
    off = sum(abs(a - b) for a, b in pairs) / len(pairs)
    # Below F32 llama.cpp rounds the activations too.
    assert off < {"F32": 1e-4, "F16": 0.01, "BF16": 0.1, "Q8_0": 0.3}[quant]


def test_the_way_to_gguf_and_back_loses_nothing(folder: Path, tmp_path: Path):
    convert(folder, tmp_path / "a.gguf", "gguf")
    convert(tmp_path / "a.gguf", tmp_path / "back", "hf")
    a, b = (midfill.load(p, dtype="float32") for p in (folder, tmp_path / "back"))
    assert replace(a.config, bos=BOS, eos=(BOS + 1,)) == b.config
    for (name, x), y in zip(a.network.named_parameters(), b.network.parameters(), strict=True):
        assert torch.equal(x, y), name
    text = "def f(x): return 'Müller 你好'"
    assert a.tokenizer.encode(text) == b.tokenizer.encode(text)


def test_the_gguf_package_reads_what_we_write(folder: Path, tmp_path: Path):
    convert(folder, tmp_path / "a.gguf", "gguf", "Q8_0")
    reader = gguf.GGUFReader(tmp_path / "a.gguf")
    ours = GGUFFile(tmp_path / "a.gguf")
    assert {t.name for t in reader.tensors} == set(ours.tensors)
    for tensor in reader.tensors:
        info = ours.tensors[tensor.name]
        assert tuple(reversed(tensor.shape.tolist())) == info.shape
        assert (int(tensor.tensor_type), tensor.data_offset) == (info.type_id, info.offset)
    name = reader.get_field("general.architecture")
    assert name is not None
    assert name.contents() == ours.architecture


def legacy_file(source: Path, target: Path) -> None:
    """Rewrite a deepseek2 file as old converters did: attn_kv_b whole, expanded key widths."""
    current = gguf.GGUFReader(source)
    file = GGUFFile(source)
    a = midfill.load(source, dtype="float32").config.attention
    assert isinstance(a, MLAConfig)
    writer = gguf.GGUFWriter(target, "deepseek2")
    changed = {
        "deepseek2.attention.head_count_kv": a.heads,
        "deepseek2.attention.key_length": a.nope_dim + a.rope_dim,
        "deepseek2.attention.value_length": a.v_dim,
    }
    for field in current.fields.values():
        if field.name.startswith("GGUF.") or field.name == "general.architecture":
            continue
        if field.name.endswith("_mla"):
            continue
        value = changed.get(field.name, field.contents())
        kind = field.types[0]
        sub = field.types[-1] if kind == gguf.GGUFValueType.ARRAY else None
        writer.add_key_value(field.name, value, kind, sub_type=sub)
    tensors = {t.name: np.array(t.data) for t in current.tensors}
    for name, data in tensors.items():
        if "attn_v_b" in name:
            continue
        if "attn_k_b" in name:
            v = tensors[name.replace("attn_k_b", "attn_v_b")]
            whole = np.concatenate([data.transpose(0, 2, 1), v], axis=1)
            name, data = name.replace("attn_k_b", "attn_kv_b"), whole.reshape(-1, a.kv_rank)
        writer.add_tensor(name, np.ascontiguousarray(data))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    assert file.architecture == "deepseek2"


def test_a_legacy_file_is_the_same_network(tmp_path: Path):
    network = Transformer(_tiny())
    randomise(network)
    save_hf(network, tmp_path / "hf")
    write_byte_tokenizer(tmp_path / "hf")
    convert(tmp_path / "hf", tmp_path / "new.gguf", "gguf", "F32")
    legacy_file(tmp_path / "new.gguf", tmp_path / "old.gguf")
    old, new = (midfill.load(tmp_path / f"{n}.gguf", dtype="float32") for n in ("old", "new"))
    assert old.config == new.config
    np.testing.assert_array_equal(old.logits(PROMPT), new.logits(PROMPT))
    ours = old.complete(PROMPT, max_tokens=32, ignore_eos=True).tokens
    assert ours == greedy(tmp_path / "old.gguf", PROMPT, 32)[0]


def test_fused_qkv_and_fused_experts_are_read(tmp_path: Path):
    network = Transformer(_dense("qwen2", 2))
    randomise(network)
    save_hf(network, tmp_path / "hf")
    write_byte_tokenizer(tmp_path / "hf")
    convert(tmp_path / "hf", tmp_path / "a.gguf", "gguf", "F32")
    fuse(tmp_path / "a.gguf", tmp_path / "b.gguf", ["attn_q", "attn_k", "attn_v"], "attn_qkv", 0)
    a, b = (midfill.load(tmp_path / f"{n}.gguf", dtype="float32") for n in "ab")
    np.testing.assert_array_equal(a.logits(PROMPT), b.logits(PROMPT))

    network = Transformer(_tiny())
    randomise(network)
    save_hf(network, tmp_path / "moe")
    write_byte_tokenizer(tmp_path / "moe")
    convert(tmp_path / "moe", tmp_path / "c.gguf", "gguf", "Q8_0")
    fuse(
        tmp_path / "c.gguf",
        tmp_path / "d.gguf",
        ["ffn_gate_exps", "ffn_up_exps"],
        "ffn_gate_up_exps",
        1,
    )
    c, d = (midfill.load(tmp_path / f"{n}.gguf", dtype="float32") for n in "cd")
    np.testing.assert_array_equal(c.logits(PROMPT), d.logits(PROMPT))


def fuse(source: Path, target: Path, parts: list[str], whole: str, axis: int) -> None:
    """Rewrite a file with `parts` of each block joined along `axis` under the name `whole`."""
    current = gguf.GGUFReader(source)
    writer = gguf.GGUFWriter(target, GGUFFile(source).architecture)
    for field in current.fields.values():
        if not field.name.startswith("GGUF.") and field.name != "general.architecture":
            kind = field.types[0]
            sub = field.types[-1] if kind == gguf.GGUFValueType.ARRAY else None
            writer.add_key_value(field.name, field.contents(), kind, sub_type=sub)
    tensors = {t.name: t for t in current.tensors}
    for name, tensor in tensors.items():
        part = next((p for p in parts if f".{p}." in name), None)
        if part is not None and part != parts[0]:
            continue
        data = np.array(tensor.data)
        if part is not None:
            data = np.concatenate(
                [np.array(tensors[name.replace(part, p)].data) for p in parts], axis=axis
            )
            name = name.replace(part, whole)
        writer.add_tensor(name, np.ascontiguousarray(data), raw_dtype=tensor.tensor_type)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
