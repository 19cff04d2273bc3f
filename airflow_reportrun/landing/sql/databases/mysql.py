"""MySQL and MariaDB."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Any

import sqlalchemy as sa
from sqlalchemy.dialects.mysql import LONGTEXT

from airflow_reportrun.landing.sql.databases.general import (
    DDL_TIMEOUT,
    LOCK_TIMEOUT,
    OPTIONS,
    Database,
    LockedError,
)
from airflow_reportrun.reporting.errors import (
    ConfigurationError,
    ContentsError,
    LandingConflictError,
    ReportingError,
    StoreError,
)

if TYPE_CHECKING:
    from airflow.providers.common.sql.hooks.sql import DbApiHook

_WIDE = 150  # columns, from which on InnoDB may hold a table for too wide, as if every cell were a long one


class MySQL(Database):
    """MySQL and MariaDB, whose defaults may cut, merge, and not roll back."""

    byte_order = "utf8mb4_bin"
    impossible_name = "[\0\U00010000-\U0010ffff]| $"
    table_options: Mapping[str, Any] = {
        f"{dialect}_{option}": value
        for option, value in {
            **{"engine": "InnoDB", "charset": "utf8mb4", "collate": "utf8mb4_bin"},
            "row_format": "DYNAMIC",  # with which an index takes 3,072 bytes, and a long cell 20 in its row
        }.items()
        for dialect in ("mysql", "mariadb")
    }
    text = LONGTEXT()  # TEXT has 65,535 bytes
    most_columns = 1017  # InnoDB's

    def __init__(self, hook: DbApiHook) -> None:
        # A level that is set ends the autocommit that a connection's extra may ask for, and this one locks no rows
        # but those that are replaced.
        super().__init__(hook.get_sqlalchemy_engine({**OPTIONS, "isolation_level": "READ COMMITTED"}))

    @contextmanager
    def connected(self) -> Iterator[sa.engine.Connection]:
        """Open the connection, on which what does not fit is an error, and instants without a zone are of UTC."""
        with super().connected() as connection:
            with connection.begin():
                charset = connection.exec_driver_sql("SELECT @@character_set_client").scalar()
                connection.exec_driver_sql(
                    f"SET time_zone = '+00:00', lock_wait_timeout = {LOCK_TIMEOUT}, "
                    "sql_mode = CONCAT_WS(',', NULLIF(@@sql_mode, ''), 'STRICT_ALL_TABLES')"
                )
            if charset != "utf8mb4":
                raise ConfigurationError(
                    f"The database's connection has the charset {charset}, which not every character is in: "
                    'give the Airflow connection the extra {"charset": "utf8mb4"}.'
                )
            yield connection

    @contextmanager
    def alone(self, connection: sa.engine.Connection, landings: sa.Table, name: str) -> Iterator[None]:
        """Begin behind a lock that DDL, which ends the transaction, leaves in place."""
        with self._lock(connection, landings, name), super().alone(connection, landings, name):
            yield

    def create_landings(self, connection: sa.engine.Connection, landings: sa.Table) -> None:
        """Create it behind a lock: a table can't be looked at while another one creates it."""
        with self._lock(connection, landings, landings.name):
            super().create_landings(connection, landings)

    @contextmanager
    def _lock(self, connection: sa.engine.Connection, landings: sa.Table, name: str) -> Iterator[None]:
        key = "reportrun_" + hashlib.sha256(f"{landings.schema}.{name}".encode()).hexdigest()[:40]
        with connection.begin():
            got = connection.execute(sa.select(sa.func.get_lock(key, LOCK_TIMEOUT))).scalar()
        if not got:
            raise StoreError(f"Other landings into {name} have taken longer than {LOCK_TIMEOUT} seconds.")
        given_way = None
        try:
            yield
        except LockedError as error:
            given_way = error
        # After another error the connection is closed, and the lock goes with it.
        with connection.begin():
            connection.execute(sa.select(sa.func.release_lock(key)))
        if given_way:
            raise given_way

    @contextmanager
    def ddl(self, connection: sa.engine.Connection, table: sa.Table) -> Iterator[None]:
        """Wait for seconds: readers of a table wait for DDL that waits for one of them."""
        connection.exec_driver_sql(f"SET lock_wait_timeout = {DDL_TIMEOUT}")
        if len(table.columns) > _WIDE:
            with suppress(sa.exc.DBAPIError):  # in MySQL not every user may
                connection.exec_driver_sql("SET innodb_strict_mode = 0")
        try:
            yield
        except sa.exc.DBAPIError as error:
            if _said(error)[0] != 1205:
                raise
            connection.exec_driver_sql(f"SET lock_wait_timeout = {LOCK_TIMEOUT}")
            raise LockedError(f"The table {table} has to be altered, and somebody holds a lock on it.") from None
        connection.exec_driver_sql(f"SET lock_wait_timeout = {LOCK_TIMEOUT}")

    def holders(self, connection: sa.engine.Connection, table: sa.Table) -> str:
        """Name the open transactions: whose locks are whose is told by a plugin alone."""
        query = sa.text(
            "SELECT p.id, p.user, p.host, p.command, t.trx_started FROM information_schema.innodb_trx t "
            "JOIN information_schema.processlist p ON p.id = t.trx_mysql_thread_id "
            "WHERE p.id <> connection_id() ORDER BY t.trx_started LIMIT 5"
        )
        try:
            with connection.begin():
                found = connection.execute(query).all()
        except sa.exc.DBAPIError:
            found = []
        if not found:
            return "SHOW PROCESSLIST tells a user with the privilege PROCESS who it may be."
        shown = "; ".join(
            f"{number} (user {user}, host {host}, command {command}, since {since} of the server's clock)"
            for number, user, host, command, since in found
        )
        return f"The transactions that are open: {shown}. They have to end; KILL ends one."

    def explained(self, error: Exception) -> ReportingError | None:
        """Tell errors that stay, which drivers call operational, from those that pass."""
        number, said = _said(error)
        if number in (1044, 1142, 1143, 1227):
            return ConfigurationError(
                f"{said}: grant the connection's user SELECT, INSERT and DELETE on the table, UPDATE besides on "
                "stripe_report_landings, and CREATE, INDEX and ALTER where tables and columns are to be made "
                "(docs/sql.md has the statements)."
            )
        if number == 4119:
            return ConfigurationError(
                f"{said} That is SET system_versioning_alter_history = KEEP before the ALTER TABLE … ADD COLUMN, "
                "which is the owner's to run with what this report has more (docs/sql.md shows the types)."
            )
        if number in (1117, 1118) or (number == 1005 and "Too many columns" in said):
            return ContentsError(
                f"{said}: InnoDB has room for {self.most_columns} columns, and in pages of 16 KiB for 8,126 bytes "
                "of a row, where a cell of up to 40 bytes takes all of them and a longer one 20: ask for the "
                "report with fewer columns. No row was changed."
            )
        if number == 1406 or (number == 1366 and "string value" in said):  # a cut within a character
            column = re.search(r"for column (?:`[^`]*`\.`[^`]*`\.)?[`'](.*)[`'] at row", said)
            name = "`{}`".format(column[1].replace("`", "``")) if column else "…"
            into = re.match(r"INSERT INTO (.+?) \(", getattr(error, "statement", None) or "")
            table = into[1].replace("%%", "%") if into else "…"
            return ContentsError(
                f"A cell does not fit into the column {name} of {table}: TEXT has room for 65,535 bytes, and only "
                "utf8mb4 for every character. No row was changed. This makes room: "
                f"ALTER TABLE {table} MODIFY {name} LONGTEXT CHARACTER SET utf8mb4 COLLATE utf8mb4_bin."
            )
        return None

    def distinguishes_tables(self, connection: sa.engine.Connection) -> bool:
        """Ask, since it depends on the server's file system."""
        return connection.exec_driver_sql("SELECT @@lower_case_table_names").scalar() == 0

    def check_table(self, connection: sa.engine.Connection, schema: str | None, name: str) -> None:
        """Refuse an engine without transactions."""
        query = sa.text(
            "SELECT engine FROM information_schema.tables JOIN information_schema.engines USING (engine) "
            "WHERE table_schema = :schema AND table_name = :name AND transactions <> 'YES'"
        )
        if engine := connection.execute(query, {"schema": schema, "name": name}).scalar():
            raise LandingConflictError(
                f"The table {schema}.{name} is of {engine}, which has no transactions, so that an interval can't "
                "be replaced at once: ALTER TABLE … ENGINE = InnoDB, or name another table."
            )

    def is_text(self, column: Any, text: str) -> Any:
        """Compare bytes too, since a collation may find po_1a in po_1A."""
        return sa.and_(column == text, sa.cast(column, sa.LargeBinary) == text.encode())


def _said(error: Exception) -> tuple[Any, str]:
    """Return the server's number and words of an error, which each driver puts first."""
    said = (*getattr(error, "orig", error).args, None, "")
    return said[0], str(said[1])
