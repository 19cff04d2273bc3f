from __future__ import annotations

import gc
import io
import subprocess
import sys
from collections.abc import Iterable, Iterator, Sequence
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from typing import Any
from unittest import mock
from zoneinfo import ZoneInfo

import pyarrow as pa
import pyarrow.parquet
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from airflow_reportrun.landing.formats import typed
from airflow_reportrun.landing.formats.columns import DECIMALS, Column
from airflow_reportrun.landing.formats.parquet import ParquetFacts, write_parquet
from airflow_reportrun.landing.structure import ReportCheck
from airflow_reportrun.reporting.errors import ConfigurationError, ContentsError

ZONES = ("Etc/UTC", "Europe/Berlin", "America/New_York", "Australia/Lord_Howe", "Africa/Cairo")
Row = Sequence[str | None]


def as_stripe_writes(rows: Iterable[Row], line_end: str = "\n") -> bytes:
    """Every cell that is not null is quoted; null is empty and unquoted."""

    def quoted(cell: str | None) -> str:
        return "" if cell is None else '"' + cell.replace('"', '""') + '"'

    return "".join(",".join(map(quoted, row)) + line_end for row in rows).encode()


def cut(whole: bytes, size: int) -> Iterator[bytes]:
    for start in range(0, len(whole), size):
        yield whole[start : start + size]


def converted(whole: bytes, *, size: int = 30, **options: Any) -> tuple[pa.Table, ParquetFacts]:
    file = io.BytesIO()
    facts = write_parquet(cut(whole, size), file, **options)
    return pyarrow.parquet.read_table(io.BytesIO(file.getvalue())), facts


def column(name: str, *cells: str | None, **options: Any) -> list[Any]:
    """What becomes of the cells of a column, after another one without cells of interest."""
    table, _ = converted(as_stripe_writes([["x", name], *(["x", cell] for cell in cells)]), **options)
    return table[name].to_pylist()  # type: ignore[no-any-return]


@pytest.fixture
def small_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    """Many blocks and row groups in a report of a few rows."""
    monkeypatch.setattr(typed, "BLOCK_SIZE", 64)


TEXT = st.text(st.one_of(st.sampled_from('",\n\r é李\0'), st.characters(exclude_categories=["Cs"])), max_size=12)


@settings(deadline=None)
@given(
    rows=st.integers(1, 4).flatmap(
        lambda width: st.lists(st.lists(st.none() | TEXT, min_size=width, max_size=width), max_size=30)
    ),
    size=st.integers(1, 200),
    block=st.sampled_from([1, 40, 1 << 20]),
    line_end=st.sampled_from(["\n", "\r\n"]),
    ended=st.booleans(),
)
def test_text_comes_back_as_it_was(
    rows: list[list[str | None]], size: int, block: int, line_end: str, ended: bool
) -> None:
    """Quotes, commas, line ends and any letter; NULL is not the empty text, wherever the bytes were cut.

    The last line may lack its end; nothing at all is there then of a row of one NULL.
    """
    names = [f"column {number}" for number in range(len(rows[0]) if rows else 1)]
    whole = as_stripe_writes([names, *rows], line_end)
    if not ended:
        whole = whole.removesuffix(line_end.encode())
        rows = rows[:-1] if rows[-1:] == [[None]] else rows
    with mock.patch.object(typed, "BLOCK_SIZE", block):
        table, facts = converted(whole, size=size)
    check = ReportCheck()
    for chunk in cut(whole, size):
        check.feed(chunk)
    check.end()
    assert check.rows == len(rows)
    assert list(zip(*table.to_pydict().values(), strict=True)) == [tuple(row) for row in rows]
    assert facts == ParquetFacts(len(rows), [Column(name, "text") for name in names])


def amounts(places: int) -> st.SearchStrategy[str]:
    """What fits 38 digits with 18 places, with so many of them."""

    def written(cents: int) -> str:
        digits = str(abs(cents)).rjust(places + 1, "0")
        front = len(digits) - places
        return f"{'-' if cents < 0 else ''}{digits[:front]}{'.' if places else ''}{digits[front:]}"

    bound = 10 ** (20 + places) - 1
    return st.builds(written, st.integers(-bound, bound) | st.integers(-9999, 9999))


