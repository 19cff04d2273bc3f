"""Operators: a report run for the interval of a DAG run, and its file."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

from airflow.providers.common.compat.sdk import (
    AirflowException,
    BaseOperator,
    conf,
)

from airflow_reportrun.events import ReportRunEvent
from airflow_reportrun.links import REQUEST_XCOM_KEY, StripeRequestLink, request_xcom
from airflow_reportrun.outcomes import airflow_errors, fetch, given_options, require_rendered, result
from airflow_reportrun.reporting.errors import ConfigurationError
from airflow_reportrun.reporting.parameters import (
    ParameterShape,
    ReportParameters,
    form_encode,
    shape_of,
)

if TYPE_CHECKING:
    from airflow.providers.common.compat.sdk import Context
    from pendulum import DateTime

    from airflow_reportrun.hooks import StripeReportingHook
    from airflow_reportrun.identity import Identity
    from airflow_reportrun.intervals import IntervalUnit
    from airflow_reportrun.reporting.models import ReportRun

REPORT_RUN_ID_XCOM_KEY = "report_run_id"

DEFAULT_TIMEOUT = timedelta(hours=12)
"""Half of the 24 hours that Stripe surely keeps an idempotency key, so that a retry still finds the run."""


class StripeReportRunOperator(BaseOperator):
    """Create a report run for the interval of the DAG run, once, and wait for it.

    The interval is ``interval_start`` and ``interval_end`` where given, else the unit that ``interval`` names,
    else the data interval of the DAG run, reconstructed from the schedule where Airflow 3 leaves it empty; see
    :func:`airflow_reportrun.intervals.resolve`.

    A retry, after whatever crash, attaches to the report run of the try before; it creates another one only when
    that one failed. Clearing the task asks for a fresh one.

    Pushes ``report_run_id`` to XCom before it waits, and returns a small dict: ``report_run_id``,
    ``report_type``, ``status``, ``livemode``, ``interval_start`` and ``interval_end`` (epoch seconds, UTC),
    ``file_id``, ``size`` (bytes), ``request_id``, ``path`` and ``sha256``; what is not there is None.

    :param report_type: such as ``balance.summary.1``. (templated)
    :param interval_start: first instant, included: ISO 8601 with an offset, epoch seconds or an aware datetime.
        (templated)
    :param interval_end: first instant that is not part of the interval; the same forms. (templated)
    :param interval: the last complete unit instead of the data interval: ``hour``, ``day``, ``week`` (from
        Monday), ``month``, ``quarter`` or ``year`` in the schedule's time zone.
    :param columns: the columns of the file, in this order. (templated)
    :param connected_account: ``acct_…``, for report types about connected accounts. (templated)
    :param currency: only rows of this currency, ISO 4217. (templated)
    :param payout: ``po_…``, for report types about one payout. (templated)
    :param reporting_category: only rows of this category. (templated)
    :param timezone: IANA name in which Stripe writes timestamps; it never moves the interval. (templated)
    :param parameters: further parameters, by Stripe's names: for what Stripe adds later. (templated)
    :param parameter_shape: ``interval``, ``interval_end`` or ``payout``, where the report type's id doesn't tell.
    :param destination: absolute path on the worker for the file; without it nothing is downloaded. After the
        templates, ``{report_type}``, ``{interval_start}`` and ``{interval_end}`` are filled in, in the schedule's
        time zone and with any format of ``datetime``: ``/data/{interval_start:%Y-%m-%d}.csv``. (templated)
    :param stripe_conn_id: Airflow connection of type ``stripe``. (templated)
    :param stripe_account: account to act as; overrides the connection's own. (templated)
    :param expect_livemode: True refuses a test key, False a live one, before anything is created.
    :param wait_for_completion: False returns as soon as the run is submitted.
    :param deferrable: wait in the triggerer, without a worker; ``[operators] default_deferrable`` by default.
    :param poll_interval: seconds between looks at first; the pause grows to a quarter of the run's age, at most
        five minutes.
    :param timeout: how long the report may take, counted from its submission over all tries that attach to it: a
        timedelta or seconds. 12 hours by default.
    """

    template_fields: Sequence[str] = (
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
        "destination",
        "stripe_conn_id",
        "stripe_account",
    )
    ui_color = "#e7e5ff"
    operator_extra_links = (StripeRequestLink(),)

    def __init__(
        self,
        *,
        report_type: str,
        interval_start: str | int | datetime | None = None,
        interval_end: str | int | datetime | None = None,
        interval: IntervalUnit | None = None,
        columns: Sequence[str] = (),
        connected_account: str | None = None,
        currency: str | None = None,
        payout: str | None = None,
        reporting_category: str | None = None,
        timezone: str | None = None,
        parameters: Mapping[str, Any] | None = None,
        parameter_shape: ParameterShape | str | None = None,
        destination: str | None = None,
        stripe_conn_id: str = "stripe_default",
        stripe_account: str | None = None,
        expect_livemode: bool | None = None,
        wait_for_completion: bool = True,
        deferrable: bool = conf.getboolean("operators", "default_deferrable", fallback=False),
        poll_interval: timedelta | float = 10.0,
        timeout: timedelta | float = DEFAULT_TIMEOUT,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        if destination is not None and not wait_for_completion:
            raise ValueError(
                "destination needs the finished report: leave wait_for_completion at True, "
                "or download later with StripeReportDownloadOperator"
            )
        self.timeout = timeout if isinstance(timeout, timedelta) else timedelta(seconds=timeout)
        if isinstance(poll_interval, timedelta):
            poll_interval = poll_interval.total_seconds()
        if self.timeout <= timedelta(0) or poll_interval <= 0:
            raise ValueError(f"timeout and poll_interval are positive, not {timeout!r} and {poll_interval!r}")
        self.report_type = report_type
        self.interval_start = interval_start
        self.interval_end = interval_end
        self.interval = interval
        self.columns = columns
        self.connected_account = connected_account
        self.currency = currency
        self.payout = payout
        self.reporting_category = reporting_category
        self.timezone = timezone
        self.parameters = parameters
        self.parameter_shape = None if parameter_shape is None else ParameterShape(parameter_shape)
        self.destination = destination
        self.stripe_conn_id = stripe_conn_id
        self.stripe_account = stripe_account
        self.expect_livemode = expect_livemode
        self.wait_for_completion = wait_for_completion
        self.deferrable = deferrable
        self.poll_interval = poll_interval
        self._report_run_id: str | None = None
        self._given = given_options(self)

    @cached_property
    def hook(self) -> StripeReportingHook:
        """The hook of this task."""
        from airflow_reportrun.hooks import StripeReportingHook

        return StripeReportingHook(self.stripe_conn_id, stripe_account=self.stripe_account)

    def execute(self, context: Context) -> dict[str, Any]:
        """Create the report run or attach to it, and wait; see the class."""
        with airflow_errors():
            run, destination = self._submit(context)
        self._report_run_id = run.id
        context["ti"].xcom_push(key=REPORT_RUN_ID_XCOM_KEY, value=run.id)
        context["ti"].xcom_push(key=REQUEST_XCOM_KEY, value=request_xcom(run.request_id, livemode=run.livemode))
        if not self.wait_for_completion and not run.status.is_terminal:
            return result(run, request_id=run.request_id)
        resume = {"destination": destination, "request_id": run.request_id}
        return self._conclude(self._wait(run, resume), resume)

    def execute_complete(self, context: Context, event: Mapping[str, Any]) -> dict[str, Any]:
        """Go on when the trigger has fired."""
        arrived = ReportRunEvent.from_payload(event)
        self._report_run_id = arrived.report_run_id
        return self._conclude(arrived, arrived.resume)

    def on_kill(self) -> None:
        """Say what goes on without us: Stripe's API has no way to cancel a report run."""
        if self._report_run_id:
            self.log.info("Report run %s goes on at Stripe; a retry will attach to it.", self._report_run_id)

    def _submit(self, context: Context) -> tuple[ReportRun, str | None]:
        """Return the report run and where its file goes; whatever can be wrong is found before it is created."""
        from airflow_reportrun.submission import submit_or_attach

        require_rendered(self, self._given)
        if not isinstance(self.report_type, str) or not self.report_type:
            raise ConfigurationError(f"report_type is the id of a report type, not {self.report_type!r}.")
        shape = self.parameter_shape or shape_of(self.report_type)
        bounds = self._bounds(context, shape)
        parameters = self._parameters(bounds)
        parameters.check(shape)
        destination = self._destination(bounds)
        self._check_livemode()
        run = submit_or_attach(self.hook, self._identity(context, parameters), parameters, shape=shape)
        return run, destination

    def _bounds(self, context: Context, shape: ParameterShape) -> dict[str, DateTime]:
        """Return what the report type takes of the interval, by Stripe's names, in the schedule's time zone."""
        from airflow_reportrun.intervals import instant, resolve, timezone

        given = {"interval_start": self.interval_start, "interval_end": self.interval_end}
        if shape is ParameterShape.INTERVAL:
            found = resolve(context, **given, interval=self.interval)
            return {"interval_start": found.start, "interval_end": found.end}
        if shape is ParameterShape.PAYOUT and self.interval is not None:
            raise ConfigurationError("This report type takes payout; leave out interval.")
        zone = timezone(context)
        bounds = {
            name: instant(name, value).in_timezone(zone) for name, value in given.items() if value is not None
        }
        if shape is ParameterShape.INTERVAL_END and not bounds:
            return {"interval_end": resolve(context, interval=self.interval).end}
        return bounds

    def _parameters(self, bounds: Mapping[str, DateTime]) -> ReportParameters:
        return ReportParameters(
            columns=self.columns or (),
            connected_account=self.connected_account,
            currency=self.currency,
            payout=self.payout,
            reporting_category=self.reporting_category,
            timezone=self.timezone,
            extra={} if self.parameters is None else self.parameters,
            **{name: bound.int_timestamp for name, bound in bounds.items()},
        )

    def _destination(self, bounds: Mapping[str, DateTime]) -> str | None:
        from airflow_reportrun.landing.destination import resolve_destination

        if self.destination is None:
            return None
        return str(resolve_destination(self.destination, {"report_type": self.report_type, **bounds}))

    def _check_livemode(self) -> None:
        """Refuse the wrong kind of key: figures of a test account must not close anybody's books."""
        if self.expect_livemode is None:
            return
        livemode = self.hook.settings.livemode
        if livemode is None:
            livemode = self.hook.retrieve_report_type(self.report_type).livemode
        if livemode is not self.expect_livemode:
            has, wants = ("live", "test") if livemode else ("test", "live")
            raise ConfigurationError(
                f"Connection {self.stripe_conn_id!r} has a {has} key, and this task expects {wants} data "
                f"(expect_livemode={self.expect_livemode}). Nothing was created."
            )

    def _identity(self, context: Context, parameters: ReportParameters) -> Identity:
        from airflow_reportrun.identity import Identity

        ti = context["ti"]
        settings = self.hook.settings
        return Identity(
            scope=settings.idempotency_scope,
            dag_id=ti.dag_id,
            run_id=ti.run_id,
            task_id=ti.task_id,
            map_index=-1 if ti.map_index is None else ti.map_index,
            max_tries=ti.max_tries,
            stripe_account=settings.stripe_account,
            livemode=settings.livemode,
            report_type=self.report_type,
            parameters=dict(form_encode(parameters.as_dict())),
        )

    def _wait(self, run: ReportRun, resume: Mapping[str, Any]) -> ReportRunEvent:
        """Return how the waiting ended; a deferrable task comes back in ``execute_complete`` instead."""
        from airflow_reportrun.reporting.polling import Watch
        from airflow_reportrun.waiting import look, wait

        if run.status.is_terminal:
            return ReportRunEvent.ended(run)
        # Counted from the submission, whichever try it was in.
        deadline = run.created + self.timeout.total_seconds()
        if not self.deferrable or time.time() >= deadline:
            return wait(self.hook, run.id, Watch(run.created, deadline, self.poll_interval))
        event = look(self.hook, run.id)
        if event is None:
            self.log.info("Report run %s is pending; waiting for it in the triggerer.", run.id)
            self._defer(run, deadline, resume)
        return event

    def _defer(self, run: ReportRun, deadline: float, resume: Mapping[str, Any]) -> NoReturn:
        from airflow_reportrun.triggers import StripeReportRunTrigger

        trigger = StripeReportRunTrigger.waiting_from_now(
            report_run_id=run.id,
            deadline=deadline,
            since=run.created,
            poll_interval=self.poll_interval,
            stripe_conn_id=self.stripe_conn_id,
            stripe_account=self.stripe_account,
            resume=resume,
        )
        self.defer(trigger=trigger, method_name="execute_complete", timeout=trigger.backstop)

    def _conclude(self, event: ReportRunEvent, resume: Mapping[str, Any]) -> dict[str, Any]:
        """Return the task's result, or raise what the outcome means."""
        if event.outcome == "failed":
            raise AirflowException(f"{event.message} (a retry of this task creates another one)")
        if event.outcome == "timeout":
            raise AirflowException(f"{event.message} A retry looks at it again; a longer timeout= waits for it.")
        if event.outcome == "error":
            # Such as a key that was changed meanwhile: the retry reads the connection anew, and attaches.
            raise AirflowException(event.message)
        with airflow_errors():
            run = self.hook.retrieve_report_run(event.report_run_id)
            destination = resume.get("destination")
            landed = fetch(self.hook, run, Path(destination)) if destination else None
        return result(run, request_id=resume.get("request_id"), landed=landed)


