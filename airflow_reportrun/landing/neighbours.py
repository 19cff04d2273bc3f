"""What is landed in a table already: what a report replaces there, and what it can't stand beside.

The decisions are here, for tables of any kind; what they are made from, each kind finds in its own way.
"""

from __future__ import annotations

import logging
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Sequence
from typing import TYPE_CHECKING

from airflow_reportrun.landing.decision import STAYS, Answer, decide
from airflow_reportrun.landing.overlaps import Overlap, described, in_time, overlap
from airflow_reportrun.reporting.errors import LandingConflictError

if TYPE_CHECKING:
    from airflow_reportrun.landing.contract import Contract
    from airflow_reportrun.landing.formats.columns import Column
    from airflow_reportrun.landing.manifest import Manifest, Subject

SHOWN = 5
"""Landings in an error."""

log = logging.getLogger(__name__)


class Neighbourhood(ABC):
    """The landings in a table as they are now, and what they mean for one that is to come.

    :param manifest: of what is to be landed.
    :param table: what the table is called, for an error.
    :param told_in: what has the manifests, for an error.
    :ivar disproved: what is told of and was not there, when :meth:`covered` looked last.
    """

    disproved: Sequence[Subject] = ()

    def __init__(self, manifest: Manifest, table: str, told_in: str) -> None:
        self._manifest = manifest
        self._subject = manifest.subject
        self._table = table
        self._told_in = told_in

    @property
    @abstractmethod
    def same(self) -> Manifest | None:
        """What is landed of the same subject, whether its rows are there or not."""

    @abstractmethod
    def rows_there(self, of: Manifest) -> int:
        """Count what the table has of a subject."""

    @abstractmethod
    def _of_other_mode(self) -> str | None:
        """Return a report run that is live where this one is test data, or the other way round."""

    @abstractmethod
    def _near(self) -> Sequence[Manifest]:
        """Return what is landed that may overlap."""

    @abstractmethod
    def _untold(self, replaced: Sequence[Subject]) -> Sequence[Subject]:
        """Return some of what rows are about that no manifest tells of, and that touch this landing.

        :param replaced: what goes with this landing, rows or not.
        """

    @abstractmethod
    def _seen_from(self, manifest: Manifest) -> Neighbourhood:
        """Return the same landings, and what they mean for another one."""

    def settled(
        self,
        columns_of: Callable[[Sequence[str]], Sequence[Column]],
        lacks: Callable[[Sequence[Column]], bool],
        contract: Contract,
        *,
        may_go: bool,
    ) -> Manifest | None:
        """Return the manifest of what is landed and stays there, None where there is something to land.

        It is of this very report run, in the types that are asked for, or of a newer one. For a look before the
        download: of the contents nothing is known yet.

        :param columns_of: the columns of a header, in the types that are asked for.
        :param lacks: whether the table lacks some of these.
        :param contract: how they are to be called and kept.
        :param may_go: as for :meth:`covered`.
        :raises LandingConflictError: when it can't stand beside what is landed.
        """
        there = self.same
        wanted = columns_of(there.columns or ()) if there else ()
        types = {it.name: it.declared for it in wanted}
        as_wanted = there is not None and contract.is_form_of(there) and there.column_types == types
        if self.answer(there, as_wanted=as_wanted and not lacks(wanted)) in STAYS:
            return there
        self.require_told(self.covered(may_go=may_go))
        return None

    def newer(self, exists: Callable[[], bool]) -> Manifest | None:
        """Return what is landed of the same subject where that is newer and stays, whatever is asked for now.

        :param exists: whether the table is there.
        """
        there = self.same
        if there is None or not there.is_newer_than(self._manifest.report_run_created) or not exists():
            return None
        return there if self.answer(there, as_wanted=False) is Answer.NEWER else None

    def verdict(self, *, lacking: bool, may_go: bool) -> tuple[Answer, Sequence[Manifest]]:
        """Return what to do about what is landed of the same subject, and what of other bounds goes with it.

        For the moment of the publication, after :meth:`newer`.

        :param lacking: the rows that are there were without columns that this report has.
        :param may_go: as for :meth:`covered`.
        :raises LandingConflictError: when it can't stand beside what is landed, or has less columns.
        """
        mine, there = self._manifest, self.same
        replaced = self.covered(may_go=may_go)
        self.require_told(replaced)
        as_wanted = not lacking and there is not None and _says_the_same(there, mine)
        # To count takes a moment, and tells nothing where the file is another.
        answer = self.answer(there, as_wanted=True) if as_wanted and not replaced else Answer.REPLACE
        if answer is Answer.REPLACE:
            if there is not None and there.is_newer_than(mine.report_run_created):
                log.warning(
                    "Not all %s rows of report run %s, which is newer than %s, are in %s any longer: "
                    "it is replaced.",
                    *(there.rows, there.report_run_id, mine.report_run_id, self._table),
                )
            self.require_no_less(there)
        return answer, replaced

    def answer(self, there: Manifest | None, *, as_wanted: bool) -> Answer:
        """Say what to do about what is landed of the same subject.

        :param as_wanted: its rows have the types that are asked for now.
        """
        intact = there is not None and self.rows_there(there) == there.rows and not self._is_disproved(there)
        return decide(self._manifest, there, intact=intact, as_wanted=as_wanted)

    def _is_disproved(self, there: Manifest) -> bool:
        """Tell whether a landing without rows is told of where there are rows in its place.

        So it is after a rollback to before it: none of its own rows can be missing.
        """
        return not there.rows and not self._seen_from(there).is_alone

    @property
    def is_alone(self) -> bool:
        """Whether no rows are there that this landing does not replace, and that count the same."""
        return not self._untold(())

    def covered(self, *, may_go: bool) -> Sequence[Manifest]:
        """Return what is landed of other bounds, and goes with this landing.

        :param may_go: what is covered whole, and not of a newer report run.
        :raises LandingConflictError: when something can't stand beside this landing, and must not go.
        """
        new = self._subject
        if (run_id := self._of_other_mode()) is not None:
            mine, its = ("live", "test") if new.livemode else ("test", "live")
            raise LandingConflictError(
                f"{self._table} has {its} data (report run {run_id}), and {self._manifest.report_run_id} is of "
                f"{mine} data: land it in another table."
            )
        near = overlapping(new, self._near())
        self.disproved = [it.subject for it, how in near if how is Overlap.CONFLICT and self._is_disproved(it)]
        others = [it for it, _ in near if it.subject not in self.disproved]
        if not others:
            return ()
        covered = [it for it, how in near if how is Overlap.COVERED]
        newer = [there for there in covered if self._is_newer(there)]
        if len(covered) < len(others):
            raise self._conflict(others, "land what covers them whole, since replacing them would lose a part")
        if newer:
            run = self._manifest.report_run_id
            raise self._conflict(newer, f"clear the task that created {run}, which is older, for fresh figures")
        if not may_go:
            raise self._conflict(others, "set on_overlap='replace' to put this landing in their place")
        return covered

    def warn_of_loss(self, replaced: Sequence[Manifest]) -> None:
        """Say in the log how many rows go where an empty report takes the place of what it covers."""
        lost = 0 if self._manifest.rows else sum(map(self.rows_there, replaced))
        if lost:
            log.warning(
                "Report run %s has no rows, and takes the place of %d landings with %d rows in %s: %s",
                *(self._manifest.report_run_id, len(replaced), lost, self._table, shown(replaced)),
            )

    def _is_newer(self, there: Manifest) -> bool:
        """Tell whether newer figures are landed, and still there."""
        newer = there.is_newer_than(self._manifest.report_run_created)
        return newer and self.rows_there(there) == there.rows

    def _conflict(self, others: Sequence[Manifest], way: str) -> LandingConflictError:
        return LandingConflictError(
            f"{described(self._subject)} would count the same twice beside what is landed in {self._table}: "
            f"{shown(others)}. Ways out: {way}, land it in another table, or delete those rows and their "
            f"manifests in {self._told_in}."
        )

    def require_no_less(self, there: Manifest | None) -> None:
        """Refuse to put less of a report in the place of one of the same subject.

        :raises LandingConflictError: when one of the same version has columns that this one lacks.
        """
        mine = self._manifest
        if there is None or there.report_type != mine.report_type:
            return
        lost = [name for name in there.columns or () if name not in (mine.columns or ())]
        if lost and (not there.rows or self.rows_there(there)):  # unless its rows were deleted by hand
            raise LandingConflictError(
                f"{described(self._subject)} is landed in {self._table} with columns that this report lacks: "
                f"{', '.join(lost)}. Ask for these columns, too, land it in another table, or delete its rows and "
                f"its manifest in {self._told_in}."
            )

    def require_told(self, replaced: Sequence[Manifest]) -> None:
        """Refuse rows that no manifest tells of, and that would count twice beside this landing.

        Rows of this very subject are replaced, whether a manifest tells of them or not.

        :param replaced: what goes with this landing.
        :raises LandingConflictError: when there are any.
        """
        found = self._untold([it.subject for it in replaced])
        if not found:
            return
        shown = "; ".join(described(it) for it in found[:SHOWN]) + (" and more" if len(found) > SHOWN else "")
        raise LandingConflictError(
            f"{described(self._subject)} would count the same twice beside rows in {self._table} that no manifest "
            f"tells of, as after a table was renamed or restored: {shown}. Ways out: delete those rows, land "
            "exactly that again, which brings its manifest back, or land this in another table."
        )


def overlapping(new: Subject, landed: Iterable[Manifest]) -> list[tuple[Manifest, Overlap]]:
    """Return what of some landings would come again with a new one, and how far, in the order of time."""
    near = [(it, how) for it in landed if (how := overlap(new, it.subject)) in (Overlap.COVERED, Overlap.CONFLICT)]
    return sorted(near, key=lambda it: in_time(it[0].subject))


def shown(landings: Sequence[Manifest]) -> str:
    """Say what some landings are, for an error."""
    said = "; ".join(f"{described(it.subject)} (report run {it.report_run_id})" for it in landings[:SHOWN])
    return said + (f" and {len(landings) - SHOWN} more" if len(landings) > SHOWN else "")


def _says_the_same(there: Manifest, mine: Manifest) -> bool:
    """Tell whether a file that is landed would make the same rows of another report run."""
    return all(
        getattr(there, name) == getattr(mine, name)
        for name in ("report_type", "file_sha256", "rows", "columns", "column_types", "naming", "metadata")
    ) and all(
        there.parameters.get(name) == mine.parameters.get(name) for name in ("timezone", "decimal_separator")
    )
