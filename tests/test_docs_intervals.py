"""``docs/intervals.md``: its table is what Airflow's own timetables and ``resolve`` give, and its advice works.

Runs are made as Airflow makes them: by the timetables' steps for the scheduler, by the stored DAG for backfills,
by the request model of the REST API for what somebody triggers.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from pathlib import Path
from typing import Any
from unittest import mock
from zoneinfo import ZoneInfo

import pendulum
import pytest
from airflow.sdk import (
    Asset,
    CronDataIntervalTimetable,
    CronPartitionTimetable,
    CronTriggerTimetable,
    PartitionedAssetTimetable,
    StartOfDayMapper,
)
from airflow.timetables.base import Timetable
from airflow.timetables.trigger import DeltaTriggerTimetable
from airflow.utils.types import DagRunType

from airflow_reportrun.operators import StripeReportRunOperator
from airflow_reportrun.question.intervals import Interval, IntervalError, IntervalUnit, resolve
from airflow_reportrun.sandbox import StripeSandbox
from tests.dag_runs import (
    BY_HAND,
    backfill_infos,
    backfilled,
    by_assets,
    by_the_operator,
    epochs,
    make_context,
    on_the_command_line,
    scheduled,
    triggered,
)
from tests.docs_blocks import pages, programs
from tests.docs_pictures import Line, timeline
from tests.docs_tables import hold, hold_file, table
from tests.task_runner import TaskRunner, in_dag

pytestmark = pytest.mark.slow

PAGE = Path(__file__).parent.parent / "docs" / "intervals.md"
ZONE = "America/New_York"
START = pendulum.datetime(2026, 1, 1, tz=ZONE)
DAYS = {"spring": pendulum.datetime(2026, 3, 8, tz=ZONE), "autumn": pendulum.datetime(2026, 11, 1, tz=ZONE)}
CHANGES = {"spring": datetime(2026, 3, 8, 7, tzinfo=UTC), "autumn": datetime(2026, 11, 1, 6, tzinfo=UTC)}
MUCH_LATER = pendulum.datetime(2026, 12, 24, 12, 34, 56)

CRON_PARTITIONS = {
    "offset=-1": CronPartitionTimetable("@daily", timezone=ZONE, run_offset=-1, key_format="%Y-%m-%d"),
    "offset=0": CronPartitionTimetable("@daily", timezone=ZONE, run_offset=0, key_format="%Y-%m-%d"),
}
SCHEDULES: dict[str, Any] = {
    '"@daily"': "@daily",
    '"0 6 * * *"': "0 6 * * *",
    '"0 */6 * * *"': "0 */6 * * *",
    '"0 13 * * *"': "0 13 * * *",
    "timedelta(days=1)": timedelta(days=1),
    'CronDataIntervalTimetable("@daily")': CronDataIntervalTimetable("@daily", timezone=ZONE),
    'CronTriggerTimetable("@daily", interval=timedelta(days=1))': CronTriggerTimetable(
        "@daily", timezone=ZONE, interval=timedelta(days=1)
    ),
    'CronPartitionTimetable("@daily", run_offset=-1)': CRON_PARTITIONS["offset=-1"],
    'CronPartitionTimetable("@daily", run_offset=0)': CRON_PARTITIONS["offset=0"],
    'CronPartitionTimetable("@daily", key_format="%Y-%m-%d")': CRON_PARTITIONS["offset=0"],
    'CronPartitionTimetable("0 6 * * *", key_format="%Y-%m-%d")': CronPartitionTimetable(
        "0 6 * * *", timezone=ZONE, key_format="%Y-%m-%d"
    ),
    'CronPartitionTimetable("@daily", key_format="%Y-%m")': CronPartitionTimetable(
        "@daily", timezone=ZONE, key_format="%Y-%m"
    ),
    "None": None,
    '"@once"': "@once",
    '"@continuous"': "@continuous",
    "[asset]": [Asset("orders")],
    "PartitionedAssetTimetable(…)": PartitionedAssetTimetable(assets=Asset("orders")),
    "StartOfDayMapper(timezone=…)": PartitionedAssetTimetable(
        assets=Asset("orders"), default_partition_mapper=StartOfDayMapper(timezone=ZONE, input_format="%Y-%m-%d")
    ),
    "StartOfDayMapper()": PartitionedAssetTimetable(
        assets=Asset("orders"), default_partition_mapper=StartOfDayMapper(input_format="%Y-%m-%d")
    ),
}


# --- Runs, as Airflow makes them ---------------------------------------------------------------------------


def near_ticks(schedule: Any, moment: pendulum.DateTime) -> Iterator[dict[str, Any]]:
    """Yield the runs of the scheduler within some days of a moment, of a DAG that started on 1 January."""
    for context in scheduled(schedule, zone=ZONE, earliest=START, until=moment.add(days=9), start=START):
        if context["dag_run"].run_after > moment.subtract(days=9):
            yield context


def at_its_tick(schedule: Any, when: pendulum.DateTime) -> dict[str, Any]:
    (context,) = (run for run in near_ticks(schedule, when) if run["dag_run"].run_after == when)
    return context


def at_once(schedule: Any, when: pendulum.DateTime) -> dict[str, Any]:
    """Return the first run of a DAG that the scheduler finds at a moment, which began on the day before."""
    start = when.subtract(days=1)
    with mock.patch("airflow._shared.timezones.timezone.utcnow", return_value=when.in_timezone("UTC")):
        return next(scheduled(schedule, zone=ZONE, earliest=start, start=start))


def by_backfill(schedule: Any, when: pendulum.DateTime) -> dict[str, Any]:
    now = "airflow.models.backfill.timezone.utcnow"
    with mock.patch(now, return_value=MUCH_LATER):  # Airflow makes no runs whose interval has not ended
        (context,) = backfilled(schedule, zone=ZONE, earliest=when, latest=when)
    return context


def with_a_logical_date(schedule: Any, when: pendulum.DateTime) -> dict[str, Any]:
    return triggered(schedule, zone=ZONE, logical_date=when, run_after=MUCH_LATER)


def without_a_logical_date(schedule: Any, when: pendulum.DateTime) -> dict[str, Any]:
    return triggered(schedule, zone=ZONE, run_after=when)


def for_a_date(trigger: Callable[..., dict[str, Any]]) -> Callable[[Any, pendulum.DateTime], dict[str, Any]]:
    return lambda schedule, when: trigger(schedule, zone=ZONE, now=MUCH_LATER, logical_date=when)


def by_its_key(ask: Callable[..., dict[str, Any]]) -> Callable[[Any, pendulum.DateTime], dict[str, Any]]:
    def by_key(schedule: Any, when: pendulum.DateTime) -> dict[str, Any]:
        key = when.strftime(getattr(schedule, "key_format", "%Y-%m-%d"))
        return ask(schedule, zone=ZONE, run_after=MUCH_LATER, partition_key=key)

    return by_key


def by_an_asset(schedule: Any, when: pendulum.DateTime) -> dict[str, Any]:
    return make_context(schedule, zone=ZONE, run_type=DagRunType.ASSET_TRIGGERED, run_after=when)


def by_a_partition(schedule: Any, when: pendulum.DateTime) -> dict[str, Any]:
    """The producer's partitions are days of New York."""
    return by_assets(schedule, zone=ZONE, key=when.strftime("%Y-%m-%d"), carried=when)


