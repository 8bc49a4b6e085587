"""Logits to one token, against plain numpy."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import assume, given
from hypothesis import strategies as st

from midfill.config.engine import Sampling
from midfill.engine import sampler as module
from midfill.engine.sampler import Sampler, nucleus, with_logprob
from midfill.errors import RequestError

WIDTH = 40
LOGITS = st.lists(
    st.floats(-20, 20, width=32), min_size=2, max_size=WIDTH, unique_by=lambda x: round(x, 3)
)
CLEAR = 1e-9  # a border this near is decided by rounding


def tensor(logits) -> torch.Tensor:
    return torch.tensor(logits, dtype=torch.float32)


def softmax(logits) -> np.ndarray:
    x = np.asarray(logits, dtype=np.float64)
    e = np.exp(x - x.max())
    return e / e.sum()


def truncated(logits, s: Sampling) -> tuple[dict[int, float], float]:
    """Id to probability after top-k, top-p and min-p, one after the other, over a full sort.

    And how far the nearest token was from a border.
    """
    probs = softmax(logits)
    order = list(np.argsort(-probs, kind="stable"))
    margin = 1.0
    if s.top_k:
        order = order[: s.top_k]
    if s.top_p < 1:
        whole = sum(probs[i] for i in order) if s.top_k else 1.0
        before = np.concatenate([[0.0], np.cumsum([probs[i] for i in order])[:-1]])
        margin = min(margin, np.abs(before - s.top_p * whole).min() if s.top_p else 1)
        order = [i for i, b in zip(order, before, strict=True) if b < s.top_p * whole or b == 0]
    shares = np.array([probs[i] for i in order]) / probs[order[0]]
    margin = min(margin, np.abs(shares - s.min_p).min() if 0 < s.min_p < 1 else 1)
    kept = {
        int(i): float(probs[i]) for i, share in zip(order, shares, strict=True) if share >= s.min_p
    }
    return kept, margin


def same_distribution(logits, s: Sampling) -> None:
    probs, ids = nucleus(tensor(logits), s)
    got = dict(zip(ids.tolist(), probs.tolist(), strict=True))
    want, margin = truncated(logits, s)
    assume(margin > CLEAR)
    assert got.keys() == want.keys()
    np.testing.assert_allclose([got[i] for i in want], list(want.values()), rtol=1e-9)


class Recorded(Sampler):
    """A sampler that keeps the logits it draws from."""

    def _draw(self, logits):
        self.drawn_from = logits
        return super()._draw(logits)


# ------------------------------------------------------------------------------------ truncation


@given(LOGITS, st.integers(1, WIDTH + 5))
def test_top_k(logits, k):
    same_distribution(logits, Sampling(top_k=k))


@given(LOGITS, st.floats(0, 1))
def test_top_p(logits, p):
    same_distribution(logits, Sampling(top_p=p))


@given(LOGITS, st.floats(0, 1))
def test_min_p(logits, p):
    same_distribution(logits, Sampling(min_p=p))


@given(LOGITS, st.integers(0, WIDTH), st.floats(0, 1), st.floats(0, 1))
def test_combined(logits, k, top_p, min_p):
    same_distribution(logits, Sampling(top_k=k, top_p=top_p, min_p=min_p))


def test_worked_by_hand():
    """Probabilities 0.5, 0.3, 0.15, 0.05: top-p counts its mass among the top k."""
    logits = np.log([0.05, 0.5, 0.15, 0.3])

    def ids(**given) -> list[int]:
        return sorted(nucleus(tensor(logits), Sampling(**given))[1].tolist())

    assert ids() == [0, 1, 2, 3]
    assert ids(top_p=0.79) == [1, 3]
    assert ids(top_p=0.81) == [1, 2, 3]
    assert ids(top_p=0) == [1]
    assert ids(top_k=2, top_p=0.62) == [1]  # 0.5 of the 0.8 that top-k left is 0.625
    assert ids(top_k=2, top_p=0.63) == [1, 3]
    assert ids(min_p=0.59) == [1, 3]
    assert ids(min_p=0.61) == [1]
    assert ids(top_k=3, top_p=0.9, min_p=0.4) == [1, 3]


@pytest.mark.parametrize("scale", [0.01, 1, 8])
@pytest.mark.parametrize("s", [
    Sampling(top_p=0.9), Sampling(top_p=0.5), Sampling(min_p=0.05), Sampling(min_p=1e-9),
    Sampling(top_p=0.95, min_p=0.02), Sampling(top_p=0.999999),
])  # fmt: skip
def test_the_shortlist_equals_the_full_sort(monkeypatch, scale, s):
    """A vocabulary of real size, flat (everything is sorted) and peaked (the shortlist is enough)."""
    logits = torch.randn(32256, generator=torch.Generator().manual_seed(7)) * scale
    short_probs, short_ids = nucleus(logits, s)
    monkeypatch.setattr(module, "SHORTLIST", len(logits))
    full_probs, full_ids = nucleus(logits, s)
    assert torch.equal(short_probs, full_probs)
    assert set(short_ids.tolist()) == set(full_ids.tolist())


@given(st.lists(st.sampled_from([0.0, 1.0, 2.0]), min_size=3, max_size=12), st.integers(1, 12))
def test_ties_change_which_ids_but_never_the_probabilities(logits, k):
    probs, ids = nucleus(tensor(logits), Sampling(top_k=k))
    want = np.sort(softmax(logits))[::-1][:k]
    np.testing.assert_allclose(probs.numpy(), want, rtol=1e-12)
    np.testing.assert_allclose(softmax(logits)[ids.numpy()], want, rtol=1e-12)


# ------------------------------------------------------------------- temperature, penalties, bias


@given(LOGITS, st.floats(0.05, 10))
def test_temperature(logits, temperature):
    sampler = Recorded(Sampling(temperature=temperature, seed=0), prompt=[])
    sampler(tensor(logits))
    want = softmax(np.asarray(logits, dtype=np.float64) / temperature)
    np.testing.assert_allclose(softmax(sampler.drawn_from.numpy()), want, rtol=1e-6, atol=1e-300)


@given(LOGITS, st.floats(1e-320, 1e-6))
def test_a_temperature_near_zero_is_greedy(logits, temperature):
    sampler = Sampler(Sampling(temperature=temperature, seed=0), prompt=[])
    assert sampler(tensor(logits)).token == int(np.argmax(tensor(logits).numpy()))


@given(
    LOGITS,
    st.lists(st.integers(0, WIDTH - 1), max_size=6),
    st.lists(st.integers(0, WIDTH - 1), max_size=6),
    st.floats(0.5, 2, width=32),
    st.floats(-2, 2, width=32),
    st.floats(-2, 2, width=32),
    st.dictionaries(st.integers(0, WIDTH - 1), st.floats(-100, 100, width=32), max_size=4),
)
def test_penalties_and_bias(logits, prompt, answer, repetition, presence, frequency, bias):
    """Repetition looks at prompt and answer, presence and frequency at the answer only."""
    width = len(logits)
    prompt, answer = [i % width for i in prompt], [i % width for i in answer]
    bias = {i % width: value for i, value in bias.items()}
    s = Sampling(
        repetition_penalty=repetition,
        presence_penalty=presence,
        frequency_penalty=frequency,
        logit_bias=bias,
        temperature=1,
        seed=0,
    )
    sampler = Recorded(s, prompt)
    for token in answer:
        sampler.counts[token] += 1
        sampler.seen.add(token)
    given_logits = tensor(logits)
    sampler(given_logits)
    want = np.asarray(logits, dtype=np.float64)
    for i in set(prompt) | set(answer):
        want[i] = want[i] / repetition if want[i] > 0 else want[i] * repetition
    for i in set(answer):
        want[i] -= presence + frequency * answer.count(i)
    for i, value in bias.items():
        want[i] += value
    got = sampler.drawn_from.numpy()
    np.testing.assert_allclose(got - got.max(), want - want.max(), atol=1e-4)
    assert given_logits.tolist() == tensor(logits).tolist()  # the caller's logits stay


def test_what_was_chosen_is_penalised_next():
    logits = tensor([3.0, 2.5, 0.0])
    chosen = Sampler(Sampling(frequency_penalty=1.0), prompt=[0, 0, 0])
    assert [chosen(logits).token for _ in range(5)] == [0, 1, 0, 1, 0]
    chosen = Sampler(Sampling(presence_penalty=1.0), prompt=[0])
    assert [chosen(logits).token for _ in range(4)] == [0, 1, 0, 0]  # subtracted once
    chosen = Sampler(Sampling(repetition_penalty=2.0), prompt=[0])
    assert [chosen(logits).token for _ in range(3)] == [1, 0, 0]  # the prompt counts


def test_a_bias_bans_and_forces():
    logits = tensor([1.0, 3.0, 2.0])
    assert Sampler(Sampling(logit_bias={1: -100}), [])(logits).token == 2
    assert Sampler(Sampling(logit_bias={0: 100}, temperature=1, seed=1), [])(logits).token == 0
    banned = Sampler(Sampling(logit_bias={1: -float("inf")}, temperature=5, seed=1), [])
    assert {banned(logits).token for _ in range(200)} == {0, 2}


# ------------------------------------------------------------------------------------- the choice


@given(st.lists(st.sampled_from([0.0, 1.0, 2.0]), min_size=1, max_size=300))
def test_greedy_takes_the_first_of_equals(logits):
    assert Sampler(Sampling(), [])(tensor(logits)).token == logits.index(max(logits))


@given(LOGITS, st.integers(), st.integers(1, 5), st.floats(0.1, 1), st.floats(0, 0.5))
def test_a_draw_comes_from_the_nucleus(logits, seed, k, top_p, min_p):
    s = Sampling(temperature=1, seed=seed, top_k=k, top_p=top_p, min_p=min_p)
    token = Sampler(s, [])(tensor(logits)).token
    shifted = tensor(logits).double() - tensor(logits).max()
    assert token in nucleus(shifted, s)[1].tolist()


@pytest.mark.parametrize("s", [
    Sampling(temperature=1.0, seed=1),
    Sampling(temperature=0.7, seed=2),
    Sampling(temperature=1.3, top_k=5, seed=3),
    Sampling(temperature=1.0, top_p=0.8, min_p=0.05, seed=4),
])  # fmt: skip
def test_draws_follow_the_distribution(s):
    """Pearson's chi-square over 4000 draws, below the 99.9th percentile of its distribution."""
    logits = np.array([2.0, 1.5, 1.0, 1.0, 0.5, 0.0, -0.5, -1.0, -1.5, -2.0])
    kept, _ = truncated(logits / s.temperature, s)
    share = np.array(list(kept.values())) / sum(kept.values())
    sampler, draws = Sampler(s, []), 4000
    tokens = [sampler(tensor(logits)).token for _ in range(draws)]
    assert set(tokens) == set(kept)
    count = np.array([tokens.count(i) for i in kept])
    chi_square = float(((count - draws * share) ** 2 / (draws * share)).sum())
    freedom = len(kept) - 1
    limit = freedom * (1 - 2 / (9 * freedom) + 3.09 * (2 / (9 * freedom)) ** 0.5) ** 3  # Wilson
    assert chi_square < limit


