"""Panels: every kind packed and had back, bit for bit; the compiled layout is that of the reference."""

import numpy as np
import pytest
import torch

from midfill.kernels import cpu, packed
from midfill.kernels.packed import PackedMatrix, linear_reference, pack, pack_reference
from midfill.kernels.quant import TYPES, dequantise
from random_blocks import SCALES, random_blocks

if cpu.native is None:
    pytest.skip(f"there are no compiled kernels: {cpu.why_not}", allow_module_level=True)

ROWS = [1, 5, 16, 17, 37]
every_kind = pytest.mark.parametrize("kind", packed.KINDS)


def raw_rows(kind: str, rows: int, cols: int, *, finite: bool = True) -> np.ndarray:
    """The bytes of a matrix."""
    return random_blocks(kind, rows * cols // TYPES[kind].elements, finite=finite).reshape(-1)


def test_every_kind_of_the_extension_is_read_and_the_other_way_round():
    assert sorted(packed.KINDS) == sorted(TYPES)


@every_kind
@pytest.mark.parametrize("rows", ROWS)
def test_unpacking_gives_the_bytes_back(kind: str, rows: int):
    for blocks in (1, 3):
        cols = blocks * TYPES[kind].elements
        raw = raw_rows(kind, rows, cols, finite=False)
        matrix = pack(kind, raw, rows, cols)
        assert np.array_equal(matrix.unpack(), raw)


@every_kind
def test_rows_come_from_where_they_are_said_to_be(kind: str):
    rows, cols = 19, 2 * TYPES[kind].elements
    raw = raw_rows(kind, rows, cols, finite=False)
    order = np.random.default_rng(1).permutation(rows)[:13].astype(np.int32)
    matrix = pack(kind, raw, len(order), cols, order)
    want = raw.reshape(rows, -1)[order]
    assert np.array_equal(matrix.unpack().reshape(len(order), -1), want)


@every_kind
@pytest.mark.parametrize("rows", [1, 16, 21])
def test_the_layout_is_that_of_the_reference(kind: str, rows: int):
    for cols in {TYPES[kind].elements, 3 * TYPES[kind].elements}:
        raw = raw_rows(kind, rows, cols)
        want = pack_reference(kind, torch.from_numpy(raw), rows, cols)
        np.testing.assert_array_equal(pack(kind, raw, rows, cols).data, want.numpy())


@every_kind
def test_rows_that_are_read_are_those_of_the_file(kind: str):
    rows, cols = 37, 512
    raw = raw_rows(kind, rows, cols)
    want = torch.empty(rows, cols)
    dequantise(torch.from_numpy(raw), TYPES[kind], want)
    matrix = pack(kind, raw, rows, cols)
    ids = np.array([36, 0, 0, 15, 16, 31, 32], np.int32)
    np.testing.assert_array_equal(matrix.read_rows(ids), want[ids].numpy())
    assert torch.equal(matrix.values(), want)


@every_kind
def test_numbers_that_are_not_finite_are_counted(kind: str):
    type_ = TYPES[kind]
    rows, cols = 18, 2 * type_.elements
    raw = raw_rows(kind, rows, cols)
    assert pack(kind, raw, rows, cols).nonfinite() == 0
    blocks = raw.reshape(-1, type_.bytes)
    broken = {"F32": (0, 0, 0xC0, 0x7F), "BF16": (0x80, 0xFF)}.get(kind, (0, 0x7C))
    for count, at in enumerate(SCALES[kind] or (0,), 1):
        blocks[-count, at : at + len(broken)] = broken
        assert pack(kind, raw, rows, cols).nonfinite() == count


@every_kind
def test_the_reference_product_is_near_the_exact_one(kind: str):
    rows, cols = 20, 512
    matrix = pack(kind, raw_rows(kind, rows, cols), rows, cols)
    bias = np.arange(rows, dtype=np.float32)
    x = torch.randn(3, cols, generator=torch.Generator().manual_seed(3))
    x[1, :64] = 0  # a group without any number
    exact = x @ matrix.values().T + torch.from_numpy(bias)
    got = linear_reference(x, PackedMatrix(kind, rows, cols, matrix.data, bias))
    assert (got - exact).abs().max() < 0.05 * exact.std()


def test_activations_that_are_whole_numbers_lose_nothing():
    rows, cols = 8, 256
    matrix = pack("Q4_0", raw_rows("Q4_0", rows, cols), rows, cols)
    x = torch.randint(-127, 128, (2, cols), generator=torch.Generator().manual_seed(0)).float()
    x[:, ::32] = 127
    exact = x.double() @ matrix.values().double().T
    torch.testing.assert_close(linear_reference(x, matrix).double(), exact, rtol=1e-5, atol=1e-3)


@pytest.mark.parametrize(
    ("rows", "cols", "order", "message"),
    [
        (2, 33, None, "33 columns are no multiple of Q4_0's block of 32"),
        (3, 32, None, "raw has 36 bytes and should have 54"),
        (2, 32, [0], "source_rows has 1 entries and should have 2"),
        (2, 32, [0, 2], "source_rows.1. is 2, and there are 2 rows"),
        (2, 32, [0, -1], "source_rows.1. is -1"),
        (-2, 32, None, "impossible"),
        (1 << 40, 32, None, "impossible"),
    ],
)
def test_what_does_not_fit_is_refused(rows: int, cols: int, order: list[int] | None, message: str):
    with pytest.raises(ValueError, match=message):
        pack(
            "Q4_0",
            np.zeros(36, np.uint8),
            rows,
            cols,
            None if order is None else np.array(order, np.int32),
        )


def test_reading_past_the_end_is_refused():
    matrix = pack("Q4_0", np.zeros(36, np.uint8), 2, 32)
    for bad in (-1, 2):
        with pytest.raises(ValueError, match=r"ids.0. is"):
            matrix.read_rows(np.array([bad], np.int32))
    with pytest.raises(ValueError, match="packed has 288 bytes and should have 576"):
        PackedMatrix("Q4_0", 17, 32, matrix.data).unpack()


def test_bytes_that_may_not_be_written_are_not_written():
    frozen = np.zeros(18, np.uint8)
    frozen.flags.writeable = False
    assert cpu.native is not None
    kind = cpu.native.KINDS["Q4_0"]
    cpu.native.pack(kind, frozen, None, 1, 32, np.zeros(288, np.uint8))
    with pytest.raises(TypeError):
        cpu.native.unpack(kind, np.zeros(288, np.uint8), 1, 32, frozen)
