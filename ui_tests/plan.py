"""What the DAGs and the tests agree on; Airflow's processes import it, too."""

from __future__ import annotations

ACTIVITY = "balance_change_from_activity.itemized.3"
PAYOUTS = "payout_reconciliation.itemized.5"
MONTHS = "balance.summary.1"

YEARS, TYPES = 10, tuple(f"history_{number:02}.itemized.1" for number in range(20))
"""What is in the table: so many years of daily intervals, of so many report types."""