@settings(deadline=None)
@given(
    cells=st.lists(st.none() | st.sampled_from([0, 2, 2, 3, 6, 18]).flatmap(amounts), max_size=40),
    zeros=st.sampled_from([0, 0, 1, 30]),
    places=st.sampled_from([2, 6, 18]),
    separator=st.sampled_from(".,"),
    block=st.sampled_from([1, 100, 1 << 20]),
)
def test_money_is_exact_or_an_error_says_how_many_places_it_needs(
    cells: list[str | None], zeros: int, places: int, separator: str, block: int
) -> None:
    """Up to 38 digits, with the places that were asked for, wherever the cells are; zeros behind them are none."""
    written = [
        cell and (f"{cell}{zeros * '0'}" if "." in cell else cell).replace(".", separator) for cell in cells
    ]
    whole = as_stripe_writes([["gross", "x"], *([cell, "x"] for cell in written)])
    values = [None if cell is None else Decimal(cell) for cell in cells]
    needed = max([0, *(len(cell.partition(".")[2].rstrip("0")) for cell in cells if cell)])
    with mock.patch.object(typed, "BLOCK_SIZE", block):
        if needed > places:
            with pytest.raises(ContentsError) as caught:
                converted(whole, column_types={"gross": f"money({places})"}, decimal_separator=separator)
            assert f"is no money (more than {places} decimal places)" in str(caught.value)
            assert f"Set column_types={{'gross': 'money({needed})'}}" in str(caught.value)
            places = needed
        types = {"gross": f"money({places})"}
        table, facts = converted(whole, column_types=types, decimal_separator=separator)
    assert table["gross"].to_pylist() == values
    assert facts.columns[0].decimals == places
    assert table.schema.field("gross").type == pa.decimal128(38, places)


@pytest.mark.parametrize("cells", [[], ["1.5"], ["1.500000000", None], ["0"], [None]])
@pytest.mark.parametrize(
    ("report_type", "places"),
    [
        ("all_fees.balance_transaction_created.summary.2", 18),
        ("all_fees.incurred_at.itemized.3", 18),
        ("connected_account_all_fees.incurred_at.itemized.1", 18),
        ("balance_change_from_activity.itemized.3", 6),
        ("all_fees_of_another_kind.1", 6),
        ("", 6),
    ],
)
def test_the_report_says_how_many_places_money_has(report_type: str, places: int, cells: list[str | None]) -> None:
    """And its contents don't: an interval without rows has the types of the others."""
    whole = as_stripe_writes([["amount", "x", "y"], *([cell, cell, cell] for cell in cells)])
    table, _ = converted(whole, report_type=report_type, column_types={"x": "money", "y": "money(3)"})
    assert [kind.scale for kind in table.schema.types] == [places, places, 3]


