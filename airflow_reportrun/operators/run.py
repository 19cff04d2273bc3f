"""The operator that creates a report run for the interval of a DAG run."""

from __future__ import annotations

import logging
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any

from airflow.providers.common.compat.sdk import AirflowException, AirflowFailException, conf

from airflow_reportrun.links import StripeRequestLink, note_request, push_request, request_of, request_xcoms
from airflow_reportrun.operators.submitting import SubmittingOperator
from airflow_reportrun.question.calendar_units import INTERVAL_UNITS
from airflow_reportrun.reporting.errors import APIError, ConfigurationError, ReportExpiredError, ReportingError
from airflow_reportrun.reporting.report_type_ids import ParameterShape
from airflow_reportrun.tasks.failures import (
    Try,
    airflow_errors,
    require_available,
    require_room,
    set_retry_policy,
)
from airflow_reportrun.tasks.options import (
    count_option,
    given_options,
    is_template,
    path_option,
    positive,
    require_known,
    require_rendered,
    span_option,
    truth,
    word,
)
from airflow_reportrun.tasks.outlets import record_landing, record_partition, require_partitions
from airflow_reportrun.tasks.results import GivenRun, acting, result, whose, whose_before
from airflow_reportrun.waiting.events import PendingReportRunsEvent, ReportRunEvent, ReportTypeEvent, describe

if TYPE_CHECKING:
    from os import PathLike

    from airflow.providers.common.compat.sdk import Context, ObjectStoragePath

    from airflow_reportrun.landing.report import Landed
    from airflow_reportrun.question.intervals import IntervalUnit
    from airflow_reportrun.question.readiness import OnMissingData
    from airflow_reportrun.reporting.models import ReportRun

log = logging.getLogger(__name__)

REPORT_RUN_ID_XCOM_KEY = "report_run_id"

DEFAULT_TIMEOUT = timedelta(hours=12)
"""Half of the 24 hours that Stripe surely keeps an idempotency key, so that a retry still finds the run."""

DEFAULT_DATA_TIMEOUT = timedelta(days=3)
"""Stripe has a UTC day complete by noon of the next one, and a day of another zone perhaps a day later."""

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

_TRUTHS = ("fresh", "overwrite")


