"""Bits per byte: against transformers and scipy, and the laws of windows and samples."""

import json
import math
import re
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats
from typer.testing import CliRunner

from midfill.cli import app
from midfill.errors import ConfigError
from midfill.evaluate.bits import Bits, Text, measure, read_bits, sample, windows
from midfill.evaluate.bits_report import as_page, as_text, curves, write_bits
from midfill.evaluate.bits_scorer import CoderScorer
from midfill.evaluate.statistics import bootstrap_ratio
from token_shards import byte_tokenizer, document, write_token_shards

TEXTS = [
    Text(text="def f(x):\n    return x + 1\n" * 6, language="Python"),
    Text(text="func g(é int) int {\n\treturn é\n}\n" * 3, language="Go"),
    Text(text="y", language="Go"),
]


@pytest.fixture(scope="module")
def scorer(tiny_coder) -> CoderScorer:
    return CoderScorer(tiny_coder, "tiny")


@pytest.fixture(scope="module")
def found(scorer: CoderScorer) -> Bits:
    return measure(scorer, TEXTS, window=48, stride=20)


@pytest.fixture(scope="module")
def direct(tiny_folder: Path):
    """Transformers' own network: the logarithm of each token's probability but the first's."""
    import torch
    from transformers import AutoModelForCausalLM

    network = AutoModelForCausalLM.from_pretrained(tiny_folder, dtype=torch.float32).eval()

    def log_probabilities(ids: list[int]) -> np.ndarray:
        with torch.inference_mode():
            logits = network(torch.tensor([ids])).logits[0].log_softmax(-1)
        return logits[:-1].gather(1, torch.tensor(ids[1:])[:, None])[:, 0].double().numpy()

    return log_probabilities


def test_bits_are_transformers(scorer: CoderScorer, tiny_coder, found: Bits, direct):
    tokenizer = tiny_coder.tokenizer
    bits, size, by_seen = 0.0, 0, {}
    for one in TEXTS:
        ids = [tokenizer.bos_id, *tokenizer.encode(one.text)]
        done = 1
        for begin in range(0, len(ids), 20):  # a window of 48 every 20, scored where it is new
            end = min(begin + 48, len(ids))
            scores = direct(ids[begin:end])
            for at in range(done, end):
                lost = -scores[at - begin - 1] / math.log(2)
                bits += lost
                if len(ids) >= 48 and begin == 0:
                    by_seen.setdefault(at - begin, []).append(lost)
            done = max(done, end)
        size += len(one.text.encode())
    assert found.all.bytes == size
    assert found.all.bits_per_byte == pytest.approx(bits / size, rel=1e-5)
    assert found.filling == 2
    for bucket in found.positions:
        inside = [by_seen[at] for at in range(bucket.first, bucket.end) if at in by_seen]
        flat = [one for losses in inside for one in losses]
        assert bucket.tokens == len(flat)
        assert bucket.bits == pytest.approx(sum(flat), rel=1e-5)


def test_a_document_within_the_window_is_scored_in_one_piece(scorer: CoderScorer, direct):
    ids, widths = scorer.encode(TEXTS[1].text)
    assert int(widths.sum()) == len(TEXTS[1].text.encode())
    whole = [scorer.start(), *ids]
    np.testing.assert_allclose(scorer.log_probabilities(whole), direct(whole), rtol=1e-4, atol=1e-4)


def test_parts_make_the_whole(found: Bits):
    assert sum(one.bytes for one in found.languages.values()) == found.all.bytes
    assert sum(one.bits for one in found.languages.values()) == pytest.approx(found.all.bits)
    assert list(found.languages) == ["Python", "Go"]
    assert found.languages["Go"].documents == 2
    assert found.lossy_bytes == 0


@given(st.integers(1, 300), st.integers(2, 60), st.data())
def test_every_token_is_scored_once_behind_enough_others(tokens: int, length: int, data):
    stride = data.draw(st.integers(1, length - 1))
    scored = []
    for begin, first, end in windows(tokens, length, stride):
        assert begin < first < end <= begin + length
        assert first - begin >= min(first, length - stride)
        scored += range(first, end)
    assert scored == list(range(1, tokens))


def test_the_interval_is_scipys():
    draw = np.random.default_rng(3)
    below = draw.integers(50, 5000, 40).astype(float)
    above = below * draw.normal(2.0, 0.4, 40)
    theirs = stats.bootstrap(
        (above, below),
        lambda a, b, axis: a.sum(axis) / b.sum(axis),
        paired=True,
        vectorized=True,
        n_resamples=20_000,
        method="percentile",
        rng=np.random.default_rng(0),
    ).confidence_interval
    ours = bootstrap_ratio(above, below, resamples=20_000)
    width = theirs.high - theirs.low
    assert abs(ours.low - theirs.low) < 0.03 * width
    assert abs(ours.high - theirs.high) < 0.03 * width
    assert bootstrap_ratio(np.array([6.0]), np.array([3.0])) == bootstrap_ratio(
        np.array([2.0, 4.0]), np.array([1.0, 2.0])
    )


