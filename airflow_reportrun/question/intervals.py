"""What span of time a DAG run reports on: its ``[start, end)``.

``resolve`` is a function of the task's context and the operator's options alone. It reads neither the clock nor
the previous DAG run, so a retry, a clear and a backfill of a run report on the same span, and consecutive
scheduled runs tile time: a day on which the clocks change has 23 or 25 hours, and no second is left out or
counted twice.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass
from datetime import datetime, timedelta
from itertools import islice
from typing import TYPE_CHECKING, Any, Literal, get_args

import pendulum

from airflow_reportrun.reporting.errors import ConfigurationError

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

log = logging.getLogger(__name__)

IntervalUnit = Literal["hour", "day", "week", "month", "quarter", "year"]

_Zone = pendulum.Timezone | pendulum.FixedTimezone
_Span = tuple[pendulum.DateTime, pendulum.DateTime]

_WAYS_OUT = (
    'Pass interval_start= and interval_end=, or interval="day" (or another unit), or give the DAG a schedule'
    " with a period."
)
_WHOLE_UNITS = 'Pass interval="day" (or another unit) to report on whole calendar units.'

# TriggerDagRunOperator stamps a logical date in the task; the server infers the data interval a moment later.
_TRIGGERING_TAKES = timedelta(minutes=1)
# Further than this from a change of the clocks, ticks before and after it no longer disturb each other.
_SETTLED = timedelta(days=2)
_SHORTEST_DAY = timedelta(hours=23)
_BY_HAND = frozenset({"manual", "operator_triggered"})


class IntervalError(ConfigurationError):
    """A DAG run has no interval to report on, or one that cannot be meant; the message says what to do."""


@dataclass(frozen=True)
class Interval:
    """A half-open span ``[start, end)`` in whole seconds, in the time zone that it was resolved in.

    Compare and subtract the ends by their ``int_timestamp``: Python takes two times of one zone by their clocks,
    so that in autumn 02:00+02:00 and the 02:00+01:00 an hour later are equal.

    ``rule`` says where it comes from, for a log: ``"data interval"``, ``"last complete day at logical_date"``.

    :raises IntervalError: when the span is empty or reversed.
    """

    start: pendulum.DateTime
    end: pendulum.DateTime
    rule: str

    def __post_init__(self) -> None:
        if self.start.int_timestamp >= self.end.int_timestamp:
            raise IntervalError(
                f"The interval [{self.start}, {self.end}) ({self.rule}) is empty or reversed: its start must lie"
                " before its end, by a second at least."
            )

    def __str__(self) -> str:
        first, last = self.start.int_timestamp, self.end.int_timestamp
        return (
            f"[{self.start}, {self.end}) {self.start.timezone_name}, {timedelta(seconds=last - first)} long, epoch"
            f" seconds [{first}, {last}): {self.rule}"
        )


def resolve(
    context: Mapping[str, Any],
    *,
    interval_start: object = None,
    interval_end: object = None,
    interval: IntervalUnit | None = None,
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
    :raises IntervalError: when no rule applies, or what was given or what the DAG run says can't be meant.
    """
    if interval is not None and interval not in get_args(IntervalUnit):
        raise IntervalError(f"interval is {interval!r}: expected one of {', '.join(get_args(IntervalUnit))}.")
    if interval_start is not None or interval_end is not None:
        span = instant("interval_start", interval_start), instant("interval_end", interval_end)
        found = _interval(span, timezone(context), "interval_start and interval_end as given")
    elif context.get("partition_key") is not None or context.get("partition_date") is not None:
        found = _of_partition(context, interval)
    else:
        found = _of_run(context, interval)
    log.info("Interval %s", found)
    return found


def timezone(context: Mapping[str, Any]) -> pendulum.Timezone | pendulum.FixedTimezone:
    """Return the zone in which the schedule counts days: the timetable's, else the DAG's, else UTC."""
    sources = *_parts(_timetable(context)), context.get("dag")
    zone = next((zone for source in sources if (zone := _attribute(source, "timezone"))), "UTC")
    if isinstance(zone, str):
        return pendulum.timezone(zone)
    return pendulum.instance(datetime.fromtimestamp(0, zone)).timezone or pendulum.UTC


