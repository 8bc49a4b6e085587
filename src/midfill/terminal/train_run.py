"""`midfill train`: from what was typed to a run, what is shown of it, and its report."""

import os
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from midfill.config.model import ModelConfig
from midfill.config.override import with_values
from midfill.config.train import SourceConfig, TrainConfig
from midfill.errors import ConfigError
from midfill.recipes.runs import CONTINUED, RUNS, extended, long_context
from midfill.terminal import show
from midfill.tokenizer.tokenizer import Tokenizer

if TYPE_CHECKING:
    from midfill.terminal.train import Options

BUILT = ("shards", "index.json")  # one of them is in a folder of shards
EVERY = 20.0  # seconds between lines, where there is no terminal
STOPPED = 130
SEVERAL = os.environ.get("WORLD_SIZE", "1") != "1"  # processes, as torchrun says
TELLING = 5.0  # seconds


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """A run as it was asked for: a new one, or the folder of one to go on with."""

    config: TrainConfig | None
    folder: Path
    device: str
    track: str | None


def pretraining(
    recipe: str | None, start: str | None, options: "Options", seed: int | None
) -> Wanted:
    """A run of `midfill train pretrain`. Raises ConfigError."""
    if options.resume is not None:
        return _resumed(options, {"--recipe": recipe, "--start": start, "--seed": seed})
    if recipe is None or recipe not in RUNS:
        raise ConfigError(
            f"no recipe is called {recipe!r}" if recipe else "there is no recipe",
            why=f"known are {', '.join(RUNS)}",
            fix="--recipe tiny",
        )
    config = RUNS[recipe]()
    if start is None and recipe in CONTINUED:
        raise ConfigError(
            f"{recipe} goes on from weights that exist",
            why="it is a later stage of a training, and would begin with new ones",
            fix="--start MODEL, the checkpoint of the stage before",
        )
    if start is not None:
        config = _of_model(config, _model_of(start))
    return _new(config, start, options, seed)


def _of_model(config: TrainConfig, model: ModelConfig) -> TrainConfig:
    """The run for another network; for the recipe's own it keeps its rotary embedding."""
    if dict(model.tensors()) == dict(config.model.tensors()):
        return config
    length = min(config.data.length, model.context)
    return replace(config, model=model, data=replace(config.data, length=length))


def extending(
    start: str | None,
    length: int | None,
    context: int | None,
    steps: int,
    options: "Options",
    seed: int | None,
) -> Wanted:
    """A run of `midfill train long-context`. Raises ConfigError."""
    if options.resume is not None:
        return _resumed(options, {"--start": start, "--length": length, "--context": context})
    if start is None or length is None:
        raise ConfigError(
            "a stage of longer context needs a model and a length",
            why=f"{'--start' if start is None else '--length'} was not given",
            fix="midfill train long-context --start RUN/final --length 4096 --data DIR --out RUN2",
        )
    model = _model_of(start)
    longer = extended(model, max(context or length, length))
    stage = long_context(longer, length, steps, before=model.context)
    return _of_steps(_new(stage, start, options, seed), steps, options.settings or ())


def _new(config: TrainConfig, start: str | None, options: "Options", seed: int | None) -> Wanted:
    if options.out is None:
        raise ConfigError(
            "there is no folder for the run",
            why="its checkpoints, its log and its result need one",
            fix="--out RUN",
        )
    if not options.data:
        raise ConfigError(
            "there is nothing to train on",
            why="no shards were named",
            fix="--data DIR, a folder that midfill corpus build wrote, or a folder of sources",
        )
    shards = [shards_of(text, options.out) for text in options.data]
    sources = tuple(
        replace(given, weight=given.weight * like.weight, least_tokens=like.least_tokens)
        for given in shards
        for like in config.data.sources or (SourceConfig(path=""),)
        if _has(given, like.least_tokens)
    )
    config = replace(config, data=replace(config.data, sources=sources), start=_place_of(start))
    if seed is not None:
        config = replace(config, seed=seed)
    config = with_values(config, options.settings or ())
    return Wanted(config=config, folder=options.out, device=options.device, track=options.track)


