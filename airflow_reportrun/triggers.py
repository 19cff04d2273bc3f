"""The deferred halves: wait without a worker."""

from __future__ import annotations

import asyncio
import logging
import time
from abc import abstractmethod
from collections.abc import AsyncIterator, Mapping
from dataclasses import replace
from datetime import timedelta
from types import NoneType
from typing import TYPE_CHECKING, Any, ClassVar, Self

from airflow.triggers.base import BaseTrigger, TriggerEvent

from airflow_reportrun.waiting.modules import load

if TYPE_CHECKING:
    from airflow_reportrun.waiting.awaited import SharedGoal
    from airflow_reportrun.waiting.goals import RoomForReportRun

log = logging.getLogger(__name__)

FIRST_LOOK_AFTER = 10.0
"""Seconds from deferring to the trigger's first look.

A trigger that fires before the scheduler has read the executor's word about the deferring try makes Airflow fail
the task ("state attribute is queued"); the task has just looked itself anyway.
"""

BACKSTOP_MARGIN = timedelta(minutes=15)


class StripeTrigger(BaseTrigger):
    """Fires once when something at Stripe is there, or can't be waited for any longer.

    The deadline is an instant, so it survives a restart of the triggerer; one last look is made at it. Arguments
    of another version of this package are passed over, and those that it did not know have defaults: tasks stay
    deferred over an upgrade.

    What Airflow stored is checked in the constructor. It raises TypeError alone: any other error there stops the
    whole triggerer, with all its triggers.

    :param deadline: epoch seconds.
    :param since: epoch seconds at which the waiting began to count.
    :param not_before: epoch seconds of the first look, which is not made later than the last one.
    :param poll_interval: seconds.
    :param growth: see :class:`~airflow_reportrun.waiting.pace.Watch`.
    :param stripe_conn_id: the Airflow connection.
    :param stripe_account: the account to act as.
    :param stripe_context: the same as a path of accounts.
    :param resume: JSON that comes back with the event.
    :param others: arguments of another version.
    """

    arguments: ClassVar[tuple[str, ...]] = (
        "deadline",
        "since",
        "not_before",
        "poll_interval",
        "growth",
        "stripe_conn_id",
        "stripe_account",
        "stripe_context",
        "resume",
    )
    """What Airflow stores; each is an attribute of the same name."""

    def __init__(
        self,
        *,
        deadline: float,
        since: float,
        not_before: float = 0.0,
        poll_interval: float = 10.0,
        growth: float = 0.25,
        stripe_conn_id: str = "stripe_default",
        stripe_account: str | None = None,
        stripe_context: str | None = None,
        resume: Mapping[str, Any] | None = None,
        **others: Any,
    ) -> None:
        super().__init__()
        self.deadline = seconds_argument("deadline", deadline)
        self.since = seconds_argument("since", since)
        self.not_before = seconds_argument("not_before", not_before)
        self.poll_interval = seconds_argument("poll_interval", poll_interval)
        self.growth = seconds_argument("growth", growth)
        self.stripe_conn_id = _text("stripe_conn_id", stripe_conn_id)
        if not self.poll_interval:  # a loop without pauses
            raise _damaged("poll_interval", poll_interval)
        for name, account in (("stripe_account", stripe_account), ("stripe_context", stripe_context)):
            if not isinstance(account, (str, NoneType)):
                raise _damaged(name, account)
        self.stripe_account = stripe_account
        self.stripe_context = stripe_context
        if not isinstance(resume, (Mapping, NoneType)):
            raise _damaged("resume", resume)
        self.resume = dict(resume or {})
        if others:
            log.info("Passing over the trigger arguments %s of another version.", ", ".join(sorted(others)))

    @classmethod
    def waiting_from_now(cls, **kwargs: Any) -> Self:
        """Return a trigger for a task that defers now; see :data:`FIRST_LOOK_AFTER`."""
        return cls(not_before=time.time() + FIRST_LOOK_AFTER, **kwargs)

    @property
    @abstractmethod
    def goal(self) -> SharedGoal:
        """What is waited for."""

    @property
    def backstop(self) -> timedelta:
        """After how long Airflow itself should give up, counted from now: well after the deadline.

        The trigger's own deadline lets the task say what became of the wait; Airflow's time-out does not.
        """
        return timedelta(seconds=max(0.0, self.deadline - time.time())) + BACKSTOP_MARGIN

    def serialize(self) -> tuple[str, dict[str, Any]]:
        """Return the class path and the arguments, as Airflow stores them."""
        path = f"{type(self).__module__}.{type(self).__qualname__}"
        return path, {name: getattr(self, name) for name in self.arguments}

    async def run(self) -> AsyncIterator[TriggerEvent]:
        """Yield the one event."""
        # The HTTP libraries come with the first wait, not with each parse of a DAG file.
        await load("airflow_reportrun.waiting.watcher")
        from airflow_reportrun.waiting.pace import Watch
        from airflow_reportrun.waiting.watcher import Whose, wait_together

        watch = Watch(self.since, self.deadline, self.poll_interval, self.growth)
        first_look = min(self.not_before, self.deadline + FIRST_LOOK_AFTER)
        # Not longer, where the clock of the worker that set it is ahead of ours.
        await asyncio.sleep(min(max(0.0, first_look - time.time()), FIRST_LOOK_AFTER))
        whose = Whose(self.stripe_conn_id, self.stripe_account, self.stripe_context)
        event = await wait_together(whose, self.goal, watch)
        yield TriggerEvent(replace(event, resume=self.resume).as_payload())


