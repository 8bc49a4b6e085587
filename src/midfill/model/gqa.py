"""Grouped-query attention, shared by the dense families; multi-head and multi-query are its ends.

Source: DeepSeek-Coder §3.4. Shapes: B batch, S new tokens, T cached tokens, D residual, H heads,
J key/value heads, U key width, V value width (both the width of a head).
"""

from jaxtyping import Float
from torch import Tensor, nn

from midfill.config.model import GQAConfig
from midfill.kernels.attention import attend
from midfill.model.cache import Cache, Step
from midfill.model.rope import Angles, rotate_halves


class GroupedQueryAttention(nn.Module):
    """Attention whose query heads share key/value heads in groups."""

    def __init__(self, config: GQAConfig, dim: int, layer: int) -> None:
        super().__init__()
        self.config = config
        self.layer = layer
        self.scale = config.head_dim**-0.5
        width, kv_width = config.heads * config.head_dim, config.kv_heads * config.head_dim
        self.q_proj = nn.Linear(dim, width, bias=config.qkv_bias)
        self.k_proj = nn.Linear(dim, kv_width, bias=config.qkv_bias)
        self.v_proj = nn.Linear(dim, kv_width, bias=config.qkv_bias)
        self.o_proj = nn.Linear(width, dim, bias=config.out_bias)

    def forward(
        self, x: Float[Tensor, "B S D"], angles: Angles, step: Step, cache: Cache | None
    ) -> Float[Tensor, "B S D"]:
        """Read the new tokens, remember their keys and values, return what they gathered."""
        heads = (-1, self.config.head_dim)
        q_BHSU = rotate_halves(self.q_proj(x).unflatten(-1, heads), angles).transpose(1, 2)
        k_BJSU = rotate_halves(self.k_proj(x).unflatten(-1, heads), angles).transpose(1, 2)
        v_BJSV = self.v_proj(x).unflatten(-1, heads).transpose(1, 2)
        if cache is not None:
            k_BJTU, v_BJTV = cache.update(self.layer, step, k_BJSU, v_BJSV)
        else:
            k_BJTU, v_BJTV = k_BJSU, v_BJSV
        out_BHSV = attend(
            q_BHSU,
            k_BJTU,
            v_BJTV,
            scale=self.scale,
            mask=step.mask,
            causal=step.causal,
            pieces=step.pieces,
        )
        return self.o_proj(out_BHSV.transpose(1, 2).flatten(2))
