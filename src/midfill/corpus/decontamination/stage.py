"""The stage: drops files that hold benchmark text, and reports what was hit.

Files are tested, not documents made of several: a join may make a gram or hide one.
"""

import hashlib
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

from midfill.config.corpus.decontamination import Decontamination
from midfill.corpus.decontamination.held_out import held_out
from midfill.corpus.decontamination.index import Index
from midfill.corpus.decontamination.scan import Hit, find, hits
from midfill.corpus.record import Document, Drop

SAMPLES = 50  # hits written aside for reading
_CONTEXT = 300  # characters of the line that is shown with each


@dataclass(frozen=True, slots=True)
class Sample:
    """One hit with its line, for reading."""

    lot: str  # of the draw
    document: str
    line: int
    set: str
    task_id: str
    gram: str
    drops: bool
    context: str

    @property
    def place(self) -> tuple[bool, str]:
        """Those that drop their file first; else by chance, and the same in every run."""
        return not self.drops, self.lot


@dataclass(slots=True, kw_only=True)
class Report:
    """What was hit. Reports of parts add up, in any order, to the report of the whole."""

    documents: int = 0  # looked at
    dropped: int = 0  # for shared text
    dropped_by_paper: int = 0  # that the papers' rule would drop
    held_out: Counter[str] = field(default_factory=Counter)  # project to documents
    sets: Counter[str] = field(default_factory=Counter)  # set to documents dropped for it
    tasks: Counter[tuple[str, str]] = field(default_factory=Counter)  # the same for each task
    frequency: Counter[int] = field(default_factory=Counter)  # row to documents that hold it
    samples: list[Sample] = field(default_factory=list)

    def add(self, other: "Report") -> None:
        """Take in the report of another part."""
        for name in ("documents", "dropped", "dropped_by_paper"):
            setattr(self, name, getattr(self, name) + getattr(other, name))
        for name in ("held_out", "sets", "tasks", "frequency"):
            getattr(self, name).update(getattr(other, name))
        self.draw(other.samples)

    def draw(self, samples: Iterable[Sample]) -> None:
        """Take in hits for reading; the first `SAMPLES` of all stay."""
        self.samples = sorted([*self.samples, *samples], key=lambda one: one.place)[:SAMPLES]

    def most_frequent(self, index: Index, count: int = 50) -> list[tuple[str, int]]:
        """The grams that most documents hold, with how many: what to read for false hits."""
        rows = sorted(self.frequency.items(), key=lambda item: (-item[1], item[0]))
        return [(index.text(row), documents) for row, documents in rows[:count]]

    def as_json(self, index: Index) -> dict[str, Any]:
        """Everything in it, so that the reports of all parts can be read and added up."""
        return {
            "index": index.digest,
            "documents": self.documents,
            "dropped": self.dropped,
            "dropped_by_paper": self.dropped_by_paper,
            "held_out": dict(sorted(self.held_out.items())),
            "sets": dict(sorted(self.sets.items())),
            "tasks": [[*task, documents] for task, documents in sorted(self.tasks.items())],
            "frequency": [list(pair) for pair in sorted(self.frequency.items())],
            "samples": [asdict(sample) for sample in self.samples],
        }

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> "Report":
        """The report that `as_json` wrote."""
        return cls(
            documents=data["documents"],
            dropped=data["dropped"],
            dropped_by_paper=data["dropped_by_paper"],
            held_out=Counter(data["held_out"]),
            sets=Counter(data["sets"]),
            tasks=Counter({(name, task): count for name, task, count in data["tasks"]}),
            frequency=Counter(dict(data["frequency"])),
            samples=[Sample(**sample) for sample in data["samples"]],
        )

    def summary(self, index: Index) -> dict[str, Any]:
        """What the report page shows: counts with their benchmarks, and words instead of rows."""
        whole = Counter(name for name, _ in index.tasks)
        hit = Counter(name for name, _ in self.tasks)
        shown = self.as_json(index)
        del shown["frequency"]
        return shown | {
            "benchmark_texts_too_short": index.too_short,
            "benchmarks_left_out": list(index.left_out),
            "sets": [
                {"set": name, "documents": self.sets[name], "hit": hit[name], "tasks": tasks}
                for name, tasks in sorted(whole.items())
            ],
            "most_frequent": [list(pair) for pair in self.most_frequent(index)],
        }


def decontaminate(documents: Iterable[Document], index: Index, config: Decontamination) -> Report:
    """Set `contaminated_by` and `drop` where a document holds benchmark text, or is held out.

    Documents that were dropped before are left alone. `config.max_df` needs an index that was cut
    with `Index.without`, which takes the `frequency` of a report over the whole corpus.
    """
    report = Report()
    active = index.active(config)
    for document in documents:
        if document.drop is not None:
            continue
        report.documents += 1
        if project := held_out(document.repo):
            document.drop = Drop("held_out", project)
            report.held_out[project] += 1
            continue
        found = find(document.text, index, document.language)
        if found or config.substring:
            report.frequency.update(found.keys())
            report.dropped_by_paper += bool(found)
            lot = hashlib.sha256(document.id.encode(errors="replace")).hexdigest()
            drops = bool(active[list(found)].any())
            # Whose text it is takes longer to tell than that nothing of it counts.
            if drops or config.substring or _is_drawn(report, drops, lot):
                _judge(document, hits(document.text, found, index, config, active), report, lot)
    return report


def frequencies(documents: Iterable[Document], index: Index) -> Mapping[int, int]:
    """In how many documents each row of the index is: the first pass that `max_df` needs."""
    return Counter(row for each in documents for row in find(each.text, index, each.language))


def _judge(document: Document, hits: list[Hit], report: Report, lot: str) -> None:
    dropping = [hit for hit in hits if hit.drops]
    if dropping:
        first = dropping[0]
        document.contaminated_by = f"{first.set}:{first.task_id}"
        document.drop = Drop("contaminated", first.gram)
        report.dropped += 1
        report.sets.update({hit.set for hit in dropping})
        report.tasks.update({(hit.set, hit.task_id) for hit in dropping})
    if hits and _is_drawn(report, hits[0].drops, lot):
        report.draw([_sample(document, hits[0], lot)])


def _is_drawn(report: Report, drops: bool, lot: str) -> bool:
    """Whether a hit is among the first so far."""
    return len(report.samples) < SAMPLES or (not drops, lot) <= report.samples[-1].place


def _sample(document: Document, hit: Hit, lot: str) -> Sample:
    line = document.text.splitlines()[hit.line - 1 : hit.line]
    shown = line[0].strip()[:_CONTEXT] if line else ""
    return Sample(lot, document.id, hit.line, hit.set, hit.task_id, hit.gram, hit.drops, shown)
