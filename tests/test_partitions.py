"""Partitions: what the runs of producers and of consumers report on, whichever way they come to be."""

from __future__ import annotations

import re
from itertools import islice, pairwise
from typing import Any

import pendulum
import pytest
from airflow.providers.common.compat.sdk import Asset
from airflow.timetables.base import TimeRestriction

from airflow_reportrun.question.intervals import Interval, IntervalError, IntervalUnit, resolve
from tests.dag_runs import (
    BY_HAND,
    backfilled,
    by_assets,
    epochs,
    hours,
    make_context,
    scheduled,
    span,
    triggered,
    utc,
    warnings_in,
)
from tests.versions import (
    AIRFLOW,
    BEFORE_3_3,
    CronPartitionTimetable,
    DagRunType,
    PartitionedAssetTimetable,
    StartOfDayMapper,
    coerce_to_core_timetable,
    needs_airflow,
)

# --- Partitions --------------------------------------------------------------------------------------------


@needs_airflow(3, 3, "dates of partitions")
@pytest.mark.parametrize("offset", [0, -1, 2])
def test_scheduled_partitions_tile_time(offset: int) -> None:
    """A partition lasts from its date to the next tick, however long after it the run comes."""
    # Not in Cairo: where a change of the clocks skips midnight and run_offset is negative, Airflow 3.3 schedules
    # the partition that begins there twice and the one before it never.
    schedule = CronPartitionTimetable("@daily", timezone="Europe/Berlin", run_offset=offset, key_format="%Y-%m-%d")
    timetable: Any = coerce_to_core_timetable(schedule)
    restriction = TimeRestriction(earliest=utc("2024-03-28T23:00Z"), latest=None, catchup=True)
    info, found = None, []
    for _ in range(6):
        info = timetable.next_dagrun_info_v2(last_dagrun_info=info, restriction=restriction)
        context = make_context(
            schedule,
            run_type=DagRunType.SCHEDULED,
            run_after=info.run_after,
            partition_key=info.partition_key,
            partition_date=info.partition_date,
        )
        found.append((info.partition_key, resolve(context)))
    assert all(key == interval.start.to_date_string() for key, interval in found)
    assert all(epochs(before)[1] == epochs(after)[0] for (_, before), (_, after) in pairwise(found))
    assert dict(found)["2024-03-31"].rule == "partition '2024-03-31' of '0 0 * * *' in Europe/Berlin"
    assert hours(dict(found)["2024-03-31"]) == 23


@needs_airflow(3, 3, "dates of partitions")
@pytest.mark.parametrize(
    ("unit", "rule"),
    [
        (None, "partition '2024-05-02T06' of '0 6 * * *' in Europe/Berlin"),
        ("day", "day that holds partition '2024-05-02T06'"),
    ],
)
def test_the_log_says_which_partition_and_what_is_odd_about_it(
    unit: IntervalUnit | None, rule: str, caplog: pytest.LogCaptureFixture
) -> None:
    """By the clocks of its timetable; nothing of one that is only compared."""
    caplog.set_level("INFO")
    schedule = CronPartitionTimetable("0 6 * * *", timezone="Europe/Berlin")
    date = pendulum.datetime(2024, 5, 2, 6, tz="Europe/Berlin")
    context = make_context(schedule, partition_key="2024-05-02T06", partition_date=date)
    resolve(context, interval=unit, quiet=True)
    assert caplog.messages == []
    found = resolve(context, interval=unit)
    (line,) = (it for it in caplog.messages if it not in warnings_in(caplog))
    assert line.endswith(f"+02:00) Europe/Berlin, 24 h: {rule}")
    assert (found.start.hour, len(warnings_in(caplog))) == ((6, 1) if unit is None else (0, 0))


@needs_airflow(3, 3, "dates of partitions")
def test_a_backfilled_partition_is_the_same_as_the_scheduled_one() -> None:
    """A backfill sets run_after to the partition's date, which is not looked at."""
    schedule = CronPartitionTimetable("0 0 * * *", timezone="UTC", run_offset=-1)
    timetable: Any = coerce_to_core_timetable(schedule)
    day = pendulum.datetime(2024, 5, 1)
    (info,) = timetable.iter_partition_dagrun_infos(earliest=day, latest=day)
    results = {
        resolve(make_context(schedule, run_after=run_after, partition_key="k", partition_date=info.partition_date))
        for run_after in (info.run_after, day.add(days=1), day.add(years=3))
    }
    assert {span(found) for found in results} == {("2024-05-01T00:00:00+00:00", "2024-05-02T00:00:00+00:00")}


