"""What is landed in a table of a lakehouse: told by the table itself."""

from __future__ import annotations

import logging
from collections import Counter, defaultdict
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, TypeAlias

from airflow_reportrun.coverage.landings import Landing

if TYPE_CHECKING:
    from airflow_reportrun.landing.lakehouse.table import LakeTable, Noted, Owner
    from airflow_reportrun.landing.manifest import Manifest

log = logging.getLogger(__name__)

_Rows: TypeAlias = "defaultdict[tuple[int | None, int | None], dict[tuple[Owner, str], int]]"
"""How many there are, by their bounds, whose they are and which report run they name."""


class LakehouseTable:
    """What is landed in a table, as it tells where its rows bear it out: a rollback leaves what is told.

    :param name: of the table.
    :param where: whose table it is, in words; empty where the name says it.
    :param table: of whatever format, None where there can be none yet.
    """

    passed_over = ()

    def __init__(self, name: str, where: str, table: LakeTable | None) -> None:
        self._name, self._where, self._table = name, where, table

    def __str__(self) -> str:
        return f"{self._name} of {self._where}" if self._where else self._name

    @property
    def is_to_be_made(self) -> bool:
        """Whether there is no catalog yet that could have the table."""
        return self._table is None

    def landings(self) -> list[Landing]:
        """Return what is landed there, nothing where the table is not there."""
        found: list[Landing] = []
        with self._looked_at() as table:
            if table is None:
                return found
            told = list(table.facts.all())
            rows: _Rows = defaultdict(dict)
            # A table that tells of nothing may be somebody else's, without columns of ours.
            for (owner, run), count in table.owners().items() if told else ():
                rows[owner.interval_start, owner.interval_end][owner, run] = count
            for name, noted in told:
                if _bear_out(rows, noted, table):
                    found.append(Landing.of(noted.manifest, path=self._name, told_at=name))
                else:
                    log.warning(
                        "The %s rows of report run %s are not what is in %s: it counts as missing.",
                        *(noted.manifest.rows, noted.manifest.report_run_id, self),
                    )
        return found

    def nothing(self) -> str:
        """Say that nothing is landed there, or that there is no such table."""
        if self._table is not None and self._table.schema is not None:
            return f"Nothing is landed in {self}."
        return f"There is no table {f'{self._name} in {self._where}' if self._where else f'in {self}'}."

    def manifest(self, told_at: str) -> Manifest | None:
        """Return the manifest of a landing, None where it is there no longer."""
        with self._looked_at() as table:
            return table.facts.called(told_at) if table else None

    @contextmanager
    def _looked_at(self) -> Iterator[LakeTable | None]:
        if self._table is None:
            yield None
            return
        with self._table.errors():
            self._table.look()
            yield self._table


def _bear_out(rows: _Rows, noted: Noted, table: LakeTable) -> bool:
    """Tell whether the rows are those of a landing; of one without any, whether none are in its place."""
    from airflow_reportrun.landing.lakehouse.table import Neighbours

    it = noted.manifest.subject
    start, end = bounds = it.interval_start, it.interval_end
    runs: Counter[str] = Counter()
    for (owner, run), count in rows[bounds].items():
        runs[run] += count if owner.is_about(it) else 0
    if runs.total() != noted.manifest.rows or not noted.is_of(+runs):
        return False
    if noted.manifest.rows:
        return True
    near = dict(rows[bounds])
    for (since, until), counted in rows.items():
        if start and end and since and until and since < end and start < until:
            near |= counted
    return Neighbours(table, noted.manifest, near).is_alone


def iceberg_table(table: str, *, catalog_conn_id: str | None, warehouse: str | None) -> LakehouseTable:
    """Return an Iceberg table as a source.

    :param table: ``namespace.table``.
    :param catalog_conn_id: Airflow connection of type ``iceberg``.
    :param warehouse: a folder with a catalog of its own.
    :raises ReportingError: when it can't be one.
    """
    from airflow_reportrun.landing.lakehouse.iceberg.catalogs import has_catalog, lakehouse_of
    from airflow_reportrun.landing.lakehouse.iceberg.table import IcebergTable
    from airflow_reportrun.landing.names import identifier_of

    where = catalog_conn_id or str(warehouse)
    identifier_of(table)  # which says what can't be one
    if warehouse is not None and not has_catalog(warehouse):
        return LakehouseTable(table, where, None)  # to look is not to make one
    return LakehouseTable(table, where, IcebergTable(lakehouse_of(catalog_conn_id, warehouse), table))


def delta_table(table: str) -> LakehouseTable:
    """Return a Delta table as a source.

    :param table: its folder, as a task names it.
    :raises ReportingError: when it can't be one.
    """
    from airflow_reportrun.landing.lakehouse.delta.storage import location_of
    from airflow_reportrun.landing.lakehouse.delta.table import DeltaLakeTable

    return LakehouseTable(table, "", DeltaLakeTable(location_of(table)))