def test_a_seed_repeats_and_each_answer_has_its_own():
    logits = torch.zeros(1000)

    def tokens(seed: int | None, choice: int = 0) -> list[int]:
        sampler = Sampler(Sampling(temperature=1, seed=seed), [], choice)
        return [sampler(logits).token for _ in range(8)]

    assert tokens(5) == tokens(5)
    assert tokens(-5) == tokens(-5)
    assert tokens(2**63 + 5) == tokens(2**63 + 5)
    different = [tokens(5), tokens(6), tokens(5, 1), tokens(5, 2), tokens(-5), tokens(None)]
    assert len({tuple(t) for t in different}) == len(different)
    assert tokens(None) != tokens(None)


def test_a_draw_depends_on_seed_answer_and_position_alone():
    """Whatever was drawn before, and however often a sampler was made anew."""
    s, flat, peaked = Sampling(temperature=1, seed=5), torch.zeros(1000), torch.eye(1000)[7] * 99
    whole = Sampler(s, [1, 2, 3])
    tokens = [whole(flat).token for _ in range(6)]
    for at in range(6):
        other = Sampler(s, [9] * (3 + at))
        assert other(flat).token == tokens[at]
    mixed = Sampler(s, [1, 2, 3])
    assert [mixed(flat if i % 2 else peaked).token for i in range(6)] == [
        token if i % 2 else 7 for i, token in enumerate(tokens)
    ]
    forced = Sampler(s, [1, 2, 3])
    assert forced.take(8, flat).token == 8
    assert forced(flat).token == tokens[1]


