"""The report of a training run: one page with its curves, its experts' load and its samples."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from midfill.corpus.whole import replacing
from midfill.train.report.numbers import collect
from midfill.train.report.page import as_html
from midfill.train.report.record import Record


def write_report(run: Path, beside: Sequence[Path] = ()) -> dict[str, Any]:
    """Write RUN/report.html, with the losses of other runs in one picture; return the numbers.

    The numbers hold nothing that JSON has not. Raises TrainError where a folder holds no run.
    """
    record, others = Record.open(run), [Record.open(other) for other in beside]
    numbers = collect(record)
    html = as_html(record, numbers, [(other, collect(other)) for other in others])
    with replacing(run / "report.html") as file:
        file.write(html.encode("utf-8", "replace"))
    return numbers
