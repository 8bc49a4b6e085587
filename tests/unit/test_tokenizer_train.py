"""Training a vocabulary: the merges of the definition, and a tokenizer that everything opens."""

import random
import sysconfig
from collections import Counter
from collections.abc import Iterable
from itertools import pairwise
from pathlib import Path

import pytest

from midfill.errors import TokenizerError
from midfill.tokenizer.chat import V2_TEMPLATE
from midfill.tokenizer.fast import FastEncoder
from midfill.tokenizer.tokenizer import Tokenizer
from midfill.tokenizer.train import LEAST, SENTINELS, merges, train
from midfill.tokenizer.vocabulary import Vocabulary, byte_alphabet, bytes_of

ALPHABETS = ("ab", "a ", "ab \n", "aAb(=) \n", "a1 23\t", "é漢 a🦙\u0301")
CUTS = ("deepseek-coder", "deepseek-llm", "qwen2", "gpt-2")
HARD = "def f(x):\r\n\treturn  'é漢🦙' * 1234567  # \u00a0\x00\x7f ÿ Müller\n\n\n    "


def scribble(seed: int) -> list[str]:
    """Short texts of few characters, so that many pairs are equally frequent."""
    chance = random.Random(seed)
    letters = ALPHABETS[seed % len(ALPHABETS)]
    lines = chance.randint(2, 30)
    return ["".join(chance.choices(letters, k=chance.randint(1, 40))) for _ in range(lines)]


def cut_by(vocabulary: Vocabulary, texts: Iterable[str]) -> Counter[str]:
    """The pre-tokens of the texts, in the byte alphabet."""
    pre = vocabulary.plain.pre_tokenizer
    assert pre is not None
    return Counter(word for text in texts for word, _ in pre.pre_tokenize_str(text))


def slow_merges(words: Counter[str], most: int) -> list[tuple[str, str]]:
    """BPE by its definition: count all pairs, join the most frequent, begin again.

    Of equally frequent pairs the one of the older tokens is joined, the left one's age first.
    """
    age = {letter: i for i, letter in enumerate(sorted(byte_alphabet()))}
    cut = [(list(word), count) for word, count in words.items()]
    made: list[tuple[str, str]] = []
    while len(age) < most:
        pairs: Counter[tuple[str, str]] = Counter()
        for word, count in cut:
            for pair in pairwise(word):
                pairs[pair] += count
        best = max(pairs, key=lambda p: (pairs[p], -age[p[0]], -age[p[1]]), default=None)
        if best is None or pairs[best] < 2:
            break
        made.append(best)
        age.setdefault("".join(best), len(age))
        for word, _ in cut:
            for i in range(len(word) - 1):
                if tuple(word[i : i + 2]) == best:
                    word[i : i + 2] = ["".join(best)]
    return made


@pytest.fixture(scope="module")
def sources() -> list[str]:
    """Real files of the standard library, about 300 KB."""
    folder = Path(sysconfig.get_path("stdlib"))
    paths = [path for path in sorted(folder.glob("[abc]*.py")) if path.stat().st_size < 30_000]
    return [path.read_text(encoding="utf-8") for path in paths][:25]


@pytest.fixture(scope="module", params=["deepseek-coder", "deepseek-llm"])
def real(request: pytest.FixtureRequest, sources: list[str]) -> Vocabulary:
    """1,500 entries trained on them, by V1's cut and by V2's."""
    return train(sources, 1500, pre_tokenizer=request.param)


@pytest.mark.parametrize("cut", CUTS)
@pytest.mark.parametrize("seed", range(12))
def test_merges_are_those_of_the_definition(seed: int, cut: str):
    texts = scribble(seed)
    made = train(texts, 256 + len(SENTINELS) + 40, pre_tokenizer=cut)
    assert merges(made) == slow_merges(cut_by(made, texts), 256 + 40)


def test_merges_of_real_files_are_those_of_the_definition(sources: list[str]):
    texts = [text[:6000] for text in sources[:12]]
    made = train(texts, 420)
    assert merges(made) == slow_merges(cut_by(made, texts), 420 - len(SENTINELS))


def test_neither_order_nor_repetition_of_the_run_changes_anything(sources: list[str]):
    want = train(sources, 1000).plain.to_str()
    for seed in range(2):
        shuffled = random.Random(seed).sample(sources, len(sources))
        assert train(shuffled, 1000).plain.to_str() == want


