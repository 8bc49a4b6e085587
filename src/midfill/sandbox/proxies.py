"""What stands for the program in its tests: functions, classes and objects that ask it for values.

No object of the program is here, no operator that it defined, no frame it could walk.
"""

import builtins
import types
from collections.abc import Callable, Iterator
from typing import Any

from midfill.sandbox.calls import pack, question, read_answer
from midfill.sandbox.channel import Channel, ClosedError
from midfill.sandbox.codec import CodecError, Token, decode

_MOST_NAMES = 10_000


class Gone(BaseException):
    """The program ended before the tests did; no test may catch this."""


class Unreadable(BaseException):
    """The program answered with something that is no answer."""


class UnsuitableError(BaseException):
    """Tests that say nothing about the program; no test may catch this."""


class Link:
    """Asks the program and reads its answers."""

    def __init__(self, calls: Channel) -> None:
        self.channel = calls
        self.number = 0
        self.calls = 0
        self.last: tuple[str, object] | None = None  # the last call and its answer, for people
        self.exceptions: dict[str, type] = {}  # those that the program defines
        self.raised: BaseException | None = None  # the last exception that came from the program
        self.said = ""

    def ask(self, verb: str, *arguments: object, find: Callable[[int], object] = Token) -> Any:
        """The value of an answer. Raises what the program raised, Gone, or Unreadable."""
        return self._ask(verb, arguments, find)[1]

    def attribute(self, owner: Token, name: str, find: Callable[[int], object]) -> tuple[bool, Any]:
        """Whether it is a method, else its value."""
        kind, value = self._ask("attribute", (owner, name), find)
        return kind == "method", value

    def call(self, verb: str, target: tuple, args: tuple, kwargs: dict, find: Callable[[int], object]) -> Any:  # fmt: skip
        """Call something of the program; arguments that it changed are changed here."""
        self.calls += 1
        try:
            packed = pack((args, kwargs), _token_of)
        except CodecError as problem:
            if "too" in str(problem):  # which the program's own values may have made it
                raise Unreadable(f"as an argument, {problem}") from None
            raise UnsuitableError(f"an argument of the tests cannot cross: {problem}") from None
        kind, value = self._ask(verb, (*target, packed), find)
        if kind == "changed":
            try:
                value, after = value
                changed = decode(after, find)
                for old, new in zip((*args, *kwargs.values()), (*changed[0], *changed[1].values()), strict=True):  # type: ignore[index]  # fmt: skip
                    _restore(old, new)
            except (CodecError, ValueError, TypeError, AttributeError, LookupError) as problem:
                raise Unreadable(f"the arguments afterwards: {problem}") from None
        self.last = target[-1], value
        return value

    def _ask(self, verb: str, arguments: tuple, find: Callable[[int], object]) -> tuple[str, Any]:
        self.number += 1
        try:
            self.channel.send_bytes(question(self.number, verb, arguments, _token_of))
            kind, value = read_answer(self.channel.receive_bytes(), self.number, find)
        except ClosedError:
            raise Gone from None
        except CodecError as problem:
            raise Unreadable(str(problem)) from None
        match kind, value:
            case "raised", (str(name), str(said)):
                self.fail(name, said)
            case (("value" | "changed" | "method"), _):
                return kind, value
            case "unreadable", str(said):
                raise Unreadable(said)
        raise Unreadable("it is no answer to what was asked")

    def exception(self, name: str, kind: str) -> type:
        """A class that stands for an exception of the program, which is a builtin one of this kind."""
        base = getattr(builtins, kind, Exception)
        if not (isinstance(base, type) and issubclass(base, Exception)):
            base = Exception
        self.exceptions[name] = type(name, (base,), {})
        return self.exceptions[name]

    def fail(self, kind: str, said: str) -> None:
        """Raise the builtin exception of this name here, or what stands for one of the program's."""
        own, _, words = said.partition(": ")
        cause = self.exceptions.get(own) or getattr(builtins, kind, RuntimeError)
        if kind == "MemoryError":
            raise MemoryError(said)
        if not (isinstance(cause, type) and issubclass(cause, Exception)):
            cause = RuntimeError  # SystemExit of the program must not end the tests
        if issubclass(cause, StopIteration | StopAsyncIteration):
            cause = RuntimeError  # nor this one a loop of theirs
        try:
            error = cause(words)
        except TypeError:  # those that want more than a text
            error = RuntimeError(said)
        self.raised, self.said = error, said
        raise error


