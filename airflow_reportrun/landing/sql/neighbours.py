"""What is landed in a table of a database already, as its rows and the table of manifests tell."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import replace
from datetime import UTC, datetime
from itertools import combinations
from typing import TYPE_CHECKING, Any

import sqlalchemy as sa

from airflow_reportrun.landing.manifest import FILTERS, Manifest, Subject
from airflow_reportrun.landing.neighbours import SHOWN, Neighbourhood
from airflow_reportrun.landing.rows import filters_of, landing_key
from airflow_reportrun.landing.sql.layout import our_table, rows_of, rows_of_report

if TYPE_CHECKING:
    from airflow_reportrun.landing.sql.databases import Database
    from airflow_reportrun.landing.sql.layout import TableName

_NONE = object()


class Neighbours(Neighbourhood):
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
        super().__init__(manifest, str(place), landings.name)
        self._connection = connection
        self._database = database
        self._place = place
        self._landings = landings

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

    def _of_other_mode(self) -> str | None:
        c = self._landings.c
        query = sa.select(c.report_run_id).where(self.here, c.livemode == (not self._subject.livemode)).limit(1)
        found: str | None = self._connection.execute(query).scalar()
        return found

    def _seen_from(self, manifest: Manifest) -> Neighbours:
        return Neighbours(self._connection, self._database, self._place, self._landings, manifest)

    def _untold(self, replaced: Sequence[Subject]) -> Sequence[Subject]:
        """Look for rows that touch.

        Each query is a range of the index over the rows, and their number grows with the intervals that touch, not
        with the table.
        """
        new = self._subject
        gone: dict[Any, list[str | None]] = {}
        for it in (new, *replaced):
            gone.setdefault((it.interval_start, it.interval_end), []).append(filters_of(it))
        found = []
        for bounds, values in self._touching():
            if (filters := self._untold_filters(values, gone.get(bounds, []))) is not _NONE:
                found.append(replace(new, filters=filters, interval_start=bounds[0], interval_end=bounds[1]))
            if len(found) > SHOWN:
                break
        return found

    def _untold_filters(self, bounds: Any, gone: Sequence[str | None]) -> Any:
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
        """Return what is landed that may overlap.

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
        return [Manifest.from_json(text) for (text,) in self._connection.execute(sa.union_all(*queries))]

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
