"""What Airflow says of intervals: which are under way, which have failed, and whose DAG run landed which."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from sqlalchemy import String, cast, or_, select

from airflow_reportrun.links import REQUEST_XCOM_KEY, StripeRequestLink
from airflow_reportrun.page.report_tasks import Asker, Lander, asker_of, filters_of, reports_of
from airflow_reportrun.page.shelves import FAILED, PENDING
from airflow_reportrun.question.bounds import IntervalError, instant
from airflow_reportrun.question.intervals import resolve

if TYPE_CHECKING:
    from sqlalchemy.orm import Session

    from airflow_reportrun.coverage.steps import Span

LOOKED_AT = 2000
"""Task instances of a task that are not over, or have failed: the newest of them."""

_OVER = ("success", "skipped", "removed")
_FAILED = ("failed", "upstream_failed")


@dataclass(frozen=True)
class Progress:
    """How it stands with the task instances of an interval that is not landed.

    :param span: epoch seconds; None where the task says no interval.
    :param state: ``p`` or ``f``.
    :param reports: the report types that it may be of, without their versions.
    :param filters: the parameters that choose rows, None where nothing tells yet.
    :param asker: who asks Stripe, None where nothing tells yet.
    :param format: of the files that it lands, None where nothing tells.
    """

    span: Span
    state: str
    reports: frozenset[str]
    filters: Mapping[str, str] | None
    asker: Asker | None
    dag_id: str
    run_id: str
    map_index: int
    format: str | None = None


def progress_of(session: Session, lander: Lander, dag: Any) -> list[Progress]:
    """Return what is under way or has failed of a task and those that it waits for.

    :param dag: as Airflow has stored it.
    """
    from airflow.models.dagrun import DagRun
    from airflow.models.renderedtifields import RenderedTaskInstanceFields as Fields
    from airflow.models.taskinstance import TaskInstance as Instance

    dag_id, feeders = lander.task.dag_id, {it.task_id: it for it in lander.feeders}
    query = (
        select(Instance.task_id, Instance.map_index, Instance.state, DagRun)
        .join(DagRun, (DagRun.dag_id == Instance.dag_id) & (DagRun.run_id == Instance.run_id))
        .where(Instance.dag_id == dag_id, Instance.task_id.in_([lander.task.task_id, *feeders]))
        .where(or_(Instance.state.is_(None), Instance.state.not_in(_OVER)))
        .order_by(DagRun.run_after.desc())
        .limit(LOOKED_AT)
    )
    worst: dict[tuple[str, int], tuple[str, Any]] = {}
    for _, map_index, state, run in session.execute(query):
        if state is None and run.state in ("success", "failed"):
            continue
        key, found = (run.run_id, map_index), FAILED if state in _FAILED else PENDING
        if worst.get(key, (PENDING,))[0] == PENDING:
            worst[key] = found, run
    rendered: dict[tuple[str, str, int], Mapping[str, Any]] = {}
    if worst and feeders:
        told = select(Fields.task_id, Fields.run_id, Fields.map_index, Fields.rendered_fields)
        run_ids = {run_id for run_id, _ in worst}
        for task_id, run_id, map_index, fields in session.execute(
            told.where(Fields.dag_id == dag_id, Fields.task_id.in_(list(feeders)), Fields.run_id.in_(run_ids))
        ):
            rendered[task_id, run_id, map_index] = fields or {}
    made = []
    for (run_id, map_index), (state, run) in worst.items():
        for task_id, feeder in feeders.items():
            fields = rendered.get((task_id, run_id, map_index)) or rendered.get((task_id, run_id, -1)) or {}
            bounds = {name: feeder.told(name, fields) for name in ("interval_start", "interval_end")}
            if any(bounds[name] is None and name in feeder.fields for name in bounds):
                continue  # a template that was not rendered yet
            span, filters = _span(dag, run, bounds, feeder.fields.get("interval")), filters_of(feeder, fields)
            if span and "payout" not in {**feeder.fields, **(filters or {})}:  # of one payout, whenever it was
                about = frozenset(reports_of(feeder, fields)), filters, asker_of(feeder, fields)
                made.append(Progress(span, state, *about, dag_id, run_id, map_index, lander.task.format()))
    return made


def _span(dag: Any, run: Any, bounds: Mapping[str, Any], interval: Any) -> Span | None:
    """Return what a task reports on, None where nothing tells."""
    names = ("logical_date", "data_interval_start", "data_interval_end", "partition_key", "partition_date")
    context = {name: value for name in names if (value := getattr(run, name, None)) is not None}
    try:
        if bounds["interval_start"] is None and bounds["interval_end"] is not None:
            end = instant("interval_end", bounds["interval_end"]).int_timestamp
            return end, end
        it = resolve({"dag": dag, "dag_run": run, **context}, **bounds, interval=interval, quiet=True)
    except IntervalError:
        return None
    return it.start.int_timestamp, it.end.int_timestamp


@dataclass(frozen=True)
class Link:
    """A DAG run, and Stripe's log of its request where that is known; both as addresses.

    :param address: below Airflow's own, of the task instance.
    :param stripe: of the request in Stripe's Dashboard, empty where nothing tells.
    """

    dag_id: str
    run_id: str
    state: str
    address: str
    stripe: str


def runs_that_landed(
    session: Session, landers: Iterable[Lander], report_run_id: str
) -> list[tuple[str, str, int]]:
    """Return the task instances that returned a report run, as DAG, run and map index, the newest first."""
    from airflow.models.xcom import XComModel as XCom

    tasks = {(it.task.dag_id, it.task.task_id) for it in landers}
    query = (
        select(XCom.dag_id, XCom.task_id, XCom.run_id, XCom.map_index)
        .where(XCom.key == "return_value", XCom.dag_id.in_({dag_id for dag_id, _ in tasks}))
        .where(cast(XCom.value, String).contains(report_run_id, autoescape=True))
        .order_by(XCom.timestamp.desc())
        .limit(50)
    )
    return [
        (dag_id, run_id, map_index)
        for dag_id, task_id, run_id, map_index in session.execute(query)
        if (dag_id, task_id) in tasks
    ]


def links_of(
    session: Session, landers: Sequence[Lander], instances: Iterable[tuple[str, str, int]]
) -> Iterator[Link]:
    """Yield where the task instances of landing tasks lead to."""
    from urllib.parse import quote

    from airflow.models.taskinstance import TaskInstance as Instance
    from airflow.models.xcom import XComModel as XCom

    for dag_id, run_id, map_index in dict.fromkeys(instances):
        for lander in landers:
            if lander.task.dag_id != dag_id:
                continue
            ids = {it.task_id for it in (*lander.feeders, lander.task)}
            told = select(XCom.value).where(XCom.dag_id == dag_id, XCom.run_id == run_id)
            request = session.scalars(
                told.where(XCom.key == REQUEST_XCOM_KEY, XCom.task_id.in_(ids), XCom.map_index == map_index)
            ).first()
            state = session.scalars(
                select(Instance.state).where(
                    Instance.dag_id == dag_id,
                    Instance.run_id == run_id,
                    Instance.task_id == lander.task.task_id,
                    Instance.map_index == map_index,
                )
            ).first()
            address = (
                f"dags/{quote(dag_id, safe='')}/runs/{quote(run_id, safe='')}/tasks/{quote(lander.task.task_id)}"
            )
            if map_index >= 0:
                address += f"/mapped/{map_index}"
            stripe = StripeRequestLink().address_of(request)
            yield Link(dag_id, run_id, str(state or "none"), address, stripe)
