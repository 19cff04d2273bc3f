"""``airflow reportrun types``."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from airflow_reportrun.cli.exits import Outcome, command, print_rows
from airflow_reportrun.landing.manifest import iso
from airflow_reportrun.reporting.errors import ConfigurationError
from airflow_reportrun.reporting.report_type_ids import ParameterShape, like_named, shape_of

if TYPE_CHECKING:
    from argparse import Namespace

    from airflow_reportrun.hooks import StripeReportingHook
    from airflow_reportrun.reporting.models import ReportType

_ASKED_FOR = {
    ParameterShape.INTERVAL: ["interval_start", "interval_end"],
    ParameterShape.INTERVAL_END: ["interval_end"],
    ParameterShape.PAYOUT: ["payout"],
}


def hook_of(args: Namespace) -> StripeReportingHook:
    """Return the hook of the account that the options name."""
    from airflow_reportrun.hooks import StripeReportingHook

    return StripeReportingHook(
        args.stripe_conn_id, stripe_account=args.stripe_account, stripe_context=args.stripe_context
    )


@command
def types(args: Namespace) -> Outcome:
    """List the report types that the account can run."""
    known = {it.id: it for it in hook_of(args).list_report_types()}
    if lacking := [it for it in args.report_type if it not in known]:
        raise ConfigurationError(f"The account has no report type {lacking[0]}. {like_named(lacking, known)}")
    named = bool(args.report_type) or args.output in ("json", "yaml")
    wanted = [known[it] for it in args.report_type or sorted(known)]
    rows = [_row(it, named) for it in wanted]
    return 0, lambda: print_rows(rows, args.output)


def _row(it: ReportType, named: bool) -> dict[str, Any]:
    return {
        "id": it.id,
        "name": it.name,
        "data_available_start": iso(it.data_available_start),
        "data_available_end": iso(it.data_available_end),
        "parameters": _ASKED_FOR[shape_of(it.id)],
        "columns": list(it.default_columns) if named else len(it.default_columns),
        "livemode": it.livemode,
    }
