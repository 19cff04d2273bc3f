"""A report's CSV as typed tables of pyarrow, block by block: what Parquet files and databases are made of.

What the kinds of `columns` come to:

* A timestamp is an instant, in microseconds and UTC. In an hour that the clocks repeat it is the earlier one,
  unless the report has the column's twin in UTC (``created`` and ``created_utc``), which knows. A time that the
  clocks skip is an error, since no report in that time zone can show it.
* A date is a date, a count a 64 bit integer; what nobody knows is text. ``NULL`` and ``""`` are kept apart in
  text. In other columns ``""`` is an error.
* Money is the digits that Stripe wrote, behind a point, as text: that is exact, and whoever has a type for
  decimals makes one of it.

pyarrow was chosen since it refuses to round where DuckDB and polars round silently, tells ``NULL`` from ``""``,
and takes bytes as they come.
"""

from __future__ import annotations

import csv
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from io import StringIO
from typing import Any

from airflow_reportrun.landing.formats.columns import Column, columns_of
from airflow_reportrun.landing.structure import last_end
from airflow_reportrun.reporting.errors import ConfigurationError, ContentsError
from airflow_reportrun.reporting.parameters import is_zone

try:
    import pyarrow as pa
    import pyarrow.compute as pc
    import pyarrow.csv
except ImportError as error:
    raise ConfigurationError(f"Typed columns need pyarrow ({error}): pip install pyarrow") from None

BLOCK_SIZE = 2 << 20
"""Bytes that are converted at once."""

_MAX_RECORD = 32 * BLOCK_SIZE
_SHOWN = 80  # characters of a cell in an error
_UTC = ("Etc/UTC", "UTC")

_LOCAL = pa.timestamp("s")  # what a report writes: seconds without a zone
INSTANT = pa.timestamp("us", "UTC")
_READ_AS = {
    "money": pa.string(),
    "integer": pa.int64(),
    "boolean": pa.bool_(),
    "timestamp": _LOCAL,
    "timestamp_utc": _LOCAL,
    "date": _LOCAL,  # so that a date with a midnight behind it is one, too
    "text": pa.string(),
}
_MADE_AS = {**_READ_AS, "timestamp": INSTANT, "timestamp_utc": INSTANT, "date": pa.date32()}


class MisfitError(Exception):
    """A cell that its column can't have.

    :param said: column, row (from 1, without the header) and value.
    :param as_text: it could, if the column was text.
    """

    def __init__(self, said: str, *, as_text: bool = True) -> None:
        super().__init__(said)
        self.as_text = as_text


