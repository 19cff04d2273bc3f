"""Delta tables in a folder of a test's own."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from tests.lakehouses import Lakehouse

if TYPE_CHECKING:
    from airflow_reportrun.landing.lakehouse.delta.table import DeltaLakeTable


@dataclass(frozen=True)
class Ledger(Lakehouse):
    """A table in a folder, or one in a store.

    :param url: as a task names it.
    """

    url: str

    def table(self) -> DeltaLakeTable:
        """Return the table as a landing sees it, not looked at yet."""
        from airflow_reportrun.landing.lakehouse.delta.storage import location_of
        from airflow_reportrun.landing.lakehouse.delta.table import DeltaLakeTable

        return DeltaLakeTable(location_of(self.url))

    def looked_at(self) -> DeltaLakeTable:
        """Return the table as a landing sees it."""
        table = self.table()
        table.look()
        return table

    def native(self, **options: Any) -> Any:
        """Return the table as deltalake sees it."""
        from deltalake import DeltaTable

        location = self.table()._location
        return DeltaTable(location.uri, storage_options=dict(location.options), **options)

    def rows(self, *columns: str, **version: Any) -> list[Any]:
        """Return what rows have in some columns, in an order of no meaning; none where there is no table."""
        from deltalake.exceptions import TableNotFoundError

        try:
            found = self.native(**version).to_pyarrow_table(columns=list(columns))
        except TableNotFoundError:
            return []
        rows = (tuple(row[name] for name in columns) for row in found.to_pylist())
        return sorted((row[0] if len(row) == 1 else row for row in rows), key=repr)

    def beside(self, name: str) -> Ledger:
        """Return another table."""
        return Ledger(f"{self.url}/{name}")

    def roll_back(self, to: int) -> None:
        """Let the table be as it was after one of its commits; -1 is the last one."""
        self.native().restore(range(self.version + 1)[to])

    def data_files(self) -> list[str]:
        """Return the paths of the table's files."""
        return [path.removeprefix("file://") for path in self.native().file_uris()]

    def told(self) -> list[str]:
        """Return the report runs that the table tells of."""
        return sorted(it.manifest.report_run_id for _, it in self.looked_at().facts.all())

    @property
    def folder(self) -> Path:
        """Where it lies."""
        return Path(self.url)

    def files(self) -> set[str]:
        """Return the data files that lie in the folder, in the table or not."""
        return {path.name for path in self.folder.glob("*.parquet")}

    @property
    def version(self) -> int:
        """How many commits came after the first one."""
        version: int = self.native().version()
        return version


@pytest.fixture
def ledger(tmp_path: Path) -> Ledger:
    """A table that is not there yet."""
    return Ledger(str(tmp_path / "lake" / "activity"))
