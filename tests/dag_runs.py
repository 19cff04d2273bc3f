"""DAG runs and what a task sees of them, as Airflow's own code makes them.

Timetables step for the scheduler, a stored DAG is asked for backfills, the REST API's models and the function
behind the command line for what somebody triggers, and the task runner makes the context. No database is asked.
"""

from __future__ import annotations

import datetime as dt
import importlib
import logging
import uuid
from collections.abc import Callable, Iterator, Mapping
from types import SimpleNamespace
from typing import Any
from unittest import mock

import pendulum
import pytest
from airflow.providers.common.compat.sdk import DAG, BaseOperator
from airflow.timetables.base import TimeRestriction

from airflow_reportrun.question.intervals import Interval
from tests.versions import AIRFLOW, AIRFLOW_2, BEFORE_3_3, DagRunType, coerce_to_core_timetable, present

DAG_ID = "close"


def utc(text: str) -> pendulum.DateTime:
    return pendulum.instance(dt.datetime.fromisoformat(text)).in_timezone("UTC")


def dag_of(schedule: Any, zone: str = "UTC", start: pendulum.DateTime | None = None) -> DAG:
    """Return a DAG with one task, as its file has it."""
    dag = DAG(
        DAG_ID,
        schedule=present(schedule),
        start_date=start or pendulum.datetime(2010, 1, 1, tz=zone),
        max_active_runs=1,  # "@continuous" asks for it
    )
    BaseOperator(task_id="report", dag=dag)
    return dag


def make_context(
    schedule: Any,
    *,
    zone: str = "UTC",
    start: pendulum.DateTime | None = None,
    run_type: DagRunType = DagRunType.MANUAL,
    run_after: str | pendulum.DateTime = "2024-05-02T09:30Z",
    logical_date: str | pendulum.DateTime | None = None,
    data_interval: tuple[Any, Any] | None = None,
    partition_key: str | None = None,
    partition_date: pendulum.DateTime | None = None,
) -> dict[str, Any]:
    """Return the context of a task of a run with these fields.

    Without a logical date the keys that depend on one are absent.
    """

    def instant(value: Any) -> Any:
        return utc(value) if isinstance(value, str) else value

    begin, end = data_interval or (logical_date, logical_date)
    fields: dict[str, Any] = {
        "run_after": instant(run_after),
        "logical_date": instant(logical_date),
        "data_interval_start": instant(begin) if logical_date is not None else None,
        "data_interval_end": instant(end) if logical_date is not None else None,
        "partition_key": partition_key,
        "partition_date": partition_date,
    }
    return _as_the_task_runner(dag_of(schedule, zone, start), present(run_type), fields)


def _as_the_task_runner(dag: DAG, run_type: Any, fields: dict[str, Any]) -> dict[str, Any]:
    if AIRFLOW_2:
        run = SimpleNamespace(run_type=run_type, run_after=fields.pop("run_after"))
        return {"dag": dag, "dag_run": run, **{key: it for key, it in fields.items() if it is not None}}
    from airflow.sdk.api.datamodels._generated import DagRun, TIRunContext
    from airflow.sdk.execution_time.task_runner import RuntimeTaskInstance

    told = {key: it for key, it in fields.items() if key in DagRun.model_fields}
    dag_run = DagRun.model_validate(
        {
            "dag_id": dag.dag_id,
            "run_id": "r",
            "run_type": str(run_type),
            "state": "running",
            "start_date": fields["run_after"],
            "end_date": None,
            "consumed_asset_events": [],
            **told,
        }
    )
    instance = RuntimeTaskInstance.model_construct(
        id=uuid.uuid4(),
        task_id="report",
        dag_id=dag.dag_id,
        run_id="r",
        try_number=1,
        map_index=-1,
        task=dag.task_dict["report"],
        _ti_context_from_server=TIRunContext(dag_run=dag_run, max_tries=0, should_retry=False),
    )
    return dict(instance.get_template_context())


# --- By the clock ------------------------------------------------------------------------------------------