def instant(name: str, given: Any) -> pendulum.DateTime:
    """Read a bound that a DAG author gave.

    :param name: what the author calls it.
    :param given: ISO 8601 with an offset or ``Z``, an aware datetime, or epoch seconds as an int or digits.
    :raises IntervalError: saying what is wrong with it and how to write it.
    """

    def error(problem: str) -> IntervalError:
        return IntervalError(f"{name} is {given!r}: {problem}")

    expected = error(
        "expected ISO 8601 with an offset (2024-05-01T00:00:00Z), an aware datetime or epoch seconds."
    )
    value = given.strip() if isinstance(given, str) else given
    if value is None:
        raise error("give both interval_start and interval_end, or neither.")
    if value in ("", "None"):
        raise error("its template rendered to nothing. A run without a logical date has no data interval.")
    if isinstance(value, str):
        try:
            value = int(value) if value.isascii() and value.isdigit() else datetime.fromisoformat(value)
        except ValueError:
            raise expected from None
    if isinstance(value, int) and not isinstance(value, bool):
        if value >= 10**11:
            raise error("this looks like milliseconds, where epoch seconds are expected.")
        if value < 10**8:
            # {{ ds_nodash }} renders 20240501, which as epoch seconds is a day in 1970.
            raise error("as epoch seconds this lies before 1974. Write a date as in 2024-05-01T00:00:00Z.")
        return pendulum.from_timestamp(value)
    if not isinstance(value, datetime):
        raise expected
    if value.utcoffset() is None:
        raise error(f"it names no instant without an offset: write {value.isoformat()}Z for UTC, or +02:00.")
    if value.microsecond:
        raise error("Stripe takes whole seconds: drop the fraction.")
    return _utc(value)


def _of_run(context: Mapping[str, Any], unit: IntervalUnit | None) -> Interval:
    timetable, zone = _timetable(context), timezone(context)
    _refuse_a_run_that_lost_its_partition(context, timetable)
    start, end = context.get("data_interval_start"), context.get("data_interval_end")
    span = (_utc(start), _utc(end)) if start is not None and end is not None else None
    if span:
        _refuse_the_interval_of_another_date(context, *span)
    # A run triggered without a logical date has no data interval either, only the time it was asked for.
    source = next((name for name in ("data_interval_end", "logical_date") if context.get(name)), "run_after")
    anchor = _utc(context["dag_run"].run_after if source == "run_after" else context[source])
    if unit is not None:
        current, _ = _unit_holding(anchor, unit, zone)
        last = _unit_holding(current.subtract(seconds=1), unit, zone)
        return _interval(last, zone, f"last complete {unit} at {source}")

    schedule = _describe(timetable, zone)
    if span and span[0] < span[1]:
        found = _interval(span, zone, "data interval")
        looks_back = any(_attribute(part, "interval") for part in _parts(timetable))
        if looks_back and _last_period(timetable, zone, anchor) != span:
            log.warning(
                "%s looks back a fixed length from each tick, and this is not its period: the intervals of"
                " consecutive runs overlap or leave gaps. %s",
                schedule,
                _WHOLE_UNITS,
            )
    elif period := _last_period(timetable, zone, anchor):
        found = _interval(period, zone, f"last complete period of {schedule} at {source}")
    else:
        raise IntervalError(f"{schedule} has no period, and this DAG run no data interval. {_WAYS_OUT}")
    _warn_off_midnight(found)
    return found


def _refuse_the_interval_of_another_date(
    context: Mapping[str, Any], start: pendulum.DateTime, end: pendulum.DateTime
) -> None:
    """Refuse a triggered run whose data interval was computed for another date than the one asked for.

    On Airflow 3, ``airflow dags trigger --logical-date D`` and ``TriggerDagRunOperator(logical_date=D)`` infer
    the data interval from the time of the call, not from D.
    """
    asked = context.get("logical_date")
    if asked is None or context["dag_run"].run_type not in _BY_HAND:
        return
    early, late = start - _utc(asked), _utc(asked) - end
    if early > _TRIGGERING_TAKES or (start == end and late > _TRIGGERING_TAKES):
        raise IntervalError(
            f"This run was triggered for {asked}, but its data interval is [{start}, {end}): Airflow's command"
            " line and TriggerDagRunOperator compute it from the time of the call. Trigger the run for its date"
            " in the UI or through the REST API, or with airflow backfill create, or pass interval_start= and"
            " interval_end=."
        )


