"""Whatever the wire does: the right result or the right error, in both colours, in bounded time and memory."""

from __future__ import annotations

import asyncio
import gc
import gzip
import json
import socket
import ssl
import time
import traceback
import tracemalloc
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import NameOID

from airflow_reportrun.hooks import StripeReportingAsyncHook, StripeReportingHook
from airflow_reportrun.reporting.answers import LONGEST_BODY
from airflow_reportrun.reporting.errors import (
    APIConnectionError,
    ConfigurationError,
    DownloadError,
    InvalidRequestError,
    RateLimitError,
    ReportingError,
    ServerError,
    UnexpectedResponseError,
)
from airflow_reportrun.reporting.models import File
from airflow_reportrun.reporting.resending import ResendPolicy
from airflow_reportrun.wire import downloads
from tests.wire import Script, Wire, drips, says

TIMEOUT = 0.8
SLACK = 2.0
"""Seconds that a loaded machine may need besides; each test would take longer, or for ever, without its limit."""

KEY = "sk_test_secret"
BODY = b'{"object": "list", "data": [], "has_more": false}'


@pytest.fixture(autouse=True)
def _nothing_is_collected() -> Iterator[None]:
    """Hypothesis is called by the collector, which fails it where a parser is at the limit of recursion."""
    gc.disable()
    yield
    gc.enable()


@pytest.fixture
def wire(monkeypatch: pytest.MonkeyPatch) -> Iterator[Wire]:
    """A server that says anything, behind the Airflow connection ``stripe_default``."""
    with Wire() as wire:
        connect(monkeypatch, wire.url)
        yield wire


def connect(monkeypatch: pytest.MonkeyPatch, host: str, **extra: Any) -> None:
    connection = {"conn_type": "stripe", "host": host, "password": KEY, "extra": {"timeout": TIMEOUT, **extra}}
    monkeypatch.setenv("AIRFLOW_CONN_STRIPE_DEFAULT", json.dumps(connection))


def client(tries: int = 1) -> StripeReportingHook:
    hook = StripeReportingHook()
    hook.resend_policy = ResendPolicy(max_tries=tries, first_pause=0.01, first_refused=0.01, max_refused=0.05)
    return hook


def ask_sync(tries: int = 1) -> Any:
    return client(tries).list_report_types()


def ask_async(tries: int = 1) -> Any:
    async def go() -> Any:
        async with StripeReportingAsyncHook() as hook:
            hook.resend_policy = ResendPolicy(
                max_tries=tries, first_pause=0.01, first_refused=0.01, max_refused=0.05
            )
            return await hook.list_report_types_async()

    return asyncio.run(go())


@pytest.fixture(params=[ask_sync, ask_async], ids=["sync", "async"])
def ask(request: pytest.FixtureRequest) -> Callable[..., Any]:
    """Asks for the report types, in both colours; once, unless told otherwise."""
    param: Callable[..., Any] = request.param
    return param


def answer(body: bytes = BODY, *headers: bytes, status: bytes = b"200 OK", length: bytes | None = None) -> bytes:
    said = length if length is not None else str(len(body)).encode()
    lines = [b"HTTP/1.1 " + status, *headers, *([b"Content-Length: " + said] if said else []), b"", body]
    return b"\r\n".join(lines)


def chunked(*chunks: bytes, end: bytes = b"0\r\n\r\n") -> bytes:
    framed = b"".join(b"%x\r\n%b\r\n" % (len(chunk), chunk) for chunk in chunks)
    return answer(framed + end, b"Transfer-Encoding: chunked", length=b"")


def forever(head: bytes, more: bytes) -> Script:
    def script(request: bytes) -> Iterator[bytes]:
        yield head
        while True:
            yield more

    return script


def raised(ask: Callable[..., Any], kind: type[ReportingError]) -> ReportingError:
    """Return the error, which is of exactly this kind, tells no secret and comes in time."""
    began = time.monotonic()
    with pytest.raises(ReportingError) as caught:
        ask()
    assert time.monotonic() - began < TIMEOUT + SLACK
    error = caught.value
    assert type(error) is kind
    assert error.__context__ is error.__cause__ is None
    told = "".join(traceback.format_exception(error)) + repr(error.__dict__)
    assert KEY not in told
    assert "://" not in str(error)
    return error


