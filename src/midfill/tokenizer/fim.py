"""Fill-in-the-middle prompts in the spelling of each family.

Sources: DeepSeek-Coder §3.1.2 (PSM: prefix, hole, suffix); Qwen2.5-Coder; StarCoder. The paper
writes `fim_begin`, the vocabulary `fim▁begin`.
"""

import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Protocol

from midfill.errors import RequestError
from midfill.tokenizer.special import is_barred

# family: tokens before the prefix, before the suffix, before the middle
SPELLINGS = {
    "deepseek": ("<｜fim▁begin｜>", "<｜fim▁hole｜>", "<｜fim▁end｜>"),
    "qwen": ("<|fim_prefix|>", "<|fim_suffix|>", "<|fim_middle|>"),
    "starcoder": ("<fim_prefix>", "<fim_suffix>", "<fim_middle>"),
}
_CANDIDATE = re.compile(r"<[|｜]?\s?(\w[\w▁ -]{1,28}\w)\s?[|｜]?>")
_MEANT = frozenset(
    (
        "fim_begin",
        "fim_start",
        "fim_hole",
        "fim_end",
        "fim_prefix",
        "fim_suffix",
        "fim_middle",
        "fim_pad",
        "begin_of_sentence",
        "end_of_sentence",
    )
)


@dataclass(frozen=True, slots=True, kw_only=True)
class FimTokens:
    """Ids that stand before the prefix, the suffix and the middle of an infilling prompt."""

    prefix: int
    suffix: int
    middle: int
    bos: bool  # whether the prompt starts with bos: DeepSeek's does, Qwen's does not
    style: str  # "deepseek", "qwen", "starcoder", or "file" where GGUF keys name the ids


class FimTokenizer(Protocol):
    """What infilling needs of a tokenizer."""

    fim: FimTokens | None
    bos_id: int | None

    def encode(self, text: str, *, bos: bool = False) -> list[int]:
        """Plain text to ids."""
        ...


def find(
    id_of: Callable[[str], int | None], named: tuple[int, int, int] | None, *, add_bos: bool
) -> FimTokens | None:
    """The FIM tokens of a vocabulary, by their text or as its file names them; None without."""
    for style, spelling in SPELLINGS.items():
        prefix, suffix, middle = (id_of(text) for text in spelling)
        if prefix is not None and suffix is not None and middle is not None:
            bos = style == "deepseek"
            return FimTokens(prefix=prefix, suffix=suffix, middle=middle, bos=bos, style=style)
    if named is None:
        return None
    prefix, suffix, middle = named
    return FimTokens(prefix=prefix, suffix=suffix, middle=middle, bos=add_bos, style="file")


def encode_fim(tokenizer: FimTokenizer, prefix: str, suffix: str) -> list[int]:
    """The prompt after which the model writes the middle; RequestError without FIM tokens."""
    fim = tokenizer.fim
    if fim is None:
        raise RequestError(
            "this model cannot fill in the middle",
            why="its vocabulary has no FIM tokens, so it was never trained to",
            fix="use complete, or a model that can fill, such as qwen2.5-coder-1.5b-instruct-q4_k_m",
            code="fim_not_supported",
        )
    start = [tokenizer.bos_id] if fim.bos and tokenizer.bos_id is not None else []
    before, after = tokenizer.encode(prefix), tokenizer.encode(suffix)
    return [*start, fim.prefix, *before, fim.suffix, *after, fim.middle]


def look_alikes(text: str, sentinels: Iterable[str] = ()) -> list[str]:
    """Texts that look like, or are, FIM and sentence sentinels, in order, each once.

    In a prompt they stay ordinary text, so whoever typed them should be told. `sentinels` are the
    tokenizer's own; of those without bars only FIM's count: `<s>` and `<filename>` are HTML too.
    """
    found = [
        (match.start(), match[0])
        for match in _CANDIDATE.finditer(text)
        if re.sub(r"[▁ -]", "_", match[1]).lower() in _MEANT
    ]
    found += [(text.index(own), own) for own in sentinels if is_barred(own) and own in text]
    return list(dict.fromkeys(spelled for _, spelled in sorted(found)))
