"""Both ends of the wire, held against the document of Stripe's reporting surface.

A row of `CASES` makes the sandbox answer in one way; a row of `VERBS` makes the client ask in one way. Whatever
goes over the wire meanwhile has to be in ``stripe-reporting.openapi.yaml``. The tables in ``docs/sandbox.md`` are
made of the rows, so that nothing is listed there that no test has seen.
"""

from __future__ import annotations

import asyncio
import io
import json
import os
import threading
import zipfile
from collections.abc import Callable, Iterator
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import jsonschema
import pytest
import requests
from hypothesis import given
from hypothesis import strategies as st
from werkzeug.datastructures import Headers

from airflow_reportrun.hooks import StripeReportingAsyncHook, StripeReportingHook
from airflow_reportrun.reporting import endpoints
from airflow_reportrun.reporting.errors import InvalidParametersError, InvalidRequestError
from airflow_reportrun.reporting.models import File
from airflow_reportrun.reporting.parameters import ReportParameters
from airflow_reportrun.reporting.report_type_ids import ParameterShape
from airflow_reportrun.sandbox import OPERATIONS as IN_THE_SANDBOX
from airflow_reportrun.sandbox import (
    AfterReads,
    AtOnce,
    DataLate,
    KeyExpired,
    LockTimeout,
    ManualClock,
    RateLimited,
    RunFails,
    ServerError,
    Slow,
    StripeSandbox,
    Unavailable,
    UnknownStatus,
)
from tests.contract import OPERATIONS, SCHEMAS, Exchange, Recorder, request_mistakes, response_mistakes
from tests.docs_tables import hold, table
from tests.until import until

pytestmark = pytest.mark.slow

PAGE = Path(__file__).parent.parent / "docs" / "sandbox.md"

MARCH_1 = 1_772_323_200
MARCH_2 = MARCH_1 + 86_400
NOON = MARCH_2 + 12 * 3600
SUMMARY = "balance.summary.1"
ITEMIZED = "balance_change_from_activity.itemized.3"
INTERVAL = {"parameters[interval_start]": str(MARCH_1), "parameters[interval_end]": str(MARCH_2)}
FORM = {"report_type": SUMMARY, **INTERVAL}
BY_PAYOUT = "payout_reconciliation.by_id.itemized.4"


class World:
    """A sandbox at noon of 2 March 2026 behind a wire, and somebody who asks by hand."""

    def __init__(self, sandbox: StripeSandbox, wire: Recorder) -> None:
        self.sandbox = sandbox
        self.wire = wire
        self.clock = ManualClock(now=NOON)
        sandbox.configure(clock=self.clock, transition=AtOnce())

    def ask(
        self,
        name: str,
        data: dict[str, str] | None = None,
        *,
        path: str = "",
        query: str = "",
        key: str | None = "",
        **headers: str,
    ) -> requests.Response:
        """Ask for an operation; what is left out is right: a path of something that exists, a form, the key."""
        operation = OPERATIONS[name]
        return requests.request(
            operation.method,
            f"{self.wire.url}{path or self.path_of(name)}{query}",
            data=(data or FORM) if operation.method == "POST" else None,
            auth=(key or self.sandbox.api_key, "") if key is not None else None,
            headers={name.replace("_", "-"): value for name, value in headers.items()},
            timeout=10,
        )

    def path_of(self, name: str, missing: bool = False) -> str:
        """Return the path of something that exists, or doesn't."""
        path = OPERATIONS[name].path
        if "{" not in path:
            return path
        what = path.partition("{")[2].partition("}")[0]
        if missing:
            found = {
                "report_run": "frr_none",
                "report_type": "no.such.type.1",
                "file": "file_none",
                "event": "evt_none",
            }[what]
        elif what == "report_type":
            found = SUMMARY
        else:
            run = self.ask("create").json()
            event = self.ask("list_events").json()["data"][0]
            found = {"report_run": run["id"], "file": run["result"]["id"], "event": event["id"]}[what]
        return path.replace(f"{{{what}}}", found)


@pytest.fixture
def world(stripe_sandbox: StripeSandbox) -> Iterator[World]:
    with Recorder(stripe_sandbox.url) as wire:
        yield World(stripe_sandbox, wire)