@pytest.mark.parametrize(
    "script",
    {
        "length": says(answer()),
        "chunks": says(chunked(BODY[:7], BODY[7:])),
        "close": says(answer(length=b"")),
        "byte by byte": drips(answer(), every=0.0),
        "continue": says(b"HTTP/1.1 100 Continue\r\n\r\n", answer()),
        "early hints": says(b"HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n" * 2, 0.05, answer()),
        "not coded": says(answer(BODY, b"Content-Encoding: identity")),
        "no coding": says(answer(BODY, b"Content-Encoding: ")),
        "cookies": says(answer(BODY, b"Set-Cookie: \xff=;;=", b"Set-Cookie: a=b; max-age=1e999; domain=..")),
        "not ASCII": says(answer(BODY, b"Request-Id: \xff\xe4", status=b"200 \xff\xfe")),
    }.items(),
    ids=lambda case: case[0],
)
def test_understands_each_framing(ask: Callable[..., Any], wire: Wire, script: tuple[str, Script]) -> None:
    """The answer is the same, however its bytes come."""
    wire.script = script[1]
    assert ask() == []


NOT_WHOLE = {
    "nothing": says(),
    "another protocol": says(b"SSH-2.0-OpenSSH_9.6\r\n"),
    "noise": says(bytes(range(256)) * 10),
    "no status": says(b"HTTP/1.1 abc\r\n\r\n"),
    "a status of four digits": says(answer(status=b"1000 OK")),
    "another version": says(answer().replace(b"1.1", b"9.9")),
    "a long status": says(answer(status=b"200 " + b"x" * 100_000)),
    "a long header": says(answer(BODY, b"A: " + b"x" * 100_000)),
    "many headers": says(answer(BODY, *[b"A: b"] * 300)),
    "headers without end": forever(b"HTTP/1.1 200 OK\r\n", b"A: b\r\n"),
    "a header without a colon": says(answer(BODY, b"no colon")),
    "a header without a name": says(answer(BODY, b": b")),
    "cut in the status": says(b"HTTP/1.1 200"),
    "cut in a header": says(b"HTTP/1.1 400 Bad Request\r\nContent-Le"),
    "cut before the body": says(b"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n"),
    "cut in the body": says(answer(length=b"99")),
    "a length that is none": says(answer(length=b"abc")),
    "a length below zero": says(answer(length=b"-5")),
    "a length beyond all": says(answer(length=b"9" * 30)),
    "two lengths": says(answer(BODY, b"Content-Length: 7")),
    "a chunk size that is none": says(chunked(end=b"zz\r\n" + BODY)),
    "a chunk to the end": forever(chunked(end=b"-1\r\n"), b"x" * 65536),
    "a chunk below zero": says(chunked(end=b"-5\r\n" + BODY)),
    "a chunk size beyond all": says(chunked(end=b"F" * 17 + b"\r\n" + BODY)),
    "a chunk size without end": forever(chunked(end=b""), b"1" * 65536),
    "cut in a chunk": says(chunked(end=b"ff\r\n" + BODY)),
    "cut between chunks": says(chunked(BODY, end=b"")),
    "a trailer without end": forever(chunked(BODY, end=b"0\r\n"), b"A" * 65536),
    "trailers without end": forever(chunked(BODY, end=b"0\r\n"), b"A: b\r\n" * 1000),
    "hints without end": forever(b"", b"HTTP/1.1 103 Early Hints\r\n\r\n"),
}


@pytest.mark.parametrize("case", NOT_WHOLE)
def test_what_is_no_whole_answer_is_a_connection_error(ask: Callable[..., Any], wire: Wire, case: str) -> None:
    """A POST may have been executed, so that it is sent again with its key."""
    wire.script = NOT_WHOLE[case]
    error = raised(ask, APIConnectionError)
    assert error.is_transient
    assert "GET /v1/reporting/report_types got no whole answer" in str(error)


