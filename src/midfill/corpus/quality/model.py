"""The learned part of quality: a score for each document, and a cut for each language.

The model is trained within the build, on labels of `labels.py`; none is shipped. A cut is a quantile
of a language's own scores, so that it takes the worst of each: one cut for all would erase languages
that the model has seen little of. Words are cut and hashed in native code where it is built;
`plain_code_words` is its readable twin.
"""

import re
from collections.abc import Iterable, Mapping
from functools import lru_cache, reduce
from itertools import islice

import numpy as np

from midfill.config.corpus.quality import ClassifierConfig, QualityConfig
from midfill.corpus.quality.classifier import Classifier, Sample, Words, train
from midfill.corpus.quality.labels import Labelled
from midfill.corpus.record import Document, Drop, Rule

try:
    from midfill.corpus import _native as native  # pyright: ignore[reportAttributeAccessIssue]
except ImportError:  # no compiler was there
    native = None

_WORD = re.compile(r"[^\W\d_]+|\d+|_+|\n[ \t]*|[^\w\s]")
_BASIS, _PRIME = 0xCBF29CE484222325, 0x100000001B3  # of the 64-bit FNV-1a hash
_LARGEST = (1 << 64) - 1


class QualityModel:
    """Scores documents by an n-gram classifier over pieces of code: words, marks and indentation."""

    def __init__(self, classifier: Classifier) -> None:
        self.classifier = classifier

    @classmethod
    def train(cls, labelled: Iterable[Labelled], config: ClassifierConfig) -> "QualityModel":
        """The model that tells these apart. Raises CorpusError without both kinds."""
        samples = (
            Sample(key=one.id, words=code_words(one.text, config.longest), good=one.good)
            for one in labelled
        )
        return cls(train(samples, config))

    def score(self, text: str) -> float:
        """How much a text is like the good ones, 0 to 1."""
        return self.classifier.score(code_words(text, self.classifier.config.longest))


def code_words(text: str, most: int) -> Words:
    """Hashes of the first `most` words of code, the same on every machine.

    Words are runs of letters, numbers (all alike), runs of `_`, marks, and each line's indentation.
    """
    if native:
        return np.frombuffer(native.code_words(text, most), np.uint64)
    return plain_code_words(text, most)


def plain_code_words(text: str, most: int) -> Words:
    """What `code_words` returns, by Python alone."""
    words = (match[0] for match in islice(_WORD.finditer(text), most))
    hashes = (_hash("0" if word[0].isdecimal() else word) for word in words)
    return np.fromiter(hashes, np.uint64)


@lru_cache(1 << 16)
def _hash(word: str) -> int:
    """FNV-1a over code points instead of bytes."""
    return reduce(lambda value, letter: (value ^ ord(letter)) * _PRIME & _LARGEST, word, _BASIS)


def cuts(
    scored: Mapping[str, tuple[list[float], list[int]]], config: QualityConfig
) -> dict[str, float]:
    """The score below which a document of each language is dropped.

    `scored` gives each language's scores and sizes in bytes, of its documents or of a sample. A
    language with few files has no cut. Does not depend on the order.
    """
    result = {}
    for language, (scores, sizes) in scored.items():
        if len(scores) < config.least_files:
            continue
        keep = config.keep_by_language.get(language, config.keep)
        values, weights = np.asarray(scores), np.ones(len(scores))
        if config.unit == "bytes":
            weights = np.asarray(sizes, np.float64)
        order = np.argsort(-values, kind="stable")
        kept = np.cumsum(weights[order]) <= keep * weights.sum()
        last = int(np.count_nonzero(kept))
        result[language] = float(values[order][last - 1]) if last else float("inf")
    return result


def above(cut: Mapping[str, float]) -> Rule:
    """The rule that drops documents whose stored score is below their language's cut."""

    def rule(document: Document) -> Drop | None:
        least = cut.get(document.language or "", 0.0)
        if document.quality is None or document.quality >= least:
            return None
        return Drop("quality", round(document.quality, 4))

    return rule
