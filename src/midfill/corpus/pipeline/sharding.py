"""The last stages: a tokenizer, the tokens of each epoch, and the shards."""

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np

from midfill.corpus import table
from midfill.corpus.pipeline import select
from midfill.corpus.pipeline.borders import write_file_starts
from midfill.corpus.pipeline.merge import MergeTask, Slices, joined, merge
from midfill.corpus.pipeline.runner import Files, Note, Runner
from midfill.corpus.pipeline.tokens import FILES, TokensTask, encode_part
from midfill.corpus.shards import FORMAT, INDEX, Shard, digest, dtype_for
from midfill.corpus.whole import write_sealed
from midfill.tokenizer import folder as tokenizer_folder
from midfill.tokenizer.sample import PIECE, choose
from midfill.tokenizer.tokenizer import Tokenizer
from midfill.tokenizer.train import train

TOKENIZER = "tokenizer"  # the folder with the one that encoded the shards


def write_shards(runner: Runner, judged: Files, categories: Mapping[str, str]) -> Note:
    """Encode the kept files, choose by the mix, write the shards; return their index.

    `categories` maps each repository to the category of its source.
    """
    config = runner.config
    cuts = select.quality_cuts(judged.paths, config.quality)
    tokenizer = _tokenizer(runner, judged)
    encode = _Encoding(runner, judged, cuts, tokenizer)
    files = encode(0, None)
    rows = select.Rows.read(files)
    selection = select.select(rows, categories, config)
    slices = {"held_out": rows.slices(selection.held_out, 0, 0, config.seed)}
    languages = {
        "held_out": rows.by_language(selection.held_out),
        "train": rows.by_language(selection.of_epoch(0)),
    }
    train_slices = [rows.slices(selection.of_epoch(0), 0, 0, config.seed)]
    for epoch in range(1, selection.epochs):
        chosen = selection.of_epoch(epoch)
        more = encode(epoch, [_names(rows, chosen & (rows.part == i)) for i in range(len(files))])
        again = select.Rows.read(more)
        whole = np.ones(len(again.id), bool)
        train_slices.append(again.slices(whole, epoch * len(judged.paths), epoch, config.seed))
        languages["train"] += again.by_language(whole)
        files = files + more
    slices["train"] = joined(train_slices)
    shards, borders = _merge(runner, slices, files, encode.keys, tokenizer)
    index = {
        "format": FORMAT,
        "dtype": dtype_for(Tokenizer.from_folder(tokenizer).rows),
        "vocabulary": Tokenizer.from_folder(tokenizer).rows,
        "tokenizer_sha256": tokenizer_folder.digest(tokenizer),
        "shards": [asdict(shard) for shard in shards],
        "files": borders,
        "tokens": {s: sum(x.tokens for x in shards if x.split == s) for s in select.SPLITS},
        "documents": {s: sum(x.documents for x in shards if x.split == s) for s in select.SPLITS},
        "languages": languages,
        "left_out": select.left_out(rows, selection),
        "fim": asdict(config.shards.fim),
        "mix": {"passes": {k: round(v, 6) for k, v in sorted(selection.passes.items())}},
        "quality_cuts": cuts,
        "digest": digest(shards),
    }
    folder = runner.out / "shards"
    folder.mkdir(exist_ok=True)
    index = write_sealed(folder / INDEX, index)
    _remove_others(folder, shards)
    return index


class _Encoding:
    """Encodes all parts for one epoch, and remembers the keys of what it made."""

    def __init__(
        self, runner: Runner, judged: Files, cuts: Mapping[str, float], tokenizer: Path
    ) -> None:
        self._runner, self._judged, self._cuts = runner, judged, cuts
        self._tokenizer = tokenizer
        self.keys: list[str] = []

    def __call__(self, epoch: int, wanted: Sequence[frozenset[str]] | None) -> list[Path]:
        """Where the rows about each part's documents are; the tokens lie beside them."""
        runner, judged, config = self._runner, self._judged, self._runner.config
        used = (
            config.documents,
            config.shards.fim,
            dict(self._cuts),
            tokenizer_folder.digest(self._tokenizer),
        )
        tasks = [
            TokensTask(
                number=i,
                epoch=epoch,
                key=runner.key(used, epoch, key, None if wanted is None else sorted(wanted[i])),
                bytes=size,
                ledger=runner.ledger,
                files=path,
                tokenizer=self._tokenizer,
                config=config,
                cuts=self._cuts,
                wanted=None if wanted is None else wanted[i],
            )
            for i, (path, key, size) in enumerate(
                zip(judged.paths, judged.keys, judged.bytes, strict=True)
            )
        ]
        label = "encoding" if epoch == 0 else f"encoding, epoch {epoch + 1}"
        runner.each(label, encode_part, tasks)
        self.keys += [task.key for task in tasks]
        return [runner.ledger.place(t.stage, t.number).with_suffix(".parquet") for t in tasks]


