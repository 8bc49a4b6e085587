"""Where the files of a document begin among its tokens."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest

from midfill.config.corpus.documents import FimConfig
from midfill.corpus.documents import Training
from midfill.corpus.pipeline.borders import file_starts
from midfill.corpus.pipeline.encode import Encoded, Encoder
from midfill.corpus.pipeline.merge import Slices
from midfill.corpus.pipeline.tokens import FILES
from midfill.tokenizer import folder
from midfill.tokenizer.tokenizer import Tokenizer
from midfill.tokenizer.train import train

PIECES = (
    "# a.py\nimport os\n",
    "\n\n\ndef one():\n\n\n    return 'größer 漢字'",
    "x",
    "# b.py\n\n\n",
    "    \n# c.py\n}}\n",
    "last",
)


@pytest.fixture(scope="module")
def tokenizer(tmp_path_factory: pytest.TempPathFactory) -> Tokenizer:
    """Trained on what it encodes, so that tokens join what can be joined."""
    place = tmp_path_factory.mktemp("tokenizer")
    folder.write(train(["\n\n".join(PIECES)] * 20, 400), place)
    return Tokenizer.from_folder(place)


def encoded(
    tokenizer: Tokenizer, pieces: Sequence[str], *, rate: float, most: int = 10_000
) -> list[Encoded]:
    encoder = Encoder(tokenizer, FimConfig(rate=rate), most_tokens=most, seed=0)
    paths = tuple(f"{i}.py" for i in range(len(pieces)))
    document = Training(
        id="r:0.py",
        repo="r",
        pieces=tuple(pieces),
        paths=paths,
        languages=("Python",) * len(pieces),
    )
    return list(encoder.encode([document], 0))


def files_of(tokenizer: Tokenizer, one: Encoded) -> list[str]:
    ends = [*one.file_starts[1:], len(one.ids) - 1]
    return [
        tokenizer.decode(one.ids[start:end].tolist())
        for start, end in zip(one.file_starts, ends, strict=True)
    ]


@pytest.mark.parametrize("order", [PIECES, PIECES[::-1], PIECES[2:] + PIECES[:2]])
def test_each_file_lies_between_its_start_and_the_next(
    tokenizer: Tokenizer, order: tuple[str, ...]
):
    (one,) = encoded(tokenizer, order, rate=0)
    texts = files_of(tokenizer, one)
    assert len(texts) == len(order)
    for text, piece in zip(texts, order, strict=True):
        assert piece in text
        assert len(text) <= len(piece) + 4
    assert "".join(texts) == "\n\n".join(order)


def test_parts_of_a_long_document_have_the_starts_of_their_files(tokenizer: Tokenizer):
    parts = encoded(tokenizer, PIECES, rate=0, most=40)
    assert len(parts) > 1
    assert [path for one in parts for path in one.paths] == [f"{i}.py" for i in range(len(PIECES))]
    for one in parts:
        assert len(files_of(tokenizer, one)) == len(one.paths)


def test_a_document_with_a_hole_is_one_file(tokenizer: Tokenizer):
    (one,) = encoded(tokenizer, PIECES, rate=1)
    assert one.holes
    assert one.file_starts == (1,)


def test_starts_follow_the_documents_into_the_shard(tmp_path: Path):
    (tmp_path / "0.parquet").with_suffix(FILES).write_bytes(
        np.array([1, 4, 11, 21], "<u8").tobytes()
    )
    (tmp_path / "1.parquet").with_suffix(FILES).write_bytes(np.array([1], "<u8").tobytes())
    slices = Slices(
        np.array([0, 1, 0], np.uint32),
        np.array([20, 0, 0], np.uint64),
        np.array([5, 6, 10], np.uint64),
        np.array([1, 2, 3], np.uint64),
    )
    found = file_starts(slices, [tmp_path / "0.parquet", tmp_path / "1.parquet"])
    assert found.tolist() == [1, 6, 12, 15]
    assert file_starts(slices[:0], []).tolist() == []
