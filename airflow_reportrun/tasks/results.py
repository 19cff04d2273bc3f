"""What a task returns of a report run, and what it tells the consumers of its assets."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from airflow_reportrun.waiting.events import describe

if TYPE_CHECKING:
    from airflow.providers.common.compat.sdk import BaseOperator, Context

    from airflow_reportrun.landing.report import Landed
    from airflow_reportrun.reporting.models import ReportRun


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
