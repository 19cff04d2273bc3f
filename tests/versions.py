"""All versions of Airflow by the same names, for tests that run on each."""

from __future__ import annotations

from types import SimpleNamespace
from typing import TYPE_CHECKING, Any, TypeVar

import airflow
import pytest

AIRFLOW = tuple(int(part) for part in airflow.__version__.split(".")[:2])
"""The major and the minor version that is running, such as ``(3, 3)``."""

AIRFLOW_2 = AIRFLOW < (3, 0)
BEFORE_3_3 = AIRFLOW < (3, 3)
LACKS = f"Airflow {AIRFLOW[0]}.{AIRFLOW[1]} has no"


def needs_airflow(major: int, minor: int, what: str) -> pytest.MarkDecorator:
    """Mark a test, or some of its parameters, that is about something that came with a version of Airflow."""
    return pytest.mark.skipif((major, minor) > AIRFLOW, reason=f"{LACKS} {what}")


def needs_airflow_3(what: str) -> pytest.MarkDecorator:
    """Mark a test, or some of its parameters, that is about something Airflow 2 doesn't have."""
    return needs_airflow(3, 0, what)


needs_dag_test = pytest.mark.skipif(
    AIRFLOW == (3, 2), reason="Airflow 3.2 has no airflow dags test that waits until its API is there"
)


class Missing:
    """Stands for what this Airflow doesn't have where parameters of tests are listed; see :func:`present`."""

    def __init__(self, name: str) -> None:
        self.name = name

    def __call__(self, *args: Any, **kwargs: Any) -> Missing:
        """Make an object of a class that is missing: it is missing, too."""
        return self


T = TypeVar("T")


def present(value: T) -> T:
    """Return a parameter of a test, or skip the test that can't have it."""
    if isinstance(value, Missing):
        pytest.skip(f"{LACKS} {value.name}")
    return value


if TYPE_CHECKING or AIRFLOW >= (3, 2):
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
    from airflow.serialization.serialized_objects import DagSerialization
else:  # one timetable serves DAG files and the scheduler
    from airflow.serialization.serialized_objects import SerializedDAG as DagSerialization
    from airflow.timetables.events import EventsTimetable
    from airflow.timetables.interval import CronDataIntervalTimetable, DeltaDataIntervalTimetable
    from airflow.timetables.trigger import CronTriggerTimetable, DeltaTriggerTimetable

    CronPartitionTimetable = Missing("CronPartitionTimetable")
    PartitionedAssetTimetable = Missing("PartitionedAssetTimetable")
    StartOfDayMapper = Missing("StartOfDayMapper")

    def coerce_to_core_timetable(timetable: Any) -> Any:
        return timetable

    if AIRFLOW_2:
        from airflow.timetables.datasets import DatasetOrTimeSchedule

        MultipleCronTriggerTimetable = Missing("MultipleCronTriggerTimetable")

        def AssetOrTimeSchedule(*, timetable: Any, assets: Any) -> Any:  # noqa: N802
            return DatasetOrTimeSchedule(timetable=timetable, datasets=assets)

    else:
        from airflow.timetables.assets import AssetOrTimeSchedule
        from airflow.timetables.trigger import MultipleCronTriggerTimetable

if TYPE_CHECKING or AIRFLOW >= (3, 3):
    from airflow.utils.types import DagRunType
else:
    from airflow.utils.types import DagRunType as _DagRunType

    _members = dict(_DagRunType.__members__)
    if AIRFLOW_2:
        _members["ASSET_TRIGGERED"] = _members["DATASET_TRIGGERED"]
    _later = ("ASSET_MATERIALIZATION", "OPERATOR_TRIGGERED")
    DagRunType = SimpleNamespace(**{name: Missing(f"DagRunType.{name}") for name in _later} | _members)


__all__ = [
    "AIRFLOW",
    "AIRFLOW_2",
    "BEFORE_3_3",
    "AssetOrTimeSchedule",
    "CronDataIntervalTimetable",
    "CronPartitionTimetable",
    "CronTriggerTimetable",
    "DagRunType",
    "DagSerialization",
    "DeltaDataIntervalTimetable",
    "DeltaTriggerTimetable",
    "EventsTimetable",
    "MultipleCronTriggerTimetable",
    "PartitionedAssetTimetable",
    "StartOfDayMapper",
    "coerce_to_core_timetable",
    "needs_airflow",
    "needs_airflow_3",
    "needs_dag_test",
    "present",
]
