"""What the classifier of recall counts as a word: BPE tokens, or what spaces part.

DeepSeek-Coder-V2 2 takes the tokens of its own tokenizer, since Chinese puts no spaces between
words, and says that recall gains much.
"""

from collections.abc import Callable, Sequence

from midfill.corpus.quality.classifier import Hasher, Words, hash_ids

ToWords = Callable[[str], Words]
Encode = Callable[[str], Sequence[int]]


def token_words(encode: Encode, longest: int = 4096) -> ToWords:
    """Words by a tokenizer's `encode`; `longest` bounds the work: so many tokens are enough.

    A token has at least one byte, so of a text only a few times `longest` characters are encoded.
    """

    def words(text: str) -> Words:
        # 16 characters a token is more than any text but long runs of blanks; the cut is before
        # encoding, so it must not depend on the tokens.
        return hash_ids(encode(text[: 16 * longest])[:longest])

    return words


def space_words() -> ToWords:
    """Words by white space, as fastText splits by itself; for comparison."""
    hasher = Hasher()
    return lambda text: hasher(text.split())


def fasttext_line(ids: Sequence[int], label: str) -> str:
    """One sample as fastText reads it: `__label__LABEL t<ID> t<ID> ...`, one line.

    Raw tokens would not do: fastText splits at spaces and ends a sample at a newline.
    """
    return " ".join([f"__label__{label}", *(f"t{one}" for one in ids)]) + "\n"
