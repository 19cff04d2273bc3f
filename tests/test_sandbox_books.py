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

pytestmark = pytest.mark.slow

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
    """By currency and category; nine rows follow each other for each currency, whatever they say of it."""
    found = rows("balance.summary.1", RunParameters(start, end))
    assert len(found) == 9 * len(CURRENCIES)
    return {
        (found[index // 9 * 9]["currency"], row["category"]): Decimal(row["net_amount"])
        for index, row in enumerate(found)
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


@pytest.mark.parametrize(
    "family",
    [
        "activity.itemized.3",
        "all_fees.incurred_at.itemized.2",
        "apps.install_events.1",
        "card_payments_fees.transaction_level.2",
        "tax.transactions.itemized.2",
    ],
)
@settings(max_examples=10)
@given(cut=cuts(seconds))
def test_rows_about_transactions_add_up(family: str, cut: list[int]) -> None:
    """Whatever the transactions give rise to: the rows of [a, c) are those of [a, b) and then those of [b, c)."""
    a, b, c = cut

    first, second = (rows(family, RunParameters(*each)) for each in ((a, b), (b, c)))

    assert rows(family, RunParameters(a, c)) == first + second


ADDED = {
    "all_fees.balance_transaction_created.summary.2": ("amount", "tax"),
    "connect_card_payments_fees.plan_level.1": ("total_amount",),
    "tax.summarized_export.1": (
        *("total_sales", "total_tax_collected", "total_taxable_sales", "total_nontaxable_sales"),
        *("total_sales_refunded", "total_tax_refunded"),
    ),
    **{report_type: ("amount",) for report_type in CATALOGUE if report_type.startswith("revenue_recognition.")},
}
"""What is added up in reports that have a row for each group."""


@pytest.mark.parametrize("report_type", ADDED)
@settings(max_examples=8)
@given(cut=cuts(seconds))
def test_groups_add_up(report_type: str, cut: list[int]) -> None:
    """Each group of [a, c) is the sum of that of [a, b) and that of [b, c), to the last place, and comes once."""
    a, b, c = cut
    whole, *parts = (rows(report_type, RunParameters(*each)) for each in ((a, c), (a, b), (b, c)))
    names = ADDED[report_type]

    def groups(found: list[Row]) -> dict[tuple[str, ...], list[Decimal]]:
        sums: dict[tuple[str, ...], list[Decimal]] = defaultdict(lambda: [Decimal(0)] * len(names))
        for row in found:
            key = tuple(row[name] for name in row if name not in names and not name.startswith("transaction_date"))
            sums[key] = [one + Decimal(row[name]) for one, name in zip(sums[key], names, strict=True)]
        return sums

    assert groups(whole) == groups(parts[0] + parts[1])
    assert len(groups(whole)) == len(whole)


@settings(max_examples=10)
@given(seconds, st.integers(1, 2 * DAY))
def test_parts_of_activity_are_the_net(start: int, length: int) -> None:
    """What was moved and what it cost add up to what the balance changed by."""
    wanted = RunParameters(start, start + length)
    parts = rows("activity.itemized.3", wanted)

    for currency in CURRENCIES:
        assert sum(Decimal(row["amount"]) for row in parts if row["currency"] == currency) == net(
            itemized(start, start + length), currency
        )


@settings(max_examples=10)
@given(seconds, st.integers(1, 2 * DAY))
def test_tax_is_summed_up_from_its_rows(start: int, length: int) -> None:
    """By jurisdiction and currency, sales apart from refunds, from the first second to the last."""
    wanted = RunParameters(start, start + length)
    items: dict[tuple[str, str], list[Row]] = defaultdict(list)
    for row in rows("tax.transactions.itemized.2", wanted):
        assert Decimal(row["subtotal"]) + Decimal(row["tax_amount"]) == Decimal(row["total"])
        assert Decimal(row["taxable_amount"]) + Decimal(row["non_taxable_amount"]) == Decimal(row["subtotal"])
        items[row["country_code"], row["currency"]].append(row)

    sums = {
        (row["country_code"], row["transaction_currency"]): row for row in rows("tax.summarized_export.1", wanted)
    }

    assert sums.keys() == items.keys()
    for key, row in sums.items():
        dates = sorted(item["transaction_date"] for item in items[key])
        assert [row["transaction_date_start"], row["transaction_date_end"]] == [dates[0], dates[-1]]
        for kind, sales, tax, sign in (
            ("sale", "total_sales", "total_tax_collected", 1),
            ("refund", "total_sales_refunded", "total_tax_refunded", -1),
        ):
            those = [item for item in items[key] if item["type"] == kind]
            assert Decimal(row[sales]) == sign * sum(Decimal(item["subtotal"]) for item in those)
            assert Decimal(row[tax]) == sign * sum(Decimal(item["tax_amount"]) for item in those)
        assert Decimal(row["total_sales"]) == Decimal(row["total_taxable_sales"]) + Decimal(
            row["total_nontaxable_sales"]
        )


def test_what_plans_cost_is_what_their_charges_cost() -> None:
    """To the sixth place, in the reports of the connected account itself as in the platform's."""
    own = Books(OPENED, "acct_florist")
    plans, charges = (
        rows(f"connect_card_payments_fees.{level}.1", DAY_1, own) for level in ("plan_level", "transaction_level")
    )
    platforms = rows("connect_card_payments_fees.plan_level.1", DAY_1)

    assert sum(Decimal(row["total_amount"]) for row in plans) == sum(
        Decimal(row["total_amount"]) for row in charges
    )
    assert plans == [row for row in platforms if row["connected_account_id"] == "acct_florist"] != []
    assert {row["connected_account_id"] for row in platforms} == set(CONNECTED)


@pytest.mark.parametrize(
    "report_type", [report_type for report_type in CATALOGUE if report_type.startswith("revenue_recognition.")]
)
def test_revenue_is_what_was_sold(report_type: str) -> None:
    """Whatever it is broken down by: the accounts have names, and what was earned are the charges of the month."""
    found = rows(report_type, JANUARY)
    earned = sum(Decimal(row["amount"]) for row in found if row["credit"] == "Revenue")
    sold = [
        row for row in itemized(JANUARY_2026, JANUARY_2026 + 31 * DAY) if row["reporting_category"] == "charge"
    ]

    assert earned == sum(Decimal(row["gross"]) for row in sold)
    assert {row["debit"] for row in found} == {
        "AccountsReceivable",
        "Cash",
        "DeferredRevenue",
        "Disputes",
        "Refunds",
    }
    assert {(row["accounting_period"], row["open_accounting_period"]) for row in found} == {
        ("2025-12", "2026-01"),
        ("2026-01", ""),
    }


@pytest.mark.parametrize(
    ("report_type", "parameter", "column"),
    [
        ("revenue_recognition.debit_credit_by_invoice.1", "invoice", "transaction_model_id"),
        ("revenue_recognition.debit_credit_by_invoice_line_item.1", "invoice_line_item", "transaction_model_id"),
    ],
)
def test_revenue_of_one_invoice(report_type: str, parameter: str, column: str) -> None:
    """A parameter leaves out the rows of all others."""
    found = rows(report_type, DAY_1)
    one = next(row[column] for row in found if row[column].startswith("i"))

    assert rows(report_type, replace(DAY_1, filters={parameter: one})) == [
        row for row in found if row[column] == one
    ]
    assert rows(report_type, replace(DAY_1, filters={parameter: "in_none"})) == []


def test_revenue_of_one_customer() -> None:
    """The customer's rows by price are no more than all of them, and the rows of all customers are all."""
    everything = sum(Decimal(row["amount"]) for row in rows("revenue_recognition.debit_credit_by_price.1", DAY_1))
    by_customer: dict[str, Decimal] = defaultdict(Decimal)
    for row in rows("revenue_recognition.debit_credit_by_customer.1", DAY_1):
        by_customer[row["customer_id"]] += Decimal(row["amount"])

    for customer, amount in by_customer.items():
        wanted = replace(DAY_1, filters={"customer": customer})
        found = rows("revenue_recognition.debit_credit_by_price.1", wanted)
        assert sum(Decimal(row["amount"]) for row in found) == amount
    assert sum(by_customer.values()) == everything


def test_payout_rows_of_a_balance_have_no_currency_without_a_payout() -> None:
    """Their lines end in a bare comma; where there was a payout they name its currency."""
    before_six = RunParameters(JANUARY_2026, JANUARY_2026 + 6 * 3600)

    lines = report("balance.summary.1", before_six).splitlines()

    assert [line for line in lines if line.endswith(",")] == [
        '"payouts_gross","Payouts to bank","0.00",',
        '"payouts_fee","Payout fees","0.00",',
        '"payouts","Total payouts","0.00",',
    ] * 2
    assert ",\n" not in report("balance.summary.1", DAY_1)


def test_fees_have_eighteen_places() -> None:
    """Zero, too; and the fees with a tax on them need them, without losing a cent."""
    for report_type in ("all_fees.incurred_at.itemized.2", "all_fees.balance_transaction_created.summary.2"):
        found = rows(report_type, replace(JANUARY, currency="usd"))
        assert {len(row[name].partition(".")[2]) for row in found for name in ("amount", "tax")} == {18}
        assert {row["product"]: row["tax"].rstrip("0") for row in found}["Payments"] == "0."
        radar = [row for row in found if row["product"] == "Radar"]
        assert max(len(row["amount"].rstrip("0").partition(".")[2]) for row in radar) >= 17
        assert {(Decimal(row["amount"]) + Decimal(row["tax"])) % Decimal("0.01") for row in radar} == {0}


def test_financial_accounts_have_the_figures_of_the_balance() -> None:
    """Of the connected accounts."""
    for kind in ("balance_change_from_activity.summary.1", "balance.summary.1"):
        assert rows(f"connected_account_financial_account_{kind}", DAY_1) == rows(
            f"connected_account_{kind}", DAY_1
        )
