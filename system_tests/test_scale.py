"""Many reports that wait at once, on PostgreSQL and under Stripe's limits; ``TASKS=1000`` for more of them."""

from __future__ import annotations

import time
from collections.abc import Iterator
from datetime import datetime

import pytest

from airflow_reportrun.sandbox import RateLimits
from system_tests.plan import TASKS, account, hours
from system_tests.stage import Stage
from tests.databases import programs, running_postgres

REQUESTS_A_TASK = 30
"""Far more than it takes: what is held is that no wait asks without an end."""

PATIENCE = 120 + 3 * TASKS
"""Seconds: a task that starts, or goes on, takes half a second of two cores."""


@pytest.fixture(scope="module")
def scale(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stage]:
    if programs() is None:
        pytest.skip("no PostgreSQL server is installed")
    with (
        running_postgres() as server,
        Stage(
            tmp_path_factory.mktemp("scale"), "dags_at_scale", database=server.url, rate_limits=RateLimits()
        ) as it,
    ):
        it.airflow.run("db", "migrate")
        it.airflow.run("dags", "reserialize")
        with it.airflow:
            yield it


def test_each_task_ends_once_though_its_triggerer_dies_twice(scale: Stage) -> None:
    """It dies while tasks begin to wait, and while some go on: each has its own report run, and one."""
    dag_id = "scale_killed"
    first = scale.hold()
    scale.trigger(dag_id)
    wait_for(scale, dag_id, "deferred", TASKS // 2)
    replace_triggerer(scale)
    second = scale.hold()
    wait_for(scale, dag_id, "deferred", TASKS)
    scale.release(first)
    wait_for(scale, dag_id, "success", TASKS // 4)
    replace_triggerer(scale)
    scale.release(second)
    released = time.time()
    wait_for(scale, dag_id, "success", TASKS)
    assert_each_once(scale, dag_id, released)


def test_two_triggerers_share_the_tasks_and_one_inherits_the_other(scale: Stage) -> None:
    """Both wait for one account, one of them dies: each task has its own report run, and one."""
    dag_id = "scale_shared"
    scale.airflow.start("triggerer:2")
    gate = scale.hold()
    scale.trigger(dag_id)
    wait_for(scale, dag_id, "deferred", TASKS)
    triggers = [instance["trigger"] for instance in scale.task_instances(dag_id)]
    sharing = {trigger["triggerer_id"] for trigger in triggers} - {None}  # the newest may have none yet
    assert len(sharing) == 2, scale.story(dag_id)
    scale.airflow.kill("triggerer:2")
    scale.release(gate)
    released = time.time()
    wait_for(scale, dag_id, "success", TASKS)
    assert_each_once(scale, dag_id, released)


def replace_triggerer(scale: Stage) -> None:
    scale.airflow.kill("triggerer")
    scale.airflow.start("triggerer")
    scale.say("another triggerer")


def wait_for(scale: Stage, dag_id: str, state: str, number: int) -> None:
    """Wait until so many tasks are in a state."""
    what = f"{number} tasks in the state {state}"
    scale.until(lambda: scale.count_task_instances(dag_id, state) >= number, what, dag_id, timeout=PATIENCE)
    scale.say(what)


def assert_each_once(scale: Stage, dag_id: str, released: float) -> None:
    """Hold that each task returns the one report run of its hour, and that no other run was made."""
    owner = account(dag_id)
    say_what_it_took(scale, dag_id, released)
    runs = {int(str(run.parameters["interval_start"])): run.id for run in scale.runs(owner)}
    assert len(scale.runs(owner)) == len(runs) == TASKS, scale.story(dag_id)
    created = [request.replayed for request in scale.creates(owner) if request.status == 200]
    assert created.count(False) == TASKS
    (dag_run,) = scale.dag_runs(dag_id)
    where = f"dags/{dag_id}/dagRuns/{dag_run['dag_run_id']}/taskInstances/report/xcomEntries/return_value"
    for index, hour in enumerate(hours()):
        returned = scale.airflow.get(where, map_index=index, deserialize=True)["value"]
        start = int(datetime.fromisoformat(hour["interval_start"]).timestamp())
        assert returned["status"] == "succeeded"
        assert returned["report_run_id"] == runs[start], hour
    assert len(scale.requests(owner)) <= REQUESTS_A_TASK * TASKS


def say_what_it_took(scale: Stage, dag_id: str, released: float) -> None:
    """Show requests, refusals and delays, which no test holds: they are the machine's, too."""
    requests = scale.requests(account(dag_id))
    refused = sum(request.status == 429 for request in requests)
    instances = scale.task_instances(dag_id)
    went_on = [datetime.fromisoformat(it["scheduled_when"]).timestamp() for it in instances]
    delays = sorted(at - released for at in went_on if at > released)
    again = sum(it["try_number"] - 1 for it in instances)
    scale.say(
        f"{dag_id}: {len(requests) / TASKS:.1f} requests a task, {refused} times 429, {again} retries; of the "
        f"last {len(delays)} half went on {delays[len(delays) // 2]:.0f} s after their reports' end, and all "
        f"{delays[-1]:.0f} s after it"
    )
