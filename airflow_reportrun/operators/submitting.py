"""How a report run comes to be that answers a task: once its data is there and room for it, and no second time."""

from __future__ import annotations

import logging
import time
from functools import partial
from typing import TYPE_CHECKING

from airflow.providers.common.compat.sdk import AirflowSkipException

from airflow_reportrun.airflow_context import TaskInstance
from airflow_reportrun.operators.asking import AskingOperator
from airflow_reportrun.question.report_types import preferences, preferred
from airflow_reportrun.reporting.errors import (
    ConfigurationError,
    DataBeginsLaterError,
    DataMissingError,
    DataNotReadyError,
    ReportRunFailedError,
)
from airflow_reportrun.reporting.models import in_utc
from airflow_reportrun.tasks.failures import require_available, require_room
from airflow_reportrun.tasks.options import require_livemode, truth
from airflow_reportrun.tasks.results import acting

if TYPE_CHECKING:
    from datetime import timedelta

    from airflow.providers.common.compat.sdk import Context

    from airflow_reportrun.question.question import Question
    from airflow_reportrun.reporting.models import ReportRun
    from airflow_reportrun.submission.memory import Memory
    from airflow_reportrun.tasks.failures import Try
    from airflow_reportrun.waiting.events import PendingReportRunsEvent

log = logging.getLogger(__name__)

DATA_POLL_INTERVAL = 60.0
"""Seconds between looks at a report type at first: its data moves on about twice a day."""

ROOM_POLL_INTERVAL = 15.0
"""Seconds between counts of the pending report runs, at any age of the wait: room is soon another's."""


