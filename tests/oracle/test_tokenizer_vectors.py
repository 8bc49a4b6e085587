"""Our ids against llama.cpp's published vectors, the tokenizers library and transformers."""

import os
import shutil
from functools import cache
from pathlib import Path

import pytest
import tokenizers
from transformers import AutoTokenizer

from midfill.errors import TokenizerError
from midfill.model.gguf import GGUFFile
from midfill.tokenizer import pretokenize
from midfill.tokenizer.tokenizer import Tokenizer

DATA = Path(os.environ.get("MIDFILL_DATA", Path(__file__).parents[2].parent / "shared" / "data"))
VECTORS = DATA / "tokenizers" / "llama-cpp-vectors"
FAMILIES = ("deepseek-coder", "deepseek-llm", "qwen2")
FOLDERS = ("deepseek-coder-v1", "deepseek-v2-rebuilt")

pytestmark = pytest.mark.skipif(not VECTORS.is_dir(), reason=f"no tokenizer data at {DATA}")


@cache
def metadata(family: str) -> dict[str, object]:
    return GGUFFile(VECTORS / f"ggml-vocab-{family}.gguf").metadata


@cache
def from_gguf(family: str) -> Tokenizer:
    return Tokenizer.from_gguf(metadata(family))


@cache
def from_folder(name: str) -> Tokenizer:
    return Tokenizer.from_folder(DATA / "tokenizers" / name)


def vectors(family: str) -> list[tuple[str, list[int]]]:
    path = VECTORS / f"ggml-vocab-{family}.gguf"
    inputs = Path(f"{path}.inp").read_bytes().decode()  # line ends as they are
    texts = inputs.split("\n__ggml_vocab_test__\n")
    lines = Path(f"{path}.out").read_text().split("\n")
    return [(text, [int(i) for i in ids.split()]) for text, ids in zip(texts, lines, strict=True)]


def code() -> list[str]:
    """Real source text: this repository's own."""
    sources = sorted(Path(pretokenize.__file__).parent.glob("*.py"))
    return [path.read_text(encoding="utf-8") for path in sources]


@pytest.mark.parametrize("family", FAMILIES)
def test_llama_cpp_vectors(family: str):
    tokenizer, cases = from_gguf(family), vectors(family)
    assert len(cases) == 47
    for text, ids in cases:
        assert tokenizer.encode(text) == ids, text
        assert tokenizer.decode(ids) == text


def test_llama_cpp_vectors_through_the_v1_folder():
    tokenizer = from_folder("deepseek-coder-v1")
    for text, ids in vectors("deepseek-coder"):
        assert tokenizer.encode(text) == ids, text


def test_llama_cpp_vectors_through_the_v2_folder():
    """V2 is the vocabulary of deepseek-llm without its 13 characters."""
    tokenizer = from_folder("deepseek-v2-rebuilt")
    for text, ids in vectors("deepseek-llm"):
        if max(ids, default=0) < 100_000:
            assert tokenizer.encode(text) == ids, text


@pytest.mark.parametrize("name", FOLDERS)
def test_plain_code_equals_the_tokenizers_library(name: str):
    theirs = tokenizers.Tokenizer.from_file(str(DATA / "tokenizers" / name / "tokenizer.json"))
    for text in code():
        if any(sentinel in text for sentinel in from_folder(name).sentinels):
            continue  # the library takes a sentinel in plain text for a token, we do not
        assert from_folder(name).encode(text) == theirs.encode(text, add_special_tokens=False).ids


@pytest.mark.parametrize("name", FOLDERS)
def test_sentinels_equal_transformers(name: str):
    theirs = AutoTokenizer.from_pretrained(DATA / "tokenizers" / name)
    ours = from_folder(name)
    text = "Mülle x = 12\n".join(sorted(ours.sentinels)) + " end"
    assert ours.encode_special(text) == theirs.encode(text, add_special_tokens=False)
    assert ours.eos_id == theirs.eos_token_id
    assert ours.bos_id == theirs.bos_token_id
    assert ours.pad_id == theirs.pad_token_id
    assert ours.vocab_size == len(theirs)


@pytest.mark.parametrize("name", FOLDERS)
def test_transformers_5_layout(name: str, tmp_path: Path):
    """transformers 5 drops add_bos_token and moves the template to its own file."""
    AutoTokenizer.from_pretrained(DATA / "tokenizers" / name).save_pretrained(tmp_path)
    assert (tmp_path / "chat_template.jinja").is_file()
    ours, want = Tokenizer.from_folder(tmp_path), from_folder(name)
    messages = [{"role": "user", "content": "Müller?"}]
    assert ours.encode_chat(messages) == want.encode_chat(messages)
    assert ours.encode("x", bos=True) == want.encode("x", bos=True)
    assert ours.stop_ids == want.stop_ids
    assert ours.sentinels == want.sentinels


