"""A report as typed Parquet, converted while its bytes arrive (extra ``parquet``).

What the types are:

* Money is ``decimal(38, s)``: the first block of the report says how many places ``s`` its column has, at least 2.
  A later cell with more is never rounded: it is an error that says how to begin again.
* A timestamp is an instant, in microseconds and UTC. In an hour that the clocks repeat it is the earlier one,
  unless the report has the column's twin in UTC (``created`` and ``created_utc``), which knows. A time that the
  clocks skip is an error, since no report in that time zone can show it.
* A date is a date, a count a 64 bit integer; what nobody knows is text. ``NULL`` and ``""`` are kept apart in
  text. In other columns ``""`` is an error.

pyarrow was chosen since it refuses to round where DuckDB and polars round silently, tells ``NULL`` from ``""``,
and takes bytes as they come. It has a trap of its own: a decimal with too many digits for its scale becomes
another number without an error, so the types that read here leave no room for that.
"""

from __future__ import annotations

import csv
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, replace
from io import RawIOBase, StringIO
from typing import Any, BinaryIO

from airflow_reportrun.landing.columns import MAX_DECIMALS, MAX_DIGITS, Column, columns_of
from airflow_reportrun.reporting.errors import ConfigurationError, ContentsError, MoreDecimalsError

try:
    import pyarrow as pa
    import pyarrow.compute as pc
    import pyarrow.csv
    import pyarrow.parquet
except ImportError as error:
    raise ConfigurationError(
        f"The format parquet needs pyarrow ({error}): pip install 'airflow-provider-reportrun[parquet]'"
    ) from None

BLOCK_SIZE = 4 << 20
"""Bytes that are converted at once."""

_BLOCKS_IN_GROUP = 8  # a row group is what a reader takes at once, and what is in memory here
_BLOCKS_AHEAD = 2  # that wait to be converted
_MAX_RECORD = 16 * BLOCK_SIZE
_SHOWN = 80  # characters of a cell in an error
_UTC = ("Etc/UTC", "UTC")

