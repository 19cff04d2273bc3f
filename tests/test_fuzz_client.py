"""The client against a server that answers anything: a value, or an error of ours, in bounded time and memory."""

from __future__ import annotations

import asyncio
import itertools
import json
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from hypothesis import strategies as st

from airflow_reportrun.hooks import StripeReportingAsyncHook, StripeReportingHook
from airflow_reportrun.reporting import endpoints
from airflow_reportrun.reporting.answers import Response
from airflow_reportrun.reporting.client import ReportingClient
from airflow_reportrun.reporting.endpoints import Request
from airflow_reportrun.reporting.errors import ReportingError
from airflow_reportrun.reporting.models import EndEvent, File, ReportRun
from airflow_reportrun.reporting.resending import ResendPolicy
from airflow_reportrun.reporting.secrets import without_secrets
from airflow_reportrun.waiting.events import Event
from airflow_reportrun.waiting.goals import DataReaches, ReportRunEnds, RoomForReportRun, StillWaiting
from airflow_reportrun.wire import downloads
from tests.contract import SCHEMAS
from tests.fuzz import damaged, law, spoilt, tried, written
from tests.test_response_laws import HEADERS, VERBS, allowed_by
from tests.wire import Script, Wire

KEY = "sk_test_secret"
TIMEOUT = 1.0
SLACK = 5.0

ASKED: dict[str, tuple[Request[Any], str]] = {
    **VERBS,
    "retrieve_account": (endpoints.retrieve_account(), "account"),
    "list_end_events": (endpoints.list_end_events(), "event_list"),
}
"""Each request of the client, and the schema of its answer."""

BODIES = {name: damaged(allowed_by(SCHEMAS[name])) for _, name in ASKED.values()}
REFUSALS = damaged(allowed_by(SCHEMAS["refusal"]))
STATUSES = st.sampled_from([*[200] * 20, *(400, 402, 404, 409, 429, 500, 503), None]).flatmap(
    lambda status: st.integers(100, 999) if status is None else st.just(status)
)


class Answering(ReportingClient):
    """A client that is given answers as a hook gives them, the last one for ever; time does not pass.

    :param answers: in their order.
    """

    resend_policy = ResendPolicy(max_tries=3)

    def __init__(self, answers: Iterator[Response]) -> None:
        self._answers = answers
        self._last: Response | None = None
        self.asked = 0
        self.sleep = lambda seconds: None

    def exchange(self, request: Request[Any]) -> Response:
        """Return the next answer."""
        self.asked += 1
        self._last = next(self._answers, self._last)
        assert self._last is not None
        return without_secrets(self._last, KEY)


def answers(bodies: st.SearchStrategy[Any]) -> st.SearchStrategy[list[Response]]:
    body = st.sampled_from([*[written(bodies)] * 6, *[written(REFUSALS)] * 3, st.binary(max_size=60)])
    return st.lists(st.builds(Response, STATUSES, HEADERS, body.flatmap(lambda it: it)), min_size=1, max_size=3)


def read(verb: str, value: Any) -> list[Any]:
    """Return all that is read of an answer further on."""
    if verb == "list":
        return [ReportRun.from_api(it) for it in value.items]
    if verb == "list_end_events":
        return [ReportRun.from_api(EndEvent.from_api(it).report_run) for it in value.items]
    return [value]


@pytest.mark.parametrize("verb", ASKED)
@law(few=15, data=st.data())
def test_any_answers_are_a_value_or_an_error_of_ours(verb: str, data: st.DataObject) -> None:
    """What the document allows, damaged in its fields and in its bytes, with any status and any headers."""
    request, schema = ASKED[verb]
    client = Answering(iter(data.draw(answers(BODIES[schema]))))
    found = tried(lambda: read(verb, client.send(request)))
    assert isinstance(found, ReportingError | list)
    assert client.asked < 200


GOALS = {
    "report_run": ReportRunEnds("frr_1"),
    "report_type": DataReaches("balance.summary.1", 1),
    "report_run_list": RoomForReportRun(3, 86_400.0, newest=1),
}


