"""Fills at every key stroke: answers that are taken over, and what is read behind the cursor."""

import threading
from itertools import islice

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

import midfill
from midfill.config.engine import Sampling
from midfill.engine import keystrokes
from midfill.engine.keystrokes import LEAST_SUFFIX, UNMEASURED, cut_suffix, suffix_limit
from midfill.engine.pace import Pace
from midfill.engine.results import Piece
from midfill.engine.runner import PAGE
from midfill.engine.text import Coder
from midfill.engine.torch_runner import TorchRunner
from midfill.errors import RequestError

PREFIX, SUFFIX = "def f(x):\n    return", "\n\nprint(f(1))\n"
WRITTEN = "inre (x\n"  # what the drawn answers consist of; `in` and `re` are one token each


@pytest.fixture
def coder(tiny_folder) -> Coder:
    """A model of its own: nothing is known of any document."""
    return midfill.load(tiny_folder, dtype="float32", device="cpu")


@pytest.fixture
def drawn(tiny_coder) -> dict:
    """Sampling of an answer of visible characters."""
    bias = dict.fromkeys(tiny_coder.tokenizer.encode(WRITTEN + "i n r e"), 100.0)
    return {"temperature": 1.0, "seed": 5, "max_tokens": 40, "logit_bias": bias}


# ----------------------------------------------------------------------------------- taking over


