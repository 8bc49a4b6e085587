"""How many near-duplicate pairs deduplication finds, against exact Jaccard similarity of all pairs.

python bench/dedup_recall.py FOLDER [--files 2500] [--seed 1]

FOLDER holds source archives (.tar.gz), such as those that the lists below MIDFILL_DATA/corpora name.
Real source files are edited as people do (renamed names, deleted functions, other indentation, moved
blocks, changed constants); the edits and the files themselves are compared pair by pair. Printed, as
JSON lines: recall of the candidates for each band of similarity beside the formula, and the share of
pairs of which both stay in the end; precision after verification, and whether 1, 2 and 8 shards in shuffled order leave the same documents.
"""

import argparse
import ast
import hashlib
import itertools
import json
import os
import re
import tarfile
from collections import defaultdict
from pathlib import Path
from random import Random

import numpy as np

from midfill.config.corpus.duplicates import Duplicates
from midfill.corpus.duplicates.bands import candidate_probability, shape
from midfill.corpus.duplicates.candidates import candidates
from midfill.corpus.duplicates.decide import decide
from midfill.corpus.duplicates.shingles import jaccard
from midfill.corpus.duplicates.sketch import ranked, shingle_set, sketch
from midfill.corpus.duplicates.verify import Edges, Similarity, verify
from midfill.corpus.record import Document

LEAST = 0.5  # similarity of the pairs looked at
EXACT = Duplicates(level="file")


def python_files(folder: Path, most: int) -> list[tuple[str, str]]:
    """Names and texts of Python files of the archives, at most `most`, spread over all of them."""
    by_archive = []
    for archive in sorted(folder.glob("*.tar.gz")):
        found = []
        with tarfile.open(archive) as members:
            for member in members:
                if member.isfile() and member.name.endswith(".py") and 500 < member.size < 60_000:
                    data = members.extractfile(member).read()  # pyright: ignore[reportOptionalMemberAccess]
                    text = data.decode("utf-8", "ignore")
                    found.append((member.name, text))
        by_archive.append(found)
    spread = [one for turn in itertools.zip_longest(*by_archive) for one in turn if one]
    return spread[:most]


def rename(text: str, random: Random) -> str:
    """Some identifiers under other names, everywhere in the file."""
    names = sorted(set(re.findall(r"\b[a-z_][a-z0-9_]{4,}\b", text)))
    for name in random.sample(names, min(len(names), random.choice([1, 2, 4, 8]))):
        text = re.sub(rf"\b{name}\b", f"{name}_{random.choice('xyz')}", text)
    return text


def delete_functions(text: str, random: Random) -> str:
    """The file without some of its functions."""
    try:
        tree = ast.parse(text)
    except (SyntaxError, ValueError, RecursionError):
        return text
    functions = [n for n in ast.walk(tree) if isinstance(n, ast.FunctionDef | ast.AsyncFunctionDef)]
    lines = text.split("\n")
    for node in random.sample(functions, min(len(functions), random.choice([1, 2, 3]))):
        for at in range(node.lineno - 1, min(node.end_lineno or 0, len(lines))):
            lines[at] = ""
    return "\n".join(lines)


def reformat(text: str, random: Random) -> str:
    """Other indentation, quotes and line ends, and comments left out."""
    text = re.sub(r"(?m)^\s*#.*$", "", text)
    text = text.replace("    ", "\t") if random.random() < 0.5 else text.replace("'", '"')
    return text.replace("\n", "\r\n") if random.random() < 0.3 else text


