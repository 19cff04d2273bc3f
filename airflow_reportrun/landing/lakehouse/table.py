"""What a table format has to do, and what follows from it."""

from __future__ import annotations

import json
from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, replace
from functools import cached_property
from traceback import walk_tb
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

from airflow_reportrun.landing.manifest import FILTERS, Manifest, Subject
from airflow_reportrun.landing.neighbours import SHOWN, Neighbourhood
from airflow_reportrun.landing.overlaps import Overlap, in_time, overlap
from airflow_reportrun.landing.rows import OURS, filters_of
from airflow_reportrun.reporting.report_type_ids import family_of

if TYPE_CHECKING:
    from airflow_reportrun.landing.lakehouse.layout import Layout
    from airflow_reportrun.landing.report import Landed


def came_through(error: Exception, library: str) -> bool:
    """Tell whether an error was raised by a library, or below it: many are of no class of its own."""
    frames = (frame.f_globals.get("__name__", "") for frame, _ in walk_tb(error.__traceback__))
    return any(str(name).startswith(f"{library}.") for name in (type(error).__module__, *frames))


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


def owner_of(row: Mapping[str, Any]) -> tuple[Owner, str]:
    """Return whose a row is, and the report run that it names."""
    kind, account, filters, *bounds, run = (row[name] for name in OURS)
    start, end = (None if it is None else int(it.timestamp()) for it in bounds)
    return Owner(kind, account, filters, start, end), run


@dataclass(frozen=True)
class Landing:
    """What a table is to have, at once or not at all.

    :param manifest: what it says then of the interval.
    :param replaced: what goes with it: subjects of other bounds, rows and what the table says of them.
    :param told_no_more: those, and others that the table tells of and has no rows of any longer.
    :param layout: of the rows; its missing columns are added.
    :param tables: yields the rows as tables of the layout's schema, from the first one, each time it is called.
    """

    manifest: Manifest
    replaced: Sequence[Subject]
    told_no_more: Sequence[Subject]
    layout: Layout
    tables: Callable[[], Iterator[Any]]


class Noted(NamedTuple):
    """What a table says of a landing; a rollback brings other rows, and may leave what is said as it is.

    :param manifest: of what was landed.
    :param rows_of: the report run that the rows name, which is another one where the same figures came again; None
        where nothing says so.
    """

    manifest: Manifest
    rows_of: str | None

    def is_of(self, runs: Iterable[str]) -> bool:
        """Tell whether rows are of the landing, by the report runs that they name; so are none."""
        return self.rows_of is None or all(it == self.rows_of for it in runs)


class Told(Protocol):
    """What a table says of what is landed in it."""

    def about(self, subject: Subject) -> Noted | None:
        """Return what is landed of a subject.

        :raises ManifestError: when that can't be read, or a later version of this package has landed it.
        """

    def near(self, subject: Subject) -> Sequence[Noted]:
        """Return what is landed that overlaps a subject, itself left out.

        :raises ManifestError: as :meth:`about`.
        """

    def of_mode(self, livemode: bool) -> str | None:
        """Return a report run that is landed, live or of test data, None where there is none."""

    def all(self) -> Iterator[tuple[str, Noted]]:
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
    def owners(self, subject: Subject | None = None) -> Mapping[tuple[Owner, str], int]:
        """Count the rows that may be in the way of a subject, by whose they are and which report run they name.

        :param subject: those of its own bounds are among them, and those whose intervals touch it; of its account
            and report at least. None counts all.
        """

    @abstractmethod
    def replace(self, landing: Landing) -> int:
        """Replace the rows of a landing's subjects by its own, and what the table says of them, in one commit.

        :returns: how many rows came.
        :raises OvertakenError: when the table is no longer as it was looked at.
        :raises ContentsError: when not as many rows came as the manifest tells of; nothing has changed.
        """

    @abstractmethod
    def confirm(self, noted: Noted) -> None:
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
    :param counted: the rows that may be in its way, where they are known; see :meth:`LakeTable.owners`.
    """

    def __init__(
        self, table: LakeTable, manifest: Manifest, counted: Mapping[tuple[Owner, str], int] | None = None
    ) -> None:
        super().__init__(manifest, table.name, table.told_in)
        self._lake = table
        self._counted: dict[tuple[int | None, int | None], Mapping[tuple[Owner, str], int]] = {}
        if counted is not None:
            self._counted[self._subject.interval_start, self._subject.interval_end] = counted

    @property
    def same(self) -> Manifest | None:
        """What is landed of the same subject, whether its rows are there or not."""
        noted = self._lake.facts.about(self._subject)
        return noted.manifest if noted and self._is_of_rows(noted) else None

    def rows_there(self, of: Manifest) -> int:
        """Count what the table has of a subject."""
        return sum(self.runs_there(of.subject).values())

    def runs_there(self, subject: Subject) -> Mapping[str, int]:
        """Count what the table has of a subject, by the report run that the rows name."""
        near = subject if overlap(self._subject, subject) is Overlap.APART else self._subject
        found: Counter[str] = Counter()
        for (owner, run), count in self._owners(near).items():
            if owner.is_about(subject):
                found[run] += count
        return found

    def _is_of_rows(self, noted: Noted) -> bool:
        """Tell whether the rows, where there are any, are of the landing that was noted."""
        return noted.rows_of is None or noted.is_of(self.runs_there(noted.manifest.subject))

    def _of_other_mode(self) -> str | None:
        return self._lake.facts.of_mode(not self._subject.livemode)

    @cached_property
    def told_near(self) -> Sequence[Noted]:
        """What the table tells of that overlaps, whether its rows are there or not."""
        return self._lake.facts.near(self._subject)

    def _near(self) -> Sequence[Manifest]:
        # Whose rows were deleted by hand, was taken out of the table.
        near = [it.manifest for it in self.told_near if self._is_of_rows(it)]
        return [it for it in near if not it.rows or self.rows_there(it)]

    def _seen_from(self, manifest: Manifest) -> Neighbours:
        return Neighbours(self._lake, manifest)

    def _untold(self, replaced: Sequence[Subject]) -> Sequence[Subject]:
        new = self._subject
        found = []
        for owner in dict.fromkeys(owner for owner, _ in self._owners(new)):
            if not owner.is_of(new) or any(owner.is_about(it) for it in (new, *replaced)):
                continue
            filters = new.filters if owner.filters == filters_of(new) else _filters(owner.filters)
            # Of another digest nobody knows what it stands for; what has no filters has all of them in it.
            unknown = filters is None and not new.filters.keys() & {*FILTERS}
            it = replace(
                new,
                filters={} if filters is None else filters,
                interval_start=owner.interval_start,
                interval_end=owner.interval_end,
            )
            if overlap(new, it) is not Overlap.APART and (filters is not None or unknown):
                found.append(it if filters is not None else replace(it, filters={"_filters": str(owner.filters)}))
        return sorted(found, key=in_time)[: SHOWN + 1]

    def _owners(self, subject: Subject) -> Mapping[tuple[Owner, str], int]:
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
