"""Every fault of the sandbox in every call of the client, in both colours: what comes of it, and what it costs."""

from __future__ import annotations

import asyncio
import json
import os
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from airflow_reportrun import sandbox
from airflow_reportrun.hooks import StripeReportingAsyncHook, StripeReportingHook
from airflow_reportrun.reporting.errors import (
    APIConnectionError,
    AuthenticationError,
    ConflictError,
    DataNotReadyError,
    RateLimitError,
    ReportingError,
    ServerError,
    UnexpectedResponseError,
)
from airflow_reportrun.reporting.models import File
from airflow_reportrun.reporting.parameters import ReportParameters
from airflow_reportrun.reporting.resending import ResendPolicy
from airflow_reportrun.sandbox import (
    OPERATIONS,
    AtOnce,
    CutBody,
    CutHeaders,
    DataLate,
    Drips,
    Dropped,
    Fault,
    Framed,
    Garbage,
    Gzipped,
    IgnoresRange,
    KeyExpired,
    KeyInUse,
    LockTimeout,
    OtherRange,
    ProxyPage,
    RateLimited,
    Redirected,
    Refused,
    RequestFault,
    ShortContents,
    Slow,
    Stalls,
    StripeSandbox,
    Unavailable,
    WireFault,
    WrongLength,
)
from airflow_reportrun.sandbox import ServerError as Broken
from tests.docs_tables import hold, table

pytestmark = pytest.mark.slow

TYPE = "balance.summary.1"
PARAMETERS = ReportParameters(interval_start=1714521600, interval_end=1714608000)
TIMEOUT, LONGER_TIMEOUT = 0.4, 1.0
"""Seconds, in the connection, where a fault is about them."""
TRIES = 2


@dataclass(frozen=True)
class Case:
    """A fault, and what a client makes of it.

    :param error: what the call raises when the fault does not end; None where it doesn't disturb. There are two
        where a library may see what the other leaves to us.
    :param again: whether the call is sent again, so that a fault that happens once does no harm.
    :param only: the operations it can happen to; empty is all.
    """

    fault: RequestFault
    error: type[ReportingError] | tuple[type[ReportingError], ...] | None
    again: bool = True
    only: tuple[str, ...] = ()

    @property
    def takes_time(self) -> bool:
        """Whether it is about the time-out of the connection."""
        return self.error is not None and isinstance(self.fault, Slow | Stalls | Drips)

    def applies(self, operation: str) -> bool:
        """Tell whether it can happen to an operation."""
        return operation in self.only if self.only else True


JSON = tuple(
    name for name in OPERATIONS if name not in ("contents", "list_events", "retrieve_event", "retrieve_account")
)
CREATE = ("create",)
READ = tuple(name for name in JSON if name != "create")
CONTENTS = ("contents",)

CASES = (
    Case(RateLimited("endpoint-rate"), RateLimitError),
    Case(LockTimeout(), RateLimitError),
    Case(KeyInUse(), ConflictError, only=CREATE),
    Case(Unavailable(), ServerError),
    Case(KeyExpired(), AuthenticationError, again=False),
    Case(DataLate(), DataNotReadyError, again=False, only=CREATE),
    Case(Broken(), ServerError, again=False, only=CREATE),
    Case(Broken(committed=True), ServerError, again=False, only=CREATE),
    Case(Broken(), ServerError, only=(*READ, *CONTENTS)),
    Case(Dropped(), APIConnectionError),
    Case(Dropped(reset=True), APIConnectionError),
    Case(Dropped(committed=True), APIConnectionError),
    Case(Slow(0.05), None),
    Case(Slow(1.3), APIConnectionError, only=(*READ, *CONTENTS)),
    Case(Slow(1.3), (APIConnectionError, ConflictError), only=CREATE),
    Case(ProxyPage(200), UnexpectedResponseError, only=JSON),
    Case(ProxyPage(502), ServerError),
    Case(Redirected("https://elsewhere.example/"), UnexpectedResponseError),
    Case(CutHeaders(20), APIConnectionError),
    Case(CutBody(40, "length"), APIConnectionError),
    Case(CutBody(40, "chunked"), APIConnectionError),
    Case(CutBody(40, "close"), UnexpectedResponseError, only=JSON),
    Case(Framed("chunked"), None),
    Case(Framed("close"), None),
    Case(WrongLength(10), APIConnectionError),
    Case(WrongLength(-10), (UnexpectedResponseError, APIConnectionError), only=JSON),
    Case(Stalls(0.05, after=30), None),
    Case(Stalls(5.0, after=30), APIConnectionError),
    Case(Stalls(5.0, after=400), APIConnectionError),
    Case(Drips(0.05), APIConnectionError),
    Case(Drips(0.05, after=300), APIConnectionError),
    Case(Gzipped(), UnexpectedResponseError),
    Case(Garbage(), APIConnectionError),
    Case(Garbage(after=17), APIConnectionError),
)


