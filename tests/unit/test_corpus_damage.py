"""A build whose files were damaged, or whose inputs were not all there, goes on to the same bytes."""

import hashlib
import io
import itertools
import json
import os
import random
import shutil
import tarfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from midfill.config.corpus.build import CorpusConfig, Kind, SourceConfig
from midfill.config.override import with_values
from midfill.corpus.pipeline.build import build
from midfill.corpus.pipeline.ledger import Ledger
from midfill.corpus.pipeline.local import Local
from midfill.corpus.report import write_report
from midfill.corpus.shards import TokenShards
from midfill.errors import ConfigError, CorpusError, ResourceError
from midfill.recipes.corpora import default
from midfill.terminal.corpus_build import Wanted, config_of

pytest.importorskip("pyarrow")
WORDS = "load store parse read write merge split check count route cache index shard order".split()


def module(seed: int) -> str:
    """A Python module unlike those of other seeds."""
    chance = random.Random(seed)
    names = [f"{chance.choice(WORDS)}_{chance.randrange(10**6)}" for _ in range(20)]
    return "\n\n\n".join(f"def {a}({b}):\n    return {b} + 1" for a, b in itertools.pairwise(names))


def of(kind: Kind, path: Path | str, *settings: str) -> CorpusConfig:
    """A small build from one source, in two parts."""
    config = replace(default(), sources=(SourceConfig(kind=kind, path=str(path)),))
    plain = ["decontamination=null", "shards.tokenizer.vocabulary=400", "shards.held_out=0"]
    return with_values(config, [*plain, *settings])


