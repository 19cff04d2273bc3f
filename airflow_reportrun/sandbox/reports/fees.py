"""What stands in each column of the reports about fees, about what moved, and about what card networks cost."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, NamedTuple

from ..business import CUSTOMERS, Transaction
from ..messages import ACCOUNT
from .cells import Cell, null, source, with_transaction

if TYPE_CHECKING:
    from .pen import Pen

PLACES = 18
"""Of a fee and its tax, zero included."""

_CENT: int = 10 ** (PLACES - 2)


class FeeKind(NamedTuple):
    """What a fee is for, and the tax within each cent of it, in units of the last place.

    ``incurred_by_type`` is the kind of object that incurred it, if any.
    """

    suite: str
    product: str
    feature_name: str
    incurred_by_type: str | None
    tax: int = 0

    def amount_in(self, cents: int) -> int:
        """Answer the fee without the tax on it, in units of the last place."""
        return cents * (_CENT - self.tax)

    def tax_in(self, cents: int) -> int:
        """Answer the tax on the fee, in units of the last place."""
        return cents * self.tax


FEE_KINDS = {
    "charge": FeeKind("Payments", "Payments", "Card payments", "charge"),
    "dispute": FeeKind("Payments", "Payments", "Disputes", "dispute"),
    # 19 % on top. A share of each cent, not of each fee, so that sums have no remainders of their own.
    "fee": FeeKind("Payments", "Radar", "Radar for Fraud Teams", None, tax=-(_CENT * -19 // 119)),
}
"""By reporting category; no other transaction has a fee."""


def fee_in(category: str, gross: int, fee: int) -> int:
    """Answer what Stripe took, of one transaction or of all in a category."""
    return fee - gross if category == "fee" else fee


class Fee(NamedTuple):
    """The fee in a transaction, tax included, in cents."""

    transaction: Transaction
    cents: int
    kind: FeeKind

    @classmethod
    def of(cls, transactions: Iterable[Transaction]) -> Iterator[Fee]:
        """Pick the fees out."""
        for transaction in transactions:
            cents = fee_in(transaction.category, transaction.gross, transaction.fee)
            if cents:
                yield cls(transaction, cents, FEE_KINDS[transaction.category])


_FEES: dict[str, Cell[Fee]] = {
    "balance_transaction_created": lambda f, pen: pen.time(f.transaction.created),
    "fee_transaction_created": lambda f, pen: pen.time(f.transaction.created),
    "fee_transaction_id": lambda f, pen: f"txn_{f.transaction.token}",
    "incurred_at": lambda f, pen: pen.time(f.transaction.created),
    "incurred_by": lambda f, pen: source(f.transaction),
    "incurred_by_type": lambda f, pen: f.kind.incurred_by_type,
    "fee_description": lambda f, pen: f"{f.kind.product}: {f.kind.feature_name}",
    "amount": lambda f, pen: pen.decimal(f.kind.amount_in(f.cents), PLACES),
    "tax": lambda f, pen: pen.decimal(f.kind.tax_in(f.cents), PLACES),
    "product": lambda f, pen: f.kind.product,
    "feature_name": lambda f, pen: f.kind.feature_name,
    "settled_at": lambda f, pen: pen.time(f.transaction.created),
    "settled_via": lambda f, pen: "balance",
    "suite": lambda f, pen: f.kind.suite,
    "fee_category": lambda f, pen: "stripe_fee",
}

FEES = with_transaction(_FEES)
"""The columns of reports about fees; which words stand in them is the sandbox's choice."""


# What moved


class Part(NamedTuple):
    """A part of what a transaction changed the balance by."""

    transaction: Transaction
    component: str
    cents: int

    @classmethod
    def of(cls, transactions: Iterable[Transaction]) -> Iterator[Part]:
        """Take transactions apart: what was moved, and the fee where there is one."""
        for transaction in transactions:
            yield cls(transaction, transaction.category, transaction.gross)
            if transaction.fee:
                yield cls(transaction, "payments_fee", -transaction.fee)


