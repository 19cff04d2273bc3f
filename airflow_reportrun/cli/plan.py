"""``airflow reportrun plan``."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from airflow_reportrun.cli.dags import above, dag_of, landing_kinds, report_tasks
from airflow_reportrun.cli.exits import INCOMPLETE, Outcome, UsageError, command, print_rows, say
from airflow_reportrun.cli.planned import Existing, PlannedTask
from airflow_reportrun.coverage.looking import source_of
from airflow_reportrun.landing.destination import LATER, is_compressed, placeholders, resolve_destination
from airflow_reportrun.landing.formats.columns import columns_of
from airflow_reportrun.landing.manifest import Manifest, Subject, iso
from airflow_reportrun.landing.neighbours import overlapping, shown
from airflow_reportrun.landing.overlaps import Overlap, described
from airflow_reportrun.landing.publication import landed_in, require_kept
from airflow_reportrun.landing.report import check_format
from airflow_reportrun.landing.stores import place_of
from airflow_reportrun.landing.tables import settled_in
from airflow_reportrun.operators import StripeReportRunOperator
from airflow_reportrun.operators.finished import TableOperator
from airflow_reportrun.question.backfill_runs import backfill_runs, can_be_walked
from airflow_reportrun.question.report_types import preferences
from airflow_reportrun.reporting.errors import (
    ContentsError,
    LandingConflictError,
    ReportingError,
    StoreError,
)
from airflow_reportrun.submission.idempotency import Identity
from airflow_reportrun.tasks.options import require_rendered, truth

if TYPE_CHECKING:
    from argparse import Namespace
    from datetime import datetime

    from airflow_reportrun.hooks import StripeReportingHook
    from airflow_reportrun.landing.stores.place import Place
    from airflow_reportrun.landing.tables import Table
    from airflow_reportrun.question.question import Question
    from airflow_reportrun.wire.connection import ConnectionSettings

_REFUSED, _FAILS = "refused", "fails"
"""What takes the place of a report run where a task would land none."""


@dataclass
class _Table:
    """A table, asked once for all runs.

    :param told: the manifests of what is landed there, by their subjects.
    :param expected: the same, when the runs before one have landed.
    :param is_to_be_made: its database or catalog is not there yet, and a look would make it.
    :param failed: why it can't be asked.
    :param looks: the tasks' own tables, by what they ask for: each is as it was when it was looked at first.
    """

    told: Mapping[str, Manifest] = field(default_factory=dict)
    expected: dict[str, Manifest] = field(default_factory=dict)
    is_to_be_made: bool = False
    failed: ReportingError | None = None
    looks: dict[str, Table] = field(default_factory=dict)


@dataclass
class _Before:
    """What there will be before a run: what there is, and what the runs before it land.

    :param places: those in which they land, by their URLs.
    :param tables: by connection and table.
    """

    places: dict[str, tuple[Place, Manifest]] = field(default_factory=dict)
    tables: dict[tuple[Any, ...], _Table] = field(default_factory=dict)


@dataclass(frozen=True)
class _Asked:
    """What a task would ask for, and where something is only known when it runs, or is wrong.

    :param landing: the manifest of what would be landed, as far as it is known; of the run's id.
    :param any_mode: what the key is for is not known, and so whether ``livemode`` is right.
    :param may_overwrite: the task may take the place of a file that no manifest tells of.
    :param fails: it would ask for nothing.
    """

    question: Question | None = None
    landing: Manifest | None = None
    hook: StripeReportingHook | None = None
    key: str = ""
    notes: tuple[str, ...] = ()
    any_mode: bool = False
    may_overwrite: bool = False
    fails: bool = False


@command
def plan(args: Namespace) -> Outcome:
    """Say what a backfill would ask for; nothing is sent, and nothing is written."""
    earliest, latest = _date(args.from_date), _date(args.to_date)
    if earliest > latest:
        raise UsageError(f"--from-date {args.from_date} is not before --to-date {args.to_date}.")
    dag = dag_of(args.dag_id, args.dag_file, verbose=args.verbose)
    tasks, existing = report_tasks(dag, args.task_id), _existing(args.dag_id)
    before = _Before()
    rows = [
        row
        for run in backfill_runs(dag, earliest, latest)
        for task in tasks
        for row in _rows(PlannedTask(task, run, existing), before)
    ]
    if not rows:
        dates = f"The schedule of {args.dag_id} has no run from {args.from_date} to {args.to_date}."
        say(dates if can_be_walked(dag) else f"{args.dag_id} has no schedule that a backfill could walk.")
    if args.output == "table":
        rows = [{**row, "idempotency_key": _short(row["idempotency_key"])} for row in rows]
    code = INCOMPLETE if any(row["landed"] in (_REFUSED, _FAILS) for row in rows) else 0
    return code, lambda: print_rows(rows, args.output)


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


def _rows(planned: PlannedTask, before: _Before) -> Iterator[dict[str, Any]]:
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
        "landed": _FAILS if asked.fails else None,
        "note": _joined(asked.notes),
    }
    there: dict[str, Any] = {}
    if question and question.destination and asked.landing and not asked.fails:
        path, landing = question.destination, asked.landing
        there = _outcome(
            lambda: _in_place(path, landing, asked, before, overwrite=asked.may_overwrite), of_a_file=True
        )
        there["note"] = _joined((*asked.notes, there.get("note")))
    yield {**row, **there}
    for task in _landing_tasks(planned):
        yield {**row, "task_id": task.task_id, "idempotency_key": "", **_landing(task, planned, asked, before)}


def _joined(notes: Sequence[str | None]) -> str | None:
    return "; ".join(filter(None, notes)) or None


def _outcome(look: Callable[[], dict[str, Any]], *, of_a_file: bool) -> dict[str, Any]:
    """Return what a look gives, or what the task would end with.

    :raises StoreError: when a file's store can't be asked, which the next row would find, too, and wait for.
    """
    try:
        return look()
    except StoreError as error:
        if of_a_file:
            raise
        return {"landed": _FAILS, "note": f"fails: {error}"}
    except (LandingConflictError, ContentsError) as error:
        return {"landed": _REFUSED, "note": str(error)}
    except ReportingError as error:
        return {"landed": _FAILS, "note": f"fails: {error}"}


def _notes(unknown: Mapping[str, str], failing: Mapping[str, str]) -> list[str]:
    """Say of options which are only known when the task runs, and which fail then."""
    return [
        *(f"{name}: {why}" for name, why in unknown.items() if name != "report_run_id"),
        *(f"fails: {name}: {why}" for name, why in failing.items()),
    ]


def _asked(planned: PlannedTask) -> _Asked:
    """Return what a task would ask for."""
    if not isinstance(planned.task, StripeReportRunOperator):
        return _Asked(notes=("mapped: its options are known when it runs",))
    task, rendered, unknown, failing = planned.rendered()
    context: Any = rendered
    notes = _notes(unknown, failing)
    lost = unknown.keys() | failing.keys()
    task._given = {name: it for name, it in task._given.items() if name not in lost}  # or it would miss them
    if "destination" in lost:
        task.destination = None
    if lost - {"destination", "report_run_id", "overwrite"}:
        return _Asked(notes=tuple(notes), fails=bool(failing))
    try:
        report_types = preferences(task.report_type)
        if len(report_types) > 1:
            notes.append(f"report_type: the first that the account has of {', '.join(report_types)}")
        question = task.ask(context, report_types[0], quiet=True)
        settings: ConnectionSettings = task.hook.settings
        may_overwrite = _may_overwrite(task, unknown)
    except ReportingError as error:
        return _Asked(notes=(*notes, f"fails: {error}"), fails=True)
    key = ""
    if truth("fresh", task.fresh):
        notes.append("idempotency_key: fresh=True makes it of when the DAG run begins")
    elif planned.is_new_partition:
        notes.append("idempotency_key: Airflow gives the run an id with a random part")
    else:
        key = Identity.of(context, settings, question, None).idempotency_key(1)
    parameters = question.parameters.as_dict()
    known: dict[str, Any] = {"stripe_account": settings.stripe_account, "livemode": bool(settings.livemode)}
    later: dict[str, Any] = {"file_id": "", "file_size": 0, "file_sha256": "", "rows": None, "columns": None}
    landing = Manifest(
        report_run_id=planned.run_id,
        report_type=question.report_type,
        parameters=parameters,
        interval_start=iso(parameters.get("interval_start")),
        interval_end=iso(parameters.get("interval_end")),
        format="",
        path="",
        **known,
        **later,
    )
    any_mode = settings.livemode is None
    return _Asked(question, landing, task.hook, key, tuple(notes), any_mode, may_overwrite, bool(failing))


def _may_overwrite(task: Any, unknown: Mapping[str, str]) -> bool:
    return "overwrite" in unknown or truth("overwrite", task.overwrite)


def _landing_tasks(planned: PlannedTask) -> Sequence[Any]:
    """Return the tasks that land what a task has created: those for which it is the only one upstream."""
    dag, kinds = planned.run.dag, landing_kinds()
    creating = {it.task_id for it in report_tasks(dag)}
    return [
        it for it in dag.tasks if isinstance(it, kinds) and above(dag, it) & creating == {planned.task.task_id}
    ]


def _landing(task: Any, planned: PlannedTask, asked: _Asked, before: _Before) -> dict[str, Any]:
    """Return where a task lands what was created upstream."""
    task, _, unknown, failing = replace(planned, task=task).rendered()
    row: dict[str, Any] = {"destination": None, "landed": None, "note": _joined(_notes(unknown, failing))}
    question, landing = asked.question, asked.landing
    if failing:
        return {**row, "landed": _FAILS}
    if unknown.keys() - {"report_run_id", "overwrite"} or asked.fails or question is None or landing is None:
        return row
    asked_for, account = question.parameters.as_dict(), landing.stripe_account

    def look() -> dict[str, Any]:
        given = {name: it for name, it in task._given.items() if name not in ("report_run_id", *unknown)}
        require_rendered(task, given)
        if isinstance(task, TableOperator):
            row["destination"], name = _table_of(task)
            return _in_table(task, name, landing, asked, before)
        check_format(task.format, task.column_types, task.contract)
        values = placeholders(question.report_type, asked_for, question.bounds, stripe_account=account)
        path = resolve_destination(task.destination, values, task.format, compressed=is_compressed(asked_for))
        row["destination"] = path
        found = _in_place(path, landing, asked, before, overwrite=_may_overwrite(task, unknown))
        if task.contract.freezes and LATER not in path:
            columns = columns_of(asked_for.get("columns") or (), task.column_types, question.report_type)
            require_kept(place_of(path), landing.subject, columns, task.contract)
        return found

    there = _outcome(look, of_a_file=not isinstance(task, TableOperator))
    return {**row, **there, "note": _joined((row["note"], there.get("note")))}


def _table_of(task: Any) -> tuple[str, tuple[Any, ...]]:
    """Return what a table is called, for people and for us."""
    names = ("conn_id", "catalog_conn_id", "warehouse")
    homes = {name: it for name in names if (it := getattr(task, name, None))}
    params = json.dumps(getattr(task, "hook_params", None), sort_keys=True, default=str)
    return " of ".join(map(str, (task.table, *homes.values()))), (str(task.table), *homes.items(), params)


def _asked_once(task: Any) -> _Table:
    """Read the manifests of a table."""
    names = ("conn_id", "catalog_conn_id", "warehouse", "hook_params")
    try:
        source = source_of(table=task.table, **{name: getattr(task, name, None) for name in names})
        told = {_unmoded(it.manifest.subject): it.manifest for it in source.landings() if it.manifest}
        return _Table(told, dict(told), source.is_to_be_made)
    except ReportingError as error:
        return _Table(failed=error)


def _in_table(
    task: Any, name: tuple[Any, ...], landing: Manifest, asked: _Asked, before: _Before
) -> dict[str, Any]:
    """Return what is landed in a table, and what would go with the task's own.

    :raises ReportingError: when the task would land nothing.
    """
    vars(task)["hook"] = asked.hook  # which is that of the report run, known when it is there
    if name not in before.tables:
        before.tables[name] = _asked_once(task)
    table = before.tables[name]
    if table.failed:
        raise table.failed
    if asked.any_mode and table.told:
        landing = replace(landing, livemode=next(iter(table.told.values())).livemode)
    if not table.is_to_be_made:
        how = repr((task.column_types, task.contract, task.on_overlap))
        if how not in table.looks:
            table.looks[how] = task.asked_table()
        settled_in(table.looks[how], landing)
    mine, key = landing.subject, _unmoded(landing.subject)
    near = overlapping(mine, table.expected.values())
    planned = [(it, how) for it, how in near if not it.file_id]
    if any(how is Overlap.CONFLICT or task.on_overlap != "replace" for _, how in planned):
        raise LandingConflictError(
            f"{described(mine)} would count the same twice beside what runs before it land there: "
            f"{shown([it for it, _ in planned])}."
        )
    gone = [it for it, how in near if how is Overlap.COVERED]
    for it in gone:
        del table.expected[_unmoded(it.subject)]
    table.expected[key] = landing
    found = _of_manifest(table.told.get(key))
    return {**found, "note": f"replaces {shown(gone)}"} if gone else found


def _unmoded(subject: Subject) -> str:
    """Return what a report is about, but for the mode of the key, which not every key tells."""
    return repr(replace(subject, livemode=False, filters=dict(sorted(subject.filters.items()))))


def _of_manifest(there: Manifest | None) -> dict[str, Any]:
    if there is None:
        return {"landed": None}
    return {"landed": "landing" if there.landing else there.report_run_id}


def _in_place(path: str, landing: Manifest, asked: _Asked, before: _Before, *, overwrite: bool) -> dict[str, Any]:
    """Return what is landed in a place.

    :raises ReportingError: when the task would land nothing.
    """
    if LATER in path:
        return {"note": "{report_run_id} is known when it is created"}
    place = place_of(path)
    there = landed_in(place, landing.subject, overwrite=overwrite, any_mode=asked.any_mode, before=before.places)
    before.places[place.url] = place, landing
    return _of_manifest(there)
