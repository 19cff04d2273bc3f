"""Airflow's multi-team mode: a team's tasks reach its own account, by the same connection id as everybody's."""

from __future__ import annotations

import json
import time
from pathlib import Path

import pytest

from airflow_reportrun.sandbox import AfterReads, StripeSandbox
from demo.airflow import Airflow
from system_tests.stage import ROOT
from tests.databases import programs, running_postgres

TEAM = "finance"
DAGS = """
from airflow.sdk import DAG
from airflow_reportrun.operators import StripeReportRunOperator

with DAG("books", schedule=None, default_args={"retries": 3, "retry_delay": 1, "poll_interval": 5}):
    for deferrable in (False, True):
        StripeReportRunOperator(
            task_id=f"deferrable_{deferrable}",
            report_type="balance.summary.1",
            interval="day",
            deferrable=deferrable,
        )
"""
"""The DAG file of the team."""


def bundle(name: str, folder: Path, **options: str) -> dict[str, object]:
    folder.mkdir()
    path = "airflow.dag_processing.bundles.local.LocalDagBundle"
    return {"name": name, "classpath": path, "kwargs": {"path": str(folder)}, **options}


def test_a_team_reports_on_its_own_account(tmp_path: Path) -> None:
    """In workers by its connection, and in its triggerer, which knows no team's, by its environment."""
    end = int(time.time()) + 86_400
    if programs() is None:
        pytest.skip("no PostgreSQL server is installed")
    with running_postgres() as server, StripeSandbox(data_available_end=end, transition=AfterReads(2)) as stripe:

        def connection(account: str) -> str:
            extra = {"stripe_account": account}
            return json.dumps(
                {"conn_type": "stripe", "host": stripe.url, "password": stripe.api_key, "extra": extra}
            )

        bundles = [bundle("dags-folder", tmp_path / "dags"), bundle(TEAM, tmp_path / TEAM, team_name=TEAM)]
        (tmp_path / TEAM / "books.py").write_text(DAGS)
        environment = {
            # On SQLite the API server stands still when a task of a team begins (3.3.2).
            "AIRFLOW__DATABASE__SQL_ALCHEMY_CONN": server.url,
            "AIRFLOW__CORE__MULTI_TEAM": "True",
            "AIRFLOW__CORE__EXECUTOR": f"LocalExecutor;{TEAM}=LocalExecutor",
            "AIRFLOW__DAG_PROCESSOR__DAG_BUNDLE_CONFIG_LIST": json.dumps(bundles),
            f"AIRFLOW_CONN__{TEAM.upper()}___STRIPE_DEFAULT": connection("acct_finance"),
            "AIRFLOW__TRIGGERER__JOB_HEARTBEAT_SEC": "1",
            "PYTHONPATH": str(ROOT),
        }
        airflow = Airflow(tmp_path, tmp_path / "dags", environment)
        # A team's executor has a configuration of its own, which does not fall back to everybody's.
        url = airflow.environment["AIRFLOW__CORE__EXECUTION_API_SERVER_URL"]
        airflow.environment[f"AIRFLOW__{TEAM.upper()}___CORE__EXECUTION_API_SERVER_URL"] = url
        airflow.run("db", "migrate")
        airflow.run("teams", "create", TEAM)
        airflow.run("connections", "add", "stripe_default", "--conn-json", connection("acct_everybody"))
        airflow.run("dags", "reserialize")
        with airflow:
            known = {"AIRFLOW_CONN_STRIPE_DEFAULT": connection("acct_finance")}
            airflow.begin("triggerer of the team", "triggerer", "--team-name", TEAM, "--skip-serve-logs", **known)
            airflow.post("dags/books/dagRuns", {"logical_date": None})
            deadline = time.monotonic() + 300
            while (states := _states(airflow)) != {"success"} and time.monotonic() < deadline:
                time.sleep(2)
    assert states == {"success"}
    assert len(stripe.report_runs) == 2
    assert {request.account for request in stripe.requests} == {"acct_finance"}


def _states(airflow: Airflow) -> set[str | None]:
    found = airflow.get("dags/books/dagRuns/~/taskInstances")["task_instances"]
    return {it["state"] for it in found}