def hasty(tries: int) -> ResendPolicy:
    """Return a policy without pauses; refusals have no number, and end after four at least."""
    return ResendPolicy(max_tries=tries, first_pause=0, first_refused=0.01, max_refused=0.1)


class Caller:
    """A hook in one colour, with a policy about tries; given a number of them alone, it does not pause."""

    def __init__(self, colour: str, policy: ResendPolicy | int) -> None:
        self._colour = colour
        self._policy = hasty(policy) if isinstance(policy, int) else policy

    def __call__(self, verb: str, *args: Any) -> Any:
        """Call a verb."""
        return self._sync(verb, *args) if self._colour == "sync" else asyncio.run(self._async(verb, *args))

    def _sync(self, verb: str, *args: Any) -> Any:
        hook = StripeReportingHook()
        hook.resend_policy = self._policy
        result = getattr(hook, verb)(*args)
        return list(result) if verb == "list_report_runs" else result

    async def _async(self, verb: str, *args: Any) -> Any:
        async with StripeReportingAsyncHook() as hook:
            hook.resend_policy = self._policy
            result = getattr(hook, f"{verb}_async")(*args)
            return [run async for run in result] if verb == "list_report_runs" else await result


@pytest.fixture(params=["sync", "async"])
def colour(request: pytest.FixtureRequest) -> str:
    name: str = request.param
    return name


@pytest.fixture
def stripe(
    stripe_conn: StripeSandbox, request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch
) -> StripeSandbox:
    """The sandbox, behind a connection with the time-out of the case, if there is one."""
    case = getattr(request.node, "callspec", None) and request.node.callspec.params.get("case")
    timeout = 10.0
    if case and case.takes_time:  # where it passes, a try has to get through on a busy machine
        timeout = TIMEOUT if "stays" in request.node.name else LONGER_TIMEOUT
    connection = json.loads(os.environ["AIRFLOW_CONN_STRIPE_DEFAULT"])
    extra = {"timeout": timeout}
    monkeypatch.setenv("AIRFLOW_CONN_STRIPE_DEFAULT", json.dumps({**connection, "extra": extra}))
    stripe_conn.configure(transition=AtOnce())
    return stripe_conn


@pytest.fixture
def arguments(stripe: StripeSandbox) -> dict[str, tuple[str, tuple[Any, ...]]]:
    """What to call for each operation, once a run is there."""
    run = StripeReportingHook().create_report_run(TYPE, PARAMETERS)
    assert run.result
    return {
        "create": ("create_report_run", (TYPE, PARAMETERS)),
        "retrieve": ("retrieve_report_run", (run.id,)),
        "list": ("list_report_runs", ()),
        "list_types": ("list_report_types", ()),
        "retrieve_type": ("retrieve_report_type", (TYPE,)),
        "retrieve_file": ("retrieve_file", (run.result.id,)),
    }


