"""Decides what to ask Stripe for all who wait on one account, when to ask it, and for whom an answer is.

Without I/O and without a clock. Whoever drives a :class:`Plan` sends the question that it gives (:meth:`Plan.ask`)
and brings its answer or its error before it asks for the next. The rules:

* Stripe lists report runs newest first, so that a page from the newest that is due shows all that are waited for
  among a hundred. A run without company on its page is retrieved by itself, and so is one that the list does not
  show.
* Who looks alone keeps the pace of its own :class:`~airflow_reportrun.waiting.pace.Watch`. A look that serves many
  comes as often as all of them together would pay for, down to a twelfth of their age and some seconds.
* Whoever joins is looked at once, soon, so that what ended before is not missed, and once more at its deadline.
* Events tell of ends for one request, whatever their number. They are not the truth: a run is looked at all the
  same when it has doubled its age. One that ended long before events which did not tell of it ends their use.
* Who waits for room for a report run is let in when it is there: one count of what is pending serves all, each
  with its own limit and window.
* An error that passes puts the next question off, for all; what failed comes after what did not, so that one run
  whose looks fail holds nobody up. An error that stays is of those who were asked about; only credentials and
  permissions concern everybody.
"""

from __future__ import annotations

import math
import random
from collections.abc import Iterable, Iterator, Sequence
from typing import TYPE_CHECKING, Any, Literal

from airflow_reportrun.reporting.errors import (
    AuthenticationError,
    ConfigurationError,
    PermissionDeniedError,
    UnexpectedResponseError,
)
from airflow_reportrun.reporting.models import ReportRun
from airflow_reportrun.reporting.resending import ResendPolicy
from airflow_reportrun.waiting.awaited import Awaited, AwaitedRun, Waiter, looks_a_second, shared_pause
from airflow_reportrun.waiting.feed import Feed
from airflow_reportrun.waiting.goals import DataReaches, ReportRunEnds, StillWaiting
from airflow_reportrun.waiting.pace import LONGEST_PAUSE, SHORTEST_SHARED_PAUSE
from airflow_reportrun.waiting.questions import EndsSince, OneRun, OneType, Question, RunsFrom
from airflow_reportrun.waiting.room import Count, Room

if TYPE_CHECKING:
    from airflow_reportrun.reporting.errors import ReportingError
    from airflow_reportrun.reporting.models import ListPage
    from airflow_reportrun.waiting.events import Event

LAST_LOOK_GRACE = 120.0
"""Seconds after its deadline in which a last look may fail and be made again."""

USUAL_DELAY = 3600.0
"""Seconds for which a run is looked for in the list that is older than the wait for it."""

SHORTEST_CHECK = 600.0
"""Seconds of age, at least, until a run is looked at that events should tell of."""

MOST_FAILED_PAGES = 3
"""Pages in a row that fail while single runs are shown, after which runs are retrieved one by one for a while."""

WITHOUT_LISTS = 600.0
"""Seconds of that."""

PAUSES = ResendPolicy(longest_pause=60.0)

ROOM = "room"
"""What those wait for who wait for room: one thing for all of them."""

Told = list[tuple[Waiter, "Event | StillWaiting"]]
"""Who is told what; ``StillWaiting`` has words for a log."""


