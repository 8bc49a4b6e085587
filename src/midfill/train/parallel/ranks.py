"""The processes of a run, as torchrun started them: one where it did not."""

import os
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import timedelta

import torch
import torch.distributed as dist
from torch import Tensor
from torch.distributed.rendezvous import rendezvous

CPU = torch.device("cpu")
PATIENCE = timedelta(seconds=10)  # with torchrun, where a process fails


@dataclass(frozen=True, slots=True)
class Ranks:
    """This process among all."""

    rank: int = 0
    world: int = 1
    device: torch.device = CPU

    @property
    def first(self) -> bool:
        """Whether this one writes what all have in common."""
        return self.rank == 0

    def barrier(self) -> None:
        """Wait until all are here."""
        if self.world > 1:
            dist.barrier()

    def sum(self, value: Tensor) -> Tensor:
        """The sum over all processes, in place."""
        if self.world > 1:
            dist.all_reduce(value)
        return value

    def agree(self, value: float) -> float:
        """The first process's number, in all."""
        if self.world == 1:
            return value
        shared = torch.tensor([value], dtype=torch.float64, device=self.device)
        dist.broadcast(shared, 0)
        return float(shared)

    def together(self, names: Iterable[str]) -> list[str]:
        """What all processes name, each name once."""
        if self.world == 1:
            return list(names)
        lists: list[list[str]] = [[] for _ in range(self.world)]
        dist.all_gather_object(lists, list(names))
        return list(dict.fromkeys(name for one in lists for name in one))


def join(device: str = "cpu") -> Ranks:
    """Join the processes that torchrun started, or be the only one."""
    world = int(os.environ.get("WORLD_SIZE", "1"))
    rank, local = int(os.environ.get("RANK", "0")), int(os.environ.get("LOCAL_RANK", "0"))
    where = torch.device(device, local) if device == "cuda" else torch.device(device)
    if where.type == "cuda":
        torch.cuda.set_device(where)
    if world > 1 and not dist.is_initialized():
        dist.init_process_group("nccl" if where.type == "cuda" else "gloo")
    return Ranks(rank, world, where)


def leave() -> None:
    """End what `join` began."""
    if dist.is_initialized():
        dist.destroy_process_group()


def first_to_fail() -> bool:
    """Whether no other process of this run asked before: that one says why the run ends."""
    try:
        store = next(rendezvous("env://", timeout=PATIENCE))[0]
        return store.add("midfill/failed", 1) == 1
    except (OSError, RuntimeError, ValueError):  # nobody can be asked
        return True