def move_block(text: str, random: Random) -> str:
    """One run of lines elsewhere."""
    lines = text.split("\n")
    length = max(1, len(lines) // random.choice([5, 10, 20]))
    begin = random.randrange(max(1, len(lines) - length))
    block, rest = lines[begin : begin + length], lines[:begin] + lines[begin + length :]
    to = random.randrange(len(rest) + 1)
    return "\n".join(rest[:to] + block + rest[to:])


def change_constants(text: str, random: Random) -> str:
    """Some of the numbers and the words in strings differ."""
    share = random.choice([0.1, 0.3, 0.6])
    return re.sub(
        r"\d+|(?<=[\"'])\w+",
        lambda found: f"{found[0]}{random.randrange(10)}" if random.random() < share else found[0],
        text,
    )


EDITS = (rename, delete_functions, reformat, move_block, change_constants)


def build(folder: Path, most: int, seed: int) -> list[Document]:
    """Real files, and for every second one two edited copies."""
    random, documents = Random(seed), []
    for at, (name, text) in enumerate(python_files(folder, most)):
        versions = [text]
        for _ in range(2 if at % 2 else 0):
            edited = text
            for edit in random.sample(EDITS, random.choice([1, 1, 2, 3])):
                edited = edit(edited, random)
            versions.append(edited)
        for number, version in enumerate(versions):
            data = version.encode("utf-8", "surrogatepass")
            documents.append(
                Document(
                    repo=f"{at:05}-{number}", path=name, text=version, size=len(data),
                    sha256=hashlib.sha256(data).hexdigest(), stars=random.choice([None, 0, 3]),
                )
            )  # fmt: skip
    return documents


def similar_pairs(sets: list[np.ndarray]) -> dict[tuple[int, int], float]:
    """All pairs of at least LEAST, by an inverted index over shingles; no MinHash takes part.

    Only the rarest shingles of a set need be looked up: a pair of similarity t shares one of the
    first (1 - t) n + 1 of each in any one global order.
    """
    where = np.concatenate([np.full(len(s), i) for i, s in enumerate(sets)])
    shingles, inverse, counts = np.unique(
        np.concatenate(sets), return_inverse=True, return_counts=True
    )
    order = np.lexsort((shingles, counts))
    rank = np.empty(len(order), np.int64)
    rank[order] = np.arange(len(order))
    index, seen, begin = defaultdict(list), {}, 0
    for i, own in enumerate(sets):
        ranks = np.sort(rank[inverse[begin : begin + len(own)]])
        begin += len(own)
        near = set()
        for shingle in ranks[: int((1 - LEAST) * len(own)) + 1].tolist():
            near.update(index[shingle])
            index[shingle].append(i)
        for j in near:
            if min(len(own), len(sets[j])) >= LEAST * max(len(own), len(sets[j])):
                value = jaccard(own, sets[j])
                if value >= LEAST:
                    seen[j, i] = value
    assert begin == len(where)
    return seen


def through_shards(documents: list[Document], shards: int, seed: int, config: Duplicates):
    """Sketches by shard, pairs by key, verification in parts, then the decision."""
    shuffled = list(documents)
    Random(seed).shuffle(shuffled)
    made = [one for n in range(shards) for d in shuffled[n::shards] for one in sketch([d], config)]
    order = ranked(made)
    texts = {d.id: d.text for d in documents}

    def similarity() -> Similarity:
        return Similarity(order, lambda name: shingle_set([texts[name]], config), config.cache)

    parts = [candidates(order, config, part, shards) for part in range(shards)]
    pairs = np.unique(np.concatenate(parts), axis=0)
    edges = [verify(part, similarity(), config) for part in np.array_split(pairs, shards)]
    joined = Edges(
        np.concatenate([e.pairs for e in edges]), np.concatenate([e.jaccard for e in edges])
    )
    return order, pairs, decide(joined, order, config, similarity())


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--files", type=int, default=2500, help="real files taken")
    parser.add_argument("--seed", type=int, default=1, help="of the edits")
    options = parser.parse_args()
    documents = build(options.folder, options.files, options.seed)
    bands, rows = shape(EXACT)
    order, pairs, removed = through_shards(documents, 1, 0, EXACT)
    texts = {d.id: d.text for d in documents}
    sets = [shingle_set([texts[one.id]], EXACT) for one in order]
    truth = similar_pairs(sets)
    found = represented(order, {(int(a), int(b)) for a, b in pairs}, truth)
    stay = np.array([one.id not in removed for one in order])
    head = {"bench": "dedup_recall", "documents": len(documents), "pairs_at_least_.5": len(truth)}
    print(json.dumps(head | {"bands": bands, "rows": rows, "load": os.getloadavg()[0]}))

    for low in np.arange(LEAST, 1, 0.05).round(2).tolist():
        high = round(low + 0.05, 2)
        inside = {pair: j for pair, j in truth.items() if low <= j < high}
        report_band(f"{low:.2f}-{high:.2f}", inside, found, stay, bands, rows)
    report_band("0.70-0.95", within(truth, 0.7, 0.95), found, stay, bands, rows)
    report_band("above 0.85, not identical", within(truth, 0.85, 1), found, stay, bands, rows)

    place = {one.id: i for i, one in enumerate(order)}
    right = [
        jaccard(sets[place[gone]], sets[place[kept]]) >= EXACT.threshold and kept not in removed
        for gone, (kept, _) in removed.items()
    ]
    same = {
        f"{shards} shards": through_shards(documents, shards, shards + 10, EXACT)[2] == removed
        for shards in (1, 2, 8)
    }
    precision = sum(right) / max(len(right), 1)
    print(json.dumps({"removed": len(removed), "precision": precision, "same_result": same}))


def within(truth: dict[tuple[int, int], float], low: float, high: float):
    return {pair: j for pair, j in truth.items() if low <= j < high}


def represented(order, found: set[tuple[int, int]], truth) -> set[tuple[int, int]]:
    """Pairs of `truth` found themselves, or by the best of the sketches equal to theirs."""
    best: dict[bytes, int] = {}
    of = [best.setdefault(one.keys.tobytes(), i) for i, one in enumerate(order)]
    through = {pair: tuple(sorted((of[pair[0]], of[pair[1]]))) for pair in truth}
    return {pair for pair, by in through.items() if pair in found or by in found or by[0] == by[1]}


def report_band(
    name: str, inside: dict, found: set, stay: np.ndarray, bands: int, rows: int
) -> None:
    """One line: how many pairs, the share found, what the formula expects, and both still there."""
    hits = sum(pair in found for pair in inside)
    expected = [float(candidate_probability(j, bands, rows)) for j in inside.values()]
    row = {"similarity": name, "pairs": len(inside)}
    if inside:
        row |= {"recall": round(hits / len(inside), 4)}
        row |= {"formula": round(float(np.mean(expected)), 4)}
        row |= {"both_stay": round(float(np.mean([stay[a] and stay[b] for a, b in inside])), 4)}
    print(json.dumps(row))


if __name__ == "__main__":
    main()
