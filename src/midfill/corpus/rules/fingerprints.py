"""Licence texts by a few numbers each: which known texts a file holds, and where.

A text is the sequence of its words, and its shingles are the hashes of every three words in a row.
Of a known licence only the smallest `KEPT` hashes are kept: a fixed random sample of its shingles,
so that the share of them that a file has estimates how much of the licence the file holds,
whatever else it holds. `licences.json` maps SPDX identifiers to these samples; `build` makes it
from the texts, of which nothing else is kept. Ours was built from the SPDX list (CC0-1.0).
"""

import json
import re
import zlib
from collections.abc import Iterable, Mapping
from functools import lru_cache
from importlib.resources import files
from typing import NamedTuple

KEPT = 96
_WORD = re.compile(r"[a-z0-9]+")
_LINE_SIGN = re.compile(r"(?m)^[ \t]*(?:[#*;%!>|]+|//+|--+|dnl\b|rem\b)")


def shingles(text: str) -> dict[int, int]:
    """The hash of every three words in a row, and the number of the word where it first begins."""
    words = _WORD.findall(_LINE_SIGN.sub("", text.lower()))
    found: dict[int, int] = {}
    for at, (a, b, c) in enumerate(zip(words, words[1:], words[2:], strict=False)):
        found.setdefault(zlib.crc32(f"{a} {b} {c}".encode()), at)
    return found


def sample(text: str) -> list[int]:
    """The smallest hashes of a text's shingles, ascending."""
    return sorted(shingles(text))[:KEPT]


def build(texts: Mapping[str, str]) -> str:
    """The content of `licences.json` for texts by identifier."""
    rows = {name: "".join(f"{n:08x}" for n in sample(text)) for name, text in sorted(texts.items())}
    return json.dumps(rows, indent=0) + "\n"


@lru_cache(maxsize=1)
def _known() -> dict[str, list[int]]:
    rows = json.loads(files("midfill.corpus.rules").joinpath("licences.json").read_text("utf-8"))
    return {
        name: [int(row[at : at + 8], 16) for at in range(0, len(row), 8)]
        for name, row in rows.items()
    }


class Held(NamedTuple):
    """A known licence that a text holds, and where."""

    name: str
    share: float  # of the licence's sample
    middle: int  # the number of the word where half of what is known has been seen
    end: int  # and where all but a twentieth


def held(text: str, least: float) -> list[Held]:
    """Known licences of which a text holds at least the share `least`."""
    found = shingles(text)
    result = []
    for name, hashes in _known().items():
        places = sorted(found[n] for n in hashes if n in found)
        if places and len(places) >= least * len(hashes):
            middle, end = places[len(places) // 2], places[-1 - len(places) // 20]
            result.append(Held(name, len(places) / len(hashes), middle, end))
    return result


def names() -> Iterable[str]:
    """SPDX identifiers of the licences known by their text."""
    return _known().keys()
