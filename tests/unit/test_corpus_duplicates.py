"""Exact and near duplicates: what counts as one, which copy stays, and that nothing else goes."""

import functools
import hashlib
import itertools
import re
from dataclasses import replace
from pathlib import Path
from random import Random

import numpy as np
import pytest

from midfill.config.corpus.duplicates import Duplicates
from midfill.corpus import table
from midfill.corpus.duplicates.bands import bands_rows, candidate_probability, shape
from midfill.corpus.duplicates.candidates import candidates, components
from midfill.corpus.duplicates.decide import decide
from midfill.corpus.duplicates.exact import copies, remove_copies
from midfill.corpus.duplicates.run import deduplicate, near_duplicates, parameters, report
from midfill.corpus.duplicates.shingles import jaccard
from midfill.corpus.duplicates.sketch import (
    Sketch,
    from_arrow,
    ranked,
    shingle_set,
    sketch,
    to_arrow,
)
from midfill.corpus.duplicates.verify import Edges, Similarity, verify
from midfill.corpus.pipeline.dedupe import dedupe
from midfill.corpus.record import Document
from midfill.corpus.rules.comments import licence_end
from midfill.errors import ConfigError

FILES = Duplicates(level="file")


def document(repo: str, path: str, text: str, **known) -> Document:
    data = text.encode("utf-8", "surrogatepass")
    digest = hashlib.sha256(data).hexdigest()
    return Document(repo=repo, path=path, text=text, size=len(data), sha256=digest, **known)


def prose(random: Random, words: int) -> str:
    return " ".join(f"{random.getrandbits(40):x}" for _ in range(words))


def kept(decisions) -> set[str]:
    return {d.id for d in decisions if d.keep}


@functools.cache
def by_hand(text: str) -> set[tuple[str, ...]]:
    """The definition, with Python strings: an independent count."""
    words = [word for word in re.split(r"\W", text.lower()) if word]
    return {tuple(words[i : i + 5]) for i in range(len(words) - 4)}


def jaccard_by_hand(a: str, b: str) -> float:
    return len(by_hand(a) & by_hand(b)) / len(by_hand(a) | by_hand(b))


def chain() -> dict[str, str]:
    """a ~ b and b ~ c, but not a ~ c: a window that slides over one text."""
    words = prose(Random(3), 260).split()
    texts = {name: " ".join(words[at : at + 200]) for name, at in (("a", 0), ("b", 30), ("c", 60))}
    assert jaccard_by_hand(texts["a"], texts["b"]) > 0.7
    assert jaccard_by_hand(texts["b"], texts["c"]) > 0.7
    assert jaccard_by_hand(texts["a"], texts["c"]) < 0.7
    return texts


# The values that others use for the same errors: StarCoder's 25 x 10, and 9 x 13 for 128.
@pytest.mark.parametrize(
    ("threshold", "permutations", "expected"),
    [(0.7, 256, (25, 10)), (0.8, 128, (9, 13)), (0.5, 128, (25, 5)), (0.7, 1, (1, 1))],
)
def test_bands_and_rows(threshold, permutations, expected):
    assert bands_rows(threshold, permutations) == expected


