"""What comes of a report run for a task: its file, its result, and Airflow's errors for ours."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from airflow.providers.common.compat.sdk import AirflowException, AirflowFailException

from airflow_reportrun.events import describe
from airflow_reportrun.reporting.errors import (
    ConfigurationError,
    ReportingError,
    ReportNotReadyError,
    ReportRunFailedError,
)

if TYPE_CHECKING:
    from pathlib import Path

    from airflow.providers.common.compat.sdk import BaseOperator

    from airflow_reportrun.hooks import StripeReportingHook
    from airflow_reportrun.landing.files import LandedFile
    from airflow_reportrun.reporting.models import ReportRun

log = logging.getLogger(__name__)


def given_options(task: BaseOperator) -> list[str]:
    """Return the templated options that the author of a task gave; to be asked in its constructor."""
    # A subclass may have templates of its own, which it sets only after this.
    return [name for name in task.template_fields if getattr(task, name, None) is not None]


def require_rendered(task: BaseOperator, given: list[str]) -> None:
    """Refuse options that were given and have come to nothing: leaving them out would be another report.

    :raises ConfigurationError: when a template or an upstream task gave None.
    """
    if gone := [name for name in given if getattr(task, name) is None]:
        raise ConfigurationError(f"{', '.join(gone)}: the template or the upstream task gave nothing.")


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


def fetch(hook: StripeReportingHook, run: ReportRun, path: Path) -> LandedFile:
    """Download the file of a report run, checked while it comes.

    :raises DownloadError: when there is no room for it, or what comes is not the report that was asked for.
    :raises ReportRunFailedError: when the run failed.
    :raises ReportNotReadyError: when the run has no file yet.
    """
    from airflow_reportrun.landing.files import land, require_space
    from airflow_reportrun.landing.structure import ReportCheck

    if run.status == run.status.FAILED:
        raise ReportRunFailedError(run)
    if (file := run.result) is None:
        raise ReportNotReadyError(
            f"Report run {run.id} is {run.status} and has no file yet; wait for it with StripeReportRunSensor."
        )
    require_space(path, file.size)
    # Of what was compressed for the user, who asked for that, only size and digest can be told.
    is_csv = str(run.parameters.get("compress_file", False)).lower() == "false"

    def consume(chunks: Iterator[bytes]) -> tuple[LandedFile, ReportCheck | None]:
        check = ReportCheck(run.parameters.get("columns")) if is_csv else None
        return land(chunks, path, expected_size=file.size, check=check), check

    landed, check = hook.read_file(file, consume)
    log.info(
        "Landed report run %s: %d bytes%s in %s, sha256 %s",
        *(run.id, landed.size, f", {check.rows} rows" if check else "", landed.path, landed.sha256),
    )
    return landed


def result(run: ReportRun, *, request_id: str | None = None, landed: LandedFile | None = None) -> dict[str, Any]:
    """Return what a task returns; see :class:`StripeReportRunOperator`."""
    return {
        **describe(run),
        "request_id": request_id,
        "path": str(landed.path) if landed else None,
        "sha256": landed.sha256 if landed else None,
    }
