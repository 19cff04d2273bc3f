"""What is landed in one place, read from it and from Stripe, in as little memory as the page needs."""

from __future__ import annotations

import hashlib
import json
import time
from array import array
from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from airflow_reportrun.coverage.series import Series, State, complete_by, series_of
from airflow_reportrun.reporting.errors import ReportingError

if TYPE_CHECKING:
    from airflow_reportrun.coverage.landings import Landing, Source
    from airflow_reportrun.coverage.steps import Span, Step
    from airflow_reportrun.page.report_tasks import Asker, Where

LOOKED_AT = 100
"""Report runs of an account among which newer ones of what is landed are looked for: one request."""

LETTERS = {
    State.LANDED: "l",
    State.EMPTY: "e",
    State.CHANGED: "c",
    State.LANDING: "i",
    State.MISSING: "m",
    State.NOT_YET: "n",
}
LATE, PENDING, FAILED = "t", "p", "f"


@dataclass(frozen=True)
class Shelf:
    """The intervals of a series, one after the other.

    :param about: the series without what is landed.
    :param where: the place.
    :param start: epoch seconds, where the first one begins.
    :param ends: epoch seconds.
    :param states: a letter for each.
    :param told_at: where the manifest of each is, empty where there is none.
    :param without_interval: how many are landed besides that have none.
    """

    about: Series
    where: Where
    start: int
    ends: array[int]
    states: str
    told_at: tuple[str, ...]
    without_interval: int = 0

    @classmethod
    def of(cls, series: Series, where: Where, now: float) -> Shelf:
        """Return the shelf of a series."""
        late = complete_by(now)
        states = (
            LATE if it.state is State.NOT_YET and it.end <= late else LETTERS[it.state] for it in series.intervals
        )
        return cls(
            replace(series, intervals=(), without_interval=()),
            where,
            series.intervals[0].start if series.intervals else 0,
            array("q", [it.end for it in series.intervals]),
            "".join(states),
            tuple(it.landing.told_at if it.landing else "" for it in series.intervals),
            len(series.without_interval),
        )

    @property
    def id(self) -> str:
        """What the page calls it."""
        it = self.about
        told = [
            *(str(self.where), self.where.hook_params, it.report, it.stripe_account, it.livemode),
            *(it.format, dict(it.filters), str(it.step), it.has_starts),
        ]
        return hashlib.sha256(json.dumps(told, sort_keys=True).encode()).hexdigest()[:12]

    @property
    def step(self) -> Step | None:
        """From each interval to the next."""
        return self.about.step

    def spans(self) -> Iterator[Span]:
        """Yield the bounds of the intervals."""
        start = self.start
        for end in self.ends:
            yield start, end
            start = end


@dataclass(frozen=True)
class Contents:
    """What is in a place.

    :param accounts: which account each asker acts as, None for that of the key; left out where it isn't known.
    :param problems: what could not be found out, in words, and of whom that is, None where it is the place's.
    """

    shelves: tuple[Shelf, ...]
    accounts: Mapping[Asker, str | None]
    problems: tuple[tuple[Asker | None, str], ...] = ()


def source_of(where: Where) -> Source:
    """Return what reads a place.

    :raises ReportingError: when it can't be one.
    """
    if where.destination:
        from airflow_reportrun.coverage.lake import Lake

        return Lake(where.destination)
    if where.catalog_conn_id or where.warehouse:
        from airflow_reportrun.coverage.lakehouse import iceberg_table

        return iceberg_table(
            where.table, catalog_conn_id=where.catalog_conn_id or None, warehouse=where.warehouse or None
        )
    if not where.conn_id:
        from airflow_reportrun.coverage.lakehouse import delta_table

        return delta_table(where.table)
    from airflow_reportrun.coverage.table import Table

    return Table(where.conn_id, where.table, json.loads(where.hook_params))


def read_contents(where: Where, askers: Collection[Asker]) -> Iterator[Contents]:
    """Yield what is in a place as the clock says it, and then as Stripe says it.

    :raises ReportingError: when the place can't be read.
    """
    from airflow_reportrun.coverage.stripe import ask_stripe
    from airflow_reportrun.hooks import StripeReportingHook

    source = source_of(where)
    landings: list[Landing] = list(source.landings())
    hooks = dict[Any, StripeReportingHook]()
    problems: list[tuple[Asker | None, str]] = [(None, said) for said in source.passed_over]
    if "://" not in where.destination and where.destination and not Path(where.destination).is_dir():
        problems.append((None, f"There is no folder {where} on the machine of Airflow's API server."))
    for asker in sorted(askers, key=repr):
        hook = StripeReportingHook(
            asker.stripe_conn_id, stripe_account=asker.stripe_account, stripe_context=asker.stripe_context
        )
        try:
            hook.settings  # noqa: B018  # looks the connection up
            hooks[asker] = hook
        except ReportingError as error:
            problems.append((asker, f"Connection {asker.stripe_conn_id}: {error}"))
    accounts = {asker: hook.settings.stripe_account for asker, hook in hooks.items()}
    yield Contents(_shelves(landings, {}, where), accounts, tuple(problems))
    ends: dict[tuple[str | None, str], int] = {}
    for asker, hook in hooks.items():
        account = accounts[asker]
        try:
            says = ask_stripe(hook, landings, source.manifest, stripe_account=account, looked_at=LOOKED_AT)
            landings, ends = says.landings, ends | says.data_available_end
        except ReportingError as error:
            said = f"Stripe, by {asker.stripe_conn_id}: {error} The clock says what should be there."
            problems.append((asker, said))
    yield Contents(_shelves(landings, ends, where), accounts, tuple(problems))


def _shelves(
    landings: Iterable[Landing], ends: Mapping[tuple[str | None, str], int], where: Where
) -> tuple[Shelf, ...]:
    now = time.time()
    return tuple(Shelf.of(it, where, now) for it in series_of(landings, now=now, data_available_end=ends))