def _refuse_a_run_that_lost_its_partition(context: Mapping[str, Any], timetable: Any) -> None:
    """Refuse a run that Airflow made for a partition and that has none: ``airflow partitions clear`` took it.

    What is left is run_after, which a backfill sets to the partition's date and the scheduler to the tick.
    """
    partitioned = any(_attribute(timetable, name) for name in ("key_format", "default_partition_mapper"))
    # One with a logical date is older than the partitioned schedule of its DAG, and has a data interval.
    if partitioned and context.get("logical_date") is None and context["dag_run"].run_type not in _BY_HAND:
        raise IntervalError(
            "This run was made for a partition, and its partition was cleared, so it has no interval. Backfill the"
            f" partition. {_WAYS_OUT}"
        )


def _of_partition(context: Mapping[str, Any], unit: IntervalUnit | None) -> Interval:
    # run_after says nothing here: a backfill sets it to the partition's date, the scheduler to the tick.
    timetable, zone = _timetable(context), timezone(context)
    schedule, partition = _describe(timetable, zone), f"partition {context.get('partition_key')!r}"
    if context.get("partition_date") is None:
        raise IntervalError(f"Airflow derives no date from {partition}, so it has no interval. {_WAYS_OUT}")
    start = _utc(context["partition_date"])
    if unit is not None:
        return _interval(_unit_holding(start, unit, zone), zone, f"{unit} that holds {partition}")
    crons = _crons(timetable)
    if not crons:
        raise IntervalError(f"{schedule} does not say how long {partition} is. {_WAYS_OUT}")
    if context["dag_run"].run_type in _BY_HAND and (key_format := _attribute(timetable, "key_format")):
        meant = _ticks_of_one_key(crons, zone, start, key_format)
        if len(meant) > 1:
            raise IntervalError(
                f"More than one {partition} of {schedule} exists: the key does not say which is meant. Backfill"
                f" that one. {_WAYS_OUT}"
            )
        start = next(iter(meant), start)
    if _last_cron_period(crons, zone, start)[1] != start:
        raise IntervalError(
            f"The date of {partition}, {start.in_timezone(zone)}, is no tick of {schedule}, so its interval would"
            f" overlap another partition's. Trigger a partition of the schedule. {_WAYS_OUT}"
        )
    found = _interval((start, next(_ticks(crons, zone, start))), zone, f"{partition} of {schedule}")
    _warn_off_midnight(found)
    return found


def _interval(span: _Span, zone: _Zone, rule: str) -> Interval:
    """Floor both ends to the second, so that consecutive intervals still abut."""
    start, end = (moment.replace(microsecond=0).in_timezone(zone) for moment in span)
    if any(moment.microsecond for moment in span):
        log.info("Stripe takes whole seconds: [%s, %s) was floored to [%s, %s).", *span, start, end)
    return Interval(start, end, rule)


def _warn_off_midnight(found: Interval) -> None:
    start, end = _utc(found.start), _utc(found.end)
    day, _ = _unit_holding(start, "day", found.start.timezone or pendulum.UTC)
    # Where the clocks skip midnight, the day starts later.
    at_midnight = found.start.time() == pendulum.time(0) or start == day
    if not at_midnight and end - start >= _SHORTEST_DAY:
        log.warning("[%s, %s) does not start at midnight. %s", found.start, found.end, _WHOLE_UNITS)


def _utc(moment: datetime) -> pendulum.DateTime:
    # Not datetime.UTC: pendulum loses it in arithmetic.
    return pendulum.instance(moment.astimezone(pendulum.UTC))


