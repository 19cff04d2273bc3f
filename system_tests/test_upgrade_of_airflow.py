"""Airflow 2.11 is upgraded to 3.3 while tasks are deferred: they go on there, each with its report run."""

from __future__ import annotations

import json
import os
import sqlite3
import time
from collections.abc import Mapping
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path

import pytest

from airflow_reportrun.sandbox import StripeSandbox
from demo.airflow import Airflow
from system_tests.stage import ROOT, Gate

OLD = ROOT / ".nox" / "tests-2-11" / "bin" / "python"
DAY = datetime(2026, 5, 10, tzinfo=UTC)
DAGS = """
from datetime import datetime, timedelta

from airflow.providers.common.compat.sdk import DAG

from airflow_reportrun.operators import StripeReportRunOperator
from airflow_reportrun.sensors import StripeReportRunSensor, StripeReportTypeSensor

WAITS = {"deferrable": True, "poll_interval": 5, "retries": 2, "retry_delay": timedelta(seconds=1)}
TYPE = "balance_change_from_activity.itemized.3"

with DAG("books", schedule="@daily", start_date=datetime(2026, 5, 1), catchup=False, default_args=WAITS):
    StripeReportRunOperator(
        task_id="report", report_type=TYPE, destination="{{ var.value.stripe_reports }}/report.csv"
    )
    created = StripeReportRunOperator(
        task_id="created", report_type=TYPE, currency="eur", wait_for_completion=False
    )
    StripeReportRunSensor(task_id="seen", report_run_id=created.output)
    StripeReportTypeSensor(
        task_id="data_is_there",
        report_type=TYPE,
        interval_end="{{ data_interval_end.add(days=1) }}",
    )
"""
DEFERRED = {"created": "success", "data_is_there": "deferred", "report": "deferred", "seen": "deferred"}
DONE = dict.fromkeys(DEFERRED, "success")


class OldAirflow(Airflow):
    """Airflow 2.11, in the environment that ``make matrix`` makes for it."""

    components = ("triggerer", "scheduler")
    python = str(OLD)


def test_deferred_tasks_go_on_in_a_later_airflow(tmp_path: Path) -> None:
    """A report is landed, a sensor ends and data is seen to be there, all in their first try."""
    if not OLD.exists():
        pytest.skip("make matrix AIRFLOW_VERSIONS=2.11 makes the environment of Airflow 2.11")
    gate = Gate()
    with StripeSandbox(transition=gate, data_available_end=int(DAY.timestamp())) as stripe:
        connection = {"conn_type": "stripe", "host": stripe.url, "password": stripe.api_key}
        environment = {
            "AIRFLOW_CONN_STRIPE_DEFAULT": json.dumps(connection),
            "AIRFLOW_VAR_STRIPE_REPORTS": str(tmp_path),
            "AIRFLOW__TRIGGERER__JOB_HEARTBEAT_SEC": "1",
            "PYTHONPATH": str(ROOT),
        }
        (tmp_path / "dags").mkdir()
        (tmp_path / "dags" / "books.py").write_text(DAGS)
        path = f"{OLD.parent}:{os.environ['PATH']}"  # its executor calls airflow by name
        old = OldAirflow(tmp_path, tmp_path / "dags", {**environment, "PATH": path})
        old.run("db", "migrate")
        old.run("dags", "reserialize")
        with old:
            old.run("dags", "trigger", "--exec-date", DAY.isoformat(), "books")
            assert states_of(old, tmp_path, DEFERRED) == DEFERRED
        # Of what 2.11 wrote into airflow.cfg, this is what 3.3 can't use.
        manager = "airflow.api_fastapi.auth.managers.simple.simple_auth_manager.SimpleAuthManager"
        new = Airflow(tmp_path, tmp_path / "dags", {**environment, "AIRFLOW__CORE__AUTH_MANAGER": manager})
        new.run("db", "migrate")
        new.run("dags", "reserialize")
        gate.open()
        stripe.configure(data_available_end=int(DAY.timestamp()) + 86_400)
        with new:
            assert states_of(new, tmp_path, DONE) == DONE
            tries = [it["try_number"] for it in new.get("dags/books/dagRuns/~/taskInstances")["task_instances"]]
    assert tries == [1] * len(DONE)
    assert [run.parameters.get("currency") for run in stripe.report_runs] in (["eur", None], [None, "eur"])
    assert (tmp_path / "report.csv").stat().st_size > 1000


def states_of(airflow: Airflow, home: Path, wanted: Mapping[str, str], timeout: float = 240) -> dict[str, str]:
    """Return the states of tasks, once they are as they should be, or after a time."""
    deadline = time.monotonic() + timeout
    while True:
        airflow.check()
        with closing(sqlite3.connect(home / "airflow.db", timeout=30)) as database:
            states = dict(database.execute("SELECT task_id, state FROM task_instance"))
        if states == wanted or time.monotonic() > deadline:
            return states
        time.sleep(1)
