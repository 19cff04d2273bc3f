"""The close of a month over daily reports, and again when a day of it is restated; for Airflow ≥ 3.3.

``stripe_days`` lands each day, and its event says which day it is. When all days of a month have come, Airflow
starts ``stripe_month_close``, once: it lands the report of the month, and compares it with its days, to the cent.
Fees move for four days, so ``stripe_days_again`` restates the last ones; each of their events starts
``stripe_month_again``, which closes the month anew if it was closed.
"""

# [START stripe_month_close]
import csv
from collections import defaultdict
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from itertools import pairwise
from typing import Any

from airflow.sdk import (
    DAG,
    Asset,
    MonthWindow,
    ObjectStoragePath,
    PartitionedAssetTimetable,
    RollupMapper,
    StartOfMonthMapper,
    Variable,
    task,
)

from airflow_reportrun.operators import StripeReportRunOperator
from airflow_reportrun.question.intervals import resolve

REPORT_TYPE = "balance_change_from_activity.itemized.3"
FOLDER = "{{ var.value.stripe_reports }}"
DAY = "%Y-%m-%d"  # the mapper reads with it what partition_key= writes
days, restated = Asset("stripe-days"), Asset("stripe-days-again")
month_of_day = StartOfMonthMapper(input_format=DAY)

options: dict[str, Any] = {
    "start_date": datetime(2022, 1, 1, tzinfo=UTC),
    "catchup": False,
    "default_args": {"retries": 5, "retry_delay": timedelta(minutes=5)},
}
a_day: dict[str, Any] = {
    "task_id": "day",
    "report_type": REPORT_TYPE,
    "destination": f"{FOLDER}/days/{{interval_start:{DAY}}}.csv",
    "partition_key": f"{{interval_start:{DAY}}}",
    "deferrable": True,
}

with DAG("stripe_days", schedule="0 13 * * *", **options):
    StripeReportRunOperator(interval="day", outlets=[days], **a_day)

with DAG("stripe_days_again", schedule="0 14 * * *", **options):

    @task
    def last_days(count: int = 4, **context: Any) -> list[dict[str, int]]:
        """Return the bounds of the days before the last one, which stripe_days lands."""
        end = resolve(context, interval="day").start
        midnights = [end.subtract(days=back).int_timestamp for back in range(count, -1, -1)]
        return [{"interval_start": start, "interval_end": end} for start, end in pairwise(midnights)]

    StripeReportRunOperator.partial(outlets=[restated], **a_day).expand_kwargs(last_days())


def close_month() -> StripeReportRunOperator:
    """Land the report of the DAG run's month, and compare it with its days; return the first task."""
    month = StripeReportRunOperator(
        task_id="month",
        report_type=REPORT_TYPE,
        interval="month",
        destination=f"{FOLDER}/months/{{interval_start:%Y-%m}}.csv",
        deferrable=True,
    )

    @task
    def compare(month: dict[str, Any], **context: Any) -> dict[str, str]:
        """Return the month's net by currency, or fail where the days have another."""
        folder = ObjectStoragePath(Variable.get("stripe_reports"))
        of_days = net(*(folder / "days").glob(f"{context['partition_key']}-*.csv"))
        if (of_month := net(ObjectStoragePath(month["path"]))) != of_days:
            raise ValueError(f"The month has a net of {of_month}, and its days have {of_days}.")
        return {currency: str(amount) for currency, amount in of_month.items()}

    compare(month.output)  # type: ignore[arg-type]
    return month


def net(*reports: ObjectStoragePath) -> dict[str, Decimal]:
    """Return what the rows of reports add up to, by currency."""
    found: dict[str, Decimal] = defaultdict(Decimal)
    for report in reports:
        with report.open("r", newline="") as file:
            for row in csv.DictReader(file):
                found[row["currency"]] += Decimal(row["net"])
    return dict(found)


with DAG(
    "stripe_month_close",
    schedule=PartitionedAssetTimetable(
        assets=days, default_partition_mapper=RollupMapper(upstream_mapper=month_of_day, window=MonthWindow())
    ),
    **options,
):
    close_month()

with DAG(
    "stripe_month_again",
    schedule=PartitionedAssetTimetable(assets=restated, default_partition_mapper=month_of_day),
    max_active_runs=1,
    **options,
):

    @task.short_circuit
    def was_closed(**context: Any) -> bool:
        """Tell whether the month was closed; what is restated before is in its close anyway."""
        folder = ObjectStoragePath(Variable.get("stripe_reports"))
        return (folder / "months" / f"{context['partition_key']}.csv").exists()

    was_closed() >> close_month()
# [END stripe_month_close]
