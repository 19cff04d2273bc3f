"""``airflow reportrun run``."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, TypeVar

import pendulum
from rich.console import Console
from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Column
from rich.text import Text

from airflow_reportrun.cli.exits import FAILED, INTERRUPTED, Outcome, UsageError, command, nothing, print_rows, say
from airflow_reportrun.hooks import StripeReportingHook
from airflow_reportrun.landing.beside import landed_last
from airflow_reportrun.landing.contract import Contract
from airflow_reportrun.landing.destination import LATER, checked, is_compressed, placeholders, resolve_destination
from airflow_reportrun.landing.lake import BOUNDS
from airflow_reportrun.landing.manifest import Subject
from airflow_reportrun.landing.publication import require_free
from airflow_reportrun.landing.report import check_format, land_report
from airflow_reportrun.landing.stores import place_of
from airflow_reportrun.question.bounds import instant
from airflow_reportrun.question.calendar_units import last_unit
from airflow_reportrun.reporting.parameters import ReportParameters
from airflow_reportrun.reporting.report_type_ids import ParameterShape, shape_of
from airflow_reportrun.waiting.goals import ReportRunEnds
from airflow_reportrun.waiting.loop import wait
from airflow_reportrun.waiting.pace import Watch

if TYPE_CHECKING:
    from argparse import Namespace

    from rich.progress import Task

    from airflow_reportrun.reporting.models import File, ReportRun

T = TypeVar("T")

_POLL_INTERVAL = 5.0


@command
def run(args: Namespace) -> Outcome:
    """Create one report run, wait for it, and land its file."""
    contract = Contract(args.naming, args.metadata, args.schema)
    check_format(args.format, None, contract)
    with _shown_progress() as progress:
        hook = _Hook(
            args.stripe_conn_id,
            stripe_account=args.stripe_account,
            stripe_context=args.stripe_context,
            progress=progress,
        )
        report_run, destination = _existing(hook, args) if args.report_run_id else _created(hook, args)
        attach = f"--report-run-id {report_run.id} waits for it and lands it"
        try:
            ended = _waited_for(hook, report_run, args.wait_timeout, progress)
        except KeyboardInterrupt:
            say(f"Report run {report_run.id} goes on at Stripe; {attach}.")
            return INTERRUPTED, nothing
        if ended is None:
            say(f"Report run {report_run.id} is still pending after {args.wait_timeout:g} s; {attach}.")
            return FAILED, nothing
        landed = land_report(
            hook,
            ended,
            place_of(checked(destination.replace(LATER, ended.id))),
            format=args.format,
            contract=contract,
            overwrite=args.overwrite,
        )
    it = landed.manifest
    found = {
        "report_run_id": it.report_run_id,
        "report_type": it.report_type,
        "interval_start": it.interval_start,
        "interval_end": it.interval_end,
        "rows": it.rows,
        "size": it.size,
        "sha256": it.sha256,
        "path": landed.path,
    }
    lines = [{"property_name": name, "property_value": value} for name, value in found.items()]
    rows = lines if args.output == "table" else [found]
    return 0, lambda: print_rows(rows, args.output)


class _Hook(StripeReportingHook):
    """Shows the bytes of a download as they come."""

    def __init__(self, *args: Any, progress: Progress, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._progress = progress

    def read_file(self, file: File, consume: Callable[[Iterator[bytes]], T]) -> T:
        bar = self._progress.add_task("downloading", total=file.size)

        def shown(chunks: Iterator[bytes]) -> Iterator[bytes]:
            self._progress.reset(bar)
            for chunk in chunks:
                self._progress.advance(bar, len(chunk))
                yield chunk

        return super().read_file(file, lambda chunks: consume(shown(chunks)))


class _Bytes(DownloadColumn):
    """Shows how many have come, and nothing where none are waited for."""

    def render(self, task: Task) -> Text:
        return super().render(task) if task.total else Text()


@contextmanager
def _shown_progress() -> Iterator[Progress]:
    """Give a bar on stderr, which is drawn in a terminal and nowhere else."""
    whole = Column(no_wrap=True)
    columns = (
        TextColumn("{task.description}", table_column=whole),
        BarColumn(table_column=Column()),  # the one that gives way in a narrow terminal
        _Bytes(table_column=whole),
        TimeElapsedColumn(table_column=whole),
    )
    with Progress(*columns, console=Console(stderr=True), disable=not sys.stderr.isatty()) as progress:
        yield progress


def _created(hook: _Hook, args: Namespace) -> tuple[ReportRun, str]:
    """Return a new report run and where its file goes; what can be wrong is found before it is created."""
    shape = shape_of(args.report_type)
    bounds = _bounds(hook, args, shape)
    instants: dict[str, Any] = {name: bound.int_timestamp for name, bound in bounds.items()}
    parameters = ReportParameters(
        columns=args.columns.split(",") if args.columns else (),
        connected_account=args.connected_account,
        currency=args.currency,
        payout=args.payout,
        reporting_category=args.reporting_category,
        timezone=args.timezone,
        **instants,
    )
    parameters.check(shape)
    asked, account = parameters.as_dict(), hook.settings.stripe_account
    destination = _destination(args, args.report_type, asked, bounds, account)
    subject = Subject.of(args.report_type, asked, livemode=bool(hook.settings.livemode), stripe_account=account)
    place, any_mode = place_of(destination), hook.settings.livemode is None
    require_free(place, subject, overwrite=args.overwrite, any_mode=any_mode)
    if args.schema == "freeze":
        next(landed_last(place, subject), None)  # which says where that can't be known
    report_run = hook.create_report_run(args.report_type, parameters)
    say(f"Created report run {report_run.id}.")
    return report_run, destination


def _existing(hook: _Hook, args: Namespace) -> tuple[ReportRun, str]:
    """Return a report run that exists, and where its file goes."""
    report_run = hook.retrieve_report_run(args.report_run_id)
    if report_run.report_type != args.report_type:
        raise UsageError(f"Report run {report_run.id} is of {report_run.report_type}, not of {args.report_type}.")
    asked = report_run.parameters
    bounds = {name: pendulum.from_timestamp(asked[name]) for name in BOUNDS if name in asked}
    account = hook.settings.stripe_account
    return report_run, _destination(args, report_run.report_type, asked, bounds, account)


def _bounds(hook: _Hook, args: Namespace, shape: ParameterShape) -> dict[str, pendulum.DateTime]:
    """Return what was given of the interval, in UTC."""
    given = {name: getattr(args, name) for name in BOUNDS if getattr(args, name) is not None}
    if args.interval is None:
        return {name: instant(f"--{name.replace('_', '-')}", value) for name, value in given.items()}
    if given or shape is ParameterShape.PAYOUT:
        raise UsageError(
            "--interval is for report types that take an interval, and instead of both of its bounds."
        )
    reaches = pendulum.from_timestamp(hook.retrieve_report_type(args.report_type).data_available_end)
    start, end = last_unit(reaches, args.interval, pendulum.UTC)
    return (
        {"interval_end": end}
        if shape is ParameterShape.INTERVAL_END
        else dict(zip(BOUNDS, (start, end), strict=True))
    )


def _destination(
    args: Namespace,
    report_type: str,
    parameters: Mapping[str, Any],
    bounds: Mapping[str, pendulum.DateTime],
    account: str | None,
) -> str:
    values = placeholders(report_type, parameters, bounds, stripe_account=account)
    compressed = is_compressed(parameters)
    return resolve_destination(args.destination, values, args.format, compressed=compressed)


def _waited_for(hook: _Hook, report_run: ReportRun, timeout: float, progress: Progress) -> ReportRun | None:
    """Return the report run when it has ended, None when it is pending still."""
    task = progress.add_task("waiting", total=None)
    if not report_run.status.is_terminal:
        now = time.time()
        end = wait(hook, ReportRunEnds(report_run.id), Watch(now, now + timeout, _POLL_INTERVAL))
        if end.outcome == "timeout":
            return None
        report_run = hook.retrieve_report_run(report_run.id)
    progress.update(task, total=0)
    return report_run  # of one that has failed, land_report says so
