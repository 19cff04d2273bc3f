"""Contexts are made as Airflow makes them: real DAGs, and ticks that the core timetables gave the scheduler."""

from __future__ import annotations

import datetime as dt
import logging
import subprocess
import sys
from itertools import islice, pairwise
from typing import TYPE_CHECKING, Any
from unittest import mock
from zoneinfo import ZoneInfo

import lazy_object_proxy  # type: ignore[import-untyped]  # published without types
import pendulum
import pytest
from airflow.providers.common.compat.sdk import Asset
from airflow.timetables.base import TimeRestriction
from airflow.timetables.events import EventsTimetable as CoreEventsTimetable
from airflow.timetables.trigger import CronTriggerTimetable as CoreCronTriggerTimetable
from dateutil.relativedelta import relativedelta
from hypothesis import example, given, settings
from hypothesis import strategies as st

from airflow_reportrun.question.intervals import IntervalError, IntervalUnit, resolve, timezone
from tests.dag_runs import (
    by_the_operator,
    dag_of,
    epochs,
    hours,
    make_context,
    materialized,
    on_the_command_line,
    scheduled,
    span,
    triggered,
    utc,
    warnings_in,
)
from tests.versions import (
    AIRFLOW,
    AIRFLOW_2,
    BEFORE_3_3,
    AssetOrTimeSchedule,
    CronDataIntervalTimetable,
    CronTriggerTimetable,
    DagRunType,
    DeltaDataIntervalTimetable,
    DeltaTriggerTimetable,
    EventsTimetable,
    MultipleCronTriggerTimetable,
    coerce_to_core_timetable,
    needs_airflow_3,
)

if TYPE_CHECKING:
    from collections.abc import Iterator

# A zone and a moment at which its clocks change in a way of its own, or just some moment.
CHANGES = {
    "UTC": "2024-02-29T00:00Z",
    "Europe/Berlin": "2024-03-31T01:00Z",
    "America/New_York": "2024-11-03T06:00Z",
    "Australia/Lord_Howe": "2024-04-06T15:00Z",  # back by half an hour
    "Asia/Kolkata": "2024-05-01T00:00Z",
    "Asia/Kathmandu": "2024-05-01T00:00Z",
    "America/Sao_Paulo": "2018-11-04T03:00Z",  # skips midnight
    "Pacific/Apia": "2011-12-30T10:00Z",  # skips a day
    "Africa/Cairo": "2024-04-25T22:00Z",  # skips midnight
    "Africa/Casablanca": "2024-04-14T02:00Z",
    "Atlantic/Azores": "2024-10-27T01:00Z",  # repeats midnight
}
CHANGES_TOO = {
    "Europe/Berlin": "2024-10-27T01:00Z",
    "America/New_York": "2024-03-10T07:00Z",
    "Australia/Lord_Howe": "2024-10-05T15:30Z",
    "Atlantic/Azores": "2024-03-31T01:00Z",
    "Africa/Cairo": "2024-10-31T21:00Z",
}
MOMENTS = [(zone, instant) for table in (CHANGES, CHANGES_TOO) for zone, instant in table.items()]
PRESETS = ["@hourly", "@daily", "@weekly", "@monthly", "@quarterly", "@yearly"]
CRONS = st.sampled_from(PRESETS) | st.builds(
    "{} {} {} * {}".format,
    st.sampled_from(["0", "30", "7,37", "*/20"]),
    st.sampled_from(["*", "0", "2", "6", "*/2", "1-3", "22,23"]),
    st.sampled_from(["*", "*", "1", "31", "*/10"]),
    st.sampled_from(["*", "*", "0", "1-5"]),
)
UNITS: list[IntervalUnit] = ["hour", "day", "week", "month", "quarter", "year"]


@pytest.fixture(scope="module", autouse=True)
def _crons_have_no_data_intervals() -> Iterator[None]:
    """Airflow 2, too, can leave them empty; where it doesn't, there is little to resolve."""
    with pytest.MonkeyPatch.context() as monkeypatch:
        monkeypatch.setenv("AIRFLOW__SCHEDULER__CREATE_CRON_DATA_INTERVALS", "False")
        yield


# --- Bounds as given ---------------------------------------------------------------------------------------

WHOLE_SECONDS = st.integers(min_value=10**8, max_value=4 * 10**9)


@given(
    start=WHOLE_SECONDS, length=st.integers(min_value=1, max_value=10**8), zone=st.sampled_from(sorted(CHANGES))
)
@settings(max_examples=50)
def test_every_accepted_form_of_a_bound_names_the_same_instant(start: int, length: int, zone: str) -> None:
    """Epoch seconds, digits, ISO 8601 in any offset and aware datetimes mean the same."""
    context = make_context("@daily", zone=zone)
    results = set()
    for form in (
        lambda seconds: seconds,
        str,
        float,
        lambda seconds: str(pendulum.from_timestamp(seconds).timestamp()),
        lambda seconds: f"\t{seconds}.000\n",
        lambda seconds: pendulum.from_timestamp(seconds, tz=zone).isoformat(),
        lambda seconds: str(pendulum.from_timestamp(seconds)),
        lambda seconds: f" {pendulum.from_timestamp(seconds).format('YYYY-MM-DDTHH:mm:ss')}Z ",
        lambda seconds: dt.datetime.fromtimestamp(seconds, ZoneInfo(zone)),
        lambda seconds: lazy_object_proxy.Proxy(lambda: pendulum.from_timestamp(seconds)),
    ):
        found = resolve(context, interval_start=form(start), interval_end=form(start + length))
        results.add((*epochs(found), found.start.timezone_name, found.rule))
    assert results == {(start, start + length, zone, "interval_start and interval_end as given")}


