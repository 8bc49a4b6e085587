"""Reading sources as workers do, and what came of it."""

import pickle
from collections import Counter
from pathlib import Path

from midfill.config.corpus.sources import ReadLimits
from midfill.corpus.record import Repository
from midfill.corpus.sources.source import Source

LIMITS = ReadLimits()


def everything(source: Source, limits: ReadLimits = LIMITS) -> dict[str, Repository]:
    """Each repository, read by a source that has been through pickle, as a worker gets it."""
    source = pickle.loads(pickle.dumps(source))
    references = pickle.loads(pickle.dumps(list(source.references())))
    assert len({reference.name for reference in references}) == len(references)
    return {reference.name: source.read(reference, limits) for reference in references}


def texts(found: Repository) -> dict[str, str]:
    assert all(doc.repo == found.name for doc in found.documents)
    return {doc.path: doc.text for doc in found.documents}


def reasons(found: Repository) -> dict[str, int]:
    return dict(Counter(item.drop.reason for item in found.unread))


def write(folder: Path, files: dict[str, bytes]) -> Path:
    for name, data in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)
    return folder
