"""What a life of each size is made of: corpus, run, longer context, and how its time is shared."""

import sysconfig
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from midfill.config.corpus.build import CorpusConfig, SourceConfig
from midfill.config.corpus.documents import FimConfig, TokenizerConfig
from midfill.config.train import ScheduleConfig, TrainConfig
from midfill.config.train import SourceConfig as Shards
from midfill.recipes import corpora, runs

LONGER = 4  # times the context, in the second stage
BY_HEART = 0.15  # share of the sequences that are the snippets'


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """The parts of one life."""

    corpus: CorpusConfig
    run: TrainConfig
    minutes: float  # of pre-training
    longer_minutes: float


def plan(size: str, minutes: float, source: Path | None, seed: int) -> Plan:
    """A life of about `minutes`, from the repositories in `source`; None: Python's own library."""
    run, vocabulary = SIZES[size]
    sources = (
        standard_library() if source is None else (SourceConfig(kind="folder", path=str(source)),)
    )
    corpus = corpora.default()
    corpus = replace(
        corpus,
        sources=sources,
        seed=seed,
        shards=replace(
            corpus.shards,
            fim=FimConfig(rate=0.0),  # training cuts holes anew in every epoch
            held_out=0.15,
            tokenizer=TokenizerConfig(vocabulary=vocabulary, sample_bytes=8 << 20),
        ),
    )
    return Plan(
        corpus=corpus,
        run=replace(run(), seed=seed),
        minutes=0.6 * minutes,
        longer_minutes=0.15 * minutes,
    )


def pretraining(made: Plan, corpus: Path, snippets: Path) -> TrainConfig:
    """The run on the corpus and the snippets."""
    sources = (
        Shards(path=str(corpus), weight=1 - BY_HEART),
        Shards(path=str(snippets), weight=BY_HEART),
    )
    schedule = replace(made.run.schedule, shape="stable_decay", minutes=made.minutes)
    return replace(made.run, data=replace(made.run.data, sources=sources), schedule=schedule)


def longer(made: Plan, trained: TrainConfig, start: Path) -> TrainConfig:
    """The stage of longer context behind that run."""
    length = LONGER * trained.data.length
    model = runs.extended(trained.model, max(length, trained.model.context))
    optimiser = trained.optimiser
    return replace(
        trained,
        model=model,
        start=str(start),
        data=replace(trained.data, length=length),
        batch=replace(
            trained.batch,
            sequences=max(trained.batch.sequences // LONGER, 2),
            micro=max(trained.batch.micro // LONGER, 1),
        ),
        optimiser=replace(optimiser, lr=optimiser.lr / 5, muon_lr=optimiser.muon_lr / 5),
        schedule=ScheduleConfig(
            shape="stable_decay",
            warmup_steps=5,
            final=0.0,
            decay=0.8,
            minutes=made.longer_minutes,
        ),
    )


def standard_library() -> tuple[SourceConfig, ...]:
    """Sources that every machine with Python has: each package of its library a repository."""
    folder = Path(sysconfig.get_paths()["stdlib"])
    packages = sorted(path.parent for path in folder.glob("*/__init__.py"))
    return tuple(SourceConfig(kind="repository", path=str(path)) for path in packages)


SIZES: Mapping[str, tuple[Callable[[], TrainConfig], int]] = {  # the run, and its vocabulary
    "tiny": (runs.tiny, 4096),
    "nano": (runs.nano, 16384),
}
