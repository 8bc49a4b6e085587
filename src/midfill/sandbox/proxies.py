"""What stands for the program in its tests: functions, classes and objects that ask it for values.

No object of the program is here, no operator that it defined, no frame it could walk.
"""

import builtins
import types
from collections import deque
from collections.abc import Callable, Iterator, Mapping
from itertools import chain, repeat
from typing import Any, NoReturn

from midfill.sandbox.calls import pack, question, read_answer
from midfill.sandbox.channel import Channel, ClosedError
from midfill.sandbox.codec import CodecError, Token, decode

_MOST_NAMES = 10_000
MOST_AT_ONCE = 100_000  # items of an iterator


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
        self.end: BaseException | None = (
            None  # why nothing can be asked any more, whoever caught it
        )
        self.exceptions: dict[str, type] = {}  # those that the program defines
        self.objects: dict[int, Object] = {}
        self.raised: BaseException | None = None  # the last exception that came from the program
        self.said = ""

    def ask(
        self, verb: str, *arguments: object, find: Callable[[int], object] | None = None
    ) -> Any:
        """The value of an answer. Raises what the program raised, Gone, or Unreadable."""
        kind, value = self._ask(verb, arguments, find)
        if kind == "raised":
            self._fail(value)
        return value

    def attribute(self, owner: Token, name: str) -> tuple[bool, Any]:
        """Whether it is a method, else its value."""
        kind, value = self._ask("attribute", (owner, name))
        if kind == "raised":
            self._fail(value)
        return kind == "method", value

    def call(self, verb: str, target: tuple, args: tuple, kwargs: Mapping[str, Any]) -> Any:
        """Call something of the program; arguments that it changed are changed here."""
        self.calls += 1
        try:
            packed = pack((args, kwargs), self.token_of)
        except CodecError as problem:
            if "too" in str(problem):  # which the program's own values may have made it
                self.give_up(Unreadable(f"as an argument, {problem}"))
            self.give_up(UnsuitableError(f"an argument of the tests cannot cross: {problem}"))
        kind, value = self._ask(verb, (*target, packed))
        try:
            if kind == "changed":
                value, after = value
                self._restore(after, args, kwargs)
            elif kind == "raised" and value[2] is not None:
                self._restore(value[2], args, kwargs)
        except (CodecError, ValueError, TypeError, AttributeError, LookupError) as problem:
            self.give_up(Unreadable(f"the arguments afterwards: {problem}"))
        if kind == "raised":
            self._fail(value)
        self.last = str(target[-1]), value
        return value

    def _restore(self, after: bytes, args: tuple, kwargs: Mapping[str, Any]) -> None:
        new_args, new_kwargs = decode(after, self.stand_in)  # type: ignore[misc]
        for old, new in zip(
            (*args, *kwargs.values()), (*new_args, *new_kwargs.values()), strict=True
        ):
            _restore(old, new)

    def _ask(
        self, verb: str, arguments: tuple, find: Callable[[int], object] | None = None
    ) -> tuple[str, Any]:
        if self.end is not None:
            raise self.end
        self.number += 1
        try:
            self.channel.send_bytes(question(self.number, verb, arguments, self.token_of))
            kind, value = read_answer(
                self.channel.receive_bytes(), self.number, find or self.stand_in
            )
        except ClosedError:
            self.give_up(Gone())
        except CodecError as problem:
            self.give_up(Unreadable(str(problem)))
        match kind, value:
            case "raised", ([*_], str(_), None | bytes(_), tuple(_)):
                return kind, value
            case (("value" | "changed" | "method"), _):
                return kind, value
            case "unreadable", str(said):
                self.give_up(Unreadable(said))
        self.give_up(Unreadable("it is no answer to what was asked"))

    def give_up(self, why: BaseException) -> NoReturn:
        """Ask nothing more. Tests may catch this; the verdict does not depend on that."""
        self.end = self.end or why
        raise self.end

    def stand_in(self, number: int) -> "Object":
        """What stands for one that stayed with the program: always the same for the same one."""
        if number not in self.objects:
            self.objects[number] = Object(number, self)
        return self.objects[number]

    def token_of(self, value: object) -> object:
        """How something of the program goes back to it as an argument."""
        if isinstance(value, Object):
            return Token(value._number)
        if isinstance(value, Named):
            return self.ask("hold", value.__name__, find=Token)
        if isinstance(value, Method):
            raise CodecError("a method of the program as an argument is too much")
        return value

    def exception(self, name: str, kind: str) -> type:
        """A class that stands for an exception of the program, which is a builtin one of this kind."""
        if name not in self.exceptions:
            base = getattr(builtins, kind, Exception)
            if not (isinstance(base, type) and issubclass(base, Exception)):
                base = Exception
            self.exceptions[name] = type(name, (base,), {})
        return self.exceptions[name]

    def _fail(self, what: tuple) -> NoReturn:
        """Raise here what the program raised: what stands for one of its own, or the builtin one."""
        names, said, _, args = what
        known = (self.exceptions.get(name) for name in names if isinstance(name, str))
        builtin = getattr(builtins, str(names[-1]) if names else "", RuntimeError)
        cause = next(filter(None, known), builtin)
        if cause is MemoryError:
            raise MemoryError(said)
        if not (isinstance(cause, type) and issubclass(cause, Exception)):
            cause = RuntimeError  # SystemExit of the program must not end the tests
        if issubclass(cause, StopIteration | StopAsyncIteration):
            cause = RuntimeError  # nor this one a loop of theirs
        try:
            error = cause(*args)
        except Exception:
            error = RuntimeError(said)
        self.raised, self.said = error, said
        raise error

    def missing(self, name: str) -> NoReturn:
        """The program has not what it should have."""
        self._fail((["NameError"], f"NameError: the program defines no {name}", None, ()))


