"""Yesterday's balance activity in a lake and in a warehouse: one report run, two landings of it.

For those who ask by SQL, and keep what Stripe said beside it. Clearing a landing fetches the same report run
again, and nothing where it is landed already; clearing the report asks for a fresh one, and replaces the day in
both.
"""

# [START stripe_to_warehouse]
from datetime import UTC, datetime, timedelta

from airflow.sdk import DAG, Asset

from airflow_reportrun.operators import (
    StripeReportDownloadOperator,
    StripeReportRunOperator,
    StripeReportToSqlOperator,
)

with DAG(
    "stripe_to_warehouse",
    schedule="0 13 * * *",  # Stripe has a UTC day complete by noon of the next one
    start_date=datetime(2022, 1, 1, tzinfo=UTC),
    catchup=False,
    default_args={"retries": 5, "retry_delay": timedelta(minutes=5)},
):
    report = StripeReportRunOperator(
        task_id="report",
        report_type="balance_change_from_activity.itemized.3",
        interval="day",
        deferrable=True,
    )
    StripeReportDownloadOperator(
        task_id="to_lake",
        report_run_id=report.output,
        destination="{{ var.value.stripe_lake }}/",  # such as s3://aws_default@bucket/stripe
        format="parquet",
        outlets=[Asset("stripe-activity-lake")],
    )
    StripeReportToSqlOperator(
        task_id="to_warehouse",
        report_run_id=report.output,
        conn_id="warehouse",
        table="stripe_activity",
        outlets=[Asset("stripe-activity-warehouse")],
    )
# [END stripe_to_warehouse]