@needs_airflow(3, 3, "dates of partitions")
@pytest.mark.parametrize("offset", [-2, -1, 0, 1])
@pytest.mark.parametrize(
    ("cron", "key_format"),
    [
        ("@daily", "%Y-%m-%d"),
        ("@daily", "%Y-%m-%dT%H"),
        ("@monthly", "%Y-%m"),
        ("@monthly", "%Y-%m-%d"),
        ("0 6 * * *", "%Y-%m-%d"),  # Airflow gives a run triggered for such a key the date of midnight
        ("0 6 15 * *", "%Y-%m"),
        ("30 1 * * *", "%Y-%m-%d"),
        ("0 */6 * * *", "%Y-%m-%dT%H"),
        ("30 */6 * * *", "%Y-%m-%dT%H"),
        ("@hourly", "%Y-%m-%dT%H"),
    ],
)
@pytest.mark.parametrize("change", ["2026-03-08T07:00Z", "2026-11-01T06:00Z"], ids=["spring", "autumn"])
def test_a_partition_is_the_same_scheduled_backfilled_and_triggered_by_its_key(
    change: str, cron: str, key_format: str, offset: int
) -> None:
    """Whichever way it comes to be run, and on whichever side of the tick the run lies."""
    zone = "America/New_York"
    schedule = CronPartitionTimetable(cron, timezone=zone, run_offset=offset, key_format=key_format)
    timetable: Any = coerce_to_core_timetable(schedule)
    earliest = utc(change).subtract(hours=3 if cron == "@hourly" else 30)
    restriction = TimeRestriction(earliest=earliest, latest=None, catchup=True)
    info: Any = None
    found: list[tuple[str, Interval]] = []
    for _ in range(7):
        info = timetable.next_dagrun_info_v2(last_dagrun_info=info, restriction=restriction)
        context = make_context(
            schedule,
            run_type=DagRunType.SCHEDULED,
            run_after=info.run_after,
            partition_key=info.partition_key,
            partition_date=info.partition_date,
        )
        found.append((info.partition_key, resolve(context)))
        assert epochs(found[-1][1])[0] == info.partition_date.int_timestamp
    assert all(epochs(before)[1] == epochs(after)[0] for (_, before), (_, after) in pairwise(found))
    # The window of a partitioned backfill is read by the clocks of the timetable, whatever offset it has.
    earliest, latest = (found[at][1].start.naive().replace(tzinfo=pendulum.UTC) for at in (0, -1))
    again = backfilled(schedule, earliest=earliest, latest=latest)
    assert [(context["partition_key"], resolve(context)) for context in again] == found
    keys = [key for key, _ in found]
    for key, interval in found:
        if keys.count(key) == 1:  # it is not that of both hours which the clocks show twice
            assert [resolve(ask(schedule, partition_key=key)) for ask in BY_HAND.values()] == [interval] * 3


@needs_airflow(3, 3, "dates of partitions")
@pytest.mark.parametrize("run_type", BY_HAND)
@pytest.mark.parametrize(
    ("cron", "key_format", "key", "unit"),
    [
        ("@daily", "%Y-%m", "2026-03", "month"),
        ("@hourly", "%Y-%m-%d", "2026-03-08", "day"),
        ("0 6 * * *", "%Y-%m", "2026-03", "month"),
        ("@hourly", "%Y-%m-%dT%H", "2026-11-01T01", "hour"),
    ],
    ids=["days of a month", "hours of a day", "off the schedule", "a repeated hour"],
)
def test_a_key_of_several_partitions_that_somebody_triggers_is_refused(
    run_type: str, cron: str, key_format: str, key: str, unit: IntervalUnit
) -> None:
    """Airflow would run the first of them; the calendar unit that the key names is one way out."""
    schedule = CronPartitionTimetable(cron, timezone="America/New_York", key_format=key_format)
    context = BY_HAND[run_type](schedule, partition_key=key)
    assert context["dag_run"].run_type == run_type
    with pytest.raises(IntervalError, match=r"does not say which.*Backfill that one.*or interval="):
        resolve(context)
    assert resolve(context, interval=unit).start.format("YYYY-MM-DDTHH").startswith(key)