def run(config: CorpusConfig, out: Path) -> tuple[str, list[str]]:
    """The digest of the shards, and the lines that were told."""
    told: list[str] = []
    return build(config, out, Local(1), tell=told.append)["digest"], told


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Four repositories of two files."""
    folder = tmp_path_factory.mktemp("damage") / "repositories"
    for seed in range(4):
        (folder / f"r{seed}").mkdir(parents=True)
        for i in range(2):
            (folder / f"r{seed}" / f"part{i}.py").write_text(module(10 * seed + i))
    return folder


@pytest.fixture(scope="module")
def built(source: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str]:
    """A finished build with its report, and its digest; tests change copies of it."""
    out = tmp_path_factory.mktemp("built") / "corpus"
    digest, told = run(of("folder", source), out)
    assert told == []
    write_report(out)
    return out, digest


@pytest.fixture
def copy(built: tuple[Path, str], tmp_path: Path) -> Path:
    """The build, to be damaged."""
    return shutil.copytree(built[0], tmp_path / "corpus")


def flip(path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 4
    path.write_bytes(data)


def cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-3])


def remove(path: Path) -> None:
    path.unlink()


@pytest.mark.parametrize("harm", [flip, cut, remove])
def test_damaged_files_are_named_and_made_again(
    source: Path, built: tuple[Path, str], copy: Path, harm: Callable[[Path], None]
):
    for path in [*copy.glob("stages/*/*"), *copy.glob("shards/*")]:
        if path.suffix != ".json" and path.stat().st_size:
            harm(path)
    harm(copy / "tokenizer" / "tokenizer.json")
    _, told = run(of("folder", source), copy)
    tasks = {line.split()[0].split(".")[0] for line in told}
    assert tasks == {
        f"{copy}/{task}"
        for task in "stages/clean/00000 stages/dedupe/00000 stages/judge/00000 "
        "stages/tokens-0/00000 shards/train-00000 tokenizer/tokenizer".split()
    }
    assert all(line.endswith("is damaged or gone, and is made again") for line in told)
    for path in built[0].glob("shards/*"):
        assert (copy / "shards" / path.name).read_bytes() == path.read_bytes()
    assert run(of("folder", source), copy) == (built[1], [])


@pytest.mark.parametrize("stage", ["clean", "dedupe", "judge", "tokens-0", "shards"])
def test_a_changed_note_vouches_for_nothing(
    source: Path, built: tuple[Path, str], copy: Path, stage: str
):
    note = copy / "stages" / stage / "00000.json"
    whole = note.read_bytes()
    note.write_bytes(whole.replace(b"1", b"2", 1))
    with pytest.raises(CorpusError, match=rf"{stage}/00000\.json is damaged"):
        list(Ledger(copy / "stages").notes(stage))
    assert run(of("folder", source), copy)[0] == built[1]
    assert note.read_bytes() == whole


def test_a_flipped_bit_in_a_shard_is_named(copy: Path):
    TokenShards.open(copy).check(digests=True)
    flip(copy / "shards" / "train-00000.bin")
    with pytest.raises(CorpusError, match=r"shards/train-00000\.bin is damaged"):
        TokenShards.open(copy).check(digests=True)


@pytest.mark.parametrize(
    ("place", "content", "named"),
    [
        ("shards/index.json", None, "holds no finished shards"),
        ("shards/index.json", b"", "index.json is damaged"),
        ("shards/index.json", b'{"format": "midfill token shards 1"}', "index.json is damaged"),
        ("shards/train-00000.bin", None, "there is no "),
        ("shards/train-00000.bin", b"123", "train-00000.bin has 3 bytes"),
        ("run.json", None, "run.json is missing or damaged"),
        ("run.json", b'{"config": {"duplicates": 3}}', "run.json is missing or damaged"),
        ("stages/clean/00000.json", b'{"key": "x", "counts": 3}', "00000.json is damaged"),
        ("stages/judge/00000.parquet", b"PAR1", "judge/00000.parquet cannot be read"),
        ("stages/judge/00000.parquet", None, "judge/00000.parquet cannot be read"),
        ("stages/tokens-0/00000.dropped.parquet", b"", "00000.dropped.parquet cannot be read"),
        ("stages", None, "stages/ is missing"),
        ("shards", None, "holds no finished shards"),
    ],
)
def test_a_report_names_what_is_damaged(copy: Path, place: str, content: bytes | None, named: str):
    path = copy / place
    if content is not None:
        path.write_bytes(content)
    elif path.is_dir():
        shutil.rmtree(path)
    else:
        path.unlink()
    with pytest.raises(CorpusError) as error:
        write_report(copy)
    assert named in str(error.value)
    assert "midfill corpus build" in error.value.fix


@pytest.mark.parametrize("name", ["", "nowhere"])
def test_a_report_needs_a_build(tmp_path: Path, name: str):
    with pytest.raises(CorpusError, match="holds no finished shards"):
        write_report(tmp_path / name)


@pytest.mark.parametrize(
    ("kind", "path"),
    [
        ("folder", "absent"),
        ("repository", "absent"),
        ("git", "absent"),
        ("archives", "absent"),
        ("packages", "absent"),
        ("table", "absent"),
        ("pages", "absent"),
        ("folder", "half\0name"),
        ("folder", "half \ud800 a pair"),
    ],
)
def test_an_absent_source_ends_a_build_before_it_begins(tmp_path: Path, kind: Kind, path: str):
    with pytest.raises(CorpusError) as error:
        run(of(kind, f"{tmp_path}/{path}"), tmp_path / "corpus")
    assert path in str(error.value) or repr(path)[1:-1] in str(error.value)
    assert not (tmp_path / "corpus" / "stages" / "clean").exists()


def test_an_archive_that_comes_later_is_read_then(tmp_path: Path):
    folder = tmp_path / "sources"
    folder.mkdir()
    for seed in range(2):
        made = io.BytesIO()
        with tarfile.open(fileobj=made, mode="w") as tar:
            data = module(seed).encode()
            entry = tarfile.TarInfo(f"part{seed}.py")
            entry.size = len(data)
            tar.addfile(entry, io.BytesIO(data))
        packed = made.getvalue()
        digest, name = hashlib.sha256(packed).hexdigest(), f"p{seed}_1.orig.tar.gz"
        (folder / f"p{seed}.dsc").write_text(f"Checksums-Sha256:\n {digest} {len(packed)} {name}\n")
        (folder / name).write_bytes(packed)
    config = of("archives", folder)
    away = (folder / "p1_1.orig.tar.gz").rename(tmp_path / "away")
    first, _ = run(config, tmp_path / "corpus")
    assert run(config, tmp_path / "corpus")[0] == first
    away.rename(folder / "p1_1.orig.tar.gz")
    second, _ = run(config, tmp_path / "corpus")
    assert second != first
    assert second == run(config, tmp_path / "fresh")[0]


class _Unmounted(Local):
    """Processes that do not see the source."""

    def __init__(self, source: Path) -> None:
        super().__init__(1)
        self._source = source

    def run(self, function, tasks):
        shutil.rmtree(self._source)
        return super().run(function, tasks)


def test_a_source_that_goes_away_ends_the_build(source: Path, tmp_path: Path):
    gone = shutil.copytree(source, tmp_path / "gone")
    with pytest.raises(CorpusError, match=r"the source .*/gone is gone"):
        build(of("folder", gone), tmp_path / "corpus", _Unmounted(gone))


def test_names_that_are_no_utf8_work(source: Path, built: tuple[Path, str], tmp_path: Path):
    folder = shutil.copytree(source, tmp_path / os.fsdecode(b"caf\xe9"))
    out = tmp_path / os.fsdecode(b"out\xff")
    assert run(of("folder", folder), out)[0] == built[1]
    assert write_report(out)["digest"] == built[1]
    config = json.loads((out / "run.json").read_text("utf-8"))["config"]
    assert config["sources"][0]["path"] == str(folder)


@pytest.mark.parametrize(
    ("content", "named"),
    [
        (b"[" * 100_000, "nested too deep"),
        (b'{"seed": "\xff"}', "can't decode byte 0xff"),
        (b'{"limits": {"ratio": NaN}}', "NaN is no number"),
        (b'{"limits": {"ratio": 1e999}}', "a finite number"),
        (b"[]", "an object with the fields of CorpusConfig"),
    ],
)
def test_a_configuration_that_cannot_be_read_is_named(tmp_path: Path, content: bytes, named: str):
    path = tmp_path / "config.json"
    path.write_bytes(content)
    with pytest.raises(ConfigError) as error:
        config_of(Wanted(config=str(path), out=tmp_path / "corpus"))
    assert named in str(error.value)


def test_a_shard_may_hold_everything(source: Path, built: tuple[Path, str], tmp_path: Path):
    config = of("folder", source, f"shards.shard_tokens={10**30}")
    assert run(config, tmp_path / "corpus")[0] == built[1]


def test_too_little_memory_is_refused_at_once():
    with pytest.raises(ResourceError, match="needs 512 MiB"):
        Local(2, 511 << 20)
