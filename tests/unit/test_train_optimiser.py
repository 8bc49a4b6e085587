"""Groups, Muon against torch's and against the singular values, state that comes back exactly."""

import copy
from dataclasses import replace

import pytest
import torch
from torch import nn

from conftest import randomise
from midfill.config.train import OptimiserConfig
from midfill.model.transformer import Transformer
from midfill.recipes.models import tiny
from midfill.train.optimiser import Muon, Optimisers, clip, orthogonal

IDS = torch.randint(0, 512, (2, 12), generator=torch.Generator().manual_seed(1))


def made() -> Transformer:
    network = Transformer(replace(tiny(), mlp_bias=True))
    randomise(network)
    return network


def step(network: Transformer, optimisers: Optimisers, share: float = 1.0) -> None:
    network(IDS).square().mean().backward()
    optimisers.clip()
    optimisers.step(share)


@pytest.mark.parametrize("kind", ["adamw", "muon"])
def test_every_parameter_is_in_one_group_and_only_matrices_decay(kind):
    network = made()
    optimisers = Optimisers(network, OptimiserConfig(kind=kind, weight_decay=0.1))
    names = {id(p): name for name, p in network.named_parameters()}
    seen = []
    for optimiser in optimisers.each:
        for group in optimiser.param_groups:
            for p in group["params"]:
                name = names[id(p)]
                seen.append(name)
                assert group["weight_decay"] == (0.1 if p.dim() > 1 else 0.0), name
                outside = "embed" in name or "lm_head" in name or ".gate.weight" in name
                by_muon = kind == "muon" and p.dim() > 1 and not outside
                assert isinstance(optimiser, Muon) == by_muon, name
                if by_muon:
                    assert group["parts"] == (2 if "gate_up" in name else 1), name
    assert sorted(seen) == sorted(names.values())


@pytest.mark.parametrize("shape", [(24, 24), (40, 16), (16, 40)])
def test_muon_on_a_matrix_is_that_of_torch(shape):
    if not hasattr(torch.optim, "Muon"):
        pytest.skip("this torch has no Muon")
    mine, theirs = (nn.Parameter(torch.ones(shape)) for _ in range(2))
    a = Muon([mine], lr=0.1, momentum=0.9, weight_decay=0.2)
    b = torch.optim.Muon([theirs], lr=0.1, momentum=0.9, weight_decay=0.2, nesterov=True)
    for seed in range(4):
        mine.grad = torch.randn(shape, generator=torch.Generator().manual_seed(seed))
        theirs.grad = mine.grad.clone()
        a.step()
        b.step()
    # both round to bfloat16, in another order
    assert (mine - theirs).norm() < 0.01 * (theirs - 1).norm()


@pytest.mark.parametrize("parts", [1, 2])
def test_each_matrix_of_a_stack_moves_as_if_alone(parts: int):
    stack = nn.Parameter(torch.zeros(3, 12, 8))
    stack.grad = torch.randn(3, 12, 8, generator=torch.Generator().manual_seed(0))
    alone = [nn.Parameter(torch.zeros(12 // parts, 8)) for _ in range(3 * parts)]
    for p, grad in zip(alone, stack.grad.view(3 * parts, -1, 8), strict=True):
        p.grad = grad.clone()
    Muon([{"params": [stack], "parts": parts}]).step()
    Muon(alone).step()
    torch.testing.assert_close(stack.view(3 * parts, -1, 8), torch.stack(list(alone)))


def test_orthogonal_keeps_the_directions_and_evens_the_lengths():
    x = torch.randn(5, 20, 12, generator=torch.Generator().manual_seed(2), dtype=torch.float64)
    u, _, v = torch.linalg.svd(x, full_matrices=False)
    along = u.mT @ orthogonal(x, torch.float64) @ v.mT
    lengths = along.diagonal(dim1=1, dim2=2)
    assert lengths.min() > 0.6
    assert lengths.max() < 1.3
    assert (along - torch.diag_embed(lengths)).abs().max() < 1e-9


@pytest.mark.parametrize("kind", ["adamw", "muon"])
def test_going_on_from_a_state_is_bit_identical(kind, tmp_path):
    config = OptimiserConfig(kind=kind, lr=1e-2)
    straight = made()
    optimisers = Optimisers(straight, config)
    for i in range(2):
        step(straight, optimisers, 0.5 + i / 2)
    torch.save([straight.state_dict(), optimisers.state_dict()], tmp_path / "state")
    resumed = made()
    again = Optimisers(resumed, config)
    weights, state = torch.load(tmp_path / "state")
    resumed.load_state_dict(weights)
    again.load_state_dict(state)
    for _ in range(2):
        step(straight, optimisers, 0.3)
        step(resumed, again, 0.3)
    for (name, a), b in zip(straight.named_parameters(), resumed.parameters(), strict=True):
        assert torch.equal(a, b), name


@pytest.mark.parametrize("kind", ["adamw", "muon"])
def test_a_share_of_zero_moves_nothing_and_forgets_gradients(kind):
    network = made()
    before = copy.deepcopy(network.state_dict())
    step(network, Optimisers(network, OptimiserConfig(kind=kind)), share=0.0)
    for name, p in network.named_parameters():
        assert torch.equal(p, before[name]), name
        assert p.grad is None, name


def test_clipping_returns_the_norm_before_and_leaves_the_limit():
    parameters = [nn.Parameter(torch.zeros(2)) for _ in range(2)]
    parameters[0].grad, parameters[1].grad = torch.tensor([3.0, 0.0]), torch.tensor([0.0, 4.0])
    assert clip(parameters, 0.0).item() == clip(parameters, 10.0).item() == 5.0
    assert clip(parameters, 1.0).item() == 5.0
    assert clip(parameters, 0.0).item() == pytest.approx(1.0)
