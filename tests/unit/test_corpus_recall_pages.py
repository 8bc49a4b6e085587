"""Pages for recall: read one at a time, HTML as it is seen, each address once, no near-duplicates."""

import gzip
import json
import tracemalloc
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest

from midfill.config.corpus.quality import ClassifierConfig
from midfill.config.corpus.recall import RecallConfig
from midfill.corpus.recall.loop import recall
from midfill.corpus.recall.pages import Page
from midfill.corpus.recall.read import read_pages
from midfill.corpus.recall.unique import leave_out_near_duplicates, one_per_url
from midfill.corpus.recall.words import space_words

HTML = (
    "<!doctype html><html><head><title>Sums</title><style>p { color: red }</style></head><body>"
    "<script>track('you')</script><h1>Add &amp; go</h1><p>a &lt; b</p></body></html>"
)
SEEN = "Sums\n\nAdd & go\n\na < b\n"


def crawl(path: Path, pages: dict[str, tuple[str, bytes]]) -> Path:
    """A WARC file: content type and body by address."""
    records = []
    for url, (kind, body) in pages.items():
        answer = f"HTTP/1.1 200 OK\r\nContent-Type: {kind}\r\n\r\n".encode() + body
        head = f"WARC/1.0\r\nWARC-Type: response\r\nWARC-Target-URI: {url}\r\n"
        head += f"Content-Type: application/http\r\nContent-Length: {len(answer)}\r\n\r\n"
        records.append(head.encode() + answer + b"\r\n\r\n")
    pack = gzip.compress if path.suffix == ".gz" else bytes
    path.write_bytes(b"".join(map(pack, records)))
    return path


def read(*paths: Path, is_github: bool = False) -> tuple[dict[str, str], Counter[str]]:
    unread = Counter[str]()
    pages = list(read_pages(paths, unread, is_github=is_github))
    assert len({page.url for page in pages}) == len(pages)
    return {page.url: page.text for page in pages}, unread


@pytest.mark.parametrize("ending", [".warc", ".warc.gz"])
def test_a_crawl_is_read_as_a_reader_sees_it(tmp_path: Path, ending: str):
    latin = HTML.replace("go", "gö").encode("latin-1")
    pages = {
        "https://a.example/one": ("text/html", HTML.encode()),
        "https://b.example/two?x=1": ("text/html; charset=iso-8859-1", latin),
        "https://a.example/plain": ("text/plain", b"if a <b and c> d\n"),
        "https://a.example/picture": ("image/png", b"\x89PNG"),
    }
    found, unread = read(crawl(tmp_path / f"crawl{ending}", pages))
    assert found == {
        "https://a.example/one": SEEN,
        "https://b.example/two?x=1": SEEN.replace("go", "gö"),
        "https://a.example/plain": "if a <b and c> d\n",
    }
    assert unread == {"content_type": 1}


def test_json_lines_may_hold_html_or_text(tmp_path: Path):
    rows = [
        {"url": "https://a.example/html", "html": HTML},
        {"url": "https://a.example/text", "text": "a <b> c"},
        {"url": "https://a.example/both", "html": HTML, "text": "not this"},
        {"url": "ftp://a.example", "text": "x"},
        {"url": "https://a.example/half", "text": "\ud800"},
    ]
    path = tmp_path / "pages.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows) + "{\n")
    found, unread = read(path)
    assert found == {
        "https://a.example/html": SEEN,
        "https://a.example/text": "a <b> c",
        "https://a.example/both": SEEN,
    }
    assert unread == {"row": 2, "encoding": 1}


def test_a_crawl_cut_off_gives_what_is_before_the_cut(tmp_path: Path):
    pages = {f"https://a.example/{i}": ("text/html", HTML.encode()) for i in range(9)}
    path = crawl(tmp_path / "crawl.warc", pages)
    path.write_bytes(path.read_bytes()[:-100])
    found, unread = read(path)
    assert list(found) == list(pages)[:8]
    assert unread == {"truncated": 1}


def test_files_of_github_are_code_not_pages(tmp_path: Path):
    path = tmp_path / "rows.jsonl"
    rows = [{"repo": "owner/name", "path": p, "text": HTML} for p in ("a.html", "a.html", "b")]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    found, unread = read(path, is_github=True)
    start = "https://github.com/owner/name"
    assert found == {f"{start}/a.html": HTML, f"{start}/b": HTML}
    assert unread == {"duplicate_name": 1}


def test_of_pages_with_one_address_the_longest_stays():
    pages = [Page("http://a.example/", "b"), Page("https://a.example", "aa"), Page("a", "\ud800")]
    assert dict(one_per_url(pages)) == dict(one_per_url(pages[::-1]))
    assert list(one_per_url(pages).items()) == [("a", "\ud800"), ("a.example", "aa")]


def test_near_duplicates_are_left_out():
    words = [f"word{i}" for i in range(400)]
    texts = {
        "b.example": " ".join(words),
        "c.example": " ".join(words),
        "a.example": " ".join(words[:390]),
        "d.example": " ".join(words[:100]),
        "e.example": "a short one",
    }
    pages = one_per_url(Page(url, text) for url, text in texts.items())
    leave_out_near_duplicates(pages)
    assert dict(pages) == {url: texts[url] for url in ("a.example", "d.example", "e.example")}


def test_memory_holds_neither_texts_nor_words():
    """Texts of 4 MB, whose words take 6 MB."""

    def pages() -> Iterator[Page]:
        for number in range(800):
            yield Page(f"{number}.example", f"{number:04} " * 1000)

    small = ClassifierConfig(bits=12)
    config = RecallConfig(rounds=1, positives=1, negatives=2, classifier=small)
    tracemalloc.start()
    try:
        (made,) = recall(one_per_url(pages()), ["0.example"], config, space_words())
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert made.scored == 800
    assert peak < 2_000_000
