"""The tests' side of a sealed verdict: runs the tests, and calls the program through proxies.

The program is another process. A proxy sends the arguments of a call and gets a value, so a test
compares values that this side built: no object of the program, no operator that it defined, no frame
it could walk. The verdict is what this side's own control flow comes to.
"""

import ast
import builtins
import contextlib
import random
import re
import sys
import traceback
import types
import unittest
from collections.abc import Callable, Iterator
from typing import Any

from midfill.sandbox.candidate import MODULE
from midfill.sandbox.channel import Channel, ClosedError
from midfill.sandbox.codec import CodecError, Token, decode, encode, pack

TESTS = "<tests>"
_CHECK, _NAME = "check", "tests"
_MOST_NAMES = 10_000


class Gone(BaseException):
    """The program ended before the tests did; no test may catch this."""


class Unreadable(BaseException):
    """The program answered with something that is no answer."""


def run(tests: str, entry_point: str | None, report: Channel, calls: Channel) -> None:
    """Run `tests` against the program behind `calls`, and report (status, detail)."""
    random.seed(0)  # the same inputs each time, and with them the same verdict
    link = Link(calls)
    status, detail = _verdict(tests, entry_point, link)
    if link.seen and status in ("wrong", "error"):
        detail = f"{detail}\n{link.seen}"
    report.send((status, detail))


def _verdict(tests: str, entry_point: str | None, link: "Link") -> tuple[str, str]:
    try:
        code = compile(tests, TESTS, "exec")
    except (SyntaxError, ValueError, RecursionError, MemoryError) as error:
        return "infra", f"the tests are not Python: {error}"
    lines = tests.splitlines()
    try:
        _run_tests(code, tests, entry_point, link)
    except Gone:
        return "gone", "the program ended before the tests did"
    except Unreadable as problem:
        return "error", f"the program's answer cannot be read: {problem}"
    except _UnsuitableError as problem:
        return "infra", str(problem)
    except MemoryError:
        return "memory", "out of memory" + _place(lines)
    except SystemExit as end:
        return ("pass", "") if not end.code else ("wrong", f"the tests ended with {end.code!r}")
    except BaseException as error:
        if error is link.raised:
            return "error", f"{link.said}{_place(lines)}"
        name = type(error).__name__
        said = _short(str(error))
        return "wrong", (f"{name}: {said}" if said else name) + _place(lines)
    return "pass", ""


def _run_tests(code: types.CodeType, tests: str, entry_point: str | None, link: "Link") -> None:
    names = {"__name__": _NAME, "__builtins__": builtins}
    names |= _proxies(code, entry_point, link)
    sys.modules[_NAME] = types.ModuleType(_NAME)
    sys.modules[MODULE] = _Program(MODULE, link)
    exec(code, names, _Keeping(names, entry_point))  # type: ignore[arg-type]
    ran = _run_what_was_defined(tests, names, entry_point)
    if not ran and not link.calls:
        raise _UnsuitableError(
            "the tests never call the program: give assert lines, check(candidate), test_ functions "
            "without arguments, or unittest classes"
        )


class _UnsuitableError(BaseException):
    """Tests that say nothing about the program; no test may catch this."""


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


def _proxies(code: types.CodeType, entry_point: str | None, link: "Link") -> dict[str, Any]:
    """What stands for the names that the tests use and the program has."""
    used = {name for name in _used(code) if not hasattr(builtins, name)}
    wanted = sorted(used | ({entry_point} if entry_point else set()))[:_MOST_NAMES]
    kinds = link.ask("names", wanted)
    if not isinstance(kinds, dict):
        raise Unreadable("it does not say which names it has")
    if entry_point and entry_point not in kinds:
        link.fail("NameError", f"NameError: the program defines no {entry_point}")
    found = {}
    for name in wanted:
        if kinds.get(name) == "class":
            found[name] = Class(name, link)
        elif kinds.get(name) == "function":
            found[name] = _function(name, link)
        elif kinds.get(name) == "value":
            found[name] = link.ask("value", name)
    return found


def _used(code: types.CodeType) -> Iterator[str]:
    """Names that a code object and those within it refer to."""
    yield from code.co_names
    for constant in code.co_consts:
        if isinstance(constant, types.CodeType):
            yield from _used(constant)


