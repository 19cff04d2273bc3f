r"""From the books to the CSV that Stripe would write.

UTF-8 without a byte order mark; every cell that is not null is quoted, the header too, null is empty and
unquoted. Money is in major units with two places. Timestamps are ``YYYY-MM-DD HH:MM:SS`` in the requested time
zone and do not say which.

Choices where no source settles it:

* Lines end in ``\n``.
* A summary ends with a ``total`` row for each currency, since euros and dollars have no sum; a summary of fees
  has none.
* A report about several connected accounts has the rows of one account behind those of the other; a summary,
  which has no column for the account, is the sum over all of them.
* Payouts count as negative, as they do in the balance: a count of one, no fee. They are ``paid`` and have no
  trace id.
* A transaction shows its payout from the start, not only once the payout was created.
* The payout rows of a balance have no currency where the interval has no payout in it: of the programs that
  are public one found it NULL, and one found it beside a payout.
* The files about fees have a row for each transaction with a fee, and for each one that is a fee. It is
  incurred, and settled from the balance, when the transaction is created. Amounts have 18 places, zero included;
  there is tax on the fees for Radar alone, whose amounts use all places.
* Activity is each transaction in its parts, the fee apart from what was moved.
* Card fees are a share of each charge, in six places; what a plan cost is the sum of them.
* A financial account has the figures of its account's balance.
* The overview of refunds and disputes has those that no payout has reached; apps are installed when charges are
  made.
* What the rows of tax and of revenue recognition say is in `taxes` and `ledger`. `customer`, `invoice` and
  `invoice_line_item` leave the other rows out, `decimal_format` changes nothing.
* A report that is to be compressed is a ZIP with one file in it, named for the report type: two runs with the same
  figures have the same bytes.
* What nobody documents of a column is made up from the form of its name (`forms`), and otherwise null.
"""

from __future__ import annotations

import io
import zipfile
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from itertools import chain
from typing import TYPE_CHECKING, Any, Generic, TypeVar
from zoneinfo import ZoneInfo

from ..business import CURRENCIES, Books, ByCategory, Totals, Transaction, sum_of
from .cells import (
    PAYOUTS,
    TRANSACTIONS,
    Cell,
    cells_of,
    facts_of,
    facts_of_its_transaction,
    facts_of_payout,
    source,
)
from .fees import CARD_FEES, COSTS, FEE_KINDS, FEES, PARTS, PLACES, Cost, Fee, Part, charges, fee_in
from .ledger import ENTRIES, FILTERS, LEDGER_TOTALS, Entry, model_id
from .pen import Pen, decimal, money
from .slices import Slice, slice_of
from .taxes import JURISDICTIONS, SALES, TAX_TOTALS, Sale

if TYPE_CHECKING:
    from ..catalogue import ReportType
    from ..parameters import RunParameters
    from .forms import Facts

Item = TypeVar("Item")
Row = Iterable[str | None]


def write_report(
    books: Books, report_type: ReportType, parameters: RunParameters, *, livemode: bool = False
) -> Iterator[bytes]:
    """Generate the report of a run, line by line; ``books`` are those of the account that the run belongs to."""
    columns = parameters.columns or report_type.default_columns
    yield _line(columns)
    for row in _rows(books, report_type, parameters, columns, livemode=livemode):
        yield _line(row)


