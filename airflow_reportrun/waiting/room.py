"""Counts the pending report runs of an account by Stripe's list, for who waits until there is room for another.

Without I/O and without a clock.
"""

from __future__ import annotations

import math
from bisect import bisect_left
from collections import deque
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import TYPE_CHECKING

from airflow_reportrun.reporting import endpoints
from airflow_reportrun.reporting.errors import UnexpectedResponseError
from airflow_reportrun.reporting.models import ReportRunStatus, is_instant

if TYPE_CHECKING:
    from airflow_reportrun.reporting.endpoints import Request
    from airflow_reportrun.reporting.models import ListPage

PROMISE = 60.0
"""Seconds in which a task that was told of room has surely asked for its report run, or won't; a count that takes
longer begins anew, as it may miss such a run."""

MOST_RUNS = 20_000
"""Report runs of a count: no account has as many while a task waits, and each 100 are a request."""

BELIEF = 300.0
"""Seconds for which a run that was pending behind the first pages is taken for pending without another look."""


@dataclass(eq=False)
class Count:
    """A count, of which any number of pages were read; the question for the next one.

    :param at: epoch seconds at which it began.
    :param since: epoch seconds; runs that were created before are not looked at.
    :param elsewhere: runs that take room besides those on the list: pending ones from before, or to be created.
    :param runs: those that were read, newest first: their ids, when they were created, whether they are pending.
    :param whole: whether all were.
    :param age: seconds for which some of them were not looked at.
    """

    at: float
    since: int
    elsewhere: int = 0
    runs: dict[str, tuple[int, bool]] = field(default_factory=dict)
    whole: bool = False
    age: float = 0.0

    @classmethod
    def over(cls, window: float, at: float) -> Count:
        """Return a count of the runs of the last seconds."""
        return cls(at, max(0, math.floor(at - window)))

    def covers(self, window: float) -> bool:
        """Whether it goes back so many seconds."""
        return self.since <= max(0.0, self.at - window)

    def pending(self, window: float) -> list[int]:
        """Return when those were created that are pending, of the last seconds, in order."""
        return self._pending[bisect_left(self._pending, math.floor(self.at - window)) :]

    @cached_property
    def _pending(self) -> list[int]:
        return sorted(created for created, is_pending in self.runs.values() if is_pending)

    @cached_property
    def newest(self) -> int:
        """Epoch seconds at which the newest run was created."""
        return max((created for created, _ in self.runs.values()), default=self.since)

    @property
    def last(self) -> str | None:
        """The id of the run behind which the list goes on."""
        return next(reversed(self.runs), None)

    def request(self) -> Request[ListPage]:
        """Return what to send."""
        return endpoints.list_report_runs(created={"gte": self.since}, starting_after=self.last)

    def read(self, page: ListPage) -> Count:
        """Return the count with another page; what can't be read of a run that may be anybody's is passed over.

        :raises UnexpectedResponseError: when the list would never end.
        """
        found = dict(filter(None, map(_shown, page.items)))
        if page.has_more and found.keys() <= self.runs.keys():
            raise UnexpectedResponseError(f"The list of report runs does not move on after {self.last}")
        if page.has_more and len(self.runs) >= MOST_RUNS:
            raise UnexpectedResponseError(f"The list of report runs has no end in {MOST_RUNS} of them")
        return replace(self, runs={**self.runs, **found}, whole=not page.has_more)

    def completed_by(self, earlier: Count) -> Count:
        """Return the count with the rest of an earlier one, where it leads up to it: what had ended has ended."""
        if self.whole or earlier.since > self.since or self.runs.keys().isdisjoint(earlier.runs):
            return self
        rest = {it: run for it, run in earlier.runs.items() if it not in self.runs and run[0] >= self.since}
        age = earlier.age + self.at - earlier.at if any(is_pending for _, is_pending in rest.values()) else 0.0
        return self if age >= BELIEF else replace(self, runs={**self.runs, **rest}, whole=True, age=age)


def _shown(item: object) -> tuple[str, tuple[int, bool]] | None:
    it = item if isinstance(item, dict) else {}
    name, created, status = it.get("id"), it.get("created"), it.get("status")
    if isinstance(name, str) and isinstance(created, int) and is_instant(created) and isinstance(status, str):
        return name, (created, not ReportRunStatus(status).is_terminal)
    return None


class Room:
    """What is known of an account's room from one count to the next, and what of it is promised."""

    def __init__(self) -> None:
        self._counting: Count | None = None
        self._last: Count | None = None
        self._promises = deque[float]()  # until when each of them counts

    def question(self, window: float, now: float) -> Count:
        """Return the page to ask for, in a count of the runs of the last ``window`` seconds."""
        if not (it := self._counting) or now > it.at + PROMISE or not it.covers(window):
            it = self._counting = Count.over(window, now)
        return it

    def read(self, question: Count, page: ListPage) -> Count | None:
        """Return the count with all that takes room, None where another page is to be asked for."""
        count, last, came = question.read(page), self._last, 0
        if last:
            count = count.completed_by(last)
            came = sum(it not in last.runs and created >= last.newest for it, (created, _) in count.runs.items())
        self._counting = count
        if not count.whole:
            return None
        while self._promises and (came > 0 or self._promises[0] <= count.at):
            self._promises.popleft()
            came -= 1
        count.elsewhere = len(self._promises)
        self._counting, self._last = None, count
        return count

    def promise(self, count: Count, now: float) -> None:
        """Let one who is told to ask for a report run take its room until it does."""
        self._promises.append(now + PROMISE)
        count.elsewhere += 1

    def is_promised(self, now: float) -> bool:
        """Whether any promise counts."""
        return bool(self._promises) and self._promises[-1] > now
