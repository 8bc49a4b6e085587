"""The network: embedding, blocks of attention and feed-forward, head.

One class for every family; attention and feed-forward are chosen by the config. Parameter names
are the original DeepSeek / Hugging Face ones without the leading `model.`; only the routed experts
are stacked. Shapes: B batch, S new tokens, D residual, W vocabulary.
"""

from collections.abc import Sequence

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from midfill.config.model import GQAConfig, ModelConfig
from midfill.kernels.attention import Pieces
from midfill.model.cache import Cache, Step, full_step
from midfill.model.gqa import GroupedQueryAttention
from midfill.model.mla import LatentAttention
from midfill.model.moe import MoE, SwiGLU
from midfill.model.norm import RMSNorm
from midfill.model.rope import Angles, Rotary


class Block(nn.Module):
    """h = x + attention(norm x); y = h + feed-forward(norm h)."""

    def __init__(self, config: ModelConfig, layer: int) -> None:
        super().__init__()
        a, dim = config.attention, config.dim
        self.input_layernorm = RMSNorm(dim, config.norm_eps)
        if isinstance(a, GQAConfig):
            self.self_attn = GroupedQueryAttention(a, dim, layer)
        else:
            self.self_attn = LatentAttention(a, config.rope, dim, layer)
        self.post_attention_layernorm = RMSNorm(dim, config.norm_eps)
        if config.is_moe(layer):
            assert config.moe is not None
            self.mlp = MoE(config.moe, dim, bias=config.mlp_bias)
        else:
            self.mlp = SwiGLU(dim, config.hidden, bias=config.mlp_bias)

    def forward(self, x: Tensor, angles: Angles, step: Step, cache: Cache | None) -> Tensor:
        """The residual stream after this block."""
        x = x + self.self_attn(self.input_layernorm(x), angles, step, cache)
        return x + self.mlp(self.post_attention_layernorm(x))


class Transformer(nn.Module):
    """Token ids to logits, for the families llama, qwen2 and deepseek_v2."""

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self.config = config
        self.embed_tokens = nn.Embedding(config.vocab, config.dim)
        self.layers = nn.ModuleList(Block(config, layer) for layer in range(config.layers))
        self.norm = RMSNorm(config.dim, config.norm_eps)
        self.lm_head = nn.Linear(config.dim, config.vocab, bias=False)
        if config.tie_embedding:
            self.lm_head.weight = self.embed_tokens.weight
        with torch.device("cpu"):  # also when the weights are on the meta device
            self.rotary = Rotary(config.rope)

    @property
    def dtype(self) -> torch.dtype:
        """The type of weights and activations."""
        return self.embed_tokens.weight.dtype

    @property
    def device(self) -> torch.device:
        """Where the weights are."""
        return self.embed_tokens.weight.device

    def new_cache(self, batch: int = 1, capacity: int = 256) -> Cache:
        """An empty cache that fits this network."""
        return Cache(self.config, batch, dtype=self.dtype, device=self.device, capacity=capacity)

    def forward(
        self, tokens: Int[Tensor, "B S"], cache: Cache | None = None, *, first: int = 0
    ) -> Float[Tensor, "B S W"]:
        """Logits (float32) for the token after each of `tokens`.

        With a cache the tokens continue its rows; without one they stand at position `first` on.
        """
        return self.logits(self.hidden(tokens, cache, first=first))

    def hidden(
        self,
        tokens: Int[Tensor, "B S"],
        cache: Cache | None = None,
        *,
        first: int = 0,
        counts: Sequence[int] | None = None,
        documents: Sequence[Sequence[int]] | None = None,
    ) -> Float[Tensor, "B S D"]:
        """The normed residual stream. `counts[b]` of row b's tokens are real, the rest padding.

        Without a cache, `documents[b]` may give the lengths of the pieces that row b was packed
        from: no token sees another piece, while positions count on through the row.
        """
        batch, length = tokens.shape
        if cache is None:
            pieces = None if documents is None else Pieces(tuple(tuple(row) for row in documents))
            step = full_step(batch, length, tokens.device, first, pieces)
        else:
            assert documents is None, "packed rows are read without a cache"
            step = cache.plan(length)
        angles = self.rotary(step.positions)
        x = self.embed_tokens(tokens)
        for block in self.layers:
            x = block(x, angles, step, cache)
        if cache is not None:
            cache.advance([length] * batch if counts is None else counts)
        return self.norm(x)

    def logits(self, hidden: Float[Tensor, "*batch D"]) -> Float[Tensor, "*batch W"]:
        """Scores of every token of the vocabulary, float32."""
        return self.lm_head(hidden).float()
