"""What users get wrong: each answered by three lines (what, why, fix) and exit code 2, nothing else."""

import io
import json
import math
import os
import random
import shutil
import struct
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file

import midfill
from midfill import cli
from midfill.errors import UserError
from midfill.model.checkpoint import check_tensors, open_checkpoint
from midfill.model.convert import convert
from midfill.model.gguf import GGUFFile, write_gguf
from midfill.model.gguf_config import gguf_config
from midfill.model.hf_weights import open_hf_weights, read_safetensors_header
from midfill.tokenizer.tokenizer import Tokenizer

Run = Callable[..., list[str]]


def three_lines(out: str, err: str) -> list[str]:
    """What, why and fix, when that is all there is."""
    lines = err.splitlines()
    assert out == ""
    assert [line[:7] for line in lines] == ["error: ", "  why: ", "  fix: "], err
    assert all(len(line) > 8 for line in lines)
    return [line[7:] for line in lines]


def in_three_lines(error: UserError) -> None:
    for part in (error.what, error.why, error.fix):
        assert part
        assert "\n" not in part


class Stdin(io.TextIOWrapper):
    """The standard input, of a pipe or a terminal."""

    terminal = False

    def isatty(self) -> bool:
        return self.terminal


@pytest.fixture
def refused(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Run:
    """Run `midfill` in this process; its three lines, after checking that nothing else happened."""

    def run(*arguments: str | Path, stdin: bytes | None = b"") -> list[str]:
        monkeypatch.setattr(sys, "argv", ["midfill", *map(str, arguments)])
        monkeypatch.setattr(sys, "stdin", Stdin(io.BytesIO(stdin or b"")))
        monkeypatch.setattr(Stdin, "terminal", stdin is None)
        capsys.readouterr()
        with pytest.raises(SystemExit) as ended:
            cli.main()
        assert ended.value.code == 2
        out, err = capsys.readouterr()
        return three_lines(out, err)

    return run


@pytest.fixture
def folder(tiny_folder: Path, tmp_path: Path) -> Path:
    """A copy of the tiny model, to be broken."""
    return shutil.copytree(tiny_folder, tmp_path / "model")


@pytest.fixture(scope="module")
def tiny_gguf(tiny_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("gguf") / "tiny.gguf"
    convert(tiny_folder, path, "gguf")
    return path


@pytest.fixture
def gguf(tiny_gguf: Path, tmp_path: Path) -> Path:
    """A copy of the tiny model as GGUF, to be broken."""
    return Path(shutil.copy(tiny_gguf, tmp_path / "model.gguf"))


def complete(model: str | Path, *more: str) -> list[str | Path]:
    return ["complete", model, "--quiet", "-p", "a", "--max-tokens", "2", *more]


def change(folder: Path, edit: Callable[[dict[str, torch.Tensor]], Any]) -> None:
    path = folder / "model.safetensors"
    state = {name: tensor.clone() for name, tensor in load_file(path).items()}
    edit(state)
    save_file(state, path)


def configure(folder: Path, **keys: Any) -> None:
    path = folder / "config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | keys))


# ---------------------------------------------------------------------------- damaged safetensors

NORM = "model.layers.1.self_attn.kv_a_layernorm.weight"
EXPERT = "model.layers.2.mlp.experts.5.up_proj.weight"


@pytest.mark.parametrize("name", [NORM, EXPERT, "lm_head.weight"])
def test_a_missing_tensor(refused, folder, name):
    change(folder, lambda state: state.pop(name))
    what, why, _ = refused(*complete(folder))
    assert name in what
    assert "tensors" in why


@pytest.mark.parametrize("name", [NORM, EXPERT])
def test_a_wrong_shape(refused, folder, name):
    change(folder, lambda state: state.update({name: torch.zeros(3, 5)}))
    what, why, _ = refused(*complete(folder))
    assert name in what
    assert "[3, 5]" in what
    assert "[32" in why


@pytest.mark.parametrize("length", [0, 5, 100, 20_000, -1])
def test_a_truncated_safetensors(refused, folder, length):
    path = folder / "model.safetensors"
    path.write_bytes(path.read_bytes()[:length])
    assert "is damaged" in refused(*complete(folder))[0]
    assert "is damaged" in refused("convert", folder, folder / "a.gguf", "--to", "gguf", "-q")[0]


@pytest.mark.parametrize("header", [
    b"{", b"[]", b"3", b"\xff\xfe", b'{"a": 1}', b'{"a": {"dtype": "F32", "shape": [1]}}',
    b'{"a": {"dtype": "F32", "shape": ["1"], "data_offsets": [0, 4]}}',
    b'{"a": {"dtype": "F32", "shape": [1], "data_offsets": [-4, 0]}}',
    b'{"a": {"dtype": "F32", "shape": [-1, -1], "data_offsets": [0, 4]}}',
    b'{"a": {"dtype": "F32", "shape": [1], "data_offsets": [4, 0]}}',
    b'{"a": {"dtype": "F32", "shape": [1], "data_offsets": ["0", "4"]}}',
    b'{"a": {"dtype": "F32", "shape": [2], "data_offsets": [0, 4]}}',
    b'{"a": {"dtype": "F32", "shape": [1], "data_offsets": [4000, 4004]}}',
    b'{"a": {"dtype": [], "shape": [1], "data_offsets": [0, 4]}}', b"[" * 100_000, b"9" * 5000,
], ids=lambda raw: raw[:70])  # fmt: skip
def test_a_bad_safetensors_header(refused, folder, header):
    raw = len(header).to_bytes(8, "little") + header + b"\0" * 8
    (folder / "model.safetensors").write_bytes(raw)
    what, *_ = refused(*complete(folder))
    assert "model" in what


def test_weights_of_an_unknown_type(refused, folder):
    change(folder, lambda state: state.update({NORM: torch.ones(32, dtype=torch.int8)}))
    assert "I8" in refused(*complete(folder))[0]


# ----------------------------------------------------------------------------------- damaged GGUF


def patch(path: Path, at: int, raw: bytes) -> None:
    with path.open("r+b") as file:
        file.seek(at)
        file.write(raw)


def type_field(path: Path, tensor: str) -> int:
    """Where the table keeps the type id of a two-dimensional tensor."""
    raw = path.read_bytes()
    name = struct.pack("<Q", len(tensor)) + tensor.encode()
    return raw.index(name) + len(name) + 4 + 16


def test_a_bad_magic(refused, gguf):
    patch(gguf, 0, b"GGML")
    what, why, _ = refused(*complete(gguf))
    assert "is not a GGUF file" in what
    assert "GGML" in why


def test_an_unknown_version(refused, gguf):
    patch(gguf, 4, struct.pack("<I", 1))
    assert "GGUF version 1" in refused(*complete(gguf))[0]


@pytest.mark.parametrize("length", [0, 10, 24, 300, 15_000, -1000])
def test_a_truncated_gguf(refused, gguf, length):
    gguf.write_bytes(gguf.read_bytes()[:length])
    assert "is damaged" in refused(*complete(gguf))[0]
    assert "is damaged" in refused("describe", gguf)[0]


@pytest.mark.parametrize(("type_id", "name"), [(16, "IQ2_XXS"), (39, "MXFP4"), (77, "type 77")])
def test_an_unsupported_quantisation(refused, gguf, type_id, name):
    patch(gguf, type_field(gguf, "blk.0.ffn_down.weight"), struct.pack("<I", type_id))
    what, why, fix = refused(*complete(gguf))
    assert "blk.0.ffn_down.weight" in what
    assert name in what
    assert "Q4_K" in why
    assert "quantisation" in fix
    assert name in refused("convert", gguf, gguf.parent / "out", "--to", "hf", "--quiet")[0]


def test_a_missing_tensor_in_gguf(refused, gguf):
    raw = gguf.read_bytes()
    gguf.write_bytes(raw.replace(b"blk.1.ffn_up_exps", b"blk.1.ffn_xx_exps"))
    assert "layers.1.mlp.experts.0.up_proj" in refused(*complete(gguf))[0]


def test_rows_that_are_no_whole_blocks(refused, gguf):
    """The router has 64 columns: no row of a 256-element block fits it."""
    patch(gguf, type_field(gguf, "blk.0.ffn_down.weight"), struct.pack("<I", 14))
    path = gguf.parent / "odd.gguf"
    shutil.move(gguf, path)
    refused(*complete(path))


# ------------------------------------------------------------------------------------- NaN weights


@pytest.mark.parametrize("bad", [math.nan, math.inf, -math.inf])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16])
@pytest.mark.parametrize("name", [NORM, EXPERT, "model.embed_tokens.weight"])
def test_nan_weights_are_named(refused, folder, bad, dtype, name):
    def edit(state: dict[str, torch.Tensor]) -> None:
        state.update({n: t.to(dtype) for n, t in state.items()})
        state[name].view(-1)[-1] = bad

    change(folder, edit)
    what, *_ = refused(*complete(folder))
    assert name in what
    assert "1 values that are NaN or infinite" in what