class Plan:
    """See the module. All instants are epoch seconds.

    :param use_events: whether Stripe's events may be asked for.
    :param phase: seconds at which the ticks lie to which shared looks keep, so that watchers don't go in step.
    :param room: what an earlier plan for the same account knew, and had promised.
    :ivar words: what there is to log since it was last emptied.
    :ivar ended: report runs that were seen to end since it was last emptied, and since when each was waited for.
    :ivar events_fail: why events are of no use for this account, empty where they are.
    """

    def __init__(self, *, use_events: bool = False, phase: float | None = None, room: Room | None = None) -> None:
        self.runs: dict[str, AwaitedRun] = {}
        self.types: dict[str, Awaited] = {}
        self.rooms: dict[str, Awaited] = {}
        self.words: list[str] = []
        self.ended: list[tuple[ReportRun, float]] = []
        self.events_fail = ""
        self.failures = 0
        self._phase = random.uniform(0, LONGEST_PAUSE) if phase is None else phase  # noqa: S311 - spreads load
        self._feed = Feed() if use_events else None
        self._room = room or Room()
        self._without_lists_until = -math.inf
        self._page_failed = False
        self._failed_pages = 0
        self._failing: dict[Question, float] = {}  # since the last answer, and when
        self._turn: set[str] = set()
        self._looked = -math.inf
        self._put_off_until = -math.inf

    # Who waits

    def join(self, waiter: Waiter, now: float) -> None:
        """Let somebody wait."""
        group, name = self._place_of(waiter)
        if name not in group:
            group[name] = AwaitedRun(name, created=waiter.watch.since) if group is self.runs else Awaited(name)
        awaited = group[name]
        waiter.gives_up = max(now, waiter.watch.deadline) + LAST_LOOK_GRACE
        awaited.waiters.append(waiter)
        # More may come to be looked at together; and where events tell of what ends from now on, there is time.
        gap = SHORTEST_SHARED_PAUSE * (2 if self._feed and self._feed.works else 1)
        looked, own = self._looked if group is self.runs else awaited.looked, waiter.watch.own_pause(now)
        together = self._tick(now, gap) + gap if now - looked < gap <= own else now
        awaited.due = min(awaited.due, max(together, looked + min(gap, own)), max(now, waiter.watch.deadline))
        if self._feed:
            self._feed.hasten(now)

    def leave(self, waiter: Waiter) -> None:
        """Let somebody go who waits no more, or was told already."""
        group, name = self._place_of(waiter)
        awaited = group.get(name)
        if awaited and waiter in awaited.waiters:
            awaited.waiters.remove(waiter)
            if not awaited.waiters:
                del group[name]

    def use_events(self, use: bool) -> None:
        """Say whether events may be asked for."""
        if use and not self.events_fail:
            self._feed = self._feed or Feed()
        elif self._feed:
            self._feed = None
            self._hurry()

    def expired(self, now: float) -> Told:
        """Return who is told that the time is over, since no last look could be made."""
        late = [it for it in self._waiters() if now >= it.gives_up]
        for waiter in late:
            self.leave(waiter)
        return [(waiter, waiter.goal.timeout()) for waiter in late]

    def waiting_since(self) -> dict[Literal["report_run", "report_type", "room"], list[float]]:
        """Return for each thing that is waited for since when it is, in epoch seconds; of room for each waiter."""
        groups: tuple[Iterable[Awaited], ...] = (self.runs.values(), self.types.values())
        runs, types = ([min(it.watch.since for it in awaited.waiters) for awaited in group] for group in groups)
        room = [it.watch.since for awaited in self.rooms.values() for it in awaited.waiters]
        return {"report_run": runs, "report_type": types, "room": room}

    def _tick(self, at: float, every: float) -> float:
        """Return the last common tick up to an instant: what is due about the same time is due together."""
        return at - (at - self._phase) % every

    def _place_of(self, waiter: Waiter) -> tuple[dict[str, Any], str]:
        goal = waiter.goal
        if isinstance(goal, ReportRunEnds):
            return self.runs, goal.report_run_id
        if isinstance(goal, DataReaches):
            return self.types, goal.report_type
        return self.rooms, ROOM

    def _waiters(self) -> list[Waiter]:
        return [waiter for it in self._everything() for waiter in it.waiters]

    def _everything(self) -> list[Awaited]:
        return [*self.runs.values(), *self.types.values(), *self.rooms.values()]

    # What to ask

    def ask(self, now: float) -> Question | float:
        """Return the question to ask now, or the seconds until there is one; infinity where nobody waits."""
        everything = self._everything()
        if not everything:
            return math.inf
        if now < self._put_off_until:
            return self._put_off_until - now
        fresh = (question for question in self._due(now) if question not in self._failing)
        if question := next(fresh, None) or min(self._due(now), key=self._failing.__getitem__, default=None):
            return question
        soonest = min(it.due for it in everything)
        return max(0.0, (min(soonest, self._feed.due) if self._feed and self.runs else soonest) - now)

    def _due(self, now: float) -> Iterator[Question]:
        """Yield what could be asked now, what is best asked first."""
        for report_type in self.types.values():
            if report_type.due <= now:
                yield OneType(report_type.id)
        if self._feed and self.runs and self._feed.due <= now:
            yield self._feed.question()
        due = [run for run in self.runs.values() if run.due <= now]
        # Who falls due meanwhile comes after all of these, or slow answers would keep the oldest waiting for ever.
        if not any(run.id in self._turn for run in due):
            self._turn = {run.id for run in due}
        turn = (run for run in due if run.id in self._turn)
        for run in sorted(turn, key=lambda run: (run.created, run.after is None), reverse=True):
            yield self._look_at(run, now)
        for room in self.rooms.values():
            if room.due <= now:
                yield self._room.question(max(it.window for it in room.waiters), now)

    def _look_at(self, newest: AwaitedRun, now: float) -> OneRun | RunsFrom:
        """Return how to look at the newest of the runs that are due."""
        if newest.singly or newest.alone or self._page_failed or now < self._without_lists_until:
            return OneRun(newest.id)
        older = [run for run in self.runs.values() if run.created <= newest.created and not run.singly]
        if older == [newest]:
            return OneRun(newest.id)
        # Who waits may have come late to its run.
        oldest = min(run.created - (0 if run.seen else USUAL_DELAY) for run in older)
        return RunsFrom(math.ceil(newest.created), math.floor(oldest), newest.after)

    # What an answer means

    def answered(self, question: Question, answer: Any, now: float) -> Told:
        """Return who is told what, now that a question is answered."""
        self.failures = 0
        self._failing.clear()
        if isinstance(question, OneType):
            it = self.types.get(question.report_type)
            return self._look(it, answer, now) if it else []
        if isinstance(question, EndsSince):
            return self._read_events(question, answer, now)
        if isinstance(question, Count):
            return self._count(question, answer, now)
        self._looked = now
        if isinstance(question, OneRun):
            if self._page_failed:
                self._count_failed_page(now)
            run = self.runs.get(question.report_run_id)
            if run and not run.seen:
                run.singly, run.after = False, None  # now that it is known when it was created
            return self._look(run, answer, now) if run else []
        return self._read_page(question, answer, now)

    def _read_page(self, question: RunsFrom, page: ListPage, now: float) -> Told:
        told, shown = Told(), list[AwaitedRun]()
        self._failed_pages = 0
        last_id, last_created = _of_last(page)
        for run, item in self._known(page.items):
            try:
                answer = ReportRun.from_api(item)
            except UnexpectedResponseError:
                run.singly = True  # so that its words are told to those who wait for it
                continue
            run.after = None
            self._compare_with_events(run, answer, now)
            told += self._judge(run, answer, now)
            shown.append(run)
        for run in shown:
            run.alone = len(shown) == 1
        self._rest(shown, now)
        for run in self.runs.values():
            # What fell due since the look began may be on a page before this one.
            if run.due > now or run.id not in self._turn or run.singly or run.created > question.newest:
                continue
            second, run.after = math.ceil(run.created), None
            # One that is older than the wait for it may be behind, and is with many others.
            behind = not run.seen and len(shown) > 1
            if last_created is None or last_id == question.after or (second > last_created and not behind):
                run.singly = True
            elif second >= last_created:
                run.after = last_id
        return told

    def _known(self, items: Iterable[object]) -> Iterator[tuple[AwaitedRun, object]]:
        for item in items:
            run = self.runs.get(str(item.get("id"))) if isinstance(item, dict) else None
            if run:
                yield run, item

    def _read_events(self, question: EndsSince, page: ListPage, now: float) -> Told:
        feed = self._feed
        if not feed:
            return []
        events = feed.read(question, page, now)
        told = self._judge_shown([event.report_run for event in events], now)
        if feed.fails:
            self._stop_events(feed.fails)
        elif feed.is_whole:
            feed.due = now + shared_pause(self.runs.values(), now)
        return told

    def _judge_shown(self, items: Iterable[object], now: float) -> Told:
        """Return who is told what of report runs that were shown without a look at them."""
        told = Told()
        for run, item in self._known(items):
            try:
                told += self._judge(run, ReportRun.from_api(item), now)
            except UnexpectedResponseError:
                run.due = now  # looked at by itself, for its words to be told
        return told

    def _count(self, question: Count, page: ListPage, now: float) -> Told:
        """Let as many in as there is room for, those first who have waited longest."""
        count: Any
        try:
            count = self._room.read(question, page)
        except UnexpectedResponseError as error:
            return self.failed(question, error, now)
        told = self._judge_shown(page.items, now)
        if count is None or not (room := self.rooms.get(ROOM)):
            return told
        for waiter in sorted(room.waiters, key=lambda it: it.watch.since):
            if not count.covers(waiter.window):  # it came while others were counted for
                continue
            judged = waiter.goal.judge(count)
            if not isinstance(judged, StillWaiting):
                self._room.promise(count, now)
            elif now >= waiter.watch.deadline:
                judged = waiter.goal.timeout()
            else:
                continue
            self.leave(waiter)
            told.append((waiter, judged))
        self._rest([room], now)
        return told

    def _look(self, awaited: Awaited, answer: Any, now: float) -> Told:
        """Return who is told what of a look at one thing by itself."""
        if isinstance(awaited, AwaitedRun):
            self._compare_with_events(awaited, answer, now)
        told = self._judge(awaited, answer, now)
        self._rest([awaited], now)
        return told

    def _judge(self, awaited: Awaited, answer: Any, now: float) -> Told:
        """Return who is told what of an answer about what they wait for."""
        told, waiters = Told(), list(awaited.waiters)
        for waiter in waiters:
            judged = waiter.goal.judge(answer)
            if isinstance(judged, StillWaiting) and now >= waiter.watch.deadline:
                judged = waiter.goal.timeout()
            if not isinstance(judged, StillWaiting):
                self.leave(waiter)
            told.append((waiter, judged))
        if isinstance(awaited, AwaitedRun):
            awaited.created, awaited.seen = answer.created, True
            if answer.status.is_terminal:
                self.ended.append((answer, min(waiter.watch.since for waiter in waiters)))
        return told

    def _compare_with_events(self, run: AwaitedRun, answer: ReportRun, now: float) -> None:
        """Stop asking for events where they have not told of an end that they should have told of."""
        if self._feed and run.seen:
            self._feed.compare(answer, now)
            if self._feed.fails:
                self._stop_events(self._feed.fails)

    def _stop_events(self, why: str) -> None:
        self._feed, self.events_fail = None, why
        self.words.append(
            f"Stripe's events are of no use for this account: {why.rstrip('.')}. "
            "From now on the list of report runs is asked."
        )
        self._hurry()

    def _hurry(self) -> None:
        """Look at all soon, as nobody else does now."""
        for run in self.runs.values():
            run.due = min(run.due, self._looked + SHORTEST_SHARED_PAUSE)

    def _rest(self, looked_at: Sequence[Awaited], now: float) -> None:
        """Say when what was looked at together, and is still waited for, is looked at again."""
        still = [it for it in looked_at if it.waiters]
        if not still:
            return
        pause, paid = shared_pause(still, now), 1 / looks_a_second(still, now)
        own = min(it.keenest(now).own_pause(now) for it in still)
        due = self._tick(now + min(pause + SHORTEST_SHARED_PAUSE / 2, own), SHORTEST_SHARED_PAUSE)
        if due < now + 0.9 * paid:  # so early would be more looks than each alone, by over a tenth
            due += SHORTEST_SHARED_PAUSE
        if len(still) == 1 or pause < SHORTEST_SHARED_PAUSE or due > now + own:
            due = now + pause
        for it in still:
            it.looked, it.failures = now, 0
            self._turn.discard(it.id)
            it.due = due
            if self._feed and self._feed.works and isinstance(it, AwaitedRun):
                check = max(SHORTEST_CHECK, now - it.created)
                it.due = self._tick(now + check + SHORTEST_SHARED_PAUSE / 2, SHORTEST_SHARED_PAUSE)
            it.due = min(it.due, it.last_call())

    # What an error means

    def failed(self, question: Question, error: ReportingError, now: float) -> Told:
        """Return who is told what, now that a question was not answered."""
        if error.is_transient:
            self._failing[question] = now
            # What can't be read about one thing may be all right for the next.
            if not isinstance(error, UnexpectedResponseError) or len(self._failing) > 1:
                self.failures += 1
                self._put_off_until = now + min(PAUSES.pause(error, self.failures), LONGEST_PAUSE)
            self._pass_by(question, now)
            asked = self._asked_about(question) if isinstance(error, UnexpectedResponseError) else None
            return [(waiter, waiter.goal.judge_error(error)) for waiter in (asked.waiters if asked else ())]
        if isinstance(error, (AuthenticationError, ConfigurationError)):
            return self.fail(error)
        if isinstance(question, EndsSince):
            self._stop_events(str(error))
            return []
        if isinstance(error, PermissionDeniedError):
            return self.fail(error)
        if isinstance(question, RunsFrom):
            self._page_failed = True
            return []
        it = self._asked_about(question)
        return self._tell([*it.waiters] if it else [], error)

    def _asked_about(self, question: Question) -> Awaited | None:
        """Return the one thing that a question is about, if anybody still waits for it."""
        if isinstance(question, OneRun):
            return self.runs.get(question.report_run_id)
        if isinstance(question, OneType):
            return self.types.get(question.report_type)
        return self.rooms.get(ROOM) if isinstance(question, Count) else None

    def fail(self, error: ReportingError) -> Told:
        """Return that all are told of an error."""
        return self._tell(self._waiters(), error)

    def _tell(self, waiters: Iterable[Waiter], error: ReportingError) -> Told:
        told = Told()
        for waiter in waiters:
            self.leave(waiter)
            told.append((waiter, waiter.goal.error(error)))
        return told

    def _pass_by(self, question: Question, now: float) -> None:
        """Let others come first after an error that passes."""
        if it := self._asked_about(question):
            pause = min(SHORTEST_SHARED_PAUSE * 2.0 ** min(it.failures, 32), shared_pause([it], now))
            it.due = max(now + SHORTEST_SHARED_PAUSE, min(now + pause, it.last_call()))
            it.failures += 1
            self._turn.discard(it.id)
        elif isinstance(question, EndsSince) and self._feed:
            self._feed.due = now + max(SHORTEST_SHARED_PAUSE, shared_pause(self.runs.values(), now))
            self._feed.begin_anew()
            if self._feed.works:
                self._feed.works = False
                self._hurry()
        if not isinstance(question, Count):  # which says nothing of single runs
            self._page_failed = isinstance(question, RunsFrom)

    def _count_failed_page(self, now: float) -> None:
        """Do without lists for a while, if they fail again and again where a single run is shown."""
        self._page_failed = False
        self._failed_pages += 1
        if self._failed_pages >= MOST_FAILED_PAGES:
            self._failed_pages, self._without_lists_until = 0, now + WITHOUT_LISTS
            self.words.append(
                "Stripe's list of report runs fails: they are retrieved one by one for some minutes."
            )


def _of_last(page: ListPage) -> tuple[str | None, int | None]:
    """Return the id and the second of a page's last run, where the list goes on behind it."""
    last = page.items[-1] if page.items and page.has_more else None
    if (
        not isinstance(last, dict)
        or not isinstance(last.get("id"), str)
        or not isinstance(last.get("created"), int)
    ):
        return None, None
    return last["id"], last["created"]
