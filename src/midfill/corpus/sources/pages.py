"""Web pages: WARC and WET files of a crawl (ISO 28500), and JSON Lines with a URL each.

A page is a document, its host the repository: `repo` is the source and the host, and `path` is what
follows the host's slash in the address, with the query. HTML stays HTML; taking the text out of it
is a later stage. A file cut off in its middle gives the records before the cut, which are whole,
and one reason.
"""

import re
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

from midfill.config.corpus.sources import ReadLimits
from midfill.corpus.record import Drop, Repository
from midfill.corpus.sources import grouped
from midfill.corpus.sources.grouped import Row, Where
from midfill.corpus.sources.source import Reference
from midfill.corpus.sources.streams import Inflate, Refused, Stream
from midfill.corpus.sources.tables import json_lines, with_text
from midfill.hub.progress import Report, silent

_PACKED = ("", ".gz", ".bz2", ".xz", ".zst")
_WARC = tuple(f".{kind}{packed}" for kind in ("warc", "wet") for packed in _PACKED)
_JSONL = tuple(f".jsonl{packed}" for packed in _PACKED)
_LINE = 1 << 16  # bytes of one header line
_HEADERS = 200  # lines of one header
_TAKEN = ("response", "resource", "conversion")
_HTML = ("text/html", "application/xhtml+xml")
_CHARSET = re.compile(r"charset\s*=\s*[\"']?([\w.:-]{1,40})", re.I)


@dataclass(frozen=True, slots=True, kw_only=True)
class PageSource:
    """A .warc, .wet or .jsonl file (also compressed), or a folder of them.

    JSON Lines have one object per page: `url`, and `html` or `text`.
    """

    path: str
    kind: str = "web"  # what documents state as their source

    def prepare(self, report: Report = silent) -> None:
        """Nothing has to be fetched."""

    def references(self) -> Iterator[Reference]:
        """Each host, by first appearance; then, per file, the records that cannot be read."""
        files = grouped.files_of(self.path, (*_WARC, *_JSONL), "WARC, WET or JSONL file in")
        yield from grouped.references(files, self.kind, rows_of)

    def read(self, reference: Reference, limits: ReadLimits) -> Repository:
        """The pages of one host."""
        return grouped.read(reference, limits, self.kind, rows_of)


def rows_of(name: str) -> grouped.Rows:
    """How the records of a file are read, by its name."""
    return json_pages if ".jsonl" in name else warc_pages


def address(url: str) -> tuple[str, str] | None:
    """Host and the rest of a page's address, without the slash between them."""
    try:
        parts = urlsplit(url.strip("<> "))
        host, port = parts.hostname, parts.port
    except ValueError:
        return None
    if parts.scheme not in ("http", "https") or not host or not host.isprintable() or "/" in host:
        return None
    usual = {"http": 80, "https": 443}[parts.scheme]
    host = host if port in (None, usual) else f"{host}:{port}"
    return host, parts.path.removeprefix("/") + (f"?{parts.query}" if parts.query else "")


def json_pages(stream: Stream, limits: ReadLimits) -> Iterator[tuple[Where, Row]]:
    """The pages of JSON Lines."""
    for where, _, length, row in json_lines(stream):
        found = None if row is None else _json_row(row)
        place = f"byte {where[0] + where[1]}"
        yield where, found or Row(None, place, drop=Drop("row"), size=length)


def _json_row(row: dict[str, Any]) -> Row | None:
    html, text, url = row.get("html"), row.get("text"), row.get("url")
    content = html if isinstance(html, str) else text
    if not isinstance(url, str) or not isinstance(content, str) or not (found := address(url)):
        return None
    language = "HTML" if content is html else None
    return with_text(Row(*found, page=True, language=language), content)


