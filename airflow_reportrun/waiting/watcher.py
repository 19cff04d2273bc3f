"""Looks at Stripe for all triggers of one account and connection on an event loop, one request at a time.

What to ask is decided in ``plan``. A watcher is there while anybody waits, and nothing of it has to last: what a
triggerer needs after a restart is in the arguments of its triggers. To whom room was promised is remembered until
their report runs are there, or the next who come would be let in, too.
"""

from __future__ import annotations

import asyncio
import contextvars
import copy
import logging
import math
import time
from contextlib import suppress
from typing import TYPE_CHECKING, NamedTuple
from weakref import WeakKeyDictionary

from airflow_reportrun import metrics
from airflow_reportrun.hooks import StripeReportingAsyncHook
from airflow_reportrun.reporting.errors import ConnectionLookUpError, ReportingError
from airflow_reportrun.reporting.resending import ResendPolicy
from airflow_reportrun.waiting.awaited import Waiter
from airflow_reportrun.waiting.goals import StillWaiting
from airflow_reportrun.waiting.loop import MOST_RENEWALS
from airflow_reportrun.waiting.plan import Plan
from airflow_reportrun.waiting.room import Room

if TYPE_CHECKING:
    from collections.abc import Container, Mapping, Sequence

    from airflow_reportrun.waiting.awaited import SharedGoal
    from airflow_reportrun.waiting.events import Event
    from airflow_reportrun.waiting.pace import Watch
    from airflow_reportrun.waiting.plan import Told
    from airflow_reportrun.waiting.questions import Question
    from airflow_reportrun.wire.connection import ConnectionSettings

log = logging.getLogger(__name__)

CONNECTION_AGE = 300.0
"""Seconds after which a connection is read anew, for what was changed in it."""

LOOK_UP_PAUSES = (1.0, 2.0, 4.0, 8.0, 16.0)
"""Seconds between look-ups of a connection that Airflow doesn't give at first."""

SUMMARY_PAUSE = 60.0
"""Seconds between two lines of a kind in the log, and at most between two measurements of who waits."""

GAUGE_PAUSE = 10.0
"""Seconds between two of these measurements, at least."""


class Whose(NamedTuple):
    """Through which connection to look, and as whom; see :class:`StripeReportingAsyncHook`."""

    stripe_conn_id: str
    stripe_account: str | None = None
    stripe_context: str | None = None

    def __str__(self) -> str:
        acting_as = self.stripe_context or self.stripe_account
        return f"connection {self.stripe_conn_id!r}" + (f" as {acting_as}" if acting_as else "")


async def wait_together(whose: Whose, goal: SharedGoal, watch: Watch) -> Event:
    """Return the event of what is waited for, looked at together with all that others of this event loop wait for.

    :param whose: through which connection to look.
    :param goal: what to wait for.
    :param watch: since when, until when, and how often alone.
    :raises ConnectionLookUpError: when Airflow gives no connection.
    """
    mine = _watchers.setdefault(asyncio.get_running_loop(), {})
    if whose not in mine:
        mine[whose] = Watcher(whose, mine, _room_of(whose, mine))
    return await mine[whose].wait(goal, watch)


def _room_of(whose: Whose, watched: Container[Whose]) -> Room:
    """Return what the watcher before knew of room, and forget what is of no use any more."""
    rooms = _rooms.setdefault(asyncio.get_running_loop(), {})
    now = time.time()
    for other in [it for it, room in rooms.items() if it not in watched and not room.is_promised(now)]:
        del rooms[other]
    return rooms.setdefault(whose, Room())


