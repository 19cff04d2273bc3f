"""Which tasks of which DAGs ask for reports and land them, and where: told by what Airflow has stored of both."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from sqlalchemy import func, select

from airflow_reportrun.landing.manifest import FILTERS, NO_FILTERS, Subject
from airflow_reportrun.reporting.report_type_ids import family_of
from airflow_reportrun.tasks.options import is_template

if TYPE_CHECKING:
    from sqlalchemy.orm import Session

    from airflow_reportrun.coverage.series import Series

_LINK = "Stripe request log"
"""What our operators have and a subclass keeps."""

_RENDERED = 30
"""DAG runs whose rendered templates are read, the newest first: as many as Airflow keeps."""


@dataclass(frozen=True, order=True)
class Where:
    """A place in which reports are landed.

    :param destination: a folder or a URL; empty for a table.
    :param conn_id: Airflow connection of a table's database.
    :param table: ``table`` or ``schema.table``; the folder of a Delta table.
    :param hook_params: of the connection's hook, as JSON.
    :param catalog_conn_id: Airflow connection of an Iceberg table's catalog.
    :param warehouse: folder with an Iceberg catalog of its own.
    """

    destination: str = ""
    conn_id: str = ""
    table: str = ""
    hook_params: str = "null"
    catalog_conn_id: str = ""
    warehouse: str = ""

    def __str__(self) -> str:
        home = self.conn_id or self.catalog_conn_id or self.warehouse
        return self.destination or (f"{self.table} in {home}" if home else self.table)


@dataclass(frozen=True, order=True)
class Asker:
    """Who asks Stripe: a connection, and the account that a task acts as."""

    stripe_conn_id: str = "stripe_default"
    stripe_account: str | None = None
    stripe_context: str | None = None


@dataclass(frozen=True)
class ReportTask:
    """A task of ours, as Airflow has stored it.

    :param asks: whether it creates report runs.
    :param fields: its options, with their templates.
    :param upstream: the ids of all tasks that come before it.
    :param is_mapped: options that it is mapped over are told by its instances alone, as they were rendered.
    """

    dag_id: str
    task_id: str
    asks: bool
    fields: Mapping[str, Any]
    upstream: frozenset[str] = frozenset()
    is_mapped: bool = False

    @property
    def lands(self) -> bool:
        """Whether it lands their files."""
        return bool(self.fields.get("destination") or self.fields.get("table"))

    def told(self, name: str, rendered: Mapping[str, Any] | None = None) -> Any:
        """Return an option as it is, or was in one task instance; None where only its task knows it."""
        value = (rendered or {}).get(name, self.fields.get(name))
        return None if not _is_plain(value) or any(is_template(it) for it in _texts(value)) else value

    def format(self, rendered: Mapping[str, Any] | None = None) -> str | None:
        """Return of which format its files are, None where nothing tells; who asks lands them as they are."""
        told: str | None = "csv" if self.asks else self.told("format", rendered)
        return told


@dataclass(frozen=True)
class Asked:
    """What a task asks for, as it is written, or as one of its instances had it.

    :param reports: report types without their versions, none where nothing tells.
    :param asker: who asks Stripe, None where nothing tells.
    :param filters: the parameters that choose rows, None where nothing tells.
    """

    feeder: ReportTask
    reports: frozenset[str]
    asker: Asker | None
    filters: Mapping[str, str] | None

    def may_be(self, series: Series) -> bool:
        """Whether a series may be of it, as far as its report, account and rows are known."""
        return (
            (not self.reports or series.report in self.reports)
            and (self.asker is None or self.asker.stripe_account in (None, series.stripe_account))
            and (self.filters is None or are_those_of(self.filters, series.filters))
        )


@dataclass
class Lander:
    """A task that lands reports, with the tasks that ask for them.

    :param where: all the places that it has landed in of late.
    :param asked: what is asked for.
    :param formats: of what it lands, with None where nothing tells.
    """

    task: ReportTask
    feeders: Sequence[ReportTask]
    where: set[Where] = field(default_factory=set)
    asked: list[Asked] = field(default_factory=list)
    formats: set[str | None] = field(default_factory=set)

    @property
    def reports(self) -> set[str]:
        """Report types without their versions."""
        return {report for it in self.asked for report in it.reports}

    @property
    def askers(self) -> set[Asker]:
        """Who asked Stripe."""
        return {it.asker for it in self.asked if it.asker}

    def that_may_be(self, series: Series) -> list[Asked]:
        """Return what is asked for that a series may be of, as far as it is known."""
        in_format = not self.formats or any(is_in_format(it, series.format) for it in self.formats)
        return [it for it in self.asked if in_format and it.may_be(series)]

    def feeders_of(self, series: Series) -> list[ReportTask]:
        """Return the tasks that may ask for a series, as far as it is known."""
        mine = {it.feeder.task_id for it in self.that_may_be(series)}
        return [it for it in self.feeders if it.task_id in mine]


@dataclass(frozen=True)
class StoredDag:
    """A DAG as Airflow has stored it, with its tasks of ours."""

    dag: Any
    tasks: tuple[ReportTask, ...]


class StoredTasks:
    """The DAGs that have tasks of ours, read once for each of their versions."""

    def __init__(self) -> None:
        self._known: dict[Any, StoredDag | None] = {}

    def read(self, session: Session) -> dict[str, StoredDag]:
        """Return the DAGs by their ids."""
        from airflow.models.dag import DagModel
        from airflow.models.serialized_dag import SerializedDagModel as Stored

        # Airflow keeps all versions that a DAG has had.
        last = select(Stored.dag_id, func.max(Stored.created_at).label("at")).group_by(Stored.dag_id).subquery()
        is_last = (Stored.dag_id == last.c.dag_id) & (Stored.created_at == last.c.at)
        query = select(Stored.dag_id, Stored.id).join(last, is_last)
        rows = session.execute(query.join(DagModel, DagModel.dag_id == Stored.dag_id).where(~DagModel.is_stale))
        newest = {dag_id: key for dag_id, key in rows}  # noqa: C416  # a row is no pair to dict()
        known = {key: self._known[key] for key in newest.values() if key in self._known}
        for key in newest.values():
            if key not in known and (row := session.get(Stored, key)):
                known[key] = stored_dag(row.dag) if _is_of_interest(row.data) else None
                session.expunge(row)
        self._known = known
        return {dag_id: found for dag_id, key in newest.items() if (found := known.get(key))}


def _is_of_interest(data: Mapping[str, Any] | None) -> bool:
    tasks = [it.get("__var", it) for it in ((data or {}).get("dag") or {}).get("tasks", ())]
    return any(
        str(it.get("_task_module", "")).startswith("airflow_reportrun.")
        or _LINK in (it.get("_operator_extra_links") or {})
        for it in tasks
    )


def stored_dag(dag: Any) -> StoredDag | None:
    """Return a DAG with its tasks of ours, None where it has none."""
    found = []
    for task in dag.tasks:
        templates = set(task.template_fields)
        asks = {"report_type", "destination", "stripe_conn_id"} <= templates
        if asks or ({"report_run_id", "stripe_conn_id"} <= templates and templates & {"destination", "table"}):
            mapped = getattr(task, "partial_kwargs", None)
            given = mapped or {}
            options = {name: given.get(name, getattr(task, name, None)) for name in (*templates, "interval")}
            fields = {name: value for name, value in options.items() if value is not None}
            upstream = frozenset(task.get_flat_relative_ids(upstream=True))
            found.append(ReportTask(dag.dag_id, task.task_id, asks, fields, upstream, mapped is not None))
    return StoredDag(dag, tuple(found)) if found else None


def landers_of(tasks: Sequence[ReportTask], rendered: Mapping[str, Sequence[Mapping[str, Any]]]) -> list[Lander]:
    """Return who lands what of one DAG.

    :param rendered: the rendered fields of the last task instances by the task's id.
    """
    return [
        _lander(task, [it for it in tasks if it.asks and (it is task or it.task_id in task.upstream)], rendered)
        for task in tasks
        if task.lands
    ]


def _lander(
    task: ReportTask, feeders: Sequence[ReportTask], rendered: Mapping[str, Sequence[Mapping[str, Any]]]
) -> Lander:
    lander = Lander(task, feeders)
    for fields in (*rendered.get(task.task_id, ()), {}):
        lander.where |= _where(task, fields)
        lander.formats.add(task.format(fields))
    for it in feeders or [task]:
        lander.asked += (asked_by(it, fields) for fields in (*rendered.get(it.task_id, ()), {}))
    return lander


def asked_by(task: ReportTask, rendered: Mapping[str, Any]) -> Asked:
    """Return what a task asks for."""
    return Asked(task, frozenset(reports_of(task, rendered)), asker_of(task, rendered), filters_of(task, rendered))


def _where(task: ReportTask, rendered: Mapping[str, Any]) -> set[Where]:
    if "table" in task.fields:
        table = task.told("table", rendered)
        names = ("conn_id", "catalog_conn_id", "warehouse")
        homes = {name: it for name in names if (it := task.told(name, rendered))}
        params = json.dumps(task.told("hook_params", rendered), sort_keys=True)
        known = table and (homes or "/" in str(table))
        return {Where(table=table, hook_params=params, **homes)} if known else set()
    destination = task.told("destination", rendered)
    if not isinstance(destination, str) or not destination:
        return set()
    return {Where(folder_of(destination))}


def folder_of(destination: str) -> str:
    """Return the folder below which all reports of a destination lie."""
    return destination.partition("{")[0].rpartition("/")[0] or "/"


def reports_of(task: ReportTask, rendered: Mapping[str, Any]) -> set[str]:
    """Return the report types that a task asks for, without their versions."""
    return {family_of(it) for it in _texts(task.told("report_type", rendered))}


def asker_of(task: ReportTask, rendered: Mapping[str, Any]) -> Asker | None:
    """Return who asks Stripe, None where only templates are known."""
    names = ("stripe_conn_id", "stripe_account", "stripe_context")
    if any(name in task.fields and task.told(name, rendered) is None for name in names):
        return None
    conn_id, account, context = (task.told(name, rendered) or None for name in names)
    return Asker(conn_id or "stripe_default", account, context)


def filters_of(task: ReportTask, rendered: Mapping[str, Any]) -> Mapping[str, str] | None:
    """Return the parameters that choose rows, by Stripe's names; None where only templates are known, or less."""
    if task.is_mapped and not rendered:
        return None
    given = {name for name in FILTERS if name in task.fields or rendered.get(name) is not None}
    asked = {name: task.told(name, rendered) for name in given}
    more = task.told("parameters", rendered)
    if more is None and "parameters" in task.fields:
        return None
    if isinstance(more, Mapping):  # as its author wrote it: the task refuses what can't be there, such as bounds
        chosen = {name: value for name, value in more.items() if name not in NO_FILTERS}
        asked |= {name: None if is_template(str(value)) else value for name, value in chosen.items()}
    if None in asked.values():
        return None
    return Subject.of("", asked, livemode=False, stripe_account=None).filters