@pytest.mark.parametrize(
    ("bound", "words"),
    [
        ("2024-05-01", "write 2024-05-01T00:00:00Z"),
        ("2024-05-01T06:00:00", "write 2024-05-01T06:00:00Z"),
        (dt.datetime(2024, 5, 1, 6), "write 2024-05-01T06:00:00Z"),
        (dt.date(2024, 5, 1), "ISO 8601"),
        ("2024-05-01T00:00:00.5Z", "whole seconds"),
        (pendulum.datetime(2024, 5, 1, microsecond=1), "whole seconds"),
        ("1714521600.5", "whole seconds: drop the fraction"),
        (1714521600.5, "whole seconds: drop the fraction"),
        (float("nan"), "ISO 8601"),
        (float("inf"), "ISO 8601"),
        ("1.7145216e9", "ISO 8601"),
        ("+1714521600", "ISO 8601"),
        ("1_714_521_600", "ISO 8601"),
        ("1714521600.", "ISO 8601"),
        ("nan", "ISO 8601"),
        (1714521600000.0, "milliseconds"),
        ("1714521600000.0", "milliseconds"),
        ("", "rendered to nothing"),
        (" ", "rendered to nothing"),
        ("None", "rendered to nothing"),
        (None, "both interval_start and interval_end"),
        (1714521600000, "milliseconds"),
        ("1714521600000", "milliseconds"),
        ("20240501", "2024-05-01T00:00:00Z"),
        (-1714521600, "2024-05-01T00:00:00Z"),
        (True, "ISO 8601"),
        ("yesterday", "ISO 8601"),
        ("9" * 5000, "ISO 8601"),
        ("9999-12-31T23:59:59-12:00", "no data of that year"),
        ("9999-12-31T23:59:59Z", "no data of that year"),
        ("0001-01-01T00:00:00+12:00", "no data of that year"),
    ],
    ids=str,
)
@pytest.mark.parametrize("name", ["interval_start", "interval_end"])
def test_a_bound_that_cannot_be_meant_is_refused_by_name(name: str, bound: object, words: str) -> None:
    """The message names the argument, shows what arrived and says how to write it."""
    bounds: dict[str, Any] = {"interval_start": 1714521600, "interval_end": 1714608000} | {name: bound}
    with pytest.raises(IntervalError, match=f"^{name} is ") as caught:
        resolve(make_context("@daily"), **bounds)
    assert words in str(caught.value)


@pytest.mark.parametrize("end", ["2024-05-01T00:00:00Z", "2024-05-01T01:00:00+02:00"])
def test_an_empty_or_reversed_pair_is_refused(end: str) -> None:
    """Half open means that the end lies after the start, whatever offsets they are written in."""
    with pytest.raises(IntervalError, match="empty or reversed"):
        resolve(make_context("@daily"), interval_start="2024-05-01T00:00:00Z", interval_end=end)


def test_bounds_given_win_over_all_that_could_be_inferred() -> None:
    """Not even a run that would be refused is looked at."""
    context = make_context(None, partition_key="2024-05-01", logical_date="2020-01-01T00:00Z")
    found = resolve(context, interval_start=1714521600, interval_end=1714608000, interval="month")
    assert span(found) == ("2024-05-01T00:00:00+00:00", "2024-05-02T00:00:00+00:00")


# --- Calendar units ----------------------------------------------------------------------------------------


@given(
    unit=st.sampled_from(UNITS),
    moment=st.sampled_from(MOMENTS),
    offset=st.integers(min_value=-400 * 3600, max_value=400 * 3600)
    | st.sampled_from([-3600, -1, 0, 1, 1799, 1800]),
)
@settings(max_examples=300)
def test_units_tile_time(unit: IntervalUnit, moment: tuple[str, str], offset: int) -> None:
    """The unit ends at or before its anchor, the next one does not, and they abut."""
    zone, change = moment
    anchor = utc(change).add(seconds=offset)
    found = resolve(make_context(None, zone=zone, run_after=anchor), interval=unit)
    just_before = resolve(make_context(None, zone=zone, run_after=found.end.subtract(seconds=1)), interval=unit)
    at_its_end = resolve(make_context(None, zone=zone, run_after=found.end), interval=unit)
    assert epochs(found)[1] <= anchor.int_timestamp
    assert epochs(just_before)[1] == epochs(found)[0]
    assert epochs(at_its_end) == epochs(found)
    if BEFORE_3_3:  # no date of a partition leads to the one that follows
        return
    following = resolve(make_context(None, zone=zone, partition_key="x", partition_date=found.end), interval=unit)
    assert epochs(following)[0] == epochs(found)[1]
    assert epochs(following)[1] > anchor.int_timestamp


