"""A look at one store or table: what lies there, what Stripe says of it, and what both mean."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from airflow_reportrun.coverage.series import Series, series_of

if TYPE_CHECKING:
    from datetime import datetime

    from airflow_reportrun.coverage.landings import Source
    from airflow_reportrun.hooks import StripeReportingHook


@dataclass(frozen=True)
class Coverage:
    """What was seen.

    :param series: see :class:`~airflow_reportrun.coverage.series.Series`.
    :param changes_since: epoch seconds from which on Stripe's report runs were looked at, None for all, or none.
    """

    series: Sequence[Series]
    changes_since: int | None = None


def source_of(
    destination: str | None = None,
    *,
    conn_id: str | None = None,
    catalog_conn_id: str | None = None,
    warehouse: str | None = None,
    table: str | None = None,
    hook_params: Mapping[str, Any] | None = None,
) -> Source:
    """Return a store, or a table where one is named.

    :param destination: see :class:`~airflow_reportrun.coverage.lake.Lake`.
    :param conn_id: see :class:`~airflow_reportrun.coverage.table.Table`, as the others.
    :param catalog_conn_id: see :func:`~airflow_reportrun.coverage.lakehouse.iceberg_table`, as ``warehouse``.
    :param table: of one of these; without one, the folder of a Delta table.
    :raises ReportingError: when it can't be one.
    """
    if destination is not None:
        from airflow_reportrun.coverage.lake import Lake

        return Lake(destination)
    if catalog_conn_id is not None or warehouse is not None:
        from airflow_reportrun.coverage.lakehouse import iceberg_table

        return iceberg_table(table or "", catalog_conn_id=catalog_conn_id, warehouse=warehouse)
    if conn_id is None and "/" in (table or ""):
        from airflow_reportrun.coverage.lakehouse import delta_table

        return delta_table(table or "")
    from airflow_reportrun.landing.sql.warehouse import warehouse_of

    warehouse_of(conn_id or "", hook_params)  # says what to install, where that is missing
    from airflow_reportrun.coverage.table import Table

    return Table(conn_id or "", table or "", hook_params)


def look_at(
    source: Source,
    *,
    hook: StripeReportingHook | None = None,
    now: float | None = None,
    timezones: Sequence[str] = (),
    since: datetime | None = None,
    until: datetime | None = None,
) -> Coverage:
    """Return what is there of each series, and what is not.

    :param source: a store or a table.
    :param hook: of the account whose reports these are; without it nothing is asked of Stripe.
    :param now: epoch seconds, by default the clock's.
    :param timezones: as for :func:`~airflow_reportrun.coverage.series.series_of`, as the others.
    :raises ReportingError: when the source can't be read, or Stripe can't be asked.
    """
    landings, ends, changes_since = source.landings(), {}, None
    if hook is not None:
        from airflow_reportrun.coverage.stripe import ask_stripe

        said = ask_stripe(hook, landings, source.manifest, stripe_account=hook.settings.stripe_account)
        landings, ends, changes_since = said.landings, said.data_available_end, said.changes_since
    series = series_of(
        landings,
        now=time.time() if now is None else now,
        data_available_end=ends,
        timezones=timezones,
        since=since,
        until=until,
    )
    return Coverage(series, changes_since)
