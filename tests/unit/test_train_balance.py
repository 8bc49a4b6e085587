"""Balance: every formula against the paper's sums written out, and by hand where all is even."""

import itertools
from dataclasses import replace

import pytest
import torch
from torch.utils.checkpoint import checkpoint

from conftest import randomise
from midfill.config.model import MoEConfig
from midfill.config.train import BalanceConfig
from midfill.model.moe import Routing, route
from midfill.model.transformer import Transformer
from midfill.recipes.models import tiny
from midfill.train.balance import (
    Balance,
    Dropping,
    balance_loss,
    communication_loss,
    device_loss,
    exempt_sequences,
    expert_counts,
    expert_loss,
    kept_pairs,
    layer_load,
    move_bias,
    routers,
    watch,
)

MOE = MoEConfig(
    experts=12, top_k=4, method="group_limited_greedy", groups=4, top_groups=2, balance_alpha=0.5
)
B, T = 3, 7


def routed(moe: MoEConfig = MOE, sequences: int = B, seed: int = 0) -> Routing:
    g = torch.Generator().manual_seed(seed)
    affinity = torch.randn(sequences * T, moe.experts, generator=g).softmax(-1)
    affinity.requires_grad_()
    return Routing(affinity, *route(affinity, moe))


def cut(routing: Routing, sets: int):
    return routing.affinity.unflatten(0, (sets, -1)), routing.chosen.unflatten(0, (sets, -1))


def written_out(affinity, chosen, devices: int, most: int) -> list[float]:
    """Equations 23 to 31 of DeepSeek-V2 for one set of tokens, sum by sum."""
    tokens, experts = affinity.shape
    each, k = experts // devices, chosen.shape[1]
    f, p = [0.0] * experts, [0.0] * experts
    for i in range(experts):
        for t in range(tokens):
            f[i] += experts / (k * tokens) * (i in chosen[t].tolist())
            p[i] += affinity[t, i].item() / tokens
    first, second, third = sum(a * b for a, b in zip(f, p, strict=True)), 0.0, 0.0
    for d in range(devices):
        members = range(d * each, (d + 1) * each)
        p_device = sum(p[i] for i in members)
        second += sum(f[i] for i in members) / each * p_device
        sent = sum(any(i in chosen[t].tolist() for i in members) for t in range(tokens))
        third += devices / (most * tokens) * sent * p_device
    return [first, second, third]


@pytest.mark.parametrize("sets", [1, B])
def test_the_losses_are_the_equations(sets: int):
    affinity, chosen = cut(routed(), sets)
    want = [written_out(a, c, 4, 2) for a, c in zip(affinity, chosen, strict=True)]
    got = (
        expert_loss(affinity, chosen),
        device_loss(affinity, chosen, 4),
        communication_loss(affinity, chosen, 4, 2),
    )
    for mine, theirs in zip(got, zip(*want, strict=True), strict=True):
        assert mine.item() == pytest.approx(sum(theirs) / sets, rel=1e-5)


@pytest.mark.parametrize("per_sequence", [True, False])
def test_they_join_at_their_weights_over_all_layers(per_sequence: bool):
    moe = replace(MOE, balance_per_sequence=per_sequence)
    config = BalanceConfig(expert=0.3, device=0.2, communication=0.1)
    routings = {1: routed(), 2: routed(seed=1)}
    want = 0.0
    for routing in routings.values():
        affinity, chosen = cut(routing, B if per_sequence else 1)
        found = [written_out(a, c, 4, 2) for a, c in zip(affinity, chosen, strict=True)]
        want += sum(0.3 * e + 0.2 * d + 0.1 * c for e, d, c in found) / len(found)
    assert balance_loss(routings, moe, config, B).item() == pytest.approx(want, rel=1e-5)
    alone = balance_loss(routings, moe, BalanceConfig(), B)
    want = balance_loss(routings, moe, BalanceConfig(expert=moe.balance_alpha), B)
    assert alone == want


