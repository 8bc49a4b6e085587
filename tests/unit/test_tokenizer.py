"""The tokenizer on a small vocabulary of its own and on DeepSeek's real ones."""

import copy
import json
import os
import random
import subprocess
import sys
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import pytest

from midfill.errors import RequestError, TokenizerError
from midfill.tokenizer import pretokenize
from midfill.tokenizer.special import AddedToken, Finder, Kind
from midfill.tokenizer.tokenizer import Tokenizer
from midfill.tokenizer.vocabulary import byte_alphabet

DATA = Path(os.environ.get("MIDFILL_DATA", Path(__file__).parents[2].parent / "shared" / "data"))
V1 = DATA / "tokenizers" / "deepseek-coder-v1"
V2 = DATA / "tokenizers" / "deepseek-v2-rebuilt"
needs_data = pytest.mark.skipif(not V1.is_dir(), reason=f"no tokenizer data at {DATA}")
THIRTEEN = "õ÷ÁýÀÿøúþüùöû"


def small(**changes: object) -> dict[str, object]:
    """GGUF keys of a vocabulary with all bytes, two merges and ChatML sentinels."""
    tokens = [
        *byte_alphabet(),
        "he",
        "hel",
        "<|im_start|>",
        "<|im_end|>",
        "<tool_call>",
        "[PAD261]",
    ]
    keys: dict[str, object] = {
        "model": "gpt2",
        "pre": "qwen2",
        "tokens": tokens,
        "token_type": [1] * 258 + [3, 3, 4, 5],
        "merges": ["h e", "he l"],
        "bos_token_id": 258,
        "eos_token_id": 259,
    }
    keys |= changes
    return {f"tokenizer.ggml.{key}": value for key, value in keys.items() if value is not None}


@cache
def v1() -> Tokenizer:
    return Tokenizer.from_folder(V1)


def test_small_vocabulary():
    t = Tokenizer.from_gguf(small())
    assert t.encode("hello") == [257, ord("l"), ord("o")]
    assert (t.vocab_size, t.rows, t.bos_id, t.eos_id, t.pad_id) == (261, 262, 258, 259, None)
    assert t.stop_ids == {259}
    assert t.chat_template is None
    assert t.fim is None
    assert t.decode([261]) == ""  # padding of the model's embedding


def test_markers_are_tokens_in_templates_and_readable_text():
    t = Tokenizer.from_gguf(small())
    assert t.encode_special("<tool_call><|im_end|>") == [260, 259]
    assert t.decode([260, 259]) == "<tool_call>"
    assert t.decode([260, 259], sentinels=True) == "<tool_call><|im_end|>"
    assert 260 not in t.encode("<tool_call>")
    assert (t.token_bytes(259), t.token_text(259)) == (b"", "<|im_end|>")


@pytest.mark.parametrize(
    ("text", "special", "kind"),
    [
        ("ü", False, Kind.ORDINARY),
        ("    ", False, Kind.ORDINARY),
        ("ü", True, Kind.SENTINEL),
        ("<|EOT|>", False, Kind.SENTINEL),
        ("<｜fim▁hole｜>", False, Kind.SENTINEL),
        ("<pad>", False, Kind.SENTINEL),
        ("<tool_call>", False, Kind.MARKER),
        ("</think>", False, Kind.MARKER),
        ("<tool_call>", True, Kind.SENTINEL),
    ],
)
def test_kinds(text: str, special: bool, kind: Kind):
    assert AddedToken(0, text, special).kind is kind


def test_finder_takes_the_longest_and_breaks_every_start():
    finder = Finder(["<a>", "<a><b>", "<b>"])
    assert list(finder.split("x<a><b><a>")) == ["x", "<a><b>", "<a>"]
    assert finder.broken("<a><b>", "!") == "<!a><!b>"
    assert list(Finder([]).split("abc")) == ["abc"]
    assert Finder([]).broken("abc", "!") == "abc"


