"""Documents as rows of one Arrow schema, the same for all stages, and their files on disk.

`text` is a large string: a string array with 32-bit offsets ends at 2 GiB.
"""

import contextlib
import os
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from midfill.corpus.record import Document, Drop
from midfill.corpus.whole import replacing
from midfill.errors import CorpusError, ResourceError

if TYPE_CHECKING:
    import pyarrow as pa

_ROWS = 512  # in one row group: what a reader holds at a time


def arrow() -> Any:
    """The module pyarrow; ResourceError naming the extra where it is missing."""
    try:
        import pyarrow as pa
        import pyarrow.parquet
    except ImportError as error:
        raise ResourceError(
            "the corpus needs pyarrow", why=str(error), fix="pip install 'midfill[corpus]'"
        ) from error
    return pa


def schema() -> "pa.Schema":
    """The columns of a document."""
    pa = arrow()
    return pa.schema(
        [
            ("repo", pa.string()),
            ("path", pa.string()),
            ("text", pa.large_string()),
            ("size", pa.int64()),
            ("sha256", pa.string()),
            ("source", pa.string()),
            ("stars", pa.int64()),
            ("created", pa.string()),
            ("language", pa.string()),
            ("licence", pa.string()),
            ("depends_on", pa.list_(pa.string())),
            ("quality", pa.float32()),
            ("drop_reason", pa.string()),
            ("drop_value", pa.string()),
            ("dup_of", pa.string()),
            ("contaminated_by", pa.string()),
        ]
    )


_PLAIN = (
    "repo path text size sha256 source stars created language licence quality dup_of "
    "contaminated_by"
).split()


def to_table(documents: Sequence[Document]) -> "pa.Table":
    """The documents as rows, in their order."""
    columns: dict[str, list[Any]] = {
        name: [getattr(doc, name) for doc in documents] for name in _PLAIN
    }
    columns["depends_on"] = [list(doc.depends_on) for doc in documents]
    columns["drop_reason"] = [doc.drop and doc.drop.reason for doc in documents]
    columns["drop_value"] = [
        None if doc.drop is None or doc.drop.value is None else str(doc.drop.value)
        for doc in documents
    ]
    return arrow().table(columns, schema=schema())


def from_table(table: "pa.Table | pa.RecordBatch") -> list[Document]:
    """The rows as documents, in their order."""
    return [_document(row) for row in table.to_pylist()]


def _document(row: dict[str, Any]) -> Document:
    reason, value = row["drop_reason"], row["drop_value"]
    return Document(
        **{name: row[name] for name in _PLAIN},
        depends_on=tuple(row["depends_on"] or ()),
        drop=None if reason is None else Drop(reason, value),
    )


def write(path: Path, table: "pa.Table") -> None:
    """Write a Parquet file that is there whole or not at all."""
    import pyarrow.parquet as pq

    with replacing(path) as file:
        pq.write_table(table, file, compression="zstd", row_group_size=_ROWS)


def read(
    path: Path,
    columns: Iterable[str] | None = None,
    where: Sequence[tuple[str, str, str]] | None = None,
) -> "pa.Table":
    """The rows of a Parquet file, or those for which `where` holds; CorpusError where it is none."""
    arrow()
    import pyarrow.parquet as pq

    chosen = None if columns is None else list(columns)
    with _readable(path), _opened(path) as file:
        return pq.read_table(file, columns=chosen, filters=where and list(where))


def documents(path: Path) -> Iterator[Document]:
    """The documents of a file, a row group at a time. Raises CorpusError as `read`."""
    arrow()
    import pyarrow.parquet as pq

    with _readable(path), _opened(path) as raw, pq.ParquetFile(raw) as file:
        for batch in file.iter_batches(batch_size=_ROWS):
            yield from from_table(batch)


def _opened(path: Path) -> Any:
    """The file for Arrow, which takes as text only names that are UTF-8."""
    return arrow().OSFile(os.fsencode(path))


@contextlib.contextmanager
def _readable(path: Path) -> Iterator[None]:
    """CorpusError where what is read here is no whole Parquet file of ours."""
    try:
        yield
    except MemoryError:  # Arrow has one of its own
        raise
    except (OSError, ValueError, KeyError, arrow().ArrowException) as error:
        raise CorpusError(
            f"{path} cannot be read as Parquet",
            why=str(error).splitlines()[0] if str(error) else type(error).__name__,
            fix="delete this file; midfill corpus build, as before, makes it again",
        ) from error