class SubmittingOperator(AskingOperator):
    """Creates a report run, or finds the one that it has; its options are set as those of asking are."""

    fresh: bool | str
    expect_livemode: bool | None
    wait_for_data: bool
    data_timeout: timedelta
    settle: timedelta
    max_pending_report_runs: int | None
    deferrable: bool
    poll_interval: float
    timeout: timedelta
    _try: Try
    _let_in: PendingReportRunsEvent | None
    _has_said_interval: bool

    def _when_available(
        self, question: Question, memory: Memory, refused_at: int | None, refusal: str | None
    ) -> tuple[Question, int | None]:
        """Return what to ask for, and how far the data reaches, once it reaches far enough.

        A destination that is another report's is refused before anything is waited for or created. A deferrable
        task comes back in ``execute_when_available`` instead.

        :param refused_at: how far the data reached when Stripe said that it was not there.
        :param refusal: Stripe's words.
        """
        from airflow_reportrun.question.readiness import covered, data_wanted

        looks = "interval_end" in question.bounds and (self.wait_for_data or self.on_missing_data != "fail")
        clips = looks and self.on_missing_data == "clip"
        if not clips:
            self._require_free(question)
        if not looks:
            return question, None
        report_type = self.hook.retrieve_report_type(question.report_type)
        try:
            bounds = covered(question.bounds, report_type, self.on_missing_data)
        except DataMissingError as error:
            if self.on_missing_data == "fail":
                raise
            raise AirflowSkipException(str(error)) from error
        if bounds != question.bounds:
            question = self._about(question.report_type, question.shape, bounds)
        if clips:
            self._require_free(question)
        reaches, wanted = report_type.data_available_end, data_wanted(bounds, self.settle)
        if refused_at is not None:
            wanted = max(wanted, refused_at + 1)
        if self.wait_for_data and reaches < wanted:
            reaches = self._wait_for_data(question.report_type, wanted, memory, refusal)
        return question, reaches

    def _wait_for_data(self, report_type: str, until: int, memory: Memory, refusal: str | None) -> int:
        """Return how far the data reaches when it reaches far enough."""
        from airflow_reportrun.triggers import StripeReportTypeTrigger
        from airflow_reportrun.waiting.goals import DataReaches
        from airflow_reportrun.waiting.loop import wait
        from airflow_reportrun.waiting.pace import Watch

        now = time.time()
        deadline = self._asking_deadline(memory)
        poll_interval = max(self.poll_interval, DATA_POLL_INTERVAL)
        goal = DataReaches(report_type, until)
        log.info("Waiting for %s, until %s at the latest.", goal, in_utc(int(deadline)))
        if self.deferrable and now < deadline:
            trigger = StripeReportTypeTrigger.waiting_from_now(
                report_type=report_type,
                until=until,
                deadline=deadline,
                since=now,
                poll_interval=poll_interval,
                **acting(self.hook),
                resume={"refusal": refusal, **self._try.resume},
            )
            self.defer(trigger=trigger, method_name="execute_when_available", timeout=trigger.backstop)
        event = wait(self.hook, goal, Watch(now, deadline, poll_interval))
        self._try.require_time(event)
        return require_available(event, refusal)

    def _asking_deadline(self, memory: Memory) -> float:
        """Return until when, in epoch seconds, to wait for what comes before a report run."""
        return self._try.deadline(memory.first_try + (self.settle + self.data_timeout).total_seconds())

    def _wait_for_room(self, most: int, memory: Memory) -> None:
        """Wait until fewer report runs of the account are pending than ``most``.

        A deferrable task comes back in ``execute_when_room`` and looks once more, as others may have come first.
        """
        from airflow_reportrun.triggers import StripePendingReportRunsTrigger
        from airflow_reportrun.waiting.goals import RoomForReportRun, StillWaiting
        from airflow_reportrun.waiting.loop import look, wait
        from airflow_reportrun.waiting.pace import Watch

        now, window = time.time(), self.timeout.total_seconds()
        since, deadline = now, self._asking_deadline(memory)
        poll_interval = max(self.poll_interval, ROOM_POLL_INTERVAL)
        if self.deferrable and now < deadline:
            if let_in := self._let_in:
                self._let_in, since = None, let_in.resume.get("room_since") or now
                looked = look(self.hook, RoomForReportRun(most, window, let_in.pending or 0, let_in.newest))
                if not isinstance(looked, StillWaiting):
                    return require_room(looked)
                if looked.words:
                    log.warning("%s", looked.words)
                log.debug("There is no room any more: others came first.")
            else:
                log.info("Waiting in the triggerer for fewer than %d pending report runs.", most)
            trigger = StripePendingReportRunsTrigger.waiting_from_now(
                max_pending_report_runs=most,
                window=window,
                deadline=deadline,
                since=since,
                poll_interval=poll_interval,
                growth=0.0,
                **acting(self.hook),
                resume={"room_since": since, **self._try.resume},
            )
            self.defer(trigger=trigger, method_name="execute_when_room", timeout=trigger.backstop)
        log.info("Waiting for fewer than %d pending report runs.", most)
        event = wait(self.hook, RoomForReportRun(most, window), Watch(now, deadline, poll_interval, growth=0.0))
        self._try.require_time(event)
        return require_room(event)

    def _submit(self, context: Context) -> tuple[ReportRun, str | None]:
        """Return the report run and where its file goes; whatever can be wrong is found before it is created."""
        from airflow_reportrun.metrics import resumed
        from airflow_reportrun.submission.idempotency import Identity
        from airflow_reportrun.submission.memory import Memory
        from airflow_reportrun.submission.submit import resume_decisions, submit_or_attach

        fresh, memory = truth("fresh", self.fresh), Memory.recall(context)
        settings = self.hook.settings
        memory.forget_others(settings.idempotency_scope, settings.acting_as, settings.livemode)
        most, make_room = self.max_pending_report_runs, None
        if most is not None:
            make_room = partial(self._wait_for_room, most, memory)
        refused_at, refusal = None, None
        while True:
            seen = None
            if memory.submission is not None:
                question = self._asked_before(context, memory.submission.report_type, memory.submission.parameters)
                self._warn_of_differences(context, question)
                # Its report run may have failed, and be followed by another.
                self._require_free(question)
            else:
                report_type = preferred(self.hook, preferences(self.report_type))
                question = self.ask(context, report_type, quiet=self._has_said_interval)
                self._has_said_interval = True
            require_livemode(self.hook, question.report_type, self.expect_livemode)
            if memory.submission is None:
                question, seen = self._when_available(question, memory, refused_at, refusal)
            kept = memory.submission
            identity = Identity.of(context, self.hook.settings, question, memory.began if fresh else None)
            try:
                run = submit_or_attach(
                    self.hook,
                    identity,
                    question.parameters,
                    shape=question.shape,
                    memory=memory,
                    make_room=make_room,
                )
            except DataNotReadyError as error:
                if not self.wait_for_data or "interval_end" not in question.bounds:
                    raise
                refusal = str(error).removesuffix(error.advice).rstrip()  # which is done here
                log.warning("Stripe does not have the data yet: %s", refusal)
                # To ask again before the data has moved on would spend an attempt on the same answer.
                refused_at = seen or self.hook.retrieve_report_type(question.report_type).data_available_end
            except DataBeginsLaterError as error:
                if self.on_missing_data == "skip":
                    raise AirflowSkipException(str(error)) from error
                raise
            else:
                if memory.store is not None:
                    resumed(type(self).__name__, resume_decisions(kept, run), TaskInstance(context).team_name)
                return run, question.destination

    def _adopt(self, context: Context, report_run_id: str) -> tuple[ReportRun, str | None]:
        """Return a report run that exists already, if it is what this task would ask for."""
        from airflow_reportrun.submission.submit import unusable

        run = self.hook.retrieve_report_run(report_run_id)
        question = self._asked_before(context, run.report_type, run.parameters)
        require_livemode(self.hook, question.report_type, self.expect_livemode)
        if differences := self._differences(context, question):
            raise ConfigurationError(
                f"Report run {run.id} is not what this task asks for ({differences}). "
                "StripeReportRunSensor and StripeReportDownloadOperator take any run."
            )
        if run.status == run.status.FAILED:
            raise ReportRunFailedError(run.id, run.report_type, run.error)
        if reason := unusable(run, time.time()):
            raise ConfigurationError(f"Report run {run.id} {reason}; leave out report_run_id to ask for another.")
        log.info("Adopted report run %s, which is %s", run.id, run.status)
        return run, question.destination