def test_uniform_numbers_are_uniform():
    sampler = Sampler(Sampling(seed=1), [])
    found = []
    for position in range(4000):
        sampler.position = position
        found.append(sampler._uniform())
    assert 0 <= min(found) < max(found) < 1
    count, _ = np.histogram(found, bins=20, range=(0, 1))
    assert ((count - 200) ** 2 / 200).sum() < 43.8  # chi-square, 19 degrees of freedom, 99.9 %


# ---------------------------------------------------------------------------------------- the mask


@given(LOGITS, st.data(), st.sampled_from([0.0, 1.0]))
def test_only_what_the_mask_allows_is_chosen(logits, data, temperature):
    allowed = data.draw(st.sets(st.integers(0, len(logits) - 1), min_size=1))
    mask = torch.tensor([i in allowed for i in range(len(logits))])
    s = Sampling(temperature=temperature, seed=1, logprobs=2, logit_bias={0: 50.0})
    choice = Sampler(s, [])(tensor(logits), mask)
    assert choice.token in allowed
    assert choice == with_logprob(choice.token, tensor(logits), 2)  # as if there were no mask
    kept = sorted(allowed)
    same = Sampler(replace(s, logit_bias={0: 50.0} if 0 in allowed else {}), [])
    assert kept[same(tensor(logits)[kept]).token] == choice.token


