"""The DAG runs that a backfill makes, before they are made, and what their tasks would see of them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

from airflow_reportrun.airflow_context import as_scheduled, backfills_once, timetable_of, utc
from airflow_reportrun.question.schedules import run_infos

if TYPE_CHECKING:
    import pendulum


@dataclass(frozen=True)
class BackfillRun:
    """A DAG run of a backfill.

    :param dag: as the DAG file has it, or as Airflow has stored it.
    :param date: its logical date, or the date of its partition: what a backfill's dates choose.
    :param info: what Airflow knows of it: ``run_after``, ``data_interval``, ``partition_key`` and others.
    """

    dag: Any
    date: pendulum.DateTime
    info: Any

    @property
    def is_of_a_partition(self) -> bool:
        """Whether it has a partition and no logical date."""
        return self.info.logical_date is None

    def context(self) -> Mapping[str, Any]:
        """Return what :func:`~airflow_reportrun.question.intervals.resolve` reads of a task's context."""
        info, interval = self.info, self.info.data_interval
        found = {
            "dag": self.dag,
            "dag_run": SimpleNamespace(run_type="backfill", run_after=info.run_after),
            "logical_date": info.logical_date,
            "data_interval_start": interval and interval.start,
            "data_interval_end": interval and interval.end,
            "partition_key": getattr(info, "partition_key", None),
            "partition_date": getattr(info, "partition_date", None),
        }
        return {name: it for name, it in found.items() if it is not None}


def can_be_walked(dag: Any) -> bool:
    """Tell whether a DAG has a schedule that backfills are made for: one of assets has none, as ``None`` has."""
    timetable = as_scheduled(timetable_of({"dag": dag}))
    return bool(timetable.periodic) or (backfills_once() and timetable.summary == "@once")


def backfill_runs(dag: Any, earliest: datetime, latest: datetime) -> Iterator[BackfillRun]:
    """Yield the runs that a backfill makes between two dates, both included, in their order.

    :param dag: as the DAG file has it, or as Airflow has stored it.
    :param earliest: for partitions it is what the clocks of the timetable show.
    :raises ValueError: when the DAG has no schedule that can be asked for its runs.
    """
    timetable = as_scheduled(timetable_of({"dag": dag}))
    if not timetable.periodic and not backfills_once():
        return
    if getattr(timetable, "partitioned", False):
        if not hasattr(timetable, "iter_partition_dagrun_infos"):
            raise ValueError("Before Airflow 3.3 partitions have no dates that a backfill could be asked for by.")
        for it in timetable.iter_partition_dagrun_infos(earliest=earliest, latest=latest):
            yield BackfillRun(dag, utc(it.partition_date), it)
        return
    for info in run_infos(timetable, earliest, latest):
        yield BackfillRun(dag, utc(info.logical_date), info)
