"""Drawing on a terminal: results on stdout, everything else on stderr."""

import json
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from midfill.errors import UserError
from midfill.hub.progress import Progress


def error(problem: UserError) -> None:
    """Print a user's mistake as three lines on stderr."""
    print(f"error: {problem.what}", file=sys.stderr)
    print(f"  why: {problem.why}", file=sys.stderr)
    print(f"  fix: {problem.fix}", file=sys.stderr)


def as_json(value: Any) -> None:
    """Print one JSON object on stdout."""
    print(json.dumps(value, ensure_ascii=False, indent=2))


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


def size(count: float) -> str:
    """A number of bytes for people: 98.4 MB."""
    for unit in ("B", "KB", "MB", "GB"):
        if abs(count) < 1000:
            return f"{count:.0f} {unit}" if unit == "B" else f"{count:.1f} {unit}"
        count /= 1000
    return f"{count:.1f} TB"


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
