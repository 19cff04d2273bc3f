"""``execution_timeout`` while a task is deferred: Airflow 3 does not look at it, so it is part of the deadline."""

from __future__ import annotations

import logging
import re
import time
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from airflow_reportrun import sensors, triggers
from airflow_reportrun.hooks import StripeReportingHook
from airflow_reportrun.operators import StripeReportRunOperator, submitting
from airflow_reportrun.reporting.parameters import ReportParameters
from airflow_reportrun.sandbox import AtOnce, RunNeverEnds, StripeSandbox
from airflow_reportrun.sensors import StripeReportRunSensor, StripeReportTypeSensor
from tests.task_runner import END, START, TaskRunner, in_dag
from tests.versions import AIRFLOW_2, needs_airflow_3

FROM, UNTIL = int(START.timestamp()), int(END.timestamp())
LIMIT = timedelta(seconds=2)


@pytest.fixture(autouse=True)
def _waits_are_short(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(triggers, "FIRST_LOOK_AFTER", 0.0)
    monkeypatch.setattr(sensors, "SHORTEST_POKE_INTERVAL", 0.0)
    monkeypatch.setattr(submitting, "DATA_POLL_INTERVAL", 0.0)


def begun_now() -> TaskRunner:
    """The time-out of the data counts from there on Airflow 2."""
    return TaskRunner(dag_run={"start_date": datetime.now(UTC)})


def operator(**options: Any) -> Any:
    return in_dag(
        StripeReportRunOperator,
        **{"report_type": "balance.summary.1", "deferrable": True, "poll_interval": 0.01, **options},
    )


def run_sensor(**options: Any) -> Any:
    parameters = ReportParameters(interval_start=FROM, interval_end=UNTIL)
    run_id = StripeReportingHook().create_report_run("balance.summary.1", parameters).id
    return in_dag(
        StripeReportRunSensor, **{"report_run_id": run_id, "deferrable": True, "poke_interval": 0.01, **options}
    )


def type_sensor(**options: Any) -> Any:
    return in_dag(
        StripeReportTypeSensor,
        **{"report_type": "balance.summary.1", "deferrable": True, "poke_interval": 0.01, **options},
    )


def never_ends(sandbox: StripeSandbox) -> None:
    sandbox.inject(RunNeverEnds())


def never_arrives(sandbox: StripeSandbox) -> None:
    sandbox.configure(data_available_end=UNTIL - 1)


WAITS = {
    "operator, report": (never_ends, operator),
    "operator, data": (never_arrives, operator),
    "run sensor": (never_ends, run_sensor),
    "type sensor": (never_arrives, type_sensor),
}
soft = pytest.mark.parametrize("options", [{"soft_fail": True}, {"never_fail": True}])


@pytest.mark.parametrize("wait", WAITS)
def test_a_deferred_try_ends_with_its_execution_timeout(stripe_conn: StripeSandbox, wait: str) -> None:
    """As in a worker: the try fails, and a retry has as much time again."""
    never, make = WAITS[wait]
    never(stripe_conn)
    task, runner, began = make(execution_timeout=LIMIT), begun_now(), time.time()
    for try_number in (1, 2):
        deferred = runner.run(task, try_number=try_number)
        assert deferred.state == "deferred", deferred.error
        assert runner.trigger(deferred).deadline < time.time() + LIMIT.total_seconds()
        tried = runner.resume(task, deferred, try_number=try_number)
        assert tried.state == "up_for_retry"
        assert type(tried.error).__name__ == "AirflowTaskTimeout"
        # Airflow 2 looks at its clock first when a task is resumed.
        assert AIRFLOW_2 or re.search(
            r"by the deadline.* The try has taken its execution_timeout, 2 s\.", str(tried.error)
        )
        assert time.time() - began > 1.9
        began = time.time()


@soft
@pytest.mark.parametrize("wait", ["run sensor", "type sensor"])
def test_a_sensor_that_skips_is_retried_all_the_same(
    stripe_conn: StripeSandbox, wait: str, options: dict[str, Any]
) -> None:
    """Which is what Airflow does in poke mode, where the time ends between two looks."""
    never, make = WAITS[wait]
    for mode in ({"deferrable": True}, {"deferrable": False, "mode": "poke", "poke_interval": 60}):
        never(stripe_conn)
        runner, task = begun_now(), make(execution_timeout=LIMIT, **mode, **options)
        tried = runner.run(task)
        if tried.state == "deferred":
            tried = runner.resume(task, tried)
        assert tried.state == "up_for_retry"
        assert type(tried.error).__name__ == "AirflowTaskTimeout"


def test_it_counts_over_both_deferrals_of_a_try(stripe_conn: StripeSandbox) -> None:
    """First the data is waited for, then the report: the second wait has what the first one left."""
    never_arrives(stripe_conn)
    stripe_conn.inject(RunNeverEnds(), on="create")
    runner, began = begun_now(), time.time()
    task = operator(execution_timeout=timedelta(seconds=30))
    for_data = runner.run(task)
    first = runner.trigger(for_data).deadline
    assert began + 29 < first < began + 31
    time.sleep(1)
    stripe_conn.configure(data_available_end=UNTIL)
    for_report = runner.resume(task, for_data)
    assert for_report.state == "deferred"
    assert runner.trigger(for_report).deadline == pytest.approx(first)


@pytest.mark.parametrize("wait", WAITS)
def test_what_is_shorter_counts(stripe_conn: StripeSandbox, wait: str) -> None:
    """The time-out of the wait keeps its own outcome, and Airflow's backstop comes after it."""
    never, make = WAITS[wait]
    never(stripe_conn)
    name = "data_timeout" if wait == "operator, data" else "timeout"
    task, runner = make(**{name: 1.0}, execution_timeout=timedelta(hours=1)), begun_now()
    stripe_conn.configure(transition=AtOnce())
    deferred = runner.run(task)
    tried = runner.resume(task, deferred)
    assert type(tried.error).__name__ in ("AirflowException", "AirflowFailException", "AirflowSensorTimeout")
    assert "by the deadline" in str(tried.error)


def test_without_one_a_trigger_has_nothing_to_bring_back(stripe_conn: StripeSandbox) -> None:
    """An endless time-out of ours is one that Airflow can store."""
    stripe_conn.inject(RunNeverEnds())
    runner = begun_now()
    trigger = runner.trigger(runner.run(operator(timeout=timedelta(days=365 * 20_000))))
    assert "try_began" not in trigger.resume
    assert trigger.backstop > timedelta(days=365 * 7000)


@needs_airflow_3("word of the operator's when a resumed try has no time left")
def test_a_try_that_ends_says_what_goes_on(stripe_conn: StripeSandbox, caplog: pytest.LogCaptureFixture) -> None:
    """Stripe has no way to cancel a report run."""
    stripe_conn.inject(RunNeverEnds())
    task, runner = operator(execution_timeout=LIMIT), begun_now()
    deferred = runner.run(task)
    with caplog.at_level(logging.INFO, logger="airflow_reportrun"):
        runner.resume(task, deferred)
    (run,) = stripe_conn.report_runs
    assert f"Report run {run.id} goes on at Stripe, which can't cancel it. A retry attaches to it" in caplog.text