@needs_airflow(3, 3, "dates of partitions")
@pytest.mark.parametrize("options", [{}, {"interval": "day"}])
@pytest.mark.parametrize("run_type", [DagRunType.SCHEDULED, DagRunType.BACKFILL_JOB, DagRunType.ASSET_TRIGGERED])
@pytest.mark.parametrize(
    "schedule",
    [
        CronPartitionTimetable("@daily", timezone="UTC"),
        PartitionedAssetTimetable(assets=Asset("orders"), default_partition_mapper=StartOfDayMapper()),
    ],
    ids=["cron", "assets"],
)
def test_a_run_whose_partition_was_cleared_is_refused(
    schedule: Any, run_type: DagRunType, options: dict[str, Any]
) -> None:
    """`airflow partitions clear` leaves run_after alone, by which it would report on another day than before."""
    with pytest.raises(IntervalError, match=r"partition was cleared.*Backfill the partition"):
        resolve(make_context(schedule, run_type=run_type), **options)


@needs_airflow(3, 3, "dates of partitions")
def test_a_run_from_before_its_schedule_had_partitions_keeps_its_interval() -> None:
    """It has a logical date, which runs of partitions have not; clearing it does not move it."""
    context = make_context(
        CronPartitionTimetable("@daily", timezone="UTC"),
        run_type=DagRunType.SCHEDULED,
        logical_date="2024-05-02T00:00Z",
    )
    assert span(resolve(context)) == ("2024-05-01T00:00:00+00:00", "2024-05-02T00:00:00+00:00")


@needs_airflow(3, 3, "dates of partitions")
def test_a_run_triggered_without_a_key_reports_on_the_last_complete_period() -> None:
    """Nobody named a partition, so it is a run like any other."""
    schedule = CronPartitionTimetable("@daily", timezone="Europe/Berlin", run_offset=-1)
    now = utc("2026-03-30T08:00Z")
    expected = "2026-03-29T00:00:00+01:00", "2026-03-30T00:00:00+02:00"
    for ask in BY_HAND.values():
        assert span(resolve(ask(schedule, run_after=now))) == expected
        assert span(resolve(ask(schedule, logical_date=now, run_after=now))) == expected


@needs_airflow(3, 3, "dates of partitions")
def test_a_unit_of_a_partition_is_the_one_that_holds_its_date() -> None:
    """The partition of an hour may ask for its day, and one whose timetable has no period for its month."""
    hour, zone = utc("2024-03-31T01:00Z"), "Europe/Berlin"
    hourly = CronPartitionTimetable("@hourly", timezone=zone)
    by_day = resolve(make_context(hourly, partition_key="h", partition_date=hour), interval="day")
    assert span(by_day) == ("2024-03-31T00:00:00+01:00", "2024-04-01T00:00:00+02:00")
    consumer = PartitionedAssetTimetable(assets=Asset("orders"))
    by_month = resolve(make_context(consumer, zone=zone, partition_key="d", partition_date=hour), interval="month")
    assert span(by_month) == ("2024-03-01T00:00:00+01:00", "2024-04-01T00:00:00+02:00")


@needs_airflow(3, 3, "dates of partitions")
@pytest.mark.parametrize(
    ("schedule", "partition_date", "words"),
    [
        (PartitionedAssetTimetable(assets=Asset("orders")), utc("2024-05-01T00:00Z"), "how long"),
        (PartitionedAssetTimetable(assets=Asset("orders")), None, "no date"),
        (CronPartitionTimetable("@weekly", timezone="UTC"), utc("2024-05-01T00:00Z"), "is no tick"),
    ],
    ids=["no period", "no date", "off the schedule"],
)
def test_a_partition_without_a_period_is_refused_with_the_ways_out(
    schedule: Any, partition_date: pendulum.DateTime | None, words: str
) -> None:
    """It is never anchored on run_after, and never shortened to the rest of somebody else's period."""
    context = make_context(schedule, partition_key="2024-05-01", partition_date=partition_date)
    with pytest.raises(IntervalError, match=f"{words}.*interval_start= and interval_end=, or interval="):
        resolve(context)


