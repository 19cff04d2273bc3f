"""``airflow reportrun plan``."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from airflow_reportrun.cli.dags import dag_of, report_tasks
from airflow_reportrun.cli.exits import INCOMPLETE, Outcome, UsageError, command, nothing, print_rows, say
from airflow_reportrun.cli.planned import Existing, PlannedTask
from airflow_reportrun.coverage.looking import source_of
from airflow_reportrun.landing.destination import LATER, is_compressed, placeholders, resolve_destination
from airflow_reportrun.landing.manifest import Manifest, Subject, iso
from airflow_reportrun.landing.neighbours import overlapping, shown
from airflow_reportrun.landing.overlaps import Overlap
from airflow_reportrun.landing.publication import landed_in
from airflow_reportrun.landing.stores import place_of
from airflow_reportrun.operators import (
    StripeReportDownloadOperator,
    StripeReportRunOperator,
)
from airflow_reportrun.operators.finished import TableOperator
from airflow_reportrun.question.backfill_runs import backfill_runs
from airflow_reportrun.question.report_types import preferences
from airflow_reportrun.reporting.errors import LandingConflictError, ReportingError
from airflow_reportrun.submission.idempotency import Identity
from airflow_reportrun.tasks.options import truth

if TYPE_CHECKING:
    from argparse import Namespace
    from datetime import datetime

    from airflow_reportrun.coverage.landings import Source
    from airflow_reportrun.question.question import Question
    from airflow_reportrun.wire.connection import ConnectionSettings


_Tables = dict[tuple[Any, ...], dict[str, Manifest]]
"""The manifests of tables, each read once: by connection and table, and by subject."""


@dataclass(frozen=True)
class _Asked:
    """What a task would ask for, and where something is only known when it runs, or is wrong.

    :param any_mode: what the key is for is not known, and so whether the subject's ``livemode`` is right.
    :param may_overwrite: the task may take the place of a file that no manifest tells of.
    """

    question: Question | None
    subject: Subject | None
    key: str
    notes: tuple[str, ...]
    any_mode: bool = False
    may_overwrite: bool = False


@command
def plan(args: Namespace) -> Outcome:
    """Say what a backfill would ask for; nothing is sent, and nothing is written."""
    dag = dag_of(args.dag_id, args.dag_file)
    tasks, existing = report_tasks(dag, args.task_id), _existing(args.dag_id)
    tables: _Tables = {}
    earliest, latest = _date(args.from_date), _date(args.to_date)
    rows = [
        row
        for run in backfill_runs(dag, earliest, latest)
        for task in tasks
        for row in _rows(PlannedTask(task, run, existing), tables)
    ]
    if not rows:
        say(f"The schedule of {args.dag_id} has no run from {args.from_date} to {args.to_date}.")
        return 0, nothing
    if args.output == "table":
        rows = [{**row, "idempotency_key": _short(row["idempotency_key"])} for row in rows]
    code = INCOMPLETE if any(row["landed"] == _REFUSED for row in rows) else 0
    return code, lambda: print_rows(rows, args.output)


_REFUSED = "refused"


def _date(text: str) -> datetime:
    """Return a date as Airflow reads those of backfills: without an offset it is in its own default time zone."""
    from airflow.cli import cli_config

    try:
        found: datetime = cli_config.__dict__["parsedate"](text)
        return found
    except Exception:
        raise UsageError(f"{text!r} is no date in ISO 8601.") from None


def _existing(dag_id: str) -> Existing:
    try:
        return Existing.of(dag_id)
    except Exception as error:
        reason = type(error).__name__
        say(f"Airflow's database does not tell which runs are there ({reason}): the keys are of new ones.")
        return Existing()


def _short(key: str) -> str:
    return f"{key[:26]}…" if key else key


def _rows(planned: PlannedTask, tables: _Tables) -> Iterator[dict[str, Any]]:
    """Yield a row for the report run, and one for each place that it lands in."""
    asked = _asked(planned)
    question = asked.question
    parameters = question.parameters.as_dict() if question else {}
    row = {
        "run_id": planned.run_id,
        "task_id": planned.task.task_id,
        "report_type": question.report_type if question else None,
        "interval_start": iso(parameters.pop("interval_start", None)),
        "interval_end": iso(parameters.pop("interval_end", None)),
        "parameters": json.dumps(parameters, sort_keys=True),
        "idempotency_key": asked.key,
        "destination": question.destination if question else None,
        "landed": None,
        "note": "; ".join(asked.notes) or None,
    }
    if question and question.destination and asked.subject:
        how = {"any_mode": asked.any_mode, "overwrite": asked.may_overwrite}
        row |= _in_place(question.destination, asked.subject, row, **how)
    yield row
    for task in _landing_tasks(planned):
        yield {**row, "task_id": task.task_id, "idempotency_key": "", **_landing(task, planned, asked, tables)}


def _asked(planned: PlannedTask) -> _Asked:
    """Return what a task would ask for."""
    if not isinstance(planned.task, StripeReportRunOperator):
        return _Asked(None, None, "", ("mapped: its options are known when it runs",))
    task, rendered, unknown = planned.rendered()
    context: Any = rendered
    notes = [f"{name}: {why}" for name, why in unknown.items() if name != "report_run_id"]
    if "destination" in unknown:
        task.destination = None
    if set(unknown) - {"destination", "report_run_id", "overwrite"}:
        return _Asked(None, None, "", tuple(notes))
    try:
        report_types = preferences(task.report_type)
        if len(report_types) > 1:
            notes.append(f"report_type: the first that the account has of {', '.join(report_types)}")
        question = task.ask(context, report_types[0], quiet=True)
        settings: ConnectionSettings = task.hook.settings
    except ReportingError as error:
        return _Asked(None, None, "", (*notes, f"fails: {error}"))
    key = ""
    if truth("fresh", task.fresh):
        notes.append("idempotency_key: fresh=True makes it of when the DAG run begins")
    elif planned.is_new_partition:
        notes.append("idempotency_key: Airflow gives the run an id with a random part")
    else:
        key = Identity.of(context, settings, question, None).idempotency_key(1)
    subject = Subject.of(
        question.report_type,
        question.parameters.as_dict(),
        livemode=bool(settings.livemode),
        stripe_account=settings.stripe_account,
    )
    may_overwrite, any_mode = _may_overwrite(task, unknown), settings.livemode is None
    return _Asked(question, subject, key, tuple(notes), any_mode, may_overwrite)


def _may_overwrite(task: Any, unknown: Mapping[str, str]) -> bool:
    return "overwrite" in unknown or truth("overwrite", task.overwrite)


def _landing_tasks(planned: PlannedTask) -> Sequence[Any]:
    """Return the tasks that land what a task has created: those for which it is the only one upstream."""
    dag, kinds = planned.run.dag, (StripeReportDownloadOperator, TableOperator)
    creating = {it.task_id for it in report_tasks(dag)}
    return [
        it for it in dag.tasks if isinstance(it, kinds) and _above(dag, it) & creating == {planned.task.task_id}
    ]


def _above(dag: Any, task: Any) -> set[str]:
    """Return the ids of all tasks that come before one."""
    found: set[str] = set()
    left = list(task.upstream_task_ids)
    while left:
        if (task_id := left.pop()) not in found:
            found.add(task_id)
            left += dag.task_dict[task_id].upstream_task_ids
    return found


def _landing(task: Any, planned: PlannedTask, asked: _Asked, tables: _Tables) -> dict[str, Any]:
    """Return where a task lands what was created upstream."""
    task, _, unknown = replace(planned, task=task).rendered()
    notes = [f"{name}: {why}" for name, why in unknown.items() if name != "report_run_id"]
    row: dict[str, Any] = {"destination": None, "landed": None, "note": "; ".join(notes) or None}
    question, subject = asked.question, asked.subject
    if unknown.keys() - {"report_run_id"} or question is None or subject is None:
        return row
    try:
        if isinstance(task, TableOperator):
            names = ("conn_id", "catalog_conn_id", "warehouse")
            homes = {name: it for name in names if (it := getattr(task, name, None))}
            row["destination"] = " of ".join([task.table, *map(str, homes.values())])
            params = getattr(task, "hook_params", None)
            key = task.table, *homes.items(), json.dumps(params, sort_keys=True, default=str)
            if key not in tables:
                tables[key] = _told(source_of(table=task.table, hook_params=params, **homes))
            return {**row, **_in_table(tables[key], subject, task.on_overlap, any_mode=asked.any_mode)}
        asked_for = question.parameters.as_dict()
        values = placeholders(
            question.report_type, asked_for, question.bounds, stripe_account=subject.stripe_account
        )
        path = resolve_destination(task.destination, values, task.format, compressed=is_compressed(asked_for))
        row["destination"] = path
        how = {"any_mode": asked.any_mode, "overwrite": _may_overwrite(task, unknown)}
        return {**row, **_in_place(path, subject, row, **how)}
    except ReportingError as error:
        return {**row, "note": f"fails: {error}"}


def _told(source: Source) -> dict[str, Manifest]:
    """Return the manifests of a table by their subjects."""
    found = (it.manifest for it in source.landings())
    return {_unmoded(it.subject): it for it in found if it}


def _in_table(
    told: Mapping[str, Manifest], subject: Subject, on_overlap: str, *, any_mode: bool
) -> dict[str, Any]:
    """Return what is landed in a table: the report run, or that the task's own would be refused."""
    if any_mode and told:
        subject = replace(subject, livemode=next(iter(told.values())).livemode)
    other = next((it for it in told.values() if it.livemode != subject.livemode), None)
    if other:
        mode = "live" if other.livemode else "test"
        return {"landed": _REFUSED, "note": f"the table has {mode} data (report run {other.report_run_id})"}
    there = told.get(_unmoded(subject))
    beside = [] if there else overlapping(subject, told.values())
    if any(how is Overlap.CONFLICT or on_overlap != "replace" for _, how in beside):
        return {"landed": _REFUSED, "note": f"it would count twice beside {shown([it for it, _ in beside])}"}
    return _of_manifest(there)


def _unmoded(subject: Subject) -> str:
    """Return what a report is about, but for the mode of the key, which not every key tells."""
    return repr(replace(subject, livemode=False, filters=dict(sorted(subject.filters.items()))))


def _of_manifest(there: Manifest | None) -> dict[str, Any]:
    if there is None:
        return {"landed": None}
    return {"landed": "landing" if there.landing else there.report_run_id}


def _in_place(path: str, subject: Subject, row: dict[str, Any], **how: bool) -> dict[str, Any]:
    """Return what is landed in a place: the report run, or that the task's own would be refused."""
    if LATER in path:
        return {"note": "; ".join(filter(None, (row["note"], "{report_run_id} is known when it is created")))}
    try:
        return _of_manifest(landed_in(place_of(path), subject, **how))
    except LandingConflictError as error:
        return {"landed": _REFUSED, "note": str(error)}
