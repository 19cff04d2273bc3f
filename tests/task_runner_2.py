"""Runs tasks through Airflow 2's own worker code, against a database of its own.

It has the names of ``tests.task_runner`` and is found in its place on Airflow 2; ``conftest`` sees to it. There, a
worker talks to the database itself. Nothing is played here but the scheduler, which makes the rows of the DAG
run and its task instances, and the triggerer.
"""

from __future__ import annotations

import asyncio
import importlib
import os
import signal
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from functools import cache
from typing import Any
from unittest import mock

from airflow import models, settings
from airflow.models.base import Base
from airflow.providers.common.compat.module_loading import import_string
from airflow.providers.common.compat.sdk import DAG, AirflowTaskTimeout, TaskInstanceState
from airflow.triggers.base import TriggerEvent
from airflow.utils.session import create_session

START = datetime(2024, 5, 1, tzinfo=UTC)
END = datetime(2024, 5, 2, tzinfo=UTC)

_DAG_RUN_FIELDS = {
    "logical_date",
    "data_interval_start",
    "data_interval_end",
    "run_after",  # of which nothing is stored
    "start_date",
    "run_type",
    "state",
    "conf",
    "clear_number",
}

# Types are checked on Airflow 3, where these are not the same.
DagRun: Any = models.DagRun
DatasetEvent: Any = importlib.import_module("airflow.models.dataset").DatasetEvent
DatasetModel: Any = importlib.import_module("airflow.models.dataset").DatasetModel
SerializedDAG: Any = importlib.import_module("airflow.serialization.serialized_objects").SerializedDAG
TaskInstance: Any = models.TaskInstance
Trigger: Any = models.Trigger
XCom: Any = models.XCom


@dataclass
class Deferral:
    """What Airflow stored of a deferred task."""

    trigger_id: int
    classpath: str
    trigger_kwargs: dict[str, Any]
    trigger_timeout: timedelta | None
    next_method: str


@dataclass
class Try:
    """How one try of a task instance ended; ``asset_extras`` is what goes with the events of its outlets."""

    state: str
    error: BaseException | None
    xcoms: dict[str, Any]
    deferral: Any = None
    asset_extras: list[Mapping[str, Any]] = field(default_factory=list)

    @property
    def returned(self) -> Any:
        """The task's return value."""
        return self.xcoms.get("return_value")


