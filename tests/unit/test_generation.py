"""Prompts to answers with a tiny network: streaming, lists, echo, ends, and what is refused."""

import codecs
import re
from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import Phase, given, settings
from hypothesis import strategies as st

from midfill.config.constraint import Constraint
from midfill.config.engine import Sampling
from midfill.engine import pace, text
from midfill.engine.lookup import Lookup
from midfill.engine.text import Coder
from midfill.errors import RequestError

PROMPT = "def f(x):\n    return"
SAMPLED = {"temperature": 1.0, "seed": 3, "max_tokens": 40}
with_coder = settings(
    max_examples=12,
    deadline=None,
    phases=[Phase.reuse, Phase.generate],  # shrinking generations takes minutes
)


def pieces(coder: Coder, prompt, **sampling):
    """All pieces of a stream, by the answer they belong to."""
    answers: dict[int, list] = {}
    for piece in coder.stream(prompt, **sampling):
        answers.setdefault(piece.choice, []).append(piece)
    return [answers[i] for i in sorted(answers)]


def same(streamed, finished) -> None:
    assert "".join(streamed) == finished.text
    assert [t.id for piece in streamed for t in piece.tokens] == finished.tokens
    assert [piece.finish_reason for piece in streamed[:-1]] == [None] * (len(streamed) - 1)
    assert streamed[-1].finish_reason == finished.finish_reason
    assert streamed[-1].stop == finished.stop


# -------------------------------------------------------------------------------------- streaming


@pytest.mark.parametrize("sampling", [
    {"max_tokens": 40},
    SAMPLED,
    SAMPLED | {"n": 3},
    SAMPLED | {"n": 2, "echo": True, "logprobs": 2},
    SAMPLED | {"top_p": 0.9, "top_k": 50, "min_p": 0.01, "repetition_penalty": 1.2},
    {"max_tokens": 0},
], ids=str)  # fmt: skip
def test_streamed_equals_finished(tiny_coder, sampling):
    finished = tiny_coder.complete(PROMPT, **sampling)
    finished = finished if isinstance(finished, list) else [finished]
    streamed = pieces(tiny_coder, PROMPT, **sampling)
    assert len(streamed) == len(finished)
    for one, other in zip(streamed, finished, strict=True):
        same(one, other)


@with_coder
@given(seed=st.integers(0, 99), data=st.data())
def test_a_stop_string_cuts_the_same_text(tiny_coder, seed, data):
    """Any piece of an answer taken as the stop string: streamed or not, the text ends before it."""
    whole = tiny_coder.complete(PROMPT, temperature=1.0, seed=seed, max_tokens=24).text
    start = data.draw(st.integers(0, max(len(whole) - 1, 0)))
    stop = whole[start : start + data.draw(st.integers(1, 4))]
    if not stop:
        return
    sampling = {"temperature": 1.0, "seed": seed, "max_tokens": 24, "stop": stop}
    finished = tiny_coder.complete(PROMPT, **sampling)
    assert finished.text == whole[: whole.find(stop)]
    assert (finished.finish_reason, finished.stop) == ("stop", stop)
    (streamed,) = pieces(tiny_coder, PROMPT, **sampling)
    same(streamed, finished)


def test_what_was_held_back_for_a_stop_is_shown_at_the_end(tiny_coder):
    whole = tiny_coder.complete(PROMPT, **SAMPLED).text
    sampling = SAMPLED | {"stop": [whole[-3:] + "never", whole[-1] + "never"]}
    assert tiny_coder.complete(PROMPT, **sampling).text == whole
    assert "".join(tiny_coder.stream(PROMPT, **sampling)) == whole


def test_fill_and_chat_stream_what_they_answer(tiny_coder):
    messages = [{"role": "user", "content": "hello"}]
    filled = tiny_coder.fill("a = ", "\n", **SAMPLED)
    same(pieces(tiny_coder, "a = ", suffix="\n", **SAMPLED)[0], filled)
    same(pieces(tiny_coder, messages, **SAMPLED)[0], tiny_coder.chat(messages, **SAMPLED))
    assert filled.tokens != tiny_coder.complete("a = ", **SAMPLED).tokens


