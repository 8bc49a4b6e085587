"""Checkpoints to resume from: everything that the next step depends on, whole or not there.

    RUN/checkpoints/step-00000500/   tensors as torch.distributed.checkpoint writes them, and
                          state.json  what else the run is: written last, renamed with its folder

One process and many write the same format; a run saved by two can be loaded by four.
"""

import json
import shutil
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch import nn
from torch.distributed.checkpoint import state_dict_loader, state_dict_saver
from torch.distributed.checkpoint.api import CheckpointException
from torch.distributed.checkpoint.state_dict import get_state_dict, set_state_dict

from midfill.corpus.whole import write_json
from midfill.errors import CheckpointError
from midfill.train.optimiser import Optimisers
from midfill.train.parallel.ranks import Ranks

STATE = "state.json"


@dataclass(frozen=True, slots=True)
class Checkpoints:
    """The checkpoints of one run; `last` of them stay."""

    folder: Path
    last: int
    ranks: Ranks

    def steps(self) -> list[int]:
        """The steps that can be resumed from, in order."""
        found = self.folder.glob(f"step-*/{STATE}")
        return sorted(int(path.parent.name.removeprefix("step-")) for path in found)

    def save(
        self, step: int, network: nn.Module, optimisers: Optimisers, state: dict[str, Any]
    ) -> None:
        """Write the checkpoint of `step`; a kill at any moment leaves the older ones whole."""
        target = self._place(step)
        part = target.with_name(f".{target.name}.part")
        if self.ranks.first:
            shutil.rmtree(part, ignore_errors=True)
            part.mkdir(parents=True)
        self.ranks.barrier()
        tensors = _tensors(network, optimisers)
        with _alone_is_meant():
            state_dict_saver.save(tensors, checkpoint_id=part, no_dist=self.ranks.world == 1)
        self.ranks.barrier()
        if self.ranks.first:
            write_json(part / STATE, state)
            shutil.rmtree(target, ignore_errors=True)  # of a run that was resumed further back
            part.replace(target)
            for old in self.steps()[: -self.last]:
                shutil.rmtree(self._place(old).replace(part))
        self.ranks.barrier()

    def load(self, step: int, network: nn.Module, optimisers: Optimisers) -> dict[str, Any]:
        """Put the checkpoint of `step` into the network and the optimiser; return its state.

        Raises CheckpointError where it is damaged or of another network.
        """
        place = self._place(step)
        try:
            state = json.loads((place / STATE).read_text("utf-8"))
            tensors = _tensors(network, optimisers)
            with _alone_is_meant():
                state_dict_loader.load(tensors, checkpoint_id=place, no_dist=self.ranks.world == 1)
            set_state_dict(
                network,
                optimisers.each,
                model_state_dict=tensors["network"],
                optim_state_dict=tensors["optimisers"],
            )
        except (OSError, ValueError, KeyError, RuntimeError, CheckpointException) as error:
            raise CheckpointError(
                f"{place} cannot be resumed from",
                why=f"{type(error).__name__}: {str(error).splitlines()[0] if str(error) else ''}",
                fix=f"remove that folder; the run then goes on from {self._before(step)}",
            ) from error
        return state

    def _before(self, step: int) -> str:
        older = [one for one in self.steps() if one < step]
        return f"step {older[-1]}" if older else "its beginning"

    def _place(self, step: int) -> Path:
        return self.folder / f"step-{step:08}"


def _tensors(network: nn.Module, optimisers: Optimisers) -> dict[str, Any]:
    """Weights, buffers and moments, by name; in parts where they are spread over processes."""
    weights, moments = get_state_dict(network, optimisers.each)
    return {"network": weights, "optimisers": moments}


@contextmanager
def _alone_is_meant() -> Iterator[None]:
    """Without torch's warning that only one process saves."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "torch.distributed is", UserWarning)
        yield