@pytest.mark.parametrize("schema", GOALS)
@law(data=st.data())
def test_what_a_wait_makes_of_any_answer_arrives_at_its_task(schema: str, data: st.DataObject) -> None:
    """An event that a trigger sends is one that the task reads, by way of JSON; or the wait goes on."""
    goal: Any = GOALS[schema]
    client = Answering(iter(data.draw(answers(BODIES[schema]))))
    answer = tried(lambda: goal.ask(client))
    event = goal.judge_error(answer) if isinstance(answer, ReportingError) else goal.judge(answer)
    assert isinstance(event, Event | StillWaiting)
    if isinstance(event, Event):
        sent = json.loads(json.dumps(event.as_payload()))
        assert type(event).from_payload(sent).as_payload() == sent
    assert client.asked < 200


# Over a real socket


@pytest.fixture(scope="module")
def wire() -> Iterator[Wire]:
    """A server that says anything, behind the Airflow connection ``stripe_default``."""
    with Wire() as wire, pytest.MonkeyPatch.context() as patch:
        connection = {"conn_type": "stripe", "host": wire.url, "password": KEY, "extra": {"timeout": TIMEOUT}}
        patch.setenv("AIRFLOW_CONN_STRIPE_DEFAULT", json.dumps(connection))
        patch.setattr(downloads, "CHUNK_SIZE", 50)
        patch.setattr(downloads, "OVERLAP", 10)
        yield wire


POLICY = ResendPolicy(max_tries=1, max_refused=0.0)


def ask_sync(request: Request[Any]) -> Any:
    hook = StripeReportingHook()
    hook.resend_policy, hook.sleep = POLICY, lambda seconds: None
    return hook.send(request)


def ask_async(request: Request[Any]) -> Any:
    async def at_once(seconds: float) -> None:
        pass

    async def go() -> Any:
        async with StripeReportingAsyncHook() as hook:
            hook.resend_policy, hook.sleep_async = POLICY, at_once
            return await hook.send_async(request)

    return asyncio.run(go())


NAMES = st.sampled_from(
    [
        *("Content-Length", "Transfer-Encoding", "Content-Encoding", "Content-Type", "Connection", "Location"),
        *("Set-Cookie", "Retry-After", "Date", "Request-Id", "Idempotent-Replayed", "Content-Range", "ETag"),
        *("Stripe-Should-Retry", "Stripe-Rate-Limited-Reason", "Upgrade", "", "A B", "\xff"),
    ]
).map(lambda name: name.encode("latin-1"))
VALUES = st.binary(max_size=20) | st.sampled_from(
    [
        *(b"0", b"5", b"-1", b"99999", b"9" * 30, b"abc", b"+5", b"5, 5", b"chunked", b"gzip", b"identity", b"br"),
        *(b"close", b"keep-alive", b"http://[", b"/", b"a=b; max-age=1e999", b"true", b"text/html; charset=\xff"),
        *(b"bytes 0-9/10", b'"e"', b"x" * 70_000, b"a\r\n b", b"\0", b"Wed, 99 May 2024 00:00:30 GMT"),
    ]
)
STATUS_LINES = st.sampled_from(
    [
        *[b"HTTP/1.1 200 OK"] * 6,
        *(b"HTTP/1.1 400 Bad Request", b"HTTP/1.1 429 Too Many", b"HTTP/1.1 500 \xff", b"HTTP/1.1 302 Found"),
        *(b"HTTP/1.0 200 OK", b"HTTP/1.1 204 No Content", b"HTTP/1.1 103 Early Hints", b"HTTP/1.1 101 Other"),
        *(b"HTTP/1.1 407 Proxy", b"HTTP/1.1 999 ?", b"HTTP/1.1 000 ?", b"HTTP/2 200", b"HTTP/1.1 -200 OK"),
        *(b"ICY 200 OK", b"", b"HTTP/1.1 200", b"HTTP/1.1"),
    ]
) | st.integers(0, 10_000).map(lambda status: b"HTTP/1.1 %d x" % status)


