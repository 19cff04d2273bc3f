"""The DAG that a command is about, as its file has it."""

from __future__ import annotations

import logging
import re
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from airflow import settings as _settings

from airflow_reportrun.airflow_context import is_airflow_2
from airflow_reportrun.cli.exits import UsageError

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence


def dag_of(dag_id: str, dag_file: str | None, *, verbose: bool = False) -> Any:
    """Return a DAG.

    :param dag_file: file or folder to look in; None for where Airflow looks.
    :param verbose: let Airflow log what is wrong with DAG files, which the error says in a sentence.
    :raises AirflowException: when there is none of this id, or its file can't be imported.
    """
    from airflow.providers.common.compat.sdk import AirflowException

    if dag_file and not Path(dag_file).exists():
        raise AirflowException(f"There is no file {dag_file}.")
    wrong: dict[str, str] = {}
    for folder in [dag_file] if dag_file else _folders():
        bag = _dag_bag()(folder) if verbose else _without_logs(folder)
        if dag_id in bag.dags:
            return bag.dags[dag_id]
        wrong |= bag.import_errors
    said = "; ".join(f"{file} can't be imported: {_in_a_sentence(text)}" for file, text in wrong.items())
    if dag_file and wrong and not Path(dag_file).is_dir():
        raise AirflowException(said)  # so that nobody knows which DAGs it has
    where = f"in {dag_file}" if dag_file else "where Airflow looks for DAGs"
    raise AirflowException(f"There is no DAG {dag_id!r} {where}. {said}".rstrip())


def _in_a_sentence(text: str) -> str:
    """Return what a traceback ends in, without the path of a class, and for an error of ours without the class.

    :param text: a traceback, or its end alone.
    """
    *_, end = re.split(r"^Traceback \(most recent call last\):\n(?= )", text.strip(), flags=re.MULTILINE)
    said = " ".join(re.sub(r"\A(?: .*\n)+", "", end).split())  # without its frames
    return re.sub(
        r"^([\w.]+\.)?(\w+)(: |$)",
        lambda it: "" if (it[1] or "").startswith("airflow_reportrun.") and it[3] else it[2] + it[3],
        said,
    )


def _without_logs(folder: str) -> Any:
    """Look for DAGs, and log nothing of those that can't be parsed."""

    class Quiet(_dag_bag()):  # type: ignore[misc]
        log = logging.getLogger(__name__)  # Airflow 3's own is not one that can be disabled

    before = logging.root.manager.disable
    logging.disable()
    try:
        return Quiet(folder)
    finally:
        logging.disable(before)


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
