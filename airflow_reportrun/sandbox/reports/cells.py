"""What stands in each column of an itemised report."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from datetime import datetime
from typing import NamedTuple, TypeVar
from zoneinfo import ZoneInfo

from ..business import CUSTOMERS, PRODUCTS, Business, Charge, Payout, Transaction

Item = TypeVar("Item")

_UTC = ZoneInfo("Etc/UTC")


def money(cents: int, separator: str) -> str:
    """Write an amount in major units, with two places."""
    units, rest = divmod(abs(cents), 100)
    return f"{'-' if cents < 0 else ''}{units}{separator}{rest:02}"


class Pen:
    """How the facts of ``business`` are written; ``in_utc`` writes the same facts in UTC."""

    def __init__(self, business: Business, zone: ZoneInfo, separator: str) -> None:
        self.business = business
        self._zone = zone
        self._separator = separator
        self.in_utc: Pen = self if zone is _UTC else Pen(business, _UTC, separator)

    def time(self, seconds: int) -> str:
        """Write an instant."""
        # The first 19 characters of the ISO form leave out the offset, as Stripe does.
        return datetime.fromtimestamp(seconds, self._zone).isoformat(" ")[:19]

    def money(self, cents: int) -> str:
        """Write an amount."""
        return money(cents, self._separator)


Cell = Callable[[Item, Pen], str | None]


def cells_of(columns: Iterable[str], known: Mapping[str, Cell[Item]]) -> list[Cell[Item]]:
    """Pick what writes each column; what the shops have nothing to say in is null."""
    return [_cell(column, known) for column in columns]


def _cell(column: str, known: Mapping[str, Cell[Item]]) -> Cell[Item]:
    if column in known:
        return known[column]
    if column.endswith("_utc"):
        local = _cell(column.removesuffix("_utc"), known)
        return lambda item, pen: local(item, pen.in_utc)
    return lambda item, pen: None


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
    "customer_address_city": lambda c, pen: CUSTOMERS[c.customer].city,
    "customer_address_country": lambda c, pen: CUSTOMERS[c.customer].country,
    "statement_descriptor": lambda c, pen: "COFFEE AND MORE",
    "payment_metadata[order_id]": lambda c, pen: _order(c),
}

TRANSACTIONS: dict[str, Cell[Transaction]] = {
    "balance_transaction_id": lambda t, pen: f"txn_{t.token}",
    "created": lambda t, pen: pen.time(t.created),
    "available_on": lambda t, pen: pen.time(t.available_on),
    "currency": lambda t, pen: t.currency,
    "gross": lambda t, pen: pen.money(t.gross),
    "fee": lambda t, pen: pen.money(t.fee),
    "net": lambda t, pen: pen.money(t.net),
    "reporting_category": lambda t, pen: t.category,
    "description": _description,
    "source_id": lambda t, pen: _source(t),
    "dispute_reason": lambda t, pen: "fraudulent" if t.category.startswith("dispute") else None,
    "automatic_payout_id": lambda t, pen: pen.business.payout_of(t)[0],
    "automatic_payout_effective_at": lambda t, pen: pen.time(pen.business.payout_of(t)[1]),
    "connected_account": lambda t, pen: pen.business.account,
    **{column: _of_charge(cell) for column, cell in _CHARGES.items()},
}
"""The columns of reports about transactions."""

PAYOUTS: dict[str, Cell[Payout]] = {
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

# Fees


class FeeKind(NamedTuple):
    """What a fee is for; ``incurred_by_type`` is the kind of object that incurred it, if any."""

    suite: str
    product: str
    feature_name: str
    incurred_by_type: str | None


FEE_KINDS = {
    "charge": FeeKind("Payments", "Payments", "Card payments", "charge"),
    "dispute": FeeKind("Payments", "Payments", "Disputes", "dispute"),
    "fee": FeeKind("Payments", "Radar", "Radar for Fraud Teams", None),
}
"""By reporting category; no other transaction has a fee."""


def fee_in(category: str, gross: int, fee: int) -> int:
    """Answer what Stripe took, of one transaction or of all in a category."""
    return fee - gross if category == "fee" else fee


class Fee(NamedTuple):
    """The fee in a transaction."""

    transaction: Transaction
    amount: int
    kind: FeeKind

    @classmethod
    def of(cls, transactions: Iterable[Transaction]) -> Iterator[Fee]:
        """Pick the fees out."""
        for transaction in transactions:
            amount = fee_in(transaction.category, transaction.gross, transaction.fee)
            if amount:
                yield cls(transaction, amount, FEE_KINDS[transaction.category])


FEES: dict[str, Cell[Fee]] = {
    "balance_transaction_created": lambda f, pen: pen.time(f.transaction.created),
    "balance_transaction_id": lambda f, pen: f"txn_{f.transaction.token}",
    "fee_transaction_created": lambda f, pen: pen.time(f.transaction.created),
    "fee_transaction_id": lambda f, pen: f"txn_{f.transaction.token}",
    "incurred_at": lambda f, pen: pen.time(f.transaction.created),
    "incurred_by": lambda f, pen: _source(f.transaction),
    "incurred_by_type": lambda f, pen: f.kind.incurred_by_type,
    "fee_description": lambda f, pen: f"{f.kind.product}: {f.kind.feature_name}",
    "amount": lambda f, pen: pen.money(f.amount),
    "tax": lambda f, pen: pen.money(0),
    "currency": lambda f, pen: f.transaction.currency,
    "product": lambda f, pen: f.kind.product,
    "feature_name": lambda f, pen: f.kind.feature_name,
    "settled_at": lambda f, pen: pen.time(f.transaction.created),
    "settled_via": lambda f, pen: "balance",
    "suite": lambda f, pen: f.kind.suite,
    "fee_category": lambda f, pen: "stripe_fee",
}
"""The columns of reports about fees; which words stand in them is the sandbox's choice."""
