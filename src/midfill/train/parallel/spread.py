"""A network over several processes: what each holds, and how gradients come together.

Embedding, attention, routers, dense and shared feed-forwards are cut over all processes, or copied
to all; so are routed experts, unless groups of processes share them (`experts.py`): then each
expert is cut, or copied, over the processes that have the same experts.
"""

from torch import nn
from torch.distributed.device_mesh import DeviceMesh, init_device_mesh
from torch.distributed.fsdp import FSDPModule, fully_shard
from torch.distributed.tensor import Shard

from midfill.config.model import ModelConfig
from midfill.config.train import ParallelConfig
from midfill.errors import ConfigError
from midfill.model.moe import MoE
from midfill.train.objective import Objective
from midfill.train.parallel.experts import SpreadExperts
from midfill.train.parallel.ranks import Ranks

COPIES, PARTS, EXPERTS = "copies", "parts", "experts"  # dimensions of a mesh, in this order


def spread(objective: Objective, config: ParallelConfig, ranks: Ranks) -> None:
    """Cut the parameters, in place; from now on a gradient is the sum over all processes.

    Between steps every parameter is this process's piece. Raises ConfigError where the processes
    cannot share the experts. One process keeps all as it is.
    """
    if ranks.world == 1:
        return
    check(objective.network.config, config, ranks.world)
    if config.experts > 1:
        mesh = _mesh(config, ranks, config.experts)
        for block in objective.network.layers:
            if isinstance(block.mlp, MoE):
                block.mlp.experts = SpreadExperts(block.mlp.experts, mesh[EXPERTS])
                _cut(block.mlp.experts, _data(mesh, config), dim=1)
    mesh = _mesh(config, ranks, 1)
    for block in objective.network.layers:
        _cut(block, _data(mesh, config))
    _cut(objective, _data(mesh, config))


def check(model: ModelConfig, config: ParallelConfig, world: int) -> None:
    """Raise ConfigError where so many processes cannot share the experts' matrices."""
    if config.experts == 1 or model.moe is None:
        return
    if world % config.experts:
        raise ConfigError(
            f"{world} processes cannot share the experts in groups of {config.experts}",
            why="parallel.experts does not divide their number",
            fix=f"start a multiple of {config.experts}, or a single one",
        )
    parts = world // config.experts if config.shard else 1
    if model.dim % parts or 2 * model.moe.hidden % parts:
        raise ConfigError(
            f"matrices of {model.dim} and {2 * model.moe.hidden} rows cannot be cut in {parts}",
            why="an expert is cut over the processes that hold the same experts",
            fix="set parallel.experts higher, or parallel.shard=false",
        )


def _mesh(config: ParallelConfig, ranks: Ranks, experts: int) -> DeviceMesh:
    rest = ranks.world // experts
    sizes = (1, rest, experts) if config.shard else (rest, 1, experts)
    return init_device_mesh(ranks.device.type, sizes, mesh_dim_names=(COPIES, PARTS, EXPERTS))


def _data(mesh: DeviceMesh, config: ParallelConfig) -> DeviceMesh:
    """The processes that a parameter is cut over, or copied to."""
    return mesh[PARTS] if config.shard else mesh[COPIES, PARTS]


def _cut(module: nn.Module, mesh: DeviceMesh, dim: int = 0) -> None:
    """Of `module`, what was not cut before; every parameter along `dim`.

    Also the root is cut again behind its forward pass, as torch would not: whoever reads parameters
    between two steps finds pieces everywhere.
    """
    fully_shard(
        module, mesh=mesh, reshard_after_forward=True, shard_placement_fn=lambda _: Shard(dim)
    )
    assert isinstance(module, FSDPModule)
    module.set_gradient_divide_factor(1.0)  # losses are divided by the targets of all processes
    module.set_force_sum_reduction_for_comms(True)
