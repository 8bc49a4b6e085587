"""`midfill tokenizer train`: from what was typed to a tokenizer's folder, and what is told of it."""

import os
import shutil
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from midfill.errors import CorpusError, ResourceError
from midfill.hub.progress import Progress, Report, silent
from midfill.terminal import show
from midfill.terminal.tokenizer_texts import Texts
from midfill.tokenizer.sample import Sample, Text, draw


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """A vocabulary as it was asked for."""

    paths: Sequence[Path]
    vocabulary: int
    out: Path
    pre: str
    sample_bytes: int
    seed: int


def train_tokenizer(wanted: Wanted, *, json: bool, quiet: bool) -> int:
    """Train, write, and print what was made of what."""
    from midfill.tokenizer import pretokenize
    from midfill.tokenizer.tokenizer import Tokenizer
    from midfill.tokenizer.train import merges, require_room, train

    pretokenize.canonical(wanted.pre)
    require_room(wanted.vocabulary)
    texts = Texts(wanted.paths, without=wanted.out)
    with show.progress(quiet=quiet) as report:
        report = report or silent
        sample = _drawn(texts, wanted, report)
        pieces = sample.pieces(_counted(texts, "reading", sum(sample.found.values()), report))
        chosen = (piece.text for piece in pieces)
        vocabulary = train(chosen, wanted.vocabulary, pre_tokenizer=wanted.pre)
    tokenizer = Tokenizer(vocabulary)
    _write(tokenizer.save, wanted.out)
    facts = {
        "out": str(wanted.out),
        "entries": tokenizer.vocab_size,
        "asked": wanted.vocabulary,
        "merges": len(merges(vocabulary)),
        "pre_tokenizer": wanted.pre,
        "sample_bytes": sum(sample.taken.values()),
        "languages": {
            name or "unknown": {"bytes": sample.found[name], "taken": sample.taken[name]}
            for name in sorted(sample.found, key=lambda name: (-sample.taken[name], name))
        },
        "unread": dict(sorted(texts.unread.items())),
    }
    _tell(facts, texts, json=json, quiet=quiet)
    return 0


def _drawn(texts: Texts, wanted: Wanted, report: Report) -> Sample:
    """The sample, or CorpusError where there is nothing to draw from."""
    sample = draw(_counted(texts, "choosing", None, report), wanted.sample_bytes, seed=wanted.seed)
    if not sample.found:
        raise texts.nothing()
    if not sample.chosen:
        raise CorpusError(
            f"no text fits into {wanted.sample_bytes:,} bytes",
            why=f"they are shared by {len(sample.found)} languages, and texts are taken whole, "
            "long ones in pieces of 128 Ki characters",
            fix="give a larger --sample-bytes",
        )
    return sample


def _counted(
    texts: Iterable[Text], label: str, total: int | None, report: Report
) -> Iterator[Text]:
    """The texts, telling how many bytes of them have gone by."""
    done = 0
    for one in texts:
        yield one
        done += len(one.text.encode())
        report(Progress(label=label, done_bytes=done, total_bytes=total))


def _write(save: Callable[[Path], None], out: Path) -> None:
    """Save under a temporary name; `out` holds the old files or the new ones, never half of one."""
    part = out.absolute().with_name(f"{out.resolve().name}.{os.getpid()}.part")
    try:
        out.parent.mkdir(parents=True, exist_ok=True)
        save(part)
        out.mkdir(exist_ok=True)
        for file in sorted(part.iterdir()):
            file.replace(out / file.name)
    except OSError as error:
        raise ResourceError(
            f"{out} cannot be written",
            why=error.strerror or str(error),
            fix="give an --out that can be written, with room",
        ) from error
    finally:
        shutil.rmtree(part, ignore_errors=True)


def _tell(facts: dict[str, Any], texts: Texts, *, json: bool, quiet: bool) -> None:
    if unread := texts.told_unread():
        show.note(f"warning: {unread}", quiet=quiet)
    if facts["entries"] < facts["asked"]:
        show.note(
            f"warning: {facts['entries']:,} entries were made, not {facts['asked']:,}: "
            "no other pair of tokens occurs twice",
            quiet=quiet,
        )
    if json:
        show.as_json(facts)
        return
    rows = [
        (name, show.size(of["bytes"]), show.size(of["taken"]))
        for name, of in facts["languages"].items()
    ]
    show.table(rows, ("language", "found", "trained on"))
    print(f"\nentries  {facts['entries']:,}, of them {facts['merges']:,} made by merges")
    print(f"written  {facts['out']}")
