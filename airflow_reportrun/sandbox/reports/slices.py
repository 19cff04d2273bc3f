"""Which part of a shop's books a report is about."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, NamedTuple

from ..business import Business, ByCategory, Payout, Totals, Transaction

if TYPE_CHECKING:
    from ..parameters import RunParameters


class Slice(NamedTuple):
    """The books of ``shop`` in [start, end), in one currency and category or, for None, in all of them."""

    shop: Business
    start: int
    end: int
    currency: str | None
    category: str | None

    def transactions(self) -> Iterator[Transaction]:
        """Yield the transactions, but for payouts, oldest first."""
        for transaction in self.shop.activity(self.start, self.end):
            if self._holds(transaction.currency, transaction.category):
                yield transaction

    def totals(self) -> ByCategory:
        """Sum up the transactions."""
        sums = self.shop.totals(self.start, self.end)
        return {key: totals for key, totals in sums.items() if self._holds(*key)}

    def payouts(self) -> Iterator[Payout]:
        """Yield the payouts, oldest first."""
        for payout in self.shop.payouts(self.start, self.end):
            if self._holds(payout.currency, "payout"):
                yield payout

    def payout_totals(self) -> ByCategory:
        """Sum up the payouts."""
        sums: ByCategory = {}
        for payout in self.payouts():
            key = payout.currency, "payout"
            was = sums.get(key, Totals())
            sums[key] = Totals(was.transactions + 1, was.gross - payout.amount)
        return sums

    def _holds(self, currency: str, category: str) -> bool:
        return self.currency in (None, currency) and self.category in (None, category)


def slice_of(shop: Business, subject: str, parameters: RunParameters) -> Slice:
    """Answer what a report about ``subject``, a family without its last word, covers."""
    # Which of the three shapes the parameters have, the type has seen to: what it lacks isn't used here.
    start, end, currency = parameters.interval_start or 0, parameters.interval_end or 0, parameters.currency
    if subject == "payout_reconciliation":
        start, end = shop.paid_out(start, end)
    elif parameters.interval_start is None and parameters.interval_end is not None:
        start, end = shop.unpaid(end)
    elif subject == "payout_reconciliation.by_id":
        payout = shop.payout(parameters.payout or "")
        if payout is not None:
            (start, end), currency = payout.pays_for, payout.currency
    return Slice(shop, start, end, currency, parameters.reporting_category)
