"""A checkpoint's weights as the compiled network wants them: matrices in panels, mapped from one file.

Matrices keep the type they are stored in, unless there is no kernel for it or a smaller one is asked
for. Names are those of ModelConfig.tensors(), except for what is joined or split:

    model.layers.N.mlp.gate_up              panels of gate_proj and up_proj in turn; shared_experts too
    model.layers.N.mlp.experts              per expert gate_up, then down_proj
    model.layers.N.self_attn.k_up, v_up     the two halves of kv_b_proj, per head [C, N] and [V, C]
    model.layers.N.self_attn.k_expand       k_up as plain bfloat16 [H, N, C]
    model.layers.N.self_attn.v_expand       v_up as a bfloat16 matrix

Shapes: H heads, C kv latent, N no-position width, V value width, E experts, D residual.
"""

import hashlib
import logging
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from functools import partial
from math import prod
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from midfill.config.model import GQAConfig, MLAConfig
from midfill.errors import CheckpointError, ConfigError
from midfill.kernels.packed import KINDS, PANEL, PackedMatrix, pack, packed_bytes
from midfill.kernels.quant import TYPES, dequantise, quantise
from midfill.model.checkpoint import Checkpoint, check_tensors, not_finite
from midfill.model.gguf import TensorInfo
from midfill.model.gguf_weights import GGUFWeights, unpermute
from midfill.model.hf_weights import SAFETENSORS_DTYPES, BinWeights, SafetensorsWeights
from midfill.model.packed_file import (
    Block,
    PackedFile,
    Report,
    aligned,
    hash_of,
    hold_in_memory,
    open_packed,
    remove_orphans,
    write_packed,
)

log = logging.getLogger("midfill.model")

PLAIN = {"F32": torch.float32, "F16": torch.float16, "BF16": torch.bfloat16}
PLAIN_NAMES = {dtype: name for name, dtype in PLAIN.items()}
QUANT = {"int8": "Q8_0", "int4": "Q4_0"}
EMBEDDING, HEAD = "model.embed_tokens.weight", "lm_head.weight"
PIECE = 1 << 21  # numbers of a matrix packed at a time; few enough to stay in the cache

# ------------------------------------------------------------------------------------ what one gets


@dataclass(frozen=True, slots=True, eq=False)
class ExpertMatrices:
    """One matrix of every expert; that of expert e begins `stride` · e bytes into `data`."""

    kind: str
    rows: int
    cols: int
    stride: int
    data: np.ndarray

    def __getitem__(self, expert: int) -> PackedMatrix:
        start = expert * self.stride
        size = packed_bytes(self.kind, self.rows, self.cols)
        return PackedMatrix(self.kind, self.rows, self.cols, self.data[start : start + size])


@dataclass(frozen=True, slots=True)
class ExpertBlock:
    """All routed experts of a layer."""

    count: int
    gate_up: ExpertMatrices
    down: ExpertMatrices


class PackedWeights:
    """The packed matrices and plain arrays of one network, by name; none may be written to."""

    def __init__(self, file: PackedFile, notes: tuple[str, ...] = ()) -> None:
        self._file = file
        self.notes = file.notes + notes  # what is held otherwise than it is stored, and why
        self.path = file.path
        self.mapped = file.path is not None

    @property
    def bytes(self) -> int:
        """Bytes of all blocks."""
        return self._file.data.size

    def bring_in(self) -> None:
        """Have the mapped file in memory before the first token needs it."""
        self._file.bring_in()

    def __contains__(self, name: str) -> bool:
        return name in self._file.blocks

    def matrix(self, name: str) -> PackedMatrix:
        """Matrix `name` with its bias; a tied head is the embedding."""
        if name == HEAD and name not in self:
            name = EMBEDDING
        kind, rows, cols = self._file.blocks[name]["matrix"]
        bias = name.removesuffix(".weight") + ".bias"
        return PackedMatrix(
            kind, rows, cols, self._file.view(name), self.array(bias) if bias in self else None
        )

    def array(self, name: str) -> np.ndarray:
        """A plain array: float32, or uint16 with the bits of bfloat16."""
        dtype, *shape = self._file.blocks[name]["array"]
        return self._file.view(name).view(dtype).reshape(shape)

    def experts(self, layer: int) -> ExpertBlock:
        """The routed experts of a layer."""
        name = f"model.layers.{layer}.mlp.experts"
        info, data = self._file.blocks[name], self._file.view(name)
        count, stride, down_at = info["experts"]

        def part(which: str, at: int) -> ExpertMatrices:
            kind, rows, cols = info[which]
            return ExpertMatrices(kind, rows, cols, stride, data[at:])

        return ExpertBlock(count, part("gate_up", 0), part("down", down_at))