def test_bos_is_added_only_where_the_model_wants_one():
    assert Tokenizer.from_gguf(small()).encode("a", bos=True) == [ord("a")]
    assert Tokenizer.from_gguf(small(add_bos_token=True)).encode("a", bos=True) == [258, ord("a")]
    without = Tokenizer.from_gguf(small(add_bos_token=True, bos_token_id=None))
    assert without.encode("a", bos=True) == [ord("a")]
    assert not without.add_bos


@pytest.mark.parametrize("token", [-1, 262, 10**12])
def test_unknown_ids_are_refused(token: int):
    t = Tokenizer.from_gguf(small())
    with pytest.raises(RequestError, match=f"no token {token}"):
        t.decode([token])
    with pytest.raises(RequestError):
        t.token_text(token)


def test_padding_up_to_the_model():
    t = Tokenizer.from_gguf(small())
    t.pad_to(300)
    assert t.decode([299]) == ""
    with pytest.raises(RequestError, match="0 to 299"):
        t.decode([300])


def test_half_characters_are_refused():
    t = Tokenizer.from_gguf(small())
    for encode in (t.encode, t.encode_special):
        with pytest.raises(RequestError, match="character 1") as caught:
            encode("a\ud83d")
        assert caught.value.code == "invalid_request"
        assert "U+D83D" in caught.value.why


def test_broken_utf8_and_half_characters_at_the_end():
    t = Tokenizer.from_gguf(small())
    llama = [*"🦙".encode()]
    assert t.decode([llama[0], ord("a")]) == "\ufffda"
    stream = t.stream()
    assert [stream.push(b) for b in llama[:3]] == ["", "", ""]
    assert stream.finish() == "\ufffd"
    stream = t.stream()
    assert [stream.push(b) for b in (*llama, 259)] == ["", "", "", "🦙", ""]
    assert t.stream(sentinels=True).push(259) == "<|im_end|>"


@pytest.mark.parametrize(
    ("changes", "what"),
    [
        ({"model": "llama"}, "'llama'"),
        ({"model": None}, "None"),
        ({"pre": "klingon"}, "'klingon' is not supported"),
        ({"tokens": None}, "no tokenizer.ggml.tokens"),
        ({"merges": None}, "no tokenizer.ggml.merges"),
        ({"merges": ["h"]}, "not a pair"),
        ({"merges": ["q z"]}, "merges do not fit"),
        ({"token_type": [1]}, "token types are missing"),
    ],
)
def test_gguf_that_is_not_ours(changes: dict[str, object], what: str):
    with pytest.raises(TokenizerError, match=what):
        Tokenizer.from_gguf(small(**changes))


def test_gguf_without_optional_keys():
    t = Tokenizer.from_gguf(small(token_type=None, eos_token_id=None, pre=None))
    assert t.encode_special("<|im_end|>") == [259]
    assert t.eos_id is None
    assert t.encode("hel") == [257]


NORMAL_SENTINELS = ["<|im_start|>", "<|im_end|>", "<fim_prefix>", "<｜fim▁hole｜>", "<pad>"]


@pytest.mark.parametrize("typed", [True, False])
def test_gguf_sentinels_that_the_file_calls_normal(typed: bool):
    tokens = [*byte_alphabet(), "he", "hel", *NORMAL_SENTINELS]
    t = Tokenizer.from_gguf(small(tokens=tokens, token_type=[1] * 263 if typed else None))
    assert t.sentinels == set(NORMAL_SENTINELS)
    for token, text in enumerate(NORMAL_SENTINELS, 258):
        assert t.encode_special(text) == [token]
        assert token not in t.encode(text)
        assert t.decode([token]) == ""
    assert t.stop_ids == {259}
    assert t.encode("hel") == [257]