def _source_if(prefix: str) -> Cell[Part]:
    def cell(part: Part, pen: Pen) -> str | None:
        found = source(part.transaction)
        return found if found is not None and found.startswith(prefix) else None

    return cell


_PARTS: dict[str, Cell[Part]] = {
    **dict.fromkeys(("destination_id", "balance_transaction_regulatory_tag"), null),
    "balance_transaction_created_at": lambda p, pen: pen.time(p.transaction.created),
    "balance_transaction_reporting_category": lambda p, pen: p.transaction.category,
    "balance_transaction_component": lambda p, pen: p.component,
    "activity_at": lambda p, pen: pen.time(p.transaction.created),
    "amount": lambda p, pen: pen.money(p.cents),
    "refund_id": _source_if("re_"),
    "dispute_id": _source_if("du_"),
    "fee_id": lambda p, pen: f"fee_{p.transaction.token}" if p.component == "payments_fee" else None,
}

PARTS = with_transaction(_PARTS)
"""The columns of reports about activity."""


# What card networks cost

_MICROS = {"interchange": 180, "card_scheme": 13}
"""Millionths of the currency's unit for each cent of a charge: 1.8 % and 0.13 %."""


class Cost(NamedTuple):
    """What a card network took of a charge, in millionths of the currency's unit."""

    transaction: Transaction
    category: str
    micros: int

    @classmethod
    def of(cls, transactions: Iterable[Transaction]) -> Iterator[Cost]:
        """Make the costs of each charge, by category."""
        for transaction in charges(transactions):
            for category in _MICROS:
                yield cls(transaction, category, transaction.gross * _MICROS[category])


def charges(transactions: Iterable[Transaction]) -> Iterator[Transaction]:
    """Pick the charges out."""
    return (transaction for transaction in transactions if transaction.category == "charge")


def _cost(*categories: str) -> Cell[Transaction]:
    micros = sum(_MICROS[category] for category in categories)
    return lambda transaction, pen: pen.decimal(transaction.gross * micros, 6)


def _plan(cost: Cost, pen: Pen) -> str:
    if cost.category == "card_scheme" or cost.transaction.charge is None:
        return "All scheme fees"
    return f"{CUSTOMERS[cost.transaction.charge.customer].card_brand} Traditional - Product 1"


def _whose(item: object, pen: Pen) -> str | None:
    return pen.business.account


_ACCOUNTS: dict[str, Cell[object]] = {
    "platform_id": lambda item, pen: ACCOUNT,
    "connected_account_id": _whose,
    "connected_account_name": null,
    "livemode": lambda item, pen: "true" if pen.livemode else "false",
}

COSTS: dict[str, Cell[Cost]] = {
    **_ACCOUNTS,
    "plan_name": _plan,
    "network_cost_category": lambda c, pen: c.category,
    "fee_currency": lambda c, pen: c.transaction.currency,
}
"""What card fees are summed up by."""

CARD_FEES: dict[str, Cell[Transaction]] = {
    **_ACCOUNTS,
    **dict.fromkeys(("transfer_created", "refund_id", "dispute_id"), null),
    "balance_transaction_created": lambda t, pen: pen.time(t.created),
    "fee_incurred_at": lambda t, pen: pen.time(t.created),
    "captured_amount": lambda t, pen: pen.money(t.gross),
    "captured_currency": lambda t, pen: t.currency,
    "bin": lambda t, pen: "424242",
    "card_present": lambda t, pen: "false",
    "fee_category": lambda t, pen: "transactional",
    "card_scheme_fee": _cost("card_scheme"),
    "interchange_fee": _cost("interchange"),
    "non_transactional_card_scheme_fee": _cost(),
    "discount_fee": _cost(),
    "platform_application_fee": _cost(),
    "total_amount": _cost(*_MICROS),
    "fee_currency": lambda t, pen: t.currency,
}
"""The columns of reports about each charge's card fees, beside those of the transaction."""
