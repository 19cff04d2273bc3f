"""What a task's log tells of a report run: few lines, each with its id, and none for each look."""

from __future__ import annotations

import json
import logging
from collections.abc import Callable, Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from airflow_reportrun import triggers
from airflow_reportrun.operators import (
    StripeReportDownloadOperator,
    StripeReportRunOperator,
    submitting,
)
from airflow_reportrun.sandbox import AfterReads, AtOnce, RequestRecord, RunFails, StripeSandbox
from airflow_reportrun.sensors import StripeReportRunSensor, StripeReportTypeSensor
from tests.task_runner import END, TaskRunner, Try, in_dag
from tests.versions import needs_airflow

TYPE = "balance.summary.1"
END_SECONDS = int(END.timestamp())


@pytest.fixture
def story(caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch) -> Callable[[], list[str]]:
    """Return our lines since the last time, those of the level INFO."""
    monkeypatch.setattr(triggers, "FIRST_LOOK_AFTER", 0.0)
    monkeypatch.setattr(submitting, "DATA_POLL_INTERVAL", 0.01)
    monkeypatch.setattr(submitting, "ROOM_POLL_INTERVAL", 0.01)
    caplog.set_level(logging.INFO)

    def told() -> list[str]:
        records = [it for it in caplog.records if it.name.startswith("airflow_reportrun.")]
        caplog.clear()
        return [
            it.getMessage()
            for it in records
            if it.levelno == logging.INFO and not it.name.startswith("airflow_reportrun.sandbox")
        ]

    return told


def to_its_end(task: Any, **how: Any) -> Try:
    runner = TaskRunner()
    tried = runner.run(task, **how)
    while tried.state in ("up_for_reschedule", "deferred"):
        tried = runner.resume(task, tried) if tried.state == "deferred" else runner.run(task)
    return tried


def run_of(sandbox: StripeSandbox) -> str:
    return sandbox.report_runs[-1].id


@pytest.mark.parametrize("deferrable", [False, True])
def test_a_run_is_told_in_four_lines(
    stripe_conn: StripeSandbox, story: Callable[[], list[str]], tmp_path: Path, deferrable: bool
) -> None:
    """The interval, the run, its end and its landing; however often it was looked at."""
    stripe_conn.configure(transition=AfterReads(5))
    options: dict[str, Any] = {"destination": f"{tmp_path}/x.csv", "poll_interval": 0.01, "deferrable": deferrable}
    assert to_its_end(in_dag(StripeReportRunOperator, report_type=TYPE, **options)).state == "success"
    interval, *lines = story()
    assert interval.startswith("Interval [2024-05-01 00:00:00+00:00, 2024-05-02 00:00:00+00:00) UTC, 24 h:")
    created = stripe_conn.requests_to("create")[0].request_id
    assert lines[0] == (
        f"Created report run {run_of(stripe_conn)} of {TYPE} (attempt 1, request {created}), which is pending"
    )
    assert lines[1] == f"Report run {run_of(stripe_conn)}: succeeded."
    assert lines[2].startswith(f"Landed report run {run_of(stripe_conn)}: ")
    assert lines[2].endswith(f"in {tmp_path}/x.csv")
    assert len(lines) == 3


@pytest.fixture
def late(monkeypatch: pytest.MonkeyPatch) -> Iterator[StripeSandbox]:
    """A sandbox whose data comes with the fourth look at a report type."""

    def arrives(request: RequestRecord) -> None:
        if len(sandbox.requests_to("retrieve_type")) == 4:
            sandbox.configure(data_available_end=END_SECONDS)

    with StripeSandbox(
        data_available_end=END_SECONDS - 3600, transition=AfterReads(3), on_request=arrives
    ) as sandbox:
        connection = {"conn_type": "stripe", "host": sandbox.url, "password": sandbox.api_key}
        monkeypatch.setenv("AIRFLOW_CONN_STRIPE_DEFAULT", json.dumps(connection))
        yield sandbox


