"""A task instance that is not there yet: its context, and its options rendered without running anything."""

from __future__ import annotations

import copy
import uuid
from dataclasses import dataclass, field
from datetime import UTC, datetime
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any, NamedTuple

from jinja2 import UndefinedError

from airflow_reportrun.airflow_context import is_airflow_2

if TYPE_CHECKING:
    from airflow_reportrun.question.backfill_runs import BackfillRun


class AtRunTimeError(Exception):
    """Something is known only when the task runs."""


@dataclass
class Existing:
    """What Airflow's database has of the DAG runs that a backfill would make.

    :param run_ids: by logical dates, or by the keys of partitions.
    :param max_tries: by run and task.
    """

    run_ids: dict[Any, str] = field(default_factory=dict)
    max_tries: dict[tuple[str, str], int] = field(default_factory=dict)

    @classmethod
    def of(cls, dag_id: str) -> Existing:
        """Ask Airflow's database, once for the DAG."""
        from airflow.models import DagRun, TaskInstance
        from airflow.utils.session import create_session
        from sqlalchemy import select

        run: Any = DagRun
        date = run.logical_date if hasattr(run, "logical_date") else run.execution_date
        key = getattr(run, "partition_key", None)
        runs = select(run.run_id, date, *([] if key is None else [key])).where(run.dag_id == dag_id)
        instance: Any = TaskInstance
        tries = select(instance.run_id, instance.task_id, instance.max_tries).where(
            instance.dag_id == dag_id, instance.map_index == -1
        )
        found = cls()
        with create_session() as session:
            for run_id, logical_date, *partition in session.execute(runs):
                found.run_ids[logical_date or partition[0]] = run_id
            for run_id, task_id, max_tries in session.execute(tries):
                found.max_tries[run_id, task_id] = max_tries
        return found


class Rendered(NamedTuple):
    """A task as it would run.

    :param task: a copy of it with its options rendered; those that could not be are as they were written.
    :param context: the one that they were rendered with.
    :param unknown: why some are only known when it runs, by their names.
    :param failing: why others would fail then, likewise.
    """

    task: Any
    context: dict[str, Any]
    unknown: dict[str, str]
    failing: dict[str, str]


@dataclass(frozen=True)
class PlannedTask:
    """A task of a run of a backfill.

    :param task: as its DAG file has it; it is not changed.
    :param run: of the backfill.
    :param existing: what is there of it already.
    """

    task: Any
    run: BackfillRun
    existing: Existing

    @property
    def run_id(self) -> str:
        """The id of the DAG run: that of one that is there, or the one that it will be given."""
        info = self.run.info
        at = info.logical_date if is_airflow_2() else info.run_after
        return self._there or f"backfill__{at.isoformat()}"

    @property
    def is_new_partition(self) -> bool:
        """Whether Airflow will make an id for the run that nobody knows before."""
        return self.run.is_of_a_partition and self._there is None

    @property
    def _there(self) -> str | None:
        info = self.run.info
        return self.existing.run_ids.get(info.logical_date or getattr(info, "partition_key", None))

    @property
    def max_tries(self) -> int:
        """Airflow's ``ti.max_tries``."""
        found = self.existing.max_tries.get((self.run_id, self.task.task_id))
        return int(self.task.retries or 0) if found is None else found

    def rendered(self) -> Rendered:
        """Render the options of the task, without running anything."""
        context = _context_2(self) if is_airflow_2() else _context_3(self)
        task, unknown, failing = copy.copy(self.task), dict[str, str](), dict[str, str]()
        env = task.get_template_env(self.run.dag)
        for name in task.template_fields:
            try:
                setattr(task, name, task.render_template(getattr(task, name), context, env))
            except AtRunTimeError as error:
                unknown[name] = str(error)
            except UndefinedError as error:  # a running task's context has more than this one
                unknown[name] = f"{type(error).__name__}: {error}"
            except Exception as error:
                if "SUPERVISOR_COMMS" in str(error):  # by which Airflow 3 asks for what it knows of other runs
                    unknown[name] = "what Airflow tells a task that runs"
                else:
                    failing[name] = f"{type(error).__name__}: {error}"
        return Rendered(task, context, unknown, failing)


