"""Fictional shops whose books are a pure function of time: a platform's, and those of its connected accounts.

Every day's transactions follow from the account and the date alone, so that any two questions about the same
seconds get the same rows, in any order, in any process. Money is in minor units (cents), times in whole Unix
seconds.

A charge carries its own fate: most stay, some are refunded after one or four days, a few are disputed
after nine, and of those some are won back after sixteen. Once a day at 06:00 UTC each currency pays out all
that happened the day before yesterday; hence a balance never needs more than the last three days.

These are choices: a payout is announced (created) a day before the money leaves the balance and arrives, and is
never late, returned or free of charge; a day that lost money is debited from the bank, as a payout below zero; a
day without a transaction in a currency has no payout; no money moves between a platform and its connected
accounts.
"""

from __future__ import annotations

import hashlib
import math
import random
import re
from bisect import bisect_left
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from functools import lru_cache
from typing import NamedTuple

DAY = 86_400
CURRENCIES = ("eur", "usd")
PAYOUT_SECOND = 6 * 3600
PAYOUT_LAG_DAYS = 2

_CHARGES_A_DAY = 140
_PAYOUT_ID = re.compile(r"po_([0-9]{5})[a-z]{3}[0-9a-f]{16}")
_WEEK = (1.05, 1.0, 1.0, 1.05, 1.2, 0.9, 0.75)  # Monday first
_DISPUTE_FEE = 1_500

PRODUCTS = (
    "Espresso beans, 1 kg",
    'Portafilter "Classic", 58 mm',
    "Crème brûlée set, 6 pieces",
    "Subscription, monthly",
    'Grinder burrs (pair), "silent" series',
    "Gift card",
    "Teekanne Größe L, blau",
    "Filter papers, 100",
)


class Customer(NamedTuple):
    """Somebody who buys, always with the same card."""

    name: str
    email: str
    city: str
    country: str
    card_brand: str


CUSTOMERS = (
    Customer("Zoë Müller", "zoe.mueller@example.com", "Köln", "DE", "Visa"),
    Customer("José Ñúñez", "jose@example.com", "A Coruña", "ES", "MasterCard"),
    Customer("Ana-María O'Neill", "ana.oneill@example.org", "Dublin", "IE", "Visa"),
    Customer("王小明", "xiaoming.wang@example.com", "台北市", "TW", "MasterCard"),
    Customer("Søren Ångström", "soren@example.net", "Århus", "DK", "Visa"),
    Customer('Robert "Bob" Smith, Jr.', "bob@example.com", "Austin", "US", "American Express"),
    Customer("Łukasz Żółć", "lukasz@example.org", "Łódź", "PL", "Visa"),
    Customer("Наталія Шевченко", "natalia@example.com", "Київ", "UA", "MasterCard"),
    Customer("Chloé Lefèvre", "chloe.lefevre@example.net", "Orléans", "FR", "Visa"),
    Customer("Grace Johnson", "grace@example.com", "Portland", "US", "Discover"),
    Customer("佐藤 花子", "hanako.sato@example.jp", "京都市", "JP", "JCB"),
    Customer("Emily Davis", "emily.davis@example.com", "Denver", "US", "Visa"),
)


class Charge(NamedTuple):
    """A sale. ``fate`` in [0, 1) decides what becomes of it, ``token`` is the random part of its ids."""

    created: int
    currency: str
    gross: int
    fee: int
    fate: float
    customer: int
    product: int
    token: str


