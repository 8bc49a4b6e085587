"""Weights in a GGUF file under the original names, and the way back: networks to GGUF tensors.

What differs from the Hugging Face layout (names are llama.cpp's): q and k rows of `llama` are
permuted so that rotary pairs are neighbours; experts are stacked; the KV expansion of MLA is split
into attn_k_b (transposed) and attn_v_b, or whole (attn_kv_b) in legacy files.
"""

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

from midfill.config.model import CHOICE_BIAS, GQAConfig, MLAConfig, ModelConfig
from midfill.errors import CheckpointError
from midfill.kernels import quant
from midfill.model.gguf import GGUFFile, TensorInfo, TensorOut
from midfill.model.mapped import MappedFile
from midfill.model.weights import Weights

TOP = {
    "model.embed_tokens.weight": "token_embd.weight",
    "model.norm.weight": "output_norm.weight",
    "lm_head.weight": "output.weight",
}
IN_BLOCK = {
    "input_layernorm": "attn_norm",
    "post_attention_layernorm": "ffn_norm",
    "self_attn.q_proj": "attn_q",
    "self_attn.k_proj": "attn_k",
    "self_attn.v_proj": "attn_v",
    "self_attn.o_proj": "attn_output",
    "self_attn.q_a_proj": "attn_q_a",
    "self_attn.q_a_layernorm": "attn_q_a_norm",
    "self_attn.q_b_proj": "attn_q_b",
    "self_attn.kv_a_proj_with_mqa": "attn_kv_a_mqa",
    "self_attn.kv_a_layernorm": "attn_kv_a_norm",
    "self_attn.kv_b_proj": "attn_kv_b",
    "mlp.gate_proj": "ffn_gate",
    "mlp.up_proj": "ffn_up",
    "mlp.down_proj": "ffn_down",
    "mlp.gate": "ffn_gate_inp",
    "mlp.shared_experts.gate_proj": "ffn_gate_shexp",
    "mlp.shared_experts.up_proj": "ffn_up_shexp",
    "mlp.shared_experts.down_proj": "ffn_down_shexp",
}
LAYER = re.compile(rf"model\.layers\.(\d+)\.(.+)\.(weight|bias|{CHOICE_BIAS})")
EXPERT = re.compile(r"mlp\.experts\.(\d+)\.(gate|up|down)_proj")


@dataclass(frozen=True, slots=True)
class _Place:
    """Where a tensor lies: whole, one expert's slice, or a range of rows of a fused tensor."""

    info: TensorInfo
    shape: tuple[int, ...]
    first_row: int = 0  # in rows of the flattened tensor

    def bytes(self) -> tuple[int, int]:
        """Start in the file and size."""
        per_row = self.info.size // (self.info.elements // self.info.shape[-1])
        rows = 1
        for size in self.shape[:-1]:
            rows *= size
        return self.info.offset + self.first_row * per_row, rows * per_row


def gguf_name(name: str) -> str:
    """The GGUF name of a tensor that is stored as one (not experts)."""
    if name in TOP:
        return TOP[name]
    match = LAYER.fullmatch(name)
    assert match is not None, name
    if match[3] == CHOICE_BIAS:
        return f"blk.{match[1]}.exp_probs_b.bias"
    return f"blk.{match[1]}.{IN_BLOCK[match[2]]}.{match[3]}"


