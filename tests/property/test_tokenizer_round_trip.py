"""Laws of the tokenizer over random Unicode, sentinels and V1's 13 characters among it."""

import os
from functools import cache
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from midfill.model.gguf import GGUFFile
from midfill.tokenizer.tokenizer import Tokenizer

DATA = Path(os.environ.get("MIDFILL_DATA", Path(__file__).parents[2].parent / "shared" / "data"))
TOKENIZERS = DATA / "tokenizers"
NAMES = ("deepseek-coder-v1", "deepseek-v2-rebuilt", "deepseek-llm", "qwen2")

pytestmark = [
    pytest.mark.skipif(not TOKENIZERS.is_dir(), reason=f"no tokenizer data at {DATA}"),
    pytest.mark.parametrize("name", NAMES),
]

SPECIAL = (
    "<｜begin▁of▁sentence｜>", "<｜fim▁hole｜>", "<|EOT|>", "<｜User｜>", "<|im_end|>", "<|endoftext|>",
    "<pad>", "<|", "|>", "｜>", "\ufdd0", "\ufffd", "õ", "ü", "ö", "ÿ", "Ã¼", "\r\n", "  \n", "def ",
    "12345", "'LL", "🦙", "e\u0301", "\x00",
)  # fmt: skip
texts = st.lists(st.text() | st.sampled_from(SPECIAL)).map("".join)


@cache
def tokenizer(name: str) -> Tokenizer:
    if (TOKENIZERS / name).is_dir():
        return Tokenizer.from_folder(TOKENIZERS / name)
    file = TOKENIZERS / "llama-cpp-vectors" / f"ggml-vocab-{name}.gguf"
    return Tokenizer.from_gguf(GGUFFile(file).metadata)


@settings(deadline=None)  # the first example loads a vocabulary
@given(text=texts)
def test_decode_undoes_encode(name: str, text: str):
    ids = tokenizer(name).encode(text)
    assert tokenizer(name).decode(ids) == text
    assert b"".join(map(tokenizer(name).token_bytes, ids)).decode() == text


@settings(deadline=None)
@given(text=texts)
def test_plain_text_holds_no_sentinel(name: str, text: str):
    t = tokenizer(name)
    sentinels = {t.id_of(sentinel) for sentinel in t.sentinels}
    assert not sentinels & set(t.encode(text))


@settings(deadline=None)
@given(text=texts)
def test_template_output_comes_back_with_its_sentinels(name: str, text: str):
    t = tokenizer(name)
    assert t.decode(t.encode_special(text), sentinels=True) == text


@settings(deadline=None)
@given(data=st.data())
def test_a_stream_says_what_decode_says(name: str, data: st.DataObject):
    t = tokenizer(name)
    ids = data.draw(st.lists(st.integers(0, t.rows - 1) | st.integers(0, 255)))
    stream = t.stream()
    pieces = [stream.push(token) for token in ids]
    assert "".join(pieces) + stream.finish() == t.decode(ids)
    assert all("\ufffd" not in piece for piece in pieces) or "\ufffd" in t.decode(ids)


@settings(deadline=None)
@given(text=texts)
def test_a_stream_of_text_has_whole_characters_only(name: str, text: str):
    t = tokenizer(name)
    stream = t.stream()
    pieces = [stream.push(token) for token in t.encode(text.replace("\ufffd", ""))]
    assert "\ufffd" not in "".join(pieces)
    assert stream.finish() == ""


@settings(deadline=None, max_examples=40)
@given(contents=st.lists(texts, min_size=1, max_size=4), opened=st.booleans())
def test_no_content_becomes_a_sentinel(name: str, contents: list[str], opened: bool):
    """The sentinels of a conversation are those of one of the same shape with plain words."""
    t = tokenizer(name)
    if t.chat_template is None:
        return
    roles = ["user", "assistant"] * len(contents)
    end = [{"role": "assistant", "content": "x"}] if opened else []

    def spoken(words: list[str]) -> list[int]:
        turns = [{"role": r, "content": c} for r, c in zip(roles, words, strict=False)]
        return t.encode_chat([*turns, *end], continue_last=opened)

    sentinels = {t.id_of(sentinel) for sentinel in t.sentinels}
    found = [i for i in spoken(contents) if i in sentinels]
    assert found == [i for i in spoken(["word"] * len(contents)) if i in sentinels]
    shown = t.decode(spoken(contents))
    assert all(content in shown for content in contents)
