"""Waiting for a run: its outputs are drained and cut, and the clock is ours."""

import io
import os
import selectors
import time
from contextlib import ExitStack
from typing import Any

from midfill.sandbox.calls import pack
from midfill.sandbox.channel import Channel
from midfill.sandbox.codec import CodecError

GRACE_S = 5.0  # for a worker to end what it was told to end


class InfraError(Exception):
    """The sandbox failed, and says nothing about the program."""


class Sink:
    """The reading end of an output: keeps the first bytes, reads the rest and drops it."""

    def __init__(self, descriptor: int, most: int) -> None:
        self.descriptor, self.most = descriptor, most
        self.data = bytearray()
        os.set_blocking(descriptor, False)

    @classmethod
    def pipe(cls, opened: ExitStack, most: int) -> "tuple[Sink, io.FileIO]":
        """A sink and the end to write to, both closed with `opened`."""
        reading, writing = os.pipe()
        sink, end = cls(reading, most), io.FileIO(writing, "w")
        opened.callback(sink.close)
        opened.callback(end.close)
        return sink, end

    def read(self) -> bool:
        """Take what is there; False at the end."""
        try:
            data = os.read(self.descriptor, 1 << 16)
        except BlockingIOError:
            return True
        self.data += data[: max(0, self.most - len(self.data))]
        return bool(data)

    def rest(self) -> None:
        """Take what is left of a run that is over, without waiting for whoever holds the other end."""
        for _ in range(self.most // (1 << 16) + 2):
            try:
                data = os.read(self.descriptor, 1 << 16)
            except (BlockingIOError, OSError):
                return
            if not data:
                return
            self.data += data[: max(0, self.most - len(self.data))]

    def close(self) -> None:
        """Close it."""
        os.close(self.descriptor)

    def text(self) -> str:
        """What was printed, without control characters but line ends and tabs."""
        return printable(bytes(self.data))


def printable(data: bytes) -> str:
    """Text of bytes that anybody may have written, safe to show in a terminal."""
    text = data.decode("utf-8", "replace")
    return "".join(c for c in text if c in "\n\t" or c.isprintable() or c == " ")


def follow(channel: Channel, deadline: float, sinks: list[Sink]) -> dict[str, Any]:
    """Drain `sinks` until the other end of `channel` says what came of a run.

    It is told to stop at the deadline, on the clock of `time.monotonic`. Raises InfraError where it
    does not obey or makes no sense, ClosedError where it is gone.
    """
    channel.end.settimeout(GRACE_S)
    told = False
    with selectors.DefaultSelector() as waiting:
        waiting.register(channel, selectors.EVENT_READ)
        for sink in sinks:
            waiting.register(sink.descriptor, selectors.EVENT_READ, sink)
        while True:
            left = deadline - time.monotonic()
            if left <= 0:
                if told:
                    raise InfraError("the worker does not end its run")
                channel.send_bytes(pack({"do": "stop"}))
                told, deadline = True, time.monotonic() + GRACE_S
                continue
            ready = [key.data for key, _ in waiting.select(left)]
            for sink in ready:
                if sink is not None and not sink.read():
                    waiting.unregister(sink.descriptor)
            if None in ready:
                found = _said(channel)
                for sink in sinks:
                    sink.rest()
                return found


def _said(channel: Channel) -> dict[str, Any]:
    try:
        found = channel.receive()
    except (CodecError, TimeoutError):
        raise InfraError("the worker does not make sense") from None
    if not isinstance(found, dict):
        raise InfraError("the worker does not make sense")
    return found
