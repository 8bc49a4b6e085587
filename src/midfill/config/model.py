"""The shape of a network: sizes, attention, experts, rotary embedding; and what it costs.

Sources: DeepSeek-Coder §3, DeepSeek-V2 §2.1-2.2, DeepSeek-Coder-V2 §3; released config.json files.
Defaults are those of the `deepseek_v2` and `llama` configuration classes the files rely on.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

DTYPE_BYTES = {"float32": 4, "bfloat16": 2, "float16": 2}
CHOICE_BIAS = "e_score_correction_bias"  # DeepSeek-V3's name; float32 in every file


@dataclass(frozen=True, slots=True, kw_only=True)
class LinearScaling:
    """All rotary frequencies divided by `factor`, at every position. Source: DeepSeek-Coder §3.6."""

    factor: float


@dataclass(frozen=True, slots=True, kw_only=True)
class YarnScaling:
    """YaRN: slow pairs are stretched, fast pairs kept. Source: arXiv 2309.00071; DeepSeek-V2 §3.1.4.

    `mscale` scales cos and sin, `mscale_all_dim` the MLA softmax; None means "not in the file".
    """

    factor: float
    trained: int  # context length before the extension, tokens
    fast: float = 32.0  # pairs with more turns than this in `trained` tokens are kept
    slow: float = 1.0  # pairs with fewer turns than this are stretched by the full factor
    mscale: float | None = None
    mscale_all_dim: float | None = None
    attention_factor: float | None = None  # overrides the cos and sin magnitude
    truncate: bool = True  # round the borders of the ramp to whole pairs


@dataclass(frozen=True, slots=True, kw_only=True)
class Llama3Scaling:
    """Llama 3.1's smooth stretch by wavelength. Source: Llama 3.1 release."""

    factor: float
    trained: int
    low: float = 1.0
    high: float = 4.0


RopeScaling = LinearScaling | YarnScaling | Llama3Scaling


@dataclass(frozen=True, slots=True, kw_only=True)
class RopeConfig:
    """Rotary position embedding of `dim` numbers per head."""

    dim: int
    theta: float = 10000.0
    scaling: RopeScaling | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class GQAConfig:
    """Grouped-query attention; multi-head and multi-query are its two ends. DeepSeek-Coder §3.4."""

    heads: int
    kv_heads: int
    head_dim: int
    qkv_bias: bool = False  # qwen2
    out_bias: bool = False

    @property
    def cache_per_token(self) -> int:
        """Numbers cached per token and layer: keys and values."""
        return 2 * self.kv_heads * self.head_dim


@dataclass(frozen=True, slots=True, kw_only=True)
class MLAConfig:
    """Multi-head latent attention. Source: DeepSeek-V2 §2.1; defaults: V2-Lite."""

    heads: int = 16
    q_rank: int | None = None  # the query latent, None = no query compression
    kv_rank: int = 512  # the KV latent, the only large thing cached
    nope_dim: int = 128  # per-head query/key width without position
    rope_dim: int = 64  # rotary width; its key is shared by all heads
    v_dim: int = 128  # per-head value width
    bias: bool = False

    @property
    def cache_per_token(self) -> int:
        """Numbers cached per token and layer: the latent and the shared rotary key."""
        return self.kv_rank + self.rope_dim


