"""SQLite, which Airflow brings."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pyarrow.compute as pc
import sqlalchemy as sa

from airflow_reportrun.landing.manifest import iso
from airflow_reportrun.landing.sql.databases.files import in_memory, require_absolute, unopened
from airflow_reportrun.landing.sql.databases.general import (
    DDL_TIMEOUT,
    LOCK_TIMEOUT,
    OPTIONS,
    Database,
    LockedError,
    python_rows,
    seconds,
)
from airflow_reportrun.reporting.errors import ConfigurationError

if TYPE_CHECKING:
    from airflow.providers.common.sql.hooks.sql import DbApiHook

    from airflow_reportrun.landing.formats.columns import Column


class SQLite(Database):
    """SQLite, which has neither exact decimals nor timestamps: both are text here."""

    byte_order = "BINARY"
    creates_in_transaction = True
    text_holds_everything = True

    def __init__(self, hook: DbApiHook) -> None:
        def connect() -> Any:
            about = hook.get_connection(hook.get_conn_id())
            if about.login or about.password:  # which its URI would have before the path
                raise ConfigurationError(
                    "The connection has a login or a password, of which a file has none: remove them from it."
                )
            path = sa.engine.make_url(hook.get_uri()).database
            require_absolute(path)
            try:
                connection = hook.get_conn()
            except sqlite3.OperationalError as error:
                if error.sqlite_errorcode & 0xFF != sqlite3.SQLITE_CANTOPEN or not path:
                    raise
                raise unopened("SQLite", path, error) from None
            if not any(file for _, name, file in connection.execute("PRAGMA database_list") if name == "main"):
                connection.close()
                raise in_memory("SQLite")
            # The module would begin transactions by itself, late and without the lock that a writer needs.
            connection.isolation_level = None
            self.most_columns = connection.getlimit(sqlite3.SQLITE_LIMIT_COLUMN)
            connection.execute(f"PRAGMA busy_timeout = {LOCK_TIMEOUT * 1000}")
            return connection

        super().__init__(sa.create_engine("sqlite://", creator=connect, **OPTIONS))

    @contextmanager
    def alone(self, connection: sa.engine.Connection, landings: sa.Table, name: str) -> Iterator[None]:
        """Begin as the one writer that the file has.

        :raises LockedError: when somebody reads on and on, since new readers wait for who waits for that one.
        """
        is_ours = False
        try:
            with connection.begin():
                connection.exec_driver_sql(f"PRAGMA busy_timeout = {LOCK_TIMEOUT * 1000}")
                connection.exec_driver_sql("BEGIN IMMEDIATE")
                is_ours = True
                connection.exec_driver_sql(f"PRAGMA busy_timeout = {DDL_TIMEOUT * 1000}")
                yield
        except sa.exc.DBAPIError as error:
            if not is_ours or getattr(error.orig, "sqlite_errorcode", None) != sqlite3.SQLITE_BUSY:
                raise
            connection.connection.rollback()  # which SQLAlchemy leaves out where the commit is what failed
            raise LockedError("Somebody reads the database's file, which has to be written.") from None

    def create_landings(self, connection: sa.engine.Connection, landings: sa.Table) -> None:
        """Create it as the one writer, so that nobody else does."""
        with self.alone(connection, landings, landings.name):
            landings.create(connection, checkfirst=True)

    def type_of(self, column: Column) -> Any:
        """Return a type whose affinity leaves the values as they are."""
        return {"integer": sa.BigInteger(), "boolean": sa.Boolean()}.get(column.kind, sa.Text())

    def instant_type(self) -> Any:
        """Return text."""
        return sa.Text()

    def instant(self, seconds: int | None) -> Any:
        """Return ISO 8601 in UTC."""
        return iso(seconds)

    def batch(self, table: Any, columns: Sequence[Column], ours: Sequence[Any]) -> Any:
        """Make tuples, with texts of what SQLite has no type for."""
        written = [_as_text(table[column.name], column) for column in columns]
        return list(python_rows(pa.table(written, names=table.column_names), columns, ours, str))

    def write(self, connection: sa.engine.Connection, table: sa.Table, batches: Iterator[Any]) -> int | None:
        """Hand tuples to the driver: dictionaries on the way would take as long as the rest."""
        # All names have a parameter each, in the order of the columns.
        statement = str(table.insert().compile(dialect=connection.dialect))
        for batch in batches:
            if batch:
                connection.exec_driver_sql(statement, batch)
        return None


def _as_text(cells: Any, column: Column) -> Any:
    """Write timestamps and dates as ISO 8601, and leave the rest."""
    if column.kind in ("timestamp", "timestamp_utc"):
        written = seconds(cells).cast(pa.string())
        return pc.binary_join_element_wise(pc.replace_substring(written, " ", "T"), "Z", "")
    return cells.cast(pa.string()) if column.kind == "date" else cells
