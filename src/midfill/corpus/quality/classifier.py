"""A linear classifier over hashed word n-grams: the quality model, and each round of recall.

fastText's supervised mode with two labels, in numpy: a text is the bag of its words and of the
grams of up to `word_ngrams` words, each hashed to one of 2**bits weights; its score is the logistic
function of their mean. Two things differ. Every gram rarer than `minimum_count` is ignored, not only
single words. And the steps are AdaGrad's, so that some thousand samples are enough: fastText's
constant rate moves the mean of 1,000 features too little.

The result depends on the samples, not on their order: they are sorted by their keys and shuffled by
a hash of the key and the seed.
"""

import hashlib
import json
import math
import struct
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from midfill.config.corpus.quality import ClassifierConfig
from midfill.errors import CorpusError

Words = npt.NDArray[np.uint64]  # one hash per word
Buckets = npt.NDArray[np.int64]

MAGIC = b"midfill-ngrams-1"
_MULTIPLY = np.uint64(0x9E3779B97F4A7C15)  # odd, from the golden ratio: spreads neighbouring ids
_MIX = np.uint64(0xD6E8FEB86659FD93)
_HALF = np.uint64(32)


def hash_ids(ids: Sequence[int] | npt.NDArray[np.integer]) -> Words:
    """Token ids as words: the hashes that `t<ID>` lines stand for."""
    return _mixed(np.asarray(ids, dtype=np.uint64))


class Hasher:
    """Turns text words into hashes, remembering those it has seen."""

    def __init__(self, most: int = 1 << 20) -> None:
        self._known: dict[str, int] = {}
        self._most = most  # remembered words; beyond, the memory is emptied

    def __call__(self, words: Sequence[str]) -> Words:
        """One hash per word, the same on every machine."""
        known = self._known
        if len(known) > self._most:
            known.clear()
        for word in set(words).difference(known):
            coded = word.encode("utf-8", "surrogatepass")
            known[word] = int.from_bytes(hashlib.blake2b(coded, digest_size=8).digest(), "little")
        return np.fromiter((known[word] for word in words), np.uint64, len(words))


def _mixed(values: Words) -> Words:
    """A permutation of the 64-bit numbers that leaves no pattern in the high bits."""
    values = (values + np.uint64(1)) * _MULTIPLY  # arrays wrap around without a warning
    values = (values ^ (values >> _HALF)) * _MIX
    return values ^ (values >> _HALF)


def grams(words: Words, config: ClassifierConfig) -> Buckets:
    """The bucket of every gram of one to `word_ngrams` words, repeats included."""
    words = words[: config.longest]
    shift = np.uint64(64 - config.bits)
    found, running = [], np.zeros(len(words), np.uint64)
    for length in range(1, config.word_ngrams + 1):
        if len(words) < length:
            break
        running = _mixed(running[: len(words) - length + 1] ^ words[length - 1 :])
        found.append((running >> shift).astype(np.int64))
    return np.concatenate(found) if found else np.zeros(0, np.int64)


@dataclass(frozen=True, slots=True, kw_only=True)
class Sample:
    """One text to learn from."""

    key: str  # decides the order of learning; such as the document's id
    words: Words
    good: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Classifier:
    """Weights of the grams; scores are probabilities only as far as the samples are like the texts."""

    config: ClassifierConfig
    weights: npt.NDArray[np.float32]  # 2**bits; exact in half precision, as they are saved
    bias: float

    def score(self, words: Words) -> float:
        """How likely the text is of the good kind, 0 to 1; 0.5 plus bias for an empty one."""
        found = grams(words, self.config)
        mean = float(self.weights[found].mean(dtype=np.float64)) if len(found) else 0.0
        return _logistic(mean + self.bias)

    def to_bytes(self) -> bytes:
        """The model as a file: equal models give equal bytes."""
        head = json.dumps({"config": asdict(self.config), "bias": self.bias}, sort_keys=True)
        coded = head.encode()
        half = self.weights.astype("<f2").tobytes()
        return MAGIC + struct.pack("<I", len(coded)) + coded + half

    @classmethod
    def from_bytes(cls, data: bytes, where: str = "the classifier") -> "Classifier":
        """The model that `to_bytes` wrote. Raises CorpusError for anything else."""
        start = len(MAGIC) + 4
        try:
            if not data.startswith(MAGIC):
                raise ValueError("it does not begin as one")
            (length,) = struct.unpack("<I", data[len(MAGIC) : start])
            head = json.loads(data[start : start + length])
            config = ClassifierConfig(**head["config"])
            weights = np.frombuffer(data[start + length :], "<f2").astype(np.float32)
            if len(weights) != 1 << config.bits:
                raise ValueError(f"it has {len(weights)} weights of {1 << config.bits}")
            return cls(config=config, weights=weights, bias=float(head["bias"]))
        except (ValueError, KeyError, TypeError, struct.error) as error:
            raise CorpusError(
                f"{where} is no n-gram classifier", why=str(error), fix="train it again"
            ) from error

    def save(self, path: Path) -> None:
        """Write the model, whole or not at all."""
        part = path.with_name(path.name + ".part")
        part.write_bytes(self.to_bytes())
        part.replace(path)

    @classmethod
    def load(cls, path: Path) -> "Classifier":
        """Read a saved model."""
        return cls.from_bytes(path.read_bytes(), str(path))