@needs_airflow(3, 3, "dates of partitions")
def test_each_type_of_run_is_tried_with_and_without_a_partition() -> None:
    """Should Airflow make runs in another way, this says so."""
    by_airflow = {"scheduled", "backfill", "asset_triggered"}
    assert {str(it) for it in DagRunType} == by_airflow | set(BY_HAND)


# --- Partitions that Airflow leaves out --------------------------------------------------------------------

SKIPPED = {
    "Africa/Cairo": ("@daily", "2024-04-26"),
    "America/Santiago": ("@daily", "2024-09-08"),
    "America/Asuncion": ("@daily", "2024-10-06"),
    "America/New_York": ("30 2 * * *", "2026-03-08"),
    "Europe/Berlin": ("*/30 2 * * *", "2026-03-29"),
    "America/Havana": ("0 */6 * * *", "2026-03-08"),
}
COMMAND = re.compile(r"airflow backfill create --dag-id close --from-date (\S+) --to-date (\S+)$")


@needs_airflow(3, 3, "dates of partitions")
@pytest.mark.parametrize("offset", [-1, -2, -3])
@pytest.mark.parametrize("zone", SKIPPED)
def test_a_partition_that_airflow_leaves_out_is_named_with_a_backfill_that_finds_it(
    zone: str, offset: int, caplog: pytest.LogCaptureFixture
) -> None:
    """In the run that follows, and in no other; with the runs of the backfill, time is tiled."""
    cron, day = SKIPPED[zone]
    schedule = CronPartitionTimetable(cron, timezone=zone, run_offset=offset, key_format="%Y-%m-%dT%H:%M")
    change = pendulum.parse(day, tz=zone)
    assert isinstance(change, pendulum.DateTime)
    found: list[Interval] = []
    commands, odd = [], []
    runs = scheduled(schedule, zone=zone, earliest=change.subtract(days=6), until=change.add(days=6))
    for context in runs:
        caplog.clear()
        try:
            found.append(resolve(context))
        except IntervalError:
            # For the 02:30 that is skipped: Airflow steps to it, but only back.
            odd.append(context["partition_key"])
        warned = [it for it in caplog.messages if "no run for the partition of" in it]
        assert len(warned) <= 1
        commands += [command.groups() for it in warned if (command := COMMAND.search(it))]
    assert set(odd) == ({"2026-03-29T03:30"} if cron == "*/30 2 * * *" else set())
    spans = sorted({epochs(it) for it in found})
    holes = {(before[1], after[0]) for before, after in pairwise(spans) if before[1] != after[0]}
    assert len(commands) == len(holes) == 1
    first, last = commands[0]
    left_out = [resolve(context) for context in backfilled(schedule, zone=zone, earliest=first, latest=last)]
    whole = sorted({*spans, *map(epochs, left_out)})
    assert len(whole) == len(spans) + len(left_out)
    assert all(before[1] == after[0] for before, after in pairwise(whole))


def partitioned(ones_own: bool, *args: Any, **options: Any) -> Any:
    """Return Airflow's timetable, or one of a class that inherits all from it."""
    if not ones_own:
        return CronPartitionTimetable(*args, **options)
    from airflow.timetables import trigger  # Airflow 2 has no partitions

    return type("OnesOwn", (trigger.CronPartitionTimetable,), {})(*args, **options)


@needs_airflow(3, 3, "dates of partitions")
@pytest.mark.parametrize("offset", [-1, -2])
@pytest.mark.parametrize("ones_own", [False, True], ids=["airflow's", "one's own"])
@pytest.mark.parametrize("zone", ["Africa/Cairo", "America/Santiago", "America/Asuncion"])
def test_a_partition_that_airflow_leaves_out_is_named_where_a_unit_is_asked_for(
    zone: str, ones_own: bool, offset: int, caplog: pytest.LogCaptureFixture
) -> None:
    """The day that it holds is in no report then, either; said once, with the same backfill."""
    cron, day = SKIPPED[zone]
    schedule = partitioned(ones_own, cron, timezone=zone, run_offset=offset)
    change = pendulum.parse(day, tz=zone)
    assert isinstance(change, pendulum.DateTime)
    runs = scheduled(schedule, zone=zone, earliest=change.subtract(days=6), until=change.add(days=6))
    found = [resolve(context, interval="day") for context in runs]
    (warning,) = warnings_in(caplog)
    assert "no run for the partition of" in warning
    assert COMMAND.search(warning)
    spans = sorted({epochs(it) for it in found})
    assert len([1 for before, after in pairwise(spans) if before[1] != after[0]]) == 1


