"""What is waited for, and what a look at it means: has it come, failed for good, or is it waited for still."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Generic, TypeVar

from airflow_reportrun.reporting import endpoints
from airflow_reportrun.waiting.events import Event, ReportRunEvent, ReportTypeEvent

if TYPE_CHECKING:
    from airflow_reportrun.reporting.endpoints import Request
    from airflow_reportrun.reporting.errors import ReportingError
    from airflow_reportrun.reporting.models import ReportRun, ReportType

T = TypeVar("T")
E = TypeVar("E", bound=Event)


@dataclass(frozen=True)
class StillWaiting:
    """A look that decided nothing.

    :param words: what there is to say about it, mostly nothing.
    """

    words: str = ""


class Goal(ABC, Generic[T, E]):
    """Something at Stripe that is waited for."""

    @abstractmethod
    def __str__(self) -> str:
        """Return what is waited for, for a log."""

    @abstractmethod
    def request(self) -> Request[T]:
        """Return the question."""

    @abstractmethod
    def judge(self, answer: T) -> E | StillWaiting:
        """Return the event, or that the wait goes on."""

    @abstractmethod
    def error(self, error: ReportingError) -> E:
        """Return the event of an error that stays."""

    @abstractmethod
    def timeout(self) -> E:
        """Return the event of a deadline that is over."""

    def judge_error(self, error: ReportingError) -> E | StillWaiting:
        """Return the event; an error that passes says nothing about the goal."""
        if error.is_transient:
            return StillWaiting(f"Could not look, looking again later: {error}")
        return self.error(error)


@dataclass(frozen=True)
class ReportRunEnds(Goal["ReportRun", ReportRunEvent]):
    """The end of a report run.

    :param report_run_id: ``frr_…``.
    """

    report_run_id: str

    def __str__(self) -> str:
        return f"the end of report run {self.report_run_id}"

    def request(self) -> Request[ReportRun]:
        """Ask for the run."""
        return endpoints.retrieve_report_run(self.report_run_id)

    def judge(self, answer: ReportRun) -> ReportRunEvent | StillWaiting:
        """Tell whether it has ended."""
        if answer.status.is_terminal:
            return ReportRunEvent.ended(answer)
        if answer.status.is_known:
            return StillWaiting()
        return StillWaiting(
            f"Report run {answer.id} has the unknown status '{answer.status}'; it counts as pending."
        )

    def error(self, error: ReportingError) -> ReportRunEvent:
        """Tell of an error that stays."""
        return ReportRunEvent.error(self.report_run_id, error)

    def timeout(self) -> ReportRunEvent:
        """Tell of a run that is still pending."""
        return ReportRunEvent.timeout(self.report_run_id)


@dataclass(frozen=True)
class DataReaches(Goal["ReportType", ReportTypeEvent]):
    """A report type's data that reaches up to an instant.

    :param report_type: such as ``balance.summary.1``.
    :param until: epoch seconds.
    """

    report_type: str
    until: int

    def __str__(self) -> str:
        return f"Stripe's data for {self.report_type} to reach {_utc(self.until)}"

    def request(self) -> Request[ReportType]:
        """Ask for the report type."""
        return endpoints.retrieve_report_type(self.report_type)

    def judge(self, answer: ReportType) -> ReportTypeEvent | StillWaiting:
        """Tell whether the data is there; as far as it goes counts, since equality is allowed."""
        if answer.data_available_end >= self.until:
            return ReportTypeEvent.available(answer)
        return StillWaiting(
            f"Stripe's data for {answer.id} reaches {_utc(answer.data_available_end)}; "
            f"waiting until it reaches {_utc(self.until)}."
        )

    def error(self, error: ReportingError) -> ReportTypeEvent:
        """Tell of an error that stays."""
        return ReportTypeEvent.error(self.report_type, error)

    def timeout(self) -> ReportTypeEvent:
        """Tell of data that is not there."""
        return ReportTypeEvent.timeout(self.report_type, _utc(self.until))


def _utc(seconds: int) -> str:
    return f"{datetime.fromtimestamp(seconds, UTC):%Y-%m-%d %H:%M:%S} UTC"