def logged(stripe: StripeSandbox, operation: str, wanted: int = 0) -> int:
    """Return how many requests the log has; one that is answered slowly comes into it when it is answered."""
    deadline = time.monotonic() + 3
    while len(stripe.requests_to(operation)) < wanted and time.monotonic() < deadline:
        time.sleep(0.01)
    return len(stripe.requests_to(operation))


Arguments = dict[str, tuple[str, tuple[Any, ...]]]

CALLS = [(case, operation) for case in CASES for operation in JSON if case.applies(operation)]
PASSING = [call for call in CALLS if not (isinstance(call[0].fault, Slow) and call[0].only == CREATE)]


def in_calls(calls: list[tuple[Case, str]]) -> pytest.MarkDecorator:
    named = [pytest.param(*call, id=f"{call[0].fault!r}-{call[1]}") for call in calls]
    return pytest.mark.parametrize(("case", "operation"), named)


@in_calls(PASSING)
def test_a_fault_that_passes_does_no_harm(
    stripe: StripeSandbox, arguments: Arguments, colour: str, case: Case, operation: str
) -> None:
    """The right result, after one more request; what must not be sent again is the right error, at once."""
    verb, given = arguments[operation]
    expected = None if operation == "create" else Caller("sync", 1)(verb, *given)
    before, created = logged(stripe, operation), len(stripe.report_runs)
    stripe.inject(case.fault, on=operation)
    call = Caller(colour, TRIES)
    if case.error and not case.again:
        with pytest.raises(case.error):
            call(verb, *given)
    else:
        result = call(verb, *given)
        assert expected in (None, result)
    wanted_requests = 2 if case.error and case.again else 1
    logged(stripe, operation, before + wanted_requests)
    sent = stripe.requests_to(operation)[before:]
    assert len(sent) == wanted_requests
    assert repr(case.fault) in [record.fault for record in sent]
    if operation == "create":
        wanted = 0 if case.error and not case.again else 1
        committed = isinstance(case.fault, Broken) and case.fault.committed
        assert len(stripe.report_runs) - created == wanted + committed
        assert len({record.idempotency_key for record in sent}) == 1


@in_calls([call for call in CALLS if call[0].error])
def test_a_fault_that_stays_is_its_error(
    stripe: StripeSandbox, arguments: Arguments, colour: str, case: Case, operation: str
) -> None:
    """The same class in both colours, in bounded time, after as many requests as are allowed."""
    assert case.error
    verb, given = arguments[operation]
    before = logged(stripe, operation)
    stripe.inject(case.fault, times=1000, on=operation)
    started = time.monotonic()
    with pytest.raises(case.error) as caught:
        Caller(colour, TRIES)(verb, *given)
    # On a connection that was kept alive, aiohttp itself sends a GET once more when it breaks.
    least = TRIES if case.again else 1
    most = 99 if isinstance(case.fault, RateLimited) else 2 * TRIES
    assert least <= logged(stripe, operation, before + least) - before <= most
    assert time.monotonic() - started < 2 * TRIES * TIMEOUT + 2
    assert len(str(caught.value)) < 600
    assert stripe.api_key not in repr(caught.value)


