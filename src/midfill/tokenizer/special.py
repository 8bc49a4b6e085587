"""Which added tokens are sentinels, which end an answer: known by their text, never by number.

Sources: tokenizer files of DeepSeek-Coder V1 and V2, Qwen2.5-Coder, SmolLM2, StarCoder. The glyphs
of DeepSeek's sentinels are U+FF5C and U+2581, those of V1's `<|EOT|>` are ASCII.
"""

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from enum import Enum

DEEPSEEK_BOS = "<｜begin▁of▁sentence｜>"
DEEPSEEK_EOS = "<｜end▁of▁sentence｜>"
EOT = "<|EOT|>"  # ends an instruct answer of V1 and v1.5
V2_USER = "<｜User｜>"

STOPS = (
    DEEPSEEK_EOS,
    EOT,
    "<|im_end|>",
    "<|endoftext|>",
    "<|fim_pad|>",  # Qwen2.5-Coder goes on with one of these three after a middle
    "<|repo_name|>",
    "<|file_sep|>",
)

# Sentinels without bars; in other angle brackets (`<tool_call>`, `<think>`) stands readable text.
_PLAIN_SENTINELS = frozenset(
    (
        "<pad>",
        "<s>",
        "</s>",
        "<unk>",
        "<mask>",
        "<fim_prefix>",
        "<fim_middle>",
        "<fim_suffix>",
        "<fim_pad>",
        "<file_sep>",
        "<repo_name>",
        "<reponame>",
        "<filename>",
    )
)
_BARRED = re.compile(r"<[|｜].*[|｜]>", re.DOTALL)
_BRACKETED = re.compile(r"<.+>|\[.+\]", re.DOTALL)
_PADDING = re.compile(r"\[PAD(\d+)\]")


class Kind(Enum):
    """How an added token behaves in text."""

    ORDINARY = "found in any text and decoded literally: the 13 characters of V1"
    MARKER = "found in template output only, decoded literally: `<tool_call>`"
    SENTINEL = "found in template output only, absent from decoded text: `<|im_end|>`"


@dataclass(frozen=True, slots=True)
class AddedToken:
    """A token that stands beside the BPE vocabulary."""

    id: int
    text: str
    special: bool  # as the file declares it; FIM, EOT and User are not special in DeepSeek's files

    @property
    def kind(self) -> Kind:
        """What the text says about the token, whatever the file declares."""
        if self.special or self.text in _PLAIN_SENTINELS or is_barred(self.text):
            return Kind.SENTINEL
        return Kind.MARKER if _BRACKETED.fullmatch(self.text) else Kind.ORDINARY


def is_barred(text: str) -> bool:
    """Whether this is spelled `<|...|>` or `<｜...｜>`, as no code or prose spells a word."""
    return _BARRED.fullmatch(text) is not None


def is_padding(text: str, token: int) -> bool:
    """Whether this is the filler `[PAD{id}]` that GGUF writers put at unused ids."""
    match = _PADDING.fullmatch(text)
    return match is not None and int(match[1]) == token


class Finder:
    """Finds a set of tokens in text, the longest where several begin at one place."""

    def __init__(self, texts: Iterable[str]) -> None:
        self.texts = frozenset(texts)
        longest_first = sorted(self.texts, key=lambda text: (-len(text), text))
        choices = "|".join(map(re.escape, longest_first)) or r"(?!)"  # the latter never matches
        self._token = re.compile(f"({choices})")
        self._start = re.compile(f"(?={choices})(.)", re.DOTALL)

    def __contains__(self, text: str) -> bool:
        return text in self.texts

    def split(self, text: str) -> Iterator[str]:
        """The text in pieces, each a token or without one."""
        return filter(None, self._token.split(text))

    def broken(self, text: str, mark: str) -> str:
        """The text with `mark` put behind the first character of each token in it."""
        return self._start.sub(rf"\g<1>{mark}", text)
