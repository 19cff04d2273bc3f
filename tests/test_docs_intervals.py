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
from airflow.timetables.base import TimeRestriction
from airflow.utils.types import DagRunType

from airflow_reportrun.operators import StripeReportRunOperator
from airflow_reportrun.question.intervals import Interval, IntervalError, IntervalUnit, resolve
from airflow_reportrun.sandbox import StripeSandbox
from tests.dag_runs import backfilled, epochs, make_context, stored, triggered
from tests.docs_tables import hold, table
from tests.task_runner import TaskRunner, in_dag

PYTHON = re.compile(r"```python\n(.*?)```", re.DOTALL)
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
    "[asset]": [Asset("orders")],
    "PartitionedAssetTimetable(…)": PartitionedAssetTimetable(
        assets=Asset("orders"), default_partition_mapper=StartOfDayMapper(timezone=ZONE, input_format="%Y-%m-%d")
    ),
}


# --- Runs, as Airflow makes them ---------------------------------------------------------------------------


def near_ticks(schedule: Any, moment: pendulum.DateTime) -> Iterator[dict[str, Any]]:
    """Yield the runs of the scheduler within some days of a moment, of a DAG that started on 1 January."""
    timetable = stored(schedule, zone=ZONE).timetable
    restriction = TimeRestriction(earliest=START, latest=moment.add(days=9), catchup=True)
    info = None
    while info := timetable.next_dagrun_info_v2(last_dagrun_info=info, restriction=restriction):
        if info.run_after > moment.subtract(days=9):
            yield make_context(
                schedule,
                zone=ZONE,
                run_type=DagRunType.SCHEDULED,
                run_after=info.run_after,
                logical_date=info.logical_date,
                data_interval=info.data_interval,
                partition_key=info.partition_key,
                partition_date=info.partition_date,
            )


def at_its_tick(schedule: Any, when: pendulum.DateTime) -> dict[str, Any]:
    (context,) = (run for run in near_ticks(schedule, when) if run["dag_run"].run_after == when)
    return context


def by_backfill(schedule: Any, when: pendulum.DateTime) -> dict[str, Any]:
    (context,) = backfilled(schedule, zone=ZONE, earliest=when, latest=when)
    return context


def with_a_logical_date(schedule: Any, when: pendulum.DateTime) -> dict[str, Any]:
    return triggered(schedule, zone=ZONE, logical_date=when, run_after=MUCH_LATER)


def without_a_logical_date(schedule: Any, when: pendulum.DateTime) -> dict[str, Any]:
    return triggered(schedule, zone=ZONE, run_after=when)


def on_the_command_line(schedule: Any, when: pendulum.DateTime) -> dict[str, Any]:
    """``airflow dags trigger --logical-date``, which infers the data interval from the time of the call."""
    inferred = stored(schedule, zone=ZONE).timetable.infer_manual_data_interval(run_after=MUCH_LATER)
    return make_context(schedule, zone=ZONE, run_after=MUCH_LATER, logical_date=when, data_interval=inferred)


def by_its_key(schedule: Any, when: pendulum.DateTime) -> dict[str, Any]:
    key_format = getattr(schedule, "key_format", "%Y-%m-%d")
    return triggered(schedule, zone=ZONE, run_after=MUCH_LATER, partition_key=when.strftime(key_format))


def by_assets(schedule: Any, when: pendulum.DateTime) -> dict[str, Any]:
    return make_context(schedule, zone=ZONE, run_type=DagRunType.ASSET_TRIGGERED, run_after=when)


def by_partitioned_assets(schedule: Any, when: pendulum.DateTime) -> dict[str, Any]:
    """The scheduler dates the run by the mapper of the asset."""
    key = when.strftime("%Y-%m-%d")
    date = stored(schedule, zone=ZONE).timetable.get_partition_mapper(name="orders").to_partition_date(key)
    return make_context(
        schedule,
        zone=ZONE,
        run_type=DagRunType.ASSET_TRIGGERED,
        run_after=MUCH_LATER,
        partition_key=key,
        partition_date=date,
    )