@pytest.mark.parametrize("typed", [True, False])
def test_gguf_words_that_look_like_sentinels_stay_words(typed: bool):
    """Qwen2 has merges for `<s>`, as for other HTML, and no template may mean a sentinel by it."""
    tokens = [*byte_alphabet(), "<s", "<s>", "<?>", "<tag>"]
    types = [1] * 260 if typed else None
    t = Tokenizer.from_gguf(
        small(tokens=tokens, token_type=types, merges=["< s", "<s >"], bos_token_id=None)
    )
    assert t.sentinels == frozenset()
    assert t.encode("<s>") == t.encode_special("<s>") == [256, ord(">")]
    assert t.decode([257]) == "<s>"


@needs_data
def test_qwen_words_that_look_like_sentinels_stay_words():
    from midfill.model.gguf import GGUFFile

    file = GGUFFile(DATA / "tokenizers" / "llama-cpp-vectors" / "ggml-vocab-qwen2.gguf")
    t = Tokenizer.from_gguf(file.metadata)
    assert t.encode("<s>") == t.encode_special("<s>") == [44047, 29]
    assert t.decode([128245]) == "<s>"
    assert t.sentinels == {"<|endoftext|>", "<|im_start|>", "<|im_end|>"}


def test_gguf_ids_out_of_range_are_not_taken():
    t = Tokenizer.from_gguf(small(bos_token_id=262, eos_token_id=-1, eot_token_id=259))
    assert (t.bos_id, t.eos_id) == (None, None)
    assert t.stop_ids == {259}


def test_gguf_rows_must_hold_every_token():
    with pytest.raises(TokenizerError, match="more tokens than the model's 260 rows"):
        Tokenizer.from_gguf(small()).to_gguf(260)


def test_gguf_padding_and_types():
    keys = Tokenizer.from_gguf(small()).to_gguf(264)
    tokens, types = keys["tokenizer.ggml.tokens"], keys["tokenizer.ggml.token_type"]
    assert isinstance(tokens, list)
    assert isinstance(types, list)
    assert tokens[258:] == ["<|im_start|>", "<|im_end|>", "<tool_call>",
                            "[PAD261]", "[PAD262]", "[PAD263]"]  # fmt: skip
    assert types[257:] == [1, 3, 3, 4, 5, 5, 5]
    assert "tokenizer.ggml.padding_token_id" not in keys


def test_scattered_ids_survive_saving(tmp_path: Path):
    tokens = ["<|endoftext|>", *byte_alphabet(), "<|im_end|>", "he"]
    t = Tokenizer.from_gguf(
        small(tokens=tokens, token_type=[3] + [1] * 256 + [3, 1], merges=["h e"], bos_token_id=None)
    )
    t.save(tmp_path)
    again = Tokenizer.from_folder(tmp_path)
    text = "<|im_end|>hehe<|endoftext|>"
    assert again.encode_special(text) == t.encode_special(text) == [257, 258, 258, 0]
    assert again.stop_ids == t.stop_ids
    assert not {0, 257} & set(again.encode(text))


def write(folder: Path, model: object, pre: object = None, config: object = None) -> Path:
    byte_level = {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": True,
                  "use_regex": True}  # fmt: skip
    data = {"version": "1.0", "added_tokens": [], "pre_tokenizer": pre or byte_level,
            "normalizer": None, "post_processor": None, "decoder": None, "model": model}  # fmt: skip
    (folder / "tokenizer.json").write_text(json.dumps(data), encoding="utf-8")
    if config is not None:
        (folder / "tokenizer_config.json").write_text(json.dumps(config), encoding="utf-8")
    return folder


BPE: dict[str, Any] = {
    "type": "BPE",
    "vocab": {c: i for i, c in enumerate(byte_alphabet())},
    "merges": [],
}


@pytest.mark.parametrize(
    ("model", "pre", "what"),
    [
        ({"type": "Unigram", "vocab": []}, None, "not a byte-level BPE"),
        (BPE, {"type": "Whitespace"}, "not a byte-level BPE"),
        ({"type": "BPE"}, None, "the vocabulary in .* is not an object"),
        (BPE | {"merges": ["q z"]}, None, "damaged"),
        (BPE | {"merges": [["a"]]}, None, "not a pair"),
    ],
)
def test_folder_that_is_not_ours(tmp_path: Path, model: object, pre: object, what: str):
    with pytest.raises(TokenizerError, match=what):
        Tokenizer.from_folder(write(tmp_path, model, pre))