KINDS: dict[str, Callable[[Any, pendulum.DateTime], dict[str, Any]]] = {
    "scheduled": at_its_tick,
    "scheduled, first run": at_once,
    "backfill": by_backfill,
    "triggered, with a logical date": with_a_logical_date,
    "`airflow dags trigger --logical-date`": for_a_date(on_the_command_line),
    "`TriggerDagRunOperator(logical_date=…)`": for_a_date(by_the_operator),
    "triggered, without a logical date": without_a_logical_date,
    "partition, scheduled": at_its_tick,
    "partition, backfill": by_backfill,
    "partition, triggered by its key": by_its_key(BY_HAND["manual"]),
    "partition, an asset materialized by its key": by_its_key(BY_HAND["asset_materialization"]),
    "triggered by assets": by_an_asset,
    "triggered by partitioned assets": by_a_partition,
}


def shown(moment: pendulum.DateTime) -> str:
    """Return a time by the clocks, with the zone's name in an hour that they show twice."""
    repeated = len({moment.naive().replace(tzinfo=ZoneInfo(ZONE), fold=fold).utcoffset() for fold in (0, 1)}) > 1
    return moment.format("D MMM HH:mm") + (f" {moment.tzname()}" if repeated else "")


# --- The rows ----------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Row:
    """A line of the table, and what must be true of it whatever the code says.

    ``when`` is a time on the day D of the change, the day before or after; ``hours`` are of spring and autumn.
    """

    run: str
    schedule: str
    when: str
    hours: tuple[int, int] = (23, 25)
    interval: IntervalUnit | None = None
    refused: str = ""

    def moment(self, season: str) -> pendulum.DateTime:
        """Return the time that ``when`` is in a season."""
        when = self.when.split(", in autumn ")
        parts = re.fullmatch(r"(?:the key of )?D([+-]\d)?(?: (\d\d):(\d\d))?", when[-(season == "autumn")])
        assert parts
        return DAYS[season].add(days=int(parts[1] or 0)).at(int(parts[2] or 0), int(parts[3] or 0))

    def context(self, season: str) -> dict[str, Any]:
        """Return the context of its run."""
        return KINDS[self.run](SCHEDULES[self.schedule], self.moment(season))

    def cell(self, season: str) -> str:
        """Return what the run of a season reports on, as the table shows it."""
        try:
            found = resolve(self.context(season), interval=self.interval)
        except IntervalError as error:
            return f"refused: `{self.refused}`" if self.refused and self.refused in str(error) else str(error)
        start, end = epochs(found)
        return f"{shown(found.start)} to {shown(found.end)}, {(end - start) / 3600:g} h"

    def cells(self) -> list[str]:
        """Return the line of the table."""
        option = f', `interval="{self.interval}"`' if self.interval else ""
        seasons = [self.cell(season) for season in DAYS]
        return [self.run, f"`{self.schedule}`{option}", self.when, *seasons]