def assert_documented(exchanges: list[Exchange]) -> None:
    """Both halves of each."""
    assert exchanges
    for exchange in exchanges:
        assert not response_mistakes(exchange), exchange
        assert not request_mistakes(exchange), exchange


# What the sandbox answers


@dataclass(frozen=True)
class Case:
    """A way in which an operation is answered.

    :param operation: its name.
    :param status: of the answer.
    :param shows: the words of the table.
    :param happens: makes it happen; the last exchange is the one that is meant.
    :param wrong: the request is one that the document forbids.
    """

    operation: str
    status: int
    shows: str
    happens: Callable[[World], Any]
    wrong: bool = False

    def __str__(self) -> str:
        return f"{self.operation} {self.status} {self.shows}"


CASES: list[Case] = []


def case(operation: str, status: int, shows: str, wrong: bool = False) -> Callable[[Any], Any]:
    """Add what the function makes happen to the rows."""

    def add(happens: Callable[[World], Any]) -> Callable[[World], Any]:
        CASES.append(Case(operation, status, shows, happens, wrong))
        return happens

    return add


def refused(status: int, shows: str, form: dict[str, str], wrong: bool = True) -> None:
    """Add a create that is refused for its form."""
    case("create", status, shows, wrong)(lambda world: world.ask("create", form))


@case("create", 200, "a pending run")
def _(world: World) -> None:
    world.sandbox.configure(transition=AfterReads(1))
    assert world.ask("create").json()["status"] == "pending"


@case("create", 200, "a run that has succeeded already")
def _(world: World) -> None:
    assert world.ask("create").json()["status"] == "succeeded"


@case("create", 200, "every parameter that the type takes")
def _(world: World) -> None:
    columns = {"parameters[columns][0]": "created", "parameters[columns][1]": "net"}
    others = {"currency": "usd", "reporting_category": "charge", "timezone": "Europe/Berlin"}
    form = {**INTERVAL, **columns, **{f"parameters[{name}]": value for name, value in others.items()}}
    echo = world.ask("create", {"report_type": ITEMIZED, **form}).json()["parameters"]
    assert echo == {
        "columns": ["created", "net"],
        "interval_start": MARCH_1,
        "interval_end": MARCH_2,
        **others,
    }


@case("create", 200, "the first answer under an idempotency key")
def _(world: World) -> None:
    answer = world.ask("create", Idempotency_Key="k")
    assert answer.headers["Original-Request"] == answer.headers["Request-Id"]


@case("create", 200, "a replay, as the run was")
def _(world: World) -> None:
    world.sandbox.configure(transition=AfterReads(0))
    run = world.ask("create", Idempotency_Key="k").json()
    world.ask("retrieve", path=f"/v1/reporting/report_runs/{run['id']}")
    replay = world.ask("create", Idempotency_Key="k")
    assert replay.headers["Idempotent-Replayed"] == "true"
    assert replay.json() == run


@case("create", 200, "for a connected account")
def _(world: World) -> None:
    world.ask("create", Stripe_Account="acct_one")


refused(400, "no report type", INTERVAL)
refused(400, "no interval", {"report_type": SUMMARY}, wrong=False)
refused(400, "a parameter that nobody knows", {**FORM, "parameters[novelty]": "1"})
refused(400, "a text for a number", {**FORM, "parameters[interval_end]": "tomorrow"})
refused(400, "a text for true or false", {**FORM, "parameters[compress_file]": "maybe"})
refused(400, "an empty value", {**FORM, "parameters[timezone]": ""})
refused(400, "a text for an array", {**FORM, "report_type": ITEMIZED, "parameters[columns]": "net"})
refused(400, "a parameter that the type doesn't take", {**FORM, "parameters[columns][0]": "net"}, wrong=False)
refused(
    400,
    "a column that the type lacks",
    {**FORM, "report_type": ITEMIZED, "parameters[columns][0]": "x"},
    wrong=False,
)
refused(400, "an unknown time zone", {**FORM, "parameters[timezone]": "Mars/Base"}, wrong=False)
refused(400, "an empty interval", {**FORM, "parameters[interval_end]": str(MARCH_1)}, wrong=False)
refused(400, "an interval before the data", {**FORM, "parameters[interval_start]": "1600000000"}, wrong=False)
refused(400, "an interval after the data", {**FORM, "parameters[interval_end]": str(NOON)}, wrong=False)
refused(400, "an unknown payout", {"report_type": BY_PAYOUT, "parameters[payout]": "po_none"}, wrong=False)
refused(
    404, "a report type for live keys", {**FORM, "report_type": "all_fees.incurred_at.itemized.2"}, wrong=False
)
refused(404, "an unknown report type", {**FORM, "report_type": "no.such.type.1"}, wrong=False)


