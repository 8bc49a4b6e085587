"""A whole corpus build, through the command line: small repositories to token shards."""

import json
import os
import random
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from midfill.corpus.shards import TokenShards
from midfill.tokenizer.holes import undone
from midfill.tokenizer.tokenizer import Tokenizer

pytest.importorskip("pyarrow")

WORDS = "load store parse read write merge split check count route cache index shard order".split()
FAST = ["--set", "shards.tokenizer.vocabulary=600", "--set", "shards.held_out=0.2"]
ALONE = ["--set", "decontamination=null"]  # what the tests here do not look at


def function(chance: random.Random, name: str) -> str:
    """A function of Python that no other test or benchmark has."""
    words = [chance.choice(WORDS) for _ in range(6)]
    lines = [f'    """{" ".join(words).capitalize()} the {name}."""']
    lines += [f"    {w}_{i} = {chance.choice(words)}_value + {i}" for i, w in enumerate(words)]
    return "\n".join(
        [f"def {name}({', '.join(sorted(set(words)))}):", *lines, "    return locals()"]
    )


def repository(folder: Path, seed: int, files: int = 6) -> None:
    """A Python package whose modules import each other in a chain."""
    chance = random.Random(seed)
    package = folder / "src" / f"package{seed}"
    package.mkdir(parents=True)
    (package / "__init__.py").write_text(
        f'"""Package {seed} of a test."""\n\nfrom . import part0\n'
    )
    for i in range(files):
        needs = f"from package{seed} import part{i + 1}\n\n\n" if i + 1 < files else ""
        body = "\n\n\n".join(function(chance, f"f{seed}_{i}_{j}") for j in range(4))
        (package / f"part{i}.py").write_text(needs + body + "\n")
    (folder / "README.md").write_text(
        f"# Package {seed}\n\n" + "What it does, in words. " * 12 + "\n"
    )
    (folder / "data.bin").write_bytes(bytes(range(256)))


