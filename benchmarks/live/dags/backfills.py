"""What the benchmark's Airflow runs: backfills of reports and of waits, and a task that rows are made for."""

from __future__ import annotations

import os
from datetime import UTC, datetime
from typing import Any

from airflow.sdk import DAG, BaseOperator, Context

from airflow_reportrun.operators import StripeReportRunOperator
from benchmarks.live.triggers import EmptyTrigger

SECONDS = float(os.environ.get("REPORT_SECONDS", "60"))


class DefersOnce(BaseOperator):
    """Waits in the triggerer for as long as a report takes, and asks nobody."""

    def execute(self, context: Context) -> None:
        """Defer."""
        self.defer(trigger=EmptyTrigger(seconds=SECONDS), method_name="execute_complete")

    def execute_complete(self, context: Context, event: dict[str, Any]) -> None:
        """Succeed."""


for dag_id in ("reports", "preloaded", "waits"):
    with DAG(
        dag_id,
        schedule="0 0 * * *",
        start_date=datetime(2024, 1, 1, tzinfo=UTC),
        end_date=datetime(2026, 1, 1, tzinfo=UTC),
        catchup=False,
        default_args={"retries": 3},
    ):
        if dag_id != "waits":
            StripeReportRunOperator(task_id="task", report_type="balance.summary.1", deferrable=True)
        else:
            DefersOnce(task_id="task")

with DAG("waiting", schedule=None):
    DefersOnce(task_id="waits")