def zipped(name: str, contents: bytes) -> bytes:
    """Put a report in a ZIP, the same bytes for the same report."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr(zipfile.ZipInfo(name), contents, zipfile.ZIP_DEFLATED)
    return buffer.getvalue()


def _line(row: Row) -> bytes:
    return (",".join(map(_quoted, row)) + "\n").encode()


def _quoted(cell: str | None) -> str:
    return "" if cell is None else '"' + cell.replace('"', '""') + '"'


@dataclass(frozen=True, slots=True)
class Itemised(Generic[Item]):
    """A row for each of some items."""

    items: Callable[[Slice], Iterable[Item]]
    known: Mapping[str, Cell[Item]]
    facts: Callable[[Item], Facts]

    def rows(self, part: Slice, pen: Pen, columns: Sequence[str]) -> Iterator[Row]:
        """Yield the rows, in the order of the items."""
        cells = cells_of(columns, self.known, self.facts)
        for item in self.items(part):
            yield [cell(item, pen) for cell in cells]


@dataclass(frozen=True, slots=True)
class Grouped(Generic[Item]):
    """A row for all items that are alike in those columns of the type that ``known`` has.

    ``filters`` are what a parameter's value is compared with.
    """

    items: Callable[[Slice], Iterable[Item]]
    known: Mapping[str, Cell[Item]]
    totals: Mapping[str, Cell[list[Item]]]
    filters: Mapping[str, Cell[Item]]

    def rows(
        self, part: Slice, pen: Pen, report_type: ReportType, parameters: RunParameters
    ) -> Iterator[Mapping[str, str | None]]:
        """Yield the rows, ordered by what they are alike in."""
        names = [name for name in report_type.columns if name in self.known]
        cells = [self.known[name] for name in names]
        wanted = [(self.filters[name], value) for name, value in parameters.filters.items()]
        groups: defaultdict[tuple[str | None, ...], list[Item]] = defaultdict(list)
        for item in self.items(part):
            if all(cell(item, pen) == value for cell, value in wanted):
                groups[tuple([cell(item, pen) for cell in cells])].append(item)
        for key in sorted(groups, key=lambda key: [cell or "" for cell in key]):
            totals = {name: cell(groups[key], pen) for name, cell in self.totals.items()}
            yield dict(zip(names, key, strict=True)) | totals


def _those_of(*categories: str) -> Callable[[Slice], Iterator[Transaction]]:
    return lambda part: (each for each in part.transactions() if each.category in categories)


_FEES = Itemised(lambda part: Fee.of(part.transactions()), FEES, facts_of_its_transaction)
_CARD_FEES = Itemised(lambda part: charges(part.transactions()), TRANSACTIONS | CARD_FEES, facts_of)
_TRANSACTIONS = Itemised(Slice.transactions, TRANSACTIONS, facts_of)

_ITEMISED: Mapping[str, Itemised[Any]] = {
    "activity.itemized": Itemised(lambda part: Part.of(part.transactions()), PARTS, facts_of_its_transaction),
    "all_fees.balance_transaction_created.itemized": _FEES,
    "all_fees.incurred_at.itemized": _FEES,
    "apps.install_events": Itemised(
        _those_of("charge"), TRANSACTIONS | {"id": lambda t, pen: f"evt_{t.token}"}, facts_of
    ),
    "balance_change_from_activity.itemized": _TRANSACTIONS,
    "card_payments_fees.transaction_level": _CARD_FEES,
    "connect.negative_balance_refunds_disputes_overview": Itemised(
        _those_of("refund", "dispute"), TRANSACTIONS | {"id": lambda t, pen: source(t)}, facts_of
    ),
    "connect_card_payments_fees.transaction_level": _CARD_FEES,
    "ending_balance_reconciliation.itemized": _TRANSACTIONS,
    "payout_reconciliation.by_id.itemized": _TRANSACTIONS,
    "payout_reconciliation.itemized": _TRANSACTIONS,
    "payouts.itemized": Itemised(Slice.payouts, PAYOUTS, facts_of_payout),
    "tax.transactions.itemized": Itemised(
        lambda part: Sale.of(part.transactions()), SALES, facts_of_its_transaction
    ),
}
"""By family."""


def _ledger(known: Mapping[str, Cell[Entry]] = ENTRIES) -> Grouped[Entry]:
    return Grouped(lambda part: Entry.of(part.transactions()), known, LEDGER_TOTALS, FILTERS)


_GROUPED: Mapping[str, Grouped[Any]] = {
    "connect_card_payments_fees.plan_level": Grouped(
        lambda part: Cost.of(part.transactions()),
        COSTS,
        {"total_amount": lambda costs, pen: pen.decimal(sum(cost.micros for cost in costs), 6)},
        {},
    ),
    "revenue_recognition.debit_credit_by_customer": _ledger(),
    "revenue_recognition.debit_credit_by_invoice": _ledger(),
    "revenue_recognition.debit_credit_by_invoice_line_item": _ledger(
        ENTRIES | {"transaction_model_id": model_id("il_")}
    ),
    "revenue_recognition.debit_credit_by_price": _ledger(),
    "revenue_recognition.debit_credit_by_product": _ledger(),
    "revenue_recognition.debit_credit_summary": _ledger(),
    "tax.summarized_export": Grouped(lambda part: Sale.of(part.transactions()), JURISDICTIONS, TAX_TOTALS, {}),
}
"""By family; the others have sums for each category and currency."""


def _rows(
    books: Books, report_type: ReportType, parameters: RunParameters, columns: Sequence[str], *, livemode: bool
) -> Iterator[Row]:
    family = report_type.family.removeprefix("financial_account_")
    subject = family.rpartition(".")[0]
    zone = ZoneInfo(parameters.timezone)
    slices = [
        slice_of(books.of(account), subject, parameters) for account in _accounts(books, report_type, parameters)
    ]
    pens = [Pen(part.shop, zone, parameters.decimal_separator, livemode=livemode) for part in slices]
    if family in _ITEMISED:
        for part, pen in zip(slices, pens, strict=True):
            yield from _ITEMISED[family].rows(part, pen, columns)
        return
    rows: Iterable[Mapping[str, str | None]]
    if family in _GROUPED:
        grouped = _GROUPED[family]
        rows = chain.from_iterable(
            grouped.rows(part, pen, report_type, parameters) for part, pen in zip(slices, pens, strict=True)
        )
    elif subject == "balance":
        rows = _balance_rows(slices, parameters)
    elif subject == "payouts":
        rows = _summary_rows(_merged(part.payout_totals() for part in slices), parameters)
    elif subject.startswith("all_fees."):
        rows = _fee_rows(_merged(part.totals() for part in slices), parameters)
    else:
        rows = _summary_rows(_merged(part.totals() for part in slices), parameters)
    for row in rows:
        yield [row.get(name) for name in columns]


def _accounts(books: Books, report_type: ReportType, parameters: RunParameters) -> Sequence[str | None]:
    """Answer whose shops a report is about, None for the asking account's own."""
    if parameters.connected_accounts:
        return sorted(parameters.connected_accounts)
    of_others = report_type.id.startswith("connect") and books.own.account is None
    return books.connected if report_type.of_connected_accounts or of_others else [None]


