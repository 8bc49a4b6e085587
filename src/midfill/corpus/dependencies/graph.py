"""The graph of a repository: which file depends on which, and how the files hang together.

Edges are a mapping from each file to the files that it depends on. What is no key of it is no file
of the graph: an edge to it, as to a file that a rule dropped, is as if it were not there.
"""

from collections.abc import Iterable, Mapping, Sequence

from midfill.corpus.dependencies.families import FAMILIES
from midfill.corpus.dependencies.family import Family, File

Edges = Mapping[str, Iterable[str]]


def depends_on(files: Sequence[File]) -> dict[str, tuple[str, ...]]:
    """For every file, the sorted paths of the other files of this repository that it needs.

    A file of a language without a family needs nothing, but others may need it. The result does
    not depend on the order of `files`. Source: DeepSeek-Coder 2.2, relations of invocation.
    """
    by_path = {file.path: file for file in sorted(files, key=lambda file: (file.path, file.text))}
    own: dict[Family, list[File]] = {}
    for file in by_path.values():
        family = FAMILIES.get(file.language or "")
        if family is not None:
            own.setdefault(family, []).append(file)
    edges: dict[str, tuple[str, ...]] = dict.fromkeys(by_path, ())
    for family, members in own.items():
        resolver = family(members, by_path)
        for file in members:
            found = {path for path in resolver.needs(file) if path in by_path}
            edges[file.path] = tuple(sorted(found - {file.path}))
    return edges


def components(edges: Edges) -> list[list[str]]:
    """The weakly connected parts, each sorted, in the order of their first paths."""
    paths, needs = numbered(edges)
    return [[paths[node] for node in part] for part in connected(needs)]


def strong_components(edges: Edges) -> list[list[str]]:
    """The strongly connected parts, each sorted, in the order of their first paths.

    An edge lies in a cycle where both its ends are in one part, or are one file.
    """
    paths, needs = numbered(edges)
    return [[paths[node] for node in part] for part in _strongly_connected(needs)]


def numbered(edges: Edges) -> tuple[list[str], list[list[int]]]:
    """The sorted paths, and for each the sorted places in that list of what it depends on."""
    paths = sorted(edges)
    place = {path: number for number, path in enumerate(paths)}
    needs = [sorted({place[path] for path in edges[user] if path in place}) for user in paths]
    return paths, needs


def connected(needs: Sequence[Sequence[int]]) -> list[list[int]]:
    """The weakly connected parts of a numbered graph, each sorted, in order of first members."""
    neighbours: list[list[int]] = [list(those) for those in needs]
    for user, those in enumerate(needs):
        for node in those:
            neighbours[node].append(user)
    seen = [False] * len(needs)
    parts: list[list[int]] = []
    for first in range(len(needs)):
        if seen[first]:
            continue
        seen[first] = True
        part = [first]
        for node in part:  # grows while it is read
            for other in neighbours[node]:
                if not seen[other]:
                    seen[other] = True
                    part.append(other)
        parts.append(sorted(part))
    return parts


def _strongly_connected(needs: Sequence[Sequence[int]]) -> list[list[int]]:
    """The strongly connected parts by Tarjan's algorithm, without recursion."""
    size = len(needs)
    reached = [-1] * size  # when the walk came to a node
    lowest = [0] * size  # the earliest node of the stack that it leads back to; `size` once done
    stack: list[int] = []
    parts: list[list[int]] = []
    clock = 0
    for root in range(size):
        if reached[root] >= 0:
            continue
        walk = [(root, iter(needs[root]))]
        reached[root] = lowest[root] = clock
        clock += 1
        stack.append(root)
        while walk:
            node, ahead = walk[-1]
            new = next((other for other in ahead if reached[other] < 0), None)
            if new is not None:
                reached[new] = lowest[new] = clock
                clock += 1
                stack.append(new)
                walk.append((new, iter(needs[new])))
                continue
            walk.pop()
            lowest[node] = min(lowest[other] for other in (node, *needs[node]))
            if lowest[node] == reached[node]:
                part = _taken_from(stack, node)
                for member in part:
                    lowest[member] = size
                parts.append(sorted(part))
    return sorted(parts)


def _taken_from(stack: list[int], last: int) -> list[int]:
    """What lies on the stack down to `last`, taken off it."""
    start = len(stack) - 1
    while stack[start] != last:
        start -= 1
    part = stack[start:]
    del stack[start:]
    return part
