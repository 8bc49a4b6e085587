"""Routed experts that several processes share; tokens travel to them and back.

Source: DeepSeek-V2 §2.2.2 counts this traffic: a token goes once to every process that holds some
of its experts. Shapes: M tokens, D residual, K top-k, E experts of one process, F expert hidden,
P rows: the chosen pairs of token and process, R processes.
"""

from collections.abc import Sequence
from typing import Any, NamedTuple

import torch
import torch.distributed as dist
import torch.nn.functional as F
from jaxtyping import Float, Int
from torch import Tensor, nn
from torch.distributed.device_mesh import DeviceMesh
from torch.distributed.tensor import Shard, distribute_tensor

from midfill.kernels.autocast import product_dtype
from midfill.model.moe import DROPPED, Experts, _RoutedSwiGLU
from midfill.train.parallel.pieces import local


class SpreadExperts(Experts):
    """As Experts, in the place of one; of E * R experts every process holds the next E."""

    def __init__(self, experts: Experts, mesh: DeviceMesh) -> None:
        """`mesh`: the processes that share the experts, of which each has all until now."""
        nn.Module.__init__(self)
        self._group = mesh.get_group()
        for name, parameter in experts.named_parameters():
            part = distribute_tensor(parameter.detach(), mesh, [Shard(0)], src_data_rank=None)
            setattr(self, name, nn.Parameter(part, requires_grad=parameter.requires_grad))

    def forward(
        self, x: Float[Tensor, "M D"], chosen: Int[Tensor, "M K"], weights: Float[Tensor, "M K"]
    ) -> Float[Tensor, "M D"]:
        """The weighted sum of each token's chosen experts. All processes of the group must call."""
        dtype = product_dtype(x)
        gate_up, down = local(self.gate_up_proj).to(dtype), local(self.down_proj).to(dtype)
        rows = _rows(chosen, len(gate_up), self._group)
        x_PD = _Exchange.apply(x.to(dtype)[rows.token], *rows.there)
        weights_PK = _Exchange.apply(weights[rows.token], *rows.there)
        chosen_PK = exchanged(rows.chosen, *rows.there)
        if not len(x_PD):  # a row of zeros: other holders of these experts wait for their gradients
            x_PD, weights_PK = F.pad(x_PD, (0, 0, 0, 1)), F.pad(weights_PK, (0, 0, 0, 1))
            chosen_PK = F.pad(chosen_PK, (0, 0, 0, 1))
        out_PD = _RoutedSwiGLU.apply(x_PD, chosen_PK, weights_PK, gate_up, down)
        back_PD = _Exchange.apply(out_PD[: sum(rows.there.received)], *rows.back)
        wide = torch.promote_types(dtype, weights.dtype)
        out = torch.zeros(x.shape, dtype=wide, device=x.device)
        return out.index_add(0, rows.token, back_PD.to(wide)).to(dtype)


class _Way(NamedTuple):
    """How many rows each process of a group gets from this one, and this one from each."""

    sent: Sequence[int]
    received: Sequence[int]
    group: dist.ProcessGroup


class _Rows(NamedTuple):
    """Tokens in the order of the processes that they go to."""

    token: Int[Tensor, " P"]
    chosen: Int[Tensor, "P K"]  # as their receiver counts its experts, DROPPED where others'
    there: _Way

    @property
    def back(self) -> _Way:
        return _Way(self.there.received, self.there.sent, self.there.group)


@torch.no_grad()
def _rows(chosen: Int[Tensor, "M K"], experts: int, group: dist.ProcessGroup) -> _Rows:
    """Where the tokens go; `experts` are those of one process."""
    process = torch.arange(group.size(), device=chosen.device)[:, None, None]
    goes_RM = (chosen // experts == process).any(2)  # a dropped pair goes to none: -1 // E is -1
    process_P, token_P = goes_RM.nonzero(as_tuple=True)
    chosen_PK = chosen[token_P] - experts * process_P[:, None]
    elsewhere = (chosen_PK < 0) | (chosen_PK >= experts)
    sent = goes_RM.sum(1)
    ones = [1] * group.size()
    received = exchanged(sent, ones, ones, group)
    way = _Way(sent.tolist(), received.tolist(), group)
    return _Rows(token_P, chosen_PK.masked_fill(elsewhere, DROPPED), way)


def exchanged(
    rows: Tensor, sent: Sequence[int], received: Sequence[int], group: dist.ProcessGroup
) -> Tensor:
    """The rows that the processes of a group have for this one, in the order of the processes."""
    out = rows.new_empty(sum(received), *rows.shape[1:])
    dist.all_to_all_single(out, rows.contiguous(), list(received), list(sent), group)
    return out


class _Exchange(torch.autograd.Function):
    """`exchanged`; gradients travel back the same way."""

    @staticmethod
    def forward(
        ctx: Any,
        rows: Tensor,
        sent: Sequence[int],
        received: Sequence[int],
        group: dist.ProcessGroup,
    ) -> Tensor:
        ctx.way = received, sent, group
        return exchanged(rows, sent, received, group)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:
        return exchanged(grads[0], *ctx.way), None, None, None