@pytest.mark.parametrize("block", [64, 1 << 20])
def test_all_columns_that_do_not_fit_are_named_at_once(block: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """With the first cell of each, wherever it is, and with types to paste, the user's own among them."""
    names = ["gross", "fee", "net", "count", "created", "available_on", "tax_code", "livemode", "amount"]
    good = ["1.50", "0.10", "1.40", "1", "2024-05-01 00:00:00", "2024-05-01 00:00:00", "7", "true", "3"]
    rows = [list(good) for _ in range(30)]
    rows[3][0], rows[12][0], rows[20][0] = "1.00000001", "0.0000000001", "0.000000001"
    rows[5][1] = "free"
    rows[28][3] = "1.5"
    rows[9][4] = "soon"
    rows[29][5] = "2024-03-31 02:30:00"  # the clocks skipped it
    rows[15][8], rows[16][8] = "12345678901234567890123456789012345.5", "0.0000001"
    monkeypatch.setattr(typed, "BLOCK_SIZE", block)
    whole, types = as_stripe_writes([names, *rows]), {"tax_code": "integer"}
    with pytest.raises(ContentsError) as caught:
        converted(whole, timezone="Europe/Berlin", column_types=types)
    needed = {
        **{"gross": "money(10)", "fee": "text", "count": "text", "created": "text", "available_on": "text"},
        "amount": "text",
    }
    said = str(caught.value)
    for row, name in (
        (4, "gross"),
        (6, "fee"),
        (29, "count"),
        (10, "created"),
        (30, "available_on"),
        (16, "amount"),
    ):
        assert f"Row {row} of column {name!r}: {rows[row - 1][names.index(name)]!r} is no " in said
    assert said.count("Row ") == len(needed)
    pasted = eval(said.partition("column_types=")[2].partition("}")[0] + "}")  # noqa: S307 - as a user pastes it
    assert pasted == {**types, **needed}
    assert "all intervals alike" in said
    table, _ = converted(whole, timezone="Europe/Berlin", column_types=pasted)
    assert table["gross"][12].as_py() == Decimal("0.0000000001")


@pytest.mark.parametrize(
    ("first", "cell"),
    [
        ("0.000000000000000001", "12345678901234567890123.1"),  # pyarrow alone reads 95513692080783205441.61 here
        ("0.000000000000000001", "123456789012345678901"),
        ("0.01", "9" * 37),
        ("0.01", "9" * 36 + "0.5"),
        ("0.01", "1e38"),
        ("1." + "1" * 37, "10"),
    ],
)
@pytest.mark.usefixtures("small_blocks")
def test_too_many_digits_are_refused(first: str, cell: str) -> None:
    """They never become another number."""
    with pytest.raises(ContentsError, match="Row 7 of column 'gross'"):
        column("gross", *[first] * 6, cell, column_types={"gross": f"money({len(first) - 2})"})


def seconds_around_changes(zone: str) -> st.SearchStrategy[datetime]:
    """Instants near those at which the clocks of a zone change in 2024, and others."""
    hours = [datetime(2024, 1, 1, tzinfo=UTC) + timedelta(hours=hour) for hour in range(366 * 24)]
    offsets = [hour.astimezone(ZoneInfo(zone)).utcoffset() for hour in hours]
    changes = [
        hour for hour, before, after in zip(hours[1:], offsets, offsets[1:], strict=False) if before != after
    ]
    return st.builds(
        lambda middle, seconds: middle + timedelta(seconds=seconds),
        st.sampled_from(changes or hours[:1]) | st.sampled_from(hours),
        st.integers(-2 * 3600, 2 * 3600),
    )


@settings(deadline=None)
@given(
    zone_and_instants=st.sampled_from(ZONES).flatmap(
        lambda zone: st.tuples(st.just(zone), st.lists(st.none() | seconds_around_changes(zone), max_size=30))
    ),
    block=st.sampled_from([1, 1 << 20]),
)
def test_timestamps_are_the_instants_that_they_were(
    zone_and_instants: tuple[str, list[datetime | None]], block: int
) -> None:
    """With the twin in UTC always; without it the earlier one of an hour that comes twice."""
    zone, instants = zone_and_instants

    def written(instant: datetime | None, where: str) -> str | None:
        return None if instant is None else instant.astimezone(ZoneInfo(where)).isoformat(" ")[:19]

    rows = [[written(instant, zone), written(instant, "UTC"), written(instant, zone)] for instant in instants]
    with mock.patch.object(typed, "BLOCK_SIZE", block):
        table, _ = converted(as_stripe_writes([["created", "created_utc", "available_on"], *rows]), timezone=zone)
    assert set(table.schema.types) == {pa.timestamp("us", "UTC")}
    assert table["created"].to_pylist() == instants
    assert table["created_utc"].to_pylist() == instants
    earlier = [
        instant and instant.astimezone(ZoneInfo(zone)).replace(fold=0).astimezone(UTC) for instant in instants
    ]
    assert table["available_on"].to_pylist() == earlier


def test_an_hour_that_comes_twice_without_a_twin_is_the_earlier_one() -> None:
    """Where the twin is there but null, too."""
    assert column("created", "2024-10-27 02:30:00", timezone="Europe/Berlin") == [
        datetime(2024, 10, 27, 0, 30, tzinfo=UTC)
    ]
    whole = as_stripe_writes([["created", "created_utc"], ["2024-10-27 02:30:00", None]])
    table, _ = converted(whole, timezone="Europe/Berlin")
    assert table["created"].to_pylist() == [datetime(2024, 10, 27, 0, 30, tzinfo=UTC)]


def test_a_time_that_the_clocks_skip_shows_another_time_zone() -> None:
    """Nothing is moved by an hour in silence."""
    with pytest.raises(
        ContentsError, match=r"Row 2 of column 'created': '2024-03-31 02:30:00' is no timestamp in Eur"
    ):
        column("created", "2024-03-31 01:30:00", "2024-03-31 02:30:00", timezone="Europe/Berlin")


@pytest.mark.parametrize(
    ("name", "cells", "values"),
    [
        ("count", ["-1", None, str(2**63 - 1)], [-1, None, 2**63 - 1]),
        ("is_link", ["true", None, "false"], [True, None, False]),
        ("payout_expected_arrival_date", ["2024-02-29", None], [date(2024, 2, 29), None]),
        ("payout_expected_arrival_date", ["2024-02-29 00:00:00"], [date(2024, 2, 29)]),
        ("payment_metadata[gross]", ["1.50", None, ""], ["1.50", None, ""]),
    ],
)
def test_other_kinds_come_back_as_values(name: str, cells: list[str | None], values: list[object]) -> None:
    """Integers, booleans, dates; metadata stays text."""
    assert column(name, *cells) == values


@pytest.mark.parametrize("before", [0, 40])
@pytest.mark.parametrize(
    ("name", "good", "bad"),
    [
        ("gross", "1.50", ""),
        ("gross", "1.50", "EUR 1.50"),
        ("gross", "1.50", "1,50"),
        ("gross", "1.50", "NaN"),
        ("count", "1", "1.5"),
        ("count", "1", str(2**63)),
        ("is_link", "true", "perhaps"),
        ("created", "2024-05-01 00:00:00", "2024-05-32 00:00:00"),
        ("created", "2024-05-01 00:00:00", "2024-05-01 00:00:00.5"),
        ("created_utc", "2024-05-01 00:00:00", "2024-05-01 00:00:00+02:00"),
        ("payout_expected_arrival_date", "2024-05-01", "2024-05-01 12:00:00"),
    ],
)
@pytest.mark.usefixtures("small_blocks")
def test_a_bad_cell_is_named_with_the_way_out(name: str, good: str, bad: str, before: int) -> None:
    """Column, row and value, in the first block and later ones; as text it lands."""
    cells = [*[good] * before, bad, good]
    with pytest.raises(ContentsError) as caught:
        column(name, *cells)
    for part in (f"Row {before + 1} of column {name!r}: ", bad, f"column_types={{{name!r}: 'text'}}"):
        assert part in str(caught.value)
    assert column(name, *cells, column_types={name: "text"}) == cells


def test_a_long_value_is_shortened() -> None:
    """Cells hold what customers typed, and logs are no place for all of it."""
    with pytest.raises(ContentsError) as caught:
        column("count", "7" * 5000)
    assert len(str(caught.value)) < 400


@pytest.mark.parametrize("before", [0, 40])
@pytest.mark.parametrize(
    ("last", "message"),
    [
        (b'"a"\n', "Row {} has 1 cells, and the header 2"),
        (b'"a","b","c"\n', "Row {} has 3 cells, and the header 2"),
        (b'"a","\xff"\n', "Row {} of column 'fee' is not UTF-8"),
        (b'"a","b\n', "ends within a quoted cell"),
        (b'"a","b","\xff"\n', "Behind row {}: CSV parse error"),
    ],
)
@pytest.mark.usefixtures("small_blocks")
def test_what_is_no_csv_is_refused(last: bytes, message: str, before: int) -> None:
    """With the row where that can be told."""
    whole = as_stripe_writes([["x", "fee"], *[["a", "1"]] * before]) + last
    with pytest.raises(ContentsError, match=message.format(r"\d+" if "Behind" in message else before + 1)):
        converted(whole)


@pytest.mark.parametrize(
    ("whole", "message"),
    [
        (b"", "no header"),
        (b"\n", "no header"),
        (b'"a","b","a"\n', "'a' more than once"),
        (b'"\xff"\n', "header is not UTF-8"),
        (b'"%b"\n' % (b"a" * 200_000), "header is no CSV"),
    ],
)
def test_a_report_without_a_proper_header_is_refused(whole: bytes, message: str) -> None:
    """There would be nothing to call the columns by."""
    with pytest.raises(ContentsError, match=message):
        converted(whole)


@pytest.mark.parametrize("separator", ["", "ab", "é", "0", "-"])
def test_a_separator_that_is_none_is_refused(separator: str) -> None:
    """Pyarrow has errors of its own for it, or reads other numbers."""
    with pytest.raises(ConfigurationError, match="decimal_separator is a point or a comma"):
        converted(b'"net"\n"1"\n', decimal_separator=separator)


@pytest.mark.usefixtures("small_blocks")
def test_a_record_without_an_end_is_refused_in_time() -> None:
    """A quote that is missing makes the rest of the report one cell, which would fill the memory."""
    taken = 0

    def chunks() -> Iterator[bytes]:
        nonlocal taken
        yield b'"a"\n"'
        while True:
            taken += 1
            yield b"x" * (1 << 20)

    with pytest.raises(ContentsError, match="a quote is missing"):
        write_parquet(chunks(), io.BytesIO())
    assert taken < 100


@pytest.mark.parametrize(
    "whole", [b'"created","gross"', b'"created","gross"\n', b'\xef\xbb\xbf"created","gross"\r\n']
)
def test_a_header_alone_is_a_report_of_no_rows(whole: bytes) -> None:
    """With the types that rows would have; a byte order mark is no part of a name."""
    table, facts = converted(whole)
    assert (table.num_rows, facts.rows) == (0, 0)
    assert table.schema.names == ["created", "gross"]
    assert table.schema.types == [pa.timestamp("us", "UTC"), pa.decimal128(38, DECIMALS)]


@pytest.mark.usefixtures("small_blocks")
def test_a_cut_leaves_no_file_that_reads() -> None:
    """Not even when the writer's own clean-up has run."""

    def chunks() -> Iterator[bytes]:
        yield as_stripe_writes([["a"], *[["b"]] * 1000])
        raise ConnectionResetError

    file = io.BytesIO()
    with pytest.raises(ConnectionResetError):
        write_parquet(chunks(), file)
    gc.collect()
    with pytest.raises(pa.ArrowInvalid):
        pyarrow.parquet.read_table(io.BytesIO(file.getvalue()))


@pytest.mark.usefixtures("small_blocks")
def test_a_full_disk_is_the_callers_error() -> None:
    """It comes out as the file raised it."""

    class Full(io.BytesIO):
        def write(self, data: Any) -> int:
            raise OSError(28, "No space left on device")

    with pytest.raises(OSError, match="No space left on device"):
        write_parquet([as_stripe_writes([["a"], *[["b"]] * 1000])], Full())


def test_an_unknown_time_zone_is_refused() -> None:
    """Before a byte is taken."""

    def chunks() -> Iterator[bytes]:
        pytest.fail("it began")
        yield b""

    with pytest.raises(ConfigurationError, match="Europe/Berlyn"):
        write_parquet(chunks(), io.BytesIO(), timezone="Europe/Berlyn")


def test_without_pyarrow_the_error_says_what_to_install() -> None:
    """The extra is not for everybody."""
    code = "import sys; sys.modules['pyarrow'] = None; import airflow_reportrun.landing.formats.parquet"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert "ConfigurationError: " in done.stderr
    assert "pip install pyarrow" in done.stderr
