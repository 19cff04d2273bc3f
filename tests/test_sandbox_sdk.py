"""The sandbox, held against Stripe's own SDK."""

from __future__ import annotations

import csv
import io
from datetime import datetime
from typing import TYPE_CHECKING

import pytest
import requests
import stripe

from airflow_reportrun.sandbox import (
    AfterReads,
    AfterSeconds,
    AtOnce,
    ManualClock,
    RateLimited,
    RunFails,
    ServerError,
    StripeSandbox,
    Unavailable,
)

if TYPE_CHECKING:
    from stripe.params.reporting import ReportRunCreateParams

MARCH_1 = 1_772_323_200
MARCH_2 = 1_772_409_600
NOON = MARCH_2 + 12 * 3600
ITEMIZED = "balance_change_from_activity.itemized.3"


@pytest.fixture(autouse=True)
def _no_telemetry(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stripe, "enable_telemetry", False)


@pytest.fixture
def sandbox(stripe_sandbox: StripeSandbox) -> StripeSandbox:
    stripe_sandbox.configure(transition=AtOnce())
    return stripe_sandbox


@pytest.fixture
def client(sandbox: StripeSandbox) -> stripe.StripeClient:
    return client_of(sandbox)


def client_of(sandbox: StripeSandbox, api_key: str = "sk_test_sandbox") -> stripe.StripeClient:
    return stripe.StripeClient(
        api_key,
        base_addresses={"api": sandbox.url, "files": sandbox.url},
        max_network_retries=0,
    )


def one_day(report_type: str = "balance.summary.1") -> ReportRunCreateParams:
    return {
        "report_type": report_type,
        "parameters": {"interval_start": MARCH_1, "interval_end": MARCH_2},
    }


def test_created_run_echoes_what_was_sent(client: stripe.StripeClient) -> None:
    """The parameters come back typed, and nothing is added to them."""
    run = client.v1.reporting.report_runs.create(
        {
            "report_type": ITEMIZED,
            "parameters": {
                "interval_start": MARCH_1,
                "interval_end": MARCH_2,
                "columns": ["created", "net"],
                "timezone": "Europe/Berlin",
            },
        }
    )

    assert run.object == "reporting.report_run"
    assert run.report_type == ITEMIZED
    assert run.livemode is False
    assert run.parameters.to_dict() == {
        "interval_start": MARCH_1,
        "interval_end": MARCH_2,
        "columns": ["created", "net"],
        "timezone": "Europe/Berlin",
    }


def test_run_is_pending_until_it_was_read_often_enough(
    sandbox: StripeSandbox, client: stripe.StripeClient
) -> None:
    """`AfterReads(2)` shows a pending run twice."""
    sandbox.configure(transition=AfterReads(2))
    run = client.v1.reporting.report_runs.create(one_day())

    statuses = [client.v1.reporting.report_runs.retrieve(run.id).status for _ in range(4)]

    assert run.status == "pending"
    assert run.result is None
    assert statuses == ["pending", "pending", "succeeded", "succeeded"]


def test_run_ends_when_its_seconds_have_passed(sandbox: StripeSandbox, client: stripe.StripeClient) -> None:
    """`AfterSeconds` goes by the sandbox's clock, in retrieves and in lists."""
    clock = ManualClock()
    sandbox.configure(clock=clock, transition=AfterSeconds(30))
    run = client.v1.reporting.report_runs.create(one_day())

    clock.advance(29)
    before = client.v1.reporting.report_runs.retrieve(run.id).status
    clock.advance(1)
    listed = client.v1.reporting.report_runs.list().data[0]

    assert before == "pending"
    assert listed.status == "succeeded"
    assert listed.succeeded_at == run.created + 30


