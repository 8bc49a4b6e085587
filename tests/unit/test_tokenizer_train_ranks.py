"""Rank files of the GPT family: the ids of the definition, and those of tiktoken itself."""

import base64
import json
import random
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest
from tokenizers import Regex, pre_tokenizers

from midfill.errors import TokenizerError
from midfill.tokenizer import ranks
from midfill.tokenizer.compression import ALL, as_records, measure
from midfill.tokenizer.fast import FastEncoder
from midfill.tokenizer.ranks import ENCODINGS, Encoding
from midfill.tokenizer.sample import Text
from midfill.tokenizer.tokenizer import Tokenizer
from midfill.tokenizer.train import train
from midfill.tokenizer.vocabulary import bytes_of

LETTERS = ("ab", " ", " \n", "aA'sLl ", "01 ab", "=-*/ \t", "é漢字 ́", "def x(): ")


def scribble(seed: int) -> str:
    chance = random.Random(seed)
    return "".join(chance.choices(chance.choice(LETTERS), k=chance.randint(1, 60)))


TEXTS = [scribble(seed) for seed in range(300)]


def learnt(cut: str) -> dict[bytes, int]:
    """Ranks as training leaves them: the age of each token."""
    made = train(TEXTS, 700, pre_tokenizer=cut)
    return {bytes_of(token): age for token, age in made.plain.get_vocab().items()}


def written(path: Path, found: dict[bytes, int]) -> Path:
    lines = (f"{base64.b64encode(token).decode()} {rank}\n" for token, rank in found.items())
    path.write_text("".join(lines))
    return path


def by_definition(found: dict[bytes, int], piece: bytes) -> list[int]:
    """Join the leftmost pair of the lowest rank until no neighbours make a token."""
    parts = [bytes([byte]) for byte in piece]
    while True:
        places = [
            (found[parts[i] + parts[i + 1]], i)
            for i in range(len(parts) - 1)
            if parts[i] + parts[i + 1] in found
        ]
        if not places:
            return [found[part] for part in parts]
        _, i = min(places)
        parts[i : i + 2] = [parts[i] + parts[i + 1]]


@pytest.mark.parametrize("encoding", ENCODINGS, ids=lambda one: one.name)
def test_ids_are_those_of_the_definition(encoding: Encoding):
    found = learnt("gpt-2")
    tokenizer = Tokenizer(ranks.build(found, Encoding("own", len(found), encoding.pattern)))
    fast = FastEncoder(tokenizer)
    cut = pre_tokenizers.Split(Regex(encoding.pattern), "isolated")
    for text in TEXTS:
        pieces = [piece for piece, _ in cut.pre_tokenize_str(text)]
        want = [i for piece in pieces for i in by_definition(found, piece.encode())]
        assert tokenizer.encode(text) == want
        assert fast.encode(text).tolist() == want
        assert tokenizer.decode(want) == text


def test_a_file_is_read_as_it_was_written(tmp_path: Path):
    found = learnt("gpt-2")
    path = written(tmp_path / "any-name", found)
    assert ranks.is_ranks(path)
    assert ranks.read_ranks(path) == found
    with pytest.raises(TokenizerError) as refused:
        ranks.read(path)
    assert f"{len(found)} tokens" in refused.value.why
    assert "cl100k_base (100,256)" in refused.value.why


def test_published_encodings_are_known_by_how_many_tokens_they_have():
    for one in ENCODINGS:
        found = {i.to_bytes(4): i for i in range(one.tokens)}
        assert ranks.encoding_of(found, Path("x")) == one
        assert not set(one.sentinels.values()) & set(range(50_256))


@pytest.mark.parametrize(
    ("change", "told"),
    [
        (lambda text: text.replace("IQ== ", "I!== ", 1), "line 34 of"),
        (lambda text: text + "IQ== 999\n", "line 701 of"),
        (lambda text: text.replace("IQ== 33\n", ""), "the ranks in"),
        (lambda text: text + "eHh4eHh4eHg= 3\n", "the ranks in"),
    ],
)
def test_damaged_files_are_refused(change, told: str, tmp_path: Path):
    found = {bytes([byte]): byte for byte in range(256)}
    found |= {b"%d" % number: number for number in range(256, 700)}
    path = written(tmp_path / "ranks", found)
    path.write_text(change(path.read_text()))
    with pytest.raises(TokenizerError, match=told):
        ranks.read_ranks(path)


def test_bytes_per_token_are_those_of_the_ids():
    tokenizer = Tokenizer(train(TEXTS, 400))
    fast = FastEncoder(tokenizer)
    texts = [Text("C", "int x;\n"), Text("Go", "func é() {}\n"), Text("", "ab"), Text("C", "ab")]
    rows = measure({"ours": fast}, texts)
    assert [row.language for row in rows] == [ALL, "Go", "C", "unknown"]
    for row in rows:
        mine = [t.text for t in texts if row.language in (ALL, t.language or "unknown")]
        count = sum(len(tokenizer.encode(text)) for text in mine)
        size = sum(len(text.encode()) for text in mine)
        assert (row.texts, row.bytes, row.tokens["ours"]) == (len(mine), size, count)
        assert row.bytes_per_token("ours") == pytest.approx(size / count)
    assert json.loads(json.dumps(as_records(rows)))[0]["tokens"] == rows[0].tokens


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_published_ids_are_those_of_tiktoken(tmp_path: Path):
    """tiktoken and litellm, which carries its rank files, come from the package index."""
    pip = [sys.executable, "-m", "pip", "--disable-pip-version-check", "download", "--no-deps"]
    for package in ("tiktoken", "litellm"):
        got = subprocess.run([*pip, "-q", "-d", tmp_path, package], capture_output=True, text=True)
        if got.returncode:
            pytest.skip(f"{package} cannot be had here: {got.stderr.strip()[-200:]}")
    for wheel in tmp_path.glob("*.whl"):
        with zipfile.ZipFile(wheel) as file:
            wanted = [n for n in file.namelist() if "tokenizers/" in n or n.startswith("tiktoken")]
            file.extractall(tmp_path / "packages", wanted)
    sys.path.append(str(tmp_path / "packages"))
    try:
        tiktoken = pytest.importorskip("tiktoken")
    finally:
        sys.path.pop()
    files = [path for path in (tmp_path / "packages" / "litellm").rglob("*") if path.is_file()]
    files = [path for path in files if ranks.is_ranks(path)]
    assert len(files) >= 3
    own = [path.read_text(encoding="utf-8") for path in Path(__file__).parent.glob("test_t*.py")]
    for path in files:
        found = ranks.read_ranks(path)
        known = ranks.encoding_of(found, path)
        theirs = tiktoken.Encoding(
            known.name,
            pat_str=known.pattern,
            mergeable_ranks=found,
            special_tokens=dict(known.sentinels),
        )
        tokenizer = Tokenizer(ranks.build(found, known))
        for text in [*TEXTS, *own]:
            assert tokenizer.encode(text) == theirs.encode(text, disallowed_special=())
        for token in random.Random(0).sample(sorted(found), 3000):
            assert theirs.encode_single_token(token) == found[token]
