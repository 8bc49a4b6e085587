"""The sample a vocabulary is trained on: balanced, repeatable, the same whatever the order."""

import random

from hypothesis import given
from hypothesis import strategies as st

from midfill.tokenizer.sample import PIECE, Text, draw

TEXTS = st.lists(
    st.builds(Text, st.sampled_from(["C", "Go", ""]), st.text(max_size=30)), max_size=20
)


def sized(language: str, count: int, size: int) -> list[Text]:
    return [Text(language, f"{i:0{size - 1}d}\n") for i in range(count)]


@given(TEXTS, st.integers(1, 400), st.randoms())
def test_the_order_does_not_matter(texts: list[Text], most: int, chance: random.Random):
    sample = draw(texts, most)
    assert draw(chance.sample(texts, len(texts)), most) == sample
    pieces = list(sample.pieces(texts))
    assert len(set(pieces)) == len(pieces)
    size = sum(len(piece.text.encode()) for piece in pieces)
    assert size == sum(sample.taken.values()) <= most


@given(TEXTS)
def test_a_sample_with_room_for_all_takes_each_once(texts: list[Text]):
    sample = draw([*texts, *texts], 1 << 20)
    assert set(sample.pieces(texts)) == {text for text in texts if text.text}
    assert sample.taken == sample.found


def test_languages_share_alike_and_small_ones_give_the_rest():
    texts = sized("C", 900, 100) + sized("Go", 900, 100) + sized("Zig", 10, 100)
    taken = draw(texts, 40_000).taken
    assert taken == {"C": 19_500, "Go": 19_500, "Zig": 1000}


def test_the_seed_chooses():
    texts = sized("C", 100, 100)
    first, again, other = (draw(texts, 3000, seed=seed).chosen for seed in (0, 0, 1))
    assert first == again != other


def test_long_texts_are_drawn_in_pieces_that_end_at_line_ends():
    text = "".join(f"line {i}\n" for i in range(40_000))
    texts = [Text("C", text)]
    pieces = [piece.text for piece in draw(texts, 1 << 30).pieces(texts)]
    assert "".join(pieces) == text
    assert len(pieces) > 2
    assert all(piece.endswith("\n") and len(piece) <= PIECE for piece in pieces)
    assert 0 < sum(draw(texts, 200_000).taken.values()) <= 200_000


def test_a_text_of_one_line_is_cut_all_the_same():
    texts = [Text("JSON", "x" * (2 * PIECE) + "y")]
    assert "".join(p.text for p in draw(texts, 1 << 30).pieces(texts)).count("x") == PIECE
