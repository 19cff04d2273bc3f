"""What span of time a DAG run reports on: its ``[start, end)``.

``resolve`` is a function of the task's context and the operator's options alone. It reads neither the clock nor
the previous DAG run, so a retry, a clear and a backfill of a run report on the same span, and consecutive
scheduled runs tile time: a day on which the clocks change has 23 or 25 hours, and no second is left out or
counted twice.
"""

from __future__ import annotations

import logging
from contextlib import suppress
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import pendulum

from airflow_reportrun.airflow_context import Run, Span, Zone, dag_run, inferred_interval, looks_back, utc, zone_of
from airflow_reportrun.question.bounds import WAYS_OUT, WHOLE_UNITS, Interval, IntervalError, instant
from airflow_reportrun.question.calendar_units import INTERVAL_UNITS, IntervalUnit, last_unit, unit_holding
from airflow_reportrun.question.partitions import (
    period_of_partition,
    refuse_a_run_that_lost_its_partition,
    run_before,
    unit_of_partition,
    warn_of_partitions_left_out,
)
from airflow_reportrun.question.schedules import Schedule

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["Interval", "IntervalError", "IntervalUnit", "instant", "resolve", "timezone"]

log = logging.getLogger(__name__)

# TriggerDagRunOperator stamps a logical date in the task; the server infers the data interval a moment later.
_TRIGGERING_TAKES = timedelta(minutes=1)
_SHORTEST_DAY = timedelta(hours=23)


def resolve(
    context: Mapping[str, Any],
    *,
    interval_start: object = None,
    interval_end: object = None,
    interval: IntervalUnit | None = None,
    quiet: bool = False,
) -> Interval:
    """Return the interval that a task reports on, and log which rule gave it.

    The first rule that applies wins: the bounds given; the calendar unit ``interval``; the partition; a data
    interval that is not empty; the schedule's last complete period at the end of the data interval, else at
    the logical date, else at ``run_after``.

    :param context: Airflow's template context.
    :param interval_start: inclusive, see :func:`instant`; both bounds or neither.
    :param interval_end: exclusive; as ``interval_start``.
    :param interval: report on the last complete unit in the timetable's zone instead of the schedule's period;
        for a partition, on the unit that holds its date. Weeks start on Monday.
    :param quiet: for an interval that is only compared: leave out the line in the log, and the warnings.
    :raises IntervalError: when no rule applies, or what was given or what the DAG run says can't be meant.
    """
    if interval is not None and interval not in INTERVAL_UNITS:
        raise IntervalError(f"interval is {interval!r}: expected one of {', '.join(INTERVAL_UNITS)}.")
    if interval_start is not None or interval_end is not None:
        span = instant("interval_start", interval_start), instant("interval_end", interval_end)
        found = Interval.floored(span, timezone(context), "interval_start and interval_end as given")
    else:
        run, schedule = dag_run(context), Schedule.of(context)
        if run.partition_key is not None or run.partition_date is not None:
            found = _of_partition(run, schedule, interval, quiet)
        else:
            found = _of_run(run, schedule, interval, quiet)
    if not quiet:
        log.info("Interval %s", found)
    return found


def timezone(context: Mapping[str, Any]) -> Zone:
    """Return the zone in which the schedule counts days: the timetable's, else the DAG's, else UTC."""
    return zone_of(context)


def _of_partition(run: Run, schedule: Schedule, unit: IntervalUnit | None, quiet: bool) -> Interval:
    before, left_out = run_before(run, schedule)
    if left_out and not quiet:
        warn_of_partitions_left_out(run, schedule, left_out)
    if unit is not None:
        span = unit_of_partition(run, schedule, unit)
        if (
            before
            and not left_out
            and not quiet
            and (end := unit_holding(before, unit, schedule.zone)[1]) < span[0]
        ):
            _warn_of_a_gap(schedule, end, span[0], f' with interval="{unit}"')
        return Interval.floored(span, schedule.zone, f"{unit} that holds partition {run.partition_key!r}")
    span = period_of_partition(run, schedule)
    found = Interval.floored(span, schedule.zone, f"partition {run.partition_key!r} of {schedule}")
    if not quiet:
        _warn_off_midnight(found)
    return found


def _of_run(run: Run, schedule: Schedule, unit: IntervalUnit | None, quiet: bool) -> Interval:
    refuse_a_run_that_lost_its_partition(run, schedule)
    _refuse_the_interval_of_another_date(run, schedule, unit)
    # A run triggered without a logical date has no data interval either, only the time it was asked for.
    anchors = {
        "data_interval_end": run.data_interval and run.data_interval[1],
        "logical_date": run.logical_date,
        "run_after": run.run_after,
    }
    source, anchor = next((name, moment) for name, moment in anchors.items() if moment)
    zone, span = schedule.zone, run.data_interval
    if unit is not None:
        found = last_unit(anchor, unit, zone)
        if not quiet:
            _warn_of_units_left_out(run, schedule, unit, anchor, found)
        return Interval.floored(found, zone, f"last complete {unit} at {source}")

    rule = "data interval"
    if schedule.is_of_ones_own and run.is_by_hand and not span:
        span, rule = _inferred(schedule, anchor, None), f"data interval of {schedule} at {source}"
    if span is None or span[0] >= span[1]:
        span, rule = schedule.last_period(anchor), f"last complete period of {schedule} at {source}"
        if span is None:
            by_then = f" by {anchor}, its first tick or earlier" if schedule.is_of_ones_own else ""
            raise IntervalError(
                f"{schedule} has no period{by_then}, and this DAG run no data interval. {WAYS_OUT}"
            )
        if schedule.is_of_ones_own and run.is_by_schedule and span[1] != anchor:
            if schedule.counts_from_a_beginning(anchor):
                raise IntervalError(
                    f"This run is of {anchor}, and {schedule} counts its ticks from a beginning: from the DAG's"
                    f" start_date, {schedule.start}, the last one is {span[1]}. With catchup=False Airflow counts"
                    f" from the time at which it made the first run, which nothing tells. {WAYS_OUT}"
                )
            raise IntervalError(
                f"This run is of {anchor}, which is no tick of {schedule} as it is now: the last one is {span[1]}."
                f" {WAYS_OUT}"
            )
    elif not quiet:
        with suppress(IntervalError):  # of a timetable that can't be asked: the interval is known
            _warn_where_it_does_not_tile(run, schedule, span, run.logical_date or anchor)
    interval = Interval.floored(span, zone, rule)
    if not quiet:
        _warn_off_midnight(interval)
    return interval


