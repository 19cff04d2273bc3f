"""A series as a calendar in the terminal: a line for each month, or each year, and a sign for each interval."""

from __future__ import annotations

from collections import defaultdict
from datetime import datetime
from typing import TYPE_CHECKING
from zoneinfo import ZoneInfo

from rich.text import Text

from airflow_reportrun.coverage.series import State

if TYPE_CHECKING:
    from airflow_reportrun.coverage.series import Interval, Series

SIGNS = {
    State.LANDED: ("■", "green"),
    State.EMPTY: ("□", "green"),
    State.CHANGED: ("▲", "yellow"),
    State.LANDING: ("◐", "yellow"),
    State.MISSING: ("✗", "bold red"),
    State.NOT_YET: ("·", "dim"),
}

_LINES = {"day": "%Y-%m", "week": "%Y", "month": "%Y", "quarter": "%Y", "year": "%Y"}


def calendar(series: Series) -> list[Text]:
    """Return the lines: days in a line for each month, longer units for each year, shorter ones for each day."""
    zone = ZoneInfo(series.step.timezone if series.step else "UTC")
    unit = series.step.unit if series.step else None
    short = series.step is not None and unit is None and series.step.seconds < 86400
    form = "%Y-%m-%d" if short else _LINES.get(unit or "", "%Y-%m")
    lines: dict[str, list[tuple[int, Interval]]] = defaultdict(list)
    for it in series.intervals:
        at = datetime.fromtimestamp(it.start, zone)
        column = at.day - 1 if unit == "day" else (at.month - 1 if unit == "month" else len(lines[f"{at:{form}}"]))
        lines[f"{at:{form}}"].append((column, it))
    found = []
    if unit == "day":
        found.append(Text(" " * 9 + "".join(f"{day:<5}" for day in (1, 6, 11, 16, 21, 26, 31)).rstrip(), "dim"))
    for label, intervals in lines.items():
        line, width = Text(f"{label}  "), 0
        for column, it in intervals:
            line.append(" " * (column - width))
            line.append(*SIGNS[it.state])
            width = max(width, column) + 1
        found.append(line)
    return found


def legend(series: Series) -> Text:
    """Return how many intervals there are of each state, with its sign."""
    line = Text()
    for state, count in series.counts().items():
        if count:
            line.append(*SIGNS[state])
            line.append(f" {count} {str(state).replace('_', ' ')}   ")
    line.rstrip()
    return line