@pytest.mark.parametrize("quant", ["F32", "F16", "BF16"])
@pytest.mark.parametrize(("name", "stored"), [(EXPERT, "up_exps"), (NORM, "attn_kv_a_norm")])
def test_nan_weights_in_gguf_are_named(refused, folder, tmp_path, quant, name, stored):
    change(folder, lambda state: state[name].view(-1)[3:5].fill_(math.nan))
    convert(folder, tmp_path / "a.gguf", "gguf", quant)
    what, *_ = refused(*complete(tmp_path / "a.gguf"))
    assert name in what
    assert "2 values" in what


def test_a_nan_scale_of_a_quantised_block(refused, tiny_folder, tmp_path):
    convert(tiny_folder, tmp_path / "a.gguf", "gguf", "Q8_0")
    info = GGUFFile(tmp_path / "a.gguf").tensors["blk.0.ffn_down.weight"]
    patch(tmp_path / "a.gguf", info.offset + 34, struct.pack("<H", 0x7E00))
    what, *_ = refused(*complete(tmp_path / "a.gguf"))
    assert "model.layers.0.mlp.down_proj.weight" in what
    assert "32 values" in what


# ------------------------------------------------------------------- architecture, config, tokenizer


def test_an_unknown_architecture(refused, folder, gguf):
    configure(folder, model_type="gemma3", architectures=["Gemma3ForCausalLM"])
    what, why, _ = refused(*complete(folder))
    assert "gemma3" in what
    assert "deepseek_v2" in why
    write_gguf(gguf, {"general.architecture": "gemma3"}, [])
    what, why, _ = refused(*complete(gguf))
    assert "gemma3" in what
    assert "deepseek2" in why


