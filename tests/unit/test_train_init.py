"""New weights: their distribution, and that they depend on name and seed alone."""

from dataclasses import replace

import torch

from midfill.model.transformer import Transformer
from midfill.recipes.models import tiny
from midfill.train.init import initialise, normal


def made(seed: int, **changes) -> Transformer:
    network = Transformer(replace(tiny(), **changes))
    initialise(network, 0.006, seed)
    return network


def test_matrices_are_normal_norms_one_biases_zero():
    for name, p in made(0, mlp_bias=True).named_parameters():
        if name.endswith("bias"):
            assert not p.any(), name
        elif "norm" in name:
            assert torch.equal(p, torch.ones_like(p)), name
        else:
            spread = 4 / p.numel() ** 0.5
            assert abs(p.std() / 0.006 - 1) < spread, name
            assert abs(p.mean() / 0.006) < spread, name


def test_a_seed_gives_the_same_weights_and_another_seed_others():
    first, again, other = (dict(made(seed).named_parameters()) for seed in (3, 3, 4))
    for name, p in first.items():
        assert torch.equal(p, again[name]), name
        assert "norm" in name or not torch.equal(p, other[name]), name


def test_a_matrix_does_not_depend_on_what_else_there_is():
    """Nor on the state of the global generator: a process that holds one expert makes that one."""
    small, large = made(1, layers=2), made(1, layers=3)
    torch.rand(5)
    for name, p in small.named_parameters():
        assert torch.equal(p, large.get_parameter(name)), name
    experts = small.layers[1].mlp.experts.down_proj
    name = "layers.1.mlp.experts.down_proj.2"
    assert torch.equal(experts[2], normal(name, tuple(experts[2].shape), 0.006, 1))


def test_experts_differ():
    experts = made(0).layers[1].mlp.experts.gate_up_proj
    assert len({tuple(e.flatten()[:4].tolist()) for e in experts}) == len(experts)
