"""The orders of published packages against the literal Algorithm 1 and plain reachability.

Packages are those of the pinned lists, fetched as the corpus fetches them: into the cache that
MIDFILL_CACHE names. Nothing of the product is asked what the right order is.
"""

import hashlib
import json
from itertools import chain
from pathlib import Path
from typing import get_args

import pytest

import midfill.corpus
from midfill.config.corpus.sources import ReadLimits
from midfill.corpus.dependencies import File, Order, depends_on, order
from midfill.corpus.languages import detect
from midfill.corpus.sources import PackageList
from midfill.errors import DownloadError
from property.test_corpus_order import acyclic_edges, algorithm_1

pytestmark = [pytest.mark.slow, pytest.mark.timeout(1200)]
LISTS = Path(midfill.corpus.__file__ or "").parent / "lists"
SIZES = range(20_000, 400_000)  # bytes of an archive: several files, few enough for quadratic time


def chosen(index: str, data: Path, folder: Path) -> PackageList:
    """Twenty-five packages of the pinned list, in an order by hash, as a list of its own."""
    path = data / "corpora/pypi_permissive_sdists_le5MB.json"
    if index != "pypi":
        path = LISTS / f"{index}.json"
    rows = json.loads(path.read_text(encoding="utf-8"))
    rows = [row for row in rows if row.get("files", [row])[0]["size"] in SIZES]
    rows.sort(key=lambda row: hashlib.sha256(row["name"].encode()).digest())
    short = folder / f"{index}.json"
    short.write_text(json.dumps(rows[:25]))
    return PackageList(path=str(short), index=index)


def check(files: list[File]) -> int:
    """Compare the orders of one package; the number of its imports."""
    edges = depends_on(files)
    paths = sorted(file.path for file in files)
    assert sorted(edges) == paths
    for how in get_args(Order):
        assert sorted(chain.from_iterable(order(edges, how))) == paths
    assert order(edges, "paper") == algorithm_1(paths, edges)
    place = {path: n for part in order(edges, "depth_first") for n, path in enumerate(part)}
    assert not [edge for edge in acyclic_edges(edges) if place[edge[1]] > place[edge[0]]]
    return sum(map(len, edges.values()))


@pytest.mark.parametrize("index", ["pypi", "npm", "debian"])
def test_orders_of_published_packages(index: str, data: Path, tmp_path: Path):
    """At least twenty packages of each index have imports to order."""
    listed = chosen(index, data, tmp_path)
    try:
        listed.prepare()
    except DownloadError as error:
        pytest.skip(f"no answer of {index} here: {error.why}")
    imports: dict[str, int] = {}
    for reference in listed.references():
        documents = listed.read(reference, ReadLimits()).documents
        assert documents, reference.name
        files = [File(d.path, d.text, detect(d.path, d.text).language) for d in documents]
        imports[reference.name] = check(files)
    print(f"{index}: {len(imports)} packages, {sum(imports.values())} imports")
    assert sum(count > 0 for count in imports.values()) >= 20, imports