@pytest.fixture(scope="module")
def repositories(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Twelve packages, and a copy of one with a changed file."""
    folder = tmp_path_factory.mktemp("corpus") / "repositories"
    for seed in range(12):
        repository(folder / f"r{seed:02}", seed)
    shutil.copytree(folder / "r03", folder / "r03-fork")
    (folder / "r03-fork" / "README.md").write_text("# A fork\n\n" + "Other words stand here. " * 12)
    return folder


def run(*arguments: object, **options) -> subprocess.CompletedProcess[str]:
    """The command line."""
    command = [sys.executable, "-m", "midfill.cli", *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, **options)


def build(source: Path, out: Path, *more: str) -> dict:
    """A build that succeeds, and what it prints as JSON."""
    done = run("corpus", "build", source, "--out", out, "--json", *FAST, *ALONE, *more)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


@pytest.fixture(scope="module")
def built(repositories: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict]:
    """One build, for all tests that only look at it."""
    out = tmp_path_factory.mktemp("built") / "corpus"
    return out, build(repositories, out, "--workers", "1")


def texts(out: Path, split: str) -> Iterator[str]:
    """The documents of a split, with holes undone."""
    tokenizer = Tokenizer.from_folder(out / "tokenizer")
    assert tokenizer.fim is not None
    for ids in TokenShards.open(out).documents(split):
        assert ids[0] == tokenizer.bos_id
        assert ids[-1] == tokenizer.eos_id
        inner = ids[1:-1].tolist()
        parts = undone(inner, tokenizer.fim)
        yield tokenizer.decode(inner if parts is None else [t for part in parts for t in part])


def test_every_file_is_in_the_shards_once(repositories: Path, built: tuple[Path, dict]):
    out, _ = built
    whole = "".join(text for split in ("train", "held_out") for text in texts(out, split))
    kept = [folder for folder in repositories.iterdir() if folder.name != "r03-fork"]
    for folder in kept:
        for file in [*folder.rglob("*.py"), folder / "README.md"]:
            assert whole.count(file.read_text()) == 1, file
    assert len(kept) == 12


def test_a_near_copy_of_a_repository_goes_whole(built: tuple[Path, dict]):
    out, found = built
    assert found["report"]["duplicates"]["removed_repositories"] == 1
    whole = "".join(text for split in ("train", "held_out") for text in texts(out, split))
    assert whole.count("def f3_0_0(") == 1


def test_dependencies_come_first(built: tuple[Path, dict]):
    out, _ = built
    documents = [text for split in ("train", "held_out") for text in texts(out, split)]
    chains = [text for text in documents if "part0.py\n" in text]
    assert len(chains) == 12
    for text in chains:
        places = [text.index(f"part{i}.py\n") for i in range(6)]
        assert places == sorted(places, reverse=True)


def test_about_half_of_the_documents_have_holes(built: tuple[Path, dict]):
    out, _ = built
    tokenizer = Tokenizer.from_folder(out / "tokenizer")
    assert tokenizer.fim is not None
    documents = [
        ids for split in ("train", "held_out") for ids in TokenShards.open(out).documents(split)
    ]
    holes = sum(tokenizer.fim.suffix in ids for ids in documents)
    assert abs(holes - len(documents) / 2) < 4 * np.sqrt(len(documents)) / 2


def test_splits_share_no_repository(built: tuple[Path, dict]):
    out, _ = built
    train, held_out = (" ".join(texts(out, split)) for split in ("train", "held_out"))
    named = [{seed for seed in range(12) if f"f{seed}_0_0(" in text} for text in (train, held_out)]
    assert named[0].isdisjoint(named[1])
    assert named[0] | named[1] == set(range(12))


def test_the_report_says_what_went(built: tuple[Path, dict]):
    out, found = built
    report = found["report"]
    assert report["unread"]["binary"] == 13
    steps = {row["step"]: row for row in report["funnel"]}
    assert steps["near-duplicates"]["dropped"] == 8
    assert json.loads((out / "report.json").read_text()) == report
    page = (out / "report.html").read_text()
    assert "duplicate_repository" in page
    assert "<script" not in page


@pytest.mark.parametrize(
    "how",
    [
        ["--workers", "2"],
        ["--set", "part_bytes=65536"],
        ["--set", "part_bytes=70000", "--workers", "2"],
    ],
)
def test_the_division_of_work_leaves_no_trace(
    repositories: Path, built: tuple[Path, dict], tmp_path: Path, how: list[str]
):
    out, found = built
    other = build(repositories, tmp_path / "corpus", *how)
    assert other["digest"] == found["digest"]
    for path in (out / "shards").glob("*.bin"):
        assert (tmp_path / "corpus" / "shards" / path.name).read_bytes() == path.read_bytes()


def test_another_seed_is_another_order(
    repositories: Path, built: tuple[Path, dict], tmp_path: Path
):
    other = build(repositories, tmp_path / "corpus", "--seed", "1")
    assert other["digest"] != built[1]["digest"]


def test_a_finished_build_does_nothing_again(repositories: Path, built: tuple[Path, dict]):
    out, found = built
    before = {path: path.stat().st_mtime_ns for path in (out / "shards").glob("*.bin")}
    assert build(repositories, out, "--workers", "1")["digest"] == found["digest"]
    assert {path: path.stat().st_mtime_ns for path in before} == before


def _killed(command: list[str], after: float) -> bool:
    """Start a build, kill it with all its processes after so long; whether that ended it."""
    process = subprocess.Popen(
        command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True
    )
    try:
        process.wait(after)
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()
        return True
    return False


def test_one_changed_letter_is_noticed(repositories: Path, tmp_path: Path):
    folder = tmp_path / "repositories"
    shutil.copytree(repositories, folder)
    first = build(folder, tmp_path / "corpus")
    file = folder / "r05" / "README.md"
    file.write_text(file.read_text().replace("What", "Whet", 1))
    again = build(folder, tmp_path / "corpus")
    assert again["digest"] != first["digest"]
    assert again["digest"] == build(folder, tmp_path / "fresh")["digest"]


def test_a_change_and_its_return_leave_no_trace(
    repositories: Path, built: tuple[Path, dict], tmp_path: Path
):
    """A build with other settings, ended anywhere, must not be taken for this one's work."""
    out = tmp_path / "corpus"
    shutil.copytree(built[0], out)
    build(repositories, out, "--set", "quality=null", "--set", "documents.order=path")
    for note in (out / "stages" / "tokens-0").glob("*.json"):
        note.unlink()
    assert build(repositories, out)["digest"] == built[1]["digest"]


def test_a_lost_shard_is_written_again(
    repositories: Path, built: tuple[Path, dict], tmp_path: Path
):
    out = tmp_path / "corpus"
    shutil.copytree(built[0], out)
    lost = out / "shards" / "train-00000.bin"
    whole = lost.read_bytes()
    lost.write_bytes(whole[:-2])
    assert build(repositories, out)["digest"] == built[1]["digest"]
    assert lost.read_bytes() == whole


def test_the_report_verifies_shards(built: tuple[Path, dict], tmp_path: Path):
    out = tmp_path / "corpus"
    shutil.copytree(built[0], out)
    assert run("corpus", "report", out, "--verify", "--quiet").returncode == 0
    shard = out / "shards" / "train-00000.bin"
    data = bytearray(shard.read_bytes())
    data[100] ^= 1
    shard.write_bytes(data)
    assert run("corpus", "report", out, "--quiet").returncode == 0
    done = run("corpus", "report", out, "--verify", "--quiet")
    assert done.returncode == 2
    assert done.stderr.startswith(f"error: {shard} is damaged\n  why: its SHA-256")


def test_web_pages_are_text(repositories: Path, tmp_path: Path):
    pages = tmp_path / "pages.jsonl"
    chance = random.Random(3)
    rows = [
        {
            "url": f"https://site{i}.example/q/{i}",
            "html": f"<h1>Page {i}</h1><p>{' '.join(chance.choices(WORDS, k=60))}</p><script>x</script>",
        }
        for i in range(30)
    ]
    pages.write_text("".join(json.dumps(row) + "\n" for row in rows))
    out = tmp_path / "corpus"
    found = build(repositories, out, "--source", f"text=pages:{pages}")
    whole = "".join(text for split in ("train", "held_out") for text in texts(out, split))
    assert all(f"Page {i}\n" in whole for i in range(30))
    assert "<h1>" not in whole
    assert "<script>" not in whole
    assert found["mix"]["passes"] == {"code": 1.0, "text": 1.0}


def test_each_epoch_has_every_document_with_other_holes(repositories: Path, tmp_path: Path):
    out = tmp_path / "corpus"
    build(repositories, out, "--set", "shards.epochs=3", "--set", "shards.held_out=0")
    documents = list(texts(out, "train"))
    assert len(documents) == 3 * len(set(documents))
    assert all(documents.count(text) == 3 for text in set(documents))
    tokenizer = Tokenizer.from_folder(out / "tokenizer")
    raw = {ids.tobytes() for ids in TokenShards.open(out).documents("train")}
    assert tokenizer.fim is not None
    assert len(raw) > 1.5 * len(set(documents))


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_a_killed_build_goes_on_to_the_same_bytes(
    repositories: Path, built: tuple[Path, dict], tmp_path: Path
):
    out = tmp_path / "corpus"
    arguments = [*FAST, *ALONE, "--set", "part_bytes=65536", "--workers", "2"]
    command = [sys.executable, "-m", "midfill.cli", "corpus", "build", str(repositories)]
    command += ["--out", str(out), *arguments]
    start = time.monotonic()
    assert not _killed([*command[: -len(arguments) - 1], str(tmp_path / "timed"), *arguments], 300)
    whole, chance = time.monotonic() - start, random.Random(5)
    kills = tries = 0
    while kills < 10 and tries < 60:
        tries += 1
        if _killed(command, chance.uniform(0.1, 0.9) * whole):
            kills += 1
        else:  # it ended before: begin anew, so that the next kill finds work
            shutil.rmtree(out)
    assert kills == 10
    found = build(repositories, out, "--set", "part_bytes=65536", "--workers", "2")
    assert found["digest"] == built[1]["digest"]
    for path in (built[0] / "shards").glob("*.bin"):
        assert (out / "shards" / path.name).read_bytes() == path.read_bytes()


@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        (["nothing-there"], "there is no configuration"),
        (["default"], "there is nothing to build from"),
        (["{empty}"], "there is nothing to build from"),
        (["{repos}", "--set", "documents.order=upwards"], "one of depth_first"),
        (["{repos}", "--set", "document.order=path"], "did you mean documents"),
        (["{repos}", "--source", "zip:x"], "is no source"),
        (["{repos}", "--worker-memory", "64"], "needs 512 MiB"),
        (["{repos}", "--set", "limits.ratio=Infinity"], "limits.ratio is 'Infinity'"),
        (["{repos}", "--set", 'shards.mix={"code": 0.5, "math": 0.5}'], "the mix wants 50% math"),
    ],
)
def test_a_mistake_is_three_lines(
    repositories: Path, tmp_path: Path, arguments: list[str], named: str
):
    (tmp_path / "empty").mkdir()
    places = {"{empty}": str(tmp_path / "empty"), "{repos}": str(repositories)}
    filled = [places.get(argument, argument) for argument in arguments]
    done = run("corpus", "build", *filled, "--out", tmp_path / "corpus", "--quiet", *FAST, *ALONE)
    assert done.returncode == 2
    assert named in done.stderr
    assert "Traceback" not in done.stderr
    assert not (tmp_path / "corpus" / "shards").exists()
