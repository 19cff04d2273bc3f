"""Tables of a lakehouse, whichever format they have: what landings in them share."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping, Sequence
from io import BytesIO
from typing import TYPE_CHECKING, Any

import pyarrow as pa

from airflow_reportrun.landing.contract import PLAIN, Contract
from tests.landings import OURS, Row, as_stripe_writes, manifest_of

if TYPE_CHECKING:
    from airflow_reportrun.landing.lakehouse.table import LakeTable
    from airflow_reportrun.landing.manifest import Manifest


class Lakehouse:
    """A place with tables, or one that is a table."""

    @abstractmethod
    def table(self) -> LakeTable:
        """Return the table of most tests as a landing sees it, not looked at yet."""

    @abstractmethod
    def native(self) -> Any:
        """Return the table of most tests as its library sees it."""

    @abstractmethod
    def beside(self, name: str) -> Lakehouse:
        """Return another one."""

    @abstractmethod
    def rows(self, *columns: str) -> list[Any]:
        """Return what rows have in some columns, in an order of no meaning; none where there is no table."""

    @abstractmethod
    def roll_back(self, to: int) -> None:
        """Let the table be as it was after one of its commits; -1 is the last one."""

    @abstractmethod
    def told(self) -> list[str]:
        """Return the report runs that the table tells of."""

    @abstractmethod
    def data_files(self) -> list[str]:
        """Return the paths of the table's files."""

    def land(
        self,
        names: Sequence[str],
        rows: Sequence[Row],
        run_id: str = "frr_1",
        *,
        table: LakeTable | None = None,
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


def ours(**others: Any) -> Any:
    """Return the schema of a table that was made by hand."""
    text, instant = pa.string(), pa.timestamp("us", "UTC")
    kinds = {name: instant if name.startswith("_interval") else text for name in OURS}
    return pa.schema({"net": pa.decimal128(38, 6), **kinds, **others})
