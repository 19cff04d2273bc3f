"""What is counted and measured, and how it gets into Airflow's metrics: all of their names stand here.

Airflow's ``Stats`` sends them where ``[metrics]`` says, or nowhere; the latter takes about a
microsecond. A backend that fails is no reason for a task to fail. Tags have few values: none is an account, an id,
a key or a path.
"""

from __future__ import annotations

import logging
import math
import re
import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal
from weakref import WeakKeyDictionary

if TYPE_CHECKING:
    from airflow_reportrun.reporting.models import ReportRun

log = logging.getLogger(__name__)

PREFIX = "stripe_reporting."

LIMITS = ("global-rate", "global-concurrency", "endpoint-rate", "endpoint-concurrency", "resource-specific")
"""What Stripe gives as the reason of a 429, in ``Stripe-Rate-Limited-Reason``."""


@dataclass(frozen=True)
class Metric:
    """One metric.

    :param name: without :data:`PREFIX` and Airflow's own.
    :param kind: what Airflow makes of it; a ``timer`` is sent in milliseconds, to all versions and backends.
    :param unit: of its value.
    :param tags: the names of its tags; each value has all of them.
    :param meaning: in a sentence, for the docs.
    """

    name: str
    kind: Literal["counter", "timer", "gauge"]
    unit: str
    tags: tuple[str, ...]
    meaning: str
    prefix: str = PREFIX

    def send(self, value: float = 1, **tags: str) -> None:
        """Hand a value to Airflow; an error is logged, once a process for each kind, and goes no further.

        :param value: seconds where it is a timer.
        :param tags: what it has no tag for is left out, but for ``team_name``.
        """
        name, tagged = self.prefix + self.name, {tag: _tag(tag, tags[tag]) for tag in self.tags}
        if team_name := tags.get("team_name"):
            tagged["team_name"] = team_name
        try:
            from airflow.providers.common.compat.sdk import Stats

            if self.kind == "counter":
                Stats.incr(name, int(value), tags=tagged)
            elif self.kind == "timer":  # two clocks that differ make no negative time
                Stats.timing(name, max(0.0, value) * 1000.0, tags=tagged)
            else:
                Stats.gauge(name, value, tags=tagged)
        except Exception as error:
            if type(error) not in _said:
                _said.add(type(error))
                log.warning(
                    "Airflow's metrics backend takes none, which fails no task. %s: %s",
                    type(error).__name__,
                    error,
                )


CREATED = Metric("report_runs.created", "counter", "runs", ("report_type",), "A task created a report run.")
ATTACHED = Metric(
    *("report_runs.attached", "counter", "runs", ("report_type",)),
    "A try attached to the run of an earlier try, or of its own request whose answer was lost.",
)
SUPERSEDED = Metric(
    *("report_runs.superseded", "counter", "runs", ("report_type", "reason")),
    "What the task had asked for can't be used, so it asks anew: its run has `failed`, its file `expired`, it is "
    "a deleted `namesake`'s, or Stripe keeps a `stored_error`.",
)
UNCOUNTED = Metric(
    *("report_runs.uncounted", "counter", "runs", ("report_type",)),
    "Stripe answered a create with a 500 and keeps that: there may be a run that no task knows of.",
)
DURATION = Metric(
    *("report_runs.duration", "timer", "ms", ("report_type",)),
    "How long Stripe took: from a run's creation to its success.",
)
NOTICED = Metric(
    *("report_runs.noticed", "timer", "ms", ("report_type",)),
    "From the success of a run that was waited for until a trigger or a worker saw it; what we add.",
)
WAIT = Metric(
    *("report_runs.wait", "timer", "ms", ("report_type", "outcome")),
    "From a run's creation until `StripeReportRunOperator`, which waited, goes on in a worker: `succeeded`, "
    "`failed`, `timeout` or `error`.",
)
REQUESTS = Metric(
    *("requests.sent", "counter", "requests", ("operation", "status")),
    "A request to Stripe, by the HTTP status of its answer, `none` where none came.",
)
LIMITED = Metric(
    *("requests.limited", "counter", "requests", ()),
    "Those of them that Stripe refused with a 429: for a server that takes no tags.",
)
PAUSES = Metric(
    *("limits.pause", "timer", "ms", ("reason",)),
    f"A pause that a limit made: Stripe's ({', '.join(f'`{reason}`' for reason in LIMITS)}, `other`), or our own "
    "`budget`.",
)
LANDED = Metric("landed.reports", "counter", "reports", ("report_type", "format"), "A report landed.")
BYTES = Metric(
    *("landed.bytes", "counter", "bytes", ("report_type", "format")),
    "Its size, as Stripe has it; not that on disk.",
)
ROWS = Metric(
    *("landed.rows", "counter", "rows", ("report_type", "format")),
    "Its records; none of a file that Stripe compressed.",
)
WAITING = Metric(
    *("waiting.count", "gauge", "waits", ("goal",)),
    "What the triggers of a process wait for now: report runs (`report_run`) and the data of report types "
    "(`report_type`), each once, however many wait for it, and tasks that wait for `room` under a cap.",
)
OLDEST = Metric(
    *("waiting.oldest", "gauge", "s", ("goal",)),
    "For how long one of these is waited for, at most; 0 where there is none.",
)