@case("create", 400, "data that is late")
def _(world: World) -> None:
    world.sandbox.inject(DataLate())
    world.ask("create", Idempotency_Key="k")


@case("create", 400, "the replay of an executed refusal")
def _(world: World) -> None:
    late = {**FORM, "parameters[interval_end]": str(NOON)}
    assert world.ask("create", late, Idempotency_Key="k").headers["Original-Request"]
    assert world.ask("create", late, Idempotency_Key="k").headers["Idempotent-Replayed"] == "true"


@case("create", 400, "an idempotency key with other parameters")
def _(world: World) -> None:
    world.ask("create", Idempotency_Key="k")
    answer = world.ask("create", {**FORM, "report_type": ITEMIZED}, Idempotency_Key="k")
    assert answer.json()["error"]["type"] == "idempotency_error"


@case("create", 400, "an idempotency key that is too long", wrong=True)
def _(world: World) -> None:
    world.ask("create", Idempotency_Key="k" * 256)


@case("create", 409, "an idempotency key in flight")
def _(world: World) -> None:
    world.sandbox.inject(Slow(0.3))
    first = threading.Thread(target=world.ask, args=("create",), kwargs={"Idempotency_Key": "k"})
    first.start()
    until(lambda: world.sandbox.report_runs)
    conflict = world.ask("create", Idempotency_Key="k")
    first.join()
    # The first answer came last.
    world.wire.exchanges.sort(key=lambda exchange: exchange.status)
    assert conflict.status_code == 409


@case("create", 500, "the replay of a failure")
def _(world: World) -> None:
    world.sandbox.inject(ServerError(committed=True))
    world.ask("create", Idempotency_Key="k")
    assert world.ask("create", Idempotency_Key="k").headers["Idempotent-Replayed"] == "true"


@case("retrieve", 200, "a pending run, then one that has succeeded")
def _(world: World) -> None:
    world.sandbox.configure(transition=AfterReads(1))
    path = world.path_of("list") + "/" + world.ask("create").json()["id"]
    assert [world.ask("retrieve", path=path).json()["status"] for _ in range(2)] == ["pending", "succeeded"]


@case("retrieve", 200, "a run that has failed")
def _(world: World) -> None:
    world.sandbox.inject(RunFails())
    run = world.ask("create").json()
    assert world.ask("retrieve", path=f"/v1/reporting/report_runs/{run['id']}").json()["error"]


@case("retrieve", 200, "a status that nobody knows")
def _(world: World) -> None:
    world.sandbox.inject(UnknownStatus("archived"))
    run = world.ask("create").json()
    assert world.ask("retrieve", path=f"/v1/reporting/report_runs/{run['id']}").json()["status"] == "archived"


def _of_another_account(name: str) -> Callable[[World], Any]:
    return lambda world: world.ask(name, path=world.path_of(name), Stripe_Account="acct_two")


for _name in ("retrieve", "retrieve_file", "contents"):
    case(_name, 404, "what is another account's")(_of_another_account(_name))


@case("list", 200, "an empty list")
def _(world: World) -> None:
    assert world.ask("list").json()["data"] == []


@case("list", 200, "pages in both directions")
def _(world: World) -> None:
    ids = [world.ask("create").json()["id"] for _ in range(3)][::-1]
    older = world.ask("list", query=f"?limit=1&starting_after={ids[0]}").json()
    newer = world.ask("list", query=f"?limit=1&ending_before={ids[2]}").json()
    assert [it["data"][0]["id"] for it in (older, newer)] == [ids[1], ids[1]]
    assert older["has_more"]
    assert newer["has_more"]


