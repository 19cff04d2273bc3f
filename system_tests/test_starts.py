from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

from system_tests.plan import CLOCKS_CHANGE, GIVEN, MAPPED, SOME_DATE, account
from system_tests.stage import Stage

DAY = timedelta(days=1)
Span = tuple[int, int]


def span(start: datetime, end: datetime) -> Span:
    return int(start.timestamp()), int(end.timestamp())


def yesterday(dag_run: dict[str, Any]) -> Span:
    """The last whole day, in UTC, when a DAG run was asked for."""
    asked = datetime.fromisoformat(dag_run["run_after"]).astimezone(UTC)
    midnight = asked.replace(hour=0, minute=0, second=0, microsecond=0)
    return span(midnight - DAY, midnight)


def assert_reported(stage: Stage, dag_id: str, *intervals: Span) -> None:
    """All of a DAG's tasks succeeded, with these intervals and one create for each."""
    assert set(stage.states(dag_id)) == {"success"}, stage.story(dag_id)
    assert stage.intervals(account(dag_id)) == sorted(intervals), stage.story(dag_id)
    assert len(stage.creates(account(dag_id))) == len(intervals), stage.story(dag_id)


def test_by_schedule(stage: Stage) -> None:
    """Runs that the scheduler makes by itself carry the period that ends at their tick."""
    ticks = [datetime(2026, 5, day, 6, tzinfo=UTC) for day in (1, 2, 3)]
    assert_reported(stage, "start_by_schedule", *(span(tick - DAY, tick) for tick in ticks))


def test_on_a_date(stage: Stage) -> None:
    """A logical date given to the REST API is as good as a tick."""
    assert_reported(stage, "start_on_a_date", span(SOME_DATE - DAY, SOME_DATE))


def test_without_a_date(stage: Stage) -> None:
    """As the UI triggers by default: the last whole day when the run was asked for."""
    (dag_run,) = stage.dag_runs("start_without_a_date")
    assert dag_run["logical_date"] is None
    assert_reported(stage, "start_without_a_date", yesterday(dag_run))


def test_with_conf(stage: Stage) -> None:
    """Templates take the bounds from ``dag_run.conf``, or else from the data interval."""
    given = (
        datetime.fromisoformat(GIVEN["interval_start"]),
        datetime.fromtimestamp(int(GIVEN["interval_end"]), UTC),
    )
    last_day_in_new_york = datetime(2026, 5, 9, 4, tzinfo=UTC), datetime(2026, 5, 10, 4, tzinfo=UTC)
    assert_reported(stage, "start_with_conf", span(*given), span(*last_day_in_new_york))


def test_unscheduled(stage: Stage) -> None:
    """Without a schedule, the last whole day at the logical date, or when the run was asked for."""
    midnight = SOME_DATE.replace(hour=0)
    (undated,) = (run for run in stage.dag_runs("start_unscheduled") if run["logical_date"] is None)
    assert_reported(stage, "start_unscheduled", span(midnight - DAY, midnight), yesterday(undated))


def test_without_an_interval(stage: Stage) -> None:
    """Where nothing says what to report on, the task fails at its first try, and nothing is created."""
    assert_refused(stage, "start_without_an_interval")


def test_from_the_command_line(stage: Stage) -> None:
    """``airflow dags trigger --logical-date`` computes the data interval for another date, so it is refused."""
    assert_refused(stage, "start_from_command_line")


def assert_refused(stage: Stage, dag_id: str) -> None:
    assert [(it["state"], it["try_number"]) for it in stage.task_instances(dag_id)] == [("failed", 1)]
    assert stage.creates(account(dag_id)) == []


def test_by_asset(stage: Stage) -> None:
    """The last whole day when the asset was updated."""
    (dag_run,) = stage.dag_runs("start_by_asset")
    assert dag_run["run_type"] == "asset_triggered"
    assert_reported(stage, "start_by_asset", yesterday(dag_run))


def test_by_partition(stage: Stage) -> None:
    """A partitioned asset's consumer reports on the day of its key, in each task of a mapped group."""
    first, _ = CLOCKS_CHANGE["spring"]
    days = [span(first + day * DAY, first + (day + 1) * DAY) for day in range(8)]
    assert set(stage.states("start_by_partition")) == {"success"}, stage.story("start_by_partition")
    for owner in MAPPED["start_by_partition"]:
        assert stage.intervals(owner) == days
        assert len(stage.creates(owner)) == len(days)


def test_mapped(stage: Stage) -> None:
    """Mapped tasks, each for an account, create one report run each."""
    (dag_run,) = stage.dag_runs("start_mapped")
    assert set(stage.states("start_mapped")) == {"success"}, stage.story("start_mapped")
    for owner in MAPPED["start_mapped"]:
        assert stage.intervals(owner) == [yesterday(dag_run)]
        assert len(stage.creates(owner)) == 1