_LOCAL = pa.timestamp("s")  # what a report writes: seconds without a zone
_INSTANT = pa.timestamp("us", "UTC")
_READ_AS = {
    "integer": pa.int64(),
    "boolean": pa.bool_(),
    "timestamp": _LOCAL,
    "timestamp_utc": _LOCAL,
    "date": _LOCAL,  # so that a date with a midnight behind it is one, too
    "text": pa.string(),
}
_WRITTEN_AS = {**_READ_AS, "timestamp": _INSTANT, "timestamp_utc": _INSTANT, "date": pa.date32()}


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
    metadata: Mapping[str, str] | None = None,
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
    :param metadata: key-value metadata of the file, such as the report type and the run's id.
    :raises ConfigurationError: when a kind or the time zone is unknown.
    :raises ContentsError: when the bytes are no CSV, or a cell is not of its column's kind; it names column, row
        (from 1, without the header) and value.
    :raises MoreDecimalsError: when money has more places than the first block let expect: call again, from the
        first byte, with the error's ``column_types``.
    """
    column_types = dict(column_types or {})
    columns_of([], column_types)
    _check_zone(timezone)
    blocks = _blocks(chunks)
    names, first = _header(next(blocks, memoryview(b"")))
    converter = _Converter(columns_of(names, column_types), column_types, timezone, decimal_separator)
    table = converter.first(first)
    output = _Output(file)
    writer = pyarrow.parquet.ParquetWriter(
        pa.PythonFile(output, "w"),
        converter.schema.with_metadata(dict(metadata or {})),
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


class _Converter:
    """Turns blocks of records into tables of one schema, in the order of the file.

    ``columns`` knows the places of money once the first block is converted; ``rows`` counts those converted.
    """

    def __init__(
        self, columns: Sequence[Column], column_types: Mapping[str, str], timezone: str, decimal_separator: str
    ) -> None:
        self.columns = columns
        self.rows = 0
        self._names = [column.name for column in columns]
        self._column_types = column_types
        self._timezone = timezone
        self._separator = decimal_separator
        self._point = re.escape(decimal_separator)

    @property
    def schema(self) -> Any:
        """Of the tables."""
        return pa.schema([(column.name, _written_as(column)) for column in self.columns])

    def first(self, block: memoryview) -> Any:
        """Convert the first block, which says how many places money has."""
        texts = self._texts(block)
        self.columns = [
            replace(column, decimals=max(column.decimals, self._decimals(texts[column.name])))
            if column.kind == "money"
            else column
            for column in self.columns
        ]
        return self._counted(self._parsed(texts))

    def convert(self, block: memoryview) -> Any:
        """Convert another block: all at once, and where that fails cell by cell, which tells why."""
        types = {column.name: _read_as(column) for column in self.columns}
        try:
            cells = _read(block, types, self._separator)
        except pa.ArrowInvalid:
            cells = self._parsed(self._texts(block))
        return self._counted(cells)

    def _counted(self, cells: Any) -> Any:
        """Make a table of the file's types of cells that were read."""
        made: dict[str, Any] = {}
        for column in self.columns:
            made[column.name] = self._made(column, cells)
        self.rows += cells.num_rows
        return pa.table(made, schema=self.schema)

    def _made(self, column: Column, cells: Any) -> Any:
        own = cells[column.name]
        if column.kind == "timestamp_utc" or (column.kind == "timestamp" and self._timezone in _UTC):
            return _in_utc(own)
        if column.kind == "timestamp":
            instants = self._each(
                column, own, lambda some: pc.assume_timezone(some, self._timezone, ambiguous="earliest")
            )
            twin = f"{column.name}_utc"
            if Column(twin, "timestamp_utc") not in self.columns:
                return instants.cast(_INSTANT)
            later = pc.assume_timezone(own, self._timezone, ambiguous="latest").cast(_INSTANT)
            is_later = pc.fill_null(pc.equal(later, _in_utc(cells[twin])), False)
            return pc.if_else(is_later, later, instants.cast(_INSTANT))
        if column.kind == "date":
            return self._each(column, own, _dates)
        return own.cast(_written_as(column))

    def _texts(self, block: memoryview) -> Any:
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

        table = _read(block, dict.fromkeys(self._names, pa.binary()), uneven=skip)
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
        return ContentsError(f"Behind row {self.rows}: {reason}")

    def _parsed(self, texts: Any) -> Any:
        """Read what texts say, column by column."""
        parsed = {
            column.name: self._each(column, texts[column.name], self._parser(column)) for column in self.columns
        }
        return pa.table(parsed)

    def _parser(self, column: Column) -> Callable[[Any], Any]:
        if column.kind == "money":
            return lambda cells: self._money(column, cells)
        return lambda cells: cells.cast(_read_as(column))

    def _money(self, column: Column, cells: Any) -> Any:
        """Read what fits the type: pyarrow alone would not notice that digits in front got lost."""
        front = MAX_DIGITS - column.decimals
        fits = pc.match_substring_regex(cells, rf"^[+-]?0*[0-9]{{0,{front}}}({self._point}[0-9]*)?$")
        if pc.all(fits).as_py() is False:
            raise pa.ArrowInvalid(f"no decimal with up to {front} digits before the point")
        decimals = self._decimals(cells)
        if decimals > column.decimals:
            raise MoreDecimalsError(
                f"Column {column.name!r} has cells with {decimals} decimal places behind row {self.rows}, "
                f"and its file has been given {column.decimals}; write it anew with more.",
                {**self._column_types, column.name: f"money({decimals})"},
            )
        return pc.replace_substring(cells, self._separator, ".").cast(_written_as(column))

    def _decimals(self, cells: Any) -> int:
        """Count the most places behind a point; no file has more than `MAX_DECIMALS`."""
        places = pc.extract_regex(cells, rf"^[+-]?[0-9]*{self._point}(?P<places>[0-9]+)$")
        return min(MAX_DECIMALS, pc.max(pc.utf8_length(pc.struct_field(places, "places"))).as_py() or 0)

    def _each(self, column: Column, cells: Any, convert: Callable[[Any], Any]) -> Any:
        """Convert the cells of a column, or find the first that can't be."""
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
        raise ContentsError(
            f"Row {self.rows + start + 1} of column {column.name!r}: {shown} is no {kind} ({reason}). "
            f"To keep the column as Stripe writes it, set column_types={{{column.name!r}: 'text'}}."
        )


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


