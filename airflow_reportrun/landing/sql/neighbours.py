"""What is landed in a table already: what a report replaces there, and what it can't stand beside."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import replace
from datetime import UTC, datetime
from itertools import combinations
from typing import TYPE_CHECKING, Any

import sqlalchemy as sa

from airflow_reportrun.landing.decision import Answer, decide
from airflow_reportrun.landing.manifest import FILTERS, Manifest, Subject
from airflow_reportrun.landing.overlaps import Overlap, described, overlap
from airflow_reportrun.landing.sql.layout import filters_of, landing_key, our_table, rows_of, rows_of_report
from airflow_reportrun.reporting.errors import LandingConflictError

if TYPE_CHECKING:
    from airflow_reportrun.landing.sql.databases import Database
    from airflow_reportrun.landing.sql.layout import TableName

_SHOWN = 5  # landings in an error
_NONE = object()


class Neighbours:
    """The landings in a table, as their manifests tell.

    :param manifest: of what is to be landed.
    """

    def __init__(
        self,
        connection: sa.engine.Connection,
        database: Database,
        place: TableName,
        landings: sa.Table,
        manifest: Manifest,
    ) -> None:
        self._connection = connection
        self._database = database
        self._place = place
        self._landings = landings
        self._manifest = manifest
        self._subject = manifest.subject

    @property
    def here(self) -> Any:
        """The condition that manifests of this table fulfil."""
        return sa.and_(self._landings.c.table_name == self._place.key, self._landings.c.landing != "")

    def about(self, subject: Subject) -> Any:
        """Return the condition that the manifest of a subject fulfils."""
        return sa.and_(
            self._landings.c.table_name == self._place.key, self._landings.c.landing == landing_key(subject)
        )

    @property
    def same(self) -> Manifest | None:
        """What is landed of the same subject, whether its rows are there or not."""
        query = sa.select(self._landings.c.manifest).where(self.about(self._subject))
        text = self._connection.execute(query).scalar()
        return None if text is None else Manifest.from_json(text)

    def rows_there(self, of: Manifest) -> int:
        """Count what the table has of a subject."""
        rows = our_table(self._database, self._place)
        condition = rows_of(rows, of.subject, self._database, of.report_type)
        query = sa.select(sa.func.count()).select_from(rows).where(condition)
        return int(self._connection.execute(query).scalar_one())

    def answer(self, there: Manifest | None, *, as_wanted: bool) -> Answer:
        """Say what to do about what is landed of the same subject.

        :param as_wanted: its rows have the types that are asked for now.
        """
        intact = there is not None and self.rows_there(there) == there.rows
        return decide(self._manifest, there, intact=intact, as_wanted=as_wanted)

    def covered(self, *, may_go: bool) -> Sequence[Subject]:
        """Return what is landed of other bounds, and goes with this landing.

        :param may_go: what is covered whole, and not of a newer report run.
        :raises LandingConflictError: when something can't stand beside this landing, and must not go.
        """
        new, c = self._subject, self._landings.c
        of_other_mode = sa.select(c.report_run_id).where(self.here, c.livemode == (not new.livemode)).limit(1)
        if (run_id := self._connection.execute(of_other_mode).scalar()) is not None:
            mine, its = ("live", "test") if new.livemode else ("test", "live")
            raise LandingConflictError(
                f"{self._place} has {its} data (report run {run_id}), and {self._manifest.report_run_id} is of "
                f"{mine} data: land it in another table."
            )
        others = [
            there for there in self._near() if overlap(new, there.subject) not in (Overlap.APART, Overlap.SAME)
        ]
        if not others:
            return ()
        covered = [there for there in others if overlap(new, there.subject) is Overlap.COVERED]
        newer = [there for there in covered if self._is_newer(there)]
        if len(covered) < len(others):
            raise self._conflict(others, "land what covers them whole, since replacing them would lose a part")
        if newer:
            run = self._manifest.report_run_id
            raise self._conflict(newer, f"clear the task that created {run}, which is older, for fresh figures")
        if not may_go:
            raise self._conflict(others, "set on_overlap='replace' to put this landing in their place")
        return [there.subject for there in covered]

    def _is_newer(self, there: Manifest) -> bool:
        """Tell whether newer figures are landed, and still there."""
        newer = there.is_newer_than(self._manifest.report_run_created)
        return newer and self.rows_there(there) == there.rows

    def _conflict(self, others: Sequence[Manifest], way: str) -> LandingConflictError:
        shown = "; ".join(f"{described(it.subject)} (report run {it.report_run_id})" for it in others[:_SHOWN])
        more = f" and {len(others) - _SHOWN} more" if len(others) > _SHOWN else ""
        return LandingConflictError(
            f"{described(self._subject)} would count the same twice beside what is landed in {self._place}: "
            f"{shown}{more}. Ways out: {way}, land it in another table, or delete those rows and their manifests "
            f"in {self._landings.name}."
        )

    def require_no_less(self, there: Manifest | None) -> None:
        """Refuse to put less of a report in the place of one of the same subject.

        :raises LandingConflictError: when one of the same version has columns that this one lacks.
        """
        mine = self._manifest
        if there is None or there.report_type != mine.report_type:
            return
        if lost := [name for name in there.columns or () if name not in (mine.columns or ())]:
            raise LandingConflictError(
                f"{described(self._subject)} is landed in {self._place} with columns that this report lacks: "
                f"{', '.join(lost)}. Ask for these columns, too, land it in another table, or delete its rows and "
                f"its manifest in {self._landings.name}."
            )

    def require_told(self, replaced: Sequence[Subject]) -> None:
        """Refuse rows that no manifest tells of, and that would count twice beside this landing.

        Rows of this very subject are replaced, whether a manifest tells of them or not. Each query is a range of
        the index over the rows, and their number grows with the intervals that touch, not with the table.

        :param replaced: what goes with this landing.
        :raises LandingConflictError: when there are any.
        """
        new = self._subject
        gone: dict[Any, list[str | None]] = {}
        for it in (new, *replaced):
            gone.setdefault((it.interval_start, it.interval_end), []).append(filters_of(it))
        found = []
        for bounds, values in self._touching():
            if (filters := self._untold(values, gone.get(bounds, []))) is not _NONE:
                found.append(replace(new, filters=filters, interval_start=bounds[0], interval_end=bounds[1]))
            if len(found) > _SHOWN:
                break
        if not found:
            return
        shown = "; ".join(described(it) for it in found[:_SHOWN]) + (" and more" if len(found) > _SHOWN else "")
        raise LandingConflictError(
            f"{described(new)} would count the same twice beside rows in {self._place} that no manifest tells of, "
            f"as after a table was renamed or restored: {shown}. Ways out: delete those rows, land exactly that "
            "again, which brings its manifest back, or land this in another table."
        )

    def _untold(self, bounds: Any, gone: Sequence[str | None]) -> Any:
        """Return the filters of rows with these bounds that touch and stay, `_NONE` where there are none.

        Of reports with filters, those with the same ones or fewer are looked for.
        """
        new, rows = self._subject, our_table(self._database, self._place)
        column, (start, end) = rows.c["_filters"], bounds
        if new.filters.keys().isdisjoint(FILTERS):
            texts = [text for text in gone if text is not None]
            which = [column >= "" if not texts else sa.and_(column >= "", column.notin_(texts))]
            which += [] if None in gone else [column.is_(None)]
        else:
            items = sorted(new.filters.items())
            fewer = [dict(some) for count in range(len(items) + 1) for some in combinations(items, count)]
            asked = {filters_of(replace(new, filters=some)) for some in fewer} - {*gone}
            which = [column.is_(None) if text is None else column == text for text in asked]
        here = sa.and_(_is(rows.c["_interval_end"], end), _is(rows.c["_interval_start"], start))
        # One by one: SQLite reads all with these bounds for an OR. Mostly there is none, of whatever report.
        for it in which:
            query = sa.select(column).where(here, it).limit(1)
            if self._connection.execute(query).first() is not None:
                report = rows_of_report(rows, new, self._database, self._manifest.report_type)
                if (row := self._connection.execute(query.where(report)).first()) is not None:
                    return _as_filters(row[0])
        return _NONE

    def _touching(self) -> Iterator[tuple[Any, Any]]:
        """Yield the bounds of rows that touch ours, of any report, as epoch seconds and as stored; ours first."""
        new, database = self._subject, self._database
        start, end = (database.instant(bound) for bound in (new.interval_start, new.interval_end))
        mine = new.interval_start, new.interval_end
        yield mine, (start, end)
        if start is None or end is None:
            return
        rows = our_table(database, self._place)
        starts, ends = rows.c["_interval_start"], rows.c["_interval_end"]
        # Landings of one report don't overlap, so that none touches ours that ends behind a later one.
        behind = self._one_behind(end)
        last = () if behind is None else (ends < behind,)
        there = sa.select(starts, ends).where(starts < end)
        at = self._connection.execute(there.where(ends > start, *last).order_by(ends, starts).limit(1)).first()
        while at is not None:
            bounds = (_epoch(at[0]), _epoch(at[1]))
            if bounds != mine:
                yield bounds, tuple(at)
            for more in ((ends == at[1], starts > at[0]), (ends > at[1], *last)):
                query = there.where(*more).order_by(ends, starts).limit(1)
                if (found := self._connection.execute(query).first()) is not None:
                    break
            at = found

    def _one_behind(self, end: Any) -> Any:
        """Return when the next landing with our filters ends that begins no sooner than ours ends, if any."""
        c, order = self._landings.c, self._database.byte_order
        text = filters_of(self._subject)
        mine = sa.literal(text) if order is None else sa.collate(sa.literal(text), order)
        query = sa.select(c.interval_end).where(
            self._of_the_same,
            c.filters.is_(None) if text is None else c.filters == mine,
            *(c.interval_end > end, c.interval_start >= end),
        )
        if self._connection.dialect.name == "postgresql":  # as in `_near`
            filters = (sa.collate(c.filters, order),) if order else ()
            query = query.order_by(c.stripe_account, *filters, c.interval_end)
        return self._connection.execute(query.limit(1)).scalar()

    @property
    def _of_the_same(self) -> Any:
        """The condition that manifests of the same report and account fulfil."""
        c, new = self._landings.c, self._subject
        return sa.and_(
            c.table_name == self._place.key,
            c.livemode == new.livemode,
            c.report == new.report,
            c.stripe_account.is_(None) if new.stripe_account is None else c.stripe_account == new.stripe_account,
        )

    def _near(self) -> Sequence[Manifest]:
        """Return what is landed that may overlap, in the order of time.

        Each query is a range of the index over the manifests, so that what is far away is not read.
        """
        c, new, of_the_same = self._landings.c, self._subject, self._of_the_same
        start, end = (self._database.instant(bound) for bound in (new.interval_start, new.interval_end))
        is_span = sa.and_(c.interval_start.isnot(None), c.interval_end.isnot(None))
        if start is not None and end is not None:
            bounds: Any = sa.and_(c.interval_end > start, c.interval_start < end)
            other = sa.not_(is_span)
        else:
            bounds = sa.and_(
                c.interval_end.is_(None) if end is None else c.interval_end == end, c.interval_start.is_(None)
            )
            other = is_span
        # A report takes an interval, an end or neither of them, so that any one with other bounds tells of all.
        one = sa.select(c.landing).where(of_the_same).limit(1)
        if self._connection.dialect.name == "postgresql":
            # It takes the first of the index only if that is asked for, and sorts, unless told the NULL, too.
            # MariaDB sorts always, since its index has but the beginnings of text.
            order = self._database.byte_order
            one = one.order_by(c.stripe_account, sa.collate(c.filters, order) if order else c.interval_end)
        queries = [
            *(sa.select(c.manifest).where(of_the_same, bounds, filters) for filters in self._of_like_filters()),
            sa.select(c.manifest).where(self.here, c.landing == one.scalar_subquery(), other),
        ]
        found = [Manifest.from_json(text) for (text,) in self._connection.execute(sa.union_all(*queries))]
        return sorted(found, key=lambda it: (it.subject.interval_start or 0, it.subject.interval_end or 0))

    def _of_like_filters(self) -> Sequence[Any]:
        """Return conditions of which filters fulfil one at most: those that may be beside ours in an overlap do.

        In the order of bytes, JSON that begins as ours does and goes on with another value is in two ranges, which
        are left out. So payouts are told apart by an index. Our very filters are a condition of their own, beside
        which the index finds the bounds.
        """
        filters, order = self._landings.c.filters, self._database.byte_order
        items = sorted(self._subject.filters.items())
        if order is None:
            others = [_other_value(filters, name, value) for name, value in items if name in FILTERS]
            return [sa.or_(filters.is_(None), sa.not_(sa.or_(*others)))] if others else [sa.true()]
        bounds, before = [], "{"
        for name, value in items:
            key = f"{before}{json.dumps(name)}: "
            ours = f"{key}{json.dumps(value)}"
            if name in FILTERS:
                bounds += [key, ours, f"{ours}~", f"{key}~"]  # ~ is behind all that can follow
            before = f"{ours}, "
        edges = ["", *sorted(bounds), "~"]
        mine = filters_of(self._subject)
        found: list[Any] = [filters.is_(None)]
        for low, high in zip(edges[::2], edges[1::2], strict=True):
            above, below = (sa.collate(sa.literal(edge), order) for edge in (low, high))
            if mine is None or not low <= mine < high:
                found.append(sa.and_(filters >= above, filters < below))
                continue
            exact = sa.collate(sa.literal(mine), order)
            found += [
                filters == exact,
                sa.and_(filters >= above, filters < exact),
                sa.and_(filters > exact, filters < below),
            ]
        return found


def _is(column: Any, value: Any) -> Any:
    return column.is_(None) if value is None else column == value


def _epoch(stored: Any) -> int:
    """Return an instant of the table in epoch seconds."""
    at = datetime.fromisoformat(stored) if isinstance(stored, str) else stored
    return int((at if at.tzinfo else at.replace(tzinfo=UTC)).timestamp())


def _as_filters(text: str | None) -> Any:
    """Return what rows say of their filters, for an error."""
    with suppress(ValueError):
        return {} if text is None else json.loads(text)
    return {"_filters": text}


def _other_value(filters: Any, name: str, value: str) -> Any:
    """Return the condition that filters have one of this name, with another value."""
    key = f"{json.dumps(name)}: "
    mine = f"{key}{json.dumps(value)}"
    return sa.and_(filters.contains(key, autoescape=True), sa.not_(filters.contains(mine, autoescape=True)))
