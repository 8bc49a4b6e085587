"""SAFIM's and DS-1000's forms from a user's file."""

import gzip
import json
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from midfill.errors import ConfigError, ResourceError, SandboxError
from midfill.evaluate.benchmarks import benchmark as opened
from midfill.evaluate.benchmarks import ds1000, safim
from midfill.evaluate.task import Score
from midfill.evaluate.work import judge_work
from midfill.sandbox import Sandbox


@pytest.fixture(scope="module")
def sandbox() -> Iterator[Sandbox]:
    try:
        with Sandbox(workers=1) as made:
            yield made
    except SandboxError as problem:
        pytest.skip(f"programs cannot be run safely here: {problem.why}")


PROGRAM = "n = int(input())\ns = 0\nfor i in range(n):\n    {}\nprint(s)\n"
BLOCK = {
    "task_id": "block_completion_000001",
    "lang": "python",
    "prompt": PROGRAM.format("# TODO: Your code here"),
    "eval_prompt": PROGRAM.format("{{completion}}"),
    "ground_truth": "s += i",
    "unit_tests": json.dumps([{"input": "4\r\n", "output": ["5", "6"]}]),
}
CALL = {
    "task_id": "api_completion_000001",
    "lang": "python",
    "prompt": "x = # TODO: Your code here\n",
    "eval_prompt": "x = {{completion}}\n",
    "ground_truth": "np.full('a b', k=1, z=2)",
    "unit_tests": "[]",
}


@pytest.fixture
def holes(tmp_path: Path):
    file = tmp_path / "safim.jsonl"
    file.write_text(json.dumps(BLOCK) + "\n" + json.dumps(CALL) + "\n")
    return opened("safim", file, cut_blocks=False)


@pytest.mark.parametrize(
    ("fill", "status"),
    [("s += i", "pass"), ("s -= -i", "pass"), ("s += 1", "wrong"), ("s += x", "error")],
)
def test_blocks_are_run(holes, sandbox, fill, status):
    task = holes.tasks("base")[0]
    found = judge_work(holes.program(task, fill), sandbox)
    assert found.verdict is not None
    assert found.verdict.status == status, found
    assert found.also["exact_match"] == (fill == "s += i")


def test_the_true_fill_is_run_too(tmp_path, sandbox):
    """P15: a set whose true fill fails its tests says so."""
    wrong = {**BLOCK, "unit_tests": json.dumps([{"input": "4", "output": ["7"]}])}
    (tmp_path / "wrong.jsonl").write_text(json.dumps(wrong))
    benchmark = opened("safim", tmp_path / "wrong.jsonl", cut_blocks=False)
    task = benchmark.tasks("base")[0]
    assert judge_work(benchmark.program(task, benchmark.canonical(task)), sandbox).value == 0


@pytest.mark.parametrize(
    ("call", "ours", "theirs"),
    [
        ("np.full('a b', k=1, z=2)", True, True),
        (" np.full( 'a b',z=2,\n k=1 )", True, True),
        ("np.full('ab', k=1, z=2)", False, True),  # P15: white space within a text
        ("os.remove('a b', k=1, z=2)", False, True),  # another function
        ("np.full('a b', 1, z=2)", False, False),
        ("np.full('a b'", False, False),
    ],
)
def test_calls_are_compared_as_trees(holes, call, ours, theirs):
    found = holes.program(holes.tasks("base")[1], call)
    assert isinstance(found, Score)
    assert (found.value, found.also["safim_match"]) == (ours, theirs)


def test_holes_are_asked_by_prefix_and_suffix(holes):
    base, chat = holes.tasks("base")[0].prompt, holes.tasks("instruct")[0].prompt
    assert (base.prefix, base.suffix) == tuple(PROGRAM.split("{}"))
    assert chat.messages is not None
    assert 'Replace the "# TODO: Your code here"' in chat.messages[0]["content"]


