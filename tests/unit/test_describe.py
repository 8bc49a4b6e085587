"""What describe opens: the same files as the network's reader, without torch and without a network."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from midfill.errors import CheckpointError, ConfigError, DownloadError
from midfill.hub import find
from midfill.kernels.cpu import native
from midfill.model.checkpoint import open_checkpoint
from midfill.model.convert import convert
from midfill.model.files import checkpoint_path, weight_files
from midfill.model.packed_weights import packed_weights
from midfill.terminal.describe import describe, find_config

SOURCES = Path(__file__).parents[2] / "src"


@pytest.fixture
def folder(tiny_folder: Path, tmp_path: Path) -> Path:
    """A copy of the tiny model that a test may change."""
    return shutil.copytree(tiny_folder, tmp_path / "model")


@pytest.fixture
def offline(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing is stored, and nobody answers."""
    monkeypatch.setenv("MIDFILL_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("HF_ENDPOINT", "http://127.0.0.1:9")


def test_weights_of_one_format_are_counted(folder: Path):
    size = (folder / "model.safetensors").stat().st_size
    (folder / "pytorch_model.bin").write_bytes(bytes(1000))
    (folder / "consolidated.safetensors").write_bytes(bytes(1000))
    assert weight_files(folder) == [folder / "model.safetensors"]
    assert describe(str(folder))["file_bytes"] == size
    (folder / "model.safetensors").unlink()
    (folder / "consolidated.safetensors").unlink()
    assert describe(str(folder))["file_bytes"] == 1000


def test_one_of_several_ggufs_must_be_named(tiny_folder: Path, tmp_path: Path):
    convert(tiny_folder, tmp_path / "a.gguf", "gguf")
    assert checkpoint_path(tmp_path) == tmp_path / "a.gguf"
    shutil.copy(tmp_path / "a.gguf", tmp_path / "b.gguf")
    for opened in (lambda: describe(str(tmp_path)), lambda: open_checkpoint(tmp_path)):
        with pytest.raises(CheckpointError, match=r"holds 2 GGUF files") as caught:
            opened()
        assert str(tmp_path / "a.gguf") in caught.value.fix


def test_a_weight_file_stands_for_its_folder(folder: Path):
    assert find_config(str(folder / "model.safetensors"))[0] == find_config(str(folder))[0]


@pytest.mark.usefixtures("offline")
@pytest.mark.parametrize(
    ("name", "recipe"),
    [
        ("deepseek-coder-33b-instruct", "deepseek-coder-33b"),
        ("deepseek-coder-5.7bmqa-base", "deepseek-coder-5.7b-mqa"),
        ("deepseek-ai/DeepSeek-Coder-V2-Lite-Base", "deepseek-coder-v2-lite"),
    ],
)
def test_a_model_with_a_recipe_needs_no_network(name: str, recipe: str):
    facts = describe(name)
    assert facts["source"] == f"recipe {recipe}"
    assert facts["file_bytes"] is None
    assert facts["total_parameters"] == find(name.rpartition("/")[2]).parameters


@pytest.mark.usefixtures("offline")
def test_what_only_the_whole_file_tells_is_to_be_pulled():
    with pytest.raises(DownloadError, match="apart from the weights") as caught:
        describe("someone/tiny:a.gguf")
    assert caught.value.fix == "midfill pull someone/tiny:a.gguf"


@pytest.mark.usefixtures("offline")
def test_unknown_names():
    with pytest.raises(ConfigError, match=r"nearest name is 'deepseek-coder-6\.7b'"):
        describe("deepseek-coder-6.7")
    with pytest.raises(DownloadError, match="there is no file or folder"):
        describe("./none")


@pytest.mark.parametrize("kind", ["Q8_0", "BF16"])
def test_quantised_weights_count_as_they_are_stored(tiny_folder: Path, tmp_path: Path, kind: str):
    path = convert(tiny_folder, tmp_path / "tiny.gguf", "gguf", kind)
    facts = describe(str(path))
    held = facts["memory_bytes"] - facts["cache_bytes"]
    if kind == "BF16" or native is None:
        assert (facts["packed_bytes"], held) == (None, facts["weight_bytes"])
    else:
        weights = packed_weights(open_checkpoint(path), folder=None)
        assert facts["packed_bytes"] == held == pytest.approx(weights.bytes, rel=1e-3)
        assert held < facts["weight_bytes"]
    assert describe(str(path), dtype="bfloat16")["packed_bytes"] is None


def test_torch_is_not_imported(folder: Path):
    code = f"""
import sys
from midfill.cli import main
for name in ({str(folder)!r}, "deepseek-coder-v2"):
    sys.argv = ["midfill", "describe", name]
    try:
        main()
    except SystemExit as end:
        assert not end.code, end.code
assert "torch" not in sys.modules
"""
    environment = os.environ | {"PYTHONPATH": str(SOURCES)}
    run = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True)
    assert run.returncode == 0, run.stderr.decode()
