"""The orders against the paper's Algorithm 1, restated literally, on digraphs of every kind."""

import random
from collections.abc import Iterator, Mapping

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from midfill.corpus.dependencies import components, order, strong_components

Graph = dict[str, tuple[str, ...]]


def algorithm_1(files: list[str], has_dependency: Mapping[str, tuple[str, ...]]) -> list[list[str]]:
    """DeepSeek-Coder 2.2 line by line, in quadratic time; files in path order settle the ties."""
    graphs: dict[str, list[str]] = {}
    in_degree: dict[str, int] = {}
    for file in files:
        graphs[file] = []
        in_degree[file] = 0
    for file_a in files:
        for file_b in files:
            if file_b in has_dependency[file_a]:
                graphs[file_b].append(file_a)
                in_degree[file_a] += 1
    results = []
    for subgraph in disconnected_subgraphs(files, graphs):
        result: list[str] = []
        left = list(subgraph)
        while len(result) != len(subgraph):
            file = min(left, key=lambda one: in_degree[one])  # the first of equals
            for node in graphs[file]:
                in_degree[node] -= 1
            result.append(file)
            left.remove(file)
        results.append(result)
    return results


def disconnected_subgraphs(files: list[str], graphs: dict[str, list[str]]) -> list[list[str]]:
    """Merges the sets of the two ends of every edge, one edge at a time."""
    label = {file: number for number, file in enumerate(files)}
    for file, users in graphs.items():
        for user in users:
            low, high = sorted((label[file], label[user]))
            label = {one: low if mark == high else mark for one, mark in label.items()}
    return [
        [file for file in files if label[file] == mark] for mark in dict.fromkeys(label.values())
    ]


def digraph(rng: random.Random, most: int) -> Graph:
    """Random edges, self loops, 2-cycles, long cycles, and strong parts joined into strong parts."""
    names = [f"{rng.choice('abc')}/{number}.py" for number in range(rng.randint(1, most))]
    rng.shuffle(names)
    edges: dict[str, set[str]] = {name: set() for name in names}

    def cycle(members: list[str]) -> None:
        for first, second in zip(members, members[1:] + members[:1], strict=True):
            edges[first].add(second)

    density = rng.choice((0.2, 0.7, 1.5, 4))
    for _ in range(int(density * len(names))):
        edges[rng.choice(names)].add(rng.choice(names))
    for size in rng.choices((1, 2, 3, 10, len(names)), k=rng.randint(0, 4)):
        cycle(rng.sample(names, min(size, len(names))))
    for _ in range(rng.randint(0, 3)):  # two cycles, and an edge there and perhaps one back
        inner, outer = (rng.sample(names, min(rng.randint(1, 5), len(names))) for _ in "12")
        cycle(inner)
        cycle(outer)
        edges[inner[0]].add(outer[-1])
        if rng.random() < 0.5:
            edges[outer[0]].add(inner[-1])
    return {name: tuple(needed) for name, needed in edges.items()}


def acyclic_edges(edges: Graph) -> Iterator[tuple[str, str]]:
    """Edges that no path leads back along: Warshall's closure, a set of files as bits of a number."""
    bit = {path: 1 << number for number, path in enumerate(edges)}
    reach = {path: sum({bit[one] for one in (path, *those)}) for path, those in edges.items()}
    for through in edges:
        for path in edges:
            if reach[path] & bit[through]:
                reach[path] |= reach[through]
    for user, needed in edges.items():
        yield from ((user, one) for one in needed if not reach[one] & bit[user])


def check(edges: Graph, rng: random.Random) -> None:
    shuffled = list(edges.items())
    rng.shuffle(shuffled)
    again = {path: tuple(rng.sample(needed, len(needed))) for path, needed in shuffled}
    assert order(edges, "paper") == algorithm_1(sorted(edges), edges)
    for how in ("depth_first", "paper", "random", "path"):
        found = order(edges, how, 7)
        assert found == order(again, how, 7)
        assert sorted(map(sorted, found)) == sorted(components(edges))
    place = {path: n for part in order(edges, "depth_first") for n, path in enumerate(part)}
    wrong = [edge for edge in acyclic_edges(edges) if place[edge[1]] > place[edge[0]]]
    assert not wrong


def test_two_hundred_digraphs():
    for seed in range(200):
        rng = random.Random(seed)
        check(digraph(rng, 40), rng)


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_ten_thousand_digraphs():
    for seed in range(10_000):
        rng = random.Random(seed)
        check(digraph(rng, 200 if seed % 4 == 0 else 50), rng)


NAMES = [f"{letter}.py" for letter in "abcdefg"]
GRAPHS = st.fixed_dictionaries(
    {name: st.lists(st.sampled_from(NAMES), unique=True, max_size=3).map(tuple) for name in NAMES}
)


@given(GRAPHS)
@settings(max_examples=100, deadline=None)
def test_small_digraphs(edges: Graph):
    check(edges, random.Random(0))


@given(GRAPHS)
@settings(max_examples=100, deadline=None)
def test_strong_parts_are_those_that_reach_each_other(edges: Graph):
    reach = {path: {path} for path in edges}
    for _ in edges:
        for path, needed in edges.items():
            reach[path] |= set().union(*(reach[one] for one in needed))
    parts = {
        tuple(sorted(other for other in edges if other in reach[path] and path in reach[other]))
        for path in edges
    }
    assert sorted(parts) == [tuple(part) for part in strong_components(edges)]
