"""The fast encoder's ids are those of the tokenizer, and what it cannot do it leaves to it."""

import json
import time
from pathlib import Path

import pytest
from tokenizers import Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers, trainers

from conftest import write_byte_tokenizer
from midfill.errors import RequestError
from midfill.tokenizer import fast, pretokenize
from midfill.tokenizer import tokenizer as ours
from midfill.tokenizer.fast import FastEncoder

needs_extension = pytest.mark.skipif(fast._native is None, reason="no compiled tokenizer extension")
CUT = ["deepseek-coder", "deepseek-llm", "qwen2", "smollm", "gpt-2"]
EVERY_CHARACTER = [chr(p) for p in range(0x110000) if not 0xD800 <= p < 0xE000]
CONTEXTS = ["{}", " {}a", "a{} ", "1{}\n", "'{} {}", "{}\r\n{}{}", ". {}(", "  {}1"]


def trained(folder: Path, cut: str) -> Path:
    """A byte-level BPE of 600 tokens, learnt from this file and the tokenizer's own sources."""
    plain = Tokenizer(models.BPE())
    plain.pre_tokenizer = pretokenize.build(cut)
    plain.decoder = decoders.ByteLevel()
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    trainer = trainers.BpeTrainer(vocab_size=600, initial_alphabet=alphabet, show_progress=False)
    paths = [Path(__file__), Path(fast.__file__), Path(ours.__file__)]
    plain.train_from_iterator([path.read_text(encoding="utf-8") for path in paths], trainer)
    plain.add_special_tokens(["<｜end▁of▁sentence｜>", "<｜fim▁hole｜>"])
    plain.add_tokens(["ü", "ÿ"])
    plain.save(str(folder / "tokenizer.json"))
    settings = {"eos_token": "<｜end▁of▁sentence｜>", "tokenizer_class": "PreTrainedTokenizerFast"}
    (folder / "tokenizer_config.json").write_text(json.dumps(settings))
    return folder


@pytest.fixture(scope="module", params=CUT)
def encoder(request, tmp_path_factory) -> FastEncoder:
    return FastEncoder(trained(tmp_path_factory.mktemp("bpe"), request.param))


def same(encoder: FastEncoder, text: str) -> bool:
    return encoder.encode(text).tolist() == encoder.tokenizer.encode(text)


@needs_extension
def test_it_is_compiled(encoder):
    assert encoder.compiled
    assert encoder.why_slow is None


@pytest.mark.parametrize(
    "text",
    [
        "",
        "a",
        "We'll we'LL I'm don't 'tis ''quoted'' 'ſ x'S",
        "def fib(n):\r\n\treturn n if n<2 else fib(n-1)  # 12345 ６７ Ⅷ ½\r\n\r\n   x = 10\n\n  ",
        "Müller öffnet   die Tür\u2028\u0085\u3000 。x ÿÿ",
        "你好，世界。 ประเทศ १२३ 안녕 \u2003 “quoted” 🦙🚀 e\u0301 \x00\x1f",
        "<｜fim▁hole｜> <｜end▁of▁sentence｜>",
        "\n" * 300 + " " * 300 + "\t\n" * 100 + "=" * 300 + "a1" * 300,
    ],
)
def test_ids_are_equal(encoder, text):
    assert same(encoder, text)
    assert same(encoder, text + text)


def test_common_characters_in_contexts(encoder):
    points = [*range(0x100), 0x17F, 0x2028, 0x2003, 0x3000, 0x3007, 0x966, 0xB2, 0x4E00, 0x9FA6]
    assert all(same(encoder, c.format(chr(p), chr(p), chr(p))) for p in points for c in CONTEXTS)


def test_batches_and_their_type(encoder):
    texts = ["one two", "", "three"]
    made = encoder.encode_batch(texts)
    assert [ids.tolist() for ids in made] == [encoder.tokenizer.encode(t) for t in texts]
    assert {str(ids.dtype) for ids in made} == {"uint32"}


