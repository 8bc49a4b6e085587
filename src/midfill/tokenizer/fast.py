"""Encoding at the speed that a corpus needs: the ids of `Tokenizer.encode`, from compiled loops.

A pre-tokeniser is a list of regexes. Those of DeepSeek, Qwen2 and GPT-2 are few in form, so each
becomes a rule over classes of characters; the classes are asked of the `tokenizers` library itself,
whose Unicode version decides what a letter is. Anything else falls back to the library.
"""

import json
import re
import sys
import unicodedata
from array import array
from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from tokenizers import Regex, pre_tokenizers

from midfill.tokenizer.pretokenize import GPT2, QWEN2
from midfill.tokenizer.tokenizer import Tokenizer
from midfill.tokenizer.vocabulary import byte_alphabet, refuse_surrogates

try:
    from midfill.tokenizer import _native  # pyright: ignore[reportAttributeAccessIssue]
except ImportError:  # a machine without a compiler
    _native = None

Ids = NDArray[np.uint32]
_NONE = 0xFFFFFFFF  # a byte that the vocabulary lacks

# As native/bpe.cpp has them.
_RUN, _TRAILING, _GPT2_RULE, _QWEN2_RULE = range(4)
_KNOWN_BITS = {r"\s": 1, r"\p{L}": 2, r"\p{N}": 4, r"[\r\n]": 8}
_BITS = 16
_WHOLE = {GPT2: _GPT2_RULE, GPT2 + r"|\s+": _GPT2_RULE, QWEN2: _QWEN2_RULE}
_FORM = re.compile(r"(\\s\?)?(\\p\{\w+\}|\[(?:[^\[\]\\&]|\\[^pPdDwWsShHbB]|\\p\{\w+\})+\])(\+?)")
# Every assigned character lies below the first, or among the tags and selectors.
_ASSIGNED = (*range(0xD800), *range(0xE000, 0x34000), *range(0xE0000, 0xE1000))

Rule = tuple[int, int, bool, bool]  # kind, bit, takes a space in front, each character alone


class FastEncoder:
    """Text to ids, equal to `Tokenizer.encode` on every text.

    Not for several threads at once: it remembers words.
    """

    def __init__(self, tokenizer: Tokenizer | Path | str) -> None:
        if not isinstance(tokenizer, Tokenizer):
            tokenizer = Tokenizer.from_folder(Path(tokenizer))
        self.tokenizer = tokenizer
        self._ordinary = sorted(tokenizer._ordinary.texts)
        self._encoder: Any = None
        self.why_slow: str | None = "midfill was built without its extension"
        if _native is not None:
            try:
                self._encoder = _native.Encoder(*_tables(tokenizer))
                self.why_slow = None
            except _UnsupportedError as unsupported:
                self.why_slow = str(unsupported)

    @property
    def compiled(self) -> bool:
        """Whether the compiled loops encode; otherwise the library does, and `why_slow` says why."""
        return self._encoder is not None

    def encode(self, text: str) -> Ids:
        """Ids of plain text; sentinels in it stay text. Lone surrogates raise RequestError."""
        if self._encoder is None:
            return np.array(self.tokenizer.encode(text), dtype=np.uint32)
        if not any(token in text for token in self._ordinary):
            return self._plain(text)
        finder, ids = self.tokenizer._ordinary, self.tokenizer._ids
        refuse_surrogates(text)
        parts = [
            np.array([ids[piece]], dtype=np.uint32) if piece in finder else self._plain(piece)
            for piece in finder.split(text)
        ]
        return np.concatenate(parts)

    def encode_batch(self, texts: Iterable[str]) -> list[Ids]:
        """Ids of each text."""
        return [self.encode(text) for text in texts]

    def _plain(self, text: str) -> Ids:
        try:
            raw = text.encode()
        except UnicodeEncodeError:
            refuse_surrogates(text)
            raise
        return np.frombuffer(self._encoder.encode(raw), dtype=np.uint32)


class _UnsupportedError(Exception):
    """A tokenizer that the rules cannot express."""


def _require(fits: bool, why: str) -> None:
    if not fits:
        raise _UnsupportedError(why)


