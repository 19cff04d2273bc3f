"""What is landed in a table already: what a report replaces there, and what it can't stand beside."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

import sqlalchemy as sa

from airflow_reportrun.landing.manifest import Manifest, Subject
from airflow_reportrun.landing.overlaps import Overlap, described, overlap
from airflow_reportrun.landing.sql.layout import landing_key
from airflow_reportrun.reporting.errors import LandingConflictError, StoreError

if TYPE_CHECKING:
    from airflow_reportrun.landing.sql.databases import Database
    from airflow_reportrun.landing.sql.layout import TableName

_SHOWN = 5  # landings in an error


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

    def covered(self, *, may_go: bool) -> Sequence[Subject]:
        """Return what is landed of other bounds, and goes with this landing.

        :param may_go: what is covered whole.
        :raises LandingConflictError: when something can't stand beside this landing.
        """
        new, c = self._subject, self._landings.c
        of_other_mode = sa.select(c.report_run_id).where(self.here, c.livemode != new.livemode).limit(1)
        if (run_id := self._connection.execute(of_other_mode).scalar()) is not None:
            mine, its = ("live", "test") if new.livemode else ("test", "live")
            raise LandingConflictError(
                f"{self._place} has {its} data (report run {run_id}), and {self._manifest.report_run_id} is of "
                f"{mine} data: land it in another table."
            )
        old = [subject for subject in self._near() if overlap(new, subject) is not Overlap.APART]
        others = [subject for subject in old if subject != new]
        covered = [subject for subject in others if overlap(new, subject) is Overlap.COVERED]
        if len(covered) == len(others) and (may_go or not others):
            return covered
        shown = "; ".join(described(subject) for subject in others[:_SHOWN])
        more = f" and {len(others) - _SHOWN} more" if len(others) > _SHOWN else ""
        if len(covered) == len(others):
            ways = "set on_overlap='replace' to put this landing in their place"
        else:
            ways = "land what covers them whole, since replacing them would lose a part"
        raise LandingConflictError(
            f"{described(new)} would count the same twice beside what is landed in {self._place}: {shown}{more}. "
            f"Ways out: {ways}, land it in another table, or delete those rows and their manifests in "
            f"{self._landings.name}."
        )

    def require_no_better(self) -> None:
        """Refuse to put an older report, or less of it, in the place of one of the same subject.

        :raises StoreError: when a newer report run has landed, which a retry would leave there.
        :raises LandingConflictError: when one of the same version has columns that this one lacks.
        """
        mine, there = self._manifest, self.same
        if there is None:
            return
        if there.is_newer_than(mine.report_run_created):
            raise StoreError(
                f"Report run {there.report_run_id} has landed in {self._place} meanwhile, and is newer than "
                f"{mine.report_run_id}; a retry leaves it there."
            )
        lost = [name for name in there.columns or () if name not in (mine.columns or ())]
        if lost and there.report_type == mine.report_type:
            raise LandingConflictError(
                f"{described(self._subject)} is landed in {self._place} with columns that this report lacks: "
                f"{', '.join(lost)}. Ask for these columns, too, land it in another table, or delete its rows and "
                f"its manifest in {self._landings.name}."
            )

    def _near(self) -> Iterator[Subject]:
        """Yield the landings that may overlap."""
        c, new = self._landings.c, self._subject
        conditions = [self.here, c.report == new.report]
        conditions.append(
            c.stripe_account.is_(None) if new.stripe_account is None else c.stripe_account == new.stripe_account
        )
        start, end = (self._database.instant(bound) for bound in (new.interval_start, new.interval_end))
        if start is not None and end is not None:
            conditions += [
                sa.or_(c.interval_end.is_(None), c.interval_end > start),
                sa.or_(c.interval_start.is_(None), c.interval_start < end),
            ]
        elif end is not None:
            conditions.append(sa.or_(c.interval_end == end, c.interval_start.isnot(None)))
        query = sa.select(c.manifest).where(*conditions).order_by(c.interval_start, c.interval_end)
        for (text,) in self._connection.execute(query):
            yield Manifest.from_json(text).subject
