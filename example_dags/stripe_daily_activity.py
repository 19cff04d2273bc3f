"""The smallest useful DAG, to begin with: yesterday's balance activity as a file, once a day."""

# [START stripe_daily_activity]
from datetime import UTC, datetime, timedelta

from airflow.sdk import DAG

from airflow_reportrun.operators import StripeReportRunOperator

with DAG(
    "stripe_daily_activity",
    schedule="0 13 * * *",  # Stripe has a UTC day complete by noon of the next one
    start_date=datetime(2022, 1, 1, tzinfo=UTC),
    catchup=False,
    default_args={"retries": 5, "retry_delay": timedelta(minutes=5)},
):
    StripeReportRunOperator(
        task_id="activity",
        report_type="balance_change_from_activity.itemized.3",
        interval="day",
        destination="/tmp/stripe/activity/{interval_start:%Y-%m-%d}.csv",
        deferrable=True,
    )
# [END stripe_daily_activity]
