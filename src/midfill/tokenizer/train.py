"""Train a byte-level BPE on texts, with DeepSeek's sentinels behind its vocabulary.

Source: DeepSeek-Coder §3.2 (32,000 entries, the tokenizers library's trainer on part of the
corpus). Names of sentinels are those of the released vocabularies, so that every tool that knows
DeepSeek's finds its tokens here; the chat template is V2's.
"""

import json
from collections.abc import Iterable, Iterator

import tokenizers
from tokenizers import models, pre_tokenizers, trainers

from midfill.errors import RequestError, TokenizerError
from midfill.tokenizer import pretokenize
from midfill.tokenizer.chat import V2_TEMPLATE
from midfill.tokenizer.special import DEEPSEEK_BOS, DEEPSEEK_EOS, EOT, AddedToken
from midfill.tokenizer.vocabulary import Vocabulary, byte_alphabet, refuse_surrogates

SENTINELS = (
    DEEPSEEK_BOS,
    DEEPSEEK_EOS,
    "<｜fim▁hole｜>",
    "<｜fim▁begin｜>",
    "<｜fim▁end｜>",
    "<｜completion｜>",
    "<｜User｜>",
    "<｜Assistant｜>",
    EOT,
)
LEAST = 256 + len(SENTINELS)  # entries: the bytes and the sentinels
MOST_BYTES = (1 << 31) - 1  # the trainer counts pairs in 32 bits with a sign
_SPECIAL = {DEEPSEEK_BOS, DEEPSEEK_EOS}  # as in DeepSeek's files; the others are found by name
_SEEN = 2  # times a pair must occur: one that occurs once compresses nothing but its own text


def train(
    texts: Iterable[str], vocabulary: int, *, pre_tokenizer: str = "deepseek-coder"
) -> Vocabulary:
    """A vocabulary of `vocabulary` ids, sentinels included, fewer where the texts have no more.

    Depends on the texts only, not on their order; of equally frequent pairs the one with the
    smaller ids is merged first. Texts are read once and not kept. Raises TokenizerError where the
    vocabulary is too small for the 256 bytes and the sentinels, or a text is no Unicode.
    """
    require_room(vocabulary)
    plain = tokenizers.Tokenizer(models.BPE())
    plain.pre_tokenizer = _pre_tokenizer(pre_tokenizer)  # type: ignore[assignment]
    trainer = trainers.BpeTrainer(  # type: ignore[call-arg]
        vocab_size=vocabulary - len(SENTINELS),
        min_frequency=_SEEN,
        initial_alphabet=sorted(byte_alphabet()),
        show_progress=False,
    )
    plain.train_from_iterator(_whole(texts), trainer)
    size = plain.get_vocab_size()
    added = tuple(AddedToken(size + i, text, text in _SPECIAL) for i, text in enumerate(SENTINELS))
    return Vocabulary(
        plain=plain,
        added=added,
        rows=size + len(added),
        bos=size,
        eos=size + 1,
        pad=size + 1,
        add_bos=True,
        template=V2_TEMPLATE,
        pre=pre_tokenizer,
    )


def require_room(vocabulary: int) -> None:
    """Raise TokenizerError where the bytes and the sentinels do not fit into so many entries."""
    if vocabulary < LEAST:
        raise TokenizerError(
            f"a vocabulary of {vocabulary} is too small",
            why=f"the bytes need 256 entries, the sentinels {len(SENTINELS)}",
            fix="give at least 300",
        )


def merges(vocabulary: Vocabulary) -> list[tuple[str, str]]:
    """The merges in their order, in the byte alphabet."""
    return [tuple(pair) for pair in json.loads(vocabulary.plain.to_str())["model"]["merges"]]


def _pre_tokenizer(name: str) -> pre_tokenizers.PreTokenizer:
    """What cuts the training texts: as the released tokenizer.json, so each digit alone in V2 too.

    GGUF's deepseek-llm keeps runs of digits together, because V2 has no merge between digits that
    could join them; trained by that rule alone, a new vocabulary would have some.
    """
    built = pretokenize.build(name)
    if pretokenize.canonical(name) != "deepseek-llm":
        return built
    *splits, byte_level = built  # type: ignore[misc]
    digits = pre_tokenizers.Digits(individual_digits=True)
    return pre_tokenizers.Sequence([*splits, digits, byte_level])


def _whole(texts: Iterable[str]) -> Iterator[str]:
    """The texts; TokenizerError at one that holds half a character."""
    for number, text in enumerate(texts):
        try:
            refuse_surrogates(text, f"text {number}")
        except RequestError as error:
            raise TokenizerError(error.what, why=error.why, fix="decode it as UTF-8") from error
        yield text
