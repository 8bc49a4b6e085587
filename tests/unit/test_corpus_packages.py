"""Package lists, from an index on this machine."""

import hashlib
import io
import json
import random
import tarfile
import threading
from collections import Counter
from collections.abc import Iterator
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from midfill.config.corpus.sources import Fetching, ReadLimits
from midfill.corpus.sources import PackageList, indexes
from midfill.errors import ConfigError, CorpusError, DownloadError
from reading import everything, reasons, texts


def sdist(name: str, text: str) -> bytes:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w:gz") as archive:
        info = tarfile.TarInfo(f"{name}/m.py")
        info.size = len(text)
        archive.addfile(info, io.BytesIO(text.encode()))
    return out.getvalue()


class Index:
    """A server that keeps what was asked of it, and fails as told."""

    def __init__(self) -> None:
        self.files: dict[str, bytes] = {}
        self.types: dict[str, str] = {}
        self.fail: Counter[str] = Counter()  # answers 503 so often
        self.cut: dict[str, int] = {}  # breaks off after so many bytes, once
        self.asked: list[tuple[str, dict[str, str]]] = []
        index = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                index.answer(self)

            def log_message(self, format: str, *args: Any) -> None:
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_port}"
        threading.Thread(target=self.server.serve_forever, args=(0.01,), daemon=True).start()

    def answer(self, handler: BaseHTTPRequestHandler) -> None:
        path = handler.path
        self.asked.append((path, {name.lower(): value for name, value in handler.headers.items()}))
        if self.fail[path] > 0:
            self.fail[path] -= 1
            handler.send_response(503)
            handler.send_header("Retry-After", "0")
            handler.end_headers()
        elif path not in self.files:
            handler.send_error(404)
        else:
            data, start = self.files[path], 0
            wanted = handler.headers.get("Range")
            if wanted:
                start = int(wanted.removeprefix("bytes=").rstrip("-"))
                handler.send_response(206)
                handler.send_header("Content-Range", f"bytes {start}-{len(data) - 1}/{len(data)}")
            else:
                handler.send_response(200)
            handler.send_header("Content-Type", self.types.get(path, "application/octet-stream"))
            handler.send_header("Content-Length", str(len(data) - start))
            handler.end_headers()
            handler.wfile.write(data[start : start + self.cut.pop(path, len(data))])
            handler.wfile.flush()
            handler.close_connection = True


@pytest.fixture
def index(monkeypatch: pytest.MonkeyPatch) -> Iterator[Index]:
    made = Index()
    monkeypatch.setattr(indexes, "pip_indexes", lambda: [f"{made.url}/none", f"{made.url}/simple"])
    monkeypatch.setattr(indexes, "certificates", lambda: None)
    monkeypatch.setenv("NPM_CONFIG_REGISTRY", made.url + "/npm/")
    monkeypatch.delenv("npm_config_registry", raising=False)
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    yield made
    made.server.shutdown()
    made.server.server_close()


def listed(folder: Path, *rows: dict[str, Any], cache: str = "cache", **more: Any) -> PackageList:
    path = folder / "list.json"
    path.write_text(json.dumps(rows))
    fetching = Fetching(cache=str(folder / cache), **more)
    return PackageList(path=str(path), fetching=fetching)


def row(name: str, data: bytes, index: str = "pypi", **more: Any) -> dict[str, Any]:
    found = {"index": index, "name": name, "version": "1", "filename": f"{name}-1.tar.gz"}
    return (
        found
        | {"sha256": hashlib.sha256(data).hexdigest(), "size": len(data), "licence": "MIT"}
        | more
    )


def test_packages_of_three_indexes(tmp_path: Path, index: Index):
    a, b, c, d = (sdist(f"{name}-1", f"# {name}") for name in "abcd")
    index.files["/simple/a-a/"] = (
        b'<a href="../../files/A.a-1.tar.gz#sha256=00">A</a><a href="file:///x/z">'
    )
    index.types["/simple/a-a/"] = "text/html"
    index.files["/files/A.a-1.tar.gz"] = a
    index.files["/simple/b/"] = json.dumps(
        {"files": [{"filename": "b-1.tar.gz", "url": "/files/b"}]}
    ).encode()
    index.types["/simple/b/"] = "application/vnd.simple.v1+json"
    index.files["/files/b"] = b
    index.files["/npm/@s/c/-/c-1.tgz"] = c
    index.files["/debian/pool/main/d/d_1.orig.tar.gz"] = d
    debian = {
        "path": "pool/main/d/d_1.orig.tar.gz",
        "sha256": hashlib.sha256(d).hexdigest(),
        "size": len(d),
    }
    c512 = {"sha256": None, "sha512": hashlib.sha512(c).hexdigest(), "filename": "s-c-1.tgz"}
    source = listed(
        tmp_path,
        row("A.a", a),
        row("b", b),
        row("@s/c", c, "npm", **c512),
        {"index": "debian", "name": "d", "version": "1", "files": [debian], "licence": "ISC"},
        debian_mirrors=(f"{index.url}/gone", f"{index.url}/debian"),
    )
    seen = []
    source.prepare(seen.append)
    assert seen[-1].label == "4 of 4 packages"
    assert seen[-1].done_bytes == seen[-1].total_bytes
    found = everything(source)
    assert {name: texts(repo) for name, repo in found.items()} == {
        "pypi/A.a-1": {"m.py": "# a"}, "pypi/b-1": {"m.py": "# b"},
        "npm/@s/c-1": {"m.py": "# c"}, "debian/d-1": {"m.py": "# d"},
    }  # fmt: skip
    assert found["debian/d-1"].licence == "ISC"
    asked = len(index.asked)
    source.prepare()
    replace(source, fetching=replace(source.fetching, offline=True)).prepare()
    assert len(index.asked) == asked
    assert all(headers["user-agent"].startswith("midfill/") for _, headers in index.asked)


