"""One optimiser step: a global batch through the network in micro-batches, then one update.

Every part of the loss is divided by what the whole batch holds, over all processes, so that the
gradient does not depend on how the batch is cut. Shapes: B sequences, S tokens of each.
"""

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np
import torch
from jaxtyping import Int
from torch import Tensor

from midfill.config.train import TrainConfig
from midfill.errors import TrainError
from midfill.train import guard
from midfill.train.balance import Balance, LayerLoad
from midfill.train.data import IGNORED, Batch
from midfill.train.guard import Guard
from midfill.train.objective import Objective, autocast
from midfill.train.optimiser import Optimisers
from midfill.train.parallel.ranks import Ranks


class Micro(NamedTuple):
    """Some sequences of a batch, on the device."""

    tokens: Int[Tensor, "B S"]
    targets: Int[Tensor, "B S"]
    documents: Sequence[Sequence[int]]
    numbers: Sequence[int]  # of the sequences, counted from the beginning of the run


@dataclass(frozen=True, slots=True)
class Figures:
    """What a step was like, over all processes."""

    loss: float  # nats for each target
    bits_per_byte: float
    grad_norm: float  # before clipping
    left_out: bool  # no update was made
    expert_loss: float = 0.0  # the balance losses together
    layers: Mapping[int, LayerLoad] = field(default_factory=dict)


def micro_batches(batch: Batch, first: int, passes: int, device: torch.device) -> Iterator[Micro]:
    """The sequences of a batch in so many parts; `first` is the number of its first sequence."""
    count = len(batch.tokens)
    for i in range(passes):
        rows = slice(count * i // passes, count * (i + 1) // passes)
        yield Micro(
            torch.from_numpy(batch.tokens[rows]).to(device, non_blocking=True),
            torch.from_numpy(batch.targets[rows]).to(device, non_blocking=True),
            batch.documents[rows],
            range(first + rows.start, first + rows.stop),
        )


def passes_of(sequences: int, micro: int, world: int) -> int:
    """Forward passes of a step, the same in every process, none of them without a sequence.

    `micro` sequences each; where processes have unequal parts, one of them may have one more.
    """
    return max(min(-(-sequences // (micro * world)), sequences // world), 1)


class Stepper:
    """Takes steps with one network."""

    def __init__(
        self,
        config: TrainConfig,
        objective: Objective,
        optimisers: Optimisers,
        balance: Balance,
        token_bytes: Tensor,
        ranks: Ranks,
    ) -> None:
        """`token_bytes` [W]: bytes of text that each id stands for."""
        self._config, self._objective, self._optimisers = config, objective, optimisers
        self._balance, self._token_bytes, self._ranks = balance, token_bytes, ranks
        self.guard = Guard(config.guard)

    def step(self, batch: Batch, first: int, sequences: int, share: float) -> Figures:
        """Learn from this process's part of a global batch of `sequences`.

        `first` is the number in the run of the part's first sequence, `share` that of the peak
        rate. Raises TrainError where the loss or a gradient is no number, saying where it arose.
        """
        passes = passes_of(sequences, self._config.batch.micro, self._ranks.world)
        parts = list(micro_batches(batch, first, passes, self._ranks.device))
        targets = self._counted(sum(int((part.targets != IGNORED).sum()) for part in parts))
        bytes_ = self._counted(sum(self._bytes(part) for part in parts))
        self._objective.train()
        sums = torch.zeros(2, dtype=torch.float64, device=self._ranks.device)
        for part in parts:
            nats, expert = self._forward(part, sequences)
            (nats / targets + expert).backward()
            sums += torch.stack([nats.detach().double(), expert.detach().double()])
        norm = self._ranks.agree(float(self._optimisers.clip()))
        total, expert = self._ranks.sum(sums).tolist()
        if not math.isfinite(total) or not math.isfinite(norm):
            raise self._not_finite(parts, sequences)
        left_out = self.guard.leaves_out(norm)
        if left_out:
            self._optimisers.forget()
        else:
            self._optimisers.step(share)
        layers = self._balance.finish(self._ranks.sum)
        bits = total / math.log(2) / max(bytes_, 1)
        return Figures(total / targets, bits, norm, left_out, expert, layers)

    def _forward(self, part: Micro, sequences: int) -> tuple[Tensor, Tensor]:
        """The sum of cross-entropies, and the balance losses with this part's share."""
        with (
            autocast(self._config, self._ranks.device),
            self._balance.watch(part.numbers) as routings,
        ):
            loss = self._objective(part.tokens, part.targets, part.documents)
        weight = len(part.numbers) / sequences
        return loss.total, weight * self._balance.loss(routings, len(part.tokens))

    def _counted(self, number: int) -> int:
        """The sum over all processes, at least 1."""
        return max(int(self._ranks.sum(torch.tensor(number, device=self._ranks.device))), 1)

    def _bytes(self, part: Micro) -> int:
        kept = part.targets[part.targets != IGNORED]
        return int(self._token_bytes[kept].sum())

    def _not_finite(self, parts: Sequence[Micro], sequences: int) -> TrainError:
        network = self._objective.network
        with torch.no_grad(), guard.watching(network) as found:
            for part in parts:
                self._forward(part, sequences)
        return TrainError(
            "the loss or a gradient is no finite number",
            why=guard.where(network, found, self._ranks.together),
            fix="go on from the last checkpoint with a lower optimiser.lr or a longer warm-up; "
            "--set precision=float32 tells whether rounding is to blame",
        )


@torch.no_grad()
def evaluate(
    config: TrainConfig,
    objective: Objective,
    batches: Sequence[Batch],
    token_bytes: Tensor,
    ranks: Ranks,
) -> tuple[float, float]:
    """Nats for each target and bits for each byte of held-out batches, shared among processes."""
    objective.eval()
    sums = torch.zeros(3, dtype=torch.float64, device=ranks.device)
    for batch in batches:
        for micro in micro_batches(_part(batch, ranks), 0, 1, ranks.device):
            with autocast(config, ranks.device):
                loss = objective(micro.tokens, micro.targets, micro.documents)
            kept = micro.targets[micro.targets != IGNORED]
            sums += torch.stack([loss.total, loss.targets, token_bytes[kept].sum()]).double()
    nats, targets, bytes_ = ranks.sum(sums).tolist()
    return nats / max(targets, 1), nats / math.log(2) / max(bytes_, 1)


def _part(batch: Batch, ranks: Ranks) -> Batch:
    """This process's share of a batch, or where that is empty a sequence without targets.

    All processes must pass the network together, because each holds a piece of it.
    """
    first, last = (len(batch.tokens) * rank // ranks.world for rank in (ranks.rank, ranks.rank + 1))
    mine = slice(first, max(last, first + 1))
    targets = batch.targets[mine]
    return Batch(
        tokens=batch.tokens[mine],
        targets=targets if last > first else np.full_like(targets, IGNORED),
        documents=batch.documents[mine],
        sources=batch.sources[mine],
    )
