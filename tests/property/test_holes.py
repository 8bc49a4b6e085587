"""FIM of training documents loses nothing, cuts anywhere alike, and knows no worker."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from midfill.tokenizer.fim import FimTokens
from midfill.tokenizer.holes import cut, rearranged, source_of_chance, undone

FIM = FimTokens(prefix=300, suffix=301, middle=302, bos=True, style="deepseek")


def _bytes(text: str):
    return np.frombuffer(text.encode(), np.uint8).astype(np.uint32)


@given(st.text(), st.sampled_from(["character", "line"]), st.integers())
def test_the_parts_are_the_text(text: str, split: str, seed: int):
    assert "".join(cut(text, split, source_of_chance(seed, "d", 0))) == text


@given(st.text(), st.sampled_from(["character", "line", "token"]), st.integers(0, 2**32))
def test_psm_loses_nothing(text: str, split: str, seed: int):
    chance = source_of_chance(seed, "d", 0)
    ids = rearranged(text, _bytes, FIM, split=split, spm=False, chance=chance)
    parts = undone(ids.tolist(), FIM)
    assert parts is not None
    prefix, middle, suffix = parts
    assert bytes(prefix + middle + suffix).decode() == text


@given(st.text(), st.integers(0, 2**32))
def test_spm_has_the_suffix_first(text: str, seed: int):
    chance = source_of_chance(seed, "d", 0)
    ids = rearranged(text, _bytes, FIM, split="character", spm=True, chance=chance).tolist()
    prefix, middle, suffix = cut(text, "character", source_of_chance(seed, "d", 0))
    assert ids == [300, 301, *suffix.encode(), 302, *(prefix + middle).encode()]


def test_every_place_is_as_likely():
    length, draws = 19, 20_000
    counts = np.zeros(length + 1)
    for i in range(draws):
        prefix, middle, _ = cut("x" * length, "character", source_of_chance(5, f"{i}", 0))
        counts[len(prefix)] += 1
        counts[len(prefix) + len(middle)] += 1
    expected = 2 * draws / (length + 1)
    chi_square = ((counts - expected) ** 2 / expected).sum()
    assert chi_square < 45  # 19 degrees of freedom: 0.1 % exceed 43.8


@given(st.text(min_size=1))
def test_lines_are_cut_where_they_begin(text: str):
    prefix, middle, suffix = cut(text, "line", source_of_chance(1, text, 0))
    for before, after in ((prefix, middle + suffix), (prefix + middle, suffix)):
        assert not before or not after or before.endswith("\n")


def test_chance_depends_on_seed_document_and_epoch():
    draws = {
        source_of_chance(*key).random()
        for key in [(0, "a", 0), (1, "a", 0), (0, "b", 0), (0, "a", 1)]
    }
    assert len(draws) == 4
    assert source_of_chance(0, "a", 0).random() == source_of_chance(0, "a", 0).random()


@pytest.mark.parametrize("ids", [[], [5, 6], [300, 1, 2], [300, 1, 301, 2]])
def test_a_document_without_holes_is_none(ids: list[int]):
    assert undone(ids, FIM) is None
