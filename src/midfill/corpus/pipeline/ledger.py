"""What of a build is done: a task is done when its note lies beside what it wrote.

    OUT/run.json                the whole configuration, seed and versions
    OUT/stages/<stage>/00000.*    what task 0 of a stage wrote, under their own names when whole
    OUT/stages/<stage>/00000.json its note: counts, a key of what it was made from, and the SHA-256
                                of its files and of itself; written last

A note goes before its task is done again, so a killed build leaves at most files without a note, or
under temporary names; both are written anew. A task is done again where its key has changed, where
a file of its is gone or has other bytes, and where an input could not be read.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from midfill.corpus.whole import read_sealed, sha256_of, write_sealed
from midfill.errors import CorpusError

RUN = "run.json"
Note = dict[str, Any]
_OURS = ("key", "wrote", "seal")  # the fields of a note that the ledger adds


@dataclass(frozen=True, slots=True)
class Ledger:
    """The work folder of one build."""

    folder: Path

    def place(self, stage: str, number: int) -> Path:
        """Where task `number` of `stage` writes: this path with its own endings."""
        path = self.folder / stage
        path.mkdir(parents=True, exist_ok=True)
        return path / f"{number:05}"

    def note(self, stage: str, number: int, key: str) -> Note | None:
        """The note of a finished task, or None where it is to be done, again or for the first time."""
        note = read_sealed(self.place(stage, number).with_suffix(".json"))
        return note if note and note["key"] == key and not note.get("again") else None

    def damaged(self, note: Note) -> Path | None:
        """The first file of a finished task that is gone or has other bytes than it wrote."""
        for name, digest in note["wrote"].items():
            found = sha256_of(path := self.folder.parent / name)
            if found is None or found != digest:
                return path
        return None

    def finish(
        self, stage: str, number: int, key: str, note: Note, files: Iterable[Path] = ()
    ) -> Note:
        """Write the note of a task whose `files` are whole, and return it."""
        digests = {str(p.relative_to(self.folder.parent)): sha256_of(p) for p in files}
        note = {**note, "key": key, "wrote": digests}
        return write_sealed(self.place(stage, number).with_suffix(".json"), note)

    def notes(self, stage: str) -> Iterator[Note]:
        """What a stage's finished tasks noted, by number. Raises CorpusError."""
        for _, note in self._noted(stage):
            yield {name: value for name, value in note.items() if name not in _OURS}

    def outputs(self, stage: str, ending: str) -> list[Path]:
        """What a stage's finished tasks wrote with this ending, by number. Raises CorpusError."""
        noted = [(path.with_name(path.stem + ending), note) for path, note in self._noted(stage)]
        return [p for p, note in noted if str(p.relative_to(self.folder.parent)) in note["wrote"]]

    def _noted(self, stage: str) -> Iterator[tuple[Path, Note]]:
        for path in sorted((self.folder / stage).glob("[0-9]*.json")):
            note = read_sealed(path)
            if note is None:
                raise CorpusError(
                    f"{path} is damaged",
                    why="it is not the note that a finished task of the build wrote",
                    fix="midfill corpus build CONFIG --out DIR, as before, does that task again",
                )
            yield path, note

    def trim(self, stage: str, tasks: int) -> None:
        """Remove the notes of tasks that an earlier build in this folder had more."""
        for path in (self.folder / stage).glob("[0-9]*.json"):
            if int(path.stem) >= tasks:
                path.unlink()

    def forget(self, stage: str, number: int) -> None:
        """Have a task done again."""
        self.place(stage, number).with_suffix(".json").unlink(missing_ok=True)
