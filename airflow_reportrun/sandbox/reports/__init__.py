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
* The files about fees have a row for each transaction with a fee, and for each one that is a fee. It is
  incurred, and settled from the balance, when the transaction is created, and there is no tax on it.
* Families without data (`ReportType.has_data`) are a header alone.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import datetime
from typing import TYPE_CHECKING, TypeVar
from zoneinfo import ZoneInfo

from ..business import CURRENCIES, Books, ByCategory, Totals, sum_of
from .cells import FEE_KINDS, FEES, PAYOUTS, TRANSACTIONS, Cell, Fee, Pen, cells_of, fee_in, money
from .slices import Slice, slice_of

if TYPE_CHECKING:
    from ..catalogue import ReportType
    from ..parameters import RunParameters

Item = TypeVar("Item")
Row = Iterable[str | None]


def write_report(books: Books, report_type: ReportType, parameters: RunParameters) -> Iterator[bytes]:
    """Generate the report of a run, line by line; ``books`` are those of the account that the run belongs to."""
    columns = parameters.columns or report_type.default_columns
    yield _line(columns)
    if report_type.has_data:
        for row in _rows(books, report_type, parameters, columns):
            yield _line(row)


def _line(row: Row) -> bytes:
    return (",".join(map(_quoted, row)) + "\n").encode()


def _quoted(cell: str | None) -> str:
    return "" if cell is None else '"' + cell.replace('"', '""') + '"'


def _rows(
    books: Books, report_type: ReportType, parameters: RunParameters, columns: Sequence[str]
) -> Iterator[Row]:
    subject, _, form = report_type.family.rpartition(".")
    slices = [
        slice_of(books.of(account), subject, parameters) for account in _accounts(books, report_type, parameters)
    ]
    if form == "itemized":
        for part in slices:
            pen = Pen(part.shop, ZoneInfo(parameters.timezone), parameters.decimal_separator)
            if subject == "payouts":
                yield from _written(pen, part.payouts(), PAYOUTS, columns)
            elif subject.startswith("all_fees."):
                yield from _written(pen, Fee.of(part.transactions()), FEES, columns)
            else:
                yield from _written(pen, part.transactions(), TRANSACTIONS, columns)
    elif subject == "balance":
        yield from _picked(columns, _balance_rows(slices, parameters))
    elif subject == "payouts":
        yield from _picked(columns, _summary_rows(_merged(part.payout_totals() for part in slices), parameters))
    elif subject.startswith("all_fees."):
        yield from _picked(columns, _fee_rows(_merged(part.totals() for part in slices), parameters))
    else:
        yield from _picked(columns, _summary_rows(_merged(part.totals() for part in slices), parameters))


def _accounts(books: Books, report_type: ReportType, parameters: RunParameters) -> Sequence[str | None]:
    if not report_type.of_connected_accounts:
        return [None]
    return sorted(parameters.connected_accounts) or books.connected


def _written(
    pen: Pen, items: Iterable[Item], known: Mapping[str, Cell[Item]], columns: Sequence[str]
) -> Iterator[Row]:
    cells = cells_of(columns, known)
    for item in items:
        yield [cell(item, pen) for cell in cells]


def _picked(columns: Sequence[str], rows: Iterable[Mapping[str, str]]) -> Iterator[Row]:
    for row in rows:
        yield [row[name] for name in columns]


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
        amount = fee_in(category, totals.gross, totals.fee)
        if amount:
            kind = FEE_KINDS[category]
            yield {
                "suite": kind.suite,
                "product": kind.product,
                "feature_name": kind.feature_name,
                "amount": money(amount, parameters.decimal_separator),
                "tax": money(0, parameters.decimal_separator),
                "currency": currency,
            }


def _balance_rows(slices: Sequence[Slice], parameters: RunParameters) -> Iterator[dict[str, str]]:
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
                "currency": currency,
            }
