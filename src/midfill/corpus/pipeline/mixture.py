"""Which documents are used how often: shares of the mix, caps of languages, held-out repositories.

DeepSeek-Coder §2.1 mixes 87 % code, 10 % English about code, 3 % Chinese; DeepSeek-Coder-V2 §2
60 % code, 10 % mathematics, 30 % other text. Every choice hashes a name, so that it does not depend
on the order or number of parts.
"""

import hashlib
from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from midfill.errors import ConfigError

Names = list[str]


def hashes(names: Names, *salt: object) -> NDArray[np.uint64]:
    """64 bits for each name, which are others for another salt."""
    head = repr(salt).encode()
    digests = b"".join(
        hashlib.blake2b(head + name.encode("utf-8", "surrogatepass"), digest_size=8).digest()
        for name in names
    )
    return np.frombuffer(digests, "<u8")


def below(hashed: NDArray[np.uint64], share: float | NDArray[np.float64]) -> NDArray[np.bool_]:
    """Which hashes lie in the first `share` of their range: that share of them, by chance."""
    return (hashed >> np.uint64(11)).astype(np.float64) * 2.0**-53 < share


def passes(tokens: Mapping[str, int], mix: Mapping[Any, float], epochs: int) -> dict[str, float]:
    """How often the documents of each category are used, so that their tokens make up `mix`.

    The largest mixture in which no category is used more than `epochs` times; without a mix each
    is used `epochs` times. Raises ConfigError where the mix wants a category that has no tokens.
    """
    if not mix:
        return dict.fromkeys(tokens, float(epochs))
    wanted = {category: share for category, share in mix.items() if share > 0}
    for category in wanted:
        if not tokens.get(category):
            raise ConfigError(
                f"the mix wants {wanted[category]:.0%} {category}, and there is none",
                why=f"the sources gave {', '.join(sorted(tokens)) or 'nothing'}",
                fix=f"add a source of category {category}, or leave {category} out of the mix",
            )
    whole = min(epochs * tokens[category] / share for category, share in wanted.items())
    return {c: wanted.get(c, 0.0) * whole / tokens[c] if tokens[c] else 0.0 for c in tokens}


def capped(sizes: Mapping[str, int], cap: int | None) -> dict[str, float]:
    """The share of each language's documents that stays below `cap` bytes of text."""
    return {name: 1.0 if not cap or size <= cap else cap / size for name, size in sizes.items()}
