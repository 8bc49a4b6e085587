"""Values across the wall between a program and its tests: exact builtin types in binary, nothing else.

What a program under test returns comes from somebody who may want to harm whoever reads it. So it is
not pickled (which runs code) and not parsed as a literal (4 MiB of hostile literal cost gigabytes and
seconds). A message is five columns: one tag per value in the order of a walk through it, then lengths,
small integers, floats, and the bytes of texts. Before anything is built, counting tags tells what the
message would cost; a walk then takes from the columns. A subclass of a builtin type crosses as its
base. Whatever else there is crosses as a token, which is true and equal to nothing but itself.

    N T F        None, True, False             l t S Z    list, tuple, set, frozenset: a length
    i f c r      from the integers (r: range,  d          dict: a length; keys and values in turn
                 3) or the floats (c: 2)       s b I      str in UTF-8, bytes, integer of any size: a length
                                               o          a token: its number among the lengths
"""

import struct
from array import array
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from itertools import chain

FRAME = 64 << 20  # bytes of one message
DEPTH = 50  # lists in lists
EFFORT = 2_000_000  # of building a message, by the weights below
MEMORY = 96 << 20  # bytes that its values may take
SAME_HASH = 16  # keys of one message whose hashes are equal: more would make a dict quadratic
SMALL = 1 << 16  # bytes of a message that cannot cost much, whatever is in it
LONG_RUN = 16  # from this many elements on, columns are looked at as a whole

_HEADER = struct.Struct("<5I")
_CHEAP, _TEXTS, _CONTAINERS = b"NTFifr", b"csbIo", b"ltSZd"
_EFFORTS = {**dict.fromkeys(_CHEAP, 1), **dict.fromkeys(_TEXTS, 4), **dict.fromkeys(_CONTAINERS, 8)}
# Bytes of an empty one with its place in a list; what grows with its length is added on the way.
_BYTES = dict(
    zip(
        b"NTFifcrsbIoltSZd",
        (8, 8, 8, 40, 32, 40, 160, 72, 48, 40, 120, 96, 64, 240, 240, 96),
        strict=True,
    )
)
_PER_KEY = 110  # bytes of a set's or dict's table, at its emptiest
_SAME = {ord("N"): None, ord("T"): True, ord("F"): False}
_SEQUENCES = {ord("l"): list, ord("t"): tuple, ord("S"): set, ord("Z"): frozenset}
_DICT, _LIST, _SETS = ord("d"), ord("l"), frozenset(b"SZ")
_TAGS = {list: b"l", tuple: b"t", set: b"S", frozenset: b"Z"}
_BASES = (bool, int, float, complex, str, bytes, list, tuple, set, frozenset, dict, range)


class CodecError(ValueError):
    """Bytes that are no message, or a value that is too large or too deep for one."""


@dataclass(frozen=True, slots=True, eq=False)
class Token:
    """What stands for an object that stayed behind the wall: true, and equal to itself only."""

    number: int


def encode(value: object, other: Callable[[object], object] | None = None) -> bytes:
    """A value as bytes.

    `other` is asked for what stands in for an object of any other type: a Token, or a value of the
    types above. Raises CodecError where there is no such stand-in, or for too large a value.
    """
    writer = _Writer(other)
    writer.put(value, 0)
    columns = (
        writer.tags,
        writer.lengths.tobytes(),
        writer.integers.tobytes(),
        writer.floats.tobytes(),
        writer.texts,
    )
    if _HEADER.size + sum(map(len, columns)) > FRAME:
        raise CodecError("the value is too large")
    return _HEADER.pack(*map(len, columns)) + b"".join(columns)


