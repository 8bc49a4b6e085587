"""Fill-in-the-middle prompts: three spellings, look-alikes, models without FIM."""

import pytest

from midfill.errors import RequestError
from midfill.tokenizer.fim import SPELLINGS, encode_fim, look_alikes
from midfill.tokenizer.special import DEEPSEEK_BOS
from midfill.tokenizer.tokenizer import Tokenizer
from midfill.tokenizer.vocabulary import byte_alphabet


def tokenizer(*sentinels: str, **keys: object) -> Tokenizer:
    """One id per byte, then the sentinels from 256."""
    base = {
        "model": "gpt2",
        "pre": "qwen2",
        "tokens": [*byte_alphabet(), *sentinels],
        "token_type": [1] * 256 + [3] * len(sentinels),
        "merges": [],
    }
    return Tokenizer.from_gguf({f"tokenizer.ggml.{k}": v for k, v in (base | keys).items()})


def test_deepseek():
    t = tokenizer(DEEPSEEK_BOS, *SPELLINGS["deepseek"], bos_token_id=256, pre="deepseek-coder")
    assert t.fim is not None
    assert (t.fim.style, t.fim.bos) == ("deepseek", True)
    assert encode_fim(t, "ab", "c") == [256, 257, 97, 98, 258, 99, 259]
    assert t.decode(encode_fim(t, "", ""), sentinels=True) == (
        "<｜begin▁of▁sentence｜><｜fim▁begin｜><｜fim▁hole｜><｜fim▁end｜>"
    )


def test_qwen():
    t = tokenizer(
        "<|endoftext|>", *SPELLINGS["qwen"], "<|fim_pad|>", "<|file_sep|>", bos_token_id=256
    )
    assert t.fim is not None
    assert (t.fim.style, t.fim.bos) == ("qwen", False)
    assert encode_fim(t, "ab", "c") == [257, 97, 98, 258, 99, 259]
    assert t.stop_ids == {256, 260, 261}


def test_starcoder():
    t = tokenizer(*SPELLINGS["starcoder"])
    assert encode_fim(t, "a", "b") == [256, 97, 257, 98, 258]


def test_ids_named_by_the_file_alone():
    names = {"fim_pre_token_id": 256, "fim_suf_token_id": 257, "fim_mid_token_id": 258}
    t = tokenizer("<|A|>", "<|B|>", "<|C|>", **names)
    assert t.fim is not None
    assert t.fim.style == "file"
    assert encode_fim(t, "a", "b") == [256, 97, 257, 98, 258]


def test_sentinels_in_prefix_and_suffix_stay_text():
    t = tokenizer(*SPELLINGS["qwen"])
    ids = encode_fim(t, "<|fim_suffix|>", "<|fim_middle|>")
    assert [i for i in ids if i > 255] == [256, 257, 258]
    assert t.decode(ids) == "<|fim_suffix|><|fim_middle|>"


def test_fim_keys_are_written():
    t = tokenizer(*SPELLINGS["qwen"])
    keys = t.to_gguf(300)
    assert keys["tokenizer.ggml.fim_suf_token_id"] == 257
    assert Tokenizer.from_gguf(keys).fim == t.fim


def test_models_without_fim():
    with pytest.raises(RequestError, match="cannot fill in the middle") as caught:
        encode_fim(tokenizer("<|im_start|>", "<file_sep>"), "a", "b")
    assert caught.value.code == "fim_not_supported"


@pytest.mark.parametrize(
    "text",
    ["<|fim_begin|>", "<|fim▁begin|>", "<fim_prefix>", "<|FIM_HOLE|>", "<fim-middle>",
     "<| fim_end |>", "<｜fim▁start｜>", "<｜fim_hole｜>", "<|begin_of_sentence|>",
     "<|end▁of▁sentence|>"],
)  # fmt: skip
def test_look_alikes(text: str):
    assert look_alikes(f"def f():\n    {text}\n") == [text]


@pytest.mark.parametrize(
    "text",
    [
        "",
        "a < b and c > d",
        "Vec<fim>",
        "<div>",
        "<T extends fim_begin>",
        "<<fim begin",
        "std::fim_end",
    ],
)
def test_no_look_alikes(text: str):
    assert look_alikes(text) == []


def test_own_sentinels_without_bars_are_common_text():
    own = ["<s>", "</s>", "<filename>", "<pad>", "<tool_call>", "<｜User｜>", "<|im_end|>"]
    html = "<s>old</s> <filename> <pad> <tool_call>"
    assert look_alikes(html, own) == []
    assert look_alikes(f"{html}<｜User｜><fim_pad><|im_end|>", own) == [
        "<｜User｜>",
        "<fim_pad>",
        "<|im_end|>",
    ]


def test_look_alikes_in_order_and_once():
    text = "<fim_suffix> <|EOT|> <fim_prefix> <fim_suffix>"
    assert look_alikes(text, ["<|EOT|>", "<pad>"]) == ["<fim_suffix>", "<|EOT|>", "<fim_prefix>"]
