"""When a schedule ticks, and the periods between its ticks: stepping forward, as Airflow's scheduler does."""

from __future__ import annotations

import logging
from collections import deque
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import lru_cache
from itertools import takewhile
from typing import TYPE_CHECKING, Any

from airflow_reportrun.airflow_context import (
    Span,
    Zone,
    as_scheduled,
    crons_of,
    delta_of,
    is_airflows_own,
    start_of,
    timetable_of,
    utc,
    zone_of,
)
from airflow_reportrun.question.bounds import WAYS_OUT, IntervalError

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    import pendulum

log = logging.getLogger(__name__)

# Further than this from a change of the clocks, a step back of Airflow's from one tick to the next is right.
_SETTLED = timedelta(days=2)
# How far before an instant walks begin that must find two ticks before it, in days.
_LOOK_BACKS = 4, 32, 256, 2048
# Each begins that much earlier, too: a timetable that counts every second hour, day or week from the first one
# comes to other ticks then.
_EARLIER = (
    *(timedelta(**{unit: 1}) for unit in ("seconds", "minutes", "hours", "days", "weeks")),
    timedelta(days=31),
)
# A step of a cron takes 50 µs.
_MOST_STEPS = 20_000


@dataclass(frozen=True)
class Schedule:
    """The timetable of a DAG, as it ticks.

    :param timetable: as the DAG file has it.
    :param zone: in which it counts days.
    :param start: from when on the DAG is scheduled.
    """

    timetable: Any
    zone: Zone
    start: pendulum.DateTime | None

    @classmethod
    def of(cls, context: Mapping[str, Any]) -> Schedule:
        """Return the schedule of a task's DAG."""
        return cls(timetable_of(context), zone_of(context), start_of(context))

    def __str__(self) -> str:
        if crons := crons_of(self.timetable):
            return f"{', '.join(map(repr, crons))} in {self.zone.name}"
        delta = delta_of(self.timetable)
        return f"a schedule of {delta}" if delta else type(self.timetable).__name__

    @property
    def is_of_ones_own(self) -> bool:
        """Whether the timetable is of a class that Airflow does not have, so that it alone knows its ticks."""
        return self.timetable is not None and not is_airflows_own(self.timetable)

    def last_period(self, moment: pendulum.DateTime) -> Span | None:
        """Return the last complete period that ends at or before an instant, if the schedule has periods.

        :raises IntervalError: when a timetable of one's own can't be asked.
        """
        if crons := crons_of(self.timetable):
            return last_cron_period(crons, self.zone, moment)
        if delta := delta_of(self.timetable):
            from airflow.timetables.interval import DeltaDataIntervalTimetable

            # Months counted from the 29th on are not exact: Airflow's ticks wander to the 28th on their way
            # through February, and do not tell which day they came from.
            period = DeltaDataIntervalTimetable(delta).infer_manual_data_interval(run_after=moment)
            return period.start, period.end
        return next(reversed(_own_periods(self, moment)), None) if self.is_of_ones_own else None

    def counts_from_a_beginning(self, moment: pendulum.DateTime) -> bool:
        """Whether the ticks of a timetable of one's own hang on where they begin, as those of a timedelta do."""
        return not _whatever_the_beginning(as_scheduled(self.timetable), moment)

    def last_two_periods(self, moment: pendulum.DateTime) -> list[Span]:
        """Return the last complete period at an instant, and before it the one of the run before, as far as known.

        :raises IntervalError: as :meth:`last_period`.
        """
        if self.is_of_ones_own:
            return _own_periods(self, moment)
        last = self.last_period(moment)
        before = last and self.last_period(last[0])
        return [period for period in (before, last) if period]


def last_cron_period(crons: list[str], zone: Zone, moment: pendulum.DateTime) -> Span:
    """Return the last two ticks at or before an instant.

    Airflow's timetables can't always be asked for them: where the clocks skip the time of a tick, as midnight
    in Cairo every spring, their step back from that tick stays on it, and in a repeated hour it may go
    forward. Their step forward is what the scheduler does, and one that crosses a change may pass over ticks
    that they know: after a Sunday in spring, the first hour of a schedule of Wednesdays' hours. So where there
    was a change since ticks that are safely earlier, this walks forward from there.
    """
    from airflow.timetables.interval import CronDataIntervalTimetable

    timetables: list[CronDataIntervalTimetable] = [_made(CronDataIntervalTimetable, cron, zone) for cron in crons]

    def last_but_one(moment: pendulum.DateTime) -> pendulum.DateTime:
        return max(timetable.infer_manual_data_interval(run_after=moment).start for timetable in timetables)

    far = last_but_one(last_but_one(moment - _SETTLED) - _SETTLED)  # the first may stay on a tick, too
    changed = _clocks_change(zone, far - _SETTLED, moment + _SETTLED)
    start, end = moment, far if changed else last_but_one(moment)
    for tick in cron_ticks(crons, zone, end):
        if tick > moment:
            break
        start, end = end, tick
    return start, end


@lru_cache(maxsize=16)  # they describe themselves in words when they are made, which takes as long as some steps
def _made(kind: Any, cron: str, zone: Zone) -> Any:
    return kind(cron, timezone=zone)


