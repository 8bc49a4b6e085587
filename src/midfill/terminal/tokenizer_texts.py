"""The texts that `midfill tokenizer` reads, with their languages: a corpus build, sources, files.

Everything is streamed: of folders a file at a time, of archives and tables one archive or row group.
"""

import os
import stat
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path

from midfill.config.corpus.sources import ReadLimits
from midfill.corpus.record import Document, Unread
from midfill.errors import CorpusError
from midfill.tokenizer.sample import Text

_PASSED_OVER = {".git", ".hg", ".svn", ".bzr"}  # bookkeeping, not source
_LIMITS = ReadLimits()


class Texts:
    """The texts of some paths, each time anew in the same order, and why files gave none.

    A folder `without` below them is passed over. Raises CorpusError for a path that is not there.
    """

    def __init__(self, paths: Sequence[Path], without: Path | None = None) -> None:
        for path in paths:
            if not path.exists():
                raise CorpusError(
                    f"there is no {path}", why="no such file or folder", fix="check the path"
                )
        self._paths = paths
        self._without = without and without.resolve()
        self.unread: Counter[str] = Counter()  # of the latest reading, by reason

    def __iter__(self) -> Iterator[Text]:
        self.unread.clear()
        for path in self._paths:
            yield from self._of(path)

    def told_unread(self) -> str:
        """What gave no text, in words; empty where everything did."""
        reasons = ", ".join(f"{count:,} {reason}" for reason, count in sorted(self.unread.items()))
        return f"files that gave no text: {reasons}" if reasons else ""

    def nothing(self) -> CorpusError:
        """The error where there was no text at all."""
        return CorpusError(
            f"there is no text in {', '.join(map(str, self._paths))}",
            why=self.told_unread() or "there are no files, or only empty ones",
            fix="give source or text files, folders or archives of them, or a corpus build",
        )

    def _of(self, path: Path) -> Iterator[Text]:
        if (path / "stages" / "judge").is_dir():
            yield from _build(path)
        elif (path / "index.json").is_file() and (path / "..").joinpath("tokenizer").is_dir():
            yield from _shards(path)
        elif (path / "shards" / "index.json").is_file():
            yield from _shards(path / "shards")
        elif path.is_dir():
            for file in self._walk(path):
                yield from self._file(file)
        else:
            yield from self._file(path)

    def _walk(self, folder: Path) -> Iterator[Path]:
        """Every plain file below, by name; links are not followed."""

        def unreadable(_: OSError) -> None:
            self.unread["unreadable"] += 1

        for base, folders, names in os.walk(folder, onerror=unreadable):
            folders[:] = [
                name
                for name in sorted(set(folders) - _PASSED_OVER)
                if Path(base, name).resolve() != self._without
            ]
            for path in (Path(base, name) for name in sorted(names)):
                if stat.S_ISREG(path.lstat().st_mode):
                    yield path

    def _file(self, path: Path) -> Iterator[Text]:
        from midfill.corpus.sources.archive import is_archive
        from midfill.corpus.sources.decode import document

        if is_archive(path.name):
            yield from self._archive(path)
            return
        try:
            large = path.stat().st_size > _LIMITS.file_bytes
            one = None if large else document("", path.name, path.read_bytes())
        except OSError:
            self.unread["unreadable"] += 1
            return
        if one is None:
            self.unread["larger than 16 MiB"] += 1
        elif isinstance(one, Unread):
            self.unread[one.drop.reason] += 1
        else:
            yield from _known([one])

    def _archive(self, path: Path) -> Iterator[Text]:
        from midfill.corpus.sources.archive import ArchiveSource

        source = ArchiveSource(path=str(path))
        for reference in source.references():
            found = source.read(reference, _LIMITS)
            self.unread.update(one.drop.reason for one in found.unread)
            yield from _known(found.documents)


def _known(documents: Sequence[Document]) -> Iterator[Text]:
    """Texts with the language that their name and themselves say; empty ones have neither."""
    from midfill.corpus.languages import detect

    for one in documents:
        if one.text:
            found = detect(one.path, one.text)
            yield Text(found.language or found.outside or "", one.text)


def _build(folder: Path) -> Iterator[Text]:
    """The files of a corpus build that every stage kept."""
    from midfill.corpus import table
    from midfill.corpus.pipeline.ledger import Ledger

    for path in Ledger(folder / "stages").outputs("judge", ".parquet"):
        for one in table.documents(path):
            if one.drop is None and one.text:
                yield Text(one.language or "", one.text)


def _shards(folder: Path) -> Iterator[Text]:
    """The documents of token shards, decoded by the tokenizer beside them; holes are closed again."""
    from midfill.corpus.shards import TokenShards
    from midfill.tokenizer.holes import undone
    from midfill.tokenizer.tokenizer import Tokenizer

    tokenizer = Tokenizer.from_folder(folder.parent / "tokenizer")
    marks = {tokenizer.bos_id, tokenizer.eos_id}
    for document in TokenShards.open(folder).documents():
        ids = [token for token in document.tolist() if token not in marks]
        parts = undone(ids, tokenizer.fim) if tokenizer.fim else None
        yield Text("", tokenizer.decode(ids if parts is None else [i for p in parts for i in p]))