@case("list", 200, "created at a second or in a range")
def _(world: World) -> None:
    world.ask("create")
    assert len(world.ask("list", query=f"?created={NOON}").json()["data"]) == 1
    assert world.ask("list", query=f"?created[gt]={NOON - 1}&created[lte]={NOON}").json()["data"]
    assert not world.ask("list", query=f"?created[gte]={NOON + 1}&created[lt]={NOON + 9}").json()["data"]


for _query, _shows, _wrong in (
    ("?limit=0", "a limit of none", True),
    ("?limit=101", "a limit beyond 100", True),
    ("?created[near]=1", "a comparison that nobody knows", True),
    ("?starting_after=frr_none", "a cursor that leads nowhere", False),
    ("?starting_after=frr_a&ending_before=frr_b", "cursors in both directions", False),
):
    case("list", 400, _shows, _wrong)(lambda world, query=_query: world.ask("list", query=query))


@case("list_types", 200, "the catalogue, each type as it is alone")
def _(world: World) -> None:
    for report_type in world.ask("list_types").json()["data"]:
        alone = world.ask("retrieve_type", path=f"/v1/reporting/report_types/{report_type['id']}")
        assert alone.json() == report_type
    world.ask("list_types")


@case("retrieve_type", 200, "data that advances twice a day")
def _(world: World) -> None:
    ends = []
    for _half_day in range(3):
        ends.append(world.ask("retrieve_type").json()["data_available_end"])
        world.clock.advance(12 * 3600)
    assert ends == [MARCH_2, MARCH_2 + 12 * 3600, MARCH_2 + 24 * 3600]


@case("retrieve_file", 200, "the file of a run")
def _(world: World) -> None:
    run = world.ask("create").json()
    assert world.ask("retrieve_file", path=f"/v1/files/{run['result']['id']}").json() == run["result"]


@case("contents", 200, "as many bytes as the file says, at its URL")
def _(world: World) -> None:
    file = world.ask("create").json()["result"]
    answer = requests.get(file["url"], auth=(world.sandbox.api_key, ""), timeout=10)
    assert file["url"].startswith(world.wire.url)
    assert len(answer.content) == file["size"]


@case("contents", 200, "a compressed file, on request")
def _(world: World) -> None:
    file = world.ask("create", {**FORM, "parameters[compress_file]": "true"}).json()["result"]
    answer = world.ask("contents", path=f"/v1/files/{file['id']}/contents")
    assert zipfile.ZipFile(io.BytesIO(answer.content)).testzip() is None
    assert (answer.headers["Content-Type"], len(answer.content)) == ("application/zip", file["size"])


@case("contents", 206, "a part, if the file is still the same")
def _(world: World) -> None:
    path = world.path_of("contents")
    etag = world.ask("contents", path=path).headers["ETag"]
    assert len(world.ask("contents", path=path, Range="bytes=10-19", If_Range=etag).content) == 10


@case("contents", 416, "a part beyond the end")
def _(world: World) -> None:
    world.ask("contents", Range="bytes=100000000-")


@case("contents", 404, "a file that has expired")
def _(world: World) -> None:
    path = world.path_of("contents")
    world.clock.advance(365 * 86_400)
    world.ask("contents", path=path)


@case("retrieve", 404, "what is live, for a test key")
def _(world: World) -> None:
    world.sandbox.add_key("sk_live_sandbox")
    run = world.ask("create", key="sk_live_sandbox").json()
    missing = world.ask("retrieve", path=f"/v1/reporting/report_runs/{run['id']}")
    assert "a similar object exists in live mode" in missing.json()["error"]["message"]


@case("list_events", 200, "a run that succeeded and one that failed, as they ended")
def _(world: World) -> None:
    world.sandbox.inject(RunFails(), skip=1)
    runs = [world.ask("create").json() for _ in range(2)]
    events = world.ask("list_events").json()["data"]
    assert [event["data"]["object"] for event in events] == runs[::-1]


@case("list_events", 200, "data that moved on, by type and second")
def _(world: World) -> None:
    world.clock.advance(86_400)
    updated = "?types[0]=reporting.report_type.updated&types[1]=payout.paid"
    events = world.ask("list_events", query=f"{updated}&created[gt]={NOON}&limit=100").json()["data"]
    assert {event["data"]["object"]["data_available_end"] - MARCH_2 for event in events} == {43_200, 86_400}
    assert (
        world.ask("list_events", query=f"?type=reporting.report_type.updated&created={NOON}").json()["data"] == []
    )


