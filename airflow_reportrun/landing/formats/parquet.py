"""A report as typed Parquet, converted while its bytes arrive (extra ``parquet``).

What the types are:

* Money is ``decimal(38, s)``: the column's type says how many places ``s`` it has, and the contents don't. A cell
  with more is never rounded: it is an error that says which type would do. Zeros at its end are no places.
* Everything else is what `typed` says.

pyarrow has a trap: a decimal with too many digits for its scale becomes another number without an error, where it
is parsed and where it is cast. So the types that read here leave no room for that, and what does not fit them is
read as text and looked at.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from io import RawIOBase
from typing import Any, BinaryIO

from airflow_reportrun.landing.contract import PLAIN, Contract
from airflow_reportrun.landing.formats import typed
from airflow_reportrun.landing.formats.columns import (
    MAX_DECIMALS,
    MAX_DIGITS,
    Column,
    check_column_types,
    columns_of,
    require_columns,
)

# Of typed first: without pyarrow it says what to install.
from airflow_reportrun.landing.formats.typed import Converter  # isort: skip
from airflow_reportrun.landing.formats.arranged import Arrangement  # isort: skip
import pyarrow as pa  # isort: skip
import pyarrow.compute as pc  # isort: skip
import pyarrow.parquet  # isort: skip

_BLOCKS_IN_GROUP = 16  # a row group is what a reader takes at once, and what is in memory here
_BLOCKS_AHEAD = 2  # that wait to be converted


@dataclass(frozen=True)
class ParquetFacts:
    """What a Parquet file holds.

    :param rows: their number.
    :param columns: names and kinds of the report's, in order; for money with the places that the file has.
    """

    rows: int
    columns: Sequence[Column]


def write_parquet(
    chunks: Iterable[bytes],
    file: BinaryIO,
    *,
    report_type: str = "",
    column_types: Mapping[str, str] | None = None,
    timezone: str = "Etc/UTC",
    decimal_separator: str = ".",
    contract: Contract = PLAIN,
    accept: Callable[[Sequence[Column]], None] | None = None,
) -> ParquetFacts:
    """Convert a report's CSV.

    Memory does not grow with the report. Two threads convert and write what has come while more is taken from
    ``chunks``, in the caller's.

    :param chunks: the CSV as Stripe writes it, cut anywhere; a header alone is a report of no rows.
    :param file: what is written to. It is not closed. After an error it lacks the end without which no reader
        takes it for a Parquet file.
    :param report_type: the report's; its family says how many places money has.
    :param column_types: kinds by column name that overrule the table of `columns`.
    :param timezone: the IANA name of the time zone that the report was asked for.
    :param decimal_separator: the one that the report was asked for, a point or a comma.
    :param contract: what the columns are called in the file, and whether metadata is one of them.
    :param accept: is shown the columns of the header before anything is written, and may refuse them.
    :raises ConfigurationError: when a kind or the time zone is unknown.
    :raises ContentsError: when the bytes are no CSV, or cells are not of their columns' kinds; it names the first
        of each column, with row (from 1, without the header) and value, and the ``column_types`` that would do.
    """
    column_types = dict(column_types or {})
    check_column_types(column_types)
    typed.check_timezone(timezone)
    blocks = typed.blocks_of(chunks)
    names, first = typed.split_header(next(blocks, memoryview(b"")))
    require_columns(names, column_types)
    columns = columns_of(names, column_types, report_type)
    if accept:
        accept(columns)
    kept = contract.kept(columns)
    names = contract.names(kept)
    arranged = Arrangement(columns, contract, names)
    converter = DecimalConverter(columns, timezone, decimal_separator, column_types)
    table = arranged(converter.convert(first))
    output = _Output(file)
    writer = pyarrow.parquet.ParquetWriter(
        pa.PythonFile(output, "w"),
        table.schema,
        compression="zstd",
        use_dictionary=[name for name, column in zip(names, kept, strict=True) if _repeats(column, table[name])],
    )
    try:
        _pump(blocks, lambda block: arranged(converter.convert(block)), table, writer)
        converter.finish()
        writer.close()
    except BaseException:
        # The writer ends the file even when it is deleted, and then a part of the rows would be a whole file.
        output.cut = True
        raise
    return ParquetFacts(converter.rows, columns)


def _pump(blocks: Iterator[memoryview], convert: Callable[[memoryview], Any], table: Any, writer: Any) -> None:
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
                group.append(converting.submit(convert, block))
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


class DecimalConverter(Converter):
    """Makes decimals of money."""

    def __init__(self, *args: Any) -> None:
        super().__init__(*args)
        self._money = {column.name: column for column in self.columns if column.kind == "money"}
        self._long: set[str] = set()  # those of them whose cells have too many digits to be parsed at once
        self._most: dict[str, tuple[int, int]] = {}  # of those with a misfit: most before and behind the point

    def read_as(self, column: Column) -> Any:
        """Return the type that pyarrow parses: for money with as many digits fewer as its scale may append."""
        if column.kind != "money":
            return super().read_as(column)
        if column.name in self._long:
            return pa.string()
        return pa.decimal128(MAX_DIGITS - column.decimals, column.decimals)

    def made_as(self, column: Column) -> Any:
        """Return the type that the file has."""
        return pa.decimal128(MAX_DIGITS, column.decimals) if column.kind == "money" else super().made_as(column)

    def counted(self, cells: Any) -> Any:
        """Make a table, and count the digits of money that does not fit, for the error at the end."""
        table = super().counted(cells)
        for name in self._misfits.keys() & self._money.keys():
            before, behind = _digits(cells[name], self._point)
            most = self._most.get(name, (0, 0))
            self._most[name] = max(before, most[0]), max(behind, most[1])
        return table

    def made(self, column: Column, cells: Any) -> Any:
        """Return what goes into the file."""
        own = cells[column.name]
        if column.kind != "money":
            return super().made(column, cells)
        if pa.types.is_string(own.type):
            return self.each(column, own, self.parser(column))
        return own.cast(self.made_as(column))

    def parser(self, column: Column) -> Callable[[Any], Any]:
        """Return what makes decimals of texts, too."""
        return (lambda cells: self._decimals(column, cells)) if column.kind == "money" else super().parser(column)

    def way_out(self, name: str) -> str:
        """Return money with as many places as the cells need, where a decimal can hold them."""
        if name not in self._money:
            return super().way_out(name)
        before, behind = self._most[name]
        places = max(behind, min(self._money[name].decimals, MAX_DIGITS - before))
        return f"money({places})" if places <= MAX_DECIMALS and before + places <= MAX_DIGITS else "text"

    def _decimals(self, column: Column, cells: Any) -> Any:
        """Read what fits the type: pyarrow alone would not notice that digits in front got lost."""
        places, front = column.decimals, MAX_DIGITS - column.decimals
        whole = rf"^[+-]?0*[0-9]{{0,{front}}}"
        if _any_not(cells, rf"{whole}({self._point}[0-9]{{0,{places}}}0*)?$"):
            if _any_not(cells, rf"{whole}({self._point}[0-9]*)?$"):
                raise pa.ArrowInvalid(f"no decimal with up to {front} digits before the point")
            raise pa.ArrowInvalid(f"more than {places} decimal places")
        longest = pc.max(pc.binary_length(cells)).as_py() or 0
        if longest > front:
            self._long.add(column.name)
        if self.decimal_separator != ".":
            cells = pc.replace_substring(cells, self.decimal_separator, ".")
        if longest > MAX_DIGITS:  # that many digits are no decimal, be they zeros
            cells = pc.replace_substring_regex(cells, r"(\.[0-9]*?)0+$", r"\1")
        return cells.cast(self.made_as(column))


def _any_not(cells: Any, pattern: str) -> bool:
    return pc.all(pc.match_substring_regex(cells, pattern)).as_py() is False


def _digits(cells: Any, point: str) -> tuple[int, int]:
    """Count the most digits before and behind the point, without zeros that say nothing; too many of no number."""
    if _any_not(cells, rf"^[+-]?([0-9]+({point}[0-9]*)?|{point}[0-9]+)$"):
        return MAX_DIGITS, MAX_DIGITS
    parts = pc.extract_regex(cells, rf"^[+-]?0*(?P<before>[0-9]*)(?:{point}(?P<behind>[0-9]*?)0*)?$")
    before, behind = (
        pc.max(pc.binary_length(pc.struct_field(parts, name))).as_py() for name in ("before", "behind")
    )
    return before or 0, behind or 0


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
