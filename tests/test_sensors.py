from __future__ import annotations

import time
from datetime import timedelta
from typing import Any

import pytest

from airflow_reportrun import triggers
from airflow_reportrun.hooks import StripeReportingHook
from airflow_reportrun.reporting.client import AsyncReportingClient, ReportingClient
from airflow_reportrun.reporting.parameters import ReportParameters
from airflow_reportrun.reporting.retries import RetryPolicy
from airflow_reportrun.sandbox import AfterReads, RateLimited, RunFails, RunNeverEnds, StripeSandbox, UnknownStatus
from airflow_reportrun.sensors import StripeReportRunSensor
from tests.task_runner import TaskRunner, Try, in_dag

MODES: dict[str, dict[str, Any]] = {
    "poke": {"mode": "poke"},
    "reschedule": {"mode": "reschedule"},
    "deferrable": {"deferrable": True},
}


@pytest.fixture(autouse=True)
def _trigger_looks_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(triggers, "FIRST_LOOK_AFTER", 0.0)


@pytest.fixture(params=MODES)
def mode(request: pytest.FixtureRequest) -> dict[str, Any]:
    """Each way of waiting; what comes of it has to be the same."""
    return MODES[request.param]


def sense(run_id: str, **kwargs: Any) -> Try:
    """Run a sensor to its end: sleeping, coming back after each reschedule, or resumed by its trigger."""
    task = in_dag(StripeReportRunSensor, report_run_id=run_id, **{"poke_interval": 0.01, **kwargs})
    runner = TaskRunner()
    tried = runner.run(task)
    while tried.state == "up_for_reschedule":
        tried = runner.run(task)
    return runner.resume(task, tried) if tried.state == "deferred" else tried


def create(sandbox: StripeSandbox, reads: int = 2) -> str:
    sandbox.configure(transition=AfterReads(reads))
    parameters = ReportParameters(interval_start=1714521600, interval_end=1714608000)
    return StripeReportingHook().create_report_run("balance.summary.1", parameters).id


def test_is_green_when_the_run_succeeded(stripe_conn: StripeSandbox, mode: dict[str, Any]) -> None:
    """After some looks at a pending run; the result says which run it was."""
    run_id = create(stripe_conn)
    tried = sense(run_id, **mode)
    assert tried.state == "success", tried.error
    assert (tried.returned["report_run_id"], tried.returned["status"]) == (run_id, "succeeded")
    assert tried.returned["interval_end"] == 1714608000


def test_is_red_when_the_run_failed_and_is_not_tried_again(
    stripe_conn: StripeSandbox, mode: dict[str, Any]
) -> None:
    """A failed run stays failed; the task says why in Stripe's words."""
    stripe_conn.inject(RunFails("The printer is on fire."))
    tried = sense(create(stripe_conn), **mode)
    assert tried.state == "failed"
    assert "The printer is on fire." in str(tried.error)


@pytest.mark.parametrize("option", ["soft_fail", "never_fail"])
def test_soft_fail_skips_in_each_mode(stripe_conn: StripeSandbox, mode: dict[str, Any], option: str) -> None:
    """Airflow's own sensors differ here between waiting and being deferred."""
    stripe_conn.inject(RunFails())
    assert sense(create(stripe_conn), **mode, **{option: True}).state == "skipped"


def test_soft_fail_skips_before_deferring_too(stripe_conn: StripeSandbox) -> None:
    """The first look of a deferrable sensor is on the worker."""
    stripe_conn.inject(RunFails())
    run_id = create(stripe_conn, reads=0)
    assert sense(run_id, deferrable=True, soft_fail=True).state == "skipped"
    assert sense(run_id, deferrable=True).state == "failed"


@pytest.mark.parametrize("fault", [RunNeverEnds(), UnknownStatus("archived")])
def test_times_out_when_the_run_does_not_end(stripe_conn: StripeSandbox, mode: dict[str, Any], fault: Any) -> None:
    """Left pending is not succeeded, and a word that nobody knows isn't either."""
    stripe_conn.inject(fault)
    tried = sense(create(stripe_conn), timeout=0.05, **mode)
    assert tried.state == "failed"
    assert type(tried.error).__name__ == "AirflowSensorTimeout"


def test_a_missing_connection_is_an_error_in_each_mode(mode: dict[str, Any]) -> None:
    """Not a reason to skip: Airflow's own word about it passes through."""
    assert sense("frr_1", stripe_conn_id="nowhere", soft_fail=True, **mode).state == "up_for_retry"
    assert sense("frr_1", stripe_conn_id="nowhere", never_fail=True, **mode).state == "skipped"


def test_errors_that_pass_are_waited_over(
    stripe_conn: StripeSandbox, mode: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Even where the client itself sends nothing again."""
    run_id = create(stripe_conn)
    for client in (ReportingClient, AsyncReportingClient):
        monkeypatch.setattr(client, "retry_policy", RetryPolicy(max_tries=1))
    stripe_conn.inject(RateLimited(), times=2, on="retrieve")
    assert sense(run_id, **mode).state == "success"


def test_an_unknown_run_fails_at_once(stripe_conn: StripeSandbox, mode: dict[str, Any]) -> None:
    """A 404 does not become a run by waiting."""
    tried = sense("frr_unknown", **mode)
    assert tried.state == "failed"
    assert "No such" in str(tried.error)
    assert len(stripe_conn.requests) == 1


def test_an_id_from_a_template_that_found_nothing(stripe_conn: StripeSandbox, mode: dict[str, Any]) -> None:
    """A clear error before anything is sent."""
    tried = sense("None", **mode)
    assert "'None' is not the id" in str(tried.error)
    assert stripe_conn.requests == []


def test_deferred_it_polls_as_often_as_it_was_told(stripe_conn: StripeSandbox) -> None:
    """poke_interval and timeout mean the same as in the other modes."""
    run_id = create(stripe_conn)
    runner = TaskRunner()
    task = in_dag(
        StripeReportRunSensor,
        report_run_id=run_id,
        deferrable=True,
        poke_interval=77,
        timeout=timedelta(minutes=10),
    )
    trigger = runner.trigger(runner.run(task))
    assert (trigger.kwargs["poll_interval"], trigger.kwargs["growth"]) == (77, 0)
    assert 590 < trigger.kwargs["deadline"] - time.time() <= 600