def _inferred(schedule: Schedule, moment: pendulum.DateTime, unit: IntervalUnit | None) -> Span | None:
    try:
        return inferred_interval(schedule.timetable, moment)
    except Exception as error:  # whatever a timetable of one's own raises
        if unit is not None or not schedule.is_of_ones_own:
            # Not needed: the way out that the error names, or Airflow's own of events, which is not asked (3.3.2).
            return None
        raise IntervalError(
            f"{schedule} can't be asked for the data interval of {moment} ({type(error).__name__}: {error})."
            f" {WAYS_OUT}"
        ) from error


def _refuse_the_interval_of_another_date(run: Run, schedule: Schedule, unit: IntervalUnit | None) -> None:
    """Refuse a triggered run whose data interval was computed for another date than the one asked for.

    On Airflow 3, ``airflow dags trigger --logical-date D`` and ``TriggerDagRunOperator(logical_date=D)`` infer
    the data interval from ``run_after``, the time of the call, and not from D. Where it begins at D nevertheless,
    it is that of the scheduled run of D.
    """
    asked, called = run.logical_date, run.run_after
    if not run.is_by_hand or asked is None or run.data_interval is None:
        return
    start, end = run.data_interval
    at_once = called is not None and asked <= called <= asked + _TRIGGERING_TAKES
    if start < end and (start == asked or at_once):
        return
    if _inferred(schedule, asked, unit) == run.data_interval or at_once:
        return
    of_the_call = called and _inferred(schedule, called, unit) == run.data_interval
    # The timetable may have changed since, or be none that can be asked.
    early, late = start - asked, asked - end
    if of_the_call or early > _TRIGGERING_TAKES or (start == end and late > _TRIGGERING_TAKES):
        raise IntervalError(
            f"This run was triggered for {asked}, but its data interval is [{start}, {end}): Airflow's command"
            " line and TriggerDagRunOperator compute it from the time of the call. Trigger the run for its date"
            " in the UI or through the REST API, or with airflow backfill create, or pass interval_start= and"
            " interval_end=."
        )


# --- Warnings: the interval is what the DAG's author asked for, and may be another than was meant ------------


def _warn_where_it_does_not_tile(run: Run, schedule: Schedule, span: Span, anchor: pendulum.DateTime) -> None:
    """Warn where the data intervals of a schedule overlap or leave time out."""
    if looks_back(schedule.timetable):
        if schedule.last_period(span[1]) != span:
            log.warning(
                "%s looks back a fixed length from each tick, and this is not its period: the intervals of"
                " consecutive runs overlap or leave gaps. %s",
                schedule,
                WHOLE_UNITS,
            )
    elif schedule.is_of_ones_own:
        own = _last_two_periods(schedule, span[1])
        if own[-1:] == [span]:
            if len(own) == 2 and own[0][1] != span[0]:
                _warn_of_a_gap(schedule, own[0][1], span[0], "")
        elif run.is_by_hand and _inferred(schedule, anchor, None) == span:
            log.warning(
                "[%s, %s) is none of the intervals of %s's scheduled runs, and may overlap theirs. %s",
                *(moment.in_timezone(schedule.zone) for moment in span),
                schedule,
                WHOLE_UNITS,
            )


def _warn_of_units_left_out(
    run: Run, schedule: Schedule, unit: IntervalUnit, anchor: pendulum.DateTime, found: Span
) -> None:
    """Warn where the schedule ticks less often than the unit passes."""
    if not run.is_by_schedule:
        return
    periods = _last_two_periods(schedule, anchor)
    if len(periods) == 2 and periods[1][1] == anchor:
        _, before = last_unit(periods[0][1], unit, schedule.zone)
        if before < found[0]:
            _warn_of_a_gap(schedule, before, found[0], f' with interval="{unit}"')


def _last_two_periods(schedule: Schedule, moment: pendulum.DateTime) -> list[Span]:
    """Return what a warning needs to know, nothing where the timetable can't be asked: the interval is known."""
    try:
        return schedule.last_two_periods(moment)
    except IntervalError:
        return []


def _warn_of_a_gap(schedule: Schedule, end: pendulum.DateTime, start: pendulum.DateTime, how: str) -> None:
    first, last = (moment.in_timezone(schedule.zone) for moment in sorted((end, start)))
    what = "is in no report" if end < start else "is in two reports"
    log.warning(
        "[%s, %s) %s of %s%s: it lies between this run and the one before.", first, last, what, schedule, how
    )


def _warn_off_midnight(found: Interval) -> None:
    start, end = utc(found.start), utc(found.end)
    day, _ = unit_holding(start, "day", found.start.timezone or pendulum.UTC)
    # Where the clocks skip midnight, the day starts later.
    at_midnight = found.start.time() == pendulum.time(0) or start == day
    if not at_midnight and end - start >= _SHORTEST_DAY:
        log.warning("[%s, %s) does not start at midnight. %s", found.start, found.end, WHOLE_UNITS)
