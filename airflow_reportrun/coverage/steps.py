"""In which steps the intervals of a series follow each other, as their bounds tell. Without I/O and a clock."""

from __future__ import annotations

from bisect import bisect_left
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import MAXYEAR, UTC, datetime, time, timedelta
from functools import cache
from itertools import chain, pairwise
from typing import Literal
from zoneinfo import ZoneInfo, available_timezones

from airflow_reportrun.reporting.parameters import is_zone

Span = tuple[int, int]
"""Start and end in epoch seconds, the end exclusive."""

Unit = Literal["day", "week", "month", "quarter", "year"]

_HOUR, _DAY = 3600, 86400

_LENGTHS: dict[Unit, tuple[int, int]] = {
    "day": (_DAY, _DAY),
    "week": (7 * _DAY, 7 * _DAY),
    "month": (28 * _DAY, 31 * _DAY),
    "quarter": (90 * _DAY, 92 * _DAY),
    "year": (365 * _DAY, 366 * _DAY),
}
"""Seconds of the shortest and the longest, but for an hour that the clocks skip or repeat."""

_STEPS: dict[Unit, tuple[int, int]] = {
    "day": (0, 1),
    "week": (0, 7),
    "month": (1, 0),
    "quarter": (3, 0),
    "year": (12, 0),
}
"""Months and days."""

_KNOWN = (
    *("America/New_York", "America/Los_Angeles", "America/Chicago", "America/Denver", "America/Sao_Paulo"),
    *("Europe/London", "Europe/Berlin", "Europe/Athens", "Australia/Sydney", "Pacific/Auckland"),
)
"""The names that are tried first: many zones have the same clocks."""

_EPOCH = datetime(1970, 1, 1)
_MONDAY = datetime(1970, 1, 5)

MOST_STEPS = 200_000
"""Steps of a series, as hours of twenty years: what would have more has no step that anybody could look at."""

_SAMPLE = 48  # spans by which zones are chosen
_TRIED = 20  # zones on all spans


@dataclass(frozen=True)
class Step:
    """How far it is from each interval to the next.

    :param unit: of the calendar; None for a fixed length.
    :param seconds: of a fixed length, 0 otherwise.
    :param timezone: IANA name of the zone by whose clocks the unit is counted, ``UTC`` for a fixed length.
    :param anchor: what the clocks show at the beginning of one of them.
    :param is_told: whether somebody named the zone, or it is UTC; otherwise it is one whose clocks would do.
    """

    unit: Unit | None
    seconds: int
    timezone: str
    anchor: datetime
    is_told: bool = True

    def __str__(self) -> str:
        if self.unit is None:
            hours = self.seconds / _HOUR
            return "hour" if hours == 1 else f"{hours:g} hours" if hours >= 1 else f"{self.seconds} seconds"
        at = "" if (self.anchor.hour, self.anchor.minute) == (0, 0) else f" from {self.anchor:%H:%M}"
        return f"{self.unit}{at}, {self.timezone if self.is_told else f'by clocks as in {self.timezone}'}"

    def edges(self, start: int, end: int) -> list[int]:
        """Return when intervals begin and end, in epoch seconds.

        :param start: the first one is at it, or the last before it.
        :param end: the last one is at it, or the first after it, but for those behind the year 9999.
        """
        if self.unit is None:
            origin = int(self.anchor.replace(tzinfo=UTC).timestamp())
            first = start - (start - origin) % self.seconds
            last = end + (origin - end) % self.seconds
            return list(range(first, last + 1, self.seconds))
        months, days = _STEPS[self.unit]
        zone = _zone(self.timezone)
        wall = datetime.fromtimestamp(start, zone).replace(tzinfo=None)
        if days:
            at = (wall - self.anchor) // timedelta(days=days) - 2
        else:
            between = (wall.year - self.anchor.year) * 12 + wall.month - self.anchor.month
            at = between // months - 2
        found: list[int] = []
        while not found or found[-1] < end:
            try:
                edge = int(self._wall(at, months, days).replace(tzinfo=zone).timestamp())
            except (ValueError, OverflowError):
                return found
            at += 1
            if found and edge <= found[-1]:
                continue  # a day that the clocks skip whole
            if edge <= start:
                found = [edge]
            else:
                found.append(edge)
        return found

    def _wall(self, at: int, months: int, days: int) -> datetime:
        if days:
            return self.anchor + timedelta(days=at * days)
        return _later(self.anchor, at * months)

    def fits(self, spans: Sequence[Span]) -> int:
        """Count the spans that are one step each.

        :param spans: in their order.
        """
        edges = self.edges(spans[0][0], max(end for _, end in spans))
        following = dict(pairwise(edges))
        return sum(following.get(start) == end for start, end in spans)


