"""GGUF metadata and ModelConfig, both ways, for the architectures llama, qwen2 and deepseek2.

Torch-free. Sources: the keys of real files and of llama.cpp's converter (names are llama.cpp's).
"""

from collections.abc import Mapping
from typing import Any

from midfill.config.check import check_sizes
from midfill.config.model import (
    GQAConfig,
    LinearScaling,
    Llama3Scaling,
    MLAConfig,
    ModelConfig,
    MoEConfig,
    RopeConfig,
    RopeScaling,
    YarnScaling,
)
from midfill.errors import CheckpointError
from midfill.model.gguf import GGUFFile

FAMILY = {"llama": "llama", "qwen2": "qwen2", "deepseek2": "deepseek_v2"}
BOS_KEY = "tokenizer.ggml.bos_token_id"
END_KEYS = tuple(f"tokenizer.ggml.{end}_token_id" for end in ("eos", "eot", "eom"))
SAMPLING_KEYS = {
    "temperature": "general.sampling.temp",
    "top_p": "general.sampling.top_p",
    "top_k": "general.sampling.top_k",
    "min_p": "general.sampling.min_p",
    "repetition_penalty": "general.sampling.penalty_repeat",
}
ARCHITECTURE = {family: arch for arch, family in FAMILY.items()}


class _Keys:
    """The metadata of one architecture, read by the part of the key after `<arch>.`."""

    def __init__(self, file: GGUFFile) -> None:
        self.file = file
        self.prefix = file.architecture + "."

    def get(self, key: str, default: Any = None) -> Any:
        return self.file.metadata.get(self.prefix + key, default)

    def need(self, key: str) -> Any:
        value = self.get(key)
        if value is None:
            raise CheckpointError(
                f"{self.file.path} lacks the key {self.prefix + key}",
                why="the network cannot be built without it",
                fix="convert the model again with a current converter",
            )
        return value


def gguf_config(file: GGUFFile) -> ModelConfig:
    """The network in a GGUF file.

    Raises CheckpointError for an architecture we do not run, or metadata that make no network.
    """
    if file.architecture not in FAMILY:
        raise CheckpointError(
            f"{file.path}: architecture {file.architecture!r} is not supported",
            why=f"midfill runs GGUF files of {', '.join(FAMILY)}",
            fix="midfill models",
        )
    try:
        config = _config(file)
    except (TypeError, ValueError, IndexError, ArithmeticError) as error:
        raise CheckpointError(
            f"{file.path} holds a metadata value of the wrong kind",
            why=str(error),
            fix="fetch the file again",
        ) from None
    check_sizes(config, str(file.path))
    return config


def _config(file: GGUFFile) -> ModelConfig:
    keys = _Keys(file)
    attention = _latent(keys) if file.architecture == "deepseek2" else _grouped(keys)
    moe = _moe(keys) if keys.get("expert_count") else None
    if moe is not None and file.architecture != "deepseek2":
        raise CheckpointError(
            f"{file.path}: {file.architecture} with experts is not supported",
            why="of the mixture-of-experts networks midfill runs deepseek2",
            fix="midfill models",
        )
    rope_dim = attention.rope_dim if isinstance(attention, MLAConfig) else attention.head_dim
    meta = file.metadata
    return ModelConfig(
        family=FAMILY[file.architecture],  # type: ignore[arg-type]
        vocab=file.tensors["token_embd.weight"].shape[0]
        if "token_embd.weight" in file.tensors
        else 0,
        dim=int(keys.need("embedding_length")),
        layers=int(keys.need("block_count")),
        hidden=_first(keys.need("feed_forward_length")),
        attention=attention,
        rope=RopeConfig(
            dim=rope_dim, theta=float(keys.get("rope.freq_base", 10000.0)), scaling=_scaling(keys)
        ),
        moe=moe,
        context=int(keys.need("context_length")),
        norm_eps=float(keys.need("attention.layer_norm_rms_epsilon")),
        tie_embedding="output.weight" not in file.tensors,
        mlp_bias="blk.0.ffn_down.bias" in file.tensors,
        bos=meta.get("tokenizer.ggml.bos_token_id"),
        eos=_end_ids(meta),
        dtype=_stored_dtype(file),
    )


