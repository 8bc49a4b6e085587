"""Drawing on a terminal: results on stdout, everything else on stderr."""

import sys
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from json import dumps
from typing import Any

from midfill.errors import UserError
from midfill.hub.progress import Progress
from midfill.pages.numbers import size as size


def error(problem: UserError) -> None:
    """Print a user's mistake as three lines on stderr."""
    print(f"error: {problem.what}", file=sys.stderr)
    print(f"  why: {problem.why}", file=sys.stderr)
    print(f"  fix: {problem.fix}", file=sys.stderr)


def as_json(value: Any) -> None:
    """Print one JSON object on stdout."""
    print(dumps(value, ensure_ascii=False, indent=2))


def stream(pieces: Iterable[str]) -> None:
    """Print the pieces of an answer on stdout as they come."""
    for piece in pieces:
        print(piece, end="", flush=True)
    print()


def ready(text: str, *, json: bool) -> None:
    """Print where a server listens and how to try it: `text` has a line for each."""
    url, _, curl = text.partition("\n")
    print(dumps({"ready": url, "curl": curl}) if json else text, flush=True)


def note(text: str, *, quiet: bool = False) -> None:
    """Print a line on stderr, unless quiet."""
    if not quiet:
        print(text, file=sys.stderr, flush=True)


def table(rows: list[tuple[str, ...]], head: tuple[str, ...]) -> None:
    """Print aligned columns on stdout."""
    lines = [head, *rows]
    widths = [max(len(line[i]) for line in lines) for i in range(len(head))]
    for line in lines:
        cells = (cell.ljust(width) for cell, width in zip(line, widths, strict=True))
        print("  ".join(cells).rstrip())


@contextmanager
def progress(*, quiet: bool) -> Iterator[Callable[[Progress], None] | None]:
    """A progress bar on stderr for downloads and conversions; lines where there is no terminal."""
    if quiet:
        yield None
        return
    from rich.console import Console
    from rich.progress import BarColumn, DownloadColumn, TextColumn, TransferSpeedColumn
    from rich.progress import Progress as Bars

    console = Console(stderr=True)
    if not console.is_terminal:
        yield _Lines()
        return
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        DownloadColumn(),
        TransferSpeedColumn(),
    )
    with Bars(*columns, console=console, transient=True) as bars:
        tasks: dict[str, Any] = {}

        def report(state: Progress) -> None:
            if state.label not in tasks:
                tasks[state.label] = bars.add_task(state.label, total=state.total_bytes)
            bars.update(tasks[state.label], completed=state.done_bytes, total=state.total_bytes)

        yield report


def steps(
    report: Callable[[Progress], None] | None, label: str
) -> Callable[[int, int], None] | None:
    """The same for work that tells only how many bytes are done, and how many there are."""
    if report is None:
        return None
    return lambda done, total: report(Progress(label=label, done_bytes=done, total_bytes=total))


class _Lines:
    """Progress where there is no terminal: one line at each quarter."""

    def __init__(self) -> None:
        self.shown: dict[str, int] = {}

    def __call__(self, state: Progress) -> None:
        quarter = 4 * state.done_bytes // state.total_bytes if state.total_bytes else 0
        if self.shown.get(state.label, -1) < quarter:
            self.shown[state.label] = quarter
            of = f" of {size(state.total_bytes)}" if state.total_bytes else ""
            print(f"{state.label}: {size(state.done_bytes)}{of}", file=sys.stderr, flush=True)
