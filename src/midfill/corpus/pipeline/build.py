"""A whole build, from sources to shards: which stage follows which, and what passes between them.

    sources -> parts -> clean -> dedupe -> judge -> tokens -> shards
                         map     exchange   map      map     exchange

Every stage writes into the work folder and is skipped where it is done, so a build goes on where it
was ended; a changed configuration does again what depends on it. Which process did what leaves no
trace in the result.
"""

import contextlib
import difflib
import itertools
import platform
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

from midfill.config.corpus.build import CorpusConfig, SourceConfig
from midfill.config.override import as_data
from midfill.corpus.decontamination import Index
from midfill.corpus.duplicates.run import parameters
from midfill.corpus.languages import LANGUAGES, OUTSIDE
from midfill.corpus.pipeline import dedupe, model
from midfill.corpus.pipeline.clean import CleanTask, clean_part
from midfill.corpus.pipeline.encode import Encoder
from midfill.corpus.pipeline.fingerprint import fingerprint
from midfill.corpus.pipeline.judge import JudgeTask, judge_part
from midfill.corpus.pipeline.ledger import RUN
from midfill.corpus.pipeline.local import Executor
from midfill.corpus.pipeline.mixture import passes
from midfill.corpus.pipeline.plan import Part, parts
from midfill.corpus.pipeline.runner import Files, Note, Runner
from midfill.corpus.pipeline.sharding import write_shards
from midfill.corpus.sources.opened import opened
from midfill.corpus.sources.source import Reference
from midfill.corpus.whole import key_of, write_sealed
from midfill.errors import ConfigError, CorpusError, ResourceError
from midfill.hub.progress import Progress, Report, silent
from midfill.tokenizer.tokenizer import Tokenizer
from midfill.version import __version__


def build(
    config: CorpusConfig,
    out: Path,
    executor: Executor,
    *,
    benchmarks: Path | None = None,
    report: Report = silent,
    tell: Callable[[str], None] = lambda _: None,
) -> Note:
    """Do what is not done yet of a build in the folder `out`; return the index of its shards.

    `benchmarks` is the folder of benchmarks, beside those that were pulled; `tell` is given a line
    about each file of an earlier build that was damaged since, and is made again. Raises UserError.
    """
    out = out.absolute()
    try:
        runner = Runner(config=config, out=out, executor=executor, report=report, tell=tell)
        return _build(runner, benchmarks)
    except OSError as error:
        raise ResourceError(
            f"the build in {out} cannot go on",
            why=f"{error.strerror or error}: {error.filename or out}",
            fix="give an --out that can be written, with room; then the same command goes on",
        ) from error


def _build(runner: Runner, benchmarks: Path | None) -> Note:
    config, out = runner.config, runner.out
    out.mkdir(parents=True, exist_ok=True)
    with _alone(out):
        check(config)
        _refuse_inside(config, out)
        for left_behind in out.rglob("*.part"):  # by a build that was killed
            left_behind.unlink()
        write_sealed(out / RUN, record(config))
        found = _references(runner)
        index = _index(runner, benchmarks)
        cleaned = _clean(runner, list(parts(found, config.part_bytes)))
        duplicates, quality = _dedupe(runner, cleaned), _train_model(runner, cleaned)
        judged = _judge(runner, cleaned, duplicates, quality, index)
        categories = {r.name: config.sources[number].category for number, r in found}
        return write_shards(runner, judged, categories)


def record(config: CorpusConfig) -> dict[str, Any]:
    """What a build was made with: enough to do it again."""
    near = config.duplicates and parameters(config.duplicates)
    return {
        "midfill": __version__,
        "python": platform.python_version(),
        "code": fingerprint(),
        "near_duplicates": near,
        "config": as_data(config),
    }


def _references(runner: Runner) -> list[tuple[int, Reference]]:
    """Every repository of every source, once what is missing has been fetched."""
    found: list[tuple[int, Reference]] = []
    for number, source in enumerate(runner.config.sources):
        one = opened(source, runner.config.fetching)
        one.prepare(runner.report)
        with _reading(source):
            found += [(number, _stamped(reference)) for reference in one.references()]
    if not found:
        raise CorpusError(
            "there is nothing to build from",
            why="the sources hold no repository" if runner.config.sources else "there is no source",
            fix="midfill corpus build FOLDER --out DIR, where FOLDER holds repositories",
        )
    names = sorted(reference.name for _, reference in found)
    twice = next((a for a, b in itertools.pairwise(names) if a == b), None)
    if twice:
        raise CorpusError(
            f"two repositories are called {twice}",
            why="documents are known by the name of their repository",
            fix="leave one of the two out, or rename its folder",
        )
    return found


@contextlib.contextmanager
def _reading(source: SourceConfig) -> Iterator[None]:
    """CorpusError naming the source where its path cannot be used."""
    try:
        yield
    except (OSError, ValueError) as error:  # ValueError: a name that no file can have
        raise CorpusError(
            f"the source {source.path!r} cannot be read",
            why=str(error),
            fix="check the path and its permissions, or leave the source out",
        ) from error


def _stamped(reference: Reference) -> Reference:
    """The reference with the sizes and times of the files that it spans, if it spans any."""
    if not reference.spans:
        return reference
    found = {span.file: Path(span.file).stat() for span in reference.spans}
    stamps = [f"{name} {one.st_size} {one.st_mtime_ns}" for name, one in sorted(found.items())]
    return replace(reference, stamp=key_of(stamps))


