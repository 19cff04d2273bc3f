"""Airflow's names, read in one place: the context's keys, a DAG run's fields, the attributes of timetables.

For Airflow 2 and 3. Nothing is decided here, and Airflow's core is imported only where its word is asked for.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, tzinfo
from importlib import import_module
from typing import TYPE_CHECKING, Any

import pendulum

if TYPE_CHECKING:
    from collections.abc import Mapping

Zone = pendulum.Timezone | pendulum.FixedTimezone
Span = tuple[pendulum.DateTime, pendulum.DateTime]

_AIRFLOWS_OWN = ("airflow.timetables.", "airflow.sdk.definitions.timetables.")
_ASSETS_OR_TIME = ("AssetOrTimeSchedule", "DatasetOrTimeSchedule")
# All others are asked for by somebody, who may name any date or partition: manual, operator_triggered,
# asset_materialization, and what a later Airflow has.
_BY_AIRFLOW = frozenset({"scheduled", "backfill", "asset_triggered", "dataset_triggered"})


def utc(moment: datetime) -> pendulum.DateTime:
    """Return an instant as pendulum has it, in UTC."""
    # Not datetime.UTC: pendulum loses it in arithmetic.
    return pendulum.instance(moment.astimezone(pendulum.UTC))


def is_airflow_2() -> bool:
    """Tell whether it is Airflow 2, whose command line has other words."""
    from airflow import __version__

    return __version__.startswith("2.")


def backfills_once() -> bool:
    """Tell whether it is an Airflow before 3.3, which backfills what runs once."""
    from airflow import __version__

    return tuple(map(int, __version__.split(".")[:2])) < (3, 3)


# --- The run -----------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Run:
    """A DAG run; its instants are in UTC.

    :param run_type: Airflow's word, such as ``scheduled``.
    :param run_after: None on Airflow 2, where a run always has a logical date.
    :param data_interval: may be empty.
    """

    dag_id: str
    run_type: str
    run_after: pendulum.DateTime | None
    logical_date: pendulum.DateTime | None
    data_interval: Span | None
    partition_key: str | None
    partition_date: pendulum.DateTime | None

    @property
    def is_by_hand(self) -> bool:
        """Whether somebody asked for it, and not the schedule, a backfill or an asset's event."""
        return self.run_type not in _BY_AIRFLOW

    @property
    def is_by_schedule(self) -> bool:
        """Whether it is one of the runs that the timetable makes, by the clock or in a backfill."""
        return self.run_type in ("scheduled", "backfill")


def dag_run(context: Mapping[str, Any]) -> Run:
    """Return what a task's context says of its DAG run."""

    def moment(value: Any) -> pendulum.DateTime | None:
        return None if value is None else utc(value)

    run = context["dag_run"]
    start, end = moment(context.get("data_interval_start")), moment(context.get("data_interval_end"))
    return Run(
        dag_id=getattr(context.get("dag"), "dag_id", ""),
        run_type=str(getattr(run.run_type, "value", run.run_type)),
        run_after=moment(getattr(run, "run_after", None)),
        logical_date=moment(context.get("logical_date")),
        data_interval=(start, end) if start is not None and end is not None else None,
        partition_key=context.get("partition_key", getattr(run, "partition_key", None)),  # Airflow 3.2: the run
        partition_date=moment(context.get("partition_date")),
    )


def start_of(context: Mapping[str, Any]) -> pendulum.DateTime | None:
    """Return from when on a DAG is scheduled, None where neither it nor its tasks have a start date."""
    dag = context.get("dag")
    dates = [getattr(dag, "start_date", None), *(task.start_date for task in getattr(dag, "tasks", ()))]
    return min((utc(date) for date in dates if date is not None), default=None)


# --- The task instance -------------------------------------------------------------------------------------


@dataclass(frozen=True)
class TaskInstance:
    """What a task's context says of its task instance, read when it is asked for.

    :param context: Airflow's template context.
    """

    context: Mapping[str, Any]

    @property
    def ids(self) -> dict[str, Any]:
        """``dag_id``, ``run_id``, ``task_id``, and ``map_index``, -1 where it is not mapped."""
        ti = self.context["ti"]
        index = -1 if ti.map_index is None else ti.map_index
        return {"dag_id": ti.dag_id, "run_id": ti.run_id, "task_id": ti.task_id, "map_index": index}

    @property
    def max_tries(self) -> int:
        """Stays over retries and moves on when a user clears a finished or deferred task."""
        return int(self.context["ti"].max_tries)

    @property
    def try_number(self) -> int:
        """1 for the first try."""
        return int(self.context["ti"].try_number)

    @property
    def is_first_try(self) -> bool:
        """Whether it is the first try, or the first since a clear: that moves ``max_tries`` beyond the retries."""
        retries = getattr(self.context.get("task"), "retries", None) or 0
        return self.try_number == 1 or self.try_number == self.max_tries - retries + 1

    @property
    def began(self) -> float | None:
        """Epoch seconds at which this process of the try began, None where that is not said."""
        return _seconds(self.context["ti"].start_date)

    @property
    def run_began(self) -> float | None:
        """Epoch seconds at which the DAG run began; clearing any task of it moves them."""
        return _seconds(self.context["dag_run"].start_date)

    @property
    def run_was_cleared(self) -> bool:
        """Whether any task of the DAG run was cleared; Airflow 2 does not know."""
        return bool(getattr(self.context["dag_run"], "clear_number", 0))

    @property
    def team_name(self) -> str | None:
        """The team of the DAG, None where Airflow has no teams."""
        found: str | None = getattr(self.context["ti"], "stats_tags", {}).get("team_name")
        return found

    @property
    def was_rescheduled(self) -> bool:
        """Whether a sensor comes back in this try, after a pause without a worker."""
        if "task_reschedule_count" in self.context:
            return bool(self.context["task_reschedule_count"])
        began: Any = import_module("airflow.sensors.base")._orig_start_date  # of Airflow 2 alone
        return began(**self.ids, try_number=self.try_number) is not None

    @property
    def store(self) -> Any:
        """What outlives a try, None before Airflow 3.3."""
        return self.context.get("task_state_store")


