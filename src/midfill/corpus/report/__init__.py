"""The report of a build: report.json with all numbers, report.html to look at."""

from pathlib import Path
from typing import Any

from midfill.corpus.report.numbers import collect, samples
from midfill.corpus.report.page import as_html
from midfill.corpus.whole import replacing, write_json


def write_report(out: Path) -> dict[str, Any]:
    """Write both files about the build in `out`; return the numbers. Raises CorpusError."""
    numbers = collect(out)
    write_json(out / "report.json", numbers)
    with replacing(out / "report.html") as file:
        file.write(as_html(numbers, samples(out)).encode("utf-8", "replace"))
    return numbers
