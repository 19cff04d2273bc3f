"""What a connection leads to, in words for the Test button: whose data, live or test, and how far it reaches."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import TYPE_CHECKING

from airflow_reportrun.reporting import endpoints
from airflow_reportrun.reporting.errors import PermissionDeniedError, ReportingError
from airflow_reportrun.reporting.models import Account, in_utc

if TYPE_CHECKING:
    from airflow_reportrun.reporting.client import ReportingClient
    from airflow_reportrun.reporting.models import ReportType
    from airflow_reportrun.wire.connection import ConnectionSettings


def reach(client: ReportingClient, settings: ConnectionSettings) -> str:
    """Return in a sentence what a connection leads to.

    :raises ReportingError: when the account's report types can't be listed: there is nothing to report on then.
    """
    report_types = client.list_report_types()
    livemode = settings.livemode
    if livemode is None and report_types:
        livemode = report_types[0].livemode
    mode = {True: "live data", False: "test data", None: "data"}[livemode]
    account = _account(client, settings.stripe_account)
    return f"Connected to the {mode} of {account}: {extent(report_types)}."


def _account(client: ReportingClient, acting_as: str | None) -> str:
    """Name the account; what is not told of it is no failure, since a restricted key need not see it."""
    try:
        account = client.send(endpoints.retrieve_account())
    except PermissionDeniedError as error:
        named = re.search(r"on account '(acct_\w+)'", error.message, re.ASCII)
        account = Account(acting_as or (named[1] if named else ""))
    except ReportingError:
        account = Account(acting_as or "")
    if not account.id:
        return "the key's own account"
    return f"account {account.id}{f' ({account.name})' if account.name else ''}"


def extent(report_types: Sequence[ReportType]) -> str:
    """Return how many report types there are, and how far their data reaches."""
    if not report_types:
        return "no report types yet; a new account has some within a day"
    starts, ends = zip(*((it.data_available_start, it.data_available_end) for it in report_types), strict=True)
    behind = sum(end < max(ends) for end in ends)
    least = f", of {behind} of them to {in_utc(min(ends))} at least" if behind else ""
    return f"{len(report_types)} report types, with data from {in_utc(min(starts))} to {in_utc(max(ends))}{least}"
