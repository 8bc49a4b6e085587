"""llama.cpp, through its wheel: greedy tokens and log-probabilities of a GGUF file."""

import json
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import xllamacpp


def greedy(path: Path, prompt: list[int], count: int) -> tuple[list[int], list[float | None]]:
    """The `count` tokens llama.cpp generates after `prompt`, with their log-probabilities.

    It reports none for a token that ends inside a character. Cache in float32 and no fused attention: the plainest arithmetic it has.
    """
    params = xllamacpp.CommonParams()
    params.model.path = str(path)
    params.n_ctx, params.n_parallel, params.warmup, params.port = 512, 1, False, 0
    params.cpuparams.n_threads = params.cpuparams_batch.n_threads = 1
    params.cache_type_k = params.cache_type_v = xllamacpp.ggml_type.GGML_TYPE_F32
    params.flash_attn_type = xllamacpp.llama_flash_attn_type.LLAMA_FLASH_ATTN_TYPE_DISABLED
    params.verbosity = -1
    server = xllamacpp.Server(params)
    body = {
        "prompt": prompt,
        "n_predict": count,
        "temperature": 0,
        "n_probs": 1,
        "ignore_eos": True,
        "return_tokens": True,
        "cache_prompt": False,
    }
    request = urllib.request.Request(
        f"{server.listening_address}/completion",
        json.dumps(body).encode(),
        {"Content-Type": "application/json"},
    )
    with urllib.request.urlopen(request, timeout=50) as response:
        answer = json.load(response)
    told = iter([*answer["completion_probabilities"], None])
    return answer["tokens"], list(_aligned(answer["tokens"], told))


def _aligned(tokens: list[int], told: Iterator[Any]) -> Iterator[float | None]:
    """Each token's log-probability, None where llama.cpp left the token out."""
    next_told = next(told)
    for token in tokens:
        if next_told is not None and next_told["id"] == token:
            yield next_told["logprob"]
            next_told = next(told)
        else:
            yield None
