"""Softmax attention whose query heads may share key/value heads: multi-head, grouped, multi-query.

`reference` is exact and readable, and what float32 uses; `fused` is torch's fused kernel, for the
narrow types and for training. In packed rows each piece of a row attends to itself alone, which
`attend_pieces` computes piece by piece and, on CUDA, FlexAttention.
Shapes: B batch, H query heads, J key/value heads, Q query heads of each (H = J·Q), S new tokens,
T tokens in all, U key width, V value width.
"""

import warnings
from dataclasses import dataclass
from functools import cache, cached_property
from typing import Any

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float, Int
from torch import Tensor

SCORES = 1 << 26  # attention scores held at once by the reference: 256 MB in float32
ROWS = 1 << 24  # up to so many scores, query heads are worth joining: the mask grows with them


@dataclass(frozen=True)
class Pieces:
    """Packed rows: the lengths of each row's pieces, which together fill it."""

    lengths: tuple[tuple[int, ...], ...]

    def __post_init__(self) -> None:
        """All rows are of one length."""
        assert len({sum(row) for row in self.lengths}) == 1, self.lengths

    @cached_property
    def flat(self) -> list[int]:
        """The lengths of all pieces, row after row."""
        return [length for row in self.lengths for length in row]

    @cached_property
    def alike(self) -> dict[int, list[int]]:
        """The indices (in `flat`) of the pieces of each length."""
        found: dict[int, list[int]] = {}
        for index, length in enumerate(self.flat):
            found.setdefault(length, []).append(index)
        return found

    def ids(self, device: torch.device) -> Int[Tensor, "B S"]:
        """Which piece each token belongs to."""
        counts = torch.tensor(self.flat, device=device)
        ids = torch.arange(len(counts), device=device).repeat_interleave(counts)
        return ids.view(len(self.lengths), -1)

    @cached_property
    def block_mask(self) -> Any:
        """The same for FlexAttention, on the current CUDA device; made once for all layers."""
        return _block_mask(self.ids(torch.device("cuda")))


def attend(
    q: Float[Tensor, "B H S U"],
    k: Float[Tensor, "B J T U"],
    v: Float[Tensor, "B J T V"],
    *,
    scale: float,
    mask: Bool[Tensor, "#B 1 S T"] | None = None,
    causal: bool = False,
    pieces: Pieces | None = None,
) -> Float[Tensor, "B H S V"]:
    """What each query gathers from the values of the tokens it sees.

    Those of `mask`, those before it (`causal`, S = T), those before it in its piece, or all.
    """
    if pieces is not None:
        flex = q.is_cuda and flex_works(q.dtype, q.shape[-1], v.shape[-1])
        return (_attend_flex if flex else attend_pieces)(q, k, v, scale=scale, pieces=pieces)
    trained = torch.is_grad_enabled() and (q.requires_grad or k.requires_grad)
    exact = q.dtype == torch.float32 and not q.is_cuda and not trained
    run = reference if exact else fused
    return run(q, k, v, scale=scale, mask=mask, causal=causal)


def attend_pieces(
    q: Float[Tensor, "B H S U"],
    k: Float[Tensor, "B J S U"],
    v: Float[Tensor, "B J S V"],
    *,
    scale: float,
    pieces: Pieces,
) -> Float[Tensor, "B H S V"]:
    """Each piece as if it stood alone; those of one length together."""
    parts = [x.transpose(1, 2).flatten(0, 1).split(pieces.flat) for x in (q, k, v)]
    out: list[Tensor] = [q] * len(pieces.flat)
    for indices in pieces.alike.values():
        q_n, k_n, v_n = (torch.stack([x[i] for i in indices]).transpose(1, 2) for x in parts)
        together = attend(q_n, k_n, v_n, scale=scale, causal=True).transpose(1, 2)
        for index, piece in zip(indices, together.unbind(), strict=True):
            out[index] = piece
    return torch.cat(out).unflatten(0, (len(pieces.lengths), -1)).transpose(1, 2)


