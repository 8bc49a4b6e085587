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

from midfill.sandbox.calls import answer, pack, unpack
from midfill.sandbox.channel import Channel, ClosedError
from midfill.sandbox.codec import CodecError, Token, encode

MODULE = "solution"
MOST_ITEMS = 1_000_000  # of an iterator whose items are asked for
_UNCHANGING = (type(None), bool, int, float, complex, str, bytes, range)


def run(code: str, calls: Channel) -> None:
    """Execute `code` as a module, then answer until nobody asks."""
    module = ModuleType(MODULE)
    sys.modules[MODULE] = module
    sys.argv[:] = [f"{MODULE}.py"]
    sys.setrecursionlimit(1000 + _depth())  # as deep as if nothing of ours were below
    failure = None
    try:
        exec(compile(code, f"{MODULE}.py", "exec"), module.__dict__)
    except BaseException as error:  # SystemExit too: a program that ended cannot be called
        failure = _raised(error)
    _flush()
    objects = _Objects()
    with contextlib.suppress(ClosedError):
        while True:
            number, verb, *arguments = unpack(calls.receive_bytes(), objects.find)
            if failure is None:
                kind, value = _done(verb, module, objects, arguments)
            else:
                kind, value = "raised", failure
            calls.send_bytes(_answer(number, kind, value, objects))
            _flush()


def _depth() -> int:
    """Frames that lie below a program when its functions are called."""
    frame, depth = sys._getframe(1), 3
    while frame.f_back is not None:
        frame, depth = frame.f_back, depth + 1
    return depth


class _Objects:
    """What was answered with a token, by its number: alive until the run ends."""

    def __init__(self) -> None:
        self.held: list[object] = []
        self.number_of: dict[int, int] = {}  # by its address, which stays its own while it is held
        self.late: dict[int, BaseException] = {}  # what an iterator raised after the items it gave

    def find(self, number: int) -> object:
        return self.held[number]

    def hold(self, value: object) -> object:
        """A token, or the plain value of a number that numpy made."""
        if type(value).__module__ == "numpy" and not getattr(value, "shape", True):
            plain = value.item()  # type: ignore[attr-defined]
            if isinstance(plain, bool | int | float | complex | str | bytes):
                return plain
        if id(value) not in self.number_of:
            self.number_of[id(value)] = len(self.held)
            self.held.append(value)
        return Token(self.number_of[id(value)])


def _done(verb: str, module: ModuleType, objects: _Objects, arguments: list) -> tuple[str, object]:
    try:
        return _VERBS[verb](module, objects, *arguments)
    except BaseException as error:
        return "raised", _raised(error)


def _answer(number: int, kind: str, value: object, objects: _Objects) -> bytes:
    try:
        return answer(number, kind, value, objects.hold)
    except CodecError as error:
        return answer(number, "unreadable", str(error), objects.hold)
    except BaseException as error:  # a subclass that lies about its own items
        return answer(number, "raised", _raised(error), objects.hold)


def _names(module: ModuleType, objects: _Objects, names: list[str]) -> tuple[str, object]:
    """Which of `names` the module has, and what they are: of an exception, the builtin it is."""
    there = {name: module.__dict__[name] for name in names if name in module.__dict__}
    return "value", {name: _kind(value) for name, value in there.items()}


def _kind(value: object) -> str:
    if isinstance(value, type):
        return _names_of(value)[-1] if issubclass(value, Exception) else "class"
    return "function" if callable(value) else "value"


def _call_name(module: ModuleType, objects: _Objects, name: str, packed: bytes) -> tuple[str, object]:  # fmt: skip
    return _call(module.__dict__[name], objects, packed)


def _call_method(module: ModuleType, objects: _Objects, owner: object, name: str, packed: bytes) -> tuple[str, object]:  # fmt: skip
    return _call(getattr(owner, name), objects, packed)


def _call(function: Callable, objects: _Objects, packed: bytes) -> tuple[str, object]:
    """What it returned or raised, and its arguments afterwards where it changed them."""
    args, kwargs = unpack(packed, objects.find)
    try:
        kind, result = "value", function(*args, **kwargs)
    except BaseException as error:
        kind, result = "raised", error
    after = None
    known = all(type(value) in _UNCHANGING for value in (*args, *kwargs.values()))
    if not known and pack((args, kwargs), objects.hold) != packed:
        after = encode((args, kwargs), objects.hold)
    if isinstance(result, BaseException) and kind == "raised":
        return kind, _raised(result, after)
    return (kind, result) if after is None else ("changed", (result, after))


def _value(module: ModuleType, objects: _Objects, name: str) -> tuple[str, object]:
    return "value", module.__dict__[name]


def _attribute(module: ModuleType, objects: _Objects, owner: object, name: str) -> tuple[str, object]:  # fmt: skip
    value = getattr(owner, name)
    return ("method", None) if callable(value) else ("value", value)


def _set_attribute(module: ModuleType, objects: _Objects, owner: object, name: str, value: object) -> tuple[str, object]:  # fmt: skip
    setattr(owner, name, value)
    return "value", None


def _items(module: ModuleType, objects: _Objects, owner: object) -> tuple[str, object]:
    """All items of an iterable, as they are now; None of one that is its own iterator."""
    iterator = iter(owner)  # type: ignore[call-overload]
    if iterator is owner:
        return "value", None
    items = list(islice(iterator, MOST_ITEMS + 1))
    if len(items) > MOST_ITEMS:
        raise CodecError("an iterator does not end")
    return "value", items


def _take(module: ModuleType, objects: _Objects, owner: object, most: int) -> tuple[str, object]:
    """The next items of an iterator, at most so many; what it raises after some comes with the next."""
    if (late := objects.late.pop(id(owner), None)) is not None:
        raise late
    items: list[object] = []
    try:
        while len(items) < most:
            items.append(next(owner))  # type: ignore[call-overload]
    except StopIteration:
        pass
    except BaseException as error:
        if not items:
            raise
        objects.late[id(owner)] = error
    return "value", items


def _truth(module: ModuleType, objects: _Objects, owner: object) -> tuple[str, object]:
    return "value", bool(owner)


def _hold(module: ModuleType, objects: _Objects, name: str) -> tuple[str, object]:
    return "value", objects.hold(module.__dict__[name])


_VERBS: dict[str, Callable[..., tuple[str, object]]] = {
    "names": _names,
    "call": _call_name,
    "method": _call_method,
    "value": _value,
    "attribute": _attribute,
    "set": _set_attribute,
    "items": _items,
    "take": _take,
    "truth": _truth,
    "hold": _hold,
}


def _raised(error: BaseException, after: bytes | None = None) -> tuple:
    """An exception as values: its classes up to the nearest builtin one, what it says, its arguments."""
    try:
        said = str(error)[:2000]
    except BaseException:
        said = ""
    said = said.encode("utf-8", "replace").decode()
    own = type(error).__name__
    args: tuple = error.args if isinstance(error.args, tuple) else ()
    if not all(type(arg) in _UNCHANGING for arg in args) or len(repr(args)) > 4000:
        args = (said,)
    return _names_of(type(error)), f"{own}: {said}" if said else own, after, args


def _names_of(kind: type) -> list[str]:
    """Of an exception and what it derives from, until there is a builtin one."""
    names = []
    for base in kind.__mro__:
        names.append(base.__name__)
        if base.__module__ == "builtins":
            break
    return names


def _flush() -> None:
    for stream in (sys.stdout, sys.stderr):
        try:
            stream.flush()
        except Exception:
            continue  # the program has put something else there