def test_only_whole_characters_are_shown(tiny_coder):
    """Bytes of é, € and a letter at random: what is shown is what Python's own decoder gives out."""
    ids = tiny_coder.tokenizer.encode("é€a")
    sampling = {"temperature": 1.0, "logit_bias": dict.fromkeys(ids, 90.0)}
    seen, sizes = "", set()
    for seed, length in enumerate([100, 20, 21, 22, 23, 24, 25]):  # some end inside a character
        (streamed,) = pieces(tiny_coder, PROMPT, seed=seed, max_tokens=length, **sampling)
        decoder, expected, shown = codecs.getincrementaldecoder("utf-8")("replace"), "", ""
        for piece in streamed:
            shown += piece
            expected += decoder.decode(b"".join(t.bytes for t in piece.tokens))
            if piece.finish_reason:
                expected += decoder.decode(b"", final=True)
            assert shown == expected
        seen += shown
        sizes |= {len(piece.tokens) for piece in streamed}
    assert {"é", "a"} <= set(seen)
    assert len(sizes) > 1  # some pieces took several tokens


def test_nothing_follows_the_last_piece(tiny_coder):
    """Neither an empty piece nor another step: also when a stop string ended the answer."""
    stop = tiny_coder.complete(PROMPT, **SAMPLED).text[4:6]
    for sampling in (SAMPLED, SAMPLED | {"stop": stop}, SAMPLED | {"stop": stop, "n": 2}):
        wanted = text.make_sampling(sampling)
        last = list(tiny_coder.generate(tiny_coder.encode_prompt(PROMPT), wanted))[-1]
        assert last.finish_reason is not None


@pytest.mark.parametrize("public", [False, True])
def test_closing_a_stream_frees_its_pages(tiny_coder, public):
    def held() -> tuple[int, int]:
        counters = tiny_coder.scheduler.counters
        return counters.running + counters.waiting, counters.pages_used - counters.pages_cached

    if public:
        stream = tiny_coder.stream(PROMPT, max_tokens=1000)
    else:
        stream = tiny_coder.generate(tiny_coder.encode_prompt(PROMPT), Sampling(max_tokens=1000))
    assert held() == (0, 0)  # nothing begins before somebody reads
    next(stream)
    assert held() == (1, 1)
    steps = tiny_coder.scheduler.counters.steps
    stream.close()
    assert held() == (0, 0)
    assert tiny_coder.scheduler.counters.steps == steps


# ---------------------------------------------------------------------------------- n and batches


@with_coder
@given(
    prompts=st.lists(st.text("abc \n", max_size=40), min_size=1, max_size=4),
    n=st.integers(1, 3),
    temperature=st.sampled_from([0.0, 1.0]),
)
def test_an_answer_does_not_depend_on_the_others(tiny_coder, prompts, n, temperature):
    sampling = {"temperature": temperature, "seed": 11, "max_tokens": 12, "n": n}
    together = tiny_coder.complete(prompts, **sampling)
    assert len(together) == len(prompts) * n
    for i, prompt in enumerate(prompts):
        alone = tiny_coder.complete(prompt, **sampling)
        alone = alone if n > 1 else [alone]
        assert [a.tokens for a in alone] == [a.tokens for a in together[i * n : (i + 1) * n]]
        assert [a.text for a in alone] == [a.text for a in together[i * n : (i + 1) * n]]


def test_answers_that_end_early_leave_the_others_as_they_are(tiny_coder):
    """Three answers of a seed, each to end at its own stop: the rest goes on as if alone."""
    free = tiny_coder.complete(PROMPT, **SAMPLED | {"n": 3, "ignore_eos": True})
    stop = free[1].text[5:7]
    cut = tiny_coder.complete(PROMPT, **SAMPLED | {"n": 3, "ignore_eos": True, "stop": stop})
    for whole, ended in zip(free, cut, strict=True):
        assert ended.text == whole.text.partition(stop)[0]
    assert cut[1].finish_reason == "stop"
    assert len({tuple(a.tokens) for a in free}) == 3


def test_a_list_of_one_answers_with_a_list(tiny_coder):
    one = tiny_coder.complete(PROMPT, max_tokens=5)
    assert tiny_coder.complete([PROMPT], max_tokens=5) == [one]
    ids = tiny_coder.tokenizer.encode(PROMPT, bos=True)
    assert tiny_coder.complete(ids, max_tokens=5) == one


# ------------------------------------------------------------------------------------------- ends