@pytest.mark.parametrize(
    ("zone", "anchor", "unit", "start", "end", "length"),
    [
        (
            "Europe/Berlin",
            "2024-04-01T00:00+02:00",
            "day",
            "2024-03-31T00:00:00+01:00",
            "2024-04-01T00:00:00+02:00",
            23,
        ),
        (
            "Europe/Berlin",
            "2024-10-28T09:00+01:00",
            "day",
            "2024-10-27T00:00:00+02:00",
            "2024-10-28T00:00:00+01:00",
            25,
        ),
        (
            "Europe/Berlin",
            "2024-10-27T23:59:59+01:00",
            "day",
            "2024-10-26T00:00:00+02:00",
            "2024-10-27T00:00:00+02:00",
            24,
        ),
        (
            "Europe/Berlin",
            "2024-10-27T02:30+01:00",
            "hour",
            "2024-10-27T02:00:00+02:00",
            "2024-10-27T02:00:00+01:00",
            1,
        ),
        (
            "Europe/Berlin",
            "2024-10-27T03:00+01:00",
            "hour",
            "2024-10-27T02:00:00+01:00",
            "2024-10-27T03:00:00+01:00",
            1,
        ),
        (
            "Europe/Berlin",
            "2024-03-31T03:30+02:00",
            "hour",
            "2024-03-31T01:00:00+01:00",
            "2024-03-31T03:00:00+02:00",
            1,
        ),
        (
            "Europe/Berlin",
            "2024-04-02T00:00+02:00",
            "week",
            "2024-03-25T00:00:00+01:00",
            "2024-04-01T00:00:00+02:00",
            167,
        ),
        (
            "Europe/Berlin",
            "2024-04-15T00:00+02:00",
            "month",
            "2024-03-01T00:00:00+01:00",
            "2024-04-01T00:00:00+02:00",
            743,
        ),
        (
            "Europe/Berlin",
            "2024-04-01T00:00+02:00",
            "quarter",
            "2024-01-01T00:00:00+01:00",
            "2024-04-01T00:00:00+02:00",
            2183,
        ),
        (
            "Europe/Berlin",
            "2024-12-31T23:59+01:00",
            "year",
            "2023-01-01T00:00:00+01:00",
            "2024-01-01T00:00:00+01:00",
            8760,
        ),
        ("Asia/Kolkata", "2024-05-01T10:10Z", "hour", "2024-05-01T14:00:00+05:30", "2024-05-01T15:00:00+05:30", 1),
        (
            "Asia/Kathmandu",
            "2024-05-01T10:10Z",
            "hour",
            "2024-05-01T14:00:00+05:45",
            "2024-05-01T15:00:00+05:45",
            1,
        ),
        (
            "Australia/Lord_Howe",
            "2024-04-07T02:00+10:30",
            "hour",
            "2024-04-07T01:00:00+11:00",
            "2024-04-07T02:00:00+10:30",
            1.5,
        ),
        (
            "Australia/Lord_Howe",
            "2024-10-06T02:30+11:00",
            "hour",
            "2024-10-06T01:00:00+10:30",
            "2024-10-06T02:30:00+11:00",
            1,
        ),
        (
            "Australia/Lord_Howe",
            "2024-10-06T03:00+11:00",
            "hour",
            "2024-10-06T02:30:00+11:00",
            "2024-10-06T03:00:00+11:00",
            0.5,
        ),
        (
            "Australia/Lord_Howe",
            "2024-04-08T00:00+10:30",
            "day",
            "2024-04-07T00:00:00+11:00",
            "2024-04-08T00:00:00+10:30",
            24.5,
        ),
        (
            "Pacific/Apia",
            "2011-12-31T01:00+14:00",
            "day",
            "2011-12-29T00:00:00-10:00",
            "2011-12-31T00:00:00+14:00",
            24,
        ),
        (
            "Africa/Cairo",
            "2024-04-27T00:00+03:00",
            "day",
            "2024-04-26T01:00:00+03:00",
            "2024-04-27T00:00:00+03:00",
            23,
        ),
        (
            "Atlantic/Azores",
            "2024-10-28T00:00-01:00",
            "day",
            "2024-10-27T00:00:00+00:00",
            "2024-10-28T00:00:00-01:00",
            25,
        ),
    ],
)
def test_units_follow_the_clocks_of_the_zone(
    zone: str, anchor: str, unit: IntervalUnit, start: str, end: str, length: float
) -> None:
    """Where the clocks change, days, hours, weeks and months are as long as they were on the wall."""
    found = resolve(make_context(None, zone=zone, run_after=anchor), interval=unit)
    assert (*span(found), hours(found)) == (start, end, length)


def test_a_unit_ends_by_the_data_interval_then_the_logical_date_then_run_after() -> None:
    """The most telling of the run's dates decides, and the rule says which it was."""
    context = make_context(
        CronDataIntervalTimetable("@monthly", timezone="UTC"),
        logical_date="2024-03-20T00:00Z",
        data_interval=("2024-02-01T00:00Z", "2024-03-01T00:00Z"),
    )
    by_data_interval = resolve(context, interval="day")
    del context["data_interval_start"], context["data_interval_end"]
    by_logical_date = resolve(context, interval="day")
    del context["logical_date"]
    by_run_after = resolve(context, interval="day")
    assert [
        (found.end.to_date_string(), found.rule) for found in (by_data_interval, by_logical_date, by_run_after)
    ] == [
        ("2024-03-01", "last complete day at data_interval_end"),
        ("2024-03-20", "last complete day at logical_date"),
        ("2024-05-02", "last complete day at run_after"),
    ]


def test_weeks_start_on_monday_whatever_pendulum_was_told() -> None:
    """Another DAG file's setting does not move the books."""
    pendulum.week_starts_at(pendulum.SUNDAY)
    try:
        found = resolve(make_context(None, run_after="2024-05-08T00:00Z"), interval="week")
    finally:
        pendulum.week_starts_at(pendulum.MONDAY)
    assert span(found) == ("2024-04-29T00:00:00+00:00", "2024-05-06T00:00:00+00:00")


def test_a_unit_that_nobody_knows_is_refused_with_those_that_exist() -> None:
    """A typing error costs one attempt, not a wrong report."""
    with pytest.raises(IntervalError, match="'fortnight': expected one of hour, day, week, month, quarter, year"):
        resolve(make_context("@daily"), interval="fortnight")  # type: ignore[arg-type]


# --- Scheduled runs ----------------------------------------------------------------------------------------


def several(*crons: str, zone: str) -> Any:
    return MultipleCronTriggerTimetable(*crons, timezone=zone)


@given(
    crons=st.lists(CRONS, min_size=1, max_size=1 if AIRFLOW_2 else 2, unique=True),
    moment=st.sampled_from(MOMENTS),
    days=st.integers(min_value=4, max_value=20),
)
@example(crons=["@daily"], moment=("Africa/Cairo", "2024-04-25T22:00Z"), days=9)
@example(crons=["@hourly"], moment=("Australia/Lord_Howe", "2024-04-06T15:00Z"), days=4)
@example(crons=["*/30 2 * * *"], moment=("Europe/Berlin", "2024-03-31T01:00Z"), days=9)
@example(crons=["0 */2 * * *"], moment=("Pacific/Apia", "2011-12-30T10:00Z"), days=4)
@example(crons=["0 * 1 * *"], moment=("Europe/Berlin", "2024-03-31T22:00Z"), days=35)
@example(crons=["0 * 1 * *"], moment=("Europe/Berlin", "2026-03-31T22:00Z"), days=35)  # two days after the change
@example(crons=["0 * * * 3"], moment=("America/New_York", "2026-03-11T04:00Z"), days=10)
@example(crons=["0 * * * 3-5"], moment=("America/New_York", "2026-03-11T04:00Z"), days=10)
@settings(max_examples=40)
def test_consecutive_runs_of_a_cron_tile_time(crons: list[str], moment: tuple[str, str], days: int) -> None:
    """Whatever the clocks do, each run's interval begins where the last one ended, and ends at its own tick."""
    zone, change = moment
    schedule = crons[0] if len(crons) == 1 else several(*crons, zone=zone)
    earliest, until = utc(change).subtract(days=days), utc(change).add(years=1, days=2)
    before: list[dict[str, Any]] = []
    after: list[dict[str, Any]] = []
    for context in scheduled(schedule, zone=zone, earliest=earliest, until=until):
        # An hourly cron on some days only, or in half-hour zones, has its ticks displaced by a change of the
        # clocks, and a DAG that starts within hours of one would have had others: not the first days' ticks.
        if context["dag_run"].run_after > earliest.add(days=3):
            (before if context["dag_run"].run_after <= utc(change) else after).append(context)
        if len(after) == 4:
            break
    contexts = before[-3:] + after
    found = [epochs(resolve(context)) for context in contexts]
    assert [end for _, end in found] == [context["dag_run"].run_after.int_timestamp for context in contexts]
    assert [start for start, _ in found[1:]] == [end for _, end in found[:-1]]


