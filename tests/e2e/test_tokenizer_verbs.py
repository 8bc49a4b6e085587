"""`midfill tokenizer train`, `show` and `compare`, as they are typed."""

import base64
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from midfill.tokenizer.tokenizer import Tokenizer
from midfill.tokenizer.train import SENTINELS

ROOT = Path(__file__).parents[2]
PYTHON = "def area(width, height):\n    return width * height  # {}\n\n\nprint(area(2, 3))\n"
GO = 'package main\n\nimport "fmt"\n\nfunc main() {{\n\tfmt.Println("area {}")\n}}\n'


def midfill(*words: object, seed: int = 0) -> subprocess.CompletedProcess[bytes]:
    command = [sys.executable, "-c", "from midfill.cli import main; main()", *map(str, words)]
    environment = os.environ | {"PYTHONPATH": str(ROOT / "src"), "PYTHONHASHSEED": str(seed)}
    return subprocess.run(command, capture_output=True, env=environment, timeout=50)


def answer(*words: object, seed: int = 0) -> dict:
    result = midfill(*words, "--json", seed=seed)
    assert result.returncode == 0, result.stderr.decode()
    return json.loads(result.stdout)


def refused(*words: object) -> str:
    """What is told of a mistake: three lines and nothing else."""
    result = midfill(*words, "--quiet")
    lines = result.stderr.decode().splitlines()
    starts = [line.split(":")[0].strip() for line in lines]
    assert (result.returncode, starts) == (2, ["error", "why", "fix"]), result.stderr
    return lines[0]


