"""Settings in other people's files: read as they mean it, or refused, never dropped in silence."""

import json
import os
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch

import midfill
from conftest import randomise, write_byte_tokenizer
from midfill.config.model import LinearScaling, YarnScaling
from midfill.engine.memory import fitting_context, held_bytes
from midfill.errors import CheckpointError, ConfigError, RequestError, ResourceError
from midfill.model.checkpoint import open_checkpoint
from midfill.model.convert import convert, save_hf
from midfill.model.gguf import GGUFFile
from midfill.model.gguf_config import gguf_config, to_gguf_metadata
from midfill.model.hf_config import parse_config, to_hf_config
from midfill.model.transformer import Transformer
from midfill.recipes.models import deepseek_coder_6_7b as v1
from midfill.recipes.models import deepseek_coder_v2_lite, tiny
from oracle_cases import CASES, reference

DENSE_TENSORS = {"token_embd.weight": SimpleNamespace(shape=(32256, 4096), type_name="F16")}


def as_file(metadata: dict[str, Any], tensors: dict[str, Any]) -> Any:
    """What gguf_config reads of a GGUF file."""
    architecture = metadata["general.architecture"]
    return SimpleNamespace(
        metadata=metadata, tensors=tensors, architecture=architecture, path=Path("model.gguf")
    )


def v1_file(**changes: Any) -> Any:
    """The metadata of a V1 file with some keys changed; None removes one."""
    metadata = to_gguf_metadata(v1(), name="v1", file_type=1)
    metadata |= {key.replace("__", "."): value for key, value in changes.items()}
    kept = {key: value for key, value in metadata.items() if value is not None}
    return as_file(kept, DENSE_TENSORS)


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"llama__rope__scaling__type": None},  # llama.cpp takes a bare factor as linear
        {
            "llama__rope__scaling__type": None,
            "llama__rope__scaling__factor": None,
            "llama__rope__scale_linear": 4.0,  # the key of 2023
        },
    ],
)
def test_linear_scaling_in_old_files(changes: dict[str, Any]):
    assert gguf_config(v1_file(**changes)).rope.scaling == LinearScaling(factor=4.0)


def test_an_unknown_scaling_is_refused():
    with pytest.raises(CheckpointError, match="longrope"):
        gguf_config(v1_file(llama__rope__scaling__type="longrope"))


@pytest.mark.parametrize(
    "case",
    [
        pytest.param(case, id=case.name, marks=[pytest.mark.slow] * ("head sizes" in case.name))
        for case in CASES
    ],
)
def test_gguf_keeps_the_network_or_refuses(case, tmp_path: Path):
    """Over every oracle configuration: the same logits after the way there and back, or an error."""
    config = parse_config(case.make().to_dict())
    network = Transformer(config)
    randomise(network)
    save_hf(network, tmp_path / "hf")
    write_byte_tokenizer(tmp_path / "hf")
    if any(word in case.name for word in ("attention bias", "mscale 1.0 / 0.707", "llama3")):
        with pytest.raises(CheckpointError, match="cannot be written to GGUF"):
            convert(tmp_path / "hf", tmp_path / "a.gguf", "gguf", "F32")
        return
    convert(tmp_path / "hf", tmp_path / "a.gguf", "gguf", "F32")
    ids = list(range(30, 70))
    a, b = (midfill.load(tmp_path / name, dtype="float32") for name in ("hf", "a.gguf"))
    assert abs(a.logits(ids) - b.logits(ids)).max() < 1e-5


@pytest.mark.parametrize(
    "lost",
    [
        {"attention_factor": 1.2},
        {"truncate": False},
        {"mscale": 1.0},
    ],
)
def test_yarn_that_gguf_cannot_say(lost: dict[str, Any]):
    config = tiny()
    assert isinstance(config.rope.scaling, YarnScaling)
    rope = replace(config.rope, scaling=replace(config.rope.scaling, **lost))
    with pytest.raises(CheckpointError, match="yarn"):
        to_gguf_metadata(replace(config, rope=rope), name="x", file_type=0)


