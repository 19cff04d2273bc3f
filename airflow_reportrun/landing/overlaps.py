"""Whether two landings in one table, or below one root, count the same thing twice."""

from __future__ import annotations

import json
from enum import Enum
from typing import TYPE_CHECKING

from airflow_reportrun.landing.manifest import FILTERS, iso

if TYPE_CHECKING:
    from airflow_reportrun.landing.manifest import Subject


class Overlap(Enum):
    """How what is landed anew stands to what is there."""

    SAME = "same"
    """It is about the same, and replaces it."""
    APART = "apart"
    """Both can stand in one place."""
    COVERED = "covered"
    """All that is there would come again, and more."""
    CONFLICT = "conflict"
    """Some of it would come again, and some would be lost without it."""


def overlap(new: Subject, old: Subject) -> Overlap:
    """Compare two subjects.

    Reports of other families or accounts say something else. Otherwise both count the same when their intervals
    touch and no filter that both have tells them apart. A report with nothing but an end (a state at that instant)
    touches one of the same instant, and reports without bounds (of one payout) touch each other.
    """
    if new == old:
        return Overlap.SAME
    if (new.report, new.livemode, new.stripe_account) != (old.report, old.livemode, old.stripe_account):
        return Overlap.APART
    shared = [name for name in FILTERS if name in new.filters and name in old.filters]
    if not _touch(new, old) or any(new.filters[name] != old.filters[name] for name in shared):
        return Overlap.APART
    # With a filter less there is more in it.
    covered = _contains(new, old) and new.filters.items() <= old.filters.items()
    return Overlap.COVERED if covered else Overlap.CONFLICT


def _touch(one: Subject, other: Subject) -> bool:
    if _is_span(one) and _is_span(other):
        return in_time(one)[0] < in_time(other)[1] and in_time(other)[0] < in_time(one)[1]
    if _is_span(one) or _is_span(other):
        return True  # who knows; no report type is both
    return one.interval_end == other.interval_end


def _contains(new: Subject, old: Subject) -> bool:
    if _is_span(new) and _is_span(old):
        return in_time(new)[0] <= in_time(old)[0] and in_time(old)[1] <= in_time(new)[1]
    return (new.interval_start, new.interval_end) == (old.interval_start, old.interval_end)


def _is_span(subject: Subject) -> bool:
    return subject.interval_start is not None and subject.interval_end is not None


def in_time(subject: Subject) -> tuple[int, int]:
    """Return the bounds of a subject, which are also its place in the order of time."""
    return subject.interval_start or 0, subject.interval_end or 0


def described(subject: Subject) -> str:
    """Say what a landing is about, for an error."""
    bounds = [iso(bound) for bound in (subject.interval_start, subject.interval_end)]
    when = f" from {bounds[0]} to {bounds[1]}" if bounds[0] else f" at {bounds[1]}" if bounds[1] else ""
    filters = f" with {json.dumps(dict(subject.filters), sort_keys=True)}" if subject.filters else ""
    account = f" of {subject.stripe_account}" if subject.stripe_account else ""
    return f"{subject.report}{account}{when}{filters}"