def size_of(checkpoint: Checkpoint, quant: str | None = None) -> int:
    """Bytes that the packed weights of `checkpoint` will take; none are read. Raises CheckpointError."""
    check_tensors(checkpoint)
    return sum(block.bytes for block in _Plan(checkpoint, quant).blocks)


def packed_weights(
    checkpoint: Checkpoint,
    *,
    folder: Path | None,
    quant: str | None = None,
    progress: Report | None = None,
) -> PackedWeights:
    """The weights of `checkpoint`, packed now or mapped from the file in `folder` that an earlier
    call left there; without a folder, or where it cannot be written, in memory of our own.

    `quant` int8 or int4 makes the unquantised matrices smaller: Q8_0, or Q4_0 with embedding, head
    and KV expansion in Q8_0. Raises CheckpointError for a missing, misshapen or non-finite tensor.
    """
    if quant is not None and quant not in QUANT:
        raise ConfigError(
            f"quant {quant!r} is not known", why=f"there are {', '.join(QUANT)}", fix="quant='int8'"
        )
    check_tensors(checkpoint)
    note = ()
    if folder is not None:
        try:
            return PackedWeights(_from_disk(checkpoint, folder, quant, progress))
        except (OSError, NotImplementedError) as error:  # the latter: no locks on that disk
            why = getattr(error, "strerror", None) or str(error)
            note = (f"the packed weights take memory of their own: {folder}: {why}",)
            log.info("%s", note[0])
    plan = _Plan(checkpoint, quant)
    return PackedWeights(hold_in_memory(plan.blocks, plan.told(), progress), note)


def _from_disk(
    checkpoint: Checkpoint, folder: Path, quant: str | None, progress: Report | None
) -> PackedFile:
    """The mapped file, written first if need be; one process writes, others wait for it."""
    from filelock import FileLock

    origin = checkpoint.path.resolve()
    key = hashlib.sha256(f"{origin}\0{quant}".encode()).hexdigest()[:16]
    source = hash_of(_files(checkpoint), str(quant))
    path = folder / f"{checkpoint.name[:80]}-{key}.packed"
    folder.mkdir(parents=True, exist_ok=True)
    if found := open_packed(path, source):
        return found
    with FileLock(path.with_suffix(".lock")):
        if found := open_packed(path, source):
            return found
        remove_orphans(folder)
        plan = _Plan(checkpoint, quant)
        write_packed(path, source, origin, plan.blocks, plan.told(), progress)
        written = open_packed(path, source)
    if written is None:
        raise OSError("the file that was written is not there any more")
    return written


def _files(checkpoint: Checkpoint) -> list[Path]:
    """The files whose change makes other weights."""
    if isinstance(checkpoint.weights, SafetensorsWeights | BinWeights):
        return [checkpoint.path / "config.json", *checkpoint.weights.files]
    return [checkpoint.path]


# -------------------------------------------------------------------------------- what is to be made