class Watcher:
    """The one that looks, for as long as anybody waits.

    :param whose: through which connection to look.
    :param known: where others find it, while it is there.
    :param room: what is known of room, and promised.
    """

    def __init__(self, whose: Whose, known: dict[Whose, Watcher], room: Room) -> None:
        self._whose = whose
        self._known = known
        self._plan = Plan(room=room)
        self._asking: dict[Waiter, _Asking] = {}
        self._joined = asyncio.Event()
        self._log = _Summaries(whose)
        self._settings: ConnectionSettings | None = None
        # In a context of its own, or its log would go to the task that was the first to wait.
        self._task = asyncio.create_task(self._watch(), context=contextvars.Context())

    async def wait(self, goal: SharedGoal, watch: Watch) -> Event:
        """Return the event; see :func:`wait_together`."""
        waiter, asking = Waiter(goal, watch), _Asking()
        self._asking[waiter] = asking
        self._plan.join(waiter, time.time())
        self._joined.set()
        try:
            return await asking.event
        finally:
            self._plan.leave(waiter)
            del self._asking[waiter]
            if not self._asking:
                self._log.measure({})
                self._part()
                self._task.cancel()

    def _part(self) -> None:
        """Let whoever comes from now on have another watcher."""
        if self._known.get(self._whose) is self:
            del self._known[self._whose]

    async def _watch(self) -> None:
        try:
            async with StripeReportingAsyncHook(**self._whose._asdict()) as hook:
                # When to ask again is the plan's to say.
                hook.resend_policy = ResendPolicy(max_tries=1, max_refused=0)
                await self._look_on(hook)
        except Exception as error:
            self._part()
            for asking in self._asking.values():
                asking.fail(error)

    async def _look_on(self, hook: StripeReportingAsyncHook) -> None:
        read_at = -math.inf
        # Who is cancelled may go on: on Python 3.11 wait_for forgets it where what it waits for has just come.
        while self._asking:
            if time.monotonic() - read_at > CONNECTION_AGE:
                await self._read_connection(hook, anew=math.isfinite(read_at))
                read_at = time.monotonic()
            self._joined.clear()
            self._log.status(self._plan)  # however long pages follow each other without a pause
            self._tell(self._plan.expired(time.time()))
            question = self._plan.ask(time.time())
            if isinstance(question, float | int):
                with suppress(TimeoutError):
                    await asyncio.wait_for(self._joined.wait(), min(question, SUMMARY_PAUSE, CONNECTION_AGE))
                continue
            self._tell(await self._answer(hook, question))

    async def _read_connection(self, hook: StripeReportingAsyncHook, *, anew: bool) -> None:
        """Read the connection, and do as it says; a triggerer that starts may be too busy to find it at once."""
        for pause in (*LOOK_UP_PAUSES, None):
            try:
                if not anew or await hook.renew_async():
                    await self._do_as_it_says(hook)
                return
            except ConnectionLookUpError as error:
                if pause is None:
                    raise
                log.warning("%s: asking Airflow for it again in %.0f s. %s", self._whose, pause, error)
                await asyncio.sleep(pause)
            except ReportingError as error:
                self._tell(self._plan.fail(error))
                return

    async def _do_as_it_says(self, hook: StripeReportingAsyncHook) -> None:
        """Ask for events where the connection says so, unless it is the one with which they were of no use."""
        self._settings = await hook.settings_async()
        known, why = _events_fail.get(self._whose, (None, ""))
        self._plan.events_fail = why if known == self._settings else ""
        self._plan.use_events(self._settings.use_events)

    async def _answer(self, hook: StripeReportingAsyncHook, question: Question) -> Told:
        """Ask, and return who is told what; what stays wrong is asked again where the connection has changed."""
        for renewals in range(MOST_RENEWALS + 1):
            self._log.requests += 1
            try:
                return self._plan.answered(question, await hook.send_async(question.request()), time.time())
            except ReportingError as error:
                failure = error
            if failure.is_transient:
                self._log.failed(failure)
                break
            if renewals == MOST_RENEWALS or not await hook.renew_async():
                break
            await self._do_as_it_says(hook)
        return self._plan.failed(question, failure, time.time())

    def _tell(self, told: Told) -> None:
        for waiter, what in told:
            self._asking[waiter].tell(what)
        for run, since in self._plan.ended:
            metrics.noticed(run, since)
        self._plan.ended.clear()
        for words in self._plan.words:
            log.warning("%s: %s", self._whose, words)
        self._plan.words.clear()
        if self._plan.events_fail:
            _events_fail[self._whose] = self._settings, self._plan.events_fail


class _Asking:
    """One who waits: for an event, and for words in the log of its own task."""

    def __init__(self) -> None:
        self.event: asyncio.Future[Event] = asyncio.get_running_loop().create_future()
        self._context = contextvars.copy_context()
        self._said = ""

    def tell(self, what: Event | StillWaiting) -> None:
        if isinstance(what, StillWaiting):
            if what.words and what.words != self._said:
                self._context.run(log.warning, "%s", what.words)
            self._said = what.words
        elif not self.event.done():
            self.event.set_result(what)

    def fail(self, error: Exception) -> None:
        if not self.event.done():
            with suppress(Exception):  # not every error can be made of its arguments
                error = copy.copy(error)  # each is raised, and gets a traceback of its own
            self.event.set_exception(error)


class _Summaries:
    """What a watcher logs: one line of a kind a minute, however many tasks wait."""

    def __init__(self, whose: Whose) -> None:
        self.requests = 0
        self._whose = whose
        self._failures = 0
        self._failed_at = self._measured_at = -math.inf
        self._status_at = time.monotonic()

    def status(self, plan: Plan) -> None:
        """Say what is waited for."""
        now = time.monotonic()
        if now - self._measured_at >= GAUGE_PAUSE:
            self._measured_at = now
            self.measure(plan.waiting_since())
        if not self.requests or now - self._status_at < SUMMARY_PAUSE:
            return
        self._status_at = now
        oldest = min(plan.waiting_since()["report_run"], default=None)
        log.info(
            "%s: waiting for %d report runs%s and the data of %d report types%s; %d requests since the last line.",
            self._whose,
            len(plan.runs),
            "" if oldest is None else f" (the oldest for {time.time() - oldest:.0f} s)",
            len(plan.types),
            "".join(f", {len(room.waiters)} tasks for room" for room in plan.rooms.values()),
            self.requests,
        )
        self.requests = 0

    def measure(self, since: Mapping[metrics.Goal, Sequence[float]]) -> None:
        """Tell how many wait, and for how long; nobody does any more where nothing is given."""
        for goal in metrics.GOALS:
            begun = since.get(goal, ())
            metrics.waiting(self, goal, len(begun), time.time() - min(begun, default=time.time()))

    def failed(self, error: ReportingError) -> None:
        """Say that looks fail, with the last error."""
        self._failures += 1
        if (now := time.monotonic()) - self._failed_at < SUMMARY_PAUSE:
            return
        log.warning("%s: could not look %d times, looking on: %s", self._whose, self._failures, error)
        self._failed_at, self._failures = now, 0


_watchers: WeakKeyDictionary[asyncio.AbstractEventLoop, dict[Whose, Watcher]] = WeakKeyDictionary()
_rooms: WeakKeyDictionary[asyncio.AbstractEventLoop, dict[Whose, Room]] = WeakKeyDictionary()
_events_fail: dict[Whose, tuple[ConnectionSettings | None, str]] = {}
"""With what connection events are of no use in this process, and why."""
