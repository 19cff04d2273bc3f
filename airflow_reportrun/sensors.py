"""Sensors: wait until a report run leaves ``pending``, or until Stripe has the data for one."""

from __future__ import annotations

import logging
import time
from abc import abstractmethod
from collections.abc import Mapping, Sequence
from contextlib import suppress
from datetime import datetime, timedelta
from functools import cached_property
from typing import TYPE_CHECKING, Any

from airflow.providers.common.compat.sdk import (
    AirflowFailException,
    AirflowSensorTimeout,
    AirflowSkipException,
    AirflowTaskTimeout,
    BaseSensorOperator,
    PokeReturnValue,
    conf,
)

from airflow_reportrun.airflow_context import TaskInstance, timetable_of
from airflow_reportrun.lineage import LineageMixin
from airflow_reportrun.links import (
    REQUEST_XCOM_KEY,
    StripeRequestLink,
    note_request,
    push_request,
    request_xcoms_of,
)
from airflow_reportrun.question.calendar_units import INTERVAL_UNITS
from airflow_reportrun.reporting.errors import ConfigurationError, ReportingError
from airflow_reportrun.tasks.failures import Try, airflow_errors, set_retry_policy
from airflow_reportrun.tasks.options import given_options, require_known, require_rendered, span_option
from airflow_reportrun.tasks.results import GivenRun, acting, found_run, whose, whose_before
from airflow_reportrun.tasks.ui import Noted
from airflow_reportrun.waiting.events import Event, ReportRunEvent, ReportTypeEvent

if TYPE_CHECKING:
    from airflow.providers.common.compat.sdk import Context

    from airflow_reportrun.hooks import StripeReportingHook
    from airflow_reportrun.question.intervals import IntervalUnit
    from airflow_reportrun.triggers import StripeTrigger
    from airflow_reportrun.waiting.goals import Goal

log = logging.getLogger(__name__)

SHORTEST_POKE_INTERVAL = 1.0
"""Seconds, when deferred: a triggerer serves many tasks, and Stripe counts requests."""


