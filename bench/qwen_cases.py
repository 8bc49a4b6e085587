"""Ten infilling cases and five chat requests through the command line, with what came out.

    python bench/qwen_cases.py [MODEL] [--out FILE.md]

The infills are every hundredth case of HumanEval-infilling's single-line set, filled by `midfill
fill` and judged by the case's own tests in a subprocess with a time limit (no sandbox: look at what
ran). Needs the benchmark data: MIDFILL_DATA, or the data folder of the tests.
"""

import argparse
import gzip
import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).parent.parent
QUESTIONS = (
    "Write a Python function is_prime(n). Only the code.",
    "What does this do? `sorted(d.items(), key=lambda kv: -kv[1])[:3]` Answer in one sentence.",
    "Fix the bug: def mean(xs): return sum(xs) / len(xs) + 1",
    "Write a SQL query that counts the orders of each customer in a table orders(id, customer_id).",
    "Translate to JavaScript: def add(a, b): return a + b",
)


def midfill(*args: str, stdin: str | None = None) -> str:
    """The stdout of one `midfill` command."""
    command = [sys.executable, "-m", "midfill.cli", *args]
    result = subprocess.run(command, input=stdin, capture_output=True, text=True, check=True)
    return result.stdout


def cases(data: Path) -> list[dict[str, str]]:
    """Every hundredth single-line case."""
    path = data / "benchmarks" / "humaneval-infilling" / "HumanEval-SingleLineInfilling.jsonl.gz"
    with gzip.open(path, "rt", encoding="utf-8") as file:
        rows = [json.loads(line) for line in file]
    return rows[::100][:10]


def passes(case: dict[str, str], middle: str) -> bool:
    """Whether the completed function passes the case's tests."""
    program = case["prompt"] + middle + case["suffix"] + "\n" + case["test"]
    program += f"\ncheck({case['entry_point']})\n"
    try:
        done = subprocess.run(
            [sys.executable, "-I", "-c", program], capture_output=True, timeout=20
        )
    except subprocess.TimeoutExpired:
        return False
    return done.returncode == 0


def main() -> None:
    """Print every case and the count."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("model", nargs="?", default="qwen2.5-coder-1.5b-instruct-q4_k_m")
    args = parser.parse_args()
    data = Path(os.environ.get("MIDFILL_DATA", ROOT.parent / "shared" / "data"))
    passed = 0
    for case in cases(data):
        with tempfile.NamedTemporaryFile("w", suffix=".py", encoding="utf-8") as file:
            file.write(case["prompt"] + "<HOLE>" + case["suffix"])
            file.flush()
            answer = json.loads(
                midfill("fill", args.model, "--file", file.name, "--json", "--quiet")
            )
        middle, ok = answer["text"], passes(case, answer["text"])
        passed += ok
        row = {"case": case["task_id"], "filled": middle, "wanted": case["canonical_solution"]}
        row |= {"finish": answer["finish_reason"], "passes": ok}
        print(json.dumps(row, ensure_ascii=False), flush=True)
    print(json.dumps({"infills": 10, "passed": passed}), flush=True)
    for question in QUESTIONS:
        said = midfill("chat", args.model, "-m", question, "--max-tokens", "160", "--quiet")
        print(
            json.dumps({"question": question, "answer": said.strip()}, ensure_ascii=False),
            flush=True,
        )


if __name__ == "__main__":
    main()
