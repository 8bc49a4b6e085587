"""Which documents go, and for which one that stays."""

from collections.abc import Callable, Sequence

import numpy as np
import numpy.typing as npt

from midfill.config.corpus.duplicates import Duplicates
from midfill.corpus.duplicates.candidates import Indices, Pairs, components
from midfill.corpus.duplicates.sketch import Sketch
from midfill.corpus.duplicates.verify import Edges

Removed = dict[str, tuple[str, float]]  # id to the id kept instead, and their exact Jaccard
Measure = Callable[[Pairs], npt.NDArray[np.float64]]


def decide(
    edges: Edges, sketches: Sequence[Sketch], config: Duplicates, similarity: Measure
) -> Removed:
    """What is removed from ranked sketches, with what is kept instead.

    References stay. `similarity` measures further pairs within the connected components of the
    edges: of each removed document with the one kept, which need not have been candidates.

    "component": the best of each component stays, and the similarity given may be below the
    threshold. "keeper": of each component the best stays and takes away what is like it; then the
    best of the rest, until nothing is left, so each removed document is like one that stays. After
    `rounds` such turns only pairs among the edges are looked at.
    """
    labels = components(len(sketches), edges.pairs)
    fixed = np.array([one.reference for one in sketches], bool)
    kept = labels.copy() if config.chains == "component" else np.arange(len(sketches))
    jaccard = np.ones(len(sketches))
    if config.chains == "component":
        kept[fixed] = np.flatnonzero(fixed)
        gone = np.flatnonzero(kept != np.arange(len(kept)))
        jaccard[gone] = similarity(np.stack([kept[gone], gone], 1))
    else:
        active = np.flatnonzero(np.isin(labels, labels[edges.pairs[:, 0]]))
        for _ in range(config.rounds):
            active = _take_turn(active, labels, fixed, kept, jaccard, similarity, config.threshold)
            if not len(active):
                break
        _settle_by_edges(active, edges, fixed, kept, jaccard)
    return {
        sketches[i].id: (sketches[int(kept[i])].id, float(jaccard[i]))
        for i in map(int, np.flatnonzero(kept != np.arange(len(kept))))
    }


def _take_turn(
    active: Indices,
    labels: Indices,
    fixed: npt.NDArray[np.bool_],
    kept: Indices,
    jaccard: npt.NDArray[np.float64],
    similarity: Measure,
    threshold: float,
) -> Indices:
    """Let the best active member of each component stay; the members that neither stay nor go."""
    _, where = np.unique(labels[active], return_index=True)  # active is sorted: the best of each
    leader_of = np.zeros(len(labels), np.int64)
    leader_of[labels[active[where]]] = active[where]
    rest = np.setdiff1d(active, active[where], assume_unique=True)
    compared = rest[~fixed[rest]]
    leaders = leader_of[labels[compared]]
    values = similarity(np.stack([leaders, compared], 1))
    alike = values >= threshold
    kept[compared[alike]] = leaders[alike]
    jaccard[compared[alike]] = values[alike]
    return np.setdiff1d(rest, compared[alike], assume_unique=True)


def _settle_by_edges(
    active: Indices,
    edges: Edges,
    fixed: npt.NDArray[np.bool_],
    kept: Indices,
    jaccard: npt.NDArray[np.float64],
) -> None:
    """In rank order, remove what an edge joins to one that stays. Changes `kept` and `jaccard`."""
    open_ = np.zeros(len(kept), bool)
    open_[active] = True
    left = np.flatnonzero(open_[edges.pairs].all(1))
    for at in left[np.lexsort((edges.pairs[left, 1], edges.pairs[left, 0]))]:
        better, worse = edges.pairs[at]
        if kept[better] == better and kept[worse] == worse and not fixed[worse]:
            kept[worse], jaccard[worse] = better, edges.jaccard[at]
