"""Submit or attach: the one way a report run comes to be.

What makes it happen once is Stripe's idempotency, not a look at what exists: the key is derived from the task
instance, so a retry sends the same request again and is given the run that the crashed try created. A run that
failed would be given back for ever, hence the attempt in the key, which moves on when what the key holds can't
be used. Every walk starts at the first attempt, so it needs no memory of its own.
"""

from __future__ import annotations

import logging
import time
from dataclasses import replace
from typing import TYPE_CHECKING

from airflow_reportrun.reporting.errors import APIError, ReportingError, ServerError

if TYPE_CHECKING:
    from collections.abc import Callable

    from airflow_reportrun.identity import Identity
    from airflow_reportrun.reporting.client import ReportingClient
    from airflow_reportrun.reporting.models import ReportRun
    from airflow_reportrun.reporting.parameters import ParameterShape, ReportParameters

log = logging.getLogger(__name__)

MAX_ATTEMPTS = 50
"""More failed runs and stored errors of one task instance than any policy of retries makes."""

MAX_SERVER_ERRORS = 3
"""New keys that one try spends on server errors; each may leave a report run behind that nobody counts."""


def submit_or_attach(
    client: ReportingClient,
    identity: Identity,
    parameters: ReportParameters,
    *,
    shape: ParameterShape | None = None,
    clock: Callable[[], float] = time.time,
) -> ReportRun:
    """Return the report run of this identity as it is now, created at most once.

    A pending or succeeded run of an earlier try is attached to. A new one is created only where there is none,
    where the last one failed, where its file expired, or where Stripe keeps an error under the key.

    :param client: calls Stripe.
    :param identity: who asks, and for what.
    :param parameters: the parameters that ``identity`` names.
    :param shape: what the report type asks for, where its id doesn't tell.
    :param clock: epoch seconds.
    :raises ReportingError: when Stripe refuses, or can't be reached.
    """
    server_errors = 0
    for attempt in range(1, MAX_ATTEMPTS + 1):
        try:
            run = client.create_report_run(
                identity.report_type,
                parameters,
                idempotency_key=identity.idempotency_key(attempt),
                shape=shape,
            )
        except APIError as error:
            if not _is_spent(error):
                raise
            if not error.replayed:
                server_errors += 1
                if server_errors > MAX_SERVER_ERRORS:
                    raise
                client.sleep(min(client.retry_policy.pause(error, server_errors), client.retry_policy.max_wait))
            log.warning("Attempt %d: Stripe keeps an error for it, so a new one follows. %s", attempt, error)
            continue
        if not run.replayed:
            log.info("Created report run %s (attempt %d, request %s)", run.id, attempt, run.request_id)
            return run
        # The replay shows the run as it was on the day it was created.
        run = _now(client, run)
        if reason := _unusable(run, clock()):
            log.warning("Attempt %d: report run %s %s, so a new one follows.", attempt, run.id, reason)
            continue
        log.info("Attached to report run %s (attempt %d), which is %s", run.id, attempt, run.status)
        return run
    raise ReportingError(
        f"{MAX_ATTEMPTS} attempts of this task instance led to no usable report run; clear it to begin anew."
    )


def _is_spent(error: APIError) -> bool:
    """Whether the key is used up by this answer, so that only a new one can lead to a run.

    A stored 400 is asked once more under a new key only when it is a replay: it may be about data that has
    arrived since. Fresh, it is the answer.
    """
    return error.stored and (error.replayed or isinstance(error, ServerError))


def _now(client: ReportingClient, run: ReportRun) -> ReportRun:
    return replace(client.retrieve_report_run(run.id), request_id=run.request_id, replayed=True)


def _unusable(run: ReportRun, now: float) -> str | None:
    if run.status == run.status.FAILED:
        return f"failed ({run.error})"
    if run.result and run.result.expires_at is not None and run.result.expires_at <= now:
        return "has a file that expired"
    return None