def reference(
    q: Float[Tensor, "B H S U"],
    k: Float[Tensor, "B J T U"],
    v: Float[Tensor, "B J T V"],
    *,
    scale: float,
    mask: Bool[Tensor, "#B 1 S T"] | None = None,
    causal: bool = False,
) -> Float[Tensor, "B H S V"]:
    """The formula, over blocks of queries so that long contexts fit."""
    B, H, S, _ = q.shape
    J, T = k.shape[1], k.shape[2]
    tokens = torch.arange(T, device=q.device)
    rows = max(SCORES // (B * H * T), 1)
    out = []
    for start in range(0, S, rows):
        block = q[:, :, start : start + rows]
        if causal:  # these rows alone: all S·T of a long prompt would not fit
            seen = tokens <= tokens[start + T - S :][: block.shape[2], None]
        else:
            seen = None if mask is None else mask[:, :, None, start : start + rows]
        out.append(_attend_block(block.unflatten(1, (J, -1)), k, v, scale, seen))
    return out[0] if len(out) == 1 else torch.cat(out, dim=2)


def _attend_block(
    q_BJQSU: Tensor, k_BJTU: Tensor, v_BJTV: Tensor, scale: float, mask: Tensor | None
) -> Tensor:
    """The Q query heads of a group are rows of one product with their shared keys and values."""
    Q, S = q_BJQSU.shape[2:4]
    scores_BJQST = (q_BJQSU.flatten(2, 3) @ k_BJTU.mT).unflatten(2, (Q, S)) * scale
    if mask is not None:
        scores_BJQST = scores_BJQST.masked_fill(~mask, -torch.inf)
    probs_BJQST = scores_BJQST.softmax(-1, dtype=torch.float32).to(v_BJTV.dtype)
    return (probs_BJQST.flatten(2, 3) @ v_BJTV).unflatten(2, (Q, S)).flatten(1, 2)


def fused(
    q: Float[Tensor, "B H S U"],
    k: Float[Tensor, "B J T U"],
    v: Float[Tensor, "B J T V"],
    *,
    scale: float,
    mask: Bool[Tensor, "#B 1 S T"] | None = None,
    causal: bool = False,
) -> Float[Tensor, "B H S V"]:
    """torch's fused attention, which sums in float32 and never holds all scores."""
    group, width, value = q.shape[1] // k.shape[1], q.shape[-1], v.shape[-1]
    if value < width:  # it wants one width for all three
        v = F.pad(v, (0, width - value))
    if group > 1 and q.shape[1] * q.shape[2] * k.shape[2] <= ROWS:
        return _fused_rows(q, k, v, scale=scale, mask=_mask(mask, causal, q))[..., :value]
    if group > 1:
        k, v = _repeat(k, group), _repeat(v, group)
    out = F.scaled_dot_product_attention(q, k, v, attn_mask=mask, is_causal=causal, scale=scale)
    return out[..., :value]


def _fused_rows(q: Tensor, k: Tensor, v: Tensor, *, scale: float, mask: Tensor | None) -> Tensor:
    """The heads of a group as rows over their shared keys, which are then read once: for one new
    token of 16 latent heads over 4,096 tokens 25 times as fast (bench/mla_crossover.py)."""
    Q, S = q.shape[1] // k.shape[1], q.shape[2]
    rows = q.unflatten(1, (-1, Q)).flatten(2, 3)
    mask = None if mask is None else mask.repeat(1, 1, Q, 1)
    out = F.scaled_dot_product_attention(rows, k, v, attn_mask=mask, scale=scale)
    return out.unflatten(2, (Q, S)).flatten(1, 2)


def _mask(mask: Tensor | None, causal: bool, q: Tensor) -> Tensor | None:
    if not causal:
        return mask
    S = q.shape[2]
    return torch.ones(S, S, dtype=torch.bool, device=q.device).tril()[None, None]


def _repeat(x: Tensor, group: int) -> Tensor:
    """Each head `group` times in a row; a single head is not copied."""
    if x.shape[1] == 1:
        return x.expand(-1, group, -1, -1)
    return x.repeat_interleave(group, dim=1)


# ---------------------------------------------------------------------------- FlexAttention, on CUDA


def _block_mask(ids: Int[Tensor, "B S"]) -> Any:
    from torch.nn.attention.flex_attention import create_block_mask

    rows, length = ids.shape
    return create_block_mask(
        lambda b, h, query, key: (query >= key) & (ids[b, query] == ids[b, key]),
        *(rows, None, length, length),
        device=str(ids.device),
    )


@cache
def _flex() -> Any:
    from torch.nn.attention.flex_attention import flex_attention

    return torch.compile(flex_attention)


def _attend_flex(q: Tensor, k: Tensor, v: Tensor, *, scale: float, pieces: Pieces) -> Tensor:
    grouped = q.shape[1] != k.shape[1]
    return _flex()(q, k, v, block_mask=pieces.block_mask, scale=scale, enable_gqa=grouped)


@cache
def flex_works(dtype: torch.dtype, width: int, value: int) -> bool:
    """Whether FlexAttention compiles here for these widths and gives what each piece alone gives."""
    pieces = Pieces(((100, 156),))
    q, k = torch.randn(2, 1, 2, 256, width, device="cuda", dtype=dtype)
    v = torch.randn(1, 2, 256, value, device="cuda", dtype=dtype)
    try:
        got = _attend_flex(q, k, v, scale=width**-0.5, pieces=pieces)
    except Exception as error:  # what a compiler raises is not to be known
        warnings.warn(f"attention goes piece by piece: FlexAttention failed: {error}", stacklevel=2)
        return False
    want = attend_pieces(q, k, v, scale=width**-0.5, pieces=pieces)
    return torch.allclose(got, want, atol=2e-2)
