"""What an error means for a task, said once for operators and sensors."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from airflow.providers.common.compat.sdk import AirflowException, AirflowFailException

from airflow_reportrun.reporting.errors import ReportingError


@contextmanager
def airflow_errors() -> Iterator[None]:
    """Turn our errors into Airflow's: what can't get better by itself is not tried again."""
    try:
        yield
    except ReportingError as error:
        raise (AirflowException if error.is_transient else AirflowFailException)(str(error)) from error
