"""Yesterday's balance activity in a Delta table, in a folder of a disk or of a store.

For those whose engines read Delta tables where they lie. Clearing the landing changes nothing where the day is
landed; clearing the report asks for fresh figures, which replace the day; its history keeps the former ones.
"""

# [START stripe_to_delta]
from datetime import UTC, datetime, timedelta

from airflow.sdk import DAG, Asset

from airflow_reportrun.operators import StripeReportRunOperator, StripeReportToDeltaOperator

with DAG(
    "stripe_to_delta",
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
    StripeReportToDeltaOperator(
        task_id="to_delta",
        report_run_id=report.output,
        table="/data/lake/activity",  # or s3://aws_default@bucket/stripe/activity
        outlets=[Asset("stripe-activity-delta")],
    )
# [END stripe_to_delta]
