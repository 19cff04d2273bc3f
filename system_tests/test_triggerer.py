from __future__ import annotations

from typing import Any

import pytest

from system_tests.stage import Stage


@pytest.fixture(scope="module")
def tries(stage: Stage) -> dict[str, dict[str, Any]]:
    """The task instances of the DAG whose sensors begin in the triggerer."""
    return {it["task_id"]: it for it in stage.task_instances("triggerer")}


def test_a_sensor_that_begins_and_ends_in_the_triggerer_has_no_process(tries: dict[str, dict[str, Any]]) -> None:
    """With what another task returned, with a template, and for data."""
    for task_id in ("by_result", "by_template", "data"):
        assert (tries[task_id]["state"], tries[task_id]["pid"]) == ("success", None), tries[task_id]
    assert tries["begins"]["state"] == "success"
    assert tries["begins"]["pid"]


def test_the_next_task_gets_what_another_mode_returns(stage: Stage, tries: dict[str, dict[str, Any]]) -> None:
    """The dict, and not its text."""
    assert tries["require_equal"]["state"] == "success", stage.story("triggerer")


def test_other_ends_are_those_of_a_deferred_sensor(stage: Stage, tries: dict[str, dict[str, Any]]) -> None:
    """Without retries but where the try had no time left, which is Airflow's to retry."""
    ends = {task_id: (tries[task_id]["state"], tries[task_id]["try_number"]) for task_id in tries}
    assert ends["late"] == ("failed", 1), stage.story("triggerer")
    assert ends["late_skipped"] == ("skipped", 1)
    assert ends["late_retried"] == ("failed", 2)
    assert ends["gone"] == ("failed", 1)


def test_the_link_of_the_task_is_there(stage: Stage, tries: dict[str, dict[str, Any]]) -> None:
    """As a worker writes it down."""
    path = f"dags/triggerer/dagRuns/{tries['by_result']['dag_run_id']}/taskInstances/by_result/links"
    assert "dashboard.stripe.com/acct_triggerer/test/workbench/logs?object=req_" in str(stage.airflow.get(path))
