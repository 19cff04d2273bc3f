"""Laws of the shops' books, and of the reports about them: every amount agrees with every other."""

from __future__ import annotations

import csv
import io
from collections import defaultdict
from collections.abc import Iterable
from dataclasses import replace
from decimal import Decimal

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from airflow_reportrun.sandbox.business import CURRENCIES, DAY, Books, Business, Payout
from airflow_reportrun.sandbox.catalogue import CATALOGUE
from airflow_reportrun.sandbox.parameters import RunParameters
from airflow_reportrun.sandbox.reports import write_report

OPENED = 1_640_995_200
JANUARY_2026 = 1_767_225_600
CONNECTED = ("acct_baker", "acct_florist", "acct_tailor")
BOOKS = Books(OPENED, connected=CONNECTED)
SHOP = BOOKS.own
ITEMIZED = "balance_change_from_activity.itemized.3"
NEW_YEAR = (JANUARY_2026, JANUARY_2026 + DAY)
DAY_1 = RunParameters(*NEW_YEAR)
JANUARY = RunParameters(JANUARY_2026, JANUARY_2026 + 31 * DAY)

Row = dict[str, str]

seconds = st.integers(JANUARY_2026, JANUARY_2026 + 20 * DAY)
opening_seconds = st.integers(OPENED - DAY, OPENED + 20 * DAY)


def cuts(of: st.SearchStrategy[int]) -> st.SearchStrategy[list[int]]:
    return st.lists(of, min_size=3, max_size=3, unique=True).map(sorted)


few = settings(max_examples=40)


def report(report_type: str, wanted: RunParameters, books: Books = BOOKS) -> str:
    return b"".join(write_report(books, CATALOGUE[report_type], wanted)).decode()


def rows(report_type: str, wanted: RunParameters, books: Books = BOOKS) -> list[Row]:
    return list(csv.DictReader(io.StringIO(report(report_type, wanted, books))))


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


Sums = dict[tuple[str, str], list[Decimal]]


def added_up(items: Iterable[Row]) -> Sums:
    """Count and sum up by category and currency, totals included, as a summary does."""
    sums: Sums = defaultdict(lambda: [Decimal(0)] * 4)
    for row in items:
        numbers = [Decimal(1), *(Decimal(row[name]) for name in ("gross", "fee", "net"))]
        for category in (row["reporting_category"], "total"):
            key = category, row["currency"]
            sums[key] = [one + other for one, other in zip(sums[key], numbers, strict=True)]
    return dict(sums)


def summed_up(summary: Iterable[Row]) -> Sums:
    return {
        (row["reporting_category"], row["currency"]): [
            Decimal(row[name]) for name in ("count", "gross", "fee", "net")
        ]
        for row in summary
    }


def net(items: Iterable[Row], currency: str) -> Decimal:
    return sum((Decimal(row["net"]) for row in items if row["currency"] == currency), Decimal(0))


PAIRS = [
    (f"{prefix}{family}.itemized.{version}", f"{prefix}{family}.summary.1")
    for prefix, family, version in (
        ("", "balance_change_from_activity", 3),
        ("", "payouts", 5),
        ("", "payout_reconciliation", 7),
        ("", "ending_balance_reconciliation", 4),
        ("connected_account_", "balance_change_from_activity", 3),
        ("connected_account_", "payouts", 3),
        ("connected_account_", "payout_reconciliation", 5),
        ("connected_account_", "ending_balance_reconciliation", 4),
    )
]


@pytest.mark.parametrize(("items", "sums"), PAIRS)
@settings(max_examples=12)
@given(start=seconds, length=st.integers(1, 3 * DAY))
def test_summary_agrees_with_the_rows(items: str, sums: str, start: int, length: int) -> None:
    """Counts and sums by category and currency, and the totals, are those of the itemised rows."""
    wanted = RunParameters(start, start + length)

    assert summed_up(rows(sums, wanted)) == added_up(rows(items, wanted))


@pytest.mark.parametrize("family", ["payouts.itemized.5", "payout_reconciliation.itemized.7"])
@few
@given(cut=cuts(seconds))
def test_paid_out_rows_add_up(family: str, cut: list[int]) -> None:
    """The rows of [a, c) are those of [a, b) and then those of [b, c)."""
    a, b, c = cut

    first, second = (rows(family, RunParameters(*each)) for each in ((a, b), (b, c)))

    assert rows(family, RunParameters(a, c)) == first + second


