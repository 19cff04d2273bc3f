"""Which dates of a DAG fill the gaps, as ``airflow backfill create`` takes them."""

from __future__ import annotations

import shlex
from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import pendulum

from airflow_reportrun.airflow_context import is_airflow_2, zone_of
from airflow_reportrun.question.backfill_runs import BackfillRun, backfill_runs
from airflow_reportrun.question.bounds import IntervalError
from airflow_reportrun.question.intervals import resolve

if TYPE_CHECKING:
    from airflow_reportrun.coverage.steps import Span
    from airflow_reportrun.question.calendar_units import IntervalUnit

_SECOND = timedelta(seconds=1)

_SOME_TICKS = 8 * 86400
"""Seconds in which each schedule that reports on days has ticks: on Mondays alone, for example."""


@dataclass(frozen=True)
class Backfill:
    """A backfill that fills a gap.

    :param dag_id: of the DAG.
    :param from_date: ISO 8601, the first date that it takes.
    :param to_date: ISO 8601, the last one, included.
    :param runs: how many DAG runs it makes, or runs again.
    :param start: epoch seconds: where what they report on begins.
    :param end: epoch seconds: where it ends, exclusive.
    """

    dag_id: str
    from_date: str
    to_date: str
    runs: int
    start: int
    end: int

    @property
    def command(self) -> str:
        """The line for a shell. Runs that are there already, such as failed ones, are run again."""
        dates = [self.from_date, self.to_date]
        if is_airflow_2():
            words = ["dags", "backfill", "--start-date", dates[0], "--end-date", dates[1], "--reset-dagruns"]
            return shlex.join(["airflow", *words, "--yes", self.dag_id])
        words = ["--from-date", dates[0], "--to-date", dates[1], "--reprocess-behavior", "completed"]
        return shlex.join(["airflow", "backfill", "create", "--dag-id", self.dag_id, *words])


def backfills_for(
    dag: Any, missing: Sequence[Span], *, interval: IntervalUnit | None = None
) -> tuple[list[Backfill], list[Span]]:
    """Return the backfills that report on what is missing, and what of it no run of the DAG reports on.

    :param dag: as the DAG file has it, or as Airflow has stored it.
    :param missing: the intervals in epoch seconds, in their order; not joined, as their length says how far from
        them the ticks can be.
    :param interval: as the task has it.
    :raises ValueError: when the DAG has no schedule that can be asked for its runs.
    """
    if not missing:
        return [], []
    around = 2 * max(end - start for start, end in missing) + _SOME_TICKS
    found: list[list[tuple[BackfillRun, Span]]] = []
    for start, end in _joined(missing, around):
        follows = False
        for run in backfill_runs(dag, pendulum.from_timestamp(start), pendulum.from_timestamp(end)):
            span = _reported_on(run, interval)
            if wanted := span is not None and _meets(missing, span):
                if not follows:
                    found.append([])
                found[-1].append((run, span))
            follows = wanted
    filled = sorted(span for runs in found for _, span in runs)
    return [_backfill(dag, runs) for runs in found], [it for it in missing if not _meets(filled, it)]


def _joined(spans: Sequence[Span], around: int) -> list[Span]:
    """Return the stretches of time with so much more on both sides, joined where they meet."""
    found: list[Span] = []
    for start, end in spans:
        joins = found and start - around <= found[-1][1]
        found.append((found.pop()[0] if joins else start - around, end + around))
    return found


def _reported_on(run: BackfillRun, interval: IntervalUnit | None) -> Span | None:
    try:
        it = resolve(run.context(), interval=interval, quiet=True)
    except IntervalError:
        return None
    return it.start.int_timestamp, it.end.int_timestamp


def _meets(spans: Sequence[Span], other: Span) -> bool:
    """Tell whether one of several spans, in their order, has time in common with another one."""
    at = bisect_right(spans, other[0], key=lambda it: it[1])
    return at < len(spans) and spans[at][0] < other[1]


def _backfill(dag: Any, runs: Sequence[tuple[BackfillRun, Span]]) -> Backfill:
    first, last = runs[0][0].date, runs[-1][0].date
    if next(iter(backfill_runs(dag, first, first)), None) is None:
        first -= _SECOND  # Airflow passes over a date whose next tick the clocks skip
    is_partition = runs[0][0].is_of_a_partition
    # Those of partitions are what the clocks show, whatever offset is written.
    from_date, to_date = (
        it.naive().isoformat() if is_partition else it.isoformat()
        for it in (moment.in_timezone(zone_of({"dag": dag})) for moment in (first, last))
    )
    spans = [span for _, span in runs]
    start, end = min(start for start, _ in spans), max(end for _, end in spans)
    return Backfill(dag.dag_id, from_date, to_date, len(runs), start, end)
