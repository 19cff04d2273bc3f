"""Laws of the shop's books, and of the reports about them."""

from __future__ import annotations

import csv
import io
import time
from collections import defaultdict
from dataclasses import replace
from decimal import Decimal

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from airflow_reportrun.sandbox.business import DAY, Business
from airflow_reportrun.sandbox.catalogue import CATALOGUE
from airflow_reportrun.sandbox.parameters import RunParameters
from airflow_reportrun.sandbox.reports import write_report

OPENED = 1_640_995_200
JANUARY_2026 = 1_767_225_600
BOOKS = Business(OPENED)
ITEMIZED = "balance_change_from_activity.itemized.3"
DAY_1 = RunParameters(JANUARY_2026, JANUARY_2026 + DAY)
JANUARY = RunParameters(JANUARY_2026, JANUARY_2026 + 31 * DAY)

Row = dict[str, str]

seconds = st.integers(JANUARY_2026, JANUARY_2026 + 20 * DAY)
opening_seconds = st.integers(OPENED - DAY, OPENED + 20 * DAY)


def cuts(of: st.SearchStrategy[int]) -> st.SearchStrategy[list[int]]:
    return st.lists(of, min_size=3, max_size=3, unique=True).map(sorted)


few = settings(max_examples=40)


def report(report_type: str, wanted: RunParameters) -> str:
    return write_report(BOOKS, CATALOGUE[report_type], wanted).decode()


def rows(report_type: str, wanted: RunParameters) -> list[Row]:
    return list(csv.DictReader(io.StringIO(report(report_type, wanted))))


def itemized(start: int, end: int) -> list[Row]:
    return rows(ITEMIZED, RunParameters(start, end))


def summary(start: int, end: int) -> list[Row]:
    return rows("balance_change_from_activity.summary.1", RunParameters(start, end))


def balance(start: int, end: int) -> dict[tuple[str, str], Decimal]:
    return {
        (row["currency"], row["category"]): Decimal(row["net_amount"])
        for row in rows("balance.summary.1", RunParameters(start, end))
    }


@few
@given(cuts(seconds) | cuts(opening_seconds))
def test_itemized_rows_add_up(cut: list[int]) -> None:
    """The rows of [a, c) are those of [a, b) and then those of [b, c)."""
    a, b, c = cut

    assert itemized(a, c) == itemized(a, b) + itemized(b, c)


@few
@given(seconds, st.integers(1, 3 * DAY))
def test_summary_agrees_with_the_rows(start: int, length: int) -> None:
    """Counts and sums by category and currency, and the totals, are those of the itemised rows."""
    sums: dict[tuple[str, str], list[Decimal]] = defaultdict(lambda: [Decimal(0)] * 4)
    for row in itemized(start, start + length):
        numbers = [Decimal(1), *(Decimal(row[name]) for name in ("gross", "fee", "net"))]
        for category in (row["reporting_category"], "total"):
            key = category, row["currency"]
            sums[key] = [one + other for one, other in zip(sums[key], numbers, strict=True)]

    found = {
        (row["reporting_category"], row["currency"]): [
            Decimal(row[name]) for name in ("count", "gross", "fee", "net")
        ]
        for row in summary(start, start + length)
    }

    assert found == sums


@few
@given(cuts(seconds))
def test_balances_chain(cut: list[int]) -> None:
    """Where one interval ends the next begins, and what lies between explains the difference."""
    a, b, c = cut
    first, second, both = balance(a, b), balance(b, c), balance(a, c)

    for currency in ("eur", "usd"):
        for part in (first, second, both):
            assert (
                part[currency, "ending_balance"]
                == part[currency, "starting_balance"] + part[currency, "activity"] + part[currency, "payouts"]
            )
            assert part[currency, "activity"] == part[currency, "activity_gross"] + part[currency, "activity_fee"]
        assert first[currency, "ending_balance"] == second[currency, "starting_balance"]
        assert both[currency, "ending_balance"] == second[currency, "ending_balance"]
        assert both[currency, "payouts"] == first[currency, "payouts"] + second[currency, "payouts"]


@few
@given(seconds, st.integers(1, 2 * DAY))
def test_balance_activity_is_that_of_the_rows(start: int, length: int) -> None:
    """The balance report's activity is the itemised net."""
    found = balance(start, start + length)
    moved = itemized(start, start + length)

    for currency in ("eur", "usd"):
        net = sum((Decimal(row["net"]) for row in moved if row["currency"] == currency), Decimal(0))
        assert found[currency, "activity"] == net


def test_business_begins_with_nothing() -> None:
    """Before the opening day nothing happened and nothing was owed."""
    assert itemized(OPENED - 30 * DAY, OPENED) == []
    assert set(balance(OPENED - DAY, OPENED).values()) == {Decimal(0)}


def test_books_are_the_same_however_they_are_asked() -> None:
    """A fresh set of books asked about one day agrees with one asked about all days."""
    day = JANUARY_2026 + 5 * DAY

    assert list(Business(OPENED).activity(day, day + DAY)) == list(BOOKS.activity(day, day + DAY))


def test_days_look_like_a_business() -> None:
    """100 to 200 transactions a day, of six kinds, in both currencies, and payouts that keep pace."""
    start, end = JANUARY_2026, JANUARY_2026 + 90 * DAY
    moved = itemized(start, end)
    days = [len(itemized(day, day + DAY)) for day in range(start, end, DAY)]

    assert 80 < min(days) < 120 < max(days) < 220
    assert {row["reporting_category"] for row in moved} == {
        "charge", "dispute", "dispute_reversal", "fee", "refund",
    }  # fmt: skip
    assert {row["currency"] for row in moved} == {"eur", "usd"}
    for currency in ("eur", "usd"):
        assert all(
            0 < BOOKS.balance(day)[currency].available <= BOOKS.balance(day)[currency].total < 5_000_000
            for day in range(start, end, DAY)
        )


