"""Counts the pending report runs of an account by Stripe's list, for who waits until there is room for another.

Without I/O and without a clock.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import TYPE_CHECKING, NamedTuple

from airflow_reportrun.reporting import endpoints
from airflow_reportrun.reporting.errors import UnexpectedResponseError
from airflow_reportrun.reporting.models import ReportRunStatus, is_instant

if TYPE_CHECKING:
    from airflow_reportrun.reporting.endpoints import Request
    from airflow_reportrun.reporting.models import ListPage

PROMISE = 60.0
"""Seconds in which a task that was told of room has surely asked for its report run, or won't."""

LONGEST_COUNT = 60.0
"""Seconds after which a count that came to no end begins anew."""

BELIEF = 300.0
"""Seconds for which a run that was pending behind the first pages is taken for pending without another look."""


class Shown(NamedTuple):
    """What counts of a report run.

    :param created: epoch seconds.
    """

    created: int
    is_pending: bool


@dataclass(frozen=True, eq=False)
class Count:
    """A count, of which any number of pages were read; the question for the next one.

    What can't be read of a run that may be anybody's is passed over.

    :param since: epoch seconds; runs that were created before are not looked at.
    :param elsewhere: runs that take room besides those on the list: pending ones from before, or to be created.
    :param runs: those that were read, by their ids, newest first.
    :param whole: whether all were.
    """

    since: int
    elsewhere: int = 0
    runs: dict[str, Shown] = field(default_factory=dict)
    whole: bool = False

    @cached_property
    def pending(self) -> int:
        """How many of the runs that were read are pending."""
        return sum(run.is_pending for run in self.runs.values())

    @property
    def taken(self) -> int:
        """How many runs take room."""
        return self.elsewhere + self.pending

    @property
    def newest(self) -> int:
        """Epoch seconds up to which the runs that were read were created."""
        return max((run.created for run in self.runs.values()), default=max(0, self.since - 1))

    @property
    def last(self) -> str | None:
        """The id of the run behind which the list goes on."""
        return next(reversed(self.runs), None)

    def request(self) -> Request[ListPage]:
        """Return what to send."""
        return endpoints.list_report_runs(created={"gte": self.since}, starting_after=self.last)

    def read(self, page: ListPage) -> Count:
        """Return the count with another page.

        :raises UnexpectedResponseError: when the list would never end.
        """
        found = dict(filter(None, map(_shown, page.items)))
        if page.has_more and found.keys() <= self.runs.keys():
            raise UnexpectedResponseError(f"The list of report runs does not move on after {self.last}")
        return replace(self, runs={**self.runs, **found}, whole=not page.has_more)

    def completed_by(self, earlier: Count) -> Count:
        """Return the count with the runs that only an earlier one has read, as they were then."""
        rest = {it: run for it, run in earlier.runs.items() if it not in self.runs and run.created >= self.since}
        return replace(self, runs={**self.runs, **rest}, whole=True)


def _shown(item: object) -> tuple[str, Shown] | None:
    it = item if isinstance(item, dict) else {}
    name, created, status = it.get("id"), it.get("created"), it.get("status")
    if isinstance(name, str) and isinstance(created, int) and is_instant(created) and isinstance(status, str):
        return name, Shown(created, not ReportRunStatus(status).is_terminal)
    return None


class Room:
    """What is known of an account's room from one count to the next, for all who wait for it."""

    def __init__(self) -> None:
        self._counting: Count | None = None
        self._last: Count | None = None
        self._checked_at = 0.0
        self._promised = 0
        self._promised_until = 0.0

    def question(self, since: int) -> Count:
        """Return the page to ask for.

        :param since: epoch seconds of the oldest run to count.
        """
        if self._counting is None or since > self._counting.since + LONGEST_COUNT:
            self._counting = Count(since)
        return self._counting

    def read(self, question: Count, page: ListPage, now: float) -> Count | None:
        """Return the count with all that takes room, None where another page is to be asked for.

        A page that leads up to what was counted last is as good as all: what had ended there has ended.

        :param now: epoch seconds.
        """
        count, last = question.read(page), self._last
        if not count.whole and last and count.runs.keys() & last.runs.keys():
            completed = count.completed_by(last)
            if completed.pending == count.pending:
                count = completed
            elif now - self._checked_at < BELIEF:
                return self._end(completed, now)
        if not count.whole:
            self._counting = count
            return None
        self._checked_at = now
        return self._end(count, now)

    def _end(self, count: Count, now: float) -> Count:
        came = len(count.runs.keys() - self._last.runs.keys()) if self._last else 0
        self._promised = max(0, self._promised - came) if now < self._promised_until else 0
        self._counting, self._last = None, count
        return replace(count, elsewhere=self._promised)

    def promise(self, count: Count, now: float) -> Count:
        """Return what is left when one is told to ask for a report run; until it does, it takes its room."""
        self._promised, self._promised_until = self._promised + 1, now + PROMISE
        return replace(count, elsewhere=self._promised)