def test_no_token_crosses_a_cut(real: Vocabulary, sources: list[str]):
    words = "\0".join(cut_by(real, sources))
    made = {left + right for left, right in merges(real)}
    assert len(made) == 1500 - LEAST
    assert not [token for token in made if token not in words]


def test_digits_stand_alone_in_both(real: Vocabulary):
    joined = [token for token in map("".join, merges(real)) if sum(map(str.isdigit, token)) > 1]
    assert not joined


def test_every_byte_comes_back(real: Vocabulary, sources: list[str]):
    tokenizer, fast = Tokenizer(real), FastEncoder(Tokenizer(real))
    assert fast.why_slow in (None, "midfill was built without its extension")
    for text in [*sources[:10], HARD, "".join(map(chr, range(0x100))), *scribble(5)]:
        ids = tokenizer.encode(text)
        assert b"".join(map(tokenizer.token_bytes, ids)) == text.encode()
        assert fast.encode(text).tolist() == ids


def test_sentinels_fim_and_chat(real: Vocabulary):
    tokenizer = Tokenizer(real)
    assert tokenizer.vocab_size == 1500
    ids = [tokenizer.id_of(text) for text in SENTINELS]
    assert ids == list(range(1500 - len(SENTINELS), 1500))
    assert tokenizer.sentinels == set(SENTINELS)
    assert tokenizer.fim is not None
    assert tokenizer.fim.style == "deepseek"
    assert tokenizer.stop_ids == {tokenizer.eos_id, tokenizer.id_of("<|EOT|>")}
    assert tokenizer.chat_template == V2_TEMPLATE


def test_opens_in_transformers_with_the_same_ids(
    real: Vocabulary, sources: list[str], tmp_path: Path
):
    transformers = pytest.importorskip("transformers")
    tokenizer = Tokenizer(real)
    tokenizer.save(tmp_path)
    theirs = transformers.AutoTokenizer.from_pretrained(tmp_path)
    for text in [*sources[:5], HARD]:
        assert theirs.encode(text) == tokenizer.encode(text, bos=True)
        assert theirs.decode(theirs.encode(text), skip_special_tokens=True) == text
    chat = [{"role": "user", "content": "Hi"}, {"role": "assistant", "content": "Yes?"}]
    chat.append({"role": "user", "content": "Sort a list."})
    told = theirs.apply_chat_template(chat, add_generation_prompt=True, tokenize=False)
    assert theirs.encode(told, add_special_tokens=False) == tokenizer.encode_chat(chat)
    assert [theirs.convert_tokens_to_ids(text) for text in SENTINELS] == [
        tokenizer.id_of(text) for text in SENTINELS
    ]


def test_goes_through_gguf_and_a_folder(real: Vocabulary, sources: list[str], tmp_path: Path):
    tokenizer = Tokenizer(real)
    keys = tokenizer.to_gguf(1536)
    assert keys["tokenizer.ggml.pre"] == real.pre
    tokenizer.save(tmp_path)
    for again in (Tokenizer.from_gguf(keys), Tokenizer.from_folder(tmp_path)):
        for text in [*sources[:5], HARD]:
            assert again.encode(text) == tokenizer.encode(text)
        assert again.fim == tokenizer.fim


def test_a_folder_keeps_the_name_of_its_cut(real: Vocabulary, tmp_path: Path):
    Tokenizer(real).save(tmp_path)
    keys = Tokenizer.from_folder(tmp_path).to_gguf(1536)
    assert keys["tokenizer.ggml.pre"] == real.pre


def test_as_many_entries_as_occur_twice():
    made = train(["hello hello once"], 1000)
    joined = [bytes_of("".join(pair)) for pair in merges(made)]
    assert joined[-1] == b"hello"
    assert len(joined) == 4
    assert made.rows == LEAST + 4


def test_too_small_a_vocabulary_and_half_a_character_are_refused():
    train(["a"], LEAST)
    with pytest.raises(TokenizerError, match="too small"):
        train(["a"], LEAST - 1)
    with pytest.raises(TokenizerError, match="text 1 is not valid Unicode at character 2"):
        train(["a", "bc\udc80"], 300)