def _seconds(moment: datetime | None) -> float | None:
    return None if moment is None else moment.timestamp()


# --- The schedule ------------------------------------------------------------------------------------------


def timetable_of(context: Mapping[str, Any]) -> Any:
    """Return the timetable of the DAG; of one that is triggered by assets or time, the time's."""
    timetable: Any = getattr(context.get("dag"), "timetable", None)
    if is_airflows_own(timetable) and type(timetable).__name__ in _ASSETS_OR_TIME:
        return timetable.timetable
    return timetable


def zone_of(context: Mapping[str, Any]) -> Zone:
    """Return the zone in which the schedule counts days: the timetable's, else the DAG's, else UTC."""
    timetable = timetable_of(context)
    sources = *(_parts(timetable) if is_airflows_own(timetable) else [timetable]), context.get("dag")
    zones = (_zone(_attribute(source, "timezone")) for source in sources)
    return next((zone for zone in zones if zone), pendulum.UTC)


def is_airflows_own(timetable: Any) -> bool:
    """Whether a timetable is of a class of Airflow's: attributes of another's, even if inherited, say nothing."""
    return f"{type(timetable).__module__}.".startswith(_AIRFLOWS_OWN)


def crons_of(timetable: Any) -> list[str]:
    """Return the cron expressions by which one of Airflow's timetables ticks."""
    if not is_airflows_own(timetable):
        return []
    return [cron for part in _parts(timetable) if (cron := _attribute(part, "expression"))]


def delta_of(timetable: Any) -> Any:
    """Return the timedelta or relativedelta by which one of Airflow's timetables ticks, else None."""
    return _attribute(timetable, "delta") if is_airflows_own(timetable) else None


def looks_back(timetable: Any) -> bool:
    """Whether one of Airflow's timetables gives its runs a data interval of a fixed length."""
    return is_airflows_own(timetable) and any(_attribute(part, "interval") for part in _parts(timetable))


def is_partitioned(timetable: Any) -> bool:
    """Whether the runs of a timetable are for partitions."""
    names = "partitioned", "key_format", "default_partition_mapper"
    return any(_attribute(timetable, name) for name in names)


def key_format_of(timetable: Any) -> str | None:
    """Return how one of Airflow's timetables writes the dates of its partitions, None where it makes none."""
    return _attribute(timetable, "key_format") if is_airflows_own(timetable) else None


def is_airflows_partitions(timetable: Any) -> bool:
    """Whether a timetable makes partitions as Airflow's class for it does, or as one that inherits from it."""
    return any(base.__name__ == "CronPartitionTimetable" for base in type(timetable).__mro__)


def as_scheduled(timetable: Any) -> Any:
    """Return the timetable that the scheduler asks for one that a DAG file has.

    :raises ValueError: when the scheduler knows no such timetable.
    """
    if hasattr(timetable, "next_dagrun_info"):
        return timetable
    from airflow.serialization.encoders import coerce_to_core_timetable

    return coerce_to_core_timetable(timetable)


def inferred_interval(timetable: Any, moment: pendulum.DateTime) -> Span | None:
    """Return the data interval of a run that is triggered for a moment, None where the timetable infers none.

    :raises Exception: whatever the timetable raises, but for saying that it infers none.
    """
    try:
        found = as_scheduled(timetable).infer_manual_data_interval(run_after=moment)
    except NotImplementedError:
        return None
    return None if found is None else (utc(found.start), utc(found.end))


def mapped_dates(timetable: Any, key: str) -> list[datetime]:
    """Return the dates that the mappers of a consumer of partitioned assets give a key, in the mappers' zones."""
    if not _attribute(timetable, "default_partition_mapper"):
        return []
    consumer = as_scheduled(timetable)
    assets = [{"name": asset.name, "uri": asset.uri} for asset, _ in consumer.asset_condition.iter_assets()]
    for ref in consumer.asset_condition.iter_asset_refs():
        assets.append({name: getattr(ref, name) for name in ("name", "uri") if hasattr(ref, name)})
    mappers = [consumer.get_partition_mapper(**asset) for asset in assets]
    # Those of Airflow 3.2 can't.
    dates = (mapper.to_partition_date(key) for mapper in mappers if hasattr(mapper, "to_partition_date"))
    return [date for date in dates if date is not None]


def _parts(timetable: Any) -> list[Any]:
    return _attribute(timetable, "timetables") or [timetable]  # MultipleCronTriggerTimetable has several


def _attribute(owner: Any, name: str) -> Any:
    """Read an attribute of a timetable: those of Airflow's core keep theirs behind an underscore."""
    return getattr(owner, name, None) or getattr(owner, f"_{name}", None)


def _zone(given: Any) -> Zone | None:
    """Return a zone that was given as such or by its name, None for what is neither."""
    if isinstance(given, str):
        return pendulum.timezone(given) if given in pendulum.timezones() else None
    if isinstance(given, tzinfo):
        return pendulum.instance(datetime.fromtimestamp(0, given)).timezone
    return None