def _end_ids(meta: Mapping[str, Any]) -> tuple[int, ...]:
    """The ids that end an answer: end of text, of turn, of message."""
    found = (meta.get(key) for key in END_KEYS)
    return tuple(dict.fromkeys(int(i) for i in found if isinstance(i, int)))


def end_keys(config: ModelConfig, given: Mapping[str, Any]) -> dict[str, int]:
    """The ids that begin and end a text, where the tokenizer's own keys (`given`) lack them."""
    keys: dict[str, int] = {}
    if config.bos is not None and BOS_KEY not in given:
        keys[BOS_KEY] = config.bos
    free = [key for key in END_KEYS if key not in given]
    new = [i for i in config.eos if i not in [given.get(key) for key in END_KEYS]]
    return keys | dict(zip(free, new, strict=False))


def sampling_keys(generation: Mapping[str, Any]) -> dict[str, Any]:
    """The `general.sampling` keys for what generation_config.json asks for."""
    if not generation.get("do_sample"):
        return {}
    found = {key: generation.get(name) for name, key in SAMPLING_KEYS.items()}
    return {key: value for key, value in found.items() if isinstance(value, int | float)}


def generation_of(meta: Mapping[str, Any]) -> dict[str, Any]:
    """What generation_config.json would say, from the `general.sampling` keys."""
    found = {name: meta[key] for name, key in SAMPLING_KEYS.items() if key in meta}
    return {"do_sample": True, **found} if found else {}


def _first(value: Any) -> int:
    return int(value[0] if isinstance(value, list) else value)


def _grouped(keys: _Keys) -> GQAConfig:
    heads, dim = _first(keys.need("attention.head_count")), int(keys.need("embedding_length"))
    width = keys.get("attention.key_length") or keys.get("rope.dimension_count") or dim // heads
    tensors = keys.file.tensors
    return GQAConfig(
        heads=heads,
        kv_heads=_first(keys.get("attention.head_count_kv", heads)),
        head_dim=int(width),
        qkv_bias="blk.0.attn_q.bias" in tensors or "blk.0.attn_qkv.bias" in tensors,
        out_bias="blk.0.attn_output.bias" in tensors,
    )


def _latent(keys: _Keys) -> MLAConfig:
    """Current files give the expanded widths as `_mla` keys, legacy ones as the plain keys."""
    rope_dim = int(keys.need("rope.dimension_count"))
    key = keys.get("attention.key_length_mla") or keys.need("attention.key_length")
    value = keys.get("attention.value_length_mla") or keys.need("attention.value_length")
    tensors = keys.file.tensors
    compressed = "blk.0.attn_q_a.weight" in tensors  # files of Lite may hold the key all the same
    if "blk.0.attn_kv_a_mqa.bias" in tensors or "blk.0.attn_output.bias" in tensors:
        raise CheckpointError(
            f"{keys.file.path} has biases in its latent attention",
            why="GGUF does not define them; no released model has any",
            fix="use the model's Hugging Face folder",
        )
    return MLAConfig(
        heads=_first(keys.need("attention.head_count")),
        q_rank=int(keys.need("attention.q_lora_rank")) if compressed else None,
        kv_rank=int(keys.need("attention.kv_lora_rank")),
        nope_dim=int(key) - rope_dim,
        rope_dim=rope_dim,
        v_dim=int(value),
    )


