from __future__ import annotations

import time
from collections.abc import Callable
from datetime import UTC, datetime
from itertools import pairwise
from typing import Any

from system_tests.stage import TAKEN_FOR_DEAD_AFTER, Stage

DAG_ID, ASSET = "stripe_when_data_is_ready", "stripe-activity-data"
DAY, HALF_DAY = 86_400, 43_200


def test_each_advance_of_the_data_starts_the_dag_once(stage: Stage) -> None:
    """A triggerer that dies before there is one to tell of loses none, and each complete day lands once."""
    stage.until(lambda: mark(stage) > 0, "the first look", DAG_ID)
    begun = mark(stage)
    midnight = (begun // DAY + 1) * DAY
    ends = [midnight, midnight + HALF_DAY, midnight + DAY, midnight + 3 * DAY + HALF_DAY]

    stage.sandbox.configure(data_available_end=ends[0])
    stage.until(lambda: mark(stage) == ends[0], "an event, and its mark", DAG_ID)
    stage.airflow.kill("triggerer")  # which has nothing to tell
    stage.sandbox.configure(data_available_end=ends[1])
    time.sleep(TAKEN_FOR_DEAD_AFTER)
    stage.airflow.start("triggerer")
    stage.until(lambda: mark(stage) == ends[1], "an event of what came meanwhile", DAG_ID)

    stage.sandbox.configure(data_available_end=ends[2])
    soon(stage, lambda: any(end == ends[2] for _, end in told(stage)), "an event")
    stage.airflow.kill("triggerer")  # which has told, and as a rule not kept it yet
    time.sleep(TAKEN_FOR_DEAD_AFTER)
    stage.airflow.start("triggerer")
    stage.until(lambda: mark(stage) == ends[2], "a mark", DAG_ID)

    stage.sandbox.configure(data_available_end=ends[3])
    stage.until(lambda: mark(stage) == ends[3], "an event of several days", DAG_ID)
    looks = len(stage.sandbox.requests_to("retrieve_type"))
    stage.until(lambda: len(stage.sandbox.requests_to("retrieve_type")) > looks + 3, "further looks", DAG_ID)

    spans = list(pairwise([begun, *ends]))
    assert list(dict.fromkeys(told(stage))) == spans  # one that a death comes after may be told again, alike
    stage.until(lambda: landed(stage) == days(begun, ends[-1]), "the days", DAG_ID)
    stage.until(lambda: {run["state"] for run in stage.dag_runs(DAG_ID)} == {"success"}, "success", DAG_ID)
    once = [(day, day + DAY) for day in range(midnight - DAY, ends[-1] - DAY, DAY)]
    assert stage.intervals(None) == once, stage.story(DAG_ID)


def mark(stage: Stage) -> int:
    """Return how far the trigger has kept that it told, 0 where it has not."""
    assets = stage.airflow.get("assets", name_pattern=ASSET)["assets"]
    kept = [stage.airflow.get(f"assets/{asset['id']}/state-store") for asset in assets]
    values = [int(it["value"]) for page in kept for it in page["asset_state_store"]]
    return max(values, default=0)


def told(stage: Stage) -> list[tuple[int, int]]:
    """Return from where to where the asset's events tell, oldest first."""
    # A page has 50 events unless more are asked for, and the other DAGs' assets have as many.
    events = stage.airflow.get("assets/events", order_by="timestamp", limit=1000)["asset_events"]
    payloads: list[dict[str, Any]] = [it["extra"]["payload"] for it in events if it["extra"].get("from_trigger")]
    return [(it["previous_data_available_end"], it["data_available_end"]) for it in payloads]


def landed(stage: Stage) -> list[str]:
    """Return the names of the files."""
    return sorted(path.name for path in (stage.reports / "ready").glob("*.csv"))


def days(begun: int, end: int) -> list[str]:
    """Return the names of the files of the days that became complete."""
    return [f"{datetime.fromtimestamp(day * DAY, UTC):%Y-%m-%d}.csv" for day in range(begun // DAY, end // DAY)]


def soon(stage: Stage, done: Callable[[], bool], what: str) -> None:
    """Wait for something, and be there when it comes."""
    deadline = time.monotonic() + 120
    while not done():
        assert time.monotonic() < deadline, f"{what} did not come\n{stage.story(DAG_ID)}"
        time.sleep(0.05)
