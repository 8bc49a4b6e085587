"""How evenly tokens spread over experts and devices: losses, bias, dropped tokens, figures.

The network knows nothing of it: hooks on its routers watch and change what they decide. Devices are
the groups of experts of device-limited routing. Sources: DeepSeek-V2 §2.2.3 and §2.2.4,
DeepSeek-V3 §2.1.2. Shapes: M tokens, B sequences, T tokens of a sequence, E experts, K top-k,
G sets of tokens that are balanced each for itself, D devices.
"""

import random
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from math import ceil
from typing import Any

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn

from midfill.config.model import MoEConfig
from midfill.config.train import BalanceConfig
from midfill.model.moe import Router, Routing


def routers(network: nn.Module) -> dict[int, Router]:
    """The routers, by layer."""
    named = [(name, m) for name, m in network.named_modules() if isinstance(m, Router)]
    return {int(re.findall(r"layers\.(\d+)\.", name)[0]): router for name, router in named}


@contextmanager
def watch(network: nn.Module) -> Iterator[dict[int, Routing]]:
    """What each router decides in the one forward pass that runs inside, by layer.

    Backward passes belong outside: with gradient checkpointing they route again, unseen.
    """
    seen: dict[int, Routing] = {}

    def note(layer: int) -> Any:
        def hook(module: nn.Module, inputs: Any, routing: Routing) -> None:
            seen[layer] = routing

        return hook

    handles = [r.register_forward_hook(note(layer)) for layer, r in routers(network).items()]
    try:
        yield seen
    finally:
        for handle in handles:
            handle.remove()


class Balance:
    """All of this module for one run, as its configuration has it.

    For every micro-batch `watch` the forward pass and add its `loss`; at the end of a step `finish`.
    A network without experts has neither losses nor loads.
    """

    def __init__(
        self, network: nn.Module, moe: MoEConfig | None, config: BalanceConfig, seed: int
    ) -> None:
        self.network, self.moe, self.config, self.seed = network, moe, config, seed
        if config.bias_rate:
            add_bias(network)
        self.dropping = Dropping(network, config.capacity) if config.capacity is not None else None
        self._counts: dict[int, Tensor] = {}  # of each layer's experts, and of dropped pairs

    @contextmanager
    def watch(self, sequences: Sequence[int]) -> Iterator[dict[int, Routing]]:
        """As the function `watch`; `sequences` are the numbers in the run of this micro-batch's."""
        if self.dropping is not None:
            self.dropping.exempt = exempt_sequences(self.seed, sequences, self.config.exempt)
        with watch(self.network) as routings:
            yield routings
        for layer, routing in routings.items():
            counts = torch.cat([expert_counts(routing), dropped_pairs(routing)[None]])
            self._counts[layer] = self._counts.get(layer, 0) + counts

    def loss(self, routings: Mapping[int, Routing], sequences: int) -> Float[Tensor, ""]:
        """The weighted balance losses of a micro-batch of so many sequences, their mean."""
        if self.moe is None:
            return torch.zeros(())
        return balance_loss(routings, self.moe, self.config, sequences)

    def finish(self, total: Callable[[Tensor], Tensor] = lambda x: x) -> dict[int, "LayerLoad"]:
        """The step's figures by layer, and the bias moved. `total` sums over all processes."""
        counts = {layer: total(found) for layer, found in self._counts.items()}
        self._counts = {}
        if self.config.bias_rate:
            move_bias(
                self.network, {layer: c[:-1] for layer, c in counts.items()}, self.config.bias_rate
            )
        return {layer: layer_load(c[:-1], int(c[-1])) for layer, c in counts.items()}


# ------------------------------------------------------------------------- losses, DeepSeek-V2 §2.2.3