def train(samples: Iterable[Sample], config: ClassifierConfig) -> Classifier:
    """The classifier that tells good samples from the others. Raises CorpusError without both kinds.

    The two kinds weigh the same whatever their numbers. Peak memory: 24 bytes for each distinct gram
    of each sample, and 17 for each bucket.
    """
    chosen = sorted(samples, key=lambda sample: sample.key)
    good = sum(sample.good for sample in chosen)
    if not 0 < good < len(chosen):
        raise CorpusError(
            f"the classifier has {good} good samples and {len(chosen) - good} others",
            why="it learns what tells the two apart",
            fix="give a larger seed, or more pages that are not in it",
        )
    counted = [np.unique(grams(one.words, config), return_counts=True) for one in chosen]
    frequent = _frequent(counted, config)
    bags = [_bag(buckets, counts, frequent) for buckets, counts in counted]
    shares = {True: len(chosen) / (2 * good), False: len(chosen) / (2 * (len(chosen) - good))}
    learner = _Learner(config)
    for epoch in range(config.epochs):
        for at in _order(chosen, config.seed, epoch):
            learner.step(*bags[at], good=chosen[at].good, importance=shares[chosen[at].good])
    return learner.finish()


def _frequent(
    counted: Sequence[tuple[Buckets, npt.NDArray[np.intp]]], config: ClassifierConfig
) -> npt.NDArray[np.bool_]:
    """Which buckets hold grams that occur often enough in all samples together."""
    total = np.zeros(1 << config.bits, np.int64)
    for buckets, counts in counted:
        total[buckets] += counts  # within one sample, buckets are distinct
    return total >= config.minimum_count


def _bag(
    buckets: Buckets, counts: npt.NDArray[np.intp], frequent: npt.NDArray[np.bool_]
) -> tuple[Buckets, npt.NDArray[np.float32]]:
    """The frequent buckets of one sample, and what part of all its grams each is."""
    kept = frequent[buckets]
    parts = counts[kept] / max(int(counts.sum()), 1)
    return buckets[kept], parts.astype(np.float32)


def _order(samples: Sequence[Sample], seed: int, epoch: int) -> list[int]:
    """The samples' indices as this epoch meets them."""
    salt = f"{seed}:{epoch}:".encode()

    def place(at: int) -> tuple[bytes, int]:
        coded = samples[at].key.encode("utf-8", "surrogatepass")
        return hashlib.blake2b(salt + coded, digest_size=8).digest(), at

    return sorted(range(len(samples)), key=place)


class _Learner:
    """Logistic regression by AdaGrad, one sample a step."""

    def __init__(self, config: ClassifierConfig) -> None:
        self._config = config
        self._weights = np.zeros(1 << config.bits, np.float32)
        self._squares = np.zeros(1 << config.bits, np.float32)
        self._bias = self._bias_squares = 0.0

    def step(
        self,
        buckets: Buckets,
        parts: npt.NDArray[np.float32],
        *,
        good: bool,
        importance: float,
    ) -> None:
        rate = self._config.learning_rate
        weights = self._weights[buckets]
        score = _logistic(float((weights * parts).sum(dtype=np.float64)) + self._bias)
        slope = (score - good) * importance
        gradient = parts * np.float32(slope)
        squares = self._squares[buckets] + gradient * gradient
        self._squares[buckets] = squares
        self._weights[buckets] = weights - rate * gradient / (np.sqrt(squares) + 1e-12)
        self._bias_squares += slope * slope
        self._bias -= 0.1 * rate * slope / (self._bias_squares**0.5 + 1e-12)

    def finish(self) -> Classifier:
        # Rounded as they will be saved, so that a model scores the same before and after.
        weights = self._weights.astype(np.float16).astype(np.float32)
        return Classifier(config=self._config, weights=weights, bias=self._bias)


def _logistic(value: float) -> float:
    return 1 / (1 + math.exp(-min(max(value, -50.0), 50.0)))


def roc_area(scores: Sequence[float], good: Sequence[bool]) -> float:
    """The chance that a good text scores above another one; ties count half. nan without both."""
    values, is_good = np.asarray(scores, np.float64), np.asarray(good, bool)
    n_good, n_other = int(is_good.sum()), int((~is_good).sum())
    if not n_good or not n_other:
        return float("nan")
    _, rank, ties = np.unique(values, return_inverse=True, return_counts=True)
    middle = np.cumsum(ties) - (ties - 1) / 2  # the mean rank of equal values
    return float((middle[rank][is_good].sum() - n_good * (n_good + 1) / 2) / (n_good * n_other))