@st.composite
def exchanges(draw: st.DrawFn, bodies: st.SearchStrategy[bytes]) -> Callable[[bytes], Iterator[bytes]]:
    """What a server sends for a request: an answer in some framing, damaged, and sometimes without an end."""
    body = draw(bodies)
    lines = [draw(STATUS_LINES)]
    lines += [name + b": " + value for name, value in draw(st.lists(st.tuples(NAMES, VALUES), max_size=4))]
    framing = draw(st.sampled_from(["length", "length", "wrong length", "chunks", "close"]))
    if framing == "chunks":
        size = draw(st.integers(1, 40))
        parts = [body[at : at + size] for at in range(0, len(body), size)]
        lines.append(b"Transfer-Encoding: chunked")
        body = b"".join(b"%x\r\n%b\r\n" % (len(it), it) for it in parts) + b"0\r\n\r\n"
    elif framing != "close":
        wrong = draw(st.integers(-20, 20)) if framing == "wrong length" else 0
        lines.append(b"Content-Length: %d" % (len(body) + wrong))
    whole = draw(spoilt(st.just(b"\r\n".join([*lines, b"", body])), most=2))
    more = draw(
        st.sampled_from([b""] * 9 + [b"x" * 65536, b"A: b\r\n" * 1000, b"1\r\n \r\n" * 1000, b"[" * 65536])
    )

    def script(request: bytes) -> Iterator[bytes]:
        yield whole
        while more:
            yield more

    return script


@pytest.mark.parametrize("ask", [ask_sync, ask_async], ids=["sync", "async"])
@pytest.mark.parametrize("verb", ["retrieve", "list_types"])
@law(few=40, data=st.data())
def test_any_bytes_from_a_server_are_a_value_or_an_error_of_ours(
    ask: Callable[[Request[Any]], Any], verb: str, wire: Wire, data: st.DataObject
) -> None:
    """In both colours, in time, and nothing that is raised knows the key."""
    request, schema = ASKED[verb]
    wire.script = data.draw(exchanges(written(BODIES[schema])))
    began = time.monotonic()
    found = tried(lambda: ask(request))
    assert time.monotonic() - began < TIMEOUT + SLACK
    if isinstance(found, ReportingError):
        assert found.__context__ is found.__cause__ is None
        assert KEY not in str(found) + repr(found.__dict__)


CONTENTS = bytes(range(32, 127)) * 4


@st.composite
def deliveries(draw: st.DrawFn, size: int) -> Script:
    """A server of a file that keeps to ranges, and now and then to nothing."""
    whole = draw(spoilt(st.just(CONTENTS[:size]), most=1))
    cuts = draw(st.lists(st.none() | st.integers(0, size), max_size=4))
    odd = draw(st.none() | exchanges(st.just(whole)))
    etags = itertools.chain(draw(st.lists(st.sampled_from([b'"e"', b'"f"', b'W/"e"', b"e"]), max_size=3)))
    lies = draw(st.integers(-1, 1))
    steps = itertools.chain(cuts)

    def script(request: bytes) -> Iterator[bytes]:
        cut, etag = next(steps, None), next(etags, b'"e"')
        if odd is not None and cut == 0:
            yield from odd(request)
            return
        start = int(request.partition(b"Range: bytes=")[2].partition(b"-")[0] or 0) if b"Range: " in request else 0
        rest = whole[start:]
        head = b"HTTP/1.1 200 OK\r\n"
        if start:
            head = b"HTTP/1.1 206 Partial\r\nContent-Range: bytes %d-%d/%d\r\n" % (start + lies, size - 1, size)
        yield head + b"ETag: %b\r\nContent-Length: %d\r\n\r\n" % (etag, len(rest))
        yield rest if cut is None else rest[:cut]

    return script


@law(few=40, data=st.data(), size=st.integers(0, 300))
def test_any_delivery_is_as_many_bytes_as_the_file_has_or_an_error(
    wire: Wire, data: st.DataObject, size: int
) -> None:
    """Cut, resumed, begun anew, too long, another file: the consumer never gets more, and it comes to an end."""
    wire.script = data.draw(deliveries(size))
    wire.requests.clear()
    hook = StripeReportingHook()
    hook.resend_policy, hook.sleep = ResendPolicy(max_tries=3, max_refused=0.0), lambda seconds: None
    most = 0

    def consume(chunks: Iterator[bytes]) -> bytes:
        nonlocal most
        got = b""
        for chunk in chunks:
            got += chunk
            most = max(most, len(got))
        return got

    file = File("file_1", 1, size, f"{wire.url}/v1/files/file_1/contents")
    found = tried(lambda: hook.read_file(file, consume))
    assert isinstance(found, ReportingError) or (isinstance(found, bytes) and len(found) == size)
    assert most <= size
    assert len(wire.requests) < 60
