"""Packages of the pinned lists, from the indexes that this machine is configured for."""

import json
from dataclasses import asdict, replace
from pathlib import Path

import pytest

from midfill.config.corpus.sources import Fetching, ReadLimits
from midfill.corpus.sources import PackageList
from midfill.errors import DownloadError

pytestmark = pytest.mark.slow


def smallest(listed: PackageList, folder: Path, count: int) -> PackageList:
    """The same list, shortened to its smallest packages."""
    packages = sorted(listed.packages(), key=lambda package: package.file.size or 0)[:count]
    rows = [
        asdict(package.file) | {"path": package.file.pool, "name": package.name}
        | {"index": package.index, "version": package.version}
        for package in packages
    ]  # fmt: skip
    path = folder / "short.json"
    path.write_text(json.dumps(rows))
    return replace(listed, path=str(path))


@pytest.mark.parametrize("index", ["pypi", "npm", "debian"])
def test_fetched_packages_give_documents(index: str, tmp_path: Path, data: Path):
    path = str(data / "corpora/pypi_permissive_sdists_le5MB.json") if index == "pypi" else index
    fetching = Fetching(cache=str(tmp_path), attempts=2)
    listed = smallest(PackageList(path=path, index=index, fetching=fetching), tmp_path, 3)
    try:
        listed.prepare()
    except DownloadError as error:
        pytest.skip(f"no answer of {index} here: {error.why}")
    offline = replace(listed, fetching=replace(fetching, offline=True))
    offline.prepare()
    for reference in offline.references():
        found = offline.read(reference, ReadLimits())
        assert found.documents, found.unread
        assert all(doc.repo == reference.name and doc.source == index for doc in found.documents)
