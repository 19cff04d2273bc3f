"""Which time the partition of a DAG run is, and what Airflow does to partitions that nobody would guess."""

from __future__ import annotations

import logging
import re
from datetime import timedelta
from itertools import islice, takewhile
from typing import TYPE_CHECKING, Literal

import pendulum

from airflow_reportrun.airflow_context import (
    Run,
    Span,
    Zone,
    as_scheduled,
    crons_of,
    is_airflows_partitions,
    is_partitioned,
    key_format_of,
    mapped_dates,
    utc,
)
from airflow_reportrun.question.bounds import WAYS_OUT, IntervalError
from airflow_reportrun.question.calendar_units import IntervalUnit, unit_holding
from airflow_reportrun.question.schedules import Schedule, cron_ticks, last_cron_period, own_partitions_by_tick

if TYPE_CHECKING:
    from datetime import datetime

log = logging.getLogger(__name__)

# A key with a month, a day or a time in it, and no offset by which it would name an instant.
_DATED = re.compile(
    r"(?<!\d)(\d{4})-(\d\d)(?:-(\d\d)(?:[T ](\d\d)(?::(\d\d)(?::(\d\d))?)?)?)?(?![\d-])(?!.*(?:Z|[+-]\d\d:?\d\d)$)"
)
# For a task that has its interval= already.
_BOUNDS = "Pass interval_start= and interval_end=."
# The clocks of two zones are at most so far apart.
_ZONES_APART = timedelta(hours=26)


def refuse_a_run_that_lost_its_partition(run: Run, schedule: Schedule) -> None:
    """Refuse a run that Airflow made for a partition and that has none: ``airflow partitions clear`` took it.

    What is left is run_after, which a backfill sets to the partition's date and the scheduler to the tick.
    """
    # One with a logical date is older than the partitioned schedule of its DAG, and has a data interval.
    if is_partitioned(schedule.timetable) and run.logical_date is None and not run.is_by_hand:
        raise IntervalError(
            "This run was made for a partition, and its partition was cleared, so it has no interval. Backfill the"
            f" partition. {WAYS_OUT}"
        )


def period_of_partition(run: Run, schedule: Schedule) -> Span:
    """Return the time from the date of a partition to the next tick of the schedule that makes the partitions.

    run_after says nothing here: a backfill sets it to the partition's date, the scheduler to the tick.

    :raises IntervalError: when the key or the schedule does not say it.
    """
    zone, partition, start = schedule.zone, _named(run), _date(run, WAYS_OUT)
    crons = crons_of(schedule.timetable)
    if not crons:
        raise IntervalError(f"{schedule} does not say how long {partition} is. {WAYS_OUT}")
    key_format = key_format_of(schedule.timetable)
    if run.is_by_hand and key_format:
        meant = _ticks_of_one_key(crons, zone, start, key_format)
        if len(meant) > 1:
            raise IntervalError(
                f"More than one {partition} of {schedule} exists: the key does not say which is meant. Backfill"
                f" that one. {WAYS_OUT}"
            )
        start = next(iter(meant), start)
    if last_cron_period(crons, zone, start)[1] != start:
        raise IntervalError(
            f"The date of {partition}, {start.in_timezone(zone)}, is no tick of {schedule}, so its interval would"
            f" overlap another partition's. Trigger a partition of the schedule. {WAYS_OUT}"
        )
    return start, next(cron_ticks(crons, zone, start))


def unit_of_partition(run: Run, schedule: Schedule, unit: IntervalUnit) -> Span:
    """Return the calendar unit that holds the date of a partition.

    :raises IntervalError: when the date was counted by the clocks of another zone than the schedule's.
    """
    if run.partition_date is None:
        _refuse_a_run_without_a_date(run, schedule)
    start = _date(run, _BOUNDS)
    # The schedule of a consumer of partitioned assets has no zone and no ticks: both are the producer's.
    if not crons_of(schedule.timetable):
        _refuse_the_date_of_another_zone(run, schedule, start)
    return unit_holding(start, unit, schedule.zone)


