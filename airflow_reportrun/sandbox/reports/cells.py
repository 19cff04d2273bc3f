"""What stands in each column of an itemised report about transactions or payouts."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Protocol, TypeVar

from ..business import CUSTOMERS, PRODUCTS, Charge, Payout, Transaction
from .forms import Facts, by_form
from .pen import Pen

Item = TypeVar("Item")

Cell = Callable[[Item, Pen], str | None]


def cells_of(
    columns: Iterable[str], known: Mapping[str, Cell[Item]], facts: Callable[[Item], Facts]
) -> list[Cell[Item]]:
    """Pick what writes each column: what is known of it, otherwise the form of its name, otherwise null."""
    return [_cell(column, known, facts) for column in columns]


def _cell(column: str, known: Mapping[str, Cell[Item]], facts: Callable[[Item], Facts]) -> Cell[Item]:
    if column in known:
        return known[column]
    if column.endswith("_utc"):
        local = _cell(column.removesuffix("_utc"), known, facts)
        return lambda item, pen: local(item, pen.in_utc)
    form = by_form(column)
    return null if form is None else lambda item, pen: form(facts(item), pen)


def null(item: object, pen: Pen) -> None:
    """Write what the shops have nothing to say in."""


# Transactions


def _of_charge(cell: Cell[Charge]) -> Cell[Transaction]:
    return lambda transaction, pen: cell(transaction.charge, pen) if transaction.charge else None


def _description(transaction: Transaction, pen: Pen) -> str:
    charge = transaction.charge
    if charge is None:
        day = pen.in_utc.time(transaction.created)[:10]
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


def source(transaction: Transaction) -> str | None:
    """Name what the transaction goes back to."""
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


def invoice(charge: Charge) -> str | None:
    """Answer the number of the invoice, which the sale of a subscription has."""
    return charge.token if PRODUCTS[charge.product].startswith("Subscription") else None


def _if_invoiced(prefix: str) -> Cell[Charge]:
    return lambda charge, pen: f"{prefix}{charge.token}" if invoice(charge) else None


_ADDRESSES: dict[str, Cell[Charge]] = {
    "city": lambda c, pen: CUSTOMERS[c.customer].city,
    "country": lambda c, pen: CUSTOMERS[c.customer].country,
}

_CHARGES: dict[str, Cell[Charge]] = {
    "charge_id": lambda c, pen: f"ch_{c.token}",
    "charge_created": lambda c, pen: pen.time(c.created),
    "payment_intent_id": lambda c, pen: f"pi_{c.token}",
    "payment_method_type": lambda c, pen: "card",
    "is_link": lambda c, pen: "false",
    "card_brand": lambda c, pen: CUSTOMERS[c.customer].card_brand,
    "card_funding": lambda c, pen: "credit",
    "card_country": lambda c, pen: CUSTOMERS[c.customer].country,
    "customer_facing_amount": lambda c, pen: pen.money(c.gross),
    "customer_facing_currency": lambda c, pen: c.currency,
    "customer_id": lambda c, pen: f"cus_{c.customer:014}",
    "customer_name": lambda c, pen: CUSTOMERS[c.customer].name,
    "customer_email": lambda c, pen: CUSTOMERS[c.customer].email,
    **{
        f"{whose}address_{part}": cell
        for whose in ("customer_", "customer_shipping_", "shipping_", "card_")
        for part, cell in _ADDRESSES.items()
    },
    "invoice_id": _if_invoiced("in_"),
    "invoice_number": _if_invoiced("INV-"),
    "subscription_id": lambda c, pen: f"sub_{c.customer:014}" if invoice(c) else None,
    "statement_descriptor": lambda c, pen: "COFFEE AND MORE",
    "payment_metadata[order_id]": lambda c, pen: _order(c),
}

_NOTHING = (
    *("connected_account_id", "connected_account_country", "connected_account_direct_charge_id"),
    *("destination_payment_id", "transfer_id", "trace_id"),
)
"""No money moves between accounts, and no bank has given a trace id."""

TRANSACTIONS: dict[str, Cell[Transaction]] = {
    **dict.fromkeys(_NOTHING, null),
    "balance_transaction_id": lambda t, pen: f"txn_{t.token}",
    "created": lambda t, pen: pen.time(t.created),
    "available_on": lambda t, pen: pen.time(t.available_on),
    "currency": lambda t, pen: t.currency,
    "gross": lambda t, pen: pen.money(t.gross),
    "fee": lambda t, pen: pen.money(t.fee),
    "net": lambda t, pen: pen.money(t.net),
    "reporting_category": lambda t, pen: t.category,
    "description": _description,
    "source_id": lambda t, pen: source(t),
    "dispute_reason": lambda t, pen: "fraudulent" if t.category.startswith("dispute") else None,
    "automatic_payout_id": lambda t, pen: pen.business.payout_of(t)[0],
    "automatic_payout_effective_at": lambda t, pen: pen.time(pen.business.payout_of(t)[1]),
    "connected_account": lambda t, pen: pen.business.account,
    **{column: _of_charge(cell) for column, cell in _CHARGES.items()},
}
"""The columns of reports about transactions."""

PAYOUTS: dict[str, Cell[Payout]] = {
    **dict.fromkeys(("payout_reversed_at", "trace_id"), null),
    "payout_id": lambda p, pen: p.id,
    "effective_at": lambda p, pen: pen.time(p.effective_at),
    "currency": lambda p, pen: p.currency,
    "balance_transaction_id": lambda p, pen: f"txn_{p.id.removeprefix('po_')}",
    "gross": lambda p, pen: pen.money(-p.amount),
    "fee": lambda p, pen: pen.money(0),
    "net": lambda p, pen: pen.money(-p.amount),
    "reporting_category": lambda p, pen: "payout",
    "description": lambda p, pen: "STRIPE PAYOUT",
    "payout_expected_arrival_date": lambda p, pen: pen.time(p.effective_at)[:10],
    "payout_status": lambda p, pen: "paid",
    "payout_type": lambda p, pen: "bank_account",
    "payout_description": lambda p, pen: "STRIPE PAYOUT",
    "payout_destination_id": lambda p, pen: f"ba_{p.currency}",
    "connected_account": lambda p, pen: pen.business.account,
}
"""The columns of reports about payouts."""


def facts_of(transaction: Transaction) -> Facts:
    """Tell what a column can be made up from."""
    charge = transaction.charge
    country = CUSTOMERS[charge.customer].country if charge else None
    return Facts(transaction.created, transaction.token, transaction.currency, transaction.gross, country)


def facts_of_payout(payout: Payout) -> Facts:
    """Tell what a column can be made up from."""
    return Facts(payout.effective_at, payout.id.removeprefix("po_"), payout.currency, -payout.amount, None)


class AboutOne(Protocol):
    """What a transaction gives rise to, such as a fee or a tax."""

    @property
    def transaction(self) -> Transaction:
        """Return the transaction."""
        ...


AboutOneT = TypeVar("AboutOneT", bound=AboutOne)


def with_transaction(own: Mapping[str, Cell[AboutOneT]]) -> dict[str, Cell[AboutOneT]]:
    """Add the columns of the transaction to those of what it gave rise to."""

    def of(cell: Cell[Transaction]) -> Cell[AboutOneT]:
        return lambda item, pen: cell(item.transaction, pen)

    return {**{name: of(cell) for name, cell in TRANSACTIONS.items()}, **own}


def facts_of_its_transaction(item: AboutOne) -> Facts:
    """Tell what a column can be made up from."""
    return facts_of(item.transaction)
