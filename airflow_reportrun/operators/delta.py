"""The operator that lands the file of a report run in a Delta table."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Literal

from airflow_reportrun.operators.finished import TableOperator
from airflow_reportrun.tasks.options import given_options, is_quotable

if TYPE_CHECKING:
    from airflow_reportrun.landing.tables import Table


class StripeReportToDeltaOperator(TableOperator):
    """Land the file of a succeeded report run in a Delta table, with types (extra ``delta``).

    One commit replaces exactly the rows of the interval and says so in the table's log, so that a retry, a clear
    and a backfill over what is landed neither duplicate nor lose a row. The table is created, and gets the columns
    that it lacks; ``docs/delta.md`` describes it. What is there already is not transferred again. Creates no
    report run. Returns what :class:`StripeReportRunOperator` returns; ``path`` is the table.

    :param report_run_id: ``frr_…``, or what :class:`StripeReportRunOperator` returned: ``run.output``. (templated)
    :param table: the folder that is the table: an absolute path, or ``s3://conn_id@bucket/folder`` with the id of
        an Airflow connection, without which the worker's environment says how to reach the store. (templated)
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

    template_fields: Sequence[str] = TableOperator.template_fields
    note = (
        "Replaces the rows of a report's interval in a Delta table, in one commit. Creates no report run at "
        "Stripe, and does not transfer again what is landed already."
    )

    def __init__(
        self,
        *,
        table: Any,
        column_types: Mapping[str, str] | None = None,
        on_overlap: Literal["fail", "replace"] = "fail",
        **kwargs: Any,
    ) -> None:
        from airflow_reportrun.landing.names import folder_of_delta, require_packages

        super().__init__(table=str(table), column_types=column_types, on_overlap=on_overlap, **kwargs)
        require_packages("A Delta table", "airflow-provider-reportrun[delta]", "deltalake", "pyarrow")
        if is_quotable(self.table):
            folder_of_delta(self.table)
        self._given = given_options(self)

    def table_with(self, **options: Any) -> Table:
        """Return the table in its folder."""
        from airflow_reportrun.landing.lakehouse.delta.storage import location_of
        from airflow_reportrun.landing.lakehouse.delta.table import DeltaLakeTable
        from airflow_reportrun.landing.lakehouse.report import LakehouseTable

        return LakehouseTable(DeltaLakeTable(location_of(self.table)), self.hook, **options)
