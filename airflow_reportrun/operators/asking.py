"""What a task asks for, of its options; and how that differs from what it has asked for before."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from functools import cached_property
from typing import TYPE_CHECKING, Any

from airflow.providers.common.compat.sdk import BaseOperator

from airflow_reportrun.lineage import LineageMixin
from airflow_reportrun.question.bounds import IntervalError
from airflow_reportrun.question.question import Question, bounds_of
from airflow_reportrun.question.report_types import preferences
from airflow_reportrun.reporting.errors import OTHER_SHAPE, ReportingError
from airflow_reportrun.reporting.parameters import ReportParameters, form_encode
from airflow_reportrun.reporting.report_type_ids import shape_of
from airflow_reportrun.tasks.options import require_rendered, truth
from airflow_reportrun.tasks.outlets import key_of
from airflow_reportrun.tasks.ui import Noted

if TYPE_CHECKING:
    from datetime import datetime

    from airflow.providers.common.compat.sdk import Context
    from pendulum import DateTime

    from airflow_reportrun.hooks import StripeReportingHook
    from airflow_reportrun.question.intervals import IntervalUnit
    from airflow_reportrun.question.readiness import OnMissingData
    from airflow_reportrun.reporting.report_type_ids import ParameterShape
    from airflow_reportrun.tasks.options import Given

log = logging.getLogger(__name__)


class AskingOperator(Noted, LineageMixin, BaseOperator):
    """Asks for a report; its options are described and set in :class:`StripeReportRunOperator`."""

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
    destination: str | None
    overwrite: bool | str
    partition_key: str | None
    stripe_conn_id: str
    stripe_account: str | None
    stripe_context: str | None
    on_missing_data: OnMissingData
    _given: Given

    @cached_property
    def hook(self) -> StripeReportingHook:
        """The hook of this task."""
        from airflow_reportrun.hooks import StripeReportingHook

        return StripeReportingHook(
            self.stripe_conn_id, stripe_account=self.stripe_account, stripe_context=self.stripe_context
        )

    def ask(self, context: Context, report_type: str, *, quiet: bool = False) -> Question:
        """Return what the options ask for, checked; quietly, where it is only compared."""
        require_rendered(self, self._given)
        shape = self.parameter_shape or shape_of(report_type)
        try:
            bounds = bounds_of(
                context,
                shape,
                interval_start=self.interval_start,
                interval_end=self.interval_end,
                interval=self.interval,
                quiet=quiet,
            )
        except IntervalError as error:
            guessed = self.parameter_shape is None
            if guessed and (self.payout or (self.interval_start is None) != (self.interval_end is None)):
                raise IntervalError(f"{error} {OTHER_SHAPE}") from None
            raise
        question = self._about(report_type, shape, bounds)
        self._key(context, report_type, question.parameters.as_dict())  # which can be wrong
        return question

    def _key(
        self, context: Context, report_type: str, parameters: Mapping[str, Any], report_run_id: str | None = None
    ) -> str | None:
        account = self.hook.settings.stripe_account
        return key_of(self.partition_key, report_type, parameters, context, account, report_run_id)

    def _about(self, report_type: str, shape: ParameterShape, bounds: Mapping[str, DateTime]) -> Question:
        """Return what the options ask for about a span of time, checked."""
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
        return Question.of(report_type, shape, bounds, parameters, **self._where())

    def _asked_before(self, context: Context, report_type: str, parameters: Mapping[str, Any]) -> Question:
        return Question.asked_before(context, report_type, parameters, **self._where())

    def _where(self) -> dict[str, Any]:
        account = None if self.destination is None else self.hook.settings.stripe_account
        return {"destination": self.destination, "stripe_account": account}

    def _require_free(self, question: Question) -> None:
        question.require_free(self.hook.settings, overwrite=truth("overwrite", self.overwrite))

    def _differences(self, context: Context, before: Question) -> str:
        """Return in words how a report run differs from what the options ask for now, empty where it doesn't."""
        given = preferences(self.report_type)
        report_type = before.report_type if before.report_type in given else given[0]
        now = self.ask(context, report_type, quiet=True)
        return now.differences(before, may_be_clipped=self.on_missing_data == "clip")

    def _warn_of_differences(self, context: Context, before: Question) -> None:
        """Say how what was asked for before differs from what the options ask for now."""
        try:
            differences = self._differences(context, before)
        except ReportingError as error:
            differences = f"which can't be asked for: {error}"
        if differences:
            log.warning(
                "The task asks for something else than in its first submission (%s). The first one counts; "
                "clear the task to ask anew.",
                differences,
            )
