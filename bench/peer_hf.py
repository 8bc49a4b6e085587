"""transformers in bfloat16 as an engine that answers JSON lines (bench/lines.py).

    python bench/peer_hf.py

One sequence, greedy, through the model's own forward and cache: less work for each token than
`generate` does.
"""

import time
from typing import Any

import torch
import transformers
from lines import Answer, answer_lines, resident_bytes


class Transformers:
    """A causal language model of transformers."""

    def open(self, model: str, *, threads: int, **_: Any) -> Answer:
        """Load the folder `model` in bfloat16."""
        start = time.perf_counter()
        torch.set_num_threads(threads)
        load = transformers.AutoModelForCausalLM.from_pretrained
        self.network = load(model, dtype=torch.bfloat16).eval()
        self.held: list[int] = []
        return {
            "engine": "transformers",
            "version": f"transformers {transformers.__version__}, torch {torch.__version__}",
            "settings": {"dtype": "bfloat16", "threads": threads},
            "seconds": time.perf_counter() - start,
        }

    @torch.inference_mode()
    def fill(self, prompts: list[list[int]]) -> Answer:
        """Read the one prompt afresh."""
        start = time.perf_counter()
        (self.held,) = prompts
        self.cache = transformers.DynamicCache(config=self.network.config)
        logits = self.network(torch.tensor([self.held]), past_key_values=self.cache).logits
        self.following = logits[:, -1:].argmax(-1)
        return {"seconds": time.perf_counter() - start, "tokens": len(self.held)}

    @torch.inference_mode()
    def decode(self, count: int) -> Answer:
        """`count` greedy tokens, then back."""
        tokens, ids = self.following, []
        start = time.perf_counter()
        for _ in range(count):
            logits = self.network(tokens, past_key_values=self.cache).logits
            tokens = logits[:, -1:].argmax(-1)
            ids.append(tokens[0].tolist())
        seconds = time.perf_counter() - start
        self.cache.crop(-count)
        return {"seconds": seconds, "tokens": count, "ids": ids}

    def prefill(self, tokens: list[int]) -> Answer:
        """Not measured here."""
        raise NotImplementedError

    first_token = prefill

    def memory(self) -> Answer:
        """Largest and present resident size."""
        return resident_bytes()


if __name__ == "__main__":
    answer_lines(Transformers())
