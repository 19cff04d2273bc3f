from __future__ import annotations

import os
import signal
import time
from datetime import timedelta

import pytest

from system_tests.plan import SOME_DATE, account
from system_tests.stage import TAKEN_FOR_DEAD_AFTER, Stage


@pytest.mark.parametrize(("operation", "replayed"), [("create", [False, True]), ("retrieve", [False])])
def test_a_worker_dies_before_its_task_defers(stage: Stage, operation: str, replayed: list[bool]) -> None:
    """The retry asks for the same report run where the answer was not heard, and knows it where it was."""
    dag_id = f"crash_at_{operation}"
    with stage.stop_at(account(dag_id), operation) as stop:
        stage.trigger(dag_id, logical_date=SOME_DATE)
        stage.until(stop.reached.is_set, f"the request to {operation}", dag_id)
        kill_task(stage, dag_id)
    succeed(stage, dag_id)
    assert_submitted(stage, dag_id, replayed)


def test_a_worker_dies_while_it_waits(stage: Stage) -> None:
    """The retry knows the report run, and waits on."""
    dag_id = "crash_while_waiting"
    gate = stage.hold()
    stage.trigger(dag_id, logical_date=SOME_DATE)
    wait_for_looks(stage, dag_id, runs=1)
    kill_task(stage, dag_id)
    time.sleep(1)  # for requests on their way
    wait_for_looks(stage, dag_id, runs=1, since=looks(stage, dag_id))
    stage.release(gate)
    succeed(stage, dag_id)
    assert_submitted(stage, dag_id, [False])


def test_a_triggerer_dies(stage: Stage) -> None:
    """The next one goes on waiting for all pending reports, and no task starts anew."""
    dag_id, days = "crash_of_triggerer", 6
    gate = stage.hold()
    for day in range(days):
        stage.trigger(dag_id, logical_date=SOME_DATE + timedelta(days=day))
    wait_for_looks(stage, dag_id, runs=days)
    seen = lose(stage, dag_id, "triggerer")
    stage.airflow.start("triggerer")
    wait_for_looks(stage, dag_id, runs=days, since=seen)
    stage.release(gate)
    succeed(stage, dag_id)
    assert_submitted(stage, dag_id, [False] * days)


def test_a_machine_dies(stage: Stage) -> None:
    """Scheduler, workers and triggerer at once: who waited with a worker attaches, who was deferred waits on."""
    dag_id = "crash_of_machine"
    gate = stage.hold()
    stage.trigger(dag_id, logical_date=SOME_DATE)
    wait_for_looks(stage, dag_id, runs=2)
    seen = lose(stage, dag_id, "scheduler", "triggerer")
    stage.airflow.start("scheduler", "triggerer")
    wait_for_looks(stage, dag_id, runs=2, since=seen)
    stage.release(gate)
    succeed(stage, dag_id)
    assert_submitted(stage, dag_id, [False, False])


def kill_task(stage: Stage, dag_id: str) -> None:
    """Kill the process in which a DAG's one task runs."""
    (instance,) = stage.task_instances(dag_id)
    assert instance["state"] == "running", stage.story(dag_id)
    os.kill(instance["pid"], signal.SIGKILL)


def lose(stage: Stage, dag_id: str, *components: str) -> list[int]:
    """Kill components and running tasks; return how often the runs were looked at, once all count as dead."""
    running = [instance["pid"] for instance in stage.task_instances(dag_id) if instance["state"] == "running"]
    for component in components:
        stage.airflow.kill(component)
    for pid in running:  # each in a process group of its own, so that it would outlive its scheduler
        os.kill(pid, signal.SIGKILL)
    time.sleep(1)  # for requests on their way
    seen = looks(stage, dag_id)
    # A new scheduler looks for what dead ones left only when it starts, and then every five minutes.
    time.sleep(TAKEN_FOR_DEAD_AFTER)
    assert looks(stage, dag_id) == seen, f"Somebody still waits.\n{stage.story(dag_id)}"
    return seen


def looks(stage: Stage, dag_id: str) -> list[int]:
    """How often each report run was looked at, oldest first."""
    return [run.reads for run in stage.runs(account(dag_id))]


def wait_for_looks(stage: Stage, dag_id: str, *, runs: int, since: list[int] | None = None) -> None:
    """Wait until each report run was looked at once more, or first by its task and then by who waits for it."""
    before = since or [1] * runs

    def done() -> bool:
        now = looks(stage, dag_id)
        return len(now) == runs and all(later > earlier for later, earlier in zip(now, before, strict=True))

    stage.until(done, "another look at each report run", dag_id)


def succeed(stage: Stage, dag_id: str) -> None:
    """Wait until all of a DAG's tasks have succeeded."""
    stage.until(lambda: set(stage.states(dag_id)) == {"success"}, "success", dag_id)


def assert_submitted(stage: Stage, dag_id: str, replayed: list[bool]) -> None:
    """Each report run was asked for once, or again and Stripe knew it."""
    creates = stage.creates(account(dag_id))
    assert [request.replayed for request in creates] == replayed, stage.story(dag_id)
    assert len(stage.runs(account(dag_id))) == replayed.count(False), stage.story(dag_id)
