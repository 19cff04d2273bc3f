"""The operator that lands the file of a report run in an Iceberg table."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Literal

from airflow_reportrun.operators.finished import TableOperator
from airflow_reportrun.reporting.errors import ConfigurationError
from airflow_reportrun.tasks.options import given_options, is_quotable, is_written

if TYPE_CHECKING:
    from airflow_reportrun.landing.tables import Table


class StripeReportToIcebergOperator(TableOperator):
    """Land the file of a succeeded report run in an Iceberg table, with types (extra ``iceberg``).

    One commit replaces exactly the rows of the interval and says so in the table's properties, so that a retry, a
    clear and a backfill over what is landed neither duplicate nor lose a row. The table is created, and gets the
    columns that it lacks; ``docs/iceberg.md`` describes it. What is there already is not transferred again.
    Creates no report run. Returns what :class:`StripeReportRunOperator` returns; ``path`` is the table.

    :param report_run_id: ``frr_…``, or what :class:`StripeReportRunOperator` returned: ``run.output``. (templated)
    :param table: ``namespace.table``. (templated)
    :param catalog_conn_id: Airflow connection of type ``iceberg``: a REST catalog's URI, client id and secret, or
        the properties of another one in the extra. (templated)
    :param warehouse: instead of it, a folder that gets a catalog of its own, of SQLite: for one machine.
        (templated)
    :param column_types: kinds by column name where they are to be others than the package's, such as
        ``{"fee": "text"}``. (templated)
    :param naming: what the columns are called: ``stripe``, or ``snake_case`` for engines that refuse brackets and
        fold case: ``payment_metadata__order_id``. (templated)
    :param metadata: ``columns``, or ``json`` for all of ``payment_metadata[…]`` in one column,
        ``payment_metadata``. (templated)
    :param schema: ``evolve``, or ``freeze`` to refuse a report with columns that the table lacks, or has of
        another type. (templated)
    :param on_overlap: ``fail`` when landed rows are of other bounds and would count twice; ``replace`` the ones
        that the interval covers whole, such as days by their month. (templated)
    :param partition_key: the partition of what lands, for the consumers of the assets in ``outlets`` (Airflow
        ≥ 3.3): with the placeholders of a destination, such as ``{interval_start:%Y-%m-%d}``. (templated)
    :param stripe_conn_id: Airflow connection of type ``stripe``; by default the one that the run was created
        through, where what the task was given says so, else ``stripe_default``. (templated)
    :param stripe_account: account to act as; by default the one that the run was created for, likewise, else the
        connection's own. (templated)
    :param stripe_context: the same as a path of accounts, for keys of an organization. (templated)
    """

    template_fields: Sequence[str] = (*TableOperator.template_fields, "catalog_conn_id", "warehouse")
    note = (
        "Replaces the rows of a report's interval in an Iceberg table, in one commit. Creates no report run at "
        "Stripe, and does not transfer again what is landed already."
    )

    def __init__(
        self,
        *,
        table: str,
        catalog_conn_id: str | None = None,
        warehouse: str | os.PathLike[str] | None = None,
        column_types: Mapping[str, str] | None = None,
        on_overlap: Literal["fail", "replace"] = "fail",
        **kwargs: Any,
    ) -> None:
        from airflow_reportrun.landing.names import folder_of_catalog, identifier_of, require_packages

        super().__init__(table=table, column_types=column_types, on_overlap=on_overlap, **kwargs)
        if (catalog_conn_id is None) == (warehouse is None):
            raise ConfigurationError(
                "Name the catalog of the table: catalog_conn_id, an Airflow connection of type iceberg, or "
                "warehouse, a folder that gets a catalog of its own; one of them."
            )
        require_packages("An Iceberg table", "airflow-provider-reportrun[iceberg]", "pyiceberg", "pyarrow")
        if is_written(table):
            identifier_of(table)
        warehouse = os.fspath(warehouse) if isinstance(warehouse, os.PathLike) else warehouse
        if is_quotable(warehouse):
            folder_of_catalog(warehouse)
        self.catalog_conn_id = catalog_conn_id
        self.warehouse = warehouse
        self._given = given_options(self)

    def table_with(self, **options: Any) -> Table:
        """Return the table in its catalog."""
        from airflow_reportrun.landing.lakehouse.iceberg.catalogs import lakehouse_of
        from airflow_reportrun.landing.lakehouse.iceberg.table import IcebergTable
        from airflow_reportrun.landing.lakehouse.report import LakehouseTable

        table = IcebergTable(lakehouse_of(self.catalog_conn_id, self.warehouse), self.table)
        return LakehouseTable(table, self.hook, **options)
