"""Web pages: WARC, WET and JSON Lines, damaged and whole, grouped by host."""

import gzip
import io
import json
import random
from collections import Counter
from pathlib import Path

import pytest

from midfill.config.corpus.sources import ReadLimits
from midfill.corpus.record import Repository
from midfill.corpus.sources import PageSource
from midfill.corpus.sources.pages import address

LIMITS = ReadLimits()


def everything(path: Path, limits: ReadLimits = LIMITS) -> dict[str, Repository]:
    source = PageSource(path=str(path))
    return {each.name: source.read(each, limits) for each in source.references()}


def texts(found: Repository) -> dict[str, str]:
    return {doc.path: doc.text for doc in found.documents}


def reasons(found: Repository) -> dict[str, int]:
    return dict(Counter(item.drop.reason for item in found.unread))


def record(kind: str, url: str, block: bytes, content_type: str = "text/plain") -> bytes:
    head = f"WARC/1.0\r\nWARC-Type: {kind}\r\nWARC-Target-URI: {url}\r\nContent-Type: {content_type}\r\n"
    return head.encode() + b"Content-Length: %d\r\n\r\n" % len(block) + block + b"\r\n\r\n"


def answer(
    url: str, body: bytes, *lines: str, status: str = "200 OK", kind: str = "text/html"
) -> bytes:
    head = "\r\n".join([f"HTTP/1.1 {status}", f"Content-Type: {kind}", *lines, "", ""])
    return record("response", url, head.encode() + body, "application/http; msgtype=response")


INFO = record("warcinfo", "", b"software: x", "application/warc-fields")
HTML = "<html><p>ü</p></html>"
RECORDS = [
    INFO,
    record(
        "request", "http://a.org/", b"GET / HTTP/1.1\r\n\r\n", "application/http; msgtype=request"
    ),
    answer("http://a.org/", HTML.encode()),
    answer(
        "https://b.org:8443/x/y?q=1", HTML.encode("latin-1"), kind="text/html; charset=ISO-8859-1"
    ),
    answer("http://a.org/packed", gzip.compress(HTML.encode()), "Content-Encoding: gzip"),
    answer(
        "http://a.org/chunks",
        b"5\r\n<html\r\n3;x=y\r\n>ok\r\n0\r\n\r\n",
        "Transfer-Encoding: chunked",
    ),
    answer("http://a.org/gone", b"no", status="404 Not Found"),
    answer("http://a.org/image", b"\x89PNG", kind="image/png"),
    answer("http://a.org/br", b"\x0b", "Content-Encoding: br"),
    answer("http://a.org/", b"again"),
    answer("http://user:secret@A.ORG:80/last", b"end"),
    answer("ftp://c.org/x", b"end"),
]
EXPECTED = {"": HTML, "packed": HTML, "chunks": "<html>ok", "last": "end"}


@pytest.mark.parametrize("packing", ["plain", "each", "one"])
def test_warc(tmp_path: Path, packing: str):
    pack = {
        "plain": b"".join,
        "each": lambda r: b"".join(map(gzip.compress, r)),
        "one": lambda r: gzip.compress(b"".join(r)),
    }
    path = tmp_path / ("x.warc" if packing == "plain" else "x.warc.gz")
    path.write_bytes(pack[packing](RECORDS))
    found = everything(tmp_path)
    assert list(found) == ["web/a.org", "web/b.org:8443", f"web/{path.name}#unreadable"]
    assert texts(found["web/a.org"]) == EXPECTED
    assert {doc.language for doc in found["web/a.org"].documents} == {"HTML"}
    assert texts(found["web/b.org:8443"]) == {"x/y?q=1": HTML}
    assert reasons(found["web/a.org"]) == {
        "http_status": 1, "content_type": 1, "compression": 1, "duplicate_name": 1,
    }  # fmt: skip
    assert reasons(found[f"web/{path.name}#unreadable"]) == {"url": 1}


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")  # warcio's own files
def test_the_same_as_warcio(tmp_path: Path):
    """The records a widely used reader finds, in a file that it wrote."""
    warcio = pytest.importorskip("warcio", reason="no warcio: pip install 'midfill[test]'")
    from warcio.statusandheaders import StatusAndHeaders

    path = tmp_path / "x.warc.gz"
    with path.open("wb") as out:
        writer = warcio.WARCWriter(out, gzip=True)
        for number in range(40):
            head = StatusAndHeaders("200 OK", [("Content-Type", "text/html")], protocol="HTTP/1.0")
            body = io.BytesIO(f"<p>{number}".encode())
            url = f"http://h{number % 3}.org/{number}"
            writer.write_record(
                writer.create_warc_record(url, "response", payload=body, http_headers=head)
            )
    with path.open("rb") as file:
        want = {
            each.rec_headers.get_header("WARC-Target-URI"): each.content_stream().read().decode()
            for each in warcio.ArchiveIterator(file)
        }
    found = everything(path)
    got = {
        f"http://{name[4:]}/{p}": t for name, repo in found.items() for p, t in texts(repo).items()
    }
    assert got == want