def _run_what_was_defined(tests: str, names: dict[str, Any], entry_point: str | None) -> bool:
    """Call check(candidate), test functions and test classes that the text defines and does not run."""
    ran = False
    if _own(names.get(_CHECK)) and not _calls_at_top(tests, _CHECK):
        if entry_point is None:
            raise _UnsuitableError("the tests define check(candidate): name the entry point")
        names[_CHECK](names[entry_point])
        ran = True
    for name, value in list(names.items()):
        if isinstance(value, type) and issubclass(value, unittest.TestCase):
            if value.__module__ == _NAME:
                _run_case(value)
                ran = True
        elif name.startswith("test") and _own(value):
            if _calls_at_top(tests, name):
                continue
            if value.__code__.co_argcount - len(value.__defaults__ or ()) > 0:
                raise _UnsuitableError(f"{name} wants arguments, which nobody here gives")
            value()
            ran = True
    return ran


def _own(value: object) -> bool:
    """Whether it is a function that the tests' text defines; a proxy of the program's is none."""
    return isinstance(value, types.FunctionType) and value.__code__.co_filename == TESTS


def _calls_at_top(tests: str, name: str) -> bool:
    if not re.search(rf"^{name}\s*\(", tests, re.MULTILINE):
        return False  # parsing costs as much as compiling
    return any(
        isinstance(node, ast.Expr)
        and isinstance(node.value, ast.Call)
        and isinstance(node.value.func, ast.Name)
        and node.value.func.id == name
        for node in ast.parse(tests).body
    )


def _run_case(case: type[unittest.TestCase]) -> None:
    """Run a test class; raises what its first failing test raised."""
    for test in unittest.defaultTestLoader.loadTestsFromTestCase(case):
        assert isinstance(test, unittest.TestCase)
        test.debug()


class Link:
    """Asks the program and reads its answers."""

    def __init__(self, calls: Channel) -> None:
        self.channel = calls
        self.number = 0
        self.calls = 0
        self.seen = ""  # the last answer, for people
        self.raised: BaseException | None = None  # the last exception that came from the program
        self.said = ""

    def ask(self, verb: str, *arguments: object, find: Callable[[int], object] = Token) -> Any:
        """The value of an answer. Raises what the program raised, Gone, or Unreadable."""
        return self._ask(verb, arguments, find)[0]

    def call(self, verb: str, target: tuple, args: tuple, kwargs: dict, find: Callable[[int], object]) -> Any:  # fmt: skip
        """Call something of the program; arguments that it changed are changed here."""
        self.calls += 1
        try:
            packed = pack((args, kwargs), _token_of)
        except CodecError as problem:
            if "too" in str(problem):  # which the program's own values may have made it
                raise Unreadable(f"as an argument, {problem}") from None
            raise _UnsuitableError(f"an argument of the tests cannot cross: {problem}") from None
        value, after = self._ask(verb, (*target, packed), find)
        if after is not None:
            try:
                changed = decode(after, find)
                for old, new in zip((*args, *kwargs.values()), (*changed[0], *changed[1].values()), strict=True):  # type: ignore[index]  # fmt: skip
                    _restore(old, new, 0)
            except (CodecError, ValueError, TypeError, AttributeError, LookupError) as problem:
                raise Unreadable(f"the arguments afterwards: {problem}") from None
        name = target[-1]
        self.seen = f"the last call of {name} returned {_short(_shown(value))}"
        return value

    def _ask(self, verb: str, arguments: tuple, find: Callable[[int], object]) -> tuple[Any, Any]:
        self.number += 1
        try:
            self.channel.send((self.number, verb, *arguments))
            answer = decode(self.channel.receive_bytes(), find)
        except ClosedError:
            raise Gone from None
        except CodecError as problem:
            raise Unreadable(str(problem)) from None
        match answer:
            case (int(number), "value", value, after) if number == self.number:
                return value, after
            case (int(number), "raised", str(kind), str(said)) if number == self.number:
                self.fail(kind, said)
            case (int(number), "unreadable", str(said)) if number == self.number:
                raise Unreadable(said)
        raise Unreadable("it is no answer to what was asked")

    def fail(self, kind: str, said: str) -> None:
        """Raise the builtin exception of this name here."""
        cause = getattr(builtins, kind, RuntimeError)
        if kind == "MemoryError":
            raise MemoryError(said)
        if not (isinstance(cause, type) and issubclass(cause, Exception)):
            cause = RuntimeError  # SystemExit of the program must not end the tests
        try:
            error = cause(said.partition(": ")[2])
        except TypeError:  # those that want more than a text
            error = RuntimeError(said)
        self.raised, self.said = error, said
        raise error