def balance_loss(
    routings: Mapping[int, Routing], model: MoEConfig, config: BalanceConfig, sequences: int
) -> Float[Tensor, ""]:
    """The three losses of all layers, each at its weight; the mean over the `sequences` given.

    To join micro-batches or processes, weight each by its share of the step's sequences.
    """
    expert = model.balance_alpha if config.expert is None else config.expert
    sets = sequences if model.balance_per_sequence else 1
    total = torch.zeros(())
    for routing in routings.values():
        affinity = routing.affinity.unflatten(0, (sets, -1))
        chosen = routing.chosen.unflatten(0, (sets, -1))
        if expert:
            total = total.to(affinity) + expert * expert_loss(affinity, chosen)
        if config.device:
            loss = device_loss(affinity, chosen, model.groups)
            total = total.to(affinity) + config.device * loss
        if config.communication:
            loss = communication_loss(affinity, chosen, model.groups, devices_per_token(model))
            total = total.to(affinity) + config.communication * loss
    return total


def devices_per_token(model: MoEConfig) -> int:
    """M, the most devices a token is sent to."""
    if model.method == "group_limited_greedy":
        return model.top_groups
    return min(model.groups, model.top_k)


def expert_loss(
    affinity: Float[Tensor, "G T E"], chosen: Int[Tensor, "G T K"]
) -> Float[Tensor, ""]:
    """1 where all experts are chosen and liked alike, more where few are. Equations 23 to 25."""
    return (_load(affinity, chosen) * affinity.mean(1)).sum(1).mean()


def device_loss(
    affinity: Float[Tensor, "G T E"], chosen: Int[Tensor, "G T K"], devices: int
) -> Float[Tensor, ""]:
    """The same of devices: mean load and summed affinity of their experts. Equations 26 to 28."""
    load = _load(affinity, chosen).unflatten(1, (devices, -1)).mean(2)
    return (load * _affinity_of_devices(affinity, devices)).sum(1).mean()


def communication_loss(
    affinity: Float[Tensor, "G T E"], chosen: Int[Tensor, "G T K"], devices: int, most: int
) -> Float[Tensor, ""]:
    """The same of tokens sent to each device, of `most` to which a token goes. Equations 29 to 31."""
    device = chosen // (affinity.shape[2] // devices)
    sent = affinity.new_zeros(*affinity.shape[:2], devices).scatter_(2, device, 1.0)
    load = sent.mean(1) * devices / most
    return (load * _affinity_of_devices(affinity, devices)).sum(1).mean()


def _load(affinity: Tensor, chosen: Tensor) -> Float[Tensor, "G E"]:
    """f: how often each expert was chosen, as a multiple of an even share."""
    counts = affinity.new_zeros(affinity.shape[0], affinity.shape[2])
    ones = torch.ones_like(chosen, dtype=counts.dtype)
    counts.scatter_add_(1, chosen.flatten(1), ones.flatten(1))
    return counts * (affinity.shape[2] / (chosen.shape[1] * chosen.shape[2]))


def _affinity_of_devices(affinity: Tensor, devices: int) -> Float[Tensor, "G D"]:
    return affinity.mean(1).unflatten(1, (devices, -1)).sum(2)


# -------------------------------------------------------------------------------------------- figures


def expert_counts(routing: Routing) -> Int[Tensor, " E"]:
    """How many tokens chose each expert, dropped ones included: add these up over a step."""
    return torch.bincount(routing.chosen.flatten(), minlength=routing.affinity.shape[1])


def dropped_pairs(routing: Routing) -> Int[Tensor, ""]:
    """How many pairs of token and expert were not computed."""
    if routing.kept is None:
        return routing.chosen.new_zeros(())
    return (~routing.kept).sum()


@dataclass(frozen=True, slots=True)
class LayerLoad:
    """How evenly one layer's experts were used over a step."""

    largest: float  # load of the busiest expert, over the mean
    smallest: float  # of the idlest, over the mean
    entropy: float  # of the distribution of loads, over its maximum: 1 is even
    dropped: float  # share of the pairs