@pytest.mark.parametrize(
    ("part", "what"),
    [
        ({"model": 5}, "model in .* is not an object"),
        ({"model": None}, "model in .* is not an object"),
        ({"model": BPE | {"vocab": {"a": "0"}}}, "the number of 'a' in .* is not a token number"),
        ({"model": BPE | {"vocab": {"a": True}}}, "is not a token number"),
        ({"model": BPE | {"merges": 5}}, "merges in .* is not a list"),
        ({"model": BPE | {"merges": [5]}}, "a merge is not a pair"),
        ({"model": BPE | {"merges": [["a", 5]]}}, "a merge is not a pair"),
        ({"model": BPE | {"unk_token": []}}, "unk_token in .* is not text"),
        ({"added_tokens": 5}, "added_tokens in .* is not a list"),
        ({"added_tokens": [5]}, "an added token in .* is not an object"),
        ({"added_tokens": [{"content": "x"}]}, "id of an added token"),
        ({"added_tokens": [{"id": 300}]}, "content of an added token"),
        ({"added_tokens": [{"id": 300, "content": 5}]}, "content of an added token"),
        ({"added_tokens": [{"id": 300, "content": []}]}, "content of an added token"),
        ({"added_tokens": [{"id": 300, "content": "\ud800"}]}, "content of an added token"),
        ({"added_tokens": [{"id": -1, "content": "x"}]}, "id of an added token"),
        ({"post_processor": 5}, "post_processor in .* is not an object"),
        ({"post_processor": {"processors": [5]}}, "a post-processor in .* is not an object"),
    ],
)
def test_folder_with_a_part_of_the_wrong_kind(tmp_path: Path, part: dict[str, object], what: str):
    data = json.loads((write(tmp_path, BPE) / "tokenizer.json").read_text())
    (tmp_path / "tokenizer.json").write_text(json.dumps(data | part))
    with pytest.raises(TokenizerError, match=what):
        Tokenizer.from_folder(tmp_path)


@pytest.mark.parametrize(
    "config",
    [
        {"bos_token": 5},
        {"eos_token": {"content": []}},
        {"add_bos_token": "false"},
        {"added_tokens_decoder": []},
        {"added_tokens_decoder": {"x": {"content": "a"}}},
        {"added_tokens_decoder": {"300": "a"}},
        {"added_tokens_decoder": {"300": {"content": 5}}},
        {"chat_template": 5},
        {"chat_template": [5]},
        {"chat_template": [{"name": [], "template": "x"}]},
    ],
    ids=str,
)
def test_settings_of_the_wrong_kind(tmp_path: Path, config: object):
    with pytest.raises(TokenizerError, match="is not"):
        Tokenizer.from_folder(write(tmp_path, BPE, config=config))


def test_nesting_without_end(tmp_path: Path):
    (tmp_path / "tokenizer.json").write_text("[" * 100_000)
    with pytest.raises(TokenizerError, match="cannot be read"):
        Tokenizer.from_folder(tmp_path)


WRONG = (None, True, -1, 5, 10**30, 1.5, "", "x", "\ud800", [], [5], [[]], {}, {"id": 1}, {"x": []})


def mutated(rng: random.Random, value: Any) -> Any:
    """The value with one part, somewhere in it, replaced, dropped, doubled or added."""
    if not isinstance(value, dict | list) or not value or rng.random() < 0.1:
        return copy.deepcopy(rng.choice(WRONG))
    value = copy.copy(value)
    key = rng.choice(list(value) if isinstance(value, dict) else range(len(value)))
    how = rng.random()
    if how < 0.1:
        del value[key]
    elif how < 0.2 and isinstance(value, list):
        value.append(rng.choice((value[key], *WRONG)))
    elif how < 0.2:
        value[str(rng.choice(WRONG))] = rng.choice((value[key], *WRONG))
    else:
        value[key] = mutated(rng, value[key])
    return value


