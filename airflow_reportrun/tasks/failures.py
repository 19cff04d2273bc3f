"""Which failures of a task Airflow tries again: its errors for ours, and the retry policy of our tasks."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from airflow.providers.common.compat.sdk import AirflowException, AirflowFailException

from airflow_reportrun.reporting.errors import ReportingError

if TYPE_CHECKING:
    from airflow.providers.common.compat.sdk import BaseOperator


def set_retry_policy(task: BaseOperator) -> None:
    """Give a task our retry policy, where Airflow has them (≥ 3.3) and its author chose none."""
    if getattr(task, "retry_policy", task) is None:
        from airflow_reportrun.retry_policy import StripeRetryPolicy

        task.retry_policy = StripeRetryPolicy()


@contextmanager
def airflow_errors() -> Iterator[None]:
    """Turn our errors into Airflow's: what can't get better by itself is not tried again."""
    try:
        yield
    except ReportingError as error:
        raise (AirflowException if error.is_transient else AirflowFailException)(str(error)) from error
