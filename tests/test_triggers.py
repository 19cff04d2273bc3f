from __future__ import annotations

import asyncio
import json
import time
from datetime import timedelta
from typing import Any

import pytest
from airflow.providers.common.compat.module_loading import import_string

from airflow_reportrun.hooks import StripeReportingHook
from airflow_reportrun.reporting.parameters import ReportParameters
from airflow_reportrun.sandbox import AfterReads, RateLimited, RequestRecord, RunFails, RunNeverEnds, StripeSandbox
from airflow_reportrun.triggers import (
    StripePendingReportRunsTrigger,
    StripeReportRunTrigger,
    StripeReportTypeTrigger,
    StripeTrigger,
)
from airflow_reportrun.waiting.events import ReportRunEvent, ReportTypeEvent


def fired(trigger: StripeTrigger) -> Any:
    """Run a trigger as Airflow does after storing it: from its serialised form, its event as JSON."""

    async def first() -> Any:
        return [event.payload async for event in again.run()]

    path, kwargs = trigger.serialize()
    again = import_string(path)(**json.loads(json.dumps(kwargs)))
    assert again.serialize() == (path, kwargs)
    (payload,) = asyncio.run(first())
    return json.loads(json.dumps(payload))


def fire(trigger: StripeReportRunTrigger) -> ReportRunEvent:
    """Fire for a report run."""
    return ReportRunEvent.from_payload(fired(trigger))


def fire_for_data(**kwargs: Any) -> ReportTypeEvent:
    """Fire for the data of a report type."""
    return ReportTypeEvent.from_payload(fired(type_trigger(**kwargs)))


def trigger_for(sandbox: StripeSandbox, *, reads: int = 2, **kwargs: Any) -> StripeReportRunTrigger:
    sandbox.configure(transition=AfterReads(reads))
    parameters = ReportParameters(interval_start=1714521600, interval_end=1714608000)
    run = StripeReportingHook().create_report_run("balance.summary.1", parameters)
    now = time.time()
    return StripeReportRunTrigger(
        **{"report_run_id": run.id, "deadline": now + 60, "since": now, "poll_interval": 0.01, **kwargs}
    )


def type_trigger(**kwargs: Any) -> StripeReportTypeTrigger:
    now = time.time()
    defaults = {"report_type": "balance.summary.1", "until": 1714608000, "deadline": now + 60, "since": now}
    return StripeReportTypeTrigger(**{**defaults, "poll_interval": 0.01, **kwargs})


def test_fires_when_the_run_succeeded(stripe_conn: StripeSandbox) -> None:
    """With the run, and with what the task wanted back."""
    event = fire(trigger_for(stripe_conn, resume={"destination": "/data/x.csv"}))
    assert event.outcome == "succeeded"
    assert event.resume == {"destination": "/data/x.csv"}
    assert event.report_run is not None
    assert event.report_run["report_run_id"] == stripe_conn.report_runs[0].id
    assert len(stripe_conn.requests_to("retrieve")) == 3


def test_fires_when_the_run_failed(stripe_conn: StripeSandbox) -> None:
    """With Stripe's words."""
    stripe_conn.inject(RunFails("Out of paper."))
    event = fire(trigger_for(stripe_conn))
    assert event.outcome == "failed"
    assert str(event.message).endswith("failed: Out of paper.")


def test_looks_one_last_time_at_the_deadline(stripe_conn: StripeSandbox) -> None:
    """A run that ended while the triggerer was away is not given up."""
    late = trigger_for(stripe_conn, reads=0, deadline=time.time() - 3600)
    assert fire(late).outcome == "succeeded"


def test_gives_up_after_the_deadline(stripe_conn: StripeSandbox) -> None:
    """And says that the run goes on."""
    stripe_conn.inject(RunNeverEnds())
    event = fire(trigger_for(stripe_conn, deadline=time.time() + 0.05))
    assert event.outcome == "timeout"
    assert "not seen to end by the deadline" in str(event.message)


def test_waits_before_the_first_look(stripe_conn: StripeSandbox) -> None:
    """Until the instant that it was made with, which a restart does not move."""
    started = time.time()
    fire(trigger_for(stripe_conn, reads=0, not_before=started + 0.3))
    assert stripe_conn.requests_to("retrieve")[0].at >= started + 0.3


