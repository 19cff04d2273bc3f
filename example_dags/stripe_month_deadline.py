"""The report of a month by the clock, and a message when it is late; for Airflow ≥ 3.3.

The run begins as the month is over, and waits for Stripe's data without a worker. Where the report is not landed a
day and a half after that, a message goes to the HTTP connection ``finance_alerts``. A deadline belongs on a DAG by
the clock: one that waits for the days of a month has no run to be late when a day is missing.
"""

# [START stripe_month_deadline]
from datetime import UTC, datetime, timedelta

from airflow.providers.http.notifications.http import HttpNotifier
from airflow.sdk import DAG, AsyncCallback, DeadlineAlert, DeadlineReference  # type: ignore[attr-defined]

from airflow_reportrun.operators import StripeReportRunOperator

late = AsyncCallback(
    HttpNotifier,
    kwargs={"http_conn_id": "finance_alerts", "json": {"text": "Stripe's report of the month is late."}},
)

with DAG(
    "stripe_month_deadline",
    schedule="0 0 1 * *",
    start_date=datetime(2022, 1, 1, tzinfo=UTC),
    catchup=False,
    default_args={"retries": 5, "retry_delay": timedelta(minutes=5)},
    deadline=DeadlineAlert(
        reference=DeadlineReference.DAGRUN_LOGICAL_DATE, interval=timedelta(hours=36), callback=late
    ),
):
    StripeReportRunOperator(
        task_id="month",
        report_type="balance.summary.1",
        interval="month",
        destination="{{ var.value.stripe_reports }}/balance/{interval_start:%Y-%m}.csv",
        deferrable=True,
    )
# [END stripe_month_deadline]
