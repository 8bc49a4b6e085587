"""Fill-in-the-middle in training: documents cut in three and put in another order.

Source: DeepSeek-Coder §3.1.2, DeepSeek-Coder-V2 §3.1: prefix, suffix, middle (PSM) with rate 0.5,
before packing. `spm` is the second variant of Bavarian et al. (2207.14255 §3), which the papers do
not use. `fim.py` has the prompts of the same form.
"""

import hashlib
import random
from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray

from midfill.tokenizer.fim import FimTokens

Ids = NDArray[np.uint32]
Encode = Callable[[str], Ids]
SHORTEST = 3  # characters: a shorter document has no three parts


def source_of_chance(seed: int, document: str, epoch: int) -> random.Random:
    """Random numbers that depend on seed, document and epoch only: not on shard or worker."""
    key = f"{seed}\0{epoch}\0{document}".encode("utf-8", "surrogatepass")
    return random.Random(int.from_bytes(hashlib.blake2b(key, digest_size=16).digest()))


def cut(text: str, split: str, chance: random.Random) -> tuple[str, str, str]:
    """Prefix, middle and suffix, which joined are `text`; each may be empty.

    `split` "character" takes two of the len+1 places between characters, each as likely; "line"
    two of the places where a line begins or the text ends.
    """
    if split == "line":
        starts = [0, *(i + 1 for i, sign in enumerate(text) if sign == "\n")]
        places = sorted({*starts, len(text)})
        low, high = sorted(chance.choice(places) for _ in range(2))
    else:
        low, high = sorted(chance.randint(0, len(text)) for _ in range(2))
    return text[:low], text[low:high], text[high:]


def rearranged(
    text: str, encode: Encode, fim: FimTokens, *, split: str, spm: bool, chance: random.Random
) -> Ids:
    """The ids of a document with a hole, without begin and end tokens.

    PSM: begin, prefix, hole, suffix, end, middle. SPM: begin, hole, suffix, end, prefix, middle.
    """
    if split == "token":
        ids = encode(text)
        low, high = sorted(chance.randint(0, len(ids)) for _ in range(2))
        parts: Sequence[Ids] = (ids[:low], ids[low:high], ids[high:])
    else:
        parts = [encode(part) for part in cut(text, split, chance)]
    prefix, middle, suffix = parts
    begin, hole, end = ([np.uint32(one)] for one in (fim.prefix, fim.suffix, fim.middle))
    if spm:
        return _joined(begin, hole, suffix, end, prefix, middle)
    return _joined(begin, prefix, hole, suffix, end, middle)


def _joined(*parts: object) -> Ids:
    return np.concatenate([np.asarray(part, np.uint32) for part in parts])


def undone(ids: Sequence[int], fim: FimTokens) -> tuple[list[int], list[int], list[int]] | None:
    """Prefix, middle and suffix ids of a document that `rearranged` made in PSM order, or None."""
    ids = list(ids)
    if not ids or ids[0] != fim.prefix or fim.suffix not in ids or fim.middle not in ids:
        return None
    hole, end = ids.index(fim.suffix), ids.index(fim.middle)
    return ids[1:hole], ids[end + 1 :], ids[hole + 1 : end]
