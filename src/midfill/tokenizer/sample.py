"""A sample of texts for training a vocabulary: as many bytes of each language, up to what it has.

Source: ours; the papers do not say how theirs was drawn. Texts are read twice, first to choose and
then to be trained on, so that memory holds a digest and a size of each and never the texts.
"""

import hashlib
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass

PIECE = 1 << 17  # characters: longer texts are drawn in pieces, so that none fills the sample


@dataclass(frozen=True, slots=True)
class Text:
    """A text and the language it is written in; empty where nobody knows."""

    language: str
    text: str


@dataclass(frozen=True, slots=True)
class Sample:
    """Which pieces were drawn, and what there was of each language, in bytes of UTF-8."""

    chosen: frozenset[bytes]
    found: Mapping[str, int]
    taken: Mapping[str, int]

    def pieces(self, texts: Iterable[Text]) -> Iterator[Text]:
        """The chosen pieces of the same texts, each once, however often it stands in them."""
        left = set(self.chosen)
        for one in texts:
            for piece in _pieces(one.text):
                name = _name(one.language, piece)
                if name in left:
                    left.remove(name)
                    yield Text(one.language, piece)


def draw(texts: Iterable[Text], most_bytes: int, *, seed: int = 0) -> Sample:
    """Choose pieces of at most `most_bytes` in all.

    Depends on languages, texts and seed only: not on the order, nor on how often a text is there.
    """
    lots: defaultdict[str, dict[bytes, int]] = defaultdict(dict)
    for one in texts:
        for piece in _pieces(one.text):
            size = len(piece.encode("utf-8", "surrogatepass"))
            lots[one.language][_name(one.language, piece)] = size
    return choose(lots, most_bytes, seed=seed)


def choose(lots: Mapping[str, Mapping[bytes, int]], most_bytes: int, *, seed: int = 0) -> Sample:
    """The same from sizes in bytes, by language and by what a piece is called."""
    found = {language: sum(sizes.values()) for language, sizes in sorted(lots.items())}
    chosen: set[bytes] = set()
    taken: dict[str, int] = {}
    left = most_bytes
    for count, language in enumerate(sorted(found, key=lambda name: (found[name], name))):
        share = left // (len(found) - count)  # small languages first: what they lack, others have
        picked = list(_fitting(lots[language], share, _order(seed)))
        chosen.update(picked)
        taken[language] = sum(lots[language][name] for name in picked)
        left -= taken[language]
    return Sample(frozenset(chosen), found, {name: taken[name] for name in found})


def _fitting(
    sizes: Mapping[bytes, int], room: int, order: Callable[[bytes], bytes]
) -> Iterator[bytes]:
    """The pieces that fit into the room, one after the other."""
    for name in sorted(sizes, key=order):
        if sizes[name] <= room:
            room -= sizes[name]
            yield name


def _order(seed: int) -> Callable[[bytes], bytes]:
    key = str(seed).encode()
    return lambda name: hashlib.blake2b(name, digest_size=16, key=key).digest()


def _pieces(text: str) -> Iterator[str]:
    """The text in pieces that end at line ends, where it has any."""
    start = 0
    while len(text) - start > PIECE:
        end = text.rfind("\n", start, start + PIECE) + 1 or start + PIECE
        yield text[start:end]
        start = end
    if start < len(text):
        yield text[start:]


def _name(language: str, piece: str) -> bytes:
    """A digest that is the same wherever the piece stands."""
    whole = f"{language}\0{piece}".encode("utf-8", "surrogatepass")
    return hashlib.blake2b(whole, digest_size=16).digest()
