"""Folders, git, tables and package lists: what is read, what is counted, what is never trusted."""

import gzip
import hashlib
import io
import json
import os
import pickle
import random
import subprocess
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
from midfill.corpus.record import Drop, Repository
from midfill.corpus.sources import FolderSource, GitSource, PackageList, TableSource, indexes
from midfill.corpus.sources.decode import decode, document
from midfill.corpus.sources.source import Source
from midfill.errors import ConfigError, CorpusError, DownloadError

LIMITS = ReadLimits()


def everything(source: Source, limits: ReadLimits = LIMITS) -> dict[str, Repository]:
    """Each repository, read by a source that has been through pickle, as a worker gets it."""
    source = pickle.loads(pickle.dumps(source))
    references = pickle.loads(pickle.dumps(list(source.references())))
    assert len({reference.name for reference in references}) == len(references)
    return {reference.name: source.read(reference, limits) for reference in references}


def texts(found: Repository) -> dict[str, str]:
    assert all(doc.repo == found.name for doc in found.documents)
    return {doc.path: doc.text for doc in found.documents}


def reasons(found: Repository) -> dict[str, int]:
    return dict(Counter(item.drop.reason for item in found.unread))


# Decoding


@pytest.mark.parametrize(
    ("data", "text"),
    [
        (b"", ""),
        ("ü\r\nno end".encode(), "ü\r\nno end"),
        (b"\xef\xbb\xbfx = 1\n", "x = 1\n"),
        (b"\xef\xbb\xbf\xef\xbb\xbfx", "\ufeffx"),
        ("\ufeffhä\n".encode("utf-16-le"), "hä\n"),
        ("\ufeffhä\n".encode("utf-16-be"), "hä\n"),
        ("# -*- coding: latin-1 -*-\nx = 'é'\n".encode("latin-1"), "# -*- coding: latin-1 -*-\nx = 'é'\n"),
        ('<?xml version="1.0" encoding="ISO-8859-15"?><a>€</a>'.encode("iso-8859-15"),
         '<?xml version="1.0" encoding="ISO-8859-15"?><a>€</a>'),
        ('<meta charset="windows-1252"><p>“x”'.encode("cp1252"), '<meta charset="windows-1252"><p>“x”'),
        ("// vim: set fileencoding=shift_jis :\n日本".encode("shift_jis"),
         "// vim: set fileencoding=shift_jis :\n日本"),
        ("a é\n;; Local Variables:\n;; coding: latin-1-unix\n;; End:\n".encode("latin-1"),
         "a é\n;; Local Variables:\n;; coding: latin-1-unix\n;; End:\n"),
    ],
)  # fmt: skip
def test_decoding(data: bytes, text: str):
    assert decode(data) == text


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"a\0b", "binary"),
        (b"\xff\xfe", "encoding"),
        (b"\xff\xfe\x00\xd8", "encoding"),
        (b"\xff\xfea\0\0\0", "binary"),
        (b"\xe9 undeclared", "encoding"),
        (b"# coding: utf-8\n\xe9", "encoding"),
        (b"# coding: utf-7\n\xe9", "encoding"),
        (b"# coding: unicode_escape\n\xe9", "encoding"),
        (b"# coding: rot13\n\xe9", "encoding"),
        (b"# coding: no-such-thing\n\xe9", "encoding"),
        (b"# coding: ascii\n\xe9", "encoding"),
        (b"\xed\xa0\x80", "encoding"),
    ],
)
def test_what_is_no_text(data: bytes, reason: str):
    found = decode(data)
    # An empty UTF-16 file is a text: the mark alone.
    assert (
        found == "" if data == b"\xff\xfe" else isinstance(found, Drop) and found.reason == reason
    )


def test_size_and_checksum_are_those_of_the_bytes():
    data = "\ufeffhä".encode("utf-16")
    found = document("r", "p", data)
    assert (found.size, getattr(found, "sha256", "")) == (
        len(data),
        hashlib.sha256(data).hexdigest(),
    )


# Folders


def write(folder: Path, files: dict[str, bytes]) -> Path:
    for name, data in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)
    return folder


