"""Feed-forward layers: one SwiGLU, or DeepSeekMoE's routed and shared experts.

Source: DeepSeek-V2 §2.2. Shapes: M tokens, D residual, E experts, K top-k, F expert hidden.
"""

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from torch import Tensor, nn

from midfill.config.model import MoEConfig


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
        out = torch.zeros_like(x)
        for expert in chosen.unique().tolist():
            rows, slot = (chosen == expert).nonzero(as_tuple=True)
            gate, up = F.linear(x[rows], self.gate_up_proj[expert]).chunk(2, dim=-1)
            y = F.linear(F.silu(gate) * up, self.down_proj[expert])
            out.index_add_(0, rows, (y * weights[rows, slot, None]).to(x.dtype))
        return out


def route(
    affinity: Float[Tensor, "M E"], config: MoEConfig
) -> tuple[Float[Tensor, "M K"], Int[Tensor, "M K"]]:
    """Weights and ids of the experts each token goes to, from its softmax affinities.

    Device-limited routing (DeepSeek-V2 §2.2.2) first keeps the groups with the highest *maximum*.
    Weights are the raw affinities times the scaling factor, or renormalised, never both.
    """
    if config.method == "group_limited_greedy":
        groups = affinity.unflatten(1, (config.groups, -1))
        kept = groups.amax(2).topk(config.top_groups, dim=1).indices
        allowed = torch.zeros_like(groups[:, :, 0], dtype=torch.bool).scatter_(1, kept, True)
        affinity = groups.masked_fill(~allowed[:, :, None], 0.0).flatten(1)
    weights, chosen = affinity.topk(config.top_k, dim=1, sorted=False)
    if config.norm_top_k and config.top_k > 1:
        return weights / (weights.sum(1, keepdim=True) + 1e-20), chosen
    return weights * config.scale, chosen


class MoE(nn.Module):
    """Routed experts plus the shared ones, which every token passes."""

    def __init__(self, config: MoEConfig, dim: int, *, bias: bool = False) -> None:
        super().__init__()
        self.config = config
        self.gate = nn.Linear(dim, config.experts, bias=False)
        self.experts = Experts(config, dim)
        self.shared_experts = (
            SwiGLU(dim, config.shared * config.hidden, bias=bias) if config.shared else None
        )

    def forward(self, x: Float[Tensor, "*batch D"]) -> Float[Tensor, "*batch D"]:
        """Route each token by float32 affinities and add the shared experts, unscaled."""
        flat = x.reshape(-1, x.shape[-1])
        affinity = F.linear(flat.float(), self.gate.weight.float()).softmax(-1)
        weights, chosen = route(affinity, self.config)
        out = self.experts(flat, chosen, weights).view(x.shape)
        return out if self.shared_experts is None else out + self.shared_experts(x)
