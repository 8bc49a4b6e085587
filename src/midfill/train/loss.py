"""Cross-entropy of a whole vocabulary without ever holding all its logits.

Shapes: B sequences, S tokens, D residual, W vocabulary, M targets of all sequences.
"""

from typing import Any, NamedTuple

import torch
from jaxtyping import Float, Int
from torch import Tensor

from midfill.kernels.autocast import product_dtype

IGNORED = -100  # a target that is none
CHUNK = 1024  # rows of logits held at once
CACHED = 32  # of them in float32 on a processor: what its cache holds


class Loss(NamedTuple):
    """A sum and not a mean, so that micro-batches and processes can divide by the targets of all."""

    total: Float[Tensor, ""]  # nats
    targets: Int[Tensor, ""]  # how many were not ignored


def cross_entropy(
    hidden: Float[Tensor, "B S D"],
    head: Float[Tensor, "W D"],
    targets: Int[Tensor, "B S"],
    *,
    chunk: int = CHUNK,
) -> Loss:
    """What the next tokens cost, from float32 logits.

    Where a gradient is wanted it is computed here, with each chunk's logits at hand; the backward
    pass only scales it.
    """
    rows, wanted = hidden.flatten(0, 1), targets.flatten()
    kept = wanted != IGNORED
    if not kept.all():
        rows, wanted = rows[kept], wanted[kept]
    total = _ChunkedCrossEntropy.apply(rows, head, wanted, chunk, product_dtype(hidden))
    return Loss(total, kept.sum())


def _softmax_(
    scores: Float[Tensor, "M W"], targets: Int[Tensor, "M 1"], sums: torch.dtype
) -> Float[Tensor, ""]:
    """The cross-entropies' sum; their gradient takes the place of the scores."""
    wide = scores.to(sums)
    largest, wanted = wide.amax(1, keepdim=True), wide.gather(1, targets)
    wide.sub_(largest).exp_()
    norm = wide.sum(1, keepdim=True)
    wide.div_(norm).scatter_add_(1, targets, -torch.ones_like(norm))
    scores.copy_(wide)
    return (norm.log() + largest - wanted).sum()


class _ChunkedCrossEntropy(torch.autograd.Function):
    """The sum of cross-entropies [] of rows [M, D] against head [W, D]."""

    @staticmethod
    def forward(
        ctx: Any, rows: Tensor, head: Tensor, wanted: Tensor, chunk: int, dtype: torch.dtype
    ) -> Tensor:
        with_gradient = ctx.needs_input_grad[0] or ctx.needs_input_grad[1]
        ctx.types = rows.dtype, head.dtype
        rows, head = rows.to(dtype), head.to(dtype)
        sums = torch.promote_types(dtype, torch.float32)
        total = rows.new_zeros((), dtype=sums)
        grad_rows, grad_head = torch.empty_like(rows), torch.zeros_like(head, dtype=sums)
        cached = chunk if rows.is_cuda else CACHED
        space = rows.new_empty(min(chunk, len(rows)), len(head))  # large ones are slow to come by
        parts = zip(rows.split(chunk), wanted.split(chunk), grad_rows.split(chunk), strict=True)
        for part, targets, grad in parts:
            scores = torch.mm(part, head.T, out=space[: len(part)])
            for some, ids in zip(scores.split(cached), targets.split(cached), strict=True):
                total += _softmax_(some, ids[:, None], sums)
            if with_gradient:
                torch.mm(scores, head, out=grad)
                grad_head += scores.T @ part
        if with_gradient:
            ctx.save_for_backward(grad_rows, grad_head)
        return total

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:
        scale = grads[0]
        grad_rows, grad_head = ctx.saved_tensors
        rows_type, head_type = ctx.types
        return (
            (grad_rows * scale).to(rows_type),
            (grad_head * scale).to(head_type),
            None,
            None,
            None,
        )
