"""llama.cpp as an engine that answers JSON lines (bench/lines.py), through its own C interface.

    python bench/peer.py [--model FILE --threads 2 --context 4096 ...]

It is a peer to measure against, never a dependency. Build it from the `llama-cpp-python` source
package, which compiles the llama.cpp it carries for the processor at hand (about 8 minutes on two
cores; its Ninja build loops on a missing .git file, hence Unix Makefiles):

    python -m venv /some/where
    CMAKE_GENERATOR="Unix Makefiles" CMAKE_ARGS="-DGGML_NATIVE=ON -DLLAVA_BUILD=OFF" \
        /some/where/bin/pip install --no-binary llama-cpp-python llama-cpp-python==0.3.36
    export MIDFILL_LLAMA_CPP=/some/where/lib/python3.11/site-packages

On Intel processors with AMX that release ends in a protection fault inside its AMX kernels (all three
models of bench/engine_speed.py); it runs when it is built without them:

    export CFLAGS="-mno-amx-tile -mno-amx-int8 -mno-amx-bf16" CXXFLAGS="$CFLAGS"    # before pip

Same Python version as midfill's. It gets its best: weights repacked for the processor (`repacked`
in the answer to `open` says how many bytes were), all threads in both phases, logits only where
they are read, the cache in float16, and flash attention and the kind of cache as the caller found
them faster. No sampler: the largest logit, looked up by numpy without a copy.
"""

import argparse
import ctypes
import os
import re
import time
from pathlib import Path

import numpy as np
from lines import Answer, answer_lines, common, resident_bytes

BATCH = 512  # tokens given to llama.cpp at once, and computed at once
LOAD_MODES = {"auto": -1, "none": 0, "mmap": 1}
CACHE_TYPES = {"f32": 0, "f16": 1, "q8_0": 8}
FLASH = {"auto": -1, "off": 0, "on": 1}


