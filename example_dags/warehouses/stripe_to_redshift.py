"""Yesterday's balance activity in Amazon Redshift, out of the lake; not run against the service.

A staging table of the interval's own takes the file with `method="REPLACE"`, which empties its table: never name
the one with all intervals there. What came is counted against the manifest before a transaction replaces exactly
the interval. docs/warehouses.md says what holds.
"""

# [START stripe_to_redshift]
from datetime import UTC, datetime, timedelta

from airflow.providers.amazon.aws.transfers.s3_to_redshift import S3ToRedshiftOperator
from airflow.providers.common.sql.operators.sql import SQLExecuteQueryOperator, SQLValueCheckOperator
from airflow.sdk import DAG, Asset

from airflow_reportrun.operators import StripeReportDownloadOperator, StripeReportRunOperator

# In the order of the file, which is what Redshift goes by.
COLUMNS = {
    "balance_transaction_id": "varchar(255)",
    "created_utc": "timestamp",
    "reporting_category": "varchar(255)",
    "currency": "varchar(3)",
    "gross": "numeric(38, 6)",
    "fee": "numeric(38, 6)",
    "net": "numeric(38, 6)",
}
DEFINED = ", ".join(f"{name} {kind}" for name, kind in COLUMNS.items())

LANDED = "ti.xcom_pull('to_lake')"
START, END = (
    f"(timestamp 'epoch' + {{{{ {LANDED}['{name}'] }}}} * interval '1 second')"
    for name in ("interval_start", "interval_end")
)
DAY = f"{{{{ (macros.datetime(1970, 1, 1) + macros.timedelta(seconds={LANDED}['interval_start'])) | ds_nodash }}}}"
STAGING = f"stripe_activity_{DAY}"

with DAG(
    "stripe_to_redshift",
    schedule="0 13 * * *",  # Stripe has a UTC day complete by noon of the next one
    start_date=datetime(2022, 1, 1, tzinfo=UTC),
    catchup=False,
    default_args={"retries": 5, "retry_delay": timedelta(minutes=5)},
):
    report = StripeReportRunOperator(
        task_id="report",
        report_type="balance_change_from_activity.itemized.3",
        columns=list(COLUMNS),
        interval="day",
        deferrable=True,
    )
    to_lake = StripeReportDownloadOperator(
        task_id="to_lake",
        report_run_id=report.output,
        destination="{{ var.value.stripe_lake }}/activity_{interval_start:%Y%m%d}.parquet",
        format="parquet",
    )
    prepare = SQLExecuteQueryOperator(
        task_id="prepare",
        conn_id="redshift_default",
        sql=[
            f"CREATE TABLE IF NOT EXISTS stripe_activity ({DEFINED}, "
            "_interval_start timestamp, _interval_end timestamp, _report_run_id varchar(255))",
            f"CREATE TABLE IF NOT EXISTS {STAGING} ({DEFINED})",
        ],
    )
    copy = S3ToRedshiftOperator(
        task_id="copy",
        redshift_conn_id="redshift_default",
        aws_conn_id="aws_default",
        table=STAGING,
        method="REPLACE",  # of the staging table: a retry begins anew
        s3_bucket="bucket",
        s3_key=f"stripe/activity_{DAY}.parquet",
        copy_options=["FORMAT AS PARQUET"],
    )
    count = SQLValueCheckOperator(
        task_id="count",
        conn_id="redshift_default",
        sql=f"SELECT count(*) FROM {STAGING}",  # noqa: S608 - our own words
        pass_value=f"{{{{ {LANDED}['rows'] }}}}",
    )
    replace = SQLExecuteQueryOperator(
        task_id="replace",
        conn_id="redshift_default",
        sql=[
            "BEGIN",
            f"DELETE FROM stripe_activity WHERE _interval_start = {START} AND _interval_end = {END}",  # noqa: S608
            f"INSERT INTO stripe_activity SELECT *, {START}, {END}, "  # noqa: S608
            f"'{{{{ {LANDED}['report_run_id'] }}}}' FROM {STAGING}",
            "COMMIT",
        ],
        outlets=[Asset("stripe-activity-redshift")],
    )
    drop = SQLExecuteQueryOperator(
        task_id="drop", conn_id="redshift_default", sql=f"DROP TABLE IF EXISTS {STAGING}"
    )
    to_lake >> prepare >> copy >> count >> replace >> drop
# [END stripe_to_redshift]
