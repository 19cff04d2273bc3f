"""How facts are written."""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING
from zoneinfo import ZoneInfo

if TYPE_CHECKING:
    from ..business import Business

_UTC = ZoneInfo("Etc/UTC")


def decimal(value: int, places: int, separator: str) -> str:
    """Write a number that is counted in units of its last place."""
    units, rest = divmod(abs(value), 10**places)
    return f"{'-' if value < 0 else ''}{units}{separator}{rest:0{places}}"


def money(cents: int, separator: str) -> str:
    """Write an amount in major units, with two places: `decimal`, for most of the cells there are."""
    units, rest = divmod(abs(cents), 100)
    return f"{'-' if cents < 0 else ''}{units}{separator}{rest:02}"


class Pen:
    """How the facts of ``business`` are written; ``in_utc`` writes the same facts in UTC."""

    def __init__(self, business: Business, zone: ZoneInfo, separator: str, *, livemode: bool = False) -> None:
        self.business = business
        self.livemode = livemode
        self._zone = zone
        self._separator = separator
        self.in_utc: Pen = self if zone is _UTC else Pen(business, _UTC, separator, livemode=livemode)

    def time(self, seconds: int) -> str:
        """Write an instant."""
        # The first 19 characters of the ISO form leave out the offset, as Stripe does.
        return datetime.fromtimestamp(seconds, self._zone).isoformat(" ")[:19]

    def money(self, cents: int) -> str:
        """Write an amount."""
        return money(cents, self._separator)

    def decimal(self, value: int, places: int) -> str:
        """Write a number that is counted in units of its last place."""
        return decimal(value, places, self._separator)
