"""Hours, days, weeks, months, quarters and years by the clocks of a zone, whatever they do."""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING, Literal, get_args

from airflow_reportrun.airflow_context import Span, Zone, utc

if TYPE_CHECKING:
    from collections.abc import Iterator

    import pendulum

IntervalUnit = Literal["hour", "day", "week", "month", "quarter", "year"]
INTERVAL_UNITS: tuple[str, ...] = get_args(IntervalUnit)


def unit_holding(moment: pendulum.DateTime, unit: IntervalUnit, zone: Zone) -> Span:
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


def last_unit(moment: pendulum.DateTime, unit: IntervalUnit, zone: Zone) -> Span:
    """Return the last calendar unit that was complete at an instant."""
    current, _ = unit_holding(moment, unit, zone)
    return unit_holding(current.subtract(seconds=1), unit, zone)


def _instants(wall: pendulum.DateTime, zone: Zone, *, repeated: bool) -> Iterator[pendulum.DateTime]:
    """Yield the instant at which a zone's clocks first show a time, or skip it, and if asked the repetition."""
    naive = datetime(wall.year, wall.month, wall.day, wall.hour)
    first, second = (utc(naive.replace(tzinfo=zone, fold=fold)) for fold in (0, 1))
    yield first
    if repeated and second > first:  # where the time is skipped, the second lies earlier
        yield second
