"""What the tests' side asks the program's side, and what that answers, as bytes.

A question goes to somebody who may do with it what he likes, so it is packed for speed. An answer comes
from him: a number and a kind of fixed size, then a value of the codec.
"""

import marshal
import struct
from collections.abc import Callable
from typing import Any

from midfill.sandbox.codec import DEPTH, FRAME, CodecError, Token, decode, encode

_SCALARS = {type(None), bool, int, float, complex, str, bytes}
_CONTAINERS = {list, tuple, set, frozenset, dict}
_HEAD = struct.Struct("<IB")
# changed: the value, and the arguments afterwards as a message of their own; method: an attribute that
# can be called; raised: the nearest builtin exception, and its words.
KINDS = ("value", "changed", "method", "raised", "unreadable")


def question(
    number: int, verb: str, arguments: tuple, other: Callable[[object], object] | None = None
) -> bytes:
    """Ask for `verb`; `other` as for `encode`."""
    return pack((number, verb, *arguments), other)


def answer(
    number: int, kind: str, value: object, other: Callable[[object], object] | None = None
) -> bytes:
    """Answer question `number`. Raises CodecError for a value that cannot cross."""
    return _HEAD.pack(number, KINDS.index(kind)) + encode(value, other)


def read_answer(
    data: bytes | bytearray, number: int, find: Callable[[int], object]
) -> tuple[str, Any]:
    """Kind and value of the answer to question `number`. Raises CodecError for anything else."""
    if len(data) < _HEAD.size:
        raise CodecError("the answer is too short")
    told, kind = _HEAD.unpack_from(data)
    if told != number or kind >= len(KINDS):
        raise CodecError("it is no answer to what was asked")
    return KINDS[kind], decode(memoryview(data)[_HEAD.size :], find)


def pack(value: object, other: Callable[[object], object] | None = None) -> bytes:
    """A value as bytes for somebody who trusts us: by marshal where it can, else as `encode` does it.

    Marshal is twenty times as fast, and nothing to read a stranger's bytes with.
    """
    if not _is_plain(value, 0):
        return b"e" + encode(value, other)
    data = marshal.dumps(value, 2)  # type: ignore[arg-type]  # without references: equal is equal
    if len(data) >= FRAME:
        raise CodecError("the value is too large")
    return b"m" + data


def _is_plain(value: object, depth: int) -> bool:
    """Whether marshal gives a value back as it is; it takes whatever has a buffer for bytes."""
    kind = type(value)
    if kind in _SCALARS:
        return True
    if depth > DEPTH or kind not in _CONTAINERS:
        return False
    items = list(value)  # type: ignore[call-overload]
    if kind is dict:
        items += value.values()  # type: ignore[attr-defined]
    return _SCALARS.issuperset(map(type, items)) or all(_is_plain(i, depth + 1) for i in items)


def unpack(data: bytes | bytearray, find: Callable[[int], object] = Token) -> Any:
    """The value that `pack` of somebody trusted made."""
    view = memoryview(data)
    return marshal.loads(view[1:]) if view[:1] == b"m" else decode(view[1:], find)