def _moe(keys: _Keys) -> MoEConfig:
    if keys.get("expert_gating_func", 1) not in (0, 1):
        raise CheckpointError(
            f"{keys.file.path} gates its experts by function {keys.get('expert_gating_func')}",
            why="DeepSeek-V2 uses softmax (1); 2 is the sigmoid of DeepSeek-V3",
            fix="midfill models",
        )
    experts, scale = int(keys.need("expert_count")), float(keys.get("expert_weights_scale") or 1.0)
    groups, kept = (int(keys.get(f"expert_group_{k}") or 1) for k in ("count", "used_count"))
    if groups == 1 and (experts, scale) == (160, 16.0):
        groups, kept = 8, 3  # the 236B model in a file older than the keys
    choice_bias = any(name.endswith("exp_probs_b.bias") for name in keys.file.tensors)
    if choice_bias and kept < groups:
        raise CheckpointError(
            f"{keys.file.path} chooses experts within groups, and with a bias",
            why="with a bias llama.cpp takes the groups of the two best experts, midfill of the best",
            fix="use the model's Hugging Face folder",
        )
    return MoEConfig(
        experts=experts,
        top_k=int(keys.need("expert_used_count")),
        hidden=int(keys.need("expert_feed_forward_length")),
        shared=int(keys.get("expert_shared_count") or 0),
        first_dense=int(keys.get("leading_dense_block_count") or 0),
        method="group_limited_greedy" if groups > 1 and not choice_bias else "greedy",
        groups=groups,
        top_groups=kept,
        scale=scale,
        norm_top_k=bool(keys.get("expert_weights_norm", False)),
        choice_bias=choice_bias,
    )


def _scaling(keys: _Keys) -> RopeScaling | None:
    factor = keys.get("rope.scaling.factor") or keys.get("rope.scale_linear")  # the old key
    kind = keys.get("rope.scaling.type", "linear" if factor else "none")
    if kind not in ("none", "linear", "yarn"):
        raise CheckpointError(
            f"{keys.file.path}: rope scaling {kind!r} is not supported",
            why="midfill reads none, linear and yarn from GGUF",
            fix="midfill models",
        )
    if kind == "linear" and factor:
        return LinearScaling(factor=float(factor))
    if kind == "yarn" and factor:
        log_multiplier = keys.get("rope.scaling.yarn_log_multiplier")
        mscale = None if log_multiplier is None else round(float(log_multiplier) / 0.1, 6)
        return YarnScaling(
            factor=float(factor),
            trained=int(
                keys.get("rope.scaling.original_context_length") or keys.need("context_length")
            ),
            fast=float(keys.get("rope.scaling.yarn_beta_fast") or 32.0),
            slow=float(keys.get("rope.scaling.yarn_beta_slow") or 1.0),
            mscale=mscale,
            mscale_all_dim=mscale,
        )
    if "rope_freqs.weight" in keys.file.tensors:
        raise CheckpointError(
            f"{keys.file.path} stretches each rotary pair by its own factor (rope_freqs)",
            why="this is Llama 3.1's scaling, which midfill reads from config.json only",
            fix="use the model's Hugging Face folder",
        )
    return None


def _stored_dtype(file: GGUFFile) -> Any:
    """The plain type that holds the matrices without loss, bfloat16 when they are quantised."""
    kinds = {info.type_name for info in file.tensors.values() if len(info.shape) > 1}
    kinds -= {"F32"} if len(kinds) > 1 else set()  # the router is float32 in every file
    return {"F32": "float32", "F16": "float16"}.get(
        kinds.pop() if len(kinds) == 1 else "", "bfloat16"
    )


def to_gguf_metadata(config: ModelConfig, *, name: str, file_type: int) -> dict[str, Any]:
    """The `general.*` and `<arch>.*` keys for `config`, as llama.cpp's converter writes them."""
    arch, a = ARCHITECTURE[config.family], config.attention
    _refuse_unwritable(config)
    meta: dict[str, Any] = {
        "block_count": config.layers,
        "context_length": config.context,
        "embedding_length": config.dim,
        "feed_forward_length": config.hidden,
        "attention.head_count": a.heads,
        "attention.layer_norm_rms_epsilon": config.norm_eps,
        "rope.freq_base": config.rope.theta,
        "rope.dimension_count": config.rope.dim,
        "vocab_size": config.vocab,
    }
    if isinstance(a, GQAConfig):
        meta["attention.head_count_kv"] = a.kv_heads
        if a.head_dim * a.heads != config.dim:
            meta |= {"attention.key_length": a.head_dim, "attention.value_length": a.head_dim}
    else:
        meta |= _latent_metadata(a)
    if config.moe is not None:
        meta |= _moe_metadata(config.moe)
    meta |= _scaling_metadata(config.rope.scaling)
    general = {
        "general.architecture": arch,
        "general.type": "model",
        "general.name": name,
        "general.file_type": file_type,
        "general.quantization_version": 2,
    }
    return general | {f"{arch}.{key}": value for key, value in meta.items()}