KINDS: dict[str, Callable[[Any, pendulum.DateTime], dict[str, Any]]] = {
    "scheduled": at_its_tick,
    "backfill": by_backfill,
    "triggered, with a logical date": with_a_logical_date,
    "`airflow dags trigger --logical-date`": on_the_command_line,
    "triggered, without a logical date": without_a_logical_date,
    "partition, scheduled": at_its_tick,
    "partition, backfill": by_backfill,
    "partition, triggered by its key": by_its_key,
    "triggered by assets": by_assets,
    "triggered by partitioned assets": by_partitioned_assets,
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
    Row("`airflow dags trigger --logical-date`", '"@daily"', "D+1 00:00", refused="was triggered for"),
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
    Row("triggered by assets", "[asset]", "D+1 09:30", interval="day"),
    Row("triggered by assets", "[asset]", "D+1 09:30", refused="has no period"),
    Row("triggered by partitioned assets", "PartitionedAssetTimetable(…)", "the key of D", interval="day"),
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
    "row", [row for row in ROWS if "scheduled" in row.run], ids=lambda row: f"{row.schedule} {row.interval}"
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


# --- The advice of the page --------------------------------------------------------------------------------


def test_the_messages_that_the_page_explains_are_those_that_a_task_ends_with() -> None:
    """People search for what their log says."""
    section = PAGE.read_text().partition("\n## A run that I triggered was refused\n")[2]
    explained = re.findall(r"^\| `([^`]+)` \|", section, re.MULTILINE)
    context = make_context("@daily", logical_date="2026-03-09T00:00Z")
    by_hour = CronPartitionTimetable("0 6 * * *", timezone=ZONE, key_format="%Y-%m-%dT%H")
    errors = [row.cell("spring") for row in ROWS if row.refused]
    for refused, options in (
        (context, {"interval_start": "2026-03-09T00:00Z", "interval_end": "2026-03-09T00:00Z"}),
        (context, {"interval_start": "None", "interval_end": "2026-03-09T00:00Z"}),
        (context, {"interval_start": "2026-03-09T00:00", "interval_end": "2026-03-09T00:00Z"}),
        (triggered(by_hour, partition_key="2026-03-08T05"), {}),
        (make_context(by_hour, run_type=DagRunType.SCHEDULED), {}),
        (make_context(SCHEDULES["PartitionedAssetTimetable(…)"], partition_key="eu"), {}),
    ):
        with pytest.raises(IntervalError) as caught:
            resolve(refused, **options)  # type: ignore[arg-type]
        errors.append(str(caught.value))
    errors.append("'data_interval_start' is undefined")  # Jinja's own; a template of the page gives it below
    assert [words for words in explained if not any(words in error for error in errors)] == []
    assert [error for error in errors if not any(words in error for words in explained)] == []


def from_the_page(containing: str, **options: Any) -> Any:
    """Return the task that a program of the page makes."""
    (program,) = (code for code in PYTHON.findall(PAGE.read_text()) if containing in code)
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
    body = re.search(r"```json\n(.*?)```", PAGE.read_text(), re.DOTALL)
    assert body
    found = resolve(triggered(SCHEDULES[schedule], zone=ZONE, **ast.literal_eval(body[1])))
    assert (epochs(found), found.rule) == (OF_OCTOBER, "data interval")


def test_a_partition_that_the_scheduler_leaves_out_can_be_backfilled() -> None:
    """Where the clocks skip a tick, Airflow steps back from it to itself."""
    schedule = CronPartitionTimetable("30 2 * * *", timezone=ZONE, run_offset=-1, key_format="%Y-%m-%d")
    keys = [context["partition_key"] for context in near_ticks(schedule, DAYS["spring"])]
    assert keys.count("2026-03-08") == 2
    assert "2026-03-07" not in keys
    (context,) = backfilled(schedule, earliest=pendulum.datetime(2026, 3, 7), latest=pendulum.datetime(2026, 3, 8))
    assert context["partition_key"] == "2026-03-07"
    found: Interval = resolve(context)
    assert [shown(found.start), shown(found.end)] == ["7 Mar 02:30", "8 Mar 03:30"]