@case("list_events", 200, "pages in both directions, of a connected account")
def _(world: World) -> None:
    for _ in range(3):
        world.ask("create", Stripe_Account="acct_one")
    ids = [event["id"] for event in world.ask("list_events", Stripe_Account="acct_one").json()["data"]]
    older = world.ask("list_events", query=f"?limit=1&starting_after={ids[0]}", Stripe_Account="acct_one").json()
    newer = world.ask("list_events", query=f"?limit=1&ending_before={ids[2]}", Stripe_Account="acct_one").json()
    assert [it["data"][0]["id"] for it in (older, newer)] == [ids[1], ids[1]]


@case("retrieve_event", 200, "an event as the list shows it")
def _(world: World) -> None:
    path = world.path_of("retrieve_event")
    assert world.ask("retrieve_event", path=path).json() == world.ask("list_events").json()["data"][0]
    world.ask("retrieve_event", path=path)


@case("retrieve_account", 200, "the account of the key, and a connected one")
def _(world: World) -> None:
    assert world.ask("retrieve_account").json()["id"] == "acct_sandbox"
    assert world.ask("retrieve_account", Stripe_Account="acct_one").json()["id"] == "acct_one"


def _with_restricted_key(name: str) -> Callable[[World], Any]:
    def happens(world: World) -> None:
        path = world.path_of(name)
        world.sandbox.add_key("rk_test_restricted", ())
        world.ask(name, path=path, key="rk_test_restricted")

    return happens


def _for_account_of_others(name: str) -> Callable[[World], Any]:
    def happens(world: World) -> None:
        path = world.path_of(name)
        world.sandbox.configure(connected_accounts=["acct_one"])
        world.ask(name, path=path, Stripe_Account="acct_two")

    return happens


def _with_fault(name: str, fault: Any) -> Callable[[World], Any]:
    def happens(world: World) -> None:
        path = world.path_of(name)
        world.sandbox.inject(fault, on=name)
        world.ask(name, path=path)

    return happens


for _name in IN_THE_SANDBOX:
    case(_name, 401, "no key", wrong=True)(lambda world, name=_name: world.ask(name, key=None))
    case(_name, 401, "a wrong key")(lambda world, name=_name: world.ask(name, key="sk_test_other"))
    case(_name, 401, "an expired key")(_with_fault(_name, KeyExpired()))
    case(_name, 403, "a restricted key without the permission")(_with_restricted_key(_name))
    case(_name, 403, "an account that is not connected")(_for_account_of_others(_name))
    for _reason in (
        "global-rate",
        "global-concurrency",
        "endpoint-rate",
        "endpoint-concurrency",
        "resource-specific",
    ):
        case(_name, 429, f"a rate limit, {_reason}")(_with_fault(_name, RateLimited(_reason)))
    case(_name, 429, "an object that is locked")(_with_fault(_name, LockTimeout()))
    case(_name, 500, "a failure")(_with_fault(_name, ServerError()))
    case(_name, 503, "out of order")(_with_fault(_name, Unavailable()))
    if 404 in OPERATIONS[_name].statuses and _name != "create":
        case(_name, 404, "an unknown id")(
            lambda world, name=_name: world.ask(name, path=world.path_of(name, missing=True))
        )
    if 400 in OPERATIONS[_name].statuses and _name != "create":
        case(_name, 400, "a parameter that nobody knows", wrong=True)(
            lambda world, name=_name: world.ask(name, query="?novelty=1")
        )


@pytest.mark.parametrize("it", CASES, ids=str)
def test_the_sandbox_answers_as_documented(world: World, it: Case) -> None:
    """Statuses, headers and fields; nothing that the document lacks, and nothing missing that it asks for."""
    it.happens(world)
    *before, meant = world.wire.exchanges
    assert meant.operation is OPERATIONS[it.operation]
    assert meant.status == it.status
    for exchange in (*before, meant):
        assert not response_mistakes(exchange), exchange
    assert bool(request_mistakes(meant)) == it.wrong
    if before:
        assert_documented(before)