def scheduled(
    schedule: Any,
    *,
    zone: str = "UTC",
    earliest: pendulum.DateTime,
    until: pendulum.DateTime | None = None,
    start: pendulum.DateTime | None = None,
) -> Iterator[dict[str, Any]]:
    """Yield the contexts of the runs that the scheduler creates one after the other."""
    timetable: Any = coerce_to_core_timetable(dag_of(schedule, zone, start).timetable)
    restriction = TimeRestriction(earliest=earliest, latest=until, catchup=True)

    def after(info: Any) -> Any:
        if AIRFLOW < (3, 2):
            interval = info and info.data_interval
            return timetable.next_dagrun_info(last_automated_data_interval=interval, restriction=restriction)
        return timetable.next_dagrun_info_v2(last_dagrun_info=info, restriction=restriction)

    info = None
    while info := after(info):
        yield _of_info(info, schedule, zone=zone, start=start, run_type=DagRunType.SCHEDULED)


def _of_info(info: Any, schedule: Any, **how: Any) -> dict[str, Any]:
    return make_context(
        schedule,
        run_after=info.run_after,
        logical_date=info.logical_date,
        data_interval=info.data_interval,
        partition_key=getattr(info, "partition_key", None),
        partition_date=getattr(info, "partition_date", None),
        **how,
    )


# --- Asked for ---------------------------------------------------------------------------------------------


def stored(schedule: Any, *, zone: str = "UTC") -> Any:
    """Return a DAG as the server reads it from its database."""
    name = "DagSerialization" if AIRFLOW >= (3, 2) else "SerializedDAG"
    serialization: Any = getattr(importlib.import_module("airflow.serialization.serialized_objects"), name)
    return serialization.from_dict(serialization.to_dict(dag_of(schedule, zone)))


def backfilled(
    schedule: Any, *, zone: str = "UTC", earliest: Any, latest: Any, ends: int | None = None
) -> list[dict[str, Any]]:
    """Return the contexts of the runs that ``airflow backfill create`` makes between two dates.

    They are those of its dry run, whose function this is. Dates are texts as on the command line, or instants.

    :param ends: at most so many from the beginning, and as many from the end.
    """
    infos = backfill_infos(schedule, zone=zone, earliest=earliest, latest=latest)
    if ends is not None and len(infos) > 2 * ends:
        infos = infos[:ends] + infos[-ends:]
    return [_of_info(info, schedule, zone=zone, run_type=DagRunType.BACKFILL_JOB) for info in infos]


def backfill_infos(schedule: Any, *, zone: str = "UTC", earliest: Any, latest: Any) -> list[Any]:
    """Return what Airflow knows of these runs before they are made."""
    from airflow.cli import cli_config
    from airflow.models.backfill import _get_info_list

    parse = cli_config.ARG_BACKFILL_FROM_DATE.kwargs["type"]
    begin, end = (parse(date) if isinstance(date, str) else date for date in (earliest, latest))
    return _get_info_list(dag=stored(schedule, zone=zone), from_date=begin, to_date=end, reverse=False)


def _fields(run: Mapping[str, Any]) -> dict[str, Any]:
    names = "run_after", "logical_date", "data_interval", "partition_key", "partition_date"
    return {name: run.get(name) for name in names}


def triggered(schedule: Any, *, zone: str = "UTC", **body: Any) -> dict[str, Any]:
    """Return the context of a run that somebody triggered in the UI or through the REST API."""
    from airflow.api_fastapi.core_api.datamodels.dag_run import TriggerDAGRunPostBody

    run: dict[str, Any] = TriggerDAGRunPostBody(**{"logical_date": None, **body}).validate_context(
        stored(schedule, zone=zone)
    )
    return make_context(schedule, zone=zone, run_type=DagRunType.MANUAL, **_fields(run))


