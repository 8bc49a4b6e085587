"""Messages between the processes of the sandbox: values of the codec over a Unix socket, with descriptors."""

import array
import socket
import struct

from midfill.sandbox.codec import FRAME, CodecError, decode, encode

_SIZE = struct.Struct("<I")
_MOST_DESCRIPTORS = 8
_AT_ONCE = 4096  # bytes: a small message is read with one call, its size and all


class ClosedError(Exception):
    """The other end is gone."""


class Channel:
    """One end. Messages arrive whole and in order; hostile bytes raise CodecError, no others."""

    def __init__(self, end: socket.socket) -> None:
        self.end = end
        self.early = b""  # what was read together with the message before it

    @classmethod
    def pair(cls) -> "tuple[Channel, Channel]":
        """Two ends that belong together."""
        one, other = socket.socketpair()
        return cls(one), cls(other)

    @classmethod
    def of(cls, descriptor: int) -> "Channel":
        """The end that another process handed over as a number."""
        return cls(socket.socket(fileno=descriptor))

    def fileno(self) -> int:
        """For poll."""
        return self.end.fileno()

    def close(self) -> None:
        """Close this end."""
        self.end.close()

    def send(self, message: object, descriptors: tuple[int, ...] = ()) -> None:
        """Send a value. Raises ClosedError where nobody reads."""
        self.send_bytes(encode(message), descriptors)

    def send_bytes(self, data: bytes, descriptors: tuple[int, ...] = ()) -> None:
        """Send what `encode` made."""
        try:
            if descriptors:
                rights = [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", descriptors))]
                self.end.sendmsg([_SIZE.pack(len(data))], rights)
                self.end.sendall(data)
            else:
                self.end.sendall(_SIZE.pack(len(data)) + data)
        except TimeoutError:
            raise
        except OSError:
            raise ClosedError from None

    def receive(self) -> object:
        """The next message. Raises ClosedError at the end, CodecError for bytes that are none."""
        return decode(self.receive_bytes())

    def receive_bytes(self) -> bytes | bytearray:
        """The next message as `decode` takes it."""
        if not self.early:
            try:
                self.early = self.end.recv(_AT_ONCE)
            except TimeoutError:
                raise
            except OSError:
                raise ClosedError from None
        (size,) = _SIZE.unpack(self._exactly(_SIZE.size))
        return self._sized(size)

    def receive_all(self) -> tuple[bytes | bytearray, list[int]]:
        """The bytes of the next message, and the descriptors that came with it."""
        assert not self.early, "descriptors come with the first byte of a message"
        room = array.array("i").itemsize * _MOST_DESCRIPTORS
        try:
            head, extra, _, _ = self.end.recvmsg(_SIZE.size, socket.CMSG_SPACE(room))
        except TimeoutError:
            raise
        except OSError:
            raise ClosedError from None
        descriptors = array.array("i")
        for _, _, data in extra:
            descriptors.frombytes(data[: len(data) - len(data) % descriptors.itemsize])
        if not head:
            raise ClosedError
        head += self._exactly(_SIZE.size - len(head))
        return self._sized(_SIZE.unpack(head)[0]), list(descriptors)

    def _sized(self, size: int) -> bytes | bytearray:
        if size > FRAME:
            raise CodecError("the message is too long")
        return self._exactly(size)

    def _exactly(self, size: int) -> bytes | bytearray:
        early, self.early = self.early[:size], self.early[size:]
        if len(early) == size:
            return early
        data = bytearray(size)
        data[: len(early)] = early
        view = memoryview(data)[len(early) :]
        while view:
            try:
                got = self.end.recv_into(view)
            except TimeoutError:
                raise
            except OSError:
                raise ClosedError from None
            if not got:
                raise ClosedError
            view = view[got:]
        return data
