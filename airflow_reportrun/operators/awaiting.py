"""What a task does until Stripe has the data that it asks for."""

from __future__ import annotations

import logging
import time
from datetime import timedelta
from typing import TYPE_CHECKING

from airflow.providers.common.compat.sdk import AirflowFailException, AirflowSkipException

from airflow_reportrun.operators.asking import AskingOperator
from airflow_reportrun.reporting.errors import DataMissingError

if TYPE_CHECKING:
    from airflow_reportrun.question.question import Asked
    from airflow_reportrun.submission.memory import Memory
    from airflow_reportrun.waiting.events import ReportTypeEvent

log = logging.getLogger(__name__)

DATA_POLL_INTERVAL = 60.0
"""Seconds between looks at a report type at first: its data moves on about twice a day."""


class AwaitingOperator(AskingOperator):
    """Waits for the data, with a worker or without; see :class:`StripeReportRunOperator` for the options."""

    wait_for_data: bool
    data_timeout: timedelta
    settle: timedelta
    deferrable: bool
    poll_interval: float

    def when_available(
        self, asked: Asked, memory: Memory, refused_at: int | None, refusal: str | None
    ) -> tuple[Asked, int | None]:
        """Return what to ask for, and how far the data reaches, once it reaches far enough.

        A destination that is another report's is refused before anything is waited for or created. A deferrable
        task comes back in ``execute_when_available`` instead.

        :param refused_at: how far the data reached when Stripe said that it was not there.
        :param refusal: Stripe's words.
        """
        from airflow_reportrun.question.readiness import covered, data_wanted

        looks = "interval_end" in asked.bounds and (self.wait_for_data or self.on_missing_data != "fail")
        clips = looks and self.on_missing_data == "clip"
        if not clips:
            self.require_free(asked)
        if not looks:
            return asked, None
        report_type = self.hook.retrieve_report_type(asked.report_type)
        try:
            bounds = covered(asked.bounds, report_type, self.on_missing_data)
        except DataMissingError as error:
            if self.on_missing_data == "fail":
                raise
            raise AirflowSkipException(str(error)) from error
        if bounds != asked.bounds:
            asked = self.asking(asked.report_type, bounds)
        if clips:
            self.require_free(asked)
        reaches, wanted = report_type.data_available_end, data_wanted(bounds, self.settle)
        if refused_at is not None:
            wanted = max(wanted, refused_at + 1)
        if self.wait_for_data and reaches < wanted:
            reaches = self._wait_for_data(asked.report_type, wanted, memory, refusal)
        return asked, reaches

    def _wait_for_data(self, report_type: str, until: int, memory: Memory, refusal: str | None) -> int:
        """Return how far the data reaches when it reaches far enough."""
        from airflow_reportrun.triggers import StripeReportTypeTrigger
        from airflow_reportrun.waiting.loop import DataReaches, wait
        from airflow_reportrun.waiting.pace import Watch

        now = time.time()
        deadline = memory.first_try + (self.settle + self.data_timeout).total_seconds()
        poll_interval = max(self.poll_interval, DATA_POLL_INTERVAL)
        if self.deferrable and now < deadline:
            log.info("Waiting in the triggerer for the data of %s.", report_type)
            trigger = StripeReportTypeTrigger.waiting_from_now(
                report_type=report_type,
                until=until,
                deadline=deadline,
                since=now,
                poll_interval=poll_interval,
                stripe_conn_id=self.stripe_conn_id,
                stripe_account=self.stripe_account,
                resume={"refusal": refusal},
            )
            self.defer(trigger=trigger, method_name="execute_when_available", timeout=trigger.backstop)
        event = wait(self.hook, DataReaches(report_type, until), Watch(now, deadline, poll_interval))
        return require_available(event, refusal)


def require_available(event: ReportTypeEvent, refusal: str | None) -> int:
    """Return how far the data reaches, or fail: the deadline counts over all tries, so a retry would not help."""
    if event.availability is None:
        advice = (
            " A longer data_timeout= waits for it; it counts from the first try of the task, before Airflow 3.3"
            " from the start of the DAG run."
        )
        said = f" Stripe had said: {refusal}" if refusal else ""
        raise AirflowFailException(f"{event.message}{advice if event.outcome == 'timeout' else ''}{said}")
    return int(event.availability["data_available_end"])
