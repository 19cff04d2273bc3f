from __future__ import annotations

from pathlib import Path

from airflow_reportrun.sandbox import AfterReads, StripeSandbox
from demo.airflow import Airflow

DAG = """
from datetime import datetime, timezone

from airflow.sdk import DAG

from airflow_reportrun.operators import StripeReportRunOperator

with DAG("tried_out", schedule="@daily", start_date=datetime(2026, 5, 1, tzinfo=timezone.utc)):
    StripeReportRunOperator(task_id="report", report_type="balance.summary.1", deferrable=True)
"""


def test_dags_test_waits_in_a_trigger_with_a_connection_of_the_database(tmp_path: Path) -> None:
    """Where Airflow has no asynchronous look-up: as a new user tries a DAG out, with a connection made before."""
    dags = tmp_path / "dags"
    dags.mkdir()
    (dags / "tried_out.py").write_text(DAG)
    with StripeSandbox(transition=AfterReads(2)) as sandbox:
        airflow = Airflow(tmp_path, dags, {"PYTHONPATH": str(Path(__file__).parent.parent)})
        airflow.run("db", "migrate")
        host, port = sandbox.url.removeprefix("http://").split(":")
        where = ("--conn-host", host, "--conn-port", port, "--conn-schema", "http")
        key = ("--conn-password", sandbox.api_key)
        airflow.run("connections", "add", "stripe_default", "--conn-type", "stripe", *key, *where)
        airflow.run("dags", "test", "tried_out", "2026-05-03")
        (run,) = sandbox.report_runs
        assert run.status == "succeeded"  # which a look of the trigger's found out
