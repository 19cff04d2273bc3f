"""What a task asks Stripe for: the values, and how to tell two of them apart."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from airflow_reportrun.reporting.errors import ConfigurationError, NoReportTypesError
from airflow_reportrun.reporting.parameters import ParameterShape, ReportParameters, form_encode, like_named

if TYPE_CHECKING:
    from pendulum import DateTime

    from airflow_reportrun.reporting.client import ReportingClient

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Asked:
    """A report, and where its file goes.

    :param report_type: such as ``balance.summary.1``.
    :param shape: what it takes of an interval.
    :param bounds: the interval, or its end alone, by Stripe's names, in the schedule's time zone.
    :param parameters: all that is sent.
    :param destination: absolute path, None where nothing is to be downloaded.
    """

    report_type: str
    shape: ParameterShape
    bounds: Mapping[str, DateTime]
    parameters: ReportParameters
    destination: str | None

    def differences(
        self, report_type: str, parameters: Mapping[str, Any], *, ignored: AbstractSet[str] = frozenset()
    ) -> str:
        """Return in words how another report differs from this one, empty where it doesn't.

        :param report_type: what the other is about.
        :param parameters: those of the other, by Stripe's names.
        :param ignored: parameters that may differ.
        """
        other = {"report_type": report_type, **dict(form_encode(parameters))}
        wanted = {"report_type": self.report_type, **dict(form_encode(self.parameters.as_dict()))}
        different = (
            name for name in sorted(other | wanted) if other.get(name) != wanted.get(name) and name not in ignored
        )
        return ", ".join(f"{name} is {other.get(name)} and not {wanted.get(name)}" for name in different)


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
            log.info("Report type %s is the first that the account has of %s.", report_type, ", ".join(given))
            return report_type
    raise ConfigurationError(
        f"The account has none of the report types {', '.join(given)}. {like_named(given, available)}"
    )