class GGUFWeights:
    """A GGUF file read as the checkpoint it was made from."""

    def __init__(self, file: GGUFFile, config: ModelConfig) -> None:
        self.file, self.config = file, config
        self.where = str(file.path)
        self.data = MappedFile(file.path)

    def __len__(self) -> int:
        return len(self.file.tensors)

    def file_bytes(self) -> int:
        """Bytes of the file."""
        return self.file.bytes

    def stored_dtype(self) -> str:
        """The plain type that holds the matrices, bfloat16 when they are quantised."""
        return self.config.dtype

    def shape(self, name: str) -> tuple[int, ...] | None:
        """The shape of tensor `name`, or None if it is missing."""
        if name.endswith("kv_b_proj.weight") and self.split(name) is not None:
            return self._split_shape(name)
        place = self.place(name)
        return place and place.shape

    def read(self, name: str, dtype: torch.dtype) -> Tensor:
        """Tensor `name` unpacked into `dtype`, in the layout of the original checkpoint."""
        if name.endswith("kv_b_proj.weight") and self.split(name) is not None:
            return self._join_kv_b(name, dtype)
        place = self.place(name)
        assert place is not None, name
        tensor = self._unpack(place, dtype)
        a = self.config.attention
        if self.config.family == "llama" and isinstance(a, GQAConfig):
            if ".q_proj." in name:
                return unpermute(tensor, a.heads)
            if ".k_proj." in name:
                return unpermute(tensor, a.kv_heads)
        return tensor

    def release(self, name: str) -> None:
        """Give back the mapped pages of `name`."""
        place = self.place(name)
        if place is not None:
            self.data.release(*place.bytes())

    def _unpack(self, place: _Place, dtype: torch.dtype) -> Tensor:
        kind = self.kind(place.info)
        start, size = place.bytes()
        raw = self.data.bytes(start, size)
        plain = {"F32": torch.float32, "F16": torch.float16, "BF16": torch.bfloat16}.get(kind.name)
        if plain is dtype and start % dtype.itemsize == 0:
            return raw.view(dtype).view(place.shape)
        out = torch.empty(place.shape, dtype=dtype)
        quant.dequantise(raw, kind, out)
        self.data.release(start, size)
        return out

    def kind(self, info: TensorInfo) -> quant.BlockType:
        """How a stored tensor is packed. Raises CheckpointError for a type that is not known."""
        if info.type_id not in quant.BY_ID:
            raise CheckpointError(
                f"{self.where}: tensor {info.name} is stored as {info.type_name}",
                why=f"midfill reads {', '.join(quant.TYPES)}",
                fix="take another quantisation of this model, such as Q4_K_M or Q8_0",
            )
        return quant.BY_ID[info.type_id]

    def place(self, name: str) -> _Place | None:
        """Where tensor `name` lies; None if it is missing, or has no place of its own."""
        tensors = self.file.tensors
        match = LAYER.fullmatch(name)
        expert = EXPERT.fullmatch(match[2]) if match else None
        if match and expert:
            return self._expert_place(match[1], int(expert[1]), expert[2])
        info = tensors.get(gguf_name(name))
        if info is not None:
            return _Place(info, info.shape)
        part = re.fullmatch(r"self_attn\.([qkv])_proj", match[2]) if match else None
        fused = tensors.get(f"blk.{match[1]}.attn_qkv.{match[3]}") if match else None
        if part and fused and isinstance(self.config.attention, GQAConfig):
            return self._qkv_place(fused, part[1], self.config.attention)
        return None

    def _expert_place(self, layer: str, expert: int, kind: str) -> _Place | None:
        tensors = self.file.tensors
        info = tensors.get(f"blk.{layer}.ffn_{kind}_exps.weight")
        if info is not None and expert < info.shape[0]:
            return _Place(info, info.shape[1:], expert * info.shape[1])
        info = tensors.get(f"blk.{layer}.ffn_gate_up_exps.weight")
        if info is None or kind == "down" or expert >= info.shape[0]:
            return None
        half = info.shape[1] // 2
        first = expert * info.shape[1] + (half if kind == "up" else 0)
        return _Place(info, (half, info.shape[2]), first)

    def _qkv_place(self, info: TensorInfo, part: str, a: GQAConfig) -> _Place:
        """The rows of q, k or v in a fused tensor, whose rows are q, then k, then v."""
        q, kv = a.heads * a.head_dim, a.kv_heads * a.head_dim
        first, rows = {"q": (0, q), "k": (q, kv), "v": (q + kv, kv)}[part]
        if len(info.shape) == 2:
            return _Place(info, (rows, info.shape[1]), first)
        slice_ = TensorInfo(
            info.name, (rows,), info.type_id, info.offset + first * info.size // (q + 2 * kv)
        )
        return _Place(slice_, (rows,))

    def split(self, name: str) -> tuple[TensorInfo, TensorInfo] | None:
        """attn_k_b and attn_v_b of current deepseek2 files."""
        prefix = gguf_name(name).removesuffix("attn_kv_b.weight")
        k, v = (self.file.tensors.get(f"{prefix}attn_{part}_b.weight") for part in "kv")
        return (k, v) if k and v else None

    def _split_shape(self, name: str) -> tuple[int, ...]:
        split = self.split(name)
        assert split is not None
        k, v = split[0].shape, split[1].shape
        if len(k) != 3 or len(v) != 3 or (k[0], k[1]) != (v[0], v[2]):
            return (*k, *v)  # the caller names the tensor and what it should be
        return k[0] * (k[2] + v[1]), k[1]

    def _join_kv_b(self, name: str, dtype: torch.dtype) -> Tensor:
        split = self.split(name)
        assert split is not None
        k_HCN, v_HVC = (self._unpack(_Place(info, info.shape), dtype) for info in split)
        return torch.cat([k_HCN.transpose(1, 2), v_HVC], dim=1).flatten(0, 1)