def materialized(schedule: Any, *, zone: str = "UTC", **body: Any) -> dict[str, Any]:
    """Return the context of a run for an asset that somebody had materialized, in the UI or the REST API."""
    from airflow.api_fastapi.core_api.datamodels.assets import MaterializeAssetBody

    run = MaterializeAssetBody(**body).validate_context(stored(schedule, zone=zone))
    run_type = DagRunType.ASSET_MATERIALIZATION
    return make_context(schedule, zone=zone, run_type=run_type, **_fields(run))


def on_the_command_line(
    schedule: Any,
    *,
    zone: str = "UTC",
    now: pendulum.DateTime,
    **options: Any,
) -> dict[str, Any]:
    """Return the context of a run of ``airflow dags trigger``, ``airflow assets materialize``, or the operator."""
    from airflow.api.common.trigger_dag import _trigger_dag
    from airflow.models import DagRun
    from airflow.utils.types import DagRunTriggeredByType

    dag = stored(schedule, zone=zone)
    with (
        mock.patch.object(DagRun, "find_duplicate", return_value=None),
        mock.patch.object(type(dag), "create_dagrun") as create,
    ):
        _trigger_dag(
            DAG_ID,
            mock.Mock(
                dags={DAG_ID: dag},  # of 3.0
                **{f"{name}.return_value": dag for name in ("get_latest_version_of_dag", "get_dag")},
            ),
            triggered_by=DagRunTriggeredByType.CLI,
            run_after=now,
            session=mock.Mock(),
            **options,
        )
    run = create.call_args.kwargs
    return make_context(schedule, zone=zone, run_type=run["run_type"], **_fields(run))


def by_the_operator(schedule: Any, **options: Any) -> dict[str, Any]:
    """Return the context of a run of ``TriggerDagRunOperator``."""
    if not BEFORE_3_3:  # before, its runs are manual ones
        options["run_type"] = DagRunType.OPERATOR_TRIGGERED
    return on_the_command_line(schedule, **options)


BY_HAND: dict[str, Callable[..., dict[str, Any]]] = {
    "manual": triggered,
    "asset_materialization": materialized,
    "operator_triggered": lambda *args, **body: by_the_operator(
        *args, now=body.pop("run_after", pendulum.datetime(2026, 11, 20, 12)), **body
    ),
}
"""The ways to ask for a partition by its key, by the type of run that they make."""


def by_assets(schedule: Any, *, zone: str = "UTC", key: str, carried: Any = None) -> dict[str, Any]:
    """Return the context of a run that the scheduler makes when a partition of an asset has come.

    :param carried: the date of the producer's partition.
    """
    from airflow.jobs.scheduler_job_runner import SchedulerJobRunner

    timetable = stored(schedule, zone=zone).timetable
    assets = list(timetable.asset_condition.iter_assets())
    dates = {timetable.get_partition_mapper(name=it.name).carry_partition_date(carried) for it, _ in assets}
    date = SchedulerJobRunner._resolve_partition_date(
        mock.Mock(),
        timetable=timetable,
        asset_infos=[(asset.name, asset.uri) for asset, _ in assets],
        partition_key=key,
        dag_id=DAG_ID,
        carried_partition_date=dates.pop(),
    )
    return make_context(
        schedule,
        zone=zone,
        run_type=DagRunType.ASSET_TRIGGERED,
        run_after=pendulum.datetime(2026, 12, 24, 12),
        partition_key=key,
        partition_date=None if date is None else pendulum.instance(date),
    )


# --- What comes of them ------------------------------------------------------------------------------------


def span(found: Interval) -> tuple[str, str]:
    return found.start.isoformat(), found.end.isoformat()


def epochs(found: Interval) -> tuple[int, int]:
    """Return the ends as instants: times of one zone compare by their clocks, which repeat an hour in autumn."""
    return found.start.int_timestamp, found.end.int_timestamp


def hours(found: Interval) -> float:
    start, end = epochs(found)
    return (end - start) / 3600


def warnings_in(caplog: pytest.LogCaptureFixture) -> list[str]:
    """Return what was warned about."""
    return [record.getMessage() for record in caplog.records if record.levelno >= logging.WARNING]
