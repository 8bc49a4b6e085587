"""The stages of a corpus alone, on files and folders: what each says, as lines or JSON."""

import json as json_module
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from midfill.config.corpus.decontamination import RECIPES
from midfill.config.corpus.duplicates import Duplicates, Level
from midfill.config.corpus.rules import FilterConfig
from midfill.config.corpus.sources import ReadLimits
from midfill.config.override import with_values
from midfill.corpus.record import Document, Repository
from midfill.errors import ConfigError, CorpusError


def languages(paths: Sequence[Path], *, json: bool) -> int:
    """Print the language of each file."""
    from midfill.corpus.languages import detect

    for shown, document in files(paths):
        found = detect(document.path, document.text)
        row = {"path": shown, "language": found.language, "by": found.by}
        if found.outside:
            row["outside"] = found.outside
        _print(row, f"{found.language or found.outside or '-':24} {found.by:12} {shown}", json=json)
    return 0


def filter_files(paths: Sequence[Path], settings: Sequence[str], *, json: bool) -> int:
    """Print which files the rules keep."""
    from midfill.corpus.languages import detect
    from midfill.corpus.rules.filters import Filters

    rules = Filters(with_values(FilterConfig(), settings))
    for shown, document in files(paths):
        found = detect(document.path, document.text)
        document.language = found.language or found.outside
        drop = rules(document)
        row = {
            "path": shown,
            "language": found.language,
            "keep": drop is None,
            "reason": drop and drop.reason,
            "value": drop and drop.value,
        }
        line = f"keep  {shown}" if drop is None else f"drop  {shown}  {drop.reason} {drop.value}"
        _print(row, line, json=json)
    return 0


def order_files(path: Path, how: str, seed: int, *, json: bool) -> int:
    """Print the files of a repository in an order."""
    from midfill.corpus.dependencies.family import File
    from midfill.corpus.dependencies.graph import depends_on
    from midfill.corpus.dependencies.order import order
    from midfill.corpus.languages import detect

    documents = repository(path).documents
    known = [File(d.path, d.text, detect(d.path, d.text).language) for d in documents]
    needs = depends_on(known)
    for component, paths in enumerate(order(needs, how, seed)):  # type: ignore[arg-type]
        if component and not json:
            print()
        for position, one in enumerate(paths):
            row = {
                "component": component,
                "position": position,
                "path": one,
                "depends_on": list(needs[one]),
            }
            _print(row, one, json=json)
    return 0


def dedup(
    folders: Sequence[Path],
    level: Level,
    threshold: float,
    settings: Sequence[str],
    *,
    json: bool,
) -> int:
    """Print which repositories and files stay."""
    from midfill.corpus.duplicates.run import deduplicate

    if len(folders) == 1 and _holds_folders_only(folders[0]):
        folders = sorted(path for path in folders[0].iterdir() if path.is_dir())
    config = with_values(Duplicates(level=level, threshold=threshold), settings)
    documents = [
        document
        for folder, name in zip(folders, _names(folders), strict=True)
        for document in repository(folder, name).documents
    ]
    for decision in deduplicate(documents, config):
        row = {
            "id": decision.id,
            "keep": decision.keep,
            "dup_of": decision.dup_of,
            "jaccard": decision.jaccard,
            "level": decision.level,
        }
        line = f"keep  {decision.id}"
        if not decision.keep:
            line = f"drop  {decision.id}  {decision.jaccard:.3f} of {decision.dup_of}"
        _print(row, line, json=json)
    return 0


def decontaminate(
    paths: Sequence[Path], recipe: str, settings: Sequence[str], *, json: bool
) -> int:
    """Print which files hold text of benchmarks."""
    from midfill.corpus.decontamination import Index, scan
    from midfill.corpus.languages import detect
    from midfill.terminal.corpus_build import benchmarks

    if recipe not in RECIPES:
        raise ConfigError(
            f"there is no recipe {recipe!r}",
            why=f"known are {', '.join(RECIPES)}",
            fix="choose one",
        )
    config = with_values(RECIPES[recipe](), settings)
    index = Index.from_folder(benchmarks(), config)
    for shown, document in files(paths):
        hits = scan(document.text, index, config, detect(document.path, document.text).language)
        first = next((hit for hit in hits if hit.drops), None)
        row: dict[str, Any] = {"path": shown, "keep": first is None}
        for name in ("set", "task_id", "gram", "line"):
            row[name] = first and getattr(first, name)
        line = f"keep  {shown}"
        if first is not None:
            line = f"drop  {shown}:{first.line}  {first.set} {first.task_id}: {first.gram}"
        _print(row, line, json=json)
    return 0


def files(paths: Sequence[Path]) -> Iterator[tuple[str, Document]]:
    """Every text file of these files, folders and archives, with its name for people.

    What cannot be read as text is told on stderr. Raises CorpusError for what is not there.
    """
    from midfill.corpus.sources.archive import is_archive

    for path in paths:
        found = repository(path)
        for unread in found.unread:
            _told(f"{path / unread.path if unread.path else path}: {unread.drop.reason}")
        for document in found.documents:
            single = path.is_file() and not is_archive(path.name)
            yield str(path if single else path / document.path), document


def repository(path: Path, name: str | None = None) -> Repository:
    """A folder, an archive or a single file as a repository. Raises CorpusError."""
    from midfill.corpus.sources.archive import ArchiveSource, is_archive
    from midfill.corpus.sources.decode import document
    from midfill.corpus.sources.folder import FolderSource

    if path.is_dir():
        source = FolderSource(path=str(path), single=True)
    elif path.is_file() and is_archive(path.name):
        source = ArchiveSource(path=str(path))
    elif path.is_file():
        try:
            one = document(name or path.name, path.name, path.read_bytes())
        except OSError as error:
            raise _unreadable(path, error) from error
        is_text = isinstance(one, Document)
        return Repository(
            name=path.name, documents=[one] if is_text else [], unread=[] if is_text else [one]
        )
    else:
        raise CorpusError(f"there is no {path}", why="no such file or folder", fix="check the path")
    (reference,) = source.references()
    found = source.read(reference, ReadLimits())
    for one in found.documents:
        one.repo = name or found.name
    return found


def _holds_folders_only(path: Path) -> bool:
    if not path.is_dir():
        return False
    entries = [entry for entry in path.iterdir() if not entry.name.startswith(".")]
    return bool(entries) and all(entry.is_dir() for entry in entries)


def _names(folders: Sequence[Path]) -> list[str]:
    """A name for each folder: its last part, or its whole path where two would be called alike."""
    short = [folder.resolve().name for folder in folders]
    return [
        name if short.count(name) == 1 else str(folder)
        for name, folder in zip(short, folders, strict=True)
    ]


def _unreadable(path: Path, error: OSError) -> CorpusError:
    return CorpusError(f"{path} cannot be read", why=str(error), fix="check its permissions")


def _print(row: Mapping[str, Any], line: str, *, json: bool) -> None:
    print(json_module.dumps(row, ensure_ascii=False) if json else line)


def _told(line: str) -> None:
    import sys

    print(line, file=sys.stderr)
