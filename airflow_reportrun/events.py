"""The message from a trigger to its task: built in one place, checked in one place."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any, Literal, get_args

from airflow_reportrun.reporting.errors import ReportRunFailedError

if TYPE_CHECKING:
    from airflow_reportrun.reporting.errors import ReportingError
    from airflow_reportrun.reporting.models import ReportRun

Outcome = Literal["succeeded", "failed", "timeout", "error"]


@dataclass(frozen=True)
class ReportRunEvent:
    """How the waiting for a report run ended.

    :param outcome: ``succeeded`` and ``failed`` are Stripe's; ``timeout`` is a run that was still pending at
        the deadline; ``error`` is a question to Stripe that can't get a better answer.
    :param report_run_id: ``frr_…``.
    :param message: what to tell the user, where it did not succeed.
    :param report_run: the run as :func:`describe` shows it, where it has ended.
    :param resume: what the task gave the trigger to have it back.
    """

    outcome: Outcome
    report_run_id: str
    message: str | None = None
    report_run: Mapping[str, Any] | None = None
    resume: Mapping[str, Any] = field(default_factory=dict)

    @classmethod
    def ended(cls, run: ReportRun) -> ReportRunEvent:
        """Return the event of a run that has succeeded or failed."""
        if run.status == run.status.SUCCEEDED:
            return cls("succeeded", run.id, report_run=describe(run))
        return cls("failed", run.id, message=str(ReportRunFailedError(run)), report_run=describe(run))

    @classmethod
    def error(cls, report_run_id: str, error: ReportingError) -> ReportRunEvent:
        """Return the event of a question that can't get a better answer."""
        return cls("error", report_run_id, message=str(error))

    def as_payload(self) -> dict[str, Any]:
        """Return the event as JSON, as Airflow stores it."""
        return asdict(self)

    @classmethod
    def from_payload(cls, payload: object) -> ReportRunEvent:
        """Read an event; fields of other versions of this package are passed over.

        :raises ValueError: when it is no event of ours.
        """
        if (
            not isinstance(payload, Mapping)
            or payload.get("outcome") not in get_args(Outcome)
            or not isinstance(payload.get("report_run_id"), str)
        ):
            raise ValueError(f"Expected an event of a report run from the trigger and got {payload!r:.200}")
        known = {name: payload[name] for name in cls.__dataclass_fields__ if name in payload}
        return cls(**known)


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
