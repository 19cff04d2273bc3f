"""Which way requests take, and why no answer came, in words that a user can act on; the same in both colours."""

from __future__ import annotations

import base64
import json
import re
import socket
import ssl
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from threading import Thread
from typing import Any
from urllib.parse import urlsplit

import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import BestAvailableEncryption, Encoding, PrivateFormat

from airflow_reportrun.hooks import StripeReportingHook
from airflow_reportrun.reporting.errors import APIConnectionError, ConfigurationError
from airflow_reportrun.sandbox import StripeSandbox
from airflow_reportrun.wire.route import proxy_url
from tests.test_exchange_limits import answer, ask_async, ask_sync, certificate
from tests.wire import Wire, says

__all__ = ["certificate"]

KEY = "sk_test_sandbox"
SECRET = "proxys-password"


@pytest.fixture(params=[ask_sync, ask_async], ids=["sync", "async"])
def ask(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Any]:
    """Asks for the report types once, in both colours, in an environment without proxies."""
    for name in ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "NO_PROXY"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.lower(), raising=False)
    param: Callable[..., Any] = request.param
    return param


def connect(monkeypatch: pytest.MonkeyPatch, host: str, **extra: Any) -> None:
    connection = {"conn_type": "stripe", "host": host, "password": KEY, "extra": {"timeout": 5, **extra}}
    monkeypatch.setenv("AIRFLOW_CONN_STRIPE_DEFAULT", json.dumps(connection))


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port: int = server.getsockname()[1]
    return port


def failure(ask: Callable[..., Any], kind: type[Exception] = APIConnectionError) -> str:
    """Return the words of the error, which has no other behind it and tells no secret."""
    with pytest.raises(kind) as caught:
        ask()
    assert type(caught.value) is kind
    assert caught.value.__context__ is None
    assert KEY not in str(caught.value)
    assert SECRET not in str(caught.value)
    return str(caught.value)


def test_nothing_that_listens_is_named(ask: Callable[..., Any], monkeypatch: pytest.MonkeyPatch) -> None:
    """Host, port and reason; also where a name leads to several addresses."""
    port = free_port()
    for host in ("127.0.0.1", "localhost"):
        connect(monkeypatch, f"http://{host}:{port}")
        assert failure(ask) == (
            f"GET /v1/reporting/report_types got no whole answer from {host}:{port}: "
            "nothing listens there (connection refused)"
        )


def test_a_name_that_nobody_knows_is_named(ask: Callable[..., Any], monkeypatch: pytest.MonkeyPatch) -> None:
    """With the port that was meant, though none was given."""
    connect(monkeypatch, "https://stripe.invalid")
    said = failure(ask)
    assert "from stripe.invalid:443: its name " in said
    assert said.endswith(("is not known", "could not be looked up just now"))


def test_the_test_button_names_them_as_well(monkeypatch: pytest.MonkeyPatch) -> None:
    """It shows the same words."""
    monkeypatch.setattr(StripeReportingHook, "sleep", staticmethod(lambda seconds: None))
    port = free_port()
    connect(monkeypatch, f"http://127.0.0.1:{port}")
    works, message = StripeReportingHook().test_connection()
    assert not works
    assert f"127.0.0.1:{port}: nothing listens there" in message


def test_a_certificate_that_is_not_trusted_is_named(
    ask: Callable[..., Any], monkeypatch: pytest.MonkeyPatch, certificate: ssl.SSLContext
) -> None:
    """With the reason that TLS gives."""
    with Wire(says(answer()), tls=certificate) as wire:
        connect(monkeypatch, wire.url)
        assert f"from 127.0.0.1:{wire.port}: its TLS certificate is not trusted (self-signed cert" in failure(ask)


@pytest.mark.parametrize(
    ("script", "reason"),
    [
        (says(60.0), "timed out"),
        (says(), "the connection was closed without an answer"),
        (says(answer(b"{", length=b"99")), "the answer broke off after"),
    ],
)
def test_what_became_of_a_connection_is_said(
    ask: Callable[..., Any], monkeypatch: pytest.MonkeyPatch, script: Any, reason: str
) -> None:
    """Silence, an end without an answer, and one in the middle."""
    with Wire(script) as wire:
        connect(monkeypatch, wire.url, timeout=0.5)
        assert f"from 127.0.0.1:{wire.port}: {reason}".removesuffix(" after") in failure(ask)


