"""The programs under examples/, run as their docstrings say."""

import ast
import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[2]
EXAMPLES = ROOT / "examples"
ENVIRONMENT = os.environ | {"PYTHONPATH": str(ROOT / "src"), "PYTHONUTF8": "1"}
PYTHON = [sys.executable, "-W", "error"]


def example(name: str, *arguments: str | Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [*PYTHON, f"examples/{name}.py", *map(str, arguments)],
        cwd=ROOT,
        env=ENVIRONMENT,
        capture_output=True,
        encoding="utf-8",
        timeout=50,
    )


@pytest.fixture
def server(tiny_folder: Path) -> Iterator[str]:
    """The base URL of `midfill serve`, on a free port."""
    verb = ["serve", str(tiny_folder), "--port", "0", "--dtype", "float32", "--quiet"]
    with subprocess.Popen(
        [*PYTHON, "-m", "midfill.cli", *verb],
        cwd=ROOT,
        env=ENVIRONMENT,
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stdout is not None
        greeting = process.stdout.readline()
        assert greeting, "the server did not start"
        try:
            yield re.findall(r"http://\S+", greeting)[0] + "/v1"
        finally:
            process.send_signal(signal.SIGINT)
    assert process.returncode == 0


@pytest.mark.parametrize(
    ("name", "shown"),
    [
        ("completion", ["def quick_sort(arr):"]),
        ("insertion", ["pivot, *rest = items\n", "\n    return quick_sort(smaller)"]),
        ("chat", []),
        ("repository", ["from shapes import Circle\n", "def main():"]),
        ("batch", ["def is_prime(n):", "def factorial(n):", "def mean(numbers):"]),
    ],
)
def test_with_a_model_that_knows_nothing(name: str, shown: list[str], tiny_folder: Path):
    result = example(name, tiny_folder)
    assert (result.returncode, result.stderr) == (0, "")
    assert len(result.stdout) > 20
    places = [result.stdout.find(text) for text in shown]
    assert -1 not in places
    assert places == sorted(places)


def test_the_openai_client(server: str, tiny_coder: Any):
    """It prints what the same model says without a server."""
    result = example("openai_client", server)
    assert (result.returncode, result.stderr) == (0, "")
    question = [{"role": "user", "content": "What is a prime number?"}]
    said = tiny_coder.chat(question, max_tokens=64).text
    continued = tiny_coder.complete("def fibonacci(n):", max_tokens=64, echo=True).text
    assert result.stdout == f"{continued}\n{said}\n"


@pytest.mark.usefixtures("smollm2")
def test_with_the_default_model():
    completion = example("completion")
    assert re.search(r"def quick_sort\(arr\):\n    .*\breturn\b", completion.stdout, re.S)
    chat = example("chat")
    assert re.search(r"```python\n.*\bdef \w+\(.*\breturn\b.*```", chat.stdout, re.S)
    assert (completion.stderr, chat.stderr) == ("", "")


def test_a_model_that_cannot_fill_is_told_apart(smollm2: Path):
    result = example("insertion", smollm2)
    assert (result.returncode, result.stdout) == (2, "")
    first, *rest = result.stderr.splitlines()
    assert first == "this model cannot fill in the middle"
    assert [line.split(":")[0].strip() for line in rest] == ["why", "fix", "try"]


def test_the_readme_lists_each_as_its_docstring_says():
    page = (EXAMPLES / "README.md").read_text(encoding="utf-8")
    listed = re.findall(r"^\| `(python examples/.*?)`", page, re.M)
    said = []
    for path in EXAMPLES.glob("*.py"):
        docstring = ast.get_docstring(ast.parse(path.read_text(encoding="utf-8"))) or ""
        said.append(docstring.split("`")[-2])
        assert f" examples/{path.name} " in said[-1]
    assert sorted(listed) == sorted(said)
