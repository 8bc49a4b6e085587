"""The set of word 5-grams of a document, as 64-bit hashes.

Words are what lies between the characters that `\\W` matches, in lower case (StarCoder). No shingle
crosses the border of two files, so the set of a repository is the union of the sets of its files:
neither their order nor a renamed folder changes it.

A word is hashed by a polynomial over its code points, a shingle by a polynomial over the hashes of
its words, both modulo 2^64, so that one pass over the characters finds all of them. The compiled
loops and the numpy code here give the same numbers. Two shingles share a hash with probability
2^-64; this is what "exact" Jaccard similarity means here.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

native: Any  # the compiled loops, or None
try:
    from midfill.corpus import _native  # pyright: ignore[reportAttributeAccessIssue]

    native = _native
except ImportError:  # no compiler when it was installed
    native = None

Hashes = npt.NDArray[np.uint64]

CHARACTER = 0x9E3779B97F4A7C15  # base of the polynomial over the code points of a word
WORD = 0xD1342543DE82EF95  # base of the polynomial over the words of a shingle
SCATTER = np.uint64(0xBF58476D1CE4E5B9)
AGAIN = np.uint64(0x94D049BB133111EB)


def shingles(texts: Sequence[str], starts: Sequence[int], words: int, seed: int) -> Hashes:
    """The distinct shingles of all texts, each read from its start, as sorted hashes."""
    if native is None:
        return shingles_in_python(texts, starts, words, seed)
    return np.frombuffer(native.shingles(texts, starts, words, seed), np.uint64)


def shingles_in_python(
    texts: Sequence[str], starts: Sequence[int], words: int, seed: int
) -> Hashes:
    """`shingles`, in numpy."""
    each = [every_shingle(t, start, words, seed) for t, start in zip(texts, starts, strict=True)]
    return np.unique(np.concatenate([np.empty(0, np.uint64), *each]))


def every_shingle(text: str, start: int, words: int, seed: int) -> Hashes:
    """The shingles of one text in their order, with repeats."""
    hashes = _word_hashes(text[start:])
    count = len(hashes) - words + 1
    if count < 1:
        return np.empty(0, np.uint64)
    sums = np.zeros(count, np.uint64)
    for i in range(words):
        sums = sums * np.uint64(WORD) + hashes[i : i + count]
    return mix(sums ^ mix(np.array([seed], np.uint64)))


def jaccard(a: Hashes, b: Hashes) -> float:
    """Shared over all members of two sorted sets; 0 if both are empty."""
    both = common(a, b)
    union = len(a) + len(b) - both
    return both / union if union else 0.0


def common(a: Hashes, b: Hashes) -> int:
    """How many members two sorted sets share."""
    if native is None:
        return len(np.intersect1d(a, b, assume_unique=True))
    return native.common(a, b)


def mix(x: Hashes) -> Hashes:
    """A bijection of 64 bits in which each bit of the result depends on all (splitmix64's)."""
    x = (x ^ (x >> np.uint64(30))) * SCATTER
    x = (x ^ (x >> np.uint64(27))) * AGAIN
    return x ^ (x >> np.uint64(31))


def _word_hashes(text: str) -> Hashes:
    """One hash for each word: its polynomial, with the higher bits brought down."""
    text = text.lower()
    points = np.frombuffer(text.encode("utf-32-le", "surrogatepass"), np.uint32)
    is_word = np.zeros(0x110000, bool)
    is_word[[ord(c) for c in set(text) if c.isalnum() or c == "_"]] = True
    in_words = is_word[points]
    border = np.flatnonzero(np.diff(in_words, prepend=False, append=False))
    begins, ends = border[::2], border[1::2]
    # The polynomial of a word is a difference of running sums, scaled: the base is odd, hence
    # invertible modulo 2^64.
    base, inverse = np.uint64(CHARACTER), np.uint64(pow(CHARACTER, -1, 1 << 64))
    scaled = points * _powers(inverse, len(points))
    sums = np.concatenate([np.zeros(1, np.uint64), np.cumsum(scaled, dtype=np.uint64)])
    polynomials = (sums[ends] - sums[begins]) * _powers(base, len(points))[ends - 1]
    return (polynomials ^ (polynomials >> np.uint64(29))) * SCATTER


def _powers(base: np.uint64, count: int) -> Hashes:
    """base^0, base^1, ... modulo 2^64."""
    factors = np.full(count, base, np.uint64)
    factors[:1] = 1
    return np.cumprod(factors, dtype=np.uint64)