def test_half_characters_are_refused(encoder):
    for text in ("ok \ud800", "ü\udfff"):
        with pytest.raises(RequestError, match="not valid Unicode"):
            encoder.encode(text)


@needs_extension
def test_a_long_word_takes_no_quadratic_time(encoder):
    begin = time.process_time()
    assert len(encoder.encode("a" * 2_000_000)) > 0
    assert len(encoder.encode(" " * 2_000_000)) > 0
    assert time.process_time() - begin < 20  # a quadratic merge would take hours
    for text in ("ab" * 3000, "inin re" * 700, "=-" * 2000, " " * 4001 + "x"):
        assert same(encoder, text)


@needs_extension
def test_its_memory_of_words_may_overflow(tmp_path: Path):
    encoder = FastEncoder(trained(tmp_path, "gpt-2"))
    text = " ".join(f"{i:x}" for i in range(70_000))  # it holds 65,536 words
    assert same(encoder, text)
    assert same(encoder, text[:1000])


def test_bytes_the_vocabulary_lacks_are_dropped(tmp_path: Path):
    folder = trained(tmp_path, "gpt-2")
    parts = json.loads((folder / "tokenizer.json").read_text())
    gone = [char for char in parts["model"]["vocab"] if char in ("Ā", "q", "Â")]
    for char in gone:
        del parts["model"]["vocab"][char]
    kept = parts["model"]["vocab"]
    merges = [m for m in parts["model"]["merges"] if m[0] in kept and m[1] in kept]
    parts["model"]["merges"] = merges
    (folder / "tokenizer.json").write_text(json.dumps(parts))
    encoder = FastEncoder(folder)
    assert len(gone) == 3
    for text in ("a\x00b", "req\x00uest in\x00 q", "\x00", "q" * 100 + "re" * 40):
        assert same(encoder, text)


def test_a_byte_tokenizer_with_the_usual_regex(tmp_path: Path):
    write_byte_tokenizer(tmp_path)
    encoder = FastEncoder(tmp_path)
    assert encoder.compiled is (fast._native is not None)
    assert same(encoder, "in the  register\n\n  re-in <｜User｜> we'll")


@pytest.mark.parametrize(
    "change",
    [
        {"normalizer": normalizers.NFC()},
        {"pre_tokenizer": pre_tokenizers.ByteLevel(add_prefix_space=True)},
        {
            "pre_tokenizer": pre_tokenizers.Sequence(
                [
                    pre_tokenizers.Split(Regex(r"(?=[A-Z])"), "isolated"),
                    pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
                ]
            )
        },
    ],
)
def test_others_are_left_to_the_library(tmp_path: Path, change):
    folder = trained(tmp_path, "gpt-2")
    plain = Tokenizer.from_file(str(folder / "tokenizer.json"))
    for name, value in change.items():
        setattr(plain, name, value)
    plain.save(str(folder / "tokenizer.json"))
    encoder = FastEncoder(folder)
    assert not encoder.compiled
    assert encoder.why_slow
    assert same(encoder, "aBc e\u0301 don't")


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_every_character_in_every_context(encoder):
    for context in CONTEXTS:
        for start in range(0, len(EVERY_CHARACTER), 5000):
            some = EVERY_CHARACTER[start : start + 5000]
            assert same(encoder, "\n".join(context.format(c, c, c) for c in some))
    assert same(encoder, "".join(EVERY_CHARACTER))


@pytest.mark.slow
@pytest.mark.timeout(900)
@needs_extension
def test_a_hundred_megabytes_of_one_character(tmp_path: Path):
    encoder = FastEncoder(trained(tmp_path, "deepseek-coder"))
    ids = encoder.encode("=" * 100_000_000)
    assert encoder.tokenizer.decode(ids[:1000].tolist()) == "=" * len(
        encoder.tokenizer.decode(ids[:1000].tolist())
    )
    sizes = {token: len(encoder.tokenizer.token_bytes(token)) for token in set(ids.tolist())}
    assert sum(sizes[token] for token in ids.tolist()) == 100_000_000
