"""A server that says what it is told to, byte by byte, over a real socket."""

from __future__ import annotations

import socket
import ssl
from collections.abc import Callable, Iterator
from contextlib import suppress
from threading import Event, Thread
from typing import Any

Script = Callable[[bytes], Iterator[bytes | float]]
"""Given a request, yields what to send and how many seconds to wait; then the connection is closed."""


def says(*parts: bytes | float) -> Script:
    """The same answer to each request."""
    return lambda request: iter(parts)


def drips(data: bytes, every: float) -> Script:
    """The same answer to each request, a byte at a time."""

    def script(request: bytes) -> Iterator[bytes | float]:
        for position in range(len(data)):
            yield data[position : position + 1]
            yield every

    return script


class Wire:
    """A TCP server on this machine; each connection carries one answer.

    :param script: what it does; may be changed between requests.
    :param tls: to speak TLS.
    :param pause: seconds before the handshake.
    """

    def __init__(
        self,
        script: Script = says(),  # noqa: B008 - has no state
        *,
        tls: ssl.SSLContext | None = None,
        pause: float = 0.0,
    ) -> None:
        self.script = script
        self._tls = tls
        self._pause = pause
        self.requests: list[bytes] = []
        self._over = Event()
        self._server = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._server.getsockname()[1]
        Thread(target=self._serve, daemon=True).start()

    @property
    def url(self) -> str:
        """Scheme, host and port."""
        return f"{'https' if self._tls else 'http'}://127.0.0.1:{self.port}"

    def __enter__(self) -> Wire:
        return self

    def __exit__(self, *exc_info: Any) -> None:
        self._over.set()
        self._server.close()

    def _serve(self) -> None:
        while not self._over.is_set():
            try:
                connection, _ = self._server.accept()
            except OSError:
                return
            Thread(target=self._answer, args=(connection,), daemon=True).start()

    def _answer(self, connection: socket.socket) -> None:
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._over.wait(self._pause)
        with suppress(OSError), connection:  # the client has had enough
            if self._tls:
                with self._tls.wrap_socket(connection, server_side=True) as encrypted:
                    self._play(encrypted)
            else:
                self._play(connection)

    def _play(self, connection: socket.socket) -> None:
        request = connection.recv(65536)
        self.requests.append(request)
        for step in self.script(request):
            if self._over.is_set():
                return
            if isinstance(step, bytes):
                connection.sendall(step)
            else:
                self._over.wait(step)