class Object:
    """One that stayed with the program: true, and equal to itself only.

    Its attributes and methods can be used, and it can be iterated, over a list of its items that is
    asked for once: `list(f(x))` and `set(f(x))` are the usual ways to test a generator.
    """

    __slots__ = ("_items", "_link", "_number")

    def __init__(self, number: int, link: Link) -> None:
        object.__setattr__(self, "_number", number)
        object.__setattr__(self, "_link", link)
        object.__setattr__(self, "_items", None)

    def __iter__(self) -> Iterator:
        if self._items is None:
            items = self._link.ask("items", Token(self._number), find=_object(self._link))
            object.__setattr__(self, "_items", items)
        if not isinstance(self._items, list):
            raise Unreadable("its items are no list")
        return iter(self._items)

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        link, token = self._link, Token(self._number)
        is_method, value = link.attribute(token, name, _object(link))
        if is_method:
            return lambda *args, **kwargs: link.call("method", (token, name), args, kwargs, _object(link))  # fmt: skip
        return value

    def __setattr__(self, name: str, value: object) -> None:
        self._link.ask("set", Token(self._number), name, _token_of(value))

    def __repr__(self) -> str:
        return "<an object of the program>"


class Class:
    """Stands for a class of the program."""

    def __init__(self, name: str, link: Link) -> None:
        self.__name__ = name
        self._link = link

    def __call__(self, *args: object, **kwargs: object) -> Any:
        """An instance of it, which stays with the program."""
        return self._link.call("call", (self.__name__,), args, kwargs, _object(self._link))


class Program(types.ModuleType):
    """`from solution import f`, for tests that import what they test."""

    def __init__(self, name: str, link: Link) -> None:
        super().__init__(name)
        self.__dict__["_link"] = link

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        link = self.__dict__["_link"]
        kinds = link.ask("names", [name])
        kind = kinds.get(name) if isinstance(kinds, dict) else None
        if not isinstance(kind, str):
            raise AttributeError(f"the program defines no {name}")
        return _stand_in(name, kind, link)


def _function(name: str, link: Link) -> Callable:
    def function(*args: object, **kwargs: object) -> Any:
        return link.call("call", (name,), args, kwargs, _object(link))

    function.__name__ = function.__qualname__ = name
    return function


def _object(link: Link) -> Callable[[int], object]:
    return lambda number: Object(number, link)


def _token_of(value: object) -> object:
    """How an argument that is no value crosses: as the token it came with."""
    return Token(value._number) if isinstance(value, Object) else value


def _restore(old: object, new: object) -> None:
    """Give the tests' own lists, dicts and sets the content that the program left in its copies."""
    if type(old) is tuple and type(new) is tuple and len(old) == len(new):
        for one, other in zip(old, new, strict=True):
            _restore(one, other)
    elif type(old) is list and type(new) is list:
        if len(old) == len(new):
            for i, (one, other) in enumerate(zip(old, new, strict=True)):
                if type(one) in (list, dict, set) and type(one) is type(other):
                    _restore(one, other)
                elif not isinstance(one, Object):
                    old[i] = other
        else:
            old[:] = new
    elif type(old) in (dict, set) and type(old) is type(new):
        old.clear()  # type: ignore[attr-defined]
        old.update(new)  # type: ignore[attr-defined]


def proxies(code: types.CodeType, entry_point: str | None, link: Link) -> dict[str, Any]:
    """What stands for the names that the tests use and the program has."""
    used = {name for name in _used(code) if not hasattr(builtins, name)}
    wanted = sorted(used | ({entry_point} if entry_point else set()))[:_MOST_NAMES]
    kinds = link.ask("names", wanted)
    if not isinstance(kinds, dict):
        raise Unreadable("it does not say which names it has")
    if entry_point and entry_point not in kinds:
        link.fail("NameError", f"NameError: the program defines no {entry_point}")
    return {
        name: _stand_in(name, kinds[name], link)
        for name in wanted
        if isinstance(kinds.get(name), str)
    }


def _stand_in(name: str, kind: str, link: Link) -> Any:
    """What stands for something of the program here."""
    if kind == "class":
        return Class(name, link)
    if kind == "function":
        return _function(name, link)
    if kind == "value":
        return link.ask("value", name, find=_object(link))
    return link.exception(name, kind)


def _used(code: types.CodeType) -> Iterator[str]:
    """Names that a code object and those within it refer to."""
    yield from code.co_names
    for constant in code.co_consts:
        if isinstance(constant, types.CodeType):
            yield from _used(constant)
