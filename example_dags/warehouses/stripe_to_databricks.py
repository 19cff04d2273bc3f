"""Yesterday's balance activity in a Delta table of Databricks, out of the lake; not run against the service.

COPY INTO skips files that it knows, and a DELETE before it would be a commit of its own. So a staging table of the
interval's own takes the file, what came is counted against the manifest, and one `INSERT … REPLACE WHERE`, which
is one commit, replaces exactly the interval. docs/warehouses.md says what holds.
"""

# [START stripe_to_databricks]
from datetime import UTC, datetime, timedelta

from airflow.providers.common.sql.operators.sql import SQLValueCheckOperator
from airflow.providers.databricks.operators.databricks_sql import (
    DatabricksCopyIntoOperator,
    DatabricksSqlOperator,
)
from airflow.sdk import DAG, Asset

from airflow_reportrun.operators import StripeReportDownloadOperator, StripeReportRunOperator

COLUMNS = {
    "balance_transaction_id": "STRING",
    "created_utc": "TIMESTAMP",
    "reporting_category": "STRING",
    "currency": "STRING",
    "gross": "DECIMAL(38, 6)",
    "fee": "DECIMAL(38, 6)",
    "net": "DECIMAL(38, 6)",
}
DEFINED = ", ".join(f"{name} {kind}" for name, kind in COLUMNS.items())

LANDED = "ti.xcom_pull('to_lake')"
START, END = (f"timestamp_seconds({{{{ {LANDED}['{name}'] }}}})" for name in ("interval_start", "interval_end"))
DAY = f"{{{{ (macros.datetime(1970, 1, 1) + macros.timedelta(seconds={LANDED}['interval_start'])) | ds_nodash }}}}"
STAGING = f"finance.stripe_activity_{DAY}"

with DAG(
    "stripe_to_databricks",
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
    prepare = DatabricksSqlOperator(
        task_id="prepare",
        databricks_conn_id="databricks_default",
        sql=[
            f"CREATE TABLE IF NOT EXISTS finance.stripe_activity ({DEFINED}, "
            "_interval_start TIMESTAMP, _interval_end TIMESTAMP, _report_run_id STRING)",
            f"DROP TABLE IF EXISTS {STAGING}",  # and with it what COPY INTO knows of loaded files
            f"CREATE TABLE {STAGING} ({DEFINED})",
        ],
    )
    copy = DatabricksCopyIntoOperator(
        task_id="copy",
        databricks_conn_id="databricks_default",
        table_name=STAGING,
        file_location="s3://bucket/stripe",
        files=[f"activity_{DAY}.parquet"],
        file_format="PARQUET",
    )
    count = SQLValueCheckOperator(
        task_id="count",
        conn_id="databricks_default",
        sql=f"SELECT count(*) FROM {STAGING}",  # noqa: S608 - our own words
        pass_value=f"{{{{ {LANDED}['rows'] }}}}",
    )
    replace = DatabricksSqlOperator(
        task_id="replace",
        databricks_conn_id="databricks_default",
        sql=f"INSERT INTO finance.stripe_activity REPLACE WHERE _interval_start = {START} "  # noqa: S608
        f"AND _interval_end = {END} SELECT *, {START}, {END}, "
        f"'{{{{ {LANDED}['report_run_id'] }}}}' FROM {STAGING}",
        outlets=[Asset("stripe-activity-databricks")],
    )
    drop = DatabricksSqlOperator(
        task_id="drop", databricks_conn_id="databricks_default", sql=f"DROP TABLE IF EXISTS {STAGING}"
    )
    to_lake >> prepare >> copy >> count >> replace >> drop
# [END stripe_to_databricks]
