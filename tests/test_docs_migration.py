"""``docs/migration.md``: both sides run, and differ in what the page says."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from airflow_reportrun.hooks import StripeReportingHook
from airflow_reportrun.reporting.resending import ResendPolicy
from airflow_reportrun.sandbox import AtOnce, Dropped, RunFails, ShortContents, StripeSandbox, Unavailable
from tests.docs_blocks import programs
from tests.task_runner import END, START, TaskRunner, Try
from tests.versions import AIRFLOW_2

BY_HTTP, AFTER_HTTP, SCRIPT, AFTER_SCRIPT = programs("docs/migration.md")
EMPTY = {"logical_date": END, "data_interval_start": END, "data_interval_end": END}


@pytest.fixture
def stripe(stripe_conn: StripeSandbox, monkeypatch: pytest.MonkeyPatch) -> StripeSandbox:
    """The sandbox behind both connections, before clients that don't wait between tries."""
    stripe_conn.configure(transition=AtOnce())
    host, port = stripe_conn.url.removeprefix("http://").split(":")
    http = {"conn_type": "http", "host": host, "port": int(port), "login": stripe_conn.api_key}
    monkeypatch.setenv("AIRFLOW_CONN_STRIPE_HTTP", json.dumps(http))
    monkeypatch.setattr(StripeReportingHook, "resend_policy", ResendPolicy(max_tries=1, first_pause=0))
    return stripe_conn


def dag_of(program: str, folder: Path) -> Any:
    """Return the DAG of a program, whose files are below a folder."""
    (folder / "data" / "stripe").mkdir(parents=True, exist_ok=True)
    code = program.replace("/data/", f"{folder}/data/")
    code = code.replace("airflow.sdk", "airflow.providers.common.compat.sdk") if AIRFLOW_2 else code
    names: dict[str, Any] = {}
    exec(code, names)  # noqa: S102 - our own page
    return names["dag"]


def run(runner: TaskRunner, dag: Any, *tasks: str, **how: Any) -> Try:
    """Run tasks one after the other, and what they defer to, up to the first that does not succeed."""
    for task_id in tasks:
        task = dag.get_task(task_id)
        tried = runner.run(task, **how)
        if tried.state == "deferred":
            tried = runner.resume(task, tried)
        if tried.state != "success":
            break
    return tried


def landed(folder: Path) -> dict[str, bytes]:
    """Return what is in the folder of the reports, by name."""
    return {path.name: path.read_bytes() for path in (folder / "data" / "stripe").glob("*.csv")}


HTTP = "create", "wait", "fetch"


def test_both_ways_land_the_same_file(stripe: StripeSandbox, tmp_path: Path) -> None:
    """Under the same name, where the data interval is a day."""
    before, after = tmp_path / "before", tmp_path / "after"
    assert run(TaskRunner(), dag_of(BY_HTTP, before), *HTTP).state == "success"
    assert run(TaskRunner(), dag_of(AFTER_HTTP, after), "report").state == "success"
    assert landed(before) == landed(after)
    assert list(landed(before)) == [f"{START:%Y-%m-%d}.csv"]


def test_an_empty_interval_is_refused_before_and_the_day_after(stripe: StripeSandbox, tmp_path: Path) -> None:
    """As Airflow 3 gives it to a run of ``@daily``."""
    tried = run(TaskRunner(dag_run=EMPTY), dag_of(BY_HTTP, tmp_path), *HTTP)
    assert "400" in str(tried.error)
    assert run(TaskRunner(dag_run=EMPTY), dag_of(AFTER_HTTP, tmp_path), "report").state == "success"
    (of_the_day,) = stripe.report_runs
    assert of_the_day.parameters["interval_end"] == int(END.timestamp())


@pytest.mark.parametrize(("program", "tasks", "created"), [(BY_HTTP, HTTP, 2), (AFTER_HTTP, ("report",), 1)])
def test_a_lost_answer_costs_a_second_run_before_and_none_after(
    stripe: StripeSandbox, tmp_path: Path, program: str, tasks: tuple[str, ...], created: int
) -> None:
    """The first try ends without an answer, the second one succeeds."""
    stripe.inject(Dropped(committed=True))
    runner, dag = TaskRunner(), dag_of(program, tmp_path)
    assert run(runner, dag, *tasks).state != "success"
    assert run(runner, dag, *tasks, try_number=2).state == "success"
    assert len(stripe.report_runs) == created


def test_a_failed_run_is_waited_for_before_and_told_after(stripe: StripeSandbox, tmp_path: Path) -> None:
    """Nobody waits for seven days here."""
    dag = dag_of(BY_HTTP, tmp_path)
    assert dag.get_task("wait").timeout == timedelta(days=7).total_seconds()
    dag.get_task("wait").timeout = dag.get_task("wait").poke_interval = 0.01
    stripe.inject(RunFails("The report could not be made."), times=2)
    assert "timed out" in str(run(TaskRunner(), dag, *HTTP).error)
    tried = run(TaskRunner(), dag_of(AFTER_HTTP, tmp_path), "report")
    assert "The report could not be made." in str(tried.error)


def test_half_a_file_looks_whole_before_and_is_refused_after(stripe: StripeSandbox, tmp_path: Path) -> None:
    """It is as long as its head says, and shorter than Stripe's file."""
    before, after = tmp_path / "before", tmp_path / "after"
    stripe.inject(ShortContents(100), times=9, on="contents")
    assert run(TaskRunner(), dag_of(BY_HTTP, before), *HTTP).state == "success"
    assert [len(it) for it in landed(before).values()] == [100]
    tried = run(TaskRunner(), dag_of(AFTER_HTTP, after), "report")
    assert "and Stripe's file has" in str(tried.error)
    assert landed(after) == {}


def script(stripe: StripeSandbox, folder: Path) -> subprocess.CompletedProcess[str]:
    """Run the script for the day of the DAG run."""
    (folder / "data" / "stripe").mkdir(parents=True, exist_ok=True)
    (folder / "report.py").write_text(SCRIPT)
    command = [sys.executable, str(folder / "report.py"), f"{START:%Y-%m-%d}", str(folder / "data" / "stripe")]
    environment = os.environ | {"STRIPE_API": stripe.url, "STRIPE_API_KEY": stripe.api_key}
    return subprocess.run(command, env=environment, capture_output=True, text=True, check=False)


def test_the_script_and_the_dag_land_the_same_file(stripe: StripeSandbox, tmp_path: Path) -> None:
    """Started once more, the script asks for another report run, and another try of the task does not."""
    before, after = tmp_path / "before", tmp_path / "after"
    for _ in range(2):
        assert script(stripe, before).returncode == 0
    assert len(stripe.report_runs) == 2
    runner, dag = TaskRunner(dag_run=EMPTY | {"run_after": datetime(2024, 5, 2, 13, tzinfo=UTC)}), None
    dag = dag_of(AFTER_SCRIPT, after)
    for try_number in (1, 2):
        assert run(runner, dag, "report", try_number=try_number).state == "success"
    assert len(stripe.report_runs) == 3
    assert landed(before) == landed(after)


@pytest.mark.parametrize(
    ("fault", "before"), [(Unavailable(), "KeyError: 'status'"), (RunFails("No."), "TypeError: ")]
)
def test_what_the_script_says_of_a_failure(stripe: StripeSandbox, tmp_path: Path, fault: Any, before: str) -> None:
    """As the page has it."""
    stripe.inject(fault)
    done = script(stripe, tmp_path)
    assert before in done.stderr
    assert landed(tmp_path) == {}
