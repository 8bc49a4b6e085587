"""The texts of every benchmark that must not be learnt: questions, solutions, tests.

Which fields of which set: DeepSeek-Coder section 2.4 names docstrings, questions and solutions; we
add tests. The infilling sets are holes in HumanEval's own solutions and add nothing. The files are
those that `midfill pull` fetches; each must hold what its checksum says, since an index of other
rows would protect nothing.
"""

import json
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from midfill.corpus.decontamination.items import Item, Kind
from midfill.errors import DownloadError
from midfill.hub import rows
from midfill.hub.datasets import DataFile, datasets

Row = Mapping[str, Any]
Part = tuple[Kind, str]

_JAVA_IMPORT = re.compile(r"^\s*(?:package|import)\b[^\n;]*;[^\S\n]*$", re.MULTILINE)
_DOCSTRING = re.compile(r'("""|\'\'\')(.*?)\1', re.DOTALL)


def _completion(row: Row) -> Iterator[Part]:
    """HumanEval's form: a signature with a docstring, to be completed."""
    for docstring in _DOCSTRING.finditer(row["prompt"]):
        yield "text", docstring[2]
    yield "solution", row["canonical_solution"]
    # A body of two words is found with the line above it.
    yield "solution", _DOCSTRING.sub("", row["prompt"]) + row["canonical_solution"]
    yield "test", row["test"]


def _multilingual(row: Row) -> Iterator[Part]:
    if "canonical_solution" in row:  # Python has HumanEval's own form
        yield from _completion(row)
        return
    yield "text", row["prompt"]
    yield "test", row["tests"]


def _mbpp(row: Row) -> Iterator[Part]:
    yield "text", row["text"] if "text" in row else row["prompt"]
    yield "solution", row["code"]
    for key in ("test_list", "challenge_test_list"):
        for test in row.get(key, ()):
            yield "test", test
    yield "test", row.get("test_setup_code", "")
    yield "test", row.get("test", "")


def _cruxeval(row: Row) -> Iterator[Part]:
    yield "solution", row["code"]
    yield "data", f"{row['input']} {row['output']}"


def _quixbugs(row: Row) -> Iterator[Part]:
    """Java's imports are left out: ten words of them are in every other file of that language."""
    kinds: Mapping[str, Kind] = {"correct": "solution", "pytest": "test", "junit": "test"}
    for key in ("buggy", "correct", "driver", "node", "support", "pytest", "junit"):
        text = row.get(key) or ""
        java = row["language"].startswith("java")
        yield kinds.get(key, "program"), _JAVA_IMPORT.sub("", text) if java else text
    yield "data", row.get("json_testcases") or ""


def _exercism(row: Row) -> Iterator[Part]:
    yield "text", row["instructions"]
    for text in row["example_files"].values():
        yield "solution", text
    for text in row["test_files"].values():
        yield "test", text


def _question(*names: str) -> Callable[[Row], Iterator[Part]]:
    def parts(row: Row) -> Iterator[Part]:
        return (("text", row[name]) for name in names)

    return parts


_LANGUAGES = {
    "java": "Java",
    "java-support": "Java",
}  # of QuixBugs; no other solution is not Python
# By folder; the infilling sets are left out on purpose.
_PARTS: Mapping[str, Callable[[Row], Iterator[Part]]] = {
    "humaneval": _completion,
    "humanevalplus": _completion,
    "humaneval-multilingual": _multilingual,
    "mbpp": _mbpp,
    "mbppplus": _mbpp,
    "cruxeval": _cruxeval,
    "gsm8k": _question("question", "answer"),
    "math": _question("problem", "solution"),
    "quixbugs": _quixbugs,
    "exercism-python": _exercism,
}


def files() -> list[DataFile]:
    """The benchmark files an index is made of."""
    return [file for file in datasets() if _folder(file) in _PARTS]


def read(folder: Path | None) -> tuple[list[Item], list[str]]:
    """Every text of every set, and the names of packed sets that are neither here nor to be had.

    Raises DownloadError where a file that can be pulled is missing, or one holds something else.
    """
    here, missing = places(folder)
    items = [item for file, path in here for item in _items(file, path)]
    return items, left_out(missing, folder)


def places(folder: Path | None) -> tuple[list[tuple[DataFile, Path]], list[DataFile]]:
    """Where each file is, and those that are nowhere.

    A file is looked for in `folder`, as `midfill evaluate` does, then in what was pulled.
    """
    found = [(file, rows.locate(file, folder)) for file in files()]
    here = [(file, path) for file, path in found if path is not None]
    return here, [file for file, path in found if path is None]


def left_out(missing: Iterable[DataFile], folder: Path | None) -> list[str]:
    """The names of these files, if nobody can pull them. Raises DownloadError for one that can be."""
    if pullable := " ".join(file.name for file in missing if file.homes):
        raise DownloadError(
            f"benchmarks are not on this disk: {pullable.replace(' ', ', ')}",
            why="what a corpus shares with them cannot be found without their texts"
            + (f"; looked in {folder} and in what was pulled" if folder else ""),
            fix=f"for name in {pullable}; do midfill pull $name; done; or MIDFILL_DATA=FOLDER where "
            "they are; or build without: --set decontamination=null",
        )
    return [file.name for file in missing]


def _folder(file: DataFile) -> str:
    return file.path.partition("/")[0]


def _items(file: DataFile, path: Path) -> Iterator[Item]:
    fix = f"midfill pull {file.name}" if file.homes else f"remove {path}"
    raw = rows.known_rows(file, path, fix)
    parts = _PARTS[_folder(file)]
    for number, line in enumerate(filter(None, raw.split(b"\n"))):
        row = json.loads(line)
        task = str(row.get("task_id", row.get("id", row.get("idx", number))))
        language = _LANGUAGES.get(row.get("language", ""), "Python")
        for kind, text in parts(row):
            if text.strip():
                yield Item(file.name, task, kind, text, language)
