"""``airflow reportrun coverage``."""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING, Any
from zoneinfo import ZoneInfo

from airflow_reportrun.cli.exits import INCOMPLETE, Outcome, UsageError, command, print_rows, say
from airflow_reportrun.cli.types import hook_of
from airflow_reportrun.coverage.looking import look_at, source_of
from airflow_reportrun.coverage.series import State
from airflow_reportrun.landing.manifest import iso
from airflow_reportrun.reporting.parameters import is_zone

if TYPE_CHECKING:
    from argparse import Namespace
    from collections.abc import Mapping, Sequence

    from airflow_reportrun.coverage.backfills import Backfill
    from airflow_reportrun.coverage.series import Series
    from airflow_reportrun.coverage.steps import Span

TO_DO = (State.MISSING, State.CHANGED, State.LANDING)
"""The states of intervals that a backfill is for."""

ASKED_FOR = (*TO_DO, State.NOT_YET)
"""Those that are not there, of intervals up to a date that was named."""


@command
def coverage(args: Namespace) -> Outcome:
    """Show which intervals are landed, and which are missing."""
    homes = (args.conn_id, args.catalog_conn_id, args.warehouse)
    named = sum(it is not None for it in homes)
    is_folder = "/" in (args.table or "")
    if (args.destination is None) == (args.table is None) or named != (args.table is not None and not is_folder):
        raise UsageError(
            "Give a DESTINATION, --table and one of --conn-id, --catalog-conn-id and --warehouse, or the folder "
            "of a Delta table as --table."
        )
    if args.stripe_account and args.stripe_conn_id is None:
        raise UsageError("--stripe-account is for --stripe-conn-id, with which Stripe is asked.")
    source = source_of(
        args.destination,
        conn_id=args.conn_id,
        catalog_conn_id=args.catalog_conn_id,
        warehouse=args.warehouse,
        table=args.table,
    )
    dag = _dag(args) if args.dag_id else None
    zone = args.timezone or (_zone_of(dag) if dag else None)
    since, until = (_date(it, zone) for it in (args.from_date, args.to_date))
    if since and until and (since.tzinfo is None) == (until.tzinfo is None) and since >= until:
        raise UsageError(f"--from-date {args.from_date} is not before --to-date {args.to_date}.")
    hook = hook_of(args) if args.stripe_conn_id else None
    seen = look_at(source, hook=hook, timezones=[zone] if zone else [], since=since, until=until)
    if not seen.series:
        say(source.nothing())
        return INCOMPLETE, lambda: print_rows([], args.output)
    gaps = [_Gaps(it, *_backfills(dag, it, args)) for it in seen.series]
    if seen.changes_since:
        say(f"Changes at Stripe are those of report runs that were created since {iso(seen.changes_since)}.")
    landings = [it.landing for series in seen.series for it in series.intervals if it.landing]
    if alike := sum(bool(it.newer_report_run) and not it.changed for it in landings):
        say(
            f"Stripe has newer report runs of {alike} that {'is' if alike == 1 else 'are'} landed, with files of "
            "the same size: whether a figure differs is known when they are landed."
        )
    for start, end in (span for it in gaps for span in it.left):
        say(f"No run of {args.dag_id} reports on {iso(start)} to {iso(end)}.")
    show = _rows if args.gaps or args.output != "table" else _calendars
    unfinished = any(it.gaps(*(ASKED_FOR if until else TO_DO)) for it in seen.series)
    if not any(it.intervals or it.without_interval for it in seen.series):
        say(f"Nothing is landed in {source} from {args.from_date or 'its beginning'} to {args.to_date or 'now'}.")
        unfinished = True
    elif args.gaps and not any(it.series.gaps(*TO_DO) for it in gaps):
        say(f"There are no gaps in {source}.")
    code = INCOMPLETE if unfinished else 0
    return code, lambda: show(gaps, args)


class _Gaps:
    """A series, and the backfills that fill its gaps, where its DAG is known."""

    def __init__(self, series: Series, backfills: Sequence[Backfill], left: Sequence[Span]) -> None:
        self.series, self.backfills, self.left = series, backfills, left

    def command_for(self, gap: Span) -> str | None:
        """Return the line for the shell, of as many backfills as it takes."""
        lines = [it.command for it in self.backfills if it.start < gap[1] and gap[0] < it.end]
        return "; ".join(lines) or None


def _dag(args: Namespace) -> Any:
    """Return the DAG that has a task that asks for reports, and the one that is named."""
    from airflow_reportrun.cli.dags import dag_of, report_tasks

    dag = dag_of(args.dag_id, args.dag_file, verbose=args.verbose)
    report_tasks(dag, args.task_id)
    return dag


