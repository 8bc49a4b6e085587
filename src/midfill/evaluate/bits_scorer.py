"""A loaded model as `bits.measure` asks it: log-probabilities of a text's own tokens.

They come from the engine, which computes logits a few hundred tokens at a time and keeps of each row
one number, so that memory does not grow with context times vocabulary.
"""

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from midfill.config.engine import Sampling
from midfill.engine.results import Prompt
from midfill.errors import ConfigError
from midfill.tokenizer.fast import FastEncoder

if TYPE_CHECKING:
    from midfill.engine.text import Coder

_ECHO = Sampling(max_tokens=0, logprobs=0, echo=True, speculate=None)


class CoderScorer:
    """A Coder, its whole context. Raises TokenizerError where the checkpoint has no tokenizer."""

    def __init__(self, coder: "Coder", name: str = "") -> None:
        self._coder, self._encoder = coder, FastEncoder(coder.tokenizer)
        self.name = name or coder.name
        self.context = coder.context
        self._widths: dict[int, int] = {}

    def encode(self, text: str) -> tuple[list[int], NDArray[np.int64]]:
        """The tokens of a text by the model's own tokenizer, and the bytes that each stands for."""
        ids = self._encoder.encode(text).tolist()
        for token in set(ids) - self._widths.keys():
            self._widths[token] = len(self._coder.tokenizer.token_bytes(token))
        return ids, np.array([self._widths[token] for token in ids], np.int64)

    def start(self) -> int:
        """The token that begins a text, or the one that ends one. Raises ConfigError without both."""
        tokenizer = self._coder.tokenizer
        for token in (tokenizer.bos_id, tokenizer.eos_id):
            if token is not None:
                return token
        raise ConfigError(
            f"nothing tells {self.name} that a text begins",
            why="its tokenizer has neither a begin nor an end token",
            fix="name bos_token in tokenizer_config.json",
        )

    def log_probabilities(self, tokens: Sequence[int]) -> NDArray[np.float64]:
        """The natural logarithm of the probability of each token but the first."""
        prompt = Prompt(list(tokens), "")
        pieces = self._coder.generate(prompt, _ECHO)
        echoed = [token for piece in pieces for token in piece.tokens]
        found = [token.logprob for token in echoed[1 : len(tokens)]]
        assert [token.id for token in echoed] == list(tokens)
        return np.array(found, np.float64)
