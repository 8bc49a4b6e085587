"""Shingles and band keys: the compiled loops, numpy and the definition say the same."""

import math
import re
from random import Random

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from midfill.corpus.duplicates import minhash, shingles
from midfill.corpus.duplicates.bands import candidate_probability

needs_native = pytest.mark.skipif(shingles.native is None, reason="midfill.corpus is not compiled")

# Characters at the borders: two whose lower case depends on their neighbours or is two characters,
# digits and numbers of several kinds, a letter of each width, a combining mark, a lone surrogate.
PIECES = ["a", "B", "_", "9", " ", "\n", "(", "\0", "é", "ß", "ª", "²", "İ", "Σ", "ΑΣ", "中", "٠"]
PIECES += ["Ⅷ", "\u0307", "\U00010400", "\ud800", "word ", "x" * 40, "\u2028", "\x85"]
texts = st.lists(st.sampled_from(PIECES), max_size=80).map("".join) | st.text(max_size=80)
several = st.lists(st.tuples(texts, st.integers(0, 10)), max_size=4)
numbers = st.integers(0, 2**64 - 1)
some = settings(deadline=None, max_examples=30)


def split(files):
    return [text for text, _ in files], [start for _, start in files]


def by_definition(text: str, words: int) -> list[tuple[str, ...]]:
    found = [word for word in re.split(r"\W", text.lower()) if word]
    return [tuple(found[i : i + words]) for i in range(len(found) - words + 1)]


@needs_native
@some
@given(several, st.integers(1, 7), numbers)
def test_shingles_compiled_and_in_numpy(files, words, seed):
    compiled = shingles.shingles(*split(files), words, seed)
    assert np.array_equal(compiled, shingles.shingles_in_python(*split(files), words, seed))


@needs_native
@some
@given(several, st.integers(1, 7), numbers, st.sampled_from([(25, 10), (1, 1), (3, 50)]))
def test_band_keys_compiled_and_in_numpy(files, words, seed, shape):
    given_ = (*split(files), words, seed, *shape)
    counts, keys = minhash.band_keys(*given_)
    want_counts, want_keys = minhash.band_keys_in_python(*given_)
    assert np.array_equal(counts, want_counts)
    assert np.array_equal(keys, want_keys)
    count, whole = minhash.band_keys_of_all(*given_)
    assert count == want_counts[-1]
    assert np.array_equal(whole, want_keys[-1])


@needs_native
def test_every_character_compiled_and_in_numpy():
    cased = [chr(c) for c in range(0x110000) if chr(c).isalnum() or chr(c) != chr(c).lower()]
    others = [chr(c) for c in range(0, 0x110000, 50)]
    everything = " ".join(f"{c} a{c}b" for c in cased + others)
    compiled = shingles.shingles([everything], [0], 2, 1)
    assert np.array_equal(compiled, shingles.shingles_in_python([everything], [0], 2, 1))


@needs_native
@pytest.mark.parametrize("distinct", [1, 30, 3000])
def test_long_and_repetitive_texts_compiled_and_in_numpy(distinct):
    """More shingles than are kept for the later rounds, of which few are different."""
    text = " ".join(f"w{i % distinct}" for i in range(70_000))
    given_ = (["a b c", text], [0, 0], 5, 1, 25, 10)
    for compiled, in_numpy in zip(
        minhash.band_keys(*given_), minhash.band_keys_in_python(*given_), strict=True
    ):
        assert np.array_equal(compiled, in_numpy)


@some
@given(texts, st.integers(1, 7))
def test_one_hash_for_each_shingle(text, words):
    want = by_definition(text, words)
    every = shingles.every_shingle(text, 0, words, 1)
    assert len(every) == len(want)
    assert len(dict(zip(want, every.tolist(), strict=True))) == len(set(every.tolist()))


@some
@given(texts, texts)
def test_jaccard_is_that_of_the_definition(a, b):
    sets = [shingles.shingles([text], [0], 2, 1) for text in (a, b)]
    first, second = (set(by_definition(text, 2)) for text in (a, b))
    want = len(first & second) / len(first | second) if first | second else 0.0
    assert shingles.jaccard(sets[0], sets[1]) == want


@some
@given(st.lists(texts, max_size=5), st.randoms())
def test_order_and_repetition_of_files_do_not_matter(files, random):
    shuffled = files + files[:2]
    random.shuffle(shuffled)
    first = minhash.band_keys_of_all(files, [0] * len(files), 5, 1, 25, 10)[1]
    second = minhash.band_keys_of_all(shuffled, [0] * len(shuffled), 5, 1, 25, 10)[1]
    assert np.array_equal(first, second)


@some
@given(st.sets(st.integers(0, 2**64 - 2), min_size=1, max_size=400))
def test_each_slot_holds_one_shingle_of_the_set(hashes):
    """A slot that two sets agree on is a draw from both: none is empty, or copied from another."""
    slots = minhash.slots_of(np.array(sorted(hashes), np.uint64), 250)
    assert not (slots == minhash.EMPTY).any()
    if len(hashes) > 1:
        assert len(set(slots.tolist())) > 1


# Planted pairs: n words each, of which the first k are shared. 2.576 standard deviations hold 99 %
# of a normal distribution; the seed is fixed, so this passes always or never.
@pytest.mark.parametrize("words", [60, 300])
@pytest.mark.parametrize("similarity", [0.5, 0.6, 0.7, 0.75, 0.8, 0.85])
def test_candidates_are_as_frequent_as_the_formula_says(words, similarity):
    random = Random(f"{words} {similarity}")
    shared = round(2 * similarity * (words - 4) / (1 + similarity)) + 4
    exact = (shared - 4) / (2 * (words - 4) - (shared - 4))

    def unlike(count: int) -> list[str]:
        return [f"{random.getrandbits(48):x}" for _ in range(count)]

    pairs, found = 250, 0
    for _ in range(pairs):
        core = unlike(shared)
        texts = [" ".join(core + unlike(words - shared)) for _ in range(2)]
        _, keys = minhash.band_keys(texts, [0, 0], 5, 1, 25, 10)
        found += bool((keys[0] == keys[1]).any())
    chance = float(candidate_probability(exact, 25, 10))
    assert abs(found - pairs * chance) <= 2.576 * math.sqrt(pairs * chance * (1 - chance)) + 0.5
