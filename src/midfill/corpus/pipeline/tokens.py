"""The tokens of one part: the task that makes them, and the arrays that describe them.

tokens-0/00000.bin        ids of the part's documents in epoch 0, one after the other, 32 bits each
tokens-0/00000.files.bin  where in these each file of the documents begins, 64 bits each
tokens-0/00000.parquet    a row for each document: name, repository, language, sizes, contents
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from midfill.config.corpus.build import CorpusConfig
from midfill.config.corpus.duplicates import Duplicates
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

FILES = ".files.bin"
_COLUMNS = ("id", "repo", "language", "bytes", "holes")


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
    rows, at = [], 0
    endings = (".bin", FILES, ".parquet", ".dropped.parquet")
    ids_path, starts_path, rows_path, dropped_path = written = [
        place.with_suffix(e) for e in endings
    ]
    with replacing(ids_path) as ids, replacing(starts_path) as starts:
        for one in encoder.encode(files.documents(), task.epoch, task.wanted):
            ids.write(one.ids.astype("<u4").tobytes())
            starts.write(np.array([at + start for start in one.file_starts], "<u8").tobytes())
            at += len(one.ids)
            row = {name: getattr(one, name) for name in _COLUMNS}
            contents = [files.contents.get(f"{one.repo}:{path}") for path in one.paths]
            row["contents"] = [content for content in contents if content is not None]
            rows.append(row | {"tokens": len(one.ids)})
    table.write(rows_path, table.arrow().Table.from_pylist(rows, _schema()))
    table.write(dropped_path, files.aside.table())
    note = {
        "documents": len(rows),
        "tokens": at,
        "counts": files.counts.rows(),
    }
    written = [place.with_suffix(one) for one in (".bin", FILES, ".parquet", ".dropped.parquet")]
    return task.ledger.finish(task.stage, task.number, task.key, note, written)


def _schema() -> Any:
    pa = table.arrow()
    return pa.schema(
        [
            ("id", pa.string()),
            ("repo", pa.string()),
            ("language", pa.string()),
            ("tokens", pa.int64()),
            ("bytes", pa.int64()),
            ("contents", pa.list_(pa.uint64())),
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
        self.contents: dict[
            str, int
        ] = {}  # 64 bits of the SHA-256 of each file that counts as copied
        self._least = (task.config.duplicates or Duplicates()).exact_bytes

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
                if file.size >= self._least:
                    self.contents[file.id] = int(file.sha256[:16], 16)
            self.counts.add(self._task.stage, [file])
            self.aside.add(self._task.stage, [file])
        yield from assemble(files, config, seed)
