"""Files of the shapes that Stripe's reports were seen to have, with invented values, in their types."""

from __future__ import annotations

import csv
import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet
import pytest

from airflow_reportrun.landing.formats.parquet import write_parquet
from tests.databases import Warehouse
from tests.landings import land

SHAPES = Path(__file__).with_name("shapes")
INSTANT = pa.timestamp("us", "UTC")


@dataclass(frozen=True)
class Shape:
    """A file, of which report it is, and the types of its columns that are no text."""

    name: str
    report_type: str
    types: Mapping[str, pa.DataType] = field(default_factory=dict)

    @property
    def contents(self) -> bytes:
        """The file."""
        return (SHAPES / f"{self.name}.csv").read_bytes()

    @property
    def header(self) -> Sequence[str]:
        """The names of its columns."""
        return next(csv.reader(io.StringIO(self.contents.decode())))

    @property
    def rows(self) -> Sequence[Sequence[str | None]]:
        """The cells as Stripe writes them; no cell in these files is the empty text."""
        _, *rows = csv.reader(io.StringIO(self.contents.decode()))
        return [[cell or None for cell in row] for row in rows]

    def value(self, name: str, cell: str | None) -> object:
        """What a cell means."""
        if cell is None or name not in self.types:
            return cell
        if self.types[name] == INSTANT:
            return datetime.fromisoformat(cell).replace(tzinfo=UTC)
        return Decimal(cell)


MONEY, FEES = pa.decimal128(38, 6), pa.decimal128(38, 18)
TAX = ("sales", "tax_collected", "taxable_sales", "nontaxable_sales", "sales_refunded", "tax_refunded")
ALL = [
    Shape("balance_null_currency", "balance.summary.1", {"net_amount": MONEY}),
    Shape("fees_18_places", "all_fees.balance_transaction_created.summary.2", {"amount": FEES, "tax": FEES}),
    Shape("revenue_recognition", "revenue_recognition.debit_credit_summary.1", {"amount": MONEY}),
    Shape(
        "tax_summarized",
        "tax.summarized_export.1",
        {
            **{"transaction_date_start": INSTANT, "transaction_date_end": INSTANT},
            **{f"total_{name}": MONEY for name in TAX},
        },
    ),
]


@pytest.mark.parametrize("ended", [True, False], ids=["ended", "without the last newline"])
@pytest.mark.parametrize("shape", ALL, ids=lambda shape: shape.name)
def test_it_becomes_parquet(shape: Shape, ended: bool) -> None:
    """To the digit, and NULL where nothing stands; with the types of an interval without a row."""
    files = []
    for contents in (shape.contents, shape.contents.partition(b"\n")[0] + b"\n"):
        file = io.BytesIO()
        write_parquet([contents if ended else contents.removesuffix(b"\n")], file, report_type=shape.report_type)
        files.append(pyarrow.parquet.read_table(io.BytesIO(file.getvalue())))
    table, without_rows = files
    assert {it.name: it.type for it in table.schema if it.type != pa.string()} == shape.types
    assert without_rows.schema == table.schema
    assert [list(row.values()) for row in table.to_pylist()] == [
        [shape.value(name, cell) for name, cell in zip(shape.header, row, strict=True)] for row in shape.rows
    ]


@pytest.mark.parametrize("ended", [True, False], ids=["ended", "without the last newline"])
@pytest.mark.parametrize("shape", ALL, ids=lambda shape: shape.name)
def test_it_becomes_rows_of_a_table(warehouse: Warehouse, shape: Shape, ended: bool) -> None:
    """The same; SQLite has texts of money and instants."""
    land(warehouse.hook, shape.header, shape.rows, report_type=shape.report_type, ended=ended)
    names = ", ".join(f'"{name}"' for name in shape.header)
    back = warehouse.query(f"SELECT {names} FROM activity")  # noqa: S608 - our own words
    expected = [
        tuple(
            given_back(shape.value(name, cell), cell, warehouse)
            for name, cell in zip(shape.header, row, strict=True)
        )
        for row in shape.rows
    ]
    assert len(back) == len(expected)
    assert set(back) == set(expected)


def given_back(value: object, cell: str | None, warehouse: Warehouse) -> object:
    """Return what a database makes of a value."""
    if isinstance(value, datetime):
        if warehouse.name == "sqlite":
            return f"{value:%Y-%m-%dT%H:%M:%SZ}"
        return value.replace(tzinfo=None) if warehouse.name == "mariadb" else value
    return cell if warehouse.name == "sqlite" else value