@pytest.mark.parametrize("keys", [
    {"num_attention_heads": 0}, {"hidden_size": -1}, {"vocab_size": "many"}, {"vocab_size": None},
    {"num_hidden_layers": 0}, {"num_experts_per_tok": 9}, {"n_group": 3}, {"topk_group": 5},
    {"qk_rope_head_dim": 7}, {"kv_lora_rank": 0}, {"max_position_embeddings": -5},
    {"rope_scaling": {"type": "dynamic"}}, {"rope_scaling": {"type": "linear"}},
    {"rope_scaling": {"type": "yarn", "factor": 0}}, {"rope_scaling": "yarn"},
    {"scoring_func": "sigmoid"}, {"topk_method": "noaux_tc"}, {"hidden_act": "gelu"},
    {"model_type": "llama", "num_attention_heads": 6, "num_key_value_heads": 4},
    {"num_hidden_layers": 10**9}, {"n_routed_experts": 10**9}, {"intermediate_size": 1e400},
], ids=str)  # fmt: skip
def test_a_contradictory_config(refused, folder, keys):
    configure(folder, **keys)
    what, *_ = refused(*complete(folder))
    assert str(folder) in what or "rope scaling" in what


@pytest.mark.parametrize("text", ["", "{", "[]", "null", '{"model_type": "llama"}', "\udcff"])
def test_a_garbled_config(refused, folder, text):
    (folder / "config.json").write_bytes(text.encode("utf-8", "surrogateescape"))
    assert "config.json" in refused(*complete(folder))[0]
    assert "config.json" in refused("describe", folder)[0]


def test_no_tokenizer(refused, folder, tmp_path):
    for name in ("tokenizer.json", "tokenizer_config.json"):
        (folder / name).unlink()
    assert "tokenizer" in refused(*complete(folder))[0]
    convert(folder, tmp_path / "bare.gguf", "gguf")
    assert "tokenizer" in refused(*complete(tmp_path / "bare.gguf"))[0]