@needs_airflow(3, 3, "dates of partitions")
@pytest.mark.parametrize("offset", [0, -1, -2])
@pytest.mark.parametrize("ones_own", [False, True], ids=["airflow's", "one's own"])
def test_days_that_the_ticks_of_partitions_pass_over_are_warned_about(
    ones_own: bool, offset: int, caplog: pytest.LogCaptureFixture
) -> None:
    """The partition of Friday lasts until Monday, and its day does not."""
    schedule = partitioned(ones_own, "0 0 * * 1-5", timezone="UTC", run_offset=offset)
    days = pendulum.datetime(2026, 4, 2), pendulum.datetime(2026, 4, 9)
    runs = list(scheduled(schedule, earliest=days[0], until=days[1].add(days=2)))
    for context in runs:
        resolve(context, interval="day")
    (warning,) = warnings_in(caplog)
    assert warning.startswith("[2026-04-04 00:00:00+00:00, 2026-04-06 00:00:00+00:00) is in no report")
    assert warning.endswith(' with interval="day": it lies between this run and the one before.')
    caplog.clear()
    for context in runs:
        resolve(context, interval="month")
    assert warnings_in(caplog) == []


@needs_airflow(3, 3, "dates of partitions")
@pytest.mark.parametrize("offset", [-1, -2, 0, 1])
@pytest.mark.parametrize("zone", ["UTC", "Africa/Cairo", "America/New_York", "Australia/Lord_Howe"])
def test_nothing_is_said_where_no_partition_is_left_out(
    zone: str, offset: int, caplog: pytest.LogCaptureFixture
) -> None:
    """All the rest of the year, and where the clocks are put back."""
    for cron, month, days in ("0 3 * * *", 3, 90), ("@hourly", 10, 1):
        schedule = CronPartitionTimetable(cron, timezone=zone, run_offset=offset)
        earliest = pendulum.datetime(2024, month, 30, tz=zone)
        for context in islice(scheduled(schedule, zone=zone, earliest=earliest), days):
            resolve(context)
    assert "no run for the partition of" not in caplog.text


# --- Consumers of partitioned assets -----------------------------------------------------------------------

NEW_YORK = "America/New_York"


def consumer(mapper: Any = None) -> Any:
    mappers = {} if mapper is None else {"default_partition_mapper": mapper}
    return PartitionedAssetTimetable(assets=Asset("orders"), **mappers)


def mappers(**options: Any) -> dict[str, tuple[Any, str, IntervalUnit]]:
    """Return each kind of mapper with a key of its making and the unit that this names."""
    from airflow import sdk

    day, month = (it(input_format="%Y-%m-%d", **options) for it in (sdk.StartOfDayMapper, sdk.StartOfMonthMapper))
    window = sdk.MonthWindow()
    return {
        "hour": (sdk.StartOfHourMapper(**options), "2026-03-08T01", "hour"),
        "day": (day, "2026-03-08", "day"),
        "week": (sdk.StartOfWeekMapper(**options), "2026-03-02 (W10)", "week"),
        "month": (month, "2026-03", "month"),
        "quarter": (sdk.StartOfQuarterMapper(**options), "2026-Q1", "quarter"),
        "year": (sdk.StartOfYearMapper(**options), "2026", "year"),
        "roll-up": (sdk.RollupMapper(upstream_mapper=month, window=window), "2026-03", "month"),
        "fan-out": (
            sdk.FanOutMapper(upstream_mapper=month, window=window, downstream_mapper=day),
            "2026-03-08",
            "day",
        ),
        "chain": (sdk.ChainMapper(sdk.IdentityMapper(), day), "2026-03-08", "day"),
        "product": (sdk.ProductMapper(sdk.IdentityMapper(), day), "eu|2026-03-08", "day"),
    }


MAPPERS = [] if BEFORE_3_3 else list(mappers())
ASKS = {"assets": by_assets, "key": lambda schedule, key, **how: triggered(schedule, partition_key=key, **how)}