def _tables(tokenizer: Tokenizer) -> tuple[bytes, list[list[int]], list[int], bytes]:
    """Classes of characters, rules, tokens of the bytes, merges: what the compiled encoder takes."""
    parts = json.loads(tokenizer._vocabulary.plain.to_str())
    _require(_is_empty(parts["normalizer"]), "it changes text before cutting it")
    model = parts["model"]
    unusual = ("dropout", "unk_token", "continuing_subword_prefix", "end_of_word_suffix")
    unusual += ("byte_fallback", "ignore_merges")
    for name in unusual:
        _require(not model.get(name), f"its model has {name}")
    bits = dict(_KNOWN_BITS)
    rules = list(_rules(_pre_tokenizers(parts["pre_tokenizer"]), bits))
    vocab: Mapping[str, int] = model["vocab"]
    byte_tokens = [vocab.get(char, _NONE) for char in byte_alphabet()]
    return _classes(bits), [list(map(int, r)) for r in rules], byte_tokens, _merges(model)


def _is_empty(normalizer: Mapping[str, Any] | None) -> bool:
    return normalizer is None or normalizer == {"type": "Sequence", "normalizers": []}


def _merges(model: Mapping[str, Any]) -> bytes:
    """Left, right and joint token of every merge, in order."""
    vocab, numbers = model["vocab"], array("I")
    for merge in model["merges"]:
        left, right = merge.split(" ") if isinstance(merge, str) else merge
        numbers.extend((vocab[left], vocab[right], vocab[left + right]))
    return numbers.tobytes()


def _pre_tokenizers(part: Mapping[str, Any] | None) -> Sequence[Mapping[str, Any]]:
    _require(part is not None, "it does not cut text")
    assert part is not None
    return part["pretokenizers"] if part["type"] == "Sequence" else [part]


def _rules(parts: Sequence[Mapping[str, Any]], bits: dict[str, int]) -> Iterator[Rule]:
    _require(bool(parts) and parts[-1]["type"] == "ByteLevel", "it is not byte-level")
    for part in parts[:-1]:
        if part["type"] == "Digits":
            yield _RUN, _bit("digits", bits), False, part["individual_digits"]
            continue
        _require(part["type"] == "Split", f"it cuts with {part['type']}")
        plain = part["behavior"] == "Isolated" and not part["invert"] and "Regex" in part["pattern"]
        _require(plain, "it cuts in another way than around matches")
        yield _rule(part["pattern"]["Regex"], bits)
    _require(not parts[-1]["add_prefix_space"], "it puts a space in front")
    if parts[-1].get("use_regex", True):
        yield _GPT2_RULE, 0, False, False


def _rule(regex: str, bits: dict[str, int]) -> Rule:
    if regex in _WHOLE:
        return _WHOLE[regex], 0, False, False
    if regex == r"\s+$":
        return _TRAILING, _KNOWN_BITS[r"\s"], False, False
    form = _FORM.fullmatch(regex)
    _require(form is not None, f"it cuts at {regex[:40]!r}")
    assert form is not None
    space, run = bool(form[1]), bool(form[3])
    _require(run or not space, f"it cuts at {regex[:40]!r}")
    return _RUN, _bit(form[2], bits), space, not run


def _bit(name: str, bits: dict[str, int]) -> int:
    bit = bits.setdefault(name, 1 << len(bits))
    _require(bit < 1 << _BITS, "it has more classes of characters than we count")
    return bit


def _classes(bits: Mapping[str, int]) -> bytes:
    """The classes of every code point, two bytes each."""
    table = np.zeros(sys.maxunicode + 1, dtype=np.uint16)
    for name, bit in bits.items():
        table[_digits() if name == "digits" else _members(name)] |= bit
    return table.tobytes()


@cache
def _members(class_regex: str) -> NDArray[np.int64]:
    """The code points of a class, as the library sees them."""
    points = np.array(_ASSIGNED)
    cut = pre_tokenizers.Split(Regex(f"{class_regex}+"), "removed")
    member = np.ones(len(points), dtype=bool)
    for _, (start, end) in cut.pre_tokenize_str("".join(map(chr, _ASSIGNED))):
        member[start:end] = False
    return points[member]


@cache
def _digits() -> NDArray[np.int64]:
    """The code points that the library's Digits cuts out."""
    maybe = [p for p in _ASSIGNED if unicodedata.category(chr(p)) in ("Nd", "Nl", "No", "Cn")]
    cut = pre_tokenizers.Digits(individual_digits=True)
    # Two letters between them, so that a piece of one character is a digit.
    pieces = cut.pre_tokenize_str("".join(f"{chr(p)}xx" for p in maybe) + "x")
    return np.array([ord(piece) for piece, _ in pieces if len(piece) == 1], dtype=np.int64)