def test_folder_of_repositories(tmp_path: Path):
    write(
        tmp_path,
        {"b/x.py": b"x", "a/y/z.c": b"z", "a/n": b"\0", "a/.git/config": b"no", "loose": b"-"},
    )
    (tmp_path / "empty").mkdir()
    found = everything(FolderSource(path=str(tmp_path)))
    assert {name: texts(repo) for name, repo in found.items()} == {
        "folder/a": {"y/z.c": "z"}, "folder/b": {"x.py": "x"}, "folder/empty": {},
    }  # fmt: skip
    assert reasons(found["folder/a"]) == {"binary": 1}
    assert [r.bytes for r in FolderSource(path=str(tmp_path)).references()] == [2, 1, 0]
    single = everything(FolderSource(path=str(tmp_path / "b"), single=True))
    assert texts(single["folder/b"]) == {"x.py": "x"}


def test_folder_follows_no_link_and_opens_no_pipe(tmp_path: Path):
    write(tmp_path, {"secret": b"s", "r/a.py": b"a", "r/d/b.py": b"b"})
    root = tmp_path / "r"
    (root / "out").symlink_to(tmp_path / "secret")
    (root / "up").symlink_to("../secret")
    (root / "in").symlink_to("d/b.py")
    (root / "loop").symlink_to(".")
    (tmp_path / "other").symlink_to("r")
    os.mkfifo(root / "pipe")
    found = everything(FolderSource(path=str(tmp_path)))
    assert texts(found["folder/r"]) == {"a.py": "a", "d/b.py": "b"}
    assert reasons(found["folder/r"]) == {"link_outside": 2, "link": 2, "fifo": 1}
    assert reasons(found["folder/other"]) == {"link": 1}


def test_folder_names_and_limits(tmp_path: Path):
    write(tmp_path, {"r/new\nline.py": b"x", "r/back\\slash": b"x", "r/ok": b"12345"})
    (tmp_path / "r" / os.fsdecode(b"\xff\xfe")).write_bytes(b"x")
    deep = tmp_path / "r" / "/".join("d" * 70)
    deep.mkdir(parents=True)
    (deep / "x").write_bytes(b"x")
    source = FolderSource(path=str(tmp_path / "r"), single=True)
    (found,) = everything(source).values()
    assert texts(found) == {"ok": "12345"}
    assert reasons(found) == {
        "path_character": 1,
        "backslash": 1,
        "name_encoding": 1,
        "path_depth": 1,
    }
    (found,) = everything(source, ReadLimits(members=3)).values()
    assert [item.drop for item in found.unread] == [Drop("members", 3)]
    (found,) = everything(source, ReadLimits(file_bytes=4)).values()
    assert reasons(found)["file_size"] == 1


def test_missing_sources_say_so(tmp_path: Path):
    for source in (FolderSource(path=str(tmp_path / "no")), GitSource(path=str(tmp_path / "no")),
                   TableSource(path=str(tmp_path)), PackageList(path=str(tmp_path / "no.json"))):  # fmt: skip
        with pytest.raises(CorpusError, match="there is no"):
            list(source.references())


# git


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    root = write(tmp_path / "g", {"a.py": b"one\n", "d/b.c": b"two", "bin": b"\0", "é.txt": b"3"})
    (root / "link").symlink_to("a.py")
    (root / "out").symlink_to("/etc/passwd")
    git(root, "init", "-q", "-b", "main")
    git(root, "add", ".")
    git(root, "commit", "-qm", "x")
    git(root, "tag", "-a", "-m", "t", "v1")
    write(root, {"a.py": b"changed, not committed\n", "new.py": b"untracked"})
    return root


def git(root: Path, *arguments: str) -> str:
    settings = {"GIT_CONFIG_GLOBAL": os.devnull, "GIT_CONFIG_NOSYSTEM": "1"}
    who = {
        f"GIT_{role}_{what}": "x@y.z"
        for role in ("AUTHOR", "COMMITTER")
        for what in ("NAME", "EMAIL")
    }
    done = subprocess.run(
        ["git", *arguments],
        cwd=root,
        env=os.environ | settings | who,
        capture_output=True,
        text=True,
        check=True,
    )
    return done.stdout.strip()


COMMITTED = {"a.py": "one\n", "d/b.c": "two", "é.txt": "3"}


