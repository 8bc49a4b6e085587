"""How closely midfill and llama.cpp agree on the same GGUF file, teacher-forced on real code.

    python bench/llamacpp_agreement.py MODEL.gguf [--tokens 2048]

Both read the same tokens; at each position their next-token distributions are compared: share of
equal top tokens, mean absolute difference of the log-probability of the token that follows.
llama.cpp's own kernels round activations to 8 bits before each quantised product, and so do midfill's;
midfill in float32 and bfloat16 (PyTorch) does not.
That this is the whole difference is shown twice: the file is dequantised exactly to float32 (a GGUF
that midfill writes), where llama.cpp has nothing left to round, and that run of llama.cpp is
compared with its run of the quantised file. Where llama.cpp was built with a BLAS it does not round
in products of 32 rows and more, so there the file as it is agrees as well ("blas" in the output).

Needs llama-cpp-python (built from source); the text is Python's own standard library.
"""

import argparse
import contextlib
import json
import os
import tempfile
from pathlib import Path

import numpy as np

import midfill
from midfill.kernels.cpu import level
from midfill.model.convert import convert

WINDOW = 2048  # tokens read at once; each window starts afresh


def real_code(coder: midfill.Coder, count: int) -> list[list[int]]:
    """`count` tokens of the standard library in windows."""
    folder = Path(json.__file__).parent.parent
    names = ("csv.py", "queue.py", "shlex.py", "textwrap.py", "bisect.py", "heapq.py")
    text = "\n".join((folder / name).read_text(encoding="utf-8") for name in names)
    ids = coder.tokenizer.encode(text)[:count]
    return [ids[i : i + WINDOW] for i in range(0, len(ids), WINDOW)]


def llamacpp_logits(path: Path, windows: list[list[int]], threads: int) -> list[np.ndarray]:
    """llama.cpp's logits at every position of every window, with a float32 cache."""
    import llama_cpp

    model = llama_cpp.Llama(
        str(path), n_ctx=WINDOW, n_batch=WINDOW, n_ubatch=256, logits_all=True, verbose=False,
        n_threads=threads, n_threads_batch=threads, type_k=0, type_v=0, flash_attn=False,
    )  # fmt: skip
    out = []
    for ids in windows:
        model.reset()
        model.eval(ids)
        out.append(np.array(model.scores[: len(ids)], dtype=np.float32))
    model.close()
    return out


def with_blas() -> bool:
    """Whether this llama.cpp multiplies large batches by a BLAS, without rounding activations."""
    import llama_cpp

    folder = Path(llama_cpp.__file__).parent
    return any(folder.rglob("libggml-blas*"))


def log_softmax(logits: np.ndarray) -> np.ndarray:
    """Log-probabilities, in float64."""
    shifted = logits.astype(np.float64) - logits.max(1, keepdims=True)
    return shifted - np.log(np.exp(shifted).sum(1, keepdims=True))


def compare(a: list[np.ndarray], b: list[np.ndarray], windows: list[list[int]]) -> dict[str, float]:
    """Agreement of two lists of logits over the same windows."""
    same, off = [], []
    for x, y, ids in zip(a, b, windows, strict=True):
        same.append(x.argmax(1) == y.argmax(1))
        rows, following = range(len(ids) - 1), ids[1:]
        off.append(np.abs(log_softmax(x)[rows, following] - log_softmax(y)[rows, following]))
    return {
        "positions": int(sum(len(s) for s in same)),
        "top1_agreement": round(float(np.concatenate(same).mean()), 4),
        "mean_abs_logprob_difference": round(float(np.concatenate(off).mean()), 5),
    }


def main() -> None:
    """Print one JSON line per comparison."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("model", type=Path)
    parser.add_argument("--tokens", type=int, default=2048)
    parser.add_argument("--threads", type=int, default=os.cpu_count() or 1)
    parser.add_argument("--skip-exact", action="store_true", help="no float32 copy (saves disk)")
    args = parser.parse_args()
    rows = []

    def show(comparison: str, a: list[np.ndarray], b: list[np.ndarray]) -> None:
        row = {"model": args.model.name, "comparison": comparison, "blas": with_blas()}
        row |= compare(a, b, windows)
        rows.append(row)
        print(json.dumps(row), flush=True)

    coder = midfill.load(args.model, dtype="float32")
    windows = real_code(coder, args.tokens)
    exact = [coder.logits(ids) for ids in windows]
    del coder
    peer = llamacpp_logits(args.model, windows, args.threads)
    show("midfill float32 : llama.cpp, as quantised", exact, peer)
    coder = midfill.load(args.model, dtype="bfloat16")
    show("midfill bfloat16 : llama.cpp, as quantised", [coder.logits(ids) for ids in windows], peer)
    coder = midfill.load(args.model)  # as users run it
    name = f"midfill {level() or 'PyTorch'}"
    fast = [coder.logits(ids) for ids in windows]
    show(f"{name} : llama.cpp, as quantised", fast, peer)
    show(f"{name} : midfill float32", fast, exact)
    del coder
    if args.skip_exact:
        return
    with tempfile.TemporaryDirectory() as folder, contextlib.suppress(OSError):
        copy = Path(folder) / "exact.gguf"
        convert(args.model, copy, "gguf", "F32")
        unrounded = llamacpp_logits(copy, windows, args.threads)
        show("midfill float32 : llama.cpp, dequantised to float32", exact, unrounded)
        show("llama.cpp dequantised : llama.cpp as quantised", unrounded, peer)


if __name__ == "__main__":
    main()
