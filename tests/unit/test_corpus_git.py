"""Git repositories: what was committed is read, and nothing that they name is run."""

import os
import subprocess
from pathlib import Path

import pytest

from midfill.config.corpus.sources import ReadLimits
from midfill.corpus.record import Drop
from midfill.corpus.sources import GitSource
from reading import everything, reasons, texts, write


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
