"""Values across the wall: the exact builtin types in binary, nothing else.

What a program under test returns is data of somebody who may want to harm whoever reads it. So it is
not pickled (which runs code) and not parsed as a literal (a hostile 4 MiB literal costs gigabytes):
every value is a tag, a length and bytes, decoding is linear in their number, and the limits are checked
before anything is allocated. A subclass of a builtin type crosses as its base. Whatever else there is
crosses as a token, which is true and equal to nothing but itself.

    N T F                  None, True, False
    i length bytes         int, big-endian two's complement
    f c                    8 and 16 bytes: float, complex; NaN and -0.0 as they are
    s b length bytes       str in UTF-8 (lone surrogates kept), bytes
    l t S Z count values   list, tuple, set, frozenset
    d count key value ...  dict, in its order
    o number               a token
"""

import struct
from collections.abc import Callable
from dataclasses import dataclass

FRAME = 64 << 20  # bytes of one message
DEPTH = 50  # lists in lists
ELEMENTS = 2_000_000  # values in one message

_LENGTH, _FLOAT, _COMPLEX = struct.Struct(">I"), struct.Struct(">d"), struct.Struct(">dd")
_SINGLE = {b"N": None, b"T": True, b"F": False}
_SEQUENCES = {b"l": list, b"t": tuple, b"S": set, b"Z": frozenset}
_TAGS = {list: b"l", tuple: b"t", set: b"S", frozenset: b"Z"}


class CodecError(ValueError):
    """Bytes that are no message, or a value that is too large or too deep for one."""


@dataclass(frozen=True, slots=True, eq=False)
class Token:
    """What stands for an object that stayed behind the wall: true, and equal to itself only."""

    number: int


def encode(value: object, hold: Callable[[object], int] | None = None) -> bytes:
    """A value as bytes. `hold` keeps an object of another type and numbers it; without it: CodecError."""
    out = bytearray()
    left = ELEMENTS

    def put(value: object, depth: int) -> None:
        nonlocal left
        left -= 1
        if left < 0 or depth > DEPTH or len(out) > FRAME:
            raise CodecError("the value is too large or too deep")
        kind = _base(value)
        if value is None or kind is bool:
            out.extend(b"N" if value is None else b"T" if value else b"F")
        elif kind is int:
            number = int.__index__(value)  # type: ignore[arg-type]
            sized(b"i", number.to_bytes(number.bit_length() // 8 + 1, "big", signed=True))
        elif kind is float:
            out.extend(b"f" + _FLOAT.pack(float.__float__(value)))  # type: ignore[arg-type]
        elif kind is complex:
            both = complex.__complex__(value)  # type: ignore[arg-type]
            out.extend(b"c" + _COMPLEX.pack(both.real, both.imag))
        elif kind is str:
            sized(b"s", str.encode(value, "utf-8", "surrogatepass"))  # type: ignore[arg-type]
        elif kind is bytes:
            sized(b"b", bytes.__getitem__(value, slice(None)))  # type: ignore[arg-type]
        elif kind is dict:
            items = list(dict.items(value))  # type: ignore[arg-type]
            out.extend(b"d" + _LENGTH.pack(len(items)))
            for key, item in items:
                put(key, depth + 1)
                put(item, depth + 1)
        elif kind in _TAGS:
            items = list(kind.__iter__(value))  # type: ignore[attr-defined]
            out.extend(_TAGS[kind] + _LENGTH.pack(len(items)))
            for item in items:
                put(item, depth + 1)
        elif hold is not None:
            out.extend(b"o" + _LENGTH.pack(hold(value)))
        else:
            raise CodecError(f"a {type(value).__name__} cannot cross")

    def sized(tag: bytes, data: bytes) -> None:
        if len(data) > FRAME:
            raise CodecError("the value is too large")
        out.extend(tag + _LENGTH.pack(len(data)))
        out.extend(data)

    put(value, 0)
    if len(out) > FRAME:
        raise CodecError("the value is too large")
    return bytes(out)


def _base(value: object) -> type:
    """The builtin type that `value` is of, or is of a subclass of; else `object`."""
    for kind in type.__mro__.__get__(type(value)):  # not what the class says about itself
        if kind in (bool, int, float, complex, str, bytes, list, tuple, set, frozenset, dict):
            return kind
    return object


def decode(data: bytes) -> object:
    """The value of a message. Raises CodecError for anything that `encode` would not have written."""
    if len(data) > FRAME:
        raise CodecError("the message is too large")
    at, left = 0, ELEMENTS

    def take(count: int) -> bytes:
        nonlocal at
        if count > len(data) - at:
            raise CodecError("the message ends early")
        at += count
        return data[at - count : at]

    def count() -> int:
        return _LENGTH.unpack(take(4))[0]

    def get(depth: int) -> object:
        nonlocal left
        left -= 1
        if left < 0 or depth > DEPTH:
            raise CodecError("the value is too large or too deep")
        tag = take(1)
        if tag in _SINGLE:
            return _SINGLE[tag]
        if tag == b"i":
            return int.from_bytes(take(count()), "big", signed=True)
        if tag == b"f":
            return _FLOAT.unpack(take(8))[0]
        if tag == b"c":
            return complex(*_COMPLEX.unpack(take(16)))
        if tag == b"s":
            try:
                return take(count()).decode("utf-8", "surrogatepass")
            except UnicodeDecodeError as error:
                raise CodecError("a text is not UTF-8") from error
        if tag == b"b":
            return take(count())
        if tag == b"o":
            return Token(count())
        if tag not in _SEQUENCES and tag != b"d":
            raise CodecError("there is no such tag")
        size = count()
        if size * (2 if tag == b"d" else 1) > len(data) - at:  # every value takes a byte at least
            raise CodecError("the message ends early")
        try:
            if tag == b"d":
                found: dict[object, object] = {}
                for _ in range(size):
                    key = get(depth + 1)
                    found[key] = get(depth + 1)
                return found
            return _SEQUENCES[tag](get(depth + 1) for _ in range(size))
        except TypeError as error:
            raise CodecError("a key or an element of a set cannot be hashed") from error

    value = get(0)
    if at != len(data):
        raise CodecError("there are bytes behind the value")
    return value
