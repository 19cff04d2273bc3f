"""What a table format has to do, and what follows from it."""

from __future__ import annotations

import json
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Protocol

from airflow_reportrun.landing.manifest import FILTERS, Manifest, Subject
from airflow_reportrun.landing.neighbours import SHOWN, Neighbourhood
from airflow_reportrun.landing.overlaps import Overlap, overlap
from airflow_reportrun.landing.rows import filters_of
from airflow_reportrun.reporting.report_type_ids import family_of

if TYPE_CHECKING:
    from airflow_reportrun.landing.lakehouse.layout import Layout
    from airflow_reportrun.landing.report import Landed


class OvertakenError(Exception):
    """Somebody else has changed the table since it was looked at: nothing was written to it."""


@dataclass(frozen=True)
class Owner:
    """What rows say of whose they are.

    :param report_type: with its version.
    :param stripe_account: the account that the run acted as.
    :param filters: as :func:`~airflow_reportrun.landing.rows.filters_of` writes them.
    :param interval_start: epoch seconds.
    :param interval_end: epoch seconds.
    """

    report_type: str
    stripe_account: str | None
    filters: str | None
    interval_start: int | None
    interval_end: int | None

    def is_about(self, subject: Subject) -> bool:
        """Tell whether a landing of a subject replaces these rows, whichever version of the report made them."""
        return self.is_of(subject) and (self.filters, self.interval_start, self.interval_end) == (
            filters_of(subject),
            subject.interval_start,
            subject.interval_end,
        )

    def is_of(self, subject: Subject) -> bool:
        """Tell whether they are of the same report and account."""
        return (family_of(self.report_type), self.stripe_account) == (subject.report, subject.stripe_account)


@dataclass(frozen=True)
class Landing:
    """What a table is to have, at once or not at all.

    :param manifest: what it says then of the interval.
    :param replaced: what goes with it: subjects of other bounds, rows and what the table says of them.
    :param layout: of the rows; its missing columns are added.
    :param tables: yields the rows as tables of the layout's schema, from the first one, each time it is called.
    """

    manifest: Manifest
    replaced: Sequence[Subject]
    layout: Layout
    tables: Callable[[], Iterator[Any]]


class Told(Protocol):
    """What a table says of what is landed in it."""

    def about(self, subject: Subject) -> Manifest | None:
        """Return what is landed of a subject.

        :raises ManifestError: when that can't be read, or a later version of this package has landed it.
        """

    def near(self, subject: Subject) -> Sequence[Manifest]:
        """Return what is landed that overlaps a subject, itself left out, in the order of time.

        :raises ManifestError: as :meth:`about`.
        """

    def of_mode(self, livemode: bool) -> str | None:
        """Return a report run that is landed, live or of test data, None where there is none."""

    def all(self) -> Iterator[tuple[str, Manifest]]:
        """Yield all that is landed, by what the table calls it; its rows are not looked at.

        :raises ManifestError: as :meth:`about`.
        """

    def called(self, name: str) -> Manifest | None:
        """Return what is landed that the table calls so, None where there is nothing of that name."""


class LakeTable(ABC):
    """A table of some format, as it was when it was looked at last."""

    name: str
    """What manifests and errors call it."""
    format: str
    """What manifests call its format."""
    told_in: str
    """What has the manifests of its landings, for errors."""

    looked_at: bool = False
    """Something is known of it."""

    @abstractmethod
    def look(self) -> None:
        """Look at the table as it is now: all that follows is about this moment.

        :raises ReportingError: when it can't be read, or not be written to.
        """

    @property
    @abstractmethod
    def schema(self) -> Any | None:
        """The table's columns as a schema of pyarrow, None where there is no table."""

    @property
    @abstractmethod
    def facts(self) -> Told:
        """What the table says of what is landed in it."""

    @abstractmethod
    def owners(self, subject: Subject) -> Mapping[Owner, int]:
        """Count the rows that may be in the way of a subject, by whose they are.

        :param subject: those of its own bounds are among them, and those whose intervals touch it; of its account
            and report at least.
        """

    @abstractmethod
    def replace(self, landing: Landing) -> int:
        """Replace the rows of a landing's subjects by its own, and what the table says of them, in one commit.

        :returns: how many rows came.
        :raises OvertakenError: when the table is no longer as it was looked at.
        :raises ContentsError: when not as many rows came as the manifest tells of; nothing has changed.
        """

    @abstractmethod
    def confirm(self, manifest: Manifest) -> None:
        """Let the table say this of an interval whose rows stay as they are.

        :raises OvertakenError: as :meth:`replace`.
        """

    @abstractmethod
    def errors(self) -> AbstractContextManager[None]:
        """Make errors of ours of those of the format's library, without what is secret."""

    @abstractmethod
    def called(self, manifest: Manifest) -> Landed:
        """Return what is landed, and what others call the place."""

    def give_up(self) -> None:  # noqa: B027 - a format may have nothing to do
        """Take away what was written for a landing that came to nothing, as far as that can be done."""


class Neighbours(Neighbourhood):
    """The landings in a table of a lakehouse, as its facts and its rows tell.

    :param manifest: of what is to be landed.
    """

    def __init__(self, table: LakeTable, manifest: Manifest) -> None:
        super().__init__(manifest, table.name, table.told_in)
        self._lake = table
        self._counted: dict[tuple[int | None, int | None], Mapping[Owner, int]] = {}

    @property
    def same(self) -> Manifest | None:
        """What is landed of the same subject, whether its rows are there or not."""
        return self._lake.facts.about(self._subject)

    def rows_there(self, of: Manifest) -> int:
        """Count what the table has of a subject."""
        near = of.subject if overlap(self._subject, of.subject) is Overlap.APART else self._subject
        return sum(count for owner, count in self._owners(near).items() if owner.is_about(of.subject))

    def _of_other_mode(self) -> str | None:
        return self._lake.facts.of_mode(not self._subject.livemode)

    def _near(self) -> Sequence[Manifest]:
        # Whose rows were deleted by hand, was taken out of the table.
        return [it for it in self._lake.facts.near(self._subject) if not it.rows or self.rows_there(it)]

    def _untold(self, replaced: Sequence[Subject]) -> Sequence[Subject]:
        new = self._subject
        found = []
        for owner in self._owners(new):
            if not owner.is_of(new) or any(owner.is_about(it) for it in (new, *replaced)):
                continue
            filters = _filters(owner.filters)
            # Of a digest nobody knows what it stands for; what has no filters has all of them in it.
            unknown = filters is None and not new.filters.keys() & {*FILTERS}
            it = replace(
                new,
                filters={} if filters is None else filters,
                interval_start=owner.interval_start,
                interval_end=owner.interval_end,
            )
            if overlap(new, it) is not Overlap.APART and (filters is not None or unknown):
                found.append(it if filters is not None else replace(it, filters={"_filters": str(owner.filters)}))
        found.sort(key=lambda it: (it.interval_start or 0, it.interval_end or 0))
        return found[: SHOWN + 1]

    def _owners(self, subject: Subject) -> Mapping[Owner, int]:
        bounds = subject.interval_start, subject.interval_end
        if bounds not in self._counted:
            self._counted[bounds] = self._lake.owners(subject)
        return self._counted[bounds]


def _filters(text: str | None) -> Mapping[str, str] | None:
    """Return the parameters that rows were chosen by, None where only their digest is there."""
    if text is None:
        return {}
    try:
        found = json.loads(text)
    except ValueError:
        return None
    return found if isinstance(found, dict) else None