def _written_as(column: Column) -> Any:
    return pa.decimal128(MAX_DIGITS, column.decimals) if column.kind == "money" else _WRITTEN_AS[column.kind]


def _read_as(column: Column) -> Any:
    """Return the type that pyarrow parses: for money with as many digits fewer as its scale may append to them."""
    if column.kind != "money":
        return _READ_AS[column.kind]
    return pa.decimal128(MAX_DIGITS - column.decimals, column.decimals)


def _read(
    block: memoryview,
    types: Mapping[str, Any],
    decimal_separator: str = ".",
    uneven: Callable[[Any], str] | None = None,
) -> Any:
    """Read records without a header.

    ``uneven`` is asked about rows of another length; only without threads do they have numbers.
    """
    if not block:
        return pa.table({name: pa.array([], kind) for name, kind in types.items()})
    return pyarrow.csv.read_csv(
        pa.BufferReader(pa.py_buffer(block)),
        pyarrow.csv.ReadOptions(
            column_names=list(types),
            block_size=len(block) + 1,
            use_threads=uneven is None,
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


def _repeats(column: Column, cells: Any) -> bool:
    """Tell whether a column belongs in a dictionary: others cost twice the time there, and become no smaller."""
    return column.kind == "text" and 4 * pc.count_distinct(cells).as_py() < len(cells)


def _first_line(error: Exception) -> str:
    return _shortened(str(error).partition("\n")[0])


def _shortened(text: str) -> str:
    return text if len(text) <= _SHOWN else f"{text[:_SHOWN]}…"


def _in_utc(cells: Any) -> Any:
    return cells.cast(pa.timestamp("us")).cast(_INSTANT)


def _dates(cells: Any) -> Any:
    dates = cells.cast(pa.date32())
    if pc.all(pc.equal(dates.cast(_LOCAL), cells)).as_py() is False:
        raise pa.ArrowInvalid("it has a time of day")
    return dates


def _check_zone(timezone: str) -> None:
    try:
        pc.assume_timezone(pa.array([0], _LOCAL), timezone)
    except pa.ArrowInvalid as error:
        raise ConfigurationError(f"timezone {timezone!r}: {error}.") from None


def _blocks(chunks: Iterable[bytes]) -> Iterator[memoryview]:
    """Cut bytes where records end."""
    waiting: list[bytes] = []
    size = 0
    for chunk in chunks:
        waiting.append(chunk)
        size += len(chunk)
        if size >= BLOCK_SIZE:
            block = b"".join(waiting)
            end = _last_end(block)
            if not end and len(block) > _MAX_RECORD:
                raise ContentsError(f"A record has more than {_MAX_RECORD >> 20} MiB: a quote is missing.")
            if end:
                yield memoryview(block)[:end]
            waiting = [block[end:]]
            size = len(waiting[0]) if end else 0
    if block := b"".join(waiting):
        if block.count(b'"') % 2:
            raise ContentsError("The report ends within a quoted cell.")
        yield memoryview(block)


def _last_end(block: bytes) -> int:
    """Return how many bytes are whole records: up to the last end of a line behind an even number of quotes."""
    odd = block.count(b'"') % 2
    end = len(block)
    while (line_end := block.rfind(b"\n", 0, end)) >= 0:
        odd ^= block.count(b'"', line_end, end) % 2
        if not odd:
            return line_end + 1
        end = line_end
    return 0


def _header(block: memoryview) -> tuple[Sequence[str], memoryview]:
    """Split the names off the first block."""
    text = bytes(block)
    end = text.find(b"\n") + 1
    while end and text.count(b'"', 0, end) % 2:
        end = text.find(b"\n", end) + 1
    end = end or len(text)
    try:
        names = next(csv.reader(StringIO(text[:end].decode("utf-8-sig"), newline="")), [])
    except UnicodeDecodeError:
        raise ContentsError("The header is not UTF-8.") from None
    if not names:
        raise ContentsError("The report has no header.")
    if twice := sorted({name for name in names if names.count(name) > 1}):
        raise ContentsError(f"The header has the column {twice[0]!r} more than once.")
    return names, block[end:]
