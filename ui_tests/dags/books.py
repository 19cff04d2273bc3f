"""The books that the page shows: a DAG for each way of landing them."""

from datetime import UTC, datetime
from typing import Any

from airflow.sdk import DAG

from airflow_reportrun.operators import StripeReportRunOperator, StripeReportToSqlOperator
from ui_tests.plan import ACTIVITY, MONTHS, PAYOUTS, TYPES

COMMON: dict[str, Any] = {"start_date": datetime(2015, 1, 1, tzinfo=UTC), "catchup": False}
ROOT = "{{ var.value.stripe_reports }}/"

BOOKS: tuple[tuple[str, str, Any, str], ...] = (
    ("stripe_activity", ACTIVITY, "day", "0 13 * * *"),
    ("stripe_payouts", PAYOUTS, "day", "0 13 * * *"),
    ("stripe_months", MONTHS, "month", "0 13 2 * *"),
)

for dag_id, report_type, interval, schedule in BOOKS:
    with DAG(dag_id, schedule=schedule, **COMMON):
        StripeReportRunOperator(
            task_id="report",
            report_type=report_type,
            interval=interval,
            destination=ROOT,
            deferrable=True,
            poll_interval=2,
        )

with DAG("stripe_history", schedule="0 13 * * *", **COMMON):
    for number, report_type in enumerate(TYPES):
        report = StripeReportRunOperator(task_id=f"report_{number}", report_type=report_type, interval="day")
        StripeReportToSqlOperator(
            task_id=f"to_table_{number}", report_run_id=report.output, conn_id="warehouse", table="history"
        )
