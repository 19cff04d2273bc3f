"""Which failures of a task are worth a retry, for Airflow ≥ 3.3."""

from __future__ import annotations

from datetime import timedelta
from math import ceil
from random import random
from typing import TYPE_CHECKING, Any

from airflow.providers.common.compat.sdk import AirflowOptionalProviderFeatureException, conf

from airflow_reportrun.reporting.errors import DataNotReadyError, NoReportTypesError, ReportingError

try:
    from airflow.sdk import RetryDecision, RetryPolicy
except ImportError as error:
    raise AirflowOptionalProviderFeatureException("Retry policies need Airflow 3.3 or newer.") from error

if TYPE_CHECKING:
    from airflow.providers.common.compat.sdk import Context

DATA_NOT_READY_DELAY = timedelta(minutes=30)
"""Stripe's data moves on about twice a day."""


class StripeRetryPolicy(RetryPolicy):
    """Retry what may get better by itself, a 429 or a broken connection; fail at once on what won't, as a 401.

    Data that is not there yet is asked for half an hour later, and a ``Retry-After`` of up to a day is kept to,
    where the task's ``retry_delay``, with its ``retry_exponential_backoff``, is not longer.

    The operators and sensors of this package have it unless they are given another. It is as good for tasks of
    one's own that call the hook: ``@task(retries=5, retry_policy=StripeRetryPolicy())``. Errors that are not of
    this package are left to Airflow.
    """

    def evaluate(
        self,
        exception: BaseException,
        try_number: int,
        max_tries: int,
        context: Context | None = None,
    ) -> RetryDecision:
        """Decide about one failure; see :class:`airflow.sdk.RetryPolicy`."""
        error: BaseException | None = exception
        while error is not None and not isinstance(error, ReportingError):
            error = error.__cause__
        if error is None:
            return RetryDecision.default()
        if not error.is_transient:
            return RetryDecision.fail(f"{type(error).__name__}: a retry would end the same.")
        return RetryDecision.retry(
            _delay(error, try_number, context), f"{type(error).__name__} may get better by itself."
        )

    def serialize(self) -> dict[str, Any]:
        """Return nothing but the kind: there is nothing to set."""
        return {"__type": f"{type(self).__module__}.{type(self).__qualname__}"}

    @classmethod
    def deserialize(cls, data: dict[str, Any]) -> StripeRetryPolicy:
        """Make one."""
        return cls()


def _delay(error: ReportingError, try_number: int, context: Context | None) -> timedelta | None:
    """Return how long to wait, None for what the task's author chose: who is patient is not hurried."""
    if isinstance(error, (DataNotReadyError, NoReportTypesError)):
        least = DATA_NOT_READY_DELAY
    else:
        least = timedelta(seconds=getattr(error, "retry_after", None) or 0)
    surely, drawn = _chosen(context["task"], try_number) if context else (timedelta(0), timedelta(0))
    return None if surely >= least else max(least, drawn)


def _chosen(task: Any, try_number: int) -> tuple[timedelta, timedelta]:
    """Return the pause that a task's author chose, at least, and as drawn: a back-off is random up to its double.

    Airflow computes it in ``TaskInstance.next_retry_datetime``, and not where a policy gives a delay.
    """
    backoff = task.retry_exponential_backoff
    multiplier = 2.0 if backoff is True else float(backoff)  # as Airflow reads what Airflow 2 had
    if multiplier <= 0 or multiplier == 1:
        return task.retry_delay, task.retry_delay
    longest = conf.getint("core", "max_task_retry_delay", fallback=24 * 60 * 60)
    try:
        first = max(1, ceil(task.retry_delay.total_seconds() * multiplier ** (try_number - 1)))
    except OverflowError:
        first = longest
    surely, drawn = (timedelta(seconds=min(it, longest)) for it in (first, first * (1 + random())))  # noqa: S311
    most: Any = task.max_retry_delay or timedelta.max
    return min(surely, most), min(drawn, most)