class StripeReportRunOperator(SubmittingOperator):
    """Create a report run for the interval of the DAG run, once, and wait for it.

    The interval is ``interval_start`` and ``interval_end`` where given, else the unit that ``interval`` names,
    else the data interval of the DAG run, reconstructed from the schedule where Airflow 3 leaves it empty; see
    :func:`airflow_reportrun.question.intervals.resolve`. It is asked for when Stripe's data reaches its end.

    A retry, after whatever crash, attaches to the report run of the try before; it creates another one only when
    that one failed. Clearing the task asks for a fresh one.

    Pushes ``report_run_id`` to XCom before it waits, and returns a small dict: ``report_run_id``,
    ``report_type``, ``status``, ``livemode``, ``interval_start`` and ``interval_end`` (epoch seconds, UTC),
    ``file_id``, ``size`` (bytes), ``stripe_conn_id``, ``stripe_account``, ``request_id``, ``path``, ``sha256`` and
    ``rows``; what is not there is None.

    :param report_type: such as ``balance.summary.1``; or several in order of preference, of which the first that
        the account has is taken, and kept for the retries (Airflow ≥ 3.3). (templated)
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
    :param destination: where the file goes, as Stripe wrote it: an absolute path on the worker or a URL such as
        ``s3://conn_id@bucket/key``, or a ``Path`` or ``ObjectStoragePath``; without it nothing is downloaded.
        After the templates, ``{report_type}``, ``{report_run_id}``, ``{stripe_account}``, ``{interval_start}`` and
        ``{interval_end}`` are filled in, in the schedule's time zone and with any format of ``datetime``:
        ``/data/{interval_start:%Y-%m-%d}.csv``.
        With a ``/`` at its end it is the root of the default layout. :class:`StripeReportDownloadOperator` has
        other formats. (templated)
    :param overwrite: True lets the report take the place of a file that is there without a manifest of ours, which
        is refused else. (templated)
    :param partition_key: the partition that the report is about, for the consumers of the assets in ``outlets``
        (Airflow ≥ 3.3): with the placeholders of ``destination``, such as ``{interval_start:%Y-%m-%d}``. Without
        it the events have the key of the DAG run, if it has one. (templated)
    :param report_run_id: ``frr_…`` of a run that exists already, to be used instead of creating one; it has to be
        what this task would have asked for. Empty for none. (templated)
    :param fresh: True asks for a report run of its own even where one is known under the same ids, as after a DAG
        run was deleted and created again. (templated)
    :param stripe_conn_id: Airflow connection of type ``stripe``. (templated)
    :param stripe_account: account to act as; overrides the connection's own. (templated)
    :param stripe_context: the same as a path of accounts, ``acct_…/acct_…``, for keys of an organization.
        (templated)
    :param expect_livemode: True refuses a test key, False a live one, before anything is created.
    :param wait_for_data: wait until Stripe's data reaches the end of the interval; False asks at once, and fails
        the try when it does not.
    :param data_timeout: how long to wait for the data, counted from the first try of the task over all its
        retries (before Airflow 3.3, from the start of the DAG run), with ``settle`` on top: a timedelta or
        seconds. 3 days by default.
    :param settle: wait until Stripe's data reaches so far beyond the end of the interval, for figures that still
        move: fees take up to 96 hours. A timedelta or seconds.
    :param on_missing_data: what to do when the interval begins before the account's data: ``fail``, ``skip`` the
        task, or ``clip`` the interval and skip where nothing is left of it. It is never waited for.
    :param max_pending_report_runs: create a report run only while fewer than so many of the account are pending,
        whoever asked for them, of those created within the last ``timeout``; that wait is over with
        ``data_timeout``, too. Stripe has no lock, so tasks that look in the same moment may exceed it: by how much
        is in docs/backfills.md. With ``deferrable`` the triggerer lets tasks in, so that each defers once more.
        None for any number.
    :param wait_for_completion: False returns as soon as the run is submitted.
    :param deferrable: wait in the triggerer, without a worker; ``[operators] default_deferrable`` by default.
    :param poll_interval: seconds between looks at first; the pause grows to a quarter of the run's age, at most
        five minutes. In the triggerer, where tasks look together, it may be shorter.
    :param timeout: how long the report may take, counted from its submission over all tries that attach to it: a
        timedelta or seconds. 12 hours by default.
    """

    template_fields: Sequence[str] = (
        *QUESTION,
        "destination",
        "overwrite",
        "partition_key",
        "report_run_id",
        "fresh",
        "stripe_conn_id",
        "stripe_account",
        "stripe_context",
    )
    note = (
        "Creates a [report run](https://docs.stripe.com/reports/api) at Stripe for the interval of the DAG run,"
        " once, and waits for it. A retry attaches to it; clearing the task asks for a fresh one."
    )
    operator_extra_links = (StripeRequestLink(),)

    @classmethod
    def get_serialized_fields(cls) -> frozenset[str]:
        """Return what Airflow stores of the task: the API server tells its intervals by ``interval``."""
        return frozenset(super().get_serialized_fields()) | {"interval"}

    def __init__(
        self,
        *,
        report_type: str | Sequence[str],
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
        destination: str | PathLike[str] | ObjectStoragePath | None = None,
        overwrite: bool | str = False,
        partition_key: str | None = None,
        report_run_id: str | Mapping[str, Any] | None = None,
        fresh: bool | str = False,
        stripe_conn_id: str = "stripe_default",
        stripe_account: str | None = None,
        stripe_context: str | None = None,
        expect_livemode: bool | None = None,
        wait_for_data: bool = True,
        data_timeout: timedelta | float = DEFAULT_DATA_TIMEOUT,
        settle: timedelta | float = timedelta(0),
        on_missing_data: OnMissingData = "fail",
        max_pending_report_runs: int | None = None,
        wait_for_completion: bool = True,
        deferrable: bool = conf.getboolean("operators", "default_deferrable", fallback=False),
        poll_interval: timedelta | float = 10.0,
        timeout: timedelta | float = DEFAULT_TIMEOUT,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        set_retry_policy(self)
        if destination is not None and not wait_for_completion:
            raise ConfigurationError(
                "destination needs the finished report: leave wait_for_completion at True, "
                "or download later with StripeReportDownloadOperator"
            )
        require_partitions(self, partition_key)
        require_known("on_missing_data", on_missing_data, ("fail", "skip", "clip"))
        require_known("interval", interval, (*INTERVAL_UNITS, None))
        require_known("parameter_shape", parameter_shape, (*map(str, ParameterShape), None))
        require_known("expect_livemode", expect_livemode, (True, False, None))
        self.timeout = positive("timeout", timeout)
        self.data_timeout = positive("data_timeout", data_timeout)
        self.poll_interval = positive("poll_interval", poll_interval).total_seconds()
        self.settle = span_option("settle", settle)
        if self.settle < timedelta(0):
            raise ConfigurationError(f"settle is not negative, as {settle!r} is")
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
        self.destination = path_option(destination)
        self.overwrite = overwrite
        self.partition_key = partition_key
        self.stripe_conn_id = stripe_conn_id
        self.stripe_account = stripe_account
        self.stripe_context = stripe_context
        self.expect_livemode = expect_livemode
        self.wait_for_completion = wait_for_completion
        self.wait_for_data = wait_for_data
        self.on_missing_data = on_missing_data
        self.max_pending_report_runs = count_option("max_pending_report_runs", max_pending_report_runs)
        self.deferrable = deferrable
        self.report_run_id = report_run_id
        self.fresh = fresh
        for name in _TRUTHS:
            value = getattr(self, name)
            if isinstance(value, str) and not is_template(value):
                truth(name, value)
        # As a rule these are templates over dag_run.conf.
        self._given = given_options(self, may_be_empty=("report_run_id", *_TRUTHS))
        self._waits_for: str | None = None
        self._let_in: PendingReportRunsEvent | None = None
        self._has_said_interval = False  # in this try

    def execute(self, context: Context) -> dict[str, Any]:
        """Create the report run or attach to it, and wait; see the class."""
        note_request(self, {})  # until it is sent
        self._has_said_interval = False
        return self._execute(context, Try.of(self, context))

    def _execute(self, context: Context, this_try: Try) -> dict[str, Any]:
        self._try = this_try
        with airflow_errors():
            require_rendered(self, {name: it for name, it in self._given.items() if name not in QUESTION})
            given = self.report_run_id
            adopted, request_id = word(given), None
            if isinstance(given, Mapping):
                it = GivenRun.of(given)
                adopted, request_id = it.id_for(self.hook.settings), it.request_id
            try:
                run, destination = self._adopt(context, adopted) if adopted else self._submit(context)
            except APIError as error:
                self._link(context, error.request_id, self.hook.settings.livemode)
                raise
        run = replace(run, request_id=run.request_id or request_id)
        self._waits_for = run.id
        whose_it_is = whose(self.hook)
        self.tell_run(describe(run), whose_it_is)
        context["ti"].xcom_push(key=REPORT_RUN_ID_XCOM_KEY, value=run.id)
        self._link(context, run.request_id, run.livemode)
        if not self.wait_for_completion and not run.status.is_terminal:
            record_partition(self, context, self._key(context, run.report_type, run.parameters, run.id))
            return result(describe(run), whose_it_is, request_id=run.request_id)
        resume: dict[str, Any] = {
            "destination": destination,
            "request_id": run.request_id,
            "adopted": bool(adopted),
        }
        created = run.created_at(time.time())
        resume |= {"report_type": run.report_type, "created": created, **whose_it_is, **self._try.resume}
        return self._conclude(context, self._wait(run, resume), resume)

    def execute_when_available(self, context: Context, event: Mapping[str, Any]) -> dict[str, Any]:
        """Go on when the trigger has seen the data."""
        arrived = ReportTypeEvent.from_payload(event)
        this_try = Try.of(self, context, arrived.resume)
        this_try.require_time(arrived)
        require_available(arrived, arrived.resume.get("refusal"))
        self._has_said_interval = True
        return self._execute(context, this_try)

    def execute_when_room(self, context: Context, event: Mapping[str, Any]) -> dict[str, Any]:
        """Go on when the trigger has seen room for another report run."""
        arrived = PendingReportRunsEvent.from_payload(event)
        this_try = Try.of(self, context, arrived.resume)
        this_try.require_time(arrived)
        require_room(arrived)
        self._let_in, self._has_said_interval = arrived, True
        return self._execute(context, this_try)

    def execute_complete(self, context: Context, event: Mapping[str, Any]) -> dict[str, Any]:
        """Go on when the trigger has seen the end of the run."""
        arrived = ReportRunEvent.from_payload(event)
        self._waits_for = arrived.report_run_id
        self._try = Try.of(self, context, arrived.resume)
        _measure_wait(arrived, arrived.resume)
        return self._conclude(context, arrived, arrived.resume)

    def on_kill(self) -> None:
        """Say what goes on without us: Stripe's API has no way to cancel a report run."""
        if self._waits_for:
            log.info(
                "Report run %s goes on at Stripe, which can't cancel it. A retry attaches to it, and a clear "
                "asks for another.",
                self._waits_for,
            )

    def _link(self, context: Context, request_id: str | None, livemode: bool | None) -> None:
        account = self.hook.settings.stripe_account
        push_request(self, context, request_xcoms(request_id, livemode=livemode, stripe_account=account))

    def _wait(self, run: ReportRun, resume: Mapping[str, Any]) -> ReportRunEvent:
        """Return how the waiting ended; a deferrable task comes back in ``execute_complete`` instead."""
        from airflow_reportrun.triggers import StripeReportRunTrigger
        from airflow_reportrun.waiting.goals import ReportRunEnds, StillWaiting
        from airflow_reportrun.waiting.loop import look, wait
        from airflow_reportrun.waiting.pace import Watch

        if run.status.is_terminal:
            return ReportRunEvent.ended(run)
        # Counted from the submission, whichever try it was in.
        created = resume["created"]
        deadline = self._try.deadline(created + self.timeout.total_seconds())
        if not self.deferrable or time.time() >= deadline:
            end = wait(self.hook, ReportRunEnds(run.id), Watch(created, deadline, self.poll_interval))
            _measure_wait(end, resume)
            return end
        event = look(self.hook, ReportRunEnds(run.id))
        if not isinstance(event, StillWaiting):
            return event
        if event.words:
            log.warning("%s", event.words)
        trigger = StripeReportRunTrigger.waiting_from_now(
            report_run_id=run.id,
            deadline=deadline,
            since=created,
            poll_interval=self.poll_interval,
            **acting(self.hook),
            resume=resume,
        )
        return self.defer(trigger=trigger, method_name="execute_complete", timeout=trigger.backstop)

    def _land(self, run: ReportRun, destination: str) -> Landed:
        from airflow_reportrun.landing.destination import LATER, checked
        from airflow_reportrun.landing.report import land_report
        from airflow_reportrun.landing.stores import place_of

        try:
            place = place_of(checked(destination.replace(LATER, run.id)))
            return land_report(self.hook, run, place, overwrite=truth("overwrite", self.overwrite))
        except ReportExpiredError as error:
            expired = str(error)
        # Without a cause, which the retry policy would take for final: a retry asks for a fresh run here.
        raise AirflowException(f"{expired} A retry of this task does so, too.")

    def _conclude(self, context: Context, event: ReportRunEvent, resume: Mapping[str, Any]) -> dict[str, Any]:
        """Return the task's result, or raise what the outcome means."""
        log.info("%s", event)
        kept, request_id = whose_before(resume), resume.get("request_id")
        if event.report_run:
            if kept:
                account, livemode = kept["stripe_account"], event.report_run.get("livemode")
                note_request(self, request_of(request_id, livemode, account) if request_id else {})
            with suppress(ReportingError):
                self.tell_run(event.report_run, kept or whose(self.hook))
        if event.outcome == "failed" and not resume.get("adopted"):
            raise AirflowException(f"{event.message} (a retry of this task creates another one)")
        self._try.require_time(event)
        if event.outcome == "timeout":
            raise AirflowException(f"{event.message} A retry looks at it again; a longer timeout= waits for it.")
        if event.outcome != "succeeded":
            raise AirflowFailException(event.message)
        destination = resume.get("destination")
        lands = destination or self.destination
        if event.report_run and event.tells_all and kept and not lands and self.partition_key is None:
            return result(event.report_run, kept, request_id=request_id)
        with airflow_errors():
            run = self.hook.retrieve_report_run(event.report_run_id)
            if not destination and self.destination:  # damaged, or from before the task had one
                destination = self._asked_before(context, run.report_type, run.parameters).destination
            landed = self._land(run, destination) if destination else None
            key = self._key(context, run.report_type, run.parameters, run.id)
        if landed:
            self.tell_landing(landed)
            record_landing(self, context, landed)
        record_partition(self, context, key)
        return result(describe(run), whose(self.hook), request_id=request_id, landed=landed)


def _measure_wait(event: ReportRunEvent, resume: Mapping[str, Any]) -> None:
    """Measure a wait that is over; what an earlier version deferred doesn't say when the run was created."""
    from airflow_reportrun import metrics

    report_type, created = resume.get("report_type"), resume.get("created")
    if isinstance(report_type, str) and isinstance(created, (int, float)):
        metrics.WAIT.send(time.time() - created, report_type=report_type, outcome=event.outcome)
