"""Stripe's own SDK, held against the document too: whoever wrote it knows nothing of ours.

What the SDK sends has to be in ``stripe-reporting.openapi.yaml``, or the document is wrong; what it makes of the
sandbox's answers has to be its own objects and errors, or the sandbox is.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import stripe

from airflow_reportrun.sandbox import OPERATIONS as IN_THE_SANDBOX
from airflow_reportrun.sandbox import (
    Dropped,
    Fault,
    KeyExpired,
    LockTimeout,
    RateLimited,
    ServerError,
    StripeSandbox,
    Unavailable,
)
from tests.contract import OPERATIONS, Recorder
from tests.test_contract import ITEMIZED, MARCH_1, MARCH_2, NOON, SUMMARY, World, assert_documented

DAY: Any = {"interval_start": MARCH_1, "interval_end": MARCH_2}

CALLS: dict[str, Callable[[stripe.V1Services, str, Any], Any]] = {
    "create": lambda v1, _, options: v1.reporting.report_runs.create(
        {"report_type": SUMMARY, "parameters": DAY}, options
    ),
    "retrieve": lambda v1, it, options: v1.reporting.report_runs.retrieve(it, options=options),
    "list": lambda v1, _, options: v1.reporting.report_runs.list(options=options),
    "list_types": lambda v1, _, options: v1.reporting.report_types.list(options=options),
    "retrieve_type": lambda v1, it, options: v1.reporting.report_types.retrieve(it, options=options),
    "retrieve_file": lambda v1, it, options: v1.files.retrieve(it, options=options),
    "list_events": lambda v1, _, options: v1.events.list(options=options),
    "retrieve_event": lambda v1, it, options: v1.events.retrieve(it, options=options),
    "retrieve_account": lambda v1, _, options: v1.accounts.retrieve_current(options=options),
}
"""The plainest call of each operation, of an object by its id. The SDK has none for the contents of a file."""

OBJECTS: dict[str, type[stripe.StripeObject]] = {
    "create": stripe.reporting.ReportRun,
    "retrieve": stripe.reporting.ReportRun,
    "list": stripe.ListObject,
    "list_types": stripe.ListObject,
    "retrieve_type": stripe.reporting.ReportType,
    "retrieve_file": stripe.File,
    "list_events": stripe.ListObject,
    "retrieve_event": stripe.Event,
    "retrieve_account": stripe.Account,
}

CALLED = [name for name in IN_THE_SANDBOX if name in CALLS]


@pytest.fixture
def world(stripe_sandbox: StripeSandbox, monkeypatch: pytest.MonkeyPatch) -> Iterator[World]:
    monkeypatch.setattr(stripe, "enable_telemetry", False)
    with Recorder(stripe_sandbox.url) as wire:
        yield World(stripe_sandbox, wire)


def v1_of(world: World, api_key: str | None = None) -> stripe.V1Services:
    """Return the SDK's services, which ask the wire and never twice."""
    return stripe.StripeClient(
        api_key or world.sandbox.api_key,
        base_addresses={"api": world.wire.url, "files": world.wire.url},
        max_network_retries=0,
    ).v1


def id_of(world: World, name: str, *, missing: bool = False) -> str:
    """Return the id that an operation's path ends in."""
    return world.path_of(name, missing=missing).rpartition("/")[2]


def test_every_operation_of_the_document_is_called() -> None:
    """What has no line here is not held against the SDK."""
    assert {*CALLS, "contents"} == set(OPERATIONS)


@pytest.mark.parametrize("name", CALLED)
@pytest.mark.parametrize("account", [None, "acct_one"])
def test_a_call_is_documented_and_answered(world: World, name: str, account: str | None) -> None:
    """The SDK knows the object, reads all its fields, and says which request it was."""
    it = id_of(world, name)
    if account and name in ("retrieve", "retrieve_file"):
        run = CALLS["create"](v1_of(world), "", {"stripe_account": account})
        it = run.id if name == "retrieve" else run.result.id
    if account and name == "retrieve_event":
        CALLS["create"](v1_of(world), "", {"stripe_account": account})
        it = CALLS["list_events"](v1_of(world), "", {"stripe_account": account}).data[0].id
    answer = CALLS[name](v1_of(world), it, {"stripe_account": account} if account else {})
    exchange = world.wire.exchanges[-1]
    assert type(answer) is OBJECTS[name]
    assert exchange.operation is OPERATIONS[name]
    assert exchange.sent_headers.get("Stripe-Account") == account
    assert answer.last_response is not None
    assert answer.last_response.request_id == exchange.headers["Request-Id"]
    assert answer.to_dict() == json.loads(exchange.received)
    assert_documented(world.wire.exchanges)


@pytest.mark.parametrize(
    ("report_type", "parameters"),
    [
        (SUMMARY, DAY),
        (
            ITEMIZED,
            {
                **DAY,
                "columns": ["net", "created"],
                "currency": "usd",
                "reporting_category": "charge",
                "timezone": "Europe/Berlin",
            },
        ),
    ],
)
def test_parameters_of_a_run_come_back_as_they_were(
    world: World, report_type: str, parameters: dict[str, Any]
) -> None:
    """Numbers as numbers, arrays as arrays; under a key the SDK chose or one of ours."""
    runs = v1_of(world).reporting.report_runs
    asked: Any = {"report_type": report_type, "parameters": parameters}
    for run in (runs.create(asked), runs.create(asked, {"idempotency_key": "k"})):
        assert run.parameters.to_dict() == parameters
    assert all(it.sent_headers["Idempotency-Key"] for it in world.wire.exchanges)
    assert_documented(world.wire.exchanges)