def test_answers_end_where_their_part_ends(holes):
    task = holes.tasks("base")[1]
    assert holes.extract(task, "f(a(b), c).d(e)\n", "safim") == "f(a(b), c)"
    assert holes.extract(task, "f(a(b), c).d(e)\n", "raw") == "f(a(b), c).d(e)\n"
    assert safim.cut_control("\n  i < n:\n  x", "python") == "  i < n:"
    assert safim.cut_control("i < f(n); i++) {", "java") == "i < f(n); i++"
    answer = "Use `x`:\n```python\nf(1)\n```\n"
    assert safim.code_of_answer(answer, "python") == "f(1)"


def test_blocks_are_cut_by_a_parser(holes):
    pytest.importorskip("tree_sitter", reason="blocks need tree-sitter")
    pytest.importorskip("tree_sitter_python", reason="blocks need tree-sitter-python")
    found = holes.extract(holes.tasks("base")[0], "s += i\n    i = 1\nprint(s)\nprint(", "safim")
    assert found == "s += i\n    i = 1\n"


def test_a_missing_parser_is_named(tmp_path, monkeypatch):
    (tmp_path / "safim.jsonl").write_text(json.dumps(BLOCK))
    monkeypatch.setitem(sys.modules, "tree_sitter", None)
    with pytest.raises(ResourceError) as raised:
        opened("safim", tmp_path / "safim.jsonl")
    assert raised.value.fix == "pip install tree-sitter tree-sitter-python"
    assert opened("safim", tmp_path / "safim.jsonl", cut_blocks=False).rules == ("raw",)


def test_a_part_must_be_known(tmp_path):
    (tmp_path / "x.jsonl").write_text(json.dumps({**CALL, "task_id": "7"}))
    with pytest.raises(ConfigError, match="which part"):
        opened("safim", tmp_path / "x.jsonl")
    assert opened("safim", tmp_path / "x.jsonl", part="api").rows[0]["part"] == "api"


CONTEXT = """
exec_context = "given = 2\\n[insert]\\n"

def test_execution(solution):
    names = {}
    exec(exec_context.replace("[insert]", solution), names)
    assert names["result"] == 4

def test_string(solution):
    assert "for" not in solution
"""
QUESTION = {
    "prompt": "Problem:\ndouble it\nBEGIN SOLUTION\n<code>\n",
    "reference_code": "result = given * 2",
    "code_context": CONTEXT,
    "metadata": {"problem_id": 3, "library": "Python", "perturbation_type": "Origin"},
}


@pytest.fixture
def questions(tmp_path: Path):
    file = tmp_path / "ds1000.jsonl.gz"
    rows = [QUESTION, {**QUESTION, "metadata": {"problem_id": 4, "library": "Tensorflow"}}]
    file.write_bytes(gzip.compress("".join(json.dumps(row) + "\n" for row in rows).encode()))
    return opened("ds1000", file)


@pytest.mark.parametrize(
    ("answer", "status"),
    [
        ("result = given * 2", "pass"),
        ("result = 5", "wrong"),
        ("for _ in 'a': result = 4", "wrong"),
        ("result = unknown", "error"),
        ("import os; os._exit(0)", "error"),
        ("import sys; sys.exit(0)", "error"),
    ],
)
def test_questions_are_run_in_their_context(questions, sandbox, answer, status):
    found = judge_work(questions.program(questions.tasks("base")[0], answer), sandbox)
    assert found.verdict is not None
    assert (found.verdict.status, found.verdict.sealed) == (status, False), found


def test_a_missing_library_is_no_wrong_answer(sandbox):
    work = ds1000.DataScience(code="result = 4", context=CONTEXT, module="no_such_module")
    found = judge_work(work, sandbox)
    assert found.value is None
    assert "no_such_module" in found.detail


def test_questions_know_their_library_and_answer(questions):
    first, second = questions.tasks("base")
    assert (first.row["group"], second.row["group"]) == ("Python", "Tensorflow")
    assert questions.program(second, "x").module == "tensorflow"
    assert questions.canonical(first) == "result = given * 2"


@pytest.mark.parametrize(
    ("text", "code"),
    [
        ("a = 1\n</code>\nmore", "a = 1\n"),
        ("```python\na = 1\n```\nmore", "\na = 1\n"),
        ("<code>a = 1\nEND SOLUTION", "a = 1"),
    ],
)
def test_answers_are_cut_as_ds1000_does(text, code):
    assert ds1000.answer_of(text) == code