def _clean(runner: Runner, planned: list[Part]) -> Files:
    config = runner.config
    used = (config.sources, config.limits, config.languages, config.created_before)
    labels = config.quality is not None and config.quality.classifier is not None
    used = (*used, config.rules, config.duplicates, config.kept_samples)
    used = (*used, labels and config.label_share)
    tasks = [
        CleanTask(part=part, key=runner.key(used, part), ledger=runner.ledger, config=config)
        for part in planned
    ]
    notes = runner.each("cleaning", clean_part, tasks)
    places = [runner.ledger.place(task.stage, task.number) for task in tasks]
    return Files(
        [place.with_suffix(".parquet") for place in places],
        # What could not be read may be read at another time: then what follows is done again.
        [key_of(task.key, note["again"]) for task, note in zip(tasks, notes, strict=True)],
        [note["bytes"] for note in notes],
    )


def _dedupe(runner: Runner, cleaned: Files) -> tuple[Path, str] | None:
    """Where the list of duplicates is, and its key; None where they stay."""
    config = runner.config.duplicates
    if config is None:
        return None
    key = runner.key(config, cleaned.keys)
    path = runner.ledger.place(dedupe.STAGE, 0).with_suffix(".parquet")
    runner.once(
        "comparing",
        dedupe.STAGE,
        key,
        lambda: dedupe.write(path, cleaned.paths, config),
        files=[path],
    )
    return path, key


def _train_model(runner: Runner, cleaned: Files) -> tuple[Path, str] | None:
    """Where the quality model is, and its key; None where there is none."""
    config = runner.config.quality
    if config is None or config.classifier is None:
        return None
    key = runner.key(config.classifier, cleaned.keys)
    path = runner.ledger.place(model.STAGE, 0).with_suffix(".ngrams")
    labelled = [one.with_suffix(".labelled.parquet") for one in cleaned.paths]
    classifier = config.classifier
    note = runner.once(
        "training the quality model",
        model.STAGE,
        key,
        lambda: model.train(labelled, classifier, path),
        files=[path],
    )
    return (path, key) if note["trained"] else None


def _index(runner: Runner, benchmarks: Path | None) -> tuple[Path, str] | None:
    """Where the benchmarks' texts are, for all processes, and their digest."""
    config = runner.config.decontamination
    if config is None:
        return None
    runner.report(Progress(label="reading benchmarks", done_bytes=0))
    path = runner.out / "stages" / "benchmarks.npz"
    path.parent.mkdir(exist_ok=True)
    try:
        return path, Index.cached(benchmarks, config, path).digest
    except CorpusError:
        if not path.exists():
            raise
        runner.tell(f"{path} is damaged, and is made again")
        path.unlink()
        return path, Index.cached(benchmarks, config, path).digest


def _refuse_inside(config: CorpusConfig, out: Path) -> None:
    """A build inside its own source would read what it wrote."""
    for source in config.sources:
        with _reading(source):
            inside = out.resolve().is_relative_to(Path(source.path).resolve())
        if inside and source.kind != "git":
            raise ConfigError(
                f"{out} lies inside the source {source.path}",
                why="the next build would read what this one wrote",
                fix="give an --out elsewhere",
            )


def check(config: CorpusConfig) -> None:
    """Refuse at once what would be refused after hours. Raises ConfigError, TokenizerError."""
    categories = {source.category for source in config.sources}
    known = categories | ({"text"} if "code" in categories else set())  # Markdown beside code
    passes(dict.fromkeys(known, 1), config.shards.mix, 1)
    if config.shards.tokenizer.path is not None:
        tokenizer = Tokenizer.from_folder(Path(config.shards.tokenizer.path))
        Encoder(tokenizer, config.shards.fim, most_tokens=1, seed=0)
    for name in config.languages:
        if name != "v1" and name not in LANGUAGES and name not in OUTSIDE:
            near = difflib.get_close_matches(name, [*LANGUAGES, *OUTSIDE], n=1)
            raise ConfigError(
                f"there is no language {name!r}",
                why="names are those of DeepSeek-Coder-V2's list, and v1 for V1's 87",
                fix=f"did you mean {near[0]}?"
                if near
                else "midfill corpus languages FILE names one",
            )
    ignored = {
        "decontamination.max_df": config.decontamination and config.decontamination.max_df,
        "rules.filters.characters_per_token": config.rules.filters.characters_per_token,
    }
    for name, value in ignored.items():
        if value is not None:
            raise ConfigError(
                f"{name} cannot be set in a build",
                why="it needs a pass over the whole corpus, or a tokenizer, that the build has not",
                fix=f"leave {name} out",
            )


def _judge(
    runner: Runner,
    cleaned: Files,
    duplicates: tuple[Path, str] | None,
    quality: tuple[Path, str] | None,
    index: tuple[Path, str] | None,
) -> Files:
    config = runner.config
    made = [one and one[1] for one in (duplicates, quality, index)]
    used = (config.quality, config.decontamination, config.kept_samples, made)
    tasks = [
        JudgeTask(
            number=i,
            key=runner.key(key, used),
            bytes=size,
            ledger=runner.ledger,
            files=path,
            duplicates=duplicates and duplicates[0],
            index=index and index[0],
            model=quality and quality[0],
            config=config,
        )
        for i, (path, key, size) in enumerate(
            zip(cleaned.paths, cleaned.keys, cleaned.bytes, strict=True)
        )
    ]
    notes = runner.each("judging", judge_part, tasks)
    places = [runner.ledger.place(task.stage, task.number) for task in tasks]
    return Files(
        [place.with_suffix(".parquet") for place in places],
        [task.key for task in tasks],
        [note["bytes"] for note in notes],
    )


@contextlib.contextmanager
def _alone(out: Path) -> Iterator[None]:
    """Refuse a second build in the same folder at the same time."""
    try:
        with FileLock(out / ".lock", timeout=0):
            yield
    except Timeout as error:
        raise CorpusError(
            f"{out} is being built by another process",
            why="two builds would write the same files",
            fix="wait for it, or give another --out",
        ) from error
