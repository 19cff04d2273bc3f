"""What can go wrong below HTTP: how the bytes of an answer reach the client, or don't.

A `WireFault` is a `RequestFault` whose answer is written past the HTTP server, straight onto the connection. The
request was executed and stays executed. Afterwards the connection closes::

    WireFault
    ├── CutHeaders    the connection closes in the head of the answer
    ├── CutBody       ... or in its body: of a known length, in chunks, or as long as the connection lasts
    ├── Framed        a whole answer in one of these framings
    ├── WrongLength   Content-Length says more than comes, or less
    ├── Stalls        nothing comes for a while
    ├── Drips         a byte now and then
    ├── Gzipped       a coding that nobody asked for
    └── Garbage       bytes that are not HTTP
"""

from __future__ import annotations

import asyncio
import itertools
import random
import socket
import struct
import zlib
from abc import ABC, abstractmethod
from collections.abc import Awaitable, Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from http import HTTPStatus
from typing import Literal, Protocol

from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from .faults import RequestFault

Framing = Literal["length", "chunked", "close"]
"""What tells the end of a body: a ``Content-Length``, the last chunk, or the end of the connection."""

Steps = Iterator[bytes | float]
"""Bytes to write and seconds to pause, in turn."""

_GZIP = 16 + zlib.MAX_WBITS


class Connection(Protocol):
    """What is needed of the connection that a request came by: uvicorn's own object has it."""

    transport: asyncio.Transport

    @property
    def flow(self) -> Flow:
        """Return what tells whether the client still takes bytes."""
        ...


class Flow(Protocol):
    """Backpressure, as uvicorn tells it."""

    async def drain(self) -> None:
        """Wait until the client takes bytes again."""
        ...


ConnectionOf = Callable[[Scope], Connection | None]
"""Finds the connection that a request came by; None when it is gone."""

Sleep = Callable[[float], Awaitable[None]]


@dataclass(frozen=True, slots=True)
class Whole:
    """An answer as it would be without the fault; ``size`` is that of the body, in bytes."""

    status: int
    headers: Mapping[str, str]
    chunks: Iterable[bytes]
    size: int

    def head(self, **changes: str | None) -> bytes:
        """Write status line and headers, with these set (``_`` for ``-``) or, where None, left out."""
        named = {name.replace("_", "-"): value for name, value in changes.items()}
        usual = {"connection": "close", "content-length": str(self.size)}
        headers = {**usual, **{name.lower(): value for name, value in self.headers.items()}, **named}
        lines = [f"HTTP/1.1 {self.status} {HTTPStatus(self.status).phrase}"]
        lines += [f"{name}: {value}" for name, value in headers.items() if value is not None]
        return ("\r\n".join(lines) + "\r\n\r\n").encode("latin-1", "replace")

    def framed(self, framing: Framing) -> Iterator[bytes]:
        """Write the whole answer in a framing."""
        if framing == "chunked":
            yield self.head(content_length=None, transfer_encoding="chunked")
            yield from (b"%x\r\n%b\r\n" % (len(chunk), chunk) for chunk in self.chunks if chunk)
            yield b"0\r\n\r\n"
        elif framing == "close":
            yield self.head(content_length=None)
            yield from self.chunks
        else:
            yield self.head()
            yield from self.chunks


@dataclass(frozen=True, slots=True)
class WireFault(RequestFault, ABC):
    """Spoils the bytes of an answer; what it answers was done."""

    @abstractmethod
    def script(self, answer: Whole) -> Steps:
        """Write the answer in the way that is wrong."""


@dataclass(frozen=True, slots=True)
class CutHeaders(WireFault):
    """The first ``after`` bytes of the head come, then the connection closes."""

    after: int = 20

    def script(self, answer: Whole) -> Steps:
        """Write the beginning of the head, and never its end."""
        yield answer.head()[:-1][: self.after]


@dataclass(frozen=True, slots=True)
class CutBody(WireFault):
    """The head and the first ``after`` bytes of the body come, then the connection closes.

    With the framing ``close`` nothing in HTTP tells that there was more.
    """

    after: int
    framing: Framing = "length"

    def script(self, answer: Whole) -> Steps:
        """Write as much of the body, in the middle of a chunk where there are chunks."""
        yield next(answer.framed(self.framing))
        left = self.after
        for chunk in answer.chunks:
            if self.framing == "chunked":
                yield b"%x\r\n" % len(chunk)
            yield chunk[:left]
            left -= len(chunk)
            if left <= 0:
                return
            if self.framing == "chunked":
                yield b"\r\n"


