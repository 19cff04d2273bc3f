r"""From the books to the CSV that Stripe would write.

UTF-8 without a byte order mark; every cell that is not null is quoted, the header too, null is empty and
unquoted. Lines end in ``\n`` (the sandbox's choice: no source settles it). Money is in major units with two
places. Timestamps are ``YYYY-MM-DD HH:MM:SS`` in the requested time zone and do not say which.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from datetime import datetime
from typing import TYPE_CHECKING
from zoneinfo import ZoneInfo

from .business import (
    CURRENCIES,
    CUSTOMERS,
    PRODUCTS,
    Business,
    ByCategory,
    Charge,
    Totals,
    Transaction,
    sum_of,
)

if TYPE_CHECKING:
    from .catalogue import ReportType
    from .parameters import RunParameters

Show = Callable[[int], str]
Cell = Callable[[Transaction, Show], str | None]

_UTC = ZoneInfo("Etc/UTC")


def write_report(business: Business, report_type: ReportType, parameters: RunParameters) -> bytes:
    """Generate the report of a run."""
    columns = parameters.columns or report_type.default_columns
    if report_type.id == "balance.summary.1":
        rows = _picked(columns, _balance_rows(business, parameters))
    elif ".itemized." in report_type.id:
        rows = _itemized_rows(business, parameters, columns)
    else:
        rows = _picked(columns, _summary_rows(business, parameters))
    return _csv(columns, rows)


def _csv(header: Iterable[str], rows: Iterable[Iterable[str | None]]) -> bytes:
    lines = [",".join(map(_quoted, header))]
    lines += [",".join(map(_quoted, row)) for row in rows]
    return ("\n".join(lines) + "\n").encode()


def _quoted(cell: str | None) -> str:
    return "" if cell is None else '"' + cell.replace('"', '""') + '"'


def _picked(columns: Iterable[str], rows: Iterable[dict[str, str]]) -> Iterator[list[str | None]]:
    names = list(columns)
    for row in rows:
        yield [row[name] for name in names]


def _money(cents: int) -> str:
    units, rest = divmod(abs(cents), 100)
    return f"{'-' if cents < 0 else ''}{units}.{rest:02}"


def _shown_in(zone: ZoneInfo) -> Show:
    def show(seconds: int) -> str:
        # The first 19 characters of the ISO form leave out the offset, as Stripe does.
        return datetime.fromtimestamp(seconds, zone).isoformat(" ")[:19]

    return show


_show_utc = _shown_in(_UTC)

# One row a transaction


def _itemized_rows(
    business: Business, parameters: RunParameters, columns: Iterable[str]
) -> Iterator[list[str | None]]:
    show = _shown_in(ZoneInfo(parameters.timezone))
    cells = [_cell(column) for column in columns]
    for transaction in business.activity(parameters.interval_start, parameters.interval_end):
        if parameters.currency not in (None, transaction.currency):
            continue
        if parameters.reporting_category not in (None, transaction.category):
            continue
        yield [cell(transaction, show) for cell in cells]


def _cell(column: str) -> Cell:
    if column.endswith("_utc"):
        local = _cell(column.removesuffix("_utc"))
        return lambda transaction, show: local(transaction, _show_utc)
    if column in _CHARGE_CELLS:
        of_charge = _CHARGE_CELLS[column]
        return lambda transaction, show: of_charge(transaction.charge, show) if transaction.charge else None
    return _CELLS.get(column, _null)


def _null(transaction: Transaction, show: Show) -> None:
    """Fill a column the shop has nothing to say in."""


def _description(transaction: Transaction) -> str:
    charge = transaction.charge
    if charge is None:
        day = _show_utc(transaction.created)[:10]
        return f'Radar for Fraud Teams ({day}): {-transaction.gross // 5} charges screened, "standard" rate'
    sale = f"Order {_order(charge)}: {PRODUCTS[charge.product]}"
    return {
        "charge": sale,
        "refund": f"REFUND FOR CHARGE ({sale})",
        "dispute": f"Chargeback withdrawal for ch_{charge.token}",
        "dispute_reversal": f"Chargeback reversal for ch_{charge.token}",
    }[transaction.category]


def _order(charge: Charge) -> str:
    return charge.token[:6].upper()


def _source(transaction: Transaction) -> str | None:
    charge = transaction.charge
    if charge is None:
        return None
    return {
        "charge": f"ch_{charge.token}",
        "refund": f"re_{transaction.token}",
        # A dispute and its reversal go back to the same dispute.
        "dispute": f"du_{charge.token}",
        "dispute_reversal": f"du_{charge.token}",
    }[transaction.category]


_CELLS: dict[str, Cell] = {
    "balance_transaction_id": lambda t, show: f"txn_{t.token}",
    "created": lambda t, show: show(t.created),
    "available_on": lambda t, show: show(t.available_on),
    "currency": lambda t, show: t.currency,
    "gross": lambda t, show: _money(t.gross),
    "fee": lambda t, show: _money(t.fee),
    "net": lambda t, show: _money(t.net),
    "reporting_category": lambda t, show: t.category,
    "description": lambda t, show: _description(t),
    "source_id": lambda t, show: _source(t),
    "dispute_reason": lambda t, show: "fraudulent" if t.category.startswith("dispute") else None,
}
_CHARGE_CELLS: dict[str, Callable[[Charge, Show], str]] = {
    "charge_id": lambda c, show: f"ch_{c.token}",
    "charge_created": lambda c, show: show(c.created),
    "payment_intent_id": lambda c, show: f"pi_{c.token}",
    "payment_method_type": lambda c, show: "card",
    "is_link": lambda c, show: "false",
    "card_brand": lambda c, show: CUSTOMERS[c.customer].card_brand,
    "card_funding": lambda c, show: "credit",
    "card_country": lambda c, show: CUSTOMERS[c.customer].country,
    "customer_facing_amount": lambda c, show: _money(c.gross),
    "customer_facing_currency": lambda c, show: c.currency,
    "customer_id": lambda c, show: f"cus_{c.customer:014}",
    "customer_name": lambda c, show: CUSTOMERS[c.customer].name,
    "customer_email": lambda c, show: CUSTOMERS[c.customer].email,
    "customer_address_city": lambda c, show: CUSTOMERS[c.customer].city,
    "customer_address_country": lambda c, show: CUSTOMERS[c.customer].country,
    "statement_descriptor": lambda c, show: "COFFEE AND MORE",
    "payment_metadata[order_id]": lambda c, show: _order(c),
}

# Sums


def _totals(business: Business, parameters: RunParameters) -> ByCategory:
    sums = business.totals(parameters.interval_start, parameters.interval_end)
    return {key: totals for key, totals in sums.items() if parameters.currency in (None, key[0])}


def _summary_rows(business: Business, parameters: RunParameters) -> Iterator[dict[str, str]]:
    """Yield a row for each category and currency, then a total for each currency.

    Stripe's files end with a row called ``total``. That each currency has one, since euros and dollars
    have no sum, is the sandbox's choice.
    """
    sums = _totals(business, parameters)
    for (currency, category), totals in sorted(sums.items()):
        yield _summary_row(category, currency, totals)
    for currency in CURRENCIES:
        parts = [totals for (of, _), totals in sums.items() if of == currency]
        if parts:
            yield _summary_row("total", currency, sum_of(parts))


def _summary_row(category: str, currency: str, totals: Totals) -> dict[str, str]:
    return {
        "reporting_category": category,
        "currency": currency,
        "count": str(totals.transactions),
        "gross": _money(totals.gross),
        "fee": _money(totals.fee),
        "net": _money(totals.net),
    }


def _balance_rows(business: Business, parameters: RunParameters) -> Iterator[dict[str, str]]:
    """Yield nine rows for each currency, whether or not anything moved."""
    start, end = parameters.interval_start, parameters.interval_end
    show = _shown_in(ZoneInfo(parameters.timezone))
    # Stripe prints the last day that the interval includes, not the day it ends on.
    first_day, last_day = show(start)[:10], show(end - 1)[:10]
    starting, ending = business.balance(start), business.balance(end)
    payouts = business.payouts(start, end)
    sums = _totals(business, parameters)
    for currency in CURRENCIES:
        if parameters.currency not in (None, currency):
            continue
        activity = sum_of(totals for (of, _), totals in sums.items() if of == currency)
        for category, description, cents in (
            ("starting_balance", f"Starting balance ({first_day})", starting[currency].total),
            ("starting_balance_available", f"Available balance ({first_day})", starting[currency].available),
            ("activity_gross", "Account activity before fees", activity.gross),
            ("activity_fee", "Less fees", -activity.fee),
            ("activity", "Activity", activity.net),
            ("payouts_gross", "Payouts to bank", -payouts[currency]),
            ("payouts_fee", "Payout fees", 0),
            ("payouts", "Total payouts", -payouts[currency]),
            ("ending_balance", f"Ending balance ({last_day})", ending[currency].total),
        ):
            yield {
                "category": category,
                "description": description,
                "net_amount": _money(cents),
                "currency": currency,
            }