def test_documents_of_one_repository_are_drawn_together(scorer: CoderScorer):
    alone = measure(scorer, TEXTS, window=48)
    joined = [Text(text=one.text, language="Go", name="one") for one in TEXTS]
    together = measure(scorer, joined, window=48)
    assert alone.all.low < alone.all.bits_per_byte < alone.all.high
    assert together.all.low == pytest.approx(together.all.bits_per_byte)
    assert together.all.high == pytest.approx(together.all.low)


texts = st.lists(st.text("abc\n", max_size=12), unique=True, max_size=30)


@given(texts, st.randoms(use_true_random=False), st.integers(1, 40))
def test_a_sample_does_not_depend_on_the_order(given_texts, random, most: int):
    documents = [Text(text=text, language="") for text in given_texts]
    mixed = random.sample(documents, len(documents))
    by_size = sample(documents, documents=None, most_bytes=most)
    assert by_size == sample(mixed, documents=None, most_bytes=most)
    assert bool(by_size) == any(given_texts)
    assert sum(len(one.text) for one in by_size[1:]) <= most
    some = sample(documents, documents=3, most_bytes=most)
    assert some == sample(mixed, documents=3, most_bytes=most)
    assert len(some) == min(3, sum(map(bool, given_texts)))


def test_a_measurement_is_read_back(found: Bits, tmp_path: Path):
    write_bits([found], tmp_path)
    assert read_bits(tmp_path) == read_bits(tmp_path / "bits.json") == found
    plain = json.loads((tmp_path / "bits.json").read_text())
    assert plain["all"]["bits_per_byte"] == found.all.bits_per_byte
    (tmp_path / "bits.json").write_text(json.dumps({**plain, "all": {}}))
    with pytest.raises(ConfigError, match="no measurement"):
        read_bits(tmp_path)
    assert read_bits(tmp_path / "absent") is None


def test_two_models_are_on_one_picture(found: Bits, scorer: CoderScorer):
    other = measure(scorer, TEXTS, window=96)
    drawn = ElementTree.fromstring(curves([found, other]))
    lines = drawn.findall(".//polyline")
    assert [line.get("points", "").count(",") for line in lines] == [
        len(other.positions),
        len(found.positions),
    ]
    for line in lines:
        for point in line.get("points", "").split():
            x, y = map(float, point.split(","))
            assert 0 <= x <= 760
            assert 0 <= y <= 320
    said = as_text([found, other])
    assert "not the same windows" in said
    assert re.search(r"1-31 .*[+-]\d\.\d\d %", said)
    assert "polyline" in as_page([found])


@pytest.mark.parametrize(("window", "stride"), [(1, 1), (48, 48), (48, 0), (10**6, 5)])
def test_windows_that_cannot_be_are_refused(scorer: CoderScorer, window: int, stride: int):
    with pytest.raises(ConfigError, match="window"):
        measure(scorer, TEXTS, window=window, stride=stride)


# ------------------------------------------------------------------------------- the command line


def run(*arguments: object) -> tuple[int, str, BaseException | None]:
    result = CliRunner().invoke(app, ["evaluate", *map(str, arguments)])
    return result.exit_code, result.stdout, result.exception


def test_a_build_is_measured_on_what_it_held_out(tiny_folder: Path, tmp_path: Path):
    tokenizer = byte_tokenizer(tmp_path / "build" / "tokenizer")
    train, held = ([document(tokenizer, f"#{name}.py\n{text}")] for name, text in ("ab", "cd"))
    write_token_shards(tmp_path / "build" / "shards", train, held, vocabulary=tokenizer.rows)
    out = tmp_path / "out"
    code, said, _ = run(
        "bits", tiny_folder, "--data", tmp_path / "build", "--out", out, "--dtype", "float32", "-q"
    )
    assert code == 0
    assert re.search(r"Python +1 +7 ", said)
    measured = read_bits(out)
    assert measured is not None
    assert measured.all.bytes == len("#c.py\nd")
    code, said, _ = run("--compare", out, out, "--out", tmp_path / "both")
    assert code == 0
    assert "tiny" in said
    assert (tmp_path / "both" / "bits.html").is_file()


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--url", "http://127.0.0.1:1"], "cannot be asked of a server"),
        (["--temperature", "0.5"], "--temperature was given"),
        (["--limit", "0"], "--limit is 0"),
        ([], "bits has no data here"),
    ],
)
def test_what_cannot_be_honoured_is_refused(options: list[str], said: str):
    _, _, problem = run("bits", "nothing", *options)
    assert isinstance(problem, ConfigError)
    assert said in str(problem)
