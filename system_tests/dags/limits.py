"""Backfills under one limit each."""

from typing import Any

from airflow.sdk import DAG

from airflow_reportrun.operators import StripeReportRunOperator
from system_tests.plan import DEFAULT_ARGS, FIRST_DAY, LIMIT, REPORT_TYPE

LIMITED: dict[str, dict[str, Any]] = {
    "limit_of_pool": {"pool": "counts_deferred"},
    "limit_of_other_pool": {"pool": "forgets_deferred"},
    "limit_of_backfill": {},
    "limit_of_task": {"max_active_tis_per_dag": LIMIT},
}

for dag_id, limit in LIMITED.items():
    with DAG(
        dag_id,
        schedule="0 0 * * *",
        start_date=FIRST_DAY,
        end_date=FIRST_DAY.replace(month=5),
        catchup=False,
        # Backfills have a limit of their own, and pass over this one.
        max_active_runs=1,
        default_args=DEFAULT_ARGS,
    ):
        StripeReportRunOperator(task_id="report", report_type=REPORT_TYPE, **limit)