@dataclass
class TaskRunner:
    """One DAG run; what Airflow remembers of its task instances is in the database.

    ``store`` is None: Airflow 2 has no state store.
    """

    run_id: str = "scheduled__2024-05-02"
    dag_run: Mapping[str, Any] = field(default_factory=dict)
    store: None = None
    _begun: set[str] = field(default_factory=set)

    def run(
        self,
        task: Any,
        *,
        try_number: int = 1,
        max_tries: int = 3,
        map_index: int = -1,
        next_method: str | None = None,
        next_kwargs: Mapping[str, Any] | None = None,
    ) -> Try:
        """Run one try of a task, as a worker would."""
        self._begin(task.dag_id)
        error = None
        with create_session() as session:
            for outlet in task.outlets:  # which Airflow 2 knows from parsing the DAG
                if not session.query(DatasetModel).filter_by(uri=outlet.uri).count():
                    session.add(DatasetModel(uri=outlet.uri))
            key = {"dag_id": task.dag_id, "task_id": task.task_id, "run_id": self.run_id, "map_index": map_index}
            instance: Any = session.get(TaskInstance, key)
            if instance is None:
                instance = TaskInstance(task, run_id=self.run_id, map_index=map_index)
                session.add(instance)
            instance.state = TaskInstanceState.QUEUED
            instance.try_number, instance.max_tries = try_number, max_tries
            instance.next_method, instance.next_kwargs = next_method, next_kwargs
            instance.trigger_id = None
            session.commit()
            instance.task = task
            with _process():
                try:
                    instance.run(ignore_all_deps=True, verbose=False, session=session)
                except (Exception, AirflowTaskTimeout) as raised:
                    error = raised
        with create_session() as session:
            instance = session.get(TaskInstance, key)
            state = TaskInstanceState(instance.state).value
            deferral = self._deferral(instance) if state == "deferred" else None
            xcoms = self._xcoms(instance, session)
            mine = {f"source_{name}": key[name] for name in ("dag_id", "task_id", "run_id")}
            extras = [event.extra for event in session.query(DatasetEvent).filter_by(**mine)]
        return Try(state, error, {**xcoms, **self._links(instance, task)}, deferral, extras)

    def trigger(self, tried: Try) -> Any:
        """Make the trigger of a deferred task from what Airflow stored of it."""
        return import_string(tried.deferral.classpath)(**tried.deferral.trigger_kwargs)

    def resume(self, task: Any, tried: Try, **how: Any) -> Try:
        """Run the trigger of a deferred task, and then the task with its event."""

        async def first_event() -> Any:
            async for event in self.trigger(tried).run():
                return event
            return TriggerEvent(None)

        event = asyncio.run(first_event())
        with create_session() as session:
            waiting = session.query(TaskInstance).filter_by(trigger_id=tried.deferral.trigger_id).one()
            Trigger.submit_event(tried.deferral.trigger_id, event, session=session)
            session.flush()
            following = {"next_method": waiting.next_method, "next_kwargs": dict(waiting.next_kwargs)}
        return self.run(task, **following, **how)

    def _begin(self, dag_id: str) -> None:
        """Create the DAG run, the only one of its DAG: Airflow 2 has one of a logical date."""
        _create_database()
        given: dict[str, Any] = {
            "logical_date": START,
            "data_interval_start": START,
            "data_interval_end": END,
            "start_date": END,
            "run_type": "scheduled",
            "state": "running",
            "conf": {},
            "clear_number": 0,
            **self.dag_run,
        }
        if None in given.values() or not given.keys() <= _DAG_RUN_FIELDS or self.store is not None:
            raise ValueError(f"Airflow 2 has no {self}; see tests.versions.needs_airflow_3")
        with create_session() as session:
            if dag_id not in self._begun:
                self._begun.add(dag_id)
                session.query(DagRun).filter_by(dag_id=dag_id).delete()  # and by cascade what belongs to it
                session.query(DatasetEvent).filter_by(source_dag_id=dag_id).delete()
                session.add(
                    DagRun(
                        dag_id=dag_id,
                        run_id=self.run_id,
                        execution_date=given["logical_date"],
                        data_interval=(given["data_interval_start"], given["data_interval_end"]),
                        conf=given["conf"],
                        run_type=given["run_type"],
                        state=given["state"],
                        external_trigger=given["run_type"] == "manual",
                    )
                )
                session.flush()
            # A clear moves these.
            begun = session.query(DagRun).filter_by(dag_id=dag_id).one()
            begun.start_date, begun.clear_number = given["start_date"], given["clear_number"]

    def _xcoms(self, instance: Any, session: Any) -> dict[str, Any]:
        mine = {name: getattr(instance, name) for name in ("dag_id", "run_id", "task_id", "map_index")}
        stored = session.query(XCom.key, XCom.value).filter_by(**mine)
        return {row.key: XCom.deserialize_value(row) for row in stored}

    def _links(self, instance: Any, task: Any) -> dict[str, str | None]:
        """Return what the webserver shows, which knows a task by its serialised DAG.

        The names are those under which Airflow 3 stores links as XComs.
        """
        shown = SerializedDAG.from_dict(SerializedDAG.to_dict(task.dag)).get_task(task.task_id)
        names = {f"_link_{type(link).__name__}": link.name for link in shown.operator_extra_links}
        return {key: shown.get_extra_links(instance, name) for key, name in names.items()}

    def _deferral(self, instance: Any) -> Deferral:
        timeout = instance.trigger_timeout  # stored without a zone
        return Deferral(
            trigger_id=instance.trigger_id,
            classpath=instance.trigger.classpath,
            trigger_kwargs=instance.trigger.kwargs,
            trigger_timeout=timeout and timeout.replace(tzinfo=UTC) - datetime.now(UTC),
            next_method=instance.next_method,
        )


@cache
def _create_database() -> None:
    """Create the tables as the models have them; the migrations that lead there take much longer."""
    models.import_all_models()
    importlib.import_module("airflow.providers.fab.auth_manager.models")  # its users write the notes on tasks
    Base.metadata.create_all(settings.engine)


@contextmanager
def _process() -> Iterator[None]:
    """Undo what a worker changes in its process."""
    terminate = signal.getsignal(signal.SIGTERM)
    try:
        with mock.patch.dict(os.environ):
            yield
    finally:
        signal.signal(signal.SIGTERM, terminate)


def in_dag(task_class: type, *, schedule: Any = None, dag_id: str = "stripe", **kwargs: Any) -> Any:
    """Return a task of this class in a DAG of its own."""
    with DAG(dag_id, schedule=schedule, start_date=datetime(2024, 1, 1, tzinfo=UTC)):
        return task_class(**{"task_id": "report", "retries": 3, **kwargs})