def test_max_tokens_zero_and_one(tiny_coder):
    none = tiny_coder.complete(PROMPT, max_tokens=0)
    assert (none.text, none.tokens, none.finish_reason) == ("", [], "length")
    assert none.usage.completion_tokens == 0
    one = tiny_coder.complete(PROMPT, max_tokens=1)
    assert len(one.tokens) == one.usage.completion_tokens == 1
    ids = tiny_coder.tokenizer.encode(PROMPT, bos=True)
    assert one.tokens == [int(tiny_coder.logits(ids)[-1].argmax())]
    assert one.usage.prompt_tokens == len(ids)


def test_greedy_is_the_argmax_of_the_logits(tiny_coder):
    ids = tiny_coder.tokenizer.encode(PROMPT, bos=True)
    answer = tiny_coder.complete(PROMPT, max_tokens=16).tokens
    best = tiny_coder.logits(ids + answer).argmax(-1)
    assert best[len(ids) - 1 : -1].tolist() == answer


def test_a_stop_id_ends_the_answer(tiny_coder):
    for stop_id in tiny_coder.stop_ids:
        sampling = {"max_tokens": 9, "logit_bias": {stop_id: 100.0}}
        ended = tiny_coder.complete(PROMPT, **sampling)
        assert (ended.text, ended.tokens, ended.finish_reason) == ("", [stop_id], "stop")
        assert ended.stop is None
        on = tiny_coder.complete(PROMPT, **sampling, ignore_eos=True)
        assert (on.tokens, on.finish_reason) == ([stop_id] * 9, "length")


def test_the_text_of_a_stop_id_is_not_shown(tiny_coder):
    """Also when it is an ordinary token, as in some models' configurations."""
    (letter,) = tiny_coder.tokenizer.encode("a")
    coder = Coder("a", tiny_coder.network, tiny_coder.tokenizer)
    coder.stop_ids = frozenset({letter})
    ended = coder.complete(PROMPT, max_tokens=9, logit_bias={letter: 100.0})
    assert (ended.text, ended.tokens, ended.finish_reason) == ("", [letter], "stop")


def test_generation_ends_with_the_context(tiny_coder):
    small = Coder("small", tiny_coder.network, tiny_coder.tokenizer, context=40)
    ids = [5] * 30
    free = small.chat([{"role": "user", "content": "hi"}], temperature=1, seed=1, ignore_eos=True)
    assert free.usage.total_tokens == 40
    assert free.finish_reason == "length"
    assert len(small.complete(ids, max_tokens=10, ignore_eos=True).tokens) == 10
    with pytest.raises(RequestError, match="do not fit a context of 40") as caught:
        small.complete(ids, max_tokens=11)
    assert (caught.value.code, caught.value.param) == ("context_length_exceeded", "max_tokens")
    assert caught.value.fix == "ask for at most 10 tokens"
    for length, shorten in ((40, 1), (45, 6)):
        for sampling in ({"max_tokens": 1}, {"max_tokens": None}):
            with pytest.raises(RequestError) as caught:
                small.complete([5] * length, **sampling)
            assert (caught.value.code, caught.value.param) == ("context_length_exceeded", "prompt")
            assert caught.value.fix == f"shorten the prompt by {shorten} tokens"
    assert small.complete([5] * 40, max_tokens=0).text == ""
    assert len(small.logits([5] * 40)) == 40
    with pytest.raises(RequestError) as caught:
        small.logits([5] * 41)
    assert caught.value.code == "context_length_exceeded"


# ---------------------------------------------------------------------------------- shared engine


def test_a_prompt_that_was_read_before_is_not_read_again(tiny_coder):
    coder = Coder("fresh", tiny_coder.network, tiny_coder.tokenizer)
    prompt = PROMPT * 20
    length = len(coder.encode_prompt(prompt).ids)
    first, again = (coder.complete(prompt, max_tokens=8) for _ in range(2))
    assert again == first
    assert first.usage.cached_tokens == 0
    assert again.usage.cached_tokens == (length - 1) // 64 * 64
    scored = coder.complete(prompt, max_tokens=8, echo=True, logprobs=0)
    assert scored.usage.cached_tokens == 0
    assert scored.text == prompt + first.text


