"""The learned part of quality: a score for each document, and a cut for each language.

The model is trained within the build, on labels of `labels.py`; none is shipped. A cut is a quantile
of a language's own scores, so that it takes the worst of each: one cut for all would erase languages
that the model has seen little of.
"""

import re
from collections.abc import Iterable, Mapping

import numpy as np

from midfill.config.corpus.quality import ClassifierConfig, QualityConfig
from midfill.corpus.quality.classifier import Classifier, Hasher, Sample, Words, train
from midfill.corpus.quality.labels import Labelled
from midfill.corpus.record import Document, Drop, Rule

CHARACTERS = 1 << 16  # from a text's beginning; a file's style shows early
_WORD = re.compile(r"[^\W\d_]+|\d+|_+|\n[ \t]*|[^\w\s]")
_DIGITS = re.compile(r"\d+")


class QualityModel:
    """Scores documents by an n-gram classifier over pieces of code: words, marks and indentation."""

    def __init__(self, classifier: Classifier) -> None:
        self.classifier = classifier
        self._words = CodeWords()

    @classmethod
    def train(cls, labelled: Iterable[Labelled], config: ClassifierConfig) -> "QualityModel":
        """The model that tells these apart. Raises CorpusError without both kinds."""
        words = CodeWords()
        samples = (
            Sample(key=one.id, words=words(one.text)[: config.longest], good=one.good)
            for one in labelled
        )
        return cls(train(samples, config))

    def score(self, text: str) -> float:
        """How much a text is like the good ones, 0 to 1."""
        return self.classifier.score(self._words(text))


class CodeWords:
    """Cuts code into words: runs of letters, numbers (all alike), marks, and each line's indentation."""

    def __init__(self) -> None:
        self._hasher = Hasher()

    def __call__(self, text: str) -> Words:
        """The hashes of a text's first words."""
        return self._hasher(_WORD.findall(_DIGITS.sub("0", text[:CHARACTERS])))


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
