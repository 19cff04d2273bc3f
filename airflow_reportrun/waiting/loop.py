"""The loop of looks and pauses of a task that waits in its own worker.

When to look again is decided in ``pace``, what is waited for is a goal of ``goals``. Tasks that wait in the
triggerer share their looks, in ``watcher``.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, TypeVar

from airflow_reportrun import metrics
from airflow_reportrun.reporting.errors import ConnectionLookUpError, ReportingError
from airflow_reportrun.reporting.models import ReportRun
from airflow_reportrun.waiting.events import Event
from airflow_reportrun.waiting.goals import StillWaiting

if TYPE_CHECKING:
    from airflow_reportrun.reporting.client import ReportingClient
    from airflow_reportrun.waiting.goals import Goal
    from airflow_reportrun.waiting.pace import Watch

log = logging.getLogger(__name__)

T = TypeVar("T")
E = TypeVar("E", bound=Event)


MOST_RENEWALS = 3
"""How often one look reads the connection anew: one that is another each time says nothing by being so."""


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
        looked = look(client, goal, since=watch.since)
        if not isinstance(looked, StillWaiting):
            return looked
        said = _say(looked.words, said)
        if (pause := watch.pause(clock())) is None:
            return goal.timeout()
        sleep(pause)


def look(client: ReportingClient, goal: Goal[T, E], *, since: float = 0.0) -> E | StillWaiting:
    """Look once: return the event, or that the wait goes on.

    An error that stays is final only if the credentials are still the same. Where Airflow gives no connection, the
    try is over, and a retry asks again.

    :param since: epoch seconds from which on it is waited for: nobody is late to notice what ended before.
    """
    renewals = 0
    while True:
        try:
            answer = goal.ask(client)
            if isinstance(answer, ReportRun):
                metrics.noticed(answer, since)
            return goal.judge(answer)
        except ConnectionLookUpError:
            raise
        except ReportingError as error:
            judged = goal.judge_error(error)
        if isinstance(judged, StillWaiting) or renewals == MOST_RENEWALS or not client.renew():
            return judged
        renewals += 1


def _say(words: str, said: str) -> str:
    """Log what has changed; a look that finds what the last one found is not worth a line."""
    if words and words != said:
        log.warning("%s", words)
    return words