def test_streams_that_are_read_in_turn_advance_together(tiny_coder):
    coder = Coder("fresh", tiny_coder.network, tiny_coder.tokenizer)
    streams = [coder.stream(PROMPT + str(n), **SAMPLED) for n in range(3)]
    found = [""] * 3
    for number in range(200):
        found[number % 3] += next(streams[number % 3], "")
    assert found == [tiny_coder.complete(PROMPT + str(n), **SAMPLED).text for n in range(3)]
    assert coder.scheduler.counters.steps < 2 * SAMPLED["max_tokens"]


def test_fills_go_first(tiny_coder):
    assert tiny_coder.encode_fill("a", "b").priority > tiny_coder.encode_prompt("a").priority
    coder = Coder("fresh", tiny_coder.network, tiny_coder.tokenizer, max_running=1)
    chat = coder.stream(PROMPT, **SAMPLED)
    before = next(chat)
    filled = coder.fill("a = ", "\n", max_tokens=5)
    assert coder.scheduler.counters.preempted == 1
    assert filled == tiny_coder.fill("a = ", "\n", max_tokens=5)
    assert before + "".join(chat) == tiny_coder.complete(PROMPT, **SAMPLED).text


def test_a_full_context_is_shifted_when_that_is_asked_for(tiny_coder):
    small = Coder("small", tiny_coder.network, tiny_coder.tokenizer, context=200)
    prompt, wanted = small.encode_prompt(PROMPT), Sampling(max_tokens=500, ignore_eos=True)
    with pytest.raises(RequestError, match="do not fit"):
        small.generate(prompt, wanted)
    shifted = list(small.generate(prompt, replace(wanted, overflow="shift")))
    assert sum(len(piece.tokens) for piece in shifted) == 500
    assert small.scheduler.counters.shifted > 2
    free = small.complete(PROMPT, max_tokens=150, ignore_eos=True)
    assert [t.id for piece in shifted for t in piece.tokens][:150] == free.tokens


@pytest.mark.parametrize("temperature", [0.0, 1.0])
def test_a_grammar_and_a_draft(tiny_coder, temperature):
    constraint = Constraint(kind="regex", text="(red|green) = [0-9]{3};")
    sampling = Sampling(
        max_tokens=60, temperature=temperature, seed=1, logprobs=0, constraint=constraint
    )
    answers = []
    for draft in (None, Lookup):
        found = tiny_coder.generate(
            tiny_coder.encode_prompt("red = 123; red = 123; "),
            sampling,
            draft=draft,
        )
        whole = list(found)
        answers.append("".join(whole))
        assert whole[-1].finish_reason == "stop"
        assert all(t.logprob is not None for piece in whole for t in piece.tokens)
    assert re.fullmatch("(red|green) = [0-9]{3};", answers[0])
    assert answers[0] == answers[1]


# ------------------------------------------------------------------------------- echo and logprobs


def test_echo(tiny_coder):
    plain = tiny_coder.complete(PROMPT, max_tokens=6)
    echoed = tiny_coder.complete(PROMPT, max_tokens=6, echo=True)
    ids = tiny_coder.tokenizer.encode(PROMPT, bos=True)
    assert echoed.text == PROMPT + plain.text
    assert echoed.tokens == ids + plain.tokens
    assert echoed.usage == plain.usage
    assert echoed.logprobs is None
    only = tiny_coder.complete(PROMPT, max_tokens=0, echo=True)
    assert (only.text, only.tokens, only.usage.completion_tokens) == (PROMPT, ids, 0)


@pytest.mark.parametrize("chunk", [512, 7])
def test_echoed_logprobs_are_the_logits(tiny_coder, monkeypatch, chunk):
    monkeypatch.setattr(pace, "PREFILL", chunk)
    answers = tiny_coder.complete(PROMPT, max_tokens=5, echo=True, logprobs=3, n=2)
    ids = tiny_coder.tokenizer.encode(PROMPT, bos=True)
    for answer in answers:
        assert answer.logprobs is not None
        first, *rest = answer.logprobs
        assert [t.id for t in answer.logprobs] == answer.tokens
        assert answer.tokens[: len(ids)] == ids
        assert (first.logprob, first.top) == (None, ())
        logits = tiny_coder.logits(answer.tokens).astype(np.float64)
        logprobs = logits - np.log(np.exp(logits).sum(-1, keepdims=True))
        for before, token in zip(logprobs, rest, strict=False):
            assert token.logprob == pytest.approx(before[token.id], abs=1e-4)
            assert [t.id for t in token.top] == np.argsort(-before)[:3].tolist()
            np.testing.assert_allclose(
                [t.logprob for t in token.top], np.sort(before)[::-1][:3], atol=1e-4
            )
            assert token.bytes == tiny_coder.tokenizer.token_bytes(token.id)


