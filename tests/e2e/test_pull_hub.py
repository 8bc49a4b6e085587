"""Pulling from a hub: what is fetched, resumed, verified, cached and refused."""

import threading
import time
from pathlib import Path

import filelock
import huggingface_hub
import pytest

from midfill.errors import DownloadError
from midfill.hub import Progress, huggingface, pull, resolve
from small_hub import COMMIT, REPO, WEIGHTS, Hub, in_child, real_names


def test_download_takes_the_model_and_nothing_else(hub: Hub):
    seen: list[Progress] = []
    folder = pull(REPO, progress=seen.append)
    names = {"config.json", "tokenizer.json", "model.safetensors", "midfill.json"}
    assert {path.name for path in folder.iterdir()} == names
    assert (folder / "model.safetensors").read_bytes() == WEIGHTS
    total = len(WEIGHTS) + 5
    assert seen[-1].total_bytes == total
    assert max(p.done_bytes for p in seen) == total


def test_second_start_asks_nobody(hub: Hub):
    folder = pull(REPO)
    hub.requests.clear()
    assert resolve(REPO) == pull(REPO) == folder
    assert hub.requests == []


def test_works_with_the_server_gone_and_offline(hub: Hub, monkeypatch: pytest.MonkeyPatch):
    folder = pull(REPO)
    monkeypatch.setenv("HF_ENDPOINT", "http://127.0.0.1:9")
    ask = f"from midfill.hub import resolve; print(resolve({REPO!r}))"
    assert in_child(ask, HF_HUB_OFFLINE="1").stdout.strip() == str(folder)
    with pytest.raises(DownloadError, match="cannot be reached") as caught:
        pull("someone/other")
    assert caught.value.fix.endswith("midfill pull someone/other")


def test_offline_says_so(hub: Hub):
    ask = f"from midfill.hub import resolve; resolve({REPO!r})"
    said = in_child(ask, HF_HUB_OFFLINE="1").stderr
    assert "why: HF_HUB_OFFLINE is set and it is not on this disk" in said
    assert hub.requests == []


def test_broken_connection_goes_on_with_a_range(hub: Hub):
    hub.drop_after, hub.drops = 1_000_000, 2
    folder = pull(REPO)
    assert (folder / "model.safetensors").read_bytes() == WEIGHTS
    first, *rest = hub.asked("GET", "/cdn/model.safetensors")
    assert first is None
    assert len(rest) == 2
    assert all(seen and seen != "bytes=0-" for seen in rest)


def test_interrupted_pull_is_resumed_by_the_next_process(hub: Hub, home: Path):
    def interrupt(progress: Progress) -> None:
        if progress.label == "model.safetensors" and progress.done_bytes >= 1 << 20:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        pull(REPO, progress=interrupt)
    assert "model.safetensors" not in real_names(home)
    have = next((home / "cache").rglob("*.part")).stat().st_size
    assert 0 < have < len(WEIGHTS)
    hub.requests.clear()
    run = in_child(f"from midfill.hub import pull; print(pull({REPO!r}))")
    folder = Path(run.stdout.strip())
    assert (folder / "model.safetensors").read_bytes() == WEIGHTS
    assert hub.asked("GET", "/cdn/model.safetensors") == [f"bytes={have}-"]
    assert hub.asked("GET", "/resolve/" + COMMIT + "/config.json") == []  # whole before
    assert not list(folder.glob("*.part"))


def test_server_without_ranges_starts_again(hub: Hub):
    hub.drop_after, hub.drops, hub.ranges = 2_000_000, 1, False
    assert (pull(REPO) / "model.safetensors").read_bytes() == WEIGHTS


def test_a_connection_that_never_brings_a_byte_is_given_up(hub: Hub):
    hub.drop_after, hub.drops = 0, 100
    with pytest.raises(DownloadError, match="broke off"):
        pull(REPO)
    assert len(hub.asked("GET", "/cdn/model.safetensors")) == huggingface.ATTEMPTS


