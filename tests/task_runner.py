"""Runs tasks through Airflow 3's own task runner, without a database or a scheduler.

What a worker does happens for real (templates, XCom, deferral, resuming, links); only the server that it talks to
is played here. The one place that touches these half internal parts of Airflow.
"""

from __future__ import annotations

import asyncio
import json
import uuid
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any
from unittest import mock
from urllib.parse import unquote

import httpx
import structlog
from airflow.providers.common.compat.module_loading import import_string
from airflow.sdk import DAG, Asset
from airflow.sdk.api.client import Client
from airflow.sdk.api.datamodels._generated import DagRun, TaskInstance, TaskInstanceState
from airflow.sdk.execution_time import task_runner
from airflow.sdk.execution_time.supervisor import InProcessTestSupervisor, run_task_in_process

from tests.versions import AIRFLOW, BEFORE_3_3, LACKS

if TYPE_CHECKING or AIRFLOW >= (3, 2):
    from airflow.sdk.serde import deserialize, serialize
else:
    from airflow.serialization.serialized_objects import BaseSerialization

    deserialize, serialize = BaseSerialization.deserialize, BaseSerialization.serialize

START = datetime(2024, 5, 1, tzinfo=UTC)
END = datetime(2024, 5, 2, tzinfo=UTC)


@dataclass
class Try:
    """How one try of a task instance ended.

    ``retry_delay`` is that of a retry policy, ``asset_extras`` what goes with the events of its outlets, and
    ``partition_keys`` those that the task gave them.
    """

    state: str
    error: BaseException | None
    xcoms: dict[str, Any]
    deferral: Any = None
    retry_delay: timedelta | None = None
    asset_extras: list[Mapping[str, Any]] = field(default_factory=list)
    partition_keys: list[str | None] = field(default_factory=list)

    @property
    def returned(self) -> Any:
        """The task's return value."""
        return self.xcoms.get("return_value")