@settings(max_examples=15)
@given(seconds, st.integers(DAY, 3 * DAY))
def test_payout_is_the_sum_of_what_it_pays_out(start: int, length: int) -> None:
    """What went to the bank is the net of the reconciled rows that name it, and of the report by its id."""
    wanted = RunParameters(start, start + length)
    payouts = rows("payouts.itemized.5", wanted)
    reconciled: dict[str, list[Row]] = defaultdict(list)
    for row in rows("payout_reconciliation.itemized.7", wanted):
        reconciled[row["automatic_payout_id"]].append(row)

    assert len(payouts) >= 2
    assert {row["payout_id"] for row in payouts} == set(reconciled)
    for payout in payouts:
        parts = reconciled[payout["payout_id"]]
        alone = RunParameters(payout=payout["payout_id"])
        assert net(parts, payout["currency"]) == -Decimal(payout["net"])
        assert {row["automatic_payout_effective_at"] for row in parts} == {payout["effective_at"]}
        assert rows("payout_reconciliation.by_id.itemized.4", alone) == parts
        assert summed_up(rows("payout_reconciliation.by_id.summary.1", alone)) == added_up(parts)


@few
@given(seconds, st.integers(1, 3 * DAY))
def test_balance_payouts_are_those_of_the_rows(start: int, length: int) -> None:
    """The balance report's payouts are the sum of the itemised ones."""
    wanted = RunParameters(start, start + length)
    found, payouts = balance(start, start + length), rows("payouts.itemized.5", wanted)

    for currency in CURRENCIES:
        assert found[currency, "payouts"] == net(payouts, currency)


@few
@given(seconds)
def test_ending_balance_is_what_was_not_paid_out(at: int) -> None:
    """The transactions that no payout had reached by then add up to the balance."""
    unpaid = rows("ending_balance_reconciliation.itemized.4", RunParameters(interval_end=at))

    for currency in CURRENCIES:
        assert net(unpaid, currency) == balance(at - 1, at)[currency, "ending_balance"]


@settings(max_examples=15)
@given(seconds, st.integers(1, 3 * DAY))
def test_fees_are_those_of_the_activity(start: int, length: int) -> None:
    """Itemised or summed up, they are the fees of the transactions and the transactions that are fees."""
    wanted = RunParameters(start, start + length)
    expected: dict[str, Decimal] = defaultdict(Decimal)
    for row in itemized(start, start + length):
        expected[row["currency"]] += Decimal(row["fee"])
        if row["reporting_category"] == "fee":
            expected[row["currency"]] -= Decimal(row["gross"])

    for report_type in (
        "all_fees.balance_transaction_created.itemized.2",
        "all_fees.incurred_at.itemized.2",
        "all_fees.balance_transaction_created.summary.2",
    ):
        found: dict[str, Decimal] = defaultdict(Decimal)
        for row in rows(report_type, wanted):
            found[row["currency"]] += Decimal(row["amount"]) + Decimal(row["tax"])
        assert {currency: fee for currency, fee in expected.items() if fee} == found


@pytest.mark.parametrize(
    "own",
    [
        "balance_change_from_activity.itemized.3",
        "payouts.itemized.3",
        "payout_reconciliation.itemized.5",
        "ending_balance_reconciliation.itemized.4",
    ],
)
@settings(max_examples=8)
@given(start=seconds, length=st.integers(DAY, 2 * DAY), named=st.sets(st.sampled_from(CONNECTED)))
def test_platform_sees_what_its_accounts_see(own: str, start: int, length: int, named: set[str]) -> None:
    """A report about connected accounts has the rows of each one's own report, and says whose they are."""
    wanted = RunParameters(start, start + length)
    expected = [
        {**row, "connected_account": account}
        for account in CONNECTED
        if account in named or not named
        for row in rows(own, wanted, Books(OPENED, account))
    ]

    found = rows(f"connected_account_{own}", replace(wanted, connected_accounts=frozenset(named)))

    assert found == expected != []


@settings(max_examples=15)
@given(seconds, st.integers(1, 2 * DAY))
def test_platforms_balance_report_sums_its_accounts_up(start: int, length: int) -> None:
    """The balance of all connected accounts is the sum of theirs, and the platform's own money isn't in it."""
    wanted = RunParameters(start, start + length)
    own = [rows("balance.summary.1", wanted, Books(OPENED, account)) for account in CONNECTED]

    for row, *parts in zip(rows("connected_account_balance.summary.1", wanted), *own, strict=True):
        assert row["category"] == parts[0]["category"]
        assert Decimal(row["net_amount"]) == sum(Decimal(part["net_amount"]) for part in parts)


