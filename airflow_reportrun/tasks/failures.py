"""How a try of a task fails: Airflow's errors for ours, its execution_timeout, what can't be retried."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from airflow.providers.common.compat.sdk import AirflowException, AirflowFailException, AirflowTaskTimeout

from airflow_reportrun.airflow_context import TaskInstance
from airflow_reportrun.reporting.errors import ReportingError

if TYPE_CHECKING:
    from airflow.providers.common.compat.sdk import BaseOperator, Context

    from airflow_reportrun.waiting.events import Event, PendingReportRunsEvent, ReportTypeEvent


def set_retry_policy(task: BaseOperator) -> None:
    """Give a task our retry policy, where Airflow has them (≥ 3.3) and its author chose none."""
    if getattr(task, "retry_policy", task) is None:
        from airflow_reportrun.retry_policy import StripeRetryPolicy

        task.retry_policy = StripeRetryPolicy()


def map_retry_policy(operator: type, arguments: dict[str, Any]) -> None:
    """Do the same for a mapped task, whose own arguments may be what is wrong: then none of it is ever made."""
    if getattr(operator, "retry_policy", operator) is None and arguments.get("retry_policy") is None:
        from airflow_reportrun.retry_policy import StripeRetryPolicy

        arguments["retry_policy"] = StripeRetryPolicy()


@contextmanager
def airflow_errors() -> Iterator[None]:
    """Turn our errors into Airflow's: what can't get better by itself is not tried again."""
    try:
        yield
    except ReportingError as error:
        raise (AirflowException if error.is_transient else AirflowFailException)(str(error)) from error


def require_available(event: ReportTypeEvent, refusal: str | None) -> int:
    """Return how far the data reaches, or fail: the deadline counts over all tries, so a retry would not help."""
    if event.availability is None:
        said = f" Stripe had said: {refusal}" if refusal else ""
        raise AirflowFailException(f"{_advised(event)}{said}")
    return int(event.availability["data_available_end"])


def require_room(event: PendingReportRunsEvent) -> None:
    """Fail where there was no room for a report run, for good as in :func:`require_available`."""
    if event.outcome != "room":
        raise AirflowFailException(_advised(event))


def _advised(event: Event) -> str:
    advice = (
        " A longer data_timeout= waits for it; it counts from the first try of the task, before Airflow 3.3"
        " from the start of the DAG run."
    )
    return f"{event.message}{advice if event.outcome == 'timeout' else ''}"


@dataclass(frozen=True)
class Try:
    """A try of a task, over all of its deferrals.

    While a task is deferred, nobody looks at its ``execution_timeout``, and afterwards it counts anew. So it is
    part of each deadline.

    :param began: epoch seconds; the first process of a try tells the next ones by ``resume``.
    :param seconds: those that it may take, None for any number.
    """

    began: float
    seconds: float | None

    @classmethod
    def of(cls, task: BaseOperator, context: Context, resume: Mapping[str, Any] | None = None) -> Try:
        """Return the try that a task is in.

        :param resume: what came back with a trigger's event.
        """
        began = (resume or {}).get("try_began")
        if began is None:
            began = TaskInstance(context).began or time.time()
        limit = task.execution_timeout
        return cls(began, limit.total_seconds() if limit else None)

    @property
    def resume(self) -> dict[str, Any]:
        """What a trigger has to bring back, JSON."""
        return {} if self.seconds is None else {"try_began": self.began}

    def deadline(self, wanted: float) -> float:
        """Return until when to wait, in epoch seconds."""
        from airflow_reportrun.reporting.models import LATEST

        return min(wanted, LATEST - 1.0, *(() if self.seconds is None else (self.began + self.seconds,)))

    def require_time(self, event: Event) -> None:
        """Raise what Airflow raises in a worker, where the try had no time to wait any longer.

        :raises AirflowTaskTimeout: which is tried again.
        """
        if event.outcome == "timeout" and self.seconds is not None and time.time() >= self.began + self.seconds:
            raise AirflowTaskTimeout(
                f"{event.message} The try has taken its execution_timeout, {self.seconds:.0f} s."
            )
