"""What can be asked of Stripe for those who wait, as values."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from airflow_reportrun.reporting import endpoints
from airflow_reportrun.waiting.room import Count

if TYPE_CHECKING:
    from airflow_reportrun.reporting.endpoints import Request
    from airflow_reportrun.reporting.models import ListPage, ReportRun


@dataclass(frozen=True)
class OneRun:
    """Ask for a report run."""

    report_run_id: str

    def request(self) -> Request[ReportRun]:
        """Return what to send."""
        return endpoints.retrieve_report_run(self.report_run_id)


@dataclass(frozen=True)
class OneType:
    """Ask how far the data of a report type reaches."""

    report_type: str

    def request(self) -> Request[Any]:
        """Return what to send."""
        return endpoints.retrieve_report_type(self.report_type)


@dataclass(frozen=True)
class RunsFrom:
    """Ask for a page of report runs.

    :param newest: epoch seconds of the newest to show.
    :param oldest: epoch seconds of the oldest to show.
    :param after: the id of the run before the page, where more were created in one second than a page has.
    """

    newest: int
    oldest: int
    after: str | None = None

    def request(self) -> Request[ListPage]:
        """Return what to send."""
        return endpoints.list_report_runs(
            created={"lte": self.newest, "gte": self.oldest}, starting_after=self.after
        )


@dataclass(frozen=True)
class EndsSince:
    """Ask for a page of events.

    :param since: epoch seconds of the oldest to show; None for the newest alone, of whatever age.
    :param after: the id of the last event of the page before.
    """

    since: int | None
    after: str | None = None

    def request(self) -> Request[ListPage]:
        """Return what to send."""
        return endpoints.list_end_events(
            since=self.since, starting_after=self.after, limit=1 if self.since is None else 100
        )


Question = OneRun | OneType | RunsFrom | EndsSince | Count
