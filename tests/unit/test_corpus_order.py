"""The graph of a repository and its four orders, worked by hand."""

import random

import pytest

from midfill.corpus.dependencies import File, components, depends_on, order, strong_components
from midfill.corpus.dependencies.families import FAMILIES
from midfill.corpus.languages import LANGUAGES
from midfill.errors import ConfigError

# app needs model and views; views needs model; readme stands alone; the tests need app.
SMALL = {
    "app.py": ("model.py", "views.py"),
    "model.py": (),
    "readme.md": (),
    "tests.py": ("app.py",),
    "views.py": ("model.py",),
}


def test_dependencies_come_first_in_both_dependency_orders():
    first = ["model.py", "views.py", "app.py", "tests.py"]
    assert order(SMALL, "depth_first") == [first, ["readme.md"]]
    assert order(SMALL, "paper") == [first, ["readme.md"]]


def test_path_is_the_alphabet_within_each_component():
    assert order(SMALL, "path") == [
        ["app.py", "model.py", "tests.py", "views.py"],
        ["readme.md"],
    ]


def test_whole_makes_one_part_of_the_repository():
    assert order(SMALL, "path", whole=True) == [sorted(SMALL)]
    (shuffled,) = order(SMALL, "random", 3, whole=True)
    assert sorted(shuffled) == sorted(SMALL)
    assert order({}, "random", whole=True) == []


def test_the_paper_takes_the_fewest_open_dependencies_where_there_is_a_cycle():
    # a and b need each other, so both keep one open; c needs only a and is taken between by path
    edges = {"a": ("b",), "b": ("a",), "aa": ("a",)}
    assert order(edges, "paper") == [["a", "aa", "b"]]
    # the test of a library with a cycle comes before it: what `depth_first` mends
    edges = {"lib/x": ("lib/y",), "lib/y": ("lib/x",), "a_test": ("lib/x",)}
    assert order(edges, "paper") == [["a_test", "lib/x", "lib/y"]]
    assert order(edges, "depth_first") == [["lib/y", "lib/x", "a_test"]]


def test_depth_first_keeps_a_file_near_what_it_needs():
    edges = {"a": ("y",), "b": ("z",), "y": ("base",), "z": ("base",), "base": ()}
    assert order(edges, "depth_first") == [["base", "y", "a", "z", "b"]]
    assert order(edges, "paper") == [["base", "y", "a", "z", "b"]]
    edges |= {"c": ("y",)}  # the heap takes a file as soon as its path allows, the walk likewise
    assert order(edges, "depth_first") == [["base", "y", "a", "z", "b", "c"]]


def test_an_edge_that_leaves_a_cycle_is_respected_wherever_the_walk_starts():
    # The walk enters the cycle b, c, d at b; d has a way out to z, and z another to a cycle.
    edges = {"b": ("c",), "c": ("d",), "d": ("b", "z"), "z": ("y",), "y": ("x",), "x": ("y",)}
    (found,) = order(edges, "depth_first")
    assert found.index("z") < found.index("d")
    assert found.index("y") < found.index("z")


def test_random_depends_on_the_seed_and_on_paths_only():
    edges = {f"{number:03}": ("000",) for number in range(100)}
    first = order(edges, "random", 1)
    assert first != order(edges, "random", 2)
    assert first != [sorted(edges)]
    with_more = order(edges | {"zzz": ("000",)}, "random", 1)
    assert [path for path in with_more[0] if path != "zzz"] == first[0]


def test_edges_to_files_that_are_not_there_are_as_if_they_were_not():
    assert order({"a": ("gone",), "b": ("a", "gone")}, "paper") == [["a", "b"]]
    assert components({"a": ("gone",), "b": ("gone",)}) == [["a"], ["b"]]


def test_an_unknown_order_is_an_error_that_names_the_known_ones():
    with pytest.raises(ConfigError, match="depth_first, paper, random, path"):
        order(SMALL, "alphabetic")  # pyright: ignore[reportArgumentType]


def test_strong_components_are_the_cycles():
    edges = {"a": ("b",), "b": ("c",), "c": ("a", "d"), "d": ("e",), "e": ("d",), "f": ("f",)}
    assert strong_components(edges) == [["a", "b", "c"], ["d", "e"], ["f"]]


@pytest.mark.parametrize("how", ["depth_first", "paper", "random", "path"])
def test_a_chain_of_twenty_thousand_files_needs_no_recursion(how):
    count = 20_000
    edges = {f"{n:06}": (f"{(n + 1) % count:06}",) for n in range(count)}
    (found,) = order(edges, how)
    assert sorted(found) == sorted(edges)
    if how == "depth_first":
        assert strong_components(edges) == [sorted(edges)]


def test_the_input_order_of_files_changes_nothing():
    files = [
        File(f"pkg/m{number}.py", f"from pkg import m{number // 2}\n", "Python")
        for number in range(50)
    ]
    edges = depends_on(files)
    for seed in range(5):
        random.Random(seed).shuffle(files)
        again = depends_on(files)
        assert again == edges
        assert order(again, "paper") == order(edges, "paper")


def test_a_file_never_needs_itself_and_only_files_of_the_repository():
    files = [File("a.py", "import a, os, json, b, numpy\n", "Python"), File("b.py", "", "Python")]
    assert depends_on(files) == {"a.py": ("b.py",), "b.py": ()}


def test_files_of_no_known_language_are_in_the_graph_without_edges():
    files = [File("a.txt", "import b\n", None), File("b.py", "", "Python")]
    assert depends_on(files) == {"a.txt": (), "b.py": ()}


def test_paths_may_hold_anything():
    odd = ["a\nb.py", "sur\udc80rogate.py", "sp ace/é.py", "nul\0.py"]
    edges = depends_on([File(path, "import x\n", "Python") for path in odd])
    for how in ("depth_first", "paper", "random", "path"):
        assert sorted(path for part in order(edges, how) for path in part) == sorted(odd)


def test_families_are_of_languages_that_exist():
    assert set(FAMILIES) <= set(LANGUAGES)
    asked = (
        "Python JavaScript TypeScript Java C C++ C# Go Rust PHP Ruby Kotlin Scala Swift Lua Perl"
    )
    assert {*asked.split(), "Shell"} <= set(FAMILIES)
