"""Wrong programs out of right ones: what is changed, and that nothing is left to chance."""

import ast

import pytest

from midfill.evaluate.mutants import mutants

CODE = """\
LIMIT = 3

def helper(n):
    return n < LIMIT

def f(n):
    if n <= 1 and helper(n):
        return n + 10
    n -= 1
    return
"""


def test_one_place_each_and_every_kind():
    found = mutants(CODE)
    assert {mutant.kind for mutant in found} == {"comparison", "constant", "operator", "return"}
    plain = ast.unparse(ast.parse(CODE)).split("\n")
    for mutant in found:
        lines = mutant.code.split("\n")
        differing = [i for i, line in enumerate(lines) if line != plain[i]]
        assert len(lines) == len(plain)
        assert len(differing) == 1
    assert len({mutant.code for mutant in found}) == len(found) == 10


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ("a < b", "a <= b"),
        ("a not in b", "a in b"),
        ("a * b", "a + b"),
        ("a ** b", "a * b"),
        ("7", "8"),
    ],
)
def test_what_becomes_of_it(before: str, after: str):
    [mutant] = mutants(f"x = {before}")
    assert mutant.code == f"x = {after}"


def test_a_returned_value_becomes_none_and_a_bare_return_stays():
    [mutant] = mutants("def f(x):\n    if x:\n        return\n    return x")
    assert mutant.code.endswith("return None")
    assert mutant.line == 4


def test_only_the_entry_point_is_changed():
    lines = {mutant.line for mutant in mutants(CODE, "f")}
    assert min(lines) >= 7


def test_kinds_are_taken_in_turn_and_always_the_same():
    some = mutants(CODE, "f", most=4)
    assert {mutant.kind for mutant in some} == {"comparison", "constant", "operator", "return"}
    assert some == mutants(CODE, "f", most=4)


@pytest.mark.parametrize("code", ["def f(:", "\0", "True", ""])
def test_nothing_to_change_gives_none(code: str):
    assert mutants(code) == []
