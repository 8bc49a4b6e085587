"""AdamW, or Muon for the matrices inside the network with AdamW for the rest.

Sources: DeepSeek-V2 §3.1.2 (AdamW), Muon: arXiv 2502.16982 §2.1 and K. Jordan's note of 2024-12-08.
"""

from collections.abc import Iterable, Iterator
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn.utils import clip_grads_with_norm_
from torch.optim import AdamW, Optimizer

from midfill.config.train import OptimiserConfig
from midfill.model.moe import Experts, Router
from midfill.model.transformer import Transformer
from midfill.train.parallel.pieces import by_mesh, local, norm_of, piece_of, whole_matrices

QUINTIC = (3.4445, -4.7750, 2.0315)  # of Newton-Schulz: steep at zero, so that five steps do
NEWTON_SCHULZ_STEPS = 5


def make_optimisers(network: Transformer, config: OptimiserConfig) -> list[Optimizer]:
    """AdamW alone, or Muon and AdamW. Each group keeps its highest rate as `peak`.

    Matrices decay; norms and biases do not. Muon takes what multiplies activations inside the
    blocks; embedding, head and router stay with AdamW.
    """
    named = [(name, p) for name, p in network.named_parameters() if p.requires_grad]
    by_muon = set(_hidden_matrices(network)) if config.kind == "muon" else set()
    vectors = [p for _, p in named if p.dim() < 2]
    matrices = [p for name, p in named if p.dim() >= 2 and name not in by_muon]
    groups = [
        {"params": matrices, "weight_decay": config.weight_decay, "peak": config.lr},
        {"params": vectors, "weight_decay": 0.0, "peak": config.lr},
    ]
    adamw = AdamW(
        [group for group in groups if group["params"]],
        lr=config.lr,
        betas=config.betas,
        eps=config.eps,
        fused=True,
    )
    hidden = [p for name, p in named if name in by_muon]
    if not hidden:
        return [adamw]
    pairs = {id(m.gate_up_proj) for m in network.modules() if isinstance(m, Experts)}
    groups = [
        {"params": [p for p in hidden if (id(p) in pairs) == paired], "parts": 1 + paired}
        for paired in (False, True)
    ]
    muon = Muon(
        [{**group, "peak": config.muon_lr} for group in groups if group["params"]],
        lr=config.muon_lr,
        momentum=config.muon_momentum,
        weight_decay=config.weight_decay,
    )
    return [muon, adamw]


def _hidden_matrices(network: Transformer) -> Iterator[str]:
    routers = {name for name, m in network.named_modules() if isinstance(m, Router)}
    for name, parameter in network.named_parameters():
        inside = name.startswith("layers.") and name.rpartition(".")[0] not in routers
        if inside and parameter.dim() >= 2:
            yield name


class Optimisers:
    """Those of a run as one: rates, clipping, steps, and the state that a checkpoint carries."""

    def __init__(self, network: Transformer, config: OptimiserConfig) -> None:
        self.network, self.config = network, config
        self.each = make_optimisers(network, config)

    def clip(self) -> Float[Tensor, ""]:
        """Scale the gradients down to the configured norm; return what it was before."""
        return clip(self.network.parameters(), self.config.clip)

    def step(self, share: float) -> None:
        """Move all parameters at this share of the highest rates, and forget the gradients."""
        for optimiser in self.each:
            for group in optimiser.param_groups:
                group["lr"] = share * group["peak"]
            optimiser.step()
        self.forget()

    def forget(self) -> None:
        """Leave the gradients out."""
        for optimiser in self.each:
            optimiser.zero_grad(set_to_none=True)

    def state_dict(self) -> dict[str, Any]:
        """What `load_state_dict` needs to go on as if nothing had happened."""
        return {str(i): optimiser.state_dict() for i, optimiser in enumerate(self.each)}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Take over the state of optimisers made for the same network and configuration."""
        for i, optimiser in enumerate(self.each):
            optimiser.load_state_dict(state[str(i)])


def clip(parameters: Iterable[Tensor], most: float) -> Float[Tensor, ""]:
    """The norm of all gradients together, before they were scaled down to `most`; 0: never.

    A norm that is not finite leaves gradients that are not: look at it before the step.
    """
    sets = by_mesh(p for p in parameters if p.grad is not None)
    norms = [norm_of([p.grad for p in one if p.grad is not None]) for one in sets]
    norm = norms[0] if len(norms) == 1 else torch.stack(norms).norm()
    if most > 0:
        for one in sets:
            clip_grads_with_norm_(one, most, norm)
    return norm


class Muon(Optimizer):
    """Steps along the nearest orthogonal matrix to the (Nesterov) momentum of the gradient.

    Takes matrices [out, in] and stacks of them [E, out, in]. `parts` of a group: how many matrices
    lie on each other in a parameter's rows (gate and up: 2), each made orthogonal alone.
    """

    def __init__(
        self,
        params: Any,
        *,
        lr: float = 0.02,
        momentum: float = 0.95,
        weight_decay: float = 0.0,
    ) -> None:
        defaults = {"lr": lr, "momentum": momentum, "weight_decay": weight_decay, "parts": 1}
        super().__init__(params, defaults)

    @torch.no_grad()
    def step(self, closure: None = None) -> None:  # pyright: ignore[reportIncompatibleMethodOverride]
        """Move every parameter that has a gradient."""
        for group in self.param_groups:
            for parameter in group["params"]:
                if parameter.grad is not None:
                    self._move(parameter, parameter.grad, group)

    def _move(self, parameter: Tensor, grad: Tensor, group: dict[str, Any]) -> None:
        state = self.state[parameter]
        if not state:
            state["momentum_buffer"] = torch.zeros_like(grad)
        momentum, slope = local(state["momentum_buffer"]), local(grad)
        momentum.lerp_(slope, 1 - group["momentum"])
        ahead = whole_matrices(slope.lerp(momentum, group["momentum"]), grad)
        ahead = ahead.unflatten(-2, (group["parts"], -1))
        rows, cols = ahead.shape[-2:]
        direction = piece_of(orthogonal(ahead).flatten(-3, -2).to(parameter.dtype), grad)
        moved = local(parameter)
        moved.mul_(1 - group["lr"] * group["weight_decay"])
        moved.add_(direction, alpha=-group["lr"] * max(1.0, rows / cols) ** 0.5)


def orthogonal(
    matrices: Float[Tensor, "*stack out in"], dtype: torch.dtype = torch.bfloat16
) -> Float[Tensor, "*stack out in"]:
    """Each matrix with its singular values moved near one (0.7 to 1.2), computed in `dtype`."""
    a, b, c = QUINTIC
    tall = matrices.shape[-2] > matrices.shape[-1]
    wide = (matrices.mT if tall else matrices).to(dtype)
    x = wide.reshape(-1, *wide.shape[-2:])
    x = x / x.norm(dim=(1, 2), keepdim=True).clamp(min=1e-7)
    for _ in range(NEWTON_SCHULZ_STEPS):
        square = x @ x.mT
        polynomial = torch.baddbmm(square, square, square, beta=b, alpha=c)
        x = torch.baddbmm(x, polynomial, x, beta=a)
    out = x.view_as(wide)
    return out.mT if tall else out
