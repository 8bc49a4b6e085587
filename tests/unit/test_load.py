"""What is refused before a model is loaded: what the way to compute cannot keep, or memory not hold."""

from pathlib import Path
from typing import Any

import pytest

import midfill
from midfill.engine import load
from midfill.engine.load import choose
from midfill.errors import ConfigError, ResourceError
from midfill.kernels.cpu import native, why_not
from midfill.model.checkpoint import open_checkpoint
from midfill.model.convert import convert
from midfill.model.packed_weights import size_of


@pytest.mark.parametrize(
    ("asked", "option"),
    [
        ({"strict": True}, "--strict"),
        ({"quant": "int8"}, "--quant"),
        ({"cache": "int8"}, "--cache"),
    ],
)
def test_what_pytorch_cannot_keep_is_refused(tiny_folder: Path, asked: dict[str, Any], option: str):
    checkpoint = open_checkpoint(tiny_folder)
    assert not choose(checkpoint, dtype="float32", device="cpu", strict=False).compiled
    assert not choose(checkpoint, dtype="float32", device="cpu").compiled
    with pytest.raises(ConfigError) as refused:
        choose(checkpoint, dtype="float32", device="cpu", **asked)
    assert "needs the compiled kernels" in refused.value.what
    why, fix = refused.value.why, refused.value.fix
    if native is None:
        assert (why, fix) == (why_not, f"leave {option} out")
    else:
        assert (why, fix) == ("in dtype float32 PyTorch computes", "--dtype auto")
        assert choose(checkpoint, device="cpu", **asked).compiled


@pytest.mark.parametrize("stored", ["folder", "Q8_0"])
def test_what_does_not_fit_names_the_options_that_help(
    tiny_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, stored: str
):
    """Weights that are quantised already get no smaller; the latents do."""
    if native is None:
        pytest.skip(f"only the compiled kernels have these options: {why_not}")
    path = tiny_folder
    if stored != "folder":
        path = convert(tiny_folder, tmp_path / "tiny.gguf", "gguf", stored)
    monkeypatch.setattr(load, "available_bytes", lambda: 1000)
    with pytest.raises(ResourceError) as refused:
        midfill.load(path, device="cpu")
    assert refused.value.what == "the weights take 0.0 GiB"
    assert refused.value.fix.startswith("--quant int4") == (stored == "folder")
    checkpoint = open_checkpoint(path)
    room = int(1.15 * size_of(checkpoint))
    monkeypatch.setattr(load, "available_bytes", lambda: room)
    with pytest.raises(ResourceError) as refused:
        midfill.load(path, device="cpu", context=checkpoint.config.context)
    wanted = ["--quant int4", "--cache int8"] if stored == "folder" else ["--cache int8"]
    assert refused.value.fix.split(", or ")[1:] == wanted
