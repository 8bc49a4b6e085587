"""Reports on disk: a result, in all forms that it is read in."""

import json
from collections.abc import Mapping
from pathlib import Path

from midfill.evaluate.report import as_markdown
from midfill.evaluate.report_html import as_html
from midfill.evaluate.result import Result


def write_report(result: Result, folder: Path) -> dict[str, Path]:
    """Write result.json, report.md and report.html into `folder`; each is whole or not there."""
    texts = {
        "result.json": json.dumps(result.to_json(), indent=1) + "\n",
        "report.md": as_markdown(result),
        "report.html": as_html(result),
    }
    return write_all(folder, texts)


def write_all(folder: Path, texts: Mapping[str, str]) -> dict[str, Path]:
    """Write texts into `folder` under their names; each is whole or not there."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, text in texts.items():
        write_whole(folder / name, text)
    return {name: folder / name for name in texts}


def write_whole(path: Path, text: str) -> None:
    """Write a file so that a reader sees the old one or the new one, never a part."""
    temporary = path.with_name(path.name + ".part")
    try:
        temporary.write_text(text, encoding="utf-8")
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)
