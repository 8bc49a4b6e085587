"""What of a build is done: a task is done when its note lies beside what it wrote.

    OUT/run.json                the whole configuration, seed and versions
    OUT/stages/<stage>/00000.*    what task 0 of a stage wrote, under their own names when whole
    OUT/stages/<stage>/00000.json its note: counts, and a key of what it was made from; written last

A note goes before its task is done again, so a killed build leaves at most files without a note, or
under temporary names; both are written anew. A task whose key has changed is done again.
"""

import hashlib
import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from midfill.corpus.whole import write_json


@dataclass(frozen=True, slots=True)
class Ledger:
    """The work folder of one build."""

    folder: Path

    def place(self, stage: str, number: int) -> Path:
        """Where task `number` of `stage` writes: this path with its own endings."""
        path = self.folder / stage
        path.mkdir(parents=True, exist_ok=True)
        return path / f"{number:05}"

    def note(self, stage: str, number: int, key: str) -> dict[str, Any] | None:
        """The note of a finished task, or None where it is to be done, again or for the first time."""
        try:
            note = json.loads(self.place(stage, number).with_suffix(".json").read_text("utf-8"))
        except (FileNotFoundError, ValueError):
            return None
        return note if isinstance(note, dict) and note.get("key") == key else None

    def finish(self, stage: str, number: int, key: str, note: dict[str, Any]) -> dict[str, Any]:
        """Write the note of a task whose files are whole, and return it."""
        note = {"key": key, **note}
        write_json(self.place(stage, number).with_suffix(".json"), note)
        return note

    def notes(self, stage: str) -> Iterator[dict[str, Any]]:
        """The notes of a stage's finished tasks, by number."""
        for path in sorted((self.folder / stage).glob("[0-9]*.json")):
            yield json.loads(path.read_text("utf-8"))

    def outputs(self, stage: str, ending: str) -> list[Path]:
        """What a stage's finished tasks wrote with this ending, by number."""
        notes = sorted((self.folder / stage).glob("[0-9]*.json"))
        paths = [path.with_name(path.stem + ending) for path in notes]
        return [path for path in paths if path.exists()]

    def trim(self, stage: str, tasks: int) -> None:
        """Remove the notes of tasks that an earlier build in this folder had more."""
        for path in (self.folder / stage).glob("[0-9]*.json"):
            if int(path.stem) >= tasks:
                path.unlink()

    def forget(self, stage: str, number: int) -> None:
        """Have a task done again."""
        self.place(stage, number).with_suffix(".json").unlink(missing_ok=True)


def key_of(*parts: object) -> str:
    """A short name for what a task was made from; equal where all parts are equal."""
    text = json.dumps(parts, sort_keys=True, default=str)
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()[:24]
