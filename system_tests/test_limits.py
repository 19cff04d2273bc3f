from __future__ import annotations

from datetime import timedelta

import pytest

from system_tests.plan import ESCAPING, FIRST_DAY, INTERVALS, LIMIT, SLOTS, account
from system_tests.stage import Stage

DAY = timedelta(days=1)


@pytest.mark.parametrize(
    "limit",
    [
        # A pool with include_deferred. What counts is the slot of the deferred task.
        "pool",
        # The backfill's own max_active_runs; the DAG's, which is 1, does not count for it.
        "backfill",
        # max_active_tis_per_dag, for which Airflow 3.3 counts deferred tasks as active.
        "task",
    ],
)
def test_a_limit_holds_for_pending_reports(stage: Stage, limit: str) -> None:
    """It is reached and never passed, and each interval comes to its one report run."""
    dag_id = f"limit_of_{limit}"
    assert stage.most_pending[account(dag_id)] == LIMIT, stage.story(dag_id)
    assert_each_day_once(stage, dag_id, INTERVALS)


def test_deferred_tasks_leave_a_pool_that_does_not_count_them(stage: Stage) -> None:
    """Such a pool limits how many submit at once, not how many reports are pending."""
    dag_id = "limit_of_other_pool"
    assert stage.most_pending[account(dag_id)] == ESCAPING > SLOTS, stage.story(dag_id)
    assert_each_day_once(stage, dag_id, ESCAPING)


def assert_each_day_once(stage: Stage, dag_id: str, days: int) -> None:
    starts = [int((FIRST_DAY + day * DAY).timestamp()) for day in range(-1, days - 1)]
    assert [start for start, _ in stage.intervals(account(dag_id))] == starts, stage.story(dag_id)
    assert {end - start for start, end in stage.intervals(account(dag_id))} == {86_400}
    assert set(stage.states(dag_id)) == {"success"}, stage.story(dag_id)
