"""Iceberg tables in a folder of a test's own, with the catalog that comes with it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import sqlalchemy

from airflow_reportrun.landing.contract import PLAIN, Contract
from airflow_reportrun.landing.lakehouse.facts import Facts
from tests.landings import Row, as_stripe_writes, manifest_of

if TYPE_CHECKING:
    from airflow_reportrun.landing.lakehouse.iceberg.table import IcebergTable
    from airflow_reportrun.landing.manifest import Manifest

needs_its_catalog = pytest.mark.skipif(
    sqlalchemy.__version__.startswith("1."), reason="a folder's own catalog needs SQLAlchemy 2"
)
"""Mark tests of tables: Airflow 2.11 and 3.0 are pinned with SQLAlchemy 1.4."""


@dataclass(frozen=True)
class Books:
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

    def land(
        self,
        names: Sequence[str],
        rows: Sequence[Row],
        run_id: str = "frr_1",
        *,
        table: str | IcebergTable = "books.activity",
        column_types: Mapping[str, str] | None = None,
        contract: Contract = PLAIN,
        timezone: str = "Etc/UTC",
        decimal_separator: str = ".",
        on_overlap: Any = "fail",
        claimed: int | None = None,
        ended: bool = True,
        **about: Any,
    ) -> Manifest:
        """Land a report of these cells; the last line may lack its end."""
        from airflow_reportrun.landing.lakehouse.loading import load

        contents = as_stripe_writes([names, *rows])
        contents = contents if ended else contents.removesuffix(b"\n")
        asked = {"timezone": timezone, "decimal_separator": decimal_separator}
        about |= {name: value for name, value in asked.items() if value not in ("Etc/UTC", ".")}
        it = self.table(table) if isinstance(table, str) else table
        with it.errors():
            return load(
                it,
                BytesIO(contents),
                manifest_of(run_id, len(rows) if claimed is None else claimed, contents=contents, **about),
                column_types=column_types,
                contract=contract,
                timezone=timezone,
                decimal_separator=decimal_separator,
                on_overlap=on_overlap,
                sleep=lambda seconds: None,
            )

    def landed(self, run_id: str = "frr_1", *, columns: Sequence[str] = (), **options: Any) -> Manifest | None:
        """Look what is landed, as is done before a download."""
        from airflow_reportrun.landing.lakehouse.loading import landed

        known = {name: options.pop(name) for name in ("column_types", "on_overlap") if name in options}
        table = self.table()
        with table.errors():
            return landed(table, manifest_of(run_id, 0, **options), columns=columns, **known)

    def rows(self, *columns: str, table: str = "books.activity") -> list[Any]:
        """Return what rows have in some columns, in an order of no meaning; none where there is no table."""
        from pyiceberg.exceptions import NoSuchTableError

        try:
            scan = self.native(table).scan(selected_fields=columns)
        except NoSuchTableError:
            return []
        rows = (tuple(row[name] for name in columns) for row in scan.to_arrow().to_pylist())
        return sorted((row[0] if len(row) == 1 else row for row in rows), key=repr)

    def told(self) -> list[str]:
        """Return the report runs that the table tells of."""
        return sorted(manifest.report_run_id for _, manifest in Facts(self.native().properties).all())

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