def test_bands_and_rows_have_the_least_error():
    def error(bands: int, rows: int) -> float:
        steps = np.linspace(0, 1, 4001)
        chance = candidate_probability(steps, bands, rows)
        return float(np.where(steps < 0.6, chance, 1 - chance).mean())

    best = bands_rows(0.6, 60)
    least = min(error(b, r) for b in range(1, 61) for r in range(1, 60 // b + 1))
    assert error(*best) == pytest.approx(least, rel=0.01)


def test_given_bands_are_taken():
    assert shape(Duplicates(bands=9, rows=13)) == (9, 13)
    assert shape(Duplicates()) == (25, 10)


@pytest.mark.parametrize(
    "wrong",
    [
        {"threshold": 0.0},
        {"threshold": 1.5},
        {"threshold": float("nan")},
        {"level": "line"},
        {"chains": "none"},
        {"exact": "maybe"},
        {"words": 0},
        {"permutations": 0},
        {"bands": 3},
        {"bands": 26, "rows": 10},
        {"seed": -1},
        {"window": 0},
    ],
)
def test_config_refuses(wrong):
    with pytest.raises(ConfigError):
        Duplicates(**wrong)


@pytest.mark.parametrize(
    ("text", "behind"),
    [
        ("# Copyright 2020 X\n# line\n\nimport os\n", "import os\n"),
        ("#!/bin/sh\n# SPDX-License-Identifier: MIT\necho\n", "echo\n"),
        ("/*\n * Licensed under MIT\n */\n#include <a.h>\n", "#include <a.h>\n"),
        ("// (c)\n// All rights reserved.\npackage a;", "package a;"),
        ("<!-- licence: MIT -->\n<p>", "<p>"),
        ("-- copyright\nselect 1", "select 1"),
        ("(* Copyright *)let x", "let x"),
        ("# about this file\nimport os\n", None),  # a comment, but of no licence
        ("import os  # licence\n", None),
        ("/* Copyright, never closed\ncode", ""),  # all of it is the comment
        ("/* licence */ int a;", "int a;"),
        ("#ifndef A_H  // licence\n#define A_H", None),
        ("# Copyright X\n#define A 1\n", "#define A 1\n"),
        ("", None),
        ("# licence", ""),
    ],
)
def test_licence_comment_is_left_out(text, behind):
    start = licence_end(text)
    assert text[start:].lstrip() == (text if behind is None else behind)


def test_long_comment_costs_little():
    assert licence_end("/*" * 1_000_000) == 0
    assert 0 < licence_end("# licence #" * 1_000_000) <= 8192


def test_licence_alone_makes_no_duplicates():
    head = "".join(f"# Licensed under {prose(Random(i), 9)}\n" for i in range(5))
    random = Random(1)
    files = [document("r", f"{i}.py", head + prose(random, 12)) for i in range(2)]
    assert jaccard_by_hand(files[0].text, files[1].text) > 0.7
    assert len(kept(deduplicate(files, FILES))) == 2
    assert len(kept(deduplicate(files, replace(FILES, strip_licence=False)))) == 1


def test_rank_is_stars_then_newest_then_smallest_id():
    known = [
        (5, "2020-01-01"),
        (5, "2021-01-01"),
        (5, "2021-01-01"),
        (9, None),
        (None, "2025-01-01"),
    ]
    known += [(0, None), (5, None)]
    names = ["d", "c", "b", "e", "a", "f", "g"]
    documents = [
        document(name, "x", "", stars=stars, created=created)
        for name, (stars, created) in zip(names, known, strict=True)
    ]
    assert [d.repo for d in ranked(documents)] == ["e", "b", "c", "d", "g", "f", "a"]
    assert ranked(documents, reference={"f:x"})[0].repo == "f"


def test_short_documents_stay():
    files = [document("r", f"{i}.py", "one two three four") for i in range(3)]
    assert len(kept(deduplicate(files, FILES))) == 3
    longer = [document("r", f"{i}.py", "one two three four five") for i in range(3)]
    assert kept(deduplicate(longer, FILES)) == {"r:0.py"}


def test_dup_of_names_the_kept_one_with_its_exact_similarity():
    words = prose(Random(5), 200)
    a, b = document("a", "x", words, stars=1), document("b", "x", words[: len(words) * 9 // 10])
    (first, second) = deduplicate([b, a], FILES)
    assert second.keep
    assert (first.keep, first.dup_of) == (False, "a:x")
    assert first.jaccard == pytest.approx(jaccard_by_hand(a.text, b.text))


def test_a_chain_loses_only_what_is_like_a_kept_one():
    files = [document(name, "x", text) for name, text in chain().items()]
    assert kept(deduplicate(files, FILES)) == {"a:x", "c:x"}
    decisions = deduplicate(files, replace(FILES, chains="component"))
    assert kept(decisions) == {"a:x"}
    assert report(files, decisions, FILES).without_partner == 1
    removed = {d.id: d for d in decisions}
    assert removed["c:x"].dup_of == "a:x"
    want = jaccard_by_hand(chain()["a"], chain()["c"])
    assert removed["c:x"].jaccard == pytest.approx(want)


def test_the_middle_of_a_chain_takes_both_ends():
    stars = {"a": 0, "b": 9, "c": 0}
    files = [document(name, "x", text, stars=stars[name]) for name, text in chain().items()]
    assert kept(deduplicate(files, FILES)) == {"b:x"}


def test_references_stay_and_take_away():
    words = prose(Random(5), 100)
    files = [document(name, "x", words, stars=9 - i) for i, name in enumerate("abcd")]
    assert kept(deduplicate(files, FILES, reference={"c:x", "d"})) == {"c:x", "d:x"}
    for chains in ("keeper", "component"):
        config = Duplicates(chains=chains)
        decisions = deduplicate(files, config, reference={"c", "d"})
        assert kept(decisions) == {"c", "d"}
        assert {d.dup_of for d in decisions if not d.keep} == {"c"}


def repository(name: str, random: Random, files: int = 40, **known) -> list[Document]:
    return [document(name, f"src/{i}.py", prose(random, 150), **known) for i in range(files)]


def test_a_fork_is_removed_whole_and_a_vendored_folder_is_not():
    random = Random(8)
    origin = repository("origin", random, stars=10)
    fork = [replace(d, repo="fork", path=f"renamed/{d.path}", stars=1) for d in reversed(origin)]
    fork[:2] = [document("fork", d.path, prose(random, 150), stars=1) for d in fork[:2]]
    vendored = [replace(d, path=f"vendor/{d.path}") for d in repository("-", random)]
    one = [*repository("one", random), *(replace(d, repo="one") for d in vendored)]
    two = [*repository("two", random), *(replace(d, repo="two") for d in vendored)]
    everything = [*fork, *one, *origin, *two]
    decisions = deduplicate(everything, Duplicates())
    assert kept(decisions) == {"origin", "one", "two"}
    assert {d.level for d in decisions} == {"repo"}  # no file was judged alone
    assert next(d.dup_of for d in decisions if not d.keep) == "origin"
    told = report(everything, decisions, Duplicates())
    assert (told.removed_repositories, told.removed_files) == (1, 0)
    assert told.removed_size == sum(d.size for d in fork)
    assert told.copies_before.files == 38 + 40
    assert told.copies_left.files == 40
    assert told.copies_left.bytes == sum(d.size for d in vendored)
    assert told.clusters == {2: 1}


def test_both_levels_remove_the_fork_then_the_vendored_copies():
    random = Random(8)
    origin = repository("origin", random, stars=10)
    fork = [replace(d, repo="fork", stars=1) for d in origin]
    other = [
        *repository("other", random),
        replace(origin[0], repo="other", path="copy.py", stars=None),
    ]
    decisions = deduplicate([*origin, *fork, *other], Duplicates(level="both"))
    repos = [d for d in decisions if d.level == "repo"]
    assert kept(repos) == {"origin", "other"}
    gone = [d for d in decisions if d.level == "file" and not d.keep]
    assert [(d.id, d.dup_of) for d in gone] == [("other:copy.py", "origin:src/0.py")]
    assert not any(d.id.startswith("fork:") for d in decisions)


def test_exact_copies_go_only_when_asked_and_not_when_tiny():
    long = "x = 1  # " + "-" * 100
    files = [document(r, "a.py", long, stars=s) for r, s in (("a", 1), ("b", 2))]
    files += [document(r, "__init__.py", "") for r in ("a", "b")]
    assert copies(files).files == 2
    assert copies(files).bytes == files[0].size
    assert kept(deduplicate(files, Duplicates())) == {"a", "b"}
    decisions = deduplicate(files, Duplicates(exact="drop"))
    assert [(d.id, d.dup_of) for d in decisions if not d.keep] == [("a:a.py", "b:a.py")]
    assert remove_copies(files, Duplicates(), reference={"a"}) == {"b:a.py": "a:a.py"}


def test_exact_copies_of_a_near_duplicate_name_the_one_that_stays():
    words = prose(Random(2), 100)
    best = document("a", "x", words, stars=9)
    others = [document(r, "x", words + " more", stars=s) for r, s in (("b", 2), ("c", 1))]
    decisions = deduplicate([best, *others], replace(FILES, exact="drop"))
    assert [d.dup_of for d in decisions] == [None, "a:x", "a:x"]
    assert decisions[1].jaccard == decisions[2].jaccard == pytest.approx(96 / 97)


@pytest.fixture(scope="module")
def crowd() -> list[Document]:
    """120 files around 12 originals, at similarities from below the threshold to 1."""
    random = Random(11)
    files = []
    for family in range(12):
        words = prose(random, 120).split()
        for member in range(10):
            changed = list(words)
            for at in random.sample(range(120), random.choice([0, 1, 2, 4, 6])):
                changed[at] = f"{random.getrandbits(40):x}"
            known = {"stars": random.choice([None, 0, 5]), "created": random.choice([None, "2020"])}
            files.append(document(f"{family}-{member}", "x", " ".join(changed), **known))
    return files


def through_shards(files: list[Document], shards: int, seed: int, config: Duplicates):
    """The stages as an executor runs them: sketches by shard, pairs by key, verified in parts."""
    files = list(files)
    Random(seed).shuffle(files)
    sketches = []
    for shard in range(shards):
        own = [one for d in files[shard::shards] for one in sketch([d], config)]
        sketches += from_arrow(to_arrow(own, config))
    order = ranked(sketches)
    texts = {d.id: d.text for d in files}

    def similarity() -> Similarity:
        return Similarity(order, lambda name: shingle_set([texts[name]], config), config.cache)

    found = [candidates(order, config, part, shards) for part in range(shards)]
    pairs = np.unique(np.concatenate(found), axis=0)
    parts = [verify(part, similarity(), config) for part in np.array_split(pairs, shards)]
    edges = Edges(*(np.concatenate([getattr(p, n) for p in parts]) for n in ("pairs", "jaccard")))
    return decide(edges, order, config, similarity())


@pytest.mark.parametrize("chains", ["keeper", "component"])
def test_shards_and_order_do_not_matter(crowd, chains):
    config = replace(FILES, chains=chains, cache=20_000)
    want = through_shards(crowd, 1, 0, config)
    assert want
    for shards, seed in ((1, 1), (2, 2), (8, 3)):
        assert through_shards(crowd, shards, seed, config) == want
    decisions = deduplicate(crowd, config)
    assert {d.id: (d.dup_of, d.jaccard) for d in decisions if not d.keep} == want


def test_every_removal_is_verified_and_hardly_a_pair_is_missed(crowd):
    """Against all pairs, by the definition on strings."""
    decisions = {d.id: d for d in deduplicate(crowd, FILES)}
    texts = {d.id: d.text for d in crowd}
    for gone in decisions.values():
        if not gone.keep:
            assert gone.dup_of is not None
            assert decisions[gone.dup_of].keep
            assert gone.jaccard == pytest.approx(
                jaccard_by_hand(texts[gone.id], texts[gone.dup_of])
            )
            assert gone.jaccard is not None
            assert gone.jaccard >= 0.7
    stay = [texts[name] for name in kept(decisions.values())]
    similar = [jaccard_by_hand(a, b) for a, b in itertools.combinations(stay, 2)]
    assert max(similar) < 0.85  # the chance to miss one above is below 1 in 200
    best: list[str] = []  # what stays if every pair is compared
    for d in ranked(crowd):
        if all(jaccard_by_hand(d.text, other) < 0.7 for other in best):
            best.append(d.text)
    assert len(crowd) - len(stay) > 0.9 * (len(crowd) - len(best))


def test_arrow_keeps_everything(crowd):
    sketches = sketch(crowd[:1], FILES) + sketch(crowd[1:2], Duplicates(level="both"), {"0-1"})
    back = from_arrow(to_arrow(sketches, FILES))
    names = [name for name in Sketch.__dataclass_fields__ if name != "keys"]
    for one, again in zip(sketches, back, strict=True):
        assert [getattr(one, name) for name in names] == [getattr(again, name) for name in names]
        assert np.array_equal(one.keys, again.keys)
    assert from_arrow(to_arrow([], FILES)) == []


def test_components_have_their_smallest_member_as_label():
    random = Random(4)
    pairs = np.array([(random.randrange(300), random.randrange(300)) for _ in range(200)])
    labels = components(300, pairs)
    want = list(range(300))
    for _ in range(300):
        for a, b in pairs:
            want[a] = want[b] = min(want[a], want[b])
    assert labels.tolist() == want


def fake(name: str, keys: list[int]) -> Sketch:
    return Sketch(
        id=name, repo=name, level="file", keys=np.array(keys, np.uint64), shingles=9, size=9, sha256=name
    )  # fmt: skip


@pytest.mark.parametrize("members", [2, 17, 18, 40])
def test_pairs_of_a_group(members):
    config = Duplicates(bands=2, rows=1)
    order = [fake(str(i), [7, 100 + i]) for i in range(members)] + [fake("z", [8, 99])]
    found = {tuple(pair) for pair in candidates(order, config).tolist()}
    everything = set(itertools.combinations(range(members), 2))
    near = {(a, b) for a, b in everything if b - a <= config.window or a < config.centres}
    assert found == (everything if members <= config.window + 1 else near)


def test_equal_sketches_are_paired_with_the_best_alone():
    order = [fake(str(i), [7, 8 + i % 2]) for i in range(6)]
    pairs = candidates(order, Duplicates(bands=2, rows=1)).tolist()
    assert pairs == [[0, 1], [0, 2], [0, 4], [1, 3], [1, 5]]


@pytest.mark.parametrize(
    "near", [1_000, pytest.param(20_000, marks=[pytest.mark.slow, pytest.mark.timeout(300)])]
)
def test_many_identical_and_many_near_identical_documents(near):
    """They share their keys; the work grows with their number, not its square."""
    random = Random(6)
    words = [f"w{random.getrandbits(30)}" for _ in range(60)]
    sets = {}
    sketches = []
    same = sketch([document("same", "x", " ".join(words))], FILES)[0]
    sets["same:x"] = shingle_set([" ".join(words)], FILES)
    for i in range(20_000):
        sketches.append(replace(same, id=f"s{i:05}"))
    for i in range(near):
        text = " ".join([*words, f"end{i}", f"tail{i}"])
        one = sketch([document(f"n{i:05}", "x", text)], FILES)[0]
        sketches.append(one)
        sets[one.id] = shingle_set([text], FILES)
    measured = 0

    def load(name: str):
        nonlocal measured
        measured += 1
        return sets.get(name, sets["same:x"])

    removed = near_duplicates(sketches, load, FILES)
    assert len(removed) == 20_000 + near - 1
    assert {survivor for survivor, _ in removed.values()} == {"n00000:x"}
    assert min(j for _, j in removed.values()) >= 0.7
    assert measured < 3 * len(sketches)


def test_after_the_last_round_pairs_still_decide():
    files = [document(name, "x", text) for name, text in chain().items()]
    assert kept(deduplicate(files, replace(FILES, rounds=1))) == {"a:x", "c:x"}
    words = prose(Random(3), 800).split()
    slide = [document(f"{i:02}", "x", " ".join(words[i * 30 : i * 30 + 200])) for i in range(20)]
    assert kept(deduplicate(slide, replace(FILES, rounds=1))) == kept(deduplicate(slide, FILES))


def test_memory_of_sets_is_bounded():
    texts = {str(i): prose(Random(i), 1000) for i in range(30)}
    order = [fake(name, [1]) for name in texts]
    loads = Similarity(order, lambda name: shingle_set([texts[name]], FILES), cache=3 * 996 * 8)
    pairs = np.array([(0, i) for i in range(1, 30)] * 2)
    assert not loads(pairs).any()
    assert sum(s.nbytes for s in loads._sets.values()) <= 3 * 996 * 8
    assert loads.loads <= 31


@pytest.mark.parametrize(
    "text",
    ["\0" * 1000, "\ud800 " * 50, "a" * 2_000_000, "0, " * 300_000, "\n" * 100_000, "[" * 100_000],
)
def test_hostile_texts(text):
    files = [document("a", "x\ny", text), document("b", "x", text)]
    want = 1 if len(re.findall(r"\w+", text)) >= 5 else 2
    assert len(kept(deduplicate(files, FILES))) == want


def test_nothing_at_all():
    assert deduplicate([], Duplicates()) == []
    assert sketch([], Duplicates()) == []
    assert jaccard(np.empty(0, np.uint64), np.empty(0, np.uint64)) == 0


def test_parameters_of_the_run_record():
    said = parameters(Duplicates())
    assert (said["bands"], said["rows"], said["permutations"], said["hash_bits"]) == (
        25,
        10,
        250,
        64,
    )


@pytest.mark.parametrize("level", ["repo", "file", "both"])
@pytest.mark.parametrize("exact", ["report", "drop"])
@pytest.mark.parametrize("parts", [1, 3])
def test_a_build_removes_what_the_verb_removes(tmp_path: Path, crowd, level, exact, parts):
    """From sketches and texts on disk, in parts, in another order; not from documents at hand."""
    config = Duplicates(level=level, exact=exact)
    files = crowd[:40] + [replace(d, repo=f"again-{d.repo}", path="copy") for d in crowd[:3]]
    made = deduplicate(files, config)
    paths = []
    for part in range(parts):
        own = files[::-1][part::parts]
        path = tmp_path / f"{part}.parquet"
        table.write(path, table.to_table(own))
        sketches = [one for d in own for one in sketch([d], config)]
        table.write(path.with_suffix(".sketches.parquet"), to_arrow(sketches, config))
        paths.append(path)
    rows, numbers = dedupe(paths, config)
    want = {(d.level, d.id): (d.dup_of, d.jaccard) for d in made if not d.keep}
    assert {(r["level"], r["id"]): (r["dup_of"], r["jaccard"]) for r in rows} == want
    assert want
    told = report(files, made, config)
    assert numbers["removed_files"] == told.removed_files
    assert numbers["copies_left"] == {
        "files": told.copies_left.files,
        "bytes": told.copies_left.bytes,
    }