def _unit_holding(moment: pendulum.DateTime, unit: IntervalUnit, zone: _Zone) -> _Span:
    """Return the calendar unit of a zone that holds an instant; all instants are in UTC.

    A day that the zone skipped is no unit. An hour that the clocks repeat is two units; the hour in which they
    go back by half an hour is one of ninety minutes.
    """
    wall = moment.in_timezone(zone).naive()
    first = wall.start_of("hour" if unit == "hour" else "day")
    if unit == "week":
        first = first.subtract(days=first.weekday())  # pendulum's own idea of a week is a global setting
    elif unit == "month":
        first = first.replace(day=1)
    elif unit == "quarter":
        first = first.replace(month=(first.month - 1) // 3 * 3 + 1, day=1)
    elif unit == "year":
        first = first.replace(month=1, day=1)
    step = {"months": 3} if unit == "quarter" else {f"{unit}s": 1}
    walls = first.subtract(**step), first, first.add(**step), first.add(**step).add(**step)
    edges = [edge for wall in walls for edge in _instants(wall, zone, repeated=unit == "hour")]
    return max(edge for edge in edges if edge <= moment), min(edge for edge in edges if edge > moment)


def _instants(wall: pendulum.DateTime, zone: _Zone, *, repeated: bool) -> Iterator[pendulum.DateTime]:
    """Yield the instant at which a zone's clocks first show a time, or skip it, and if asked the repetition."""
    naive = datetime(wall.year, wall.month, wall.day, wall.hour)
    first, second = (_utc(naive.replace(tzinfo=zone, fold=fold)) for fold in (0, 1))
    yield first
    if repeated and second > first:  # where the time is skipped, the second lies earlier
        yield second


def _timetable(context: Mapping[str, Any]) -> Any:
    timetable = getattr(context.get("dag"), "timetable", None)
    return getattr(timetable, "timetable", timetable)  # AssetOrTimeSchedule wraps one


def _attribute(owner: Any, name: str) -> Any:
    """Read an attribute of a timetable: those of Airflow's core keep theirs behind an underscore."""
    return getattr(owner, name, None) or getattr(owner, f"_{name}", None)


def _parts(timetable: Any) -> list[Any]:
    return _attribute(timetable, "timetables") or [timetable]  # MultipleCronTriggerTimetable has several


def _crons(timetable: Any) -> list[str]:
    return [cron for part in _parts(timetable) if (cron := _attribute(part, "expression"))]


def _describe(timetable: Any, zone: _Zone) -> str:
    if crons := _crons(timetable):
        return f"{', '.join(map(repr, crons))} in {zone.name}"
    return f"a schedule of {delta}" if (delta := _attribute(timetable, "delta")) else type(timetable).__name__


def _last_period(timetable: Any, zone: _Zone, moment: pendulum.DateTime) -> _Span | None:
    """Return the schedule's last complete period that ends at or before an instant, if it has periods."""
    if crons := _crons(timetable):
        return _last_cron_period(crons, zone, moment)
    if delta := _attribute(timetable, "delta"):
        from airflow.timetables.interval import DeltaDataIntervalTimetable

        # Months counted from the 29th on are not exact: Airflow's ticks wander to the 28th on their way through
        # February, and do not tell which day they came from.
        period = DeltaDataIntervalTimetable(delta).infer_manual_data_interval(run_after=moment)
        return period.start, period.end
    return None


def _last_cron_period(crons: list[str], zone: _Zone, moment: pendulum.DateTime) -> _Span:
    """Return the last two ticks at or before an instant.

    Airflow's timetables can't be asked for them: where the clocks skip the time of a tick, as midnight in Cairo
    every spring, their step back from that tick stays on it, and in a repeated hour it may go forward. Their
    step forward is what the scheduler does, so this walks forward from a tick that is safely earlier.
    """
    from airflow.timetables.interval import CronDataIntervalTimetable

    timetables = [CronDataIntervalTimetable(cron, timezone=zone) for cron in crons]
    start = end = moment
    for _ in range(2):  # the first step back may stay on a tick, too
        back = end - _SETTLED
        end = max(timetable.infer_manual_data_interval(run_after=back).start for timetable in timetables)
    for tick in _ticks(crons, zone, end):
        if tick > moment:
            break
        start, end = end, tick
    return start, end


def _ticks_of_one_key(
    crons: list[str], zone: _Zone, date: pendulum.DateTime, key_format: str
) -> list[pendulum.DateTime]:
    """Return the ticks near a date whose partitions have the same key as the date.

    Of a key that somebody typed, Airflow gives the run the first moment that it can mean, which for the
    '2026-03-08' of "0 6 * * *" is midnight, and in an hour that the clocks repeat the second such moment.
    """
    before, _ = _last_cron_period(crons, zone, date)
    near = before, *islice(_ticks(crons, zone, before), 3)
    key, *keys = (moment.in_timezone(zone).strftime(key_format) for moment in (date, *near))
    return [tick for tick, other in zip(near, keys, strict=True) if other == key]


def _ticks(crons: list[str], zone: _Zone, tick: pendulum.DateTime) -> Iterator[pendulum.DateTime]:
    """Yield the ticks after an instant, without end, as the scheduler steps from each to the next."""
    from airflow.timetables.base import DataInterval, TimeRestriction
    from airflow.timetables.trigger import CronTriggerTimetable

    timetables = [CronTriggerTimetable(cron, timezone=zone) for cron in crons]
    always = TimeRestriction(earliest=None, latest=None, catchup=True)
    while True:
        last = DataInterval.exact(tick)
        runs = [t.next_dagrun_info(last_automated_data_interval=last, restriction=always) for t in timetables]
        tick = min(run.run_after for run in runs if run is not None)
        yield tick
