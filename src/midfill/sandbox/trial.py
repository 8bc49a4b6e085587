"""The tests' side of a sealed verdict: runs the tests, and calls the program through proxies.

The program is another process, and a test compares values that this side built. The verdict is what
this side's own control flow comes to.
"""

import ast
import builtins
import contextlib
import inspect
import random
import re
import sys
import traceback
import types
import unittest
from collections.abc import Callable
from typing import Any

from midfill.sandbox import candidate
from midfill.sandbox.channel import Channel
from midfill.sandbox.codec import encode
from midfill.sandbox.proxies import Gone, Link, Program, Unreadable, UnsuitableError, proxies

TESTS = "<tests>"
MODULE, _CHECK = "__main__", "check"
_NO_CALL = (
    "the tests never call the program: give assert lines, check(candidate), test_ functions without "
    "arguments, or unittest classes"
)


def run(tests: str, entry_point: str | None, report: Channel, calls: Channel) -> None:
    """Run `tests` against the program behind `calls`, and report (status, detail)."""
    random.seed(0)  # the same inputs each time, and with them the same verdict
    if "numpy" in sys.modules:
        sys.modules["numpy"].random.seed(0)
    sys.argv[:] = ["tests.py"]
    link = Link(calls)
    status, detail = _verdict(tests, entry_point, link)
    if link.last and status in ("wrong", "error"):
        name, value = link.last
        detail = f"{detail}\nthe last call of {name} returned {_short(_shown(value))}"
    report.send((status, detail))


def _verdict(tests: str, entry_point: str | None, link: Link) -> tuple[str, str]:
    lines, told = tests.splitlines(), ("pass", "")
    try:
        _run_tests(_compiled(tests), tests, entry_point, link)
    except BaseException as error:
        told = _said_of(error, link, lines)
    match link.end:  # whatever the tests made of it
        case Gone():
            return "gone", "the program ended before the tests did"
        case Unreadable() as problem:
            return "error", _short(f"the program's answer cannot be read: {problem}")
        case UnsuitableError() as problem:
            return "infra", _short(str(problem))
    return ("infra", _NO_CALL) if told[0] == "pass" and not link.calls else told


def _said_of(error: BaseException, link: Link, lines: list[str]) -> tuple[str, str]:
    """The verdict when tests end with an exception."""
    if isinstance(error, UnsuitableError):
        return "infra", _short(str(error))
    if isinstance(error, MemoryError):
        return "memory", "out of memory" + _place(error, lines)
    if isinstance(error, SystemExit):
        return "wrong", _short(f"the tests ended with {error.code!r}")
    if error is link.raised:
        return "error", f"{_short(link.said, 2000)}{_place(error, lines)}"
    name = type(error).__name__
    said = _short(str(error))
    if isinstance(error, ModuleNotFoundError) and error.name != candidate.MODULE:
        return "infra", f"the tests need what is not here: {said}"
    return "wrong", (f"{name}: {said}" if said else name) + _place(error, lines)


def _compiled(tests: str) -> types.CodeType:
    try:
        return compile(tests, TESTS, "exec")
    except (SyntaxError, ValueError, RecursionError, MemoryError) as error:
        raise UnsuitableError(f"the tests are not Python: {error}") from None


def _run_tests(code: types.CodeType, tests: str, entry_point: str | None, link: Link) -> None:
    stand_ins = proxies(code, entry_point, link)
    module = types.ModuleType(MODULE)
    names = module.__dict__
    names |= {"__builtins__": builtins} | stand_ins
    sys.modules[MODULE] = module
    sys.modules[candidate.MODULE] = Program(candidate.MODULE, link)
    try:
        exec(code, names, _Keeping(names, entry_point))  # type: ignore[arg-type]
    except SystemExit as end:  # as unittest.main() ends
        if end.code:
            raise
    _run_what_was_defined(tests, names, stand_ins, entry_point)


class _Keeping:
    """The module's names, of which the entry point stays the proxy whatever the tests assign to it.

    Benchmarks put their prompt before the tests for the sake of its helpers, and a prompt defines a
    stub of the entry point.
    """

    def __init__(self, names: dict[str, Any], entry_point: str | None) -> None:
        self.names, self.entry_point = names, entry_point

    def __getitem__(self, name: str) -> object:
        return self.names[name]

    def __setitem__(self, name: str, value: object) -> None:
        if name != self.entry_point:
            self.names[name] = value

    def __delitem__(self, name: str) -> None:
        del self.names[name]


