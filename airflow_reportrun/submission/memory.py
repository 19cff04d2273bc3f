"""What a task instance remembers over its tries.

Airflow ≥ 3.3 has a store that outlives a try: there a retry finds what the first try asked for, even when Stripe
has forgotten the idempotency key or the templates render differently. Before 3.3 nothing is remembered, and the
idempotency key alone leads a retry to the report run.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import asdict, dataclass, field, fields
from typing import TYPE_CHECKING, Any

from airflow_reportrun.airflow_context import TaskInstance
from airflow_reportrun.reporting.endpoints import is_id, is_idempotency_key
from airflow_reportrun.reporting.models import LATEST, REPORT_RUN_IDS, odd_parameter
from airflow_reportrun.submission.idempotency import Wanted

if TYPE_CHECKING:
    from airflow.providers.common.compat.sdk import Context

log = logging.getLogger(__name__)

STORE_KEY = "stripe_report_run"

CLOCK_SKEW = 300.0
"""Seconds by which the clocks of Airflow's machines may differ; Stripe's is never compared with them."""


@dataclass(frozen=True, kw_only=True)
class Submission(Wanted):
    """What a task instance asked Stripe for; kept from before the request on.

    :param attempt: see :meth:`~airflow_reportrun.submission.idempotency.Identity.idempotency_key`.
    :param idempotency_key: as it was sent.
    :param report_run_id: ``frr_…``; None while no answer has arrived.
    :param request_id: ``req_…``, the request that created the run.
    """

    attempt: int
    idempotency_key: str
    report_run_id: str | None = None
    request_id: str | None = None

    @classmethod
    def of(cls, wanted: Wanted, attempt: int, idempotency_key: str) -> Submission:
        """Return what is about to be sent."""
        named = {it.name: getattr(wanted, it.name) for it in fields(Wanted)}
        return cls(**named, attempt=attempt, idempotency_key=idempotency_key)


@dataclass(kw_only=True)
class Memory:
    """The memory of one task instance between two clears.

    :param first_try: epoch seconds of the first try; before Airflow 3.3, of the start of the DAG run.
    :param earliest: epoch seconds, by Airflow's clock; a report run that is older is not of this task instance,
        but of one with the same ids in a DAG run that was deleted.
    :param began: epoch seconds at which the DAG run began.
    :param submission: what was asked for; None while nothing was, or where Stripe refused it.
    :param knows_all: whether nothing else was asked for, so that what is asked for now is new to Stripe.
    """

    first_try: float = 0.0
    earliest: float = 0.0
    began: float = 0.0
    submission: Submission | None = None
    knows_all: bool = False
    store: Any = field(default=None, repr=False)
    max_tries: int = 0

    @classmethod
    def recall(cls, context: Context, *, clock: Callable[[], float] = time.time) -> Memory:
        """Return what the task instance remembers, and begin to where this is its first try.

        :param context: Airflow's template context.
        :param clock: epoch seconds.
        """
        ti = TaskInstance(context)
        store, began = ti.store, clock() if ti.run_began is None else ti.run_began
        # Clearing a task moves the start of its DAG run, under the feet of the tasks that were not cleared.
        cleared = ti.run_was_cleared
        if store is None:
            earliest = 0.0 if cleared else began - CLOCK_SKEW
            return cls(first_try=began, earliest=earliest, began=began, knows_all=ti.is_first_try)
        kept = store.get(STORE_KEY)
        if kept and not _is_entry(kept):
            log.warning("What Airflow's state store has of this task is damaged, and is passed over.")
            kept = None
        if kept and kept["max_tries"] == ti.max_tries:
            first_try, submission = kept["first_try"], _submission(kept.get("submission"))
            return cls(
                first_try=first_try,
                earliest=kept.get("earliest", first_try - CLOCK_SKEW),
                began=began,
                submission=submission,
                knows_all=submission is not None or kept.get("submission") is None,
                store=store,
                max_tries=ti.max_tries,
            )
        first_try = clock()
        earliest = first_try - CLOCK_SKEW
        knows_all = ti.try_number == 1 or bool(kept)
        if not knows_all:
            # There was a try before that left nothing: one of an Airflow that couldn't, whose run would be ours.
            earliest = 0.0 if cleared else min(began, first_try) - CLOCK_SKEW
        memory = cls(
            first_try=first_try,
            earliest=earliest,
            began=began,
            knows_all=knows_all,
            store=store,
            max_tries=ti.max_tries,
        )
        memory.keep(None)
        return memory

    def keep(self, submission: Submission | None) -> None:
        """Remember a submission, before it is sent and after its answer; None is nothing that led to a run."""
        self.submission = submission
        if self.store is not None:
            kept = None if submission is None else asdict(submission)
            # A clear asks for a fresh run: Airflow leaves the store as it is, and moves max_tries.
            self.store.set(
                STORE_KEY,
                {
                    "max_tries": self.max_tries,
                    "first_try": self.first_try,
                    "earliest": self.earliest,
                    "submission": kept,
                },
            )

    def forget_others(self, scope: str, stripe_account: str | None, livemode: bool | None) -> None:
        """Forget a submission that was made for another account or mode: its run can't be seen from here."""
        kept = self.submission
        if kept and (kept.scope, kept.stripe_account, kept.livemode) != (scope, stripe_account, livemode):
            log.warning(
                "The first submission (%s) was for another account, mode or idempotency_scope; asking anew.",
                kept.report_run_id or "not answered",
            )
            self.submission = None


def _is_entry(kept: Any) -> bool:
    """Tell whether this is what :meth:`Memory.keep` keeps, the submission aside."""
    return (
        isinstance(kept, Mapping)
        and type(kept.get("max_tries")) is int
        and _is_instant(kept.get("first_try"))
        and _is_instant(kept.get("earliest", 0.0))
    )


def _is_instant(value: Any) -> bool:
    return type(value) in (int, float) and -CLOCK_SKEW <= value < LATEST


_IS: Mapping[str, Callable[[Any], bool]] = {
    "scope": lambda it: isinstance(it, str),
    "report_type": is_id,
    **dict.fromkeys(("stripe_account", "request_id"), lambda it: isinstance(it, str | None)),
    "report_run_id": lambda it: it is None or (is_id(it) and it.startswith(REPORT_RUN_IDS)),
    "livemode": lambda it: isinstance(it, bool | None),
    "parameters": lambda it: isinstance(it, Mapping),
    "attempt": lambda it: type(it) is int and it > 0,
    "idempotency_key": is_idempotency_key,
}


def _submission(kept: Any) -> Submission | None:
    """Read a submission; fields of other versions of this package are passed over, and so is a damaged one.

    Without it the key is derived anew, which leads to the same report run while Stripe keeps it.
    """
    if kept is None:
        return None
    if isinstance(kept, Mapping):
        known = {it.name: kept[it.name] for it in fields(Submission) if it.name in kept}
        if (
            all(_IS[name](value) for name, value in known.items())
            and odd_parameter(known.get("parameters", {})) is None
        ):
            with suppress(TypeError):
                return Submission(**known)
    log.warning("What was kept of the first submission is another version's or damaged, and is passed over.")
    return None
