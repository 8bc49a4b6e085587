"""config.json and ModelConfig, both ways. Reads both spellings, writes the original one.

The original spelling (`rope_theta`, `rope_scaling`, `torch_dtype`) is what DeepSeek released;
transformers 5 writes `rope_parameters` and `dtype`. Torch-free.
"""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, cast

from midfill.config.check import check_sizes
from midfill.config.model import (
    DTYPE_BYTES,
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

FAMILIES = ("llama", "qwen2", "deepseek_v2")
GROUPED_BIAS = "group_limited_noaux_tc"  # ours: midfill.model.moe.route_biased
ARCHITECTURES = {
    "llama": "LlamaForCausalLM",
    "qwen2": "Qwen2ForCausalLM",
    "deepseek_v2": "DeepseekV2ForCausalLM",
}


def read_config(folder: Path) -> ModelConfig:
    """The network that `folder`/config.json describes, with generation_config.json's stop ids."""
    path = folder / "config.json"
    raw = read_json(path)
    config = parse_config(raw, str(path))
    generation = folder / "generation_config.json"
    if generation.exists():
        config = _with_eos(config, _generation_eos(generation))
    return config


def _generation_eos(path: Path) -> tuple[int, ...]:
    given = read_json(path).get("eos_token_id")
    try:
        return _ids(given)
    except (TypeError, ValueError, OverflowError):
        raise CheckpointError(
            f"{path} names {given!r} as eos_token_id",
            why="it is a token id or a list of them",
            fix="fetch the file again",
        ) from None


def read_json(path: Path) -> dict[str, Any]:
    """The object in a JSON file, or a CheckpointError that says where it breaks."""
    try:
        value = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise CheckpointError(
            f"{path} does not exist",
            why="a Hugging Face checkpoint is a folder with config.json and *.safetensors",
            fix="name such a folder, a .gguf file, or a model of `midfill models`",
        ) from None
    except (json.JSONDecodeError, UnicodeDecodeError) as error:
        raise CheckpointError(
            f"{path} is not valid JSON", why=str(error), fix="fetch the file again"
        ) from None
    if not isinstance(value, dict):
        raise CheckpointError(
            f"{path} holds no JSON object",
            why=f"its top level is a {type(value).__name__}",
            fix="fetch the file again",
        )
    return value


def parse_config(raw: Mapping[str, Any], where: str = "config.json") -> ModelConfig:
    """ModelConfig from the keys of a config.json in either spelling. Raises CheckpointError."""
    family = raw.get("model_type")
    if family not in FAMILIES:
        raise CheckpointError(
            f"{where}: architecture {family or raw.get('architectures')!r} is not supported",
            why=f"midfill runs the families {', '.join(FAMILIES)}",
            fix="midfill models",
        )
    compressed = raw.get("q_lora_rank", 1536)  # null is a value here: no query compression
    given = {key: value for key, value in raw.items() if value is not None}
    try:
        config = _parse(family, given | {"q_lora_rank": compressed})
    except KeyError as error:
        raise CheckpointError(
            f"{where} lacks the key {error.args[0]!r}",
            why=f"a {family} network cannot be built without it",
            fix="fetch the original config.json",
        ) from None
    except (TypeError, ValueError, AttributeError, ArithmeticError) as error:
        raise CheckpointError(
            f"{where} holds a value of the wrong kind", why=str(error), fix="fetch the original"
        ) from None
    _refuse_unsupported(raw, config, where)
    return config


def _parse(family: str, raw: Mapping[str, Any]) -> ModelConfig:
    heads, dim = int(raw["num_attention_heads"]), int(raw["hidden_size"])
    attention: GQAConfig | MLAConfig
    moe = None
    if family == "deepseek_v2":
        rank = raw.get("q_lora_rank")
        attention = MLAConfig(
            heads=heads,
            q_rank=None if rank is None else int(rank),
            kv_rank=int(raw.get("kv_lora_rank", 512)),
            nope_dim=int(raw.get("qk_nope_head_dim", 128)),
            rope_dim=int(raw.get("qk_rope_head_dim", 64)),
            v_dim=int(raw.get("v_head_dim", 128)),
            bias=bool(raw.get("attention_bias")),
        )
        rope_dim = attention.rope_dim
        moe = _parse_moe(raw)
    else:
        kv_heads = raw.get("num_key_value_heads")
        head_dim = int(raw.get("head_dim") or dim // heads)
        bias = family == "qwen2" or bool(raw.get("attention_bias"))
        attention = GQAConfig(
            heads=heads,
            kv_heads=heads if kv_heads is None else int(kv_heads),
            head_dim=head_dim,
            qkv_bias=bias,
            out_bias=bool(raw.get("attention_bias")) and family == "llama",
        )
        rope_dim = head_dim
    context = _context(raw)
    return ModelConfig(
        family=cast(Any, family),
        vocab=int(raw["vocab_size"]),
        dim=dim,
        layers=int(raw["num_hidden_layers"]),
        hidden=int(raw["intermediate_size"]),
        attention=attention,
        rope=_parse_rope(raw, rope_dim, context),
        moe=moe,
        context=context,
        norm_eps=float(raw.get("rms_norm_eps", 1e-6)),
        tie_embedding=bool(raw.get("tie_word_embeddings", False)),
        mlp_bias=bool(raw.get("mlp_bias", False)) and family != "qwen2",
        bos=raw.get("bos_token_id"),
        eos=_ids(raw.get("eos_token_id")),
        dtype=_parse_dtype(raw),
    )


def _context(raw: Mapping[str, Any]) -> int:
    """The longest sequence. YaRN added to a model by its user stretches the trained length."""
    context = int(raw.get("max_position_embeddings", 2048))
    rope = {**raw.get("rope_scaling", {}), **raw.get("rope_parameters", {})}
    kind = rope.get("rope_type", rope.get("type"))
    if kind == "yarn" and rope.get("original_max_position_embeddings") == context:
        return max(context, round(context * float(rope.get("factor") or 1)))
    return context


def _parse_moe(raw: Mapping[str, Any]) -> MoEConfig | None:
    if not raw.get("n_routed_experts"):
        return None
    method, choice_bias = _parse_method(raw)
    return MoEConfig(
        experts=int(raw["n_routed_experts"]),
        top_k=int(raw["num_experts_per_tok"]),
        hidden=int(raw["moe_intermediate_size"]),
        shared=int(raw.get("n_shared_experts") or 0),
        first_dense=int(raw.get("first_k_dense_replace") or 0),
        every=int(raw.get("moe_layer_freq") or 1),
        method=cast(Any, method),
        groups=int(raw.get("n_group") or 1),
        top_groups=int(raw.get("topk_group") or 1),
        scale=float(raw.get("routed_scaling_factor", 1.0)),
        norm_top_k=bool(raw.get("norm_topk_prob", False)),
        balance_alpha=float(raw.get("aux_loss_alpha", 0.001)),
        balance_per_sequence=bool(raw.get("seq_aux", True)),
        choice_bias=choice_bias,
    )


def _parse_method(raw: Mapping[str, Any]) -> tuple[str, bool]:
    """How experts are chosen, and whether a bias takes part.

    DeepSeek-V3's "noaux_tc" picks groups by their two best experts, ours by the best: the same where
    all groups are kept, elsewhere another network, so ours has a name that only midfill reads.
    """
    method = raw.get("topk_method") or "greedy"
    if method == GROUPED_BIAS:
        return "group_limited_greedy", True
    if method == "noaux_tc" and int(raw.get("topk_group") or 1) >= int(raw.get("n_group") or 1):
        return "greedy", True
    return method, False


def _parse_rope(raw: Mapping[str, Any], dim: int, context: int) -> RopeConfig:
    new = raw.get("rope_parameters") or {}
    old = raw.get("rope_scaling") or {}
    theta = float(new.get("rope_theta", raw.get("rope_theta", 10000.0)))
    return RopeConfig(dim=dim, theta=theta, scaling=_parse_scaling({**old, **new}, context))


def _parse_scaling(rope: Mapping[str, Any], context: int) -> RopeScaling | None:
    kind = rope.get("rope_type", rope.get("type", "default"))
    trained = int(rope.get("original_max_position_embeddings") or context)
    if kind == "default":
        return None
    if kind == "linear":
        return LinearScaling(factor=float(rope["factor"]))
    if kind == "yarn":
        factor = rope.get("factor")
        return YarnScaling(
            factor=context / trained if factor is None else float(factor),
            trained=trained,
            fast=float(rope.get("beta_fast") or 32),
            slow=float(rope.get("beta_slow") or 1),
            mscale=_optional_float(rope.get("mscale")),
            mscale_all_dim=_optional_float(rope.get("mscale_all_dim")),
            attention_factor=_optional_float(rope.get("attention_factor")),
            truncate=bool(rope.get("truncate", True)),
        )
    if kind == "llama3":
        return Llama3Scaling(
            factor=float(rope["factor"]),
            trained=trained,
            low=float(rope["low_freq_factor"]),
            high=float(rope["high_freq_factor"]),
        )
    raise CheckpointError(
        f"rope scaling {kind!r} is not supported",
        why="midfill knows default, linear, yarn and llama3",
        fix="use a checkpoint of a supported family: midfill models",
    )


def _refuse_unsupported(raw: Mapping[str, Any], config: ModelConfig, where: str) -> None:
    """Raise for settings that would change the numbers and that we do not compute."""
    if "quantization_config" in raw:
        method = dict(raw["quantization_config"] or {}).get("quant_method", "unknown")
        raise CheckpointError(
            f"{where}: the weights are quantised by {method}",
            why="of quantised files midfill reads GGUF",
            fix="take the original weights of this model, or a GGUF of it",
        )
    problems = []
    if raw.get("hidden_act") not in (None, "silu", "swish"):
        problems.append(f"hidden_act {raw['hidden_act']!r}")
    if raw.get("use_sliding_window"):
        problems.append("use_sliding_window")
    if raw.get("scoring_func") not in (None, "softmax"):
        problems.append(f"scoring_func {raw['scoring_func']!r}")
    if raw.get("partial_rotary_factor", 1.0) not in (None, 1.0):
        problems.append("partial_rotary_factor")
    if config.moe is not None and config.moe.method not in ("greedy", "group_limited_greedy"):
        problems.append(f"topk_method {config.moe.method!r}")
    if problems:
        raise CheckpointError(
            f"{where} asks for {', '.join(problems)}",
            why="the supported families do not use it and midfill does not compute it",
            fix="use a checkpoint of a supported family: midfill models",
        )
    check_sizes(config, where)


def _parse_dtype(raw: Mapping[str, Any]) -> Any:
    name = str(raw.get("torch_dtype") or raw.get("dtype") or "float32").removeprefix("torch.")
    return name if name in DTYPE_BYTES else "float32"


def _optional_float(value: Any) -> float | None:
    return None if value is None else float(value)


def _ids(value: Any) -> tuple[int, ...]:
    if value is None:
        return ()
    return tuple(int(v) for v in value) if isinstance(value, list | tuple) else (int(value),)


def _with_eos(config: ModelConfig, extra: tuple[int, ...]) -> ModelConfig:
    from dataclasses import replace

    return replace(config, eos=tuple(dict.fromkeys((*config.eos, *extra))))


def to_hf_config(config: ModelConfig) -> dict[str, Any]:
    """config.json in the original DeepSeek spelling, which every loader reads."""
    a, moe = config.attention, config.moe
    raw: dict[str, Any] = {
        "architectures": [ARCHITECTURES[config.family]],
        "model_type": config.family,
        "vocab_size": config.vocab,
        "hidden_size": config.dim,
        "num_hidden_layers": config.layers,
        "num_attention_heads": a.heads,
        "num_key_value_heads": a.kv_heads if isinstance(a, GQAConfig) else a.heads,
        "intermediate_size": config.hidden,
        "hidden_act": "silu",
        "max_position_embeddings": config.context,
        "rms_norm_eps": config.norm_eps,
        "tie_word_embeddings": config.tie_embedding,
        "rope_theta": config.rope.theta,
        "rope_scaling": _scaling_to_hf(config.rope.scaling),
        "torch_dtype": config.dtype,
        "bos_token_id": config.bos,
        "eos_token_id": config.eos[0] if len(config.eos) == 1 else list(config.eos) or None,
    }
    if isinstance(a, GQAConfig):
        raw["head_dim"] = a.head_dim
        if config.family == "llama":
            raw |= {"attention_bias": a.qkv_bias, "mlp_bias": config.mlp_bias}
        return raw
    raw |= {
        "attention_bias": a.bias,
        "mlp_bias": config.mlp_bias,
        "q_lora_rank": a.q_rank,
        "kv_lora_rank": a.kv_rank,
        "qk_nope_head_dim": a.nope_dim,
        "qk_rope_head_dim": a.rope_dim,
        "v_head_dim": a.v_dim,
    }
    return raw | (_moe_to_hf(moe) if moe is not None else {"n_routed_experts": None})


def _moe_to_hf(moe: MoEConfig) -> dict[str, Any]:
    """Of experts chosen with a bias transformers' deepseek_v2 knows nothing, and stops at the name."""
    method, top_groups = moe.method, moe.top_groups
    if moe.choice_bias and method == "greedy":
        method, top_groups = "noaux_tc", moe.groups
    elif moe.choice_bias:
        method = GROUPED_BIAS
    return {
        "n_routed_experts": moe.experts,
        "num_experts_per_tok": moe.top_k,
        "moe_intermediate_size": moe.hidden,
        "n_shared_experts": moe.shared,
        "first_k_dense_replace": moe.first_dense,
        "moe_layer_freq": moe.every,
        "topk_method": method,
        "n_group": moe.groups,
        "topk_group": top_groups,
        "routed_scaling_factor": moe.scale,
        "norm_topk_prob": moe.norm_top_k,
        "scoring_func": "softmax",
        "aux_loss_alpha": moe.balance_alpha,
        "seq_aux": moe.balance_per_sequence,
    }


def _scaling_to_hf(scaling: RopeScaling | None) -> dict[str, Any] | None:
    if scaling is None:
        return None
    if isinstance(scaling, LinearScaling):
        return {"type": "linear", "factor": scaling.factor}
    if isinstance(scaling, Llama3Scaling):
        return {
            "rope_type": "llama3",
            "factor": scaling.factor,
            "low_freq_factor": scaling.low,
            "high_freq_factor": scaling.high,
            "original_max_position_embeddings": scaling.trained,
        }
    raw = {
        "type": "yarn",
        "factor": scaling.factor,
        "original_max_position_embeddings": scaling.trained,
        "beta_fast": scaling.fast,
        "beta_slow": scaling.slow,
        "mscale": scaling.mscale,
        "mscale_all_dim": scaling.mscale_all_dim,
        "attention_factor": scaling.attention_factor,
        "truncate": None if scaling.truncate else False,
    }
    return {key: value for key, value in raw.items() if value is not None}