class Transaction(NamedTuple):
    """A balance transaction; ``net = gross - fee``. ``charge`` is what it goes back to, if anything."""

    created: int
    token: str
    category: str
    currency: str
    gross: int
    fee: int
    charge: Charge | None

    @property
    def net(self) -> int:
        """What the balance changes by."""
        return self.gross - self.fee

    @property
    def available_on(self) -> int:
        """When the money can be paid out (or is missing from what can be)."""
        return (self.created // DAY + PAYOUT_LAG_DAYS) * DAY


class Totals(NamedTuple):
    """A sum of transactions."""

    transactions: int = 0
    gross: int = 0
    fee: int = 0

    @property
    def net(self) -> int:
        """What the balance changed by."""
        return self.gross - self.fee


def sum_of(parts: Iterable[Totals]) -> Totals:
    """Add sums up."""
    return Totals(*map(sum, zip(*parts, strict=True)))


class Payout(NamedTuple):
    """A transfer to the bank, of ``amount``: the net of all that happened on one day in one currency.

    The money leaves the balance at ``effective_at``, when it arrives. The id says which day that is.
    """

    id: str
    currency: str
    amount: int
    effective_at: int

    @property
    def created(self) -> int:
        """When it became known."""
        return self.effective_at - DAY

    @property
    def pays_for(self) -> tuple[int, int]:
        """The day whose transactions it pays out, as a half-open interval."""
        midnight = (self.effective_at // DAY - PAYOUT_LAG_DAYS) * DAY
        return midnight, midnight + DAY


class Balance(NamedTuple):
    """The money in one currency: all of it, and the part that could be paid out."""

    total: int = 0
    available: int = 0


class _Story(NamedTuple):
    """What happens ``lag_days`` after charges with ``low <= fate < high``: ``share`` of each moves."""

    low: float
    high: float
    lag_days: int
    category: str
    sign: int
    share: float
    fee: int


_STORIES = (
    _Story(0.000, 0.015, 1, "refund", -1, 1.0, 0),
    _Story(0.015, 0.028, 4, "refund", -1, 1.0, 0),
    _Story(0.028, 0.038, 4, "refund", -1, 0.5, 0),
    _Story(0.038, 0.044, 9, "dispute", -1, 1.0, _DISPUTE_FEE),
    _Story(0.038, 0.041, 16, "dispute_reversal", +1, 1.0, 0),
)

ByCategory = dict[tuple[str, str], Totals]
"""Sums by (currency, reporting category)."""


class Business:
    """The books of a shop since it opened; ``opened`` is rounded down to a UTC day.

    ``account`` is None for the platform. A connected account's shop sells 5 to 25 % as much.
    """

    def __init__(self, opened: int, account: str | None = None) -> None:
        self.account = account
        self._first_day = opened // DAY
        self._seed = "" if account is None else f" of {account}"
        self._charges_a_day = _CHARGES_A_DAY * (1 if account is None else 0.05 + _digest(account)[0] / 255 / 5)
        # A day is cheap to make again and heavy to keep, its sums are the opposite.
        self._day = lru_cache(maxsize=500)(self._make_day)
        self._day_totals = lru_cache(maxsize=None)(self._make_day_totals)
        self._charges = lru_cache(maxsize=64)(self._make_charges)
        self._payout_id = lru_cache(maxsize=1000)(self._make_payout_id)

    def activity(self, start: int, end: int) -> Iterator[Transaction]:
        """Yield the transactions created in [start, end) but for payouts, oldest first."""
        for day in range(start // DAY, -(-end // DAY)):
            transactions = self._day(day)
            if start <= day * DAY and end >= (day + 1) * DAY:
                yield from transactions
            else:
                yield from transactions[bisect_left(transactions, (start,)) : bisect_left(transactions, (end,))]

    def totals(self, start: int, end: int) -> ByCategory:
        """Sum up the activity of [start, end)."""
        first, last = -(-start // DAY), end // DAY
        if first > last:
            return _summed(self.activity(start, end))
        parts = [_summed(self.activity(start, first * DAY)), _summed(self.activity(last * DAY, end))]
        parts += [self._day_totals(day) for day in range(first, last)]
        keys = {key for part in parts for key in part}
        return {key: sum_of(part[key] for part in parts if key in part) for key in keys}

    def payouts(self, start: int, end: int) -> Iterator[Payout]:
        """Yield what left the balance for the bank in [start, end), oldest first."""
        for day in range(_first_payout_from(start), _first_payout_from(end)):
            net: dict[str, int] = {}
            for (currency, _), totals in self._day_totals(day - PAYOUT_LAG_DAYS).items():
                net[currency] = net.get(currency, 0) + totals.net
            for currency, amount in sorted(net.items()):
                yield Payout(self._payout_id(day, currency), currency, amount, day * DAY + PAYOUT_SECOND)

    def payout(self, identifier: str) -> Payout | None:
        """Look up a payout; None if there is, and will be, none of that id."""
        match = _PAYOUT_ID.fullmatch(identifier)
        if match is None:
            return None
        second = int(match[1]) * DAY + PAYOUT_SECOND
        return next((payout for payout in self.payouts(second, second + 1) if payout.id == identifier), None)

    def payout_of(self, transaction: Transaction) -> tuple[str, int]:
        """Answer the id of the payout with this transaction's money, and when it is effective."""
        day = transaction.created // DAY + PAYOUT_LAG_DAYS
        return self._payout_id(day, transaction.currency), day * DAY + PAYOUT_SECOND

    def paid_out(self, start: int, end: int) -> tuple[int, int]:
        """Answer the interval whose activity is what the payouts of [start, end) are made of."""
        first, last = _first_payout_from(start), _first_payout_from(end)
        return (first - PAYOUT_LAG_DAYS) * DAY, (last - PAYOUT_LAG_DAYS) * DAY

    def unpaid(self, at: int) -> tuple[int, int]:
        """Answer the interval whose activity is the balance just before the second ``at``."""
        return self.paid_out(at, at)[0], at

    def balance(self, at: int) -> dict[str, Balance]:
        """Answer the balance by currency just before the second ``at``."""
        unpaid, _ = self.unpaid(at)
        total = self._net(unpaid, at)
        available = self._net(unpaid, max(unpaid, (at // DAY - PAYOUT_LAG_DAYS + 1) * DAY))
        return {currency: Balance(total[currency], available[currency]) for currency in CURRENCIES}

    def _net(self, start: int, end: int) -> dict[str, int]:
        net = dict.fromkeys(CURRENCIES, 0)
        for (currency, _), totals in self.totals(start, end).items():
            net[currency] += totals.net
        return net

    def _make_charges(self, day: int) -> tuple[Charge, ...]:
        if day < self._first_day:
            return ()
        rng = random.Random(f"charges of day {day}{self._seed}")  # noqa: S311 - the books are fiction, not secrets
        weekday = (day + 3) % 7  # day 0 was a Thursday
        season = 1 + 0.12 * math.sin(day * 2 * math.pi / 365.25)
        count = round(self._charges_a_day * _WEEK[weekday] * season * rng.uniform(0.9, 1.1))
        return tuple(_charge(rng, day * DAY) for _ in range(count))

    def _make_day(self, day: int) -> tuple[Transaction, ...]:
        midnight = day * DAY
        transactions = [
            Transaction(
                charge.created,
                charge.token,
                "charge",
                charge.currency,
                charge.gross,
                charge.fee,
                charge,
            )
            for charge in self._charges(day)
        ]
        for story in _STORIES:
            transactions += [
                _follow_up(story, charge, midnight)
                for charge in self._charges(day - story.lag_days)
                if story.low <= charge.fate < story.high
            ]
        screened = len(self._charges(day - 1))
        if screened:
            created = midnight + 2 * 3600 + day * 37 % 3600
            token = _digest(f"fee of day {day}{self._seed}").hex()[:24]
            transactions.append(Transaction(created, token, "fee", "usd", -5 * screened, 0, None))
        transactions.sort(key=lambda transaction: transaction[:2])
        return tuple(transactions)

    def _make_day_totals(self, day: int) -> ByCategory:
        return _summed(self._day(day))

    def _make_payout_id(self, day: int, currency: str) -> str:
        return f"po_{day:05}{currency}" + _digest(f"{currency} payout of day {day}{self._seed}").hex()[:16]


_business_of = lru_cache(maxsize=64)(Business)


class Books:
    """The books that an account can ask about: its own, and those of its connected accounts.

    Books of one process share the shops, and with them the days already made up.
    """

    def __init__(self, opened: int, account: str | None = None, connected: Sequence[str] = ()) -> None:
        self.connected = connected
        self.own = _business_of(opened, account)
        self._opened = opened

    def of(self, account: str | None) -> Business:
        """Answer the books of a connected account, or of the asking account itself for None."""
        return self.own if account is None else _business_of(self._opened, account)


def _digest(text: str) -> bytes:
    return hashlib.sha256(text.encode()).digest()


def _charge(rng: random.Random, midnight: int) -> Charge:
    second = min(int(rng.triangular(0, DAY, DAY * 0.6)), DAY - 1)
    euros = rng.random() < 0.3
    gross = 100 + int(rng.lognormvariate(8.0, 0.7))
    return Charge(
        midnight + second,
        "eur" if euros else "usd",
        gross,
        # Stripe's list prices: 1.5 % + 25 ct on European cards, 2.9 % + 30 ct on American ones.
        (gross * 15 + 500) // 1000 + 25 if euros else (gross * 29 + 500) // 1000 + 30,
        rng.random(),
        int(rng.random() * len(CUSTOMERS)),
        int(rng.random() * len(PRODUCTS)),
        f"{rng.getrandbits(96):024x}",
    )


def _follow_up(story: _Story, charge: Charge, midnight: int) -> Transaction:
    created = midnight + charge.created * 7919 % DAY
    return Transaction(
        created,
        f"{story.lag_days:02x}{charge.token[2:]}",
        story.category,
        charge.currency,
        story.sign * int(charge.gross * story.share),
        story.fee,
        charge,
    )


def _summed(transactions: Iterable[Transaction]) -> ByCategory:
    sums: dict[tuple[str, str], list[int]] = defaultdict(lambda: [0, 0, 0])
    for transaction in transactions:
        entry = sums[transaction.currency, transaction.category]
        entry[0] += 1
        entry[1] += transaction.gross
        entry[2] += transaction.fee
    return {key: Totals(*entry) for key, entry in sums.items()}


def _first_payout_from(at: int) -> int:
    """Answer the day of the first payout at or after the second ``at``."""
    return -(-(at - PAYOUT_SECOND) // DAY)
