"""The deferred half: wait for a report run without a worker."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import AsyncIterator, Mapping
from dataclasses import replace
from datetime import timedelta
from typing import Any

from airflow.triggers.base import BaseTrigger, TriggerEvent

log = logging.getLogger(__name__)

FIRST_LOOK_AFTER = 10.0
"""Seconds from deferring to the trigger's first look.

A trigger that fires before the scheduler has read the executor's word about the deferring try makes Airflow fail
the task ("state attribute is queued"); the task has just looked itself anyway.
"""

BACKSTOP_MARGIN = timedelta(minutes=15)


class StripeReportRunTrigger(BaseTrigger):
    """Fires once when a report run has ended, or can't be waited for any longer.

    The deadline is an instant, so it survives a restart of the triggerer; one last look is made at it.

    :param report_run_id: ``frr_…``.
    :param deadline: epoch seconds.
    :param since: epoch seconds at which the run was created.
    :param not_before: epoch seconds of the first look.
    :param poll_interval: seconds.
    :param growth: see :class:`~airflow_reportrun.reporting.polling.Watch`.
    :param stripe_conn_id: the Airflow connection.
    :param stripe_account: the account to act as.
    :param resume: JSON that comes back with the event.
    :param other: kwargs of another version of this package, which are passed over.
    """

    def __init__(
        self,
        *,
        report_run_id: str,
        deadline: float,
        since: float,
        not_before: float = 0.0,
        poll_interval: float = 10.0,
        growth: float = 0.25,
        stripe_conn_id: str = "stripe_default",
        stripe_account: str | None = None,
        resume: Mapping[str, Any] | None = None,
        **other: Any,
    ) -> None:
        super().__init__()
        self.kwargs: dict[str, Any] = {
            "report_run_id": report_run_id,
            "deadline": deadline,
            "since": since,
            "not_before": not_before,
            "poll_interval": poll_interval,
            "growth": growth,
            "stripe_conn_id": stripe_conn_id,
            "stripe_account": stripe_account,
            "resume": dict(resume or {}),
        }
        if other:
            log.info("Passing over the trigger arguments %s of another version.", ", ".join(sorted(other)))

    @classmethod
    def waiting_from_now(cls, **kwargs: Any) -> StripeReportRunTrigger:
        """Return a trigger for a task that defers now; see :data:`FIRST_LOOK_AFTER`."""
        return cls(not_before=time.time() + FIRST_LOOK_AFTER, **kwargs)

    @property
    def backstop(self) -> timedelta:
        """After how long Airflow itself should give up, counted from now: well after the deadline.

        The trigger's own deadline lets the task say what became of the run; Airflow's time-out does not.
        """
        return timedelta(seconds=max(0.0, self.kwargs["deadline"] - time.time())) + BACKSTOP_MARGIN

    def serialize(self) -> tuple[str, dict[str, Any]]:
        """Return the class path and the arguments, as Airflow stores them."""
        return f"{type(self).__module__}.{type(self).__qualname__}", self.kwargs

    async def run(self) -> AsyncIterator[TriggerEvent]:
        """Yield the one event."""
        # The HTTP libraries come with the first wait, not with each parse of a DAG file.
        from airflow_reportrun.hooks import StripeReportingAsyncHook
        from airflow_reportrun.reporting.polling import Watch
        from airflow_reportrun.waiting import wait_async

        it = self.kwargs
        watch = Watch(it["since"], it["deadline"], it["poll_interval"], it["growth"])
        await asyncio.sleep(max(0.0, it["not_before"] - time.time()))
        async with StripeReportingAsyncHook(it["stripe_conn_id"], stripe_account=it["stripe_account"]) as hook:
            event = await wait_async(hook, it["report_run_id"], watch)
        yield TriggerEvent(replace(event, resume=it["resume"]).as_payload())