def test_wet_and_reading_order(tmp_path: Path):
    hosts = [
        record("conversion", f"http://h{i % 4}.org/{i}", f"text {i}".encode()) for i in range(50)
    ]
    path = tmp_path / "x.warc.wet.gz"
    path.write_bytes(b"".join(map(gzip.compress, [INFO, *hosts])))
    source = PageSource(path=str(path))
    references = list(source.references())
    assert [each.name for each in references] == [f"web/h{i}.org" for i in range(4)]
    forwards = [source.read(each, LIMITS) for each in references]
    assert forwards == [source.read(each, LIMITS) for each in references[::-1]][::-1]
    assert texts(forwards[1]) == {f"{i}": f"text {i}" for i in range(50) if i % 4 == 1}
    assert {doc.language for doc in forwards[1].documents} == {None}


@pytest.mark.parametrize("ending", ["", ".gz"])
def test_json_lines(tmp_path: Path, ending: str):
    rows = [
        {"url": "https://a.org/p?x", "html": "<p>", "text": "unused"},
        {"url": "https://b.org", "text": "words"},
        {"url": "mailto:x", "text": "no"},
        {"text": "no address"},
        {"url": "https://a.org/second", "text": "more"},
    ]
    path = tmp_path / f"x.jsonl{ending}"
    data = "\n".join(map(json.dumps, rows)).encode()
    path.write_bytes(gzip.compress(data) if ending else data)
    found = everything(path)
    assert texts(found["web/a.org"]) == {"p?x": "<p>", "second": "more"}
    assert [doc.language for doc in found["web/a.org"].documents] == ["HTML", None]
    assert texts(found["web/b.org"]) == {"": "words"}
    assert reasons(found[f"web/{path.name}#unreadable"]) == {"row": 2}


@pytest.mark.parametrize("cut", [20, 100, 1000])
def test_a_cut_file_keeps_the_whole_records(tmp_path: Path, cut: int):
    rng = random.Random(0)
    bodies = [rng.randbytes(2000).hex() for _ in range(3)]
    records = [
        record("conversion", f"http://h{i}.org/", body.encode()) for i, body in enumerate(bodies)
    ]
    packed = b"".join(map(gzip.compress, records))
    for name, data in (("x.warc", b"".join(records)), ("x.warc.gz", packed)):
        path = tmp_path / name
        path.write_bytes(data[:-cut])
        found = everything(path)
        assert list(found) == ["web/h0.org", "web/h1.org", f"web/{name}#unreadable"]
        assert texts(found["web/h1.org"]) == {"": bodies[1]}
        assert reasons(found[f"web/{name}#unreadable"]) == {"truncated": 1}
        path.unlink()


def test_hostile_records(tmp_path: Path):
    path = tmp_path / "x.warc"
    good = record("conversion", "http://a.org/", b"good")
    for bad, reason in (
        (b"garbage\n" * 10, "damaged"),
        (b"WARC/1.0\r\nContent-Length: -5\r\n\r\n", "damaged"),
        (b"WARC/1.0\r\n" + b"X: y\r\n" * 1000, "damaged"),
        (b"WARC/1.0\r\nWARC-Type: conversion\r\nContent-Length: 99999999999\r\n\r\n", "truncated"),
    ):
        path.write_bytes(good + bad)
        found = everything(path)
        assert texts(found["web/a.org"]) == {"": "good"}
        assert reasons(found["web/x.warc#unreadable"]) == {reason: 1}
    bomb = answer("http://a.org/bomb", gzip.compress(bytes(20 << 20)), "Content-Encoding: gzip")
    long = record("conversion", "http://a.org/" + "x" * 5000, b"t")
    path.write_bytes(bomb + record("conversion", "http://a.org/big", b"x" * 2000) + long + good)
    (found,) = everything(path, ReadLimits(file_bytes=1999)).values()
    assert reasons(found) == {"file_size": 2, "path_length": 1}
    assert texts(found) == {"": "good"}


@pytest.mark.parametrize(
    ("url", "want"),
    [
        ("http://A.org", ("a.org", "")),
        ("https://a.org:443//x//y#z", ("a.org", "/x//y")),
        ("<http://a.org/x>", ("a.org", "x")),
        ("http://[::1]:80/x", ("::1", "x")),
        ("http://[::1/x", None),
        ("http://a.org:99999/", None),
        ("javascript:alert(1)", None),
        ("http:///x", None),
        ("", None),
    ],
)
def test_addresses(url: str, want: tuple[str, str] | None):
    assert address(url) == want
