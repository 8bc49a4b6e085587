"""Softmax attention whose query heads may share key/value heads: multi-head, grouped, multi-query.

`reference` is exact and readable, and what float32 uses; `fused` is torch's fused kernel, for the
narrow types. Shapes: B batch, H query heads, J key/value heads, Q query heads of each (H = J·Q),
S new tokens, T tokens in all, U key width, V value width.
"""

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float
from torch import Tensor

SCORES = 1 << 26  # attention scores held at once by the reference: 256 MB in float32
ROWS = 1 << 24  # up to so many scores, query heads are worth joining: the mask grows with them


def attend(
    q: Float[Tensor, "B H S U"],
    k: Float[Tensor, "B J T U"],
    v: Float[Tensor, "B J T V"],
    *,
    scale: float,
    mask: Bool[Tensor, "#B 1 S T"] | None = None,
    causal: bool = False,
) -> Float[Tensor, "B H S V"]:
    """What each query gathers from the values of the tokens it sees: `mask`, `causal` (S = T) or all."""
    run = reference if q.dtype == torch.float32 and not q.is_cuda else fused
    return run(q, k, v, scale=scale, mask=mask, causal=causal)


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
