"""Sizes that no network can have, found before anything is allocated."""

from midfill.config.model import GQAConfig, Llama3Scaling, ModelConfig, RopeConfig, YarnScaling
from midfill.errors import CheckpointError

MOST_PARTS = 10**6  # layers times experts; the largest released model has 9,600


def check_sizes(config: ModelConfig, where: str) -> None:
    """Raise CheckpointError for sizes that no network can have."""
    a, moe = config.attention, config.moe
    wrong = None
    if min(_sizes(config)) < 1:
        wrong = "a size is not positive"
    elif config.layers * (moe.experts if moe else 1) > MOST_PARTS:
        wrong = f"{config.layers} layers of {moe.experts if moe else 1} experts"
    elif isinstance(a, GQAConfig) and a.heads % a.kv_heads:
        wrong = f"{a.heads} heads are not a multiple of {a.kv_heads} key/value heads"
    elif config.rope.dim % 2:
        wrong = f"the rotary width {config.rope.dim} is odd"
    elif not 0 <= config.norm_eps < 1:
        wrong = f"the epsilon of the norms is {config.norm_eps}"
    elif problem := _wrong_rope(config.rope):
        wrong = problem
    elif moe is not None and (moe.top_k < 1 or moe.top_k > moe.experts):
        wrong = f"{moe.top_k} of {moe.experts} experts cannot be chosen"
    elif (
        moe is not None
        and moe.method == "group_limited_greedy"
        and (moe.experts % moe.groups or not 1 <= moe.top_groups <= moe.groups)
    ):
        wrong = f"{moe.experts} experts in {moe.groups} groups, {moe.top_groups} kept"
    if wrong:
        raise CheckpointError(f"{where} is contradictory", why=wrong, fix="fetch the original file")


def _wrong_rope(rope: RopeConfig) -> str | None:
    """What makes the frequencies of the rotary embedding no numbers."""
    if not 1 < rope.theta < float("inf"):
        return f"the rotary base is {rope.theta}"
    if rope.scaling is None:
        return None
    names = ("factor", "fast", "slow", "low", "high")
    for name in names:
        value = getattr(rope.scaling, name, 1.0)
        if not 0 < value < float("inf"):
            return f"the {name} of the rope scaling is {value}"
    return None


def _sizes(config: ModelConfig) -> list[float]:
    """Everything that must be at least one."""
    a, scaling = config.attention, config.rope.scaling
    sizes: list[float] = [config.dim, config.layers, config.vocab, config.hidden, config.context]
    if isinstance(a, GQAConfig):
        sizes += [a.heads, a.kv_heads, a.head_dim]
    else:
        rank = 1 if a.q_rank is None else a.q_rank
        sizes += [a.heads, rank, a.kv_rank, a.nope_dim, a.rope_dim, a.v_dim]
    if config.moe is not None:
        moe = config.moe
        sizes += [moe.experts, moe.groups, moe.hidden, moe.shared + 1, moe.every]
    if isinstance(scaling, YarnScaling | Llama3Scaling):
        sizes.append(scaling.trained)
    return sizes
