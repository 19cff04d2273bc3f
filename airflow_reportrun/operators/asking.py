"""What a task asks Stripe for, from its options."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from datetime import datetime
from functools import cached_property
from typing import TYPE_CHECKING, Any

from airflow.providers.common.compat.sdk import BaseOperator

from airflow_reportrun.question.question import Asked, preferences
from airflow_reportrun.reporting.errors import ConfigurationError, ReportingError
from airflow_reportrun.reporting.parameters import ParameterShape, ReportParameters, form_encode, shape_of
from airflow_reportrun.tasks.options import require_rendered

if TYPE_CHECKING:
    from airflow.providers.common.compat.sdk import Context
    from pendulum import DateTime

    from airflow_reportrun.hooks import StripeReportingHook
    from airflow_reportrun.question.intervals import IntervalUnit
    from airflow_reportrun.question.readiness import OnMissingData
    from airflow_reportrun.tasks.options import Given

log = logging.getLogger(__name__)

QUESTION = (
    "report_type",
    "interval_start",
    "interval_end",
    "columns",
    "connected_account",
    "currency",
    "payout",
    "reporting_category",
    "timezone",
    "parameters",
)
"""The options that say what to ask for; a retry that knows what was asked for does without them."""


class AskingOperator(BaseOperator):
    """The options that say what to ask for, and what they come to; see :class:`StripeReportRunOperator`."""

    report_type: str | Sequence[str]
    interval_start: str | int | datetime | None
    interval_end: str | int | datetime | None
    interval: IntervalUnit | None
    columns: Sequence[str]
    connected_account: str | None
    currency: str | None
    payout: str | None
    reporting_category: str | None
    timezone: str | None
    parameters: Mapping[str, Any] | None
    parameter_shape: ParameterShape | None
    stripe_conn_id: str
    stripe_account: str | None
    destination: str | None
    on_missing_data: OnMissingData
    _given: Given

    @cached_property
    def hook(self) -> StripeReportingHook:
        """The hook of this task."""
        from airflow_reportrun.hooks import StripeReportingHook

        return StripeReportingHook(self.stripe_conn_id, stripe_account=self.stripe_account)

    def asked_now(self, context: Context, report_type: str, *, quiet: bool = False) -> Asked:
        """Return what the options ask for, checked; quietly, where it is only compared."""
        require_rendered(self, self._given)
        return self.asking(report_type, self._bounds(context, self._shape(report_type), quiet=quiet))

    def asked_before(self, context: Context, report_type: str, parameters: Mapping[str, Any]) -> Asked:
        """Return what a report run was asked for with, whatever the options say now."""
        from airflow_reportrun.question.intervals import instant, timezone

        zone = timezone(context)
        bounds = {
            name: instant(name, parameters[name]).in_timezone(zone)
            for name in ("interval_start", "interval_end")
            if parameters.get(name) is not None
        }
        shape = {0: ParameterShape.PAYOUT, 1: ParameterShape.INTERVAL_END, 2: ParameterShape.INTERVAL}[len(bounds)]
        before = ReportParameters.from_dict(parameters)
        return Asked(report_type, shape, bounds, before, self._destination(report_type, before, bounds))

    def differences(self, context: Context, before: Asked) -> str:
        """Return in words how a report run differs from what the options ask for now, empty where it doesn't."""
        given = preferences(self.report_type)
        report_type = before.report_type if before.report_type in given else given[0]
        now = self.asked_now(context, report_type, quiet=True)
        clipped = (
            self.on_missing_data == "clip"
            and before.shape is now.shape is ParameterShape.INTERVAL
            and before.bounds["interval_start"] > now.bounds["interval_start"]
        )
        return now.differences(
            before.report_type,
            before.parameters.as_dict(),
            ignored={"interval_start"} if clipped else set(),
        )

    def warn_of_differences(self, context: Context, before: Asked) -> None:
        """Say how what was asked for before differs from what the options ask for now."""
        try:
            differences = self.differences(context, before)
        except ReportingError as error:
            differences = f"which can't be asked for: {error}"
        if differences:
            log.warning(
                "The task asks for something else than in its first submission (%s). The first one counts; "
                "clear the task to ask anew.",
                differences,
            )

    def asking(self, report_type: str, bounds: Mapping[str, DateTime]) -> Asked:
        """Return what the options ask for about a span of time, checked."""
        shape = self._shape(report_type)
        parameters = ReportParameters(
            columns=self.columns or (),
            connected_account=self.connected_account,
            currency=self.currency,
            payout=self.payout,
            reporting_category=self.reporting_category,
            timezone=self.timezone,
            extra={} if self.parameters is None else self.parameters,
            **{name: bound.int_timestamp for name, bound in bounds.items()},
        )
        parameters.check(shape)
        form_encode(parameters.as_dict())
        return Asked(report_type, shape, bounds, parameters, self._destination(report_type, parameters, bounds))

    def require_free(self, asked: Asked) -> None:
        """Refuse a destination that is another report's, while none is created for it."""
        from airflow_reportrun.landing.manifest import Subject
        from airflow_reportrun.landing.report import require_free
        from airflow_reportrun.landing.stores import place_of

        if asked.destination is None:
            return
        settings = self.hook.settings
        subject = Subject.of(
            asked.report_type,
            asked.parameters.as_dict(),
            livemode=bool(settings.livemode),
            stripe_account=settings.stripe_account,
        )
        require_free(place_of(asked.destination), subject)

    def _shape(self, report_type: str) -> ParameterShape:
        return self.parameter_shape or shape_of(report_type)

    def _bounds(self, context: Context, shape: ParameterShape, *, quiet: bool = False) -> dict[str, DateTime]:
        """Return what the report type takes of the interval, by Stripe's names, in the schedule's time zone."""
        from airflow_reportrun.question.intervals import instant, resolve, timezone

        given = {"interval_start": self.interval_start, "interval_end": self.interval_end}
        if shape is ParameterShape.INTERVAL:
            found = resolve(context, **given, interval=self.interval, quiet=quiet)
            return {"interval_start": found.start, "interval_end": found.end}
        if shape is ParameterShape.PAYOUT and self.interval is not None:
            raise ConfigurationError("This report type takes payout; leave out interval.")
        zone = timezone(context)
        bounds = {
            name: instant(name, value).in_timezone(zone) for name, value in given.items() if value is not None
        }
        if shape is ParameterShape.INTERVAL_END and not bounds:
            return {"interval_end": resolve(context, interval=self.interval, quiet=quiet).end}
        return bounds

    def _destination(
        self, report_type: str, parameters: ReportParameters, bounds: Mapping[str, DateTime]
    ) -> str | None:
        from airflow_reportrun.landing.destination import placeholders, resolve_destination

        if self.destination is None:
            return None
        account = self.hook.settings.stripe_account
        values = placeholders(report_type, parameters.as_dict(), bounds, stripe_account=account)
        return resolve_destination(self.destination, values)
