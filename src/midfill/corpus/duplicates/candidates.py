"""The exchange: which pairs share a band, and are worth an exact comparison.

Everything here is an index into sketches in rank order (`ranked`), so that the smaller of two
indices is the better document, and the result does not depend on the order in which they came.
"""

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from midfill.config.corpus.duplicates import Duplicates
from midfill.corpus.duplicates.shingles import Hashes, mix
from midfill.corpus.duplicates.sketch import Sketch

Indices = npt.NDArray[np.int64]
Pairs = npt.NDArray[np.int64]  # n x 2, the better of each pair first

MOST_WAITING = 20_000_000  # pairs held, 8 bytes each, before repeats are taken out


def candidates(
    sketches: Sequence[Sketch], config: Duplicates, part: int = 0, parts: int = 1
) -> Pairs:
    """Pairs of `sketches` (one level, ranked) that share a band key, each once, sorted.

    Sketches equal in all bands are paired with the best of them, which then stands for all. Of the
    rest, in a group that shares a key, all are paired with the `centres` best of it, and each with
    its next `window` in the order of the next band's key, so a group of m costs at most
    m x (centres + window) pairs instead of m^2 / 2; up to window + 1 members these are all pairs.
    A larger group misses a pair only if neither is among its best, they are further apart in that
    order, and no other band brings them together. Two such documents usually still meet in one
    component, through a centre, and `decide` compares within components.

    With `parts`, only keys of one remainder are looked at: the union over all parts is the whole.
    """
    rows = np.array([i for i, one in enumerate(sketches) if one.shingles], np.int64)
    if not len(rows):
        return np.empty((0, 2), np.int64)
    keys = np.stack([sketches[i].keys for i in rows])
    whole = _fold(keys)
    _, firsts, same = np.unique(whole, return_index=True, return_inverse=True)
    mine = np.flatnonzero(whole % np.uint64(parts) == part)
    found = [_pack(rows[firsts[same[mine]]], rows[mine])]
    firsts.sort()
    rows, keys = rows[firsts], keys[firsts]
    for band in range(keys.shape[1]):
        mine = np.flatnonzero(keys[:, band] % np.uint64(parts) == part)
        own, following = keys[mine, band], keys[mine, (band + 1) % keys.shape[1]]
        found.append(_pairs_of_band(rows[mine], own, following, config))
        if sum(map(len, found)) > MOST_WAITING:
            found = [np.unique(np.concatenate(found))]
    packed = np.unique(np.concatenate(found))
    pairs = np.stack([packed >> np.uint64(32), packed & np.uint64(2**32 - 1)], 1).astype(np.int64)
    fixed = np.array([one.reference for one in sketches], bool)
    return pairs[~fixed[pairs].all(1)]


def components(count: int, pairs: Pairs) -> Indices:
    """The smallest index of the connected component of each of `count` items."""
    labels = np.arange(count)
    while len(pairs):
        a, b = labels[pairs[:, 0]], labels[pairs[:, 1]]
        low, high = np.minimum(a, b), np.maximum(a, b)
        apart = low != high
        if not apart.any():
            break
        pairs, low, high = pairs[apart], low[apart], high[apart]
        np.minimum.at(labels, high, low)
        while (labels[labels] != labels).any():
            labels = labels[labels]
    return labels


def _pairs_of_band(rows: Indices, own: Hashes, following: Hashes, config: Duplicates) -> Hashes:
    """Pairs of `rows` with equal keys, packed into 64 bits: the better in the upper half."""
    order = np.lexsort((rows, following, own))
    sorted_own, sorted_rows = own[order], rows[order]
    left, right = [], []
    for step in range(1, config.window + 1):
        same = np.flatnonzero(sorted_own[step:] == sorted_own[:-step])
        if not len(same):
            break
        left.append(sorted_rows[same])
        right.append(sorted_rows[same + step])
    order = np.lexsort((rows, own))  # now the best of each group come first
    sorted_own, sorted_rows = own[order], rows[order]
    begins = np.flatnonzero(np.diff(sorted_own, prepend=~sorted_own[:1]))
    sizes = np.diff(begins, append=len(order))
    large = sizes > config.window + 1
    begins, sizes = begins[large], sizes[large]
    members = np.repeat(begins - np.cumsum(sizes) + sizes, sizes) + np.arange(sizes.sum())
    for centre in range(config.centres):
        chosen = np.repeat(begins + np.minimum(centre, sizes - 1), sizes)
        left.append(sorted_rows[chosen])
        right.append(sorted_rows[members])
    return _pack(np.concatenate(left), np.concatenate(right)) if left else np.empty(0, np.uint64)


def _pack(a: Indices, b: Indices) -> Hashes:
    low, high = np.minimum(a, b).astype(np.uint64), np.maximum(a, b).astype(np.uint64)
    different = low != high
    return low[different] << np.uint64(32) | high[different]


def _fold(keys: Hashes) -> Hashes:
    """One hash for all band keys of each sketch."""
    folded = np.zeros(len(keys), np.uint64)
    for column in keys.T:
        folded = mix(folded ^ column)
    return folded