def _zone_of(dag: Any) -> str | None:
    """Return the zone of a DAG, None for an offset that no zone has."""
    from airflow_reportrun.question.intervals import timezone

    name = str(timezone({"dag": dag}).name)
    return name if is_zone(name) else None


def _date(text: str | None, zone: str | None) -> datetime | None:
    """Return a date of the data; without an offset and a zone it is one of each series' own."""
    if text is None:
        return None
    try:
        at = datetime.fromisoformat(text)
    except ValueError:
        raise UsageError(f"{text!r} is no date in ISO 8601.") from None
    return at if at.tzinfo or zone is None else at.replace(tzinfo=ZoneInfo(zone))


def _backfills(dag: Any, series: Series, args: Namespace) -> tuple[Sequence[Backfill], Sequence[Span]]:
    """Return the backfills that fill the gaps of a series, and those that no run of the DAG fills."""
    spans = [(it.start, it.end) for it in series.intervals if it.state in TO_DO]
    if dag is None or not spans:
        return [], []
    from airflow_reportrun.cli.dags import report_tasks
    from airflow_reportrun.coverage.backfills import backfills_for

    named = {it.task_id: getattr(it, "interval", None) for it in report_tasks(dag, args.task_id)}
    intervals = {it: interval for it, interval in _feeders(dag, named, series).items() if it in named}
    if not intervals:
        who = f"The task {args.task_id} of {args.dag_id}" if args.task_id else args.dag_id
        say(f"{who} does not land {series}, so that no backfill of it fills what is missing.")
        return [], []
    if len({*intervals.values()}) > 1:
        ids = ", ".join(sorted(intervals))
        raise UsageError(f"The tasks {ids} of {args.dag_id} ask for different intervals: name one with --task-id.")
    return backfills_for(dag, spans, interval=next(iter(intervals.values())))


def _feeders(dag: Any, tasks: Mapping[str, Any], series: Series) -> dict[str, Any]:
    """Return the tasks that ask for a series, as far as it is known, and the interval of each.

    :param tasks: those that ask, and the interval of each.
    """
    from airflow_reportrun.page.report_tasks import asked_by, landers_of, stored_dag

    stored = stored_dag(dag)
    known = stored.tasks if stored else ()
    landers = landers_of(known, {})
    landed = {it.task_id for lander in landers for it in lander.feeders}
    asking = [it for lander in landers for it in lander.feeders_of(series)]
    # What others land than tasks of ours.
    asking += [it for it in known if it.asks and it.task_id not in landed and asked_by(it, {}).may_be(series)]
    unknown = tasks.keys() - {it.task_id for it in known}  # of classes that leave our templates out
    return {it: tasks[it] for it in unknown} | {it.task_id: it.fields.get("interval") for it in asking}


def _about(series: Series) -> dict[str, Any]:
    return {
        "report_type": series.report_types[0],
        "stripe_account": series.stripe_account,
        "livemode": series.livemode,
        "format": series.format,
        "filters": dict(series.filters),
    }


def _rows(found: Sequence[_Gaps], args: Namespace) -> None:
    rows: list[dict[str, Any]] = []
    for it in found:
        for start, end in it.series.gaps(*TO_DO) if args.gaps else ():
            rows.append(
                {
                    **_about(it.series),
                    "interval_start": iso(start),
                    "interval_end": iso(end),
                    "backfill": it.command_for((start, end)),
                }
            )
        if not args.gaps:
            for interval in it.series.as_dict()["intervals"]:
                kept = {
                    name: interval.get(name)
                    for name in ("interval_start", "interval_end", "state", "path", "manifest", "newer_report_run")
                }
                rows.append({**_about(it.series), **kept})
    print_rows(rows, args.output)


def _calendars(found: Sequence[_Gaps], args: Namespace) -> None:
    from airflow.cli.simple_table import AirflowConsole

    from airflow_reportrun.cli.calendars import calendar, legend

    console = AirflowConsole(highlight=False)
    for it in found:
        series = it.series
        mode = {True: "live data", False: "test data", None: "live or test data"}[series.livemode]
        steps = f"by {series.step}" if series.step else "without a step"
        console.print(f"{series} ({mode}), {steps}", style="bold")
        if series.without_interval:
            console.print(f"{len(series.without_interval)} landed, which have no interval")
            continue
        for line in calendar(series):
            console.print(line, soft_wrap=True)
        console.print(legend(series))
        for start, end in series.gaps(*TO_DO):
            console.print(f"{iso(start)} to {iso(end)}", soft_wrap=True)
        for backfill in it.backfills:
            console.print(backfill.command, soft_wrap=True)
        console.print()
