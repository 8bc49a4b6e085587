"""Answers that mean the same, by our normaliser alone and with math-verify behind it."""

import contextlib
import importlib.util
import itertools
import json
import os
import time
from pathlib import Path

import pytest

from conftest import needs_data
from midfill.errors import ResourceError
from midfill.evaluate import mathematics
from midfill.evaluate.algebra import Algebra, ComparisonFaultError
from midfill.evaluate.benchmarks import benchmark
from midfill.evaluate.mathematics import equivalent, last_boxed, last_number, number, same
from midfill.evaluate.result import Judged
from midfill.evaluate.task import Score

ENDLESS = "9^{9^{9^{9}}}"

verifier = pytest.mark.skipif(
    importlib.util.find_spec("math_verify") is None, reason="math-verify is not installed"
)


@pytest.mark.parametrize(
    ("text", "inside"),
    [
        (r"so \boxed{3}", "3"),
        (r"\boxed{1} then \boxed{\frac{1}{2}}.", r"\frac{1}{2}"),
        (r"\boxed{\{1, 2\}}", r"\{1, 2\}"),
        (r"\boxed 5.", "5"),
        (r"\boxed 2.5 m", "2.5"),
        (r"first \boxed{7}, last \boxed{never closed", "7"),
        (r"\fbox{9}", "9"),
        (r"\boxedinput{1}", None),
        ("none", None),
        (r"\boxed", None),
    ],
)
def test_the_last_box_that_is_whole(text: str, inside: str | None):
    assert last_boxed(text) == inside


@pytest.mark.parametrize(
    ("text", "found"),
    [("a 3 b 1,234.", "1234"), ("-0.5", "-0.5"), ("x", None), ("1,23", "23"), ("is 18.", "18")],
)
def test_the_last_number(text: str, found: str | None):
    assert last_number(text) == found


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (r"\frac{1}{2}", "0.5"),
        (r"\frac34", ".75"),
        (r"\dfrac{-3}{4}", r"-\frac{3}{4}"),
        (r"2\frac{1}{2}", "5/2"),
        (r"-1\frac{1}{3}", r"-\frac{4}{3}"),
        ("1,234", "1234"),
        (r"10{,}000", "10000"),
        ("$18.00", "18"),
        (r"\$3.5", "3.50"),
        ("10%", r"10\%"),
        (r"50\%", "50"),
        (r"50\%", r"\frac{1}{2}"),
        ("12 dollars", "12"),
        (r"12\text{ cm}^2", "12"),
        (r"90^\circ", "90"),
        ("x = 5", "5"),
        (r"1.5 \times 10^{3}", "1500"),
        (r"\{1, 2\}", "2, 1"),
        (r"\left(1, \frac12\right)", "(1,0.5)"),
        (r"[0,\infty)", r"\left[ 0,\infty \right)"),
        (r"\text{Monday}", "monday"),
        ("-0", "0"),
    ],
)
def test_the_same_in_another_writing(one: str, other: str):
    assert same(one, other) is True
    assert same(other, one) is True


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("3", "4"),
        ("1/3", "0.333"),
        ("(1,2)", "(2,1)"),
        ("[1,2)", "(1,2)"),
        (r"\{1,2\}", r"\{1,3\}"),
        (r"\{1,1,2\}", r"\{1,2,2\}"),
        ("1,2", "1,2,3"),
        ("", "0"),
        ("1/0", "0"),
        ("9" * 3000, "9" * 3000),
        ("5 dollars", "6"),
        ("-5", "5"),
    ],
)
def test_not_the_same(one: str, other: str):
    assert not same(one, other)
    assert not same(other, one)


def test_numbers_are_exact():
    assert number("0.1") * 3 == number("0.3")  # type: ignore[operator]
    assert same("100000000000000000001", "100000000000000000000") is False


@needs_data("math")
def test_every_reference_of_math_is_found_and_equals_itself():
    maths = benchmark("math")
    references = [maths.canonical(task) for task in maths.tasks("base")]
    assert all(reference and same(reference, reference) for reference in references)


@needs_data("math")
def test_references_of_other_problems_are_seldom_taken_for_the_answer():
    maths = benchmark("math")
    references = [maths.canonical(task) or "" for task in maths.tasks("base")][:400]
    taken = [
        (one, other)
        for one, other in itertools.pairwise(references)
        if one != other and same(one, other)
    ]
    assert taken == []


@verifier
@pytest.mark.parametrize(
    ("one", "other", "equal"),
    [
        ("x+1", "1+x", True),
        (r"\sqrt{8}", r"2\sqrt{2}", True),
        ("(x-1)(x+1)", "x^2-1", True),
        (r"\frac{\sqrt{3}}{3}", r"\frac{1}{\sqrt{3}}", True),
        ("x+1", "x+2", False),
        (r"\sqrt{2}", "1.41", False),
    ],
)
def test_algebra_is_left_to_math_verify(one: str, other: str, equal: bool):
    assert same(one, other) is None
    assert equivalent(one, other) is equal


@verifier
def test_what_cannot_be_told_is_not_called_wrong_and_the_next_is_judged():
    with contextlib.closing(Algebra()) as algebra:
        assert algebra.same("x+1", "1+x", seconds=30)
        start = time.monotonic()
        with pytest.raises(ComparisonFaultError, match=r"more than 0\.5 s"):
            algebra.same(ENDLESS, "1", seconds=0.5)
        assert time.monotonic() - start < 8
        assert algebra.same("x+1", "1+x", seconds=30)
        assert algebra._process is not None
        algebra._process.kill()
        with pytest.raises(ComparisonFaultError, match="its process ended"):
            algebra.same("x+1", "1+x", seconds=30)
        assert algebra.same("x+1", "1+x", seconds=30)


@verifier
@pytest.mark.parametrize("answer", ["", "\\frac{", "hello world", "\\int", "){", "\0"])
def test_what_is_no_mathematics_is_wrong(answer: str):
    assert equivalent(answer, "x+1", seconds=30) is False


@verifier
def test_a_fault_of_the_library_is_told(monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    """Without sympy's simplification no two expressions can be compared: that says nothing."""
    (tmp_path / "sitecustomize.py").write_text(
        "import math_verify.grader as grader\n"
        "def fails(*arguments, **options): raise OverflowError('too large')\n"
        "grader.sympy_expr_eq = fails\n"
    )
    monkeypatch.setenv("PYTHONPATH", str(tmp_path), prepend=os.pathsep)
    told = pytest.raises(ComparisonFaultError, match="OverflowError: too large")
    with contextlib.closing(Algebra()) as algebra, told:
        algebra.same("x+1", "1+x", seconds=30)


@verifier
def test_an_answer_that_cannot_be_compared_makes_the_run_incomplete(tmp_path: Path):
    file = tmp_path / "math.jsonl"
    row = {"problem": "?", "solution": r"\boxed{1}", "level": "", "type": ""}
    file.write_text(json.dumps(row) + "\n")
    maths = benchmark("math", file)
    assert equivalent("x+1", "1+x", seconds=30)  # its process runs
    process = mathematics._algebra._process
    assert process is not None
    process.kill()
    score = maths.program(maths.tasks("base")[0], ENDLESS)
    assert isinstance(score, Score)
    assert score.value is None
    assert "cannot compare" in score.detail
    assert Judged.of(score, extracted=ENDLESS).status == "infra"


def test_without_math_verify_the_install_command_is_told(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    assert equivalent("1/2", "0.5")
    with pytest.raises(ResourceError) as caught:
        Algebra().same("x+1", "1+x")
    assert caught.value.fix == "pip install 'midfill[evaluate]'"
