"""The program's side of a sealed verdict: runs the code, then answers calls with values.

Everything here happens in the process of the program under test, which may replace any of it. That
is why nothing here is believed: the tests' side reads values and nothing else, and a program that
does not answer as it should has failed.
"""

import contextlib
import sys
from collections.abc import Callable
from itertools import islice
from types import ModuleType

from midfill.sandbox.channel import Channel, ClosedError
from midfill.sandbox.codec import CodecError, Token, decode, encode, pack, unpack

MODULE = "solution"
MOST_ITEMS = 1_000_000  # of an iterator whose items are asked for
_UNCHANGING = (type(None), bool, int, float, complex, str, bytes, range)


def run(code: str, calls: Channel) -> None:
    """Execute `code` as a module, then answer until nobody asks."""
    module = ModuleType(MODULE)
    sys.modules[MODULE] = module
    failure = None
    try:
        exec(compile(code, f"{MODULE}.py", "exec"), module.__dict__)
    except (
        BaseException
    ) as error:  # SystemExit too: a program that ends is one that cannot be called
        failure = _raised(error)
    _flush()
    objects = _Objects()
    with contextlib.suppress(ClosedError):
        while True:
            request = decode(calls.receive_bytes(), objects.find)
            calls.send_bytes(_answer(request, module, objects, failure))
            _flush()


class _Objects:
    """What was answered with a token, by its number: alive until the run ends."""

    def __init__(self) -> None:
        self.held: list[object] = []

    def find(self, number: int) -> object:
        return self.held[number]

    def hold(self, value: object) -> object:
        """A token, or the plain value of a number that numpy made."""
        if type(value).__module__ == "numpy" and not getattr(value, "shape", True):
            plain = value.item()  # type: ignore[attr-defined]
            if isinstance(plain, bool | int | float | complex | str | bytes):
                return plain
        for number, known in enumerate(self.held):
            if known is value:
                return Token(number)
        self.held.append(value)
        return Token(len(self.held) - 1)


def _answer(request: object, module: ModuleType, objects: _Objects, failure: tuple | None) -> bytes:
    number, verb, *arguments = request  # type: ignore[misc]
    if failure is not None:
        return encode((number, *failure))
    try:
        answer = _VERBS[verb](module, objects, *arguments)
    except BaseException as error:
        return encode((number, *_raised(error)))
    try:
        return encode((number, "value", *answer), objects.hold)
    except CodecError as error:
        return encode((number, "unreadable", str(error)))
    except BaseException as error:  # a subclass that lies about its own items
        return encode((number, *_raised(error)))


def _names(module: ModuleType, objects: _Objects, names: list[str]) -> tuple:
    """Which of `names` the module has, and what they are."""
    kinds = {}
    for name in names:
        if name in module.__dict__:
            value = module.__dict__[name]
            kinds[name] = (
                "class" if isinstance(value, type) else "function" if callable(value) else "value"
            )
    return (kinds, None)


def _call_name(module: ModuleType, objects: _Objects, name: str, packed: bytes) -> tuple:
    return _call(module.__dict__[name], objects, packed)


def _call_method(module: ModuleType, objects: _Objects, owner: object, name: str, packed: bytes) -> tuple:  # fmt: skip
    return _call(getattr(owner, name), objects, packed)


def _call(function: Callable, objects: _Objects, packed: bytes) -> tuple:
    """What it returned, and its arguments afterwards where it changed them."""
    args, kwargs = unpack(packed, objects.find)  # type: ignore[misc]
    result = function(*args, **kwargs)
    if all(type(value) in _UNCHANGING for value in (*args, *kwargs.values())):
        return (result, None)
    if pack((args, kwargs), objects.hold) == packed:
        return (result, None)
    return (result, encode((args, kwargs), objects.hold))


def _value(module: ModuleType, objects: _Objects, name: str) -> tuple:
    return (module.__dict__[name], None)


def _attribute(module: ModuleType, objects: _Objects, owner: object, name: str) -> tuple:
    value = getattr(owner, name)
    return (None, "method") if callable(value) else (value, None)


def _set_attribute(module: ModuleType, objects: _Objects, owner: object, name: str, value: object) -> tuple:  # fmt: skip
    setattr(owner, name, value)
    return (None, None)


def _items(module: ModuleType, objects: _Objects, owner: object) -> tuple:
    """All items of an iterable, as they are now."""
    items = list(islice(iter(owner), MOST_ITEMS + 1))  # type: ignore[call-overload]
    if len(items) > MOST_ITEMS:
        raise CodecError("an iterator does not end")
    return (items, None)


_VERBS: dict[str, Callable[..., tuple]] = {
    "names": _names,
    "call": _call_name,
    "method": _call_method,
    "value": _value,
    "attribute": _attribute,
    "set": _set_attribute,
    "items": _items,
}


def _raised(error: BaseException) -> tuple[str, str, str]:
    """An exception as text: the nearest builtin type, and what it says."""
    builtin = next(kind for kind in type(error).__mro__ if kind.__module__ == "builtins")
    try:
        said = str(error)[:2000]
    except BaseException:
        said = ""
    said = said.encode("utf-8", "replace").decode()
    own = type(error).__name__
    return ("raised", builtin.__name__, f"{own}: {said}" if said else own)


def _flush() -> None:
    for stream in (sys.stdout, sys.stderr):
        with contextlib.suppress(Exception):
            stream.flush()
