"""Every report type that the sandbox knows lands with types that nobody had to give."""

from __future__ import annotations

import csv
import io
import json
import re
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from zoneinfo import ZoneInfo

import pyarrow.parquet
import pyarrow.types
import pytest

from airflow_reportrun.hooks import StripeReportingHook
from airflow_reportrun.landing.report import land_report
from airflow_reportrun.landing.sql.report import DatabaseTable
from airflow_reportrun.landing.stores import place_of
from airflow_reportrun.landing.tables import land_in
from airflow_reportrun.reporting.models import ReportRun
from airflow_reportrun.reporting.parameters import ReportParameters
from airflow_reportrun.sandbox import AtOnce, ManualClock, StripeSandbox
from airflow_reportrun.sandbox.catalogue import CATALOGUE, ReportType
from tests.databases import Warehouse

pytestmark = pytest.mark.slow

MARCH_1 = 1_772_323_200
DAY = 86_400
LIVE_KEY = "sk_live_sandbox"
BERLIN = "acct_berlin"


@pytest.fixture(scope="module")
def server() -> Iterator[StripeSandbox]:
    clock = ManualClock(MARCH_1 + 2 * DAY)
    with StripeSandbox(api_key=LIVE_KEY, clock=clock, transition=AtOnce()) as sandbox:
        yield sandbox


@pytest.fixture(autouse=True)
def connection(server: StripeSandbox, monkeypatch: pytest.MonkeyPatch) -> None:
    """A live key, since some types are for these alone."""
    known = {"conn_type": "stripe", "host": server.url, "password": LIVE_KEY}
    monkeypatch.setenv("AIRFLOW_CONN_STRIPE_DEFAULT", json.dumps(known))


def rows_of(run: ReportRun) -> list[list[str | None]]:
    """The report's cells, the header first; NULL is what is neither quoted nor anything."""
    assert run.result is not None
    text = StripeReportingHook().read_file(run.result, lambda chunks: b"".join(chunks)).decode()
    marked = re.sub(r"(?<=[,\n])(?=[,\n])", "NULL", text)
    return [[None if cell == "NULL" else cell for cell in row] for row in csv.reader(io.StringIO(marked))]


def payout_of(account: str | None) -> str:
    """Find a payout of the day, as a user would: in the report about payouts."""
    report_type = "payouts.itemized.5" if account is None else "connected_account_payouts.itemized.3"
    parameters = ReportParameters(
        interval_start=MARCH_1, interval_end=MARCH_1 + DAY, columns=["payout_id"], connected_account=account
    )
    run = StripeReportingHook().create_report_run(report_type, parameters)
    return str(rows_of(run)[1][0])


def finished(report_type: ReportType, columns: Sequence[str] = ()) -> ReportRun:
    """Have a report on a day; in a time zone that is not UTC where the type takes one."""
    required = report_type.required
    account = BERLIN if "connected_account" in required else None
    parameters = ReportParameters(
        interval_start=MARCH_1 if "interval_start" in required else None,
        interval_end=MARCH_1 + DAY if "interval_end" in required else None,
        payout=payout_of(account) if "payout" in required else None,
        connected_account=account,
        timezone="America/New_York" if "timezone" in report_type.optional else None,
        columns=columns,
    )
    return StripeReportingHook().create_report_run(report_type.id, parameters)


def all_columns(report_type: ReportType) -> Sequence[str]:
    """What can be asked for: nothing but the default where a type takes no columns."""
    if "columns" not in report_type.optional:
        return ()
    return (*report_type.columns, *(f"{word}_metadata[key]" for word in report_type.metadata))


NO_TYPE = {
    "bin",
    "booked_date",
    "card_present",
    "filing_exchange_rate",
    "quantity",
    "quantity_decimal",
    "tax_rate",
}
"""No source shows how Stripe writes these: they are text, and the sandbox's form is its own."""

LOOKS = {
    r"-?\d+\.\d+": pyarrow.types.is_decimal,
    r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d": pyarrow.types.is_timestamp,
    r"\d{4}-\d\d-\d\d": pyarrow.types.is_date,
    r"true|false": pyarrow.types.is_boolean,
    r"[1-9]\d*": pyarrow.types.is_integer,
}
"""What the cells of a column look like, all of them, and the type that it has then; anything else is text."""