ROWS = [
    Row("scheduled", '"@daily"', "D+1 00:00"),
    Row("scheduled", '"0 6 * * *"', "D 06:00"),
    Row("scheduled", '"0 */6 * * *"', "D 06:00", (5, 7)),
    # Its ticks are hours of UTC from its start on, not of the clocks.
    Row("scheduled", "timedelta(days=1)", "D+1 01:00, in autumn D+1 00:00", (24, 24)),
    Row("scheduled", '"0 13 * * *"', "D+1 13:00", interval="day"),
    Row("scheduled", '"0 13 * * *"', "D+1 13:00", (167, 169), interval="week"),
    Row("scheduled", 'CronDataIntervalTimetable("@daily")', "D+1 00:00"),
    Row("scheduled", 'CronTriggerTimetable("@daily", interval=timedelta(days=1))', "D+1 00:00", (24, 24)),
    Row("backfill", '"@daily"', "D+1 00:00"),
    Row("backfill", 'CronDataIntervalTimetable("@daily")', "D 00:00"),
    Row("triggered, with a logical date", '"@daily"', "D+1 09:30"),
    Row(
        "triggered, with a logical date",
        'CronTriggerTimetable("@daily", interval=timedelta(days=1))',
        "D 09:30",
        (24, 24),
    ),
    Row("triggered, with a logical date", "None", "D+1 09:30", interval="day"),
    Row("scheduled, first run", '"@continuous"', "D 09:30"),
    Row("scheduled, first run", '"@once"', "D 09:30", refused="has no period"),
    Row("scheduled, first run", '"@once"', "D+2 09:30", interval="day"),
    Row("`airflow dags trigger --logical-date`", '"@daily"', "D+1 00:00", refused="was triggered for"),
    Row("`TriggerDagRunOperator(logical_date=…)`", '"@daily"', "D+1 00:00", refused="was triggered for"),
    Row("triggered, without a logical date", '"@daily"', "D+1 09:30"),
    Row("triggered, without a logical date", "timedelta(days=1)", "D 09:30", (24, 24)),
    Row("triggered, without a logical date", "None", "D+1 09:30", interval="day"),
    Row("triggered, without a logical date", "None", "D+1 09:30", refused="has no period"),
    Row("partition, scheduled", 'CronPartitionTimetable("@daily", run_offset=-1)', "D+1 00:00"),
    Row("partition, scheduled", 'CronPartitionTimetable("@daily", run_offset=0)', "D 00:00"),
    Row("partition, backfill", 'CronPartitionTimetable("@daily", run_offset=-1)', "D 00:00"),
    Row(
        "partition, triggered by its key",
        'CronPartitionTimetable("@daily", key_format="%Y-%m-%d")',
        "the key of D",
    ),
    Row(
        "partition, triggered by its key",
        'CronPartitionTimetable("0 6 * * *", key_format="%Y-%m-%d")',
        "the key of D-1",
    ),
    Row(
        "partition, triggered by its key",
        'CronPartitionTimetable("@daily", key_format="%Y-%m")',
        "the key of D",
        refused="does not say which is meant",
    ),
    Row(
        "partition, an asset materialized by its key",
        'CronPartitionTimetable("@daily", key_format="%Y-%m-%d")',
        "the key of D",
    ),
    Row(
        "partition, an asset materialized by its key",
        'CronPartitionTimetable("@daily", key_format="%Y-%m")',
        "the key of D",
        refused="does not say which is meant",
    ),
    Row("triggered by assets", "[asset]", "D+1 09:30", interval="day"),
    Row("triggered by assets", "[asset]", "D+1 09:30", refused="has no period"),
    Row("triggered by partitioned assets", "PartitionedAssetTimetable(…)", "the key of D", interval="day"),
    Row("triggered by partitioned assets", "StartOfDayMapper(timezone=…)", "the key of D", interval="day"),
    Row(
        "triggered by partitioned assets",
        "StartOfDayMapper()",
        "the key of D",
        interval="day",
        refused="by other clocks",
    ),
    Row(
        "triggered by partitioned assets",
        "PartitionedAssetTimetable(…)",
        "the key of D",
        refused="does not say how long",
    ),
]


