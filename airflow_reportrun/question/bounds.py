"""An interval as a value, and its bounds as a DAG author writes them."""

from __future__ import annotations

import logging
import math
import re
from dataclasses import dataclass
from datetime import MAXYEAR, MINYEAR, datetime
from typing import TYPE_CHECKING, Any

import pendulum

from airflow_reportrun.airflow_context import Span, Zone, utc
from airflow_reportrun.reporting.errors import ConfigurationError

if TYPE_CHECKING:
    from typing import Self

log = logging.getLogger(__name__)

WAYS_OUT = (
    'Pass interval_start= and interval_end=, or interval="day" (or another unit), or give the DAG a schedule'
    " with a period."
)
WHOLE_UNITS = 'Pass interval="day" (or another unit) to report on whole calendar units.'

_SECONDS = re.compile(r"(\d+)(?:\.(\d+))?", re.ASCII)


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
        hours = (self.end.int_timestamp - self.start.int_timestamp) / 3600
        return f"[{self.start}, {self.end}) {self.start.timezone_name}, {hours:g} h: {self.rule}"

    @classmethod
    def floored(cls, span: Span, zone: Zone, rule: str) -> Self:
        """Return a span with both ends floored to the second, so that consecutive intervals still abut."""
        start, end = (moment.replace(microsecond=0).in_timezone(zone) for moment in span)
        if any(moment.microsecond for moment in span):
            log.info("Stripe takes whole seconds: [%s, %s) was floored to [%s, %s).", *span, start, end)
        return cls(start, end, rule)


def instant(name: str, given: Any) -> pendulum.DateTime:
    """Read a bound that a DAG author gave.

    :param name: what the author calls it.
    :param given: ISO 8601 with an offset or ``Z``, an aware datetime, or whole epoch seconds as a number or in
        digits, such as the ``1714608000.0`` that ``{{ data_interval_end.timestamp() }}`` renders.
    :raises IntervalError: saying what is wrong with it and how to write it.
    """

    def error(problem: str) -> IntervalError:
        return IntervalError(f"{name} is {given!r}: {problem}")

    expected = error(
        "expected ISO 8601 with an offset (2024-05-01T00:00:00Z), an aware datetime or epoch seconds."
    )
    fraction = error("Stripe takes whole seconds: drop the fraction.")
    value = given.strip() if isinstance(given, str) else given
    if value is None:
        raise error("give both interval_start and interval_end, or neither.")
    if value in ("", "None"):
        raise error("its template rendered to nothing. A run without a logical date has no data interval.")
    if isinstance(value, str):
        digits = _SECONDS.fullmatch(value)
        if digits and (digits[2] or "").strip("0"):
            raise fraction
        try:
            value = int(digits[1]) if digits else datetime.fromisoformat(value)
        except ValueError:
            raise expected from None
    if isinstance(value, float) and math.isfinite(value):
        if not value.is_integer():
            raise fraction
        value = int(value)
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
    if not MINYEAR < value.year < MAXYEAR:  # which another time zone may not have
        raise error("Stripe has no data of that year.")
    if value.microsecond:
        raise fraction
    return utc(value)
