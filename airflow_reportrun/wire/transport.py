"""Requests within limits: what a server can do to a session of requests is bounded in time and in memory.

Requests bounds each wait for bytes and nothing else, so that a server which sends one now and then holds it for
ever. Here a reader below ``http.client`` knows a deadline. Every byte of an answer comes through it (status line,
headers, framing, body, and what a proxy says to a tunnel), and it takes no thread.
"""

from __future__ import annotations

import http.client
import io
import logging
import re
import time
from collections.abc import Iterable, Iterator
from contextvars import ContextVar
from functools import cache
from typing import TYPE_CHECKING, Any, cast

import requests
import urllib3
from requests.adapters import HTTPAdapter
from urllib3.connection import HTTPConnection

from airflow_reportrun.reporting.answers import Response, require_short
from airflow_reportrun.reporting.secrets import without_secrets
from airflow_reportrun.wire.reasons import no_answer

if TYPE_CHECKING:
    import socket

BLOCK_SIZE = 64 * 1024
"""Bytes in which the body of a call is read."""

FAILURES = (requests.RequestException, urllib3.exceptions.HTTPError)
"""What a broken, late or senseless answer raises; requests lets some of urllib3's own errors through."""


class BoundedSession(requests.Session):
    """A session whose answers come in time, and that goes nowhere else.

    A request's ``timeout``, which it has to have, is the number of seconds for all of it, headers and body. Only
    connecting may add to that: each address of the host, and each handshake, is given as long again. Send with
    ``stream=True`` and read with :func:`pieces`.

    :param keep_alive_adapter: the adapter whose socket options to use.
    """

    def __init__(self, keep_alive_adapter: HTTPAdapter | None) -> None:
        super().__init__()
        adapter = _BoundedAdapter(
            getattr(keep_alive_adapter, "socket_options", HTTPConnection.default_socket_options)
        )
        self.mount("https://", adapter)
        self.mount("http://", adapter)

    def get_redirect_target(self, resp: requests.Response) -> None:
        """Say that there is none: even one that is not followed is parsed, and its whole body read."""


class _Reader(io.RawIOBase):
    """Reads a socket until a deadline.

    :param sock: waits at most as long as its time-out says now, for each read.
    :param stream: the socket's own file, which is closed with this one.
    """

    def __init__(self, sock: socket.socket, stream: io.BufferedReader) -> None:
        self._sock = sock
        self._stream = stream
        self._longest_wait = cast(float, sock.gettimeout())  # each request has one
        self.deadline = time.monotonic() + self._longest_wait
        self.received = 0
        self.ended = False

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int | None:
        left = self.deadline - time.monotonic()
        if left <= 0:
            raise TimeoutError
        self._sock.settimeout(min(left, self._longest_wait))
        count = cast(io.RawIOBase, self._stream.raw).readinto(buffer)
        self.received += count or 0
        self.ended = count == 0
        return count

    def close(self) -> None:
        self._stream.close()
        super().close()


class _Stream(io.BufferedReader):
    def read(self, size: int | None = -1, /) -> bytes:
        """Refuse to read without end, as ``http.client`` does for a chunk of the length -1."""
        if size is None or size < 0:
            raise http.client.HTTPException("a chunk of negative length")
        return super().read(size)


class _Answer(http.client.HTTPResponse):
    """An answer that is read until a deadline, at first the time-out of its socket from now on."""

    def __init__(self, sock: socket.socket, *args: Any, **kwargs: Any) -> None:
        super().__init__(sock, *args, **kwargs)
        self.reader = _Reader(sock, self.fp)
        self.fp = _Stream(self.reader)

    def begin(self) -> None:
        """Read the headers: those of the answer itself, to their end, and only if they are well formed.

        For ``http.client`` a 103 is the answer, so that the next request would get the one that follows. Headers
        may end with the connection, or with a line that is none, and a wrong length is as good as no length.
        """
        super().begin()
        while 100 < self.status < 200 and self.status != 101:
            self.headers = self.msg = cast(Any, None)
            super().begin()
        length = self.headers.get("Content-Length", "0")
        if self.reader.ended or self.headers.defects or not length.strip().isdecimal():
            raise http.client.HTTPException("headers that are cut or wrong")