class Object:
    """One that stayed with the program: equal to itself only.

    Its attributes and methods can be used, and what is asked of it is answered with values. Its own
    operators are not: `==`, `<`, `in` and `+` could say whatever a test wants to hear.
    """

    __slots__ = ("_held", "_link", "_number", "_take")

    def __init__(self, number: int, link: Link) -> None:
        for name, value in {"_number": number, "_link": link, "_held": deque(), "_take": 8}.items():
            object.__setattr__(self, name, value)

    def __iter__(self) -> Iterator:
        items = self._link.ask("items", Token(self._number))
        if items is None:  # it is its own iterator
            return self
        if not isinstance(items, list):
            self._link.give_up(Unreadable("its items are no list"))
        return iter(items)

    def __next__(self) -> Any:
        """The next item; some more are fetched with it."""
        if not self._held:
            items = self._link.ask("take", Token(self._number), self._take)
            if not isinstance(items, list):
                self._link.give_up(Unreadable("its items are no list"))
            if not items:
                raise StopIteration
            self._held.extend(items)
            object.__setattr__(self, "_take", min(4 * self._take, MOST_AT_ONCE))
        return self._held.popleft()

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        is_method, value = self._link.attribute(Token(self._number), name)
        return Method(self, name) if is_method else value

    def __setattr__(self, name: str, value: object) -> None:
        self._link.ask("set", Token(self._number), name, self._link.token_of(value))

    def __call__(self, *args: object, **kwargs: object) -> Any:
        """What calling it returns."""
        return Method(self, "__call__")(*args, **kwargs)

    def __getitem__(self, key: object) -> Any:
        return Method(self, "__getitem__")(key)

    def __len__(self) -> int:
        try:
            return Method(self, "__len__")()
        except AttributeError:
            raise TypeError("an object of the program has no len()") from None

    def __bool__(self) -> bool:
        return self._link.ask("truth", Token(self._number)) is True

    def __str__(self) -> str:
        return Method(self, "__str__")()

    def __repr__(self) -> str:
        return "<an object of the program>"


class Method:
    """Stands for a method of an object."""

    def __init__(self, owner: Object, name: str) -> None:
        self._owner, self.__name__ = owner, name

    def __call__(self, *args: object, **kwargs: object) -> Any:
        """What it returns."""
        owner = self._owner
        return owner._link.call("method", (Token(owner._number), self.__name__), args, kwargs)


class Named:
    """Stands for a function or a class of the program."""

    def __init__(self, name: str, link: Link) -> None:
        self.__name__ = self.__qualname__ = name
        self._link = link

    def __call__(self, *args: object, **kwargs: object) -> Any:
        """What it returns: of a class, an instance, which stays with the program."""
        return self._link.call("call", (self.__name__,), args, kwargs)

    def __getattr__(self, name: str) -> Any:
        """A constant or a method of a class."""
        if name.startswith("__"):
            raise AttributeError(name)
        return getattr(self._link.ask("hold", self.__name__), name)


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


def _restore(old: object, new: object) -> None:
    """Give the tests' own lists, dicts and sets the content that the program left in its copies."""
    if type(old) is not type(new):
        return
    if isinstance(old, tuple):
        for one, other in zip(old, new, strict=False):  # type: ignore[call-overload]
            _restore(one, other)
    elif isinstance(old, list):
        both = zip(chain(old, repeat(None)), new, strict=False)  # type: ignore[call-overload]
        old[:] = [_kept(*two) for two in both]
    elif isinstance(old, dict):
        changed = {key: _kept(old.get(key), value) for key, value in new.items()}  # type: ignore[attr-defined]
        old.clear()
        old.update(changed)
    elif isinstance(old, set):
        old.clear()
        old.update(new)  # type: ignore[call-overload]


def _kept(old: object, new: object) -> object:
    """The tests' own container, with the new content, where there was one of this type."""
    if type(old) is type(new) and isinstance(old, list | dict | set):
        _restore(old, new)
        return old
    return new


def proxies(code: types.CodeType, entry_point: str | None, link: Link) -> dict[str, Any]:
    """What stands for the names that the tests use and the program has."""
    used = {name for name in _used(code) if not hasattr(builtins, name)}
    wanted = sorted(used | ({entry_point} if entry_point else set()))[:_MOST_NAMES]
    kinds = link.ask("names", wanted)
    if not isinstance(kinds, dict):
        link.give_up(Unreadable("it does not say which names it has"))
    if entry_point and entry_point not in kinds:
        link.missing(entry_point)
    return {
        name: _stand_in(name, kinds[name], link)
        for name in wanted
        if isinstance(kinds.get(name), str)
    }


def _stand_in(name: str, kind: str, link: Link) -> Any:
    """What stands for something of the program here."""
    if kind in ("class", "function"):
        return Named(name, link)
    if kind == "value":
        return link.ask("value", name)
    return link.exception(name, kind)


def _used(code: types.CodeType) -> Iterator[str]:
    """Names that a code object and those within it refer to."""
    yield from code.co_names
    for constant in code.co_consts:
        if isinstance(constant, types.CodeType):
            yield from _used(constant)