@pytest.fixture(scope="module")
def repository(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two languages, an archive, and what is no text."""
    folder = tmp_path_factory.mktemp("sources") / "repository"
    (folder / ".git").mkdir(parents=True)
    (folder / ".git" / "config.py").write_text("not = 'source'\n")
    for i in range(20):
        (folder / f"shapes{i}.py").write_text(PYTHON.format(f"no {i}") * 3)
        (folder / f"main{i}.go").write_text(GO.format(i))
    (folder / "data.bin").write_bytes(bytes(range(256)))
    (folder / "broken.py").write_bytes(b"x = '\xff\xfe'\n")
    (folder / "link.py").symlink_to("shapes0.py")
    packed = folder.parent / "packed"
    packed.mkdir()
    (packed / "more.go").write_text(GO.format("packed") * 5)
    shutil.make_archive(str(folder / "packed"), "gztar", packed)
    return folder


@pytest.fixture(scope="module")
def trained(repository: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict]:
    out = tmp_path_factory.mktemp("trained") / "own"
    return out, answer("tokenizer", "train", repository, "--vocab", 310, "--out", out)


def test_train_tells_what_it_made_of_what(trained: tuple[Path, dict]):
    out, told = trained
    assert sorted(path.name for path in out.parent.iterdir()) == ["own"]
    assert (told["entries"], told["merges"]) == (310, 310 - 256 - len(SENTINELS))
    assert set(told["languages"]) == {"Python", "Go"}
    assert told["unread"] == {"binary": 1, "encoding": 1}
    assert all(of["taken"] == of["bytes"] for of in told["languages"].values())
    assert Tokenizer.from_folder(out).vocab_size == 310


def test_the_same_files_elsewhere_give_the_same_bytes(
    repository: Path, trained: tuple[Path, dict], tmp_path: Path
):
    """Other names of folders, so another order, another hash seed, and each file given alone."""
    want = (trained[0] / "tokenizer.json").read_bytes()
    (tmp_path / "z").mkdir()
    for path in repository.glob("*.py"):
        shutil.copy(path, tmp_path / "z" / path.name, follow_symlinks=True)
    others = [*repository.glob("*.go"), repository / "packed.tar.gz"]
    out = tmp_path / "z" / "out"
    for seed in (1, 2):  # the second reading must pass over what the first wrote
        words = ["tokenizer", "train", tmp_path / "z", *others[::-1], "--vocab", 310, "--out", out]
        answer(*words, seed=seed)
        assert (out / "tokenizer.json").read_bytes() == want


def test_train_on_a_build_reads_what_it_kept_and_its_shards_with_holes_closed(
    repository: Path, tmp_path: Path
):
    """Documents written around a hole train the same vocabulary as documents without one."""
    pytest.importorskip("pyarrow")
    sources, corpus = tmp_path / "sources" / "shapes", tmp_path / "corpus"
    sources.mkdir(parents=True)
    for path in repository.glob("shapes*.py"):
        shutil.copy(path, sources)
    off = ["decontamination=null", "shards.tokenizer.vocabulary=300", "shards.held_out=0"]
    settings = [word for setting in off for word in ("--set", setting)]
    made, told = [], []
    for rate in (1, 0):
        build = ["corpus", "build", sources.parent, "--out", corpus, "--quiet", *settings]
        result = midfill(*build, "--set", f"shards.fim.rate={rate}")
        assert result.returncode == 0, result.stderr.decode()
        shards = tmp_path / f"rate{rate}"
        for name in ("shards", "tokenizer"):
            shutil.copytree(corpus / name, shards / name)
        out = tmp_path / f"own{rate}"
        told.append(answer("tokenizer", "train", shards, "--vocab", 280, "--out", out))
        made.append((out / "tokenizer.json").read_bytes())
    assert made[0] == made[1]
    assert told[0]["sample_bytes"] == told[1]["sample_bytes"] > 1000
    words = ["--vocab", 280, "--out", tmp_path / "own"]
    assert set(answer("tokenizer", "train", corpus, *words)["languages"]) == {"Python"}
    assert answer("tokenizer", "show", corpus)["name"] == "corpus"


def test_more_entries_than_the_text_has_are_told(repository: Path, tmp_path: Path):
    words = ["tokenizer", "train", repository, "--vocab", 5000, "--out", tmp_path / "own"]
    result = midfill(*words)
    assert result.returncode == 0
    assert b"entries were made, not 5,000" in result.stderr


def test_mistakes_are_told_in_three_lines(repository: Path, tmp_path: Path):
    empty = tmp_path / "empty"
    empty.mkdir()
    out = ["--out", tmp_path / "own"]
    train = ["tokenizer", "train"]
    assert "there is no text" in refused(*train, empty, "--vocab", 400, *out)
    assert "there is no text" in refused(*train, repository / "data.bin", "--vocab", 400, *out)
    assert "there is no " in refused(*train, tmp_path / "gone", "--vocab", 400, *out)
    assert "too small" in refused(*train, repository, "--vocab", 200, *out)
    assert "'nope'" in refused(*train, repository, "--vocab", 400, "--pre", "nope", *out)
    small = ["--vocab", 400, "--sample-bytes", 3]
    assert "no text fits" in refused(*train, repository, *small, *out)
    blocked = tmp_path / "file"
    blocked.write_text("")
    assert "cannot be written" in refused(
        *train, repository, "--vocab", 400, "--out", blocked / "own"
    )
    assert not (tmp_path / "own").exists()
    assert "no tokenizer" in refused("tokenizer", "show", repository / "main1.go")
    assert "no tokenizer.json" in refused("tokenizer", "show", repository)


def test_show_tells_the_facts(trained: tuple[Path, dict]):
    told = answer("tokenizer", "show", trained[0])
    tokenizer = Tokenizer.from_folder(trained[0])
    assert told["entries"] == 310
    assert told["added"] == {text: tokenizer.id_of(text) for text in SENTINELS}
    assert told["fim"]["middle"] == tokenizer.id_of("<｜fim▁end｜>")
    assert told["stop_ids"] == sorted(tokenizer.stop_ids)
    assert (told["pre_tokenizer"], told["adds_bos"]) == ("deepseek-coder", True)


def test_show_cuts_a_text(trained: tuple[Path, dict], tmp_path: Path):
    text = "def f():\n\treturn '漢🦙' # <｜fim▁hole｜>\x1b[31m"
    tokenizer = Tokenizer.from_folder(trained[0])
    told = answer("tokenizer", "show", trained[0], text)
    assert [token["id"] for token in told["tokens"]] == tokenizer.encode(text)
    assert b"".join(bytes.fromhex(token["bytes"]) for token in told["tokens"]) == text.encode()
    assert any(token["text"] is None for token in told["tokens"])  # a part of a character
    file = tmp_path / "text.py"
    file.write_text(text)
    assert answer("tokenizer", "show", trained[0], "--file", file) == told
    shown = midfill("tokenizer", "show", trained[0], text).stdout.decode()
    assert "\\xe6" in shown
    assert "\x1b" not in shown
    assert f"{len(told['tokens'])} tokens, {len(text.encode())} bytes" in shown


def test_show_refuses_half_a_character(trained: tuple[Path, dict]):
    assert "not valid Unicode" in refused(
        "tokenizer", "show", trained[0], b"a\xff".decode(errors="surrogateescape")
    )


def test_compare_counts_the_tokens_of_each(
    repository: Path, trained: tuple[Path, dict], tmp_path: Path
):
    bytes_only = tmp_path / "bytes"
    answer("tokenizer", "train", repository, "--vocab", 265, "--out", bytes_only)
    page = tmp_path / "page.html"
    told = answer(
        *("tokenizer", "compare", trained[0], bytes_only, "--on", repository, "--page", page)
    )
    assert told["entries"] == {"own": 310, "bytes": 265}
    rows = {row["language"]: row for row in told["rows"]}
    assert set(rows) == {"all", "Python", "Go"}
    for row in rows.values():
        assert row["tokens"]["bytes"] == row["bytes"]
        assert row["bytes_per_token"]["bytes"] == 1
        assert row["bytes_per_token"]["own"] == pytest.approx(
            row["bytes"] / row["tokens"]["own"], abs=1e-4
        )
    tokenizer = Tokenizer.from_folder(trained[0])
    texts = [path.read_text() for path in repository.glob("shapes*.py")]
    assert rows["Python"]["tokens"]["own"] == sum(len(tokenizer.encode(t)) for t in texts)
    assert f"all, own: {rows['all']['bytes_per_token']['own']:.2f} bytes" in page.read_text()


def test_compare_needs_a_known_rank_file(repository: Path, trained: tuple[Path, dict], tmp_path):
    path = tmp_path / "own.tiktoken"
    lines = (f"{base64.b64encode(bytes([i])).decode()} {i}\n" for i in range(256))
    path.write_text("".join(lines))
    told = refused("tokenizer", "compare", trained[0], path, "--on", repository)
    assert "none of the known encodings" in told
