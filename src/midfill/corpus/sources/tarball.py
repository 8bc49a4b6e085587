"""Tar archives, read forwards in one pass: names, sizes and texts, nothing on the disk.

Written for this project because a hostile archive must cost no memory: an extended header of
gigabytes, a sparse map without end or a million empty members is refused while it is being read.
Formats: POSIX ustar and pax (IEEE 1003.1), GNU long names, base-256 numbers.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass

from midfill.config.corpus.sources import ReadLimits
from midfill.corpus.sources.streams import Refused, Stream

_EXTENDED = 1 << 20  # bytes of one extended header; real ones have a few hundred
_ZERO = bytes(512)
_OCTAL = re.compile(rb"[0-7]+")
NO_HEADER = "checksum of a tar header"
_KINDS = {
    b"0": "file", b"\0": "file", b"7": "file",
    b"1": "hard_link", b"2": "link", b"3": "device", b"4": "device", b"5": "folder", b"6": "fifo",
    b"S": "sparse",
}  # fmt: skip
_BARE = {"link", "hard_link", "device", "folder", "fifo"}


@dataclass(slots=True)
class Member:
    """One entry of an archive; `data` is set for files that were asked for."""

    name: bytes
    kind: str  # file, folder, link, hard_link, device, fifo, sparse, or the unknown type
    size: int
    target: bytes = b""
    data: bytes | None = None


def members(stream: Stream, limits: ReadLimits) -> Iterator[Member]:
    """Each member in order, files of at most `limits.file_bytes` with their data.

    Raises Refused where the archive as a whole cannot be trusted.
    """
    seen = 0
    extended: dict[bytes, bytes] = {}
    whole: dict[bytes, bytes] = {}  # of a global extended header
    while header := _header(stream):
        seen += 1
        if seen > limits.members:
            raise Refused("members", limits.members)
        kind = header[156:157]
        size = _number(header[124:136])
        if kind in b"xgLK":
            body = _body(stream, size)
            if kind in b"xg":
                (extended if kind == b"x" else whole).update(_pax(body))
            else:
                key = b"path" if kind == b"L" else b"linkpath"
                extended[key] = body.rstrip(b"\0")
            continue
        member = _member(header, {**whole, **extended} if whole else extended, size)
        if member.kind == "sparse":
            _skip_map(stream, header, limits)
        _take_data(stream, member, limits)
        yield member
        extended = {}
    stream.drain()


def _header(stream: Stream) -> bytes:
    """The next header, or nothing at the end of the archive."""
    block = stream.read(512)
    if block == _ZERO or (not block and stream.kind):
        return b""  # the checksum of the compressed stream says that it is whole
    if len(block) < 512:
        raise Refused("truncated")
    digits = _text(block[148:156]).strip()
    if not _OCTAL.fullmatch(digits) or not _adds_up(block, int(digits, 8)):
        raise Refused("damaged", NO_HEADER)
    return block


def _adds_up(block: bytes, stated: int) -> bool:
    """Whether the checksum is right; it counts its own field as eight blanks."""
    total = sum(block) - sum(block[148:156]) + 8 * 32
    if stated == total:
        return True
    # Old programs added signed characters.
    high = sum(byte > 127 for byte in block) - sum(byte > 127 for byte in block[148:156])
    return stated == total - 256 * high


def _member(header: bytes, extended: dict[bytes, bytes], size: int) -> Member:
    """The member that a header and the extended headers before it describe."""
    name = extended.get(b"path") or _name(header)
    kind = _KINDS.get(header[156:157], f"type_{header[156]}")
    if any(key.startswith(b"GNU.sparse.") for key in extended):
        kind = "sparse_pax"
    if b"size" in extended:
        try:
            size = int(extended[b"size"])
        except ValueError:
            size = -1
    if size < 0:
        raise Refused("damaged", "size of a tar member")
    if kind == "file" and name.endswith(b"/"):
        kind = "folder"
    target = extended.get(b"linkpath") or _text(header[157:257])
    return Member(name, kind, size, target)


def _name(header: bytes) -> bytes:
    name, prefix = _text(header[:100]), _text(header[345:500])
    return prefix + b"/" + name if prefix and header[257:263] == b"ustar\0" else name


def _text(field: bytes) -> bytes:
    return field.partition(b"\0")[0]


def _number(field: bytes) -> int:
    """Octal digits, or base 256 where the first bit is set (GNU)."""
    if field[0] & 0x80:
        value = int.from_bytes(bytes([field[0] & 0x7F]) + field[1:])
        if field[0] == 0xFF or value >> 62:
            raise Refused("damaged", "number in a tar header")
        return value
    digits = _text(field).strip()
    try:
        return int(digits, 8) if digits else 0
    except ValueError:
        raise Refused("damaged", "number in a tar header") from None


def _body(stream: Stream, size: int) -> bytes:
    """The data of an extended header."""
    if size > _EXTENDED:
        raise Refused("header_size", size)
    body = stream.read(size)
    if len(body) < size or stream.skip(-size % 512) < -size % 512:
        raise Refused("truncated")
    return body


def _pax(body: bytes) -> Iterator[tuple[bytes, bytes]]:
    """The records `length key=value` of a pax header."""
    at = 0
    while at < len(body) and body[at]:
        blank = body.find(b" ", at, at + 20)
        digits = body[at:blank] if blank > 0 else b""
        end = at + int(digits) if digits.isdigit() else 0
        key, equals, value = body[blank + 1 : end - 1].partition(b"=")
        if end <= blank or end > len(body) or not equals:
            raise Refused("damaged", "pax header")
        yield key, value
        at = end


def _skip_map(stream: Stream, header: bytes, limits: ReadLimits) -> None:
    """Pass over the blocks in which an old GNU sparse file goes on listing its holes."""
    more, blocks = header[482], 0
    while more:
        block = stream.read(512)
        blocks += 1
        if len(block) < 512 or blocks > limits.members:
            raise Refused("damaged", "sparse map")
        more = block[504]


def _take_data(stream: Stream, member: Member, limits: ReadLimits) -> None:
    """Move behind the member's data, keeping it where it is wanted."""
    # For links, devices and folders nothing is stored, whatever their headers say.
    stored = 0 if member.kind in _BARE else member.size
    if member.kind == "file" and stored <= limits.file_bytes:
        member.data = stream.read(stored)
        got = len(member.data)
    else:
        got = stream.skip(stored)
    padding = -stored % 512
    if got < stored or stream.skip(padding) < padding:
        raise Refused("truncated")