@needs_airflow(3, 3, "dates of partitions")
@pytest.mark.parametrize("ask", ASKS.values(), ids=ASKS)
@pytest.mark.parametrize("zone", [NEW_YORK, "Europe/Berlin", "Europe/London"])
@pytest.mark.parametrize("name", MAPPERS)
def test_a_mapper_that_counts_in_another_zone_than_the_dag_is_refused(name: str, zone: str, ask: Any) -> None:
    """They count in UTC unless told; the 8th of March would be the 7th in New York, and March February."""
    given, key, unit = mappers()[name]
    with pytest.raises(IntervalError, match=rf'Give the mapper timezone="{zone}"'):
        resolve(ask(consumer(given), key=key, zone=zone), interval=unit)


@needs_airflow(3, 3, "dates of partitions")
@pytest.mark.parametrize("ask", ASKS.values(), ids=ASKS)
@pytest.mark.parametrize("zone", [NEW_YORK, "Europe/Berlin", "UTC", "Etc/UTC"])
@pytest.mark.parametrize("name", MAPPERS)
def test_a_mapper_that_counts_in_the_zone_of_the_dag_names_the_unit(
    name: str, zone: str, ask: Any, caplog: pytest.LogCaptureFixture
) -> None:
    """To the beginning of it, without a warning."""
    given, key, unit = mappers(**{} if zone == "Etc/UTC" else {"timezone": zone})[name]
    found = resolve(ask(consumer(given), key=key, zone=zone), interval=unit)
    month, day, hour = {"hour": (3, 8, 1), "day": (3, 8, 0), "week": (3, 2, 0), "month": (3, 1, 0)}.get(
        unit, (1, 1, 0)
    )
    assert found.start == pendulum.datetime(2026, month, day, hour, tz=zone)
    assert warnings_in(caplog) == []


@needs_airflow(3, 3, "dates of partitions")
@pytest.mark.parametrize(
    ("of_producer", "key_format", "key", "zone", "words"),
    [
        ("Asia/Tokyo", "%Y-%m-%d", "2026-03-08", "UTC", "not the day that the key names"),
        ("Europe/Berlin", "%Y-%m-%d", "2026-03-08", "UTC", "not the day that the key names"),
        ("UTC", "%Y-%m-%d", "2026-03-08", NEW_YORK, "not the day that the key names"),
        ("UTC", "%Y-%m-%dT%H:%M:%S", "2026-03-08T00:00:00", NEW_YORK, "not the second that the key names"),
        (NEW_YORK, "%Y-%m-%dT%H:%M:%S", "2026-03-08T00:00:00", "UTC", "not the second that the key names"),
        ("Asia/Tokyo", "%Y-%m", "2026-03", "UTC", "not the month that the key names"),
    ],
)
def test_a_date_that_another_zone_gave_is_told_by_its_key(
    of_producer: str, key_format: str, key: str, zone: str, words: str
) -> None:
    """IdentityMapper, the default, takes over key and date of the producer, whose zone nobody tells."""
    cron = "@monthly" if len(key) == 7 else "@daily"
    producer = CronPartitionTimetable(cron, timezone=of_producer, key_format=key_format)
    date = triggered(producer, partition_key=key)["partition_date"]
    with pytest.raises(IntervalError, match=words):
        resolve(by_assets(consumer(), key=key, carried=date, zone=zone), interval="day")
    found = resolve(by_assets(consumer(), key=key, carried=date, zone=of_producer), interval="day")
    assert found.start == date


@needs_airflow(3, 3, "dates of partitions")
def test_a_day_that_begins_at_another_time_is_warned_about(caplog: pytest.LogCaptureFixture) -> None:
    """New York's days have the same dates in UTC; or the producer's days begin at five."""
    date = pendulum.datetime(2026, 3, 8, tz=NEW_YORK)
    resolve(by_assets(consumer(), key="2026-03-08", carried=date), interval="day")
    assert "begins at 2026-03-08 05:00:00+00:00 by the clocks of this DAG" in caplog.text


