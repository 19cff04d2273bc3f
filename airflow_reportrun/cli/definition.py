"""The commands and their options, for Airflow's command line and ours; the rest is loaded when one is called."""

from __future__ import annotations

import argparse

from airflow.cli.cli_config import ARG_OUTPUT, ARG_VERBOSE, ActionCommand, Arg, GroupCommand, lazy_load_command

EXIT_CODES = """\
exit codes:
  0   done; of coverage: all that Stripe has is there
  1   failed: one sentence on stderr says why
  2   the command was not understood
  3   of coverage: something is missing, changed at Stripe or interrupted; of plan: a task would be refused or fail
  130 interrupted
"""


def _timezone(name: str) -> str:
    """Return the name of a time zone; any other word is not understood."""
    from airflow_reportrun.reporting.parameters import is_zone

    if is_zone(name):
        return name
    from difflib import get_close_matches
    from zoneinfo import available_timezones

    close = get_close_matches(name, available_timezones(), n=1)
    meant = f"did you mean {close[0]}?" if close else "such as Europe/Berlin"
    raise argparse.ArgumentTypeError(f"{name!r} is no IANA name of a time zone; {meant}")


_CONN_ID = Arg(("--stripe-conn-id",), help="Airflow connection of type stripe", default="stripe_default")
_ASKS_STRIPE = Arg(
    ("--stripe-conn-id",),
    help="Airflow connection of type stripe: ask Stripe how far its data reaches, and what it has made anew; "
    "without it Stripe is not asked",
)
_ACCOUNT = Arg(("--stripe-account",), help="account to act as, acct_…; the connection's own by default")
_CONTEXT = Arg(("--stripe-context",), help="the same as a path of accounts, for keys of an organization")
_FROM_DATE = Arg(("--from-date",), help="ISO 8601; with no offset by the clocks of the time zone")
_TO_DATE = Arg(("--to-date",), help="ISO 8601, exclusive; with no offset by the clocks of the time zone")
_TIMEZONE = Arg(
    ("--timezone",),
    help="IANA name of the zone whose days these are; told by the bounds where they can tell it",
    type=_timezone,
)
_DAG_FILE = Arg(("--dag-file",), help="file or folder of the DAG, where it is not in those that Airflow knows")

_TYPES = (
    Arg(("report_type",), nargs="*", help="ids of report types, such as balance.summary.1; all by default"),
    *(_CONN_ID, _ACCOUNT, _CONTEXT, ARG_OUTPUT, ARG_VERBOSE),
)

_RUN = (
    Arg(("report_type",), help="id of a report type, such as balance.summary.1"),
    Arg(
        ("destination",), help="where the file goes, as a task's destination: a path, a URL, or a root ending in /"
    ),
    Arg(("--interval-start",), help="first instant, included: ISO 8601 with an offset, or epoch seconds"),
    Arg(("--interval-end",), help="first instant that is not part of the interval; the same forms"),
    Arg(
        ("--interval",),
        help="instead of both: the last one, in UTC, of which Stripe has all data",
        choices=("hour", "day", "week", "month", "quarter", "year"),
    ),
    Arg(("--columns",), help="names of columns, with commas between"),
    Arg(("--connected-account",), help="acct_…, for report types about connected accounts"),
    Arg(("--currency",), help="only rows of this currency"),
    Arg(("--payout",), help="po_…, for report types about one payout"),
    Arg(("--reporting-category",), help="only rows of this category"),
    Arg(
        ("--timezone",),
        help="IANA name in which Stripe writes timestamps; it never moves the interval",
        type=_timezone,
    ),
    Arg(("--format",), help="csv, csv.gz or parquet", choices=("csv", "csv.gz", "parquet"), default="csv"),
    Arg(
        ("--naming",),
        help="parquet: what the columns are called",
        choices=("stripe", "snake_case"),
        default="stripe",
    ),
    Arg(
        ("--metadata",),
        help="parquet: its columns, or one of JSON",
        choices=("columns", "json"),
        default="columns",
    ),
    Arg(
        ("--schema",),
        help="parquet: refuse what would change the columns of the lake, with freeze",
        choices=("evolve", "freeze"),
        default="evolve",
    ),
    Arg(("--overwrite",), help="take the place of a file that has no manifest", action="store_true"),
    Arg(("--report-run-id",), help="frr_… of a report run that exists, instead of creating one"),
    Arg(("--wait-timeout",), help="seconds to wait for the report run (43200)", type=float, default=43200.0),
    *(_CONN_ID, _ACCOUNT, _CONTEXT, ARG_OUTPUT, ARG_VERBOSE),
)

_PLAN = (
    Arg(("dag_id",), help="id of the DAG"),
    Arg(("--from-date",), help="first date, as airflow backfill create takes it", required=True),
    Arg(("--to-date",), help="last date, included; a date without a time is its midnight", required=True),
    Arg(("--task-id",), help="only this task, or those that create what it lands"),
    *(_DAG_FILE, ARG_OUTPUT, ARG_VERBOSE),
)

_COVERAGE = (
    Arg(
        ("destination",),
        nargs="?",
        help="root or folder of what is landed; a task's destination will do, of a file its folder",
    ),
    Arg(("--conn-id",), help="Airflow connection of a database"),
    Arg(("--catalog-conn-id",), help="Airflow connection of an Iceberg catalog"),
    Arg(("--warehouse",), help="folder with an Iceberg catalog of its own"),
    Arg(("--table",), help="table there: [schema.]table, namespace.table of Iceberg; or a Delta table's folder"),
    *(_FROM_DATE, _TO_DATE, _TIMEZONE),
    Arg(("--dag-id",), help="DAG that lands there: say how to backfill what is missing"),
    Arg(
        ("--task-id",),
        help="task of it that asks for reports, or lands them, where several ask for different intervals",
    ),
    _DAG_FILE,
    Arg(("--gaps",), help="show what is missing, and no interval", action="store_true"),
    *(_ASKS_STRIPE, _ACCOUNT, _CONTEXT, ARG_OUTPUT, ARG_VERBOSE),
)


def _command(name: str, summary: str, description: str, args: tuple[Arg, ...]) -> ActionCommand:
    func = lazy_load_command(f"airflow_reportrun.cli.{name}.{name}")
    return ActionCommand(name, summary, func, args, description, EXIT_CODES)


COMMANDS = (
    _command(
        "types",
        "List the report types that the account can run",
        "List the report types that the account can run: from when to when it has data, what they ask for, and "
        "their columns.",
        _TYPES,
    ),
    _command(
        "run",
        "Run one report and land it",
        "Create one report run, wait for it, and land its file with a manifest, as a task does.",
        _RUN,
    ),
    _command(
        "plan",
        "Say what a backfill would ask for",
        "Say what the runs of a backfill would ask for: intervals, parameters, idempotency keys, destinations, "
        "and what is landed there already. Nothing is sent to Stripe, and nothing is written.",
        _PLAN,
    ),
    _command(
        "coverage",
        "Show which intervals are landed, and which are missing",
        "Show which intervals are landed in a store or a table: landed, empty, changed at Stripe, being landed, "
        "missing, or not there at Stripe yet.",
        _COVERAGE,
    ),
)


def get_cli_commands() -> list[GroupCommand]:
    """Return the commands, for Airflow."""
    return [GroupCommand("reportrun", "Stripe's financial reports", COMMANDS)]
