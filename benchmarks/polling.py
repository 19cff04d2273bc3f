"""A trigger that waits for its report run by itself, as most providers' do, and this one's did at first.

Kept to be compared with, so it stands on little that may change: a hook of its own with one session, a look after
ten seconds and then at each quarter of the run's age, at most every five minutes, each with six tries of its own.
"""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import AsyncIterator
from contextlib import suppress

from airflow.providers.http.hooks.http import AsyncHttpSession
from airflow.triggers.base import BaseTrigger, TriggerEvent

from airflow_reportrun.hooks import StripeReportingAsyncHook
from airflow_reportrun.reporting.answers import Response
from airflow_reportrun.reporting.endpoints import retrieve_report_run
from airflow_reportrun.reporting.errors import RateLimitError
from airflow_reportrun.reporting.models import ReportRun
from airflow_reportrun.waiting.events import ReportRunEvent
from airflow_reportrun.wire.transport import lower

POLL_INTERVAL, GROWTH, LONGEST_PAUSE = 10.0, 0.25, 300.0
MOST_TRIES, FIRST_PAUSE, LONGEST_RESEND = 6, 0.5, 20.0


class PollingTrigger(BaseTrigger):
    """Fires once when a report run has ended.

    :param report_run_id: ``frr_…``.
    :param since: the run's ``created``, in Unix seconds.
    :param not_before: Unix seconds of the first look.
    """

    def __init__(self, report_run_id: str, since: float, not_before: float) -> None:
        super().__init__()
        self.report_run_id = report_run_id
        self.since = since
        self.not_before = not_before

    def serialize(self) -> tuple[str, dict[str, object]]:
        """Return the class path and the arguments."""
        names = ("report_run_id", "since", "not_before")
        return f"{__name__}.{type(self).__name__}", {name: getattr(self, name) for name in names}

    async def run(self) -> AsyncIterator[TriggerEvent]:
        """Yield the one event."""
        await asyncio.sleep(max(0.0, self.not_before - time.time()))
        async with StripeReportingAsyncHook() as hook, hook.session("GET") as session:
            while True:
                run = await self._look(session)
                if run and run.status.is_terminal:
                    break
                grown = min(GROWTH * (time.time() - self.since), LONGEST_PAUSE)
                await asyncio.sleep(max(POLL_INTERVAL, grown))
        yield TriggerEvent(ReportRunEvent.ended(run).as_payload())

    async def _look(self, session: AsyncHttpSession) -> ReportRun | None:
        """Return the run, or None where each try failed."""
        for tries in range(MOST_TRIES):
            if tries:
                doubled = min(LONGEST_RESEND, FIRST_PAUSE * 2.0 ** (tries - 1))
                await asyncio.sleep(doubled * random.uniform(0.5, 1.0))  # noqa: S311 - spreads load
            with suppress(RateLimitError):  # nothing else goes wrong here
                return await self._ask(session)
        return None

    async def _ask(self, session: AsyncHttpSession) -> ReportRun:
        request = retrieve_report_run(self.report_run_id)
        async with await session.run(request.path, headers={}) as response:
            body = await response.read()
            headers = [(name.decode("latin-1"), value.decode("latin-1")) for name, value in response.raw_headers]
            return request.result(Response(response.status, lower(headers), body))
