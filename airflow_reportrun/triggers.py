"""The deferred halves: wait without a worker."""

from __future__ import annotations

import asyncio
import logging
import time
from abc import abstractmethod
from collections.abc import AsyncIterator, Mapping
from dataclasses import replace
from datetime import timedelta
from typing import TYPE_CHECKING, Any, Self

from airflow.triggers.base import BaseTrigger, TriggerEvent

if TYPE_CHECKING:
    from airflow_reportrun.waiting.loop import Awaited

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

    :param deadline: epoch seconds.
    :param since: epoch seconds at which the waiting began to count.
    :param not_before: epoch seconds of the first look.
    :param poll_interval: seconds.
    :param growth: see :class:`~airflow_reportrun.waiting.pace.Watch`.
    :param stripe_conn_id: the Airflow connection.
    :param stripe_account: the account to act as.
    :param stripe_context: the same as a path of accounts.
    :param resume: JSON that comes back with the event.
    :param kwargs: what is waited for.
    """

    subject: frozenset[str]
    """The arguments that say what is waited for."""

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
        **kwargs: Any,
    ) -> None:
        super().__init__()
        self.kwargs: dict[str, Any] = {
            **{name: kwargs.pop(name) for name in sorted(self.subject)},
            "deadline": deadline,
            "since": since,
            "not_before": not_before,
            "poll_interval": poll_interval,
            "growth": growth,
            "stripe_conn_id": stripe_conn_id,
            "stripe_account": stripe_account,
            "stripe_context": stripe_context,
            "resume": dict(resume or {}),
        }
        if kwargs:
            log.info("Passing over the trigger arguments %s of another version.", ", ".join(sorted(kwargs)))

    @classmethod
    def waiting_from_now(cls, **kwargs: Any) -> Self:
        """Return a trigger for a task that defers now; see :data:`FIRST_LOOK_AFTER`."""
        return cls(not_before=time.time() + FIRST_LOOK_AFTER, **kwargs)

    @property
    @abstractmethod
    def awaited(self) -> Awaited[Any, Any]:
        """What is waited for."""

    @property
    def backstop(self) -> timedelta:
        """After how long Airflow itself should give up, counted from now: well after the deadline.

        The trigger's own deadline lets the task say what became of the wait; Airflow's time-out does not.
        """
        return timedelta(seconds=max(0.0, self.kwargs["deadline"] - time.time())) + BACKSTOP_MARGIN

    def serialize(self) -> tuple[str, dict[str, Any]]:
        """Return the class path and the arguments, as Airflow stores them."""
        return f"{type(self).__module__}.{type(self).__qualname__}", self.kwargs

    async def run(self) -> AsyncIterator[TriggerEvent]:
        """Yield the one event."""
        # The HTTP libraries come with the first wait, not with each parse of a DAG file.
        from airflow_reportrun.hooks import StripeReportingAsyncHook
        from airflow_reportrun.waiting.loop import wait_async
        from airflow_reportrun.waiting.pace import Watch

        it = self.kwargs
        watch = Watch(it["since"], it["deadline"], it["poll_interval"], it["growth"])
        await asyncio.sleep(max(0.0, it["not_before"] - time.time()))
        account = {name: it[name] for name in ("stripe_account", "stripe_context")}
        async with StripeReportingAsyncHook(it["stripe_conn_id"], **account) as hook:
            event = await wait_async(hook, self.awaited, watch)
        yield TriggerEvent(replace(event, resume=it["resume"]).as_payload())


class StripeReportRunTrigger(StripeTrigger):
    """Fires once when a report run has ended, or can't be waited for any longer; see :class:`StripeTrigger`.

    Takes ``report_run_id``, ``frr_…``; ``since`` is the run's ``created``.
    """

    subject = frozenset({"report_run_id"})

    @property
    def awaited(self) -> Awaited[Any, Any]:
        """The end of the run."""
        from airflow_reportrun.waiting.loop import ReportRunEnds

        return ReportRunEnds(self.kwargs["report_run_id"])


class StripeReportTypeTrigger(StripeTrigger):
    """Fires once when the data of a report type reaches an instant; see :class:`StripeTrigger`.

    Takes ``report_type`` and ``until``, epoch seconds.
    """

    subject = frozenset({"report_type", "until"})

    @property
    def awaited(self) -> Awaited[Any, Any]:
        """The data."""
        from airflow_reportrun.waiting.loop import DataReaches

        return DataReaches(self.kwargs["report_type"], self.kwargs["until"])
