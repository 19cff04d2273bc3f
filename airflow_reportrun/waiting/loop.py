"""The loop of looks and pauses, and what a look means: has it come, failed for good, or is it waited for still.

When to look again is decided in ``pace``. What is waited for is a :class:`Goal` (:class:`ReportRunEnds`,
:class:`DataReaches`) that says what to ask and what an answer means. So the loop's two colours, for tasks that
wait themselves and for triggers, differ in their awaits and in nothing else.
"""

from __future__ import annotations

import asyncio
import logging
import time
from abc import ABC, abstractmethod
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Generic, TypeVar

from airflow_reportrun.reporting import endpoints
from airflow_reportrun.reporting.errors import ConnectionLookUpError, ReportingError
from airflow_reportrun.waiting.events import Event, ReportRunEvent, ReportTypeEvent

if TYPE_CHECKING:
    from airflow_reportrun.reporting.client import AsyncReportingClient, ReportingClient
    from airflow_reportrun.reporting.endpoints import Request
    from airflow_reportrun.reporting.models import ReportRun, ReportType
    from airflow_reportrun.waiting.pace import Watch

log = logging.getLogger(__name__)

T = TypeVar("T")
E = TypeVar("E", bound=Event)


MOST_RENEWALS = 3
"""How often one look reads the connection anew: one that is another each time says nothing by being so."""


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


def wait(
    client: ReportingClient,
    goal: Goal[T, E],
    watch: Watch,
    *,
    clock: Callable[[], float] = time.time,
    sleep: Callable[[float], None] = time.sleep,
) -> E:
    """Look until it is there or the deadline is over.

    :param client: calls Stripe.
    :param goal: what to wait for.
    :param watch: when to look, and when to give up.
    :param clock: epoch seconds.
    :param sleep: sleeps seconds.
    """
    said = ""
    while True:
        looked = look(client, goal)
        if not isinstance(looked, StillWaiting):
            return looked
        said = _say(looked.words, said)
        if (pause := watch.pause(clock())) is None:
            return goal.timeout()
        sleep(pause)


async def wait_async(
    client: AsyncReportingClient,
    goal: Goal[T, E],
    watch: Watch,
    *,
    clock: Callable[[], float] = time.time,
    sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
) -> E:
    """Look until it is there or the deadline is over; see :func:`wait`."""
    said = ""
    while True:
        looked = await look_async(client, goal)
        if not isinstance(looked, StillWaiting):
            return looked
        said = _say(looked.words, said)
        if (pause := watch.pause(clock())) is None:
            return goal.timeout()
        await sleep(pause)


def look(client: ReportingClient, goal: Goal[T, E]) -> E | StillWaiting:
    """Look once: return the event, or that the wait goes on.

    An error that stays is final only if the credentials are still the same. Where Airflow gives no connection, the
    try is over, and a retry asks again.
    """
    renewals = 0
    while True:
        try:
            return goal.judge(client.send(goal.request()))
        except ConnectionLookUpError:
            raise
        except ReportingError as error:
            judged = goal.judge_error(error)
        if isinstance(judged, StillWaiting) or renewals == MOST_RENEWALS or not client.renew():
            return judged
        renewals += 1


async def look_async(client: AsyncReportingClient, goal: Goal[T, E]) -> E | StillWaiting:
    """Look once; see :func:`look`."""
    renewals = 0
    while True:
        try:
            return goal.judge(await client.send_async(goal.request()))
        except ConnectionLookUpError:
            raise
        except ReportingError as error:
            judged = goal.judge_error(error)
        if isinstance(judged, StillWaiting) or renewals == MOST_RENEWALS or not await client.renew_async():
            return judged
        renewals += 1


def _say(words: str, said: str) -> str:
    """Log what has changed; a look that finds what the last one found is not worth a line."""
    if words and words != said:
        log.warning("%s", words)
    return words


def _utc(seconds: int) -> str:
    return f"{datetime.fromtimestamp(seconds, UTC):%Y-%m-%d %H:%M:%S} UTC"
