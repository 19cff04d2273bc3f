"""A report as typed Parquet, converted while its bytes arrive (extra ``parquet``).

What the types are:

* Money is ``decimal(38, s)``: the first block of the report says how many places ``s`` its column has, at least 6.
  A later cell with more is never rounded: it is an error that says how to begin again.
* Everything else is what `typed` says.

pyarrow has a trap: a decimal with too many digits for its scale becomes another number without an error, so the
types that read here leave no room for that.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, replace
from io import RawIOBase
from typing import Any, BinaryIO

from airflow_reportrun.landing.formats import typed
from airflow_reportrun.landing.formats.columns import MAX_DECIMALS, MAX_DIGITS, Column, columns_of, require_columns
from airflow_reportrun.reporting.errors import MoreDecimalsError

# Of typed first: without pyarrow it says what to install.
from airflow_reportrun.landing.formats.typed import Converter  # isort: skip
import pyarrow as pa  # isort: skip
import pyarrow.compute as pc  # isort: skip
import pyarrow.parquet  # isort: skip

_BLOCKS_IN_GROUP = 16  # a row group is what a reader takes at once, and what is in memory here
_BLOCKS_AHEAD = 2  # that wait to be converted


@dataclass(frozen=True)
class ParquetFacts:
    """What a Parquet file holds.

    :param rows: their number.
    :param columns: names and kinds, in order; for money with the places that the file has.
    """

    rows: int
    columns: Sequence[Column]


def write_parquet(
    chunks: Iterable[bytes],
    file: BinaryIO,
    *,
    column_types: Mapping[str, str] | None = None,
    timezone: str = "Etc/UTC",
    decimal_separator: str = ".",
) -> ParquetFacts:
    """Convert a report's CSV.

    Memory does not grow with the report. Two threads convert and write what has come while more is taken from
    ``chunks``, in the caller's.

    :param chunks: the CSV as Stripe writes it, cut anywhere; a header alone is a report of no rows.
    :param file: what is written to. It is not closed. After an error it lacks the end without which no reader
        takes it for a Parquet file.
    :param column_types: kinds by column name that overrule the table of `columns`.
    :param timezone: the IANA name of the time zone that the report was asked for.
    :param decimal_separator: the one that the report was asked for, a point or a comma.
    :raises ConfigurationError: when a kind or the time zone is unknown.
    :raises ContentsError: when the bytes are no CSV, or a cell is not of its column's kind; it names column, row
        (from 1, without the header) and value.
    :raises MoreDecimalsError: when money has more places than the first block let expect: call again, from the
        first byte, with the error's ``column_types``.
    """
    column_types = dict(column_types or {})
    columns_of([], column_types)
    typed.check_timezone(timezone)
    blocks = typed.blocks_of(chunks)
    names, first = typed.split_header(next(blocks, memoryview(b"")))
    require_columns(names, column_types)
    converter = _Converter(columns_of(names, column_types), column_types, timezone, decimal_separator)
    table = converter.first(first)
    output = _Output(file)
    writer = pyarrow.parquet.ParquetWriter(
        pa.PythonFile(output, "w"),
        converter.schema,
        compression="zstd",
        use_dictionary=[column.name for column in converter.columns if _repeats(column, table[column.name])],
    )
    try:
        _pump(blocks, converter, table, writer)
        writer.close()
    except BaseException:
        # The writer ends the file even when it is deleted, and then a part of the rows would be a whole file.
        output.cut = True
        raise
    return ParquetFacts(converter.rows, converter.columns)


def _pump(blocks: Iterator[memoryview], converter: _Converter, table: Any, writer: Any) -> None:
    """Let blocks be converted, and groups of them written, behind the back of whoever brings them."""

    def write(group: Sequence[Future[Any]]) -> None:
        whole = pa.concat_tables([part.result() for part in group])
        if whole.num_rows:
            writer.write_table(whole, row_group_size=whole.num_rows)

    with ThreadPoolExecutor(1) as converting, ThreadPoolExecutor(1) as writing:
        try:
            group = [converting.submit(lambda: table)]
            written: Future[None] | None = None
            for block in blocks:
                group.append(converting.submit(converter.convert, block))
                if len(group) > _BLOCKS_AHEAD:
                    group[-1 - _BLOCKS_AHEAD].result()
                if len(group) == _BLOCKS_IN_GROUP:
                    if written:
                        written.result()
                    written, group = writing.submit(write, group), []
            if written:
                written.result()
            if group:
                write(group)
        except BaseException:
            converting.shutdown(cancel_futures=True)
            writing.shutdown(cancel_futures=True)
            raise


class _Converter(Converter):
    """Makes decimals of money; ``columns`` knows their places once the first block is converted."""

    def __init__(
        self, columns: Sequence[Column], column_types: Mapping[str, str], timezone: str, decimal_separator: str
    ) -> None:
        super().__init__(columns, timezone, decimal_separator)
        self._column_types = column_types

    def first(self, block: memoryview) -> Any:
        """Convert the first block, which says how many places money has."""
        texts = self.texts(block)
        self.columns = [
            replace(column, decimals=max(column.decimals, self._places(texts[column.name])))
            if column.kind == "money"
            else column
            for column in self.columns
        ]
        return self.counted(self.parsed(texts))

    def read_as(self, column: Column) -> Any:
        """Return the type that pyarrow parses: for money with as many digits fewer as its scale may append."""
        if column.kind == "money":
            return pa.decimal128(MAX_DIGITS - column.decimals, column.decimals)
        return super().read_as(column)

    def made_as(self, column: Column) -> Any:
        """Return the type that the file has."""
        return pa.decimal128(MAX_DIGITS, column.decimals) if column.kind == "money" else super().made_as(column)

    def made(self, column: Column, cells: Any) -> Any:
        """Return what goes into the file."""
        return (
            cells[column.name].cast(self.made_as(column))
            if column.kind == "money"
            else super().made(column, cells)
        )

    def parser(self, column: Column) -> Callable[[Any], Any]:
        """Return what makes decimals of texts, too."""
        return (lambda cells: self._money(column, cells)) if column.kind == "money" else super().parser(column)

    def _money(self, column: Column, cells: Any) -> Any:
        """Read what fits the type: pyarrow alone would not notice that digits in front got lost."""
        front = MAX_DIGITS - column.decimals
        point = re.escape(self.decimal_separator)
        fits = pc.match_substring_regex(cells, rf"^[+-]?0*[0-9]{{0,{front}}}({point}[0-9]*)?$")
        if pc.all(fits).as_py() is False:
            raise pa.ArrowInvalid(f"no decimal with up to {front} digits before the point")
        decimals = self._places(cells)
        if decimals > column.decimals:
            raise MoreDecimalsError(
                f"Column {column.name!r} has cells with {decimals} decimal places behind row {self.rows}, "
                f"and its file has been given {column.decimals}; write it anew with more.",
                {**self._column_types, column.name: f"money({decimals})"},
            )
        return pc.replace_substring(cells, self.decimal_separator, ".").cast(self.made_as(column))

    def _places(self, cells: Any) -> int:
        """Count the most places; no file has more than `MAX_DECIMALS`."""
        return min(MAX_DECIMALS, self.decimals(cells))


class _Output(RawIOBase):
    """Passes bytes on, until it is ``cut``."""

    cut = False

    def __init__(self, file: BinaryIO) -> None:
        self._file = file

    def writable(self) -> bool:
        return True

    def write(self, data: Any) -> int:
        if not self.cut:
            self._file.write(data)
        return len(data)


def _repeats(column: Column, cells: Any) -> bool:
    """Tell whether a column belongs in a dictionary: others cost twice the time there, and become no smaller."""
    return column.kind == "text" and 4 * pc.count_distinct(cells).as_py() < len(cells)