def test_follow_ups_go_back_to_a_charge() -> None:
    """A refund or a dispute names a charge that is older, and takes no more than it brought."""
    columns = ("charge_id", "created_utc", "charge_created_utc", "reporting_category", "gross")
    charges, others = {}, []
    for row in rows(ITEMIZED, replace(JANUARY, columns=columns)):
        if row["reporting_category"] == "charge":
            charges[row["charge_id"]] = row
        elif row["charge_id"] and row["charge_created_utc"] >= "2026-01-01":
            others.append(row)

    assert len(others) > 50
    for row in others:
        charge = charges[row["charge_id"]]
        assert row["created_utc"] > row["charge_created_utc"] == charge["created_utc"]
        assert abs(Decimal(row["gross"])) <= Decimal(charge["gross"])


@pytest.mark.parametrize("report_type", list(CATALOGUE))
def test_every_column_can_be_asked_for(report_type: str) -> None:
    """All of them at once, in any order."""
    columns = CATALOGUE[report_type].columns[::-1]

    found = rows(report_type, replace(JANUARY, columns=columns))

    assert found
    assert all(tuple(row) == columns for row in found)


def test_dispute_and_its_reversal_share_a_source() -> None:
    """Source ids tell by their prefix what a transaction goes back to."""
    sources = defaultdict(set)
    for row in rows(ITEMIZED, replace(JANUARY, columns=("reporting_category", "source_id"))):
        sources[row["reporting_category"]].add(row["source_id"])

    assert {category: {source[:3] for source in found} for category, found in sources.items()} == {
        "charge": {"ch_"},
        "dispute": {"du_"},
        "dispute_reversal": {"du_"},
        "fee": {""},
        "refund": {"re_"},
    }
    assert sources["dispute"] & sources["dispute_reversal"]


def test_timezone_changes_what_is_printed_and_nothing_else() -> None:
    """The rows stay those of the interval in UTC; `_utc` columns stay in UTC."""
    columns = ("balance_transaction_id", "created", "created_utc")
    utc = rows(ITEMIZED, replace(DAY_1, columns=columns))
    tokyo = rows(ITEMIZED, replace(DAY_1, columns=columns, timezone="Asia/Tokyo"))

    assert [row["balance_transaction_id"] for row in tokyo] == [row["balance_transaction_id"] for row in utc]
    assert [row["created_utc"] for row in tokyo] == [row["created"] for row in utc]
    assert tokyo[-1]["created"].startswith("2026-01-02 ")


def test_balance_dates_are_local_and_inclusive() -> None:
    """The end date is the last day that the interval includes, in the report's time zone."""
    found = rows("balance.summary.1", JANUARY)
    there = rows("balance.summary.1", replace(JANUARY, timezone="America/New_York"))

    assert found[0]["description"] == "Starting balance (2026-01-01)"
    assert found[8]["description"] == "Ending balance (2026-01-31)"
    assert there[0]["description"] == "Starting balance (2025-12-31)"


def test_filters_keep_what_they_name() -> None:
    """`currency` and `reporting_category` leave the other rows out."""
    everything = itemized(JANUARY_2026, JANUARY_2026 + DAY)

    assert rows(ITEMIZED, replace(DAY_1, currency="eur")) == [
        row for row in everything if row["currency"] == "eur"
    ]
    assert rows(ITEMIZED, replace(DAY_1, reporting_category="refund")) == [
        row for row in everything if row["reporting_category"] == "refund"
    ]


@pytest.mark.parametrize("report_type", [name for name in CATALOGUE if name != "balance.summary.1"])
def test_empty_report_is_a_header(report_type: str) -> None:
    """An interval in which nothing happened brings the header alone."""
    empty = report(report_type, RunParameters(JANUARY_2026, JANUARY_2026 + 1))

    assert empty == ",".join(f'"{name}"' for name in CATALOGUE[report_type].default_columns) + "\n"


def test_csv_quotes_as_stripe_does() -> None:
    """Commas, quotes and letters beyond ASCII survive; null is empty and unquoted."""
    columns = ("description", "customer_name", "trace_id", "payment_metadata[order_id]")
    text = report("balance_change_from_activity.itemized.7", replace(JANUARY, columns=columns))

    assert text.startswith('"description","customer_name","trace_id","payment_metadata[order_id]"\n')
    assert '""Classic"", 58 mm","' in text
    assert '"Søren Ångström",,"' in text
    assert '"standard"" rate",,,\n' in text


def test_total_is_the_last_row() -> None:
    """Each currency has one, at the end."""
    categories = [row["reporting_category"] for row in summary(JANUARY_2026, JANUARY_2026 + DAY)]

    assert categories[-2:] == ["total", "total"]
    assert "total" not in categories[:-2]


def test_reports_are_fast() -> None:
    """A day of fresh books takes milliseconds, a year seconds; the bounds leave room for a busy machine."""
    books = Business(OPENED)
    year = RunParameters(JANUARY_2026 - 365 * DAY, JANUARY_2026)
    took = []
    for report_type, wanted in (("balance.summary.1", DAY_1), (ITEMIZED, year)):
        began = time.process_time()
        write_report(books, CATALOGUE[report_type], wanted)
        took.append(time.process_time() - began)

    assert took[0] < 0.2
    assert took[1] < 5