@given(
    delta=st.timedeltas(min_value=dt.timedelta(seconds=1), max_value=dt.timedelta(days=90))
    | st.builds(relativedelta, days=st.integers(1, 40), hours=st.integers(0, 30))
    | st.builds(relativedelta, months=st.integers(1, 14)),
    # Months counted from the 29th on are left out: on their way through February, Airflow's ticks wander to the
    # 28th for good (31 January, 29 February, 29 March …), and the day that they came from is lost.
    earliest=st.datetimes(dt.datetime(2023, 1, 1), dt.datetime(2025, 1, 1)).filter(lambda start: start.day <= 28),
)
@settings(max_examples=100)
def test_consecutive_runs_of_a_timedelta_tile_time(delta: Any, earliest: dt.datetime) -> None:
    """Fractions of a second are floored on both ends, so that neighbours still share theirs."""
    start = pendulum.instance(earliest, tz="UTC")
    runs = scheduled(delta, zone="Europe/Berlin", earliest=start, until=start.add(years=9))
    found = [epochs(resolve(context)) for context in islice(runs, 5)]
    assert [start for start, _ in found[1:]] == [end for _, end in found[:-1]]


@pytest.mark.parametrize(
    ("schedule", "zone", "tick", "start", "end", "length"),
    [
        (
            "@daily",
            "Europe/Berlin",
            "2024-04-01T00:00+02:00",
            "2024-03-31T00:00:00+01:00",
            "2024-04-01T00:00:00+02:00",
            23,
        ),
        (
            "@daily",
            "Europe/Berlin",
            "2024-10-28T00:00+01:00",
            "2024-10-27T00:00:00+02:00",
            "2024-10-28T00:00:00+01:00",
            25,
        ),
        (
            "@hourly",
            "Europe/Berlin",
            "2024-10-27T02:00+01:00",
            "2024-10-27T02:00:00+02:00",
            "2024-10-27T02:00:00+01:00",
            1,
        ),
        (
            "@weekly",
            "Europe/Berlin",
            "2024-03-31T00:00+01:00",
            "2024-03-24T00:00:00+01:00",
            "2024-03-31T00:00:00+01:00",
            168,
        ),
        (
            "@monthly",
            "Europe/Berlin",
            "2024-04-01T00:00+02:00",
            "2024-03-01T00:00:00+01:00",
            "2024-04-01T00:00:00+02:00",
            743,
        ),
        (
            "@quarterly",
            "Europe/Berlin",
            "2024-04-01T00:00+02:00",
            "2024-01-01T00:00:00+01:00",
            "2024-04-01T00:00:00+02:00",
            2183,
        ),
        (
            "@yearly",
            "Asia/Kolkata",
            "2024-01-01T00:00+05:30",
            "2023-01-01T00:00:00+05:30",
            "2024-01-01T00:00:00+05:30",
            8760,
        ),
        (
            "30 2 * * *",
            "Europe/Berlin",
            "2024-03-31T03:30+02:00",
            "2024-03-30T02:30:00+01:00",
            "2024-03-31T03:30:00+02:00",
            24,
        ),
        (
            "30 2 * * *",
            "Europe/Berlin",
            "2024-10-27T02:30+01:00",
            "2024-10-26T02:30:00+02:00",
            "2024-10-27T02:30:00+01:00",
            25,
        ),
        (
            "@daily",
            "Africa/Cairo",
            "2024-04-26T01:00+03:00",
            "2024-04-25T00:00:00+02:00",
            "2024-04-26T01:00:00+03:00",
            24,
        ),
        (
            "@daily",
            "Pacific/Apia",
            "2011-12-31T00:00+14:00",
            "2011-12-29T00:00:00-10:00",
            "2011-12-31T00:00:00+14:00",
            24,
        ),
        (
            dt.timedelta(days=1),
            "Europe/Berlin",
            "2024-04-01T00:00+02:00",
            "2024-03-30T23:00:00+01:00",
            "2024-04-01T00:00:00+02:00",
            24,
        ),
        (
            relativedelta(months=1),
            "UTC",
            "2024-03-01T00:00Z",
            "2024-02-01T00:00:00+00:00",
            "2024-03-01T00:00:00+00:00",
            696,
        ),
    ],
)
def test_an_empty_data_interval_means_the_period_that_ends_there(
    schedule: Any, zone: str, tick: str, start: str, end: str, length: float
) -> None:
    """Airflow 3 gives an empty interval for most schedules; the schedule says which period has ended."""
    found = resolve(make_context(schedule, zone=zone, run_type=DagRunType.SCHEDULED, logical_date=tick))
    assert (*span(found), hours(found)) == (start, end, length)


@pytest.mark.parametrize(
    ("schedule", "tick", "start"),
    [
        (
            several("0 0 * * *", "0 15 * * *", zone="Europe/Berlin"),
            "2024-05-02T15:00+02:00",
            "2024-05-02T00:00:00+02:00",
        ),
        (
            several("0 0 * * *", "0 15 * * *", zone="Europe/Berlin"),
            "2024-05-02T00:00+02:00",
            "2024-05-01T15:00:00+02:00",
        ),
        (
            CoreCronTriggerTimetable("0 0 * * *", timezone="Europe/Berlin"),
            "2024-05-02T00:00+02:00",
            "2024-05-01T00:00:00+02:00",
        ),
        (
            AssetOrTimeSchedule(
                timetable=CronTriggerTimetable("0 0 * * *", timezone="Europe/Berlin"), assets=[Asset("orders")]
            ),
            "2024-05-02T00:00+02:00",
            "2024-05-01T00:00:00+02:00",
        ),
    ],
    ids=["several, afternoon", "several, night", "timetable of the core", "assets or time"],
)
def test_a_timetable_that_holds_crons_has_their_period_and_zone(schedule: Any, tick: str, start: str) -> None:
    """Several crons tick together, a wrapped timetable counts as itself, and one of the core as one of the SDK."""
    context = make_context(schedule, run_type=DagRunType.SCHEDULED, logical_date=tick)
    assert span(resolve(context)) == (start, utc(tick).in_timezone("Europe/Berlin").isoformat())