class Converter:
    """Turns blocks of records into tables of one schema, in the order of the file.

    A cell that is not of its column's kind is no error yet: nothing comes of the report then, but what follows is
    still looked at, so that `finish` names all the columns for which that is so.

    :param columns: of the header, in its order.
    :param timezone: the IANA name of the time zone that the report was asked for.
    :param decimal_separator: the one that the report was asked for, a point or a comma.
    :param column_types: what the user said of columns, for the error that says what else is needed.
    :raises ConfigurationError: when the separator is another one.
    """

    def __init__(
        self,
        columns: Sequence[Column],
        timezone: str,
        decimal_separator: str,
        column_types: Mapping[str, str] | None = None,
    ) -> None:
        if decimal_separator not in (".", ","):
            raise ConfigurationError(f"decimal_separator is a point or a comma, not {decimal_separator!r}.")
        self.columns = columns
        self.schema = pa.schema([(column.name, self.made_as(column)) for column in columns])
        """Of the tables."""
        self.rows = 0
        """Those converted so far."""
        self._names = [column.name for column in columns]
        self._timezone = timezone
        self.decimal_separator = decimal_separator
        self._point = re.escape(decimal_separator)
        self._column_types = column_types or {}
        self._misfits: dict[str, MisfitError] = {}  # the first of each column

    def convert(self, block: memoryview) -> Any:
        """Convert a block of whole records: all at once, and where that fails cell by cell, which tells why.

        :returns: a table; one without rows when a cell of this block, or one before, is not of its column's kind.
        :raises ContentsError: when it is no CSV.
        """
        types = {column.name: self.read_as(column) for column in self.columns}
        try:
            cells = _read(block, types, self.decimal_separator)
        except pa.ArrowInvalid:
            cells = self.parsed(self.texts(block))
        return self.counted(cells)

    def finish(self) -> None:
        """Say that no more blocks follow.

        :raises ContentsError: when cells were not of their columns' kinds; it names the first of each column, and
            which ``column_types`` would do.
        """
        if not self._misfits:
            return
        misfits = {name: self._misfits[name] for name in self._names if name in self._misfits}
        ways_out = {name: self._way_out(name) for name, misfit in misfits.items() if misfit.as_text}
        said = "; ".join(map(str, misfits.values()))
        if ways_out:
            said = f"{said}. Set column_types={ {**self._column_types, **ways_out}!r}"
            if "text" in ways_out.values():
                said = f"{said}; as text a column is kept as Stripe writes it"
            if set(ways_out.values()) - {"text"}:
                said = (
                    f"{said}; give the places of money to all intervals alike, so that their files have one type"
                )
        raise ContentsError(f"{said}.")

    def _way_out(self, name: str) -> str:
        """Return the package's kind where the task's own does not fit, else what fits for sure."""
        ours, own = columns_of([name], None, "")[0], self._column_types.get(name, "")
        return self.way_out(name) if own.startswith(ours.kind) or not own else ours.declared

    def way_out(self, name: str) -> str:
        """Return the kind that would do for a column with a misfit."""
        return "text"

    def read_as(self, column: Column) -> Any:
        """Return the type that pyarrow parses."""
        return _READ_AS[column.kind]

    def made_as(self, column: Column) -> Any:
        """Return the type that a column has in the tables."""
        return _MADE_AS[column.kind]

    def counted(self, cells: Any) -> Any:
        """Make a table of the tables' types of cells that were read."""
        made: dict[str, Any] = {}
        for column in self.columns:
            try:
                made[column.name] = self.made(column, cells)
            except MisfitError as misfit:
                self._note(column, misfit)
        self.rows += cells.num_rows
        return self.schema.empty_table() if self._misfits else pa.table(made, schema=self.schema)

    def _note(self, column: Column, misfit: MisfitError) -> None:
        """Remember the misfit, and take the column for text from here on."""
        self._misfits[column.name] = misfit
        self.columns = [replace(it, kind="text") if it.name == column.name else it for it in self.columns]

    def made(self, column: Column, cells: Any) -> Any:
        """Return what becomes of a column of the cells that were read."""
        own = cells[column.name]
        if column.kind == "money":
            return self.each(column, own, self._digits)
        if column.kind == "timestamp_utc" or (column.kind == "timestamp" and self._timezone in _UTC):
            return _in_utc(own)
        if column.kind == "timestamp":
            instants = self.each(
                column, own, lambda some: pc.assume_timezone(some, self._timezone, ambiguous="earliest")
            )
            twin = f"{column.name}_utc"
            if Column(twin, "timestamp_utc") not in self.columns:
                return instants.cast(INSTANT)
            later = pc.assume_timezone(own, self._timezone, ambiguous="latest").cast(INSTANT)
            is_later = pc.fill_null(pc.equal(later, _in_utc(cells[twin])), False)
            return pc.if_else(is_later, later, instants.cast(INSTANT))
        if column.kind == "date":
            return self.each(column, own, _dates)
        return own.cast(self.made_as(column))

    def _digits(self, cells: Any) -> Any:
        whole = rf"^[+-]?([0-9]+({self._point}[0-9]*)?|{self._point}[0-9]+)$"
        if pc.all(pc.match_substring_regex(cells, whole)).as_py() is False:
            raise pa.ArrowInvalid("no plain decimal number")
        return cells if self.decimal_separator == "." else pc.replace_substring(cells, self.decimal_separator, ".")

    def texts(self, block: memoryview) -> Any:
        """Read the cells of a block as they are written."""
        try:
            return _read(block, dict.fromkeys(self._names, pa.string()))
        except pa.ArrowInvalid as error:
            raise self._no_text(block, str(error)) from None

    def _no_text(self, block: memoryview, reason: str) -> ContentsError:
        """Say where a block is no table of text."""
        uneven: list[Any] = []

        def skip(row: Any) -> str:
            uneven.append(row)
            return "skip"

        try:
            str(block, "utf-8")  # or pyarrow can't show the row (26.0.1)
        except UnicodeDecodeError:
            shown = None
        else:
            shown = skip
        try:
            table = _read(block, dict.fromkeys(self._names, pa.binary()), uneven=shown)
        except pa.ArrowInvalid:
            return ContentsError(f"Behind row {self.rows}: {_shortened(reason)}")
        if uneven:
            row = uneven[0]
            cells = f"{row.actual_columns} cells, and the header {row.expected_columns}"
            return ContentsError(f"Row {self.rows + row.number} has {cells}.")
        for name in self._names:
            for row, cell in enumerate(table[name].to_pylist(), self.rows + 1):
                try:
                    (cell or b"").decode()
                except UnicodeDecodeError:
                    return ContentsError(f"Row {row} of column {name!r} is not UTF-8.")
        return ContentsError(f"Behind row {self.rows}: {_shortened(reason)}")

    def parsed(self, texts: Any) -> Any:
        """Read what texts say, column by column; a column with a misfit stays text."""
        parsed = {}
        for column in self.columns:
            parsed[column.name] = own = texts[column.name]
            try:
                parsed[column.name] = self.each(column, own, self.parser(column))
            except MisfitError as misfit:
                self._note(column, misfit)
        return pa.table(parsed)

    def parser(self, column: Column) -> Callable[[Any], Any]:
        """Return what makes cells of a column's texts; it raises an ArrowInvalid."""
        return lambda cells: cells.cast(self.read_as(column))

    def each(self, column: Column, cells: Any, convert: Callable[[Any], Any]) -> Any:
        """Convert the cells of a column, or find the first that can't be.

        :raises MisfitError: naming it.
        """
        try:
            return convert(cells)
        except pa.ArrowInvalid as error:
            reason = _first_line(error)
        start, stop = 0, len(cells)
        while stop - start > 1:
            middle = (start + stop) // 2
            try:
                convert(cells.slice(start, middle - start))
            except pa.ArrowInvalid as error:
                stop, reason = middle, _first_line(error)
            else:
                start = middle
        shown = _shortened(repr(str(cells[start])))
        kind = f"{column.kind} in {self._timezone}" if column.kind == "timestamp" else column.kind
        raise MisfitError(
            f"Row {self.rows + start + 1} of column {column.name!r}: {shown} is no {kind} ({reason})"
        )


