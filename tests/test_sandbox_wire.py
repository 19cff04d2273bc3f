"""What a client's socket receives when the wire breaks."""

from __future__ import annotations

import asyncio
import gzip
import socket
import time
from dataclasses import dataclass
from typing import Any

import pytest
import requests
from hypothesis import given, settings
from hypothesis import strategies as st
from starlette.types import Message

from airflow_reportrun.sandbox import (
    CutBody,
    CutHeaders,
    Drips,
    Dropped,
    Framed,
    Garbage,
    Gzipped,
    ProxyPage,
    Refused,
    Stalls,
    StripeSandbox,
    WireFault,
    WrongLength,
)
from airflow_reportrun.sandbox.wire import Framing, Steps, Whole, Written
from tests.until import until

TYPES = "/v1/reporting/report_types"


@dataclass(frozen=True)
class Received:
    """What came until the server closed, by when, and how it ended."""

    data: bytes
    seconds: float
    reset: bool = False

    @property
    def head(self) -> bytes:
        """Status line and headers, in lower case."""
        return self.data.partition(b"\r\n\r\n")[0].lower()

    @property
    def body(self) -> bytes:
        """All that came behind the head."""
        return self.data.partition(b"\r\n\r\n")[2]


def get(sandbox: StripeSandbox, path: str = TYPES) -> bytes:
    authorization = f"Authorization: Bearer {sandbox.api_key}"
    return f"GET {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n{authorization}\r\n\r\n".encode()


def ask(sandbox: StripeSandbox, path: str = TYPES) -> Received:
    """Send a GET as bytes and read as bytes, which no HTTP client can put right."""
    host, port = sandbox.url.removeprefix("http://").split(":")
    data, reset, started = b"", False, time.monotonic()
    with socket.create_connection((host, int(port)), timeout=10) as plug:
        plug.sendall(get(sandbox, path))
        try:
            while piece := plug.recv(65536):
                data += piece
        except ConnectionResetError:
            reset = True
    return Received(data, time.monotonic() - started, reset)


def whole(sandbox: StripeSandbox) -> bytes:
    return requests.get(sandbox.url + TYPES, auth=(sandbox.api_key, ""), timeout=10).content


@pytest.fixture
def sandbox(stripe_sandbox: StripeSandbox) -> StripeSandbox:
    return stripe_sandbox


def test_head_is_cut(sandbox: StripeSandbox) -> None:
    """So many bytes come and no more."""
    sandbox.inject(CutHeaders(after=30), on="list_types")
    received = ask(sandbox)
    assert received.data.startswith(b"HTTP/1.1 200 OK\r\n")
    assert len(received.data) == 30
    assert sandbox.requests[-1].status is None


def test_a_head_is_never_cut_behind_its_end(sandbox: StripeSandbox) -> None:
    """However many bytes are let through."""
    sandbox.inject(CutHeaders(after=100_000), on="list_types")
    assert b"\r\n\r\n" not in ask(sandbox).data


@pytest.mark.parametrize(
    ("framing", "header"),
    [
        ("length", b"content-length: "),
        ("chunked", b"transfer-encoding: chunked"),
        ("close", b"connection: close"),
    ],
)
def test_body_is_cut_in_each_framing(sandbox: StripeSandbox, framing: Framing, header: bytes) -> None:
    """The head is right, and the body ends after so many bytes: in chunks, in the middle of one."""
    expected = whole(sandbox)
    sandbox.inject(CutBody(100, framing), on="list_types")
    received = ask(sandbox)
    assert header in received.head
    assert (b"content-length" in received.head) == (framing == "length")
    if framing == "chunked":
        size, _, part = received.body.partition(b"\r\n")
        assert (int(size, 16), part) == (len(expected), expected[:100])
    else:
        assert received.body == expected[:100]
    assert sandbox.requests[-1].status == 200


@pytest.mark.parametrize("framing", ["length", "chunked", "close"])
def test_every_framing_brings_the_whole_answer(sandbox: StripeSandbox, framing: Framing) -> None:
    """An HTTP client reads the same from each."""
    expected = whole(sandbox)
    sandbox.inject(Framed(framing), on="list_types")
    assert whole(sandbox) == expected


@pytest.mark.parametrize("by", [-10, 10])
def test_length_is_wrong(sandbox: StripeSandbox, by: int) -> None:
    """The header says more or less than comes, and all of it comes."""
    expected = whole(sandbox)
    sandbox.inject(WrongLength(by), on="list_types")
    received = ask(sandbox)
    assert f"content-length: {len(expected) + by}".encode() in received.head
    assert received.body == expected


def test_answer_stalls_and_comes(sandbox: StripeSandbox) -> None:
    """Nothing is lost by a pause."""
    expected = whole(sandbox)
    sandbox.inject(Stalls(seconds=0.3, after=10), on="list_types")
    received = ask(sandbox)
    assert received.body == expected
    assert received.seconds >= 0.3


