"""Wait until a report run has ended: one loop in two colours, for tasks that wait themselves and for triggers."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING

from airflow_reportrun.events import ReportRunEvent
from airflow_reportrun.reporting.errors import ReportingError

if TYPE_CHECKING:
    from airflow_reportrun.reporting.client import AsyncReportingClient, ReportingClient
    from airflow_reportrun.reporting.models import ReportRun
    from airflow_reportrun.reporting.polling import Watch

log = logging.getLogger(__name__)


def wait(
    client: ReportingClient,
    report_run_id: str,
    watch: Watch,
    *,
    clock: Callable[[], float] = time.time,
    sleep: Callable[[float], None] = time.sleep,
) -> ReportRunEvent:
    """Look at a report run until it has ended or the deadline is over.

    :param client: calls Stripe.
    :param report_run_id: ``frr_…``.
    :param watch: when to look, and when to give up.
    :param clock: epoch seconds.
    :param sleep: sleeps seconds.
    """
    while True:
        if (event := look(client, report_run_id)) is not None:
            return event
        if (pause := watch.pause(clock())) is None:
            return _timeout(report_run_id)
        sleep(pause)


async def wait_async(
    client: AsyncReportingClient,
    report_run_id: str,
    watch: Watch,
    *,
    clock: Callable[[], float] = time.time,
    sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
) -> ReportRunEvent:
    """Look at a report run until it has ended; see :func:`wait`."""
    while True:
        if (event := await look_async(client, report_run_id)) is not None:
            return event
        if (pause := watch.pause(clock())) is None:
            return _timeout(report_run_id)
        await sleep(pause)


def look(client: ReportingClient, report_run_id: str) -> ReportRunEvent | None:
    """Return how a report run ended, None while it hasn't."""
    try:
        return _judge(client.retrieve_report_run(report_run_id))
    except ReportingError as error:
        return _judge_error(report_run_id, error)


async def look_async(client: AsyncReportingClient, report_run_id: str) -> ReportRunEvent | None:
    """Return how a report run ended, None while it hasn't."""
    try:
        return _judge(await client.retrieve_report_run_async(report_run_id))
    except ReportingError as error:
        return _judge_error(report_run_id, error)


def _judge(run: ReportRun) -> ReportRunEvent | None:
    if run.status.is_terminal:
        return ReportRunEvent.ended(run)
    if not run.status.is_known:
        log.warning("Report run %s has the unknown status %r; it counts as pending.", run.id, str(run.status))
    return None


def _judge_error(report_run_id: str, error: ReportingError) -> ReportRunEvent | None:
    # An error that passes says nothing about the run, which goes on at Stripe meanwhile.
    if not error.is_transient:
        return ReportRunEvent.error(report_run_id, error)
    log.warning("Could not look at report run %s; looking again later. %s", report_run_id, error)
    return None


def _timeout(report_run_id: str) -> ReportRunEvent:
    return ReportRunEvent(
        "timeout",
        report_run_id,
        message=f"Report run {report_run_id} was not seen to end by the deadline; Stripe goes on with it.",
    )
