"""Four orders of the files of a repository.

| order | what it does | used by |
|---|---|---|
| `paper` | Algorithm 1 of DeepSeek-Coder 2.2: the file with the fewest open dependencies first | V1 |
| `random` | a shuffle; parsers of imports for 338 languages were not practical | V2 |
| `depth_first` | each file right after what it needs: the post-order of a walk along dependencies | ours |
| `path` | the alphabet, for comparison | |

Where a choice is left the path decides, so that no order depends on the order of the input.
"""

import hashlib
import heapq
from collections.abc import Callable, Sequence
from typing import Literal, get_args

from midfill.corpus.dependencies.graph import Edges, connected, numbered
from midfill.errors import ConfigError

Order = Literal["depth_first", "paper", "random", "path"]


def order(
    edges: Edges, how: Order = "depth_first", seed: int = 0, *, whole: bool = False
) -> list[list[str]]:
    """The weakly connected parts of `edges`, each in the order asked for.

    Parts come in the order of their smallest paths; for `random` in that of the hashes of these
    paths. `whole` makes one part of everything, as DeepSeek-Coder-V2 joined the files of a
    repository. Only `random` looks at `seed`. Raises ConfigError for an order that does not exist.
    """
    if how not in get_args(Order):
        raise ConfigError(
            f"there is no order {how!r} of files",
            why="files are ordered by dependencies, at random or by path",
            fix=f"take one of {', '.join(get_args(Order))}",
        )
    paths, needs = numbered(edges)
    parts = [list(range(len(paths)))] if whole and paths else connected(needs)
    if how == "random":
        shuffled = _shuffle(paths, seed)
        parts.sort(key=lambda part: shuffled(part[0]))
        ordered = [sorted(part, key=shuffled) for part in parts]
    elif how == "paper":
        ordered = _fewest_open_first(parts, needs)
    elif how == "depth_first":
        ordered = [_post_order(part, needs) for part in parts]
    else:
        ordered = parts
    return [[paths[node] for node in part] for part in ordered]


def _shuffle(paths: Sequence[str], seed: int) -> Callable[[int], tuple[bytes, int]]:
    """A key that sorts files as if at random: the hash of seed and path, never their place."""

    def key(node: int) -> tuple[bytes, int]:
        name = f"{seed}:{paths[node]}".encode("utf-8", "surrogatepass")
        return hashlib.blake2b(name, digest_size=16).digest(), node

    return key


def _fewest_open_first(
    parts: Sequence[Sequence[int]], needs: Sequence[Sequence[int]]
) -> list[list[int]]:
    """Algorithm 1 in O(E log V): a heap which keeps outdated entries until they come up.

    Source: DeepSeek-Coder 2.2. The paper takes the minimum, not zero, so that cycles end; it leaves
    ties open, and here the smallest path wins.
    """
    open_needs = [len(those) for those in needs]
    users: list[list[int]] = [[] for _ in needs]
    for user, those in enumerate(needs):
        for node in those:
            users[node].append(user)
    results: list[list[int]] = []
    taken = [False] * len(needs)
    for part in parts:
        heap = [(open_needs[node], node) for node in part]
        heapq.heapify(heap)
        result: list[int] = []
        while heap:
            count, node = heapq.heappop(heap)
            if taken[node] or count != open_needs[node]:
                continue
            taken[node] = True
            result.append(node)
            for user in users[node]:
                open_needs[user] -= 1
                if not taken[user]:
                    heapq.heappush(heap, (open_needs[user], user))
        results.append(result)
    return results


def _post_order(part: Sequence[int], needs: Sequence[Sequence[int]]) -> list[int]:
    """Each file after everything that a walk along its dependencies reaches from it first.

    Every edge that lies in no cycle is respected, wherever the walk starts: when a file is
    written down, each of its dependencies has been visited; one that is not written down yet must
    be on the way by which the walk came to this file, so that it depends on this file in turn.
    """
    result: list[int] = []
    seen: set[int] = set()
    for root in part:
        if root in seen:
            continue
        seen.add(root)
        walk = [(root, iter(needs[root]))]
        while walk:
            node, ahead = walk[-1]
            new = next((other for other in ahead if other not in seen), None)
            if new is None:
                walk.pop()
                result.append(node)
            else:
                seen.add(new)
                walk.append((new, iter(needs[new])))
    return result