@dataclass(frozen=True, slots=True, kw_only=True)
class MoEConfig:
    """Routed and shared experts of DeepSeekMoE. Source: DeepSeek-V2 §2.2; defaults: V2-Lite."""

    experts: int = 64
    top_k: int = 6
    hidden: int = 1408  # width of one expert
    shared: int = 2  # always-on experts, computed as one of width shared * hidden
    first_dense: int = 1  # the first layers keep a dense feed-forward
    every: int = 1  # of the others, each `every`-th is MoE
    method: Literal["greedy", "group_limited_greedy"] = "greedy"
    groups: int = 1  # devices of the paper's device-limited routing
    top_groups: int = 1
    scale: float = 1.0  # routed_scaling_factor
    norm_top_k: bool = False  # renormalise the chosen affinities (then `scale` is not applied)
    balance_alpha: float = 0.001  # expert balance loss
    balance_per_sequence: bool = True
    choice_bias: bool = False  # a bias moves the choice and not the weights (DeepSeek-V3 §2.1.2)

    def is_moe(self, layer: int) -> bool:
        """Whether layer `layer` (from 0) routes to experts."""
        return layer >= self.first_dense and layer % self.every == 0


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelConfig:
    """One network of the families `llama`, `qwen2` and `deepseek_v2`."""

    family: Literal["llama", "qwen2", "deepseek_v2"]
    vocab: int
    dim: int  # residual stream width
    layers: int
    hidden: int  # width of the dense feed-forward
    attention: GQAConfig | MLAConfig
    rope: RopeConfig
    moe: MoEConfig | None = None
    context: int = 16384  # longest sequence, tokens
    norm_eps: float = 1e-6
    tie_embedding: bool = False
    mlp_bias: bool = False
    bos: int | None = None
    eos: tuple[int, ...] = ()
    dtype: Literal["float32", "bfloat16", "float16"] = "bfloat16"  # as stored

    def is_moe(self, layer: int) -> bool:
        """Whether layer `layer` (from 0) routes to experts."""
        return self.moe is not None and self.moe.is_moe(layer)

    def tensors(self) -> Iterator[tuple[str, tuple[int, ...]]]:
        """Yield every tensor as (original DeepSeek / Hugging Face name, shape), one per expert."""
        yield "model.embed_tokens.weight", (self.vocab, self.dim)
        for layer in range(self.layers):
            prefix = f"model.layers.{layer}."
            yield prefix + "input_layernorm.weight", (self.dim,)
            yield from self._attention_tensors(prefix + "self_attn.")
            yield prefix + "post_attention_layernorm.weight", (self.dim,)
            yield from self._feed_forward_tensors(layer, prefix + "mlp.")
        yield "model.norm.weight", (self.dim,)
        if not self.tie_embedding:
            yield "lm_head.weight", (self.vocab, self.dim)

    def _attention_tensors(self, prefix: str) -> Iterator[tuple[str, tuple[int, ...]]]:
        a, dim = self.attention, self.dim
        if isinstance(a, GQAConfig):
            q, kv = a.heads * a.head_dim, a.kv_heads * a.head_dim
            for name, rows, cols, bias in (
                ("q_proj", q, dim, a.qkv_bias),
                ("k_proj", kv, dim, a.qkv_bias),
                ("v_proj", kv, dim, a.qkv_bias),
                ("o_proj", dim, q, a.out_bias),
            ):
                yield f"{prefix}{name}.weight", (rows, cols)
                if bias:
                    yield f"{prefix}{name}.bias", (rows,)
            return
        q = a.heads * (a.nope_dim + a.rope_dim)
        if a.q_rank is None:
            yield prefix + "q_proj.weight", (q, dim)
        else:
            yield prefix + "q_a_proj.weight", (a.q_rank, dim)
            if a.bias:
                yield prefix + "q_a_proj.bias", (a.q_rank,)
            yield prefix + "q_a_layernorm.weight", (a.q_rank,)
            yield prefix + "q_b_proj.weight", (q, a.q_rank)
        yield prefix + "kv_a_proj_with_mqa.weight", (a.kv_rank + a.rope_dim, dim)
        if a.bias:
            yield prefix + "kv_a_proj_with_mqa.bias", (a.kv_rank + a.rope_dim,)
        yield prefix + "kv_a_layernorm.weight", (a.kv_rank,)
        yield prefix + "kv_b_proj.weight", (a.heads * (a.nope_dim + a.v_dim), a.kv_rank)
        yield prefix + "o_proj.weight", (dim, a.heads * a.v_dim)
        if a.bias:
            yield prefix + "o_proj.bias", (dim,)

    def _feed_forward_tensors(
        self, layer: int, prefix: str
    ) -> Iterator[tuple[str, tuple[int, ...]]]:
        if not self.is_moe(layer):
            yield from self._swiglu_tensors(prefix, self.hidden, bias=self.mlp_bias)
            return
        assert self.moe is not None
        yield prefix + "gate.weight", (self.moe.experts, self.dim)
        if self.moe.choice_bias:
            yield f"{prefix}gate.{CHOICE_BIAS}", (self.moe.experts,)
        for expert in range(self.moe.experts):
            yield from self._swiglu_tensors(f"{prefix}experts.{expert}.", self.moe.hidden)
        if self.moe.shared:
            width = self.moe.shared * self.moe.hidden
            yield from self._swiglu_tensors(prefix + "shared_experts.", width, bias=self.mlp_bias)

    def _swiglu_tensors(
        self, prefix: str, hidden: int, *, bias: bool = False
    ) -> Iterator[tuple[str, tuple[int, ...]]]:
        for name, shape in (
            ("gate_proj", (hidden, self.dim)),
            ("up_proj", (hidden, self.dim)),
            ("down_proj", (self.dim, hidden)),
        ):
            yield f"{prefix}{name}.weight", shape
            if bias:
                yield f"{prefix}{name}.bias", shape[:1]

    @property
    def total_parameters(self) -> int:
        """Numbers stored in a checkpoint."""
        return sum(_product(shape) for _, shape in self.tensors())

    @property
    def active_parameters(self) -> int:
        """Numbers used per token, all but the input embedding, as the papers count.

        A tied embedding is used as the head, so it counts there.
        """
        embedding = 0 if self.tie_embedding else self.vocab * self.dim
        return self.total_parameters - embedding - self._idle_expert_parameters()

    def _idle_expert_parameters(self) -> int:
        if self.moe is None:
            return 0
        layers = sum(self.is_moe(layer) for layer in range(self.layers))
        per_expert = 3 * self.dim * self.moe.hidden
        return layers * per_expert * (self.moe.experts - self.moe.top_k)

    def cache_bytes_per_token(self, dtype: str | None = None) -> int:
        """Bytes of attention cache one token takes in all layers."""
        return self.layers * self.attention.cache_per_token * DTYPE_BYTES[dtype or self.dtype]

    def weight_bytes(self, dtype: str | None = None) -> int:
        """Bytes of all weights held in `dtype`."""
        return self.total_parameters * DTYPE_BYTES[dtype or self.dtype]


def _product(shape: tuple[int, ...]) -> int:
    total = 1
    for size in shape:
        total *= size
    return total
