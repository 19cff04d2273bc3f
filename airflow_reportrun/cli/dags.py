"""The DAG that a command is about, as its file has it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from airflow_reportrun.airflow_context import is_airflow_2
from airflow_reportrun.cli.exits import UsageError

if TYPE_CHECKING:
    from collections.abc import Sequence


def dag_of(dag_id: str, dag_file: str | None) -> Any:
    """Return a DAG.

    :param dag_file: file or folder to look in; None for where Airflow looks.
    :raises AirflowException: when there is none of this id.
    """
    if dag_file is not None:
        return _of_file(dag_id, dag_file)
    from airflow.utils import cli

    find: Any = cli
    return find.get_dag(None, dag_id) if is_airflow_2() else find.get_bagged_dag(None, dag_id)


def _of_file(dag_id: str, dag_file: str) -> Any:
    """Return a DAG of a file, without telling Airflow's database of it."""
    try:
        from airflow.dag_processing import dagbag
    except ImportError:  # Airflow 2
        from airflow.models import dagbag  # type: ignore[no-redef]
    from airflow.providers.common.compat.sdk import AirflowException

    bag = dagbag.DagBag(dag_file)
    if dag_id not in bag.dags:
        wrong = "; ".join(text.strip().splitlines()[-1] for text in bag.import_errors.values())
        raise AirflowException(f"There is no DAG {dag_id!r} in {dag_file}. {wrong}".rstrip())
    return bag.dags[dag_id]


def report_tasks(dag: Any, task_id: str | None = None) -> Sequence[Any]:
    """Return the tasks of a DAG that create report runs, mapped ones included.

    :param task_id: of the only one that is wanted.
    :raises UsageError: when there is none.
    """
    from airflow_reportrun.operators import StripeReportRunOperator

    found = [
        it
        for it in dag.tasks
        if task_id in (None, it.task_id)
        and (isinstance(it, StripeReportRunOperator) or _is_mapped(it, StripeReportRunOperator))
    ]
    if not found:
        which = f"has no StripeReportRunOperator {task_id!r}" if task_id else "has no StripeReportRunOperator"
        raise UsageError(f"The DAG {dag.dag_id} {which}.")
    return found


def _is_mapped(task: Any, kind: type) -> bool:
    made = getattr(task, "operator_class", None)
    return isinstance(made, type) and issubclass(made, kind)