@dataclass
class TaskRunner:
    """One DAG run, and what Airflow remembers of its task instances.

    ``store`` is the state store of Airflow 3.3, by task, map index and key; None is an Airflow without one, as are
    those before.
    ``assets`` are those that can be referred to.
    """

    run_id: str = "scheduled__2024-05-02"
    dag_run: Mapping[str, Any] = field(default_factory=dict)
    xcoms: dict[str, Any] = field(default_factory=dict)
    store: dict[str, Any] | None = field(default_factory=lambda: None if BEFORE_3_3 else {})
    first_reschedule: datetime | None = None
    assets: list[Asset] = field(default_factory=list)

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
        instance = TaskInstance(
            id=uuid.uuid4(),
            task_id=task.task_id,
            dag_id=task.dag_id,
            run_id=self.run_id,
            try_number=try_number,
            map_index=map_index,
            dag_version_id=uuid.uuid4(),
        )
        prefix = f"{task.task_id}/{map_index}/"
        if next_method is None:  # Airflow clears a task's XComs before each try, not before it resumes one
            self.xcoms = {key: value for key, value in self.xcoms.items() if not key.startswith(prefix)}
        context: dict[str, Any] = {
            "dag_run": self._dag_run(task.dag_id),
            "max_tries": max_tries,
            "should_retry": try_number <= max_tries,
            "task_reschedule_count": 1 if self.first_reschedule else 0,
            "next_method": next_method,
            "next_kwargs": serialize(dict(next_kwargs)) if next_kwargs is not None else None,
        }
        state, error, message = self._execute(
            task, instance, lambda request: self._answer(request, context, prefix)
        )
        mine = {k.removeprefix(prefix): v for k, v in self.xcoms.items() if k.startswith(prefix)}
        if state == "up_for_reschedule":
            self.first_reschedule = self.first_reschedule or datetime.now(UTC)
        deferral = message if state == "deferred" else None
        delay = getattr(message, "retry_delay_seconds", None)
        events = getattr(message, "outlet_events", None) or ()
        return Try(
            *(state, error, mine, deferral, None if delay is None else timedelta(seconds=delay)),
            asset_extras=[event["extra"] for event in events],
            partition_keys=[event.get("partition_key") for event in events],
        )

    def _execute(
        self, task: Any, instance: TaskInstance, answer: Callable[[httpx.Request], httpx.Response]
    ) -> tuple[str, BaseException | None, Any]:
        client = Client(base_url="http://airflow.invalid", token="", transport=httpx.MockTransport(answer))
        return execute(task, instance, client, remembers=self.store is not None)

    def trigger(self, tried: Try) -> Any:
        """Make the trigger of a deferred task from what Airflow stored of it."""
        stored = tried.deferral.model_dump(mode="json")
        return import_string(stored["classpath"])(**stored_arguments(stored["trigger_kwargs"]))

    def resume(self, task: Any, tried: Try, **how: Any) -> Try:
        """Run the trigger of a deferred task, and then the task with its event."""

        async def first_event() -> Any:
            async for event in self.trigger(tried).run():
                return event.payload
            return None

        event = json.loads(json.dumps(asyncio.run(first_event())))
        return self.run(task, next_method=tried.deferral.next_method, next_kwargs={"event": event}, **how)

    def _dag_run(self, dag_id: str) -> dict[str, Any]:
        fields: dict[str, Any] = {
            "dag_id": dag_id,
            "run_id": self.run_id,
            "logical_date": START,
            "data_interval_start": START,
            "data_interval_end": END,
            "run_after": END,
            "start_date": END,
            "end_date": None,
            "run_type": "scheduled",
            "state": "running",
            "consumed_asset_events": [],
            **({} if BEFORE_3_3 else {"partition_key": None}),
            **self.dag_run,
        }
        if unknown := fields.keys() - DagRun.model_fields.keys():
            raise ValueError(f"{LACKS} {', '.join(unknown)} of DAG runs; see tests.versions.needs_airflow")
        return {k: v.isoformat() if isinstance(v, datetime) else v for k, v in fields.items()}

    def _answer(self, request: httpx.Request, context: Mapping[str, Any], prefix: str) -> httpx.Response:
        path = unquote(request.url.path).strip("/")
        if path.endswith("/run"):
            return httpx.Response(200, json=context)
        if path.startswith("task-reschedules/") and self.first_reschedule:
            return httpx.Response(200, json=self.first_reschedule.isoformat())
        if path.startswith("assets/by-"):
            for asset in self.assets:
                if request.url.params.get("name") == asset.name or request.url.params.get("uri") == asset.uri:
                    return httpx.Response(200, json={"name": asset.name, "uri": asset.uri, "group": asset.group})
        if path.startswith("xcoms/"):
            _, _, _, task_id, name = path.removesuffix("/slice").split("/", 4)
            key = f"{task_id}/{request.url.params.get('map_index', -1)}/{name}"
            if request.method == "POST":
                self.xcoms[key] = json.loads(request.content)
                return httpx.Response(201, json={})
            if path.endswith("/slice"):  # of a task that is not mapped, it has one
                return httpx.Response(200, json=[self.xcoms[key]] if key in self.xcoms else [])
            if key in self.xcoms:
                return httpx.Response(200, json={"key": name, "value": self.xcoms[key]})
        if path.startswith("store/ti/") and self.store is not None:
            key = prefix + path.rsplit("/", 1)[1]
            if request.method == "PUT":
                self.store[key] = json.loads(request.content)["value"]
                return httpx.Response(204)
            if key in self.store:
                return httpx.Response(200, json={"value": self.store[key]})
        if path.startswith(("assets/", "xcoms/", "connections/", "variables/", "store/")):
            return httpx.Response(404, json={"detail": {"reason": "not_found", "message": path}})
        return httpx.Response(200, json={"ok": True})


def stored_arguments(stored: Any) -> dict[str, Any]:
    """Return the arguments of a trigger that Airflow stored."""
    kwargs: Any = deserialize(stored)
    return dict(kwargs)


def execute(
    task: Any, instance: TaskInstance, client: Client, *, remembers: bool
) -> tuple[str, BaseException | None, Any]:
    """Run a task in this process: return its state, its error and its last message to Airflow."""
    with ExitStack() as stack:
        stack.enter_context(mock.patch.object(InProcessTestSupervisor, "_api_client", return_value=client))
        if not remembers and not BEFORE_3_3:
            stack.enter_context(mock.patch.object(task_runner, "TaskStateStoreAccessor", return_value=None))
        if AIRFLOW == (3, 0):  # where only the way to another process makes an instant of the answer
            made = "airflow.sdk.api.client.TaskRescheduleStartDate"
            stack.enter_context(mock.patch(f"{made}.model_construct", import_string(made)))
            # A traceback with all variables, as no worker logs it, takes seconds of CPU.
            plain = mock.Mock(side_effect=structlog.dev.plain_traceback)
            stack.enter_context(mock.patch.object(structlog.dev.RichTracebackFormatter, "__call__", plain))
        result = run_task_in_process(ti=instance, task=task)
    return TaskInstanceState(result.state).value, result.error, result.msg


def in_dag(task_class: type, *, schedule: Any = None, dag_id: str = "stripe", **kwargs: Any) -> Any:
    """Return a task of this class in a DAG of its own."""
    with DAG(dag_id, schedule=schedule, start_date=datetime(2024, 1, 1, tzinfo=UTC)):
        return task_class(**{"task_id": "report", "retries": 3, **kwargs})