@pytest.mark.parametrize("text", ["", "{", "[]", "{}", '{"model": {"type": "WordPiece"}}'])
def test_a_garbled_tokenizer(refused, folder, text):
    (folder / "tokenizer.json").write_text(text)
    refused(*complete(folder))


@pytest.mark.parametrize("file", ["tokenizer_config.json", "generation_config.json"])
@pytest.mark.parametrize("text", ["{", "[]", '{"eos_token_id": "x", "bos_token": 3}'])
def test_garbled_settings(refused, folder, file, text):
    (folder / file).write_text(text)
    if file == "tokenizer_config.json" and text.startswith('{"'):
        return  # a bos that is no text is none
    refused(*complete(folder))


def test_a_model_that_cannot_fill_or_chat(refused, folder):
    path = folder / "tokenizer.json"
    text = path.read_text().replace("fim▁", "unfim▁").replace("User", "Ruse").replace("EOT", "TOE")
    path.write_text(text)
    what, _, fix = refused("fill", folder, "--quiet", "--prefix", "a", "--suffix", "b")
    assert "fill" in what
    assert fix
    assert "chat" in " ".join(refused("chat", folder, "--quiet", "-m", "hello"))


# ------------------------------------------------------------------------------------- the request


def test_context_overflow(refused, tiny_folder, tmp_path):
    long = tmp_path / "long.txt"
    long.write_text("x" * 2048)
    what, _, fix = refused("complete", tiny_folder, "--quiet", "-f", long)
    assert "do not fit a context of 2048" in what
    assert fix == "shorten the prompt by 2 tokens"
    *_, fix = refused(*complete(tiny_folder, "--max-tokens", "2047"))
    assert fix == "ask for at most 2046 tokens"
    what, why, _ = refused(*complete(tiny_folder, "--context", "4096"))
    assert "4096" in what
    assert "2048" in why
    assert "do not fit a context of 16" in refused(*complete(tiny_folder, "--context", "16", "--max-tokens", "15"))[0]  # fmt: skip


@pytest.mark.parametrize(("option", "value"), [
    ("--max-tokens", "-1"), ("--temperature", "-1"), ("--temperature", "nan"), ("--top-p", "1.5"),
    ("--top-k", "-1"), ("--min-p", "2"), ("-n", "0"), ("--logprobs", "-1"), ("--stop", ""),
    ("--max-tokens", "many"), ("--seed", "x"), ("--dtype", "int8"), ("--device", "tpu"),
    ("--threads", "0"), ("--context", "0"), ("--context", "-3"), ("--frobnicate", "1"),
])  # fmt: skip
def test_a_bad_option(refused, tiny_folder, option, value):
    lines = refused(*complete(tiny_folder), option, value)
    name = option.strip("-").replace("-", "_")
    assert name in " ".join(lines).replace("-", "_").replace("max tokens", "max_tokens")


@pytest.mark.parametrize("arguments", [
    ["fill"], ["convert"], ["convert", "a"], ["describe"], ["frobnicate"],
    ["convert", "{model}", "out", "--to", "onnx"],
    ["convert", "{model}", "out", "--to", "gguf", "--quant", "Q2_K"],
    ["convert", "{model}", "out", "--to", "hf", "--quant", "Q8_0"],
    ["convert", "{model}", "{file}", "--to", "hf"], ["convert", "{model}", "out"],
    ["convert", "{model}", "{file}/x/a.gguf", "--to", "gguf"],
    ["complete", "{model}", "-p", "a", "-f", "{file}"], ["complete", "{model}", "-f", "missing.py"],
    ["complete", "{model}", "-f", "{folder}"], ["fill", "{model}", "-f", "{file}"],
    ["complete", "{model}", "--at", "{file}:9"], ["complete", "{model}", "--at", "{file}:0"],
    ["fill", "{model}", "--at", "{file}:9:1"], ["fill", "{model}", "--at", "{file}"],
    ["fill", "{model}", "--at", "missing.py:1"], ["fill", "{model}", "--at", "{file}:x"],
    ["fill", "{model}", "--prefix", "a", "--at", "{file}:1"],
    ["describe", "deepseek-coder-6.7"], ["describe", "tiny", "--dtype", "int4"],
    ["describe", "tiny", "--context", "-1"], ["describe", "tiny", "--context", "0"],
    ["pull", "no-such-model"], ["complete", "{folder}", "-p", "a"], ["complete", "{file}", "-p", "a"],
    ["complete", "./missing.gguf", "-p", "a"], ["describe", "{file}"], ["describe", "{folder}"],
], ids=" ".join)  # fmt: skip
def test_a_bad_command(refused, tiny_folder, tmp_path, monkeypatch, arguments):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "file.py").write_text("one\ntwo\n")
    (tmp_path / "empty").mkdir()
    names = {"model": tiny_folder, "file": tmp_path / "file.py", "folder": tmp_path / "empty"}
    filled = [argument.format(**names) for argument in arguments]
    refused(*filled, *(["--quiet"] if len(filled) > 1 else []))
    assert sorted(path.name for path in tmp_path.iterdir()) == ["empty", "file.py"]
    assert (tmp_path / "file.py").read_text() == "one\ntwo\n"