@dataclass(frozen=True, slots=True)
class Framed(WireFault):
    """The whole answer in a framing: no fault at all, and a client must take it."""

    framing: Framing

    def script(self, answer: Whole) -> Steps:
        """Write everything."""
        yield from answer.framed(self.framing)


@dataclass(frozen=True, slots=True)
class WrongLength(WireFault):
    """``Content-Length`` says ``by`` bytes more than come (fewer when negative)."""

    by: int

    def script(self, answer: Whole) -> Steps:
        """Write everything under a head that lies."""
        yield answer.head(content_length=str(max(0, answer.size + self.by)))
        yield from answer.chunks


@dataclass(frozen=True, slots=True)
class Stalls(WireFault):
    """After ``after`` bytes, head included, nothing comes for ``seconds`` (real ones); then the rest does."""

    seconds: float
    after: int = 0

    def script(self, answer: Whole) -> Steps:
        """Write everything, with one pause."""
        before, rest = _split(answer.framed("length"), self.after)
        yield before
        yield self.seconds
        yield from rest


@dataclass(frozen=True, slots=True)
class Drips(WireFault):
    """After ``after`` bytes, head included, one byte comes every ``seconds`` (real ones)."""

    seconds: float = 1.0
    after: int = 0

    def script(self, answer: Whole) -> Steps:
        """Write everything, and take one's time."""
        before, rest = _split(answer.framed("length"), self.after)
        yield before
        for chunk in rest:
            for position in range(len(chunk)):
                yield self.seconds
                yield chunk[position : position + 1]


@dataclass(frozen=True, slots=True)
class Gzipped(WireFault):
    """The body comes gzip-coded, in chunks, whatever the client accepts; ``cut`` leaves out its last bytes."""

    cut: int = 0

    def script(self, answer: Whole) -> Steps:
        """Write a body that is coded and framed correctly."""
        coder = zlib.compressobj(1, zlib.DEFLATED, _GZIP)
        coded = itertools.chain(map(coder.compress, answer.chunks), (coder.flush() for _ in range(1)))
        pieces = [piece for piece in coded if piece]
        if self.cut:
            pieces = [b"".join(pieces)[: -self.cut]]
        headers = {**answer.headers, "content-encoding": "gzip"}
        yield from Whole(answer.status, headers, pieces, sum(map(len, pieces))).framed("chunked")


@dataclass(frozen=True, slots=True)
class Garbage(WireFault):
    """After ``after`` bytes of the answer, head included, ``size`` bytes come that are anything but HTTP."""

    size: int = 200
    after: int = 0
    seed: int = 0

    def script(self, answer: Whole) -> Steps:
        """Write bytes drawn by the seed."""
        before, _ = _split(answer.framed("length"), self.after)
        yield before
        yield random.Random(self.seed).randbytes(self.size)  # noqa: S311 - noise, no secret


def _split(pieces: Iterator[bytes], after: int) -> tuple[bytes, Iterator[bytes]]:
    """Cut a stream in two behind its first ``after`` bytes."""
    before = b""
    for piece in pieces:
        before += piece
        if len(before) >= after:
            return before[:after], itertools.chain((before[after:],), pieces)
    return before, iter(())


class Written(Response):
    """Bytes written past the HTTP server, and then the end of the connection; no bytes are a hang-up.

    ``reset`` ends it as a crash does (RST) and not as a close does (FIN).
    """

    def __init__(self, script: Steps, connection_of: ConnectionOf, sleep: Sleep, *, reset: bool = False) -> None:
        super().__init__()
        self._script = script
        self._connection_of = connection_of
        self._sleep = sleep
        self._reset = reset

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Write what there is and close."""
        connection = self._connection_of(scope)
        if connection is None:
            return
        for step in self._script:
            if isinstance(step, bytes):
                connection.transport.write(step)
                await connection.flow.drain()
            else:
                await self._sleep(step)
            if connection.transport.is_closing():
                break
        if self._reset:
            plug = connection.transport.get_extra_info("socket")
            plug.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        connection.transport.close()
        # To return before the connection is closed would make the server answer 500 in our place.
        while (await receive())["type"] != "http.disconnect":
            pass