def test_a_data_interval_is_used_as_it_is(caplog: pytest.LogCaptureFixture) -> None:
    """CronDataIntervalTimetable says it all, days of 23 hours included."""
    schedule = CronDataIntervalTimetable("@daily", timezone="Europe/Berlin")
    runs = scheduled(schedule, zone="UTC", earliest=utc("2024-03-29T23:00Z"), until=utc("2024-04-01T21:00Z"))
    found = [resolve(context) for context in runs]
    assert [(interval.start.to_date_string(), hours(interval)) for interval in found] == [
        ("2024-03-30", 24),
        ("2024-03-31", 23),
        ("2024-04-01", 24),
    ]
    assert {interval.rule for interval in found} == {"data interval"}
    assert not [record for record in caplog.records if record.levelno > logging.INFO]


def test_a_data_interval_that_somebody_gave_with_the_run_is_used_without_a_warning(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """The REST API takes one; that it is no period of the schedule is the point of giving it."""
    context = make_context(
        CronDataIntervalTimetable("@daily", timezone="UTC"),
        logical_date="2024-05-02T09:30Z",
        data_interval=("2024-04-01T00:00Z", "2024-05-01T00:00Z"),
    )
    assert span(resolve(context)) == ("2024-04-01T00:00:00+00:00", "2024-05-01T00:00:00+00:00")
    assert not [record for record in caplog.records if record.levelno > logging.INFO]


def test_fractions_that_airflow_inferred_are_floored_and_logged(caplog: pytest.LogCaptureFixture) -> None:
    """Nobody wrote them, so nobody can drop them."""
    caplog.set_level(logging.INFO)
    schedule = DeltaDataIntervalTimetable(dt.timedelta(hours=1))
    context = make_context(
        schedule,
        logical_date="2024-05-01T06:00:00.900Z",
        data_interval=("2024-05-01T05:00:00.900Z", "2024-05-01T06:00:00.900Z"),
    )
    assert span(resolve(context)) == ("2024-05-01T05:00:00+00:00", "2024-05-01T06:00:00+00:00")
    assert "was floored to [2024-05-01 05:00:00+00:00, 2024-05-01 06:00:00+00:00)" in caplog.text


DAILY = "@daily" if AIRFLOW == (3, 2) else "0 0 * * *"
"""As a DAG's timetable has it."""

LOOK_BACKS = [
    CronTriggerTimetable("@daily", timezone="Europe/Berlin", interval=dt.timedelta(days=1)),
    MultipleCronTriggerTimetable("@daily", timezone="Europe/Berlin", interval=dt.timedelta(days=1)),
    CoreCronTriggerTimetable("@daily", timezone="Europe/Berlin", interval=dt.timedelta(days=1)),
]


@pytest.mark.parametrize(
    "schedule",
    LOOK_BACKS,
    ids=lambda schedule: f"{type(schedule).__module__.split('.')[1]} {type(schedule).__name__}",
)
def test_a_fixed_look_back_is_used_as_given_and_warned_about_where_it_does_not_tile(
    schedule: Any, caplog: pytest.LogCaptureFixture
) -> None:
    """Twenty-four hours before midnight are a day, except when the clocks have changed."""
    warned = []
    for context in scheduled(
        schedule, zone="UTC", earliest=utc("2024-03-29T23:00Z"), until=utc("2024-04-01T22:00Z")
    ):
        caplog.clear()
        found = resolve(context)
        assert hours(found) == 24
        assert found.end == context["dag_run"].run_after
        warned.append((found.end.to_date_string(), "looks back a fixed length" in caplog.text))
        assert not warned[-1][1] or 'interval="day"' in caplog.text
    assert warned == [("2024-03-30", False), ("2024-03-31", False), ("2024-04-01", True), ("2024-04-02", False)]


def test_a_look_back_of_another_length_than_the_period_is_warned_about(caplog: pytest.LogCaptureFixture) -> None:
    """A week's look-back every day reports on every day seven times."""
    schedule = DeltaTriggerTimetable(dt.timedelta(days=1), interval=dt.timedelta(days=7))
    context = make_context(
        schedule,
        run_type=DagRunType.SCHEDULED,
        logical_date="2024-05-01T00:00Z",
        data_interval=("2024-05-01T00:00Z", "2024-05-08T00:00Z"),
    )
    assert hours(resolve(context)) == 7 * 24
    assert warnings_in(caplog) == [
        "a schedule of 1 day, 0:00:00 looks back a fixed length from each tick, and this is not its period: the "
        'intervals of consecutive runs overlap or leave gaps. Pass interval="day" (or another unit) to report on '
        "whole calendar units."
    ]


@pytest.mark.parametrize(
    ("schedule", "zone", "tick", "warned"),
    [
        ("0 6 * * *", "Europe/Berlin", "2024-05-02T06:00+02:00", True),
        ("0 6 * * *", "Europe/Berlin", "2024-03-31T06:00+02:00", True),
        ("0 6 * * 1", "UTC", "2024-05-06T06:00Z", True),
        (dt.timedelta(days=1), "Europe/Berlin", "2024-05-02T00:00Z", True),
        (
            CronDataIntervalTimetable("0 6 * * *", timezone="UTC"),
            "UTC",
            ("2024-05-01T06:00Z", "2024-05-02T06:00Z"),
            True,
        ),
        ("0 0 * * *", "Europe/Berlin", "2024-05-02T00:00+02:00", False),
        ("0 0 * * *", "Africa/Cairo", "2024-04-27T00:00+03:00", False),
        ("0 0 * * *", "Atlantic/Azores", "2024-10-28T00:00-01:00", False),
        ("0 */6 * * *", "UTC", "2024-05-02T18:00Z", False),
    ],
)
def test_a_day_that_does_not_start_at_midnight_is_warned_about_once(
    schedule: Any, zone: str, tick: Any, warned: bool, caplog: pytest.LogCaptureFixture
) -> None:
    """'0 6 * * *' reports from 06:00 to 06:00, which may not be what was meant; the log names the way out."""
    interval = tick if isinstance(tick, tuple) else (tick, tick)
    resolve(
        make_context(
            schedule, zone=zone, run_type=DagRunType.SCHEDULED, logical_date=interval[0], data_interval=interval
        )
    )
    warnings = [record.getMessage() for record in caplog.records if record.levelno >= logging.WARNING]
    assert len(warnings) == warned
    words = ' does not start at midnight. Pass interval="day" (or another unit) to report on whole calendar units.'
    assert all(warning.startswith("[2024-0") and warning.endswith(")" + words) for warning in warnings)


# --- Runs that somebody triggered --------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("asked", "start", "end"),
    [
        ("2024-05-02T09:30:00.123456Z", "2024-05-01T00:00:00+02:00", "2024-05-02T00:00:00+02:00"),
        ("2024-05-01T22:00Z", "2024-05-01T00:00:00+02:00", "2024-05-02T00:00:00+02:00"),
        ("2024-05-01T21:59:59Z", "2024-04-30T00:00:00+02:00", "2024-05-01T00:00:00+02:00"),
    ],
    ids=["between ticks", "on a tick", "just before a tick"],
)
@pytest.mark.parametrize("through", ["run_after", "logical_date", "data_interval_end"])
def test_a_triggered_run_reports_on_the_last_complete_period(
    through: str, asked: str, start: str, end: str
) -> None:
    """With a logical date (REST API) it is that date that counts, without one (the UI's default) run_after."""
    context = make_context("@daily", zone="Europe/Berlin", run_after=asked)
    if through != "run_after":
        context = make_context("@daily", zone="Europe/Berlin", logical_date=asked)
    if through == "logical_date":
        context |= {"data_interval_start": None, "data_interval_end": None}
    found = resolve(context)
    assert span(found) == (start, end)
    assert found.rule == f"last complete period of {DAILY!r} in Europe/Berlin at {through}"


