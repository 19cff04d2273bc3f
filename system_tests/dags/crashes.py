"""DAGs whose processes the tests kill."""

from airflow.sdk import DAG

from airflow_reportrun.operators import StripeReportRunOperator
from system_tests.plan import DEFAULT_ARGS, REPORT_TYPE

# By how the tasks wait: with a worker, without one, or each way.
DEFERRABLE = {
    "crash_at_create": [True],
    "crash_at_retrieve": [True],
    "crash_while_waiting": [False],
    "crash_of_triggerer": [True],
    "crash_of_machine": [True, False],
}

for dag_id, tasks in DEFERRABLE.items():
    with DAG(dag_id, schedule=None, default_args={**DEFAULT_ARGS, "poll_interval": 1}):
        for deferrable in tasks:
            StripeReportRunOperator(
                task_id="deferred" if deferrable else "waiting",
                report_type=REPORT_TYPE,
                interval="day",
                deferrable=deferrable,
            )
