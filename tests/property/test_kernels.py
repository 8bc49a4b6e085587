"""Every compiled kernel at every level equals its PyTorch reference, on shapes of all kinds; and what
products and attention give for a row does not depend on the rows beside it or on the threads."""

from collections.abc import Iterator
from dataclasses import dataclass

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

PAGE = 64  # tokens

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


# ------------------------------------------------------------------------- attention and its pages


def bits(x: torch.Tensor) -> np.ndarray:
    """bfloat16 as the kernels take it."""
    return x.bfloat16().contiguous().view(torch.int16).numpy().view(np.uint16)


def numbers(x: np.ndarray) -> torch.Tensor:
    return torch.from_numpy(x.view(np.int16)).view(torch.bfloat16).float()


def key_pages(keys: torch.Tensor) -> np.ndarray:
    """Keys [tokens, U] as pages [4][U / 2][16][2]."""
    pages = keys.unflatten(0, (-1, 4, 16)).unflatten(3, (-1, 2))  # [page, 4, 16, pair, 2]
    return bits(pages.transpose(2, 3).flatten(1))


def value_pages(values: torch.Tensor) -> np.ndarray:
    """Values [tokens, V] as pages [V / 16][32][16][2]."""
    pages = values.unflatten(0, (-1, 32, 2)).unflatten(3, (-1, 16))  # [page, 32, 2, panel, 16]
    return bits(pages.permute(0, 3, 1, 4, 2).flatten(1))