@dataclass(frozen=True, slots=True, eq=False)
class _Matrix:
    """A matrix as it is stored, and the kind it gets."""

    name: str  # of the stored tensor, for messages
    stored: str  # kind
    rows: int
    cols: int
    raw: Callable[[], np.ndarray]  # its bytes
    release: Callable[[], None]
    kind: str
    order: np.ndarray | None = None  # row i is row order[i] of `raw`

    def piece(self, first: int, last: int) -> np.ndarray:
        """Bytes of the rows from `first` to below `last`, in the kind they get."""
        raw = self.raw().reshape(-1, _row_bytes(self.stored, self.cols))
        raw = raw[first:last] if self.order is None else raw[self.order[first:last]]
        if self.kind == self.stored:
            return raw.reshape(-1)
        return quantise(_values(raw, self.stored, self.cols), TYPES[self.kind]).numpy()

    def panels(self, where: str) -> Iterator[np.ndarray]:
        """The packed rows [panels, bytes], a few panels at a time. Raises CheckpointError."""
        step = max(PIECE // self.cols // PANEL, 1) * PANEL
        for first in range(0, self.rows, step):
            last = min(first + step, self.rows)
            packed = pack(self.kind, self.piece(first, last), last - first, self.cols)
            if bad := packed.nonfinite():  # numbers, or scales that many numbers share
                raise not_finite(self.name, bad * TYPES[self.kind].elements, where)
            yield packed.data.reshape(-(-(last - first) // PANEL), -1)
        self.release()

    @property
    def bytes(self) -> int:
        """Bytes when packed."""
        return packed_bytes(self.kind, self.rows, self.cols)


class _Plan:
    """The blocks of a checkpoint, in the order in which a pass through the network reads them."""

    def __init__(self, checkpoint: Checkpoint, quant: str | None) -> None:
        self.weights, self.config, self.quant = checkpoint.weights, checkpoint.config, quant
        self.where = checkpoint.weights.where
        self.blocks: list[Block] = []
        self.reasons: Counter[str] = Counter()  # why tensors are held otherwise than stored
        self.extra: Counter[str] = Counter()  # how many bytes more that takes
        self.attention: list[list[str]] = [[] for _ in range(self.config.layers)]
        for name, _ in self.config.tensors():
            if ".self_attn." in name:
                self.attention[int(name.split(".")[2])].append(name)
        self._add_matrix(EMBEDDING, self._matrix(EMBEDDING, "Q8_0"))
        for layer in range(self.config.layers):
            self._add_layer(layer)
        self._add_array("model.norm.weight")
        if not self.config.tie_embedding:
            self._add_matrix(HEAD, self._matrix(HEAD, "Q8_0"))

    def told(self) -> list[str]:
        """What is held otherwise than it is stored, one line a reason; into the log too."""
        lines = [
            f"{reason}: {count} matri{'x' if count == 1 else 'ces'}"
            + (f", {self.extra[reason]:,} bytes more" if reason in self.extra else "")
            for reason, count in self.reasons.items()
        ]
        for line in lines:
            log.info("%s: %s", self.where, line)
        return lines

    def _add_layer(self, layer: int) -> None:
        prefix = f"model.layers.{layer}."
        self._add_array(prefix + "input_layernorm.weight")
        for name in self.attention[layer]:
            if name.endswith("kv_b_proj.weight"):
                self._add_expansion(prefix + "self_attn.", name)
            elif name.endswith((".bias", "layernorm.weight")):
                self._add_array(name)
            else:
                self._add_matrix(name, self._matrix(name))
        self._add_array(prefix + "post_attention_layernorm.weight")
        if not self.config.is_moe(layer):
            self._add_swiglu(prefix + "mlp.")
            return
        assert self.config.moe is not None
        self._add_matrix(prefix + "mlp.gate.weight", self._router(prefix + "mlp.gate.weight"))
        self._add_experts(prefix + "mlp.experts", self.config.moe.experts)
        if self.config.moe.shared:
            self._add_swiglu(prefix + "mlp.shared_experts.")

    # ------------------------------------------------------------------------------- kinds of blocks

    def _add_matrix(self, name: str, matrix: _Matrix) -> None:
        info = {"matrix": [matrix.kind, matrix.rows, matrix.cols]}
        self.blocks.append(
            Block(
                name,
                matrix.bytes,
                info,
                lambda: (panels.reshape(-1) for panels in matrix.panels(self.where)),
            )
        )

    def _add_array(self, name: str) -> None:
        """A float32 array under its own name."""
        shape = self.weights.shape(name)
        assert shape is not None, name

        def chunks() -> Iterator[np.ndarray]:
            values = self.weights.read(name, torch.float32)
            if bad := int((~torch.isfinite(values)).sum()):
                raise not_finite(name, bad, self.where)
            yield _bytes(values).copy()
            self._release(name)

        info = {"array": ["float32", *shape]}
        self.blocks.append(Block(name, 4 * prod(shape), info, chunks))

    def _add_swiglu(self, prefix: str) -> None:
        gate, up, down = self._three(prefix)
        rows, _, cols = _gate_up(gate, up)
        info = {"matrix": [gate.kind, rows, cols]}
        size = gate.bytes + up.bytes
        self.blocks.append(
            Block(prefix + "gate_up", size, info, lambda: _in_turn(gate, up, self.where))
        )
        biases = [f"{prefix}{part}_proj.bias" for part in ("gate", "up", "down")]
        if self.config.mlp_bias:
            self._add_gate_up_bias(prefix + "gate_up.bias", biases[0], biases[1], rows)
        self._add_matrix(prefix + "down_proj.weight", down)
        if self.config.mlp_bias:
            self._add_array(biases[2])

    def _add_gate_up_bias(self, name: str, gate: str, up: str, rows: int) -> None:
        def chunks() -> Iterator[np.ndarray]:
            out = torch.zeros(2, rows // 2)
            for i, bias in enumerate((gate, up)):
                values = self.weights.read(bias, torch.float32)
                if bad := int((~torch.isfinite(values)).sum()):
                    raise not_finite(bias, bad, self.where)
                out[i, : len(values)] = values
            yield _bytes(out.view(2, -1, PANEL).transpose(0, 1))

        self.blocks.append(Block(name, 4 * rows, {"array": ["float32", rows]}, chunks))

    def _add_experts(self, name: str, count: int) -> None:
        """All experts behind each other, gate and up, then down, each at a multiple of 64 bytes."""
        experts = [self._three(f"{name}.{expert}.") for expert in range(count)]
        kinds = [{e[0].kind for e in experts} | {e[1].kind for e in experts}]
        kinds += [{e[2].kind for e in experts}]
        if any(len(k) > 1 for k in kinds):  # one stride for all
            experts = [
                tuple(self._as_bf16(m, "experts differ in type") for m in e) for e in experts
            ]
        gate, up, down = experts[0]
        down_at = aligned(gate.bytes + up.bytes)
        stride = aligned(down_at + down.bytes)

        def chunks() -> Iterator[np.ndarray]:
            for gate, up, down in experts:
                yield from _in_turn(gate, up, self.where)
                yield np.zeros(down_at - gate.bytes - up.bytes, np.uint8)
                for panels in down.panels(self.where):
                    yield panels.reshape(-1)
                yield np.zeros(stride - down_at - down.bytes, np.uint8)

        rows, _, cols = _gate_up(gate, up)
        info = {
            "experts": [count, stride, down_at],
            "gate_up": [gate.kind, rows, cols],
            "down": [down.kind, down.rows, down.cols],
        }
        self.blocks.append(Block(name, count * stride, info, chunks))

    def _add_expansion(self, prefix: str, name: str) -> None:
        """The halves of kv_b_proj, and both again in bfloat16 for reading prompts."""
        a = self.config.attention
        assert isinstance(a, MLAConfig)
        k_up, v_up = self._expansion(name, a)
        self._add_matrix(prefix + "k_up", k_up)
        self._add_matrix(prefix + "v_up", v_up)

        def k_expand() -> Iterator[np.ndarray]:
            raw = k_up.piece(0, k_up.rows)
            k_HCN = _values(raw, k_up.kind, k_up.cols).view(a.heads, a.kv_rank, a.nope_dim)
            yield _bytes(k_HCN.transpose(1, 2).to(torch.bfloat16))
            k_up.release()

        shape = (a.heads, a.nope_dim, a.kv_rank)
        info = {"array": ["uint16", *shape]}
        self.blocks.append(Block(prefix + "k_expand", 2 * prod(shape), info, k_expand))
        v_expand = replace(  # of what v_up holds, not of what is stored
            v_up,
            stored=v_up.kind,
            raw=lambda: v_up.piece(0, v_up.rows),
            order=None,
            kind="BF16",
        )
        self._add_matrix(prefix + "v_expand", v_expand)

    # -------------------------------------------------------------------------------- stored matrices

    def _three(self, prefix: str) -> tuple[_Matrix, _Matrix, _Matrix]:
        """gate, up and down; the first two of one kind."""
        gate, up, down = (self._matrix(f"{prefix}{p}_proj.weight") for p in ("gate", "up", "down"))
        if gate.kind != up.kind:
            why = f"gate is {gate.kind} and up {up.kind}"
            gate, up = self._as_bf16(gate, why), self._as_bf16(up, why)
        return gate, up, down

    def _matrix(self, name: str, quantised: str | None = None) -> _Matrix:
        """Tensor `name`; `quantised` is what it becomes in a smaller network, if not the usual."""
        shape = self.weights.shape(name)
        assert shape is not None, name
        rows, cols = shape
        stored, raw = self._stored(name)
        matrix = _Matrix(
            name, stored, rows, cols, raw, partial(self._release, name), stored, self._order(name)
        )
        return self._choose(matrix, quantised)

    def _router(self, name: str) -> _Matrix:
        """The router, which is float32 however it is stored: small differences choose experts."""
        return replace(self._matrix(name), kind="F32")

    def _choose(self, matrix: _Matrix, quantised: str | None = None) -> _Matrix:
        if matrix.cols % TYPES[matrix.stored].elements:
            raise CheckpointError(
                f"{self.where}: tensor {matrix.name!r} has rows of {matrix.cols} numbers",
                why=f"it is stored as {matrix.stored}, in blocks of {TYPES[matrix.stored].elements}",
                fix="the file is damaged: fetch it again",
            )
        if self.quant is not None and matrix.stored in PLAIN:
            kind = quantised or QUANT[self.quant]
            if matrix.cols % TYPES[kind].elements == 0:
                return replace(matrix, kind=kind)
            why = f"rows of {matrix.cols} do not divide into blocks of {TYPES[kind].elements}"
            self.reasons[f"{why}: kept as {matrix.stored}"] += 1
        if matrix.stored not in KINDS:
            return self._as_bf16(matrix, f"no kernel for {matrix.stored}")
        return matrix

    def _as_bf16(self, matrix: _Matrix, why: str) -> _Matrix:
        if matrix.kind == "BF16":
            return matrix
        wide = replace(matrix, kind="BF16")
        reason = f"{why}, held as BF16"
        self.reasons[reason] += 1
        self.extra[reason] += wide.bytes - matrix.rows * _row_bytes(matrix.stored, matrix.cols)
        return wide

    def _stored(self, name: str) -> tuple[str, Callable[[], np.ndarray]]:
        """The kind tensor `name` is stored in, and its bytes."""
        w = self.weights
        if isinstance(w, GGUFWeights):
            place = w.place(name)
            assert place is not None, name
            return w.kind(place.info).name, lambda: w.data.bytes(*place.bytes()).numpy()
        if isinstance(w, SafetensorsWeights):
            found = w.find(name, w.entries)
            assert found is not None, name
            dtype = SAFETENSORS_DTYPES.get(w.entries[found[0]].dtype, torch.float32)
        else:
            assert isinstance(w, BinWeights)
            found = w.find(name, w.tensors)
            assert found is not None, name
            dtype = w.tensors[found[0]].dtype
        dtype = dtype if dtype in PLAIN_NAMES else torch.float32  # float64
        return PLAIN_NAMES[dtype], lambda: _bytes(w.read(name, dtype))

    def _order(self, name: str) -> np.ndarray | None:
        """Where the rows of tensor `name` lie; None: in order."""
        a = self.config.attention
        if not isinstance(self.weights, GGUFWeights) or self.config.family != "llama":
            return None
        if not isinstance(a, GQAConfig) or not name.endswith(("q_proj.weight", "k_proj.weight")):
            return None
        heads = a.heads if "q_proj" in name else a.kv_heads
        return unpermute(torch.arange(heads * a.head_dim), heads).numpy()

    def _all_heads(self, name: str, w: GGUFWeights, info: TensorInfo) -> _Matrix:
        """A tensor [H, rows, cols] as one matrix, head after head."""
        heads, rows, cols = info.shape
        place, kind = (info.offset, info.size), w.kind(info).name
        return _Matrix(
            name,
            kind,
            heads * rows,
            cols,
            lambda: w.data.bytes(*place).numpy(),
            lambda: w.data.release(*place),
            kind,
        )

    def _release(self, name: str) -> None:
        """Give back the pages of a tensor; those of .bin files are torch's, and needed again."""
        if not isinstance(self.weights, BinWeights):
            self.weights.release(name)

    def _expansion(self, name: str, a: MLAConfig) -> tuple[_Matrix, _Matrix]:
        """k_up and v_up: as current GGUF files hold them, or cut out of kv_b_proj."""
        w = self.weights
        split = w.split(name) if isinstance(w, GGUFWeights) else None
        if split is not None:
            assert isinstance(w, GGUFWeights)
            k_up, v_up = (self._all_heads(name, w, info) for info in split)
            return self._choose(k_up, "Q8_0"), self._choose(v_up, "Q8_0")
        stored, raw = self._stored(name)
        rows = np.arange(a.heads * (a.nope_dim + a.v_dim)).reshape(a.heads, -1)
        order = rows[:, a.nope_dim :].reshape(-1)
        done = partial(self._release, name)
        v_up = _Matrix(name, stored, len(order), a.kv_rank, raw, done, stored, order)
        turned = stored if stored in PLAIN else "BF16"

        def transposed() -> np.ndarray:
            kv_HXC = _values(raw(), stored, a.kv_rank).unflatten(0, (a.heads, -1))
            k_HCN = kv_HXC[:, : a.nope_dim].transpose(1, 2)
            return _bytes(k_HCN.to(PLAIN[turned]))

        k_rows = a.heads * a.kv_rank
        k_up = _Matrix(name, turned, k_rows, a.nope_dim, transposed, done, turned)
        if turned != stored:
            reason = f"the keys' half of {stored} kv_b_proj is transposed, held as BF16"
            self.reasons[reason] += 1
            was = a.heads * a.nope_dim * _row_bytes(stored, a.kv_rank)
            self.extra[reason] += k_up.bytes - was
        return self._choose(k_up, "Q8_0"), self._choose(v_up, "Q8_0")


# -------------------------------------------------------------------------------------------- helpers


def _gate_up(gate: _Matrix, up: _Matrix) -> tuple[int, int, int]:
    """Rows of the joined matrix, panels of each half, columns."""
    panels = -(-gate.rows // PANEL)
    assert (gate.rows, gate.cols, gate.kind) == (up.rows, up.cols, up.kind)
    return 2 * panels * PANEL, panels, gate.cols


def _in_turn(gate: _Matrix, up: _Matrix, where: str) -> Iterator[np.ndarray]:
    """A panel of gate, one of up, and so on."""
    for pair in zip(gate.panels(where), up.panels(where), strict=True):
        yield np.stack(pair, axis=1).reshape(-1)


def _values(raw: np.ndarray, kind: str, cols: int) -> Tensor:
    """The numbers of whole rows, as float32 [rows, cols]."""
    raw = raw.reshape(-1)
    rows = raw.size // _row_bytes(kind, cols)
    out = torch.empty(rows, cols)
    dequantise(torch.from_numpy(raw), TYPES[kind], out)
    return out


def _bytes(tensor: Tensor) -> np.ndarray:
    """The bytes of a tensor, in order."""
    return tensor.contiguous().view(-1).view(torch.uint8).numpy()


def _row_bytes(kind: str, cols: int) -> int:
    return cols // TYPES[kind].elements * TYPES[kind].bytes