def right(value: object, cell: str | None, name: str, zone: ZoneInfo) -> bool:
    """Compare what landed with the report's cell."""
    if cell is None or value is None:
        return cell is value
    if isinstance(value, Decimal):
        return value == Decimal(cell)
    if isinstance(value, datetime):
        written = datetime.fromisoformat(cell).replace(tzinfo=UTC if name.endswith("_utc") else zone)
        return value == written
    if isinstance(value, bool):
        return cell == str(value).lower()
    return str(value) == cell


each_type = pytest.mark.parametrize("report_type", CATALOGUE.values(), ids=CATALOGUE)


@each_type
@pytest.mark.parametrize("chosen", ["by default", "all"])
def test_each_type_lands_as_parquet(report_type: ReportType, chosen: str, tmp_path: Path) -> None:
    """Each cell is what it was, and each column has the type that its cells look like."""
    run = finished(report_type, all_columns(report_type) if chosen == "all" else ())
    land_report(StripeReportingHook(), run, place_of(str(tmp_path / "x.parquet")), format="parquet")
    names, *rows = rows_of(run)
    table = pyarrow.parquet.read_table(tmp_path / "x.parquet")
    zone = ZoneInfo(run.parameters.get("timezone", "Etc/UTC"))

    assert table.column_names == names
    assert table.num_rows == len(rows) > 0
    for name, column, cells in zip(map(str, names), table.columns, zip(*rows, strict=True), strict=True):
        wrong = [
            pair for pair in zip(column.to_pylist(), cells, strict=True) if not right(*pair, name=name, zone=zone)
        ]
        assert wrong[:3] == [], name
        written = [cell for cell in cells if cell is not None]
        look = next(
            (is_type for look, is_type in LOOKS.items() if all(re.fullmatch(look, c) for c in written)), None
        )
        if written and name not in NO_TYPE:
            assert (look or pyarrow.types.is_string)(column.type), (name, column.type, written[:3])


@each_type
@pytest.mark.parametrize("chosen", ["by default", "all"])
def test_each_type_lands_in_a_table(report_type: ReportType, chosen: str, sqlite: Warehouse) -> None:
    """All rows, with all their NULLs, and money to the last place."""
    run = finished(report_type, all_columns(report_type) if chosen == "all" else ())
    land_in(StripeReportingHook(), run, DatabaseTable(sqlite.hook, "report"))
    names, *rows = rows_of(run)
    quoted = ", ".join(f'"{name}"' for name in names)
    landed = sqlite.query(f"SELECT {quoted} FROM report ORDER BY rowid")  # noqa: S608 - the report's own names

    assert len(landed) == len(rows) > 0
    for values, cells in zip(landed, rows, strict=True):
        for name, value, cell in zip(names, values, cells, strict=True):
            assert (value is None) == (cell is None), name
            if cell is not None and re.fullmatch(r"-?\d+\.\d+", cell):
                assert Decimal(value) == Decimal(cell), name


def test_a_balance_without_a_payout_lands(sqlite: Warehouse, tmp_path: Path) -> None:
    """Its payout rows have no currency, and their lines end in a bare comma."""
    parameters = ReportParameters(interval_start=MARCH_1, interval_end=MARCH_1 + 6 * 3600)
    hook = StripeReportingHook()
    run = hook.create_report_run("balance.summary.1", parameters)
    land_report(hook, run, place_of(str(tmp_path / "x.parquet")), format="parquet")
    land_in(hook, run, DatabaseTable(sqlite.hook, "report"))
    expected = [(row[0], row[3]) for row in rows_of(run)[1:]]

    table = pyarrow.parquet.read_table(tmp_path / "x.parquet", columns=["category", "currency"])
    assert [tuple(row.values()) for row in table.to_pylist()] == expected
    assert sqlite.query("SELECT category, currency FROM report ORDER BY rowid") == expected
    assert {category for category, currency in expected if currency is None} == {
        "payouts_gross",
        "payouts_fee",
        "payouts",
    }