@pytest.mark.parametrize("deferrable", [False, True])
def test_waiting_for_data_and_for_room_adds_a_line_each(
    late: StripeSandbox, story: Callable[[], list[str]], tmp_path: Path, deferrable: bool
) -> None:
    """The interval is told once, though a deferrable task works it out anew each time that it comes back."""
    bounds: dict[str, Any] = {"interval_start": END_SECONDS - 86_400, "interval_end": END_SECONDS - 7200}
    other = in_dag(StripeReportRunOperator, report_type=TYPE, wait_for_completion=False, **bounds)
    assert TaskRunner().run(other).state == "success"
    story()
    options: dict[str, Any] = {"poll_interval": 0.01, "deferrable": deferrable, "destination": f"{tmp_path}/x.csv"}
    options["data_timeout"] = timedelta(days=36_500)  # on Airflow 2 from the DAG run's start, in 2024
    task = in_dag(StripeReportRunOperator, report_type=TYPE, max_pending_report_runs=1, **options)
    assert to_its_end(task).state == "success"
    lines = story()
    assert [line.split(" ")[0] for line in lines] == [
        "Interval",
        "Waiting",
        "Waiting",
        "Created",
        "Report",
        "Landed",
    ]
    assert all(run_of(late) in line for line in lines[3:])


@needs_airflow(3, 3, "state store, so that a retry asks anew")
def test_a_retry_tells_what_it_attached_to(
    stripe_conn: StripeSandbox, story: Callable[[], list[str]], tmp_path: Path
) -> None:
    """With the request that created it, and no interval: what was asked for is known."""
    stripe_conn.configure(transition=AfterReads(2))
    runner = TaskRunner()
    task = in_dag(StripeReportRunOperator, report_type=TYPE, deferrable=True, destination=f"{tmp_path}/x.csv")
    runner.run(task)
    created = stripe_conn.requests_to("create")[0].request_id
    story()
    tried = runner.run(task, try_number=2)
    assert tried.state in ("deferred", "success")
    if tried.state == "deferred":
        runner.resume(task, tried)
    attached, *rest = story()
    assert attached.startswith(
        f"Attached to report run {run_of(stripe_conn)} of {TYPE} (attempt 1, request {created}), which is "
    )
    assert [line.split(" ")[0] for line in rest] == ["Report", "Landed"]


def test_a_failed_run_is_told_in_three(stripe_conn: StripeSandbox, story: Callable[[], list[str]]) -> None:
    """Its reason is in the error."""
    stripe_conn.configure(transition=AtOnce())
    stripe_conn.inject(RunFails())
    assert TaskRunner().run(in_dag(StripeReportRunOperator, report_type=TYPE)).state == "up_for_retry"
    assert [line.split(" ")[0] for line in story()] == ["Interval", "Created", "Report"]


def test_landing_is_told_in_one(
    stripe_conn: StripeSandbox, story: Callable[[], list[str]], tmp_path: Path
) -> None:
    """In a store, in a table, and where it is landed already."""
    stripe_conn.configure(transition=AtOnce())
    run = TaskRunner().run(in_dag(StripeReportRunOperator, report_type=TYPE)).returned
    story()
    task = in_dag(StripeReportDownloadOperator, report_run_id=run, destination=f"{tmp_path}/")
    for words in ("Landed report run", "Report run"):
        TaskRunner().run(task)
        (line,) = story()
        assert line.startswith(f"{words} {run_of(stripe_conn)}")


MODES: list[dict[str, Any]] = [{"mode": "poke"}, {"mode": "reschedule"}, {"deferrable": True}]


@pytest.mark.parametrize("mode", MODES, ids=str)
def test_a_sensor_tells_two_lines_whatever_the_looks(
    stripe_conn: StripeSandbox, story: Callable[[], list[str]], mode: dict[str, Any]
) -> None:
    """What it waits for and how that ended; a rescheduled one is a new process at each look, and says no more."""
    stripe_conn.configure(transition=AfterReads(4))
    submit = in_dag(StripeReportRunOperator, report_type=TYPE, wait_for_completion=False)
    run = TaskRunner().run(submit).returned
    story()
    task = in_dag(StripeReportRunSensor, report_run_id=run, poke_interval=0.01, **mode)
    assert to_its_end(task).state == "success"
    run_id = run["report_run_id"]
    assert story() == [
        f"Waiting for the end of report run {run_id}.",
        f"Report run {run_id}: succeeded.",
    ]


@pytest.mark.parametrize("mode", MODES, ids=str)
def test_data_that_is_late_is_said_once(
    late: StripeSandbox, caplog: pytest.LogCaptureFixture, mode: dict[str, Any], story: Callable[[], list[str]]
) -> None:
    """And not at each look."""
    task = in_dag(StripeReportTypeSensor, report_type=TYPE, poke_interval=0.01, **mode)
    assert to_its_end(task).state == "success"
    said = [it for it in caplog.records if "waiting until it reaches 2024-05-02" in it.getMessage()]
    assert len(said) == (2 if mode.get("deferrable") else 1)  # the task says it, and its trigger after it
    assert len(late.requests_to("retrieve_type")) >= 4
