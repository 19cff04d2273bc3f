"""Yesterday's balance activity in files, in a database and in an Iceberg table: one report run, three landings."""

from datetime import UTC, datetime, timedelta

from airflow.sdk import DAG

from airflow_reportrun.operators import (
    StripeReportDownloadOperator,
    StripeReportRunOperator,
    StripeReportToIcebergOperator,
    StripeReportToSqlOperator,
)

with DAG(
    "stripe_everywhere",
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
        destination="{{ var.value.stripe_lake }}/",
        format="parquet",
    )
    StripeReportToSqlOperator(
        task_id="to_warehouse", report_run_id=report.output, conn_id="warehouse", table="stripe_activity"
    )
    StripeReportToIcebergOperator(
        task_id="to_iceberg",
        report_run_id=report.output,
        warehouse="{{ var.value.stripe_lakehouse }}",
        table="books.stripe_activity",
    )
