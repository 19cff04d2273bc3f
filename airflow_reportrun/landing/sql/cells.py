"""The cells of a report on their way into a database: what it can't hold as they are is refused."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pyarrow.compute as pc

from airflow_reportrun.landing.formats import typed

if TYPE_CHECKING:
    from airflow_reportrun.landing.formats.columns import Column


class Cells(typed.Converter):
    """Refuses what the table can't hold as it is."""

    def __init__(
        self,
        columns: Sequence[Column],
        digits: Mapping[str, tuple[int, int]],
        timezone: str,
        decimal_separator: str,
        column_types: Mapping[str, str],
        *,
        holds_nul: bool,
    ) -> None:
        super().__init__(columns, timezone, decimal_separator, column_types)
        self._room = digits
        self._holds_nul = holds_nul
        self._may_have_nul = False

    def convert(self, block: memoryview) -> Any:
        """Convert a block; only one with a NUL is looked at cell by cell."""
        self._may_have_nul = not self._holds_nul and b"\0" in bytes(block)
        return super().convert(block)

    def made(self, column: Column, cells: Any) -> Any:
        """Return what goes into the table."""
        made = super().made(column, cells)
        if (room := self._room.get(column.name)) is not None:
            front, places = room
            mends = "that the table's column has (alter it; a new table has {} with column_types={!r})"
            more = mends.format("n", {column.name: "money(n)"})
            self._refuse(
                column, made, rf"\.[0-9]{{{places}}}[0-9]*[1-9]", f"more than the {places} decimal places {more}"
            )
            more = mends.format("room as text", {column.name: "text"})
            self._refuse(
                column,
                made,
                rf"^[+-]?0*[1-9][0-9]{{{front}}}",
                f"more than the {front} digits before the point {more}",
            )
        if self._may_have_nul and pa.types.is_string(made.type):
            self._refuse(column, made, r"\x00", "the character NUL, which the database has no room for")
        return made

    def _refuse(self, column: Column, cells: Any, pattern: str, what: str) -> None:
        found = pc.index(pc.match_substring_regex(cells, pattern), pa.scalar(True)).as_py()
        if found >= 0:
            said = f"Row {self.rows + found + 1} of column {column.name!r} has {what}"
            raise typed.MisfitError(said, as_text=False)
