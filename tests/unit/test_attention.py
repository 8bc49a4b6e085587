"""Fused attention equals the reference, and both equal the formula written out."""

import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode

from midfill.kernels import attention

SHAPES = [  # heads, key/value heads, new tokens, all tokens, key width, value width
    (4, 4, 7, 7, 16, 16),
    (9, 3, 5, 11, 8, 8),
    (6, 1, 1, 13, 12, 12),
    (4, 1, 3, 9, 24, 16),
    (4, 4, 6, 6, 24, 16),
    (6, 2, 1, 1, 8, 8),
]


def make(shape, batch: int = 2):
    heads, groups, new, total, width, value = shape
    g = torch.Generator().manual_seed(sum(shape))
    q = torch.randn(batch, heads, new, width, generator=g)
    k = torch.randn(batch, groups, total, width, generator=g)
    v = torch.randn(batch, groups, total, value, generator=g)
    mask = torch.arange(total) <= (torch.arange(new) + total - new)[None, None, :, None]
    return q, k, v, mask


def written_out(q, k, v, mask, scale):
    """One query at a time."""
    out = torch.zeros(*q.shape[:3], v.shape[-1])
    group = q.shape[1] // k.shape[1]
    for b in range(q.shape[0]):
        for h in range(q.shape[1]):
            for s in range(q.shape[2]):
                seen = mask[0, 0, s]
                scores = (k[b, h // group][seen] @ q[b, h, s]) * scale
                out[b, h, s] = scores.softmax(0) @ v[b, h // group][seen]
    return out


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("run", [attention.reference, attention.fused])
def test_both_are_the_formula(shape, run):
    q, k, v, mask = make(shape)
    want = written_out(q, k, v, mask, 0.3)
    torch.testing.assert_close(run(q, k, v, scale=0.3, mask=mask), want)
    if shape[2] == shape[3]:
        torch.testing.assert_close(run(q, k, v, scale=0.3, causal=True), want)
    if shape[2] == 1:
        torch.testing.assert_close(run(q, k, v, scale=0.3), want)


def test_blocks_of_queries_join(monkeypatch: pytest.MonkeyPatch):
    q, k, v, mask = make((4, 2, 9, 9, 8, 8))
    want = attention.reference(q, k, v, scale=0.5, mask=mask)
    monkeypatch.setattr(attention, "SCORES", 100)
    torch.testing.assert_close(attention.reference(q, k, v, scale=0.5, causal=True), want)


class _LargestMask(TorchDispatchMode):
    """Remembers how many elements the largest boolean tensor had."""

    elements = 0

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        out = func(*args, **(kwargs or {}))
        if isinstance(out, torch.Tensor) and out.dtype == torch.bool:
            self.elements = max(self.elements, out.numel())
        return out


@pytest.mark.parametrize("rows", [1, 7, 64])
def test_a_causal_mask_is_made_for_one_block_at_a_time(rows: int, monkeypatch: pytest.MonkeyPatch):
    q, k, v, mask = make((4, 2, 64, 64, 8, 8), batch=1)
    want = attention.reference(q, k, v, scale=0.5, mask=mask)
    monkeypatch.setattr(attention, "SCORES", rows * 4 * 64)
    with _LargestMask() as largest:
        got = attention.reference(q, k, v, scale=0.5, causal=True)
    torch.testing.assert_close(got, want)
    assert largest.elements == rows * 64


@pytest.mark.parametrize("shape", SHAPES)
def test_joining_heads_changes_nothing(shape, monkeypatch: pytest.MonkeyPatch):
    q, k, v, mask = make(shape)
    joined = attention.fused(q, k, v, scale=0.3, mask=mask)
    monkeypatch.setattr(attention, "ROWS", 0)
    torch.testing.assert_close(attention.fused(q, k, v, scale=0.3, mask=mask), joined)


PACKED = [((5, 1, 3), (3, 3, 3)), ((9,),), ((2, 2, 5), (5, 4), (1, 8))]


@pytest.mark.parametrize("rows", PACKED)
@pytest.mark.parametrize("heads", [(4, 4), (4, 2), (4, 1)])
def test_a_piece_attends_to_itself_alone(rows, heads):
    pieces = attention.Pieces(rows)
    g = torch.Generator().manual_seed(9)
    q = torch.randn(len(rows), heads[0], 9, 12, generator=g, requires_grad=True)
    k = torch.randn(len(rows), heads[1], 9, 12, generator=g, requires_grad=True)
    v = torch.randn(len(rows), heads[1], 9, 8, generator=g, requires_grad=True)
    ids = pieces.ids(q.device)
    mask = (ids[:, :, None] == ids[:, None, :]).tril()[:, None]
    along = torch.randn(len(rows), heads[0], 9, 8, generator=g)
    want = attention.reference(q, k, v, scale=0.3, mask=mask)
    got = attention.attend(q, k, v, scale=0.3, causal=True, pieces=pieces)
    torch.testing.assert_close(got, want, atol=1e-5, rtol=1e-5)
    for mine, theirs in zip(
        torch.autograd.grad((got * along).sum(), (q, k, v)),
        torch.autograd.grad((want * along).sum(), (q, k, v)),
        strict=True,
    ):
        torch.testing.assert_close(mine, theirs, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("shape", SHAPES)
def test_training_in_float32_is_the_reference(shape):
    q, k, v, _ = make(shape)
    if shape[2] != shape[3]:
        q = q.repeat(1, 1, -(-shape[3] // shape[2]), 1)[:, :, : shape[3]]
    inputs = [x.requires_grad_() for x in (q, k, v)]
    for run in (attention.attend, attention.reference):
        out = run(q, k, v, scale=0.3, causal=True)
        grads = torch.autograd.grad(out.square().sum(), inputs)
        if run is attention.attend:
            got = (out, *grads)
    for mine, theirs in zip(got, (out, *grads), strict=True):
        torch.testing.assert_close(mine, theirs, atol=1e-5, rtol=1e-5)


@pytest.mark.filterwarnings("ignore:flex_attention called without torch.compile")
def test_flex_attention_sees_the_same():
    """Its mask, uncompiled; whether it compiles only a CUDA device can tell."""
    from torch.nn.attention.flex_attention import flex_attention

    pieces = attention.Pieces(((70, 58), (128,)))
    q, k = torch.randn(2, 2, 2, 128, 16)
    v = torch.randn(2, 2, 128, 16)
    mask = attention._block_mask(pieces.ids(q.device))
    got = flex_attention(q, k, v, block_mask=mask, scale=0.25)
    torch.testing.assert_close(got, attention.attend_pieces(q, k, v, scale=0.25, pieces=pieces))
