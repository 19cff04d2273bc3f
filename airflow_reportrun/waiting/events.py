"""The messages from a trigger to its task: built in one place, checked in one place."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, field, fields
from typing import TYPE_CHECKING, Any, ClassVar, Self

from airflow_reportrun.reporting.errors import ReportRunFailedError

if TYPE_CHECKING:
    from airflow_reportrun.reporting.errors import ReportingError
    from airflow_reportrun.reporting.models import ReportRun, ReportType


RESUME: Mapping[str, Any] = {
    "destination": str,
    "request_id": str,
    "adopted": bool,
    "refusal": str,
    "try_began": (int, float),
    "report_type": str,
    "created": (int, float),
    "room_since": (int, float),
    "stripe_conn_id": str,
    "stripe_account": str,
    "stripe_context": str,
}
"""What tasks of this package give their triggers to have it back; all of it may be missing."""


def _is_of(kind: Any, value: object) -> bool:
    """Tell whether a value is of a kind; numbers are instants, in epoch seconds."""
    from airflow_reportrun.reporting.models import LATEST

    if kind is bool or not isinstance(value, (int, float)):
        return isinstance(value, kind)
    return isinstance(value, kind) and not isinstance(value, bool) and 0 <= value < LATEST


@dataclass(frozen=True, kw_only=True)
class Event(ABC):
    """How a wait ended.

    :param outcome: one of ``outcomes``.
    :param message: what to tell the user, where it did not end well.
    :param resume: what the task gave the trigger to have it back.
    """

    outcomes: ClassVar[frozenset[str]]

    outcome: str
    message: str | None = None
    resume: Mapping[str, Any] = field(default_factory=dict)

    @abstractmethod
    def __str__(self) -> str:
        """Return the outcome in a line, for a log."""

    @property
    def is_good(self) -> bool:
        """Whether what was waited for is there."""
        return self.outcome not in ("failed", "timeout", "error")

    def as_payload(self) -> dict[str, Any]:
        """Return the event as JSON, as Airflow stores it."""
        return asdict(self)

    @classmethod
    def from_payload(cls, payload: object) -> Self:
        """Read an event; fields of other versions of this package are passed over.

        :raises ValueError: when it is no event of this kind, or a damaged one.
        """
        it = payload if isinstance(payload, Mapping) else {}
        known = {its.name: it.get(its.name) for its in fields(cls)}
        event = cls(**{**known, "resume": {} if known["resume"] is None else known["resume"]})
        if damaged := next((name for name, is_sound in event._checks() if not is_sound), None):
            raise ValueError(
                f"Expected a {cls.__name__} from the trigger, and its {damaged} is missing or damaged: "
                f"{getattr(event, damaged)!r:.100}. A retry of the task looks again."
            )
        return event

    def _checks(self) -> Iterator[tuple[str, bool]]:
        """Yield the names of the fields, and whether each is of its kind, and there where the outcome needs it."""
        yield "outcome", isinstance(self.outcome, str) and self.outcome in self.outcomes
        yield "message", self.message is None or isinstance(self.message, str)
        yield (
            "resume",
            isinstance(self.resume, Mapping)
            and all(
                self.resume.get(name) is None or _is_of(kind, self.resume[name]) for name, kind in RESUME.items()
            ),
        )


@dataclass(frozen=True, kw_only=True)
class ReportRunEvent(Event):
    """How the waiting for a report run ended.

    ``succeeded`` and ``failed`` are Stripe's words; ``timeout`` is a run that was still pending at the deadline;
    ``error`` is a question to Stripe that can't get a better answer.

    :param report_run_id: ``frr_…``.
    :param report_run: the run as :func:`describe` shows it, where it has ended.
    """

    outcomes = frozenset({"succeeded", "failed", "timeout", "error"})

    report_run_id: str
    report_run: Mapping[str, Any] | None = None

    def _checks(self) -> Iterator[tuple[str, bool]]:
        """Require that who succeeded brings the run that was waited for."""
        yield from super()._checks()
        yield "report_run_id", isinstance(self.report_run_id, str)
        run = self.report_run
        yield (
            "report_run",
            (
                (run.get("report_run_id"), run.get("status")) == (self.report_run_id, self.outcome)
                if isinstance(run, Mapping)
                else run is None and self.outcome != "succeeded"
            ),
        )

    def __str__(self) -> str:
        return f"Report run {self.report_run_id}: {self.outcome}."

    @property
    def tells_all(self) -> bool:
        """Whether it has all that a task returns of a run; an earlier version's may lack some."""
        return self.report_run is not None and self.report_run.keys() >= _DESCRIBED

    @classmethod
    def ended(cls, run: ReportRun) -> ReportRunEvent:
        """Return the event of a run that has succeeded or failed."""
        failed = run.status == run.status.FAILED
        return cls(
            outcome="failed" if failed else "succeeded",
            report_run_id=run.id,
            message=str(ReportRunFailedError(run.id, run.report_type, run.error)) if failed else None,
            report_run=describe(run),
        )

    @classmethod
    def timeout(cls, report_run_id: str) -> ReportRunEvent:
        """Return the event of a run that was still pending at the deadline."""
        message = f"Report run {report_run_id} was not seen to end by the deadline; Stripe goes on with it."
        return cls(outcome="timeout", report_run_id=report_run_id, message=message)

    @classmethod
    def error(cls, report_run_id: str, error: ReportingError) -> ReportRunEvent:
        """Return the event of a question that can't get a better answer."""
        return cls(outcome="error", report_run_id=report_run_id, message=str(error))