def test_addresses_that_are_none_are_refused_in_the_same_form(world: World) -> None:
    """The document can't list them, but an error is an error."""
    answers = [
        requests.request(method, f"{world.wire.url}{path}", auth=(world.sandbox.api_key, ""), timeout=10)
        for method, path in (("GET", "/v1/nowhere"), ("POST", "/v1/files/file_1"), ("DELETE", "/v1/events"))
    ]
    for answer, exchange in zip(answers, world.wire.exchanges, strict=True):
        jsonschema.validate(answer.json(), SCHEMAS["refusal"])
        assert answer.status_code == 404
        assert exchange.operation is None
        assert request_mistakes(exchange)
        assert response_mistakes(exchange)


# What the client asks


def one_day(**others: Any) -> ReportParameters:
    return ReportParameters(interval_start=MARCH_1, interval_end=MARCH_2, **others)


CONNECTION = "AIRFLOW_CONN_STRIPE_DEFAULT"
OF_AN_ACCOUNT = "create, an interval of a connected account"

VERBS: dict[str, tuple[str, tuple[Any, ...], dict[str, Any]]] = {
    "create, an interval": ("create_report_run", (SUMMARY, one_day()), {}),
    "create, an interval and all else": (
        "create_report_run",
        (
            ITEMIZED,
            one_day(
                columns=["created", "net"],
                currency="usd",
                reporting_category="charge",
                timezone="Europe/Berlin",
            ),
        ),
        {"idempotency_key": "k" * 255},
    ),
    OF_AN_ACCOUNT: (
        "create_report_run",
        (
            "connected_account_balance_change_from_activity.itemized.3",
            one_day(connected_account="acct_1"),
        ),
        {},
    ),
    "create, an end": (
        "create_report_run",
        ("ending_balance_reconciliation.summary.1", ReportParameters(interval_end=MARCH_2)),
        {},
    ),
    "create, a payout": (
        "create_report_run",
        (BY_PAYOUT, ReportParameters(payout="po_1", columns=["net"])),
        {},
    ),
    "create, parameters that came later": (
        "create_report_run",
        (
            SUMMARY,
            one_day(
                extra={
                    "decimal_separator": ",",
                    "connected_accounts": ["acct_1", "acct_2"],
                    "compress_file": True,
                },
            ),
        ),
        {},
    ),
    "retrieve a run": ("retrieve_report_run", ("{report_run}",), {}),
    "list runs": ("list_report_runs", (), {}),
    "list runs, all bounds": (
        "list_report_runs",
        (),
        {"created": {"gt": 1, "gte": 2, "lt": NOON + 2, "lte": NOON + 1}},
    ),
    "list types": ("list_report_types", (), {}),
    "retrieve a type": ("retrieve_report_type", (SUMMARY,), {}),
    "retrieve a file": ("retrieve_file", ("{file}",), {}),
}

REFUSED = {"create, a payout", "create, parameters that came later"}
"""A payout that nobody knows, and what the report type doesn't take."""


def call_sync(verb: str, *args: Any, **kwargs: Any) -> Any:
    result = getattr(StripeReportingHook(), verb)(*args, **kwargs)
    return list(result) if verb == "list_report_runs" else result


def call_async(verb: str, *args: Any, **kwargs: Any) -> Any:
    async def go() -> Any:
        async with StripeReportingAsyncHook() as hook:
            result = getattr(hook, f"{verb}_async")(*args, **kwargs)
            return [run async for run in result] if verb == "list_report_runs" else await result

    return asyncio.run(go())


@pytest.fixture(
    params=[{}, {"stripe_account": "acct_one", "stripe_version": "2026-10-28.endive"}], ids=["", "acct"]
)
def connected(request: pytest.FixtureRequest, world: World, monkeypatch: pytest.MonkeyPatch) -> World:
    """The wire behind the connection ``stripe_default``, acting for nobody else or for an account."""
    connection = {"conn_type": "stripe", "host": world.wire.url, "password": world.sandbox.api_key}
    monkeypatch.setenv(CONNECTION, json.dumps({**connection, "extra": request.param}))
    return world


