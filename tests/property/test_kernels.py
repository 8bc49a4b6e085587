"""Every compiled kernel at every level equals its PyTorch reference, on shapes of all kinds; and what
it gives for a row does not depend on the rows beside it or on the number of threads."""

from collections.abc import Iterator

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st

from midfill.kernels.blocks import BLOCKS
from midfill.kernels.cpu import LEVELS, native, why_not
from midfill.kernels.packed import PackedMatrix, linear_reference, pack, quantise_activations
from random_blocks import random_blocks

if native is None:
    pytest.skip(f"no compiled kernels: {why_not}", allow_module_level=True)


@pytest.fixture(scope="module", params=LEVELS)
def level(request: pytest.FixtureRequest) -> Iterator[str]:
    """Everything in this module once per instruction set."""
    assert native is not None
    before = native.level()
    try:
        native.set_level(request.param)
    except ValueError as error:
        pytest.skip(str(error))
    yield request.param
    native.set_level(before)


@st.composite
def products(draw: st.DrawFn) -> tuple[PackedMatrix, torch.Tensor]:
    """A random packed matrix of any kind, and activations for it; zeros and outliers among them."""
    kind = draw(st.sampled_from(sorted(native.KINDS)))
    block = BLOCKS[kind].elements
    cols = block * draw(st.integers(1, 6 if block > 1 else 70))
    rows, m = draw(st.integers(1, 70)), draw(st.integers(1, 21))
    seed = draw(st.integers(0, 2**31))
    raw = random_blocks(kind, rows * cols // block, seed).ravel()
    matrix = pack(kind, raw, rows, cols)
    x = torch.randn(m, cols, generator=torch.Generator().manual_seed(seed))
    x[draw(st.integers(0, m - 1))] = 0.0
    x[:, draw(st.integers(0, cols - 1))] *= 50.0
    return matrix, x


def product(matrix: PackedMatrix, x: torch.Tensor) -> np.ndarray:
    out = np.full((len(x), matrix.rows), np.nan, np.float32)
    native.linear(x.numpy(), native.KINDS[matrix.kind], matrix.rows, matrix.cols, matrix.data, out)
    return out


@settings(max_examples=150, deadline=None)
@given(case=products())
def test_linear(level: str, case: tuple[PackedMatrix, torch.Tensor]) -> None:
    matrix, x = case
    wanted = linear_reference(x, matrix).numpy()
    bound = 3e-6 * np.abs(x.numpy()).sum(-1, keepdims=True) * float(matrix.values().abs().max())
    assert np.all(np.abs(product(matrix, x) - wanted) <= bound + 1e-30)


@settings(max_examples=60, deadline=None)
@given(case=products(), threads=st.integers(1, 4))
def test_a_row_is_the_same_in_any_company(
    level: str, case: tuple[PackedMatrix, torch.Tensor], threads: int
) -> None:
    matrix, x = case
    before = native.threads()
    alone = np.concatenate([product(matrix, row[None]) for row in x])
    try:
        native.set_threads(threads)
        assert np.array_equal(product(matrix, x), alone)
    finally:
        native.set_threads(before)


@settings(max_examples=60, deadline=None)
@given(
    groups=st.integers(1, 20),
    seed=st.integers(0, 2**31),
    size=st.sampled_from([0.0, 1e-30, 1.0, 1e20]),
)
def test_quantise(level: str, groups: int, seed: int, size: float) -> None:
    x = torch.randn(1, 32 * groups, generator=torch.Generator().manual_seed(seed)) * size
    q, scale = np.empty(32 * groups, np.int8), np.empty(groups, np.float32)
    native.quantise(x[0].numpy(), q, scale)
    wanted_q, wanted_scale = quantise_activations(x)
    assert np.allclose(scale, wanted_scale.numpy().ravel(), rtol=1e-6, atol=0)
    assert np.abs(q - wanted_q.numpy().ravel()).max() <= 1  # one: the reciprocal is rounded first
    assert np.all(np.abs(q * np.repeat(scale, 32) - x[0].numpy()) <= np.repeat(scale, 32) * 0.501)


@settings(max_examples=60, deadline=None)
@given(n=st.integers(1, 300), seed=st.integers(0, 2**31))
def test_rms_norm(level: str, n: int, seed: int) -> None:
    x, weight = torch.randn(2, n, generator=torch.Generator().manual_seed(seed))
    out = np.empty(n, np.float32)
    native.rms_norm(x.numpy(), weight.numpy(), 1e-6, out)
    torch.testing.assert_close(
        torch.from_numpy(out), F.rms_norm(x, (n,), weight, 1e-6), rtol=1e-5, atol=1e-6
    )


@settings(max_examples=60, deadline=None)
@given(n=st.integers(1, 20), seed=st.integers(0, 2**31), size=st.sampled_from([1.0, 30.0, 1000.0]))
def test_swiglu(level: str, n: int, seed: int, size: float) -> None:
    gate, up = torch.randn(2, 16 * n, generator=torch.Generator().manual_seed(seed)) * size
    out = np.empty(16 * n, np.float32)
    native.swiglu(gate.numpy(), up.numpy(), out)
    torch.testing.assert_close(
        torch.from_numpy(out), F.silu(gate) * up, rtol=2e-6, atol=1e-30 + 1e-35 * size
    )
