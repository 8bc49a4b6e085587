"""What a network in training writes: one completion and one infilling, from held-out text."""

from collections.abc import Iterator
from typing import Any

import torch

from midfill.engine.text import Coder
from midfill.model.transformer import Transformer
from midfill.tokenizer.tokenizer import Tokenizer
from midfill.train.data import Batch

WRITTEN = 48  # tokens
SHOWN = 96  # tokens of a prompt on each side


@torch.no_grad()
def samples(network: Transformer, tokenizer: Tokenizer, batch: Batch) -> Iterator[dict[str, Any]]:
    """Greedy answers to the first held-out sequence, cut in the middle."""
    network.eval()
    pieces = batch.documents[0]
    first = max(range(len(pieces)), key=lambda i: pieces[i])  # the longest document of the row
    start = sum(pieces[:first])
    ids = batch.tokens[0][start : start + pieces[first]].tolist()
    written, shown = (min(most, network.config.context // 4) for most in (WRITTEN, SHOWN))
    middle = len(ids) // 2
    before = tokenizer.decode(ids[max(middle - shown, 0) : middle])
    behind = tokenizer.decode(ids[middle + written : middle + written + shown])
    coder = Coder("in training", network, tokenizer)
    yield {
        "prefix": before,
        "suffix": None,
        "text": coder.complete(before, max_tokens=written).text,
    }
    if coder.can_fill:
        text = coder.fill(before, behind, max_tokens=written).text
        yield {"prefix": before, "suffix": behind, "text": text}
