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
    from collections.abc import Collection, Iterator, Sequence


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

    :param task_id: of the only one that is wanted, or of one that lands what they create.
    :raises UsageError: when there is none.
    """
    from airflow_reportrun.operators import StripeReportRunOperator

    found = [it for it in dag.tasks if _is_a(it, StripeReportRunOperator)]
    which = "has no StripeReportRunOperator"
    if task_id is not None:
        wanted, creating = {task_id}, {it.task_id for it in found}
        which += f" {task_id!r}"
        if any(_is_a(it, *landing_kinds()) for it in dag.tasks if it.task_id == task_id):
            wanted = above(dag, dag.task_dict[task_id], until=creating)
            which = f"has no StripeReportRunOperator before {task_id!r}"
        found = [it for it in found if it.task_id in wanted]
    if not found:
        raise UsageError(f"The DAG {dag.dag_id} {which}.")
    return found


def landing_kinds() -> tuple[type, ...]:
    """Return the operators that land what another task has created."""
    from airflow_reportrun.operators import StripeReportDownloadOperator
    from airflow_reportrun.operators.finished import TableOperator

    return StripeReportDownloadOperator, TableOperator


def above(dag: Any, task: Any, until: Collection[str] = ()) -> set[str]:
    """Return the ids of all tasks that come before one.

    :param until: ids of tasks that are among them, and behind which nothing is looked for.
    """
    found: set[str] = set()
    left = list(task.upstream_task_ids)
    while left:
        if (task_id := left.pop()) not in found:
            found.add(task_id)
            left += dag.task_dict[task_id].upstream_task_ids if task_id not in until else ()
    return found


def _is_a(task: Any, *kinds: type) -> bool:
    """Tell whether a task is of an operator, or makes such ones when it runs."""
    made = getattr(task, "operator_class", None)
    return isinstance(task, kinds) or (isinstance(made, type) and issubclass(made, kinds))