def test_nothing_to_work_on(refused, tiny_folder):
    """At a terminal, where nothing is piped in."""
    for verb in ("complete", "fill"):
        assert refused(verb, tiny_folder, "--quiet", stdin=None)[0] == "there is no text"
    assert "--message" in refused("chat", tiny_folder, "--quiet", "--json", stdin=None)[2]


@pytest.mark.parametrize(("name", "nearest"), [
    ("smollm2-135m-instuct", "smollm2-135m-instruct"),
    ("deepseek-coder-6.7b-instrukt", "deepseek-coder-6.7b-instruct"),
    ("qwen2.5-coder-1.5b-instrct", "qwen2.5-coder-1.5b-instruct"),
])  # fmt: skip
def test_an_unknown_model_names_the_nearest(refused, name, nearest):
    for command in (["complete", name, "-p", "a", "--quiet"], ["pull", name], ["describe", name]):
        assert nearest in " ".join(refused(*command))


@pytest.mark.parametrize("verb", ["complete", "fill", "chat"])
def test_text_that_is_not_utf8(refused, tiny_folder, tmp_path, verb):
    raw = b"caf\xe9 <HOLE>"
    (tmp_path / "latin1.txt").write_bytes(raw)
    if verb != "chat":
        what, why, fix = refused(verb, tiny_folder, "--quiet", "-f", tmp_path / "latin1.txt")
        assert "is not UTF-8" in what
        assert "byte 3 is 0xe9" in why
        assert "iconv" in fix
    assert "is not UTF-8" in refused(verb, tiny_folder, "--quiet", stdin=raw)[0]
    if verb != "chat":
        assert "UTF-8" in refused(verb, tiny_folder, "-q", "--at", f"{tmp_path}/latin1.txt:1")[0]


# ------------------------------------------------------------------------------- a real process


def real(*arguments: str | bytes | Path, stdin: bytes = b"") -> list[str]:
    """The three lines of a process of its own, with every warning an error."""
    code = "from midfill.cli import main; main()"
    result = subprocess.run(
        [sys.executable, "-W", "error", "-c", code, *arguments],
        input=stdin,
        capture_output=True,
        timeout=50,
        env=os.environ | {"PYTHONDONTWRITEBYTECODE": "1"},
    )
    assert result.returncode == 2, result.stderr.decode()
    return three_lines(result.stdout.decode(), result.stderr.decode())


def test_a_real_process(folder):
    change(folder, lambda state: state.pop(NORM))
    assert NORM in real(*map(str, complete(folder)))[0]
    assert "is not UTF-8" in real("complete", str(folder), stdin=b"\xff")[0]
    assert "no-such" in real("pull", "no-such-model")[0]


def test_an_argument_that_is_not_utf8(tiny_folder):
    what, why, _ = real("complete", str(tiny_folder), "--quiet", "-p", b"caf\xe9")
    assert "not valid Unicode" in what
    assert "DCE9" in why


# -------------------------------------------------------------------------------------- corruption


