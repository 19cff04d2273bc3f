"""What the page is told: the shelves that somebody may see, with what is under way on them. Without I/O."""

from __future__ import annotations

from array import array
from bisect import bisect_left
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import groupby
from typing import TYPE_CHECKING, Any

from airflow_reportrun.coverage.landings import Landing
from airflow_reportrun.coverage.series import series_of
from airflow_reportrun.coverage.steps import pieces
from airflow_reportrun.page.report_tasks import are_those_of, is_in_format
from airflow_reportrun.page.shelves import FAILED, Contents, Shelf

if TYPE_CHECKING:
    from airflow_reportrun.page.dag_runs import Progress
    from airflow_reportrun.page.report_tasks import Asker, Lander, Where

_OPEN = "mnti"
"""The states that what is under way, or has failed, says more of."""


def belongs(lander: Lander, shelf: Shelf, accounts: Mapping[Asker, str | None]) -> bool:
    """Tell whether a task lands on a shelf: of its report and account, and as far as the rest is known."""
    about = shelf.about
    asking = {asker for asker, account in accounts.items() if account == about.stripe_account}
    return any(about.report in it.reports and it.asker in asking for it in lander.that_may_be(about))


def may_see(
    shelf: Shelf, accounts: Mapping[Asker, str | None], permitted: Sequence[Lander], others: Sequence[Lander]
) -> bool:
    """Tell whether a shelf is shown to who may see some of the tasks that land in its place.

    :param permitted: those that may be seen.
    :param others: the tasks that land in the same place and may not.
    """
    if not others:
        return bool(permitted)
    return any(belongs(it, shelf, accounts) for it in permitted)


@dataclass(frozen=True)
class Shown:
    """A shelf as the page shows it.

    :param landers: the tasks that land there, of those that may be seen.
    :param under_way: by the end of an interval: the task instances that it waits for, or that have failed.
    """

    shelf: Shelf
    landers: tuple[Lander, ...]
    under_way: Mapping[int, Sequence[Progress]]

    def as_dict(self) -> dict[str, Any]:
        """Return the same as JSON has it: few bytes for many intervals."""
        it = self.shelf.about
        lengths = (end - start for start, end in self.shelf.spans())
        return {
            "id": self.shelf.id,
            "report_type": it.report_types[0],
            "stripe_account": it.stripe_account,
            "livemode": it.livemode,
            "format": it.format,
            "filters": dict(it.filters),
            "step": str(it.step) if it.step else None,
            "unit": it.step and it.step.unit,
            "timezone": it.step.timezone if it.step else "UTC",
            "has_starts": it.has_starts,
            "without_interval": self.shelf.without_interval,
            "where": str(self.shelf.where),
            "dag_ids": sorted({lander.task.dag_id for lander in self.landers}),
            "start": self.shelf.start,
            "lengths": [[length, len(list(alike))] for length, alike in groupby(lengths)],
            "states": self.shelf.states,
        }


def shown_in(
    where: Where,
    contents: Contents,
    permitted: Sequence[Lander],
    others: Sequence[Lander],
    progress: Sequence[Progress],
    *,
    now: float,
) -> Iterator[Shown]:
    """Yield what is shown of a place to who may see some of the tasks that land there.

    :param permitted: those that may be seen.
    :param others: those that may not.
    :param progress: of those that may be seen.
    :param now: epoch seconds.
    """
    left = list(progress)
    for shelf in contents.shelves:
        mine = [it for it in progress if _is_on(it, shelf, contents.accounts)]
        left = [it for it in left if not _is_on(it, shelf, contents.accounts)]
        if may_see(shelf, contents.accounts, permitted, others):
            yield with_progress(shelf, [it for it in permitted if belongs(it, shelf, contents.accounts)], mine)
    asked = {it.asker: it.asker.stripe_account for it in left if it.asker}
    for shelf in not_landed_yet(where, left, now):
        mine = [it for it in left if _is_on(it, shelf, asked)]
        yield with_progress(shelf, [it for it in permitted if it.that_may_be(shelf.about)], mine)


def _is_on(it: Progress, shelf: Shelf, accounts: Mapping[Asker, str | None]) -> bool:
    about = shelf.about
    of_account = it.asker is None or accounts.get(it.asker) == about.stripe_account
    chosen = it.filters is None or are_those_of(it.filters, about.filters)
    return of_account and about.report in it.reports and chosen and is_in_format(it.format, about.format)


def with_progress(shelf: Shelf, landers: Sequence[Lander], progress: Iterable[Progress]) -> Shown:
    """Return a shelf with what is under way on it.

    :param progress: of these tasks, on this shelf.
    """
    by_span: dict[tuple[int, int], list[Progress]] = {}
    for it in progress:
        by_span.setdefault(it.span, []).append(it)
    first = min((start for start, end in by_span if start < end), default=shelf.start)
    if first < shelf.start and shelf.ends:
        before = pieces(first, shelf.start, shelf.step)
        shelf = replace(
            shelf,
            start=first,
            ends=array("q", [end for _, end in before]) + shelf.ends,
            states="m" * len(before) + shelf.states,
            told_at=("",) * len(before) + shelf.told_at,
        )
    states = list(shelf.states)
    found: dict[int, list[Progress]] = {}
    for (start, end), members in by_span.items():
        at = bisect_left(shelf.ends, end)
        begins = shelf.start if at == 0 else shelf.ends[at - 1]
        fits = at < len(states) and shelf.ends[at] == end and (start in (begins, end))
        if fits and states[at] in _OPEN:
            states[at] = FAILED if any(it.state == FAILED for it in members) else members[0].state
            found[end] = members
    return Shown(replace(shelf, states="".join(states)), tuple(landers), found)


def not_landed_yet(where: Where, progress: Iterable[Progress], now: float) -> list[Shelf]:
    """Return the shelves of reports of which nothing is landed yet, while some are under way or have failed."""
    pending = [
        Landing(
            report_type=report,
            stripe_account=it.asker.stripe_account if it.asker else None,
            filters=it.filters or {},
            interval_start=it.span[0] if it.span[0] < it.span[1] else None,
            interval_end=it.span[1],
            format="",
            path="",
            told_at="",
            whole=False,
        )
        for it in progress
        for report in it.reports
    ]
    return [Shelf.of(series, where, now) for series in series_of(pending, now=now)]
