"""Clocks that differ by an hour: Stripe's, a worker's and a triggerer's."""

from __future__ import annotations

import asyncio
import json
import time
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from airflow_reportrun import triggers
from airflow_reportrun.hooks import StripeReportingHook
from airflow_reportrun.operators import StripeReportRunOperator
from airflow_reportrun.reporting.resending import ResendPolicy
from airflow_reportrun.sandbox import AfterReads, Dropped, StripeSandbox
from airflow_reportrun.sensors import StripeReportRunSensor
from tests.task_runner import TaskRunner, Try, in_dag

HOUR = 3600


@pytest.fixture(autouse=True)
def _trigger_looks_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(triggers, "FIRST_LOOK_AFTER", 0.0)


@pytest.fixture(params=[-HOUR, HOUR], ids=["behind", "ahead"])
def skew(request: pytest.FixtureRequest, stripe_conn: StripeSandbox) -> int:
    """Seconds by which Stripe's clock goes wrong, as Airflow's sees it."""
    seconds = int(request.param)
    stripe_conn.configure(clock=lambda: time.time() + seconds, transition=AfterReads(2))
    return seconds


@pytest.fixture(params=[False, True], ids=["in a worker", "deferred"])
def deferrable(request: pytest.FixtureRequest) -> bool:
    return bool(request.param)


def run_operator(**options: Any) -> Any:
    return in_dag(StripeReportRunOperator, report_type="balance.summary.1", poll_interval=0.01, **options)


def to_its_end(runner: TaskRunner, task: Any, **how: Any) -> Try:
    tried = runner.run(task, **how)
    return runner.resume(task, tried, **how) if tried.state == "deferred" else tried


def test_a_short_timeout_counts_from_the_submission(skew: int, deferrable: bool, tmp_path: Path) -> None:
    """By the clock that it is compared with: a report has as long as was given, and no hour less or more."""
    destination = str(tmp_path / "report.csv")
    task = run_operator(deferrable=deferrable, timeout=timedelta(minutes=20), destination=destination)
    tried = to_its_end(TaskRunner(), task)
    assert tried.state == "success", tried.error
    assert Path(destination).exists()


def test_the_deadline_of_a_deferred_task_is_airflows(stripe_conn: StripeSandbox, skew: int) -> None:
    """Twenty minutes from now, however old Stripe's own date of the run looks."""
    stripe_conn.configure(transition=AfterReads(9))
    runner = TaskRunner()
    trigger = runner.trigger(runner.run(run_operator(deferrable=True, timeout=timedelta(minutes=20))))
    assert trigger.deadline == pytest.approx(time.time() + 1200, abs=10)


def test_a_retry_attaches(
    stripe_conn: StripeSandbox, monkeypatch: pytest.MonkeyPatch, skew: int, deferrable: bool
) -> None:
    """To the run of a try whose answer got lost, which is no namesake's."""
    runner, task = TaskRunner(), run_operator(deferrable=deferrable)
    monkeypatch.setattr(StripeReportingHook, "resend_policy", ResendPolicy(max_tries=1))
    stripe_conn.inject(Dropped(committed=True), on="create")
    assert runner.run(task).state == "up_for_retry"
    assert to_its_end(runner, task, try_number=2).state == "success"
    assert len(stripe_conn.report_runs) == 1


@pytest.mark.parametrize("seconds", [-HOUR, HOUR])
def test_a_triggerer_of_another_time_sees_the_end(
    stripe_conn: StripeSandbox, monkeypatch: pytest.MonkeyPatch, seconds: int
) -> None:
    """Deadlines are hours away by default, so that an hour ends no wait."""
    stripe_conn.configure(transition=AfterReads(1))
    runner, task = TaskRunner(), run_operator(deferrable=True)
    tried = runner.run(task)
    right = time.time
    with monkeypatch.context() as patch:
        patch.setattr(time, "time", lambda: right() + seconds)
        event = asyncio.run(anext(runner.trigger(tried).run())).payload
    event = json.loads(json.dumps(event))
    assert runner.run(task, next_method="execute_complete", next_kwargs={"event": event}).state == "success"


def test_a_sensor_sees_the_end(skew: int, deferrable: bool) -> None:
    """Its time-out counts from its own start."""
    run_id = TaskRunner().run(run_operator(wait_for_completion=False)).xcoms["report_run_id"]
    task = in_dag(
        StripeReportRunSensor, report_run_id=run_id, poke_interval=0.01, timeout=60, deferrable=deferrable
    )
    assert to_its_end(TaskRunner(), task).state == "success"