def are_those_of(asked: Mapping[str, str], landed: Mapping[str, str]) -> bool:
    """Tell whether parameters that choose rows are those of what is landed: its folders may tell no others.

    :param landed: without the payout, where it is a series of payouts.
    """
    asked = {name: value for name, value in asked.items() if name != "payout" or name in landed}
    return landed in (asked, {name: value for name, value in asked.items() if name in FILTERS})


def is_in_format(format: str | None, landed: str | None) -> bool:
    """Tell whether files may be of a format, as far as both are known; a zip is what csv is at Stripe."""
    return landed is None or format in (None, landed, "csv" if landed == "zip" else landed)


def covering(places: Iterable[Where]) -> dict[Where, Where]:
    """Return for each place the outermost one that it lies in, or is."""
    found: dict[Where, Where] = {}
    for it in sorted(places):  # a folder comes before what lies in it
        found[it] = next((other for other in found.values() if _is_in(it.destination, other.destination)), it)
    return found


def _is_in(folder: str, other: str) -> bool:
    return bool(other) and folder.startswith(f"{other.rstrip('/')}/")


def read_rendered(
    session: Session, dags: Mapping[str, StoredDag]
) -> dict[str, dict[str, list[Mapping[str, Any]]]]:
    """Return the rendered fields of the last instances of our tasks, by DAG and task, the newest first."""
    from airflow.models.dagrun import DagRun
    from airflow.models.renderedtifields import RenderedTaskInstanceFields as Fields

    found: dict[str, dict[str, list[Mapping[str, Any]]]] = {}
    for dag_id, task_id in ((dag_id, task.task_id) for dag_id, it in dags.items() for task in it.tasks):
        query = (
            select(Fields.rendered_fields)
            .join(DagRun, (DagRun.dag_id == Fields.dag_id) & (DagRun.run_id == Fields.run_id))
            .where(Fields.dag_id == dag_id, Fields.task_id == task_id)
            .order_by(DagRun.run_after.desc())
            .limit(_RENDERED * 10)
        )
        found.setdefault(dag_id, {})[task_id] = [fields or {} for (fields,) in session.execute(query)]
    return found


def _is_plain(value: Any) -> bool:
    """Tell whether a value is one that DAG files write down: others, such as XComs, are known when a task runs."""
    if isinstance(value, Mapping):
        return all(map(_is_plain, (*value, *value.values())))
    if isinstance(value, list | tuple | set | frozenset):
        return all(map(_is_plain, value))
    return value is None or isinstance(value, str | int | float)


def _texts(value: Any) -> list[str]:
    if isinstance(value, str):
        return [value]
    return [it for it in value if isinstance(it, str)] if isinstance(value, list | tuple | set) else []
