"""Submit or attach: the one way a report run comes to be, and why another one follows in the same try.

What makes it happen once is Stripe's idempotency, not a look at what exists: the key is derived from the task
instance, so a retry sends the same request again and is given the run that the crashed try created. A run that
failed would be given back for ever, hence the attempt in the key, which moves on when what the key holds can't
be used. Where Airflow can remember, a retry goes on from what was kept; elsewhere it walks from the first attempt,
and comes to the same run for as long as Stripe keeps the keys.
"""

from __future__ import annotations

import logging
import time
from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING

from airflow_reportrun import metrics
from airflow_reportrun.reporting.errors import (
    APIError,
    DataNotReadyError,
    InvalidRequestError,
    ReportingError,
    ServerError,
)
from airflow_reportrun.submission.memory import CLOCK_SKEW, Memory, Submission

if TYPE_CHECKING:
    from collections.abc import Callable

    from airflow_reportrun.reporting.client import ReportingClient
    from airflow_reportrun.reporting.models import ReportRun
    from airflow_reportrun.reporting.parameters import ReportParameters
    from airflow_reportrun.reporting.report_type_ids import ParameterShape
    from airflow_reportrun.submission.idempotency import Identity

log = logging.getLogger(__name__)

MAX_ATTEMPTS = 50
"""More failed runs and stored errors of one task instance than any policy of retries makes."""

MAX_SERVER_ERRORS = 1
"""New keys that one try spends on stored server errors; each may leave a report run behind that nobody counts."""


def submit_or_attach(
    client: ReportingClient,
    identity: Identity,
    parameters: ReportParameters,
    *,
    shape: ParameterShape | None = None,
    memory: Memory | None = None,
    make_room: Callable[[], None] | None = None,
    clock: Callable[[], float] = time.time,
) -> ReportRun:
    """Return the report run of this identity as it is now, created at most once.

    A pending or succeeded run of an earlier try is attached to. A new one is created only where there is none,
    where the last one failed, where its file expired, where Stripe keeps an error under the key, or where the key
    belongs to a task instance of the same ids that was deleted.

    :param client: calls Stripe.
    :param identity: who asks, and for what: for what ``memory`` holds, where it holds a submission.
    :param parameters: the parameters that ``identity`` names.
    :param shape: what the report type asks for, where its id doesn't tell.
    :param memory: what the task instance remembers.
    :param make_room: is called once, before a request that surely creates a report run; it may raise, and nothing
        was sent then.
    :param clock: epoch seconds.
    :raises ReportingError: when Stripe refuses, or can't be reached.
    """
    memory, began = memory or Memory(), clock()
    first, kept = 1, memory.submission
    tell: Callable[[], None] | None = None  # of what is superseded; not again each time that a task comes back
    if kept is not None:
        first = kept.attempt
        if kept.report_run_id is not None:
            run = _kept(client, kept.report_run_id, kept.request_id)
            if not (flaw := unusable(run, clock())):
                log.info(
                    "Attached to report run %s of %s (attempt %d, request %s), which is %s",
                    *(run.id, run.report_type, first, run.request_id, run.status),
                )
                metrics.ATTACHED.send(report_type=run.report_type)
                return run
            tell = partial(_superseded, first, run.report_type, flaw.kind, f"report run {run.id} {flaw}")
            first += 1
    server_errors = 0
    for attempt in range(first, MAX_ATTEMPTS + 1):
        again = kept is not None and kept.attempt == attempt
        if make_room and memory.knows_all and not again:
            make_room()
            make_room = None
        if tell:
            tell()
            tell = None
        # A key that was sent is sent again as it was, also by a version that makes others.
        key = kept.idempotency_key if kept and again else identity.idempotency_key(attempt)
        submission = Submission.of(identity, attempt, key)
        if submission != memory.submission:
            memory.keep(submission)
        try:
            run = client.create_report_run(identity.report_type, parameters, idempotency_key=key, shape=shape)
        except APIError as error:
            if not _is_spent(error):
                if not error.is_transient or isinstance(error, DataNotReadyError):
                    memory.keep(None)
                raise
            if not error.replayed:
                log.warning(
                    "Stripe failed over the request for this report (HTTP %d), and may have made a report run all "
                    "the same. If so, that run is one too many at Stripe: nothing waits for it, its file is not "
                    "landed and its figures count nowhere. It is found there by request %s, idempotency key %s.",
                    *(error.http_status, error.request_id, key),
                )
                metrics.UNCOUNTED.send(report_type=identity.report_type)
                server_errors += 1
                if server_errors > MAX_SERVER_ERRORS:
                    raise
                client.sleep(min(client.resend_policy.pause(error, server_errors), client.resend_policy.max_wait))
            words = f"Stripe keeps an error for it ({error})"
            tell = partial(_superseded, attempt, identity.report_type, "stored_error", words)
            continue
        attached = run.replayed
        if attached:
            # The replay shows the run as it was on the day it was created.
            run = _now(client, run.id, run.request_id)
            # Whatever the clocks say, what this try sent is no namesake's.
            if flaw := unusable(run, clock(), min(memory.earliest, began - CLOCK_SKEW)):
                tell = partial(_superseded, attempt, run.report_type, flaw.kind, f"report run {run.id} {flaw}")
                continue
        verb = "Attached to" if attached else "Created"
        log.info(
            "%s report run %s of %s (attempt %d, request %s), which is %s",
            *(verb, run.id, run.report_type, attempt, run.request_id, run.status),
        )
        (metrics.ATTACHED if attached else metrics.CREATED).send(report_type=run.report_type)
        memory.keep(replace(submission, report_run_id=run.id, request_id=run.request_id))
        return run
    raise ReportingError(
        f"{MAX_ATTEMPTS} attempts of this task instance led to no usable report run; clear it to begin anew."
    )