def test_a_create_that_was_given_up_is_found_by_its_key(
    stripe: StripeSandbox, colour: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """While it still runs its key is in use, which is waited out; it is one run all the same."""
    connection = {"conn_type": "stripe", "host": stripe.url, "password": stripe.api_key}
    monkeypatch.setenv("AIRFLOW_CONN_STRIPE_DEFAULT", json.dumps({**connection, "extra": {"timeout": TIMEOUT}}))
    stripe.inject(Slow(0.8))
    before = time.monotonic()
    run = Caller(colour, ResendPolicy(first_pause=0.2))("create_report_run", TYPE, PARAMETERS)
    assert time.monotonic() - before >= TIMEOUT
    assert [it.id for it in stripe.report_runs] == [run.id]
    assert 409 in [record.status for record in stripe.requests_to("create")]


def test_a_refused_connection_is_tried_again(stripe: StripeSandbox, colour: str) -> None:
    """With the pauses of the policy, for as long as those last."""
    stripe.inject(Refused(seconds=0.3), on="list_types")
    assert Caller(colour, ResendPolicy())("list_report_types")
    assert len(stripe.requests_to("list_types")) == 2


# Downloads

DOWNLOADS = [case for case in CASES if case.applies("contents")]


def download(file: File) -> bytes:
    hook = StripeReportingHook()
    hook.resend_policy = hasty(TRIES)
    return hook.read_file(file, b"".join)


@pytest.fixture
def file(stripe: StripeSandbox) -> File:
    run = StripeReportingHook().create_report_run(TYPE, PARAMETERS)
    assert run.result
    return run.result


@pytest.mark.parametrize("case", DOWNLOADS, ids=lambda case: repr(case.fault))
def test_a_download_survives_a_fault_that_passes(stripe: StripeSandbox, file: File, case: Case) -> None:
    """All bytes, and none of them twice."""
    expected = download(file)
    stripe.inject(case.fault, on="contents")
    if case.error and not case.again:
        with pytest.raises(case.error):
            download(file)
    else:
        assert download(file) == expected
    wanted = 3 if case.error and case.again else 2
    assert logged(stripe, "contents", wanted) == wanted


@pytest.mark.parametrize("case", [case for case in DOWNLOADS if case.error], ids=lambda case: repr(case.fault))
def test_a_download_gives_up_where_a_fault_stays(stripe: StripeSandbox, file: File, case: Case) -> None:
    """With its error, and nothing that could be taken for a report."""
    assert case.error
    stripe.inject(case.fault, times=1000, on="contents")
    with pytest.raises(case.error):
        download(file)
    wanted = TRIES if case.again else 1
    came = logged(stripe, "contents", wanted)
    assert came == wanted or (came > wanted and isinstance(case.fault, RateLimited))


WRONG_BYTES = (ShortContents(kept=100), CutBody(100, "close"), WrongLength(-10), ProxyPage(200))


@pytest.mark.parametrize("fault", WRONG_BYTES, ids=repr)
def test_bytes_that_are_not_the_file_are_none(stripe: StripeSandbox, file: File, fault: Fault) -> None:
    """HTTP has nothing to say against them; the File has."""
    expected = download(file)
    stripe.inject(fault, on="contents")
    assert download(file) == expected
    stripe.inject(fault, times=1000, on="contents")
    with pytest.raises(ReportingError) as caught:
        download(file)
    assert caught.value.is_transient


# The table


def test_no_fault_is_left_out() -> None:
    """A new one needs a row, or a test of its own."""
    elsewhere = {Refused, IgnoresRange, OtherRange, ShortContents}
    tried = {type(case.fault) for case in CASES} | elsewhere
    known = {
        value for value in vars(sandbox).values() if isinstance(value, type) and issubclass(value, RequestFault)
    }
    assert known - {RequestFault, WireFault} == tried


def named(error: type[ReportingError] | tuple[type[ReportingError], ...] | None) -> str:
    errors = () if error is None else error if isinstance(error, tuple) else (error,)
    return " or ".join(f"`{it.__name__}`" for it in errors)


def test_the_docs_show_what_comes_of_each_fault() -> None:
    """From the same rows."""
    rows = [
        (
            f"`{case.fault!r}`",
            ", ".join(case.only) if case.only else "any",
            "sent again" if case.error and case.again else "the error" if case.error else "nothing",
            named(case.error),
        )
        for case in CASES
    ]
    header = ("Fault", "In", "Once", "For good")
    hold(Path(__file__).parent.parent / "docs" / "sandbox.md", "faults by call", table(header, rows))