ALL = (
    *(CREATED, ATTACHED, SUPERSEDED, UNCOUNTED),
    *(DURATION, NOTICED, WAIT, WAITING, OLDEST),
    *(REQUESTS, LIMITED, PAUSES),
    *(LANDED, BYTES, ROWS),
)

Resume = Literal[
    "fresh_submit", "reconnect_attempt", "reconnect_success", "already_succeeded", "terminal_resubmit"
]
_RESUMES: Mapping[Resume, str] = {
    "fresh_submit": "Nothing was submitted before; a report run was.",
    "reconnect_attempt": "What an earlier try had submitted was known, and looked at.",
    "reconnect_success": "Its report run was pending, and the try goes on with it.",
    "already_succeeded": "Its report run had succeeded, and the try takes it.",
    "terminal_resubmit": "Its report run was of no use, and another one was submitted.",
}
DURABLE: Mapping[Resume, Metric] = {
    name: Metric(name, "counter", "tries", ("operator",), meaning, prefix="resumable_job.")
    for name, meaning in _RESUMES.items()
}
"""Airflow's own names for what a try decides, as its ``ResumableJobMixin`` (≥ 3.3) has them."""

Goal = Literal["report_run", "report_type", "room"]
GOALS: tuple[Goal, ...] = ("report_run", "report_type", "room")

_now_waiting: Mapping[Goal, WeakKeyDictionary[object, tuple[int, float]]] = {
    goal: WeakKeyDictionary() for goal in GOALS
}
_said: set[type[Exception]] = set()


def noticed(run: ReportRun, since: float) -> None:
    """Measure a run that was seen to have succeeded while it was waited for.

    :param run: as it is now; of a failed one Stripe doesn't say when it failed.
    :param since: epoch seconds from which on it is waited for; Stripe's are whole ones.
    """
    if run.succeeded_at is not None and run.succeeded_at >= math.floor(since):
        now = time.time() if run.seen_at is None else run.seen_at
        DURATION.send(run.succeeded_at - run.created, report_type=run.report_type)
        NOTICED.send(now - run.succeeded_at, report_type=run.report_type)


def requested(operation: str, status: int | None) -> None:
    """Count a request.

    :param operation: what it does (:attr:`~airflow_reportrun.reporting.endpoints.Request.operation`), or
        ``read_file``.
    :param status: of the answer, None where none came.
    """
    REQUESTS.send(operation=operation, status="none" if status is None else str(status))
    if status == 429:
        LIMITED.send()


def paused(seconds: float, reason: str | None) -> None:
    """Measure a pause that a limit made.

    :param reason: what Stripe gave for it, None where it gave none; ``budget`` for our own.
    """
    known = reason in (*LIMITS, "budget")
    PAUSES.send(seconds, reason=reason if reason and known else "other")


def landed(report_type: str, format: str, size: int, rows: int | None) -> None:
    """Count a report that was landed, by its contents.

    :param format: one of ``FORMATS``, ``sql``, ``iceberg`` or ``delta``.
    :param size: bytes of Stripe's file.
    :param rows: None where they can't be told.
    """
    tags = {"report_type": report_type, "format": format}
    LANDED.send(1, **tags)
    BYTES.send(size, **tags)
    if rows is not None:
        ROWS.send(rows, **tags)


def resumed(operator: str, decisions: Iterable[Resume], team_name: str | None) -> None:
    """Count what a try decided over what earlier tries had submitted.

    :param operator: the name of its class.
    :param team_name: the team of its DAG, where Airflow has teams.
    """
    tags = {"operator": operator, **({"team_name": team_name} if team_name else {})}
    for decision in decisions:
        DURABLE[decision].send(1, **tags)


def waiting(watcher: object, goal: Goal, count: int, oldest: float) -> None:
    """Say what a watcher waits for; what the process does, the sum and the oldest of them, is what is sent.

    :param watcher: whose last word this is; with a count of 0 it is forgotten.
    :param count: report runs or types that it waits for.
    :param oldest: seconds since the oldest wait for one began.
    """
    its = _now_waiting[goal]
    its[watcher] = (count, oldest)
    if not count:
        del its[watcher]
    WAITING.send(sum(count for count, _ in its.values()), goal=goal)
    OLDEST.send(max((oldest for _, oldest in its.values()), default=0.0), goal=goal)


def _tag(name: str, value: str) -> str:
    """Return a tag's value; what no report type is called would be an error in the log of each value."""
    known = name != "report_type" or re.fullmatch(r"[a-z0-9_.]{1,100}", value)
    return value if known else "other"