def unit_of(span: Span) -> Unit | None:
    """Return the unit that is about as long as a span."""
    length = span[1] - span[0]
    return next((it for it, (least, most) in _LENGTHS.items() if least - _HOUR <= length <= most + _HOUR), None)


def step_of(spans: Sequence[Span], zones: Iterable[str] = (), *, shown: Iterable[int] = ()) -> Step | None:
    """Return the step that most of the spans are, None where there are none, or :data:`MOST_STEPS` would not do.

    :param spans: in their order, without overlaps.
    :param zones: IANA names, by whose clocks they may have been counted; the likeliest first.
    :param shown: instants that are to be reached by it besides.
    """
    spans = [(start, end) for start, end in spans if start < end]
    if not spans:
        return None
    reached = [*(at for span in spans for at in span), *shown]
    if max(reached) - min(reached) > MOST_STEPS * min(end - start for start, end in spans):
        return None
    best, most = _fixed(spans), 0
    unit = Counter(map(unit_of, spans)).most_common(1)[0][0]
    for step in chain(_calendar_steps(unit, spans, zones) if unit else (), [best]):
        if (count := step.fits(spans)) > most:
            best, most = step, count
        if most == len(spans):
            break
    return best


def _fixed(spans: Sequence[Span]) -> Step:
    """Return the step of the length that most of them have."""
    length = Counter(end - start for start, end in spans).most_common(1)[0][0]
    origin = Counter((start % length, length) for start, _ in spans).most_common(1)[0][0][0]
    return Step(None, length, "UTC", datetime.fromtimestamp(origin, UTC).replace(tzinfo=None))


def _calendar_steps(unit: Unit, spans: Sequence[Span], zones: Iterable[str]) -> Iterator[Step]:
    """Yield the steps of a unit that may be it, the likeliest first."""
    told = dict.fromkeys((*filter(is_zone, zones), "UTC"))
    sample = spans[:: max(1, len(spans) // _SAMPLE)]
    for name in told:
        yield Step(unit, 0, name, _MONDAY if unit == "week" else _EPOCH)
        if anchor := _anchor(unit, sample, name)[0]:
            yield Step(unit, 0, name, anchor)
    found = [(name, *_anchor(unit, sample, name)) for name in _all_zones() if name not in told]
    # Zones of one continent shift their clocks together: midnight is the likeliest beginning.
    likely = sorted(found, key=lambda it: (-it[2], it[1] is None or it[1].time() != time()))
    for name, anchor, _ in likely[:_TRIED]:
        if anchor:
            yield Step(unit, 0, name, anchor, is_told=False)


def _anchor(unit: Unit, spans: Sequence[Span], name: str) -> tuple[datetime | None, int]:
    """Return what a zone's clocks show at the first beginning of a unit since 1970, and for how many spans."""
    zone, (months, days) = _zone(name), _STEPS[unit]
    found: Counter[datetime] = Counter()
    for start, end in spans:
        wall = datetime.fromtimestamp(start, zone).replace(tzinfo=None)
        until = datetime.fromtimestamp(end, zone).replace(tzinfo=None)
        if days and until - wall == timedelta(days=days):
            found[_EPOCH + (wall - _EPOCH) % timedelta(days=days)] += 1
        # Not each month has a 29th, and the last year has no next one.
        elif months and wall.day <= 28 and wall.year < MAXYEAR and _later(wall, months) == until:
            found[wall.replace(year=1970, month=(wall.month - 1) % months + 1)] += 1
    return found.most_common(1)[0] if found else (None, 0)


def _later(wall: datetime, months: int) -> datetime:
    month = wall.year * 12 + wall.month - 1 + months
    return wall.replace(year=month // 12, month=month % 12 + 1)


@cache
def _zone(name: str) -> ZoneInfo:
    return ZoneInfo(name)


@cache
def _all_zones() -> tuple[str, ...]:
    names = available_timezones()
    usual = sorted(it for it in names if "/" in it and not it.startswith(("Etc/", "posix/", "right/", "SystemV/")))
    return (*(it for it in _KNOWN if it in names), *usual)


def pieces(start: int, end: int, step: Step | None) -> list[Span]:
    """Cut a stretch of time at the edges of a step; without a step it is one piece."""
    if start >= end:
        return []
    if step is None:
        return [(start, end)]
    edges = step.edges(start, end)
    inner = edges[bisect_left(edges, start + 1) : bisect_left(edges, end)]
    bounds = [start, *inner, end]
    return list(pairwise(bounds))