def test_lists_are_walked_through(world: World) -> None:
    """By pages in both directions, by a second and by bounds."""
    runs = v1_of(world).reporting.report_runs
    ids = [world.ask("create").json()["id"] for _ in range(5)]
    older = [run.id for run in runs.list({"limit": 2}).auto_paging_iter()]
    newer = [run.id for run in runs.list({"limit": 2, "ending_before": ids[0]}).auto_paging_iter()]
    at = [run.id for run in runs.list({"created": NOON}).data]
    within = runs.list({"created": {"gt": NOON - 1, "gte": NOON, "lt": NOON + 1, "lte": NOON}}).data
    assert (older, newer, at) == (ids[::-1], ids[1:], ids[::-1])
    assert [run.id for run in within] == ids[::-1]
    assert_documented(world.wire.exchanges)


def test_a_replay_is_told_by_its_headers(world: World) -> None:
    """The SDK hands out what Stripe says of the key."""
    runs = v1_of(world).reporting.report_runs
    first, replay = (
        runs.create({"report_type": SUMMARY, "parameters": DAY}, {"idempotency_key": "k"}) for _ in range(2)
    )
    assert first.id == replay.id
    assert first.last_response is not None
    assert replay.last_response is not None
    assert replay.last_response.headers["Idempotent-Replayed"] == "true"
    assert replay.last_response.headers["Original-Request"] == first.last_response.request_id
    assert_documented(world.wire.exchanges)


@pytest.mark.parametrize("name", CALLED)
@pytest.mark.parametrize(
    ("fault", "error", "status", "code"),
    [
        (KeyExpired(), stripe.AuthenticationError, 401, "api_key_expired"),
        (RateLimited("endpoint-rate"), stripe.RateLimitError, 429, "rate_limit"),
        (LockTimeout(), stripe.RateLimitError, 429, "lock_timeout"),
        (ServerError(), stripe.APIError, 500, None),
        (Unavailable(), stripe.APIError, 503, None),
    ],
)
def test_a_fault_is_an_error_of_the_sdk(
    world: World, name: str, fault: Fault, error: type[stripe.StripeError], status: int, code: str | None
) -> None:
    """Of the class that Stripe's users catch, with the request to ask support about."""
    it = id_of(world, name)
    world.sandbox.inject(fault, on=name)
    with pytest.raises(error) as raised:
        CALLS[name](v1_of(world), it, {})
    exchange = world.wire.exchanges[-1]
    assert type(raised.value) is error
    assert raised.value.http_status == status
    assert raised.value.error is not None
    assert raised.value.error.code == code
    assert raised.value.request_id == exchange.headers.get("Request-Id")
    assert_documented(world.wire.exchanges)


@pytest.mark.parametrize("name", CALLED)
def test_what_a_restricted_key_may_not_do_is_a_permission_error(world: World, name: str) -> None:
    """With the permission that would help."""
    it = id_of(world, name)
    world.sandbox.add_key("rk_test_restricted", ())
    with pytest.raises(stripe.PermissionError, match="Having the 'rak_") as raised:
        CALLS[name](v1_of(world, "rk_test_restricted"), it, {})
    assert raised.value.http_status == 403
    assert_documented(world.wire.exchanges)


@pytest.mark.parametrize("name", CALLED)
def test_a_connection_that_breaks_is_an_error_of_the_sdk(world: World, name: str) -> None:
    """Nothing was answered, so nothing is there to hold against the document."""
    it = id_of(world, name)
    world.sandbox.inject(Dropped(), on=name)
    unwired = stripe.StripeClient(
        world.sandbox.api_key, base_addresses={"api": world.sandbox.url}, max_network_retries=0
    )
    with pytest.raises(stripe.APIConnectionError):
        CALLS[name](unwired.v1, it, {})


@pytest.mark.parametrize("name", CALLED)
def test_a_wrong_key_is_an_authentication_error(world: World, name: str) -> None:
    """Whatever it was for; the message has the end of the key and no more."""
    with pytest.raises(
        stripe.AuthenticationError, match=r"Invalid API Key provided: sk_test_\*\*\*\*rong"
    ) as raised:
        CALLS[name](v1_of(world, "sk_test_thewrong"), id_of(world, name, missing=True), {})
    assert raised.value.http_status == 401
    assert_documented(world.wire.exchanges)


@pytest.mark.parametrize(
    "name", [name for name in CALLED if 404 in OPERATIONS[name].statuses and name != "create"]
)
def test_an_unknown_id_is_an_invalid_request(world: World, name: str) -> None:
    """404, and the code that says what is missing."""
    with pytest.raises(stripe.InvalidRequestError, match="No such") as raised:
        CALLS[name](v1_of(world), id_of(world, name, missing=True), {})
    assert (raised.value.http_status, raised.value.code, raised.value.param) == (404, "resource_missing", "id")
    assert_documented(world.wire.exchanges)


@pytest.mark.parametrize(
    ("parameters", "param"),
    [
        ({**DAY, "interval_start": 1_600_000_000}, "parameters.interval_start"),
        ({**DAY, "interval_end": NOON}, "parameters.interval_end"),
        ({**DAY, "columns": ["net"]}, "parameters.columns"),
        ({"interval_start": MARCH_1}, "parameters[interval_end]"),
        ({**DAY, "novelty": 1}, "parameters[novelty]"),
    ],
)
def test_a_run_that_is_refused_names_its_parameter(world: World, parameters: dict[str, Any], param: str) -> None:
    """An invalid request, and a repetition under the key is the same refusal."""
    runs = v1_of(world).reporting.report_runs
    asked: Any = {"report_type": SUMMARY, "parameters": parameters}
    for _ in range(2):
        with pytest.raises(stripe.InvalidRequestError) as raised:
            runs.create(asked, {"idempotency_key": "k"})
        assert (raised.value.http_status, raised.value.param) == (400, param)
