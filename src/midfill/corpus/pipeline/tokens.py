"""The tokens of one part: the task that makes them, and the arrays that describe them.

tokens-0/00000.bin       ids of the part's documents in epoch 0, one after the other, 32 bits each
tokens-0/00000.parquet   a row for each document: name, repository, language, sizes
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from midfill.config.corpus.build import CorpusConfig
from midfill.corpus import table
from midfill.corpus.documents import Training, assemble
from midfill.corpus.pipeline.aside import Aside
from midfill.corpus.pipeline.count import Counts
from midfill.corpus.pipeline.encode import Encoder
from midfill.corpus.pipeline.ledger import Ledger
from midfill.corpus.quality.model import above
from midfill.corpus.record import Document
from midfill.corpus.whole import replacing
from midfill.tokenizer.tokenizer import Tokenizer

_COLUMNS = ("id", "repo", "language", "bytes", "files", "holes")


@dataclass(frozen=True, slots=True, kw_only=True)
class TokensTask:
    """Encode one part for one epoch."""

    number: int
    epoch: int
    key: str
    bytes: int
    ledger: Ledger
    files: Path  # Parquet of the files that were judged
    tokenizer: Path
    config: CorpusConfig
    cuts: Mapping[str, float]  # least score of the quality model, by language
    wanted: frozenset[str] | None = None  # names of documents; None: all

    @property
    def stage(self) -> str:
        """The folder of this epoch."""
        return f"tokens-{self.epoch}"


def encode_part(task: TokensTask) -> dict[str, Any]:
    """Write the tokens of a part and the rows about its documents; return its note."""
    config = task.config
    encoder = Encoder(
        Tokenizer.from_folder(task.tokenizer),
        config.shards.fim,
        most_tokens=config.documents.max_document_tokens,
        seed=config.seed,
    )
    place = task.ledger.place(task.stage, task.number)
    files = _Files(task)
    rows = []
    with replacing(place.with_suffix(".bin")) as file:
        for one in encoder.encode(files.documents(), task.epoch, task.wanted):
            file.write(one.ids.astype("<u4").tobytes())
            row = {name: getattr(one, name) for name in _COLUMNS}
            rows.append(row | {"tokens": len(one.ids)})
    table.write(place.with_suffix(".parquet"), table.arrow().Table.from_pylist(rows, _schema()))
    table.write(place.with_suffix(".dropped.parquet"), files.aside.table())
    note = {
        "documents": len(rows),
        "tokens": sum(row["tokens"] for row in rows),
        "counts": files.counts.rows(),
    }
    return task.ledger.finish(task.stage, task.number, task.key, note)


def _schema() -> Any:
    pa = table.arrow()
    return pa.schema(
        [
            ("id", pa.string()),
            ("repo", pa.string()),
            ("language", pa.string()),
            ("tokens", pa.int64()),
            ("bytes", pa.int64()),
            ("files", pa.int32()),
            ("holes", pa.bool_()),
        ]
    )


class _Files:
    """The files of a part, without those that the quality model scores too low."""

    def __init__(self, task: TokensTask) -> None:
        self._task = task
        self._cut = above(task.cuts)
        self.counts = Counts()
        self.aside = Aside(task.config.kept_samples)

    def documents(self) -> Iterator[Training]:
        """The training documents, repository by repository."""
        config, seed = self._task.config.documents, self._task.config.seed
        files: list[Document] = []
        for file in table.documents(self._task.files):
            if files and files[0].repo != file.repo:
                yield from assemble(files, config, seed)
                files = []
            file.drop = self._cut(file)
            if file.drop is None:
                files.append(file)
            self.counts.add(self._task.stage, [file])
            self.aside.add(self._task.stage, [file])
        yield from assemble(files, config, seed)