def _xcom_pull(*args: Any, **kwargs: Any) -> Any:
    raise AtRunTimeError("an XCom, which is known when the task runs")


def _context_3(planned: PlannedTask) -> dict[str, Any]:
    from airflow.sdk.api.datamodels._generated import DagRun, TIRunContext
    from airflow.sdk.execution_time.task_runner import RuntimeTaskInstance

    class Instance(RuntimeTaskInstance):
        """A task instance without XComs."""

        xcom_pull = _xcom_pull

    info, run_id = planned.run.info, planned.run_id
    interval = info.data_interval
    fields = {
        **{"dag_id": planned.run.dag.dag_id, "run_id": run_id, "run_type": run_id.partition("__")[0]},
        **{
            "state": "running",
            "start_date": datetime.now(UTC),
            "consumed_asset_events": [],
            "conf": {},
            "end_date": None,
        },
        **{"run_after": info.run_after, "logical_date": info.logical_date},
        "data_interval_start": interval and interval.start,
        "data_interval_end": interval and interval.end,
        **{name: getattr(info, name, None) for name in ("partition_key", "partition_date")},
    }
    run = DagRun.model_validate({name: it for name, it in fields.items() if name in DagRun.model_fields})
    server = TIRunContext(dag_run=run, max_tries=planned.max_tries, should_retry=False)
    instance = Instance.model_construct(
        **{"id": uuid.uuid4(), "task_id": planned.task.task_id, "dag_id": run.dag_id, "run_id": run_id},
        **{"try_number": 1, "map_index": -1, "task": planned.task, "max_tries": planned.max_tries},
        _ti_context_from_server=server,
    )
    return dict(instance.get_template_context())


def _context_2(planned: PlannedTask) -> dict[str, Any]:
    from airflow import macros
    from airflow.models import param
    from airflow.utils import context as of_airflow

    made, params = of_airflow.__dict__, param.__dict__["process_params"]
    info, dag = planned.run.info, planned.run.dag
    date, interval = info.logical_date, info.data_interval
    instance = SimpleNamespace(
        **{"dag_id": dag.dag_id, "run_id": planned.run_id, "task_id": planned.task.task_id, "map_index": -1},
        **{"try_number": 1, "max_tries": planned.max_tries, "start_date": None},
        **dict.fromkeys(("xcom_pull", "get_relevant_upstream_map_indexes"), _xcom_pull),  # the second for .output
    )
    run = SimpleNamespace(
        **{"dag_id": dag.dag_id, "run_id": planned.run_id, "run_type": "backfill", "conf": {}},
        **{"run_after": info.run_after, "logical_date": date, "start_date": datetime.now(UTC)},
    )
    day = f"{date:%Y-%m-%d}"
    return {
        **planned.run.context(),
        **{"dag_run": run, "ti": instance, "task_instance": instance, "task": planned.task, "macros": macros},
        **{"run_id": planned.run_id, "ds": day, "ds_nodash": day.replace("-", ""), "ts": date.isoformat()},
        **{
            "expanded_ti_count": None,
            "ts_nodash": f"{date:%Y%m%dT%H%M%S}",
            "execution_date": date,
            "data_interval_end": interval.end,
        },
        "ts_nodash_with_tz": date.isoformat().replace("-", "").replace(":", ""),
        "params": params(dag, planned.task, None, suppress_exception=False),
        "var": {
            "json": made["VariableAccessor"](deserialize_json=True),
            "value": made["VariableAccessor"](deserialize_json=False),
        },
        "conn": made["ConnectionAccessor"](),
    }
