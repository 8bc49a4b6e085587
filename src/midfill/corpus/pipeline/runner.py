"""What every stage of a build uses: the work folder, the executor, keys, progress, counts."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol, TypeVar

from midfill.config.corpus.build import CorpusConfig
from midfill.config.override import as_data
from midfill.corpus.pipeline.fingerprint import fingerprint
from midfill.corpus.pipeline.ledger import Ledger, Note
from midfill.corpus.pipeline.local import Executor
from midfill.corpus.whole import key_of
from midfill.hub.progress import Progress, Report, silent


class Job(Protocol):
    """What every task has."""

    @property
    def stage(self) -> str:
        """The folder of its stage."""
        ...

    @property
    def number(self) -> int:
        """Its place in the stage."""
        ...

    @property
    def key(self) -> str:
        """What it is made from."""
        ...

    @property
    def bytes(self) -> int:
        """About how much it reads."""
        ...


AnyJob = TypeVar("AnyJob", bound=Job)


@dataclass(frozen=True, slots=True)
class Files:
    """What a stage left behind, part by part."""

    paths: list[Path]
    keys: list[str]
    bytes: list[int]  # of the files kept


@dataclass(frozen=True, slots=True, kw_only=True)
class Runner:
    """One build in a folder of its own."""

    config: CorpusConfig
    out: Path
    executor: Executor
    report: Report = silent
    tell: Callable[[str], None]  # is given lines for people

    @property
    def ledger(self) -> Ledger:
        """What is done."""
        return Ledger(self.out / "stages")

    def key(self, *used: object) -> str:
        """The key of a task that is made from these, by this code."""
        return key_of(fingerprint(), self.config.seed, *map(as_data, used))

    def each(
        self, label: str, function: Callable[[AnyJob], Note], tasks: Sequence[AnyJob]
    ) -> list[Note]:
        """The notes of a stage's tasks, in their order; only those that are not done are run."""
        notes = [self._done(task.stage, task.number, task.key) for task in tasks]
        whole = sum(task.bytes for task in tasks)
        done = sum(task.bytes for task, note in zip(tasks, notes, strict=True) if note)
        self.report(Progress(label=label, done_bytes=done, total_bytes=whole))
        place = {task.number: i for i, task in enumerate(tasks)}
        left = [task for task, note in zip(tasks, notes, strict=True) if note is None]
        for task in left:  # an old note must not vouch for what is written now
            self.ledger.forget(task.stage, task.number)
        for task, note in self.executor.run(function, left):
            notes[place[task.number]] = note
            done += task.bytes
            self.report(Progress(label=label, done_bytes=done, total_bytes=whole))
        found = [note for note in notes if note is not None]
        if tasks:
            self.ledger.trim(tasks[0].stage, len(tasks))
        return found

    def once(
        self,
        label: str,
        stage: str,
        key: str,
        function: Callable[[], Note],
        files: Iterable[Path] = (),
    ) -> Note:
        """The note of a stage that is one task of this process, and of `files` what it wrote."""
        note = self._done(stage, 0, key)
        if note is None:
            self.report(Progress(label=label, done_bytes=0))
            self.ledger.forget(stage, 0)
            made = function()
            note = self.ledger.finish(stage, 0, key, made, (f for f in files if f.exists()))
        return note

    def _done(self, stage: str, number: int, key: str) -> Note | None:
        """The note of a finished task whose files are still what it wrote."""
        note = self.ledger.note(stage, number, key)
        damaged = note and self.ledger.damaged(note)
        if damaged:
            self.tell(f"{damaged} is damaged or gone, and is made again")
        return None if damaged else note
