"""Submit, wait and download as three tasks, each visible and each repeatable by itself.

For DAGs that do something in between, or want a wait of their own on the graph. Clearing the download fetches the
same report run again; clearing the submission asks for a fresh one.
"""

# [START stripe_separate_tasks]
from datetime import UTC, datetime, timedelta

from airflow.sdk import DAG

from airflow_reportrun.operators import StripeReportDownloadOperator, StripeReportRunOperator
from airflow_reportrun.sensors import StripeReportRunSensor

with DAG(
    "stripe_separate_tasks",
    schedule="0 13 1 * *",
    start_date=datetime(2022, 1, 1, tzinfo=UTC),
    catchup=False,
    default_args={"retries": 5, "retry_delay": timedelta(minutes=5)},
):
    submit = StripeReportRunOperator(
        task_id="submit",
        report_type="balance.summary.1",
        interval="month",
        wait_for_completion=False,
    )
    wait = StripeReportRunSensor(
        task_id="wait",
        report_run_id="{{ ti.xcom_pull(task_ids='submit', key='report_run_id') }}",
        deferrable=True,
        timeout=timedelta(hours=6),
    )
    download = StripeReportDownloadOperator(
        task_id="download",
        report_run_id="{{ ti.xcom_pull(task_ids='submit', key='report_run_id') }}",
        destination="{{ var.value.stripe_reports }}/balance/{interval_start:%Y-%m}.csv",
    )
    submit >> wait >> download
# [END stripe_separate_tasks]
