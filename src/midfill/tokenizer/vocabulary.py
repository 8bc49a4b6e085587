"""What a tokenizer file holds, whatever its format, and the byte alphabet of its tokens."""

import re
import reprlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache

import tokenizers
from tokenizers import models

from midfill.errors import RequestError, TokenizerError
from midfill.tokenizer.special import AddedToken

_HALF = re.compile("[\ud800-\udfff]")  # of a surrogate pair


@dataclass(frozen=True, slots=True, kw_only=True)
class Vocabulary:
    """A byte-level BPE with its added tokens, read from a folder or from GGUF keys."""

    plain: tokenizers.Tokenizer  # knows no added token and adds none
    added: tuple[AddedToken, ...]
    rows: int  # ids the model has rows for; those behind the last token are padding
    bos: int | None = None
    eos: int | None = None
    pad: int | None = None
    unk: int | None = None
    add_bos: bool = False
    template: str | None = None  # as shipped
    pre: str | None = None  # GGUF name of the pre-tokeniser, where the file says it
    fim: tuple[int, int, int] | None = None  # prefix, suffix, middle, where the file says them
    stops: frozenset[int] = frozenset()  # end-of-turn ids the file names beside eos


@cache
def byte_alphabet() -> tuple[str, ...]:
    """The printable character that stands for each byte in a byte-level vocabulary (GPT-2)."""
    printable = [*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)]
    stand_in = iter(range(0x100, 0x200))  # the others are numbered upwards from U+0100
    return tuple(chr(b) if b in printable else chr(next(stand_in)) for b in range(256))


@cache
def _byte_of() -> dict[str, int]:
    return {char: byte for byte, char in enumerate(byte_alphabet())}


def bytes_of(token: str) -> bytes:
    """The bytes that a token of a byte-level vocabulary stands for."""
    table = _byte_of()
    try:
        return bytes([table[char] for char in token])
    except KeyError:  # not written in the byte alphabet, so it can only mean itself
        return token.encode()


def build_bpe(vocab: Mapping[str, int], merges: Sequence[tuple[str, str]]) -> tokenizers.Tokenizer:
    """A tokenizer of this vocabulary, or TokenizerError where the merges do not fit it."""
    try:
        return tokenizers.Tokenizer(models.BPE(vocab=dict(vocab), merges=list(merges)))
    except Exception as error:  # the Rust library has no narrower class
        raise damaged("the merges do not fit the vocabulary", str(error)) from error


def damaged(what: str, why: str) -> TokenizerError:
    """The error for a tokenizer file that contradicts itself."""
    return TokenizerError(
        f"the tokenizer cannot be used: {what}",
        why=why,
        fix="fetch the model again; if it is your own, write it with midfill convert or "
        "transformers' save_pretrained",
    )


def require(fits: bool, name: str, kind: str, value: object) -> None:
    """Raise TokenizerError unless the part of a tokenizer file called `name` is what it must be."""
    if not fits:
        raise damaged(f"{name} is not {kind}", f"it reads {reprlib.repr(value)}")


def is_text(value: object) -> bool:
    """Whether this is text that has bytes, so without half a surrogate pair."""
    return isinstance(value, str) and not _HALF.search(value)


def is_id(value: object) -> bool:
    """Whether this can number a token."""
    return type(value) is int and 0 <= value < 1 << 32


def pairs(merges: Sequence[object]) -> Iterator[tuple[str, str]]:
    """Merges in either spelling, `"a b"` or `["a", "b"]`, as pairs."""
    for merge in merges:
        parts = merge.split(" ") if isinstance(merge, str) else merge
        good = isinstance(parts, list | tuple) and len(parts) == 2 and all(map(is_text, parts))
        require(good, "a merge", "a pair of texts", merge)
        yield parts[0], parts[1]  # pyright: ignore[reportIndexIssue]


def refuse_surrogates(text: str, param: str | None = None) -> None:
    """Raise RequestError where text holds half a character and so has no bytes."""
    try:
        text.encode()
    except UnicodeEncodeError as error:
        raise RequestError(
            f"{param or 'the text'} is not valid Unicode at character {error.start}",
            why=f"it holds half of a surrogate pair, U+{ord(text[error.start]):04X}",
            fix="send the whole character, or U+FFFD in its place",
            param=param,
        ) from error