# Sums


def _merged(parts: Iterable[ByCategory]) -> ByCategory:
    """Add up the sums of several shops."""
    sums: dict[tuple[str, str], list[Totals]] = {}
    for part in parts:
        for key, totals in part.items():
            sums.setdefault(key, []).append(totals)
    return {key: sum_of(found) for key, found in sums.items()}


def _summary_rows(sums: ByCategory, parameters: RunParameters) -> Iterator[dict[str, str]]:
    """Yield a row for each category and currency, then a total for each currency."""
    rows = [(category, currency, totals) for (currency, category), totals in sorted(sums.items())]
    for currency in CURRENCIES:
        parts = [totals for (of, _), totals in sums.items() if of == currency]
        if parts:
            rows.append(("total", currency, sum_of(parts)))
    for category, currency, totals in rows:
        yield {
            "reporting_category": category,
            "currency": currency,
            "count": str(totals.transactions),
            "gross": money(totals.gross, parameters.decimal_separator),
            "fee": money(totals.fee, parameters.decimal_separator),
            "net": money(totals.net, parameters.decimal_separator),
        }


def _fee_rows(sums: ByCategory, parameters: RunParameters) -> Iterator[dict[str, str]]:
    for (currency, category), totals in sorted(sums.items()):
        cents = fee_in(category, totals.gross, totals.fee)
        if cents:
            kind = FEE_KINDS[category]
            yield {
                "suite": kind.suite,
                "product": kind.product,
                "feature_name": kind.feature_name,
                "amount": decimal(kind.amount_in(cents), PLACES, parameters.decimal_separator),
                "tax": decimal(kind.tax_in(cents), PLACES, parameters.decimal_separator),
                "currency": currency,
            }


_OF_PAYOUTS = ("payouts_gross", "payouts_fee", "payouts")


def _balance_rows(slices: Sequence[Slice], parameters: RunParameters) -> Iterator[dict[str, str | None]]:
    """Yield nine rows for each currency, whether or not anything moved."""
    start, end = parameters.interval_start or 0, parameters.interval_end or 0
    zone = ZoneInfo(parameters.timezone)
    # Stripe prints the last day that the interval includes, not the day it ends on.
    first_day, last_day = (f"{datetime.fromtimestamp(second, zone):%Y-%m-%d}" for second in (start, end - 1))
    sums = _merged(part.totals() for part in slices)
    paid = _merged(part.payout_totals() for part in slices)
    for currency in CURRENCIES:
        if parameters.currency not in (None, currency):
            continue
        starting = [part.shop.balance(start)[currency] for part in slices]
        ending = [part.shop.balance(end)[currency] for part in slices]
        activity = sum_of([Totals(), *(totals for (of, _), totals in sums.items() if of == currency)])
        payouts = paid.get((currency, "payout"), Totals())
        for category, description, cents in (
            ("starting_balance", f"Starting balance ({first_day})", sum(each.total for each in starting)),
            (
                "starting_balance_available",
                f"Available balance ({first_day})",
                sum(each.available for each in starting),
            ),
            ("activity_gross", "Account activity before fees", activity.gross),
            ("activity_fee", "Less fees", -activity.fee),
            ("activity", "Activity", activity.net),
            ("payouts_gross", "Payouts to bank", payouts.gross),
            ("payouts_fee", "Payout fees", -payouts.fee),
            ("payouts", "Total payouts", payouts.net),
            ("ending_balance", f"Ending balance ({last_day})", sum(each.total for each in ending)),
        ):
            yield {
                "category": category,
                "description": description,
                "net_amount": money(cents, parameters.decimal_separator),
                "currency": None if category in _OF_PAYOUTS and (currency, "payout") not in paid else currency,
            }