def test_payout_of_a_connected_account_is_reported_by_its_id() -> None:
    """To the platform that names the account, as to the account itself."""
    own = Books(OPENED, "acct_florist")
    payout = next(own.own.payouts(JANUARY_2026, JANUARY_2026 + DAY))
    wanted = RunParameters(payout=payout.id)

    to_account = rows("payout_reconciliation.by_id.itemized.4", wanted, own)
    to_platform = rows(
        "connected_account_payout_reconciliation.by_id.itemized.4",
        replace(wanted, connected_accounts=frozenset({"acct_florist"})),
    )

    assert [{**row, "connected_account": "acct_florist"} for row in to_account] == to_platform != []
    assert net(to_account, payout.currency) * 100 == payout.amount
    assert rows("payout_reconciliation.by_id.itemized.4", wanted) == []


def test_account_without_connected_ones_reports_none() -> None:
    """A connected account is no platform."""
    own = Books(OPENED, "acct_florist")

    assert rows("connected_account_payouts.itemized.3", JANUARY, own) == []


def test_shops_differ_in_all_but_their_kind() -> None:
    """Each connected account has transactions of its own, fewer than the platform, and they stay the same."""
    ids = {
        account: {transaction.token for transaction in BOOKS.of(account).activity(*NEW_YEAR)}
        for account in (None, *CONNECTED)
    }

    assert len(set.union(*ids.values())) == sum(map(len, ids.values()))
    assert all(0 < len(ids[account]) < len(ids[None]) / 2 for account in CONNECTED)
    assert ids["acct_baker"] == {each.token for each in Business(OPENED, "acct_baker").activity(*NEW_YEAR)}


def test_payout_is_known_before_it_arrives() -> None:
    """It is created a day ahead, pays for one whole day that is over by then, and can be looked up by its id."""
    payouts = list(SHOP.payouts(JANUARY_2026, JANUARY_2026 + 3 * DAY))

    assert [payout.currency for payout in payouts] == ["eur", "usd"] * 3
    assert len({payout.id for payout in payouts}) == 6
    for payout in payouts:
        start, end = payout.pays_for
        assert end - start == DAY
        assert end <= payout.created < payout.effective_at
        assert SHOP.payout(payout.id) == payout
        assert BOOKS.of("acct_baker").payout(payout.id) is None
    assert SHOP.payout("po_1") is None


def test_day_that_lost_money_is_debited() -> None:
    """A payout may be below zero: then the books still add up, since nothing is carried over."""
    account = next(account for account in (f"acct_{n}" for n in range(100)) if losses(account))
    (loss, *_) = losses(account)
    (row,) = [
        row
        for row in rows(
            "payouts.itemized.5", RunParameters(loss.effective_at, loss.effective_at + 1), Books(OPENED, account)
        )
        if row["payout_id"] == loss.id
    ]

    assert Decimal(row["net"]) * 100 == -loss.amount > 0


def losses(account: str) -> list[Payout]:
    return [
        payout
        for payout in Business(OPENED, account).payouts(JANUARY_2026, JANUARY_2026 + 30 * DAY)
        if payout.amount < 0
    ]


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

    for currency in CURRENCIES:
        assert found[currency, "activity"] == net(moved, currency)


def test_business_begins_with_nothing() -> None:
    """Before the opening day nothing happened and nothing was owed."""
    assert itemized(OPENED - 30 * DAY, OPENED) == []
    assert set(balance(OPENED - DAY, OPENED).values()) == {Decimal(0)}


def test_books_are_the_same_however_they_are_asked() -> None:
    """A fresh set of books asked about one day agrees with one asked about all days."""
    day = JANUARY_2026 + 5 * DAY

    assert list(Business(OPENED).activity(day, day + DAY)) == list(SHOP.activity(day, day + DAY))


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
            0 < SHOP.balance(day)[currency].available <= SHOP.balance(day)[currency].total < 5_000_000
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
    payouts = rows("payouts.itemized.5", DAY_1)
    balances = rows("balance.summary.1", DAY_1)

    for report_type, both in (("payouts.itemized.5", payouts), ("balance.summary.1", balances)):
        euros = rows(report_type, replace(DAY_1, currency="eur"))
        assert 0 < len(euros) < len(both)
        assert euros == [row for row in both if row["currency"] == "eur"]
    assert rows("payouts.itemized.5", replace(DAY_1, reporting_category="payout")) == payouts
    assert rows("payouts.itemized.5", replace(DAY_1, reporting_category="charge")) == []

    assert rows(ITEMIZED, replace(DAY_1, currency="eur")) == [
        row for row in everything if row["currency"] == "eur"
    ]
    assert rows(ITEMIZED, replace(DAY_1, reporting_category="refund")) == [
        row for row in everything if row["reporting_category"] == "refund"
    ]


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
