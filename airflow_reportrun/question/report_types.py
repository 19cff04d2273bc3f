"""Which report type to ask for, where a task names several."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from typing import TYPE_CHECKING

from airflow_reportrun.reporting.errors import ConfigurationError, NoReportTypesError
from airflow_reportrun.reporting.report_type_ids import like_named

if TYPE_CHECKING:
    from airflow_reportrun.reporting.client import ReportingClient

log = logging.getLogger(__name__)


def preferences(given: object) -> list[str]:
    """Return the report types that will do, the best first.

    :param given: what the author of a task gave: the id of a report type, or several.
    :raises ConfigurationError: when it is anything else.
    """
    several = [given] if isinstance(given, str) else given
    if not isinstance(several, Sequence) or not several or not all(isinstance(it, str) and it for it in several):
        raise ConfigurationError(f"report_type is the id of a report type or several, not {given!r}.")
    return list(several)


def preferred(client: ReportingClient, given: list[str]) -> str:
    """Return the report type to ask for: of several, the first that the account has.

    :param client: calls Stripe, where there is a choice.
    :param given: see :func:`preferences`.
    :raises NoReportTypesError: when the account has none at all yet.
    :raises ConfigurationError: when it has none of these, naming what it has of like names.
    """
    if len(given) == 1:
        return given[0]
    available = {it.id for it in client.list_report_types()}
    if not available:
        raise NoReportTypesError(
            "Stripe offers this account no report types. A new account's come within its first day."
        )
    for report_type in given:
        if report_type in available:
            log.debug("Report type %s is the first that the account has of %s.", report_type, ", ".join(given))
            return report_type
    raise ConfigurationError(
        f"The account has none of the report types {', '.join(given)}. {like_named(given, available)}"
    )
