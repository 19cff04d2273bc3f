"""Reads Stripe's events of ends, and says when they are of no use.

Without I/O and without a clock. All instants are epoch seconds.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from airflow_reportrun.reporting.models import EndEvent
from airflow_reportrun.waiting.pace import SHORTEST_SHARED_PAUSE
from airflow_reportrun.waiting.questions import EndsSince

if TYPE_CHECKING:
    from airflow_reportrun.reporting.models import ListPage, ReportRun

EVENT_LAG = 60
"""Seconds after which an event that is not there counts as missing."""

EVENT_OVERLAP = 2
"""Seconds of events that are asked for again, since not all appear in their order."""

MOST_EVENT_PAGES = 200
"""Pages of events of a look, 20,000 ends; a list that goes on would keep all others waiting."""


class Feed:
    """How far the events of an account were read.

    :ivar due: of the next look.
    :ivar works: whether the last look was answered.
    :ivar fails: why events are of no use, empty where they are.
    """

    def __init__(self) -> None:
        self.due = 0.0
        self.works = True
        self.fails = ""
        self._asked = -math.inf  # when the last page came
        self._since: int | None = None  # the newest event of whole looks; None before the first
        self._newest = 0  # the same, with this look
        self._after: str | None = None  # where this look goes on
        self._cursors = set[str]()  # all of these of this look, each of which has to be a new one
        self._began = 0.0  # the first look, by Stripe's clock: what ended before is not told of
        self._read_at = 0.0  # the last whole look, by the same
        self._untold: dict[
            str, float
        ] = {}  # runs that no event has told of, and since when they are known to fail

    @property
    def is_whole(self) -> bool:
        """Whether no page of this look is left to ask for."""
        return self._after is None

    def question(self) -> EndsSince:
        """Return the page to ask for."""
        since = self._since
        return EndsSince(since and max(0, since - EVENT_OVERLAP), self._after)

    def hasten(self, now: float) -> None:
        """Look soon, for somebody who came."""
        self.due = min(self.due, max(now, self._asked + SHORTEST_SHARED_PAUSE))

    def begin_anew(self) -> None:
        """Leave a look of which some pages were read."""
        self._after = None
        self._cursors.clear()

    def read(self, question: EndsSince, page: ListPage, now: float) -> list[EndEvent]:
        """Return the ends that a page tells of."""
        self._asked = now
        events = [EndEvent.from_api(item) for item in page.items]
        for event in events:
            self._untold.pop(event.report_run_id, None)
        self._newest = max([self._newest, *(event.created for event in events)])
        self._after = events[-1].id if page.has_more and events and question.since is not None else None
        if self._after is None:
            self._end_look(now if page.seen_at is None else page.seen_at, now)
        elif self._after in self._cursors:
            self.fails = f"their list does not move on after {self._after}"
        elif len(self._cursors) >= MOST_EVENT_PAGES:
            self.fails = f"their list has no end in {MOST_EVENT_PAGES} pages"
        else:
            self._cursors.add(self._after)
        return events

    def _end_look(self, seen_at: float, now: float) -> None:
        self._cursors.clear()
        self._since, self.works = self._newest, True
        self._read_at = seen_at
        self._began = self._began or seen_at
        if late := [it for it, since in self._untold.items() if since < now - EVENT_LAG]:
            self._miss(late[0])

    def compare(self, run: ReportRun, now: float) -> None:
        """Notice whether they did not tell of the end of a run that was waited for, and shown by itself."""
        if self._began < (run.succeeded_at or math.inf) < self._read_at - EVENT_LAG:
            self._miss(run.id)
        elif run.status == run.status.FAILED:
            self._untold[run.id] = now  # Stripe doesn't say when it failed

    def _miss(self, report_run_id: str) -> None:
        self.fails = f"they did not tell of the end of report run {report_run_id}"