def test_result_can_be_downloaded(sandbox: StripeSandbox, client: stripe.StripeClient) -> None:
    """The result is a File whose URL brings as many bytes as it promises."""
    run = client.v1.reporting.report_runs.create(one_day(ITEMIZED))
    assert run.result is not None
    file = client.v1.files.retrieve(run.result.id)
    assert file.url is not None

    contents = requests.get(file.url, auth=(sandbox.api_key, ""), timeout=10).content

    rows = list(csv.DictReader(io.StringIO(contents.decode())))
    assert file.to_dict() == run.result.to_dict()
    assert file.purpose == "finance_report_run"
    assert file.filename == f"{run.id}.csv"
    assert file.size == len(contents)
    assert len(rows) > 50


def test_runs_are_listed_newest_first_and_page_by_page(client: stripe.StripeClient) -> None:
    """Auto-paging walks over all runs in both directions."""
    created = [client.v1.reporting.report_runs.create(one_day()).id for _ in range(7)]
    runs = client.v1.reporting.report_runs

    first_page = runs.list({"limit": 3})
    forwards = [run.id for run in runs.list({"limit": 3}).auto_paging_iter()]
    backwards = [run.id for run in runs.list({"limit": 3, "ending_before": created[0]}).auto_paging_iter()]

    assert [run.id for run in first_page.data] == created[:3:-1]
    assert first_page.has_more
    assert first_page.url == "/v1/reporting/report_runs"
    assert forwards == created[::-1]
    assert backwards == created[1:]


def test_list_filters_by_creation(sandbox: StripeSandbox, client: stripe.StripeClient) -> None:
    """`created` is a second or a range of seconds."""
    clock = ManualClock(now=NOON)
    sandbox.configure(clock=clock)
    ids = []
    for _ in range(3):
        ids.append(client.v1.reporting.report_runs.create(one_day()).id)
        clock.advance(10)
    runs = client.v1.reporting.report_runs

    exact = runs.list({"created": NOON + 10}).data
    between = runs.list({"created": {"gte": NOON, "lt": NOON + 20}}).data
    outside = runs.list({"created": {"gt": NOON + 20}}).data

    assert [run.id for run in exact] == [ids[1]]
    assert [run.id for run in between] == [ids[1], ids[0]]
    assert outside == []


def test_catalogue_lists_types_and_their_data(client: stripe.StripeClient) -> None:
    """Every listed type can be retrieved by its id."""
    types = client.v1.reporting.report_types.list().data

    for report_type in types:
        assert client.v1.reporting.report_types.retrieve(report_type.id).to_dict() == report_type.to_dict()
    listed = {report_type.id: report_type for report_type in types}
    assert listed["balance.summary.1"].default_columns == ["category", "description", "net_amount", "currency"]
    assert listed["balance_change_from_activity.itemized.7"].version == 7


@pytest.mark.parametrize(
    ("now", "end"),
    [
        pytest.param("2026-03-02T11:59:59", "2026-03-01T12:00:00", id="day before is not complete"),
        pytest.param("2026-03-02T12:00:00", "2026-03-02T00:00:00", id="day before is complete"),
        pytest.param("2026-03-03T00:00:00", "2026-03-02T12:00:00", id="half a day more"),
    ],
)
def test_data_reaches_the_last_half_day_that_is_twelve_hours_back(
    sandbox: StripeSandbox, client: stripe.StripeClient, now: str, end: str
) -> None:
    """A UTC day is complete by noon of the next."""
    sandbox.configure(clock=ManualClock(datetime.fromisoformat(f"{now}+00:00").timestamp()))

    report_type = client.v1.reporting.report_types.retrieve("balance.summary.1")

    assert report_type.data_available_end == datetime.fromisoformat(f"{end}+00:00").timestamp()


