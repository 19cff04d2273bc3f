"""What each row of a table says of whose it is, in whatever kind of table."""

from __future__ import annotations

import hashlib
import json
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from airflow_reportrun.landing.manifest import Subject

OURS = ("_report_type", "_stripe_account", "_filters", "_interval_start", "_interval_end", "_report_run_id")
"""The columns that each row has besides those of its report."""

LONGEST_TEXT = 255
"""Characters of our own columns: some databases have them in an index."""


def landing_key(subject: Subject) -> str:
    """Return the digest of a subject: NULLs and filters make no good key."""
    parts = [
        *(subject.report, subject.livemode, subject.stripe_account),
        *(sorted(subject.filters.items()), subject.interval_start, subject.interval_end),
    ]
    return hashlib.sha256(json.dumps(parts).encode()).hexdigest()


def filters_of(subject: Subject) -> str | None:
    """Return what the rows and the manifests say of the parameters that chose rows: a digest where it is long."""
    if not subject.filters:
        return None
    text = json.dumps(dict(subject.filters), sort_keys=True)
    return text if len(text) <= LONGEST_TEXT else f"sha256:{hashlib.sha256(text.encode()).hexdigest()}"
