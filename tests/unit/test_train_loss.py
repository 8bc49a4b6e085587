"""Chunked cross-entropy equals torch's of all logits at once, gradients included."""

import pytest
import torch
import torch.nn.functional as F

from midfill.train.loss import IGNORED, cross_entropy


def case(ignored: float, dtype: torch.dtype = torch.float32):
    g = torch.Generator().manual_seed(0)
    hidden = torch.randn(3, 11, 16, generator=g).to(dtype).requires_grad_()
    head = torch.randn(50, 16, generator=g).to(dtype).requires_grad_()
    targets = torch.randint(0, 50, (3, 11), generator=g)
    return hidden, head, targets.masked_fill(torch.rand(3, 11, generator=g) < ignored, IGNORED)


@pytest.mark.parametrize("ignored", [0.0, 0.5, 1.0])
@pytest.mark.parametrize("chunk", [1, 4, 33, 1000])
def test_it_is_the_sum_that_torch_gives(ignored: float, chunk: int):
    hidden, head, targets = case(ignored)
    loss = cross_entropy(hidden, head, targets, chunk=chunk)
    want = F.cross_entropy((hidden @ head.T).flatten(0, 1), targets.flatten(), reduction="sum")
    assert loss.targets == (targets != IGNORED).sum()
    torch.testing.assert_close(loss.total, want, rtol=1e-6, atol=1e-6)
    for got, expected in zip(
        torch.autograd.grad(loss.total / 7, (hidden, head)),
        torch.autograd.grad(want / 7, (hidden, head)),
        strict=True,
    ):
        torch.testing.assert_close(got, expected, rtol=1e-6, atol=1e-6)


def test_gradients_are_finite_differences():
    hidden, head, targets = case(0.3, torch.float64)
    assert torch.autograd.gradcheck(
        lambda h, w: cross_entropy(h, w, targets, chunk=5).total, (hidden, head)
    )


def test_under_autocast_products_round_and_sums_do_not():
    hidden, head, targets = case(0.2)
    want = cross_entropy(hidden, head, targets).total
    rounded = cross_entropy(hidden.bfloat16().float(), head.bfloat16().float(), targets).total
    with torch.autocast("cpu", torch.bfloat16):
        got = cross_entropy(hidden, head, targets).total
    assert got.dtype == torch.float32
    assert abs(got - rounded) < 2e-3 * rounded
    grads = torch.autograd.grad(got, (hidden, head))
    exact = torch.autograd.grad(want, (hidden, head))
    for mine, theirs in zip(grads, exact, strict=True):
        assert mine.dtype == torch.float32
        assert (mine - theirs).norm() < 0.02 * theirs.norm()


def test_the_loss_of_parts_adds_up_to_that_of_the_whole():
    hidden, head, targets = case(0.4)
    whole = cross_entropy(hidden, head, targets)
    parts = [cross_entropy(hidden[i : i + 1], head, targets[i : i + 1]) for i in range(3)]
    torch.testing.assert_close(sum(p.total for p in parts), whole.total)
    assert sum(p.targets for p in parts) == whole.targets


def test_without_a_gradient_it_is_the_same_number():
    hidden, head, targets = case(0.4)
    with torch.no_grad():
        quiet = cross_entropy(hidden, head, targets)
    assert torch.equal(quiet.total, cross_entropy(hidden, head, targets).total)
