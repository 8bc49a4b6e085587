"""Pages out of files, one at a time: of an HTML page what a reader sees of it."""

from collections import Counter
from collections.abc import Iterable, Iterator
from pathlib import Path

from midfill.config.corpus.sources import ReadLimits
from midfill.corpus.recall.pages import Page
from midfill.corpus.record import Drop
from midfill.corpus.rules.characters import visible_text
from midfill.corpus.sources.decode import decode
from midfill.corpus.sources.grouped import Row, files_of
from midfill.corpus.sources.names import clean_page
from midfill.corpus.sources.pages import rows_of
from midfill.corpus.sources.streams import Refused, Stream
from midfill.corpus.sources.tables import TableSource

ENDINGS = tuple(
    f".{kind}{packed}"
    for kind in ("warc", "wet", "jsonl")
    for packed in ("", ".gz", ".bz2", ".xz", ".zst")
)
_ENDLESS = 1 << 62  # bytes: a file of pages may be of any size


def read_pages(paths: Iterable[Path], unread: Counter[str], *, is_github: bool) -> Iterator[Page]:
    """Every page of these WARC, WET, JSONL and Parquet files, or of those in these folders.

    With `is_github`, JSONL rows are files of repositories, as those of Parquet always are.
    `unread` counts why others could not be read. Raises CorpusError for what is not there.
    """
    for path in paths:
        for file in files_of(str(path), (".parquet", *ENDINGS), "WARC, WET, JSONL or Parquet in"):
            if file.suffix == ".parquet" or (is_github and ".jsonl" in file.name):
                yield from _files(file, "github.com/" if is_github else "", unread)
            else:
                yield from _pages(file, unread)


def _files(file: Path, host: str, unread: Counter[str]) -> Iterator[Page]:
    """Rows of a table, a repository at a time."""
    source = TableSource(path=str(file))
    for reference in source.references():
        found = source.read(reference, ReadLimits())
        unread.update(one.drop.reason for one in found.unread)
        place = found.name.removeprefix(f"{source.kind}/")
        for document in found.documents:
            yield Page(f"https://{host}{place}/{document.path}", document.text)


def _pages(file: Path, unread: Counter[str]) -> Iterator[Page]:
    """Records of a crawl, in the order of the file; those before any damage."""
    limits = ReadLimits()
    try:
        with file.open("rb") as opened:
            stream = Stream(opened, limits, most=_ENDLESS)
            for _where, row in rows_of(file.name)(stream, limits):
                text = _text(row, limits)
                if isinstance(text, Drop):
                    unread[text.reason] += 1
                else:
                    yield Page(f"https://{row.key}/{row.path}", text)
    except Refused as refused:
        unread[refused.drop.reason] += 1
    except OSError:
        unread["unreadable"] += 1


def _text(row: Row, limits: ReadLimits) -> str | Drop:
    path = row.drop or clean_page(row.path, limits)
    if isinstance(path, Drop):
        return path
    if len(row.data) > limits.file_bytes:
        return Drop("file_size", len(row.data))
    text = decode(row.data, row.encoding)
    return visible_text(text) if row.language == "HTML" and isinstance(text, str) else text
