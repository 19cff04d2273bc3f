"""The database of an Airflow connection: its hook, and what to install where its provider is missing."""

from __future__ import annotations

import re
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

import sqlalchemy as sa

from airflow_reportrun.reporting.errors import ConfigurationError
from airflow_reportrun.wire.lookup import look_up

if TYPE_CHECKING:
    from airflow.providers.common.sql.hooks.sql import DbApiHook

_PROVIDERS = {
    **{name: name for name in ("databricks", "duckdb", "mysql", "oracle")},
    **{name: name for name in ("postgres", "snowflake", "sqlite", "trino")},
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


def warehouse_of(conn_id: str, hook_params: Mapping[str, Any] | None) -> DbApiHook:
    """Return the hook of a database.

    :param conn_id: an Airflow connection.
    :param hook_params: what its hook is made with.
    :raises ConfigurationError: when it is no database's, or a package is missing.
    :raises ConnectionLookUpError: when Airflow does not give the connection.
    """
    try:
        from airflow.providers.common.sql.hooks.sql import DbApiHook
    except ImportError as error:
        raise ConfigurationError(
            f"A table needs the provider common.sql ({error}): pip install apache-airflow-providers-common-sql"
        ) from None
    connection = look_up(conn_id, option="conn_id")
    try:
        hook = connection.get_hook(hook_params=dict(hook_params or {}))
    except Exception as error:
        # Airflow has no class for these: no type, one without a provider, and one (generic) without a hook.
        if not isinstance(error, ImportError) and not re.search("Unknown hook type|'rsplit'", str(error)):
            raise
        advice = what_to_install(connection.conn_type)
        raise ConfigurationError(f"conn_id {conn_id!r}: {advice}") from None
    if not isinstance(hook, DbApiHook):
        raise ConfigurationError(
            f"conn_id {conn_id!r} is of type {connection.conn_type}, whose hook is no DbApiHook."
        )
    return hook


def is_to_be_made(warehouse: DbApiHook) -> bool:
    """Tell whether a database is a file that is not there, which to connect would make."""
    if warehouse.conn_type not in ("sqlite", "duckdb"):
        return False
    path = Path(sa.engine.make_url(warehouse.get_uri()).database or "")
    return path.is_absolute() and path.parent.is_dir() and not path.exists()


def dataset_of(warehouse: DbApiHook, table: str) -> tuple[str, str]:
    """Return the namespace and the name that OpenLineage's rules give a table.

    The hook says where its database is, as it does for Airflow's own operators; of one that doesn't, such as
    SQLite's and DuckDB's, its URL does.

    :param table: with its schema, where the database has schemas; MySQL's are its databases.
    """
    info = None
    with suppress(ImportError):  # of Airflow's provider of OpenLineage
        info = warehouse.get_openlineage_database_info(warehouse.get_connection(warehouse.get_conn_id()))
    if info is not None:
        scheme, authority, database = info.scheme, info.authority, info.database
    else:
        url = sa.engine.make_url(warehouse.get_uri())
        scheme, database = url.get_backend_name(), url.database
        authority = ":".join(str(it) for it in (url.host, url.port) if it)
    if scheme == "duckdb":
        return f"duckdb://{database}", table
    if scheme == "sqlite":
        return f"sqlite://{database}", table.removeprefix("main.")
    name = table if scheme == "mysql" or not database else f"{database}.{table}"
    return f"{scheme}://{authority}", name