def layer_load(counts: Int[Tensor, " E"], dropped: int = 0) -> LayerLoad:
    """The figures of a step's summed counts."""
    shares = counts.double() / counts.sum()
    entropy = torch.special.entr(shares).sum() / torch.tensor(float(len(counts))).log()
    even = 1 / len(counts)
    return LayerLoad(
        float(shares.max() / even),
        float(shares.min() / even),
        float(entropy),
        dropped / int(counts.sum()),
    )


# ------------------------------------------------------------------------------ bias, DeepSeek-V3 §2.1.2


def add_bias(network: nn.Module) -> None:
    """Give every router that has none a bias of zeros."""
    for router in routers(network).values():
        if router.e_score_correction_bias is None:
            router.e_score_correction_bias = torch.zeros(
                router.config.experts, device=router.weight.device
            )


@torch.no_grad()
def move_bias(network: nn.Module, counts: Mapping[int, Tensor], rate: float) -> None:
    """After a step: `rate` up for experts below the mean load of all processes, down above it."""
    for layer, router in routers(network).items():
        assert router.e_score_correction_bias is not None, layer
        load = counts[layer].double()
        towards = (load.mean() - load).sign()
        router.e_score_correction_bias.add_(towards.to(router.e_score_correction_bias), alpha=rate)


# -------------------------------------------------------------------- dropped tokens, DeepSeek-V2 §2.2.4


class Dropping:
    """Hooks that leave out, on each device, the pairs of lowest affinity beyond its capacity.

    The unit is the pair of token and expert, whose work is what a device has a budget of; a
    micro-batch of a process shares it out. In `eval` mode nothing is dropped. `exempt` says of
    which sequences nothing is: set it before each forward pass and leave it until the backward
    pass is over, which with gradient checkpointing routes again.
    """

    def __init__(self, network: nn.Module, capacity: float) -> None:
        self.capacity = capacity
        self.exempt: Bool[Tensor, " B"] = torch.zeros(1, dtype=torch.bool)
        hooks = [
            r.register_forward_hook(self._hook, prepend=True) for r in routers(network).values()
        ]
        self._hooks = hooks

    def _hook(self, router: nn.Module, inputs: Any, routing: Routing) -> Routing:
        if not router.training:
            return routing
        assert isinstance(router, Router)
        exempt = self.exempt.to(routing.chosen.device)
        tokens = exempt.repeat_interleave(len(routing.chosen) // len(exempt))
        kept = kept_pairs(routing, router.config.groups, self.capacity, tokens)
        return routing._replace(kept=kept)

    def remove(self) -> None:
        """Drop nothing from now on."""
        for hook in self._hooks:
            hook.remove()


@torch.no_grad()
def kept_pairs(
    routing: Routing, devices: int, capacity: float, exempt: Bool[Tensor, " M"]
) -> Bool[Tensor, "M K"]:
    """Which pairs stay when each device takes `capacity` times an even share of them.

    Exempt tokens stay first and always, then those of the highest affinity; of equals the first.
    """
    chosen = routing.chosen
    most = ceil(capacity * chosen.numel() / devices)
    rank = routing.affinity.gather(1, chosen) + 2.0 * exempt[:, None]  # affinities are at most 1
    device = chosen // (routing.affinity.shape[1] // devices)
    kept = exempt[:, None].expand_as(chosen).flatten().clone()
    order = rank.flatten().argsort(descending=True, stable=True)
    for index in range(devices):
        here = order[device.flatten()[order] == index]
        kept[here[:most]] = True
    return kept.view_as(chosen)


def exempt_sequences(seed: int, sequences: Sequence[int], share: float) -> Bool[Tensor, " B"]:
    """Which of the run's sequences, by their number in it, are never dropped from."""
    draws = [random.Random(f"exempt {seed} {number}").random() for number in sequences]
    return torch.tensor([draw < share for draw in draws])
