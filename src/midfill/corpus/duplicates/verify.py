"""The second map: exact Jaccard similarity of candidate pairs, with bounded memory."""

from collections import OrderedDict
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from midfill.config.corpus.duplicates import Duplicates
from midfill.corpus.duplicates.candidates import Pairs, components
from midfill.corpus.duplicates.shingles import Hashes, common
from midfill.corpus.duplicates.sketch import Sketch

Load = Callable[[str], Hashes]  # id to its `shingle_set`


@dataclass(frozen=True, slots=True)
class Edges:
    """Pairs whose exact Jaccard similarity reaches the threshold."""

    pairs: Pairs
    jaccard: npt.NDArray[np.float64]


class Similarity:
    """Exact Jaccard similarities of pairs of ranked sketches; holds at most `cache` bytes of sets.

    Two sets are held at any time, whatever their size.
    """

    def __init__(self, sketches: Sequence[Sketch], load: Load, cache: int) -> None:
        self.loads = 0  # how many sets were loaded or computed
        self._ids = [one.id for one in sketches]
        self._load, self._cache, self._used = load, cache, 0
        self._sets: OrderedDict[int, Hashes] = OrderedDict()

    def __call__(self, pairs: Pairs, least: float = 0.0) -> npt.NDArray[np.float64]:
        """The similarity of each pair; 0 where the sizes alone show it to be below `least`.

        The work is done component by component, so that a set is mostly loaded once.
        """
        result = np.zeros(len(pairs))
        labels = components(len(self._ids), pairs)
        first, second = pairs[:, 0], pairs[:, 1]
        for at in np.lexsort((second, first, labels[first])):
            a, b = self._set(int(first[at])), self._set(int(second[at]))
            small, large = sorted((len(a), len(b)))
            if large and small >= least * large:
                both = common(a, b)
                result[at] = both / (small + large - both)
        return result

    def _set(self, index: int) -> Hashes:
        if index in self._sets:
            self._sets.move_to_end(index)
            return self._sets[index]
        loaded = self._load(self._ids[index])
        self.loads += 1
        self._sets[index] = loaded
        self._used += loaded.nbytes
        while self._used > self._cache and len(self._sets) > 1:
            _, oldest = self._sets.popitem(last=False)
            self._used -= oldest.nbytes
        return loaded


def verify(pairs: Pairs, similarity: Similarity, config: Duplicates) -> Edges:
    """The pairs whose exact similarity is at least the threshold."""
    jaccard = similarity(pairs, config.threshold)
    kept = jaccard >= config.threshold
    return Edges(pairs[kept], jaccard[kept])
