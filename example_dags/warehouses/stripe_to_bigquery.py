"""Yesterday's balance activity in BigQuery, a partition for each day; not run against the service.

One load job with `WRITE_TRUNCATE` into `table$YYYYMMDD` replaces that partition and no other, at once, however
often it is run. The partition is the report's UTC day, so that the table has no columns of intervals.
docs/warehouses.md says what holds.
"""

# [START stripe_to_bigquery]
from datetime import UTC, datetime, timedelta

from airflow.providers.google.cloud.transfers.gcs_to_bigquery import GCSToBigQueryOperator
from airflow.sdk import DAG, Asset

from airflow_reportrun.operators import StripeReportDownloadOperator, StripeReportRunOperator

# BigQuery's names have no brackets, which columns of metadata have.
COLUMNS = ["balance_transaction_id", "created_utc", "reporting_category", "currency", "gross", "fee", "net"]

LANDED = "ti.xcom_pull('to_lake')"
DAY = f"{{{{ (macros.datetime(1970, 1, 1) + macros.timedelta(seconds={LANDED}['interval_start'])) | ds_nodash }}}}"

with DAG(
    "stripe_to_bigquery",
    schedule="0 13 * * *",  # Stripe has a UTC day complete by noon of the next one
    start_date=datetime(2022, 1, 1, tzinfo=UTC),
    catchup=False,
    default_args={"retries": 5, "retry_delay": timedelta(minutes=5)},
):
    report = StripeReportRunOperator(
        task_id="report",
        report_type="balance_change_from_activity.itemized.3",
        columns=COLUMNS,
        interval="day",
        deferrable=True,
    )
    to_lake = StripeReportDownloadOperator(
        task_id="to_lake",
        report_run_id=report.output,
        destination="{{ var.value.stripe_lake }}/activity_{interval_start:%Y%m%d}.parquet",
        format="parquet",
    )
    load = GCSToBigQueryOperator(
        task_id="load",
        gcp_conn_id="google_cloud_default",
        bucket="bucket",
        source_objects=[f"stripe/activity_{DAY}.parquet"],
        destination_project_dataset_table=f"finance.stripe_activity${DAY}",
        source_format="PARQUET",
        autodetect=None,  # the file has its types
        write_disposition="WRITE_TRUNCATE",  # of the partition that is named
        time_partitioning={"type": "DAY"},
        extra_config={"decimalTargetTypes": ["BIGNUMERIC"]},  # decimal(38, 6) has more digits than NUMERIC
        outlets=[Asset("stripe-activity-bigquery")],
    )
    to_lake >> load
# [END stripe_to_bigquery]
