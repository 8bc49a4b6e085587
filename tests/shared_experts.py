"""Started by torchrun: experts that all processes share equal those that each has whole.

Each process has tokens of its own; outputs and gradients are compared, those of the experts after
their sum over all processes.
"""

import torch
from torch import Tensor
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.tensor import DTensor

from midfill.config.model import MoEConfig
from midfill.model.moe import DROPPED, Experts
from midfill.train.parallel.experts import SpreadExperts
from midfill.train.parallel.ranks import Ranks, join, leave

EXPERTS, TOP, DIM, TOKENS = 12, 3, 16, 20


def choices(ranks: Ranks) -> dict[str, Tensor]:
    """The chosen experts [M, K] of each case; no token chooses one twice."""
    chosen = torch.stack([torch.randperm(EXPERTS)[:TOP] for _ in range(TOKENS)])
    first = torch.stack([torch.randperm(EXPERTS // ranks.world)[:TOP] for _ in range(TOKENS)])
    some = chosen.masked_fill(torch.rand(TOKENS, TOP) < 0.5, DROPPED)
    of_one = some if ranks.first else torch.full_like(some, DROPPED)
    return {
        "all": chosen,
        "some dropped": some,
        "the first process's": first,
        "the first process's tokens": of_one,
        "none": torch.full_like(chosen, DROPPED),
        "no tokens in the last": chosen[: 0 if ranks.rank == ranks.world - 1 else None],
    }


def passed(experts: Experts, chosen: Tensor, seed: int) -> list[Tensor]:
    """Output, and gradients of tokens, weights and experts."""
    torch.manual_seed(seed)
    x = torch.randn(len(chosen), DIM, requires_grad=True)
    weights = torch.rand(len(chosen), TOP, requires_grad=True)
    out = experts(x, chosen, weights)
    experts.zero_grad()
    (out * torch.randn(out.shape)).sum().backward()
    grads = [p.grad if p.grad is not None else torch.zeros_like(p) for p in experts.parameters()]
    own = [t.grad if t.grad is not None else torch.zeros_like(t) for t in (x, weights)]
    return [out.detach(), *own, *grads]


def main() -> None:
    ranks = join()
    torch.set_default_dtype(torch.float64)  # the order of sums then hides nothing
    torch.manual_seed(0)
    full = Experts(MoEConfig(experts=EXPERTS, top_k=TOP, hidden=12), DIM)
    for parameter in full.parameters():
        torch.nn.init.normal_(parameter)
    spread = SpreadExperts(full, init_device_mesh("cpu", (ranks.world,)))
    assert all(len(p.to_local()) == EXPERTS // ranks.world for p in spread.parameters())
    torch.manual_seed(1 + ranks.rank)
    for name, chosen in choices(ranks).items():
        want = passed(full, chosen, ranks.rank)
        want[3:] = [ranks.sum(grad) for grad in want[3:]]
        got = passed(spread, chosen, ranks.rank)
        got = [one.full_tensor() if isinstance(one, DTensor) else one for one in got]
        for one, other in zip(got, want, strict=True):
            torch.testing.assert_close(one, other, rtol=1e-10, atol=1e-10, msg=name)
    leave()


if __name__ == "__main__":
    main()
