"""Vocabularies of the GPT family, in tiktoken's format: a line for each token, base64 and rank.

Such a file says neither how text is cut before merges nor which sentinels there are; both are known
for the published encodings, which are told apart by how many tokens they have. Merges are not
listed either: any two neighbours whose joint bytes are a token may merge, the lowest rank first.
Source: tiktoken 0.14 (patterns and sentinels).
"""

import base64
import binascii
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from tokenizers import Regex, pre_tokenizers

from midfill.errors import TokenizerError
from midfill.tokenizer.pretokenize import GPT2
from midfill.tokenizer.special import AddedToken
from midfill.tokenizer.vocabulary import Vocabulary, build_bpe, byte_alphabet, damaged

_CASE = r"\p{Lm}\p{Lo}\p{M}"
_ENDING = "(?i:'s|'t|'re|'ve|'m|'ll|'d)"
_GPT2 = rf"{GPT2}|\s+"
_CL100K = (
    rf"{_ENDING}|[^\r\n\p{{L}}\p{{N}}]?\p{{L}}+|\p{{N}}{{1,3}}| ?[^\s\p{{L}}\p{{N}}]+[\r\n]*"
    r"|\s*[\r\n]+|\s+(?!\S)|\s+"
)
_O200K = "|".join(
    [
        rf"[^\r\n\p{{L}}\p{{N}}]?[\p{{Lu}}\p{{Lt}}{_CASE}]*[\p{{Ll}}{_CASE}]+{_ENDING}?",
        rf"[^\r\n\p{{L}}\p{{N}}]?[\p{{Lu}}\p{{Lt}}{_CASE}]+[\p{{Ll}}{_CASE}]*{_ENDING}?",
        r"\p{N}{1,3}",
        r" ?[^\s\p{L}\p{N}]+[\r\n/]*",
        r"\s*[\r\n]+",
        r"\s+(?!\S)",
        r"\s+",
    ]
)


@dataclass(frozen=True, slots=True)
class Encoding:
    """What a published encoding is beside its ranks."""

    name: str
    tokens: int  # lines of its file
    pattern: str  # its matches are what merges stay within
    sentinels: Mapping[str, int] = field(default_factory=dict)


_END, _END_OF_PROMPT = "<|endoftext|>", "<|endofprompt|>"
_FIM = ("<|fim_prefix|>", "<|fim_middle|>", "<|fim_suffix|>")
ENCODINGS = (
    Encoding("r50k_base", 50_256, _GPT2, {_END: 50_256}),
    Encoding("p50k_base", 50_280, _GPT2, {_END: 50_256}),
    Encoding(
        "cl100k_base",
        100_256,
        _CL100K,
        {
            _END: 100_257,
            **{text: 100_258 + i for i, text in enumerate(_FIM)},
            _END_OF_PROMPT: 100_276,
        },
    ),
    Encoding("o200k_base", 199_998, _O200K, {_END: 199_999, _END_OF_PROMPT: 200_018}),
)


def is_ranks(path: Path) -> bool:
    """Whether a file's first line is that of such a file, whatever its name."""
    with path.open("rb") as file:
        first = file.readline(4096).split()
    return len(first) == 2 and first[1].isdigit() and _base64(first[0]) is not None


def read_ranks(path: Path) -> dict[bytes, int]:
    """The rank of every token, by its bytes. Raises TokenizerError."""
    ranks: dict[bytes, int] = {}
    for number, line in enumerate(path.read_bytes().splitlines(), 1):
        parts = line.split()
        if not parts:
            continue
        token = _base64(parts[0]) if len(parts) == 2 and parts[1].isdigit() else None
        if not token or token in ranks:
            raise damaged(
                f"line {number} of {path}", "it is not a new token in base64 and its rank"
            )
        ranks[token] = int(parts[1])
    lacking = sum(bytes([byte]) not in ranks for byte in range(256))
    if lacking or len(set(ranks.values())) < len(ranks):
        why = f"it lacks {lacking} of the 256 bytes" if lacking else "two tokens share a rank"
        raise damaged(f"the ranks in {path}", why)
    return ranks


def encoding_of(ranks: Mapping[bytes, int], path: Path) -> Encoding:
    """The published encoding of so many tokens, or TokenizerError listing the known ones."""
    for one in ENCODINGS:
        if one.tokens == len(ranks):
            return one
    known = ", ".join(f"{one.name} ({one.tokens:,})" for one in ENCODINGS)
    raise TokenizerError(
        f"{path} is none of the known encodings",
        why=f"it has {len(ranks):,} tokens; known are {known}, and how another one cuts text "
        "before merging is not in the file",
        fix="give its tokenizer.json, which says so",
    )


def read(path: Path) -> Vocabulary:
    """The vocabulary of a published encoding. Raises TokenizerError."""
    ranks = read_ranks(path)
    return build(ranks, encoding_of(ranks, path))


def build(ranks: Mapping[bytes, int], encoding: Encoding) -> Vocabulary:
    """A byte-level BPE with the ids of these ranks."""
    letters = byte_alphabet()
    spelled = {token: "".join(letters[byte] for byte in token) for token in ranks}
    pairs = [(spelled[left], spelled[right]) for left, right in _merges(ranks)]
    plain = build_bpe({spelled[token]: rank for token, rank in ranks.items()}, pairs)
    cut = pre_tokenizers.Split(Regex(encoding.pattern), "isolated")
    byte_level = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
    plain.pre_tokenizer = pre_tokenizers.Sequence([cut, byte_level])  # type: ignore[assignment]
    end = encoding.sentinels.get(_END)
    return Vocabulary(
        plain=plain,
        added=tuple(AddedToken(i, text, True) for text, i in encoding.sentinels.items()),
        rows=max([*ranks.values(), *encoding.sentinels.values()]) + 1,
        eos=end,
        pad=end,
    )


def _merges(ranks: Mapping[bytes, int]) -> Iterator[tuple[bytes, bytes]]:
    """Every pair of tokens that makes a token, by the rank of what they make."""
    for token in sorted(ranks, key=lambda token: ranks[token]):
        for place in range(1, len(token)):
            left, right = token[:place], token[place:]
            if left in ranks and right in ranks:
                yield left, right


def _base64(text: bytes) -> bytes | None:
    try:
        return base64.b64decode(text, validate=True)
    except binascii.Error:
        return None