@pytest.mark.parametrize("minutes", range(-90, 91, 15))
@pytest.mark.parametrize("cron", ["30 2 * * *", "*/30 2 * * *", "@hourly"])
@pytest.mark.parametrize("change", ["2024-03-31T01:00Z", "2024-10-27T01:00Z"])
def test_a_run_triggered_while_the_clocks_change_never_reports_on_the_future(
    change: str, cron: str, minutes: int
) -> None:
    """The period ends at or before the trigger, and is the one the next scheduled run begins after."""
    asked = utc(change).add(minutes=minutes)
    found = resolve(make_context(cron, zone="Europe/Berlin", run_after=asked))
    ticks = [
        context["dag_run"].run_after
        for context in scheduled(cron, zone="Europe/Berlin", earliest=asked.subtract(days=4), until=asked)
    ]
    assert epochs(found) == (ticks[-2].int_timestamp, ticks[-1].int_timestamp)


def test_a_run_triggered_days_after_a_skipped_tick_reports_on_the_period_that_the_tick_ended() -> None:
    """On the Sunday that had no 02:30 the schedule ticked at 03:30."""
    found = resolve(make_context("30 2 * * 0", zone="Europe/Berlin", run_after="2024-04-03T12:00Z"))
    assert span(found) == ("2024-03-24T02:30:00+01:00", "2024-03-31T03:30:00+02:00")


def test_an_interval_that_airflow_inferred_empty_at_a_skipped_midnight_is_reconstructed() -> None:
    """CronDataIntervalTimetable gives a run triggered on such a day nothing at all."""
    schedule = CronDataIntervalTimetable("@daily", timezone="Africa/Cairo")
    asked = utc("2024-04-26T09:00Z")
    inferred = coerce_to_core_timetable(schedule).infer_manual_data_interval(run_after=asked)
    assert inferred.start == inferred.end
    found = resolve(make_context(schedule, logical_date=inferred.end, data_interval=inferred))
    assert span(found) == ("2024-04-25T00:00:00+02:00", "2024-04-26T01:00:00+03:00")


NOVEMBER = pendulum.datetime(2026, 11, 20, 9, 30, 0, 123456)
MONTHS = CronDataIntervalTimetable("@monthly", timezone="UTC")
DATED_IN_NOVEMBER = [
    ("@daily", "2026-10-15T00:00Z"),
    ("@daily", "2026-12-01T00:00Z"),
    ("@daily", "2026-11-20T00:00Z"),  # the report would be the same by chance, the next day another
    (None, "2026-10-15T00:00Z"),
    (dt.timedelta(days=1), "2026-10-15T00:00Z"),
    (CronDataIntervalTimetable("@daily", timezone="UTC"), "2026-10-15T00:00Z"),
    (MONTHS, "2026-10-15T00:00Z"),  # lies in the interval that is computed from the time of the call
    (MONTHS, "2026-10-31T23:59Z"),
    (MONTHS, "2026-12-05T00:00Z"),
    (DeltaDataIntervalTimetable(dt.timedelta(days=7)), "2026-11-15T00:00Z"),
    (CronTriggerTimetable("@daily", timezone="UTC", interval=dt.timedelta(days=1)), "2026-11-19T12:00Z"),
    (MultipleCronTriggerTimetable("@daily", "@weekly", timezone="UTC"), "2026-10-15T00:00Z"),
    (AssetOrTimeSchedule(timetable=MONTHS, assets=[Asset("orders")]), "2026-10-15T00:00Z"),
]
DATED_ITSELF = MONTHS, "2026-11-01T00:00Z"


