"""The DAG that a command is about, as its file has it."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any

from airflow import settings as _settings

from airflow_reportrun.airflow_context import is_airflow_2
from airflow_reportrun.cli.exits import UsageError

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence


def dag_of(dag_id: str, dag_file: str | None) -> Any:
    """Return a DAG.

    :param dag_file: file or folder to look in; None for where Airflow looks.
    :raises AirflowException: when there is none of this id.
    """
    from airflow.providers.common.compat.sdk import AirflowException

    wrong: list[str] = []
    for folder in [dag_file] if dag_file else _folders():
        bag = _dag_bag()(folder)
        if dag_id in bag.dags:
            return bag.dags[dag_id]
        wrong += (text.strip().splitlines()[-1] for text in bag.import_errors.values())
    where = f"in {dag_file}" if dag_file else "where Airflow looks for DAGs"
    raise AirflowException(f"There is no DAG {dag_id!r} {where}. {'; '.join(wrong)}".rstrip())


def _folders() -> Iterator[str]:
    """Yield the folders of DAGs; Airflow's own look for one tells its database of all (3.3.2)."""
    if is_airflow_2():
        yield _settings.DAGS_FOLDER
        return
    from airflow.dag_processing.bundles.manager import DagBundlesManager

    for bundle in DagBundlesManager().get_all_dag_bundles():
        bundle.initialize()
        sys.path.append(str(bundle.path))  # for what the DAG files import
        yield str(bundle.path)


def _dag_bag() -> Any:
    try:
        from airflow.dag_processing import dagbag
    except ImportError:  # before 3.2
        from airflow.models import dagbag  # type: ignore[no-redef]
    return dagbag.DagBag


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