def test_stays_calm_when_stripe_does_not(stripe_conn: StripeSandbox) -> None:
    """Neither a failed task nor a storm of requests on a rate limit."""
    trigger = trigger_for(stripe_conn, reads=0)
    stripe_conn.inject(RateLimited(), times=2, on="retrieve")
    assert fire(trigger).outcome == "succeeded"
    assert len(stripe_conn.requests_to("retrieve")) == 3


def test_an_error_that_stays_is_told(stripe_conn: StripeSandbox) -> None:
    """A 404 now is a 404 for ever."""
    event = fire(trigger_for(stripe_conn, report_run_id="frr_gone"))
    assert event.outcome == "error"
    assert "No such" in str(event.message)


def test_a_broken_connection_definition_is_told(
    stripe_conn: StripeSandbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Somebody changed the connection while the task was deferred."""
    trigger = trigger_for(stripe_conn)
    monkeypatch.setenv("AIRFLOW_CONN_STRIPE_DEFAULT", json.dumps({"conn_type": "stripe"}))
    event = fire(trigger)
    assert event.outcome == "error"
    assert "secret key is missing" in str(event.message)


def test_arguments_of_other_versions_are_understood(stripe_conn: StripeSandbox) -> None:
    """Tasks stay deferred over an upgrade, in both directions."""
    parameters = ReportParameters(interval_start=1714521600, interval_end=1714608000)
    run = StripeReportingHook().create_report_run("balance.summary.1", parameters)
    oldest: dict[str, Any] = {"report_run_id": run.id, "deadline": time.time() + 60, "since": time.time()}
    trigger = StripeReportRunTrigger(**oldest, poll_interval=0.01, novelty=1)
    assert "novelty" not in trigger.serialize()[1]
    assert fire(trigger).outcome == "succeeded"
    assert StripeReportRunTrigger(**oldest).stripe_conn_id == "stripe_default"


def test_fires_when_the_data_is_there(stripe_conn: StripeSandbox) -> None:
    """Up to the instant itself is there; with how far it reaches, and with what the task wanted back."""
    stripe_conn.configure(data_available_start=1714521600, data_available_end=1714608000)
    event = fire_for_data(resume={"anything": 1})
    assert (event.outcome, event.resume) == ("available", {"anything": 1})
    assert event.availability == {
        "report_type": "balance.summary.1",
        "livemode": False,
        "data_available_start": 1714521600,
        "data_available_end": 1714608000,
    }


def test_looks_on_until_the_data_is_there() -> None:
    """It moves on between two looks."""

    def moves_on(record: RequestRecord) -> None:
        if len(sandbox.requests) == 3:
            sandbox.configure(data_available_end=1714608000)

    with StripeSandbox(data_available_end=1714607999, on_request=moves_on) as sandbox:
        connection = {"conn_type": "stripe", "host": sandbox.url, "password": sandbox.api_key}
        with pytest.MonkeyPatch.context() as patch:
            patch.setenv("AIRFLOW_CONN_STRIPE_DEFAULT", json.dumps(connection))
            assert fire_for_data().outcome == "available"
        assert [request.operation for request in sandbox.requests] == ["retrieve_type"] * 4


def test_looks_at_the_data_one_last_time_at_the_deadline(stripe_conn: StripeSandbox) -> None:
    """Data that came while the triggerer was away is not given up, and nothing else is waited for."""
    assert fire_for_data(deadline=time.time() - 3600).outcome == "available"
    stripe_conn.configure(data_available_end=1714607999)
    event = fire_for_data(deadline=time.time() - 3600)
    assert event.outcome == "timeout"
    assert "was not seen to reach 2024-05-02 00:00:00 UTC by the deadline" in str(event.message)
    assert len(stripe_conn.requests) == 2


def test_gives_up_on_the_data_after_the_deadline(stripe_conn: StripeSandbox) -> None:
    """The last look is made at the deadline, however long the pause would have been."""
    stripe_conn.configure(data_available_end=1714607999)
    deadline = time.time() + 0.3
    assert fire_for_data(deadline=deadline, poll_interval=30).outcome == "timeout"
    assert len(stripe_conn.requests) == 2
    assert stripe_conn.requests[-1].at >= deadline


def test_an_error_about_the_data_that_stays_is_told(stripe_conn: StripeSandbox) -> None:
    """A report type that the account doesn't have is none that it will have."""
    event = fire_for_data(report_type="weather.summary.1")
    assert (event.outcome, event.report_type) == ("error", "weather.summary.1")
    assert "No such report type" in str(event.message)


ABOUT: list[tuple[type[StripeTrigger], dict[str, Any]]] = [
    (StripeReportRunTrigger, {"report_run_id": "frr_1"}),
    (StripeReportTypeTrigger, {"report_type": "balance.summary.1", "until": 1714608000}),
    (StripePendingReportRunsTrigger, {"max_pending_report_runs": 3, "window": 3600.0}),
]


@pytest.mark.parametrize(("kind", "about"), ABOUT)
def test_airflow_gives_up_well_after_the_trigger(kind: type[StripeTrigger], about: dict[str, Any]) -> None:
    """The last look has to be answered, on a triggerer with many tasks, before Airflow ends the wait unseen."""
    now = time.time()
    within_an_hour = kind(**about, deadline=now + 3600, since=now).backstop
    assert timedelta(minutes=74) < within_an_hour <= timedelta(minutes=75)
    assert kind(**about, deadline=now - 3600, since=now).backstop == timedelta(minutes=15)


NO_NUMBERS: list[Any] = [float("nan"), float("inf"), -1, 10**15, "1714608000", True, [1], {}, 10**400]
NO_TEXTS: list[Any] = [1, "", ["frr_1"], {}]
NO_MAPPINGS: list[Any] = ["x", 1, ["destination"]]


@pytest.mark.parametrize(("kind", "about"), ABOUT)
@pytest.mark.parametrize(
    ("name", "value"),
    [
        *((name, value) for name in ("deadline", "since") for value in [*NO_NUMBERS, None]),
        *((name, value) for name in ("not_before", "poll_interval", "growth") for value in NO_NUMBERS),
        ("poll_interval", 0),
        *((name, value) for name in ("stripe_conn_id", "stripe_account") for value in NO_TEXTS if value),
        ("stripe_conn_id", ""),
        *(("resume", value) for value in NO_MAPPINGS),
    ],
)
def test_a_damaged_argument_fails_the_trigger_alone(
    kind: type[StripeTrigger], about: dict[str, Any], name: str, value: Any
) -> None:
    """Airflow takes a TypeError for the trigger's own; another error would stop the triggerer, and all in it."""
    arguments = {**about, "deadline": 1714608000, "since": 1714521600, name: value}
    with pytest.raises(TypeError, match=name):
        kind(**arguments)


@pytest.mark.parametrize(
    ("kind", "arguments"),
    [
        *((StripeReportRunTrigger, {"report_run_id": value}) for value in [*NO_TEXTS, None]),
        *((StripeReportTypeTrigger, {"until": 1, "report_type": value}) for value in [*NO_TEXTS, None]),
        *(
            (StripeReportTypeTrigger, {"report_type": "balance.summary.1", "until": value})
            for value in [*NO_NUMBERS, None, 1.5]
        ),
        *(
            (StripePendingReportRunsTrigger, {"window": 1, "max_pending_report_runs": value})
            for value in [*NO_NUMBERS, None, 0, 1.5]
            if value != 10**15 and value != 10**400
        ),
        *(
            (StripePendingReportRunsTrigger, {"window": value, "max_pending_report_runs": 3})
            for value in [*NO_NUMBERS, None]
        ),
        (StripePendingReportRunsTrigger, {"max_pending_report_runs": 3}),
        (StripeReportRunTrigger, {}),
        (StripeReportTypeTrigger, {"report_type": "balance.summary.1"}),
    ],
)
def test_so_does_what_is_waited_for(kind: type[StripeTrigger], arguments: dict[str, Any]) -> None:
    """A trigger that waits for nothing would look until its deadline."""
    with pytest.raises(TypeError):
        kind(deadline=1714608000, since=1714521600, **arguments)


def test_the_first_look_is_not_later_than_the_last(stripe_conn: StripeSandbox) -> None:
    """Or a task would be deferred until Airflow ends it unseen; the report is there."""
    now = time.time()
    event = fire(trigger_for(stripe_conn, reads=0, deadline=now - 60, not_before=now + 3600))
    assert event.outcome == "succeeded"