def test_tls_that_is_not_spoken_is_said(ask: Callable[..., Any], monkeypatch: pytest.MonkeyPatch) -> None:
    """A server of plain http that was named with https; on this machine it may be asked so, and is told how."""
    with Wire(says(answer())) as wire:
        connect(monkeypatch, wire.url.replace("http:", "https:"))
        said = failure(ask, ConfigurationError)
        assert f": 127.0.0.1:{wire.port} answers in plain http, and was asked by https. " in said
        assert f"write {wire.url} in the connection" in said
        monkeypatch.setattr("airflow_reportrun.wire.reasons.is_loopback", lambda parts: False)
        assert f"127.0.0.1:{wire.port}: TLS failed (" in failure(ask)


def test_a_sandbox_that_was_named_without_its_scheme_is_asked_once(
    ask: Callable[..., Any],
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    stripe_conn: StripeSandbox,
) -> None:
    """As a URI without /http names it; with it, it answers."""
    uri = f"stripe://:{KEY}@{stripe_conn.url.removeprefix('http://')}"
    monkeypatch.setenv("AIRFLOW_CONN_STRIPE_DEFAULT", uri)
    assert "or end its URI in /http" in failure(lambda: ask(9), ConfigurationError)
    assert "of 9 follows" not in caplog.text
    monkeypatch.setenv("AIRFLOW_CONN_STRIPE_DEFAULT", f"{uri}/http")
    ask()


# Proxies


class Proxy:
    """A proxy that takes everybody to one server, and wants credentials where it has some."""

    def __init__(self, target: str, credentials: str | None = None) -> None:
        self.target = urlsplit(target)
        self.credentials = credentials and f"Basic {base64.b64encode(credentials.encode()).decode()}"
        self.requests: list[str] = []
        self._server = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._server.getsockname()[1]
        Thread(target=self._serve, daemon=True).start()

    def _serve(self) -> None:
        while True:
            try:
                client, _ = self._server.accept()
            except OSError:
                return
            Thread(target=self._answer, args=(client,), daemon=True).start()

    def _answer(self, client: socket.socket) -> None:
        with client:
            head = client.recv(65536)
            length = re.search(rb"(?i)\r\ncontent-length: (\d+)", head)
            while length and len(head.partition(b"\r\n\r\n")[2]) < int(length[1]):
                head += client.recv(65536)  # which may come by itself
            self.requests.append(head.decode("latin-1"))
            given = [
                line[21:] for line in self.requests[-1].split("\r\n") if line.lower().startswith("proxy-auth")
            ]
            if self.credentials and given != [self.credentials]:
                client.sendall(b"HTTP/1.1 407 Proxy Authentication Required\r\nContent-Length: 0\r\n\r\n")
                return
            address = (str(self.target.hostname), self.target.port)
            with socket.create_connection(address) as server:
                if head.startswith(b"CONNECT"):
                    client.sendall(b"HTTP/1.1 200 OK\r\n\r\n")
                else:
                    method, url, rest = head.split(b" ", 2)
                    rest = rest.replace(b"\r\n", b"\r\nConnection: close\r\n", 1)
                    server.sendall(b" ".join([method, b"/" + url.split(b"/", 3)[3], rest]))
                back = Thread(target=self._pump, args=(server, client), daemon=True)
                back.start()
                if head.startswith(b"CONNECT"):
                    self._pump(client, server)
                back.join(5)

    @staticmethod
    def _pump(one: socket.socket, other: socket.socket) -> None:
        while data := one.recv(65536):
            other.sendall(data)
        other.shutdown(socket.SHUT_WR)

    def close(self) -> None:
        """Take no more."""
        self._server.close()


@contextmanager
def proxy_to(target: str, credentials: str | None = None) -> Iterator[Proxy]:
    proxy = Proxy(target, credentials)
    try:
        yield proxy
    finally:
        proxy.close()


SPELLINGS = [
    "127.0.0.1:{port}",
    "localhost:{port}",
    "//127.0.0.1:{port}",
    "http://127.0.0.1:{port}",
    "me:pw@127.0.0.1:{port}/",
]


