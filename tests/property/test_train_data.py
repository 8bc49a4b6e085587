"""The arithmetic of the data order: nothing is skipped, nothing comes twice, nothing is remembered."""

import itertools
from collections import Counter
from functools import cache
from pathlib import Path
from tempfile import mkdtemp

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from midfill.config.corpus.documents import FimConfig
from midfill.config.train import BatchConfig
from midfill.tokenizer.holes import undone
from midfill.tokenizer.tokenizer import Tokenizer
from midfill.train.data.block import Block
from midfill.train.data.chance import shuffled
from midfill.train.data.deal import Deal
from midfill.train.data.holes import Holes
from midfill.train.data.mix import Mix, apportioned
from midfill.train.data.ramp import Ramp
from token_shards import byte_tokenizer, document

SIZES = st.lists(st.integers(1, 300), min_size=1, max_size=60)
WEIGHTS = st.lists(st.floats(0.1, 10), min_size=1, max_size=5)
SEEDS = st.integers(0, 2**63 - 1)


@settings(deadline=None)
@given(st.integers(0, 200), SEEDS, SEEDS)
def test_an_order_has_every_number_once(count: int, one: int, other: int):
    order = shuffled(count, one, "a").tolist()
    assert sorted(order) == list(range(count))
    assert shuffled(count, one, "a").tolist() == order
    if count > 30 and one != other:
        assert shuffled(count, other, "a").tolist() != order


@settings(deadline=None)
@given(SIZES, st.integers(2, 20), st.integers(1, 2000), SEEDS)
def test_sequences_and_places_are_one_to_one(sizes: list[int], length: int, aim: int, seed: int):
    deal = Deal(np.array(sizes), length=length, block_tokens=aim, added=0.5, key=(seed, 0))
    epochs = 3
    places = zip(
        *map(np.ndarray.tolist, deal.places(np.arange(epochs * deal.sequences))), strict=True
    )
    every = {
        (epoch, block, row)
        for epoch in range(epochs)
        for block, count in enumerate(deal.counts.tolist())
        for row in range(count)
    }
    listed = list(places)
    assert len(listed) == len(every)
    assert set(listed) == every
    assert [epoch for epoch, _, _ in listed] == sorted(epoch for epoch, _, _ in listed)


@settings(deadline=None)
@given(SIZES, st.integers(2, 20), st.integers(1, 2000), SEEDS)
def test_every_document_is_in_one_block(sizes: list[int], length: int, aim: int, seed: int):
    deal = Deal(np.array(sizes), length=length, block_tokens=aim, added=0.5, key=(seed, 0))
    for epoch in range(2):
        blocks = [deal.documents(i, epoch).tolist() for i in range(len(deal.counts))]
        assert sorted(itertools.chain(*blocks)) == list(range(len(sizes)))
        for i, block in enumerate(blocks):
            tokens = sum(sizes[document] for document in block)
            assert deal.tokens[i] == tokens
            assert deal.counts[i] == max(1, (tokens + len(block) // 2 - 1) // length)
            assert sorted(deal.rows(i, epoch).tolist()) == list(range(deal.counts[i]))
            assert tokens < 2 * max(aim, 16 * length) + max(sizes)


@settings(deadline=None)
@given(st.lists(st.integers(1, 30), min_size=1, max_size=12), st.integers(1, 9), st.integers(2, 12))
def test_a_block_is_its_documents_again_and_again(sizes: list[int], rows: int, length: int):
    documents = [np.arange(size) + 1000 * i for i, size in enumerate(sizes)]
    block = Block.pack(documents, np.arange(rows), length)
    pairs = itertools.cycle(
        (token, place == 0) for one in documents for place, token in enumerate(one)
    )
    stream = list(itertools.islice(pairs, rows * length + 1))
    for row in range(rows):
        want = stream[row * length : (row + 1) * length + 1]
        ids, starts = block.sequence(row, length)
        assert ids.tolist() == [token for token, _ in want]
        assert starts.tolist() == [i for i, (_, begins) in enumerate(want) if begins and i]


@settings(deadline=None)
@given(WEIGHTS, st.integers(0, 1000))
def test_shares_are_off_by_less_than_one(weights: list[float], count: int):
    counts = apportioned(weights, count)
    assert sum(counts) == count
    for weight, got in zip(weights, counts, strict=True):
        assert abs(got - count * weight / sum(weights)) < 1 + 1e-9


@settings(deadline=None)
@given(WEIGHTS, SEEDS)
def test_every_cycle_has_its_shares_and_skips_nothing(weights: list[float], seed: int):
    mix = Mix(weights, seed)
    sources, numbers = mix.take(0, 3 * mix.cycle)
    for cycle in np.split(sources, 3):
        assert Counter(cycle.tolist()) == Counter(dict(enumerate(mix.counts.tolist())))
    for source, count in enumerate(mix.counts.tolist()):
        assert numbers[sources == source].tolist() == list(range(3 * count))
        share = weights[source] / sum(weights)
        assert abs(count / mix.cycle - share) <= 0.02 * share


@settings(deadline=None)
@given(WEIGHTS, SEEDS, st.integers(0, 10**12), st.integers(0, 300), st.integers(0, 300))
def test_the_mix_does_not_depend_on_what_was_taken(weights, seed, first, count, more):
    mix = Mix(weights, seed)
    whole = mix.take(first, count + more)
    parts = zip(mix.take(first, count), Mix(weights, seed).take(first + count, more), strict=True)
    for got, part in zip(whole, parts, strict=True):
        assert got.tolist() == [*part[0].tolist(), *part[1].tolist()]


@settings(deadline=None)
@given(st.integers(1, 40), st.integers(0, 40), st.integers(0, 30_000), st.integers(2, 50))
def test_the_ramp_is_the_recurrence(first: int, more: int, tokens: int, length: int):
    batch = BatchConfig(sequences=first + more, first=first, ramp_tokens=tokens)
    ramp, before, sizes = Ramp(batch, length), 0, []
    whole = -(-tokens // length)
    for step in range(200):
        size = first + more if before >= whole else first + more * before // whole
        assert ramp.sequences_at(step) == size
        assert ramp.sequences_before(step) == before
        assert ramp.steps(before) == step
        assert ramp.steps(before + 1) == step + 1
        sizes.append(size)
        before += size
    assert sizes == sorted(sizes)


def test_without_a_ramp_all_steps_are_alike():
    ramp = Ramp(BatchConfig(sequences=7), 16)
    assert [ramp.sequences_at(step) for step in (0, 1, 10**9)] == [7, 7, 7]
    assert ramp.sequences_before(10**9) == 7 * 10**9
    assert [ramp.steps(count) for count in (0, 1, 7, 8)] == [0, 1, 1, 2]


@cache
def tokenizer() -> Tokenizer:
    return byte_tokenizer(Path(mkdtemp()))


@settings(deadline=None)
@given(st.text(), SEEDS, st.sampled_from(["character", "line", "token"]))
def test_ids_become_text_and_ids_again(text: str, seed: int, split):
    fim = tokenizer().fim
    assert fim is not None
    ids = document(tokenizer(), text).astype("<u2")
    made = Holes(tokenizer(), FimConfig(rate=1.0, split=split), seed).made(ids, "0:0", 0)
    assert made.dtype == ids.dtype
    assert [made[0], made[-1]] == [ids[0], ids[-1]]
    parts = undone(made[1:-1].tolist(), fim)
    if len(text) < 3:
        assert made.tolist() == ids.tolist()
    else:
        assert parts is not None
        raw = b"".join(tokenizer().token_bytes(one) for part in parts for one in part)
        assert raw.decode() == text
