"""Laws of one step: what it does not depend on."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from midfill.config.train import BalanceConfig, BatchConfig, DataConfig, TrainConfig
from midfill.errors import TrainError
from midfill.recipes.models import tiny
from midfill.train.balance import Balance
from midfill.train.build import new_network
from midfill.train.data import IGNORED, Batch
from midfill.train.objective import prepare
from midfill.train.optimiser import Optimisers
from midfill.train.parallel.ranks import Ranks
from midfill.train.step import Figures, Stepper, evaluate, passes_of

LENGTH, SEQUENCES = 24, 6
BYTES = torch.arange(tiny().vocab) % 5


def config(micro: int = SEQUENCES, **changes: object) -> TrainConfig:
    made = TrainConfig(
        model=tiny(),
        data=DataConfig(length=LENGTH),
        batch=BatchConfig(sequences=SEQUENCES, micro=micro),
        balance=BalanceConfig(expert=0.1, device=0.1, communication=0.1),
        precision="float32",
    )
    return replace(made, **changes)  # type: ignore[arg-type]


def batch(seed: int = 0) -> Batch:
    """Sequences whose documents leave them unequal numbers of targets."""
    chance = np.random.default_rng(seed)
    tokens = chance.integers(0, tiny().vocab, (SEQUENCES, LENGTH))
    targets = np.roll(tokens, -1, axis=1)
    documents = []
    for row in range(SEQUENCES):
        cut = 2 + 3 * row
        documents.append((cut, LENGTH - cut))
        targets[row, cut - 1] = IGNORED
        targets[row, -1 - row :] = IGNORED
    return Batch(
        tokens=tokens,
        targets=targets,
        documents=tuple(documents),
        sources=np.zeros(SEQUENCES, np.int64),
    )


def taken(config: TrainConfig, data: Batch) -> tuple[Figures, list[torch.Tensor]]:
    """A step, and the weights behind it."""
    network = new_network(config.model, 0.05, 1)
    optimisers = Optimisers(network, config.optimiser)
    balance = Balance(network, config.model.moe, config.balance, config.seed)
    stepper = Stepper(config, prepare(network, config), optimisers, balance, BYTES, Ranks())
    figures = stepper.step(data, 0, SEQUENCES, 1.0)
    return figures, [p.detach().clone() for p in network.parameters()]


@pytest.mark.parametrize("micro", [1, 2, 4])
def test_a_step_does_not_depend_on_how_it_is_cut(micro: int) -> None:
    whole, weights = taken(config(), batch())
    cut, others = taken(config(micro), batch())
    assert cut.loss == pytest.approx(whole.loss, rel=1e-5)
    assert cut.bits_per_byte == pytest.approx(whole.bits_per_byte, rel=1e-5)
    assert cut.grad_norm == pytest.approx(whole.grad_norm, rel=1e-4)
    assert cut.expert_loss == pytest.approx(whole.expert_loss, rel=1e-5)
    assert cut.layers.keys() == whole.layers.keys()
    for layer, load in cut.layers.items():
        assert load == whole.layers[layer]
    for one, other in zip(weights, others, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-3, atol=2e-5)


def test_activations_computed_again_change_nothing() -> None:
    whole, weights = taken(config(), batch())
    again, others = taken(config(checkpointing=True), batch())
    assert again.loss == whole.loss
    assert again.layers == whole.layers
    for one, other in zip(weights, others, strict=True):
        torch.testing.assert_close(one, other, rtol=0, atol=0)


def test_bits_per_byte_follow_from_loss_targets_and_bytes() -> None:
    data = batch()
    figures, _ = taken(config(), data)
    kept = data.targets[data.targets != IGNORED]
    bytes_ = int(BYTES[torch.from_numpy(kept)].sum())
    assert figures.bits_per_byte == pytest.approx(figures.loss * len(kept) / np.log(2) / bytes_)


def test_evaluation_is_the_loss_of_a_step_before_its_update() -> None:
    made, data = config(), batch()
    network = new_network(made.model, 0.05, 1)
    loss, bits = evaluate(made, prepare(network, made), [data], BYTES, Ranks())
    figures, _ = taken(made, data)
    assert loss == pytest.approx(figures.loss, rel=1e-6)
    assert bits == pytest.approx(figures.bits_per_byte, rel=1e-6)


def test_a_weight_that_is_no_number_ends_the_run_and_is_named() -> None:
    made = config()
    network = new_network(made.model, 0.05, 1)
    with torch.no_grad():
        network.layers[2].mlp.gate.weight[0, 0] = float("inf")  # type: ignore[union-attr]
    balance = Balance(network, made.model.moe, made.balance, 0)
    optimisers = Optimisers(network, made.optimiser)
    stepper = Stepper(made, prepare(network, made), optimisers, balance, BYTES, Ranks())
    with pytest.raises(TrainError, match="no finite number") as told:
        stepper.step(batch(), 0, SEQUENCES, 1.0)
    assert "layers.2.mlp.gate.weight" in told.value.why


@pytest.mark.parametrize("world", [1, 2, 3, 5])
@pytest.mark.parametrize("micro", [1, 4, 100])
def test_no_pass_is_empty_and_few_are_over_full(world: int, micro: int) -> None:
    for sequences in range(world, 40):
        passes = passes_of(sequences, micro, world)
        for rank in range(world):
            part = sequences * (rank + 1) // world - sequences * rank // world
            sizes = [part * (i + 1) // passes - part * i // passes for i in range(passes)]
            assert min(sizes) >= 1
            assert max(sizes) <= micro + 1
