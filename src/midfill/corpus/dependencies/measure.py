"""How good an order of files is: how often a dependency comes before its user, and how near."""

import hashlib
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any, get_args

from midfill.corpus.dependencies.graph import strong_components
from midfill.corpus.dependencies.order import Order, order

WINDOWS = (12_000, 48_000, 400_000)  # bytes: about 4K, 16K and 128K tokens

Files = Mapping[str, tuple[int, Sequence[str]]]  # path to bytes, and what it depends on


def count(files: Files, counts: dict[str, Counter[str]]) -> None:
    """Add the imports of one repository to the counts of each order.

    `before`: the needed file comes earlier in the sequence of their component; a window's number:
    and also starts within so many bytes; `acyclic` and `acyclic_before`: the same for those that
    lie in no cycle.
    """
    edges = {
        path: tuple(one for one in needs if one in files) for path, (_, needs) in files.items()
    }
    part = {path: n for n, those in enumerate(strong_components(edges)) for path in those}
    for how in get_args(Order):
        starts: dict[str, tuple[int, int]] = {}  # place in the component, and bytes in front of it
        for component in order(edges, how, seed=0):
            at = 0
            for place, path in enumerate(component):
                starts[path] = place, at
                at += files[path][0]
        row = counts.setdefault(how, Counter())
        for user, one in ((user, one) for user, needed in edges.items() for one in needed):
            before, acyclic = starts[one] < starts[user], part[user] != part[one]
            row["edges"] += 1
            row["before"] += before
            row["acyclic"] += acyclic
            row["acyclic_before"] += acyclic and before
            for window in WINDOWS:
                row[str(window)] += before and starts[user][1] - starts[one][1] <= window


def measure(repositories: Mapping[str, Files], *, most: int) -> dict[str, Any]:
    """The four orders beside each other, on at most so many repositories that have imports."""
    chosen = [name for name, files in repositories.items() if any(n for _, n in files.values())]
    chosen.sort(key=lambda name: hashlib.blake2b(name.encode("utf-8", "surrogatepass")).digest())
    counts: dict[str, Counter[str]] = {}
    for name in chosen[:most]:
        count(repositories[name], counts)
    if not counts:
        return {}
    return {
        "repositories": len(chosen[:most]),
        "edges": counts["path"]["edges"],
        "in_cycles": counts["path"]["edges"] - counts["path"]["acyclic"],
        "orders": {how: _shares(row) for how, row in counts.items()},
    }


def _shares(row: Mapping[str, int]) -> dict[str, float]:
    edges = max(row["edges"], 1)
    return {
        "before": row["before"] / edges,
        **{f"{window // 1000} KB": row[str(window)] / edges for window in WINDOWS},
        "outside cycles": row["acyclic_before"] / max(row["acyclic"], 1),
    }
