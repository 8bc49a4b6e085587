"""How many bytes a token stands for, by language and vocabulary: what a vocabulary is worth.

Bytes are those of UTF-8. A vocabulary of more entries compresses more and costs more in the
network's embedding and head, so entries belong beside every figure.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from midfill.tokenizer.fast import FastEncoder
from midfill.tokenizer.sample import Text

ALL = "all"  # the row of all languages together
UNKNOWN = "unknown"


@dataclass(slots=True)
class Row:
    """The texts of one language: how many, their bytes, and their tokens in each vocabulary."""

    language: str
    texts: int = 0
    bytes: int = 0
    tokens: dict[str, int] = field(default_factory=dict)

    def bytes_per_token(self, name: str) -> float:
        """Bytes that one token of this vocabulary stands for; 0 where there is no text."""
        return self.bytes / self.tokens[name] if self.tokens[name] else 0.0


def measure(encoders: Mapping[str, FastEncoder], texts: Iterable[Text]) -> list[Row]:
    """A row for each language, the most bytes first, behind one for all of them.

    Sentinels in a text are text. Lone surrogates raise RequestError.
    """
    rows: dict[str, Row] = {}
    whole = Row(ALL, tokens=dict.fromkeys(encoders, 0))
    for one in texts:
        language = one.language or UNKNOWN
        row = rows.setdefault(language, Row(language, tokens=dict.fromkeys(encoders, 0)))
        counts = {name: len(encoder.encode(one.text)) for name, encoder in encoders.items()}
        for each in (row, whole):
            each.texts += 1
            each.bytes += len(one.text.encode())
            for name, count in counts.items():
                each.tokens[name] += count
    return [whole, *sorted(rows.values(), key=lambda row: (-row.bytes, row.language))]


def as_records(rows: Sequence[Row]) -> list[dict[str, object]]:
    """The rows as JSON has them."""
    return [
        {
            "language": row.language,
            "texts": row.texts,
            "bytes": row.bytes,
            "tokens": dict(row.tokens),
            "bytes_per_token": {name: round(row.bytes_per_token(name), 4) for name in row.tokens},
        }
        for row in rows
    ]