def test_perfect_balance_costs_alpha():
    chosen = torch.arange(12).view(1, 3, 4)  # each expert once; three devices of four
    affinity = torch.full((1, 3, 12), 1 / 12)
    assert expert_loss(affinity, chosen).item() == pytest.approx(1)
    assert device_loss(affinity, chosen, 3).item() == pytest.approx(1)
    assert communication_loss(affinity, chosen, 3, 1).item() == pytest.approx(1)
    routing = Routing(affinity[0], affinity[0, :, :4], chosen[0])
    moe = replace(MOE, method="greedy", groups=1, top_groups=1)
    assert balance_loss({1: routing}, moe, BalanceConfig(expert=0.003), 1).item() == (
        pytest.approx(0.003)
    )


def test_all_tokens_to_the_same_experts_cost_most():
    """Four of twelve experts take everything: three times an even load, at all the affinity."""
    affinity = torch.zeros(1, 5, 12)
    affinity[..., :4] = 0.25
    chosen = torch.arange(4).expand(1, 5, 4)
    assert expert_loss(affinity, chosen).item() == pytest.approx(3)


def test_over_the_batch_it_is_transformers_load_balancing():
    modelling = pytest.importorskip("transformers.models.mixtral.modeling_mixtral")
    moe = replace(MOE, method="greedy", groups=1, top_groups=1)
    logits = torch.randn(20, 12)
    affinity = logits.softmax(-1)
    theirs = modelling.load_balancing_loss_func((logits,), 12, moe.top_k)
    chosen = route(affinity, moe)[1]
    got = moe.top_k * expert_loss(affinity[None], chosen[None])  # its f is not divided by K
    torch.testing.assert_close(got, theirs)


def test_gradients_reach_the_router_through_affinities_alone():
    routing = routed()
    affinity, chosen = cut(routing, B)
    grad = torch.autograd.grad(expert_loss(affinity, chosen), routing.affinity)[0]
    for b in range(B):
        counts = torch.bincount(chosen[b].flatten(), minlength=12)
        want = counts * 12 / (4 * T) / T / B
        torch.testing.assert_close(grad.view(B, T, 12)[b], want.expand(T, 12))


# ---------------------------------------------------------------------------------- on a network


@pytest.fixture
def network() -> Transformer:
    made = Transformer(tiny())
    randomise(made)
    return made.train()


IDS = torch.randint(0, 512, (2, 16), generator=torch.Generator().manual_seed(5))


def test_watching_sees_every_layer_once_and_leaves_nothing_behind(network):
    plain = network.hidden(IDS)
    with watch(network) as seen:
        watched = network.hidden(IDS)
    assert torch.equal(plain, watched)
    assert list(seen) == [1, 2]
    assert all(r.affinity.shape == (32, 8) for r in seen.values())
    seen.clear()
    network.hidden(IDS)
    assert not seen


def test_gradient_checkpointing_counts_and_differentiates_once(network):
    balance = Balance(network, network.config.moe, BalanceConfig(expert=0.1), seed=0)

    def grads(run) -> tuple[list[torch.Tensor], dict]:
        network.zero_grad()
        with balance.watch([0, 1]) as seen:
            hidden = run()
        (hidden.square().mean() + balance.loss(seen, 2)).backward()
        return [p.grad for _, p in network.named_parameters() if p.grad is not None], (
            balance.finish()
        )

    def checkpointed():
        block = type(network.layers[0]).forward
        for layer in network.layers:
            layer.forward = lambda *a, layer=layer: checkpoint(
                block, layer, *a, use_reentrant=False
            )
        return network.hidden(IDS)

    plain, loads = grads(lambda: network.hidden(IDS))
    again, loads_again = grads(checkpointed)
    assert loads == loads_again
    for a, b in zip(plain, again, strict=True):
        torch.testing.assert_close(a, b)


def test_figures_of_loads():
    even = layer_load(torch.tensor([5, 5, 5, 5]), dropped=2)
    assert (even.largest, even.smallest, even.dropped) == (1.0, 1.0, 0.1)
    assert even.entropy == pytest.approx(1)
    skewed = layer_load(torch.tensor([0, 0, 10, 10]))
    assert (skewed.largest, skewed.smallest) == (2.0, 0.0)
    assert skewed.entropy == pytest.approx(0.5)