def unpermute(rows: Tensor, heads: int) -> Tensor:
    """GGUF `llama` order (neighbouring pairs) to Hugging Face order (halves), per head."""
    return rows.unflatten(0, (heads, -1, 2)).transpose(1, 2).reshape(rows.shape)


def permute(rows: Tensor, heads: int) -> Tensor:
    """Hugging Face order (halves) to GGUF `llama` order (neighbouring pairs), per head."""
    return rows.unflatten(0, (heads, 2, -1)).transpose(1, 2).reshape(rows.shape)


# ------------------------------------------------------------------------------------- writing


def gguf_tensors(weights: Weights, config: ModelConfig, target: str) -> list[TensorOut]:
    """Every tensor of the GGUF file, quantised to `target` when its bytes are asked for."""
    out = []
    stacked: set[str] = set()
    for name, shape in config.tensors():
        match = LAYER.fullmatch(name)
        expert = EXPERT.fullmatch(match[2]) if match else None
        if match and expert:
            key = f"blk.{match[1]}.ffn_{expert[2]}_exps.weight"
            if key not in stacked:
                stacked.add(key)
                out.append(_stack(weights, config, name, key, shape, target))
        elif name.endswith("kv_b_proj.weight"):
            out += _split_kv_b(weights, config, name, target)
        else:
            out.append(_single(weights, config, name, shape, target))
    return out


def tensor_type(name: str, shape: tuple[int, ...], target: str, *, tied: bool) -> quant.BlockType:
    """The type GGUF tensor `name` gets in a `target` file.

    Vectors and the router stay F32. In a Q4_0 file the head and the split KV expansion are Q8_0.
    A row that is no multiple of the block falls back to F16.
    """
    if len(shape) == 1 or "ffn_gate_inp" in name:
        return quant.TYPES["F32"]
    sensitive = name == "output.weight" or (tied and name == "token_embd.weight")
    if target == "Q4_0" and (sensitive or "attn_k_b" in name or "attn_v_b" in name):
        target = "Q8_0"
    kind = quant.TYPES[target]
    return kind if shape[-1] % kind.elements == 0 else quant.TYPES["F16"]


def _out(
    config: ModelConfig,
    name: str,
    shape: tuple[int, ...],
    target: str,
    parts: Callable[[], Iterator[Tensor]],
) -> TensorOut:
    kind = tensor_type(name, shape, target, tied=config.tie_embedding)
    return TensorOut(
        name, shape, kind.id, lambda: (quant.quantise(part.contiguous(), kind) for part in parts())
    )


def _single(
    weights: Weights, config: ModelConfig, name: str, shape: tuple[int, ...], target: str
) -> TensorOut:
    def parts() -> Iterator[Tensor]:
        tensor, a = weights.read(name, torch.float32), config.attention
        if config.family == "llama" and isinstance(a, GQAConfig) and ".q_proj." in name:
            tensor = permute(tensor, a.heads)
        if config.family == "llama" and isinstance(a, GQAConfig) and ".k_proj." in name:
            tensor = permute(tensor, a.kv_heads)
        yield tensor
        weights.release(name)

    return _out(config, gguf_name(name), shape, target, parts)


def _stack(
    weights: Weights, config: ModelConfig, first: str, key: str, shape: tuple[int, ...], target: str
) -> TensorOut:
    assert config.moe is not None
    names = [first.replace(".experts.0.", f".experts.{e}.") for e in range(config.moe.experts)]

    def parts() -> Iterator[Tensor]:
        for name in names:
            yield weights.read(name, torch.float32)
            weights.release(name)

    return _out(config, key, (len(names), *shape), target, parts)


def _split_kv_b(weights: Weights, config: ModelConfig, name: str, target: str) -> list[TensorOut]:
    a = config.attention
    assert isinstance(a, MLAConfig)
    prefix = gguf_name(name).removesuffix("attn_kv_b.weight")

    def half(which: int) -> Iterator[Tensor]:
        whole = weights.read(name, torch.float32).unflatten(0, (a.heads, -1))
        k_HNC, v_HVC = whole.split([a.nope_dim, a.v_dim], dim=1)
        yield k_HNC.transpose(1, 2) if which == 0 else v_HVC

    k_shape, v_shape = (a.heads, a.kv_rank, a.nope_dim), (a.heads, a.v_dim, a.kv_rank)
    return [
        _out(config, prefix + "attn_k_b.weight", k_shape, target, lambda: half(0)),
        _out(config, prefix + "attn_v_b.weight", v_shape, target, lambda: half(1)),
    ]
