"""Balance activity as soon as Stripe has it, with no hour of the day in the schedule; for Airflow ≥ 3.3.

For figures as early as they are complete, and no task that waits or times out when they are late. A DAG run starts
when Stripe's data has moved on, about twice a day. It lands each UTC day that became complete by that: mostly one
or none, and after a pause all that became complete meanwhile.
"""

# [START stripe_when_data_is_ready]
from datetime import UTC, datetime, timedelta
from typing import Any

from airflow.sdk import DAG, Asset, AssetWatcher, task

from airflow_reportrun.event_triggers import StripeReportDataTrigger
from airflow_reportrun.operators import StripeReportRunOperator

REPORT_TYPE = "balance_change_from_activity.itemized.3"
DAY = 86_400
END = "data_available_end"
AGAIN = timedelta(hours=1)

data = Asset(
    "stripe-activity-data",
    watchers=[AssetWatcher(name="stripe", trigger=StripeReportDataTrigger(report_type=REPORT_TYPE))],
)

with DAG(
    "stripe_when_data_is_ready",
    schedule=[data],
    start_date=datetime(2022, 1, 1, tzinfo=UTC),
    catchup=False,
    max_active_runs=1,
    default_args={"retries": 5, "retry_delay": timedelta(minutes=5)},
):

    @task(inlets=[data])
    def complete_days(**context: Any) -> list[dict[str, int]]:
        """Return the bounds of the days whose end the data has reached; none in a run without an event."""
        events = [it for it in context["triggering_asset_events"].get(data, ()) if "payload" in it.extra]
        if not events:
            return []
        begun = min(it.timestamp for it in events)
        # A triggerer that died may have told an earlier run of the same. Later it is somebody who asks again.
        before = context["inlet_events"][data].after((begun - AGAIN).isoformat()).before(begun.isoformat())
        known = [it.extra["payload"] for it in before if it.timestamp < begun and "payload" in it.extra]
        days: set[int] = set()
        for told in (it.extra["payload"] for it in events):
            ends = [it[END] for it in known if told == {**it, END: told[END]}]
            first = max([told["previous_data_available_end"], *ends])
            days.update(range(first // DAY, told[END] // DAY))
        return [{"interval_start": day * DAY, "interval_end": (day + 1) * DAY} for day in sorted(days)]

    StripeReportRunOperator.partial(
        task_id="activity",
        report_type=REPORT_TYPE,
        destination="{{ var.value.stripe_reports }}/ready/{interval_start:%Y-%m-%d}.csv",
        deferrable=True,
    ).expand_kwargs(complete_days())
# [END stripe_when_data_is_ready]
