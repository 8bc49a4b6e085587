"""The fast encoder against the `tokenizers` library on whole source trees.

The interpreter's own standard library is always there; MIDFILL_TEXTS names a folder of more.
"""

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from midfill.tokenizer.fast import FastEncoder

TREES = [Path(os.__file__).parent, *filter(None, [os.environ.get("MIDFILL_TEXTS")])]
NAMES = ["deepseek-coder-v1", "deepseek-v2-rebuilt"]


def texts(tree: Path) -> Iterator[tuple[Path, str]]:
    """Every file that is UTF-8, binary ones left out."""
    for path in sorted(Path(tree).rglob("*")):
        if path.is_file() and path.stat().st_size < 4_000_000:
            raw = path.read_bytes()
            if b"\0" not in raw:
                try:
                    yield path, raw.decode()
                except UnicodeDecodeError:
                    continue


@pytest.fixture(scope="module", params=NAMES)
def encoder(request, data: Path) -> FastEncoder:
    folder = data / "tokenizers" / request.param
    if not folder.is_dir():
        pytest.skip(f"no tokenizer {request.param} below MIDFILL_DATA")
    return FastEncoder(folder)


@pytest.mark.slow
@pytest.mark.timeout(3000)
@pytest.mark.parametrize("tree", TREES, ids=lambda tree: Path(tree).name)
def test_ids_equal_the_librarys_on_every_file(encoder: FastEncoder, tree: Path):
    files = size = 0
    for path, text in texts(tree):
        assert encoder.encode(text).tolist() == encoder.tokenizer.encode(text), path
        files += 1
        size += len(text)
    print(f"{files} files, {size / 1e6:.1f} million characters: ids equal")
    assert files > 100


def test_ids_equal_the_librarys_on_some_files(encoder: FastEncoder):
    for path in sorted(Path(os.__file__).parent.glob("*.py"))[::12]:
        text = path.read_text(encoding="utf-8")
        assert encoder.encode(text).tolist() == encoder.tokenizer.encode(text), path