def test_answer_drips(sandbox: StripeSandbox) -> None:
    """One byte at a time, until the client gives up or all have come."""
    body = len(whole(sandbox))
    head = len(ask_head(sandbox))
    sandbox.inject(Drips(seconds=0.02, after=head + body - 10), on="list_types")
    received = ask(sandbox)
    assert len(received.body) == body
    assert received.seconds >= 0.2


def ask_head(sandbox: StripeSandbox) -> bytes:
    sandbox.inject(Framed("length"), on="list_types")
    return ask(sandbox).data.partition(b"\r\n\r\n")[0] + b"\r\n\r\n"


def test_reset_ends_the_wait_for_a_drip(sandbox: StripeSandbox) -> None:
    """A test that is over leaves no connection behind that drips on for hours."""
    sandbox.inject(Drips(seconds=3600), on="list_types")
    host, port = sandbox.url.removeprefix("http://").split(":")
    with socket.create_connection((host, int(port)), timeout=10) as plug:
        plug.sendall(
            f"GET {TYPES} HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {sandbox.api_key}\r\n\r\n".encode()
        )
        until(lambda: sandbox.requests)
        sandbox.reset()
        received = b""
        while piece := plug.recv(65536):
            received += piece
    assert received.startswith(b"HTTP/1.1 200 OK")


def test_gzip_is_a_coding_that_nobody_asked_for(sandbox: StripeSandbox) -> None:
    """The bytes are those of the answer, coded; cut, they can't be decoded to the end."""
    expected = whole(sandbox)
    sandbox.inject(Gzipped(), on="list_types")
    response = requests.get(
        sandbox.url + TYPES,
        headers={"Accept-Encoding": "identity"},
        auth=(sandbox.api_key, ""),
        timeout=10,
        stream=True,
    )
    assert gzip.decompress(b"".join(response.raw.stream(decode_content=False))) == expected
    sandbox.inject(Gzipped(cut=20), on="list_types")
    cut = requests.get(sandbox.url + TYPES, auth=(sandbox.api_key, ""), timeout=10, stream=True)
    with pytest.raises(EOFError):
        gzip.decompress(b"".join(cut.raw.stream(decode_content=False)))


def test_garbage_is_the_same_for_a_seed(sandbox: StripeSandbox) -> None:
    """Behind as much of the answer as is wanted."""
    for _ in range(2):
        sandbox.inject(Garbage(size=50, after=17, seed=4), on="list_types")
    first, second = ask(sandbox), ask(sandbox)
    assert first.data == second.data
    assert first.data.startswith(b"HTTP/1.1 200 OK\r\n")
    assert len(first.data) == 67


@pytest.mark.parametrize("reset", [False, True])
def test_connection_closes_or_breaks(sandbox: StripeSandbox, reset: bool) -> None:
    """FIN and RST, without a byte before."""
    sandbox.inject(Dropped(reset=reset), on="list_types")
    received = ask(sandbox)
    assert (received.data, received.reset) == (b"", reset)


def test_address_is_refused_for_a_while(sandbox: StripeSandbox) -> None:
    """Then the same server, with the same runs, listens at the same address."""
    sandbox.inject(Refused(seconds=1.0), on="list_types")
    started = time.monotonic()
    assert ask(sandbox).data == b""
    assert not answers(sandbox)
    until(lambda: answers(sandbox))
    assert time.monotonic() - started >= 1.0
    assert [record.fault for record in sandbox.requests] == ["Refused(seconds=1.0)", None]


def test_address_that_is_refused_can_not_be_refused_again(sandbox: StripeSandbox) -> None:
    """Whoever is connected still is, and the first refusal counts."""
    sandbox.inject(Refused(seconds=0.3), times=2, on="list_types")
    with requests.Session() as one, requests.Session() as other:
        for session in (one, other):
            session.auth = (sandbox.api_key, "")
            session.get(f"{sandbox.url}/v1/events", timeout=10)
        for session in (one, other):
            with pytest.raises(requests.ConnectionError):
                session.get(sandbox.url + TYPES, timeout=10)
    until(lambda: answers(sandbox))
    assert [record.status for record in sandbox.requests_to("list_types")] == [None, None, 200]


def answers(sandbox: StripeSandbox) -> bool:
    try:
        return bool(whole(sandbox))
    except requests.ConnectionError:
        return False