def _named(run: Run) -> str:
    return f"partition {run.partition_key!r}"


def _date(run: Run, ways_out: str) -> pendulum.DateTime:
    if run.partition_date is None:
        raise IntervalError(
            f"Airflow derives no date from {_named(run)} (before 3.3 from none), so it has no interval. {ways_out}"
        )
    return run.partition_date


def _ticks_of_one_key(
    crons: list[str], zone: Zone, date: pendulum.DateTime, key_format: str
) -> list[pendulum.DateTime]:
    """Return the ticks near a date whose partitions have the same key as the date.

    Of a key that somebody typed, Airflow gives the run the first moment that it can mean, which for the
    '2026-03-08' of "0 6 * * *" is midnight, and in an hour that the clocks repeat the second such moment.
    """
    before, _ = last_cron_period(crons, zone, date)
    near = before, *islice(cron_ticks(crons, zone, before), 3)
    key, *keys = (moment.in_timezone(zone).strftime(key_format) for moment in (date, *near))
    return [tick for tick, other in zip(near, keys, strict=True) if other == key]


# --- Where Airflow leaves partitions out -------------------------------------------------------------------


def run_before(run: Run, schedule: Schedule) -> tuple[pendulum.DateTime | None, list[pendulum.DateTime]]:
    """Return the date of the partition of the scheduled run before one, and the dates between that no run is for.

    Where the clocks skip the time of a tick, Airflow steps back from it to itself: the run of that tick is for
    the partition that begins there, as is the next one, and the partitions before it have no run.
    """
    tick, date = run.run_after, run.partition_date
    if run.run_type != "scheduled" or tick is None or date is None:
        return None, []
    if not (crons := crons_of(schedule.timetable)):
        dates = own_partitions_by_tick(schedule, tick)
        if dates.get(tick) != date:
            return None, []
        *_, before, last = dates.values()
        # Another class may date its partitions between its ticks.
        by_cron = is_airflows_partitions(schedule.timetable) and before in dates and last in dates
        return before, [it for it in dates if before < it < date] if by_cron else []
    earlier, last = last_cron_period(crons, schedule.zone, tick)
    if last != tick:
        return None, []  # the schedule has changed since
    from airflow.timetables.base import DagRunInfo, TimeRestriction

    info = as_scheduled(schedule.timetable).next_dagrun_info_v2(
        last_dagrun_info=DagRunInfo.exact(last_cron_period(crons, schedule.zone, earlier)[0]),
        restriction=TimeRestriction(earliest=None, latest=None, catchup=True),
    )
    dated = utc(info.partition_date)
    return dated, list(takewhile(lambda it: it < date, cron_ticks(crons, schedule.zone, dated)))


def warn_of_partitions_left_out(run: Run, schedule: Schedule, dates: list[pendulum.DateTime]) -> None:
    """Name the partitions that no scheduled run is for, and the backfill that reports on them."""
    # The dates of a backfill are read by the clocks of the schedule. The one right before a skipped tick is not
    # found where the backfill begins with it.
    begin, end = (date.in_timezone(schedule.zone) for date in (dates[0].subtract(seconds=1), dates[-1]))
    log.warning(
        "The clocks skip a tick of %s, so Airflow schedules %s more than once, and no run for the partition of %s."
        " To report on that: airflow backfill create --dag-id %s --from-date %s --to-date %s",
        schedule,
        _named(run),
        " and ".join(str(date.in_timezone(schedule.zone)) for date in dates),
        run.dag_id,
        begin.format("YYYY-MM-DDTHH:mm:ss"),
        end.format("YYYY-MM-DDTHH:mm:ss"),
    )


# --- Where the date of a consumer's partition comes from another zone -----------------------------------------


