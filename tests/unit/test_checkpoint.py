"""Checkpoints on disk: every spelling that others write, lazily read; conversions, whole or not at all."""

import functools
import json
import os
import pickle
import shutil
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from conftest import randomise, write_byte_tokenizer
from midfill.config.model import GQAConfig, LinearScaling, ModelConfig, RopeConfig
from midfill.errors import CheckpointError, ConfigError, ResourceError, TokenizerError
from midfill.model import convert as convert_
from midfill.model import safetensors_out
from midfill.model.checkpoint import load_network, open_checkpoint
from midfill.model.convert import convert, save_hf
from midfill.model.hf_config import parse_config, read_config, to_hf_config
from midfill.model.transformer import Transformer
from midfill.recipes.models import MODELS, tiny

TOKENS = torch.tensor([[1, 2, 3, 5, 8, 13, 21, 34, 55, 89, 144, 233, 377]])
State = dict[str, Tensor]


@pytest.fixture(scope="module")
def state(tiny_folder: Path) -> State:
    return load_file(tiny_folder / "model.safetensors")


@pytest.fixture(scope="module")
def wanted(tiny_folder: Path) -> Tensor:
    return logits(tiny_folder)


@torch.no_grad()
def logits(folder: Path, dtype: torch.dtype = torch.float32) -> Tensor:
    return load_network(open_checkpoint(folder), dtype)(TOKENS)


@pytest.fixture
def folder(tiny_folder: Path, tmp_path: Path) -> Path:
    """A folder with config.json only."""
    (tmp_path / "config.json").write_bytes((tiny_folder / "config.json").read_bytes())
    return tmp_path


