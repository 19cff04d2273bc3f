"""What the id of a report type says: its version, which parameters it takes, and which other ids are like it."""

from __future__ import annotations

import re
from collections.abc import Iterable
from enum import StrEnum


class ParameterShape(StrEnum):
    """What a report type asks for; the wrong shape is a 400."""

    INTERVAL = "interval"
    """``interval_start`` and ``interval_end``: most report types."""
    INTERVAL_END = "interval_end"
    """``interval_end`` alone: a state at an instant."""
    PAYOUT = "payout"
    """``payout`` alone: one payout, whenever it was."""


_OF_CONNECTED_ACCOUNTS = "connected_account_"
"""Begins the id of a report on a platform's accounts, which takes what the platform's own report takes."""

_LISTS_THEM = "StripeReportingHook().list_report_types()"

_SHAPES_BY_PREFIX = {
    "ending_balance_reconciliation.": ParameterShape.INTERVAL_END,
    "connect.negative_balance_": ParameterShape.INTERVAL_END,
    "payout_reconciliation.by_id.": ParameterShape.PAYOUT,
}


def shape_of(report_type: str) -> ParameterShape:
    """Return the shape of a report type; ids that nobody knows take an interval."""
    own = own_id(report_type)
    for prefix, shape in _SHAPES_BY_PREFIX.items():
        if own.startswith(prefix):
            return shape
    return ParameterShape.INTERVAL


def own_id(report_type: str) -> str:
    """Return the id of the report on one's own account that has the same columns as one on connected accounts."""
    return report_type.removeprefix(_OF_CONNECTED_ACCOUNTS)


def family_of(report_type: str) -> str:
    """Return a report type without its version; ids that end in something else have none, and are their own."""
    versioned = re.fullmatch(r"(.+)\.[0-9]+", report_type, re.DOTALL)
    return versioned[1] if versioned else report_type


def like_named(given: Iterable[str], available: Iterable[str]) -> str:
    """Say in a sentence what an account has in the place of report types that it lacks.

    :param given: ids that it lacks.
    :param available: ids that it has.
    """
    from difflib import get_close_matches

    families: dict[str, list[str]] = {}
    for report_type in sorted(available):
        families.setdefault(family_of(report_type), []).append(report_type)
    if not families:
        return "Stripe offers this account no report types at all; a new account's come within its first day."
    wanted = {family_of(report_type).lower() for report_type in given}
    close = wanted & families.keys() or {
        name for it in wanted for name in get_close_matches(it, families, n=2, cutoff=0.75)
    }
    if not close:
        count = sum(map(len, families.values()))
        return f"The account has {count} others, and none of a like name; {_LISTS_THEM} lists them."
    return f"The account has {', '.join(it for name in sorted(close) for it in families[name])}."