def test_the_bias_evens_out_what_the_affinities_do_not(network):
    config = BalanceConfig(expert=0.0, bias_rate=0.01)
    balance = Balance(network.eval(), network.config.moe, config, seed=0)
    ids = torch.randint(0, 512, (16, 32), generator=torch.Generator().manual_seed(6))
    largest = []
    for step in range(60):
        with torch.no_grad(), balance.watch(range(16)):
            network.hidden(ids)
        if step == 0:
            counts = {layer: c[:-1].clone() for layer, c in balance._counts.items()}
        largest.append(max(load.largest for load in balance.finish().values()))
        if step == 0:
            for layer, router in routers(network).items():
                over = counts[layer].double() > counts[layer].double().mean()
                assert torch.equal(router.e_score_correction_bias < 0, over)
    assert max(largest[-5:]) - 1 < 0.5 * (largest[0] - 1)


def test_a_bias_comes_back_with_a_checkpoint(network):
    Balance(network, network.config.moe, BalanceConfig(bias_rate=0.1), seed=0)
    move_bias(network, {1: torch.arange(8), 2: torch.arange(8)}, 0.25)
    again = Transformer(tiny())
    Balance(again, again.config.moe, BalanceConfig(bias_rate=0.1), seed=0)
    again.load_state_dict(network.state_dict())
    for router in routers(again).values():
        want = [0.25] * 4 + [-0.25] * 4
        assert router.e_score_correction_bias.tolist() == want


# --------------------------------------------------------------------------------- dropped tokens


@pytest.mark.parametrize(
    ("capacity", "seed"), list(itertools.product([0.3, 1.0, 1.5, 4.0], range(3)))
)
def test_each_device_keeps_its_dearest_pairs(capacity: float, seed: int):
    routing, exempt = routed(seed=seed), torch.arange(B * T) < T
    kept = kept_pairs(routing, 4, capacity, exempt)
    most = -(-capacity * B * T * 4 // 4)
    for device in range(4):
        pairs = sorted(
            (not bool(exempt[t]), -routing.affinity[t, e].item(), t, k)
            for t, row in enumerate(routing.chosen.tolist())
            for k, e in enumerate(row)
            if e // 3 == device
        )
        for place, (late, _, t, k) in enumerate(pairs):
            assert bool(kept[t, k]) == (place < most or not late)


def test_dropped_pairs_are_not_computed_in_training_and_are_in_evaluation(network):
    with torch.no_grad():
        whole = network.hidden(IDS)
        dropping = Dropping(network, capacity=0.5)
        dropping.exempt = torch.tensor([False, True])
        with watch(network) as seen:
            cut_down = network.hidden(IDS)
        assert all(int((~r.kept).sum()) > 0 for r in seen.values())
        assert all(bool(r.kept[16:].all()) for r in seen.values())
        assert not torch.allclose(whole[0], cut_down[0])
        torch.testing.assert_close(whole[1], cut_down[1])
        torch.testing.assert_close(network.eval().hidden(IDS), whole)
        dropping.remove()
        torch.testing.assert_close(network.train().hidden(IDS), whole)


def test_load_counts_what_was_chosen_and_says_what_was_dropped(network):
    config = BalanceConfig(capacity=0.5, exempt=0.0)
    balance = Balance(network, network.config.moe, config, seed=0)
    with balance.watch([0, 1]) as seen:
        network.hidden(IDS)
    assert all(int(expert_counts(r).sum()) == 64 for r in seen.values())
    assert all(0.2 < load.dropped <= 0.6 for load in balance.finish().values())


def test_exemption_is_a_function_of_seed_and_sequence():
    many = exempt_sequences(1, range(4000), 0.1)
    assert 0.08 < many.float().mean() < 0.12
    assert torch.equal(exempt_sequences(1, [17, 3999, 5], 0.1), many[[17, 3999, 5]])
    assert not torch.equal(exempt_sequences(2, range(4000), 0.1), many)
    assert not exempt_sequences(1, range(100), 0.0).any()
