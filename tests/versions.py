"""Airflow 2 and 3 by the same names, for tests that run on both."""

from __future__ import annotations

from types import SimpleNamespace
from typing import TYPE_CHECKING, Any, TypeVar

import airflow
import pytest

AIRFLOW_2 = airflow.__version__.startswith("2.")


def needs_airflow_3(what: str) -> pytest.MarkDecorator:
    """Mark a test, or some of its parameters, that is about something Airflow 2 doesn't have."""
    return pytest.mark.skipif(AIRFLOW_2, reason=f"Airflow 2 has no {what}")


class Missing:
    """Stands for what Airflow 2 doesn't have where parameters of tests are listed; see :func:`present`."""

    def __init__(self, name: str) -> None:
        self.name = name

    def __call__(self, *args: Any, **kwargs: Any) -> Missing:
        """Make an object of a class that is missing: it is missing, too."""
        return self


T = TypeVar("T")


def present(value: T) -> T:
    """Return a parameter of a test, or skip the test that can't have it."""
    if isinstance(value, Missing):
        pytest.skip(f"Airflow 2 has no {value.name}")
    return value


if TYPE_CHECKING or not AIRFLOW_2:
    from airflow.sdk import (
        AssetOrTimeSchedule,
        CronDataIntervalTimetable,
        CronPartitionTimetable,
        CronTriggerTimetable,
        DeltaDataIntervalTimetable,
        DeltaTriggerTimetable,
        EventsTimetable,
        MultipleCronTriggerTimetable,
        PartitionedAssetTimetable,
        StartOfDayMapper,
    )
    from airflow.serialization.encoders import coerce_to_core_timetable
    from airflow.utils.types import DagRunType
else:
    from airflow.timetables.datasets import DatasetOrTimeSchedule
    from airflow.timetables.events import EventsTimetable
    from airflow.timetables.interval import CronDataIntervalTimetable, DeltaDataIntervalTimetable
    from airflow.timetables.trigger import CronTriggerTimetable, DeltaTriggerTimetable
    from airflow.utils.types import DagRunType as DagRunType2

    CronPartitionTimetable = Missing("CronPartitionTimetable")
    MultipleCronTriggerTimetable = Missing("MultipleCronTriggerTimetable")
    PartitionedAssetTimetable = Missing("PartitionedAssetTimetable")
    StartOfDayMapper = Missing("StartOfDayMapper")
    DagRunType = SimpleNamespace(
        **DagRunType2.__members__,
        ASSET_TRIGGERED=DagRunType2.DATASET_TRIGGERED,
        OPERATOR_TRIGGERED=Missing("DagRunType.OPERATOR_TRIGGERED"),
    )

    def AssetOrTimeSchedule(*, timetable: Any, assets: Any) -> Any:  # noqa: N802
        return DatasetOrTimeSchedule(timetable=timetable, datasets=assets)

    def coerce_to_core_timetable(timetable: Any) -> Any:
        return timetable


__all__ = [
    "AIRFLOW_2",
    "AssetOrTimeSchedule",
    "CronDataIntervalTimetable",
    "CronPartitionTimetable",
    "CronTriggerTimetable",
    "DagRunType",
    "DeltaDataIntervalTimetable",
    "DeltaTriggerTimetable",
    "EventsTimetable",
    "MultipleCronTriggerTimetable",
    "PartitionedAssetTimetable",
    "StartOfDayMapper",
    "coerce_to_core_timetable",
    "needs_airflow_3",
    "present",
]