def test_connected_accounts_do_not_see_each_others_runs(client: stripe.StripeClient) -> None:
    """A run belongs to the account it was created for, and so does its file."""
    runs = client.v1.reporting.report_runs
    run = runs.create(one_day(), {"stripe_account": "acct_one"})
    assert run.result is not None

    with pytest.raises(stripe.InvalidRequestError) as refused:
        runs.retrieve(run.id, options={"stripe_account": "acct_two"})
    with pytest.raises(stripe.InvalidRequestError):
        client.v1.files.retrieve(run.result.id)

    assert refused.value.code == "resource_missing"
    assert refused.value.http_status == 404
    assert runs.list().data == []
    assert runs.retrieve(run.id, options={"stripe_account": "acct_one"}).status == "succeeded"


def test_failed_run_shows_its_error(sandbox: StripeSandbox, client: stripe.StripeClient) -> None:
    """A run can be made to fail, once."""
    sandbox.inject(RunFails("The report exploded."))

    failed = client.v1.reporting.report_runs.create(one_day())
    next_one = client.v1.reporting.report_runs.create(one_day())

    assert (failed.status, failed.error, failed.result) == ("failed", "The report exploded.", None)
    assert next_one.status == "succeeded"


def test_wrong_key_is_an_authentication_error(sandbox: StripeSandbox) -> None:
    """The message shows the end of the key only."""
    with pytest.raises(stripe.AuthenticationError, match=r"Invalid API Key provided: sk_test_\*\*\*\*rong$"):
        client_of(sandbox, "sk_test_thewrong").v1.reporting.report_types.list()


def test_faults_are_the_errors_that_the_sdk_knows(sandbox: StripeSandbox, client: stripe.StripeClient) -> None:
    """They happen in the order of injection, and then no more."""
    sandbox.inject(RateLimited())
    sandbox.inject(ServerError())
    sandbox.inject(Unavailable())
    create = client.v1.reporting.report_runs.create

    with pytest.raises(stripe.RateLimitError) as limited:
        create(one_day())
    with pytest.raises(stripe.APIError, match="An unknown error occurred"):
        create(one_day())
    with pytest.raises(stripe.APIError, match="temporarily unavailable"):
        create(one_day())

    assert limited.value.headers is not None
    assert limited.value.headers["stripe-rate-limited-reason"] == "global-rate"
    assert create(one_day()).status == "succeeded"
    assert len(sandbox.report_runs) == 1


def test_reused_key_is_an_idempotency_error(client: stripe.StripeClient) -> None:
    """A key belongs to the parameters it was first used with."""
    runs = client.v1.reporting.report_runs
    runs.create(one_day(), {"idempotency_key": "daily"})

    with pytest.raises(stripe.IdempotencyError, match="Try using a key other than 'daily'"):
        runs.create(one_day(ITEMIZED), {"idempotency_key": "daily"})


def test_live_key_sees_live_objects() -> None:
    """A key with `_live_` in it makes everything live mode."""
    with StripeSandbox(api_key="sk_live_sandbox", transition=AtOnce()) as live:
        client = client_of(live, "sk_live_sandbox")

        assert client.v1.reporting.report_runs.create(one_day()).livemode
        assert client.v1.reporting.report_types.retrieve("balance.summary.1").livemode


def test_whatever_is_whole_anyway_may_be_expanded(client: stripe.StripeClient) -> None:
    """The SDK documents ``expand`` for each call."""
    run = client.v1.reporting.report_runs.create({**one_day(), "expand": ["result"]})
    assert run.result
    assert client.v1.reporting.report_runs.retrieve(run.id, {"expand": ["result.links"]}).result
    assert client.v1.reporting.report_runs.list({"expand": ["data.result"], "limit": 1}).data[0].result
    assert client.v1.reporting.report_types.list({"expand": ["data"]}).data
    assert client.v1.reporting.report_types.retrieve("balance.summary.1", {"expand": []}).id
    assert client.v1.files.retrieve(run.result.id, {"expand": ["links"]}).id
    assert client.v1.events.list({"expand": ["data.data"]}).data
    with pytest.raises(stripe.InvalidRequestError):
        client.v1.reporting.report_runs.list({"expand": "data.result"})  # type: ignore[arg-type]
