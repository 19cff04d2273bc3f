"""What a backfill left behind, held against what should be there."""

from __future__ import annotations

import csv
import hashlib
import time
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from airflow_reportrun.hooks import StripeReportingHook
from airflow_reportrun.landing.report import land_report
from airflow_reportrun.landing.stores import place_of
from airflow_reportrun.reporting.parameters import ReportParameters
from airflow_reportrun.reporting.polling import Watch
from airflow_reportrun.waiting import ReportRunEnds, wait

DAY = int(timedelta(days=1).total_seconds())


@dataclass(frozen=True)
class Landed:
    """One interval, as its task returned it; ``start`` is epoch seconds, ``size`` bytes."""

    start: int
    report_run_id: str
    size: int
    sha256: str
    path: Path

    @classmethod
    def of(cls, returned: Mapping[str, Any]) -> Landed:
        """Read what the operator returned."""
        return cls(
            returned["interval_start"],
            returned["report_run_id"],
            returned["size"],
            returned["sha256"],
            Path(returned["path"]),
        )

    def rows(self) -> list[tuple[tuple[str, str], ...]]:
        """Return the rows of the file, each as pairs of column and cell."""
        return list(_rows(self.path))


def prove(
    hook: StripeReportingHook, landed: list[Landed], report_type: str, first: datetime, days: int, *, since: int
) -> list[str]:
    """Print the table and the proof; return what is not as it should be.

    :param hook: asks Stripe what it knows of the report runs.
    :param landed: what the tasks returned.
    :param report_type: what they asked for.
    :param first: midnight that the first day begins at, UTC.
    :param days: how many days there should be.
    :param since: epoch seconds before which report runs are not of this backfill.
    """
    begin = int(first.timestamp())
    wanted = [begin + day * DAY for day in range(days)]
    created = [
        run
        for run in hook.list_report_runs(created={"gte": since})
        if run.report_type == report_type and run.parameters.get("interval_start") in wanted
    ]
    week = _whole(hook, report_type, begin, begin + days * DAY, landed)

    print(f"\n{'interval':10}  {'report run':28}  {'rows':>5}  {'bytes':>7}  {'sha256':12}  file")
    for it in landed:
        day, rows = datetime.fromtimestamp(it.start, UTC), len(it.rows())
        print(f"{day:%Y-%m-%d}  {it.report_run_id:28}  {rows:5}  {it.size:7}  {it.sha256[:12]}  {it.path.name}")
    parts = Counter(row for it in landed for row in it.rows())
    print(f"\nintervals {days}, landed {len(landed)}, report runs created {len(created)}")
    print(f"rows of the days {parts.total()}, rows of one report over all of them {week.total()}")

    problems = []
    if [it.start for it in landed] != wanted:
        problems.append("some interval is missing or came twice")
    if sorted(run.id for run in created) != sorted(it.report_run_id for it in landed):
        problems.append(f"{len(created)} report runs were created for {len(landed)} intervals")
    for it in landed:
        contents = it.path.read_bytes()
        if (len(contents), hashlib.sha256(contents).hexdigest()) != (it.size, it.sha256):
            problems.append(f"{it.path} is not the file that was landed")
    if parts != week:
        problems.append("the days do not add up to the report over all of them")
    if not problems:
        print("each interval exactly once, each file whole, and the days add up to the whole to the row")
    return problems


def _whole(
    hook: StripeReportingHook, report_type: str, start: int, end: int, landed: list[Landed]
) -> Counter[tuple[tuple[str, str], ...]]:
    """Return the rows of one report over all days."""
    run = hook.create_report_run(report_type, ReportParameters(interval_start=start, interval_end=end))
    event = wait(hook, ReportRunEnds(run.id), Watch(run.created, time.time() + 3600, 2))
    if event.outcome != "succeeded" or not landed:
        return Counter()
    path = landed[0].path.with_name("whole.csv")
    land_report(hook, hook.retrieve_report_run(run.id), place_of(str(path)))
    return Counter(_rows(path))


def _rows(path: Path) -> Iterator[tuple[tuple[str, str], ...]]:
    with path.open(encoding="utf-8-sig", newline="") as file:
        for row in csv.DictReader(file):
            yield tuple(row.items())