def survives(make: Callable[[], Tokenizer]) -> bool:
    """Whether there is a tokenizer, and it works; TokenizerError is the only other way out."""
    try:
        t = make()
    except TokenizerError:
        return False
    ids = t.encode_special("<|end|>he \u00fc\n") + t.encode("he 12")
    t.decode([i for i in ids if i < t.rows], sentinels=True)
    return True


def test_mutated_folders(tmp_path: Path):
    bos = {"SpecialToken": {"id": "<|end|>", "type_id": 0}}
    post = {"type": "TemplateProcessing", "single": [bos], "pair": [bos], "special_tokens": {}}
    files: dict[str, Any] = {
        "tokenizer.json": {
            "version": "1.0",
            "added_tokens": [
                {"id": 258, "content": "<|end|>", "special": True},
                {"id": 259, "content": "→", "special": False},
            ],
            "pre_tokenizer": {
                "type": "Sequence",
                "pretokenizers": [
                    {"type": "Digits", "individual_digits": True},
                    {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": True,
                     "use_regex": True},
                ],
            },
            "normalizer": {"type": "NFC"},
            "post_processor": {"type": "Sequence", "processors": [post]},
            "decoder": None,
            "model": {
                "type": "BPE",
                "vocab": BPE["vocab"] | {"he": 256, "hel": 257, "<|end|>": 258},
                "merges": [["h", "e"], ["he", "l"]],
                "unk_token": None,
                "fuse_unk": False,
            },
        },
        "tokenizer_config.json": {
            "add_bos_token": None,
            "bos_token": "<|end|>",
            "eos_token": {"content": "<|end|>"},
            "added_tokens_decoder": {"258": {"content": "<|end|>", "special": True}},
            "chat_template": [{"name": "default", "template": "x"}],
        },
        "config.json": {"vocab_size": 512},
    }  # fmt: skip
    rng, worked = random.Random(0), 0
    for _ in range(300):
        name = rng.choice(list(files))
        for other, content in files.items():
            changed = mutated(rng, content) if other == name else content
            (tmp_path / other).write_text(json.dumps(changed))
        worked += survives(lambda: Tokenizer.from_folder(tmp_path))
    assert 30 < worked < 270


def test_mutated_gguf_keys():
    keys = small(add_bos_token=True, fim_pre_token_id=258)
    keys["tokenizer.chat_template"] = "x"
    rng = random.Random(0)
    worked = 0
    for _ in range(300):
        key = rng.choice(list(keys))
        changed = keys | {key: mutated(rng, keys[key])}
        worked += survives(lambda changed=changed: Tokenizer.from_gguf(changed))
    assert 30 < worked < 270


def test_folder_without_tokenizer(tmp_path: Path):
    with pytest.raises(TokenizerError, match=r"has no tokenizer.json"):
        Tokenizer.from_folder(tmp_path)
    (tmp_path / "tokenizer.model").write_bytes(b"")
    with pytest.raises(TokenizerError) as caught:
        Tokenizer.from_folder(tmp_path)
    assert "SentencePiece" in caught.value.why
    (tmp_path / "tokenizer.json").write_bytes(b"\xff{")
    with pytest.raises(TokenizerError, match="cannot be read"):
        Tokenizer.from_folder(tmp_path)


def test_folder_settings(tmp_path: Path):
    """Tokens known only to the config, objects for texts, rows of the model."""
    decoder = {
        "256": {"content": "<|end|>", "special": True},
        "257": {"content": "→", "special": False},
    }
    config = {
        "eos_token": {"content": "<|end|>"},
        "bos_token": None,
        "added_tokens_decoder": decoder,
    }
    write(tmp_path, BPE, config=config)
    (tmp_path / "config.json").write_text('{"vocab_size": 512}')
    (tmp_path / "special_tokens_map.json").write_text('{"pad_token": "<|end|>", "bos_token": "!"}')
    t = Tokenizer.from_folder(tmp_path)
    assert (t.bos_id, t.eos_id, t.pad_id, t.vocab_size, t.rows) == (33, 256, 256, 258, 512)
    assert t.encode("→<|end|>")[0] == 257
    assert t.decode([257, 511]) == "→"
    assert not t.add_bos


