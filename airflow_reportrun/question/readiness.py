"""Whether a report type's data covers an interval: decisions without I/O or a clock.

Stripe prepares data about twice a day (``data_available_end`` moves on), and an account's data has a beginning
(``data_available_start``), which never moves. Both bounds count as covered.
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Literal

import pendulum

from airflow_reportrun.reporting.errors import DataMissingError

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import timedelta

    from airflow_reportrun.reporting.models import ReportType

log = logging.getLogger(__name__)

OnMissingData = Literal["fail", "skip", "clip"]


def data_wanted(bounds: Mapping[str, pendulum.DateTime], settle: timedelta) -> int:
    """Return how far the data has to reach before the report is asked for, in epoch seconds.

    :param bounds: the interval, or its end alone.
    :param settle: for how long figures still move after they are first there.
    """
    return bounds["interval_end"].int_timestamp + int(settle.total_seconds())


def covered(
    bounds: Mapping[str, pendulum.DateTime], report_type: ReportType, on_missing_data: OnMissingData
) -> dict[str, pendulum.DateTime]:
    """Return the bounds, without what lies before the account's data where that is to be clipped.

    :param bounds: the interval, or its end alone.
    :param report_type: says where the data begins.
    :param on_missing_data: ``clip`` cuts off what is missing, where anything is left.
    :raises DataMissingError: when data is missing that can't come any more.
    """
    begins = pendulum.from_timestamp(report_type.data_available_start)
    start, end = bounds.get("interval_start"), bounds["interval_end"]
    if start is None:
        missing, left = end < begins, False
    else:
        missing, left = start < begins, begins < end
    if not missing:
        return dict(bounds)
    if start is not None and left and on_missing_data == "clip":
        clipped = begins.in_timezone(start.timezone or pendulum.UTC)
        log.warning("The account's data begins at %s; the interval is clipped to that.", clipped)
        return {**bounds, "interval_start": clipped}
    advice = ""
    if on_missing_data == "fail":
        clip = ', or "clip" to report on what is left of it' if left else ""
        advice = f' Start the DAG later, or pass on_missing_data="skip"{clip}.'
    span = f"the interval [{start}, {end})" if start else f"interval_end {end}"
    raise DataMissingError(
        f"Stripe's data for {report_type.id} begins at {begins}, and {span} begins before.{advice}"
    )
