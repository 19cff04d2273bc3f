"""Each kind of start, through Airflow's task runner: what Stripe is asked for in the end.

Which interval a run has is in ``test_intervals``; that a scheduler makes such runs, in ``system_tests``.
"""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from airflow.providers.common.compat.sdk import DAG, task_group

from airflow_reportrun.operators import StripeReportRunOperator
from airflow_reportrun.sandbox import AtOnce, StripeSandbox
from airflow_reportrun.sensors import StripeReportTypeSensor
from tests.task_runner import END, START, TaskRunner, in_dag
from tests.versions import CronPartitionTimetable, needs_airflow, needs_airflow_3

DATELESS: dict[str, Any] = dict.fromkeys(("logical_date", "data_interval_start", "data_interval_end"))
ACCOUNTS = ["acct_1", "acct_2"]


@pytest.fixture(autouse=True)
def _reports_are_there_at_once(stripe_conn: StripeSandbox) -> None:
    stripe_conn.configure(transition=AtOnce())


def asked(sandbox: StripeSandbox) -> list[tuple[str, str]]:
    """Return the intervals that report runs were created for."""
    forms: list[Any] = [request.form["parameters"] for request in sandbox.requests_to("create")]
    return [(form["interval_start"], form["interval_end"]) for form in forms]


def epochs(start: datetime, end: datetime) -> tuple[str, str]:
    return str(int(start.timestamp())), str(int(end.timestamp()))


def run_operator(**kwargs: Any) -> Any:
    return in_dag(StripeReportRunOperator, **{"report_type": "balance.summary.1", **kwargs})


def test_a_task_that_is_mapped_over_accounts(stripe_conn: StripeSandbox) -> None:
    """Each acts as its own, in all that it asks; a retry of one is given its own run again."""
    with DAG("stripe", schedule=None, start_date=START):
        mapped = StripeReportRunOperator.partial(
            task_id="report", retries=3, report_type="balance.summary.1"
        ).expand(stripe_account=ACCOUNTS)
    runner = TaskRunner()
    for map_index, try_number in ((0, 1), (1, 1), (1, 2)):
        tried = runner.run(mapped, map_index=map_index, try_number=try_number)
        assert tried.state == "success", tried.error
    assert [run.account for run in stripe_conn.report_runs] == ACCOUNTS
    assert {request.account for request in stripe_conn.requests} == set(ACCOUNTS)


def test_a_task_that_is_mapped_over_whole_sets_of_options(stripe_conn: StripeSandbox) -> None:
    """They need not differ in the same option."""
    with DAG("stripe", schedule=None, start_date=START):
        mapped = StripeReportRunOperator.partial(task_id="report", retries=3).expand_kwargs(
            [
                {"report_type": "balance.summary.1"},
                {"report_type": "balance_change_from_activity.summary.1", "currency": "eur"},
            ]
        )
    runner = TaskRunner()
    for map_index in (0, 1):
        assert runner.run(mapped, map_index=map_index).state == "success"
    assert [run.report_type for run in stripe_conn.report_runs] == [
        "balance.summary.1",
        "balance_change_from_activity.summary.1",
    ]


def test_a_mapped_sensor_waits_for_each_account(stripe_conn: StripeSandbox) -> None:
    """Each account has data of its own."""
    with DAG("stripe", schedule=None, start_date=START):
        mapped = StripeReportTypeSensor.partial(task_id="report", report_type="balance.summary.1").expand(
            stripe_account=ACCOUNTS
        )
    for map_index in (0, 1):
        assert TaskRunner().run(mapped, map_index=map_index).state == "success"
    assert [request.account for request in stripe_conn.requests] == ACCOUNTS


def test_a_task_of_a_mapped_group(stripe_conn: StripeSandbox) -> None:
    """It is no mapped task itself, but its map index tells it from its siblings."""
    with DAG("stripe", schedule=None, start_date=START) as dag:

        @task_group
        def of_account(account: str) -> None:
            StripeReportRunOperator(task_id="report", report_type="balance.summary.1", stripe_account=account)

        of_account.expand(account=ACCOUNTS)
    runner = TaskRunner()
    for map_index in (0, 1):
        tried = runner.run(dag.get_task("of_account.report"), map_index=map_index)
        assert tried.state == "success", tried.error
    assert [run.account for run in stripe_conn.report_runs] == ACCOUNTS


def test_bounds_in_the_conf_of_a_dag_run(stripe_conn: StripeSandbox) -> None:
    """Of whoever triggers it, in local time as it may be."""
    conf = {"interval_start": "2024-03-01T00:00:00+01:00", "interval_end": "2024-04-01T00:00:00+02:00"}
    task = run_operator(**{name: f"{{{{ dag_run.conf['{name}'] }}}}" for name in conf})
    assert TaskRunner(dag_run={"conf": conf}).run(task).state == "success"
    assert asked(stripe_conn) == [epochs(*map(datetime.fromisoformat, conf.values()))]


@needs_airflow_3("DAG runs without a logical date")
def test_a_run_without_a_logical_date(stripe_conn: StripeSandbox) -> None:
    """Triggered by hand, in a DAG without a schedule: the day before the run."""
    dag_run = {**DATELESS, "run_type": "manual", "run_after": datetime(2024, 5, 2, 15, 30, tzinfo=UTC)}
    runner = TaskRunner(run_id="manual__2024-05-02", dag_run=dag_run)
    assert runner.run(run_operator(interval="day")).state == "success"
    assert asked(stripe_conn) == [epochs(START, END)]


@needs_airflow_3("DAG runs without a logical date")
def test_a_run_without_a_logical_date_that_does_not_say_what_for(stripe_conn: StripeSandbox) -> None:
    """Nothing is guessed, and nothing sent."""
    dag_run = {**DATELESS, "run_type": "manual", "run_after": datetime(2024, 5, 2, 15, 30, tzinfo=UTC)}
    tried = TaskRunner(dag_run=dag_run).run(run_operator())
    assert tried.state == "failed"
    assert "has no period" in str(tried.error)
    assert stripe_conn.requests == []


@needs_airflow(3, 3, "dates of partitions")
@pytest.mark.parametrize("made", ["scheduled", "backfilled"])
def test_a_run_for_a_partition(stripe_conn: StripeSandbox, tmp_path: Path, made: str) -> None:
    """Made at the tick after it, or for its date: the day of its key, which names the file, and has 23 hours."""
    schedule = CronPartitionTimetable("@daily", timezone="Europe/Berlin", run_offset=-1, key_format="%Y-%m-%d")
    day = datetime(2024, 3, 30, 23, tzinfo=UTC)
    tick = datetime(2024, 3, 31, 22, tzinfo=UTC)
    run_after = tick if made == "scheduled" else day
    dag_run = {**DATELESS, "partition_key": "2024-03-31", "partition_date": day, "run_after": run_after}
    destination = str(tmp_path / "{interval_start:%Y-%m-%d}.csv")
    tried = TaskRunner(dag_run=dag_run).run(run_operator(schedule=schedule, destination=destination))
    assert tried.state == "success", tried.error
    assert asked(stripe_conn) == [epochs(day, tick)]
    assert tried.returned["path"] == str(tmp_path / "2024-03-31.csv")
