"""Train a byte-level BPE on texts, with DeepSeek's sentinels behind its vocabulary.

Source: DeepSeek-Coder §3.2 (32,000 entries, the tokenizers library's trainer on part of the
corpus). Names of sentinels are those of the released vocabularies, so that every tool that knows
DeepSeek's finds its tokens here.
"""

from collections.abc import Iterable

import tokenizers
from tokenizers import models, trainers

from midfill.errors import TokenizerError
from midfill.tokenizer import pretokenize
from midfill.tokenizer.special import DEEPSEEK_BOS, DEEPSEEK_EOS, EOT, AddedToken
from midfill.tokenizer.vocabulary import Vocabulary, byte_alphabet

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
_SPECIAL = {DEEPSEEK_BOS, DEEPSEEK_EOS}  # as in DeepSeek's files; the others are found by name


def train(
    texts: Iterable[str], vocabulary: int, *, pre_tokenizer: str = "deepseek-coder"
) -> Vocabulary:
    """A vocabulary of `vocabulary` ids, sentinels included, fewer where the texts have no more.

    Depends on the texts only, not on their order. Raises TokenizerError where it is too small for
    the 256 bytes and the sentinels.
    """
    if vocabulary < 256 + len(SENTINELS):
        raise TokenizerError(
            f"a vocabulary of {vocabulary} is too small",
            why=f"the bytes need 256 entries, the sentinels {len(SENTINELS)}",
            fix="give at least 300",
        )
    plain = tokenizers.Tokenizer(models.BPE())
    plain.pre_tokenizer = pretokenize.build(pre_tokenizer)  # type: ignore[assignment]
    trainer = trainers.BpeTrainer(  # type: ignore[call-arg]
        vocab_size=vocabulary - len(SENTINELS),
        initial_alphabet=sorted(byte_alphabet()),
        show_progress=False,
    )
    plain.train_from_iterator(texts, trainer)
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
        pre=pre_tokenizer,
    )