@pytest.mark.parametrize("row", VERBS)
@pytest.mark.parametrize("call", [call_sync, call_async], ids=["sync", "async"])
def test_the_client_asks_as_documented(connected: World, call: Callable[..., Any], row: str) -> None:
    """Each verb, all parameters, all three shapes; what is refused is refused in Stripe's form."""
    verb, args, kwargs = VERBS[row]
    if args and args[0] in ("{report_run}", "{file}"):
        run = call("create_report_run", SUMMARY, one_day())
        args = ({"{report_run}": run.id, "{file}": run.result.id}[args[0]],)
    # A connected account has none of its own.
    refused = row in REFUSED or (row == OF_AN_ACCOUNT and "stripe_account" in os.environ[CONNECTION])
    with pytest.raises(InvalidRequestError) if refused else nullcontext():
        call(verb, *args, **kwargs)
    assert_documented(connected.wire.exchanges)


@pytest.mark.parametrize("call", [call_sync, call_async], ids=["sync", "async"])
def test_the_client_turns_pages_as_documented(connected: World, call: Callable[..., Any]) -> None:
    """The cursor is the last run of the page before."""
    first = call("create_report_run", SUMMARY, one_day())
    account = connected.wire.exchanges[0].sent_headers.get("Stripe-Account")
    for _ in range(100):
        requests.post(
            f"{connected.sandbox.url}/v1/reporting/report_runs",
            data=FORM,
            auth=(connected.sandbox.api_key, ""),
            headers={"Stripe-Account": account} if account else {},
            timeout=10,
        )
    runs = call("list_report_runs")
    assert len(runs) == 101
    assert runs[-1].id == first.id
    assert ["starting_after" in it.target for it in connected.wire.exchanges] == [False, False, True]
    assert_documented(connected.wire.exchanges)


def test_the_client_downloads_as_documented(connected: World) -> None:
    """From where Stripe says the file is, with the account of the run."""
    hook = StripeReportingHook()
    file = hook.create_report_run(SUMMARY, one_day()).result
    assert isinstance(file, File)
    assert len(hook.read_file(file, b"".join)) == file.size
    assert connected.wire.exchanges[-1].operation is OPERATIONS["contents"]
    assert_documented(connected.wire.exchanges)


WORDS = st.from_regex(r"[a-z_]{1,12}", fullmatch=True)
ANY_PARAMETERS = st.builds(
    ReportParameters,
    columns=st.lists(WORDS, unique=True, max_size=4),
    connected_account=st.none() | WORDS.map("acct_{}".format),
    currency=st.none() | st.sampled_from(["usd", "EUR", "us", ""]),
    interval_start=st.none() | st.integers(-5, 10**12),
    interval_end=st.none() | st.integers(-5, 10**12),
    payout=st.none() | WORDS.map("po_{}".format),
    reporting_category=st.none() | WORDS,
    timezone=st.none() | st.sampled_from(["Europe/Berlin", "Etc/UTC", "", "Mars/Base"]),
    extra=st.just({}) | st.just({"compress_file": False, "connected_accounts": ["acct_1"]}),
)


@given(parameters=ANY_PARAMETERS, shape=st.sampled_from(ParameterShape))
def test_whatever_parameters_pass_our_check_are_documented(
    parameters: ReportParameters, shape: ParameterShape
) -> None:
    """What Stripe's document forbids is refused before it is sent."""
    try:
        request = endpoints.create_report_run("some.type.1", parameters, idempotency_key="k", shape=shape)
    except InvalidParametersError:
        return
    body = urlencode(request.fields)
    headers = Headers(
        {
            "Content-Type": "application/x-www-form-urlencoded",
            "Authorization": "Bearer sk_test_sandbox",
            "Idempotency-Key": "k",
        }
    )
    sent = Exchange(request.method, request.path, headers, body.encode(), 0, Headers(), b"")
    assert not request_mistakes(sent), request.fields


# What the document itself is worth


