"""Zip archives, member by member, nothing on the disk (PKWARE's APPNOTE 6.3, with zip64).

Written for this project because everything in a zip is stated twice and may be stated falsely:
sizes are compared with what unpacks, headers with the directory, and members that share their
bytes, the trick of the flat bomb, are found before any of them is unpacked.
"""

import bz2
import lzma
import stat
import struct
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, BinaryIO

from midfill.config.corpus.sources import ReadLimits
from midfill.corpus.record import Drop
from midfill.corpus.sources.streams import BLOCK, Inflate, Refused

_END = struct.Struct("<4s4H2LH")
_END64_PLACE = struct.Struct("<4sLQL")
_END64 = struct.Struct("<4sQ2H2L4Q")
_ENTRY = struct.Struct("<4s6H3L5H2L")
_LOCAL = struct.Struct("<4s5H3L2H")
_FULL = 0xFFFFFFFF  # the number is in the zip64 field
_ENCRYPTED, _UTF8 = 0x1 | 0x40 | 0x2000, 0x800
_DICTIONARY = 128 << 20  # bytes that an LZMA member may ask for


@dataclass(frozen=True, slots=True)
class Entry:
    """One member as the central directory states it."""

    name: bytes
    size: int
    packed: int  # bytes
    at: int  # of its local header
    method: int
    flags: int
    crc: int
    mode: int  # of Unix, 0 where the archive was made elsewhere

    @property
    def kind(self) -> str:
        """file, folder, link or device."""
        if self.name.endswith(b"/"):
            return "folder"
        kind = stat.S_IFMT(self.mode)
        named = {0: "file", stat.S_IFREG: "file", stat.S_IFDIR: "folder", stat.S_IFLNK: "link"}
        return named.get(kind, "fifo" if kind == stat.S_IFIFO else "device")


def entries(file: BinaryIO, limits: ReadLimits) -> list[Entry]:
    """Every member in the order of the directory. Raises Refused: truncated, bomb, members, ..."""
    end = file.seek(0, 2)
    start, size, count, shift = _directory(file, end)
    if count > limits.members:
        raise Refused("members", count)
    if (
        start < 0
        or shift < 0
        or size > limits.members * (46 + limits.path_bytes)
        or start + size > end
    ):
        raise Refused("damaged", "zip directory")
    file.seek(start)
    found = list(_parsed(file.read(size), limits, shift))
    total = sum(entry.size for entry in found)
    if total > limits.total_bytes:
        raise Refused("total_size", total)
    if total > max(limits.ratio_from_bytes, limits.ratio * end):
        raise Refused("bomb", round(total / end))
    _refuse_overlap(found, start)
    return found


def _directory(file: BinaryIO, end: int) -> tuple[int, int, int, int]:
    """Where the central directory begins, its bytes and members, and bytes before the archive."""
    base = max(0, end - 65557)  # the end record and the longest comment
    file.seek(base)
    tail = file.read(65557)
    at = tail.rfind(b"PK\5\6")
    if at < 0 or len(tail) - at < _END.size:
        raise Refused("truncated")
    _, disk, first, _, count, size, offset, _ = _END.unpack_from(tail, at)
    place = base + at
    if 0xFFFF in (count, disk) or _FULL in (size, offset):
        found = _directory64(file, place)
        if found:
            count, size, offset, place = found
            disk = first = 0
    if disk or first:
        raise Refused("damaged", "one part of a zip on several disks")
    start = place - size
    return start, size, count, start - offset


def _directory64(file: BinaryIO, place: int) -> tuple[int, int, int, int] | None:
    if place < _END64_PLACE.size:
        return None
    file.seek(place - _END64_PLACE.size)
    magic, _, at, _ = _END64_PLACE.unpack(file.read(_END64_PLACE.size))
    if magic != b"PK\6\7":
        return None
    at = min(at, place)
    file.seek(at)
    record = file.read(_END64.size)
    if len(record) < _END64.size or not record.startswith(b"PK\6\6"):
        raise Refused("damaged", "zip64 record")
    *_, count, size, offset = _END64.unpack(record)
    return count, size, offset, at


