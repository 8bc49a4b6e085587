"""Folders of repositories: what is read, what is counted, what is never followed."""

import os
from pathlib import Path

import pytest

from midfill.config.corpus.sources import ReadLimits
from midfill.corpus.record import Drop
from midfill.corpus.sources import FolderSource, GitSource, PackageList, TableSource
from midfill.errors import CorpusError
from reading import everything, reasons, texts, write


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
