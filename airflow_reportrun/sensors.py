"""Sensors: wait until a report run leaves ``pending``."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from functools import cached_property
from typing import TYPE_CHECKING, Any

from airflow.providers.common.compat.sdk import (
    AirflowException,
    AirflowFailException,
    AirflowSensorTimeout,
    AirflowSkipException,
    BaseSensorOperator,
    PokeReturnValue,
    conf,
)

from airflow_reportrun.events import ReportRunEvent
from airflow_reportrun.outcomes import airflow_errors, given_options, require_rendered

if TYPE_CHECKING:
    from airflow.providers.common.compat.sdk import Context

    from airflow_reportrun.hooks import StripeReportingHook


SHORTEST_POKE_INTERVAL = 1.0
"""Seconds, when deferred: a triggerer serves many tasks, and Stripe counts requests."""


class StripeReportRunSensor(BaseSensorOperator):
    """Wait until a report run has ended: green when it succeeded, never when it failed.

    A failed run stays failed, so the sensor fails without retries and with Stripe's words. Errors that pass (a
    rate limit, a broken connection) are waited over. Returns the run as
    :func:`airflow_reportrun.events.describe` shows it.

    :param report_run_id: ``frr_…``. (templated)
    :param stripe_conn_id: Airflow connection of type ``stripe``. (templated)
    :param stripe_account: account to act as: the one that the run was created for. (templated)
    :param deferrable: wait in the triggerer, without a worker; ``[operators] default_deferrable`` by default.
        ``poke_interval``, ``timeout`` and ``soft_fail`` mean the same there; ``exponential_backoff`` does not
        count.
    """

    template_fields: Sequence[str] = ("report_run_id", "stripe_conn_id", "stripe_account")
    ui_color = "#e7e5ff"

    def __init__(
        self,
        *,
        report_run_id: str,
        stripe_conn_id: str = "stripe_default",
        stripe_account: str | None = None,
        deferrable: bool = conf.getboolean("operators", "default_deferrable", fallback=False),
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.report_run_id = report_run_id
        self.stripe_conn_id = stripe_conn_id
        self.stripe_account = stripe_account
        self.deferrable = deferrable
        self._given = given_options(self)

    @cached_property
    def hook(self) -> StripeReportingHook:
        """The hook of this task."""
        from airflow_reportrun.hooks import StripeReportingHook

        return StripeReportingHook(self.stripe_conn_id, stripe_account=self.stripe_account)

    def poke(self, context: Context) -> PokeReturnValue:
        """Look once."""
        from airflow_reportrun.waiting import look

        with airflow_errors():
            require_rendered(self, self._given)
        event = look(self.hook, self.report_run_id)
        return PokeReturnValue(event is not None, None if event is None else self._conclude(event))

    def execute(self, context: Context) -> Any:
        """Wait; see the class."""
        if not self.deferrable:
            return super().execute(context)
        try:
            looked = self.poke(context)
        except Exception as error:
            # As Airflow does it around a poke in the other modes.
            if self.never_fail or (self.soft_fail and isinstance(error, AirflowFailException)):
                raise AirflowSkipException(str(error)) from error
            raise
        if looked.is_done:
            return looked.xcom_value
        from airflow_reportrun.triggers import StripeReportRunTrigger

        now = time.time()
        trigger = StripeReportRunTrigger.waiting_from_now(
            report_run_id=self.report_run_id,
            deadline=now + self.timeout,
            since=now,
            poll_interval=max(self.poke_interval, SHORTEST_POKE_INTERVAL),
            growth=0.0,
            stripe_conn_id=self.stripe_conn_id,
            stripe_account=self.stripe_account,
        )
        return self.defer(trigger=trigger, method_name="execute_complete", timeout=trigger.backstop)

    def execute_complete(self, context: Context, event: Mapping[str, Any]) -> dict[str, Any]:
        """Go on when the trigger has fired."""
        try:
            return self._conclude(ReportRunEvent.from_payload(event))
        except AirflowException as error:
            if self.never_fail:  # of which Airflow 2 doesn't know when it resumes a sensor
                raise AirflowSkipException(str(error)) from error
            raise

    def _conclude(self, event: ReportRunEvent) -> dict[str, Any]:
        if event.outcome == "timeout":
            raise AirflowSensorTimeout(event.message)
        if event.outcome in ("failed", "error"):
            raise AirflowFailException(event.message)
        return dict(event.report_run or {})
