"""What an error or an event means for a task, said once for operators and sensors."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from airflow.providers.common.compat.sdk import AirflowException, AirflowFailException

from airflow_reportrun.reporting.errors import ReportingError

if TYPE_CHECKING:
    from airflow_reportrun.events import ReportRunEvent


@contextmanager
def airflow_errors() -> Iterator[None]:
    """Turn our errors into Airflow's: what can't get better by itself is not tried again."""
    try:
        yield
    except ReportingError as error:
        raise (AirflowException if error.is_transient else AirflowFailException)(str(error)) from error


def failure_message(event: ReportRunEvent) -> str:
    """Return what the user is told of a run that failed, with Stripe's own words."""
    return f"Report run {event.report_run_id} failed: {event.message}"