_is_ours: ContextVar[bool] = ContextVar("_is_ours", default=False)


class _WithoutQuery(logging.Filter):
    """Takes what follows the ``?`` of our own requests out of urllib3's log: the URL of a file may be signed."""

    def filter(self, record: logging.LogRecord) -> bool:
        """Let all pass."""
        if _is_ours.get() and isinstance(record.args, tuple):
            record.args = tuple(re.sub(r"\?\S*", "?…", it) if isinstance(it, str) else it for it in record.args)
        return True


logging.getLogger("urllib3.connectionpool").addFilter(_WithoutQuery())


class _BoundedAdapter(HTTPAdapter):
    def __init__(self, socket_options: Any) -> None:
        self._socket_options = socket_options
        super().__init__()

    def init_poolmanager(self, *args: Any, **pool_kwargs: Any) -> None:
        super().init_poolmanager(*args, socket_options=self._socket_options, **pool_kwargs)
        _bound(self.poolmanager)

    def send(self, *args: Any, **kwargs: Any) -> requests.Response:
        seconds = kwargs["timeout"]
        kwargs["timeout"] = urllib3.Timeout(total=seconds, connect=seconds, read=seconds)
        was = _is_ours.set(True)
        try:
            return super().send(*args, **kwargs)
        finally:
            _is_ours.reset(was)

    def proxy_manager_for(self, proxy: str, **proxy_kwargs: Any) -> Any:
        manager = super().proxy_manager_for(proxy, **proxy_kwargs)
        _bound(manager)
        return manager


def _bound(manager: urllib3.PoolManager) -> None:
    pools = manager.pool_classes_by_scheme
    manager.pool_classes_by_scheme = {scheme: _bounded(pool) for scheme, pool in pools.items()}


@cache
def _bounded(pool: Any) -> Any:
    """Return a class of pools, plain, TLS or SOCKS, whose connections read an :class:`_Answer`."""
    if issubclass(pool.ConnectionCls.response_class, _Answer):
        return pool
    connection = type(pool.ConnectionCls.__name__, (pool.ConnectionCls,), {"response_class": _Answer})
    return type(pool.__name__, (pool,), {"ConnectionCls": connection})


def reader_of(response: requests.Response) -> _Reader:
    """Return what reads an answer: its ``deadline`` may be moved, ``received`` is the bytes on the wire so far."""
    return cast(_Answer, response.raw._original_response).reader  # requests itself knows it by this name


def pieces(what: str, response: requests.Response, size: int) -> Iterator[bytes]:
    """Yield the body as it came, without its framing and not decoded.

    :param what: method and path, for the error.
    :param size: the most bytes of a piece.
    :raises APIConnectionError: when the body breaks off or does not come in time.
    """
    try:
        yield from response.raw.stream(size, decode_content=False)
    except FAILURES as error:
        failure = no_answer(what, error, response.url, after=reader_of(response).received)
    else:
        return
    raise failure


def head_of(response: requests.Response) -> Response:
    """Return an answer without its body, which may be read later, and without the key that it may echo."""
    return _cleaned(response, b"")


def answer_of(what: str, response: requests.Response) -> Response:
    """Read a whole answer, other than a file's contents.

    :param what: method and path, for the error.
    :raises APIConnectionError: when the body breaks off or does not come in time.
    :raises UnexpectedResponseError: when it is too long to be Stripe's.
    """
    body = bytearray()
    for piece in pieces(what, response, BLOCK_SIZE):
        body += piece
        require_short(what, len(body))
    return _cleaned(response, bytes(body))


def _cleaned(response: requests.Response, body: bytes) -> Response:
    _, _, key = response.request.headers.get("Authorization", "").partition(" ")
    return without_secrets(Response(response.status_code, lower(response.headers.items()), body), key)


def lower(headers: Iterable[tuple[str, str]]) -> dict[str, str]:
    """Return headers by lower-case name."""
    return {name.lower(): value for name, value in headers}