@pytest.mark.parametrize(
    ("target", "form", "headers", "mistake"),
    [
        ("/v1/reporting/report_types?novelty=1", "", {}, "query: novelty"),
        ("/v1/reporting/report_types", "", {"Stripe-Novelty": "1"}, "header: stripe-novelty"),
        ("/v1/reporting/report_types", "", {"Idempotency-Key": "k"}, "header: idempotency-key"),
        ("/v1/reporting/report_types", "a=1", {}, "a body"),
        ("/v1/reporting/report_types", "", {"Authorization": ""}, "Security"),
        ("/v1/reporting/report_runs", "report_type=a.1&novelty=1", {}, "form: novelty"),
        ("/v1/reporting/report_runs", "report_type=a.1&parameters[payout]=po_1&parameters[x]=1", {}, "'x' was"),
        ("/v1/reporting/report_runs", "report_type=a.1&parameters[interval_start]=1", {}, "not valid under any"),
        ("/v1/reporting/report_runs", "report_type=a.1&parameters[columns]=b", {}, "to array type"),
        ("/v1/reporting/nowhere", "", {}, "PathNotFound"),
    ],
)
def test_a_request_that_is_not_documented_is_found(
    target: str, form: str, headers: dict[str, str], mistake: str
) -> None:
    """What holds the contract must not hold anything, or it holds nothing."""
    sent = Headers(
        {
            "Authorization": "Bearer sk_test_sandbox",
            "Content-Type": "application/x-www-form-urlencoded",
            **headers,
        }
    )
    method = "POST" if target.endswith("report_runs") else "GET"
    found = request_mistakes(Exchange(method, target, sent, form.encode(), 0, Headers(), b""))
    assert any(mistake in it for it in found), found


@pytest.mark.parametrize(
    ("status", "change", "mistake"),
    [
        (200, {"novelty": 1}, "novelty"),
        (200, {"id": None}, "None is not of type 'string'"),
        (200, {"version": True}, "True is not of type 'integer'"),
        (200, {"default_columns": [1]}, "1 is not of type 'string'"),
        (200, {"object": "list"}, "'reporting.report_type' was expected"),
        (418, {}, "418"),
        (400, {}, "'error' is a required property"),
    ],
)
def test_a_response_that_is_not_documented_is_found(
    world: World, status: int, change: dict[str, Any], mistake: str
) -> None:
    """A field more or of another type, an object of another kind, a status that nobody announced."""
    world.ask("retrieve_type")
    real = world.wire.exchanges[-1]
    changed = json.dumps({**json.loads(real.received), **change}).encode()
    it = Exchange(real.method, real.target, real.sent_headers, b"", status, real.headers, changed)
    assert any(mistake in found for found in response_mistakes(it)), response_mistakes(it)


@pytest.mark.parametrize(
    ("change", "mistake"),
    [
        ({"Request-Id": None}, "Request-Id"),
        ({"Request-Id": "4711"}, "'4711' does not match"),
        ({"Content-Type": "text/html"}, "text/html"),
        ({"Stripe-Novelty": "1"}, "header: stripe-novelty"),
    ],
)
def test_headers_that_are_not_documented_are_found(
    world: World, change: dict[str, str | None], mistake: str
) -> None:
    """Stripe's own, and those that say what the body is."""
    world.ask("retrieve_type")
    real = world.wire.exchanges[-1]
    headers = Headers(real.headers)
    for name, value in change.items():
        headers.remove(name)
        if value is not None:
            headers.add(name, value)
    it = Exchange(real.method, real.target, real.sent_headers, b"", 200, headers, real.received)
    assert any(mistake in found for found in response_mistakes(it)), response_mistakes(it)


# The page


def test_the_table_of_the_page_is_these_rows() -> None:
    """``WRITE_DOCS=1`` writes it: what is answered, and of what is documented, what is not."""
    assert len({str(it) for it in CASES}) == len(CASES)
    shown = {(it.operation, it.status) for it in CASES}
    operations = []
    for operation in OPERATIONS.values():
        seen = [str(status) for status in operation.statuses if (operation.name, status) in shown]
        unseen = [str(status) for status in operation.statuses if str(status) not in seen]
        operations.append([f"`{operation.name}`", f"`{operation}`", ", ".join(seen), ", ".join(unseen)])
    where: dict[tuple[int, str], list[str]] = {}
    for it in sorted(CASES, key=lambda it: it.status):
        where.setdefault((it.status, it.shows), []).append(it.operation)
    answers = [
        [str(status), shows, "each" if set(names) == set(IN_THE_SANDBOX) else ", ".join(f"`{it}`" for it in names)]
        for (status, shows), names in where.items()
    ]
    hold(
        PAGE,
        "reproduced",
        table(["operation", "request", "reproduced", "documented, and not reproduced"], operations)
        + "\n\n"
        + table(["status", "what it shows", "operations"], answers),
    )
