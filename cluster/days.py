"""What the DAG of the chaos asks for, and which days."""

from __future__ import annotations

import os
from datetime import UTC, datetime, timedelta

DAG_ID, TABLE = "days", "stripe_activity"
REPORT_TYPE = "balance_change_from_activity.itemized.3"
DAY = int(timedelta(days=1).total_seconds())
FIRST = datetime(2025, 1, 1, tzinfo=UTC)
DAYS = int(os.environ.get("CHAOS_INTERVALS") or 200)
STARTS = [int(FIRST.timestamp()) + number * DAY for number in range(DAYS)]
END = STARTS[-1] + DAY