def test_git_reads_what_was_committed(repository: Path, tmp_path: Path):
    head = git(repository, "rev-parse", "HEAD")
    for commit in ("HEAD", "main", "v1", head):
        (found,) = everything(GitSource(path=str(repository), commit=commit)).values()
        assert texts(found) == COMMITTED
        assert reasons(found) == {"binary": 1, "link": 1, "link_outside": 1}
    folder = tmp_path / "many"
    folder.mkdir()
    git(tmp_path, "clone", "-q", "--bare", str(repository), str(folder / "bare.git"))
    git(repository, "worktree", "add", "-q", str(folder / "tree"))
    found = everything(GitSource(path=str(folder)))
    assert sorted(found) == [f"git/bare@{head[:12]}", f"git/tree@{head[:12]}"]
    assert all(texts(repo) == COMMITTED for repo in found.values())
    (none,) = everything(GitSource(path=str(repository), commit="no-such")).values()
    assert reasons(none) == {"commit": 1}


def test_git_packs_and_sha256_repositories(repository: Path, tmp_path: Path):
    git(repository, "gc", "-q")
    git(repository, "pack-refs", "--all")
    (found,) = everything(GitSource(path=str(repository))).values()
    assert texts(found) == COMMITTED
    root = write(tmp_path / "new", {"a": b"x"})
    git(root, "init", "-q", "--object-format=sha256")
    git(root, "add", ".")
    git(root, "commit", "-qm", "x")
    (found,) = everything(GitSource(path=str(root))).values()
    assert texts(found) == {"a": "x"}


def test_git_runs_nothing_that_the_repository_names(repository: Path, tmp_path: Path):
    """Its settings, hooks, alternates and promised objects are never looked at."""
    mark = tmp_path / "ran"
    program = tmp_path / "evil"
    program.write_text(f"#!/bin/sh\ntouch {mark}\n")
    program.chmod(0o755)
    blob = git(repository, "rev-parse", "HEAD:a.py")
    (repository / ".git/objects" / blob[:2] / blob[2:]).unlink()
    for key in (
        "core.fsmonitor",
        "core.sshCommand",
        "core.pager",
        "core.gitProxy",
        "remote.o.uploadpack",
    ):
        git(repository, "config", key, str(program))
    git(repository, "config", "remote.o.url", "ssh://localhost/x")
    git(repository, "config", "remote.o.promisor", "true")
    git(repository, "config", "extensions.partialClone", "o")
    other = tmp_path / "other.git"
    git(tmp_path, "init", "-q", "--bare", str(other))
    stolen = subprocess.run(
        ["git", "hash-object", "-w", "--stdin"],
        cwd=other,
        input=b"one\n",
        capture_output=True,
        check=True,
    )
    assert stolen.stdout.decode().strip() == blob
    (repository / ".git/objects/info/alternates").write_text(f"{other}/objects\n")
    (found,) = everything(GitSource(path=str(repository))).values()
    assert reasons(found) == {"git": 1}
    assert not found.documents
    assert not mark.exists()


def test_git_limits(repository: Path):
    source = GitSource(path=str(repository))
    (found,) = everything(source, ReadLimits(members=3)).values()
    assert [item.drop for item in found.unread] == [Drop("members", 3)]
    (found,) = everything(source, ReadLimits(total_bytes=5)).values()
    assert [item.drop for item in found.unread] == [Drop("total_size", 5)]
    (found,) = everything(source, ReadLimits(file_bytes=3)).values()
    assert texts(found) == {"d/b.c": "two", "é.txt": "3"}


def test_git_missing(repository: Path, monkeypatch: pytest.MonkeyPatch):
    from midfill.errors import ResourceError

    monkeypatch.setenv("PATH", "")
    with pytest.raises(ResourceError, match="git repositories"):
        GitSource(path=str(repository)).prepare()


# Tables


V1 = [
    ("o/r", "a.py", "x = 1\n", 5, ["MIT"]),
    ("o/s", "b.py", "y", None, []),
    ("o/r", "d/c.py", "ü", 7, ["ISC"]),
]


def stack_v1(rows: list[tuple[Any, ...]]) -> dict[str, list[Any]]:
    names = (
        "max_stars_repo_name",
        "max_stars_repo_path",
        "content",
        "max_stars_count",
        "max_stars_repo_licenses",
    )
    columns = dict(zip(names, map(list, zip(*rows, strict=True)), strict=True))
    return columns | {"lang": ["Python"] * len(rows), "size": [len(row[2]) for row in rows]}