# --- What is true of them, whatever the code says ----------------------------------------------------------


def read(cell: str) -> tuple[datetime, datetime, float]:
    """Return the ends that a reader of the page takes from a cell, and the hours that it states."""

    def instant(text: str) -> datetime:
        time, _, name = text.partition(" E")
        local = datetime.strptime(f"2026 {time}", "%Y %d %b %H:%M").replace(tzinfo=ZoneInfo(ZONE))
        return local.replace(fold=name == "ST").astimezone(UTC)

    parts = re.fullmatch(r"(.+) to (.+), (\d+) h", cell)
    assert parts, cell
    return instant(parts[1]), instant(parts[2]), int(parts[3])


@pytest.mark.parametrize("season", DAYS)
@pytest.mark.parametrize("row", ROWS, ids=lambda row: f"{row.run} {row.schedule} {row.interval} {row.refused}")
def test_each_cell_is_as_long_as_the_clocks_make_it_and_holds_their_change(row: Row, season: str) -> None:
    """Computed from the text of the page alone: neither pendulum nor Airflow is asked again."""
    cell = row.cell(season)
    if row.refused:
        assert cell == f"refused: `{row.refused}`"
        return
    start, end, stated = read(cell)
    expected = row.hours[season == "autumn"]
    assert (end - start).total_seconds() / 3600 == stated == expected
    assert start <= CHANGES[season] < end
    day = DAYS[season].date()
    midnights = [datetime(d.year, d.month, d.day, tzinfo=ZoneInfo(ZONE)) for d in (day, day + timedelta(days=1))]
    if ("@daily" in row.schedule and expected != 24) or row.interval == "day":
        assert [start, end] == midnights
    if row.interval == "week":
        assert [(end.astimezone(ZoneInfo(ZONE)) + timedelta(days=n)).weekday() for n in (0, -7)] == [0, 0]
        assert end == midnights[1]
    if "partition" not in row.run:
        known_at = row.context(season)["dag_run"].run_after if row.run == "backfill" else row.moment(season)
        assert end <= known_at


@pytest.mark.parametrize("season", DAYS)
@pytest.mark.parametrize(
    "row", [row for row in ROWS if KINDS[row.run] is at_its_tick], ids=lambda row: f"{row.schedule} {row.interval}"
)
def test_scheduled_runs_around_the_change_tile_time(row: Row, season: str) -> None:
    """But those that look back a fixed length, which the page says."""
    runs = near_ticks(SCHEDULES[row.schedule], row.moment(season))
    found = list(dict.fromkeys(epochs(resolve(context, interval=row.interval)) for context in runs))
    gaps = {after[0] - before[1] for before, after in pairwise(found)}
    overlap = {"spring": -3600, "autumn": 3600}[season]
    assert gaps == ({0, overlap} if "CronTrigger" in row.schedule else {0})


