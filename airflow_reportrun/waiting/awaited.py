"""Who waits in a triggerer, for what, and how often all of them together would look at it."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from airflow_reportrun.waiting.goals import DataReaches, ReportRunEnds, RoomForReportRun

if TYPE_CHECKING:
    from airflow_reportrun.waiting.pace import Watch

SharedGoal = ReportRunEnds | DataReaches | RoomForReportRun
"""What can be waited for together."""


@dataclass(eq=False)
class Waiter:
    """One who waits, for one event.

    :param goal: what for.
    :param watch: since when, until when, and how often alone.
    :param gives_up: epoch seconds after which no last look is waited for; it may join long after its deadline.
    """

    goal: SharedGoal
    watch: Watch
    gives_up: float = math.inf

    @property
    def window(self) -> float:
        """How far back, in seconds, one counts who waits for room."""
        return self.goal.window if isinstance(self.goal, RoomForReportRun) else 0.0


@dataclass(eq=False)
class Awaited:
    """What is waited for, with all who do.

    :param due: epoch seconds of the next look.
    :param looked: epoch seconds of the last one.
    :param failures: looks at it by itself that failed in a row.
    """

    id: str
    due: float = math.inf
    looked: float = -math.inf
    failures: int = 0
    waiters: list[Waiter] = field(default_factory=list)

    def last_call(self) -> float:
        """Return the first deadline."""
        return min(waiter.watch.deadline for waiter in self.waiters)

    def keenest(self, now: float) -> Watch:
        """Return the watch of the one who would look most often."""
        return min((waiter.watch for waiter in self.waiters), key=lambda watch: watch.own_pause(now))


@dataclass(eq=False)
class AwaitedRun(Awaited):
    """A report run.

    :param created: epoch seconds; until Stripe has shown the run, since when it is waited for.
    :param seen: whether Stripe has shown it.
    :param alone: whether the page behind it showed no other, which those that come later can't change.
    :param after: where the list goes on that has not come to it yet.
    :param singly: whether the list does not show it.
    """

    created: float = 0.0
    seen: bool = False
    alone: bool = False
    after: str | None = None
    singly: bool = False


def looks_a_second(group: Iterable[Awaited], now: float) -> float:
    """Return how many looks there would be at a group, if each of it were looked at alone."""
    return sum(1 / it.keenest(now).own_pause(now) for it in group)


def shared_pause(group: Iterable[Awaited], now: float) -> float:
    """Return the pause of looks that serve a group: what its keenest wants, where all help to pay."""
    group = [*group]
    rate = looks_a_second(group, now)
    return min((it.keenest(now).shared_pause(now, rate) for it in group), default=math.inf)
