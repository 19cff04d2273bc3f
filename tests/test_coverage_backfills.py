"""The dates that fill gaps: Airflow makes runs of them that report on what is missing, and on nothing else."""

from __future__ import annotations

import shlex
from datetime import UTC, datetime
from itertools import pairwise
from typing import Any
from zoneinfo import ZoneInfo

import pytest

from airflow_reportrun.coverage.backfills import Backfill, backfills_for
from airflow_reportrun.question.intervals import resolve
from tests.dag_runs import backfilled, dag_of
from tests.versions import (
    AIRFLOW,
    CronDataIntervalTimetable,
    CronPartitionTimetable,
    CronTriggerTimetable,
    needs_airflow,
    needs_airflow_3,
    present,
)

DAY = 86400


def edges(unit: str, zone: str) -> list[int]:
    """Return the beginnings of the units from March 2026 on."""
    dates: dict[str, list[tuple[int, int, int, int]]] = {
        "hour": [(2026, 3, 28 + n // 24, n % 24) for n in range(96)],
        "day": [(2026, 3, 1 + n, 0) for n in range(31)],
        "month": [(2025 + n // 12, n % 12 + 1, 1, 0) for n in range(24)],
    }
    return sorted({int(datetime(*it, tzinfo=ZoneInfo(zone)).timestamp()) for it in dates[unit]})


SCHEDULES = [
    pytest.param("0 13 * * *", "day", "UTC", "day", id="13:00, the day before"),
    pytest.param("@daily", None, "UTC", "day", id="daily"),
    pytest.param("@daily", None, "Europe/Berlin", "day", id="daily in Berlin"),
    pytest.param("@hourly", None, "UTC", "hour", id="hourly"),
    pytest.param("@monthly", None, "UTC", "month", id="monthly"),
    pytest.param("0 6 3 * *", "month", "UTC", "month", id="on the third, the month before"),
    pytest.param(CronDataIntervalTimetable("@daily", timezone="UTC"), None, "UTC", "day", id="data intervals"),
    pytest.param(
        CronDataIntervalTimetable("@daily", timezone="America/New_York"),
        *(None, "America/New_York", "day"),
        id="data intervals in New York",
    ),
    pytest.param(
        CronTriggerTimetable("0 9 * * *", timezone="America/New_York"),
        *("day", "America/New_York", "day"),
        id="ticks in New York",
    ),
    pytest.param(
        CronPartitionTimetable("@daily", timezone="Europe/Berlin", run_offset=-1),
        *(None, "Europe/Berlin", "day"),
        id="partitions in Berlin",
        marks=needs_airflow(3, 3, "dates of partitions"),
    ),
]


def reported_on(schedule: Any, zone: str, interval: Any, found: Backfill) -> list[tuple[int, int]]:
    """Return what the runs report on that ``airflow backfill create`` makes of a line."""
    words = shlex.split(found.command)
    assert words[:5] == ["airflow", "backfill", "create", "--dag-id", "close"]
    dates = words[words.index("--from-date") + 1], words[words.index("--to-date") + 1]
    runs = backfilled(schedule, zone=zone, earliest=dates[0], latest=dates[1])
    spans = (resolve(it, interval=interval, quiet=True) for it in runs)
    return [(it.start.int_timestamp, it.end.int_timestamp) for it in spans]


@needs_airflow_3("command for backfills that takes dates")
@pytest.mark.parametrize(("schedule", "interval", "zone", "unit"), SCHEDULES)
def test_backfills_report_on_what_is_missing_alone(schedule: Any, interval: Any, zone: str, unit: str) -> None:
    """Over changes of the clocks, too; each gap is one backfill, and gaps are never joined over what is there."""
    every = list(pairwise(edges(unit, zone)))
    missing = [*every[3:5], *every[7:8], *every[-4:-1]]
    found, left = backfills_for(dag_of(present(schedule), zone), missing, interval=interval)
    assert left == []
    assert [it.runs for it in found] == [2, 1, 3]
    assert [(it.start, it.end) for it in found] == [
        (missing[0][0], missing[1][1]),
        missing[2],
        (missing[3][0], missing[5][1]),
    ]
    assert [span for it in found for span in reported_on(schedule, zone, interval, it)] == missing


@needs_airflow_3("command for backfills that takes dates")
def test_a_date_whose_next_tick_the_clocks_skip_is_taken() -> None:
    """Airflow passes over the 25th as the first date in Cairo, where the 26th has no midnight."""
    schedule, zone = CronDataIntervalTimetable("@daily", timezone="Africa/Cairo"), "Africa/Cairo"
    days = [int(datetime(2024, 4, n, tzinfo=ZoneInfo(zone)).timestamp()) for n in range(20, 31)]
    for missing in pairwise(days):
        found, left = backfills_for(dag_of(schedule, zone), [missing])
        assert left == []
        assert [span for it in found for span in reported_on(schedule, zone, None, it)] == [missing]


def test_what_no_run_reports_on_is_left() -> None:
    """On weekdays alone with interval="day", nobody asks for Friday and Saturday."""
    monday = int(datetime(2026, 3, 2, tzinfo=UTC).timestamp())
    week = [(monday + n * DAY, monday + (n + 1) * DAY) for n in range(7)]
    found, left = backfills_for(dag_of("0 13 * * 1-5"), week, interval="day")
    assert left == week[4:6]
    assert sum(it.runs for it in found) == 5
    assert backfills_for(dag_of("0 13 * * 1-5"), []) == ([], [])


@pytest.mark.parametrize("schedule", [None, "@once"])
def test_a_schedule_without_ticks_fills_nothing(schedule: Any) -> None:
    """All is left."""
    monday = int(datetime(2026, 3, 2, tzinfo=UTC).timestamp())
    assert backfills_for(dag_of(schedule), [(monday, monday + DAY)], interval="day") == (
        [],
        [(monday, monday + DAY)],
    )


@pytest.mark.skipif(AIRFLOW != (3, 2), reason="Airflow 3.2 alone has partitions that have no dates")
def test_partitions_without_dates_have_no_backfills() -> None:
    """Which the command says, and the page shows none."""
    schedule = CronPartitionTimetable("@daily", timezone="UTC")
    with pytest.raises(ValueError, match=r"Before Airflow 3\.3 partitions have no dates"):
        backfills_for(dag_of(schedule, "UTC"), [(1772928000, 1773014400)])
