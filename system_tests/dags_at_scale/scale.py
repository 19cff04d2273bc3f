"""Many reports at once, each a mapped task that waits without a worker."""

from datetime import timedelta

from airflow.sdk import DAG

from airflow_reportrun.operators import StripeReportRunOperator
from system_tests.plan import DEFAULT_ARGS, REPORT_TYPE, SCALE_DAGS, hours

for dag_id in SCALE_DAGS:
    with DAG(
        dag_id,
        schedule=None,
        max_active_tasks=len(hours()),
        default_args={**DEFAULT_ARGS, "poll_interval": timedelta(seconds=10)},
    ):
        StripeReportRunOperator.partial(task_id="report", report_type=REPORT_TYPE).expand_kwargs(hours())
