"""Looks for benchmark text in any texts, such as decoded shards, sharing no code with the package.

Plain sets of tuples, read from the benchmark files themselves; slow, and easy to check.

MIDFILL_DATA=... python tests/corpus_bruteforce.py FILE...    reads texts from files
"""

import gzip
import json
import re
import sys
import unicodedata
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

N = 10
SHORTEST = 3
INFORMATIVE = 5
DIFFERENT = 3
MOST_TASKS = 8
FIELDS = {  # file to the fields that hold text; a field may be a list or a mapping
    "humaneval/HumanEval.jsonl.gz": ("canonical_solution", "test"),
    "humanevalplus/HumanEvalPlus-OriginFmt.jsonl.gz": ("canonical_solution", "test"),
    "mbpp/mbpp.jsonl.gz": ("text", "code", "test_list", "challenge_test_list"),
    "mbppplus/MbppPlus-OriginFmt.jsonl.gz": ("prompt", "code", "test_list", "test"),
    "cruxeval/cruxeval.jsonl.gz": ("code",),
    "gsm8k/test.jsonl.gz": ("question", "answer"),
    "math/test.jsonl.gz": ("problem", "solution"),
    "quixbugs/quixbugs.jsonl.gz": ("correct", "buggy", "pytest", "junit"),
    "exercism-python/exercism-python.jsonl.gz": ("instructions", "test_files", "example_files"),
}
SOLUTIONS = {  # file to the field that holds a whole solution
    "humaneval/HumanEval.jsonl.gz": "canonical_solution",
    "humanevalplus/HumanEvalPlus-OriginFmt.jsonl.gz": "canonical_solution",
    "mbpp/mbpp.jsonl.gz": "code",
    "mbppplus/MbppPlus-OriginFmt.jsonl.gz": "code",
}
Words = tuple[str, ...]


@dataclass
class Benchmarks:
    """Grams and whole solutions, each with where it comes from."""

    grams: dict[Words, str] = field(default_factory=dict)
    solutions: dict[Words, str] = field(default_factory=dict)


def words(text: str) -> list[str]:
    return re.findall(r"\w+", unicodedata.normalize("NFC", text).casefold())


def benchmarks(data: Path, *, paper: bool = False) -> Benchmarks:
    """What must not be found: every solution of HumanEval and MBPP, and the grams of all sets.

    Without `paper` only grams with five words of two characters and a letter outside of addresses,
    three of which differ, and which no more than eight tasks of a set share; no Java imports.
    """
    made = Benchmarks()
    for name, fields in FIELDS.items():
        holders: defaultdict[Words, set[str]] = defaultdict(set)
        telling: set[Words] = set()
        for task, row in _rows(data / "benchmarks" / name):
            for text in _texts(row, (*fields, *_docstrings(name, row))):
                if name.startswith("quixbugs") and task.startswith("java") and not paper:
                    text = re.sub(r"(?m)^\s*(package|import)\b[^\n;]*;\s*$", "", text)
                for gram in _grams(words(text)):
                    holders[gram].add(task)
                telling |= _telling(text)
            if name in SOLUTIONS:
                solution = tuple(words(row[SOLUTIONS[name]]))
                if len(solution) >= SHORTEST:
                    made.solutions[solution] = f"{name}:{task}"
        for gram, tasks in holders.items():
            if paper or (gram in telling and len(tasks) <= MOST_TASKS):
                made.grams[gram] = f"{name}:{min(tasks)}"
    return made


def remaining(texts: Iterable[str], known: Benchmarks) -> list[tuple[int, str, str]]:
    """Number of the text, task and words of everything that is still there: nothing, if all is well."""
    by_size: defaultdict[int, dict[Words, str]] = defaultdict(dict)
    starts = Counter(solution[:SHORTEST] for solution in known.solutions)
    for solution, task in known.solutions.items():
        by_size[len(solution)][solution] = task
    found = []
    for number, text in enumerate(texts):
        cut = words(text)
        for at, gram in enumerate(zip(*(cut[k:] for k in range(N)), strict=False)):
            if gram in known.grams:
                found.append((number, known.grams[gram], " ".join(cut[at : at + N])))
        for at in range(len(cut) - SHORTEST + 1):
            if tuple(cut[at : at + SHORTEST]) in starts:
                for size, solutions in by_size.items():
                    if (whole := tuple(cut[at : at + size])) in solutions:
                        found.append((number, solutions[whole], " ".join(whole)))
    return found


def _rows(path: Path) -> Iterator[tuple[str, dict]]:
    with gzip.open(path, "rt", encoding="utf-8") as file:
        for number, line in enumerate(file):
            row = json.loads(line)
            yield str(row.get("task_id", row.get("id", row.get("idx", number)))), row


def _docstrings(name: str, row: dict) -> list[str]:
    if not name.startswith("humaneval"):
        return []
    row["docstrings"] = re.findall(r'"""(.*?)"""|\'\'\'(.*?)\'\'\'', row["prompt"], re.DOTALL)
    row["docstrings"] = [one or other for one, other in row["docstrings"]]
    return ["docstrings"]


def _texts(row: dict, fields: Iterable[str]) -> Iterator[str]:
    for name in fields:
        value = row.get(name) or ()
        if isinstance(value, str):
            yield value
        else:
            yield from value.values() if isinstance(value, dict) else value


def _grams(cut: list[str]) -> set[Words]:
    return {tuple(cut[at : at + N]) for at in range(len(cut) - N + 1)}


def _telling(text: str) -> set[Words]:
    """The grams of a text that say something."""
    text = unicodedata.normalize("NFC", text).casefold()
    marked = re.sub(
        r"[a-z][a-z0-9+.-]*://[^\s<>\"']+", lambda a: re.sub(r"(\w+)", "\\1\0", a[0]), text
    )
    cut = [(word.rstrip("\0"), word.endswith("\0")) for word in re.findall(r"\w+\0?", marked)]
    found = set()
    for at in range(len(cut) - N + 1):
        part = cut[at : at + N]
        said = [w for w, linked in part if not linked and len(w) > 1 and any(map(str.isalpha, w))]
        gram = tuple(word for word, _ in part)
        different = {w for w in gram if len(w) > 1 and any(map(str.isalpha, w))}
        if len(said) >= INFORMATIVE and len(different) >= DIFFERENT:
            found.add(gram)
    return found


def _main() -> None:
    import os

    known = benchmarks(Path(os.environ["MIDFILL_DATA"]))
    paths = sys.argv[1:]
    left = remaining((Path(path).read_text(encoding="utf-8") for path in paths), known)
    for number, task, gram in left:
        print(paths[number], task, gram, sep="\t")
    sys.exit(bool(left))


if __name__ == "__main__":
    _main()
