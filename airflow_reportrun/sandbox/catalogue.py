"""The report types on offer, and how far their data reaches."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from .messages import Json

HALF_DAY = 12 * 3600

_METADATA_COLUMN = re.compile(r"(payment|refund|transfer)_metadata\[.+\]")


@dataclass(frozen=True, slots=True)
class ReportType:
    """What Stripe documents about a type.

    ``optional`` are the parameters it takes besides the interval; ``metadata`` says whether columns such as
    ``payment_metadata[order_id]`` may be asked for. Names are the sandbox's choice.
    """

    id: str
    name: str
    columns: tuple[str, ...]
    default_columns: tuple[str, ...]
    optional: frozenset[str]
    metadata: bool = False
    live_only: bool = False
    has_data: bool = True

    def has_column(self, name: str) -> bool:
        """Tell whether ``name`` may be asked for."""
        return name in self.columns or (self.metadata and _METADATA_COLUMN.fullmatch(name) is not None)

    def body(self, available: Availability, *, livemode: bool) -> Json:
        """Show the type as Stripe does."""
        return {
            "id": self.id,
            "object": "reporting.report_type",
            "data_available_end": available.end,
            "data_available_start": available.start,
            "default_columns": list(self.default_columns),
            "livemode": livemode,
            "name": self.name,
            "updated": available.end,
            "version": int(self.id.rpartition(".")[2]),
        }


@dataclass(frozen=True, slots=True)
class Availability:
    """The data's reach, in Unix seconds; an interval may touch both ends."""

    start: int
    end: int


def data_available_end_at(now: float) -> int:
    """Answer the last 00:00 or 12:00 UTC that is at least 12 hours back.

    Stripe prepares data twice a day and completes a UTC day by 12:00 of the next.
    """
    return (int(now) - HALF_DAY) // HALF_DAY * HALF_DAY


def _with_utc_twins(names: tuple[str, ...]) -> tuple[str, ...]:
    timestamps = ("created", "available_on", "charge_created", "automatic_payout_effective_at")
    return tuple(twin for name in names for twin in ((name, f"{name}_utc") if name in timestamps else (name,)))


def _address(prefix: str) -> tuple[str, ...]:
    parts = ("line1", "line2", "city", "state", "postal_code", "country")
    return tuple(f"{prefix}_address_{part}" for part in parts)


_ACTIVITY = (
    "balance_transaction_id",
    "created",
    "available_on",
    "currency",
    "gross",
    "fee",
    "net",
    "reporting_category",
    "description",
)
_ACTIVITY_OPTIONAL = (
    "source_id",
    "charge_id",
    "charge_created",
    "payment_intent_id",
    "payment_method_type",
    "is_link",
    "card_brand",
    "card_funding",
    "card_country",
    *_address("card"),
    "statement_descriptor",
    "dispute_reason",
    "customer_facing_amount",
    "customer_facing_currency",
    "customer_id",
    "customer_name",
    "customer_email",
    "customer_description",
    *_address("customer"),
    *_address("customer_shipping"),
    *_address("shipping"),
    "invoice_id",
    "invoice_number",
    "subscription_id",
    "automatic_payout_id",
    "automatic_payout_effective_at",
    "connected_account_id",
    "connected_account_name",
    "connected_account_country",
    "connected_account_direct_charge_id",
    "regulatory_tag",
    "trace_id",
    "trace_id_status",
)
_SUMMARY = ("reporting_category", "currency", "count", "gross", "fee", "net")
_BALANCE = ("category", "description", "net_amount", "currency")


def _itemized(version: int) -> ReportType:
    return ReportType(
        f"balance_change_from_activity.itemized.{version}",
        "Itemized balance change from activity",
        _with_utc_twins(_ACTIVITY + _ACTIVITY_OPTIONAL),
        _ACTIVITY,
        frozenset({"timezone", "currency", "reporting_category", "columns"}),
        metadata=True,
    )


def _summary(version: int) -> ReportType:
    return ReportType(
        f"balance_change_from_activity.summary.{version}",
        "Balance change from activity summary",
        _SUMMARY,
        _SUMMARY,
        frozenset({"timezone", "currency", "columns"}),
    )


CATALOGUE = {
    report_type.id: report_type
    for report_type in (
        ReportType(
            "balance.summary.1",
            "Balance summary",
            _BALANCE,
            _BALANCE,
            frozenset({"timezone", "currency", "columns"}),
        ),
        _itemized(3),
        _itemized(7),
        _summary(1),
        _summary(2),
    )
}
"""The report types by id, in the order they are listed."""