@needs_airflow_3("such trap: it computes the data interval from the logical date")
@pytest.mark.parametrize("options", [{}, {"interval": "day"}])
@pytest.mark.parametrize("trigger", [on_the_command_line, by_the_operator])
@pytest.mark.parametrize(("schedule", "asked"), DATED_IN_NOVEMBER)
def test_a_run_triggered_for_one_date_with_the_interval_of_another_is_refused(
    schedule: Any, asked: str, trigger: Any, options: dict[str, Any]
) -> None:
    """`airflow dags trigger --logical-date` infers the interval from now; a report of yesterday would be wrong."""
    context = trigger(schedule, now=NOVEMBER, logical_date=utc(asked))
    with pytest.raises(IntervalError) as caught:
        resolve(context, **options)
    start, end = context["dag_run"].data_interval_start, context["dag_run"].data_interval_end
    assert str(caught.value) == (
        f"This run was triggered for {utc(asked)}, but its data interval is [{start}, {end}): Airflow's command "
        "line and TriggerDagRunOperator compute it from the time of the call. Trigger the run for its date in the "
        "UI or through the REST API, or with airflow backfill create, or pass interval_start= and interval_end=."
    )


@needs_airflow_3("REST API of this kind")
@pytest.mark.parametrize(("schedule", "asked"), [*DATED_IN_NOVEMBER, DATED_ITSELF])
def test_the_same_date_through_the_rest_api_is_taken(schedule: Any, asked: str) -> None:
    """Airflow infers the interval from the date there."""
    for ask in (triggered, materialized)[: 1 + (AIRFLOW >= (3, 2))]:
        found = resolve(ask(schedule, logical_date=asked, run_after=NOVEMBER), interval="day")
        assert found.end <= utc(asked)
    if schedule is MONTHS and asked.startswith("2026-10"):
        assert span(resolve(triggered(schedule, logical_date=asked, run_after=NOVEMBER)))[0].startswith(
            "2026-09-01"
        )


@needs_airflow_3("such trap: it computes the data interval from the logical date")
@pytest.mark.parametrize("trigger", [on_the_command_line, by_the_operator])
@pytest.mark.parametrize(
    ("schedule", "asked", "start"),
    [
        ("@daily", NOVEMBER.subtract(seconds=3), "2026-11-19T00:00:00+00:00"),
        (MONTHS, NOVEMBER, "2026-10-01T00:00:00+00:00"),
        (MONTHS, utc("2026-11-03T00:00Z"), "2026-10-01T00:00:00+00:00"),
        (MONTHS, utc("2026-10-01T00:00Z"), "2026-10-01T00:00:00+00:00"),
        ("@daily", None, "2026-11-19T00:00:00+00:00"),
        (MONTHS, None, "2026-10-01T00:00:00+00:00"),
    ],
    ids=["stamped now", "now", "the same for both", "the scheduled run's own", "undated", "undated, by months"],
)
def test_a_run_whose_date_has_the_interval_that_was_computed_is_not_refused(
    schedule: Any, asked: pendulum.DateTime | None, start: str, trigger: Any
) -> None:
    """Triggered for now, for a date of which the same follows, or for the beginning of the interval itself."""
    found = resolve(trigger(schedule, now=NOVEMBER, logical_date=asked))
    assert span(found)[0] == start


@pytest.mark.parametrize(
    ("logical_date", "data_interval", "run_type"),
    [
        ("2020-01-01T00:00Z", ("2024-05-01T00:00Z", "2024-05-02T00:00Z"), DagRunType.ASSET_TRIGGERED),
        ("2020-01-01T00:00Z", ("2024-05-02T00:00Z",) * 2, DagRunType.BACKFILL_JOB),
        ("2024-05-02T00:00Z", ("2024-05-02T00:00Z",) * 2, DagRunType.MANUAL),
    ],
)
def test_a_run_that_nobody_dated_is_not_refused(
    logical_date: str, data_interval: tuple[str, str], run_type: DagRunType
) -> None:
    """Only a person's logical date can contradict the data interval."""
    context = make_context("@daily", run_type=run_type, logical_date=logical_date, data_interval=data_interval)
    assert span(resolve(context)) == ("2024-05-01T00:00:00+00:00", "2024-05-02T00:00:00+00:00")


@pytest.mark.parametrize(
    ("data_interval", "is_taken"),
    [
        (("2024-04-10T12:00Z", "2024-04-11T12:00Z"), True),
        (("2024-04-10T12:00Z", "2024-04-10T12:00Z"), False),
        (("2024-04-19T23:59Z", "2024-04-19T23:59Z"), True),  # who asked was a minute late to be told the date
        (("2024-04-20T00:01Z", "2024-04-20T00:01Z"), True),
        (("2024-04-20T00:02Z", "2024-04-20T00:02Z"), False),
        (("2024-04-20T00:02Z", "2024-04-21T00:02Z"), False),
    ],
)
def test_a_data_interval_that_the_schedule_gives_nobody_may_lie_before_the_date_only_where_it_is_not_empty(
    data_interval: tuple[str, str], is_taken: bool
) -> None:
    """The schedule has changed since: neither the date nor the time of the call has this interval now."""
    context = make_context("@daily", logical_date="2024-04-20T00:00Z", data_interval=data_interval)
    if is_taken:
        resolve(context)
    else:
        with pytest.raises(IntervalError, match="was triggered for 2024-04-20"):
            resolve(context)


# --- All runs ----------------------------------------------------------------------------------------------


# The server can't read EventsTimetable of airflow.sdk 3.3 (findings/events_timetable_of_the_sdk_stores_no_dag.sh).
EVENTS = CoreEventsTimetable(event_dates=[utc(f"2024-05-0{day}T00:00Z") for day in (1, 2)])


@pytest.mark.parametrize("logical_date", [None, "2024-05-02T00:00Z"])
@pytest.mark.parametrize(
    "schedule",
    [None, "@once", "@continuous", [Asset("orders")], EVENTS, EventsTimetable(event_dates=EVENTS.event_dates)],
    ids=["None", "@once", "@continuous", "assets", "events", "events of a DAG file"],
)
def test_a_run_without_any_period_is_refused_with_the_ways_out(schedule: Any, logical_date: str | None) -> None:
    """The calendar unit is one of them, and works for the same run."""
    context = make_context(schedule, logical_date=logical_date)
    assert_has_no_period(context)


@pytest.mark.parametrize("schedule", ["@once", EVENTS], ids=["@once", "events"])
def test_a_run_that_is_scheduled_without_a_period_is_refused_too(schedule: Any) -> None:
    """Airflow gives it an empty data interval."""
    (*_, context) = scheduled(schedule, earliest=utc("2024-05-02T00:00Z"))
    assert_has_no_period(context)


