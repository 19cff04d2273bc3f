"""MySQL and MariaDB."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import sqlalchemy as sa

from airflow_reportrun.landing.sql.databases.general import LOCK_TIMEOUT, OPTIONS, Database
from airflow_reportrun.reporting.errors import ConfigurationError, LandingConflictError, StoreError

if TYPE_CHECKING:
    from airflow.providers.common.sql.hooks.sql import DbApiHook


class MySQL(Database):
    """MySQL and MariaDB, whose defaults may cut, merge, and not roll back."""

    byte_order = "utf8mb4_bin"
    impossible_name = "[\0\U00010000-\U0010ffff]| $"
    table_options: Mapping[str, Any] = {
        f"{dialect}_{option}": value
        for option, value in {"engine": "InnoDB", "charset": "utf8mb4", "collate": "utf8mb4_bin"}.items()
        for dialect in ("mysql", "mariadb")
    }

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
                    "SET time_zone = '+00:00', "
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
        yield
        # After an error the connection is closed, and the lock goes with it.
        with connection.begin():
            connection.execute(sa.select(sa.func.release_lock(key)))

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
