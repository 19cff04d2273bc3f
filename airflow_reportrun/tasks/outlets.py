"""What the consumers of a task's assets are told: what landed, and of which partition it is."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from datetime import datetime
from typing import TYPE_CHECKING, Any

from airflow_reportrun.reporting.errors import ConfigurationError

if TYPE_CHECKING:
    from airflow.providers.common.compat.sdk import BaseOperator, Context

    from airflow_reportrun.landing.report import Landed

LONGEST_KEY = 250
"""Characters that Airflow's database has for a partition key."""


def record_landing(task: BaseOperator, context: Context, landed: Landed) -> None:
    """Tell the consumers of the task's outlets what landed: it goes with the event of each asset."""
    from airflow.providers.common.compat.sdk import Asset, AssetAlias

    essentials = landed.essentials()
    for outlet in task.outlets:
        if isinstance(outlet, _assets()):
            context["outlet_events"][outlet].extra.update(essentials)
        elif isinstance(outlet, AssetAlias):
            context["outlet_events"][outlet].add(Asset(landed.uri), extra=essentials)


def record_partition(task: BaseOperator, context: Context, key: str | None) -> None:
    """Give the events of the task's assets a partition key; None leaves them the DAG run's, if it has one."""
    if key is not None:
        for outlet in task.outlets:
            context["outlet_events"][outlet].add_partitions(key)


def key_of(
    template: str | None,
    report_type: str,
    parameters: Mapping[str, Any],
    context: Context,
    stripe_account: str | None,
    report_run_id: str | None = None,
) -> str | None:
    """Return the key of the partition that a report is about.

    :param template: with placeholders, see :mod:`airflow_reportrun.landing.destination`; None for no key.
    :param parameters: of the report, by Stripe's names.
    :param stripe_account: the account that is acted as.
    :param report_run_id: None where there is no run yet.
    :raises ConfigurationError: when it can't be a key.
    """
    if template is None:
        return None
    from airflow_reportrun.landing.destination import LATER, filled_in, placeholders
    from airflow_reportrun.question.intervals import timezone

    zone = timezone(context)
    bounds = {
        name: datetime.fromtimestamp(int(parameters[name]), zone)
        for name in ("interval_start", "interval_end")
        if parameters.get(name) is not None
    }
    values = placeholders(
        report_type, parameters, bounds, stripe_account=stripe_account, report_run_id=report_run_id or LATER
    )
    key = filled_in("partition_key", template, values)
    if not key.strip() or len(key) > LONGEST_KEY:
        raise ConfigurationError(f"partition_key {key!r} has to have 1 to {LONGEST_KEY} characters.")
    return key


def require_partitions(task: BaseOperator, partition_key: str | None) -> None:
    """Refuse a key that no event could have, when the DAG file is parsed.

    :raises ConfigurationError: see above.
    """
    if partition_key is None:
        return
    if not hasattr(task, "retry_policy"):  # which came with the same version
        raise ConfigurationError("partition_key needs Airflow 3.3 or newer: before, no task gives an event a key.")
    if not task.outlets or not all(isinstance(it, _assets()) for it in task.outlets):
        raise ConfigurationError(
            "partition_key is for the events of the assets in outlets: give the task outlets=[Asset(…)], and no "
            "AssetAlias, whose events Airflow gives the key of the DAG run alone."
        )


def _assets() -> Any:
    from airflow.providers.common.compat.sdk import Asset

    with suppress(ImportError):  # Airflow 2 has no Asset.ref(…)
        from airflow.sdk.definitions.asset import AssetRef

        return (Asset, AssetRef)
    return Asset