def test_the_table_of_the_page_is_this_one() -> None:
    """``WRITE_DOCS=1`` writes it."""
    header = ["run", "schedule and option", "when", "spring, D = 8 March 2026", "autumn, D = 1 November 2026"]
    hold(PAGE, "intervals", table(header, [row.cells() for row in ROWS]))


# --- The pictures ------------------------------------------------------------------------------------------

IMAGES = PAGE.parent / "img"
DRAWN = ('"@daily"', "timedelta(days=1)", 'CronTriggerTimetable("@daily", interval=timedelta(days=1))')


def around(season: str, schedule: str) -> list[Interval]:
    """Return three intervals that follow each other, from the day before the change on."""
    begin = DAYS[season].subtract(days=1, hours=2)
    found = [resolve(run) for run in near_ticks(SCHEDULES[schedule], DAYS[season])]
    return list(dict.fromkeys(it for it in found if it.start >= begin))[:3]


@pytest.mark.parametrize("season", DAYS)
def test_the_picture_of_a_change_is_drawn_from_what_is_resolved(season: str) -> None:
    """The bars of the calendar's days are 24, 23 or 25, and 24 hours; ``WRITE_DOCS=1`` draws it."""
    lines = []
    for schedule in DRAWN:
        found = around(season, schedule)
        hours = [(it.end - it.start).total_seconds() / 3600 for it in found]
        assert hours == ([24, {"spring": 23, "autumn": 25}[season], 24] if schedule == DRAWN[0] else [24] * 3)
        bars = [(it.start, it.end, f"{size:g} h") for it, size in zip(found, hours, strict=True)]
        lines.append(Line(f"schedule={schedule}", bars))
    midnights = [DAYS[season].add(days=n) for n in range(-1, 3)]
    ends = midnights[0].subtract(hours=3), midnights[-1].add(hours=3)
    ticks = [(it, f"{it.format('D MMM')} 00:00") for it in midnights]
    picture = timeline(
        f"What the runs of three schedules report on around {DAYS[season].format('D MMMM YYYY')} in New York",
        ends,
        ticks,
        lines,
    )
    hold_file(IMAGES / f"clocks-{season}.svg", picture)


def test_the_picture_of_the_empty_interval_is_drawn_from_what_is_resolved() -> None:
    """Airflow's data interval of the run of midnight, and what is reported on; ``WRITE_DOCS=1`` draws it."""
    tick = pendulum.datetime(2026, 6, 10, tz=ZONE)
    lines = []
    for schedule, when, interval in (
        ('"@daily"', tick, None),
        ('"0 6 * * *"', tick.add(hours=6), None),
        ('"0 6 * * *"', tick.add(hours=6), "day"),
        ('CronDataIntervalTimetable("@daily")', tick, None),
    ):
        run = at_its_tick(SCHEDULES[schedule], when)
        start, end = run["data_interval_start"], run["data_interval_end"]
        found = resolve(run, interval=interval)  # type: ignore[arg-type]
        assert (start == end) == ("Interval" not in schedule)
        option = f', interval="{interval}"' if interval else ""
        airflow = {"points": [(end, "Airflow: empty")]} if start == end else {}
        lines.append(Line(f"schedule={schedule}{option}", [(found.start, found.end, "reported on")], **airflow))
    days = [tick.add(days=n) for n in range(-1, 1)]
    ends = days[0].subtract(hours=2), days[-1].add(hours=9)
    picture = timeline(
        "Data intervals of Airflow 3, which are empty at their tick, and what the task reports on",
        ends,
        [(it, it.format("D MMM HH:mm")) for it in days],
        lines,
    )
    hold_file(IMAGES / "empty-interval.svg", picture)


# --- The dates of backfills --------------------------------------------------------------------------------

COMMAND = re.compile(r"--from-date (\S+?)`? (?:`)?--to-date ([^\s`]+)")
BACKFILLS = PAGE.parent / "backfills.md"
BERLIN = "Europe/Berlin"