def _superseded(attempt: int, report_type: str, kind: str, why: str) -> None:
    log.warning("Attempt %d: %s, so a new one follows.", attempt, why)
    metrics.SUPERSEDED.send(report_type=report_type, reason=kind)


def _is_spent(error: APIError) -> bool:
    """Whether the key is used up by this answer, so that only a new one can lead to a run.

    A stored 400 is asked once more under a new key only when it is a replay: it may be about data that has
    arrived since. Fresh, it is the answer.
    """
    return error.stored and (error.replayed or isinstance(error, ServerError))


def _kept(client: ReportingClient, report_run_id: str, request_id: str | None) -> ReportRun:
    try:
        return _now(client, report_run_id, request_id)
    except InvalidRequestError as error:
        raise ReportingError(
            f"Stripe does not show report run {report_run_id} of the first submission any more. "
            f"Clear the task to ask for a new one. {error}"
        ) from error


def _now(client: ReportingClient, report_run_id: str, request_id: str | None) -> ReportRun:
    return replace(client.retrieve_report_run(report_run_id), request_id=request_id, replayed=True)


def resume_decisions(kept: Submission | None, run: ReportRun) -> tuple[metrics.Resume, ...]:
    """Return what a try decided, in the words of Airflow's durable execution.

    :param kept: what the task instance remembered before.
    :param run: what it attached to, or created.
    """
    if not run.replayed and kept and kept.report_run_id:
        return "reconnect_attempt", "terminal_resubmit"
    if not run.replayed or not kept:
        return ("fresh_submit",)
    return "reconnect_attempt", "already_succeeded" if run.status == run.status.SUCCEEDED else "reconnect_success"


@dataclass(frozen=True)
class Flaw:
    """Why a report run is of no use.

    :param kind: ``failed``, ``expired`` or ``namesake``.
    :param words: what follows the run's name in a sentence.
    """

    kind: str
    words: str

    def __str__(self) -> str:
        return self.words


def unusable(run: ReportRun, now: float, earliest: float = 0.0) -> Flaw | None:
    """Return why a report run is of no use, None where it isn't so.

    Ages are compared and not instants: the run's by Stripe's clock alone, the task instance's by Airflow's.

    :param run: as it is now.
    :param now: epoch seconds, by Airflow's clock.
    :param earliest: see :class:`~airflow_reportrun.submission.memory.Memory`.
    """
    seen_at = now if run.seen_at is None else run.seen_at
    if seen_at - run.created > now - earliest:
        words = "is older than this task instance, and belongs to a deleted one of the same name"
        return Flaw("namesake", words)
    if run.status == run.status.FAILED:
        return Flaw("failed", f"failed ({run.error})")
    if run.result and run.result.expires_at is not None and run.result.expires_at <= now:
        return Flaw("expired", "has a file that expired")
    return None
