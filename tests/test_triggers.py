from __future__ import annotations

import asyncio
import json
import time
from typing import Any

import pytest
from airflow.providers.common.compat.module_loading import import_string

from airflow_reportrun.events import ReportRunEvent
from airflow_reportrun.hooks import StripeReportingHook
from airflow_reportrun.reporting.parameters import ReportParameters
from airflow_reportrun.sandbox import AfterReads, RateLimited, RunFails, RunNeverEnds, StripeSandbox
from airflow_reportrun.triggers import StripeReportRunTrigger


def fire(trigger: StripeReportRunTrigger) -> ReportRunEvent:
    """Run a trigger as Airflow does after storing it: from its serialised form, its event as JSON."""

    async def first() -> Any:
        return [event.payload async for event in again.run()]

    path, kwargs = trigger.serialize()
    again = import_string(path)(**json.loads(json.dumps(kwargs)))
    assert again.serialize() == (path, kwargs)
    (payload,) = asyncio.run(first())
    return ReportRunEvent.from_payload(json.loads(json.dumps(payload)))


def trigger_for(sandbox: StripeSandbox, *, reads: int = 2, **kwargs: Any) -> StripeReportRunTrigger:
    sandbox.configure(transition=AfterReads(reads))
    parameters = ReportParameters(interval_start=1714521600, interval_end=1714608000)
    run = StripeReportingHook().create_report_run("balance.summary.1", parameters)
    now = time.time()
    return StripeReportRunTrigger(
        **{"report_run_id": run.id, "deadline": now + 60, "since": now, "poll_interval": 0.01, **kwargs}
    )


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
    assert StripeReportRunTrigger(**oldest).kwargs["stripe_conn_id"] == "stripe_default"
