"""Feed-forward layers: one SwiGLU, or DeepSeekMoE's routed and shared experts.

Source: DeepSeek-V2 §2.2. Shapes: M tokens, D residual, E experts, K top-k, F expert hidden,
P slots: the chosen pairs of token and expert, those of one expert next to each other.
"""

from collections.abc import Sequence
from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn

from midfill.config.model import CHOICE_BIAS, MoEConfig
from midfill.kernels.autocast import product_dtype

DROPPED = -1  # in place of an expert's id: this pair is not computed
CACHED = 512  # tokens whose experts' answers are widened at once: what a processor's cache holds


class SwiGLU(nn.Module):
    """down(silu(gate x) * up x)."""

    def __init__(self, dim: int, hidden: int, *, bias: bool = False) -> None:
        super().__init__()
        self.gate_proj = nn.Linear(dim, hidden, bias=bias)
        self.up_proj = nn.Linear(dim, hidden, bias=bias)
        self.down_proj = nn.Linear(hidden, dim, bias=bias)

    def forward(self, x: Float[Tensor, "*batch D"]) -> Float[Tensor, "*batch D"]:
        """The feed-forward of every token."""
        return self.down_proj(F.silu(self.gate_proj(x)) * self.up_proj(x))


class Routing(NamedTuple):
    """Where a router sends its tokens."""

    affinity: Float[Tensor, "M E"]  # float32, softmax over all experts, before any limit
    weights: Float[Tensor, "M K"]
    chosen: Int[Tensor, "M K"]
    kept: Bool[Tensor, "M K"] | None = None  # None: all; the others are dropped (§2.2.4)

    def computed(self) -> Int[Tensor, "M K"]:
        """`chosen`, with DROPPED where a pair is not kept."""
        return self.chosen if self.kept is None else self.chosen.masked_fill(~self.kept, DROPPED)


class Router(nn.Module):
    """Affinities of tokens to experts, and the choice. Forward hooks may watch or change it.

    `e_score_correction_bias` exists only where training balanced by it; it moves the choice and
    leaves the weights alone (DeepSeek-V3 §2.1.2, its name there). A buffer: no gradient moves it.
    """

    e_score_correction_bias: Tensor | None

    def __init__(self, config: MoEConfig, dim: int) -> None:
        super().__init__()
        self.config = config
        self.weight = nn.Parameter(torch.empty(config.experts, dim))
        bias = torch.zeros(config.experts) if config.choice_bias else None
        self.register_buffer(CHOICE_BIAS, bias)

    def forward(self, flat: Float[Tensor, "M D"]) -> Routing:
        """Affinities in float32, whatever the type of activations and weights."""
        with torch.autocast(flat.device.type, enabled=False):
            affinity = F.linear(flat.float(), self.weight.float()).softmax(-1)
        bias = self.e_score_correction_bias
        if bias is None:
            return Routing(affinity, *route(affinity, self.config))
        return Routing(affinity, *route_biased(affinity, bias, self.config))


def route(
    affinity: Float[Tensor, "M E"], config: MoEConfig
) -> tuple[Float[Tensor, "M K"], Int[Tensor, "M K"]]:
    """Weights and ids of the experts each token goes to, from its softmax affinities.

    Device-limited routing (DeepSeek-V2 §2.2.2) first keeps the groups with the highest *maximum*.
    Weights are the raw affinities times the scaling factor, or renormalised, never both.
    """
    if config.method == "group_limited_greedy":
        affinity = affinity.masked_fill(~_allowed(affinity, config), 0.0)
    weights, chosen = affinity.topk(config.top_k, dim=1, sorted=False)
    return _scaled(weights, config), chosen


def route_biased(
    affinity: Float[Tensor, "M E"], bias: Float[Tensor, " E"], config: MoEConfig
) -> tuple[Float[Tensor, "M K"], Int[Tensor, "M K"]]:
    """As `route`, but groups and experts are chosen by affinity + bias. DeepSeek-V3 §2.1.2."""
    scores = affinity.detach() + bias
    if config.method == "group_limited_greedy":
        scores = scores.masked_fill(~_allowed(scores, config), -torch.inf)
    chosen = scores.topk(config.top_k, dim=1, sorted=False).indices
    return _scaled(affinity.gather(1, chosen), config), chosen


def _allowed(scores: Float[Tensor, "M E"], config: MoEConfig) -> Bool[Tensor, "M E"]:
    """The experts in each token's best groups."""
    groups = scores.unflatten(1, (config.groups, -1))
    kept = groups.amax(2).topk(config.top_groups, dim=1).indices
    allowed = torch.zeros_like(groups[:, :, 0], dtype=torch.bool).scatter_(1, kept, True)
    return allowed[:, :, None].expand_as(groups).flatten(1)


