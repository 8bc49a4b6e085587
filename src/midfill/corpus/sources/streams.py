"""Compressed files as streams that never hold more than a block, however much they promise.

Each decoder is asked for at most `BLOCK` bytes at a time, so the check for a bomb comes before the
memory and not after it.
"""

import bz2
import lzma
import zlib
from collections.abc import Callable
from typing import Any, BinaryIO

from midfill.config.corpus.sources import ReadLimits
from midfill.corpus.record import Drop
from midfill.errors import ResourceError

BLOCK = 1 << 18  # bytes asked of a decoder at a time
_INPUT = 1 << 16  # bytes given to a decoder at a time
_DICTIONARY = 128 << 20  # bytes of window that xz and zstd may ask for; `xz -9` needs 65 MiB
_MAGIC = {"gz": b"\x1f\x8b", "bz2": b"BZh", "xz": b"\xfd7zXZ\0", "zst": b"\x28\xb5\x2f\xfd"}


class Refused(Exception):  # noqa: N818
    """An archive that is dropped as a whole; caught where the archive was opened."""

    def __init__(self, reason: str, value: float | str | None = None) -> None:
        super().__init__(reason)
        self.drop = Drop(reason, value)


class Inflate:
    """zlib with the interface of bz2 and lzma. `bits` 31 is gzip, -15 bare deflate."""

    def __init__(self, bits: int = 31) -> None:
        self._zlib = zlib.decompressobj(bits)

    def decompress(self, data: bytes, max_length: int) -> bytes:
        """At most `max_length` bytes of output; input that is not needed yet is kept."""
        tail = self._zlib.unconsumed_tail
        return self._zlib.decompress(tail + data if tail else data, max_length)

    @property
    def eof(self) -> bool:
        """Whether the compressed data has ended, its checksum right."""
        return self._zlib.eof

    @property
    def needs_input(self) -> bool:
        """Whether there is nothing left of the input given so far."""
        return not self._zlib.unconsumed_tail

    @property
    def unused_data(self) -> bytes:
        """The input behind the end."""
        return self._zlib.unused_data


def kind_of(head: bytes) -> str | None:
    """gz, bz2, xz or zst by the first bytes of a file; None: not one of them."""
    if head[1:4] == b"\x2a\x4d\x18" and head[0] >> 4 == 5:
        return "zst"  # a frame of zstd that is to be skipped
    return next((kind for kind, magic in _MAGIC.items() if head.startswith(magic)), None)


class Stream:
    """The unpacked bytes of a file from where it stands, read forwards only, within `limits`."""

    def __init__(self, file: BinaryIO, limits: ReadLimits, *, most: int | None = None) -> None:
        self._file, self._limits = file, limits
        # Headers and padding come on top of what a repository may hold.
        self._most = most or limits.total_bytes + 2048 * limits.members
        self._member = file.tell()  # where the current compressed member begins
        self._inner = 0  # unpacked bytes of that member before the current block
        head = file.read(8)
        file.seek(self._member)
        self.kind = kind_of(head)
        make = _decoder_of(self.kind)
        self._next = self.take if make is None else _Members(self, make).block
        self._block, self._at = b"", 0
        self._unpacked, self._packed = 0, 0  # bytes out of the decoder, bytes out of the file

    def take(self) -> bytes:
        """The next block of the file as it is."""
        data = self._file.read(_INPUT if self.kind else BLOCK)
        self._packed += len(data)
        return data

    def begin_member(self, unread: int) -> None:
        """Note that a compressed member begins `unread` bytes before where the file stands."""
        self._member, self._inner = self._file.tell() - unread, 0

    def where(self) -> tuple[int, int]:
        """Offset in the file of the current member, and of the next byte in what it unpacks to.

        Without compression: the offset of the next byte, and 0.
        """
        if self._at == len(self._block):
            self._fill()  # the next byte may be the first of another member
        inner = self._inner + self._at
        return (self._member, inner) if self.kind else (self._member + inner, 0)

    def _fill(self) -> bool:
        self._inner += len(self._block)
        try:
            self._block = self._next()
        except (zlib.error, lzma.LZMAError, EOFError, OSError, ValueError) as error:
            raise Refused("damaged", str(error)[:100]) from error
        self._at = 0
        self._unpacked += len(self._block)
        if self._unpacked > self._most:
            raise Refused("total_size", self._most)
        if self._unpacked > max(self._limits.ratio_from_bytes, self._limits.ratio * self._packed):
            raise Refused("bomb", round(self._unpacked / self._packed))
        return bool(self._block)

    def read(self, count: int) -> bytes:
        """Exactly `count` bytes; fewer only where the stream ends."""
        end = self._at + count
        if end <= len(self._block):
            piece, self._at = self._block[self._at : end], end
            return piece
        pieces, have = [self._block[self._at :]], len(self._block) - self._at
        self._at = len(self._block)
        while have < count and self._fill():
            piece = self._block[: count - have]
            self._at = len(piece)
            have += len(piece)
            pieces.append(piece)
        return b"".join(pieces)

    def line(self, longest: int) -> tuple[bytes, int]:
        """The next line with its end, cut at `longest`, and how many bytes it really had."""
        pieces: list[bytes] = []
        length = 0
        while self._at < len(self._block) or self._fill():
            end = self._block.find(b"\n", self._at) + 1 or len(self._block)
            piece = self._block[self._at : end]
            self._at = end
            if length < longest:
                pieces.append(piece[: longest - length])
            length += len(piece)
            if piece.endswith(b"\n"):
                break
        return b"".join(pieces), length

    def skip(self, count: int) -> int:
        """Pass over `count` bytes; how many there were."""
        left = count
        while left:
            step = min(left, len(self._block) - self._at)
            self._at += step
            left -= step
            if left and not self._fill():
                break
        return count - left

    def drain(self) -> None:
        """Read to the end, so that the checksum there is checked."""
        while self._fill():
            pass