@dataclass(frozen=True)
class Attended:
    """Query rows against some pages, in either layout of the keys."""

    q: torch.Tensor  # [rows, U]
    keys: torch.Tensor  # [tokens, U], whole pages
    values: torch.Tensor  # [tokens, V]
    seen: list[int]
    plain: bool  # keys are plain rows, which begin with the values
    scale: float

    def run(self, rows: slice = slice(None)) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Softmax maximum, sum, and the weighted values of some rows."""
        q = bits(self.q[rows])
        top, sums = np.full((2, len(q)), np.nan, np.float32)
        value = np.full((len(q), self.values.shape[1]), np.nan, np.float32)
        pages = len(self.keys) // PAGE
        keys = bits(self.keys).reshape(pages, -1) if self.plain else key_pages(self.keys)
        native.attend(
            q,
            keys,
            None if self.plain else value_pages(self.values),
            self.q.shape[1] // 2,
            self.scale,
            np.array(self.seen[rows], np.int32),
            top,
            sums,
            value,
        )
        return top, sums, value


@st.composite
def attended(draw: st.DrawFn) -> Attended:
    """Random sizes: a page or four, rows that see nothing, part of a page, or everything."""
    plain, rows = draw(st.booleans()), draw(st.integers(1, 19))
    tokens = PAGE * draw(st.integers(1, 4))
    width = 32 * draw(st.integers(1, 5)) if plain else 2 * draw(st.integers(1, 70))
    value_width = 16 * draw(st.integers(1, width // 16 if plain else 6))
    seed = draw(st.integers(0, 2**31))
    q, keys, values = (
        torch.randn(n, m, generator=torch.Generator().manual_seed(seed + i)).bfloat16().float()
        for i, (n, m) in enumerate([(rows, width), (tokens, width), (tokens, value_width)])
    )
    seen = draw(st.lists(st.integers(0, tokens), min_size=rows, max_size=rows))
    values = keys[:, :value_width] if plain else values
    return Attended(q, keys, values, seen, plain, draw(st.sampled_from([0.02, 0.2, 1.0])))


@settings(max_examples=100, deadline=None)
@given(case=attended())
def test_attend(level: str, case: Attended) -> None:
    top, sums, value = (torch.from_numpy(part) for part in case.run())
    scores = (case.q.double() @ case.keys.double().T) * case.scale
    hidden = torch.arange(len(case.keys)) >= torch.tensor(case.seen)[:, None]
    scores = scores.masked_fill(hidden, -torch.inf)
    wanted_top = scores.amax(1)
    blind = torch.tensor(case.seen) == 0
    probs = (scores - wanted_top.masked_fill(blind, 0.0)[:, None]).exp()
    torch.testing.assert_close(top, wanted_top.float(), rtol=1e-5, atol=1e-4)
    torch.testing.assert_close(sums, probs.sum(1).float(), rtol=1e-3, atol=0)
    bound = 2.0**-8 * (probs @ case.values.double().abs()) + 1e-3  # probabilities in bfloat16
    assert bool(((value - probs @ case.values.double()).abs() <= bound).all())
    assert not value[blind].any()


@settings(max_examples=40, deadline=None)
@given(case=attended())
def test_a_query_is_the_same_in_any_company(level: str, case: Attended) -> None:
    together = case.run()
    for i in range(len(case.q)):
        alone = case.run(slice(i, i + 1))
        for whole, one in zip(together, alone, strict=True):
            assert np.array_equal(whole[i : i + 1], one)


@settings(max_examples=60, deadline=None)
@given(
    rows=st.integers(1, 9),
    width=st.integers(1, 20),
    blind=st.booleans(),
    seed=st.integers(0, 2**31),
)
def test_combine(level: str, rows: int, width: int, blind: bool, seed: int) -> None:
    """Two splits joined are one softmax over both; one that saw nothing changes nothing."""
    rng = torch.Generator().manual_seed(seed)
    top, top2 = torch.randn(2, rows, generator=rng) * 20
    total, total2 = torch.rand(2, rows, generator=rng) + 0.1
    value, value2 = torch.randn(2, rows, 16 * width, generator=rng)
    if blind:
        top2[:], total2[:], value2[:] = -torch.inf, 0.0, 0.0
    got = [x.clone().numpy() for x in (top, total, value)]
    native.combine(*got, top2.numpy(), total2.numpy(), value2.numpy(), False)
    most = torch.maximum(top, top2)
    w, w2 = (top - most).exp(), (top2 - most).exp()
    wanted = [most, total * w + total2 * w2, value * w[:, None] + value2 * w2[:, None]]
    for mine, theirs in zip(got, wanted, strict=True):
        torch.testing.assert_close(torch.from_numpy(mine), theirs, rtol=1e-5, atol=1e-6)
    native.combine(
        *got, top2.numpy(), total2.numpy(), value2.numpy(), True
    )  # as if nothing were there
    assert all(np.array_equal(a, b) for a, b in zip(got, (top2, total2, value2), strict=True))


@settings(max_examples=60, deadline=None)
@given(
    groups=st.integers(1, 20),
    seed=st.integers(0, 2**31),
    size=st.sampled_from([0.0, 1e-6, 1.0, 1000.0]),
)
def test_latents_in_8_bits(level: str, groups: int, seed: int, size: float) -> None:
    x = torch.randn(32 * groups, generator=torch.Generator().manual_seed(seed)) * size
    q, scales = np.empty(32 * groups, np.int8), np.empty(groups, np.uint16)
    native.latent_write8(x.numpy(), q, scales)
    largest = x.unflatten(0, (-1, 32)).abs().amax(1)
    assert np.array_equal(scales.view(np.float16), (largest / 127).to(torch.float16).numpy())
    scale = torch.from_numpy(scales.view(np.float16).astype(np.float32)).repeat_interleave(32)
    exact = torch.from_numpy(q.astype(np.float32)) * scale
    step = torch.where(scale > 0, scale, 2 * x.abs())  # a scale below float16's smallest is zero
    assert bool(((exact - x).abs() <= 0.56 * step + 1e-30).all())  # half, and the scale's rounding
    out = np.empty(32 * groups, np.uint16)
    native.latent_read8(q, scales, out)
    assert np.array_equal(out, bits(exact))


@settings(max_examples=40, deadline=None)
@given(
    latent=st.integers(1, 9),
    rope=st.integers(0, 20),
    key_width=st.integers(1, 20),
    panels=st.integers(1, 6),
    first=st.integers(0, 3),
    seed=st.integers(0, 2**31),
)
def test_expand_page(
    level: str, latent: int, rope: int, key_width: int, panels: int, first: int, seed: int
) -> None:
    C, R, N, V = 16 * latent, 2 * rope, 2 * key_width, 16 * panels
    stride = -(-(C + R) // 32) * 32
    rng = torch.Generator().manual_seed(seed)
    rows = torch.randn(PAGE, stride, generator=rng).bfloat16().float()
    rows[:, C + R :] = 0.0
    w_key = torch.randn(N, C, generator=rng).bfloat16().float()
    w_value = torch.randn(V + 16 * first, C, generator=rng).bfloat16().float()
    matrix = pack("BF16", bits(w_value).view(np.uint8).ravel(), len(w_value), C)
    keys, values = np.empty(PAGE * (N + R), np.uint16), np.empty(PAGE * V, np.uint16)
    native.expand_page(bits(rows), R, bits(w_key), matrix.rows, matrix.data, first, keys, values)
    got = numbers(keys).view(4, -1, 16, 2).transpose(1, 2).reshape(PAGE, N + R)
    assert torch.equal(got[:, N:], rows[:, C : C + R])  # shared rotary keys, as they are
    close = {
        "rtol": 2.0**-7,
        "atol": 1e-3 * C**0.5,
    }  # rounded to bfloat16, perhaps to the other side
    torch.testing.assert_close(got[:, :N], rows[:, :C] @ w_key.T, **close)
    got = numbers(values).view(-1, 32, 16, 2).permute(1, 3, 0, 2).reshape(PAGE, V)
    torch.testing.assert_close(got, rows[:, :C] @ w_value[16 * first :].T, **close)
