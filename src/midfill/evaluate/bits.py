"""Bits per byte: how well a model foretells text, for models with other tokenizers and contexts.

A document is read in windows as long as the context; each next window begins a stride later and is
scored where the one before ended, so every token but the first is scored once, with at least
window - stride tokens before it. Bits are summed over tokens, and divided by the document's bytes of
UTF-8. Before the first token stands the token that begins a text, or the one that ends one.
"""

import hashlib
import json
import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Protocol, Self

import numpy as np
from numpy.typing import NDArray

from midfill.errors import ConfigError
from midfill.evaluate.statistics import Interval, bootstrap_ratio

FORMAT = "midfill bits 1"
FILE = "bits.json"
FIRST_EDGE = (
    32  # tokens: where the first bucket of positions ends; each next one ends at twice that
)
ALL = "all"


@dataclass(frozen=True, slots=True, kw_only=True)
class Text:
    """A document to score."""

    text: str
    language: str
    name: str = ""  # of what is resampled together, such as a repository; empty: it stands alone


class Scorer(Protocol):
    """A model, as far as it is asked here."""

    name: str
    context: int  # tokens it sees at most

    def encode(self, text: str) -> tuple[list[int], NDArray[np.int64]]:
        """The tokens of a text, and the bytes that each stands for."""
        ...

    def start(self) -> int:
        """The token before the first of a text."""
        ...

    def log_probabilities(self, tokens: Sequence[int]) -> NDArray[np.float64]:
        """The natural logarithm of the probability of each token but the first."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Share:
    """Bits per byte of some documents, with its 95 % interval."""

    documents: int
    tokens: int
    bytes: int
    bits: float
    low: float
    high: float

    @property
    def bits_per_byte(self) -> float:
        """The figure."""
        return self.bits / self.bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class Bucket:
    """Tokens of first windows that have at least `first` tokens before them, and less than `end`."""

    first: int
    end: int
    tokens: int
    bytes: int
    bits: float

    @property
    def bits_per_token(self) -> float:
        """The loss, in bits."""
        return self.bits / self.tokens

    @property
    def bits_per_byte(self) -> float:
        """The figure that models with other tokenizers share."""
        return self.bits / self.bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class Bits:
    """What was measured of one model on some documents."""

    model: str
    data: str  # where the documents came from
    digest: str  # of their texts: equal ones were measured on the same
    window: int  # tokens
    stride: int
    all: Share
    languages: Mapping[str, Share]
    positions: tuple[
        Bucket, ...
    ]  # in the first windows of documents that fill one: the same in all
    filling: int  # how many they are
    lossy_bytes: int  # of the texts that the tokenizer cannot express

    def to_json(self) -> dict[str, Any]:
        """Plain values; `from_json` undoes it."""
        plain = asdict(self)
        for share, own in ((plain["all"], self.all), *_pairs(plain["languages"], self.languages)):
            share["bits_per_byte"] = own.bits_per_byte
        for bucket, own in zip(plain["positions"], self.positions, strict=True):
            bucket |= {"bits_per_token": own.bits_per_token, "bits_per_byte": own.bits_per_byte}
        return {"format": FORMAT, **plain}

    @classmethod
    def from_json(cls, raw: Any, where: str) -> Self:
        """A measurement from its plain values. Raises ConfigError."""
        try:
            if raw["format"] != FORMAT:
                raise ValueError(f"its format is not {FORMAT!r}")
            plain = {name: raw[name] for name in cls.__slots__}
            plain["all"] = _only(Share, plain["all"])
            plain["languages"] = {k: _only(Share, v) for k, v in plain["languages"].items()}
            plain["positions"] = tuple(_only(Bucket, one) for one in plain["positions"])
            return cls(**plain)
        except (KeyError, TypeError, ValueError, AttributeError) as problem:
            raise ConfigError(
                f"{where} is no measurement of bits", why=str(problem), fix="measure again"
            ) from problem


def _pairs(plain: Mapping[str, Any], own: Mapping[str, Any]) -> Iterator[tuple[Any, Any]]:
    return ((plain[name], own[name]) for name in own)


def _only(kind: Any, raw: Mapping[str, Any]) -> Any:
    return kind(**{name: raw[name] for name in kind.__slots__})


def read_bits(path: Path) -> Bits | None:
    """The measurement in a file or a folder; None where there is none."""
    file = path / FILE if path.is_dir() else path
    try:
        raw = json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    known = isinstance(raw, dict) and str(raw.get("format", "")).startswith("midfill bits")
    return Bits.from_json(raw, str(file)) if known else None


def sample(texts: Iterable[Text], *, documents: int | None, most_bytes: int) -> list[Text]:
    """Some of the documents, the same for every model: by the hash of their text.

    So many, or, unless told, as many as have no more than `most_bytes` together; one at least.
    Memory holds no more than that.
    """
    kept: list[tuple[bytes, int, Text]] = []
    size = 0
    for one in texts:
        raw = one.text.encode("utf-8", "surrogatepass")
        if not raw:
            continue
        kept.append((hashlib.blake2b(raw, digest_size=16).digest(), len(raw), one))
        size += len(raw)
        if size > 4 * most_bytes or len(kept) > 4 * (documents or len(kept)):
            kept = _first(kept, documents, most_bytes, more=1)  # the one that no longer fitted
            size = sum(length for _, length, _ in kept)
    return [text for _, _, text in _first(kept, documents, most_bytes)]


def _first(
    kept: list[tuple[bytes, int, Text]], documents: int | None, most_bytes: int, *, more: int = 0
) -> list[tuple[bytes, int, Text]]:
    kept = sorted(kept, key=lambda one: one[0])
    if documents is not None:
        return kept[:documents]
    ends = np.cumsum([length for _, length, _ in kept])
    return kept[: max(1, int(np.searchsorted(ends, most_bytes, side="right"))) + more]


def windows(tokens: int, length: int, stride: int) -> Iterator[tuple[int, int, int]]:
    """Begin, first scored token and end of each window over a text of so many tokens."""
    assert 0 < stride < length
    begin, scored = 0, 1
    while scored < tokens:
        end = min(begin + length, tokens)
        yield begin, scored, end
        begin, scored = begin + stride, end


@dataclass(slots=True)
class _Sums:
    """Of one document."""

    language: str
    name: str
    tokens: int
    bytes: int
    bits: float


def measure(
    scorer: Scorer,
    texts: Sequence[Text],
    *,
    data: str = "",
    window: int | None = None,
    stride: int | None = None,
    told: Callable[[int, int], None] = lambda done, of: None,
) -> Bits:
    """Bits per byte of the texts; window: the context, stride: half of it. Raises ConfigError.

    `told` gets the bytes that were scored, and all.
    """
    window = scorer.context if window is None else window
    stride = max(window // 2, 1) if stride is None else stride
    _check(window, stride, scorer.context, len(texts))
    sizes = [len(one.text.encode()) for one in texts]
    sums, positions, lossy, filling = [], _Positions(window), 0, 0
    for number, (one, size) in enumerate(zip(texts, sizes, strict=True)):
        ids, widths = scorer.encode(one.text)
        bits = _score(scorer, [scorer.start(), *ids], window, stride)
        if len(ids) >= window - 1:
            positions.add(bits[: window - 1], widths[: window - 1])
            filling += 1
        lossy += size - int(widths.sum())
        sums.append(
            _Sums(one.language, one.name or f"\0{number}", len(ids), size, float(bits.sum()))
        )
        told(sum(sizes[: number + 1]), sum(sizes))
    languages = sorted({one.language for one in sums})
    shares = {name: _share([one for one in sums if one.language == name]) for name in languages}
    return Bits(
        model=scorer.name,
        data=data,
        digest=_digest(texts),
        window=window,
        stride=stride,
        all=_share(sums),
        languages=dict(sorted(shares.items(), key=lambda item: -item[1].bytes)),
        positions=positions.buckets(),
        filling=filling,
        lossy_bytes=lossy,
    )


def _check(window: int, stride: int, context: int, texts: int) -> None:
    if not texts:
        raise ConfigError(
            "there is no text to score", why="all documents are empty", fix="give other --data"
        )
    if not 2 <= window <= context or not 0 < stride < window:
        raise ConfigError(
            f"the window is {window} tokens, the stride {stride}",
            why=f"the context is {context}, and a stride must be shorter than its window",
            fix="--context 2048",
        )


def _score(scorer: Scorer, tokens: Sequence[int], window: int, stride: int) -> NDArray[np.float64]:
    """Bits of every token but the first."""
    bits = [np.empty(0)]
    for begin, scored, end in windows(len(tokens), window, stride):
        found = scorer.log_probabilities(tokens[begin:end])
        bits.append(-found[scored - begin - 1 :] / math.log(2))
    return np.concatenate(bits)


class _Positions:
    """Sums by how many tokens stand before: edges at 1, 32, 64, 128, ... and the window's end."""

    def __init__(self, window: int) -> None:
        edges = [1]
        while edges[-1] < window:
            edges.append(min(max(2 * edges[-1], FIRST_EDGE), window))
        self._edges = np.array(edges)
        self._sums = np.zeros((3, len(edges) - 1))

    def add(self, bits: NDArray[np.float64], widths: NDArray[np.int64]) -> None:
        """Count the tokens of a first window, but for the one before the text."""
        place = np.searchsorted(self._edges, np.arange(1, len(bits) + 1), side="right") - 1
        for row, weights in zip(self._sums, (np.ones(len(bits)), widths, bits), strict=True):
            row += np.bincount(place, weights, len(row))

    def buckets(self) -> tuple[Bucket, ...]:
        """Those with tokens in them."""
        columns = zip(self._edges[:-1], self._edges[1:], *self._sums, strict=True)
        return tuple(
            Bucket(first=int(first), end=int(end), tokens=int(n), bytes=int(size), bits=float(bits))
            for first, end, n, size, bits in columns
            if n and size
        )


def _share(sums: Sequence[_Sums]) -> Share:
    """Documents of one name are resampled together."""
    named: dict[str, list[float]] = {}
    for one in sums:
        both = named.setdefault(one.name, [0.0, 0.0])
        both[0] += one.bits
        both[1] += one.bytes
    span: Interval = bootstrap_ratio(*np.array(list(named.values())).T)
    return Share(
        documents=len(sums),
        tokens=sum(one.tokens for one in sums),
        bytes=sum(one.bytes for one in sums),
        bits=math.fsum(one.bits for one in sums),
        low=span.low,
        high=span.high,
    )


def _digest(texts: Iterable[Text]) -> str:
    whole = hashlib.sha256()
    for one in texts:
        whole.update(hashlib.sha256(one.text.encode()).digest())
    return whole.hexdigest()