def test_experts_in_every_second_layer():
    config = tiny()
    assert config.moe is not None
    sparse = replace(config, moe=replace(config.moe, every=2))
    assert parse_config(to_hf_config(sparse)) == sparse
    assert [sparse.is_moe(i) for i in range(3)] == [False, False, True]
    with pytest.raises(CheckpointError, match="each 2th"):
        to_gguf_metadata(sparse, name="x", file_type=0)


def test_nulls_mean_not_given():
    raw = to_hf_config(tiny()) | {
        "rope_theta": None,
        "aux_loss_alpha": None,
        "hidden_act": None,
        "scoring_func": None,
    }
    assert parse_config(raw).rope.theta == 10000.0


def test_yarn_added_by_the_user_lengthens_the_context():
    raw = {
        "model_type": "qwen2",
        "hidden_size": 64,
        "num_hidden_layers": 1,
        "num_attention_heads": 4,
        "num_key_value_heads": 2,
        "intermediate_size": 64,
        "vocab_size": 100,
        "max_position_embeddings": 32768,
        "rope_scaling": {
            "type": "yarn",
            "factor": 4.0,
            "original_max_position_embeddings": 32768,
        },
    }
    assert parse_config(raw).context == 131072


def test_quantised_hugging_face_weights_are_refused():
    with pytest.raises(CheckpointError, match="gptq"):
        parse_config(to_hf_config(tiny()) | {"quantization_config": {"quant_method": "gptq"}})


def test_names_keep_their_dots_and_sampling_survives(tmp_path: Path):
    folder = tmp_path / "coder-6.7b-base"
    network = Transformer(tiny())
    randomise(network)
    save_hf(network, folder)
    write_byte_tokenizer(folder)
    (folder / "generation_config.json").write_text(
        '{"do_sample": true, "temperature": 0.3, "top_p": 0.95, "eos_token_id": 7}'
    )
    file = convert(folder, tmp_path, "gguf", "F16")
    assert file == tmp_path / "coder-6.7b-base-F16.gguf"
    assert open_checkpoint(file).gguf.metadata["general.name"] == "coder-6.7b-base"  # type: ignore[union-attr]
    again = convert(folder, tmp_path / "again", "hf")
    coder = midfill.load(again, dtype="float32")
    assert coder.defaults == {"temperature": 0.3, "top_p": 0.95}
    assert 7 in coder.stop_ids
    assert midfill.load(folder / "model.safetensors").name == "coder-6.7b-base"


def test_memory_counts_what_is_copied():
    lite, gib = deepseek_coder_v2_lite(), 2**30
    assert held_bytes(lite, "bfloat16", mapped=False) == lite.weight_bytes("bfloat16")
    assert held_bytes(v1(), "bfloat16", mapped=True) == 0
    held = held_bytes(lite, "bfloat16", mapped=True)  # stacked experts are copied from the file
    assert held == 2 * 14_394_851_328
    with pytest.raises(ResourceError, match="weights take"):
        fitting_context(lite, "bfloat16", held=held, free=8 * gib, asked=None)
    fits = fitting_context(lite, "bfloat16", held=held, free=32 * gib, asked=None)
    assert 0 < fits < lite.context
    with pytest.raises(ResourceError, match="does not fit"):
        fitting_context(lite, "bfloat16", held=held, free=32 * gib, asked=fits + 1000)
    assert fitting_context(lite, "bfloat16", held=held, free=None, asked=None) == lite.context


def test_the_large_model_in_a_file_without_group_keys(tmp_path: Path):
    """Old converters left the groups out; only the 236B has 160 experts scaled by 16."""
    from midfill.recipes.models import deepseek_coder_v2

    metadata = to_gguf_metadata(deepseek_coder_v2(), name="x", file_type=1)
    for key in ("expert_group_count", "expert_group_used_count"):
        del metadata[f"deepseek2.{key}"]
    tensors = {
        "token_embd.weight": SimpleNamespace(shape=(102400, 5120), type_name="F16"),
        "blk.0.attn_q_a.weight": SimpleNamespace(shape=(1536, 5120), type_name="F16"),
        "output.weight": SimpleNamespace(shape=(102400, 5120), type_name="F16"),
    }
    config = gguf_config(as_file(metadata, tensors))
    assert config.moe == deepseek_coder_v2().moe