def _has(shards: SourceConfig, least_tokens: int) -> bool:
    """Whether some document is so long; where none is, long ones cannot be drawn more often."""
    if not least_tokens:
        return True
    from midfill.corpus.shards import TokenShards
    from midfill.train.data.documents import Documents

    documents = Documents(TokenShards.open(Path(shards.path)), "train")
    if len(documents) and int(documents.tokens.max()) >= least_tokens:
        return True
    show.note(f"{shards.path} has no document of {least_tokens:,} tokens: none is drawn more often")
    return False


def _of_steps(wanted: Wanted, steps: int, settings: Sequence[str]) -> Wanted:
    """With the tokens of so many steps, whatever batch and length were set, if tokens were not."""
    config = wanted.config
    assert config is not None
    if any(setting.startswith("tokens=") for setting in settings):
        return wanted
    tokens = steps * config.batch.sequences * config.data.length
    return replace(wanted, config=replace(config, tokens=tokens))


def _resumed(options: "Options", others: Mapping[str, object]) -> Wanted:
    assert options.resume is not None
    given = {"--data": options.data, "--out": options.out, "--set": options.settings, **others}
    if names := [name for name, value in given.items() if value is not None]:
        raise ConfigError(
            f"{names[0]} cannot be given with --resume",
            why="a run goes on as it began: run.json has its configuration",
            fix="leave it out, or begin a new run with --start RUN/final",
        )
    return Wanted(config=None, folder=options.resume, device=options.device, track=options.track)


def train(wanted: Wanted, *, json: bool, quiet: bool) -> int:
    """Train to the end, or until stopped; print where the result is."""
    from midfill.config.override import as_data
    from midfill.engine.load import pick_device
    from midfill.train.build import fitted, new_run, open_run, read_config, write_final
    from midfill.train.log import open_tracker
    from midfill.train.parallel.ranks import join, leave

    ranks, folder = join(pick_device(wanted.device)), wanted.folder
    if wanted.config is None:
        config = read_config(folder)
    else:
        tokenizer = _tokenizer_of(wanted.config)
        config = fitted(wanted.config, tokenizer)
        new_run(config, folder, tokenizer, ranks)
    line = Line(quiet=quiet or not ranks.first)
    tracker = open_tracker(wanted.track, folder, as_data(config)) if ranks.first else None
    run = open_run(config, folder, ranks, tracker=tracker, watch=line)
    with closing(run.log):
        ended = run.train()
    line.end()
    final = None if ended.stopped else write_final(run)
    leave()
    result = {
        "run": str(folder),
        "step": ended.step,
        "steps": ended.steps,
        "loss": ended.loss,
        "stopped": ended.stopped,
        "final": None if final is None else str(final),
    }
    return _told(result, json=json, quiet=quiet) if ranks.first else 0


@contextmanager
def told_once() -> Iterator[None]:
    """Of the processes that torchrun started only the first that fails says why."""
    try:
        yield
    except Exception:
        if SEVERAL:
            from midfill.train.parallel.ranks import first_to_fail

            if not first_to_fail():
                time.sleep(TELLING)  # an end of this one would end the one that tells
                sys.exit(1)
        raise


def report(run: Path, beside: Sequence[Path], *, json: bool, quiet: bool) -> int:
    """Write the page of a run; print where it is, or its numbers."""
    from midfill.train.report import write_report

    numbers = write_report(run, beside=beside)
    if json:
        show.as_json(numbers)
    else:
        print(run / "report.html")
    return 0


def _place_of(start: str | None) -> str | None:
    """Where the weights of a path or a name lie: `run.json` then needs no network."""
    from midfill.hub import resolve

    return None if start is None else str(resolve(start))


def _model_of(start: str) -> ModelConfig:
    from midfill.hub import resolve
    from midfill.model.checkpoint import open_checkpoint

    return open_checkpoint(resolve(start)).config