@dataclass(frozen=True)
class Year:
    """A backfill of all of 2025, of a DAG that starts on a day of this zone."""

    schedule: str
    given: Any
    begin: str
    end: str
    runs: int
    interval: IntervalUnit | None = None
    zone: str = "UTC"

    def cells(self) -> list[str]:
        """Return the line of the table."""
        option = f', `interval="{self.interval}"`' if self.interval else ""
        zone = "" if self.zone == "UTC" else f", {self.zone}"
        begin, *_, end = self.intervals(1)
        dates = f"`--from-date {self.begin}` `--to-date {self.end}`"
        span = " to ".join(moment.format("D MMM YYYY HH:mm") for moment in (begin.start, end.end))
        return [f"`{self.schedule}`{option}{zone}", dates, str(self.count()), span]

    def count(self) -> int:
        """Return how many runs there are."""
        return len(backfill_infos(self.given, zone=self.zone, earliest=self.begin, latest=self.end))

    def intervals(self, ends: int) -> list[Interval]:
        """Return what the first and the last of them report on."""
        runs = backfilled(self.given, zone=self.zone, earliest=self.begin, latest=self.end, ends=ends)
        return [resolve(context, interval=self.interval) for context in runs]


YEARS = [
    Year('"0 13 * * *"', "0 13 * * *", "2025-01-02", "2026-01-01T23:59:59", 365, "day"),
    Year('"@daily"', "@daily", "2025-01-02", "2026-01-01T23:59:59", 365),
    Year('"@monthly"', "@monthly", "2025-01-02", "2026-01-01T23:59:59", 12),
    Year('"0 6 3 * *"', "0 6 3 * *", "2025-02-01", "2026-01-31T23:59:59", 12, "month"),
    Year('"@hourly"', "@hourly", "2025-01-01T01:00", "2026-01-01T00:00", 8760),
    Year('"@daily"', "@daily", "2025-01-02T00:00+01:00", "2026-01-01T23:59:59+01:00", 365, zone=BERLIN),
    Year(
        'CronDataIntervalTimetable("@daily")',
        CronDataIntervalTimetable("@daily", timezone=BERLIN),
        "2025-01-01T00:00+01:00",
        "2025-12-31T23:59:59+01:00",
        365,
        zone=BERLIN,
    ),
    Year(
        'CronDataIntervalTimetable("@monthly")',
        CronDataIntervalTimetable("@monthly", timezone="UTC"),
        "2025-01-01",
        "2025-12-31T23:59:59",
        12,
    ),
    Year(
        'CronPartitionTimetable("@daily")',
        CronPartitionTimetable("@daily", timezone=BERLIN, run_offset=-1, key_format="%Y-%m-%d"),
        "2025-01-01",
        "2025-12-31T23:59:59",
        365,
        zone=BERLIN,
    ),
]


@pytest.mark.parametrize("year", YEARS, ids=lambda year: f"{year.schedule} {year.zone}")
def test_the_dates_of_a_backfill_report_on_all_of_the_year_and_nothing_else(year: Year) -> None:
    """By the function behind Airflow's own dry run, from the texts of the command."""
    spans = sorted(map(epochs, year.intervals(200)))  # hours are too many: their beginnings and their count
    begin, end = (datetime(each, 1, 1, tzinfo=ZoneInfo(year.zone)).timestamp() for each in (2025, 2026))
    assert year.count() == year.runs
    assert (spans[0][0], spans[-1][1]) == (begin, end)
    gaps = [after[0] - before[1] for before, after in pairwise(spans)]
    assert sum(gap != 0 for gap in gaps) == (year.runs > 400)
    assert sum(gaps) == (year.runs - len(spans)) * 3600


def test_the_table_of_backfills_is_this_one() -> None:
    """``WRITE_DOCS=1`` writes it."""
    header = ["schedule and option", "dates for the year 2025", "runs", "report on"]
    hold(PAGE, "backfills", table(header, [year.cells() for year in YEARS]))


def test_the_backfill_of_the_first_dag_is_one_of_them() -> None:
    """Of the DAG that the README begins with, on the page about backfills."""
    text, first = BACKFILLS.read_text(), programs("README.md")[0]
    (command,) = re.findall(r"^airflow backfill create --dag-id stripe_daily_activity (.*)$", text, re.MULTILINE)
    assert COMMAND.search(command)
    assert f"--from-date {YEARS[0].begin} --to-date {YEARS[0].end}" == command
    assert f"schedule={YEARS[0].schedule}" in first
    assert f'interval="{YEARS[0].interval}"' in first
    (naive,) = re.findall(r"With `(--from-date .*?)` it would be", text)
    dates = COMMAND.search(naive)
    assert dates
    runs = backfilled("0 13 * * *", earliest=dates[1], latest=dates[2], ends=1)
    found = [resolve(context, interval="day") for context in runs]
    ends = [found[0].start.format("D MMMM YYYY"), found[-1].start.format("D MMMM YYYY")]
    assert f"it would be {ends[0]} to {ends[1]}." in " ".join(text.split())


