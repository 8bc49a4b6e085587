"""Values cross the wall between a program and its tests as they are, and nothing else crosses."""

import math
import random
from array import array

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from midfill.sandbox.calls import pack, unpack
from midfill.sandbox.codec import CodecError, Token, decode, encode

scalars = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.complex_numbers()
    | st.binary()
    | st.text(st.characters())  # lone surrogates too
    | st.builds(range, st.integers(-99, 99), st.integers(-99, 99), st.integers(1, 9))
)
keys = st.none() | st.booleans() | st.integers() | st.text() | st.tuples(st.integers(), st.text())
values = st.recursive(
    scalars,
    lambda inner: (
        st.lists(inner, max_size=30)
        | st.lists(inner).map(tuple)
        | st.sets(keys)
        | st.frozensets(keys)
        | st.dictionaries(keys, inner)
    ),
    max_leaves=40,
)


def same(one: object, other: object) -> bool:
    """Equal in value and in every type, NaN to NaN and -0.0 to -0.0."""
    if type(one) is not type(other):
        return False
    if isinstance(one, float):
        return math.copysign(1, one) == math.copysign(1, other) and (one == other or one != one)
    if isinstance(one, complex):
        return same(one.real, other.real) and same(one.imag, other.imag)
    if isinstance(one, list | tuple):
        return len(one) == len(other) and all(map(same, one, other))
    if isinstance(one, dict):
        return same(list(one.items()), list(other.items()))
    return one == other


@settings(max_examples=300)
@given(values)
@example([2**63 - 1] * 20)
@example([-(2**63)] * 20 + [2**63])
@example([1.5] * 20 + [1])
@example("\ud800 and é")
@example([-0.0, math.nan, math.inf])
def test_values_come_back_as_they_were(value: object):
    assert same(decode(encode(value)), value)


@given(st.binary(max_size=200), st.integers(0, 2**32))
def test_bytes_that_are_no_message_are_refused(noise: bytes, seed: int):
    """Random bytes, and messages with bytes changed, give a value or CodecError, never another."""
    broken = bytearray(encode([1, "two", {3: [4.5, None]}, (b"6",) * 20]))
    generator = random.Random(seed)
    for _ in range(3):
        broken[generator.randrange(len(broken))] = generator.randrange(256)
    for data in (noise, bytes(broken), bytes(broken[: generator.randrange(len(broken))])):
        try:
            decode(data)
        except CodecError:
            continue


class Shout(str):
    __slots__ = ()

    def __eq__(self, other: object) -> bool:
        return True

    __hash__ = str.__hash__


class Many(list):
    def __iter__(self):
        return iter([1, 2, 3])


def test_a_subclass_crosses_as_its_base():
    """What a class says of itself does not cross, nor what it shows to those who ask it."""
    got = decode(encode([Shout("a"), Many([9])]))
    assert [type(value) for value in got] == [str, list]
    assert got == ["a", [9]]


def test_other_objects_cross_as_tokens_or_not_at_all():
    with pytest.raises(CodecError, match="object cannot cross"):
        encode([object()])
    got = decode(encode([object(), 1], lambda _: Token(7)))
    assert isinstance(got[0], Token)
    assert got[0].number == 7
    assert got[0]
    assert got[0] != 7
    assert got[0] != decode(encode(Token(7)))


@pytest.mark.parametrize("depth", [49, 50, 51])
def test_depth_is_limited_on_both_sides(depth: int):
    value: object = 1
    for _ in range(depth):
        value = [value]
    if depth <= 50:
        assert decode(encode(value)) == value
    else:
        with pytest.raises(CodecError, match="too deep"):
            encode(value)


@given(values)
@example([bytearray(b"x")])
@example({"a": [range(3), 1.5]})
@example(array("i", [1]))
def test_packed_values_come_back_as_they_were_or_are_refused(value: object):
    """Marshal would take whatever has a buffer for bytes."""
    if "array(" in repr(value):
        with pytest.raises(CodecError, match="cannot cross"):
            pack(value)
    else:
        assert same(unpack(pack(value), Token), value)


def test_surplus_is_refused():
    with pytest.raises(CodecError):
        decode(encode(1) + b"x")
