"""Begins tasks as Airflow 3.3's scheduler and triggerer do, without a database.

What these two do happens for real: the DAG is stored and read, the trigger's arguments are encrypted, the context
is that of the triggerer. Its supervisor is played here: what it can't read, it never answers.
"""

from __future__ import annotations

import asyncio
import json
import uuid
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any
from unittest import mock

import greenback
from airflow.executors.workloads.task import TaskInstanceDTO
from airflow.jobs.triggerer_job_runner import TriggerRunner
from airflow.models.trigger import Trigger
from airflow.sdk._shared.module_loading import import_string
from airflow.sdk.execution_time import task_runner
from airflow.sdk.execution_time.comms import GetXCom, SetXCom, XComResult
from airflow.serialization.decoders import smart_decode_trigger_kwargs
from airflow.serialization.serialized_objects import DagSerialization
from airflow.triggers.base import TaskSuccessEvent

from tests.task_runner import TaskRunner, Try


class Supervisor:
    """Answers a trigger from what a DAG run has."""

    def __init__(self, runner: TaskRunner) -> None:
        self._xcoms = runner.xcoms

    def send(self, message: Any) -> Any:
        """Answer, or never."""
        if isinstance(message, GetXCom):
            key = f"{message.task_id}/{message.map_index if message.map_index is not None else -1}/{message.key}"
            return XComResult(key=message.key, value=self._xcoms.get(key))
        if isinstance(message, SetXCom):
            self._xcoms[f"{message.task_id}/{message.map_index}/{message.key}"] = message.value
            return None
        return greenback.await_(asyncio.get_running_loop().create_future())


def trigger_of(task: Any, runner: TaskRunner, began: datetime | None = None) -> Any:
    """Return the trigger of a task that begins in the triggerer, with its context, ready to run.

    :param began: when the scheduler made it, which may be before this triggerer's time.
    """
    encoded = DagSerialization.to_dict(task.dag)
    stored: Any = DagSerialization.from_dict(json.loads(json.dumps(encoded))).get_task(task.task_id)
    assert stored.start_from_trigger
    args = stored.start_trigger_args
    row = Trigger(classpath=args.trigger_cls, kwargs=args.trigger_kwargs)
    kwargs = {
        name: smart_decode_trigger_kwargs(it) for name, it in Trigger._decrypt_kwargs(row.encrypted_kwargs).items()
    }
    trigger = import_string(args.trigger_cls)(**kwargs)
    ids = {"task_id": task.task_id, "dag_id": task.dag_id, "run_id": runner.run_id, "map_index": -1}
    instance = TaskInstanceDTO(
        id=uuid.uuid4(),
        dag_version_id=uuid.uuid4(),
        try_number=1,
        pool_slots=1,
        priority_weight=1,
        queue="default",
        **ids,
    )
    dag_run = {"conf": None, "partition_date": None, **runner._dag_run(task.dag_id)}
    runtime = TriggerRunner.create_runtime_ti(instance, encoded, dag_run)
    context = runtime.get_template_context()
    trigger.task_instance = runtime
    allowed = min(it for it in (args.timeout, stored.execution_timeout) if it)
    trigger.timeout_after = (began or datetime.now(UTC)) + allowed
    trigger.render_template_fields(context=context)
    return trigger


def fire(trigger: Any, runner: TaskRunner) -> Any:
    """Return the event of a trigger."""

    async def first_event() -> Any:
        await greenback.ensure_portal()
        async for event in trigger.run():
            return event
        return None

    with mock.patch.object(task_runner, "SUPERVISOR_COMMS", Supervisor(runner), create=True):
        return asyncio.run(first_event())


def run(task: Any, runner: TaskRunner, began: datetime | None = None) -> Try:
    """Run one try of a task that begins in the triggerer, to its end there or in a worker."""
    try:
        event = fire(trigger_of(task, runner, began), runner)
    except Exception as error:
        failed: Mapping[str, Any] = {"error": "Trigger failure", "traceback": [repr(error)]}
        return runner.run(task, next_method="__fail__", next_kwargs=failed)
    if isinstance(event, TaskSuccessEvent):
        assert not event.xcoms
        prefix = f"{task.task_id}/-1/"
        xcoms = {key.removeprefix(prefix): it for key, it in runner.xcoms.items() if key.startswith(prefix)}
        return Try("success", None, xcoms)
    payload = json.loads(json.dumps(event.payload))
    return runner.run(task, next_method="execute_complete", next_kwargs={"event": payload})
