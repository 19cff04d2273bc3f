"""A fictional shop whose books are a pure function of time.

Every day's transactions follow from the date alone, so that any two questions about the same seconds get
the same rows, in any order, in any process. Money is in minor units (cents), times in whole Unix seconds.

A charge carries its own fate: most stay, some are refunded after one or four days, a few are disputed
after nine, and of those some are won back after sixteen. Once a day at 06:00 UTC each currency pays out all
that happened the day before yesterday; hence a balance never needs more than the last three days.
"""

from __future__ import annotations

import hashlib
import math
import random
from bisect import bisect_left
from collections import defaultdict
from collections.abc import Iterable, Iterator
from functools import lru_cache
from typing import NamedTuple

DAY = 86_400
CURRENCIES = ("eur", "usd")
PAYOUT_SECOND = 6 * 3600
PAYOUT_LAG_DAYS = 2

_CHARGES_A_DAY = 140
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
    """The books of the shop since it opened; ``opened`` is rounded down to a UTC day."""

    def __init__(self, opened: int) -> None:
        self._first_day = opened // DAY
        # A day is cheap to make again and heavy to keep, its sums are the opposite.
        self._day = lru_cache(maxsize=500)(self._make_day)
        self._day_totals = lru_cache(maxsize=None)(self._make_day_totals)
        self._charges = lru_cache(maxsize=64)(self._make_charges)

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

    def payouts(self, start: int, end: int) -> dict[str, int]:
        """Sum up by currency what went to the bank in [start, end)."""
        first, last = _first_payout_from(start), _first_payout_from(end)
        return self._net((first - PAYOUT_LAG_DAYS) * DAY, (last - PAYOUT_LAG_DAYS) * DAY)

    def balance(self, at: int) -> dict[str, Balance]:
        """Answer the balance by currency just before the second ``at``."""
        unpaid = (_first_payout_from(at) - PAYOUT_LAG_DAYS) * DAY
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
        rng = random.Random(f"charges of day {day}")  # noqa: S311 - the books are fiction, not secrets
        weekday = (day + 3) % 7  # day 0 was a Thursday
        season = 1 + 0.12 * math.sin(day * 2 * math.pi / 365.25)
        count = round(_CHARGES_A_DAY * _WEEK[weekday] * season * rng.uniform(0.9, 1.1))
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
            token = hashlib.sha256(f"fee of day {day}".encode()).hexdigest()[:24]
            transactions.append(Transaction(created, token, "fee", "usd", -5 * screened, 0, None))
        transactions.sort(key=lambda transaction: transaction[:2])
        return tuple(transactions)

    def _make_day_totals(self, day: int) -> ByCategory:
        return _summed(self._day(day))


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
