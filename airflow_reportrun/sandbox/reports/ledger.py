"""What stands in each column of the reports about revenue recognition.

A sale is owed, deferred, paid and earned at once: four accounts, three entries. What is refunded or disputed goes
back to the month of its sale: where that is an earlier one, it is booked in the month in which it happened, which
is then the open accounting period of its row.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, NamedTuple

from .cells import TRANSACTIONS, Cell, invoice

if TYPE_CHECKING:
    from ..business import Charge, Transaction
    from .pen import Pen

_ENTRIES = {
    "charge": (
        ("AccountsReceivable", "DeferredRevenue"),
        ("Cash", "AccountsReceivable"),
        ("DeferredRevenue", "Revenue"),
    ),
    "refund": (("Refunds", "Cash"),),
    "dispute": (("Disputes", "Cash"),),
    "dispute_reversal": (("Cash", "Disputes"),),
}
"""The accounts that are debited and credited, by reporting category."""

_CODES = {"AccountsReceivable": "0110", "Cash": "0100", "DeferredRevenue": "0240", "Revenue": "0400"}
"""General ledger codes, where the shop has given one."""


class Entry(NamedTuple):
    """An entry in the ledger."""

    transaction: Transaction
    charge: Charge
    debit: str
    credit: str

    @classmethod
    def of(cls, transactions: Iterable[Transaction]) -> Iterator[Entry]:
        """Book the transactions that are about sales."""
        for transaction in transactions:
            if transaction.charge:
                for debit, credit in _ENTRIES[transaction.category]:
                    yield cls(transaction, transaction.charge, debit, credit)


def _open_period(entry: Entry, pen: Pen) -> str | None:
    booked = pen.time(entry.transaction.created)[:7]
    return None if booked == pen.time(entry.charge.created)[:7] else booked


def model_id(prefix: str) -> Cell[Entry]:
    """Name what is recognised: an invoice, or a line of it, with this prefix, and otherwise the charge."""
    return lambda entry, pen: (
        f"{prefix}{entry.charge.token}" if invoice(entry.charge) else f"ch_{entry.charge.token}"
    )


ENTRIES: dict[str, Cell[Entry]] = {
    "accounting_period": lambda e, pen: pen.time(e.charge.created)[:7],
    "open_accounting_period": _open_period,
    "currency": lambda e, pen: e.transaction.currency,
    "price_id": lambda e, pen: f"price_{e.charge.product:014}",
    "product_id": lambda e, pen: f"prod_{e.charge.product:014}",
    "customer_id": lambda e, pen: TRANSACTIONS["customer_id"](e.transaction, pen),
    "transaction_model_id": model_id("in_"),
    "debit": lambda e, pen: e.debit,
    "credit": lambda e, pen: e.credit,
    "booked_date": lambda e, pen: pen.time(e.transaction.created)[:10],
    "credit_gl_code": lambda e, pen: _CODES.get(e.credit),
    "debit_gl_code": lambda e, pen: _CODES.get(e.debit),
}
"""What entries are summed up by, so far as the report has the column."""

FILTERS: dict[str, Cell[Entry]] = {
    "customer": ENTRIES["customer_id"],
    "invoice": model_id("in_"),
    "invoice_line_item": model_id("il_"),
}
"""What each parameter is compared with."""

LEDGER_TOTALS: dict[str, Cell[list[Entry]]] = {
    "amount": lambda entries, pen: pen.money(sum(abs(entry.transaction.gross) for entry in entries)),
}
"""The sums."""