class StripeReportRunTrigger(StripeTrigger):
    """Fires once when a report run has ended, or can't be waited for any longer; see :class:`StripeTrigger`.

    :param report_run_id: ``frr_…``; ``since`` is when the run was created, by Airflow's clock.
    """

    arguments = ("report_run_id", *StripeTrigger.arguments)

    def __init__(self, *, report_run_id: str, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.report_run_id = _text("report_run_id", report_run_id)

    @property
    def goal(self) -> SharedGoal:
        """The end of the run."""
        from airflow_reportrun.waiting.goals import ReportRunEnds

        return ReportRunEnds(self.report_run_id)


class StripeReportTypeTrigger(StripeTrigger):
    """Fires once when the data of a report type reaches an instant; see :class:`StripeTrigger`.

    :param report_type: such as ``balance.summary.1``.
    :param until: epoch seconds.
    """

    arguments = ("report_type", "until", *StripeTrigger.arguments)

    def __init__(self, *, report_type: str, until: int, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.report_type = _text("report_type", report_type)
        from airflow_reportrun.reporting.models import is_instant

        if not is_instant(until):
            raise _damaged("until", until)
        self.until = until

    @property
    def goal(self) -> SharedGoal:
        """The data."""
        from airflow_reportrun.waiting.goals import DataReaches

        return DataReaches(self.report_type, self.until)


class StripePendingReportRunsTrigger(StripeTrigger):
    """Fires once when fewer report runs of the account are pending than so many; see :class:`StripeTrigger`.

    Of those that wait in a triggerer it fires first for the one with the earliest ``since``.

    :param max_pending_report_runs: as many as may be pending.
    :param window: seconds; report runs that were created before are not counted.
    """

    arguments = ("max_pending_report_runs", "window", *StripeTrigger.arguments)

    def __init__(self, *, max_pending_report_runs: int, window: float, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        if type(max_pending_report_runs) is not int or max_pending_report_runs < 1:
            raise _damaged("max_pending_report_runs", max_pending_report_runs)
        self.max_pending_report_runs = max_pending_report_runs
        self.window = seconds_argument("window", window)

    @property
    def goal(self) -> RoomForReportRun:
        """Room for another report run."""
        from airflow_reportrun.waiting.goals import RoomForReportRun

        return RoomForReportRun(self.max_pending_report_runs, self.window)


def _text(name: str, value: object) -> str:
    if isinstance(value, str) and value:
        return value
    raise _damaged(name, value)


def seconds_argument(name: str, value: object, *, is_instant: bool = True) -> float:
    """Return a number of seconds as it is; NaN is none, nor what Python has no instant, or no length, for."""
    from airflow_reportrun.reporting.models import LATEST

    most = LATEST - 1 if is_instant else timedelta.max.total_seconds()
    if isinstance(value, (int, float)) and not isinstance(value, bool) and 0 <= value <= most:
        return value
    raise _damaged(name, value)


def _damaged(name: str, value: object) -> TypeError:
    return TypeError(f"{name} of a trigger can't be {value!r:.100}. A retry of its task defers anew.")
