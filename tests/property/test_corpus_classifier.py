"""Laws of the n-gram classifier, and that it ranks as well as fastText where floret is installed."""

from pathlib import Path
from random import Random

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from midfill.config.corpus.quality import ClassifierConfig
from midfill.corpus.quality.classifier import (
    Classifier,
    Hasher,
    Sample,
    grams,
    hash_ids,
    roc_area,
    train,
)
from midfill.errors import CorpusError

SMALL = ClassifierConfig(bits=10, minimum_count=1)
TEXTS = st.lists(st.integers(0, 2**40), max_size=30)


@given(TEXTS, st.integers(1, 4))
def test_grams_are_counted_and_local(ids: list[int], longest: int):
    config = ClassifierConfig(bits=12, word_ngrams=longest)
    found = grams(hash_ids(ids), config)
    assert len(found) == sum(max(len(ids) - size + 1, 0) for size in range(1, longest + 1))
    assert not len(found) or 0 <= found.min() <= found.max() < 1 << 12
    twice = grams(hash_ids(ids + ids), config)
    assert not set(found) - set(twice)


@given(TEXTS)
def test_order_of_words_matters_to_grams_only(ids: list[int]):
    one, two = ClassifierConfig(word_ngrams=1), ClassifierConfig(word_ngrams=2)
    backwards = hash_ids(ids[::-1])
    assert sorted(grams(hash_ids(ids), one)) == sorted(grams(backwards, one))
    if len(set(ids)) == len(ids) and len(ids) > 1:
        assert sorted(grams(hash_ids(ids), two)) != sorted(grams(backwards, two))


@given(st.lists(st.text(max_size=5), max_size=20))
def test_text_words_hash_alike_everywhere(words: list[str]):
    forgetful = Hasher(most=1)
    assert Hasher()(words).tolist() == [forgetful([word])[0] for word in words]


SAMPLES = st.lists(st.tuples(TEXTS, st.booleans()), min_size=2, max_size=12).filter(
    lambda given: 0 < sum(good for _, good in given) < len(given)
)


@settings(max_examples=25, deadline=None)
@given(SAMPLES, st.randoms())
def test_training_does_not_depend_on_order_and_saves_exactly(given, random: Random):
    samples = [Sample(key=str(i), words=hash_ids(w), good=g) for i, (w, g) in enumerate(given)]
    model = train(samples, SMALL)
    random.shuffle(samples)
    assert train(samples, SMALL).to_bytes() == model.to_bytes()
    read = Classifier.from_bytes(model.to_bytes())
    assert read.to_bytes() == model.to_bytes()
    for one in samples:
        score = model.score(one.words)
        assert 0 <= score <= 1
        assert read.score(one.words) == score


@given(st.lists(st.tuples(st.integers(0, 5), st.booleans()), max_size=30))
def test_roc_area_is_the_share_of_pairs(given: list[tuple[int, bool]]):
    good = [score for score, is_good in given if is_good]
    other = [score for score, is_good in given if not is_good]
    area = roc_area([score for score, _ in given], [is_good for _, is_good in given])
    if not good or not other:
        assert np.isnan(area)
        return
    pairs = [(a > b) + (a == b) / 2 for a in good for b in other]
    assert area == pytest.approx(sum(pairs) / len(pairs))


def test_one_kind_alone_teaches_nothing():
    with pytest.raises(CorpusError, match="2 good samples and 0 others"):
        train([Sample(key=k, words=hash_ids([1]), good=True) for k in "ab"], SMALL)


@pytest.mark.parametrize("damage", [b"", b"midfill-ngrams-1", b"other"])
def test_damaged_models_are_refused(damage: bytes):
    with pytest.raises(CorpusError, match="is no n-gram classifier"):
        Classifier.from_bytes(damage)


def test_a_model_that_was_cut_off_is_refused():
    samples = [Sample(key=str(i), words=hash_ids([i]), good=i > 1) for i in range(4)]
    data = train(samples, SMALL).to_bytes()
    for size in (len(data) - 1, len(data) - 2, 30):
        with pytest.raises(CorpusError):
            Classifier.from_bytes(data[:size])


def synthetic(count: int, seed: int) -> list[tuple[list[int], bool]]:
    """Texts of 100 ids; the two kinds differ in the frequency of 200 of 1,000 ids."""
    random = Random(seed)
    texts = []
    for at in range(count):
        good = at % 2 == 0
        first = 0 if good else 60
        own = [random.randrange(first, first + 200) for _ in range(15)]
        ids = own + [random.randrange(1000) for _ in range(85)]
        random.shuffle(ids)
        texts.append((ids, good))
    return texts


def test_ranks_as_well_as_fasttext(tmp_path: Path):
    floret = pytest.importorskip("floret", reason="floret is not installed")
    known, unseen = synthetic(600, 1), synthetic(300, 2)
    lines = [
        f"__label__{'yes' if good else 'no'} {' '.join(f't{one}' for one in ids)}\n"
        for ids, good in known
    ]
    path = tmp_path / "lines.txt"
    path.write_text("".join(lines))
    peer = floret.train_supervised(
        input=str(path), dim=16, lr=1.0, wordNgrams=2, minCount=3, epoch=5, bucket=1 << 16,
        thread=1, verbose=0,
    )  # fmt: skip
    theirs = []
    for ids, _ in unseen:
        text = " ".join(f"t{one}" for one in ids) + "\n"
        found = dict((label, score) for score, label in peer.f.predict(text, 2, 0.0, "strict"))
        theirs.append(found["__label__yes"])
    config = ClassifierConfig(bits=16, word_ngrams=2)
    samples = [Sample(key=str(i), words=hash_ids(w), good=g) for i, (w, g) in enumerate(known)]
    model = train(samples, config)
    ours = [model.score(hash_ids(ids)) for ids, _ in unseen]
    kinds = [good for _, good in unseen]
    assert roc_area(ours, kinds) > 0.8
    assert roc_area(ours, kinds) > roc_area(theirs, kinds) - 0.02