@pytest.mark.parametrize("large", [False, True])
def test_the_stack_as_parquet(tmp_path: Path, large: bool):
    pa = pytest.importorskip("pyarrow", reason="no pyarrow: pip install 'midfill[corpus]'")
    import pyarrow.parquet as pq

    columns = stack_v1(V1 * 3)
    columns["max_stars_repo_path"] = [
        f"{i // 3}/{path}" for i, path in enumerate(columns["max_stars_repo_path"])
    ]
    table = pa.table(columns)
    if large:
        at = table.schema.get_field_index("content")
        table = table.set_column(at, "content", table.column("content").cast(pa.large_string()))
    pq.write_table(table, tmp_path / "a.parquet", row_group_size=4)
    source = TableSource(path=str(tmp_path))
    found = everything(source)
    assert list(found) == ["table/o/r", "table/o/s"]
    assert texts(found["table/o/r"]) == {
        f"{i}/{p}": t for i in range(3) for _, p, t, *_ in (V1[0], V1[2])
    }
    (first, second) = source.references()
    assert (first.stars, first.licence, len(first.spans)) == (7, "MIT", 3)
    assert (second.stars, second.licence, second.bytes) == (None, None, 3)
    assert found["table/o/r"].documents[0].stars == 7


def test_tables_that_are_none(tmp_path: Path):
    pa = pytest.importorskip("pyarrow", reason="no pyarrow: pip install 'midfill[corpus]'")
    import pyarrow.parquet as pq

    path = tmp_path / "v2.parquet"
    pq.write_table(pa.table({"blob_id": ["x"], "repo_name": ["r"], "path": ["p"]}), path)
    with pytest.raises(CorpusError, match="no column content") as error:
        list(TableSource(path=str(path)).references())
    assert "ids, not contents" in error.value.why
    path.write_bytes(b"PAR1 nothing")
    with pytest.raises(CorpusError, match="cannot be read"):
        list(TableSource(path=str(path)).references())


@pytest.mark.parametrize("ending", ["", ".gz"])
def test_json_lines_in_any_order(tmp_path: Path, ending: str):
    rng = random.Random(0)
    rows = [(f"r{rng.randrange(5)}", f"{i}.py", f"text {i}\n" * 50) for i in range(300)]
    good = [json.dumps({"repo_name": r, "path": p, "content": t}) for r, p, t in rows]
    bad = [
        "{",
        "[]",
        '{"repo_name": "x"}',
        "[" * 100_000,
        json.dumps({"repo_name": "s", "path": "p", "content": "\ud800"}),
    ]
    lines = good[:100] + bad + ["", *good[100:]]
    data = "\n".join(lines).encode()
    path = tmp_path / f"x.jsonl{ending}"
    path.write_bytes(gzip.compress(data) if ending else data)
    found = everything(TableSource(path=str(path)))
    for name in {row[0] for row in rows}:
        assert texts(found[f"table/{name}"]) == {p: t for r, p, t in rows if r == name}
    assert reasons(found["table/s"]) == {"encoding": 1}
    assert reasons(found[f"table/{path.name}#unreadable"]) == {"row": 4}


def test_reading_order_changes_nothing(tmp_path: Path):
    rows = [{"repo": f"r{i % 7}", "path": f"{i}", "text": f"{i}"} for i in range(100)]
    path = tmp_path / "x.jsonl.gz"
    path.write_bytes(gzip.compress("\n".join(map(json.dumps, rows)).encode()))
    source = TableSource(path=str(path))
    references = list(source.references())
    forwards = [source.read(reference, LIMITS) for reference in references]
    backwards = [source.read(reference, LIMITS) for reference in references[::-1]]
    assert forwards == backwards[::-1]
    assert sum(len(found.documents) for found in forwards) == 100


# Package lists, from an index on this machine


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


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() == 0, reason="root reads all")
def test_an_unreadable_folder_costs_itself(tmp_path: Path):
    for name in ("open", "shut"):
        (tmp_path / "r" / name).mkdir(parents=True)
        (tmp_path / "r" / name / "a.py").write_text("x = 1\n")
    (tmp_path / "r" / "shut").chmod(0)
    try:
        source = FolderSource(path=str(tmp_path))
        (reference,) = source.references()
        found = source.read(reference, ReadLimits())
    finally:
        (tmp_path / "r" / "shut").chmod(0o700)
    assert [document.path for document in found.documents] == ["open/a.py"]
    assert [(one.path, one.drop.reason) for one in found.unread] == [("shut", "unreadable")]
