"""Tensors that lie in pieces in several processes, and those that are whole: alike to who asks.

Shapes: E experts in a stack, out and in the sides of a matrix.
"""

from collections.abc import Iterable, Sequence
from typing import Any

import torch.distributed as dist
from jaxtyping import Float
from torch import Tensor, nn
from torch.distributed.checkpoint.state_dict import StateDictOptions, get_model_state_dict
from torch.distributed.tensor import DTensor, Placement, Replicate, Shard
from torch.nn.utils import get_total_norm


def local(tensor: Tensor) -> Tensor:
    """This process's piece, which shares the tensor's memory."""
    return tensor.to_local() if isinstance(tensor, DTensor) else tensor


def norm_of(tensors: Sequence[Tensor]) -> Float[Tensor, ""]:
    """The Euclidean norm of tensors together, over all processes; they must lie alike.

    torch would add up each tensor's norm over the processes for itself.
    """
    found = get_total_norm([local(tensor) for tensor in tensors])
    like = tensors[0]
    if not isinstance(like, DTensor):
        return found
    squares = found.square()
    for dimension, place in enumerate(like.placements):
        if not place.is_replicate():
            dist.all_reduce(squares, group=like.device_mesh.get_group(dimension))
    return squares.sqrt()


def whole_matrices(piece: Tensor, like: Tensor) -> Float[Tensor, "*E out in"]:
    """Whole matrices from the pieces that lie as `like` does.

    Of a stack that is shared out every process gets its own matrices only.
    """
    if not isinstance(like, DTensor):
        return piece
    spread = DTensor.from_local(
        piece,
        like.device_mesh,
        like.placements,
        run_check=False,
        shape=like.shape,
        stride=like.stride(),
    )
    return spread.redistribute(placements=_stacked(like)).to_local()


def piece_of(found: Float[Tensor, "*E out in"], like: Tensor) -> Tensor:
    """The piece of what `whole_matrices` returned that this process has of `like`."""
    if not isinstance(like, DTensor):
        return found
    spread = DTensor.from_local(found, like.device_mesh, _stacked(like), run_check=False)
    return spread.redistribute(placements=like.placements).to_local()


def whole_state(network: nn.Module) -> dict[str, Any]:
    """All weights and buffers, by name, in the processor's memory of the first process.

    The other processes help, and get nothing.
    """
    if not any(isinstance(parameter, DTensor) for parameter in network.parameters()):
        return network.state_dict()
    options = StateDictOptions(full_state_dict=True, cpu_offload=True)
    return get_model_state_dict(network, options=options)


def by_mesh(tensors: Iterable[Tensor]) -> list[list[Tensor]]:
    """Those of the same group of processes together, which one operation can take."""
    sets: dict[object, list[Tensor]] = {}
    for tensor in tensors:
        mesh = tensor.device_mesh if isinstance(tensor, DTensor) else None
        sets.setdefault(mesh, []).append(tensor)
    return list(sets.values())


def _stacked(like: DTensor) -> list[Placement]:
    """Where matrices lie that are whole, in stacks that are shared out."""
    return [
        place if isinstance(place, Shard) and place.dim < like.dim() - 2 else Replicate()
        for place in like.placements
    ]