def warc_pages(stream: Stream, limits: ReadLimits) -> Iterator[tuple[Where, Row]]:
    """The pages of a WARC or WET file."""
    while True:
        where = stream.where()
        line, length = stream.line(_LINE)
        if not length:
            return
        if not line.strip():
            continue  # two empty lines end the record before
        if not line.startswith(b"WARC/"):
            yield where, Row(None, f"byte {where[0] + where[1]}", drop=Drop("damaged"), size=length)
            return
        fields = _fields(stream)
        stated = fields.get("content-length", "")
        if not stated.isdecimal():
            raise Refused("damaged", "a WARC record without its length")
        size = int(stated)
        if fields.get("warc-type") not in _TAKEN:
            _skip(stream, size)
        elif size > limits.file_bytes:
            _skip(stream, size)
            yield where, _row(fields, b"", Drop("file_size", size), size)
        else:
            block = stream.read(size)
            if len(block) < size:
                raise Refused("truncated")
            yield where, _page(fields, block, limits)


def _skip(stream: Stream, size: int) -> None:
    if stream.skip(size) < size:
        raise Refused("truncated")


def _fields(stream: Stream) -> dict[str, str]:
    """Header lines up to the empty one, names in lower case."""
    fields: dict[str, str] = {}
    for _ in range(_HEADERS):
        line, length = stream.line(_LINE)
        if not length:
            raise Refused("truncated")
        if not line.strip():
            return fields
        name, _, value = line.decode(errors="replace").partition(":")
        fields[name.strip().lower()] = value.strip()
    raise Refused("damaged", "a WARC header without end")


def _row(fields: dict[str, str], data: bytes, drop: Drop | None = None, size: int = 0) -> Row:
    found = address(fields.get("warc-target-uri", ""))
    if not found:
        name = fields.get("warc-target-uri", "")[:200]
        return Row(None, name, drop=Drop("url"), size=size or len(data))
    return Row(*found, data=data, drop=drop, size=size or len(data), page=True)


def _page(fields: dict[str, str], block: bytes, limits: ReadLimits) -> Row:
    kind = fields.get("content-type", "")
    status = "200"
    body: bytes | Drop = block
    if fields["warc-type"] == "response":
        if not kind.startswith("application/http"):
            return _row(fields, b"", Drop("content_type", kind[:60]), len(block))
        head, _, rest = block.partition(b"\r\n\r\n")
        first, *lines = head.decode("latin-1").split("\r\n")
        status = [*first.split(" "), ""][1]
        http = {k.strip().lower(): v.strip() for k, _, v in (each.partition(":") for each in lines)}
        kind = http.get("content-type", "")
        body = _body(rest, http, limits)
    if status != "200":
        return _row(fields, b"", Drop("http_status", status[:10]), len(block))
    if isinstance(body, Drop):
        return _row(fields, b"", body, len(block))
    plain = kind.partition(";")[0].strip().lower()
    if plain not in _HTML and not plain.startswith("text/"):
        return _row(fields, b"", Drop("content_type", plain[:60]), len(block))
    row = _row(fields, body)
    row.language = "HTML" if plain in _HTML else None
    hit = _CHARSET.search(kind)
    row.encoding = hit[1] if hit else None
    return row


def _body(rest: bytes, http: dict[str, str], limits: ReadLimits) -> bytes | Drop:
    """The content of an answer, its transfer and content encodings undone."""
    if http.get("transfer-encoding", "").lower() == "chunked":
        rest = _chunks(rest)
    coding = http.get("content-encoding", "").lower()
    if coding in ("", "identity", "utf-8"):
        return rest
    if coding not in ("gzip", "x-gzip", "deflate"):
        return Drop("compression", coding[:20])
    inflate = Inflate(31 if "gzip" in coding else 15)
    try:
        data = inflate.decompress(rest, limits.file_bytes + 1)
    except zlib.error as error:
        # Some crawlers store the content unpacked and keep the header.
        return rest if rest.lstrip().startswith(b"<") else Drop("damaged", str(error)[:60])
    return Drop("file_size", len(data)) if len(data) > limits.file_bytes else data


def _chunks(rest: bytes) -> bytes:
    """The chunks put together; the bytes as they are where they are no chunks."""
    pieces: list[bytes] = []
    at = 0
    while (end := rest.find(b"\r\n", at, at + 40)) >= 0:
        digits = rest[at:end].partition(b";")[0].strip()
        if not re.fullmatch(rb"[0-9a-fA-F]{1,8}", digits):
            break
        size = int(digits, 16)
        if not size:
            return b"".join(pieces)
        pieces.append(rest[end + 2 : end + 2 + size])
        at = end + 2 + size + 2
    return b"".join(pieces) if pieces else rest
