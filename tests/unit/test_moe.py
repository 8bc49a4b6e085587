"""Sorted experts give what each token's chosen experts give one by one, and so do their gradients."""

from dataclasses import replace

import pytest
import torch
import torch.nn.functional as F
from jaxtyping import TypeCheckError

from conftest import randomise
from midfill.config.model import MoEConfig
from midfill.model.moe import DROPPED, Experts, MoE, Router, _rounded, route, route_biased

CONFIG = MoEConfig(experts=6, top_k=3, hidden=8, shared=0)
GROUPED = replace(CONFIG, method="group_limited_greedy", groups=3, top_groups=2)
DIM = 10


def case(tokens: int, dtype: torch.dtype = torch.float32, seed: int = 0):
    """Experts, inputs, choices and weights; some experts are chosen by nobody."""
    g = torch.Generator().manual_seed(seed)
    experts = Experts(CONFIG, DIM)
    randomise(experts)
    experts = experts.to(dtype)
    x = torch.randn(tokens, DIM, generator=g).to(dtype)
    affinity = torch.rand(tokens, CONFIG.experts - 1, generator=g)
    weights, chosen = affinity.topk(CONFIG.top_k, dim=1)
    return experts, x, chosen, weights


def one_by_one(experts: Experts, x, chosen, weights):
    """The formula: for every token, for every expert it chose."""
    rows = []
    for token, ids, scales in zip(x, chosen.tolist(), weights, strict=True):
        row = 0 * token
        for expert, scale in zip(ids, scales, strict=True):
            if expert != DROPPED:
                gate, up = (experts.gate_up_proj[expert] @ token).chunk(2)
                row = row + scale.to(x.dtype) * (experts.down_proj[expert] @ (F.silu(gate) * up))
        rows.append(row)
    return torch.stack(rows)


@pytest.mark.parametrize("tokens", [1, 2, 7, 50])
@pytest.mark.parametrize("dropped", [0.0, 0.4, 1.0])
def test_forward_and_gradients_are_the_formula(tokens: int, dropped: float):
    experts, x, chosen, weights = case(tokens, torch.float64)
    weights = weights.double()
    left_out = torch.rand(chosen.shape, generator=torch.Generator().manual_seed(3)) < dropped
    chosen = chosen.masked_fill(left_out, DROPPED)
    wrt = (x.requires_grad_(), weights.requires_grad_(), *experts.parameters())
    along = torch.randn_like(x)
    results = []
    for run in (experts, lambda *a: one_by_one(experts, *a)):
        out = run(x, chosen, weights)
        found = torch.autograd.grad((out * along).sum(), wrt, materialize_grads=True)
        results.append((out, *found))
    for got, want in zip(*results, strict=True):
        torch.testing.assert_close(got, want)
    with torch.no_grad():
        torch.testing.assert_close(
            experts(x, chosen.clamp(min=0), weights),
            one_by_one(experts, x, chosen.clamp(min=0), weights),
        )


def test_gradients_are_finite_differences():
    experts, x, chosen, weights = case(5, torch.float64)
    chosen[1, 2] = DROPPED

    def run(x, weights, gate_up, down):
        parameters = {"gate_up_proj": gate_up, "down_proj": down}
        return torch.func.functional_call(experts, parameters, (x, chosen, weights))

    inputs = (x, weights.double(), experts.gate_up_proj, experts.down_proj)
    assert torch.autograd.gradcheck(run, [i.detach().requires_grad_() for i in inputs])


def test_bfloat16_in_training_differs_by_its_rounding_only():
    """Slices are padded there; what stands in the padding must not show."""
    experts, x, chosen, weights = case(700, torch.bfloat16)
    wide, _, _, _ = case(700)
    with torch.no_grad():
        for a, b in zip(wide.parameters(), experts.parameters(), strict=True):
            a.copy_(b)
    found = []
    for module, value in ((experts, x), (wide, x.float())):
        value.requires_grad_()
        module(value, chosen, weights).float().square().sum().backward()
        found.append([value.grad, *(p.grad for p in module.parameters())])
    for got, want in zip(*found, strict=True):
        assert (got.float() - want).norm() < 0.02 * want.norm()


def test_a_token_alone_is_the_token_in_a_batch():
    experts, x, chosen, weights = case(9)
    with torch.no_grad():
        together = experts(x, chosen, weights)
        for i in range(9):
            alone = experts(x[i : i + 1], chosen[i : i + 1], weights[i : i + 1])
            torch.testing.assert_close(alone[0], together[i])


def test_few_sizes_occur_and_an_eighth_is_wasted_at_most():
    sizes = [_rounded(count) for count in range(1, 4097)]
    assert len(set(sizes)) < 100
    assert all(count <= size <= 1.125 * count for count, size in enumerate(sizes, 1))


@pytest.mark.parametrize("config", [CONFIG, GROUPED, replace(CONFIG, norm_top_k=True)])
def test_a_bias_of_zero_changes_nothing(config: MoEConfig):
    affinity = torch.randn(40, config.experts).softmax(-1)
    want, got = route(affinity, config), route_biased(affinity, torch.zeros(6), config)
    for (weights, chosen), store in ((want, want_by := {}), (got, got_by := {})):
        for row in range(40):
            store[row] = dict(zip(chosen[row].tolist(), weights[row].tolist(), strict=True))
    assert want_by == got_by


def test_a_bias_moves_the_choice_and_not_the_weights():
    affinity = torch.tensor([[0.4, 0.3, 0.15, 0.1, 0.03, 0.02]])
    bias = torch.tensor([0.0, 0.0, -1.0, 0.0, 0.0, 0.0])
    weights, chosen = route_biased(affinity, bias, CONFIG)
    assert set(chosen[0].tolist()) == {0, 1, 3}
    torch.testing.assert_close(weights, affinity.gather(1, chosen))


def test_routing_is_float32_under_autocast():
    moe = MoE(CONFIG, DIM)
    randomise(moe)
    x = torch.randn(2, 5, DIM)
    want = moe.gate(x.flatten(0, 1))
    with torch.autocast("cpu", torch.bfloat16):
        got = moe.gate(x.flatten(0, 1))
        assert moe(x).dtype == torch.bfloat16
    assert torch.equal(got.affinity, want.affinity)
    assert got.affinity.dtype == torch.float32


def test_the_router_keeps_its_name_and_has_a_bias_only_if_given_one():
    moe = MoE(CONFIG, DIM)
    assert "gate.weight" in dict(moe.named_parameters())
    assert not list(moe.buffers())
    moe.gate.e_score_correction_bias = torch.ones(6)
    assert "gate.e_score_correction_bias" in moe.state_dict()


def test_shapes_are_checked():
    with pytest.raises(TypeCheckError):
        Router(CONFIG, DIM)(torch.zeros(2, 3, DIM))