def test_each_command_of_the_docs_is_tried() -> None:
    """A date that nobody has computed is wrong by a day."""
    tried = {(year.begin, year.end) for year in YEARS} | {
        ("2026-03-08", "2026-03-09"),
        ("2025-01-01", "2025-12-31"),
    }
    tried.add(("2024-04-24T23:59:59", "2024-04-30"))
    week = "2026-03-02", "2026-03-09"
    tried.add(week)
    days = [resolve(context).start for context in backfilled("0 13 * * *", earliest=week[0], latest=week[1])]
    tried.add((days[0].date().isoformat(), days[-1].add(days=1).date().isoformat()))  # by dates of the data
    for page in pages():
        if page.name == "cli.md":  # whose commands test_docs_cli.py computes
            continue
        for command in COMMAND.findall(" ".join(page.read_text().split())):
            assert command in tried, page.name
    assert [day.date().isoformat() for day in days] == [f"2026-03-0{day}" for day in range(1, 8)]
    six = CronPartitionTimetable("0 6 * * *", timezone=ZONE)
    (context,) = backfilled(six, zone=ZONE, earliest="2026-03-08", latest="2026-03-09")
    assert shown(resolve(context).start) == "8 Mar 06:00"


def test_a_backfill_that_begins_with_the_day_before_a_skipped_midnight_passes_over_it() -> None:
    """As the page says, and what to write instead; for ticks and for partitions."""
    cairo = "Africa/Cairo"
    partitions = CronPartitionTimetable("@daily", timezone=cairo)
    for schedule, offset in ("@daily", "+02:00"), (partitions, ""):
        for second, days in (f"2024-04-25T00:00:00{offset}", 5), (f"2024-04-24T23:59:59{offset}", 6):
            runs = backfilled(schedule, zone=cairo, earliest=second, latest="2024-04-30T12:00+03:00")
            assert len(runs) == days


# --- The advice of the page --------------------------------------------------------------------------------


def test_the_messages_that_the_page_explains_are_those_that_a_task_ends_with() -> None:
    """People search for what their log says."""
    section = PAGE.read_text().partition("\n## A run that I triggered was refused\n")[2]
    explained = re.findall(r"^\| `([^`]+)` \|", section, re.MULTILINE)
    context = make_context("@daily", logical_date="2026-03-09T00:00Z")
    by_hour = CronPartitionTimetable("0 6 * * *", timezone=ZONE, key_format="%Y-%m-%dT%H")
    consumer, mended = SCHEDULES["PartitionedAssetTimetable(…)"], SCHEDULES["StartOfDayMapper(timezone=…)"]
    by_day = {"interval": "day"}
    errors = [row.cell("spring") for row in ROWS if row.refused]
    by_chance = "2026-03-09T09:31:07Z"
    for refused, options in (
        (context, {"interval_start": "2026-03-09T00:00Z", "interval_end": "2026-03-09T00:00Z"}),
        (context, {"interval_start": "None", "interval_end": "2026-03-09T00:00Z"}),
        (context, {"interval_start": "2026-03-09T00:00", "interval_end": "2026-03-09T00:00Z"}),
        (triggered(by_hour, partition_key="2026-03-08T05"), {}),
        (make_context(by_hour, run_type=DagRunType.SCHEDULED), {}),
        (triggered(SCHEDULES["PartitionedAssetTimetable(…)"], partition_key="eu"), {}),
        (by_assets(consumer, key="2026-03-08", carried=pendulum.datetime(2026, 3, 8, tz="Asia/Tokyo")), by_day),
        (make_context(mended, zone=ZONE, partition_key="2026-03-08", partition_date=DAYS["autumn"]), by_day),
        (make_context(mended, zone=ZONE, partition_key="2026-03", partition_date=DAYS["autumn"]), by_day),
        (make_context(Untold(), run_type=DagRunType.SCHEDULED, logical_date="2026-03-09T00:00Z"), {}),
        (make_context(Counted(timedelta(days=7)), run_type=DagRunType.SCHEDULED, logical_date=by_chance), {}),
    ):
        with pytest.raises(IntervalError) as caught:
            resolve(refused, **options)  # type: ignore[arg-type]
        errors.append(str(caught.value))
    errors.append("'data_interval_start' is undefined")  # Jinja's own; a template of the page gives it below
    assert [words for words in explained if not any(words in error for error in errors)] == []
    assert [error for error in errors if not any(words in error for words in explained)] == []


