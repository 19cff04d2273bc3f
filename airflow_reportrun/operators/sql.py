"""The operator that lands the file of a report run in a table of a database."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Literal

from airflow_reportrun.operators.finished import LandingOperator, require_kinds
from airflow_reportrun.reporting.errors import ConfigurationError
from airflow_reportrun.tasks.options import given_options, require_known

if TYPE_CHECKING:
    from airflow.providers.common.compat.sdk import Context
    from airflow.providers.common.sql.hooks.sql import DbApiHook

    from airflow_reportrun.landing.report import Landed
    from airflow_reportrun.reporting.models import ReportRun

_PROVIDERS = {
    **{name: name for name in ("databricks", "mysql", "oracle", "postgres", "snowflake", "sqlite", "trino")},
    **dict.fromkeys(("gcpbigquery", "google_cloud_platform"), "google"),
    **{"mssql": "microsoft-mssql", "redshift": "amazon"},
}
"""What Airflow's packages are called, by types of connections."""


def what_to_install(conn_type: str | None) -> str:
    """Say why a connection has no hook, and what brings one."""
    if conn_type in _PROVIDERS:
        return (
            f"the provider of its type {conn_type} is not installed, or can't be imported: "
            f"pip install apache-airflow-providers-{_PROVIDERS[conn_type]}"
        )
    return (
        f"its type {conn_type!r} has no hook here. A database's type is its provider's, such as postgres, of "
        "apache-airflow-providers-postgres."
    )


class StripeReportToSqlOperator(LandingOperator):
    """Land the file of a succeeded report run in a table, with types (extra ``sql``).

    One transaction replaces exactly the rows of the interval and records a manifest of it, so that a retry, a
    clear and a backfill over what is landed neither duplicate nor lose a row. The table is created, and gets the
    columns that it lacks; ``docs/sql.md`` describes it. What is there already is not transferred again. Creates no
    report run. Returns what :class:`StripeReportRunOperator` returns; ``path`` is the table.

    :param report_run_id: ``frr_…``, or what :class:`StripeReportRunOperator` returned: ``run.output``. (templated)
    :param table: ``table`` or ``schema.table``; the schema has to exist. (templated)
    :param conn_id: Airflow connection of a database: PostgreSQL, SQLite, or another one with a hook based on
        ``DbApiHook`` and a dialect of SQLAlchemy. (templated)
    :param hook_params: what the connection's hook is made with, such as ``{"database": "finance"}``.
    :param column_types: kinds by column name where they are to be others than the package's, such as
        ``{"fee": "text"}``. (templated)
    :param on_overlap: ``fail`` when landed rows are of other bounds and would count twice; ``replace`` the ones
        that the interval covers whole, such as days by their month. (templated)
    :param stripe_conn_id: Airflow connection of type ``stripe``; by default the one that the run was created
        through, where what the task was given says so, else ``stripe_default``. (templated)
    :param stripe_account: account to act as; by default the one that the run was created for, likewise, else the
        connection's own. (templated)
    :param stripe_context: the same as a path of accounts, for keys of an organization. (templated)
    """

    template_fields: Sequence[str] = (
        "report_run_id",
        "table",
        "conn_id",
        "column_types",
        "on_overlap",
        "stripe_conn_id",
        "stripe_account",
        "stripe_context",
    )
    ui_color = "#e7e5ff"

    def __init__(
        self,
        *,
        table: str,
        conn_id: str,
        hook_params: Mapping[str, Any] | None = None,
        column_types: Mapping[str, str] | None = None,
        on_overlap: Literal["fail", "replace"] = "fail",
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        require_known("on_overlap", on_overlap, ("fail", "replace"), templated=True)
        require_kinds(column_types)
        self.table = table
        self.conn_id = conn_id
        self.hook_params = hook_params
        self.column_types = column_types
        self.on_overlap = on_overlap
        self._given = given_options(self)

    def land(self, context: Context) -> tuple[ReportRun, Landed]:
        """Land the file in the table."""
        from airflow_reportrun.landing.sql.report import land_in_table

        if self.on_overlap not in ("fail", "replace"):
            raise ConfigurationError(f"on_overlap is 'fail' or 'replace', not {self.on_overlap!r}.")
        warehouse = self._warehouse()
        run = self.report_run()
        return run, land_in_table(
            self.hook,
            run,
            warehouse,
            self.table,
            column_types=self.column_types,
            on_overlap=self.on_overlap,
        )

    def _warehouse(self) -> DbApiHook:
        from airflow_reportrun.wire.lookup import look_up

        try:
            from airflow.providers.common.sql.hooks.sql import DbApiHook
        except ImportError as error:
            raise ConfigurationError(
                f"A table needs the provider common.sql ({error}): pip install apache-airflow-providers-common-sql"
            ) from None
        connection = look_up(self.conn_id, option="conn_id")
        try:
            hook = connection.get_hook(hook_params=dict(self.hook_params or {}))
        except Exception as error:
            # Airflow has no class for these: no type, one without a provider, and one (generic) without a hook.
            if not isinstance(error, ImportError) and not re.search("Unknown hook type|'rsplit'", str(error)):
                raise
            advice = what_to_install(connection.conn_type)
            raise ConfigurationError(f"conn_id {self.conn_id!r}: {advice}") from None
        if not isinstance(hook, DbApiHook):
            raise ConfigurationError(
                f"conn_id {self.conn_id!r} is of type {connection.conn_type}, whose hook is no DbApiHook."
            )
        return hook
