"""The first stage: what each repository holds, which of its files are used, what needs what.

Source: DeepSeek-Coder §2.1, §2.2. A file is dropped for one reason, the first that applies. Imports
are resolved among all files that were read, so that one to a vendored or generated file finds it.
"""

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from midfill.config.corpus.build import CorpusConfig
from midfill.config.corpus.documents import Category
from midfill.corpus import table
from midfill.corpus.dependencies.family import File
from midfill.corpus.dependencies.graph import depends_on
from midfill.corpus.duplicates.sketch import Sketch, sketch, to_arrow
from midfill.corpus.languages import LANGUAGES, V1, detect
from midfill.corpus.pipeline.aside import Aside
from midfill.corpus.pipeline.count import Counts
from midfill.corpus.pipeline.ledger import Ledger
from midfill.corpus.pipeline.model import write_labelled
from midfill.corpus.pipeline.plan import Part
from midfill.corpus.quality.labels import Labelled, label
from midfill.corpus.record import TEXT, Document, Drop, Repository
from midfill.corpus.rules.characters import visible_text
from midfill.corpus.rules.inspect import Inspection, judge
from midfill.corpus.sources.opened import opened
from midfill.corpus.table import write
from midfill.corpus.whole import key_of
from midfill.errors import CorpusError

STAGE = "clean"
PROSE = ("Markdown", "reStructuredText")  # not of the 338, and kept as text about code (V2 §2)


@dataclass(frozen=True, slots=True, kw_only=True)
class CleanTask:
    """Read and clean one part."""

    part: Part
    key: str
    ledger: Ledger
    config: CorpusConfig
    stage: str = STAGE

    @property
    def number(self) -> int:
        """Of its part."""
        return self.part.number

    @property
    def bytes(self) -> int:
        """As estimated, unpacked."""
        return self.part.bytes


def clean(repository: Repository, config: CorpusConfig, category: Category = "code") -> Inspection:
    """All documents of a repository, with language, licence, imports, and a drop where one is due.

    Of a source of text or mathematics every document is prose, an HTML page what is seen of it.
    """
    documents = repository.documents
    for document in documents:
        if category == "code":
            found = detect(document.path, document.text)
            document.language = found.language or found.outside or document.language
            document.drop = _unwanted(document, config)
            continue
        if document.language == "HTML":
            document.text = visible_text(document.text)
        document.language = TEXT
        document.drop = _late(document, config)
    inspected = judge(documents, config.rules, repository.licence)
    documents = inspected.documents
    kept = [document for document in documents if document.drop is None]
    needs = depends_on([File(d.path, d.text, d.language) for d in documents])
    names = {document.path for document in kept}
    for document in kept:
        document.depends_on = tuple(path for path in needs[document.path] if path in names)
    return inspected


def _unwanted(document: Document, config: CorpusConfig) -> Drop | None:
    """Whether the language or the date of its repository rules a document out."""
    if not config.languages:
        wanted = document.language in LANGUAGES or document.language in PROSE
    else:
        v1 = "v1" in config.languages and document.language in V1
        wanted = v1 or document.language in config.languages
    if not wanted:
        return Drop("language", document.language or Path(document.path).suffix)
    return _late(document, config)


def _late(document: Document, config: CorpusConfig) -> Drop | None:
    late = config.created_before and document.created and document.created >= config.created_before
    return Drop("created", document.created) if late else None


def clean_part(task: CleanTask) -> dict[str, Any]:
    """Write the kept files of a part, their sketches and samples of the others; return the note."""
    config, counts = task.config, Counts()
    aside = Aside(config.kept_samples)
    kept: list[Document] = []
    sketches: list[Sketch] = []
    labelled: list[Labelled] = []
    masked: Counter[str] = Counter()
    unreadable: list[str] = []
    for repository, category in _repositories(task):
        unreadable += _unreadable(repository)
        counts.add_unread("read", repository.unread)
        counts.add("read", repository.documents)
        inspected = clean(repository, config, category)
        documents = inspected.documents
        masked.update(inspected.masked)
        counts.add(STAGE, documents)
        aside.add(STAGE, documents)
        good = sorted((d for d in documents if d.drop is None), key=lambda d: d.path)
        kept += good
        if config.duplicates is not None:
            sketches += sketch(good, config.duplicates)
        if config.quality is not None and config.quality.classifier is not None:
            labelled += label(documents, config.seed, config.label_share)
    place = task.ledger.place(STAGE, task.part.number)
    endings = (".parquet", ".dropped.parquet", ".labelled.parquet", ".sketches.parquet")
    files, dropped, labels, sketched = written = [place.with_suffix(one) for one in endings]
    write(files, table.to_table(kept))
    write(dropped, aside.table())
    write_labelled(labels, labelled)
    if config.duplicates is None:
        written.remove(sketched)
    else:
        write(sketched, to_arrow(sketches, config.duplicates))
    note = {
        "again": key_of(sorted(unreadable)) if unreadable else None,
        "counts": counts.rows(),
        "masked": dict(sorted(masked.items())),
        "files": len(kept),
        "bytes": sum(document.size for document in kept),
    }
    return task.ledger.finish(STAGE, task.part.number, task.key, note, written)


def _repositories(task: CleanTask) -> Iterator[tuple[Repository, Category]]:
    """The repositories of a part, by name, as their sources read them, with their category."""
    config = task.config
    sources = [opened(one, config.fetching) for one in config.sources]
    for number, reference in sorted(task.part.references, key=lambda one: one[1].name):
        source = config.sources[number]
        repository = sources[number].read(reference, config.limits)
        if _unreadable(repository) and source.kind != "packages" and not Path(source.path).exists():
            raise CorpusError(
                f"the source {source.path} is gone",
                why="it was there when this build began, or is not on this machine",
                fix="bring it back; then the same command goes on",
            )
        yield repository, source.category


def _unreadable(repository: Repository) -> list[str]:
    """What of a repository could not be read now, and may be at another time."""
    lost = [one.path for one in repository.unread if one.drop.reason in ("absent", "unreadable")]
    return [f"{repository.name}:{path}" for path in lost]
