"""What databases do differently: connections, transactions, locks, types, and the fastest way for rows."""

from __future__ import annotations

from typing import TYPE_CHECKING

from airflow_reportrun.landing.sql.databases.general import LOCK_TIMEOUT, OPTIONS, Database
from airflow_reportrun.landing.sql.databases.mysql import MySQL
from airflow_reportrun.landing.sql.databases.postgresql import PostgreSQL
from airflow_reportrun.landing.sql.databases.sqlite import SQLite

if TYPE_CHECKING:
    from airflow.providers.common.sql.hooks.sql import DbApiHook

__all__ = ["Database", "MySQL", "PostgreSQL", "SQLite", "open_database"]


def open_database(hook: DbApiHook, *, patience: float = LOCK_TIMEOUT) -> Database:
    """Return what a hook's connection leads to; nothing but the connection itself is opened.

    PostgreSQL, SQLite and DuckDB are reached through ``hook.get_conn``, so that what it makes of the connection's
    extra holds, others through ``hook.get_sqlalchemy_engine``.

    :param patience: seconds that a file waits to be opened which another process has for itself, as DuckDB's.
    """
    if hook.dialect_name == "sqlite":
        return SQLite(hook)
    if hook.dialect_name == "postgresql":
        raw = hook.get_conn()
        driver = type(raw).__module__.partition(".")[0]
        if driver in ("psycopg", "psycopg2"):
            return PostgreSQL(raw, driver)
        raw.close()
    if hook.dialect_name in ("mysql", "mariadb"):
        return MySQL(hook)
    if "duckdb" in (hook.dialect_name, hook.conn_type):  # without duckdb-engine some hooks know no dialect
        from airflow_reportrun.landing.sql.databases.duckdb import DuckDB

        return DuckDB(hook, patience)
    return Database(hook.get_sqlalchemy_engine(dict(OPTIONS)))
