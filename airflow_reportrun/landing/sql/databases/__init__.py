"""What databases do differently: connections, transactions, locks, types, and the fastest way for rows."""

from __future__ import annotations

from typing import TYPE_CHECKING

from airflow_reportrun.landing.sql.databases.general import OPTIONS, Database
from airflow_reportrun.landing.sql.databases.mysql import MySQL
from airflow_reportrun.landing.sql.databases.postgresql import PostgreSQL
from airflow_reportrun.landing.sql.databases.sqlite import SQLite

if TYPE_CHECKING:
    from airflow.providers.common.sql.hooks.sql import DbApiHook

__all__ = ["Database", "MySQL", "PostgreSQL", "SQLite", "open_database"]


def open_database(hook: DbApiHook) -> Database:
    """Return what a hook's connection leads to; nothing but the connection itself is opened.

    PostgreSQL and SQLite are reached through ``hook.get_conn``, so that what it makes of the connection's extra
    holds, others through ``hook.get_sqlalchemy_engine``.
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
    return Database(hook.get_sqlalchemy_engine(dict(OPTIONS)))
