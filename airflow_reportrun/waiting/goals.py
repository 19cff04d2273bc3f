"""What is waited for, and what a look at it means: has it come, failed for good, or is it waited for still."""

from __future__ import annotations

import time
from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Generic, TypeVar

from airflow_reportrun.reporting import endpoints
from airflow_reportrun.reporting.models import in_utc
from airflow_reportrun.waiting.events import Event, PendingReportRunsEvent, ReportRunEvent, ReportTypeEvent
from airflow_reportrun.waiting.room import Count

if TYPE_CHECKING:
    from airflow_reportrun.reporting.client import ReportingClient
    from airflow_reportrun.reporting.endpoints import Request
    from airflow_reportrun.reporting.errors import ReportingError
    from airflow_reportrun.reporting.models import ReportRun, ReportType

T = TypeVar("T")
E = TypeVar("E", bound=Event)


@dataclass(frozen=True)
class StillWaiting:
    """A look that decided nothing.

    :param words: what there is to say about it, mostly nothing.
    :param is_usual: each look may say so.
    """

    words: str = ""
    is_usual: bool = False


class Goal(ABC, Generic[T, E]):
    """Something at Stripe that is waited for."""

    @abstractmethod
    def __str__(self) -> str:
        """Return what is waited for, for a log."""

    @abstractmethod
    def request(self) -> Request[Any]:
        """Return the question."""

    def ask(self, client: ReportingClient) -> T:
        """Ask, and return the answer."""
        answer: T = client.send(self.request())
        return answer

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
        return f"Stripe's data for {self.report_type} to reach {in_utc(self.until)}"

    def request(self) -> Request[ReportType]:
        """Ask for the report type."""
        return endpoints.retrieve_report_type(self.report_type)

    def judge(self, answer: ReportType) -> ReportTypeEvent | StillWaiting:
        """Tell whether the data is there; as far as it goes counts, since equality is allowed."""
        if answer.data_available_end >= self.until:
            return ReportTypeEvent.available(answer)
        return StillWaiting(
            f"Stripe's data for {answer.id} reaches {in_utc(answer.data_available_end)}; "
            f"waiting until it reaches {in_utc(self.until)}.",
            is_usual=True,
        )

    def error(self, error: ReportingError) -> ReportTypeEvent:
        """Tell of an error that stays."""
        return ReportTypeEvent.error(self.report_type, error)

    def timeout(self) -> ReportTypeEvent:
        """Tell of data that is not there."""
        return ReportTypeEvent.timeout(self.report_type, in_utc(self.until))


@dataclass(frozen=True)
class RoomForReportRun(Goal[Count, PendingReportRunsEvent]):
    """Fewer pending report runs of the account than so many.

    :param most: as many as may be pending.
    :param window: seconds; older runs are not counted.
    :param pending: how many of those were pending that were created before ``newest``, where that was counted.
    :param newest: epoch seconds from which to count.
    """

    most: int
    window: float
    pending: int = 0
    newest: int | None = None

    def __str__(self) -> str:
        return f"fewer than {self.most} pending report runs"

    def request(self) -> Request[Any]:
        """Ask for the first page of the report runs."""
        return self._count().request()

    def ask(self, client: ReportingClient) -> Count:
        """Count the pending report runs, as far as that decides."""
        count = self._count()
        while not count.whole and not isinstance(self.judge(count), StillWaiting):
            count = count.read(client.send(count.request()))
        return count

    def _count(self) -> Count:
        if self.newest is None:
            return Count.over(self.window, time.time())
        return Count(time.time(), self.newest, elsewhere=self.pending)

    def judge(self, answer: Count) -> PendingReportRunsEvent | StillWaiting:
        """Tell whether there is room for one more."""
        pending = answer.pending(self.window)
        if answer.elsewhere + len(pending) >= self.most:
            return StillWaiting()
        older = sum(created < answer.newest for created in pending)
        return PendingReportRunsEvent.room(self.most, older, answer.newest)

    def error(self, error: ReportingError) -> PendingReportRunsEvent:
        """Tell of an error that stays."""
        return PendingReportRunsEvent.error(self.most, error)

    def timeout(self) -> PendingReportRunsEvent:
        """Tell that there was no room."""
        return PendingReportRunsEvent.timeout(self.most)
