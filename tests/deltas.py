"""Delta tables in a folder of a test's own."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from airflow_reportrun.landing.contract import PLAIN, Contract
from tests.landings import Row, as_stripe_writes, manifest_of

if TYPE_CHECKING:
    from airflow_reportrun.landing.lakehouse.delta.table import DeltaLakeTable
    from airflow_reportrun.landing.manifest import Manifest


@dataclass(frozen=True)
class Ledger:
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

    def land(
        self,
        names: Sequence[str],
        rows: Sequence[Row],
        run_id: str = "frr_1",
        *,
        table: DeltaLakeTable | None = None,
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
        it = table or self.table()
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

    def rows(self, *columns: str, **version: Any) -> list[Any]:
        """Return what rows have in some columns, in an order of no meaning; none where there is no table."""
        from deltalake.exceptions import TableNotFoundError

        try:
            found = self.native(**version).to_pyarrow_table(columns=list(columns))
        except TableNotFoundError:
            return []
        rows = (tuple(row[name] for name in columns) for row in found.to_pylist())
        return sorted((row[0] if len(row) == 1 else row for row in rows), key=repr)

    def told(self) -> list[str]:
        """Return the report runs that the table tells of."""
        return sorted(it.report_run_id for _, it in self.looked_at().facts.all())

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
