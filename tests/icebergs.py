"""Iceberg tables in a folder of a test's own, with the catalog that comes with it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import sqlalchemy

from airflow_reportrun.landing.lakehouse.facts import Facts
from tests.lakehouses import Lakehouse

if TYPE_CHECKING:
    from airflow_reportrun.landing.lakehouse.iceberg.table import IcebergTable

HAS_ITS_CATALOG = not sqlalchemy.__version__.startswith("1.")
"""Airflow 2.11 and 3.0 are pinned with SQLAlchemy 1.4."""
needs_its_catalog = pytest.mark.skipif(not HAS_ITS_CATALOG, reason="a folder's own catalog needs SQLAlchemy 2")
"""Mark tests of tables."""


@dataclass(frozen=True)
class Books(Lakehouse):
    """A folder of tables."""

    folder: Path

    def table(self, name: str = "books.activity") -> IcebergTable:
        """Return a table as a landing sees it, not looked at yet."""
        from airflow_reportrun.landing.lakehouse.iceberg.catalogs import lakehouse_of
        from airflow_reportrun.landing.lakehouse.iceberg.table import IcebergTable

        return IcebergTable(lakehouse_of(None, str(self.folder)), name)

    def native(self, name: str = "books.activity") -> Any:
        """Return a table as pyiceberg sees it."""
        return self.table(name)._catalog.load_table(name)

    def table_looked_at(self) -> IcebergTable:
        """Return a table as a landing sees it."""
        table = self.table()
        table.look()
        return table

    def rows(self, *columns: str, table: str = "books.activity") -> list[Any]:
        """Return what rows have in some columns, in an order of no meaning; none where there is no table."""
        from pyiceberg.exceptions import NoSuchTableError

        try:
            scan = self.native(table).scan(selected_fields=columns)
        except NoSuchTableError:
            return []
        rows = (tuple(row[name] for name in columns) for row in scan.to_arrow().to_pylist())
        return sorted((row[0] if len(row) == 1 else row for row in rows), key=repr)

    def beside(self, name: str) -> Books:
        """Return another folder of tables."""
        folder = self.folder / name
        folder.mkdir()
        return Books(folder)

    def roll_back(self, to: int) -> None:
        """Let the table be as it was after one of its commits; -1 is the last one."""
        table = self.native()
        table.manage_snapshots().rollback_to_snapshot(table.snapshots()[to].snapshot_id).commit()

    def data_files(self) -> list[str]:
        """Return the paths of the table's files."""
        return [it.file.file_path.removeprefix("file://") for it in self.native().scan().plan_files()]

    def told(self) -> list[str]:
        """Return the report runs that the table tells of."""
        return sorted(it.manifest.report_run_id for _, it in Facts(self.native().properties).all())

    def lost(self) -> set[str]:
        """Return the data files that no snapshot of the table has."""
        table = self.native()
        known = {
            entry.data_file.file_path.rpartition("/")[2]
            for snapshot in table.snapshots()
            for manifest in snapshot.manifests(table.io)
            for entry in manifest.fetch_manifest_entry(table.io, discard_deleted=False)
        }
        return self.files() - known

    def files(self) -> set[str]:
        """Return the data files that lie in the folder, in tables or not."""
        return {path.name for path in self.folder.rglob("*.parquet")}


@pytest.fixture
def books(tmp_path: Path) -> Books:
    """A folder that nothing is in yet."""
    return Books(tmp_path / "warehouse")
