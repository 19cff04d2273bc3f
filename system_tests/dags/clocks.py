"""Days in New York, around the changes of its clocks."""

import pendulum
from airflow.sdk import DAG, Asset, CronPartitionTimetable

from airflow_reportrun.operators import StripeReportRunOperator
from system_tests.plan import CLOCKS_CHANGE, DEFAULT_ARGS, REPORT_TYPE

ZONE = "America/New_York"

# There is no 02:30 on the day in spring, and there are two 01:30 on the day in autumn.
NIGHT = {"spring": "30 2 * * *", "autumn": "30 1 * * *"}

for season in CLOCKS_CHANGE:
    partitions = CronPartitionTimetable("0 0 * * *", timezone=ZONE, run_offset=-1, key_format="%Y-%m-%d")
    schedules: dict[str, str | CronPartitionTimetable] = {
        "midnight": "0 0 * * *",
        "night": NIGHT[season],
        "partition": partitions,
    }
    for name, schedule in schedules.items():
        with DAG(
            f"clocks_{name}_{season}",
            schedule=schedule,
            start_date=pendulum.datetime(2025, 1, 1, tz=ZONE),
            end_date=pendulum.datetime(2026, 4, 1, tz=ZONE),
            catchup=False,
            default_args=DEFAULT_ARGS,
        ):
            StripeReportRunOperator(task_id="report", report_type=REPORT_TYPE, outlets=[Asset(f"{name}_{season}")])
