"""Steps that are left out, and runs that end by themselves."""

import math

import pytest
import torch

from midfill.config.train import GuardConfig
from midfill.errors import TrainError
from midfill.model.transformer import Transformer
from midfill.recipes.models import tiny
from midfill.train import guard
from midfill.train.build import new_network
from midfill.train.guard import Guard


def filled(spike: float, most: int = 3) -> Guard:
    made = Guard(GuardConfig(spike=spike, window=5, most_left_out=most))
    assert not any(made.leaves_out(1.0) for _ in range(5))
    return made


def test_a_spike_is_left_out_and_does_not_move_the_mean() -> None:
    made = filled(spike=3)
    assert made.leaves_out(3.1)
    assert not made.leaves_out(2.9)
    assert made.leaves_out(5.0), "the mean is (4 + 2.9) / 5, so the limit is 4.14"


def test_nothing_is_left_out_unless_asked_or_before_the_mean_is_known() -> None:
    assert not any(Guard(GuardConfig(spike=0)).leaves_out(10.0**i) for i in range(9))
    fresh = Guard(GuardConfig(spike=2, window=5))
    assert not any(fresh.leaves_out(10.0**i) for i in range(5))


def test_too_many_in_a_row_end_the_run() -> None:
    made = filled(spike=2, most=3)
    assert all(made.leaves_out(9.0) for _ in range(3))
    with pytest.raises(TrainError, match="4 steps in a row"):
        made.leaves_out(9.0)


def test_its_state_goes_through_json() -> None:
    made = filled(spike=3)
    made.leaves_out(8.0)
    other = Guard(made.config)
    other.restore(made.state())
    assert [other.leaves_out(x) for x in (8.0, 1.0, 2.0)] == [
        made.leaves_out(x) for x in (8.0, 1.0, 2.0)
    ]


@pytest.fixture
def network() -> Transformer:
    return new_network(tiny(), 0.02, 0)


def test_where_a_number_stopped_being_one_is_told(network: Transformer) -> None:
    with torch.no_grad():
        network.layers[1].self_attn.o_proj.weight[0, 0] = math.nan  # type: ignore[union-attr]
    with torch.no_grad(), guard.watching(network) as found:
        network(torch.arange(8)[None])
    told = guard.where(network, found)
    assert told.startswith("the weight layers.1.self_attn.o_proj.weight")
    assert "the output of layers.1.self_attn.o_proj" in told


def test_a_whole_network_has_nothing_to_tell(network: Transformer) -> None:
    with torch.no_grad(), guard.watching(network) as found:
        network(torch.arange(8)[None])
    assert found == []
    assert guard.where(network, found) == "only the loss"