def _scaled(weights: Float[Tensor, "M K"], config: MoEConfig) -> Float[Tensor, "M K"]:
    if config.norm_top_k and config.top_k > 1:
        return weights / (weights.sum(1, keepdim=True) + 1e-20)
    return weights * config.scale


class Experts(nn.Module):
    """All routed experts of a layer, stacked: gate rows first, then up rows."""

    def __init__(self, config: MoEConfig, dim: int) -> None:
        super().__init__()
        self.gate_up_proj = nn.Parameter(torch.empty(config.experts, 2 * config.hidden, dim))
        self.down_proj = nn.Parameter(torch.empty(config.experts, dim, config.hidden))

    def forward(
        self, x: Float[Tensor, "M D"], chosen: Int[Tensor, "M K"], weights: Float[Tensor, "M K"]
    ) -> Float[Tensor, "M D"]:
        """The weighted sum of each token's chosen experts; only those are computed."""
        dtype = product_dtype(x)
        if len(x) == 1 and not torch.is_grad_enabled():
            return self._one(x.to(dtype), chosen[0].tolist(), weights)
        return _RoutedSwiGLU.apply(
            x.to(dtype), chosen, weights, self.gate_up_proj.to(dtype), self.down_proj.to(dtype)
        )

    def _one(
        self, x: Float[Tensor, "1 D"], chosen: list[int], weights: Float[Tensor, "1 K"]
    ) -> Float[Tensor, "1 D"]:
        """The same for one token, as when decoding: there is nothing to sort."""
        rows = []
        for expert in chosen:
            gate, up = F.linear(x, self.gate_up_proj[expert].to(x.dtype)).chunk(2, dim=-1)
            rows.append(F.linear(F.silu(gate) * up, self.down_proj[expert].to(x.dtype)))
        return (weights @ torch.cat(rows).to(weights.dtype)).to(x.dtype)


class MoE(nn.Module):
    """Routed experts plus the shared ones, which every token passes."""

    def __init__(self, config: MoEConfig, dim: int, *, bias: bool = False) -> None:
        super().__init__()
        self.config = config
        self.gate = Router(config, dim)
        self.experts = Experts(config, dim)
        self.shared_experts = (
            SwiGLU(dim, config.shared * config.hidden, bias=bias) if config.shared else None
        )

    def forward(self, x: Float[Tensor, "*batch D"]) -> Float[Tensor, "*batch D"]:
        """Route each token by float32 affinities and add the shared experts, unscaled."""
        flat = x.reshape(-1, x.shape[-1])
        routing = self.gate(flat)
        out = self.experts(flat, routing.computed(), routing.weights).view(x.shape)
        return out if self.shared_experts is None else out + self.shared_experts(x)


# ------------------------------------------------------------------ the experts' products, sorted


class _Slots(NamedTuple):
    """Pairs of token and expert in the order of the experts, each expert's padded to its size."""

    parts: list[tuple[int, slice]]  # the experts with any, and their slots
    token: Int[Tensor, " P"]  # whose row is in a slot; padding repeats token 0
    of_pair: Int[Tensor, "M K"]  # the slot of each pair; of a dropped pair, the first


def _slots(chosen: Int[Tensor, "M K"], experts: int, *, padded: bool) -> _Slots:
    """Sort the pairs by expert, once. Dropped pairs get no slot of their own."""
    flat = chosen.flatten()
    order = flat.argsort(stable=True)  # the dropped ones first
    dropped, *counts = torch.bincount(flat - DROPPED, minlength=experts + 1).tolist()
    parts, places, end = [], [], 0
    for expert, count in enumerate(counts):
        if count:
            start, end = end, end + (_rounded(count) if padded else count)
            parts.append((expert, slice(start, end)))
            places.append((start, start + count))
    order = order[dropped:]
    if end == len(order):
        place = torch.arange(end, device=flat.device)
    else:
        place = torch.cat([torch.arange(*p, device=flat.device) for p in places])
    of_pair, token = torch.zeros_like(flat), flat.new_zeros(end)
    of_pair[order] = place
    token[place] = order // chosen.shape[1]
    return _Slots(parts, token, of_pair.view_as(chosen))


