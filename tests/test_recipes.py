"""The recipe that takes a package of its own, dag-factory: ``make recipes``; the others are in system_tests."""

from __future__ import annotations

import runpy
from pathlib import Path
from typing import Any

import pytest
from airflow.providers.common.compat.sdk import DAG

from airflow_reportrun.operators import StripeReportRunOperator
from airflow_reportrun.sandbox import AtOnce, StripeSandbox
from tests.docs_blocks import programs
from tests.task_runner import TaskRunner

pytest.importorskip("dagfactory", reason="dag-factory comes with make recipes")

ROOT = Path(__file__).parent.parent


@pytest.fixture
def dag(tmp_path: Path) -> Any:
    """The DAG of the page's YAML, loaded as the page says."""
    (yaml,) = programs("docs/recipes.md", "yaml")
    yaml = yaml.replace("/tmp/stripe", str(tmp_path))  # noqa: S108 - what is not to be written to
    (program,) = (it for it in programs("docs/recipes.md") if "dagfactory" in it)
    file = tmp_path / "stripe.yml"
    file.write_text(yaml)
    dags: dict[str, Any] = {}
    exec(program.replace("/opt/airflow/dags/stripe.yml", str(file)), dags)  # noqa: S102 - our own
    return dags["stripe_daily_activity"]


def test_yaml_makes_the_dag_of_the_example(dag: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """With the same schedule, and a task with the same options."""
    entered: list[DAG] = []
    enter = DAG.__enter__

    def entering(self: DAG) -> DAG:
        entered.append(self)
        return enter(self)

    monkeypatch.setattr(DAG, "__enter__", entering)
    runpy.run_path(str(ROOT / "example_dags" / "stripe_daily_activity.py"))
    (example,) = entered
    for name in ("schedule", "start_date", "catchup"):
        assert getattr(dag, name) == getattr(example, name)
    ours, theirs = (it.get_task("activity") for it in (dag, example))
    assert type(ours) is StripeReportRunOperator
    ours.destination = str(ours.destination).replace(str(tmp_path), "/tmp/stripe")  # noqa: S108
    for name in (*ours.template_fields, "interval", "deferrable", "retries", "retry_delay"):
        assert getattr(ours, name) == getattr(theirs, name), name


def test_its_task_lands_a_report(dag: Any, stripe_conn: StripeSandbox, tmp_path: Path) -> None:
    """As one of a DAG in Python."""
    stripe_conn.configure(transition=AtOnce())
    tried = TaskRunner().run(dag.get_task("activity"))
    assert tried.state == "success", tried.error
    assert (tmp_path / "activity" / "2024-05-01.csv").exists()