def test_folder_whose_post_processor_adds_bos(tmp_path: Path):
    write(tmp_path, BPE, config={"bos_token": "!"})
    data = json.loads((tmp_path / "tokenizer.json").read_text())
    data["post_processor"] = {
        "type": "TemplateProcessing",
        "single": [
            {"SpecialToken": {"id": "!", "type_id": 0}},
            {"Sequence": {"id": "A", "type_id": 0}},
        ],
        "pair": [],
        "special_tokens": {},
    }
    (tmp_path / "tokenizer.json").write_text(json.dumps(data))
    t = Tokenizer.from_folder(tmp_path)
    assert t.encode("a", bos=True) == [33, ord("a")]
    assert t.encode("a") == [ord("a")]


def test_cased_letters_are_frozen():
    ranges = pretokenize.cased_ranges()
    assert len(ranges) == 84
    assert sum(high - low + 1 for low, high in ranges) == 2729
    assert ranges == sorted(ranges)


def test_every_pre_tokeniser_is_detected_as_itself():
    plain = Tokenizer.from_gguf(small())._plain
    for name in pretokenize.names():
        plain.pre_tokenizer = pretokenize.build(name)  # type: ignore[assignment]
        assert pretokenize.detect(plain) == pretokenize.canonical(name)


def test_import_needs_neither_torch_nor_transformers_nor_jinja():
    code = (
        "import sys, midfill.tokenizer.tokenizer\n"
        "assert not {'torch', 'transformers', 'jinja2'} & set(sys.modules)"
    )
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", code],
        capture_output=True,
        text=True,
        env=os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)},
    )
    assert (done.returncode, done.stderr) == (0, "")


@needs_data
def test_v1_ids():
    t = v1()
    assert (t.vocab_size, t.bos_id, t.eos_id, t.pad_id) == (32022, 32013, 32021, 32014)
    assert t.stop_ids == {32014, 32021}
    assert t.encode("hi") == [4821]
    assert t.encode("hi", bos=True) == [32013, 4821]
    assert t.encode("User:") == [5719, 25]
    assert t.encode("Assistant:") == [5618, 15481, 25]
    assert len(t.encode("<|fim▁begin|>")) == 9
    assert len(t.encode("<|fim_hole|>")) == 8


@needs_data
def test_v2_ids():
    t = Tokenizer.from_folder(V2)
    assert (t.vocab_size, t.bos_id, t.eos_id) == (100009, 100000, 100001)
    assert t.stop_ids == {100001, 100008}
    assert t.encode("User:") == [5726, 25]
    assert t.encode("Assistant:") == [77398, 25]
    assert t.encode("\n\n") == [185, 185]
    assert len(t.encode("12345")) == 5
    assert t.decode(t.encode("Müller")) == "Müller"


@needs_data
def test_thirteen_characters():
    t = v1()
    text = "Müller öffnet die Tür"
    ids = t.encode(text)
    assert ids.count(32009) == 2
    assert ids.count(32011) == 1
    assert t.decode(ids) == text
    assert t.encode(THIRTEEN) == list(range(32000, 32013))
    assert [t.token_text(i) for i in range(32000, 32013)] == list(THIRTEEN)
    assert t.token_bytes(32009) == "ü".encode()
    stream = t.stream()
    assert [stream.push(i) for i in t.encode("für")] == ["f", "ü", "r"]


@needs_data
def test_sentinels_in_text_stay_text():
    t = v1()
    for sentinel in t.sentinels:
        assert t.encode_special(sentinel) == [t.id_of(sentinel)]
        assert t.id_of(sentinel) not in t.encode(sentinel)
        assert t.decode(t.encode(sentinel)) == sentinel
        assert t.decode(t.encode_special(sentinel)) == ""
