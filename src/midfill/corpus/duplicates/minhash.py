"""Band keys: numbers that two documents share the likelier, the more shingles they share.

A sketch has bands x rows slots; each holds one shingle drawn from the set, by a rule that draws the
same one from every set that holds it and in which it is least, so two sketches agree in a slot with
the probability of their Jaccard similarity. Classic MinHash hashes each shingle once for each slot.
Here, as in fast similarity sketching (Dahlgaard, Knudsen, Thorup 2017), a shingle is hashed once,
which gives it a slot and a rank in it; where slots are left empty, as for small sets, further rounds
with new hashes fill these, and the rounds after that visit each slot in turn, so that none is left.
A slot filled in an earlier round stays. Unlike one permutation filled up by copying neighbours, small
sets keep near-independent slots, so the candidate probability is that of `candidate_probability`.

A band key hashes the slots of one band with the number of the band to 64 bits: at 32, strangers meet.
"""

from collections.abc import Sequence

import numpy as np

from midfill.corpus.duplicates.shingles import (
    CHARACTER,
    WORD,
    Hashes,
    every_shingle,
    mix,
    native,
)

EMPTY = np.uint64(2**64 - 1)


def band_keys(
    texts: Sequence[str], starts: Sequence[int], words: int, seed: int, bands: int, rows: int
) -> tuple[Hashes, Hashes]:
    """Shingles (with repeats) and band keys of each text, and, last, of all texts as one.

    Texts are read from their starts. The keys of a text without a shingle mean nothing.
    """
    return _keys(texts, starts, (words, seed, bands, rows), each=True)


def band_keys_of_all(
    texts: Sequence[str], starts: Sequence[int], words: int, seed: int, bands: int, rows: int
) -> tuple[int, Hashes]:
    """`band_keys` of all texts as one document only."""
    counts, keys = _keys(texts, starts, (words, seed, bands, rows), each=False)
    return int(counts[-1]), keys[-1]


def band_keys_in_python(
    texts: Sequence[str], starts: Sequence[int], words: int, seed: int, bands: int, rows: int
) -> tuple[Hashes, Hashes]:
    """`band_keys`, in numpy."""
    sets = [every_shingle(t, start, words, seed) for t, start in zip(texts, starts, strict=True)]
    sets.append(np.concatenate([np.empty(0, np.uint64), *sets]))
    keys = [_band_keys_of(slots_of(hashes, bands * rows), bands, rows) for hashes in sets]
    return np.array([len(hashes) for hashes in sets], np.uint64), np.array(keys)


def slots_of(shingles: Hashes, count: int) -> Hashes:
    """`count` slots, each with the hash of one shingle; all empty for the empty set."""
    slots = np.full(count, EMPTY)
    shingles = np.unique(shingles)
    for turn in range(2 * count):
        values = shingles if turn == 0 else mix(shingles ^ _salt(turn))
        if turn < count:
            chosen = (values >> np.uint64(32)) * np.uint64(count) >> np.uint64(32)
        else:
            chosen = np.full(len(values), turn - count, np.uint64)
        here = np.full(count, EMPTY)
        np.minimum.at(here, chosen.astype(np.intp), values)
        slots = np.where(slots == EMPTY, here, slots)
        if not len(shingles) or not (slots == EMPTY).any():
            break
    return slots


def _keys(
    texts: Sequence[str], starts: Sequence[int], shape: tuple[int, int, int, int], each: bool
) -> tuple[Hashes, Hashes]:
    if native is None:
        counts, keys = band_keys_in_python(texts, starts, *shape)
        return (counts, keys) if each else (counts[-1:], keys[-1:])
    counts, keys = native.band_keys(texts, starts, *shape, each)
    return np.frombuffer(counts, np.uint64), np.frombuffer(keys, np.uint64).reshape(-1, shape[2])


def _salt(turn: int) -> Hashes:
    """What makes the hashes of one round independent of those of the others."""
    return mix(np.array([turn * CHARACTER % 2**64], np.uint64))


def _band_keys_of(slots: Hashes, bands: int, rows: int) -> Hashes:
    keys = mix(np.arange(1, bands + 1, dtype=np.uint64))
    for column in slots.reshape(bands, rows).T:
        keys = keys * np.uint64(WORD) + column
    return mix(keys)