@torch.no_grad()
def test_ids_may_come_from_numpy_and_torch(tiny_coder):
    import numpy as np

    want = tiny_coder.logits([1, 2, 3])
    np.testing.assert_array_equal(tiny_coder.logits(np.array([1, 2, 3])), want)
    np.testing.assert_array_equal(tiny_coder.logits(torch.tensor([1, 2, 3])), want)


@pytest.mark.parametrize("suffix", ["safetensors", "bin"])
def test_a_stored_head_that_differs_is_not_tied(suffix: str, tmp_path: Path):
    """transformers does the same: fine-tuning untied them, and the config was left alone."""
    case = next(c for c in CASES if c.name.startswith("V1: grouped"))
    theirs = reference(case)
    theirs.save_pretrained(tmp_path)
    raw = json.loads((tmp_path / "config.json").read_text())
    (tmp_path / "config.json").write_text(json.dumps(raw | {"tie_word_embeddings": True}))
    if suffix == "bin":
        torch.save(dict(theirs.state_dict()), tmp_path / "pytorch_model.bin")
        (tmp_path / "model.safetensors").unlink()
    ids = list(range(40))
    with torch.no_grad():
        want = theirs(torch.tensor([ids])).logits[0].numpy()
    assert abs(midfill.load(tmp_path, dtype="float32").logits(ids) - want).max() < 1e-4
    convert(tmp_path, tmp_path / "a.gguf", "gguf", "F32")
    assert "output.weight" in GGUFFile(tmp_path / "a.gguf").tensors


def test_a_device_is_not_replaced_by_a_file(tiny_folder: Path, tmp_path: Path):
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    with pytest.raises(ConfigError, match="is no file"):
        convert(tiny_folder, pipe, "gguf")
    assert pipe.is_fifo()


@pytest.mark.parametrize("tokenizer", [True, False])
def test_every_id_that_ends_an_answer_survives(tokenizer: bool, tmp_path: Path):
    network = Transformer(replace(tiny(), bos=3, eos=(7, 40, 41)))
    randomise(network)
    save_hf(network, tmp_path / "hf")
    if tokenizer:
        write_byte_tokenizer(tmp_path / "hf")
    raw = {"do_sample": True, "temperature": 0.3, "top_p": 0.95, "eos_token_id": [7, 40, 41]}
    (tmp_path / "hf" / "generation_config.json").write_text(json.dumps(raw))
    convert(tmp_path / "hf", tmp_path / "a.gguf", "gguf", "F16")
    convert(tmp_path / "a.gguf", tmp_path / "back", "hf")
    for name in ("a.gguf", "back"):
        coder = midfill.load(tmp_path / name, dtype="float32")
        wanted = {7, 40} if tokenizer else {7, 40, 41}  # GGUF has three places, eos takes one
        assert wanted <= coder.stop_ids
        assert coder.defaults == pytest.approx({"temperature": 0.3, "top_p": 0.95})


@pytest.mark.parametrize(
    "options",
    [{"n": True}, {"stop": 5}, {"logit_bias": [1]}, {"temperature": "1"}, {"top_p": float("nan")}],
)
def test_options_of_the_wrong_kind(tiny_coder, options: dict[str, Any]):
    with pytest.raises(RequestError) as caught:
        tiny_coder.complete("x", max_tokens=1, **options)
    assert caught.value.param == next(iter(options))


def test_none_means_not_given(tiny_coder):
    plain = tiny_coder.complete("x", max_tokens=3)
    assert tiny_coder.complete("x", max_tokens=3, temperature=None, stop=None, n=None) == plain


@pytest.mark.parametrize("prompt", [None, 5, b"abc", [1.5], [None]])
def test_a_prompt_of_the_wrong_kind(tiny_coder, prompt: Any):
    with pytest.raises(RequestError):
        tiny_coder.complete(prompt)
    with pytest.raises(RequestError):
        tiny_coder.fill(prompt, "x")