@pytest.mark.parametrize("spelling", SPELLINGS)
@pytest.mark.parametrize("named", ["in one", "by scheme", "for all", "for the host"])
def test_a_proxy_is_gone_through_however_it_is_spelt(
    ask: Callable[..., Any], stripe_conn: StripeSandbox, monkeypatch: pytest.MonkeyPatch, spelling: str, named: str
) -> None:
    """Without a scheme, too, which one library adds and the other refuses."""
    with proxy_to(stripe_conn.url) as proxy:
        url = spelling.format(port=proxy.port)
        by = {
            "in one": url,
            "by scheme": {"http": url},
            "for all": {"all": url},
            "for the host": {"http://stripe.test": url},
        }
        by["for the host"] = {"http://127.0.0.1": url}
        connect(monkeypatch, stripe_conn.url, proxies=by[named])
        assert ask()
    assert len(proxy.requests) == 1


@pytest.mark.parametrize("spelling", SPELLINGS)
def test_a_proxy_of_the_environment_is_gone_through_however_it_is_spelt(
    ask: Callable[..., Any], monkeypatch: pytest.MonkeyPatch, certificate: ssl.SSLContext, spelling: str
) -> None:
    """The certificate shows that the tunnel led to the server."""
    with Wire(says(answer()), tls=certificate) as wire, proxy_to(wire.url) as proxy:
        monkeypatch.setenv("HTTPS_PROXY", spelling.format(port=proxy.port))
        connect(monkeypatch, "https://stripe.test", verify=False)
        assert ask() == []
    assert proxy.requests[0].startswith("CONNECT stripe.test:443 ")


@pytest.mark.parametrize("proxies", [{"https": None, "all": "http://p.test:1"}, {"https": ""}])
def test_a_connection_that_names_no_proxy_overrules_the_environment(
    ask: Callable[..., Any], monkeypatch: pytest.MonkeyPatch, certificate: ssl.SSLContext, proxies: Any
) -> None:
    """An empty one is an answer, and not the absence of one."""
    monkeypatch.setenv("HTTPS_PROXY", "http://127.0.0.1:9")
    with Wire(says(answer()), tls=certificate) as wire:
        connect(monkeypatch, wire.url, verify=False, proxies=proxies)
        assert ask() == []