class _Writer:
    """The five columns while they grow."""

    def __init__(self, other: Callable[[object], object] | None) -> None:
        self.tags, self.texts = bytearray(), bytearray()
        self.lengths, self.integers, self.floats = array("I"), array("q"), array("d")
        self.other = other

    def put(self, value: object, depth: int) -> None:
        if depth > DEPTH or len(self.tags) > EFFORT or len(self.texts) > FRAME:
            raise CodecError("the value is too large or too deep")
        put = _PUT.get(type(value)) or _PUT.get(_base(value))
        if put is None:
            self.put_other(value, depth)
        else:
            put(self, value, depth)

    def put_other(self, value: object, depth: int) -> None:
        stand_in = value if isinstance(value, Token) or self.other is None else self.other(value)
        if isinstance(stand_in, Token):
            self.tags += b"o"
            self.lengths.append(stand_in.number)
        elif type(stand_in) in _PUT:
            self.put(stand_in, depth)
        else:
            raise CodecError(f"a {type(value).__name__} cannot cross")

    def put_single(self, value: object, depth: int) -> None:
        self.tags += b"N" if value is None else b"T" if value else b"F"

    def put_int(self, value: int, depth: int) -> None:
        number = int.__index__(value)
        if -(1 << 63) <= number < 1 << 63:
            self.tags += b"i"
            self.integers.append(number)
        else:
            self.sized(b"I", number.to_bytes(number.bit_length() // 8 + 1, "little", signed=True))

    def put_float(self, value: float, depth: int) -> None:
        self.tags += b"f"
        self.floats.append(float.__float__(value))

    def put_complex(self, value: complex, depth: int) -> None:
        exact = complex.__complex__(value)
        self.tags += b"c"
        self.floats.extend((exact.real, exact.imag))

    def put_range(self, value: range, depth: int) -> None:
        try:
            self.integers.extend(array("q", (value.start, value.stop, value.step)))
        except OverflowError:
            raise CodecError("a range is too large to cross") from None
        self.tags += b"r"

    def put_str(self, value: str, depth: int) -> None:
        self.sized(b"s", str.encode(value, "utf-8", "surrogatepass"))

    def put_bytes(self, value: bytes, depth: int) -> None:
        self.sized(b"b", bytes.__getitem__(value, slice(None)))

    def sized(self, tag: bytes, data: bytes) -> None:
        if len(data) > FRAME:
            raise CodecError("the value is too large")
        self.tags += tag
        self.lengths.append(len(data))
        self.texts += data

    def put_sequence(self, value: Iterable[object], depth: int) -> None:
        kind = type(value) if type(value) in _TAGS else _base(value)
        if kind.__len__(value) > EFFORT:  # type: ignore[attr-defined]
            raise CodecError("the value is too large")
        items = list(kind.__iter__(value))  # type: ignore[attr-defined]
        self.tags += _TAGS[kind]
        self.lengths.append(len(items))
        self.put_all(items, depth + 1)

    def put_dict(self, value: dict, depth: int) -> None:
        items = list(dict.items(value))
        self.tags += b"d"
        self.lengths.append(len(items))
        self.put_all(chain.from_iterable(items), depth + 1)

    def put_all(self, items: Iterable[object], depth: int) -> None:
        if isinstance(items, list) and len(items) >= LONG_RUN and self.put_run(items):
            return
        for item in items:
            self.put(item, depth)

    def put_run(self, items: list) -> bool:
        """Append many values of one small type at once; False: they are not."""
        kinds = set(map(type, items))
        if len(items) > EFFORT or kinds not in ({int}, {float}):
            return False
        try:
            if kinds == {int}:
                self.integers.extend(array("q", items))
            else:
                self.floats.extend(array("d", items))
        except OverflowError:
            return False
        self.tags += (b"i" if kinds == {int} else b"f") * len(items)
        return True


_PUT: dict[type, Callable] = {
    type(None): _Writer.put_single,
    bool: _Writer.put_single,
    int: _Writer.put_int,
    float: _Writer.put_float,
    complex: _Writer.put_complex,
    range: _Writer.put_range,
    str: _Writer.put_str,
    bytes: _Writer.put_bytes,
    dict: _Writer.put_dict,
    **dict.fromkeys(_TAGS, _Writer.put_sequence),
}


def _base(value: object) -> type:
    """The builtin type that `value` is an instance of a subclass of."""
    for kind in type.__dict__["__mro__"].__get__(type(value)):  # not what the class says of itself
        if kind in _BASES:
            return kind
    return object


def decode(data: bytes | bytearray | memoryview, find: Callable[[int], object] = Token) -> object:
    """The value of a message; `find` makes what a token stands for.

    Raises CodecError for anything that `encode` would not have written, before it costs more than
    MEMORY and about a second.
    """
    reader = _Reader(data, find)
    value = reader.get(0)
    reader.finish()
    return value


class _Reader:
    """The five columns, and how far each has been read."""

    def __init__(self, data: bytes | bytearray | memoryview, find: Callable[[int], object]) -> None:
        view = memoryview(data)
        if not _HEADER.size <= len(data) <= FRAME:
            raise CodecError("the message is too short or too long")
        sizes = _HEADER.unpack_from(data)
        if _HEADER.size + sum(sizes) != len(data) or sizes[1] % 4 or sizes[2] % 8 or sizes[3] % 8:
            raise CodecError("the columns do not add up to the message")
        ends, at = [], _HEADER.size
        for size in sizes:
            ends.append(view[at : at + size])
            at += size
        self.tags = bytes(ends[0])
        self.lengths, self.integers = ends[1].cast("I"), ends[2].cast("q")
        self.floats, self.texts = ends[3].cast("d"), ends[4]
        self.at = self.at_length = self.at_integer = self.at_float = self.at_text = 0
        self.find = find
        self.same_hash = SAME_HASH
        self.memory = MEMORY
        if len(data) > SMALL:
            self.check_costs()

    def check_costs(self) -> None:
        """Refuse the message for what counting its tags tells, before anything is built."""
        counts = {tag: self.tags.count(tag) for tag in _BYTES}
        if sum(_EFFORTS[tag] * count for tag, count in counts.items()) > EFFORT:
            raise CodecError("the message has too many values")
        self.spend(sum(_BYTES[tag] * count for tag, count in counts.items()) + len(self.texts))

    def spend(self, memory: int) -> None:
        self.memory -= memory
        if self.memory < 0:
            raise CodecError("the message would take too much memory")

    def finish(self) -> None:
        ends = (self.at, self.at_length, self.at_integer, self.at_float, self.at_text)
        columns = (self.tags, self.lengths, self.integers, self.floats, self.texts)
        if ends != tuple(map(len, columns)):
            raise CodecError("there is more in the message than its value")

    def get(self, depth: int) -> object:
        if self.at >= len(self.tags) or depth > DEPTH:
            raise CodecError("the message ends early or is too deep")
        tag = self.tags[self.at]
        self.at += 1
        if tag in _SAME:
            return _SAME[tag]
        take = _TAKE.get(tag)
        if take is not None:
            return take(self)
        if tag not in _SEQUENCES and tag != _DICT:
            raise CodecError("there is no such tag")
        size = self.length()
        try:
            if tag == _DICT:
                return self.get_dict(self.get_all(2 * size, depth + 1))
            items = self.get_all(size, depth + 1)
            if tag in _SETS:
                self.check_keys(items)
            return items if tag == _LIST else _SEQUENCES[tag](items)
        except TypeError:
            raise CodecError("a key or an element of a set cannot be hashed") from None

    def get_all(self, size: int, depth: int) -> list:
        if size > len(self.tags) - self.at:
            raise CodecError("the message ends early")
        if size >= LONG_RUN:
            run = self.tags[self.at : self.at + size]
            if run.count(b"i") == size:
                self.at += size
                return self.integer_run(size).tolist()
            if run.count(b"f") == size:
                self.at += size
                return self.float_run(size).tolist()
        return [self.get(depth) for _ in range(size)]

    def get_dict(self, items: list) -> dict:
        keys = items[::2]
        self.check_keys(keys)
        found = dict(zip(keys, items[1::2], strict=True))
        if len(found) != len(keys):
            raise CodecError("a dict has a key twice")
        return found

    def check_keys(self, keys: list) -> None:
        self.spend(_PER_KEY * len(keys))
        self.same_hash -= len(keys) - len(set(map(hash, keys)))
        if self.same_hash < 0:
            raise CodecError("too many keys have the same hash")

    def integer_run(self, size: int) -> memoryview:
        self.at_integer += size
        if self.at_integer > len(self.integers):
            raise CodecError("the message ends early")
        return self.integers[self.at_integer - size : self.at_integer]

    def float_run(self, size: int) -> memoryview:
        self.at_float += size
        if self.at_float > len(self.floats):
            raise CodecError("the message ends early")
        return self.floats[self.at_float - size : self.at_float]

    def length(self) -> int:
        if self.at_length >= len(self.lengths):
            raise CodecError("the message ends early")
        self.at_length += 1
        return self.lengths[self.at_length - 1]

    def text(self) -> memoryview:
        size = self.length()
        self.at_text += size
        if self.at_text > len(self.texts):
            raise CodecError("the message ends early")
        return self.texts[self.at_text - size : self.at_text]

    def get_int(self) -> int:
        return self.integer_run(1)[0]

    def get_float(self) -> float:
        return self.float_run(1)[0]

    def get_complex(self) -> complex:
        return complex(*self.float_run(2))

    def get_range(self) -> range:
        start, stop, step = self.integer_run(3)
        if step == 0:
            raise CodecError("a range has no step")
        return range(start, stop, step)

    def get_str(self) -> str:
        data = bytes(self.text())
        if not data.isascii():
            self.spend(3 * len(data))  # one wide character makes all of a text wide
        try:
            return data.decode()
        except UnicodeDecodeError:
            if data.count(b"\xed") > 100_000:  # lone surrogates are slow
                raise CodecError("a text is not UTF-8") from None
        try:
            return data.decode("utf-8", "surrogatepass")
        except UnicodeDecodeError:
            raise CodecError("a text is not UTF-8") from None

    def get_bytes(self) -> bytes:
        return bytes(self.text())

    def get_long(self) -> int:
        return int.from_bytes(self.text(), "little", signed=True)

    def get_token(self) -> object:
        return self.find(self.length())


_TAKE: dict[int, Callable[[_Reader], object]] = {
    ord("i"): _Reader.get_int,
    ord("f"): _Reader.get_float,
    ord("c"): _Reader.get_complex,
    ord("r"): _Reader.get_range,
    ord("s"): _Reader.get_str,
    ord("b"): _Reader.get_bytes,
    ord("I"): _Reader.get_long,
    ord("o"): _Reader.get_token,
}
