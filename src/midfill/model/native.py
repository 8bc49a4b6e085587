"""The network in compiled kernels: packed weights joined to one object that reads a whole step.

What it computes is what Transformer computes, with activations rounded to 8 bits in front of
quantised matrices and to bfloat16 in front of bfloat16 ones and in attention.
"""

from typing import Any

import numpy as np

from midfill.config.model import GQAConfig, MLAConfig, ModelConfig, MoEConfig
from midfill.kernels.cpu import native
from midfill.kernels.packed import PANEL, PackedMatrix
from midfill.model.mla import LATENT_EPS
from midfill.model.packed_weights import EMBEDDING, HEAD, PackedWeights
from midfill.model.rope import inverse_frequencies, magnitude, mla_scale

KIND_IDS: dict[str, int] = {} if native is None else native.KINDS


def can_run(config: ModelConfig) -> bool:
    """Whether the compiled kernels were built and fit this network.

    They choose experts by affinity alone.
    """
    a = config.attention
    if native is None or (config.moe is not None and config.moe.choice_bias):
        return False
    if isinstance(a, GQAConfig):
        return a.head_dim % 2 == 0 and config.rope.dim == a.head_dim
    return a.kv_rank % PANEL == a.v_dim % PANEL == 0 and a.nope_dim % 2 == a.rope_dim % 2 == 0


class NativeNetwork:
    """A network and the memory of its weights, which stay where `weights` has them."""

    def __init__(self, config: ModelConfig, weights: PackedWeights) -> None:
        assert native is not None
        assert can_run(config), config
        self.config, self.weights = config, weights
        self._kept: list[np.ndarray] = []  # what the network points at and nobody else holds
        self.network = native.Network(_shape(config))
        self._matrix("embed", -1, EMBEDDING)
        if not config.tie_embedding:
            self._matrix("head", -1, HEAD)
        self._array("norm", -1, weights.array("model.norm.weight"))
        self._array("inv_freq", -1, inverse_frequencies(config.rope).numpy())
        for layer in range(config.layers):
            self._add_layer(layer)

    def _add_layer(self, layer: int) -> None:
        prefix, weights = f"model.layers.{layer}.", self.weights
        self._array("attn_norm", layer, weights.array(prefix + "input_layernorm.weight"))
        self._array("ffn_norm", layer, weights.array(prefix + "post_attention_layernorm.weight"))
        if isinstance(self.config.attention, GQAConfig):
            for name in "qkvo":
                self._matrix(name, layer, f"{prefix}self_attn.{name}_proj.weight")
        else:
            self._add_latent(layer, prefix + "self_attn.", self.config.attention)
        if not self.config.is_moe(layer):
            self._matrix("gate_up", layer, prefix + "mlp.gate_up")
            self._matrix("down", layer, prefix + "mlp.down_proj.weight")
            return
        assert self.config.moe is not None
        self._add_experts(layer, prefix + "mlp.", self.config.moe)

    def _add_latent(self, layer: int, prefix: str, a: MLAConfig) -> None:
        if a.q_rank is None:
            self._matrix("q", layer, prefix + "q_proj.weight")
        else:
            self._matrix("q_a", layer, prefix + "q_a_proj.weight")
            self._array("q_a_norm", layer, self.weights.array(prefix + "q_a_layernorm.weight"))
            self._matrix("q_b", layer, prefix + "q_b_proj.weight")
        self._matrix("kv_a", layer, prefix + "kv_a_proj_with_mqa.weight")
        self._array("kv_a_norm", layer, self.weights.array(prefix + "kv_a_layernorm.weight"))
        self._matrix("o", layer, prefix + "o_proj.weight")
        for name in ("k_up", "v_up", "v_expand"):
            self._matrix(name, layer, prefix + name)
        self.network.set_k_expand(layer, self._keep(self.weights.array(prefix + "k_expand")))

    def _add_experts(self, layer: int, prefix: str, moe: MoEConfig) -> None:
        self._matrix("router", layer, prefix + "gate.weight")
        block = self.weights.experts(layer)
        parts: list[Any] = []
        for part in (block.gate_up, block.down):
            parts += [KIND_IDS[part.kind], part.rows, part.cols, part.stride, self._keep(part.data)]
        self.network.set_experts(layer, block.count, *parts)
        if moe.shared:
            self._matrix("gate_up", layer, prefix + "shared_experts.gate_up")
            self._matrix("down", layer, prefix + "shared_experts.down_proj.weight")

    def _matrix(self, name: str, layer: int, stored: str) -> None:
        self._set(name, layer, self.weights.matrix(stored))

    def _set(self, name: str, layer: int, m: PackedMatrix) -> None:
        bias = None
        if m.bias is not None:
            bias = np.zeros(-(-m.rows // PANEL) * PANEL, np.float32)
            bias[: m.rows] = m.bias
            self._keep(bias)
        self.network.set(name, layer, KIND_IDS[m.kind], m.rows, m.cols, self._keep(m.data), bias)

    def _array(self, name: str, layer: int, values: np.ndarray) -> None:
        self.network.set_array(name, layer, self._keep(np.ascontiguousarray(values, np.float32)))

    def _keep(self, values: np.ndarray) -> np.ndarray:
        flat = values.reshape(-1)
        self._kept.append(flat)
        return flat


def _shape(config: ModelConfig) -> dict[str, Any]:
    a, moe = config.attention, config.moe
    shape: dict[str, Any] = {
        "vocab": config.vocab,
        "dim": config.dim,
        "layers": config.layers,
        "norm_eps": config.norm_eps,
        "heads": a.heads,
        "rope_pairs": config.rope.dim // 2,
        "rope_magnitude": magnitude(config.rope),
    }
    if isinstance(a, GQAConfig):
        shape |= {"kv_heads": a.kv_heads, "head_dim": a.head_dim, "scale": a.head_dim**-0.5}
    else:
        shape |= {
            "latent": True,
            "scale": mla_scale(config.rope, a.nope_dim + a.rope_dim),
            "q_rank": a.q_rank or 0,
            "kv_rank": a.kv_rank,
            "nope": a.nope_dim,
            "rope": a.rope_dim,
            "value": a.v_dim,
            "latent_eps": LATENT_EPS,
        }
    if moe is not None:
        shape |= {
            "experts": moe.experts,
            "top_k": moe.top_k,
            "groups": moe.groups,
            "top_groups": moe.top_groups,
            "norm_top_k": moe.norm_top_k,
            "group_limited": moe.method == "group_limited_greedy",
            "route_scale": moe.scale,
        }
    return shape