@dataclass(frozen=True, kw_only=True)
class ReportTypeEvent(Event):
    """How the waiting for the data of a report type ended.

    ``available`` is data that reaches as far as it was waited for; ``timeout`` and ``error`` are those of
    :class:`ReportRunEvent`.

    :param report_type: such as ``balance.summary.1``.
    :param availability: the type as :func:`describe_type` shows it, where the data is available.
    """

    outcomes = frozenset({"available", "timeout", "error"})

    report_type: str
    availability: Mapping[str, Any] | None = None

    def _checks(self) -> Iterator[tuple[str, bool]]:
        """Require that data which is available brings how far it reaches."""
        from airflow_reportrun.reporting.models import is_instant

        yield from super()._checks()
        yield "report_type", isinstance(self.report_type, str)
        yield (
            "availability",
            (
                self.outcome == "available" and is_instant(self.availability.get("data_available_end"))
                if isinstance(self.availability, Mapping)
                else self.availability is None and self.outcome != "available"
            ),
        )

    def __str__(self) -> str:
        return f"Data of {self.report_type}: {self.outcome}."

    @classmethod
    def available(cls, report_type: ReportType) -> ReportTypeEvent:
        """Return the event of data that is there."""
        return cls(outcome="available", report_type=report_type.id, availability=describe_type(report_type))

    @classmethod
    def timeout(cls, report_type: str, until: str) -> ReportTypeEvent:
        """Return the event of data that was not there by the deadline."""
        message = f"Stripe's data for {report_type} was not seen to reach {until} by the deadline."
        return cls(outcome="timeout", report_type=report_type, message=message)

    @classmethod
    def error(cls, report_type: str, error: ReportingError) -> ReportTypeEvent:
        """Return the event of a question that can't get a better answer."""
        return cls(outcome="error", report_type=report_type, message=str(error))


@dataclass(frozen=True, kw_only=True)
class PendingReportRunsEvent(Event):
    """How the waiting for room ended: until fewer than so many report runs of the account were pending.

    ``room`` is that it is one's turn; ``timeout`` and ``error`` are those of :class:`ReportRunEvent`.

    :param max_pending_report_runs: as many as may be pending.
    :param pending: how many of those created before ``newest`` were, where there is room.
    :param newest: epoch seconds of the newest report run that was counted, where there is room.
    """

    outcomes = frozenset({"room", "timeout", "error"})

    max_pending_report_runs: int
    pending: int | None = None
    newest: int | None = None

    def _checks(self) -> Iterator[tuple[str, bool]]:
        """Require that room brings what was counted."""
        from airflow_reportrun.reporting.models import is_instant

        yield from super()._checks()
        most, pending, room = self.max_pending_report_runs, self.pending, self.outcome == "room"
        yield "max_pending_report_runs", type(most) is int and most > 0
        yield "pending", type(pending) is int and 0 <= pending < most if pending is not None else not room
        yield "newest", is_instant(self.newest) if self.newest is not None else not room

    def __str__(self) -> str:
        return f"Fewer than {self.max_pending_report_runs} pending report runs: {self.outcome}."

    @classmethod
    def room(cls, most: int, pending: int, newest: int) -> PendingReportRunsEvent:
        """Return the event of room for another report run."""
        return cls(outcome="room", max_pending_report_runs=most, pending=pending, newest=newest)

    @classmethod
    def timeout(cls, most: int) -> PendingReportRunsEvent:
        """Return the event of room that was not there, or was others', until the deadline."""
        message = (
            f"The account had no room for another report run by the deadline: {most} or more were pending, or "
            "others came first. None was created."
        )
        return cls(outcome="timeout", max_pending_report_runs=most, message=message)

    @classmethod
    def error(cls, most: int, error: ReportingError) -> PendingReportRunsEvent:
        """Return the event of a question that can't get a better answer."""
        return cls(outcome="error", max_pending_report_runs=most, message=str(error))


_DESCRIBED = frozenset(
    {"report_run_id", "report_type", "status", "livemode", "interval_start", "interval_end", "file_id", "size"}
)


def describe(run: ReportRun) -> dict[str, Any]:
    """Return what a task says of a run in its XCom: small, JSON, without secrets.

    Instants are epoch seconds in UTC, ``size`` is bytes; what is not there is None.
    """
    return {
        "report_run_id": run.id,
        "report_type": run.report_type,
        "status": str(run.status),
        "livemode": run.livemode,
        "interval_start": run.parameters.get("interval_start"),
        "interval_end": run.parameters.get("interval_end"),
        "file_id": run.result.id if run.result else None,
        "size": run.result.size if run.result else None,
    }


def describe_type(report_type: ReportType) -> dict[str, Any]:
    """Return what a task says of a report type in its XCom; instants are epoch seconds in UTC."""
    return {
        "report_type": report_type.id,
        "livemode": report_type.livemode,
        "data_available_start": report_type.data_available_start,
        "data_available_end": report_type.data_available_end,
    }
