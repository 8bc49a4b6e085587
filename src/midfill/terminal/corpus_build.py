"""`midfill corpus build` and `report`: from what was typed to a build, and what is printed of it."""

import contextlib
import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, get_args

from midfill.config.corpus.build import CorpusConfig, Kind, SourceConfig
from midfill.config.corpus.documents import Category
from midfill.config.override import from_data, parsed, with_values
from midfill.errors import ConfigError, ResourceError
from midfill.recipes.corpora import CORPORA
from midfill.terminal import show

if TYPE_CHECKING:
    from midfill.corpus.pipeline.local import Executor


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """A build as it was asked for."""

    config: str
    out: Path
    sources: Sequence[str] = ()
    settings: Sequence[str] = ()
    workers: int | None = None
    worker_memory: int | None = None  # MiB
    cluster: str | None = None  # address of a Ray cluster; None: processes here
    seed: int | None = None


def build_corpus(wanted: Wanted, *, json: bool, quiet: bool) -> int:
    """Build; print where the shards are and what became of the files."""
    from midfill.corpus.pipeline.build import build
    from midfill.corpus.report import write_report
    from midfill.hub.progress import silent

    config = config_of(wanted)
    with show.progress(quiet=quiet) as report:
        with executor_of(wanted) as executor:
            built = build(
                config,
                wanted.out,
                executor,
                benchmarks=benchmarks(),
                report=report or silent,
                tell=lambda line: show.note(line, quiet=quiet),
            )
        numbers = write_report(wanted.out)
    if not built["tokens"]["train"]:
        show.note("warning: nothing is left to train on; report.html says why", quiet=quiet)
    if json:
        show.as_json({"out": str(wanted.out), **built, "report": numbers})
        return 0
    _print(wanted.out, numbers)
    return 0


@contextlib.contextmanager
def executor_of(wanted: Wanted) -> "Iterator[Executor]":
    """Where the tasks run. Raises ResourceError where a cluster cannot be used."""
    from midfill.corpus.pipeline.local import Local

    if wanted.cluster is None:
        memory = None if wanted.worker_memory is None else wanted.worker_memory << 20
        yield Local(wanted.workers, memory)
        return
    from midfill.corpus.pipeline.cluster import Cluster

    with Cluster(wanted.cluster, wanted.workers) as cluster:
        wanted.out.mkdir(parents=True, exist_ok=True)
        cluster.check(wanted.out)
        yield cluster


def show_report(folder: Path, *, verify: bool, json: bool, quiet: bool) -> int:
    """Write the report of a build again, and print its funnel."""
    from midfill.corpus.report import write_report
    from midfill.corpus.shards import TokenShards

    try:
        if verify:
            TokenShards.open(folder).check(digests=True)
        numbers = write_report(folder)
    except OSError as error:
        raise ResourceError(
            f"no report can be written in {folder}",
            why=f"{error.strerror or error}: {error.filename or folder}",
            fix="check permissions and room there",
        ) from error
    if json:
        show.as_json(numbers)
    elif not quiet:
        _print(folder, numbers)
    return 0


def config_of(wanted: Wanted) -> CorpusConfig:
    """The configuration that was asked for. Raises ConfigError."""
    config = _named(wanted.config)
    if wanted.sources:
        config = replace(config, sources=(*config.sources, *map(source_of, wanted.sources)))
    if wanted.seed is not None:
        config = replace(config, seed=wanted.seed)
    return with_values(config, wanted.settings)


def source_of(text: str) -> SourceConfig:
    """A source as it is typed: KIND:PATH, or CATEGORY=KIND:PATH."""
    head, sign, path = text.partition(":")
    category, _, kind = head.rpartition("=")
    if not sign or kind not in get_args(Kind) or category not in ("", *get_args(Category)):
        raise ConfigError(
            f"{text!r} is no source",
            why=f"kinds are {', '.join(get_args(Kind))}; categories {', '.join(get_args(Category))}",
            fix="for example --source git:./my-project, or --source math=pages:crawl.warc.gz",
        )
    given = {"category": category} if category else {}
    return SourceConfig(kind=kind, path=path, **given)  # type: ignore[arg-type]


def benchmarks() -> Path | None:
    """The folder of benchmarks that MIDFILL_DATA names."""
    named = os.environ.get("MIDFILL_DATA")
    return Path(named) if named else None


def _named(config: str) -> CorpusConfig:
    """A recipe, a JSON file, or a folder with the default recipe."""
    path = Path(config)
    if config in CORPORA:
        return CORPORA[config]()
    if path.is_dir():
        sources = (SourceConfig(kind=_kind_of(path), path=str(path)),)
        return replace(CORPORA["default"](), sources=sources)
    if not path.is_file():
        raise ConfigError(
            f"there is no configuration {config!r}",
            why=f"recipes are {', '.join(CORPORA)}, and there is no such file or folder",
            fix="midfill corpus build FOLDER --out DIR",
        )
    try:
        data = parsed(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise ConfigError(
            f"{path} cannot be read as JSON", why=str(error), fix="give run.json of another build"
        ) from error
    if isinstance(data, dict) and isinstance(data.get("config"), dict):
        data = data["config"]
    return from_data(CorpusConfig, data)


def _kind_of(folder: Path) -> Kind:
    """What a folder is: git repositories, archives, one repository, or a folder of them."""
    from midfill.corpus.languages import detect
    from midfill.corpus.sources.archive import is_archive

    entries = sorted(folder.iterdir())
    if (folder / ".git").exists() or (
        (folder / "HEAD").is_file() and (folder / "objects").is_dir()
    ):
        return "git"
    files = [entry for entry in entries if entry.is_file() and not entry.name.startswith(".")]
    if files and all(is_archive(file.name) for file in files):
        return "archives"
    if any(detect(file.name).language for file in files):
        return "repository"
    return "folder"


def _print(folder: Path, numbers: dict[str, Any]) -> None:
    rows = [
        (row["step"], f"{row['files']:,}", show.size(row["bytes"]), f"{row['dropped']:,}")
        for row in numbers["funnel"]
    ]
    show.table(rows, ("step", "files", "bytes", "dropped there"))
    tokens = numbers["tokens"]
    print(f"\ntokens   {tokens['train']:,} to train on, {tokens['held_out']:,} held out")
    print(f"shards   {folder / 'shards'}")
    print(f"report   {folder / 'report.html'}")