def _clocks_change(zone: Zone, start: pendulum.DateTime, end: pendulum.DateTime) -> bool:
    """Whether a zone's clocks are changed in a time, as far as they stay so for a day."""
    day = 24 * 60 * 60
    moments = range(int(start.timestamp()), int(end.timestamp()) + day, day)
    return len({datetime.fromtimestamp(moment, zone).utcoffset() for moment in moments}) > 1


def cron_ticks(crons: list[str], zone: Zone, tick: pendulum.DateTime) -> Iterator[pendulum.DateTime]:
    """Yield the ticks after an instant, without end, as the scheduler steps from each to the next."""
    from airflow.timetables.base import DataInterval, TimeRestriction
    from airflow.timetables.trigger import CronTriggerTimetable

    timetables = [_made(CronTriggerTimetable, cron, zone) for cron in crons]
    always = TimeRestriction(earliest=None, latest=None, catchup=True)
    while True:
        last = DataInterval.exact(tick)
        runs = [t.next_dagrun_info(last_automated_data_interval=last, restriction=always) for t in timetables]
        tick = min(run.run_after for run in runs if run is not None)
        yield tick


# --- Timetables of one's own -------------------------------------------------------------------------------


def _own_periods(schedule: Schedule, moment: pendulum.DateTime) -> list[Span]:
    """Return the last two periods at or before an instant of a timetable that only knows its ticks itself.

    Walked from the start of the DAG, as its ticks may be counted from there. Elsewhere it begins where that takes
    too many steps, and for what lies before the first tick.
    """
    try:
        timetable = as_scheduled(schedule.timetable)
        if not getattr(timetable, "periodic", True):
            return []
        found: list[Span] = []
        failed: Exception | None = None
        try:
            found = _walk(timetable, schedule.start, moment) if schedule.start else []
        except Exception as error:  # too long, or of a calendar that begins later
            failed = error
        if len(found) < 2:
            anyway = _whatever_the_beginning(timetable, moment)
            if anyway and found in ([], anyway[-1:]):
                return anyway
        if failed:
            raise failed
        return found
    except IntervalError:
        raise
    except Exception as error:
        raise IntervalError(
            f"{schedule} can't be asked for its ticks ({type(error).__name__}: {error}). {WAYS_OUT}"
        ) from error


def _whatever_the_beginning(timetable: Any, moment: pendulum.DateTime) -> list[Span]:
    """Return the last two periods at or before an instant where walks from several beginnings come to the same."""
    for days in _LOOK_BACKS:
        begin = moment - timedelta(days=days)
        try:
            found = _walk(timetable, begin, moment)
            earlier = (begin - more for more in _EARLIER if more < timedelta(days=2 * days))
            if found and all(_walk(timetable, other, moment) == found for other in earlier):
                return found
        except _TooLongError:
            break
    return []


def _walk(timetable: Any, earliest: pendulum.DateTime, moment: pendulum.DateTime) -> list[Span]:
    """Return the last two periods at or before an instant, as far as they are known from a beginning on.

    The period of a run is its data interval; where that is empty, it lasts from the tick before to its own.
    """
    found: deque[tuple[pendulum.DateTime | None, pendulum.DateTime]] = deque(maxlen=2)
    before: pendulum.DateTime | None = None
    for info in _runs(timetable, earliest):
        start, tick = map(utc, info.data_interval or (info.run_after, info.run_after))
        if before is not None and tick <= before:
            raise ValueError(f"it does not get beyond {before}")
        if tick > moment:
            break
        found.append((start if start < tick else before, tick))
        before = tick
    return [(start, tick) for start, tick in found if start is not None]


def run_infos(timetable: Any, earliest: datetime, latest: datetime | None = None) -> Iterator[Any]:
    """Yield what Airflow knows of the runs of a schedule, as the scheduler makes them from a beginning on."""
    from airflow.timetables.base import TimeRestriction

    restriction: Any = TimeRestriction(utc(earliest), None if latest is None else utc(latest), catchup=True)
    info: Any = None
    while True:
        if hasattr(timetable, "next_dagrun_info_v2"):
            info = timetable.next_dagrun_info_v2(last_dagrun_info=info, restriction=restriction)
        else:
            last = info.data_interval if info else None
            info = timetable.next_dagrun_info(last_automated_data_interval=last, restriction=restriction)
        if info is None:
            return
        yield info


def _runs(timetable: Any, earliest: pendulum.DateTime) -> Iterator[Any]:
    """Yield the same, for a walk that must not take too long."""
    for steps, info in enumerate(run_infos(timetable, earliest)):
        if steps == _MOST_STEPS:
            raise _TooLongError(f"there are more than {_MOST_STEPS} ticks after {earliest}")
        yield info


def own_partitions_by_tick(schedule: Schedule, moment: pendulum.DateTime) -> dict[pendulum.DateTime, Any]:
    """Return the dates of the partitions of the runs up to one at an instant, by their ticks, for a warning.

    They begin at the date of the last but one or before. Empty where the timetable does not say them.
    """
    try:
        timetable = as_scheduled(schedule.timetable)
        for days in _LOOK_BACKS:
            runs = takewhile(lambda run: run.run_after <= moment, _runs(timetable, moment - timedelta(days=days)))
            found = {utc(run.run_after): utc(run.partition_date) for run in runs}
            if len(found) > 1 and min(found) <= list(found.values())[-2]:
                return found if moment in found else {}
    except Exception as error:
        log.debug("%s does not say its partitions: %s", schedule, error)
    return {}


class _TooLongError(ValueError):
    """A walk has too many steps."""