@needs_airflow(3, 3, "dates of partitions")
@pytest.mark.parametrize(
    "key", ["eu", "order 2019-01-01", "2026-13-45", "2026-03-08T00:00:00+09:00", "20260308", ""]
)
def test_a_key_that_names_no_time_by_the_clocks_contradicts_nothing(
    key: str, caplog: pytest.LogCaptureFixture
) -> None:
    """Then the date that Airflow has is all that there is."""
    date = utc("2026-03-07T15:00Z")
    found = resolve(by_assets(consumer(), key=key, carried=date), interval="day")
    assert span(found)[0] == "2026-03-07T00:00:00+00:00"
    assert warnings_in(caplog) == []


@needs_airflow(3, 3, "dates of partitions")
def test_a_run_that_was_dated_by_a_mapper_that_has_changed_since_is_refused() -> None:
    """The date is stored with the run: mending the mapper and clearing the run does not move it."""
    context = by_assets(consumer(mappers()["day"][0]), key="2026-03-08", zone="Asia/Tokyo")
    mended = by_assets(consumer(mappers(timezone="Asia/Tokyo")["day"][0]), key="2026-03-08", zone="Asia/Tokyo")
    context["dag"] = mended["dag"]
    with pytest.raises(IntervalError, match="Trigger the DAG with this key again"):
        resolve(context, interval="day")
    assert resolve(mended, interval="day").start == pendulum.datetime(2026, 3, 8, tz="Asia/Tokyo")
    context["dag"] = by_assets(consumer(mappers()["month"][0]), key="2026-03")["dag"]
    with pytest.raises(IntervalError, match="can't date partition '2026-03-08': unconverted data remains"):
        resolve(context, interval="day")


@needs_airflow(3, 3, "dates of partitions")
def test_mappers_that_disagree_are_named_with_their_dates() -> None:
    """Airflow leaves such a run of assets without a date; interval= is given already, so it is no way out."""
    orders, refunds = Asset("orders"), Asset("refunds")
    told, untold = StartOfDayMapper(timezone=NEW_YORK, input_format="%Y-%m-%d"), StartOfDayMapper()
    schedule = PartitionedAssetTimetable(
        assets=orders & refunds, partition_mapper_config={orders: told, refunds: untold}
    )
    context = by_assets(schedule, zone=NEW_YORK, key="2026-03-08")
    assert context.get("partition_date") is None
    with pytest.raises(IntervalError) as caught:
        resolve(context, interval="day")
    assert "2026-03-08T00:00:00-05:00 and 2026-03-08T00:00:00" in str(caught.value).replace(
        " 00:00:00", "T00:00:00"
    )
    assert f'timezone="{NEW_YORK}"' in str(caught.value)
    assert "interval_start= and interval_end=." in str(caught.value)
    assert "or interval=" not in str(caught.value)


@needs_airflow(3, 3, "dates of partitions")
def test_a_run_that_has_no_date_is_not_told_to_give_the_interval_that_it_has() -> None:
    """Neither for a key that is no time nor after its mappers were mended."""
    mended = make_context(consumer(StartOfDayMapper(timezone=NEW_YORK)), zone=NEW_YORK, partition_key="2026-03-08")
    for context, words in (mended, "now says 2026-03-08"), (by_assets(consumer(), key="eu"), "derives no date"):
        with pytest.raises(
            IntervalError, match=rf"{words}.*[Pp]ass interval_start= and interval_end=\.$"
        ) as caught:
            resolve(context, interval="day")
        assert words in str(caught.value)
        assert "or interval=" not in str(caught.value)


@pytest.mark.skipif(AIRFLOW != (3, 2), reason="Airflow 3.2 alone has partitions and tells tasks no dates of them")
@pytest.mark.parametrize("unit", [None, "day"])
@pytest.mark.parametrize("run_type", ["scheduled", "backfill", "manual", "asset_triggered"])
@pytest.mark.parametrize("schedule", [CronPartitionTimetable("@daily", timezone="UTC"), consumer()])
def test_an_airflow_that_dates_no_partition_has_no_interval_of_one(
    schedule: Any, run_type: Any, unit: IntervalUnit | None
) -> None:
    """When the run was made says nothing of its partition; with bounds it reports on these."""
    context = make_context(schedule, run_type=run_type, partition_key="2026-03-08")
    with pytest.raises(
        IntervalError, match=r"derives no date from partition '2026-03-08' \(before 3\.3 from none\)"
    ):
        resolve(context, interval=unit)
    found = resolve(context, interval_start="2026-03-08T00:00Z", interval_end="2026-03-09T00:00Z")
    assert hours(found) == 24
