"""The keys of the partitions that a task's asset events are about."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from airflow.providers.common.compat.sdk import Asset

from airflow_reportrun.operators import (
    StripeReportDownloadOperator,
    StripeReportRunOperator,
    StripeReportToSqlOperator,
)
from airflow_reportrun.reporting.errors import ConfigurationError
from airflow_reportrun.sandbox import AfterReads, AtOnce, StripeSandbox
from tests.databases import Warehouse
from tests.task_runner import TaskRunner, Try, in_dag
from tests.versions import AIRFLOW_2, BEFORE_3_3, needs_airflow

DAY = "{interval_start:%Y-%m-%d}"
REPORT = "balance_change_from_activity.itemized.3"
of_3_3 = needs_airflow(3, 3, "partition keys of events")


@pytest.fixture(autouse=True)
def sandbox(stripe_conn: StripeSandbox) -> StripeSandbox:
    """Runs end at the first look."""
    stripe_conn.configure(transition=AtOnce())
    return stripe_conn


def outlets() -> dict[str, Any]:
    return {"outlets": [Asset(uri="x-test://days"), Asset(uri="x-test://more")]}


def report(**options: Any) -> Any:
    return in_dag(
        StripeReportRunOperator,
        **{"report_type": REPORT, "poll_interval": 0.01, "partition_key": DAY, **outlets(), **options},
    )


def keys(tried: Try) -> list[str | None]:
    """Return the keys of the events, one for each outlet."""
    assert tried.state == "success", tried.error
    return list(tried.partition_keys)


@of_3_3
def test_the_events_of_a_plain_schedule_get_a_key(sandbox: StripeSandbox) -> None:
    """The day that the report is about, in the schedule's time zone, whether anything lands or not."""
    assert keys(TaskRunner().run(report())) == ["2024-05-01"] * 2


@of_3_3
@pytest.mark.parametrize("zone", ["UTC", "America/New_York"])
def test_a_key_is_counted_by_the_clocks_of_the_schedule(zone: str) -> None:
    """As the destination is: midnight of UTC is the evening before in New York."""
    from airflow.sdk import CronTriggerTimetable

    tried = TaskRunner().run(report(schedule=CronTriggerTimetable("0 0 * * *", timezone=zone)))
    assert keys(tried) == ["2024-05-01" if zone == "UTC" else "2024-04-30"] * 2


@of_3_3
def test_a_deferred_task_gives_the_key_when_it_goes_on(sandbox: StripeSandbox, tmp_path: Path) -> None:
    """With what landed beside it."""
    sandbox.configure(transition=AfterReads(2))
    task, runner = report(deferrable=True, destination=f"{tmp_path}/{DAY}.csv"), TaskRunner()
    tried = runner.resume(task, runner.run(task))
    assert keys(tried) == ["2024-05-01"] * 2
    assert [extra["path"] for extra in tried.asset_extras] == [f"{tmp_path}/2024-05-01.csv"] * 2


@of_3_3
def test_a_task_that_does_not_wait_gives_it_as_well(sandbox: StripeSandbox) -> None:
    """What it tells of is the report that was asked for."""
    sandbox.configure(transition=AfterReads(10_000))
    assert keys(TaskRunner().run(report(wait_for_completion=False))) == ["2024-05-01"] * 2


@of_3_3
def test_mapped_tasks_give_a_key_each() -> None:
    """Of their own intervals, and with their filters."""
    for index, day in enumerate(["2024-04-29", "2024-04-30"]):
        bounds = {"interval_start": f"{day}T00:00Z", "interval_end": f"{day}T12:00Z"}
        task = report(**bounds, currency="eur", partition_key=f"{{currency}}|{DAY}")
        assert keys(TaskRunner().run(task, map_index=index)) == [f"eur|{day}"] * 2


@of_3_3
def test_landings_give_the_key_of_the_run_that_they_were_given(warehouse: Warehouse, tmp_path: Path) -> None:
    """Whatever the DAG run that lands it is for."""
    given = TaskRunner().run(report(partition_key=None)).returned
    later = TaskRunner(run_id="later", dag_run={"logical_date": datetime(2024, 6, 1, tzinfo=UTC)})
    options = {"report_run_id": given, "partition_key": DAY, **outlets()}
    download = in_dag(StripeReportDownloadOperator, destination=f"{tmp_path}/x.csv", **options)
    to_sql = in_dag(StripeReportToSqlOperator, table="books", conn_id="warehouse", **options)
    assert [keys(later.run(it)) for it in (download, to_sql)] == [["2024-05-01"] * 2] * 2


@of_3_3
def test_without_a_key_of_its_own_an_event_has_that_of_the_dag_run() -> None:
    """Airflow gives it, so nothing is sent."""
    assert keys(TaskRunner().run(report(partition_key=None))) in ([], [None] * 2)


@of_3_3
@pytest.mark.parametrize(
    ("key", "message"),
    [
        ("{interval:%Y}", "partition_key '{interval:%Y}' has the placeholder {interval}; known here are"),
        ("{interval_start:%Y", "partition_key '{interval_start:%Y': unmatched '{'"),
        ("{currency}", "has the placeholder {currency}"),
        (" ", "partition_key ' ' has to have 1 to 250 characters"),
        ("x" * 251, "has to have 1 to 250 characters"),
    ],
)
def test_what_can_be_no_key_is_refused_before_a_report_is_asked_for(
    sandbox: StripeSandbox, key: str, message: str
) -> None:
    """Else a day would be landed, and its month never closed."""
    tried = TaskRunner().run(report(partition_key=key))
    assert tried.state == "failed"
    assert message in str(tried.error)
    assert not sandbox.report_runs


def impossible() -> Iterable[tuple[dict[str, Any], str]]:
    yield {"outlets": []}, "outlets=[Asset(…)]"
    if not AIRFLOW_2:
        from airflow.sdk import AssetAlias

        yield {"outlets": [AssetAlias("days")]}, "no AssetAlias"


@of_3_3
@pytest.mark.parametrize(("options", "message"), impossible())
def test_a_key_without_an_event_is_refused_when_the_file_is_parsed(options: dict[str, Any], message: str) -> None:
    """It would be lost in silence."""
    with pytest.raises(ConfigurationError) as caught:
        report(**options)
    assert message in str(caught.value)


@pytest.mark.skipif(not BEFORE_3_3, reason="Airflow 3.3 has keys")
def test_before_airflow_3_3_there_are_no_keys() -> None:
    """It is said when the file is parsed."""
    with pytest.raises(ConfigurationError, match=r"needs Airflow 3\.3"):
        report()
