"""Multi-head latent attention: all heads share one small latent per token, the only thing cached.

Two forms give the same numbers. Expanded: keys and values of every head are computed from the
latents, then ordinary attention; cheap per query, dear per cached token. Absorbed: the expansion is
moved into query and output, attention runs on the latents themselves; the other way round.

Source: DeepSeek-V2 §2.1 and appendix C. Shapes: B batch, S new tokens, T cached tokens, D residual,
H heads, N no-position width, R rotary width, U = N + R key width, V value width, X = N + V,
C kv latent, Z = C + R what is cached.
"""

import torch
from jaxtyping import Float
from torch import Tensor, nn

from midfill.config.model import MLAConfig, RopeConfig
from midfill.kernels.attention import attend
from midfill.model.cache import Cache, Step
from midfill.model.norm import RMSNorm
from midfill.model.rope import Angles, mla_scale, rotate_pairs

LATENT_EPS = 1e-6  # of the norms on latents, whatever rms_norm_eps says


def expand_is_cheaper(config: MLAConfig, new: int, total: int) -> bool:
    """Whether `new` queries on `total` tokens cost fewer multiplications in the expanded form.

    Per head, expanding costs C·(N+V) for each of the `total` tokens, absorbing costs the same for
    each new one; each query then meets each key at N+R+V against 2C+R. For the released sizes and
    new << total the border lies at 171 new tokens; a prompt read in one go is always expanded.
    """
    expansion = config.kv_rank * (config.nope_dim + config.v_dim)
    expanded = total * expansion + new * total * (config.nope_dim + config.rope_dim + config.v_dim)
    absorbed = new * expansion + new * total * (2 * config.kv_rank + config.rope_dim)
    return expanded < absorbed


class LatentAttention(nn.Module):
    """MLA with or without query compression."""

    def __init__(self, config: MLAConfig, rope: RopeConfig, dim: int, layer: int) -> None:
        super().__init__()
        self.config = config
        self.layer = layer
        self.scale = mla_scale(rope, config.nope_dim + config.rope_dim)
        q_width = config.heads * (config.nope_dim + config.rope_dim)
        if config.q_rank is None:
            self.q_proj = nn.Linear(dim, q_width, bias=False)
        else:
            self.q_a_proj = nn.Linear(dim, config.q_rank, bias=config.bias)
            self.q_a_layernorm = RMSNorm(config.q_rank, LATENT_EPS)
            self.q_b_proj = nn.Linear(config.q_rank, q_width, bias=False)
        self.kv_a_proj_with_mqa = nn.Linear(dim, config.kv_rank + config.rope_dim, bias=config.bias)
        self.kv_a_layernorm = RMSNorm(config.kv_rank, LATENT_EPS)
        kv_width = config.heads * (config.nope_dim + config.v_dim)
        self.kv_b_proj = nn.Linear(config.kv_rank, kv_width, bias=False)
        self.o_proj = nn.Linear(config.heads * config.v_dim, dim, bias=config.bias)

    def forward(
        self, x: Float[Tensor, "B S D"], angles: Angles, step: Step, cache: Cache | None
    ) -> Float[Tensor, "B S D"]:
        """Read the new tokens, remember their latents, return what they gathered."""
        q_nope_BSHN, q_rope_BSHR = self._queries(x, angles)
        latent_B1TZ = self._latents(x, angles)[:, None]  # latent, then rotary key
        if cache is not None:
            (latent_B1TZ,) = cache.update(self.layer, step, latent_B1TZ)
        latent_BTZ = latent_B1TZ[:, 0]
        expand = expand_is_cheaper(self.config, x.shape[1], latent_BTZ.shape[1])
        attend = self.attend_expanded if expand else self.attend_absorbed
        return self.o_proj(attend(q_nope_BSHN, q_rope_BSHR, latent_BTZ, step).flatten(2))

    def _queries(self, x: Tensor, angles: Angles) -> tuple[Tensor, Tensor]:
        c = self.config
        q = (
            self.q_proj(x)
            if c.q_rank is None
            else self.q_b_proj(self.q_a_layernorm(self.q_a_proj(x)))
        )
        nope, rope = q.unflatten(-1, (c.heads, -1)).split([c.nope_dim, c.rope_dim], dim=-1)
        return nope, rotate_pairs(rope, angles)

    def _latents(self, x: Tensor, angles: Angles) -> Float[Tensor, "B S Z"]:
        """The normed latent and the rotated key of each new token: what the cache keeps."""
        c = self.config
        latent, key = self.kv_a_proj_with_mqa(x).split([c.kv_rank, c.rope_dim], dim=-1)
        key = rotate_pairs(key[:, :, None], angles)[:, :, 0]
        return torch.cat([self.kv_a_layernorm(latent), key], dim=-1)

    def attend_expanded(
        self,
        q_nope: Float[Tensor, "B S H N"],
        q_rope: Float[Tensor, "B S H R"],
        latent: Float[Tensor, "B T Z"],
        step: Step,
    ) -> Float[Tensor, "B S H V"]:
        """Attend over keys and values expanded from the latents for this pass only."""
        c = self.config
        latent_BTC, key_BTR = latent.split([c.kv_rank, c.rope_dim], dim=-1)
        kv_BHTX = self.kv_b_proj(latent_BTC).unflatten(-1, (c.heads, -1)).transpose(1, 2)
        k_nope_BHTN, v_BHTV = kv_BHTX.split([c.nope_dim, c.v_dim], dim=-1)
        shared_BHTR = key_BTR[:, None].expand(-1, c.heads, -1, -1)
        q_BHSU = torch.cat([q_nope, q_rope], dim=-1).transpose(1, 2)
        k_BHTU = torch.cat([k_nope_BHTN, shared_BHTR], dim=-1)
        out_BHSV = attend(
            q_BHSU,
            k_BHTU,
            v_BHTV,
            scale=self.scale,
            mask=step.mask,
            causal=step.causal,
            pieces=step.pieces,
        )
        return out_BHSV.transpose(1, 2)

    def attend_absorbed(
        self,
        q_nope: Float[Tensor, "B S H N"],
        q_rope: Float[Tensor, "B S H R"],
        latent: Float[Tensor, "B T Z"],
        step: Step,
    ) -> Float[Tensor, "B S H V"]:
        """Attend on the latents: w_uk joins the query, w_uv the output. DeepSeek-V2 appendix C."""
        c = self.config
        w_HXC = self.kv_b_proj.weight.unflatten(0, (c.heads, -1))
        w_uk_HNC, w_uv_HVC = w_HXC.split([c.nope_dim, c.v_dim], dim=1)
        q_BSHC = torch.einsum("bshn,hnc->bshc", q_nope, w_uk_HNC)
        q_BHSZ = torch.cat([q_BSHC, q_rope], dim=-1).transpose(1, 2)
        shared_B1TZ = latent[:, None]  # one key/value head for all query heads
        mixed_BHSZ = attend(  # the values are the keys; their rotary end is cut off
            q_BHSZ,
            shared_B1TZ,
            shared_B1TZ,
            scale=self.scale,
            mask=step.mask,
            causal=step.causal,
            pieces=step.pieces,
        )
        return torch.einsum("bhsc,hvc->bshv", mixed_BHSZ[..., : c.kv_rank], w_uv_HVC)
