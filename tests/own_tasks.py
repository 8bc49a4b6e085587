"""A benchmark of our own in HumanEval's form, small enough to run in every test."""

import json
from pathlib import Path

from midfill.evaluate.benchmarks.humaneval import HumanEval
from midfill.evaluate.benchmarks.humaneval import load as load_humaneval


def row(number: int, name: str, doc: str, body: str, *cases: str) -> dict[str, str]:
    """One problem; `cases` are what is asserted of `candidate`."""
    asserts = "".join(f"    assert {case}\n" for case in cases)
    return {
        "task_id": f"Own/{number}",
        "prompt": f'def {name}(x):\n    """{doc}"""\n',
        "entry_point": name,
        "canonical_solution": f"    {body}\n",
        "test": f"def check(candidate):\n{asserts}",
    }


ROWS = [
    row(0, "double", "Twice x.", "return x + x", "candidate(2) == 4", "candidate(-3) == -6"),
    row(1, "last", "The last of x.", "return x[-1]", "candidate([1, 5]) == 5"),
    row(2, "even", "Whether x is even.", "return x % 2 == 0", "candidate(4)", "not candidate(7)"),
]
RIGHT = {r["task_id"]: f"```python\n{r['prompt']}{r['canonical_solution']}```" for r in ROWS}
WRONG = "```python\ndef double(x):\n    return x * 3\n```"


def write_rows(folder: Path, rows: list[dict[str, str]] = ROWS) -> Path:
    """The rows as a file that a user could bring."""
    file = folder / "own.jsonl"
    file.write_text("".join(json.dumps(one) + "\n" for one in rows))
    return file


def own_benchmark(folder: Path) -> HumanEval:
    """The benchmark of these rows."""
    return load_humaneval(write_rows(folder))
