"""Put deferred tasks into Airflow's database: ``python -m benchmarks.live.rows < triggers.json``.

A thousand tasks that start, submit and defer take minutes, of which a triggerer sees nothing. The rows are what
these would have left; the ones of an earlier call go. It runs in Airflow's environment.
"""

from __future__ import annotations

import json
import sys

from airflow.models.dag_version import DagVersion
from airflow.models.dagrun import DagRun
from airflow.models.serialized_dag import SerializedDagModel
from airflow.models.taskinstance import TaskInstance
from airflow.models.trigger import Trigger
from airflow.utils.session import create_session
from airflow.utils.state import DagRunState, TaskInstanceState
from airflow.utils.types import DagRunTriggeredByType, DagRunType
from sqlalchemy import delete

DAG_ID, TASK_ID, RUN_ID = "waiting", "waits", "waiting"


def main() -> None:
    """Read a list of class paths and arguments, and make a mapped task wait for each, in this order."""
    triggers: list[tuple[str, dict[str, object]]] = json.load(sys.stdin)
    with create_session() as session:
        for table in (TaskInstance, DagRun, Trigger):
            session.execute(delete(table))
        serialized = SerializedDagModel.get(DAG_ID, session=session)
        version = DagVersion.get_latest_version(DAG_ID, session=session)
        if serialized is None or version is None:
            raise RuntimeError(f"Airflow does not know the DAG {DAG_ID!r}; run `airflow dags reserialize` first")
        now = version.created_at
        serialized.dag.create_dagrun(
            run_id=RUN_ID,
            run_after=now,
            run_type=DagRunType.MANUAL,
            triggered_by=DagRunTriggeredByType.TEST,
            state=DagRunState.RUNNING,
            session=session,
        )
        task = serialized.dag.get_task(TASK_ID)
        for index, (path, arguments) in enumerate(triggers):
            trigger = Trigger(path, arguments)
            session.add(trigger)
            session.flush()
            instance = TaskInstance(task, dag_version_id=version.id, run_id=RUN_ID, map_index=index)
            instance.state = TaskInstanceState.DEFERRED
            instance.try_number = 1
            instance.start_date = now
            instance.trigger_id = trigger.id
            instance.next_method = "execute_complete"
            instance.next_kwargs = {}
            session.add(instance)


if __name__ == "__main__":
    main()
