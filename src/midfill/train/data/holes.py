"""Documents of token shards, rearranged for fill-in-the-middle when they are read.

Source: DeepSeek-Coder §3.1.2: half of the documents, in PSM order, before packing. That the cuts
are new in every epoch is ours.
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from midfill.config.corpus.documents import FimConfig
from midfill.tokenizer.fast import FastEncoder
from midfill.tokenizer.fim import FimTokens
from midfill.tokenizer.holes import SHORTEST, rearranged, source_of_chance
from midfill.tokenizer.tokenizer import Tokenizer
from midfill.train.data.documents import Documents

MARKS = 3  # sentinels of a document with a hole; words that are cut in two add more tokens
_LOOKED_AT = 4096  # documents: where 1 % have a hole, none of these has with 10^-18


def carry_holes(documents: Documents, fim: FimTokens) -> bool:
    """Whether documents were rearranged when the shards were built: some begin with the sentinel."""
    few = np.linspace(0, len(documents) - 1, min(len(documents), _LOOKED_AT)).astype(int)
    return any(fim.prefix in documents.ids(int(number))[:2] for number in few)


class Holes:
    """Rearranges documents, given as ids; not for several threads."""

    def __init__(self, tokenizer: Tokenizer, config: FimConfig, seed: int) -> None:
        assert tokenizer.fim is not None
        self._marks = tokenizer.fim
        self._config, self._seed = config, seed
        self._begin, self._end = tokenizer.bos_id, tokenizer.eos_id
        self._encode = FastEncoder(tokenizer).encode
        self._bytes = [tokenizer.token_bytes(i) for i in range(tokenizer.rows)]

    def made(self, ids: NDArray[Any], name: str, epoch: int) -> NDArray[Any]:
        """The ids of the document, rearranged if chance says so, or as they are.

        Chance depends on seed, name and epoch. As they are stay documents of fewer than three
        characters, and those whose ids are not what their text encodes to: sentinels inside, bytes
        that are no UTF-8, the ids of another tokenizer.
        """
        chance = source_of_chance(self._seed, name, epoch)
        if chance.random() >= self._config.rate:
            return ids
        first = int(ids[0] == self._begin)
        last = len(ids) - int(len(ids) > first and ids[-1] == self._end)
        text = self._text(ids[first:last])
        if text is None or len(text) < SHORTEST:
            return ids
        spm = chance.random() < self._config.spm_rate
        new = rearranged(
            text, self._encode, self._marks, split=self._config.split, spm=spm, chance=chance
        )
        return np.concatenate([ids[:first], new.astype(ids.dtype), ids[last:]])

    def _text(self, ids: NDArray[Any]) -> str | None:
        """The text that encodes to just these ids, or None where there is none."""
        try:
            text = b"".join(map(self._bytes.__getitem__, ids.tolist())).decode()
        except UnicodeDecodeError:
            return None
        return text if np.array_equal(self._encode(text), ids) else None