@settings(
    max_examples=12,
    deadline=None,
    phases=[Phase.reuse, Phase.generate],
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(
    seed=st.integers(0, 99),
    cuts=st.lists(st.integers(0, 30), min_size=1, max_size=3),
    most=st.integers(0, 40),
    streamed=st.booleans(),
    stop=st.sampled_from([(), ("e",), ("nr", "ein"), ("\n\n", "xx")]),
    visible=st.booleans(),
)
def test_what_is_taken_over_is_the_old_answer_less_what_was_typed(
    tiny_coder, drawn, seed, cuts, most, streamed, stop, visible
):
    """The law, over several key strokes and deletions, wherever the cursor stands in a token."""
    sampling = drawn | {"seed": seed, "stop": stop} | ({} if visible else {"logit_bias": {}})
    whole = tiny_coder.fill(PREFIX, SUFFIX, **sampling | {"max_tokens": 60}).text
    sampling |= {"document": object(), "max_tokens": 20}
    first = tiny_coder.fill(PREFIX, SUFFIX, **sampling)
    cuttable = whole[: sure(first)]
    sampling["max_tokens"] = most
    for cut in cuts:
        typed = cuttable[:cut]
        if streamed:
            pieces = list(tiny_coder.stream(PREFIX + typed, SUFFIX, **sampling))
            text, last = "".join(pieces), pieces[-1]
            count = sum(len(piece.tokens) for piece in pieces)
            reason, adopted = last.finish_reason, last.adopted_tokens
        else:
            answer = tiny_coder.fill(PREFIX + typed, SUFFIX, **sampling)
            text, count, reason = answer.text, len(answer.tokens), answer.finish_reason
            adopted = answer.usage.adopted_tokens
        assert adopted <= count <= most
        assert adopted or not (visible and most and len(typed) < sure(first))
        if reason == "stop":
            assert typed + text == whole
        else:
            assert count == most
            shown = typed + text.rstrip("\ufffd")
            assert whole.startswith(shown)


def sure(first) -> int:
    """How many characters are the answer's whatever follows: not what might become something else."""
    if first.finish_reason == "stop":
        return len(first.text)
    return max(len(first.text.rstrip("\ufffd")) - 2, 0)


def test_the_first_piece_needs_no_step(coder, drawn):
    old = coder.stream(PREFIX, SUFFIX, document="a", **drawn)
    shown = "".join(islice(old, 20))
    before = coder.scheduler.counters
    new = coder.stream(PREFIX + shown[:3], SUFFIX, document="a", **drawn)
    piece = next(new)
    assert coder.scheduler.counters == before
    assert piece == shown[3:]
    next(new)
    assert coder.scheduler.counters.read == before.read + 1, "the prompt was read again"
    assert [p.finish_reason for p in old] == ["superseded"]


def test_a_stream_that_was_closed_goes_on_without_reading_again(coder, drawn):
    whole = coder.fill(PREFIX, SUFFIX, **drawn).text
    old = coder.stream(PREFIX, SUFFIX, document="a", **drawn)
    shown = "".join(islice(old, 5))
    old.close()
    before = coder.scheduler.counters
    answer = coder.fill(PREFIX + shown, SUFFIX, document="a", **drawn)
    after = coder.scheduler.counters
    assert (shown + answer.text).startswith(whole)
    assert after.read - before.read == after.written - before.written
    assert answer.usage.cached_tokens == answer.usage.prompt_tokens
    assert after.preempted == 0


def test_the_cursor_inside_a_token(coder):
    """`in` and `re` are tokens of two letters: typing one letter leaves the other."""
    tokenizer = coder.tokenizer
    bias = {tokenizer.encode("in")[0]: 1000.0}
    given = {"logit_bias": bias, "document": "a"}
    first = coder.fill(PREFIX, SUFFIX, max_tokens=4, **given)
    assert first.text == "inininin"
    second = coder.fill(PREFIX + "ini", SUFFIX, max_tokens=4, **given)
    assert second.text == "n" + "in" * 3
    assert [tokenizer.token_text(t) for t in second.tokens] == ["in"] * 4
    assert second.finish_reason == "length"
    assert second.usage.adopted_tokens == 3
    assert coder.fill(PREFIX + "in", SUFFIX, max_tokens=1, **given).text == "in"
    assert coder.fill(PREFIX + "in", SUFFIX, max_tokens=0, **given).text == ""
    assert coder.fill(PREFIX + "i", SUFFIX, max_tokens=1, **given).text == "n"


def test_max_tokens_none_goes_on_to_the_end_of_the_context(tiny_folder):
    coder = midfill.load(tiny_folder, dtype="float32", device="cpu", context=192)
    coder.fill(PREFIX, SUFFIX, document="a", ignore_eos=True, max_tokens=5)
    answer = coder.fill(PREFIX, SUFFIX, document="a", ignore_eos=True, max_tokens=None)
    prompt = len(coder.encode_fill(PREFIX, SUFFIX).ids)
    assert answer.usage.adopted_tokens == 5
    assert answer.finish_reason == "length"
    assert len(answer.tokens) in (128, coder.context - prompt)  # the default length of a fill


@pytest.mark.parametrize("change", ["other text", "deleted", "suffix", "sampling", "document"])
def test_what_is_not_taken_over_is_as_fresh(coder, change, drawn):
    first = coder.fill(PREFIX, SUFFIX, document="a", **drawn)
    typed = "~" if first.text[0] != "~" else "^"
    prefix, suffix, sampling, document = {
        "other text": (PREFIX + typed, SUFFIX, drawn, "a"),
        "deleted": (PREFIX[:-1], SUFFIX, drawn, "a"),
        "suffix": (PREFIX + first.text[:2], SUFFIX + "\n", drawn, "a"),
        "sampling": (PREFIX + first.text[:2], SUFFIX, drawn | {"seed": 6}, "a"),
        "document": (PREFIX + first.text[:2], SUFFIX, drawn, "b"),
    }[change]
    answer = coder.fill(prefix, suffix, document=document, **sampling)
    assert answer == coder.fill(prefix, suffix, **sampling)
    assert answer.usage.adopted_tokens == 0


def test_typing_beyond_what_was_written_is_a_new_fill(coder, drawn):
    whole = coder.fill(PREFIX, SUFFIX, **drawn).text
    old = coder.stream(PREFIX, SUFFIX, document="a", **drawn)
    shown = next(old)
    prefix = PREFIX + whole[: len(shown) + 2]
    answer = coder.fill(prefix, SUFFIX, document="a", **drawn)
    assert answer == coder.fill(prefix, SUFFIX, **drawn)


def test_a_deletion_back_to_the_old_cursor_is_taken_over(coder, drawn):
    first = coder.fill(PREFIX, SUFFIX, document="a", **drawn)
    for typed in (first.text[:3], first.text[:1], "", first.text):
        answer = coder.fill(PREFIX + typed, SUFFIX, document="a", **drawn)
        assert (typed + answer.text).startswith(first.text)
        assert answer.usage.adopted_tokens + len(typed) > 0


def test_no_seed_and_nothing_typed_is_drawn_again(coder, drawn):
    given = {"temperature": 1.0, "max_tokens": 30, "document": "a"}
    assert coder.fill(PREFIX, SUFFIX, **given).text != coder.fill(PREFIX, SUFFIX, **given).text


def test_what_was_not_begun_is_not_kept(coder, drawn):
    """Closed while its prompt was still read: nothing is there to take over, no page is held."""
    prefix = "x = 1\n" * 200
    prompt, sampling = coder.encode_fill(prefix, SUFFIX), Sampling(**drawn)
    pieces = coder.generate(prompt, sampling, document="a")
    assert next(pieces) == ""
    pieces.close()
    assert coder.scheduler.planner.answers == []
    answer = coder.fill(prefix, SUFFIX, document="a", **drawn)
    assert answer.usage.adopted_tokens == 0
    assert answer == coder.fill(prefix, SUFFIX, **drawn)


def test_nothing_wanted_still_reads_the_prompt(coder, drawn):
    """As without a document: whoever opens a file can have it read before anything is typed."""
    empty = coder.fill(PREFIX, SUFFIX, document="a", max_tokens=0)
    assert (empty.text, empty.tokens, empty.finish_reason) == ("", [], "length")
    read = coder.scheduler.counters.read
    assert read == empty.usage.prompt_tokens
    assert coder.fill(PREFIX, SUFFIX, document="a", max_tokens=3).usage.completion_tokens == 3


def test_documents_do_not_disturb_each_other(coder, drawn):
    prefixes = {name: f"# {name}\n" for name in "abc"}
    wholes = {name: coder.fill(p, SUFFIX, **drawn).text for name, p in prefixes.items()}
    streams = {n: coder.stream(p, SUFFIX, document=n, **drawn) for n, p in prefixes.items()}
    shown = {name: "".join(islice(stream, 6)) for name, stream in streams.items()}
    for name, prefix in prefixes.items():
        typed = shown[name][:2]
        answer = coder.fill(prefix + typed, SUFFIX, document=name, **drawn)
        assert (typed + answer.text).startswith(wholes[name])


def test_old_documents_are_forgotten_and_hold_no_pages(coder, monkeypatch, drawn):
    monkeypatch.setattr(keystrokes, "KEPT", 2)
    registry = keystrokes.Keystrokes(coder.tokenizer, kept=2)
    coder._keystrokes = registry
    for number in range(6):
        stream = coder.stream(f"# {number}\n", SUFFIX, document=number, **drawn)
        next(stream)
        stream.close()
    assert len(registry._runs) == 2
    assert len(coder.scheduler.planner.answers) == 2
    coder.fill("# 5\n", "another", document=5, **drawn)
    coder.fill("# 4\n", "another", document=4, **drawn)
    assert coder.scheduler.planner.answers == []
    coder.scheduler.tables.tree.clear()
    assert coder.scheduler.tables.pool.used == 0


@pytest.mark.parametrize("along", [True, False], ids=["typed along", "typed otherwise"])
def test_a_reader_in_another_thread_ends_superseded(coder, drawn, along):
    """Whichever thread did the steps, no token of the old answer is lost or told twice."""
    pieces: list[Piece] = []
    begun = threading.Event()
    given = drawn | {"max_tokens": None, "document": "a"}

    def read() -> None:
        for piece in coder.stream(PREFIX, SUFFIX, **given):
            pieces.append(piece)
            if len(pieces) == 10:
                begun.set()

    thread = threading.Thread(target=read)
    thread.start()
    assert begun.wait(20)
    typed = "".join(pieces[:5]) if along else "~"
    answer = coder.fill(PREFIX + typed, SUFFIX, **given | {"max_tokens": 60})
    thread.join(20)
    assert not thread.is_alive()
    assert pieces[-1].finish_reason == "superseded"
    assert (answer.usage.adopted_tokens > 0) == along
    if along:
        whole = coder.fill(PREFIX, SUFFIX, **drawn | {"max_tokens": 70}).text
        assert (typed + answer.text).startswith(whole[: len(typed + answer.text)])
        assert len(answer.tokens) == 60


def test_pages_that_were_given_up_meanwhile_are_read_again(tiny_coder, drawn):
    """A proposal that nobody reads keeps its pages only until somebody else needs them."""
    runner = TorchRunner(tiny_coder.network, pages=4)
    coder = Coder("small", runner, tiny_coder.tokenizer, context=256)
    whole = coder.fill(PREFIX, SUFFIX, **drawn).text
    stream = coder.stream(PREFIX, SUFFIX, document="a", **drawn)
    shown = "".join(islice(stream, 5))
    stream.close()
    coder.complete("x" * 240, max_tokens=2)
    assert coder.scheduler.counters.preempted
    answer = coder.fill(PREFIX + shown[:1], SUFFIX, document="a", **drawn)
    assert (shown[:1] + answer.text).startswith(whole)
    assert answer.usage.adopted_tokens > 0


@pytest.mark.parametrize("wrong", [{"n": 2}, {"echo": True}])
def test_a_document_has_one_answer(coder, wrong):
    with pytest.raises(RequestError) as error:
        coder.fill(PREFIX, SUFFIX, document="a", **wrong)
    assert error.value.param == "document"
    with pytest.raises(RequestError, match="one fill"):
        coder.stream(PREFIX, document="a")


# ------------------------------------------------------------------------------------- the suffix

LINES = "first = 1\nsecond = 2\n\nthird = 3\n"


@pytest.mark.parametrize(("most", "kept"), [
    (None, LINES),
    (1000, LINES),
    (0, ""),
    (4, "firs"),
    (10, "first = 1\n"),
    (15, "first = 1\n"),
])  # fmt: skip
def test_a_suffix_is_cut_at_line_ends(tiny_coder, most, kept):
    """Every character is a token, but for `in` and `re`."""
    assert cut_suffix(tiny_coder.tokenizer, LINES, most) == kept


@given(text=st.text(alphabet="inre \n(x", max_size=80), most=st.integers(0, 90))
def test_what_is_kept_is_the_beginning_and_fits(tiny_coder, text, most):
    tokenizer = tiny_coder.tokenizer
    kept = cut_suffix(tokenizer, text, most)
    assert text.startswith(kept)
    assert len(tokenizer.encode(kept)) <= most
    if kept != text:
        assert len(tokenizer.encode(text)) > most
        ends = kept.endswith("\n") or not kept
        assert ends or "\n" not in kept.strip()


def test_a_long_line_behind_a_line_end_is_cut(tiny_coder):
    assert cut_suffix(tiny_coder.tokenizer, "\n" + "x" * 100, 20) == "\n" + "x" * 19


def test_a_measured_limit():
    pace = Pace()
    assert suffix_limit(None, pace) is None
    assert suffix_limit(7, pace) == 7
    assert suffix_limit("auto", pace) == UNMEASURED
    pace.note(0.5, prompt_tokens=100)
    assert suffix_limit("auto", pace) == 80
    for _ in range(100):
        pace.note(5.0, prompt_tokens=10)
    assert suffix_limit("auto", pace) == LEAST_SUFFIX


def test_the_answer_tells_what_was_read(tiny_coder):
    whole = tiny_coder.fill(PREFIX, LINES, max_tokens=3)
    cut = tiny_coder.fill(PREFIX, LINES, max_tokens=3, suffix_tokens=10)
    assert whole.suffix_kept is None
    assert cut.suffix_kept == len(tiny_coder.tokenizer.encode("first = 1\n"))
    plain = tiny_coder.fill(PREFIX, "first = 1\n", max_tokens=3)
    assert (cut.text, cut.usage) == (plain.text, plain.usage)
    assert tiny_coder.fill(PREFIX, LINES, max_tokens=3, suffix_tokens="auto") == whole
    for wrong in (-1, 1.5, "all", True):
        with pytest.raises(RequestError) as error:
            tiny_coder.fill(PREFIX, LINES, suffix_tokens=wrong)
        assert error.value.param == "suffix_tokens"
    with pytest.raises(RequestError, match="without a suffix"):
        tiny_coder.stream(PREFIX, suffix_tokens=10)


# ------------------------------------------------------------------------------------ what is read


def test_after_an_edit_only_what_follows_the_last_common_page_is_read(coder):
    """The last word of the prefix becomes other tokens as it grows: the page it is in is read again."""
    prefix = "".join(f"value_{i} = {i} * x\n" for i in range(30)) + "def middle(i"
    old, new = (coder.encode_fill(p, SUFFIX).ids for p in (prefix, prefix + "nre\n    pass\n"))
    common = next(i for i, (a, b) in enumerate(zip(old, new, strict=False)) if a != b)
    assert common < len(coder.tokenizer.encode(prefix)) + 2, "`i` and `in` begin alike"
    coder.fill(prefix, SUFFIX, max_tokens=1)
    before = coder.scheduler.counters
    answer = coder.fill(prefix + "nre\n    pass\n", SUFFIX, max_tokens=1)
    after = coder.scheduler.counters
    shared = common // PAGE * PAGE
    assert after.reused - before.reused == shared == answer.usage.cached_tokens
    assert after.read - before.read == len(new) - shared