class StripeSensor(Noted, LineageMixin, BaseSensorOperator):
    """What the sensors have in common: one outcome in each mode.

    Errors that pass (a rate limit, a broken connection) are waited over; what can't get better fails the task
    without retries.

    :param stripe_conn_id: Airflow connection of type ``stripe``. (templated)
    :param stripe_account: account to act as; overrides the connection's own. (templated)
    :param stripe_context: the same as a path of accounts, for keys of an organization. (templated)
    :param deferrable: wait in the triggerer, without a worker; ``[operators] default_deferrable`` by default.
        ``timeout`` and ``soft_fail`` mean the same there. Tasks look together there, with ``poke_interval`` as the
        longest pause; ``exponential_backoff`` does not count.
    :param start_from_trigger: begin in the triggerer, without a worker (Airflow ≥ 3.3); what can't be so is
        refused when the DAG file is parsed.
    :param end_from_trigger: with it, end there, too, where it succeeds: the task takes no worker. Any other end
        takes one for a moment, and is that of a deferrable sensor.
    """

    event_class: type[Event]
    end_from_trigger = False

    def __init__(
        self,
        *,
        stripe_conn_id: Any = "stripe_default",
        stripe_account: str | None = None,
        stripe_context: str | None = None,
        deferrable: bool = conf.getboolean("operators", "default_deferrable", fallback=False),
        start_from_trigger: bool = False,
        end_from_trigger: bool = False,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        set_retry_policy(self)
        if end_from_trigger and not start_from_trigger:
            raise ConfigurationError("end_from_trigger=True goes with start_from_trigger=True.")
        if start_from_trigger:
            from airflow_reportrun.tasks.starting import require_airflow_3_3

            require_airflow_3_3()
            # Set where they are not Airflow's own False: Airflow 2 has them for classes alone.
            self.start_from_trigger, self.end_from_trigger = True, end_from_trigger
        self.stripe_conn_id = stripe_conn_id
        self.stripe_account = stripe_account
        self.stripe_context = stripe_context
        self.deferrable = deferrable
        self._goal: Goal[Any, Any] | None = None
        self._since = 0.0
        self._said, self._comes_back = "", False

    @classmethod
    def partial(cls, **kwargs: Any) -> Any:
        """Prepare a mapped task, as Airflow does."""
        made = super().partial(**kwargs)
        if made.kwargs.get("start_from_trigger"):
            from airflow_reportrun.tasks.starting import refuse_mapping

            refuse_mapping()
        return made

    def begin_in_triggerer(self, trigger: str, **options: Any) -> None:
        """Let the task begin in the triggerer, if it is to; asked at the end of the constructor.

        :param trigger: the name of one of :mod:`airflow_reportrun.start_triggers`.
        :param options: its arguments, besides those of all.
        """
        if not self.start_from_trigger:
            return
        from airflow_reportrun.tasks.starting import start_args
        from airflow_reportrun.triggers import BACKSTOP_MARGIN

        whose = {name: getattr(self, name) for name in ("stripe_conn_id", "stripe_account", "stripe_context")}
        self.start_trigger_args = start_args(
            self,
            f"airflow_reportrun.start_triggers.{trigger}",
            BACKSTOP_MARGIN,
            {
                **options,
                **whose,
                "timeout": self.timeout,
                "poll_interval": max(self.poke_interval, SHORTEST_POKE_INTERVAL),
                "ends": self.end_from_trigger,
                "returns": self.do_xcom_push,
            },
        )

    @cached_property
    def hook(self) -> StripeReportingHook:
        """The hook of this task."""
        from airflow_reportrun.hooks import StripeReportingHook

        return StripeReportingHook(
            self.stripe_conn_id, stripe_account=self.stripe_account, stripe_context=self.stripe_context
        )

    @abstractmethod
    def goal(self, context: Context) -> Goal[Any, Any]:
        """Return what is waited for."""

    @abstractmethod
    def trigger(self, goal: Any, **kwargs: Any) -> StripeTrigger:
        """Return the trigger that waits for it."""

    def poke(self, context: Context) -> PokeReturnValue:
        """Look once."""
        from airflow_reportrun.waiting.goals import StillWaiting
        from airflow_reportrun.waiting.loop import look

        with airflow_errors():
            if self._goal is None:
                self._goal, self._since = self.goal(context), time.time()
                self._comes_back = self.reschedule and TaskInstance(context).was_rescheduled
                if not self._comes_back:
                    log.info("Waiting for %s.", self._goal)
            looked = look(self.hook, self._goal, since=self._since)
        if isinstance(looked, StillWaiting):
            is_news = looked.words and looked.words != self._said
            if is_news and not (self._comes_back and looked.is_usual):
                log.warning("%s", looked.words)
            self._said = looked.words
            return PokeReturnValue(is_done=False)
        return PokeReturnValue(is_done=True, xcom_value=self._conclude(looked))

    def execute(self, context: Context) -> Any:
        """Wait; see the class."""
        # One that begins in the triggerer comes here in dag.test() alone.
        if not (self.deferrable or self.start_from_trigger):
            try:
                return super().execute(context)
            except AirflowSensorTimeout as error:
                if self.never_fail:  # which Airflow forgets here, and only here
                    raise AirflowSkipException(str(error)) from error
                raise
        try:
            looked = self.poke(context)
        except Exception as error:
            # As Airflow does it around a poke in the other modes.
            if self.never_fail or (self.soft_fail and isinstance(error, AirflowFailException)):
                raise AirflowSkipException(str(error)) from error
            raise
        if looked.is_done:
            return looked.xcom_value
        now, this_try = time.time(), Try.of(self, context)
        trigger = self.trigger(
            self._goal,
            deadline=this_try.deadline(now + self.timeout),
            since=now,
            poll_interval=max(self.poke_interval, SHORTEST_POKE_INTERVAL),
            growth=0.0,
            **acting(self.hook),
            resume={**whose(self.hook), **this_try.resume},
        )
        return self.defer(trigger=trigger, method_name="execute_complete", timeout=trigger.backstop)

    def push_links(self, context: Context) -> None:
        """Push what the task's links read, in a task that began in the triggerer."""

    def execute_complete(self, context: Context, event: Mapping[str, Any]) -> dict[str, Any]:
        """Go on when the trigger has fired."""
        try:
            if self.start_from_trigger:
                with suppress(ConfigurationError):  # of which the event tells
                    self.push_links(context)
            arrived = self.event_class.from_payload(event)
            Try.of(self, context, arrived.resume).require_time(arrived)
            return self._conclude(arrived)
        except Exception as error:
            if self.never_fail:  # of which Airflow 2 doesn't know when it resumes a sensor
                raise AirflowSkipException(str(error)) from error
            raise

    def resume_execution(self, next_method: str, next_kwargs: dict[str, Any] | None, context: Context) -> Any:
        """Go on after a deferral, as Airflow does, but for a try whose time was over with no trigger to say so.

        Airflow takes ``execution_timeout`` for the trigger's own time-out where a task begins in the triggerer:
        while no triggerer runs, it would fail or skip a task without the retries that the try's end leaves.
        """
        limit = self.execution_timeout
        timed_out = next_method == "__fail__" and (next_kwargs or {}).get("error") == "Trigger timeout"
        if self.start_from_trigger and timed_out and limit and limit.total_seconds() <= self.timeout:
            raise AirflowTaskTimeout(
                f"The try has taken its execution_timeout, {limit.total_seconds():.0f} s; no triggerer told of it."
            )
        return super().resume_execution(next_method, next_kwargs, context)

    def _conclude(self, event: Event) -> dict[str, Any]:
        log.info("%s", event)
        with suppress(ReportingError):  # nobody can tell whose it is
            self.tell(event)
        if event.outcome == "timeout":
            raise AirflowSensorTimeout(event.message)
        if not event.is_good:
            raise AirflowFailException(event.message)
        return dict(self.found(event))

    def _whose(self, event: Event) -> dict[str, Any]:
        """Return whose it is that was waited for, of a task that was deferred without a look at the connection."""
        return whose_before(event.resume) or whose(self.hook)

    @abstractmethod
    def tell(self, event: Any) -> None:
        """Note for OpenLineage what the task is about."""

    @abstractmethod
    def found(self, event: Any) -> Mapping[str, Any]:
        """Return what the task returns of a success."""


class StripeReportRunSensor(StripeSensor):
    """Wait until a report run has ended: green when it succeeded, never when it failed.

    A failed run stays failed, so the sensor fails without retries and with Stripe's words. Returns the run as
    :func:`airflow_reportrun.waiting.events.describe` shows it, ``stripe_conn_id``, ``stripe_account`` and, where
    what it was given has it, ``request_id``. Options as in :class:`StripeSensor`.

    :param report_run_id: ``frr_…``, or what :class:`StripeReportRunOperator` returned: ``run.output``. (templated)
    :param stripe_conn_id: by default the connection that the run was created through, where what the task was
        given says so, else ``stripe_default``; ``stripe_account`` likewise. (templated)
    """

    template_fields: Sequence[str] = ("report_run_id", "stripe_conn_id", "stripe_account", "stripe_context")
    operator_extra_links = (StripeRequestLink(),)
    event_class = ReportRunEvent
    note = "Waits until a report run at Stripe has ended: succeeded, or failed with Stripe's words."

    def __init__(
        self, *, report_run_id: str | Mapping[str, Any], stripe_conn_id: str | None = None, **kwargs: Any
    ) -> None:
        super().__init__(stripe_conn_id=stripe_conn_id, **kwargs)
        self.report_run_id = report_run_id
        self._given = given_options(self)
        self.begin_in_triggerer("ReportRunStart", report_run_id=report_run_id)

    @cached_property
    def given_run(self) -> GivenRun:
        """The report run that the task was given.

        :raises ConfigurationError: when it was given none.
        """
        return GivenRun.of(self.report_run_id)

    @cached_property
    def hook(self) -> StripeReportingHook:
        """The hook that sees the run that this task was given."""
        return self.given_run.hook(self.stripe_conn_id, self.stripe_account, self.stripe_context)

    def goal(self, context: Context) -> Goal[Any, Any]:
        """Return the end of the run."""
        from airflow_reportrun.waiting.goals import ReportRunEnds

        require_rendered(self, self._given)
        self.push_links(context)
        return ReportRunEnds(self.given_run.report_run_id)

    def push_links(self, context: Context) -> None:
        """Push the request that created the run."""
        push_request(self, context, request_xcoms_of(self.given_run))

    def trigger(self, goal: Any, **kwargs: Any) -> StripeTrigger:
        """Return the trigger that waits for it."""
        from airflow_reportrun.triggers import StripeReportRunTrigger

        return StripeReportRunTrigger.waiting_from_now(report_run_id=goal.report_run_id, **kwargs)

    def tell(self, event: Any) -> None:
        """Note the run, where it has ended, and the request that created it."""
        note_request(self, request_xcoms_of(self.given_run).get(REQUEST_XCOM_KEY, {}))
        if event.report_run:
            self.tell_run(event.report_run, self._whose(event))

    def found(self, event: Any) -> Mapping[str, Any]:
        """Return the run and whose it is."""
        return found_run(event.report_run, self._whose(event), self.given_run)


class StripeReportTypeSensor(StripeSensor):
    """Wait until Stripe's data for a report type reaches the end of an interval.

    Creates nothing. Returns ``report_type``, ``livemode``, ``data_available_start`` and ``data_available_end``
    (epoch seconds, UTC). Options as in :class:`StripeSensor`. ``StripeReportRunOperator`` waits for its data by
    itself; this is for several tasks that need the same, and for a DAG that should show what it waits for.

    :param report_type: such as ``balance.summary.1``. (templated)
    :param interval_end: first instant that is not part of the interval: ISO 8601 with an offset, epoch seconds or
        an aware datetime. By default the end of the interval that the operator would report on. (templated)
    :param interval: the last complete unit instead of the data interval, as for the operator.
    :param settle: wait until the data reaches so far beyond ``interval_end``: a timedelta or seconds.
    """

    template_fields: Sequence[str] = (
        "report_type",
        "interval_end",
        "stripe_conn_id",
        "stripe_account",
        "stripe_context",
    )
    event_class = ReportTypeEvent
    note = "Waits until Stripe's data for a report type reaches the end of an interval. Creates nothing."

    def __init__(
        self,
        *,
        report_type: str,
        interval_end: str | int | datetime | None = None,
        interval: IntervalUnit | None = None,
        settle: timedelta | float = timedelta(0),
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.settle = span_option("settle", settle)
        if self.settle < timedelta(0):
            raise ConfigurationError(f"settle is not negative, as {settle!r} is")
        require_known("interval", interval, (*INTERVAL_UNITS, None))
        self.report_type = report_type
        self.interval_end = interval_end
        self.interval = interval
        self._given = given_options(self)
        if self.start_from_trigger and interval_end is None and self.has_dag():
            from airflow_reportrun.tasks.starting import refuse_own_timetable

            refuse_own_timetable(timetable_of({"dag": self.dag}))
        self.begin_in_triggerer(
            "ReportTypeStart",
            report_type=report_type,
            interval_end=interval_end,
            interval=interval,
            settle=self.settle.total_seconds(),
        )

    def goal(self, context: Context) -> Goal[Any, Any]:
        """Return the data."""
        from airflow_reportrun.question.intervals import instant, resolve
        from airflow_reportrun.question.readiness import data_wanted
        from airflow_reportrun.waiting.goals import DataReaches

        require_rendered(self, self._given)
        if self.interval_end is None:
            end = resolve(context, interval=self.interval).end
        else:
            end = instant("interval_end", self.interval_end)
        return DataReaches(self.report_type, data_wanted({"interval_end": end}, self.settle))

    def trigger(self, goal: Any, **kwargs: Any) -> StripeTrigger:
        """Return the trigger that waits for it."""
        from airflow_reportrun.triggers import StripeReportTypeTrigger

        return StripeReportTypeTrigger.waiting_from_now(report_type=goal.report_type, until=goal.until, **kwargs)

    def tell(self, event: Any) -> None:
        """Note the report."""
        if event.report_type:  # of a sensor that began in the triggerer it may be what was wrong
            self.tell_report(event.report_type, self._whose(event))

    def found(self, event: Any) -> Mapping[str, Any]:
        """Return the report type."""
        availability: Mapping[str, Any] = event.availability
        return availability