def assert_has_no_period(context: dict[str, Any]) -> None:
    with pytest.raises(IntervalError, match=r"no period.*interval_start= and interval_end=, or interval="):
        resolve(context)
    assert span(resolve(context, interval="day")) == ("2024-05-01T00:00:00+00:00", "2024-05-02T00:00:00+00:00")


def test_continuous_runs_tile_time_from_the_start_of_the_dag() -> None:
    """Each has what has passed since the one before, to the second."""
    start = utc("2024-05-01T00:00Z")
    timetable: Any = coerce_to_core_timetable(dag_of("@continuous", start=start).timetable)
    restriction = TimeRestriction(earliest=start, latest=None, catchup=True)
    last, found = None, []
    for now in ("2024-05-03T07:08:09.300Z", "2024-05-03T07:09:01.200Z", "2024-05-04T12:00:00.900Z"):
        with mock.patch("airflow.timetables.simple.timezone.utcnow", return_value=utc(now)):
            info = timetable.next_dagrun_info(last_automated_data_interval=last, restriction=restriction)
        last = info.data_interval
        context = make_context(
            "@continuous",
            start=start,
            run_type=DagRunType.SCHEDULED,
            run_after=info.run_after,
            logical_date=info.logical_date,
            data_interval=last,
        )
        found.append(resolve(context))
    assert [it.rule for it in found] == ["data interval"] * 3
    ends = ["2024-05-01T00:00:00Z", "2024-05-03T07:08:09Z", "2024-05-03T07:09:01Z", "2024-05-04T12:00:00Z"]
    assert [epochs(it) for it in found] == list(pairwise(utc(end).int_timestamp for end in ends))


def test_the_clock_is_never_read(monkeypatch: pytest.MonkeyPatch) -> None:
    """A run of long ago and one of long hence resolve without anybody asking what time it is."""

    def no_clock(*_: object, **__: object) -> None:
        raise AssertionError("the clock was read")

    monkeypatch.setattr("airflow.timetables.trigger.utcnow", no_clock)
    monkeypatch.setattr("airflow.timetables.interval.utcnow", no_clock)
    monkeypatch.setattr("pendulum.now", no_clock)
    schedules = ["@daily", dt.timedelta(days=1)]
    if not AIRFLOW_2:
        schedules.append(several("@daily", "@weekly", zone="UTC"))
    for schedule in schedules:
        for year in ("1999", "2099"):
            context = make_context(schedule, logical_date=f"{year}-05-02T00:00Z")
            assert resolve(context) == resolve(context)
            assert span(resolve(context, interval="month")) == (
                f"{year}-04-01T00:00:00+00:00",
                f"{year}-05-01T00:00:00+00:00",
            )


def test_the_log_says_which_interval_and_why(caplog: pytest.LogCaptureFixture) -> None:
    """One line has the bounds, the length and the rule, each once."""
    caplog.set_level(logging.INFO)
    resolve(make_context("@daily", zone="Europe/Berlin", logical_date="2024-04-01T00:00+02:00"))
    assert caplog.messages == [
        "Interval [2024-03-31 00:00:00+01:00, 2024-04-01 00:00:00+02:00) Europe/Berlin, 23 h:"
        f" last complete period of {DAILY!r} in Europe/Berlin at data_interval_end"
    ]


def test_the_log_says_that_the_bounds_were_given(caplog: pytest.LogCaptureFixture) -> None:
    """By the clocks of the DAG."""
    caplog.set_level(logging.INFO)
    context = make_context("@daily", zone="Europe/Berlin")
    resolve(context, interval_start="2024-03-31T00:00Z", interval_end=1711929600)
    assert caplog.messages == [
        "Interval [2024-03-31 01:00:00+01:00, 2024-04-01 02:00:00+02:00) Europe/Berlin, 24 h:"
        " interval_start and interval_end as given"
    ]


@pytest.mark.parametrize(("schedule", "unit", "said"), [("0 6 * * *", None, 2), ("@weekly", "day", 2)])
def test_an_interval_that_is_only_compared_says_nothing(
    schedule: str, unit: IntervalUnit | None, said: int, caplog: pytest.LogCaptureFixture
) -> None:
    """Neither which it is, nor what it is warned about otherwise."""
    caplog.set_level(logging.INFO)
    (context,) = islice(scheduled(schedule, earliest=utc("2024-05-01T00:00Z")), 1)
    resolve(context, interval=unit, quiet=True)
    assert caplog.messages == []
    resolve(context, interval=unit)
    assert len(caplog.messages) == said


@pytest.mark.parametrize(
    ("schedule", "expected"),
    [
        ("@daily", "Asia/Kolkata"),
        (dt.timedelta(days=1), "Asia/Kolkata"),
        (CronTriggerTimetable("@daily", timezone="Europe/Berlin"), "Europe/Berlin"),
        (CronTriggerTimetable("@daily", timezone=pendulum.timezone("Europe/Berlin")), "Europe/Berlin"),
        (CronTriggerTimetable("@daily", timezone=pendulum.FixedTimezone(7200)), "+02:00"),
        (CronTriggerTimetable("@daily", timezone=ZoneInfo("Europe/Berlin")), "Europe/Berlin"),  # type: ignore[arg-type]
    ],
)
def test_the_zone_is_the_timetables_else_the_dags(schedule: Any, expected: str) -> None:
    """A schedule may count days elsewhere than the DAG's start date does."""
    assert timezone(make_context(schedule, zone="Asia/Kolkata")).name == expected


def test_the_zone_without_a_dag_is_utc() -> None:
    """A bare context still has a calendar."""
    assert timezone({}).name == "UTC"


def test_importing_intervals_does_not_load_airflows_core() -> None:
    """Every parse of a DAG file pays for imports, so the timetables wait until a task runs."""
    program = (
        "import sys; from airflow.providers.common.compat.sdk import DAG; before = set(sys.modules);"
        "import airflow_reportrun.question.intervals;"
        "print(sorted(name for name in set(sys.modules) - before if not name.startswith('airflow_reportrun')"
        " and name.split('.')[0] not in sys.stdlib_module_names and not name.startswith('pendulum')))"
    )
    run = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert run.stdout.strip() == "[]"