class Counted(DeltaTriggerTimetable):
    """A class of somebody's own, whose ticks begin when they begin."""


class Untold(Timetable):
    """A timetable of somebody's own, of which nothing is known."""

    next_dagrun_info = Timetable.next_dagrun_info
    infer_manual_data_interval = Timetable.infer_manual_data_interval


def from_the_page(containing: str, **options: Any) -> Any:
    """Return the task that a program of the page makes."""
    (program,) = (code for code in programs("docs/intervals.md") if containing in code)
    call: Any = ast.parse(program, mode="eval").body
    kwargs = {keyword.arg: ast.literal_eval(keyword.value) for keyword in call.keywords}
    assert call.func.id == StripeReportRunOperator.__name__
    return in_dag(StripeReportRunOperator, **kwargs, wait_for_completion=False, **options)


TICK = datetime(2026, 11, 2, 18, tzinfo=UTC)
DATES = "logical_date", "data_interval_start", "data_interval_end"
EMPTY: dict[str, Any] = {**dict.fromkeys(DATES, TICK), "run_after": TICK, "conf": {}}
WHOLE = EMPTY | {"logical_date": DAYS["autumn"], "data_interval_start": DAYS["autumn"]}
DATELESS = EMPTY | dict.fromkeys(DATES)
OCTOBER = {"interval_start": "2026-10-01T00:00:00-04:00", "interval_end": "2026-11-01T00:00:00-04:00"}
OF_OCTOBER = (1790827200, 1793505600)
OF_THE_DAY = (1793505600, 1793595600)


@pytest.mark.parametrize(
    ("program", "run", "expected"),
    [
        ("start_of", EMPTY, OF_THE_DAY),
        ("start_of", WHOLE, OF_THE_DAY),
        ("start_of", EMPTY | {"conf": OCTOBER}, OF_OCTOBER),
        ("start_of", DATELESS | {"conf": OCTOBER}, OF_OCTOBER),
        ("start_of", DATELESS, "is undefined"),
        ("or data_interval_start", WHOLE, (1793505600, 1793642400)),
        ("or data_interval_start", WHOLE | {"conf": OCTOBER}, OF_OCTOBER),
        ("or data_interval_start", EMPTY, "is empty or reversed"),
        ("conf['interval_start']", DATELESS | {"conf": OCTOBER}, OF_OCTOBER),
        ("conf['interval_start']", EMPTY | {"conf": OCTOBER}, OF_OCTOBER),
        ("conf['interval_start']", DATELESS, "has no attribute"),
    ],
)
def test_an_interval_in_the_conf_of_a_run_is_taken_as_the_page_says(
    stripe_conn: StripeSandbox, program: str, run: dict[str, Any], expected: Any
) -> None:
    """The templates of the page, rendered by Airflow's task runner."""
    tried = TaskRunner(dag_run=run).run(from_the_page(program))
    if isinstance(expected, str):
        assert expected in str(tried.error)
        assert stripe_conn.report_runs == []
    else:
        assert tried.state == "success", tried.error
        assert (tried.returned["interval_start"], tried.returned["interval_end"]) == expected


@pytest.mark.parametrize("schedule", ['"@daily"', "None", 'CronDataIntervalTimetable("@daily")'])
def test_an_interval_given_to_the_rest_api_is_taken(schedule: str) -> None:
    """It is the data interval of the run, whatever the schedule says."""
    (body,) = programs("docs/intervals.md", "json")
    found = resolve(triggered(SCHEDULES[schedule], zone=ZONE, **ast.literal_eval(body)))
    assert (epochs(found), found.rule) == (OF_OCTOBER, "data interval")
