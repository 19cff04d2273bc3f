"""Yesterday's balance activity in Snowflake, through a stage of the lake; not run against the service.

A staging table of the interval's own takes the file: a retry finds it loaded or loads it, once. What came is
counted against the manifest before a transaction replaces exactly the interval. The stage is made once:
`CREATE STAGE stripe_lake URL = 's3://bucket/stripe/' STORAGE_INTEGRATION = …`. docs/warehouses.md says what holds.
"""

# [START stripe_to_snowflake]
from datetime import UTC, datetime, timedelta

from airflow.providers.common.sql.operators.sql import SQLExecuteQueryOperator, SQLValueCheckOperator
from airflow.providers.snowflake.transfers.copy_into_snowflake import CopyFromExternalStageToSnowflakeOperator
from airflow.sdk import DAG, Asset

from airflow_reportrun.operators import StripeReportDownloadOperator, StripeReportRunOperator

COLUMNS = {
    "balance_transaction_id": "varchar",
    "created_utc": "timestamp_tz",
    "reporting_category": "varchar",
    "currency": "varchar",
    "gross": "number(38, 6)",
    "fee": "number(38, 6)",
    "net": "number(38, 6)",
}
DEFINED = ", ".join(f"{name} {kind}" for name, kind in COLUMNS.items())

LANDED = "ti.xcom_pull('to_lake')"
START = f"to_timestamp_tz('{{{{ {LANDED}['interval_start'] }}}}')"  # epoch seconds
END = f"to_timestamp_tz('{{{{ {LANDED}['interval_end'] }}}}')"
DAY = f"{{{{ (macros.datetime(1970, 1, 1) + macros.timedelta(seconds={LANDED}['interval_start'])) | ds_nodash }}}}"
STAGING = f"stripe_activity_{DAY}"


class CopyIntoStaging(CopyFromExternalStageToSnowflakeOperator):
    """The provider's, into a table whose name hangs on the interval."""

    template_fields = (*CopyFromExternalStageToSnowflakeOperator.template_fields, "table")


with DAG(
    "stripe_to_snowflake",
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
        conn_id="snowflake_default",
        sql=[
            f"CREATE TABLE IF NOT EXISTS stripe_activity ({DEFINED}, "
            "_interval_start timestamp_tz, _interval_end timestamp_tz, _report_run_id varchar)",
            f"CREATE OR REPLACE TRANSIENT TABLE {STAGING} ({DEFINED})",  # which knows no loaded file
        ],
    )
    copy = CopyIntoStaging(
        task_id="copy",
        snowflake_conn_id="snowflake_default",
        table=STAGING,
        stage="stripe_lake",
        files=[f"activity_{DAY}.parquet"],
        file_format="(TYPE = PARQUET USE_LOGICAL_TYPE = TRUE)",
        copy_options="MATCH_BY_COLUMN_NAME = CASE_INSENSITIVE ON_ERROR = ABORT_STATEMENT",
    )
    count = SQLValueCheckOperator(
        task_id="count",
        conn_id="snowflake_default",
        sql=f"SELECT count(*) FROM {STAGING}",  # noqa: S608 - our own words
        pass_value=f"{{{{ {LANDED}['rows'] }}}}",
    )
    replace = SQLExecuteQueryOperator(
        task_id="replace",
        conn_id="snowflake_default",
        sql=[
            "BEGIN",
            f"DELETE FROM stripe_activity WHERE _interval_start = {START} AND _interval_end = {END}",  # noqa: S608
            f"INSERT INTO stripe_activity SELECT *, {START}, {END}, "  # noqa: S608
            f"'{{{{ {LANDED}['report_run_id'] }}}}' FROM {STAGING}",
            "COMMIT",
        ],
        outlets=[Asset("stripe-activity-snowflake")],
    )
    drop = SQLExecuteQueryOperator(
        task_id="drop", conn_id="snowflake_default", sql=f"DROP TABLE IF EXISTS {STAGING}"
    )
    to_lake >> prepare >> copy >> count >> replace >> drop
# [END stripe_to_snowflake]
