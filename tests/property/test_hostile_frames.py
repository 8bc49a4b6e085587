"""Whatever a program answers, reading it costs little and gives a value or CodecError."""

import json
import math
import struct
import subprocess
import sys
from array import array
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from midfill.sandbox.codec import EFFORT, FRAME, CodecError, decode, encode

SECONDS, MIB = 1.0, 256  # that reading any frame may take, in a process of its own
MERSENNE = (1 << 61) - 1  # numbers that differ by a multiple of it have the same hash


def frame(tags: bytes, lengths=(), integers=(), floats=(), texts: bytes = b"") -> bytes:
    """A message of these columns, right or not."""
    columns = (
        tags,
        array("I", lengths).tobytes(),
        array("q", integers).tobytes(),
        array("d", floats).tobytes(),
        texts,
    )
    return struct.pack("<5I", *map(len, columns)) + b"".join(columns)


def many(tag: bytes, count: int, *, of: bytes = b"l") -> bytes:
    """One container `of` with `count` empty or zero values of one kind."""
    sized = tag in b"sbIltSZdo"
    each = {b"c": 2, b"r": 3, b"i": 1, b"f": 1}.get(tag, 0)
    return frame(
        of + tag * count,
        [count // 2 if of == b"d" else count, *([0] * count if sized else [])],
        [1] * (each * count if tag in (b"i", b"r") else 0),
        [0.0] * (each * count if tag in (b"f", b"c") else 0),
    )


def keys(of: bytes, numbers: list[int]) -> bytes:
    """A set of these integers, or a dict with them as keys, of any size."""
    texts = [n.to_bytes(n.bit_length() // 8 + 1, "little", signed=True) for n in numbers]
    small = all(-(1 << 63) <= n < 1 << 63 for n in numbers)
    tag = b"i" if small else b"I"
    tags = of + (tag + b"N" if of == b"d" else tag) * len(numbers)
    if small:
        return frame(tags, [len(numbers)], numbers)
    return frame(tags, [len(numbers), *map(len, texts)], texts=b"".join(texts))


def tuples(of: bytes, count: int, size: int) -> bytes:
    """Large keys that differ in their last item only."""
    tags = of + (b"t" + b"i" * size) * count
    numbers = [n for i in range(count) for n in [*[0] * (size - 1), i]]
    return frame(tags, [count, *[size] * count], numbers)


def nested(tag: bytes, depth: int) -> bytes:
    """One in the other, all the way down."""
    return frame(tag * depth + b"N", [1] * depth)


REST = FRAME - 64  # of a frame for one text
SPREAD = 2_000_000
FRAMES: dict[str, Callable[[], bytes]] = {
    "as many empty lists as are allowed": lambda: many(b"l", EFFORT // 8 - 2),
    "two million empty lists": lambda: many(b"l", SPREAD),
    "two million empty sets": lambda: many(b"S", SPREAD),
    "two million empty dicts": lambda: many(b"d", SPREAD),
    "as many empty sets as are allowed": lambda: many(b"S", EFFORT // 8 - 2),
    "as many empty dicts as are allowed": lambda: many(b"d", EFFORT // 8 - 2),
    "as many empty frozensets as are allowed": lambda: many(b"Z", EFFORT // 8 - 2),
    "empty frozensets as elements of a set": lambda: many(b"Z", EFFORT // 8 - 2, of=b"S"),
    "as many empty tuples as are allowed": lambda: many(b"t", EFFORT // 8 - 2),
    "thirteen million empty lists": lambda: many(b"l", FRAME // 5 - 10),
    "sixty million nothings": lambda: many(b"N", FRAME - 64),
    "a set of sixty million nothings": lambda: many(b"N", FRAME - 64, of=b"S"),
    "a dict of nothings": lambda: many(b"N", EFFORT - 2, of=b"d"),
    "as many numbers as are allowed": lambda: many(b"i", EFFORT - 10),
    "as many floats as are allowed": lambda: many(b"f", EFFORT - 10),
    "as many complex numbers as are allowed": lambda: many(b"c", EFFORT // 4 - 10),
    "as many ranges as are allowed": lambda: many(b"r", EFFORT - 10),
    "as many empty texts as are allowed": lambda: many(b"s", EFFORT // 4 - 10),
    "as many large integers of size nought": lambda: many(b"I", EFFORT // 4 - 10),
    "as many tokens as are allowed": lambda: many(b"o", EFFORT // 4 - 10),
    "a set of many numbers": lambda: keys(b"S", list(range(EFFORT - 10))),
    "a set of numbers, as many as memory allows": lambda: keys(b"S", list(range(600_000))),
    "a dict of many numbers": lambda: keys(b"d", list(range(400_000))),
    "a set of one hash": lambda: keys(b"S", [k * MERSENNE for k in range(1, 20_000)]),
    "a dict of one hash": lambda: keys(b"d", [k * MERSENNE for k in range(1, 20_000)]),
    "a few of one hash, in many sets": lambda: frame(
        b"l" + b"Siiii" * 50_000,
        [50_000, *[4] * 50_000],
        [k * MERSENNE for k in range(4)] * 50_000,
    ),
    "a set of hashes alike in their low bits": lambda: keys(b"S", [k << 43 for k in range(1 << 19)]),
    "a dict of hashes alike in their low bits": lambda: keys(
        b"d", [k << 44 for k in range(1 << 18)]
    ),
    "sixteen large keys alike": lambda: tuples(b"S", 16, 60_000),
    "a million deep": lambda: nested(b"l", 1_000_000),
    "fifty deep": lambda: nested(b"l", 50),
    "tuples fifty deep, as keys": lambda: frame(b"Z" + b"t" * 48 + b"N", [1] * 49),
    "sixty-four MiB of text": lambda: frame(b"s", [REST], texts=b"x" * REST),
    "text made wide by one character": lambda: frame(
        b"s", [REST], texts=b"x" * (REST - 4) + "😀".encode()
    ),
    "text of two bytes each": lambda: frame(b"s", [REST], texts="é".encode() * (REST // 2)),
    "text of four bytes each": lambda: frame(b"s", [REST], texts="😀".encode() * (REST // 4)),
    "lone surrogates": lambda: frame(b"s", [REST], texts=b"\xed\xa0\x80" * (REST // 3) + b"x"),
    "a hundred thousand lone surrogates": lambda: frame(
        b"s", [300_000], texts=b"\xed\xa0\x80" * 100_000
    ),
    "text that is not UTF-8, at its end": lambda: frame(
        b"s", [REST], texts=b"x" * (REST - 1) + b"\xff"
    ),
    "sixty-four MiB of bytes": lambda: frame(b"b", [REST], texts=bytes(REST)),
    "an integer of sixty-four MiB": lambda: frame(b"I", [REST], texts=b"\x7f" * REST),
    "a negative integer of sixty-four MiB": lambda: frame(b"I", [REST], texts=b"\x80" * REST),
    "many large integers": lambda: frame(
        b"l" + b"I" * 6000, [6000, *[10_000] * 6000], texts=b"\x7f" * 60_000_000
    ),
    "a large integer as a key, again and again": lambda: frame(
        b"l" + b"SI" * 60, [60, *[1, 1_000_000] * 60], texts=b"\x7f" * 60_000_000
    ),
    "a length that lies": lambda: frame(b"l", [0xFFFFFFFF]),
    "a text that lies about its length": lambda: frame(b"s", [0xFFFFFFFF], texts=b"x"),
    "an endless range": lambda: frame(b"r", integers=[-(1 << 63), (1 << 63) - 1, 1]),
    "no step": lambda: frame(b"r", integers=[0, 1, 0]),
    "columns larger than the frame": lambda: struct.pack("<5I", *[0xFFFFFFFF] * 5) + bytes(FRAME),
    "nothing": lambda: b"",
    "noughts": lambda: bytes(FRAME),
    "more than is allowed": lambda: frame(b"s", [FRAME], texts=b"x" * FRAME),
    "surplus": lambda: frame(b"N", [1] * 1000),
    "unknown tags": lambda: frame(b"?" * REST),
    "a list as a key": lambda: frame(b"Sl", [1, 0]),
    "a key twice": lambda: frame(b"d" + b"NN" * 2, [2]),
}  # fmt: skip
QUICK = (
    "as many empty sets as are allowed", "two million empty dicts", "a set of one hash",
    "a million deep", "text made wide by one character", "an integer of sixty-four MiB",
)  # fmt: skip

# VmHWM, because ru_maxrss of a new program still tells what the one before it used.
_READER = """
import json, pathlib, sys, time
from midfill.sandbox.codec import CodecError, decode
data = bytearray(pathlib.Path(sys.argv[1]).read_bytes())
began = time.process_time()
try:
    value = decode(data)
    came = "value"
except CodecError as error:
    came = str(error)
spent = time.process_time() - began
status = pathlib.Path("/proc/self/status").read_text()
print(json.dumps([came, spent, int(status.split("VmHWM:")[1].split()[0]) / 1024]))
"""


def read_alone(data: bytes, folder: Path) -> tuple[str, float, float]:
    """What comes of a frame in a new process, its processor seconds, and its largest size in MiB."""
    path = folder / "frame"
    path.write_bytes(data)
    source = str(Path(__file__).parents[2] / "src")
    program = f"import sys; sys.path.insert(0, {source!r})\n{_READER}"
    command = [sys.executable, "-I", "-S", "-c", program, str(path)]
    ended = subprocess.run(command, capture_output=True, text=True)
    path.unlink()
    assert ended.returncode == 0, ended.stderr[-500:]
    return json.loads(ended.stdout)


@pytest.mark.parametrize(
    "name", [pytest.param(n, marks=[pytest.mark.slow] * (n not in QUICK)) for n in FRAMES]
)
def test_reading_any_frame_is_cheap(name: str, tmp_path: Path):
    came, seconds, size = read_alone(FRAMES[name](), tmp_path)
    print(f"{name}: {came}, {seconds:.2f} s, {size:.0f} MiB")
    assert size < MIB
    assert seconds < SECONDS


columns = st.tuples(
    st.text("NTFifcrltSZdsbIo?", max_size=30).map(str.encode),
    st.lists(st.integers(0, 4) | st.integers(0, 0xFFFFFFFF), max_size=20),
    st.lists(st.integers(-2, 2) | st.integers(-(1 << 63), (1 << 63) - 1), max_size=12),
    st.lists(st.floats(), max_size=8),
    st.binary(max_size=30) | st.text(max_size=10).map(str.encode),
)


@settings(max_examples=400)
@given(columns)
def test_random_columns_give_a_value_or_an_error(parts: tuple):
    """And a value is one that would be written as the same message again, so nothing was added."""
    data = frame(*parts)
    try:
        value = decode(data)
    except CodecError:
        return
    assert decode(encode(value)) == value or not _reflexive(value)


@given(st.binary(max_size=400))
def test_random_bytes_give_a_value_or_an_error(data: bytes):
    try:
        decode(data)
    except CodecError:
        return


def _reflexive(value: object) -> bool:
    """Whether a copy of it is equal to it, as NaN and tokens are not."""
    if isinstance(value, float):
        return not math.isnan(value)
    if isinstance(value, complex):
        return value == value
    if isinstance(value, list | tuple | set | frozenset):
        return all(map(_reflexive, value))
    if isinstance(value, dict):
        return all(_reflexive(k) and _reflexive(v) for k, v in value.items())
    return isinstance(value, int | str | bytes | range | None.__class__)