def _names(rows: select.Rows, chosen: np.ndarray) -> frozenset[str]:
    return frozenset(rows.id[i] for i in np.flatnonzero(chosen))


def _merge(
    runner: Runner,
    slices: Mapping[str, Slices],
    files: Sequence[Path],
    keys: Sequence[str],
    tokenizer: Path,
) -> tuple[list[Shard], dict[str, Note]]:
    """The shards of all splits, written where they are not there yet, and where files begin."""
    config, tasks = runner.config.shards, []
    dtype = dtype_for(Tokenizer.from_folder(tokenizer).rows)
    for split in select.SPLITS:
        for i, run in enumerate(slices[split].in_order().cut(config.shard_tokens)):
            tasks.append(
                MergeTask(
                    number=len(tasks),
                    key=runner.key(keys, config.shard_tokens, split, i, dtype, run.digest()),
                    bytes=int(run.tokens.sum()) * 4,
                    ledger=runner.ledger,
                    folder=runner.out / "shards",
                    name=f"{split}-{i:05}",
                    split=split,
                    dtype=dtype,
                    files=[file.with_suffix(".bin") for file in files],
                    slices=run,
                )
            )
    notes = runner.each("writing shards", merge, tasks)
    borders = {
        task.name: write_file_starts(task.folder / f"{task.name}{FILES}", task.slices, files)
        for task in tasks
    }
    return [Shard(**note["shard"]) for note in notes], borders


def _remove_others(folder: Path, shards: Sequence[Shard]) -> None:
    """Remove shards of an earlier, larger build in the same folder."""
    names = {shard.name for shard in shards}
    for split in select.SPLITS:
        for path in folder.glob(f"{split}-[0-9]*.*"):
            if path.name.split(".")[0] not in names:
                path.unlink()


def _tokenizer(runner: Runner, judged: Files) -> Path:
    """The folder of the tokenizer: a copy of the one that was given, or one trained here."""
    config, folder = runner.config.shards.tokenizer, runner.out / TOKENIZER
    given = None if config.path is None else tokenizer_folder.digest(Path(config.path))
    key = runner.key(config, given, None if given else judged.keys)

    def make() -> Note:
        if config.path is not None:
            Tokenizer.from_folder(Path(config.path)).save(folder)
        else:
            texts = _sample(judged.paths, config.sample_bytes)
            tokenizer_folder.write(train(texts, config.vocabulary), folder)
        return {}

    files = [folder / name for name in tokenizer_folder.FILES]
    runner.once("training the tokenizer", TOKENIZER, key, make, files)
    return folder


def _sample(files: Sequence[Path], most_bytes: int) -> Iterator[str]:
    """Texts for the tokenizer: as many bytes of each language, up to what it has.

    Which files are chosen depends on their names only; of a long one its beginning is taken.
    """
    lots: defaultdict[str, dict[bytes, int]] = defaultdict(dict)
    for path in files:
        for row in table.read(path, ["repo", "path", "language", "size"]).to_pylist():
            lots[row["language"] or ""][_name(row)] = min(row["size"], PIECE)
    chosen = choose(lots, most_bytes).chosen
    for path in files:
        rows = table.read(path, ["repo", "path"]).to_pylist()
        places = [place for place, row in enumerate(rows) if _name(row) in chosen]
        column = table.read(path, ["text"])["text"] if places else []
        for place in places:
            text: str = column[place].as_py()
            yield text.encode("utf-8", "surrogatepass")[:PIECE].decode("utf-8", "ignore")


def _name(row: Mapping[str, Any]) -> bytes:
    return f"{row['repo']}:{row['path']}".encode("utf-8", "surrogatepass")
