"""What comes of a report run for a task: its file, its result, and Airflow's errors for ours."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from airflow.providers.common.compat.sdk import AirflowException, AirflowFailException

from airflow_reportrun.events import describe
from airflow_reportrun.reporting.errors import ConfigurationError, ReportingError

if TYPE_CHECKING:
    from airflow.providers.common.compat.sdk import BaseOperator, Context

    from airflow_reportrun.landing.report import Landed
    from airflow_reportrun.reporting.models import ReportRun


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


def record_landing(task: BaseOperator, context: Context, landed: Landed) -> None:
    """Tell the consumers of the task's outlets what landed: it goes with the event of each asset."""
    from airflow.providers.common.compat.sdk import Asset, AssetAlias

    essentials = landed.essentials()
    for outlet in task.outlets:
        if isinstance(outlet, Asset):
            context["outlet_events"][outlet].extra.update(essentials)
        elif isinstance(outlet, AssetAlias):
            context["outlet_events"][outlet].add(Asset(landed.uri), extra=essentials)


def result(run: ReportRun, *, request_id: str | None = None, landed: Landed | None = None) -> dict[str, Any]:
    """Return what a task returns; see :class:`StripeReportRunOperator`."""
    return {
        **describe(run),
        "request_id": request_id,
        "path": landed.path if landed else None,
        "sha256": landed.manifest.sha256 if landed else None,
        "rows": landed.manifest.rows if landed else None,
    }
