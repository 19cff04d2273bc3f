"""What stands in each column of the reports about tax.

Prices include the tax of the customer's country; whoever lives in none of `_RATES` pays none. It is rounded down
to the cent for each sale and each refund, and what a report sums up are these.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import NamedTuple

from ..business import CUSTOMERS, Transaction
from .cells import Cell, null, with_transaction

_RATES = {"DE": 19, "DK": 25, "ES": 21, "FR": 20, "IE": 23, "PL": 23}
"""In percent."""

_NAMES = {
    "DE": "GERMANY",
    "DK": "DENMARK",
    "ES": "SPAIN",
    "FR": "FRANCE",
    "IE": "IRELAND",
    "JP": "JAPAN",
    "PL": "POLAND",
    "TW": "TAIWAN",
    "UA": "UKRAINE",
    "US": "UNITED STATES",
}


class Sale(NamedTuple):
    """A sale or, below zero, a refund; in cents, ``total`` includes the tax."""

    transaction: Transaction
    country: str
    total: int
    tax: int

    @property
    def subtotal(self) -> int:
        """What it is without the tax."""
        return self.total - self.tax

    @property
    def taxable(self) -> int:
        """What was taxed."""
        return self.subtotal if self.country in _RATES else 0

    @property
    def is_refund(self) -> bool:
        """Tell whether it goes back to the customer."""
        return self.transaction.category == "refund"

    @classmethod
    def of(cls, transactions: Iterable[Transaction]) -> Iterator[Sale]:
        """Pick the sales and the refunds out."""
        for transaction in transactions:
            if transaction.category in ("charge", "refund") and transaction.charge:
                country, gross = CUSTOMERS[transaction.charge.customer].country, transaction.gross
                rate = _RATES.get(country, 0)
                tax = abs(gross) * rate // (100 + rate)
                yield cls(transaction, country, gross, -tax if gross < 0 else tax)


def _if_taxed(text: str, otherwise: str | None) -> Cell[Sale]:
    return lambda sale, pen: text if sale.country in _RATES else otherwise


_SALES: dict[str, Cell[Sale]] = {
    **dict.fromkeys(
        (
            *("customer_tax_id", "state_code"),
            *("destination_resolved_address_state", "origin_resolved_address_state"),
        ),
        null,
    ),
    "id": lambda s, pen: f"tax_{s.transaction.token}",
    "line_item_id": lambda s, pen: f"tax_li_{s.transaction.token}",
    "transaction_date": lambda s, pen: pen.time(s.transaction.created),
    "tax_date": lambda s, pen: pen.time(s.transaction.created),
    "type": lambda s, pen: "refund" if s.is_refund else "sale",
    "country_code": lambda s, pen: s.country,
    "destination_resolved_address_country": lambda s, pen: s.country,
    "origin_resolved_address_country": lambda s, pen: "DE",
    "filing_currency": lambda s, pen: s.transaction.currency,
    "filing_exchange_rate": lambda s, pen: pen.decimal(1_000_000, 6),
    "filing_non_taxable_amount": lambda s, pen: pen.money(s.subtotal - s.taxable),
    "filing_tax_amount": lambda s, pen: pen.money(s.tax),
    "filing_taxable_amount": lambda s, pen: pen.money(s.taxable),
    "filing_total": lambda s, pen: pen.money(s.total),
    "jurisdiction_level": lambda s, pen: "country",
    "jurisdiction_name": lambda s, pen: _NAMES[s.country],
    "non_taxable_amount": lambda s, pen: pen.money(s.subtotal - s.taxable),
    "quantity": lambda s, pen: "1",
    "quantity_decimal": lambda s, pen: pen.decimal(10, 1),
    "subtotal": lambda s, pen: pen.money(s.subtotal),
    "tax_amount": lambda s, pen: pen.money(s.tax),
    "tax_code": lambda s, pen: "txcd_99999999",
    "tax_name": _if_taxed("VAT", None),
    "tax_rate": lambda s, pen: pen.decimal(_RATES.get(s.country, 0), 2),
    "taxability": _if_taxed("taxable", "not_taxable"),
    "taxability_reason": _if_taxed("standard_rated", "not_collecting"),
    "taxable_amount": lambda s, pen: pen.money(s.taxable),
    "total": lambda s, pen: pen.money(s.total),
    "refund_id": lambda s, pen: f"re_{s.transaction.token}" if s.is_refund else None,
    "tax_behavior": lambda s, pen: "inclusive",
    "tax_type": _if_taxed("vat", None),
}

SALES = with_transaction(_SALES)
"""The columns of reports about each sale's tax."""

JURISDICTIONS: dict[str, Cell[Sale]] = {
    **{name: SALES[name] for name in ("country_code", "jurisdiction_level", "jurisdiction_name", "tax_rate")},
    "transaction_currency": lambda s, pen: s.transaction.currency,
}
"""What tax is summed up by."""


def _sold(sales: Iterable[Sale]) -> list[Sale]:
    return [sale for sale in sales if not sale.is_refund]


def _refunded(sales: Iterable[Sale]) -> list[Sale]:
    return [sale for sale in sales if sale.is_refund]


TAX_TOTALS: dict[str, Cell[list[Sale]]] = {
    "transaction_date_start": lambda sales, pen: pen.time(min(sale.transaction.created for sale in sales)),
    "transaction_date_end": lambda sales, pen: pen.time(max(sale.transaction.created for sale in sales)),
    "total_sales": lambda sales, pen: pen.money(sum(sale.subtotal for sale in _sold(sales))),
    "total_tax_collected": lambda sales, pen: pen.money(sum(sale.tax for sale in _sold(sales))),
    "total_taxable_sales": lambda sales, pen: pen.money(sum(sale.taxable for sale in _sold(sales))),
    "total_nontaxable_sales": lambda sales, pen: pen.money(
        sum(sale.subtotal - sale.taxable for sale in _sold(sales))
    ),
    "total_sales_refunded": lambda sales, pen: pen.money(-sum(sale.subtotal for sale in _refunded(sales))),
    "total_tax_refunded": lambda sales, pen: pen.money(-sum(sale.tax for sale in _refunded(sales))),
}
"""The sums."""
