"""Report on the last days again, every day: some figures still move after they are first there.

For books that count fees, which take up to 96 hours. Each day is a mapped task with an interval, a report run and
a file of its own; the file of a day is replaced as a whole, so whoever reads it sees the newest figures and no row
twice.
"""

# [START stripe_restate_last_days]
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from typing import Any

from airflow.sdk import DAG, task

from airflow_reportrun.operators import StripeReportRunOperator
from airflow_reportrun.question.intervals import resolve

with DAG(
    "stripe_restate_last_days",
    schedule="0 13 * * *",
    start_date=datetime(2022, 1, 10, tzinfo=UTC),
    catchup=False,
    default_args={"retries": 5, "retry_delay": timedelta(minutes=5)},
):

    @task
    def last_days(count: int = 4, **context: Any) -> list[dict[str, int]]:
        """Return the bounds of the last whole days of the schedule's time zone, the newest first."""
        end = resolve(context, interval="day").end
        midnights = [end.subtract(days=days) for days in range(count + 1)]
        return [
            {"interval_start": start.int_timestamp, "interval_end": end.int_timestamp}
            for end, start in pairwise(midnights)
        ]

    StripeReportRunOperator.partial(
        task_id="activity",
        report_type="balance_change_from_activity.itemized.3",
        destination="{{ var.value.stripe_reports }}/restated/{interval_start:%Y-%m-%d}.csv",
        deferrable=True,
    ).expand_kwargs(last_days())
# [END stripe_restate_last_days]