class StripeReportDownloadOperator(BaseOperator):
    """Download the file of a succeeded report run.

    The file is streamed, its size is checked against what Stripe says, and it appears in place at once and
    complete, readable by its owner alone. Creates no report run. Returns what
    :class:`StripeReportRunOperator` returns, ``request_id`` aside.

    :param report_run_id: ``frr_…``. (templated)
    :param destination: absolute path on the worker. After the templates, ``{report_type}``, ``{report_run_id}``
        and, where the run has them, ``{interval_start}`` and ``{interval_end}`` are filled in, in the schedule's
        time zone and with any format of ``datetime``. (templated)
    :param stripe_conn_id: Airflow connection of type ``stripe``. (templated)
    :param stripe_account: account to act as: the one that the run was created for. (templated)
    """

    template_fields: Sequence[str] = ("report_run_id", "destination", "stripe_conn_id", "stripe_account")
    ui_color = "#e7e5ff"

    def __init__(
        self,
        *,
        report_run_id: str,
        destination: str,
        stripe_conn_id: str = "stripe_default",
        stripe_account: str | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.report_run_id = report_run_id
        self.destination = destination
        self.stripe_conn_id = stripe_conn_id
        self.stripe_account = stripe_account
        self._given = given_options(self)

    def execute(self, context: Context) -> dict[str, Any]:
        """Download; see the class."""
        from airflow_reportrun.hooks import StripeReportingHook
        from airflow_reportrun.intervals import timezone
        from airflow_reportrun.landing.destination import resolve_destination

        with airflow_errors():
            require_rendered(self, self._given)
            hook = StripeReportingHook(self.stripe_conn_id, stripe_account=self.stripe_account)
            run = hook.retrieve_report_run(self.report_run_id)
            bounds = {
                name: datetime.fromtimestamp(run.parameters[name], timezone(context))
                for name in ("interval_start", "interval_end")
                if name in run.parameters
            }
            path = resolve_destination(
                self.destination, {"report_type": run.report_type, "report_run_id": run.id, **bounds}
            )
            return result(run, landed=fetch(hook, run, path))