@pytest.mark.parametrize("name", [*FAMILIES, *FOLDERS])
def test_saved_folder_opens_in_transformers(name: str, tmp_path: Path):
    ours = from_folder(name) if name in FOLDERS else from_gguf(name)
    ours.save(tmp_path)
    theirs = AutoTokenizer.from_pretrained(tmp_path)
    again = Tokenizer.from_folder(tmp_path)
    texts = [text for text, _ in vectors("qwen2")]
    texts += [text for text in code() if not any(s in text for s in ours.sentinels)]
    for text in texts:
        assert theirs.encode(text, add_special_tokens=False) == ours.encode(text)
        assert theirs.encode(text) == ours.encode(text, bos=True)
        assert again.encode(text, bos=True) == ours.encode(text, bos=True)
    text = " a\n".join(sorted(ours.sentinels))
    assert theirs.encode(text, add_special_tokens=False) == ours.encode_special(text)
    assert (theirs.bos_token_id, theirs.eos_token_id) == (ours.bos_id, ours.eos_id)
    assert again.stop_ids == ours.stop_ids
    assert again.fim == ours.fim


@pytest.mark.parametrize("name", [*FAMILIES, *FOLDERS])
def test_gguf_keys_come_back(name: str):
    ours = from_folder(name) if name in FOLDERS else from_gguf(name)
    keys = ours.to_gguf(ours.vocab_size + 200)
    again = Tokenizer.from_gguf(keys)
    for text, _ in vectors("qwen2"):
        assert again.encode(text, bos=True) == ours.encode(text, bos=True)
    text = "ü é x\n".join(sorted(ours.sentinels))
    assert again.encode_special(text) == ours.encode_special(text)
    assert again.stop_ids == ours.stop_ids
    assert again.fim == ours.fim
    assert again.vocab_size == ours.vocab_size
    assert again.decode([ours.vocab_size + 199]) == ""


@pytest.mark.parametrize("family", FAMILIES)
def test_gguf_keys_equal_the_published_ones(family: str):
    ours, theirs = from_gguf(family), metadata(family)
    keys = ours.to_gguf(ours.rows)
    for key in ("model", "pre", "tokens", "merges", "bos_token_id", "eos_token_id"):
        assert keys[f"tokenizer.ggml.{key}"] == theirs[f"tokenizer.ggml.{key}"]


@pytest.mark.parametrize(
    ("name", "pre"),
    [("deepseek-coder-v1", "deepseek-coder"), ("deepseek-v2-rebuilt", "deepseek-llm")],
)
def test_pre_tokeniser_is_detected(name: str, pre: str):
    assert from_folder(name).to_gguf(102_400)["tokenizer.ggml.pre"] == pre


@pytest.mark.parametrize("name", FOLDERS)
def test_transformers_4_layout(name: str, tmp_path: Path):
    """The files of the released repositories; a config with several templates by name."""
    folder = DATA / "tokenizers" / name
    shutil.copy(folder / "tokenizer.json", tmp_path)
    config = (folder / "tokenizer_config.json").read_text()
    shipped = from_folder(name).chat_template
    assert shipped is not None
    head = config[: config.rindex('"chat_template"')]
    named = '"chat_template": [{"name": "default", "template": "{{ messages }}"}]}'
    (tmp_path / "tokenizer_config.json").write_text(head + named)
    assert Tokenizer.from_folder(tmp_path).chat_template == "{{ messages }}"
    (tmp_path / "tokenizer_config.json").write_text(config)
    (tmp_path / "chat_template.jinja").write_text("{{ bos_token }}")
    assert Tokenizer.from_folder(tmp_path).chat_template == "{{ bos_token }}"


def test_unknown_behaviour_has_no_gguf_name():
    plain = tokenizers.Tokenizer.from_str(from_gguf("deepseek-coder")._plain.to_str())
    plain.pre_tokenizer = tokenizers.pre_tokenizers.Sequence(
        [
            tokenizers.pre_tokenizers.Split(tokenizers.Regex("[aeiou]"), "isolated"),
            tokenizers.pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
        ]
    )
    with pytest.raises(TokenizerError, match="no GGUF name"):
        pretokenize.detect(plain)
