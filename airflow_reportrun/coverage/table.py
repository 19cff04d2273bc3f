"""What is landed in a table: told by the table of manifests beside it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import sqlalchemy as sa

from airflow_reportrun.coverage.landings import Landing
from airflow_reportrun.landing.manifest import Manifest
from airflow_reportrun.landing.names import split_table
from airflow_reportrun.landing.sql.databases import open_database
from airflow_reportrun.landing.sql.layout import TableName, landings_table
from airflow_reportrun.landing.sql.loading import place_of_table
from airflow_reportrun.landing.sql.report import database_errors
from airflow_reportrun.landing.sql.warehouse import is_to_be_made, warehouse_of

if TYPE_CHECKING:
    from collections.abc import Callable

    from airflow_reportrun.landing.sql.databases import Database

_AT_ONCE = 1000
"""Manifests that are read with one query."""


PATIENCE = 10
"""Seconds that somebody who looks waits for a file that a task has for itself, as DuckDB's."""


class Table:
    """What is landed in a table, as all of its manifests tell; its rows are not counted.

    :param conn_id: Airflow connection of a database.
    :param table: ``table`` or ``schema.table``.
    :param hook_params: what the connection's hook is made with.
    :raises ConfigurationError: when the connection is no database's, or a package is missing.
    :raises ConnectionLookUpError: when Airflow does not give the connection.
    """

    passed_over = ()

    def __init__(self, conn_id: str, table: str, hook_params: Mapping[str, Any] | None = None) -> None:
        self.conn_id, self.table = conn_id, table
        self._hook = warehouse_of(conn_id, hook_params)
        self._is_there = False  # as far as it was looked for

    def __str__(self) -> str:
        return f"{self.table} of {self.conn_id}"

    @property
    def is_to_be_made(self) -> bool:
        """Whether the database is a file that is not there."""
        return is_to_be_made(self._hook)

    def landings(self) -> list[Landing]:
        """Return what is landed there, nothing where the table is not there."""

        def read(connection: sa.engine.Connection, place: TableName, landings: sa.Table) -> list[Landing]:
            c = landings.c
            query = sa.select(c.landing, c.manifest).where(c.table_name == place.key).order_by(c.landing)
            found: list[Landing] = []
            while True:
                last = found[-1].told_at if found else ""
                rows = connection.execute(query.where(c.landing > last).limit(_AT_ONCE)).all()
                found += [Landing.of(Manifest.from_json(text), path=str(place), told_at=key) for key, text in rows]
                if len(rows) < _AT_ONCE:
                    return found

        return self._asked(read) or []

    def nothing(self) -> str:
        """Say that nothing is landed there, or that there is no such table."""
        if self._is_there:
            return f"Nothing is landed in {self}."
        return f"There is no table {self.table} in {self.conn_id}."

    def manifest(self, told_at: str) -> Manifest | None:
        """Return the manifest of a landing, None where it is there no longer."""

        def read(connection: sa.engine.Connection, place: TableName, landings: sa.Table) -> Manifest | None:
            c = landings.c
            query = sa.select(c.manifest).where(c.table_name == place.key, c.landing == told_at)
            text = connection.execute(query).scalar()
            return Manifest.from_json(text) if text else None

        found: Manifest | None = self._asked(read)
        return found

    def _asked(self, read: Callable[[sa.engine.Connection, TableName, sa.Table], Any]) -> Any:
        """Return what is read of the table of manifests, None where there is none."""
        if self.is_to_be_made:
            split_table(self.table)  # which says what can't be one
            return None
        with database_errors(self.table):
            database: Database = open_database(self._hook, patience=PATIENCE)
            with database.connected() as connection, connection.begin():
                place = place_of_table(self.table, connection, database)
                landings = landings_table(database, place.schema)
                has_table = sa.inspect(connection).has_table
                self._is_there = has_table(place.name, schema=place.schema)
                # The manifests of a table that was dropped or renamed stay.
                if not self._is_there or not has_table(landings.name, schema=place.schema):
                    return None
                return read(connection, place, landings)
