"""What Stripe says of what is landed: how far its data reaches, and which figures it has made anew."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from itertools import islice
from typing import TYPE_CHECKING

from airflow_reportrun.landing.manifest import Manifest, Subject, iso

if TYPE_CHECKING:
    from airflow_reportrun.coverage.landings import Landing
    from airflow_reportrun.reporting.client import ReportingClient
    from airflow_reportrun.reporting.models import ReportRun

LOOKED_AT = 1000
"""Report runs of the account that are looked at, the newest first: ten requests."""


@dataclass(frozen=True)
class StripeSays:
    """What Stripe says.

    :param data_available_end: by accounts and report types: up to when there is data, epoch seconds.
    :param landings: those that were asked about, with ``newer_report_run`` where there is one.
    :param changes_since: epoch seconds: of report runs that were created since then all were looked at; None where
        that is all of the account.
    """

    data_available_end: dict[tuple[str | None, str], int]
    landings: list[Landing]
    changes_since: int | None


def ask_stripe(
    client: ReportingClient,
    landings: Iterable[Landing],
    manifest: Callable[[str], Manifest | None],
    *,
    stripe_account: str | None,
    looked_at: int = LOOKED_AT,
) -> StripeSays:
    """Ask which data the account has, and whether it has newer report runs than the landed ones.

    A landing has changed when the newest report run with the same report type and the same parameters that has
    succeeded is a newer one, with a file of another size. Of files Stripe tells nothing else: whether figures
    differ in one of the same size is known when it is landed.

    :param client: of the account.
    :param landings: of any account; those of others are left as they are.
    :param manifest: reads one; see :meth:`~airflow_reportrun.coverage.landings.Source.manifest`.
    :param stripe_account: that is acted as, None for the key's own.
    :param looked_at: how many report runs to look at.
    :raises ReportingError: when Stripe can't be asked.
    """
    ends = {(stripe_account, it.id): it.data_available_end for it in client.list_report_types()}
    runs = list(islice(client.list_report_runs(), looked_at))
    newest: dict[str, list[ReportRun]] = {}
    for run in runs:
        if run.status == run.status.SUCCEEDED and run.result:
            newest.setdefault(_question(run, stripe_account), []).append(run)
    found = [_compared(it, newest.get(_key(it), []), manifest) if it.whole else it for it in landings]
    return StripeSays(ends, found, runs[-1].created if len(runs) == looked_at else None)


def _question(run: ReportRun, stripe_account: str | None) -> str:
    subject = Subject.of(run.report_type, run.parameters, livemode=run.livemode, stripe_account=stripe_account)
    return repr((run.report_type, stripe_account, sorted(subject.filters.items()), *_bounds(subject)))


def _key(it: Landing) -> str:
    return repr((it.report_type, it.stripe_account, sorted(it.filters.items()), *_bounds(it)))


def _bounds(it: Subject | Landing) -> tuple[int | None, int | None]:
    return it.interval_start, it.interval_end


def _compared(it: Landing, runs: Iterable[ReportRun], manifest: Callable[[str], Manifest | None]) -> Landing:
    """Return a landing with the first of some report runs that asked the same, if that has a newer file."""
    told = None
    for run in runs:
        told = told or it.manifest or manifest(it.told_at)
        if told is None:
            return it
        if (run.livemode, run.parameters) == (told.livemode, told.parameters):
            newer = (iso(run.created) or "") > (told.report_run_created or "~")
            if newer and run.result and run.result.id != told.file_id:
                return replace(it, newer_report_run=run.id, changed=run.result.size != told.file_size)
            return it
    return it