def corruptions(raw: bytes, header: int, count: int, seed: int) -> Iterator[bytes]:
    """The file with its first `header` bytes damaged in `count` ways."""
    rng = random.Random(seed)
    for _ in range(count):
        data = bytearray(raw)
        for _ in range(rng.choice([1, 1, 2, 8])):
            at = rng.randrange(header)
            kind = rng.randrange(6)
            if kind == 0:
                data[at] ^= 1 << rng.randrange(8)
            elif kind == 1:
                data[at] = rng.randrange(256)
            elif kind == 2:
                data[at : at + 8] = rng.choice([b"\xff", b"\0", b"\x7f"]) * 8
            elif kind == 3:
                data[at : at + 8] = struct.pack("<q", rng.choice([1, -1, 2**31, 2**62, 12, 255]))
            elif kind == 4:
                del data[at : at + rng.randrange(1, 40)]
            else:
                data[at:at] = data[at : at + rng.randrange(1, 40)]
        yield bytes(data[: rng.randrange(header)] if rng.randrange(10) == 0 else data)


def test_no_damage_to_a_gguf_header_is_more_than_a_users_error(tiny_gguf, tmp_path):
    raw, path, outcomes = tiny_gguf.read_bytes(), tmp_path / "a.gguf", {"sound": 0, "refused": 0}
    header = min(info.offset for info in GGUFFile(tiny_gguf).tensors.values())
    for data in corruptions(raw, header, 300, seed=0):
        path.write_bytes(data)
        try:
            checkpoint = open_checkpoint(path)
            check_tensors(checkpoint)
            assert checkpoint.gguf is not None
            Tokenizer.from_gguf(checkpoint.gguf.metadata)
            outcomes["sound"] += 1
        except UserError as error:
            in_three_lines(error)
            outcomes["refused"] += 1
    assert min(outcomes.values()) > 20, outcomes


def test_no_damage_to_a_safetensors_header_is_more_than_a_users_error(tiny_folder, tmp_path):
    raw = (tiny_folder / "model.safetensors").read_bytes()
    path, outcomes = tmp_path / "model.safetensors", {"sound": 0, "refused": 0}
    header = 8 + int.from_bytes(raw[:8], "little")
    for data in corruptions(raw, header, 300, seed=1):
        path.write_bytes(data)
        try:
            read_safetensors_header(path)
            weights = open_hf_weights(tmp_path)
            for name in ("model.norm.weight", EXPERT):
                if weights.shape(name) is not None:
                    weights.read(name, torch.float32)
            outcomes["sound"] += 1
        except UserError as error:
            in_three_lines(error)
            outcomes["refused"] += 1
    assert min(outcomes.values()) > 20, outcomes


ODD = (
    None,
    True,
    -1,
    0,
    1,
    3,
    2**31,
    10**30,
    0.5,
    math.nan,
    math.inf,
    "",
    "x",
    [],
    [1],
    [None],
    {},
)


def test_no_config_is_more_than_a_users_error(folder):
    """Every key of config.json with every odd value: a model that answers, or a user's error."""
    plain = json.loads((folder / "config.json").read_text()) | {"rope_parameters": {"factor": 2}}
    for key in plain:
        for value in ODD:
            (folder / "config.json").write_text(json.dumps(plain | {key: value}))
            try:
                midfill.load(folder, dtype="float32", context=64).complete("a", max_tokens=1)
            except UserError as error:
                in_three_lines(error)


def test_no_metadata_is_more_than_a_users_error(tiny_gguf, tmp_path):
    """The same for the metadata of a GGUF file."""
    good = GGUFFile(tiny_gguf)
    keys = [key for key in good.metadata if not key.startswith("tokenizer.ggml.tok")]
    for key in keys:
        for value in ODD:
            file = GGUFFile.__new__(GGUFFile)
            file.path, file.bytes, file.tensors = good.path, good.bytes, good.tensors
            file.metadata = good.metadata | {key: value}
            try:
                gguf_config(file)
                Tokenizer.from_gguf(file.metadata)
            except UserError as error:
                in_three_lines(error)


def test_no_damage_to_a_bin_is_more_than_a_users_error(tiny_folder, folder):
    state = {n: t for n, t in load_file(tiny_folder / "model.safetensors").items() if "norm" in n}
    (folder / "model.safetensors").unlink()
    path = folder / "pytorch_model.bin"
    for zipped in (True, False):
        torch.save(state, path, _use_new_zipfile_serialization=zipped)
        raw = path.read_bytes()
        for data in corruptions(raw, min(len(raw), 6000), 100, seed=2):
            path.write_bytes(data)
            try:
                open_hf_weights(folder)
            except UserError as error:
                in_three_lines(error)
