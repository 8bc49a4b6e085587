"""The processes of a run, as torchrun started them: one where it did not."""

import os
from dataclasses import dataclass

import torch
import torch.distributed as dist
from torch import Tensor

CPU = torch.device("cpu")


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