def _parsed(raw: bytes, limits: ReadLimits, shift: int) -> Iterator[Entry]:
    at = seen = 0
    while at + _ENTRY.size <= len(raw):
        field = _ENTRY.unpack_from(raw, at)
        seen += 1
        if field[0] != b"PK\1\2":
            raise Refused("damaged", "zip directory")
        if seen > limits.members:
            raise Refused("members", limits.members)
        made_by, flags, method = field[1] >> 8, field[3], field[4]
        crc, packed, size, name_len, extra_len, comment_len = field[7:13]
        name_at = at + _ENTRY.size
        name, extra = _cut(raw, name_at, name_len), _cut(raw, name_at + name_len, extra_len)
        size, packed, local = _zip64(extra, size, packed, field[16])
        mode = field[15] >> 16 if made_by == 3 else 0
        yield Entry(name, size, packed, local + shift, method, flags, crc, mode)
        at = name_at + name_len + extra_len + comment_len
    if at != len(raw):
        raise Refused("damaged", "zip directory")


def _cut(raw: bytes, at: int, length: int) -> bytes:
    if at + length > len(raw):
        raise Refused("damaged", "zip directory")
    return raw[at : at + length]


def _zip64(extra: bytes, size: int, packed: int, local: int) -> tuple[int, int, int]:
    """The three numbers, each from the zip64 field where the entry has no room for it."""
    at = 0
    numbers = [size, packed, local]
    while at + 4 <= len(extra) and _FULL in numbers:
        tag, length = struct.unpack_from("<2H", extra, at)
        if tag == 1:
            body = extra[at + 4 : at + 4 + length]
            wanted = [i for i, number in enumerate(numbers) if number == _FULL]
            for place, i in enumerate(wanted[: len(body) // 8]):
                numbers[i] = struct.unpack_from("<Q", body, 8 * place)[0]
            break
        at += 4 + length
    return numbers[0], numbers[1], numbers[2]


def _refuse_overlap(found: list[Entry], directory: int) -> None:
    """Refuse members that share bytes: the directory of a flat bomb names the same ones often."""
    before = 0
    for entry in sorted(found, key=lambda entry: entry.at):
        if entry.at < before:
            raise Refused("bomb", "members share their bytes")
        before = entry.at + _LOCAL.size + len(entry.name) + entry.packed
    if before > directory:
        raise Refused("damaged", "a member beyond the zip's directory")


def read(file: BinaryIO, entry: Entry) -> bytes | Drop:
    """What a member unpacks to, or why not: at most the stated size is ever unpacked."""
    if entry.flags & _ENCRYPTED:
        return Drop("encrypted")
    try:
        file.seek(entry.at)
        magic, _, flags, method, *_, name_len, extra_len = _LOCAL.unpack(file.read(_LOCAL.size))
        if magic != b"PK\3\4" or method != entry.method or file.read(name_len) != entry.name:
            return Drop("damaged", "header and directory differ")
        if flags & _ENCRYPTED:
            return Drop("encrypted")
        file.seek(extra_len, 1)
        return _unpacked(file, entry)
    except (struct.error, zlib.error, lzma.LZMAError, EOFError, OSError, ValueError) as error:
        return Drop("damaged", str(error)[:100])


def _unpacked(file: BinaryIO, entry: Entry) -> bytes | Drop:
    if entry.method == 0:
        data = file.read(entry.packed)
    elif (decoder := _decoder(file, entry)) is None:
        return Drop("compression", entry.method)
    else:
        data = _decompressed(file, decoder, entry)
    if len(data) != entry.size:
        return Drop("wrong_size", entry.size)
    return data if zlib.crc32(data) == entry.crc else Drop("damaged", "checksum")


def _decoder(file: BinaryIO, entry: Entry) -> Any:
    if entry.method == 8:
        return Inflate(-15)
    if entry.method == 12:
        return bz2.BZ2Decompressor()
    if entry.method != 14:
        return None
    _, length = struct.unpack("<2H", file.read(4))
    properties = file.read(length)
    if length != 5 or (window := struct.unpack_from("<L", properties, 1)[0]) > _DICTIONARY:
        raise ValueError("LZMA properties")
    lc, rest = properties[0] % 9, properties[0] // 9
    chain = {
        "id": lzma.FILTER_LZMA1,
        "dict_size": window,
        "lc": lc,
        "lp": rest % 5,
        "pb": rest // 5,
    }
    return lzma.LZMADecompressor(lzma.FORMAT_RAW, filters=[chain])


def _decompressed(file: BinaryIO, decoder: Any, entry: Entry) -> bytes:
    """One byte more than stated, at most, so that a false size shows."""
    out: list[bytes] = []
    room, left = entry.size + 1, entry.packed
    while room and not decoder.eof:
        data = file.read(min(BLOCK, left)) if decoder.needs_input and left else b""
        left -= len(data)
        piece = decoder.decompress(data, room)
        if not (piece or data or decoder.eof):
            break
        out.append(piece)
        room -= len(piece)
    return out[0] if len(out) == 1 else b"".join(out)
