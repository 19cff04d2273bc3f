"""Why no whole answer came: the errors of both HTTP libraries in plain words, without URLs and credentials."""

from __future__ import annotations

import http.client
import os
import re
import socket
import ssl
from collections.abc import Callable, Iterator
from typing import Any
from urllib.parse import urlsplit

import aiohttp
import requests
import urllib3

from airflow_reportrun.reporting.answers import proxy_wants_credentials
from airflow_reportrun.reporting.errors import APIConnectionError, ConfigurationError
from airflow_reportrun.wire.route import is_loopback, peer

_TIMEOUTS = (TimeoutError, urllib3.exceptions.TimeoutError, requests.Timeout)
_CLOSED = (http.client.RemoteDisconnected, aiohttp.ServerDisconnectedError)
_BROKEN_OFF = (aiohttp.ClientPayloadError, urllib3.exceptions.IncompleteRead, http.client.IncompleteRead)


def no_answer(
    what: str, error: BaseException, url: str, proxy: str | None = None, *, after: int | None = None
) -> APIConnectionError | ConfigurationError:
    """Return what to raise where a request got no whole answer, outside the ``except`` block of the error.

    :param what: method and path.
    :param error: of requests, urllib3 or aiohttp.
    :param url: where it was sent to.
    :param proxy: through which proxy.
    :param after: bytes that had come.
    """
    if _tunnel_status(error) == 407:
        return proxy_wants_credentials(what)
    if proxy is None and after is None and is_loopback(urlsplit(url)) and _is_plain(error):
        return ConfigurationError(
            f"{what}: {peer(url)} answers in plain http, and was asked by https. A sandbox on this machine may be "
            f"asked so: write http://{peer(url)} in the connection, or end its URI in /http."
        )
    behind = "" if after is None else f" after {after} bytes"
    return APIConnectionError(f"{what} got no whole answer from {peer(url, proxy)}: {why(error)}{behind}")


def why(error: BaseException) -> str:
    """Return the reason of a failure; the deepest error that says something is the one that tells."""
    inner = list(_all(error))
    status = _tunnel_status(error)
    if status is not None:
        return f"the proxy refused to connect (HTTP {status})"
    for kind, words in _WORDS:
        for it in inner:
            if isinstance(it, kind) and (said := words(it)):
                return said
    codes = [it.errno for it in inner if isinstance(it, OSError) and it.errno]
    return os.strerror(codes[0]).lower() if codes else type(error).__name__


def _certificate(error: Any) -> str:
    message = getattr(error, "verify_message", None)  # which aiohttp's own of this kind does not have
    return f"its TLS certificate is not trusted ({message})" if message else ""


def _tls(error: Any) -> str:
    reason = getattr(error, "reason", None)
    return f"TLS failed ({reason})" if isinstance(reason, str) else ""


def _is_plain(error: BaseException) -> bool:
    """Tell whether what answered to TLS is none."""
    reasons = {getattr(it, "reason", None) for it in _all(error) if isinstance(it, ssl.SSLError)}
    return not reasons.isdisjoint(("WRONG_VERSION_NUMBER", "RECORD_LAYER_FAILURE"))  # the latter: OpenSSL 3.2


def _name(error: Any) -> str:
    return (
        "its name could not be looked up just now" if error.errno == socket.EAI_AGAIN else "its name is not known"
    )


_WORDS: tuple[tuple[Any, Callable[[Any], str]], ...] = (
    (ssl.SSLCertVerificationError, _certificate),
    (ssl.SSLError, _tls),
    (socket.gaierror, _name),
    (ConnectionRefusedError, lambda _: "nothing listens there (connection refused)"),
    (_TIMEOUTS, lambda _: "timed out"),
    (_CLOSED, lambda _: "the connection was closed without an answer"),
    (ConnectionResetError, lambda _: "the connection was reset"),
    (_BROKEN_OFF, lambda _: "the answer broke off"),
)


def _all(error: BaseException) -> Iterator[BaseException]:
    """Yield an error and what it was made of, each once; both libraries wrap several times, and in many ways."""
    seen: set[int] = set()
    waiting: list[Any] = [error]
    while waiting:
        it = waiting.pop()
        if not isinstance(it, BaseException) or id(it) in seen:
            continue
        seen.add(id(it))
        yield it
        parts = (getattr(it, name, None) for name in ("reason", "os_error", "certificate_error"))
        waiting += [*it.args, *parts, it.__context__, it.__cause__]


def _tunnel_status(error: BaseException) -> int | None:
    """Return what a proxy answered to CONNECT, where that is what failed."""
    for it in _all(error):
        if isinstance(it, aiohttp.ClientHttpProxyError):
            return it.status
        if isinstance(it, OSError) and (found := re.match(r"Tunnel connection failed: (\d+)", str(it))):
            return int(found[1])
    return None
