"""Grouped-query attention, shared by the dense families; multi-head and multi-query are its ends.

Source: DeepSeek-Coder §3.4. Shapes: B batch, S new tokens, T cached tokens, D residual, H heads,
K key/value heads, N head width.
"""

import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from midfill.config.model import GQAConfig
from midfill.model.cache import Cache, Step
from midfill.model.rope import Angles, rotate_halves


class GroupedQueryAttention(nn.Module):
    """Attention whose query heads share key/value heads in groups."""

    def __init__(self, config: GQAConfig, dim: int, layer: int) -> None:
        super().__init__()
        self.config = config
        self.layer = layer
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
        q_BHSN = rotate_halves(self.q_proj(x).unflatten(-1, heads), angles).transpose(1, 2)
        k_BKSN = rotate_halves(self.k_proj(x).unflatten(-1, heads), angles).transpose(1, 2)
        v_BKSN = self.v_proj(x).unflatten(-1, heads).transpose(1, 2)
        if cache is not None:
            k_BKTN, v_BKTN = cache.update(self.layer, step, k_BKSN, v_BKSN)
        else:
            k_BKTN, v_BKTN = k_BKSN, v_BKSN
        out_BHSN = self._attend(q_BHSN, k_BKTN, v_BKTN, step)
        return self.o_proj(out_BHSN.transpose(1, 2).flatten(2))

    def _attend(self, q: Tensor, k: Tensor, v: Tensor, step: Step) -> Tensor:
        group = self.config.heads // self.config.kv_heads
        if q.shape[2] == 1:  # one token: the heads of a group are rows of one product
            q = q.unflatten(1, (-1, group)).squeeze(3)
            return F.scaled_dot_product_attention(q, k, v, attn_mask=step.mask).flatten(1, 2)[
                :, :, None
            ]
        if group > 1:
            k, v = k.repeat_interleave(group, dim=1), v.repeat_interleave(group, dim=1)
        return F.scaled_dot_product_attention(q, k, v, attn_mask=step.mask, is_causal=step.causal)