def test_client_that_leaves_ends_the_script(sandbox: StripeSandbox) -> None:
    """A drip of hours does not go on for nobody."""
    written: list[int] = []

    @dataclass(frozen=True, slots=True)
    class Endless(WireFault):
        def script(self, answer: Whole) -> Steps:
            while True:
                written.append(1)
                yield b"x"
                yield 0.01

    sandbox.inject(Endless(), on="list_types")
    host, port = sandbox.url.removeprefix("http://").split(":")
    with socket.create_connection((host, int(port)), timeout=10) as plug:
        plug.sendall(
            f"GET {TYPES} HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {sandbox.api_key}\r\n\r\n".encode()
        )
        assert plug.recv(1) == b"x"
    before = -1
    while before != len(written):
        before = len(written)
        time.sleep(0.2)
    assert written


def test_nothing_is_written_where_the_connection_is_gone() -> None:
    """The client gave up while the answer was made."""

    async def no_sleep(seconds: float) -> None:
        pass

    script = iter([b"never"])
    asyncio.run(Written(script, lambda scope: None, no_sleep)({}, None, None))  # type: ignore[arg-type]
    assert next(script) == b"never"


class Plug:
    """As much of a connection as is written to."""

    def __init__(self) -> None:
        self.transport: Any = self
        self.flow: Any = self
        self.written = b""
        self.closed = False

    def write(self, piece: bytes) -> None:
        """Take bytes."""
        self.written += piece

    async def drain(self) -> None:
        """Be ready for more."""

    def is_closing(self) -> bool:
        """Tell whether there is an end."""
        return self.closed

    def close(self) -> None:
        """End it."""
        self.closed = True


def test_rest_of_a_request_is_waited_for_until_its_connection_is_gone() -> None:
    """A server that is answered for would answer by itself."""
    plug, told = Plug(), iter(["http.request", "http.disconnect"])

    async def receive() -> Message:
        return {"type": next(told)}

    async def send(message: Message) -> None:
        raise AssertionError(message)

    async def no_sleep(seconds: float) -> None:
        pass

    asyncio.run(Written(iter([b"a", b"b"]), lambda scope: plug, no_sleep)({}, receive, send))
    assert (plug.written, plug.closed, list(told)) == (b"ab", True, [])


def test_stop_ends_a_refusal() -> None:
    """And a start after it listens at once."""
    with StripeSandbox() as sandbox:
        sandbox.inject(Refused(seconds=60), on="list_types")
        ask(sandbox)
        sandbox.stop()
        sandbox.start()
        assert whole(sandbox)


def test_somebody_else_answers(sandbox: StripeSandbox) -> None:
    """With a page, without a request id, and nothing was done."""
    sandbox.inject(ProxyPage())
    response = requests.post(sandbox.url + "/v1/reporting/report_runs", auth=(sandbox.api_key, ""), timeout=10)
    assert response.status_code == 200
    assert response.headers["content-type"] == "text/html"
    assert "request-id" not in response.headers
    assert sandbox.report_runs == []


def test_log_shows_the_fault(sandbox: StripeSandbox) -> None:
    """As the value that was injected."""
    sandbox.inject(CutBody(5, "chunked"), on="list_types")
    ask(sandbox)
    ask(sandbox, "/v1/reporting/report_types/balance.summary.1")
    assert [record.fault for record in sandbox.requests] == ["CutBody(after=5, framing='chunked')", None]


pieces = st.lists(st.binary(max_size=40), max_size=6)
faults = st.one_of(
    st.builds(CutHeaders, st.integers(0, 400)),
    st.builds(CutBody, st.integers(0, 300), st.sampled_from(["length", "chunked", "close"])),
    st.builds(Framed, st.sampled_from(["length", "chunked", "close"])),
    st.builds(WrongLength, st.integers(-300, 300)),
    st.builds(Stalls, st.just(1), st.integers(0, 400)),
    st.builds(Drips, st.just(1), st.integers(0, 400)),
    st.builds(Gzipped, st.integers(0, 40)),
    st.builds(Garbage, st.integers(0, 100), st.integers(0, 400), st.integers()),
)


@settings(max_examples=200)
@given(pieces, faults)
def test_every_script_ends_and_begins_like_an_answer(chunks: list[bytes], fault: WireFault) -> None:
    """Whatever the answer: bytes and pauses, in finite number, and no byte of the body but in its place."""
    body = b"".join(chunks)
    steps = list(fault.script(Whole(200, {"Content-Type": "text/csv"}, iter(chunks), len(body))))
    sent = b"".join(step for step in steps if isinstance(step, bytes))
    if not isinstance(fault, Garbage):
        assert sent.startswith(b"HTTP/1.1 200 OK\r\n"[: len(sent)])
    if isinstance(fault, Stalls | Drips | WrongLength) or fault == Framed("length"):
        assert sent.partition(b"\r\n\r\n")[2] == body
    if isinstance(fault, CutBody) and fault.framing != "chunked":
        assert sent.partition(b"\r\n\r\n")[2] == body[: fault.after]