def halves(state: State) -> tuple[State, State]:
    names = list(state)
    first = set(names[: len(names) // 2])
    return {n: state[n] for n in names if n in first}, {
        n: state[n] for n in names if n not in first
    }


def index(folder: Path, single: str, files: dict[str, State]) -> None:
    weight_map = {name: file for file, part in files.items() for name in part}
    (folder / f"{single}.index.json").write_text(json.dumps({"weight_map": weight_map}))


def fused(state: State) -> State:
    """Experts as transformers 5 keeps them in memory: one tensor for all, gate rows first."""
    out = {n: t for n, t in state.items() if ".mlp.experts." not in n}
    for layer in (1, 2):
        base = f"model.layers.{layer}.mlp.experts"

        def all_of(kind: str, base: str = base) -> Tensor:
            return torch.stack([state[f"{base}.{e}.{kind}_proj.weight"] for e in range(8)])

        out[f"{base}.gate_up_proj"] = torch.cat([all_of("gate"), all_of("up")], dim=1)
        out[f"{base}.down_proj"] = all_of("down")
    return out


# ------------------------------------------------------------------------- how weights are stored


def _bin(folder: Path, state: State) -> None:
    torch.save(state, folder / "pytorch_model.bin")


def _legacy_bin(folder: Path, state: State) -> None:
    torch.save(state, folder / "pytorch_model.bin", _use_new_zipfile_serialization=False)


def _sharded_bin(folder: Path, state: State) -> None:
    a, b = halves(state)
    files = {"pytorch_model-00001-of-00002.bin": a, "pytorch_model-00002-of-00002.bin": b}
    for name, part in files.items():
        torch.save(part, folder / name)
    index(folder, "pytorch_model.bin", files)


def _sharded_safetensors(folder: Path, state: State) -> None:
    a, b = halves(state)
    files = {"one.safetensors": a, "two.safetensors": b}
    for name, part in files.items():
        save_file(part, folder / name)
    index(folder, "model.safetensors", files)


def _shards_without_index(folder: Path, state: State) -> None:
    a, b = halves(state)
    save_file(a, folder / "model-00001-of-00002.safetensors")
    save_file(b, folder / "model-00002-of-00002.safetensors")


def _fused(folder: Path, state: State) -> None:
    save_file(fused(state), folder / "model.safetensors")


def _fused_bin(folder: Path, state: State) -> None:
    torch.save(fused(state), folder / "pytorch_model.bin")


def _without_model(folder: Path, state: State) -> None:
    save_file({n.removeprefix("model."): t for n, t in state.items()}, folder / "model.safetensors")


def _fused_without_model(folder: Path, state: State) -> None:
    _without_model(folder, fused(state))


def _with_more(folder: Path, state: State) -> None:
    """Buffers that old exports hold are passed over."""
    more = {"model.layers.0.self_attn.rotary_emb.inv_freq": torch.ones(4)}
    save_file(state | more, folder / "model.safetensors")


@pytest.mark.parametrize("write", [
    _bin, _legacy_bin, _sharded_bin, _sharded_safetensors, _shards_without_index, _fused,
    _fused_bin, _without_model, _fused_without_model, _with_more,
])  # fmt: skip
def test_every_way_to_store_the_same_weights(folder, state, wanted, write):
    write(folder, state)
    assert torch.equal(logits(folder), wanted)


def test_a_file_inside_the_folder_means_the_folder(tiny_folder, wanted):
    assert torch.equal(logits(tiny_folder / "model.safetensors"), wanted)


@pytest.mark.parametrize("stored", [torch.bfloat16, torch.float16, torch.float64])
@pytest.mark.parametrize("write", [_fused, _bin, _sharded_safetensors])
def test_other_types(folder, state, stored, write):
    """What is loaded is what was stored, converted once."""
    narrow = {n: t.to(stored) for n, t in state.items()}
    write(folder, narrow)
    checkpoint = open_checkpoint(folder)
    for dtype in (torch.float32, torch.bfloat16):
        for name in ("model.embed_tokens.weight", "model.layers.1.mlp.experts.3.up_proj.weight"):
            assert torch.equal(checkpoint.weights.read(name, dtype), narrow[name].to(dtype))
    names = {torch.bfloat16: "bfloat16", torch.float16: "float16", torch.float64: "float32"}
    assert checkpoint.weights.stored_dtype() == names[stored]
    save_file({n: t.float() for n, t in narrow.items()}, folder / "model.safetensors")
    widened = logits(folder)
    for file in folder.glob("*.safetensors*"):
        file.unlink()
    write(folder, narrow)
    assert torch.equal(logits(folder), widened)


def test_an_unaligned_file_is_read(folder, state, wanted):
    """Nothing in the format aligns a tensor to its type: a header may have any length."""
    save_file(state, folder / "aligned")
    raw = (folder / "aligned").read_bytes()
    length = int.from_bytes(raw[:8], "little")
    header = raw[8 : 8 + length] + b" "
    (folder / "model.safetensors").write_bytes(
        len(header).to_bytes(8, "little") + header + raw[8 + length :]
    )
    assert torch.equal(logits(folder), wanted)


@pytest.mark.parametrize("zipped", [True, False])
def test_a_pickle_that_would_run_code_is_refused(folder, zipped):
    class Evil:
        def __reduce__(self):
            return (os.mkdir, (str(folder / "owned"),))

    bad = {"a": Evil()}
    torch.save(bad, folder / "pytorch_model.bin", _use_new_zipfile_serialization=zipped)
    with pytest.raises(CheckpointError, match="cannot be unpickled safely"):
        open_checkpoint(folder)
    assert not (folder / "owned").exists()


def test_a_bare_pickle_is_refused(folder):
    (folder / "pytorch_model.bin").write_bytes(pickle.dumps({"a": 1}, protocol=2))
    with pytest.raises(CheckpointError):
        open_checkpoint(folder)


@pytest.mark.parametrize("what", [b"", b"\0" * 100, b"PK\3\4" + b"x" * 50, b"\x80\x02}q\0."])
def test_a_damaged_bin_is_refused(folder, what):
    (folder / "pytorch_model.bin").write_bytes(what)
    with pytest.raises(CheckpointError):
        load_network(open_checkpoint(folder), torch.float32)


def test_a_truncated_bin_is_refused(folder, state):
    for write in (_bin, _legacy_bin):
        write(folder, state)
        path = folder / "pytorch_model.bin"
        raw = path.read_bytes()
        for length in (100, len(raw) // 2, len(raw) - 1):
            path.write_bytes(raw[:length])
            with pytest.raises(CheckpointError):
                open_checkpoint(folder)


def test_a_bin_that_holds_no_tensors_by_name(folder):
    torch.save([torch.ones(3)], folder / "pytorch_model.bin")
    with pytest.raises(CheckpointError, match="no tensors by name"):
        open_checkpoint(folder)


def test_an_index_that_names_a_missing_file(folder, state):
    _sharded_safetensors(folder, state)
    (folder / "two.safetensors").unlink()
    with pytest.raises(CheckpointError, match="lacks 1 of 2 weight files") as caught:
        open_checkpoint(folder)
    assert "two.safetensors" in caught.value.why


@pytest.mark.parametrize("text", ['{"weight_map": 3}', "{}", '{"weight_map": {"a": 1}}', "[]", "{"])
def test_a_garbled_index(folder, text):
    (folder / "model.safetensors.index.json").write_text(text)
    with pytest.raises(CheckpointError):
        open_checkpoint(folder)


# --------------------------------------------------------------------------------------- the config


@pytest.mark.parametrize("name", sorted(MODELS))
def test_both_spellings_are_the_same_network(name):
    config = MODELS[name]()
    raw = to_hf_config(config)
    assert parse_config(raw) == config
    new = {k: v for k, v in raw.items() if k not in ("rope_theta", "rope_scaling", "torch_dtype")}
    scaling = dict(raw["rope_scaling"] or {"type": "default"})
    new["rope_parameters"] = scaling | {
        "rope_theta": raw["rope_theta"],
        "rope_type": scaling.pop("type"),
    }
    new["dtype"] = raw["torch_dtype"]
    assert parse_config(json.loads(json.dumps(new))) == config


def test_stop_ids_of_both_files(folder):
    raw = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(raw | {"eos_token_id": 3}))
    (folder / "generation_config.json").write_text('{"eos_token_id": [3, 7]}')
    assert read_config(folder).eos == (3, 7)
    (folder / "generation_config.json").write_text('{"eos_token_id": 9}')
    assert read_config(folder).eos == (3, 9)
    (folder / "generation_config.json").write_text('{"eos_token_id": "x"}')
    with pytest.raises(CheckpointError, match="eos_token_id"):
        read_config(folder)


# ------------------------------------------------------------------------------------------ memory

MEASURE = r"""
import gc, json, sys
from pathlib import Path
import torch
from midfill.model.checkpoint import load_network, open_checkpoint
from midfill.model.convert import convert

def resident(key):
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith(key))

def run(kind, source, *rest):
    if kind == "load":
        return load_network(open_checkpoint(Path(source)), getattr(torch, *rest))
    convert(Path(source), Path(rest[0]), *rest[1:])

warm, jobs = json.loads(sys.argv[1])
for job in warm:
    run(*job)  # whatever each way imports and allocates once
for job in jobs:
    gc.collect()
    Path("/proc/self/clear_refs").write_text("5")  # the peak is what is resident now
    before = resident("VmRSS")
    run(*job)
    print(resident("VmHWM") - before)
"""
MB = 10**6


Jobs = dict[str, tuple[str, ...]]


def ways(source: Path, folder: Path) -> Jobs:
    """Each way to use the checkpoint `source`; what they write goes into `folder`."""
    gguf, back = str(folder / "a.gguf"), str(folder / "back")
    return {
        "same": ("load", str(source), "bfloat16"),
        "float32": ("load", str(source), "float32"),
        "to gguf": ("convert", str(source), gguf, "gguf", "BF16"),
        "gguf float32": ("load", gguf, "float32"),
        "to hf": ("convert", gguf, back, "hf", "BF16"),
    }


def peaks(warm: Jobs, jobs: Jobs) -> dict[str, int]:
    """Bytes of resident memory each of `jobs` needs in a process that ran `warm` before."""
    result = subprocess.run(
        [sys.executable, "-c", MEASURE, json.dumps([list(warm.values()), list(jobs.values())])],
        capture_output=True,
        text=True,
        timeout=55,
        env=os.environ | {"OMP_NUM_THREADS": "1"},
    )
    told = result.stdout.split()
    assert len(told) == len(jobs), result.stderr
    return dict(zip(jobs, map(int, told), strict=True))


def big(config: ModelConfig, folder: Path, change: Callable[[State], State] = dict) -> int:
    """A checkpoint of about 200 MB of random numbers in `folder`; returns its largest tensor."""
    state, generator = {}, torch.Generator().manual_seed(0)
    for name, shape in config.tensors():
        bits = torch.randint(-128, 127, shape, dtype=torch.int8, generator=generator)
        state[name] = (bits.float() / 1000).to(getattr(torch, config.dtype))
    state = change(state)
    folder.mkdir()
    save_file(state, folder / "model.safetensors")
    (folder / "config.json").write_text(json.dumps(to_hf_config(config)))
    return max(t.numel() * t.element_size() for t in state.values())


def dense() -> ModelConfig:
    return ModelConfig(
        family="llama", vocab=4096, dim=1024, layers=6, hidden=3456,
        attention=GQAConfig(heads=16, kv_heads=16, head_dim=64),
        rope=RopeConfig(dim=64, theta=1e5, scaling=LinearScaling(factor=4.0)),
    )  # fmt: skip


def experts() -> ModelConfig:
    config = tiny()
    assert config.moe is not None
    moe = replace(config.moe, experts=64, hidden=512, groups=4)
    return replace(config, dim=512, layers=3, moe=moe, dtype="bfloat16")


def fused_64(state: State) -> State:
    out = {n: t for n, t in state.items() if ".mlp.experts." not in n}
    for layer in (1, 2):
        base = f"model.layers.{layer}.mlp.experts"
        kinds = {
            kind: torch.stack([state[f"{base}.{e}.{kind}_proj.weight"] for e in range(64)])
            for kind in ("gate", "up", "down")
        }
        out[f"{base}.gate_up_proj"] = torch.cat([kinds["gate"], kinds["up"]], dim=1)
        out[f"{base}.down_proj"] = kinds["down"]
    return out


@dataclass(frozen=True)
class Measured:
    """A checkpoint of some 200 MB, and the memory that using it took."""

    size: int
    largest: int
    around: int  # clean pages of its neighbours that Linux maps with each tensor: some 64 KiB
    peak: dict[str, int]


KINDS: dict[str, tuple[Callable[[], ModelConfig], Callable[[State], State]]] = {
    "dense": (dense, dict),
    "experts": (experts, dict),
    "fused": (experts, fused_64),
}
Measure = Callable[[str], Measured]
KINDS_MARKED = ["dense", "experts", pytest.param("fused", marks=pytest.mark.slow)]


@pytest.fixture(scope="module")
def measure(tiny_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Measure:
    """Measures a checkpoint of this kind, loaded and converted in a process of its own; once."""
    if not sys.platform.startswith("linux"):
        pytest.skip("resident memory is counted as Linux counts it")

    @functools.cache
    def measured(kind: str) -> Measured:
        config, change = KINDS[kind][0](), KINDS[kind][1]
        folder = tmp_path_factory.mktemp("big") / kind
        largest = big(config, folder, change)
        warm = ways(tiny_folder, tmp_path_factory.mktemp("small"))
        peak = peaks(warm, ways(folder, folder))
        around = 64 * 1024 * sum(1 for _ in config.tensors())
        size = (folder / "model.safetensors").stat().st_size
        same_tensors(config, folder, folder / "back")
        shutil.rmtree(folder)
        return Measured(size, largest, around, peak)

    return measured


def same_tensors(config: ModelConfig, one: Path, other: Path) -> None:
    a, b = (open_checkpoint(folder).weights for folder in (one, other))
    names = [name for name, _ in config.tensors()]
    for name in names[:: len(names) // 20]:
        assert torch.equal(a.read(name, torch.bfloat16), b.read(name, torch.bfloat16)), name


@pytest.mark.parametrize("kind", KINDS_MARKED)
def test_loading_needs_the_checkpoint_and_one_tensor(measure, kind):
    m = measure(kind)
    assert 150 * MB < m.size < 260 * MB
    assert m.peak["same"] < 1.15 * m.size + m.largest


@pytest.mark.parametrize("kind", KINDS_MARKED)
def test_loading_into_another_type_needs_the_result_and_one_tensor(measure, kind):
    m = measure(kind)
    for job in ("float32", "gguf float32"):
        assert m.peak[job] < 1.15 * 2 * m.size + 2 * m.largest


@pytest.mark.parametrize("way", ["to gguf", "to hf"])
@pytest.mark.parametrize("kind", ["dense", "experts"])
def test_converting_needs_a_few_tensors(measure, kind, way):
    """One tensor as stored, in float32 and packed, far below the size of the file."""
    m = measure(kind)
    assert m.peak[way] < 8 * m.largest + m.around + 20 * MB < 0.6 * m.size


# -------------------------------------------------------------------------------------- converting


def test_both_ways_keeps_every_number(tiny_folder, wanted, tmp_path):
    convert(tiny_folder, tmp_path / "a.gguf", "gguf")
    convert(tmp_path / "a.gguf", tmp_path / "back", "hf")
    assert torch.equal(logits(tmp_path / "back"), wanted)
    a = load_file(tiny_folder / "model.safetensors")
    b = load_file(tmp_path / "back" / "model.safetensors")
    assert a.keys() == b.keys()
    assert all(torch.equal(a[name], b[name]) for name in a)
    assert (tmp_path / "back" / "tokenizer.json").exists()


def test_shards(tiny_folder, wanted, tmp_path, monkeypatch):
    monkeypatch.setattr(convert_, "SHARD_BYTES", 100_000)
    convert(tiny_folder, tmp_path / "out", "hf")
    files = sorted(path.name for path in (tmp_path / "out").glob("*.safetensors"))
    count = len(files)
    assert count > 2
    assert files == [f"model-{i:05}-of-{count:05}.safetensors" for i in range(1, count + 1)]
    listed = json.loads((tmp_path / "out" / "model.safetensors.index.json").read_text())
    parts = {file: load_file(tmp_path / "out" / file) for file in files}
    assert listed["weight_map"] == {name: file for file in files for name in parts[file]}
    tensors = [t for part in parts.values() for t in part.values()]
    assert listed["metadata"]["total_size"] == sum(t.numel() * 4 for t in tensors)
    for part in parts.values():
        assert len(part) == 1 or sum(t.numel() * 4 for t in part.values()) <= 100_000
    assert torch.equal(logits(tmp_path / "out"), wanted)


def test_a_single_file_replaces_shards(tiny_folder, wanted, tmp_path, monkeypatch):
    """An index that an earlier, sharded checkpoint left must not be followed."""
    network = Transformer(tiny())
    randomise(network, seed=1)
    with monkeypatch.context() as patched:
        patched.setattr(convert_, "SHARD_BYTES", 100_000)
        save_hf(network, tmp_path)
    assert not torch.equal(logits(tmp_path), wanted)
    convert(tiny_folder, tmp_path, "hf")
    assert torch.equal(logits(tmp_path), wanted)


def test_what_we_write_is_no_other_than_safetensors_writes(tmp_path):
    network = Transformer(tiny()).bfloat16()
    randomise(network)
    save_hf(network, tmp_path)
    ours = load_file(tmp_path / "model.safetensors")
    assert {t.dtype for t in ours.values()} == {torch.bfloat16}
    assert {(n, tuple(t.shape)) for n, t in ours.items()} == set(tiny().tensors())
    raw = (tmp_path / "model.safetensors").read_bytes()
    length = int.from_bytes(raw[:8], "little")
    offsets = [e["data_offsets"] for n, e in json.loads(raw[8 : 8 + length]).items() if n[0] != "_"]
    assert length % 8 == 0
    assert [a for a, _ in offsets] == [0, *np.cumsum([b - a for a, b in offsets])[:-1].tolist()]


class DiskFullError(OSError):
    """The disk is full."""


def _fail_after(count: int, function: Callable) -> Callable:
    calls = iter(range(count))

    def wrapped(*args):
        if next(calls, None) is None:
            raise DiskFullError(28, "No space left on device")
        return function(*args)

    return wrapped


def test_a_failing_write_leaves_nothing_under_the_name(tiny_folder, tmp_path, monkeypatch):
    from midfill.kernels import quant
    from midfill.model import hf_weights

    failing = _fail_after(9, quant.quantise)
    monkeypatch.setattr(quant, "quantise", failing)
    with pytest.raises(ResourceError, match="cannot be written"):
        convert(tiny_folder, tmp_path / "a.gguf", "gguf")
    assert list(tmp_path.iterdir()) == []

    read = hf_weights.SafetensorsWeights.read
    monkeypatch.setattr(hf_weights.SafetensorsWeights, "read", _fail_after(9, read))
    with pytest.raises(ResourceError):
        convert(tiny_folder, tmp_path / "out", "hf")
    assert list((tmp_path / "out").iterdir()) == []


def test_a_failing_write_keeps_what_was_there(tiny_folder, tmp_path, monkeypatch):
    target = tmp_path / "model.safetensors"
    target.write_text("old")

    def read(name: str) -> Tensor:
        raise DiskFullError(28, "No space left on device")

    with pytest.raises(DiskFullError):
        safetensors_out.write_safetensors(target, [("a", (2, 2))], torch.float32, read)
    assert target.read_text() == "old"
    assert [p.name for p in tmp_path.iterdir()] == ["model.safetensors"]


def test_places_that_cannot_be_written(tiny_folder, tmp_path):
    (tmp_path / "file").write_text("x")
    with pytest.raises(ResourceError):
        convert(tiny_folder, tmp_path / "file" / "a.gguf", "gguf")
    with pytest.raises(CheckpointError, match="is a file"):
        convert(tiny_folder, tmp_path / "file", "hf")
    assert (tmp_path / "file").read_text() == "x"


def test_a_folder_as_target_names_the_file(tiny_folder, tmp_path):
    convert(tiny_folder, tmp_path, "gguf", "q8_0")
    assert [p.name for p in tmp_path.iterdir()] == [f"{tiny_folder.name}-Q8_0.gguf"]


def test_progress_reaches_the_whole(tiny_folder, tmp_path):
    for to in ("gguf", "hf"):
        seen: list[tuple[int, int]] = []
        convert(tiny_folder, tmp_path / to, to, report=lambda done, all_, seen=seen: seen.append((done, all_)))  # fmt: skip
        assert seen[-1][0] == seen[-1][1] > 0
        assert [done for done, _ in seen] == sorted(done for done, _ in seen)


@pytest.mark.parametrize(
    ("to", "quant"), [("onnx", None), ("gguf", "Q2_K"), ("hf", "Q8_0"), ("hf", "int4")]
)
def test_unknown_targets(tiny_folder, tmp_path, to, quant):
    with pytest.raises(ConfigError):
        convert(tiny_folder, tmp_path / "out", to, quant)
    assert list(tmp_path.iterdir()) == []


def test_weights_without_a_tokenizer_can_be_converted(tiny_folder, wanted, tmp_path):
    source = tmp_path / "bare"
    source.mkdir()
    for name in ("config.json", "model.safetensors"):
        (source / name).write_bytes((tiny_folder / name).read_bytes())
    convert(source, tmp_path / "a.gguf", "gguf")
    assert torch.equal(logits(tmp_path / "a.gguf"), wanted)
    write_byte_tokenizer(source)
    (source / "tokenizer.json").write_text("{")
    with pytest.raises(TokenizerError):
        convert(source, tmp_path / "b.gguf", "gguf")
    assert not (tmp_path / "b.gguf").exists()
