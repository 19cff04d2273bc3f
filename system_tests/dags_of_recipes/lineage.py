"""What OpenLineage is told of tasks that defer, are mapped, and are about a partition; of no other DAG here."""

from contextlib import suppress

import pendulum
from airflow.sdk import DAG, Asset, CronPartitionTimetable

from airflow_reportrun.operators import StripeReportRunOperator
from system_tests.plan import DEFAULT_ARGS, REPORT_TYPE

with DAG(
    "lineage",
    schedule=CronPartitionTimetable("0 0 * * *", timezone="UTC", run_offset=-1, key_format="%Y-%m-%d"),
    start_date=pendulum.datetime(2026, 1, 1),
    end_date=pendulum.datetime(2026, 3, 1),
    catchup=False,
    default_args=DEFAULT_ARGS,
) as dag:
    StripeReportRunOperator.partial(
        task_id="report",
        report_type=REPORT_TYPE,
        destination="{{ var.value.stripe_reports }}/{currency}/{interval_start:%Y-%m-%d}.csv",
        outlets=[Asset("lineage")],
    ).expand(currency=["eur", "usd"])

with suppress(ImportError):  # without the provider its test is skipped
    from airflow.providers.openlineage.utils.selective_enable import enable_lineage

    enable_lineage(dag)
