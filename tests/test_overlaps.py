"""Whether two reports count the same thing twice: by their bounds, their filters, and whose they are."""

from __future__ import annotations

from typing import Any

import pytest

from airflow_reportrun.landing.manifest import Subject
from airflow_reportrun.landing.overlaps import Overlap, described, in_time, overlap
from tests.landings import day, manifest_of

REPORT = "balance_change_from_activity.itemized"


def about(start: int | None = 1, end: int | None = 2, **others: Any) -> Subject:
    """Return what a report is about, by days of May."""
    return manifest_of("frr_1", 1, start=start and day(start), end=end and day(end), **others).subject


@pytest.mark.parametrize(
    ("new", "old", "so"),
    [
        (about(), about(report_type=f"{REPORT}.4"), Overlap.SAME),
        (about(), about(report_type="payouts.itemized.3"), Overlap.APART),
        (about(), about(livemode=True), Overlap.APART),
        (about(), about(account="acct_1"), Overlap.APART),
        (about(account="acct_1"), about(account="acct_2"), Overlap.APART),
        # By time.
        (about(1, 2), about(2, 3), Overlap.APART),
        (about(2, 3), about(1, 2), Overlap.APART),
        (about(1, 32), about(5, 6), Overlap.COVERED),
        (about(1, 3), about(1, 2), Overlap.COVERED),
        (about(1, 3), about(2, 3), Overlap.COVERED),
        (about(5, 6), about(1, 32), Overlap.CONFLICT),
        (about(1, 3), about(2, 4), Overlap.CONFLICT),
        (about(2, 4), about(1, 3), Overlap.CONFLICT),
        # By filters.
        (about(currency="usd"), about(currency="eur"), Overlap.APART),
        (about(1, 3, currency="usd"), about(currency="eur"), Overlap.APART),
        (about(connected_account="acct_1", currency="usd"), about(connected_account="acct_1"), Overlap.CONFLICT),
        (
            about(connected_account="acct_1", currency="usd"),
            about(connected_account="acct_1", currency="eur"),
            Overlap.APART,
        ),
        (about(), about(currency="usd"), Overlap.COVERED),
        (about(1, 3), about(currency="usd"), Overlap.COVERED),
        (about(1, 3, currency="usd"), about(currency="usd"), Overlap.COVERED),
        (about(1, 3, currency="usd"), about(), Overlap.CONFLICT),
        (about(currency="usd"), about(), Overlap.CONFLICT),
        (about(currency="usd"), about(connected_account="acct_1"), Overlap.CONFLICT),
        (about(unheard_of="a"), about(unheard_of="b"), Overlap.CONFLICT),
        # Without a beginning, and without bounds.
        (about(None, 2), about(None, 3), Overlap.APART),
        (about(None, 3), about(None, 2), Overlap.APART),
        (about(None, 2), about(None, 2, currency="usd"), Overlap.COVERED),
        (about(None, None, payout="po_1"), about(None, None, payout="po_2"), Overlap.APART),
        (about(None, None), about(None, None, payout="po_1"), Overlap.COVERED),
        (about(None, None, payout="po_1"), about(None, None), Overlap.CONFLICT),
        # No report type is both; who knows what it would be.
        (about(1, 2), about(None, 2), Overlap.CONFLICT),
        (about(None, 2), about(1, 2), Overlap.CONFLICT),
        (about(None, 5), about(1, 2), Overlap.CONFLICT),
        (about(1, 2), about(None, None), Overlap.CONFLICT),
    ],
)
def test_two_reports_stand_to_each_other(new: Subject, old: Subject, so: Overlap) -> None:
    """The one to be landed, and one that is there."""
    assert overlap(new, old) is so


def test_bounds_are_a_place_in_time() -> None:
    """Also of what has none, which comes first."""
    assert in_time(about(1, 2)) == (day(1), day(2))
    assert in_time(about(None, 2)) == (0, day(2))
    assert in_time(about(None, None)) == (0, 0)


@pytest.mark.parametrize(
    ("subject", "words"),
    [
        (about(), " from 2024-05-01T00:00:00Z to 2024-05-02T00:00:00Z"),
        (about(None, 2, account="acct_1"), " of acct_1 at 2024-05-02T00:00:00Z"),
        (about(None, None, payout="po_1", currency="usd"), ' with {"currency": "usd", "payout": "po_1"}'),
        (
            about(account="acct_1", currency="usd"),
            ' of acct_1 from 2024-05-01T00:00:00Z to 2024-05-02T00:00:00Z with {"currency": "usd"}',
        ),
    ],
)
def test_a_landing_is_described(subject: Subject, words: str) -> None:
    """By what tells it from others."""
    assert described(subject) == REPORT + words
