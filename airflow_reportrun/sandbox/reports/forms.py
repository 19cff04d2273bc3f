"""What a cell looks like by the name of its column, where nothing more is known of the column.

Names are looked at in the order of `FORMS`, whose patterns are those of a shell. What they say is the form alone:
the time, the amount and the id are those of the transaction that the row is about. A name without a form is null.
"""

from __future__ import annotations

from collections.abc import Callable
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from .pen import Pen


class Facts(NamedTuple):
    """What there is to make a cell from: Unix seconds, an id's random part, an amount in cents, whose country."""

    created: int
    token: str
    currency: str
    cents: int
    country: str | None


class Form(NamedTuple):
    """How the columns of some names are written; ``write`` gets the column's name, too."""

    what: str
    names: str
    write: Callable[[str, Facts, Pen], str | None]


_PREFIXES = {
    "balance_transaction": "txn",
    "charge": "ch",
    "connected_account": "acct",
    "customer": "cus",
    "destination": "acct",
    "dispute": "du",
    "fee": "fee",
    "invoice": "in",
    "invoice_line_item": "il",
    "line_item": "li",
    "payment_intent": "pi",
    "payment_method": "pm",
    "payout": "po",
    "product": "prod",
    "refund": "re",
    "subscription": "sub",
    "transfer": "tr",
}


def _id(name: str, facts: Facts, pen: Pen) -> str:
    word = name.removesuffix("_id")
    return f"{_PREFIXES.get(word, word)}_{facts.token}"


def _metadata(name: str, facts: Facts, pen: Pen) -> str | None:
    """Answer a text for every second thing, since nobody has set a key on all of them."""
    key = name.partition("[")[2].removesuffix("]")
    return f"{key} {facts.token[:6].upper()}" if facts.token[-1] in "02468ace" else None


FORMS = (
    Form("text, or NULL", "*_metadata[[]*", _metadata),
    Form("true or false", "is_* livemode *_present", lambda name, f, pen: "false"),
    Form(
        "a time in the report's time zone",
        "created *_created *_at *_on tax_date transaction_date transaction_date_*",
        lambda name, f, pen: pen.time(f.created),
    ),
    Form("a date", "*_date", lambda name, f, pen: pen.time(f.created)[:10]),
    Form("a count", "count *_count quantity", lambda name, f, pen: "1"),
    Form(
        "money",
        "amount *_amount gross net fee *_fee subtotal tax total *_total total_* *_sales",
        lambda name, f, pen: pen.money(f.cents),
    ),
    Form("a currency", "currency *_currency", lambda name, f, pen: f.currency),
    Form("a country, or NULL", "country *_country country_code", lambda name, f, pen: f.country),
    Form("an id", "*_id", _id),
)


def by_form(name: str) -> Callable[[Facts, Pen], str | None] | None:
    """Answer what writes a column of this name; None where the name says nothing."""
    for form in FORMS:
        if any(fnmatchcase(name, pattern) for pattern in form.names.split()):
            return lambda facts, pen: form.write(name, facts, pen)
    return None
