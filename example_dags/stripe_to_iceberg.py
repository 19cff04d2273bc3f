"""Yesterday's balance activity in an Iceberg table, of a catalog that is an Airflow connection.

For those whose engines share tables in a lakehouse. Clearing the landing changes nothing where the day is landed;
clearing the report asks for fresh figures, which replace the day; the table's history keeps the former ones.
"""

# [START stripe_to_iceberg]
from datetime import UTC, datetime, timedelta

from airflow.sdk import DAG, Asset

from airflow_reportrun.operators import StripeReportRunOperator, StripeReportToIcebergOperator

with DAG(
    "stripe_to_iceberg",
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
    StripeReportToIcebergOperator(
        task_id="to_iceberg",
        report_run_id=report.output,
        catalog_conn_id="lakehouse",  # or warehouse="/data/lake", a folder with a catalog of its own
        table="books.stripe_activity",
        outlets=[Asset("stripe-activity-iceberg")],
    )
# [END stripe_to_iceberg]