# --------------------------------------------------------------------------------------- logprobs


@given(LOGITS, st.integers(0, WIDTH + 5), st.integers(0, WIDTH - 1))
def test_logprobs(logits, top, token):
    token %= len(logits)
    choice = with_logprob(token, tensor(logits), top)
    want = np.log(np.maximum(softmax(tensor(logits).numpy()), 1e-300))
    assert choice.logprob == pytest.approx(want[token], abs=1e-4)
    order = np.argsort(-want, kind="stable")[:top]
    assert [i for i, _ in choice.top] == order.tolist()
    np.testing.assert_allclose([value for _, value in choice.top], want[order], atol=1e-4)


def test_logprobs_are_the_unmodified_models():
    """Neither temperature nor penalties, bias or truncation show in them."""
    logits = tensor([2.0, 1.0, 0.0])
    plain = Sampling(logprobs=3, seed=0)
    odd = replace(
        plain, temperature=9.0, top_k=1, logit_bias={2: 50.0}, repetition_penalty=2.0, min_p=0.5
    )
    got = Sampler(odd, [0, 1])(logits)
    assert got.token == 2
    assert got.logprob == pytest.approx(float(logits.log_softmax(0)[2]))
    assert got.top == Sampler(plain, [])(logits).top
    assert Sampler(replace(odd, logprobs=None), [0])(logits).logprob is None
    assert Sampler(replace(odd, logprobs=0), [0])(logits).top == ()


# ------------------------------------------------------------------------------------- bad values


@pytest.mark.parametrize(("name", "value"), [
    ("max_tokens", -1), ("max_tokens", 1.5), ("max_tokens", "ten"), ("temperature", -0.1),
    ("temperature", float("nan")), ("temperature", float("inf")), ("temperature", "hot"),
    ("top_k", -1), ("top_k", 2.5), ("top_p", 1.01), ("top_p", -0.1), ("min_p", 2),
    ("repetition_penalty", 0), ("repetition_penalty", -1), ("presence_penalty", 101),
    ("frequency_penalty", float("nan")), ("logprobs", -1), ("logprobs", 101), ("n", 0),
    ("n", 129), ("seed", "x"), ("seed", 1.5), ("stop", ("",)), ("logit_bias", {0: float("nan")}),
    ("logit_bias", {0: float("inf")}), ("logit_bias", {0: "a"}), ("stop", (3,)),
])  # fmt: skip
def test_a_bad_value_names_its_field(name, value):
    with pytest.raises(RequestError) as caught:
        Sampling(**{name: value})
    assert caught.value.param == name
    assert caught.value.status == 400
    assert all("\n" not in part for part in (str(caught.value.what), caught.value.why))