class LlamaCpp:
    """A model and one context, driven by `llama_decode`."""

    def __init__(self) -> None:
        import llama_cpp

        self.c = llama_cpp
        self.said: list[str] = []
        # Kept as an attribute: llama.cpp calls it for as long as the process lives.
        self.hear = llama_cpp.llama_log_callback(
            lambda _, text, __: self.said.append(text.decode())
        )
        llama_cpp.llama_log_set(self.hear, ctypes.c_void_p(0))
        llama_cpp.llama_backend_init()
        self.model = self.context = None
        self.loaded: tuple[str, str] | None = None

    # ------------------------------------------------------------------------------- operations

    def open(
        self,
        model: str,
        *,
        threads: int,
        context: int,
        sequences: int = 1,
        flash: str = "auto",
        unified: bool = False,
        load: str = "auto",
        cache: str = "f16",
    ) -> Answer:
        """Load `model` unless it is loaded, with a new context of `context` tokens a sequence."""
        start = time.perf_counter()
        self._load(model, load)
        self._new_context(threads, context, sequences, flash, unified, cache)
        self.held: list[list[int]] = [[] for _ in range(sequences)]
        self.following = [0] * sequences  # the greedy token after each held sequence
        return {
            "engine": "llama.cpp",
            "version": f"llama-cpp-python {self.c.__version__}",
            "system": self.c.llama_print_system_info().decode().strip(),
            "repacked": self._repacked(),
            "settings": {
                "flash": flash, "unified": unified, "load": load, "cache": cache, "batch": BATCH,
                "threads": threads,
            },
            "seconds": time.perf_counter() - start,
        }  # fmt: skip

    def fill(self, prompts: list[list[int]]) -> Answer:
        """Make the cache hold exactly `prompts`, sequence by sequence."""
        start, read = time.perf_counter(), 0
        prompts = prompts + [[] for _ in self.held[len(prompts) :]]
        for i, prompt in enumerate(prompts):
            if prompt != self.held[i]:
                kept = self._forget_other(i, prompt)
                if prompt:
                    self.following[i] = self._read(i, prompt[kept:], kept)
                self.held[i], read = prompt, read + len(prompt) - kept
        return {"seconds": time.perf_counter() - start, "tokens": read}

    def decode(self, count: int) -> Answer:
        """`count` greedy tokens in every sequence that is not empty, then back."""
        active = [i for i, prompt in enumerate(self.held) if prompt]
        tokens = np.array([self.following[i] for i in active], dtype=np.int32)
        places = np.array([len(self.held[i]) for i in active], dtype=np.int32)
        self._address(active)
        self.wants[: len(active)] = 1
        ids = []
        start = time.perf_counter()
        for _ in range(count):
            self._compute(tokens, places)
            tokens = self._greedy(len(active))
            ids.append(tokens.tolist())
            places += 1
        seconds = time.perf_counter() - start
        for i in active:
            self._cut(i, len(self.held[i]))
        return {"seconds": seconds, "tokens": count * len(active), "ids": ids}

    def prefill(self, tokens: list[int]) -> Answer:
        """Read `tokens` after sequence 0, then back."""
        depth = len(self.held[0])
        start = time.perf_counter()
        following = self._read(0, tokens, depth)
        seconds = time.perf_counter() - start
        self._cut(0, depth)
        return {"seconds": seconds, "tokens": len(tokens), "ids": [following]}

    def first_token(self, tokens: list[int]) -> Answer:
        """Read a whole prompt, keeping the start that the cache holds already."""
        start = time.perf_counter()
        self.fill([tokens])
        return {"seconds": time.perf_counter() - start, "ids": [self.following[0]]}

    def memory(self) -> Answer:
        """Largest and present resident size."""
        return resident_bytes()

    # ------------------------------------------------------------------------------------ model

    def _load(self, path: str, load: str) -> None:
        if self.loaded == (path, load):
            return
        self._free_context()
        if self.model is not None:
            self.c.llama_model_free(self.model)
        self.said.clear()
        params = self.c.llama_model_default_params()
        params.load_mode = LOAD_MODES[load]
        self.model = self.c.llama_model_load_from_file(os.fsencode(path), params)
        if not self.model:
            raise RuntimeError(f"llama.cpp does not load {path}: {''.join(self.said[-5:])}")
        self.loaded = (path, load)
        vocabulary = self.c.llama_model_get_vocab(self.model)
        self.vocab = self.c.llama_vocab_n_tokens(vocabulary)

    def _new_context(
        self, threads: int, context: int, sequences: int, flash: str, unified: bool, cache: str
    ) -> None:
        self._free_context()
        params = self.c.llama_context_default_params()
        params.n_ctx, params.n_seq_max = context * sequences, sequences
        params.n_batch = params.n_ubatch = BATCH
        params.n_threads = params.n_threads_batch = threads
        params.flash_attn_type = FLASH[flash]
        params.type_k = params.type_v = CACHE_TYPES[cache]
        params.kv_unified, params.no_perf = unified, True
        self.context = self.c.llama_init_from_model(self.model, params)
        if not self.context:
            raise RuntimeError(f"llama.cpp makes no context: {''.join(self.said[-5:])}")
        self.cache = self.c.llama_get_memory(self.context)
        size = max(BATCH, sequences)
        self.batch = self.c.llama_batch_init(size, 0, 1)
        self.tokens = np.ctypeslib.as_array(self.batch.token, (size,))
        self.places = np.ctypeslib.as_array(self.batch.pos, (size,))
        self.wants = np.ctypeslib.as_array(self.batch.logits, (size,))
        np.ctypeslib.as_array(self.batch.n_seq_id, (size,))[:] = 1
        self.addressed: list[int] = []

    def _free_context(self) -> None:
        if self.context is not None:
            self.c.llama_batch_free(self.batch)
            self.c.llama_free(self.context)
            self.context = None

    def _repacked(self) -> int:
        """Bytes of weights that llama.cpp has laid out anew for this processor."""
        sizes = re.findall(r"CPU_REPACK model buffer size = +([0-9.]+) MiB", "".join(self.said))
        return round(sum(map(float, sizes)) * 2**20)

    # ------------------------------------------------------------------------------------ steps

    def _address(self, sequences: list[int]) -> None:
        """Row i of the batch belongs to sequence `sequences[i]`."""
        if sequences != self.addressed[: len(sequences)]:
            for row, sequence in enumerate(sequences):
                self.batch.seq_id[row][0] = sequence
            self.addressed = sequences

    def _compute(self, tokens: np.ndarray, places: np.ndarray) -> None:
        self.batch.n_tokens = len(tokens)
        self.tokens[: len(tokens)] = tokens
        self.places[: len(tokens)] = places
        code = self.c.llama_decode(self.context, self.batch)
        if code:
            raise RuntimeError(f"llama_decode says {code}: {''.join(self.said[-3:])}")

    def _greedy(self, rows: int) -> np.ndarray:
        """The largest of each row of logits."""
        logits = self.c.llama_get_logits(self.context)
        return np.ctypeslib.as_array(logits, (rows, self.vocab)).argmax(1).astype(np.int32)

    def _read(self, sequence: int, tokens: list[int], first: int) -> int:
        """Read `tokens` from position `first` on; the greedy token after the last."""
        self._address([sequence] * min(len(tokens), BATCH))
        ids = np.array(tokens, dtype=np.int32)
        for at in range(0, len(tokens), BATCH):
            chunk = ids[at : at + BATCH]
            self.wants[: len(chunk)] = 0
            last = at + len(chunk) == len(tokens)
            self.wants[len(chunk) - 1] = last
            self._compute(chunk, np.arange(first + at, first + at + len(chunk), dtype=np.int32))
        return int(self._greedy(1)[0])

    def _forget_other(self, sequence: int, prompt: list[int]) -> int:
        """Drop what `prompt` does not begin with, and at least its last token; what is kept."""
        kept = min(common(self.held[sequence], prompt), max(len(prompt) - 1, 0))
        self._cut(sequence, kept)
        return kept

    def _cut(self, sequence: int, length: int) -> None:
        """Keep the first `length` tokens of a sequence."""
        if not self.c.llama_memory_seq_rm(self.cache, sequence, length, -1):
            raise RuntimeError(f"llama.cpp cannot go back to {length} tokens")


def packages_folder() -> Path | None:
    """The folder with llama.cpp's Python package, from MIDFILL_LLAMA_CPP."""
    given = os.environ.get("MIDFILL_LLAMA_CPP")
    if not given or not (Path(given) / "llama_cpp").is_dir():
        return None
    return Path(given)


def main() -> None:
    """Open the model that is given, if one is, and answer."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--model")
    parser.add_argument("--threads", type=int, default=os.cpu_count() or 1)
    parser.add_argument("--context", type=int, default=4096, help="tokens of each sequence")
    parser.add_argument("--sequences", type=int, default=1)
    parser.add_argument("--flash", choices=FLASH, default="auto")
    parser.add_argument("--unified", action="store_true", help="one cache for all sequences")
    parser.add_argument("--load", choices=LOAD_MODES, default="auto")
    parser.add_argument("--cache", choices=CACHE_TYPES, default="f16")
    args = vars(parser.parse_args())
    engine = LlamaCpp()
    if args["model"]:
        engine.open(**args)
    answer_lines(engine)


if __name__ == "__main__":
    main()