def test_logprobs_do_not_change_the_answer(tiny_coder):
    plain = tiny_coder.complete(PROMPT, **SAMPLED)
    told = tiny_coder.complete(PROMPT, **SAMPLED, logprobs=0)
    assert told.tokens == plain.tokens
    assert told.logprobs is not None
    assert all(t.top == () and t.logprob is not None for t in told.logprobs)


# ----------------------------------------------------------------------------------------- prompts


def test_logits_are_one_forward(tiny_coder):
    ids = torch.randint(0, 512, (700,), generator=torch.Generator().manual_seed(0)).tolist()
    got = tiny_coder.logits(ids)
    with torch.no_grad():
        want = tiny_coder.network(torch.tensor([ids]))[0].numpy()
    assert (got.dtype, got.shape) == (np.float32, (700, 512))
    np.testing.assert_allclose(got, want, atol=1e-4)


def test_a_long_prompt_in_any_chunks(tiny_coder, monkeypatch):
    ids = torch.randint(0, 256, (1200,), generator=torch.Generator().manual_seed(1)).tolist()
    whole = tiny_coder.complete(ids, max_tokens=8, logprobs=0)
    logits = tiny_coder.logits(ids)
    assert len(ids) > 2 * pace.PREFILL
    for chunk in (64, 499, 1200):
        monkeypatch.setattr(pace, "PREFILL", chunk)
        tiny_coder.scheduler.tables.tree.clear()
        again = tiny_coder.complete(ids, max_tokens=8, logprobs=0)
        assert again.tokens == whole.tokens
        for a, b in zip(again.logprobs, whole.logprobs, strict=True):
            assert a.logprob == pytest.approx(b.logprob, abs=1e-4)
        np.testing.assert_allclose(tiny_coder.logits(ids), logits, atol=1e-4)


def test_an_empty_text_begins_with_bos(tiny_coder):
    answer = tiny_coder.complete("", max_tokens=3)
    assert answer.usage.prompt_tokens == 1
    assert answer.tokens == tiny_coder.complete([tiny_coder.tokenizer.bos_id], max_tokens=3).tokens


@pytest.mark.parametrize("ids", [[512], [-1], [3, 10**9], [1, "a"], [1.5], [None]], ids=str)
def test_an_id_outside_the_vocabulary(tiny_coder, ids):
    text = "is not in the vocabulary" if isinstance(ids[-1], int) else "no list of token ids"
    with pytest.raises(RequestError, match=text) as caught:
        tiny_coder.logits(ids)
    assert caught.value.param == "prompt"
    with pytest.raises(RequestError):
        tiny_coder.encode_prompt(ids)


def test_no_ids_at_all(tiny_coder):
    for call in (tiny_coder.complete, tiny_coder.stream, tiny_coder.logits):
        with pytest.raises(RequestError, match="the prompt is empty"):
            call([])


def test_a_bias_outside_the_vocabulary(tiny_coder):
    with pytest.raises(RequestError) as caught:
        tiny_coder.complete(PROMPT, logit_bias={512: 1.0})
    assert caught.value.param == "logit_bias"


def test_an_unknown_option_names_the_nearest(tiny_coder):
    for call in (tiny_coder.complete, tiny_coder.stream):
        with pytest.raises(RequestError, match="'temprature' is not") as caught:
            call(PROMPT, temprature=1)
        assert caught.value.fix == "use temperature"
    with pytest.raises(RequestError) as caught:
        tiny_coder.fill("a", "b", frobnicate=1)
    assert caught.value.fix == "leave it out"


@pytest.mark.parametrize("bad", [
    {"max_tokens": -1}, {"n": 0}, {"temperature": "hot"}, {"stop": [""]}, {"top_p": 2},
], ids=str)  # fmt: skip
def test_a_bad_value_is_refused_before_any_work(tiny_coder, bad):
    for call in (tiny_coder.complete, tiny_coder.stream, tiny_coder.fill):
        with pytest.raises(RequestError) as caught:
            call(PROMPT, **bad)
        assert caught.value.param == next(iter(bad))
