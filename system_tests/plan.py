"""What the DAGs and the tests agree on; Airflow's processes import it, too."""

from __future__ import annotations

import os
from datetime import UTC, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo


def account(dag_id: str) -> str:
    """Return the account that a DAG acts as, which tells its report runs from others in the sandbox."""
    return f"acct_{dag_id}"


REPORT_TYPE = "balance.summary.1"

DEFAULT_ARGS: dict[str, Any] = {
    "deferrable": True,
    "poll_interval": 5,
    "retries": 3,
    "retry_delay": timedelta(seconds=1),
    "stripe_account": account("{{ dag.dag_id }}"),
}

NEW_YORK = ZoneInfo("America/New_York")

CLOCKS_CHANGE = {
    "spring": (datetime(2026, 3, 5, tzinfo=NEW_YORK), datetime(2026, 3, 12, 12, tzinfo=NEW_YORK)),
    "autumn": (datetime(2025, 10, 29, tzinfo=NEW_YORK), datetime(2025, 11, 5, 12, tzinfo=NEW_YORK)),
}
"""What is backfilled: eight days, and the clocks change within."""

FIRST_DAY = datetime(2026, 1, 1, tzinfo=UTC)
INTERVALS, LIMIT = 60, 15
"""Of so many daily intervals, so many may be pending at once."""
ESCAPING, SLOTS = 20, 4
"""The same in the pool that doesn't count deferred tasks."""

POOLS = (
    {"name": "counts_deferred", "slots": LIMIT, "include_deferred": True},
    {"name": "forgets_deferred", "slots": SLOTS, "include_deferred": False},
)

SOME_DATE = datetime(2026, 5, 10, 6, tzinfo=UTC)
GIVEN = {"interval_start": "2026-02-03T04:00:00+01:00", "interval_end": "1770159600"}

BY_HAND: tuple[tuple[str, dict[str, Any]], ...] = (
    ("start_on_a_date", {"logical_date": SOME_DATE}),
    ("start_without_a_date", {}),
    ("start_with_conf", {"conf": GIVEN}),
    ("start_with_conf", {"logical_date": SOME_DATE}),
    ("start_unscheduled", {}),
    ("start_unscheduled", {"logical_date": SOME_DATE}),
    ("start_without_an_interval", {}),
    ("start_of_an_asset", {}),
    ("start_mapped", {}),
    ("triggerer", {}),
)
"""DAG runs that the REST API is asked for."""

DAG_RUNS = 2 * 3 * 8 + 8 + 3 * INTERVALS + ESCAPING + len(BY_HAND) + 1 + 1 + 3
"""How many there will be: of the clocks' backfills, of the partitions that one of these leaves, of the limits'
backfills, by hand, by command line, by asset and by schedule."""

MAPPED = {
    dag_id: (f"{account(dag_id)}_1", f"{account(dag_id)}_2") for dag_id in ("start_by_partition", "start_mapped")
}
"""The accounts of mapped tasks."""

TASKS = int(os.environ.get("TASKS", "100"))
"""How many tasks wait at once in each DAG of `test_scale`; two or three of them start in a second."""

SCALE_DAGS = ("scale_killed", "scale_shared")


def hours() -> list[dict[str, str]]:
    """Return what each mapped task asks for: an hour of its own."""
    starts = [FIRST_DAY + timedelta(hours=number) for number in range(TASKS)]
    return [
        {"interval_start": start.isoformat(), "interval_end": (start + timedelta(hours=1)).isoformat()}
        for start in starts
    ]