def _read(
    block: memoryview,
    types: Mapping[str, Any],
    decimal_separator: str = ".",
    uneven: Callable[[Any], str] | None = None,
) -> Any:
    """Read records without a header.

    ``uneven`` is asked about rows of another length.
    """
    if not block:
        return pa.table({name: pa.array([], kind) for name, kind in types.items()})
    return pyarrow.csv.read_csv(
        pa.BufferReader(pa.py_buffer(block)),
        pyarrow.csv.ReadOptions(
            column_names=list(types),
            block_size=len(block) + 1,
            use_threads=False,  # they gain nothing in a block; and without them uneven rows have numbers
        ),
        pyarrow.csv.ParseOptions(
            newlines_in_values=True,
            ignore_empty_lines=len(types) > 1,  # with one column it is a row, of NULL
            invalid_row_handler=uneven,
        ),
        pyarrow.csv.ConvertOptions(
            column_types=types,
            null_values=[""],
            strings_can_be_null=True,
            quoted_strings_can_be_null=False,
            decimal_point=decimal_separator,
        ),
    )


def _first_line(error: Exception) -> str:
    return _shortened(str(error).partition("\n")[0])


def _shortened(text: str) -> str:
    return text if len(text) <= _SHOWN else f"{text[:_SHOWN]}…"


def _in_utc(cells: Any) -> Any:
    return cells.cast(pa.timestamp("us")).cast(INSTANT)


def _dates(cells: Any) -> Any:
    dates = cells.cast(pa.date32())
    if pc.all(pc.equal(dates.cast(_LOCAL), cells)).as_py() is False:
        raise pa.ArrowInvalid("it has a time of day")
    return dates


def check_timezone(timezone: str) -> None:
    """Refuse a time zone that is unknown, before there is a report.

    UTC is counted in without a database of time zones. For others pyarrow reads the system's alone, which a slim
    container may lack.

    :raises ConfigurationError: naming it.
    """
    if timezone in _UTC:
        return
    try:
        pc.assume_timezone(pa.array([0], _LOCAL), timezone)
    except pa.ArrowInvalid as error:
        way = " Install the system's database, as by apt-get install tzdata." if is_zone(timezone) else ""
        raise ConfigurationError(f"timezone {timezone!r}: {error}.{way}") from None


def blocks_of(chunks: Iterable[bytes]) -> Iterator[memoryview]:
    """Cut bytes where records end, into blocks of about `BLOCK_SIZE` bytes.

    Each block ends with a newline. A report's last record may lack its own, and pyarrow takes an empty cell before
    the end of a block for quoted when the one before it is.

    :param chunks: the CSV as Stripe writes it, cut anywhere.
    :raises ContentsError: when a record has no end.
    """
    waiting: list[bytes] = []
    size = 0
    for chunk in chunks:
        waiting.append(chunk)
        size += len(chunk)
        if size >= BLOCK_SIZE:
            block = b"".join(waiting)
            end = last_end(block)
            if not end and len(block) > _MAX_RECORD:
                raise ContentsError(f"A record has more than {_MAX_RECORD >> 20} MiB: a quote is missing.")
            if end:
                yield memoryview(block)[:end]
            waiting = [block[end:]]
            size = len(waiting[0]) if end else 0
    if block := b"".join(waiting):
        if block.count(b'"') % 2:
            raise ContentsError("The report ends within a quoted cell.")
        yield memoryview(block if block.endswith(b"\n") else block + b"\n")


def split_header(block: memoryview) -> tuple[Sequence[str], memoryview]:
    """Split the names off the first block.

    :raises ContentsError: when they are none, or not UTF-8, or one comes twice.
    """
    text = bytes(block)
    end = text.find(b"\n") + 1
    while end and text.count(b'"', 0, end) % 2:
        end = text.find(b"\n", end) + 1
    end = end or len(text)
    try:
        names = next(csv.reader(StringIO(text[:end].decode("utf-8-sig"), newline="")), [])
    except UnicodeDecodeError:
        raise ContentsError("The header is not UTF-8.") from None
    except csv.Error as error:
        raise ContentsError(f"The header is no CSV ({error}).") from None
    if not names:
        raise ContentsError("The report has no header.")
    if "" in names:
        raise ContentsError(f"Column {names.index('') + 1} of the report has no name.")
    if twice := sorted({name for name in names if names.count(name) > 1}):
        raise ContentsError(f"The header has the column {twice[0]!r} more than once.")
    return names, block[end:]