def _refuse_the_date_of_another_zone(run: Run, schedule: Schedule, date: pendulum.DateTime) -> None:
    """Refuse a date that another calendar gave: StartOfDayMapper() and its like count in UTC unless told.

    :raises IntervalError: saying which zone it is, and what to do.
    """
    key, zone = run.partition_key or "", schedule.zone
    for mapped in _mapped(run, schedule):
        if not _same_clocks(mapped, zone):
            raise IntervalError(
                f"The mapper of this DAG's asset dates {_named(run)} {mapped}, by other clocks than those of the"
                f" DAG in {zone.name}, so that a calendar unit may be another one than the key's. Give the mapper"
                f' timezone="{zone.name}", or pass interval_start= and interval_end=.'
            )
        if utc(mapped) != date:
            raise IntervalError(
                f"This run of {_named(run)} is dated {date.in_timezone(zone)}, and the mapper of its asset now"
                f" says {mapped}. Trigger the DAG with this key again, or pass interval_start= and interval_end=."
            )
    if (named := _time_named(key)) is None:
        return
    unit, start = named
    wall = date.in_timezone(zone).naive()
    end = start.add(**{f"{unit}s": 1})
    if not start - _ZONES_APART < wall < end + _ZONES_APART:
        return  # the key is about another time
    if not start <= wall < end:
        raise IntervalError(
            f"The date of {_named(run)} is {date.in_timezone(zone)} by the clocks of this DAG, which is not the"
            f" {unit} that the key names: its producer counts in another zone. Give this DAG a start_date in that"
            " zone, or pass interval_start= and interval_end=."
        )
    if unit in ("day", "month") and date != unit_holding(date, unit, zone)[0]:
        log.warning(
            "%s begins at %s by the clocks of this DAG. If its producer counts in another zone, give this DAG a"
            " start_date in that zone.",
            _named(run),
            date.in_timezone(zone),
        )


def _refuse_a_run_without_a_date(run: Run, schedule: Schedule) -> None:
    """Refuse a run that Airflow gave no date because its mappers disagree, or did.

    :raises IntervalError: saying which dates they give.
    """
    dates = list(dict.fromkeys(_mapped(run, schedule)))
    said = " and ".join(str(pendulum.instance(date)) for date in dates)
    if len(dates) > 1:
        raise IntervalError(
            f"The mappers of this DAG's assets date {_named(run)} {said}, by other clocks, so Airflow gave the run"
            f' no date. Give each of them timezone="{schedule.zone.name}", and trigger the DAG with this key'
            " again, or pass interval_start= and interval_end=."
        )
    if dates:
        raise IntervalError(
            f"This run of {_named(run)} has no date, and the mapper of its asset now says {said}. Trigger the DAG"
            " with this key again, or pass interval_start= and interval_end=."
        )


def _mapped(run: Run, schedule: Schedule) -> list[datetime]:
    try:
        return mapped_dates(schedule.timetable, run.partition_key or "")
    except Exception as error:  # a mapper may be of a class of one's own
        raise IntervalError(
            f"The mapper of this DAG's asset can't date {_named(run)}: {error}. {_BOUNDS}"
        ) from error


def _same_clocks(moment: datetime, zone: Zone) -> bool:
    """Whether the clocks of two zones show the same all year round."""
    year = (utc(moment).add(days=30 * n) for n in range(-6, 7))
    return all(m.astimezone(moment.tzinfo).utcoffset() == m.in_timezone(zone).utcoffset() for m in year)


def _time_named(key: str) -> tuple[Literal["month", "day", "hour", "minute", "second"], pendulum.DateTime] | None:
    """Return what a key names, if that is a time, and when it begins by the clocks."""
    if (found := _DATED.search(key)) is None:
        return None
    given = [int(part) for part in found.groups() if part is not None]
    units: list[Literal["month", "day", "hour", "minute", "second"]] = ["month", "day", "hour", "minute", "second"]
    try:
        return units[len(given) - 2], pendulum.naive(*given, *([1] if len(given) == 2 else []))
    except ValueError:
        return None
