"""The packed file on disk: mapped, made again when anything is odd, never half there."""

import json
import logging
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from midfill.model import packed_file
from midfill.model.checkpoint import open_checkpoint
from midfill.model.hf_config import to_hf_config
from midfill.model.packed_weights import packed_weights
from packed_models import check, environment, llama, needs_kernels, run_python, stored

pytestmark = needs_kernels


@pytest.fixture
def model(tiny_folders, tmp_path) -> Path:
    shutil.copytree(tiny_folders["llama"], tmp_path / "model")
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


def test_a_disk_that_fills_up_meanwhile(tiny_folders, tmp_path):
    """Also for .bin files, whose tensors are needed a second time."""
    stored(tiny_folders, tmp_path, "tiny", "bin")
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


def test_two_processes_at_once_write_once(tiny_folders, tmp_path):
    code = f"""
import json
from pathlib import Path
from midfill.model.checkpoint import open_checkpoint
from midfill.model.packed_weights import packed_weights
told = []
checkpoint = open_checkpoint(Path({str(tiny_folders["tiny"])!r}))
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