class Opaque:
    """An object that stayed with the program: true, and equal to itself only.

    It can be iterated, over a list of its items that is asked for once, because `list(f(x))` and
    `set(f(x))` are the usual ways to test a generator.
    """

    __slots__ = ("_items", "_link", "_number")

    def __init__(self, number: int, link: Link) -> None:
        object.__setattr__(self, "_number", number)
        object.__setattr__(self, "_link", link)
        object.__setattr__(self, "_items", None)

    def __iter__(self) -> Iterator:
        if self._items is None:
            items = self._link.ask("items", Token(self._number), find=_opaque(self._link))
            object.__setattr__(self, "_items", items)
        if not isinstance(self._items, list):
            raise Unreadable("its items are no list")
        return iter(self._items)

    def __repr__(self) -> str:
        return "<an object of the program>"


class Instance(Opaque):
    """An object whose class the tests name: its attributes and methods can be used."""

    __slots__ = ()

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        link, token = self._link, Token(self._number)
        value, method = link._ask("attribute", (token, name), _instance(link))
        if method == "method":
            return lambda *args, **kwargs: link.call("method", (token, name), args, kwargs, _instance(link))  # fmt: skip
        return value

    def __setattr__(self, name: str, value: object) -> None:
        self._link.ask("set", Token(self._number), name, _token_of(value) if isinstance(value, Opaque) else value)  # fmt: skip


class Class:
    """Stands for a class of the program."""

    def __init__(self, name: str, link: Link) -> None:
        self.__name__ = name
        self._link = link

    def __call__(self, *args: object, **kwargs: object) -> Any:
        """An instance of it, which stays with the program."""
        return self._link.call("call", (self.__name__,), args, kwargs, _instance(self._link))


class _Program(types.ModuleType):
    """`from solution import f`, for tests that import what they test."""

    def __init__(self, name: str, link: Link) -> None:
        super().__init__(name)
        self.__dict__["_link"] = link

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        kinds = self.__dict__["_link"].ask("names", [name])
        link = self.__dict__["_link"]
        kind = kinds.get(name) if isinstance(kinds, dict) else None
        if kind is None:
            raise AttributeError(f"the program defines no {name}")
        if kind == "value":
            return link.ask("value", name)
        return Class(name, link) if kind == "class" else _function(name, link)


def _function(name: str, link: Link) -> Callable:
    def function(*args: object, **kwargs: object) -> Any:
        return link.call("call", (name,), args, kwargs, _opaque(link))

    function.__name__ = function.__qualname__ = name
    return function


def _opaque(link: Link) -> Callable[[int], object]:
    return lambda number: Opaque(number, link)


def _instance(link: Link) -> Callable[[int], object]:
    return lambda number: Instance(number, link)


def _token_of(value: object) -> object:
    """How an argument that is no value crosses: as the token it came with."""
    return Token(value._number) if isinstance(value, Opaque) else value


def _restore(old: object, new: object, depth: int) -> None:
    """Give the tests' own lists, dicts and sets the content that the program left in its copies."""
    if type(old) is list and type(new) is list:
        if len(old) == len(new):
            for i, (one, other) in enumerate(zip(old, new, strict=True)):
                if type(one) in (list, dict, set) and type(one) is type(other):
                    _restore(one, other, depth + 1)
                elif not isinstance(one, Opaque):
                    old[i] = other
        else:
            old[:] = new
    elif type(old) in (dict, set) and type(old) is type(new):
        old.clear()  # type: ignore[attr-defined]
        old.update(new)  # type: ignore[attr-defined]


def _place(lines: list[str]) -> str:
    """The line of the tests that the exception being handled came through last."""
    frames = traceback.extract_tb(sys.exc_info()[2])
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
