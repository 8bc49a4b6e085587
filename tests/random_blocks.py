"""Random bytes of every GGUF type, with scales that a real file could hold."""

import numpy as np
import torch

from midfill.kernels.quant import TYPES

SCALES = {"Q2_K": (80, 82), "Q3_K": (108,), "Q6_K": (208,), "F32": (), "F16": (), "BF16": ()}
SCALES |= dict.fromkeys(("Q4_1", "Q5_1", "Q4_K", "Q5_K"), (0, 2))
SCALES |= {name: (0,) for name in TYPES if name not in SCALES}  # bytes where a float16 lies


def random_blocks(kind: str, count: int, seed: int = 0, *, finite: bool = True) -> np.ndarray:
    """`count` blocks, uint8 [count, bytes]; without `finite` any bits at all."""
    type_, rng = TYPES[kind], np.random.default_rng(seed)
    blocks = rng.integers(0, 256, (count, type_.bytes), dtype=np.uint8)
    if finite and type_.elements == 1:
        values = torch.from_numpy(rng.normal(0, 0.1, (count, 1)).astype(np.float32))
        assert type_.pack is not None
        return type_.pack(values).numpy()
    for at in SCALES[kind] if finite else ():
        scale = rng.normal(0, 0.1, (count, 1)).astype(np.float16)
        blocks[:, at : at + 2] = scale.view(np.uint8)
    return blocks
