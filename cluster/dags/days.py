"""A day of Stripe reports in files and in a table, with everything that leads there in Airflow's own database."""

from datetime import timedelta

from airflow.sdk import DAG

from airflow_reportrun.operators import StripeReportRunOperator, StripeReportToSqlOperator
from cluster.days import DAG_ID, REPORT_TYPE, TABLE

with DAG(
    DAG_ID,
    schedule="0 0 * * *",
    # A try ends with each kill, and kills come faster than anywhere else.
    default_args={"retries": 50, "retry_delay": timedelta(seconds=3)},
):
    report = StripeReportRunOperator(
        task_id="report",
        report_type=REPORT_TYPE,
        interval="day",
        destination="{{ var.value.stripe_lake }}/",
        deferrable=True,
        poll_interval=2,
    )
    StripeReportToSqlOperator(
        task_id="to_warehouse",
        report_run_id=report.output,
        conn_id="warehouse",
        table=TABLE,
    )