def test_a_proxy_of_the_environment_that_can_be_none_is_refused_at_once(
    ask: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    """In both colours, instead of looking until a deadline."""
    monkeypatch.setenv("HTTPS_PROXY", f"http://me:{SECRET}@:3128")
    connect(monkeypatch, "https://stripe.test")
    assert "The proxy that the environment names is not http://" in failure(ask, ConfigurationError)


def test_a_proxy_that_does_not_listen_is_named(ask: Callable[..., Any], monkeypatch: pytest.MonkeyPatch) -> None:
    """Beside the host that it should lead to, and without its password."""
    port = free_port()
    for host in ("http://127.0.0.1:9", "https://stripe.test"):
        connect(monkeypatch, host, proxies=f"me:{SECRET}@127.0.0.1:{port}")
        where = {"http://127.0.0.1:9": "127.0.0.1:9"}.get(host, "stripe.test:443")
        assert f"from {where} by the proxy 127.0.0.1:{port}: nothing listens there" in failure(ask)


@pytest.mark.parametrize("host", ["http://127.0.0.1:9", "https://stripe.test"])
@pytest.mark.parametrize("given", ["", f"me:wrong-{SECRET}@"])
def test_a_proxy_that_wants_credentials_says_where_they_go(
    ask: Callable[..., Any], monkeypatch: pytest.MonkeyPatch, host: str, given: str
) -> None:
    """Whether it answers in the server's place or refuses the tunnel to it."""
    with proxy_to("http://127.0.0.1:9", f"me:{SECRET}") as proxy:
        connect(monkeypatch, host, proxies=f"http://{given}127.0.0.1:{proxy.port}")
        said = failure(lambda: ask(3), ConfigurationError)
    assert "the proxy wants credentials (HTTP 407)" in said
    assert "proxies of the connection's extra" in said
    assert len(proxy.requests) == 1


def test_a_proxy_that_has_its_credentials_lets_pass(
    ask: Callable[..., Any], stripe_conn: StripeSandbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With what has to be quoted in a URL."""
    with proxy_to(stripe_conn.url, "me@home:p:w/%") as proxy:
        connect(monkeypatch, stripe_conn.url, proxies=f"me%40home:p%3Aw%2F%25@127.0.0.1:{proxy.port}")
        assert ask()


def test_a_proxy_that_refuses_a_host_is_said(ask: Callable[..., Any], monkeypatch: pytest.MonkeyPatch) -> None:
    """By its status alone."""
    with Wire(says(b"HTTP/1.1 403 sk_test_sandbox\r\nContent-Length: 0\r\n\r\n")) as wire:
        connect(monkeypatch, "https://stripe.test", proxies=wire.url)
        assert failure(ask).endswith(
            f"by the proxy 127.0.0.1:{wire.port}: the proxy refused to connect (HTTP 403)"
        )


@pytest.mark.parametrize("scheme", ["socks5", "socks5h", "socks4"])
def test_a_socks_proxy_is_refused_at_once_where_it_can_not_be_taken(
    ask: Callable[..., Any], monkeypatch: pytest.MonkeyPatch, scheme: str
) -> None:
    """A worker takes it with a package that is not here, a trigger never."""
    connect(monkeypatch, "https://stripe.test", proxies=f"{scheme}://127.0.0.1:9")
    said = failure(ask, ConfigurationError)
    assert "pip install" in said or "deferrable=False" in said


@pytest.mark.parametrize(
    ("text", "url"),
    [
        ("p:3128", "http://p:3128"),
        (" p ", "http://p"),
        ("https://p:3128/", "https://p:3128"),
        ("u:p@h:1", "http://u:p@h:1"),
        ("[::1]:3128", "http://[::1]:3128"),
        ("socks5h://p:1", "socks5h://p:1"),
        *(
            (wrong, None)
            for wrong in ("", "http://", "p:x", "p:99999", "p:0", "ftp://p", "p q", "p?a=b", "[::1", "a..b")
        ),
    ],
)
def test_reads_a_proxy_as_people_write_it(text: str, url: str | None) -> None:
    """Or says that it is none."""
    assert proxy_url(text) == url


# TLS


@pytest.mark.parametrize("field", ["verify", "cert"])
def test_what_is_no_certificate_is_refused_at_once(
    ask: Callable[..., Any], monkeypatch: pytest.MonkeyPatch, tmp_path: Path, field: str
) -> None:
    """A file of another kind, and one that is not there, in both colours; without its path, which may be a key."""
    other = tmp_path / f"{SECRET}.pem"
    other.write_text("no certificate")
    for path in (other, tmp_path / f"{SECRET}-gone.pem"):
        connect(monkeypatch, "https://stripe.test", **{field: str(path)})
        assert "can't be used" in failure(ask, ConfigurationError)


def test_a_client_key_that_is_encrypted_asks_nobody(
    ask: Callable[..., Any], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """OpenSSL would wait for a password on the terminal."""
    key = ec.generate_private_key(ec.SECP256R1())
    path = tmp_path / "key.pem"
    path.write_bytes(key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, BestAvailableEncryption(b"password")))
    connect(monkeypatch, "https://stripe.test", cert=[str(path), str(path)])
    assert "can't be used" in failure(ask, ConfigurationError)


# Answers


@pytest.mark.parametrize("status", [b"400 Bad Request", b"429 Too Many Requests"])
def test_a_rate_limit_is_waited_out_whatever_its_status(
    ask: Callable[..., Any], monkeypatch: pytest.MonkeyPatch, status: bytes
) -> None:
    """It once was a 400, says Stripe's SDK, by its code alone; and not when it says so of an interval."""
    limited = b'{"error": {"code": "rate_limit", "message": "Slowly", "param": "parameters.interval_end"}}'
    types = b'{"object": "list", "data": [], "has_more": false}'
    with Wire() as wire:
        wire.script = lambda request: iter(
            [answer(types) if wire.requests[1:] else answer(limited, status=status)]
        )
        connect(monkeypatch, wire.url)
        assert ask(1) == []
        assert len(wire.requests) == 2
