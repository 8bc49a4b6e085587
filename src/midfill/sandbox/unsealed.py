"""Python tests that are run in the program's own process, for those that need its very objects."""

import ast

_CASES = """
import unittest as _unittest
_told = _unittest.TextTestRunner(verbosity=0).run(_unittest.TestSuite(
    map(_unittest.defaultTestLoader.loadTestsFromTestCase, [NAMES])))
assert _told.wasSuccessful(), "a test failed"
"""


def self_running(tests: str, entry_point: str | None) -> str:
    """`tests`, followed by calls of what they define and do not call: check, test functions and classes.

    Raises SyntaxError or ValueError for text that is no Python.
    """
    body = ast.parse(tests).body
    called = {
        node.value.func.id
        for node in body
        if isinstance(node, ast.Expr)
        and isinstance(node.value, ast.Call)
        and isinstance(node.value.func, ast.Name)
    }
    functions = [node.name for node in body if isinstance(node, ast.FunctionDef)]
    calls = [f"{name}()" for name in functions if name.startswith("test") and name not in called]
    if "check" in functions and "check" not in called:
        if entry_point is None:
            raise ValueError("the tests define check(candidate): name the entry point")
        calls.append(f"check({entry_point})")
    classes = [node.name for node in body if isinstance(node, ast.ClassDef) and _is_case(node)]
    if classes:
        calls.append(_CASES.replace("NAMES", ", ".join(classes)))
    return "\n".join([tests, *calls]) + "\n"


def _is_case(node: ast.ClassDef) -> bool:
    return any("TestCase" in ast.unparse(base) for base in node.bases)