def test_fetching_retries_and_resumes(tmp_path: Path, index: Index):
    data = sdist("a-1", "x" * 5000 + random.Random(0).randbytes(4000).hex())
    index.files["/f"] = data
    index.fail["/f"] = 2
    index.cut["/f"] = 1000
    source = listed(tmp_path, row("a", data, url=f"{index.url}/f"), longest_wait_s=1)
    source.prepare()
    assert [headers.get("range") for _, headers in index.asked] == [None, None, None, "bytes=1000-"]
    assert sorted(
        path.name for path in (tmp_path / "cache/pypi").iterdir() if path.name != ".lock"
    ) == ["a-1.tar.gz"]


def test_a_wrong_file_never_gets_its_name(tmp_path: Path, index: Index):
    good, evil = sdist("a-1", "good"), sdist("a-1", "evil")
    evil = evil[: len(good)].ljust(len(good), b"\0")
    index.files["/f"] = evil
    index.files["/long"] = good * 2
    for path in ("/f", "/long", "/absent"):
        source = listed(tmp_path, row("a", good, url=index.url + path), attempts=1)
        with pytest.raises(DownloadError) as error:
            source.prepare()
        assert "a-1.tar.gz" in error.value.why
        (found,) = everything(source).values()
        assert reasons(found) == {"absent": 1}
    cached = tmp_path / "cache/pypi/a-1.tar.gz"
    cached.write_bytes(evil)
    (found,) = everything(source).values()
    assert reasons(found) == {"sha256": 1}
    assert not found.documents


def test_offline_and_unreachable_say_what_to_do(tmp_path: Path, index: Index):
    source = listed(tmp_path, row("a", b"x"), row("b", b"y"), offline=True)
    with pytest.raises(DownloadError, match="2 of 2 packages are not in the cache"):
        source.prepare()
    assert not index.asked
    gone = listed(tmp_path, row("a", b"x"), row("b", b"y"), attempts=1)
    with pytest.raises(DownloadError, match="2 of 2 packages") as error:
        gone.prepare()
    assert "404" in error.value.why or "no index" in error.value.why


def test_passwords_go_to_their_host_only(tmp_path: Path, index: Index):
    data = sdist("a-1", "x")
    index.files["/f"] = data
    secret = index.url.replace("//", "//user:pa%21s@")
    listed(tmp_path, row("a", data, url=f"{secret}/f")).prepare()
    assert index.asked[0][1]["authorization"] == "Basic dXNlcjpwYSFz"
    with pytest.raises(DownloadError) as error:
        listed(tmp_path, row("b", b"-", url=f"{secret}/gone"), attempts=1).prepare()
    assert "pa" not in error.value.why.replace("packages", "")


@pytest.mark.parametrize(
    "change",
    [{"filename": "../x"}, {"filename": ".x"}, {"sha256": "00"}, {"sha256": None}, {"index": "cpan"}, {"name": None}],
)  # fmt: skip
def test_lists_that_cannot_be_used(tmp_path: Path, change: dict[str, Any]):
    bad = row("a", b"x") | change
    if bad["name"] is None:
        del bad["name"]
    with pytest.raises(CorpusError, match="cannot be used"):
        listed(tmp_path, bad).packages()
    with pytest.raises(CorpusError, match="cannot be used"):
        listed(tmp_path, row("a", b"x"), row("a", b"x")).packages()


def test_pinned_lists():
    npm, debian = (PackageList(path=name).packages() for name in ("npm", "debian"))
    assert len(npm) >= 110
    assert all(each.file.sha256 and each.file.sha512 and each.licence for each in npm)
    assert len(debian) >= 66
    assert all(each.file.sha256 and each.licence and each.file.pool for each in debian)
    assert len({each.language for each in debian}) >= 15
    total = sum(each.file.size or 0 for each in npm + debian)
    assert total <= 250e6
    assert not any("GPL-3" in (each.licence or "") for each in npm + debian)


def test_the_shared_lists_can_be_used(data: Path):
    lists = sorted((data / "corpora").glob("*.json"))
    sizes = [len(PackageList(path=str(path), index="pypi").packages()) for path in lists]
    assert sizes == [1011, 272]


def test_limits_must_allow_something():
    with pytest.raises(ConfigError, match="file_bytes is 0"):
        ReadLimits(file_bytes=0)
    with pytest.raises(ConfigError, match="connections is 0"):
        Fetching(connections=0)