def _tokenizer_of(config: TrainConfig) -> Tokenizer:
    """The checkpoint's, or where there is none that of the first source's tokens."""
    from midfill.corpus.shards import TokenShards
    from midfill.model.checkpoint import open_checkpoint

    if config.start is not None:
        return open_checkpoint(Path(config.start)).tokenizer()
    shards = TokenShards.open(Path(config.data.sources[0].path))
    return Tokenizer.from_folder(shards.folder.parent / "tokenizer")


def shards_of(text: str, out: Path) -> SourceConfig:
    """Shards as they are typed: DIR or WEIGHT=DIR; of a folder of sources a corpus is built first."""
    weight, sign, path = text.partition("=")
    share = 1.0
    if sign and not Path(text).exists():
        with suppress(ValueError):  # a path with = in it that does not exist: the reader says so
            share, text = float(weight), path
    folder = Path(text)
    if folder.is_dir() and not any((folder / name).exists() for name in BUILT):
        folder = _built(folder, out)
    return SourceConfig(path=str(folder), weight=share)


def _built(sources: Path, out: Path) -> Path:
    """The default corpus of a folder of sources, without holes: training makes new ones."""
    from midfill.terminal.corpus_build import Wanted, build_corpus

    if SEVERAL:
        raise ConfigError(
            f"{sources} holds no token shards",
            why="several processes do not build a corpus",
            fix=f"midfill corpus build {sources} --out corpus --set shards.fim.rate=0",
        )
    corpus = out.with_name(f"{out.name}-corpus-{sources.resolve().name}")
    wanted = Wanted(config=str(sources), out=corpus, settings=("shards.fim.rate=0",))
    show.note(f"building a corpus of {sources} in {corpus}")
    build_corpus(wanted, json=False, quiet=True)
    return corpus


def _told(result: Mapping[str, Any], *, json: bool, quiet: bool) -> int:
    if json:
        show.as_json(result)
    elif result["stopped"]:
        show.note(f"stopped at step {result['step']:,}; go on with", quiet=quiet)
        show.note(f"  midfill train pretrain --resume {result['run']}", quiet=quiet)
    else:
        print(result["final"])
    return STOPPED if result["stopped"] else 0


class Line:
    """The progress of a run on stderr: one line that changes, or one every so often."""

    def __init__(self, *, quiet: bool) -> None:
        self._quiet = quiet
        self._terminal = sys.stderr.isatty()
        self._shown = 0.0
        self._held_out = ""

    def __call__(self, event: Mapping[str, Any]) -> None:
        """Show an event of the log, if it is time for it."""
        if self._quiet:
            return
        if event["kind"] == "evaluation":
            self._held_out = f"  held out {event['loss']:.3f}"
        if event["kind"] != "step":
            return
        now = time.monotonic()
        last = event["step"] >= event["steps"]
        if now - self._shown < (0.1 if self._terminal else EVERY) and not last:
            return
        self._shown = now
        line = _progress(event) + self._held_out
        print(
            f"\r\x1b[K{line}" if self._terminal else line,
            end="" if self._terminal else "\n",
            file=sys.stderr,
            flush=True,
        )

    def end(self) -> None:
        """Leave the last line standing."""
        if self._terminal and not self._quiet and self._shown:
            print(file=sys.stderr)


def _progress(event: Mapping[str, Any]) -> str:
    left = (event["steps"] - event["step"]) * event["seconds"] / event["step"]
    return (
        f"step {event['step']:,}/{event['steps']:,}  loss {event['loss']:.3f}  "
        f"{event['bits_per_byte']:.3f} bits/byte  {event['tokens_per_second']:,.0f} tokens/s  "
        f"MFU {100 * event['mfu']:.0f} %  {_time(left)} left"
    )


def _time(seconds: float) -> str:
    minutes, seconds = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{seconds:02}" if hours else f"{minutes}:{seconds:02}"