def _rounded(count: int) -> int:
    """`count` or up to an eighth more, so that few sizes occur.

    oneDNN compiles a product anew for every number of rows, which takes longer than the product.
    """
    step = max(1 << count.bit_length() >> 4, 1)
    return -(-count // step) * step


def _each(
    x: Float[Tensor, "P I"], matrices: Float[Tensor, "E O I"], parts: Sequence[tuple[int, slice]]
) -> Float[Tensor, "P O"]:
    """Every slot times the transposed matrix of its expert. The place for F.grouped_mm on CUDA."""
    out = x.new_empty(x.shape[0], matrices.shape[1])
    for expert, rows in parts:
        torch.mm(x[rows], matrices[expert].T, out=out[rows])
    return out


def _outer(
    left: Float[Tensor, "P O"],
    right: Float[Tensor, "P I"],
    parts: Sequence[tuple[int, slice]],
    like: Float[Tensor, "E O I"],
) -> Float[Tensor, "E O I"]:
    """The sum of outer products over the slots of each expert: the gradients of `like`."""
    out = torch.empty_like(like) if len(parts) == len(like) else torch.zeros_like(like)
    for expert, rows in parts:
        torch.mm(left[rows].T, right[rows], out=out[expert])
    return out


def _gather_sum(
    rows: Float[Tensor, "P D"], slots: Int[Tensor, "M K"], weights: Float[Tensor, "M K"]
) -> Float[Tensor, "M D"]:
    """The weighted sum of each token's K rows, in a fixed order and in the wider type."""
    wide = torch.promote_types(rows.dtype, weights.dtype)
    if wide == rows.dtype or rows.is_cuda:
        out = F.embedding_bag(slots, rows.to(wide), per_sample_weights=weights.to(wide), mode="sum")
        return out.to(rows.dtype)
    out = rows.new_empty(len(slots), rows.shape[1])
    places = torch.arange(slots.numel(), device=rows.device).view_as(slots)
    parts = (x.split(CACHED) for x in (slots, weights, out))
    for some, scales, sums in zip(*parts, strict=True):
        picked = rows.index_select(0, some.flatten()).to(wide)
        scales = scales.to(wide)
        sums.copy_(
            F.embedding_bag(places[: len(some)], picked, per_sample_weights=scales, mode="sum")
        )
    return out


class _RoutedSwiGLU(torch.autograd.Function):
    """Gather, two products per expert, weighted sum; and their gradients.

    By hand, because autograd would make a gradient of all experts for each of them, and would add
    the rows of a token up with atomics.
    """

    @staticmethod
    def forward(
        ctx: Any, x: Tensor, chosen: Tensor, weights: Tensor, gate_up: Tensor, down: Tensor
    ) -> Tensor:
        training = any(ctx.needs_input_grad)
        padded = training and x.dtype == torch.bfloat16 and not x.is_cuda
        parts, token, slots = _slots(chosen, len(gate_up), padded=padded)
        ctx.parts = parts
        if not parts:  # all were dropped
            return torch.zeros_like(x)
        hidden_P2F = _each(x.index_select(0, token), gate_up, parts)
        gate_PF, up_PF = hidden_P2F.chunk(2, dim=-1)
        out_PD = _each(F.silu(gate_PF) * up_PF, down, parts)
        if training:
            ctx.save_for_backward(x, chosen, weights, gate_up, down, token, slots, hidden_P2F)
        return _gather_sum(out_PD, slots, weights.masked_fill(chosen == DROPPED, 0.0))

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:
        if not ctx.parts:
            return None, None, None, None, None
        x, chosen, weights, gate_up, down, token, slots, hidden_P2F = ctx.saved_tensors
        parts, kept = ctx.parts, chosen != DROPPED
        grad_PD = grads[0].to(x.dtype).index_select(0, token)
        gate_PF, up_PF = hidden_P2F.chunk(2, dim=-1)
        silu_PF = F.silu(gate_PF)
        out_PF = silu_PF * up_PF
        # what would reach out_PF if all weights were one: its product with out_PF is their gradient
        grad_PF = _each(grad_PD, down.mT, parts)
        grad_weight_P = (grad_PF * out_PF).sum(1, dtype=weights.dtype)
        weight_P1 = x.new_zeros(len(token), 1)  # of padding zero, so it adds nothing below
        weight_P1[slots[kept], 0] = weights[kept].to(x.dtype)
        grad_down = _outer(grad_PD, out_PF.mul_(weight_P1), parts, down)
        grad_PF.mul_(weight_P1)
        grad_hidden_P2F = torch.empty_like(hidden_P2F)
        grad_gate_PF, grad_up_PF = grad_hidden_P2F.chunk(2, dim=-1)
        torch.mul(grad_PF, silu_PF, out=grad_up_PF)
        torch.ops.aten.silu_backward(grad_PF.mul_(up_PF), gate_PF, grad_input=grad_gate_PF)
        grad_gate_up = _outer(grad_hidden_P2F, x.index_select(0, token), parts, gate_up)
        grad_x_PD = _each(grad_hidden_P2F, gate_up.mT, parts)
        return (
            _gather_sum(grad_x_PD, slots, kept.to(x.dtype)),
            None,
            grad_weight_P[slots] * kept,
            grad_gate_up,
            grad_down,
        )