def _run_what_was_defined(
    tests: str, names: dict[str, Any], stand_ins: dict[str, Any], entry_point: str | None
) -> None:
    """Call check(candidate), test functions and test classes that the text defines and does not run."""
    own = {
        name: value
        for name, value in names.items()
        if callable(value)
        and value is not stand_ins.get(name)
        and getattr(value, "__module__", None) == MODULE
    }
    if _CHECK in own and not _calls_at_top(tests, _CHECK):
        if entry_point is None:
            raise UnsuitableError("the tests define check(candidate): name the entry point")
        _finished(_CHECK, own[_CHECK](names[entry_point]))
    for name, value in own.items():
        if isinstance(value, type) and issubclass(value, unittest.TestCase):
            _run_case(value)
        elif isinstance(value, type):
            if name.lower().startswith("test") and any(
                part.startswith("test") for part in dir(value)
            ):
                raise UnsuitableError(f"{name} is no unittest.TestCase: nobody here runs its tests")
        elif name.startswith("test") and not _calls_at_top(tests, name):
            if _wants_arguments(value):
                raise UnsuitableError(f"{name} wants arguments, which nobody here gives")
            with contextlib.suppress(unittest.SkipTest):
                _finished(name, value())


def _wants_arguments(function: Callable) -> bool:
    given = (inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD)
    wanted = inspect.signature(function, follow_wrapped=False).parameters.values()
    return any(p.default is p.empty and p.kind not in given for p in wanted)


def _finished(name: str, returned: object) -> None:
    """Raises where calling a test has only made something that would have to be run, too."""
    if (
        inspect.isawaitable(returned)
        or inspect.isgenerator(returned)
        or inspect.isasyncgen(returned)
    ):
        if inspect.iscoroutine(returned):
            returned.close()
        raise UnsuitableError(f"{name} is asynchronous or a generator: nobody here runs those")


def _calls_at_top(tests: str, name: str) -> bool:
    """Whether a statement outside functions and classes calls it."""
    if not re.search(rf"\b{name}\s*\(", re.sub(rf"def {name}\s*\(", "", tests)):
        return False  # parsing costs as much as compiling
    inside = (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)
    return any(
        isinstance(part, ast.Call) and isinstance(part.func, ast.Name) and part.func.id == name
        for node in ast.parse(tests).body
        if not isinstance(node, inside)
        for part in ast.walk(node)
    )


def _run_case(case: type[unittest.TestCase]) -> None:
    """Run a test class; raises what its first failing test raised."""
    suite = unittest.defaultTestLoader.loadTestsFromTestCase(case)
    for test in suite:
        method = inspect.unwrap(getattr(test, test._testMethodName))  # type: ignore[attr-defined]
        unawaited = inspect.iscoroutinefunction(method) and not isinstance(
            test, unittest.IsolatedAsyncioTestCase
        )
        if unawaited or inspect.isgeneratorfunction(method) or inspect.isasyncgenfunction(method):
            raise UnsuitableError(f"{method.__name__} of {case.__name__} is never run to its end")
    result = _First()
    suite.run(result)
    if result.failure is not None:
        raise result.failure


class _First(unittest.TestResult):
    """Stops at the first failure and keeps it, with the frames that it came through."""

    def __init__(self) -> None:
        super().__init__()
        self.failure: BaseException | None = None

    def addError(self, test: unittest.TestCase, err: Any) -> None:  # noqa: N802
        self.failure = self.failure or err[1]
        self.stop()

    addFailure = addError  # noqa: N815

    def addSubTest(self, test: Any, subtest: Any, err: Any) -> None:  # noqa: N802
        if err is not None:
            self.addError(test, err)

    def addUnexpectedSuccess(self, test: unittest.TestCase) -> None:  # noqa: N802
        self.addError(test, (None, AssertionError("it should have failed, and did not"), None))


def _place(error: BaseException, lines: list[str]) -> str:
    """The line of the tests that an exception came through last."""
    frames = traceback.extract_tb(error.__traceback__)
    number = next((f.lineno for f in reversed(frames) if f.filename == TESTS), None)
    if number is None or number > len(lines):
        return ""
    return f"\n{_short(lines[number - 1].strip())}"


def _shown(value: object) -> str:
    with contextlib.suppress(Exception):
        if len(encode(value, lambda _: None)) < 10_000:
            return repr(value)
    return "something large"


def _short(text: str, most: int = 300) -> str:
    text = text.encode("utf-8", "replace").decode()
    return text if len(text) <= most else f"{text[: most - 3]}..."