class _Members:
    """Blocks of a file that is one or more compressed members after one another."""

    def __init__(self, stream: Stream, make: Callable[[], Any]) -> None:
        self._stream, self._make = stream, make
        self._decoder, self._input = make(), b""

    def block(self) -> bytes:
        """The next bytes unpacked; none at the end. A block never spans two members."""
        while not self._decoder.eof or self._another():
            data, self._input = self._input, b""
            ended = False
            if not data and self._decoder.needs_input:
                data = self._stream.take()
                ended = not data
            if out := self._decoder.decompress(data, BLOCK):
                return out
            if ended and not self._decoder.eof:
                raise Refused("truncated")
        return b""

    def _another(self) -> bool:
        """Begin the member that follows; padding and garbage behind the last one are ignored."""
        rest = self._decoder.unused_data
        while len(rest) < 8 and (more := self._stream.take()):
            rest += more
        if kind_of(rest) != self._stream.kind:
            return False
        self._stream.begin_member(len(rest))
        self._decoder, self._input = self._make(), rest
        return True


class _Zstandard:
    """zstd with the interface of bz2 and lzma; its package bounds no output, so bound the input.

    A block of 128 KiB takes at least 4 bytes, so a piece unpacks to 16 MiB at most.
    """

    _PIECE = 512  # bytes

    def __init__(self, decoder: Any, errors: type[Exception]) -> None:
        self._decoder, self._errors = decoder, errors
        self._held, self._from = b"", 0

    def decompress(self, data: bytes, max_length: int) -> bytes:
        if data:
            self._held, self._from = self._held[self._from :] + data, 0
        piece = self._held[self._from : self._from + self._PIECE]
        self._from += len(piece)
        try:
            return self._decoder.decompress(piece)
        except self._errors as error:
            raise ValueError(str(error)) from error

    @property
    def eof(self) -> bool:
        return self._decoder.eof

    @property
    def needs_input(self) -> bool:
        return self._from >= len(self._held)

    @property
    def unused_data(self) -> bytes:
        return self._decoder.unused_data + self._held[self._from :]


def _decoder_of(kind: str | None) -> Callable[[], Any] | None:
    if kind == "zst":
        return _zstandard()
    return {"gz": Inflate, "bz2": bz2.BZ2Decompressor, "xz": _xz}.get(kind or "")


def _zstandard() -> Callable[[], _Zstandard]:
    try:
        import zstandard
    except ModuleNotFoundError as error:
        raise ResourceError(
            "a file compressed by zstd cannot be read",
            why="the Python package zstandard is missing",
            fix="pip install 'midfill[corpus]'",
        ) from error
    maker = zstandard.ZstdDecompressor(max_window_size=_DICTIONARY)
    return lambda: _Zstandard(maker.decompressobj(), zstandard.ZstdError)


def _xz() -> lzma.LZMADecompressor:
    return lzma.LZMADecompressor(lzma.FORMAT_XZ, memlimit=_DICTIONARY)