def _refuse_unwritable(config: ModelConfig) -> None:
    """Raise for what GGUF has no field for: the file would be another network."""
    a, moe, scaling = config.attention, config.moe, config.rope.scaling
    lost = None
    if isinstance(a, MLAConfig) and a.bias:
        lost = "biases in latent attention"
    elif moe is not None and config.mlp_bias:
        lost = "biases in feed-forward layers beside experts"
    elif moe is not None and moe.choice_bias and moe.method == "group_limited_greedy":
        lost = "a bias on the choice of experts within groups"
    elif moe is not None and moe.every != 1:
        lost = f"experts in each {moe.every}th layer only"
    elif isinstance(scaling, YarnScaling) and scaling.attention_factor is not None:
        lost = "yarn with an attention_factor of its own"
    elif isinstance(scaling, YarnScaling) and not scaling.truncate:
        lost = "yarn without truncation"
    elif isinstance(scaling, YarnScaling) and (scaling.mscale or 0) != (
        scaling.mscale_all_dim or 0
    ):
        lost = f"yarn with mscale {scaling.mscale} and mscale_all_dim {scaling.mscale_all_dim}"
    elif isinstance(scaling, Llama3Scaling):
        lost = "Llama 3 rope scaling"
    if lost:
        raise CheckpointError(
            f"this network cannot be written to GGUF: it has {lost}",
            why="the format has no field for it, and without it the numbers would change",
            fix="keep it in the Hugging Face layout (--to hf)",
        )


def _latent_metadata(a: MLAConfig) -> dict[str, Any]:
    meta: dict[str, Any] = {
        "attention.head_count_kv": 1,
        "attention.kv_lora_rank": a.kv_rank,
        "attention.key_length": a.kv_rank + a.rope_dim,
        "attention.value_length": a.kv_rank,
        "attention.key_length_mla": a.nope_dim + a.rope_dim,
        "attention.value_length_mla": a.v_dim,
    }
    return meta if a.q_rank is None else meta | {"attention.q_lora_rank": a.q_rank}


def _moe_metadata(moe: MoEConfig) -> dict[str, Any]:
    meta: dict[str, Any] = {
        "leading_dense_block_count": moe.first_dense,
        "expert_count": moe.experts,
        "expert_used_count": moe.top_k,
        "expert_shared_count": moe.shared,
        "expert_feed_forward_length": moe.hidden,
        "expert_weights_scale": moe.scale,
        "expert_gating_func": 1,
    }
    if moe.norm_top_k:
        meta["expert_weights_norm"] = True
    if moe.method == "group_limited_greedy" and moe.groups > 1:
        meta |= {"expert_group_count": moe.groups, "expert_group_used_count": moe.top_groups}
    return meta


def _scaling_metadata(scaling: RopeScaling | None) -> dict[str, Any]:
    if scaling is None:
        return {}
    if isinstance(scaling, LinearScaling):
        return {"rope.scaling.type": "linear", "rope.scaling.factor": scaling.factor}
    assert isinstance(scaling, YarnScaling)
    meta: dict[str, Any] = {
        "rope.scaling.type": "yarn",
        "rope.scaling.factor": scaling.factor,
        "rope.scaling.original_context_length": scaling.trained,
        "rope.scaling.yarn_beta_fast": scaling.fast,
        "rope.scaling.yarn_beta_slow": scaling.slow,
    }
    if scaling.mscale_all_dim:
        meta["rope.scaling.yarn_log_multiplier"] = 0.1 * scaling.mscale_all_dim
    return meta


def is_quantised(tensors: Mapping[str, Any]) -> bool:
    """Whether some tensors are kept in blocks with scales."""
    return any(info.type_name not in ("F32", "F16", "BF16", "F64") for info in tensors.values())


def describe_types(tensors: Mapping[str, Any]) -> dict[str, int]:
    """How many tensors there are of each type, most frequent first."""
    count: dict[str, int] = {}
    for info in tensors.values():
        count[info.type_name] = count.get(info.type_name, 0) + 1
    return dict(sorted(count.items(), key=lambda item: -item[1]))
