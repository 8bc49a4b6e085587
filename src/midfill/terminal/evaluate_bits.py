"""`midfill evaluate bits`: bits per byte of a model on held-out documents, or on texts of a user."""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from midfill.errors import ConfigError
from midfill.hub.progress import Progress
from midfill.terminal import show

if TYPE_CHECKING:
    from midfill.evaluate.bits import Bits, Text
    from midfill.terminal.evaluate import Wanted

BITS = "bits"  # in place of a benchmark
MOST_BYTES = 1 << 20  # of documents, unless --limit says how many


def bits(model: str | None, wanted: "Wanted") -> int:
    """Measure a model, print the figures and write the page."""
    from midfill.evaluate.benchmarks.userfile import need
    from midfill.evaluate.bits import measure, sample
    from midfill.evaluate.bits_report import write_bits
    from midfill.evaluate.bits_scorer import CoderScorer
    from midfill.hub import default_model
    from midfill.terminal.load import load_model

    _refuse_others(wanted)
    data = need(wanted.scoring.data, BITS, "a corpus build, or a folder or archive of texts")
    texts = sample(_texts(data), documents=wanted.scoring.limit, most_bytes=MOST_BYTES)
    name = default_model() if model is None else model
    scorer = CoderScorer(load_model(name, wanted.loading, quiet=wanted.quiet))
    with show.progress(quiet=wanted.quiet) as report:

        def told(done: int, of: int) -> None:
            if report:
                report(Progress(label="scoring", done_bytes=done, total_bytes=of))

        found = measure(scorer, texts, data=data.name, told=told)
    page = write_bits([found], wanted.scoring.out or _folder(found))
    _print([found], json=wanted.json)
    show.note(f"report: {page}", quiet=wanted.quiet)
    return 0


def compare(first: Path, second: Path, *, json: bool, out: Path | None) -> int | None:
    """Print two measurements beside each other; None where neither is one. Raises ConfigError."""
    from midfill.evaluate.bits import read_bits
    from midfill.evaluate.bits_report import write_bits

    found = [one for one in map(read_bits, (first, second)) if one is not None]
    if not found:
        return None
    if len(found) == 1:
        raise ConfigError(
            f"{first} and {second} cannot be compared",
            why="one holds bits per byte, the other does not",
            fix="give two folders that `midfill evaluate bits` wrote",
        )
    if out is not None:
        write_bits(found, out)
    _print(found, json=json)
    return 0


def _print(found: "list[Bits]", *, json: bool) -> None:
    from midfill.evaluate.bits_report import as_text

    if json:
        plain = [one.to_json() for one in found]
        show.as_json(plain[0] if len(plain) == 1 else {"compared": plain})
    else:
        print(as_text(found), end="")


def _refuse_others(wanted: "Wanted") -> None:
    """Raise ConfigError for options that say how answers are made: there are none."""
    asking, scoring = wanted.asking, wanted.scoring
    if asking.url is not None:
        raise ConfigError(
            "bits per byte cannot be asked of a server",
            why="it needs the probability of every token of a given text, which no server tells",
            fix="midfill evaluate bits MODEL --data PATH, with the model's files on this machine",
        )
    given = {
        "--samples": asking.samples,
        "--max-tokens": asking.max_tokens,
        "--temperature": asking.temperature,
        "--rule": scoring.rule,
        "--k": scoring.k,
        "-n": wanted.n - 1,
    }
    for option, value in given.items():
        if value:
            raise ConfigError(
                f"{option} was given", why="bits are measured without answers", fix="leave it out"
            )
    if scoring.limit is not None and scoring.limit < 1:
        raise ConfigError(
            f"--limit is {scoring.limit}", why="it must be at least 1", fix="--limit 10"
        )


def _texts(path: Path) -> "Iterator[Text]":
    """The held-out documents of a corpus build; of anything else, every file."""
    from midfill.evaluate.bits import Text
    from midfill.evaluate.corpus_texts import UNKNOWN, CorpusTexts, is_build
    from midfill.terminal.tokenizer_texts import Texts

    some = False
    if path.is_dir() and is_build(path):
        for document in CorpusTexts(path).documents("held_out"):
            some = True
            yield Text(text=document.text, language=document.language)
        if not some:
            raise ConfigError(
                f"{path} has no held-out documents",
                why="its build held no repository out",
                fix="midfill corpus build ... --set shards.held_out=0.01",
            )
        return
    files = Texts([path])
    for one in files:
        some = True
        whole = one.text.encode("utf-8", "replace").decode()  # half a surrogate pair is no text
        yield Text(text=whole, language=one.language or UNKNOWN)
    if not some:
        raise files.nothing()


def _folder(found: "Bits") -> Path:
    from midfill.hub.store import cache_folder

    name = re.sub(r"[^A-Za-z0-9.+-]+", "-", f"bits-{Path(found.model).name}")[:80]
    return cache_folder() / "evaluate" / f"{name}-{found.digest[:8]}-{found.window}"
