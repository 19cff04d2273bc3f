"""One DAG for each way in which a DAG run starts; nothing here runs by the clock of today."""

from typing import Any

import pendulum
from airflow.sdk import (
    DAG,
    Asset,
    CronDataIntervalTimetable,
    PartitionedAssetTimetable,
    task,
    task_group,
)

from airflow_reportrun.operators import StripeReportRunOperator
from system_tests.plan import DEFAULT_ARGS, MAPPED, REPORT_TYPE

BEGIN, END = pendulum.datetime(2026, 5, 1), pendulum.datetime(2026, 5, 20)


def dag(dag_id: str, **options: Any) -> DAG:
    defaults = {"start_date": BEGIN, "end_date": END, "catchup": False, "default_args": DEFAULT_ARGS}
    return DAG(dag_id, **{**defaults, **options})


def report(**options: Any) -> None:
    StripeReportRunOperator(task_id="report", report_type=REPORT_TYPE, **options)


with dag("start_by_schedule", schedule="0 6 * * *", catchup=True, end_date=BEGIN.add(days=3)):
    report()

with dag("start_on_a_date", schedule="0 6 * * *"):
    report()

with dag("start_from_command_line", schedule="0 6 * * *"):
    report()

with dag("start_without_a_date", schedule="0 6 * * *"):
    report(interval="day")

with dag("start_with_conf", schedule=CronDataIntervalTimetable("0 0 * * *", timezone="America/New_York")):
    report(
        interval_start="{{ dag_run.conf.get('interval_start', data_interval_start) }}",
        interval_end="{{ dag_run.conf.get('interval_end', data_interval_end) }}",
    )

with dag("start_unscheduled", schedule=None):
    report(interval="day")

with dag("start_without_an_interval", schedule=None):
    report()

orders = Asset("orders")

with dag("start_of_an_asset", schedule=None):

    @task(outlets=[orders], retries=0)
    def update() -> None:
        """Nothing but the event."""

    update()

with dag("start_by_asset", schedule=[orders], end_date=None):
    report(interval="day")

# It counts days in the zone of its start date, since its timetable has none.
with dag(
    "start_by_partition",
    schedule=PartitionedAssetTimetable(assets=Asset("partition_spring")),
    start_date=pendulum.datetime(2026, 1, 1, tz="America/New_York"),
    end_date=None,
):

    @task_group
    def of_account(stripe_account: str) -> None:
        report(interval="day", stripe_account=stripe_account)

    of_account.expand(stripe_account=list(MAPPED["start_by_partition"]))

with dag("start_mapped", schedule=None):
    StripeReportRunOperator.partial(task_id="report", report_type=REPORT_TYPE, interval="day").expand(
        stripe_account=list(MAPPED["start_mapped"])
    )
