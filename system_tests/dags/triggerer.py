"""Sensors that begin and end in the triggerer, and how each ends."""

from datetime import timedelta
from typing import Any

from airflow.sdk import DAG, task

from airflow_reportrun.operators import StripeReportRunOperator
from airflow_reportrun.sensors import StripeReportRunSensor, StripeReportTypeSensor
from system_tests.plan import REPORT_TYPE, account

NEVER = "2999-01-01T00:00:00Z"

DEFAULT_ARGS: dict[str, Any] = {
    "poke_interval": 2,
    "retries": 1,
    "retry_delay": timedelta(seconds=1),
    "stripe_account": account("triggerer"),
}


@task(retries=0)
def require_equal(first: Any, *others: Any) -> None:
    """Compare results as a task gets them."""
    if not isinstance(first, dict) or any(other != first for other in others):
        raise ValueError(f"{(first, *others)}")


with DAG("triggerer", schedule=None, default_args=DEFAULT_ARGS):
    run: Any = StripeReportRunOperator(
        task_id="run", report_type=REPORT_TYPE, interval="day", wait_for_completion=False
    )
    deferred = StripeReportRunSensor(task_id="deferred", report_run_id=run.output, deferrable=True)
    there: dict[str, Any] = {"start_from_trigger": True, "end_from_trigger": True}
    by_result: Any = StripeReportRunSensor(task_id="by_result", report_run_id=run.output, **there)
    by_template = StripeReportRunSensor(
        task_id="by_template",
        report_run_id="{{ ti.xcom_pull('run', key='report_run_id') }}",
        **there,
    )
    run >> by_template
    require_equal(deferred.output, by_result.output)
    StripeReportRunSensor(task_id="begins", report_run_id=by_result.output, start_from_trigger=True)

    StripeReportTypeSensor(task_id="data", report_type=REPORT_TYPE, interval="day", **there)
    late: dict[str, Any] = {"report_type": REPORT_TYPE, "interval_end": NEVER, "timeout": 5, **there}
    StripeReportTypeSensor(task_id="late", **late)
    StripeReportTypeSensor(task_id="late_skipped", soft_fail=True, **late)
    StripeReportTypeSensor(
        task_id="late_retried", execution_timeout=timedelta(seconds=30), **{**late, "timeout": 3600}
    )
    StripeReportRunSensor(task_id="gone", report_run_id="frr_of_nobody", **there)