@pytest.mark.parametrize("bad", ["model.safetensors", "config.json"])
def test_corrupted_content_is_found_and_not_kept(hub: Hub, home: Path, bad: str):
    if bad == "model.safetensors":  # else the small files would be found first
        hub.files = {bad: WEIGHTS}
    hub.tampered = True
    with pytest.raises(DownloadError, match=f"{bad} of {REPO} arrived damaged") as caught:
        pull(REPO)
    assert caught.value.fix == f"midfill pull {REPO}"
    assert real_names(home) == []
    assert not list((home / "cache").rglob("*.part"))
    hub.tampered = False
    assert (pull(REPO) / bad).read_bytes() == hub.files[bad]


def test_force_mends_a_damaged_file_and_keeps_the_others(hub: Hub):
    folder = pull(REPO)
    (folder / "model.safetensors").write_bytes(bytes(len(WEIGHTS)))
    hub.requests.clear()
    assert pull(REPO, force=True) == folder
    assert (folder / "model.safetensors").read_bytes() == WEIGHTS
    assert hub.asked("GET", "/config.json") == []


def test_token_is_sent(hub: Hub, monkeypatch: pytest.MonkeyPatch):
    hub.token = "hf_secret"
    with pytest.raises(DownloadError, match="HF_TOKEN does not open it"):
        pull(REPO)
    monkeypatch.setenv("HF_TOKEN", "hf_secret")
    assert pull(REPO)


def test_gated_repository_points_to_its_page(hub: Hub):
    hub.gated = True
    with pytest.raises(
        DownloadError, match=f"licence must be accepted first, at {hub.url}/{REPO}"
    ) as caught:
        pull(REPO)
    assert caught.value.fix == f"hf auth login && midfill pull {REPO}"


def test_unknown_repository_revision_and_file(hub: Hub, home: Path):
    with pytest.raises(DownloadError, match="does not exist"):
        pull("someone/none")
    with pytest.raises(DownloadError, match="has no revision 'v9'"):
        pull(f"{REPO}@v9")
    with pytest.raises(DownloadError, match=r"it has no file x\.gguf"):
        pull(f"{REPO}:x.gguf")
    assert list((home / "cache" / "models").iterdir()) == []


def test_one_gguf_of_several(hub: Hub):
    hub.files = {"a.gguf": b"GGUFa", "b.gguf": b"GGUFb"}
    with pytest.raises(DownloadError, match=r"several GGUF files: a\.gguf, b\.gguf") as caught:
        pull(REPO)
    assert caught.value.fix == f"midfill pull {REPO}:a.gguf"
    assert pull(f"{REPO}:b.gguf").read_bytes() == b"GGUFb"


def test_two_pulls_of_one_model_download_it_once(hub: Hub, home: Path):
    locks = home / "cache" / "locks"
    locks.mkdir(parents=True)
    seen: list[Progress] = []
    threads = [
        threading.Thread(target=pull, args=(REPO,), kwargs={"progress": seen.append})
        for _ in range(3)
    ]
    with filelock.FileLock(locks / "someone--tiny.lock"):
        for thread in threads:
            thread.start()
        while sum(p.label.startswith("waiting") for p in seen) < len(threads):
            time.sleep(0.01)
    for thread in threads:
        thread.join()
    assert hub.asked("GET", "/cdn/model.safetensors") == [None]


def test_what_the_official_client_cached_is_used(hub: Hub, home: Path):
    cached = huggingface_hub.snapshot_download(
        REPO, endpoint=hub.url, cache_dir=home / "hf" / "hub", allow_patterns=["*.json", "model*"]
    )
    hub.requests.clear()
    assert pull(REPO) == pull(REPO) == Path(cached)
    assert hub.requests == []
    assert (Path(cached) / "model.safetensors").read_bytes() == WEIGHTS


def test_a_damaged_shared_cache_is_left_alone_and_not_used(hub: Hub, home: Path):
    cached = huggingface_hub.snapshot_download(
        REPO, endpoint=hub.url, cache_dir=home / "hf" / "hub", allow_patterns=["*.json", "model*"]
    )
    damaged = Path(cached) / "model.safetensors"
    damaged.write_bytes(bytes(len(WEIGHTS)))
    folder = pull(REPO)
    assert folder.is_relative_to(home / "cache")
    assert (folder / "model.safetensors").read_bytes() == WEIGHTS
    assert damaged.read_bytes() == bytes(len(WEIGHTS))
