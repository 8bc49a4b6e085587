"""The models midfill knows by name, as they are listed."""

import dataclasses
from typing import Any

from midfill.hub import ModelEntry, datasets, default_model, entries, stored
from midfill.terminal import show


def facts() -> list[dict[str, Any]]:
    """All of the catalogue, benchmarks included, for programs."""
    return [
        {f.name: getattr(entry, f.name) for f in dataclasses.fields(entry)}
        | {
            "sources": [str(source) for source in entry.sources],
            "path": None if (path := stored(entry)) is None else str(path),
            "default": entry.name == default_model(),
        }
        for entry in _all()
    ]


def _all() -> list[ModelEntry]:
    return [*entries(), *(file.entry for file in datasets() if file.homes)]


def table() -> None:
    """Print what a person chooses by."""
    rows = []
    for entry in _all():
        can = (
            entry.kind
            if entry.kind == "benchmark"
            else ", ".join(
                word for word, able in (("fill", entry.fim), ("chat", entry.chat)) if able
            )
        )
        size = show.size(entry.bytes) if entry.bytes else ""
        rows.append((entry.name, size, entry.licence, can, "yes" if stored(entry) else ""))
    show.table(rows, ("name", "size", "licence", "can also", "here"))