UNEXPECTED = {
    "HTML": (answer(b"<html>", b"Content-Type: text/html"), r"not JSON \(text/html\)"),
    "no body": (answer(b""), "not JSON"),
    "JSON that is cut": (answer(BODY[:-1], length=b""), "not JSON"),
    "JSON without a bottom": (answer(b"[" * 1_000_000), "not JSON"),
    "a number without end": (answer(b"9" * 5000), "not JSON"),
    "no UTF-8": (answer(b'"\xff"'), "not JSON"),
    "another object": (answer(b'{"object": ' + b"[" * 900 + b"]" * 900 + b"}"), "Expected an object 'list'"),
    "another type": (answer(BODY.replace(b"[]", b'{"a":' * 900 + b"1" + b"}" * 900)), "Expected list as 'data'"),
    "204": (b"HTTP/1.1 204 No Content\r\n\r\n", "HTTP 204. Check"),
    "304": (b"HTTP/1.1 304 Not Modified\r\n\r\n", "HTTP 304"),
    "206": (answer(status=b"206 Partial Content"), "HTTP 206"),
    "101": (b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\nConnection: upgrade\r\n\r\n", "HTTP 101"),
    "gzip": (
        answer(gzip.compress(BODY, mtime=0), b"Content-Encoding: gzip"),
        "in the coding 'gzip', which was not asked",
    ),
    "what claims to be gzip": (answer(BODY, b"Content-Encoding: GZIP"), "in the coding 'gzip'"),
}


@pytest.mark.parametrize("case", UNEXPECTED)
def test_what_is_not_stripes_is_said(ask: Callable[..., Any], wire: Wire, case: str) -> None:
    """In words that lead to whoever answered instead."""
    said, message = UNEXPECTED[case]
    wire.script = says(said)
    error = raised(ask, UnexpectedResponseError)
    assert error.is_transient
    assert error.args[0] == str(error)
    with pytest.raises(UnexpectedResponseError, match=message):
        raise error


@pytest.mark.parametrize(
    "location",
    [b"/elsewhere", b"\xff\xfe", b"http://[::1", b"http://a:99999/", b"http://\xff/", b"//", b"", b"javascript:x"],
)
def test_a_redirect_to_anywhere_is_not_followed(ask: Callable[..., Any], wire: Wire, location: bytes) -> None:
    """Nor is its address parsed, which may fail in many ways."""
    wire.script = says(answer(b"", b"Location: " + location, status=b"302 Found"))
    assert "redirects are not followed" in str(raised(ask, UnexpectedResponseError))
    assert len(wire.requests) == 1


@pytest.mark.parametrize(
    "script",
    {
        "silence": says(60.0),
        "headers": drips(answer(), every=0.05),
        "body": lambda request: [answer(b"", length=b"999"), *drips(BODY * 20, every=0.05)(request)],
        "chunks": lambda request: [chunked(end=b""), *[b"1\r\n \r\n", 0.05] * 100],
        "hints": lambda request: [b"HTTP/1.1 103 Early Hints\r\n\r\n", 0.05] * 100,
        "a redirect": lambda request: [
            answer(b"", b"Location: /", status=b"302 Found", length=b"999"),
            *drips(BODY * 20, every=0.05)(request),
        ],
    }.items(),
    ids=lambda case: case[0],
)
def test_an_answer_that_drips_ends_with_the_timeout(
    ask: Callable[..., Any], wire: Wire, script: tuple[str, Any]
) -> None:
    """No single wait is long, and the whole would never end."""
    wire.script = lambda request: iter(script[1](request))
    began = time.monotonic()
    raised(ask, APIConnectionError)
    assert time.monotonic() - began >= TIMEOUT * 0.9


@pytest.mark.parametrize("via_proxy", [True, False])
def test_a_handshake_that_does_not_end_is_given_up(
    ask: Callable[..., Any], wire: Wire, via_proxy: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """TLS that is never answered, and a proxy that drips its answer to CONNECT."""
    if via_proxy:
        connect(monkeypatch, "https://api.example.test", proxies={"https": wire.url})
        wire.script = drips(b"HTTP/1.1 200 OK\r\n" + b"A: b\r\n" * 99, every=0.05)
    else:
        connect(monkeypatch, wire.url.replace("http:", "https:"))
        wire.script = says(60.0)
    raised(ask, APIConnectionError)
    assert len(wire.requests) == 1


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> ssl.SSLContext:
    """What a server on this machine shows of itself over TLS."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "localhost")])
    day = timedelta(days=1)
    now = datetime.now(UTC)
    builder = x509.CertificateBuilder(name, name, key.public_key(), 1, now - day, now + day)
    pem = tmp_path_factory.mktemp("tls") / "pem"
    pem.write_bytes(
        key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
        + builder.sign(key, SHA256()).public_bytes(Encoding.PEM)
    )
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(pem)
    return context


@pytest.mark.parametrize(
    ("pause", "script"),
    [(0.0, drips(answer(), every=0.05)), (0.7 * TIMEOUT, says(0.7 * TIMEOUT, answer()))],
    ids=["drips", "a slow handshake and a slow answer"],
)
def test_the_timeout_is_for_the_whole_exchange_over_tls(
    ask: Callable[..., Any],
    certificate: ssl.SSLContext,
    monkeypatch: pytest.MonkeyPatch,
    pause: float,
    script: Script,
) -> None:
    """The handshake included."""
    with Wire(script, tls=certificate, pause=pause) as wire:
        connect(monkeypatch, wire.url, verify="false")
        raised(ask, APIConnectionError)
        assert len(wire.requests) == 1
        wire.script = says(answer())
        assert ask() == []


def test_a_proxy_is_bounded_like_the_server(wire: Wire, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each time that it is used."""
    connect(monkeypatch, "http://127.0.0.1:1", proxies={"http": wire.url})
    hook = client()
    wire.script = says(answer(BODY, b"Connection: close"))
    assert hook.list_report_types() == hook.list_report_types() == []
    wire.script = drips(answer(), every=0.05)
    raised(hook.list_report_types, APIConnectionError)
    assert [request.split()[1] for request in wire.requests] == [
        b"http://127.0.0.1:1/v1/reporting/report_types"
    ] * 3


def test_connections_are_kept_alive_as_the_http_provider_does(wire: Wire) -> None:
    """A firewall forgets a connection on which nothing is said."""
    hook = StripeReportingHook()
    assert hook.keep_alive_adapter
    adapter = hook.get_conn().get_adapter(wire.url)
    options = adapter.poolmanager.connection_pool_kw["socket_options"]  # type: ignore[attr-defined]
    assert (socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1) in options


def test_the_retries_are_bounded_by_number_and_timeout(ask: Callable[..., Any], wire: Wire) -> None:
    """Tries times the limit of one, and the waits between them."""
    wire.script = says(60.0)
    began = time.monotonic()
    with pytest.raises(APIConnectionError):
        ask(3)
    assert len(wire.requests) == 3
    assert 3 * TIMEOUT * 0.9 < time.monotonic() - began < 3 * TIMEOUT + SLACK


ENDLESS = {
    "length": forever(answer(b"", length=b"99999999999"), b" " * 65536),
    "chunks": forever(chunked(end=b""), b"10000\r\n" + b" " * 65536 + b"\r\n"),
    "close": forever(answer(b"", length=b""), b" " * 65536),
    "an error": forever(answer(b"", status=b"400 Bad Request", length=b""), b" " * 65536),
    "a redirect": forever(answer(b"", b"Location: /", status=b"302 Found", length=b""), b" " * 65536),
}


@pytest.mark.parametrize("case", ENDLESS)
def test_a_body_without_end_is_given_up(ask: Callable[..., Any], wire: Wire, case: str) -> None:
    """Soon after the limit, so that it does not fill the memory."""
    wire.script = ENDLESS[case]
    tracemalloc.start()
    try:
        error = raised(ask, UnexpectedResponseError)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert "more than 8 MiB" in str(error)
    assert peak < 4 * LONGEST_BODY


@pytest.mark.parametrize("case", ["a chunk size without end", "a trailer without end", "a chunk to the end"])
def test_framing_without_end_is_not_kept(ask: Callable[..., Any], wire: Wire, case: str) -> None:
    """It is no body, so that the body's limit doesn't see it."""
    wire.script = NOT_WHOLE[case]
    tracemalloc.start()
    try:
        raised(ask, APIConnectionError)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < 2**22


def test_a_long_answer_is_read_to_the_limit(ask: Callable[..., Any], wire: Wire) -> None:
    """Forty times as long as any of Stripe's, and no byte more."""
    wire.script = says(answer(BODY.ljust(LONGEST_BODY)))
    assert ask() == []
    wire.script = says(answer(BODY.ljust(LONGEST_BODY + 1)))
    raised(ask, UnexpectedResponseError)


@pytest.mark.parametrize(("status", "kind"), [(b"200 OK", UnexpectedResponseError), (b"503 No", ServerError)])
def test_a_gzip_bomb_is_not_lit(
    ask: Callable[..., Any], wire: Wire, status: bytes, kind: type[ReportingError]
) -> None:
    """A GiB of zeros takes one MiB on the wire, and is not decoded."""
    bomb = gzip.compress(bytes(2**24)) * 64
    wire.script = says(answer(bomb, b"Content-Encoding: gzip", status=status))
    tracemalloc.start()
    try:
        raised(ask, kind)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < 2**24
    assert b"accept-encoding: identity\r\n" in wire.requests[0].lower()


def test_a_retry_after_that_is_no_time_is_none(ask: Callable[..., Any], wire: Wire) -> None:
    """Its number may be larger than any the machine has."""
    date = b"Date: Mon, 01 Jan 2024 00:00:00 GMT"
    later = b"Retry-After: Mon, 01 Jan 2024 00:00:00 +" + b"9" * 30
    wire.script = says(answer(b"{}", date, later, status=b"429 Too Many Requests"))
    error = raised(ask, RateLimitError)
    assert error.retry_after is None  # type: ignore[attr-defined]


def test_a_retry_after_beyond_patience_is_not_waited_for(ask: Callable[..., Any], wire: Wire) -> None:
    """The last error comes at once, and the task's own retries are for later."""
    wire.script = says(answer(b"{}", b"Retry-After: " + b"9" * 400, status=b"429 Too Many Requests"))
    raised(lambda: ask(6), RateLimitError)
    assert len(wire.requests) == 1


@pytest.mark.parametrize(
    ("body", "message"),
    [
        (b'{"error": "a message"}', "An error without Stripe's error body"),
        (b'{"error": {"code": 1}}', "An error without Stripe's error body"),
        (b'{"error":' * 100_000, "An error without Stripe's error body"),
        (b'{"error": {"message": "half \\ud800", "type": [1], "code": {}, "param": null}}', "half ?"),
    ],
)
def test_an_error_of_any_shape_is_told(ask: Callable[..., Any], wire: Wire, body: bytes, message: str) -> None:
    """Its words are text that every log takes."""
    wire.script = says(answer(body, b"Request-Id: req_\xe4", status=b"400 Bad Request"))
    error = raised(ask, InvalidRequestError)
    assert str(error).encode() == f"{message} (HTTP 400, request req_ä)".encode()


def download(wire: Wire, size: int, consume: Callable[[Iterator[bytes]], Any] = b"".join) -> Any:
    file = File("file_1", 1714608000, size, f"{wire.url}/v1/files/file_1/contents")
    return client().read_file(file, consume)


def test_a_download_that_drips_is_given_up(wire: Wire) -> None:
    """Also in the middle of a piece; the error says how far it got."""
    wire.script = lambda request: iter([answer(b"", length=b"1000"), *drips(b"x" * 1000, every=0.05)(request)])
    error = raised(lambda: download(wire, 1000), APIConnectionError)
    assert error.is_transient
    assert "GET /v1/files/file_1/contents of 1000 bytes got no whole answer from 127.0.0.1:" in str(error)
    received = int(str(error).split(" after ")[1].split()[0])
    assert 40 < received < 200


def test_a_download_that_stops_is_given_up(wire: Wire) -> None:
    """Its deadline may be far: no single wait is longer than the time-out."""
    wire.script = says(answer(b"x" * 1000, length=b"99999999"), 60.0)
    raised(lambda: download(wire, 99999999), APIConnectionError)


def test_a_slow_download_may_take_longer_than_the_timeout(wire: Wire) -> None:
    """What moves on at an acceptable rate is let through."""
    parts = [b"x" * 2048, 0.1] * 8
    wire.script = says(answer(b"", length=b"16384"), *parts)  # type: ignore[arg-type]
    assert len(download(wire, 16384)) == 16384


def test_the_time_that_a_consumer_takes_does_not_count(wire: Wire, monkeypatch: pytest.MonkeyPatch) -> None:
    """A database that is slow is no server that drips."""
    monkeypatch.setattr(downloads, "CHUNK_SIZE", 10)
    wire.script = says(answer(b"x" * 10, length=b"20"), 0.1, b"y" * 10)

    def consume(chunks: Iterator[bytes]) -> bytes:
        first = next(chunks)
        time.sleep(2 * TIMEOUT)
        return first + b"".join(chunks)

    assert download(wire, 20, consume) == b"x" * 10 + b"y" * 10


@pytest.mark.parametrize(
    "head", [answer(b"", length=b"99999999999"), answer(b"", length=b""), chunked(end=b"fffffffff\r\n")]
)
def test_a_download_that_is_too_long_is_stopped(wire: Wire, head: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    """As soon as it exceeds the file's size, so that it does not fill the disk."""
    monkeypatch.setattr(downloads, "CHUNK_SIZE", 1000)
    wire.script = forever(head, b"x" * 1000)
    seen: list[bytes] = []
    with pytest.raises(DownloadError, match="brought 6000 bytes or more, and Stripe's file has 5500"):
        download(wire, 5500, seen.extend)
    assert sum(map(len, seen)) <= 5500


@pytest.mark.parametrize("length", [b"", b"5"])
def test_a_download_that_is_too_short_is_an_error(wire: Wire, length: bytes) -> None:
    """Also where the end of the connection is the end of the body, which nobody else notices."""
    wire.script = says(answer(b"12345", length=length))
    with pytest.raises(DownloadError, match="brought 5 bytes, and Stripe's file has 6"):
        download(wire, 6)


@pytest.mark.parametrize(
    ("said", "kind"),
    [
        (answer(gzip.compress(b"12345", mtime=0), b"Content-Encoding: gzip"), UnexpectedResponseError),
        (answer(b"", b"Location: http://[", status=b"302 Found"), UnexpectedResponseError),
        (answer(b"12345", status=b"206 Partial Content"), UnexpectedResponseError),
        (answer(b"{}", status=b"404 Not Found"), InvalidRequestError),
        (answer(b"{}", status=b"404 Not Found", length=b"99"), APIConnectionError),
        (answer(b"123", length=b"5"), APIConnectionError),
        (chunked(b"123", end=b""), APIConnectionError),
        (chunked(b"123", end=b"-2\r\n45"), APIConnectionError),
        (b"SSH-2.0-OpenSSH_9.6\r\n", APIConnectionError),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n", APIConnectionError),
    ],
)
def test_a_download_is_whole_or_an_error(wire: Wire, said: bytes, kind: type[ReportingError]) -> None:
    """Nothing that came instead is taken for the file."""
    wire.script = says(said)
    raised(lambda: download(wire, 5), kind)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("size", b"-1"),
        ("size", b"9007199254740992"),
        ("size", b"1e400"),
        ("id", b'"file_\\ud800"'),
        ("id", b'"\\u0000"'),
    ],
)
def test_a_value_that_nothing_can_hold_is_refused(wire: Wire, name: str, value: bytes) -> None:
    """The limits of a download follow from its size; half a character stops a log, and a NUL a database."""
    fields = {"object": b'"file"', "id": b'"file_1"', "created": b"1", "size": b"1", "url": b'""', name: value}
    wire.script = says(answer(b"{" + b",".join(b'"%b":%b' % (n.encode(), v) for n, v in fields.items()) + b"}"))
    with pytest.raises(UnexpectedResponseError, match=f"Expected .* as '{name}'"):
        client().retrieve_file("file_1")


@pytest.mark.parametrize(
    "url", ["https://[", "https://files.stripe.com:99999/", "//", "", "\ud800", "http://\u2100/"]
)
def test_a_url_that_is_none_is_not_asked(wire: Wire, url: str) -> None:
    """Nor does its parser's error come through."""
    with pytest.raises(ConfigurationError, match="host that the key is not for"):
        client().read_file(File("file_1", 1, 1, url), b"".join)
    assert wire.requests == []
