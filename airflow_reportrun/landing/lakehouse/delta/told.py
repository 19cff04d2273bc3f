"""What a Delta table says of what is landed in it.

The log has no room for a manifest that lasts: what a commit says of itself goes with the log's clean-up, and a
table's properties are written anew by each commit that changes one. So manifests are small files in a folder of
the table, which no reader takes for data, and the log has a number for each landing (a ``txn`` of an application):
of the manifest that counts. It is part of the commit that brings the rows, and outlives checkpoints and clean-ups.
A manifest whose number the log doesn't have is of a landing that came to nothing, or was replaced since.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from functools import cache
from typing import TYPE_CHECKING
from urllib.parse import quote, unquote

from airflow_reportrun.landing.lakehouse.table import Noted
from airflow_reportrun.landing.manifest import Manifest, Subject
from airflow_reportrun.landing.overlaps import Overlap, overlap
from airflow_reportrun.reporting.errors import ManifestError

if TYPE_CHECKING:
    from airflow_reportrun.landing.stores.place import Place

FOLDER = "_stripe_report_landings"
"""In the table's own folder."""

NOTHING = 0
"""The number of a landing that is there no more."""

_DAYS = "_stripe_report_days"
_MODES = {True: "live", False: "test"}
_APP = re.compile("[^/]+/[^/]+/[^/]+/[^/]+")
_NAME = re.compile(rf"(?P<app>{_APP.pattern})\.(?P<number>[0-9a-f]{{15}})\.json")


@dataclass(frozen=True)
class Note:
    """A manifest as the table has it.

    :param app: the application that the log has the number of, which is also where the file is, without its end.
    :param number: of the text.
    :param text: of the file.
    """

    app: str
    number: int
    text: str

    @classmethod
    def of(cls, noted: Noted) -> Note:
        """Return the note of a landing."""
        manifest = noted.manifest
        text = json.dumps({**asdict(manifest), "rows_of": noted.rows_of}, indent=1, ensure_ascii=False) + "\n"
        return cls(app_of(manifest.subject), int(hashlib.sha256(text.encode()).hexdigest()[:15], 16), text)


def app_of(subject: Subject) -> str:
    """Return what the log calls the landing of a subject; it can be compared with others without a file."""
    it = _hashed(subject)
    bounds = ["" if at is None else str(at) for at in (it.interval_start, it.interval_end)]
    filters = [f"{name}={value}" for name, value in sorted(it.filters.items())]
    return f"{_folder(subject)}/{','.join([*bounds, *filters])}"


def days_of(subject: Subject) -> Sequence[str]:
    """Return names of which two landings that overlap have one in common, and two days mostly none.

    A commit that bears one is refused when another one has, since the table was looked at.
    """
    start, end = subject.interval_start, subject.interval_end
    there = f"{_DAYS}/{_MODES[subject.livemode]}/{_report(subject)}/{_account(subject)}"
    if start is None or end is None:
        return [f"{there}/at {end}"]
    return [f"{there}/{day}" for day in range(start // 86400, (max(start, end - 1)) // 86400 + 1)]


class Manifests:
    """The manifests that count, at the moment at which the table was looked at.

    :param place: of the table.
    :param number_of: returns the log's number for an application, None where it has none.
    """

    def __init__(self, place: Place, number_of: Callable[[str], int | None]) -> None:
        self._place = place
        self._number_of = cache(number_of)

    def about(self, subject: Subject) -> Noted | None:
        """Return what is landed of a subject."""
        app = app_of(subject)
        number = self._number_of(app)
        return self._read(app, number) if number else None

    def near(self, subject: Subject) -> Sequence[Noted]:
        """Return what is landed that overlaps a subject, itself left out."""
        mine, folder = _hashed(subject), _folder(subject)
        found = []
        for name in self._place.names_in(self._folders(folder)):
            app, number = _told(f"{folder}/{name}")
            apart = not app or overlap(mine, _subject(app)) in (Overlap.APART, Overlap.SAME)
            if not apart and self._number_of(app) == number and (it := self._read(app, number)):
                found.append(it)
        return found

    def of_mode(self, livemode: bool) -> str | None:
        """Return a report run that is landed, live or of test data, None where there is none."""
        return next((it.manifest.report_run_id for _, it in self._all(_MODES[livemode])), None)

    def all(self) -> Iterator[tuple[str, Noted]]:
        """Yield all that is landed; each is asked of the log by itself, and rows are not looked at."""
        for mode in _MODES.values():
            yield from self._all(mode)

    def called(self, name: str) -> Manifest | None:
        """Return what is landed that the log calls so, None where there is nothing."""
        number = self._number_of(name) if _APP.fullmatch(name) else None
        found = self._read(name, number) if number else None
        return found.manifest if found else None

    def _all(self, mode: str) -> Iterator[tuple[str, Noted]]:
        for parts in self._place.files_below(self._folders(mode)):
            app, number = _told("/".join((mode, *parts)))
            if app and self._number_of(app) == number and (found := self._read(app, number)):
                yield app, found

    def write(self, note: Note) -> None:
        """Put a note where it is looked for once the log has its number."""
        self._at(note.app, note.number).write(note.text.encode())

    def _read(self, app: str, number: int) -> Noted | None:
        place = self._at(app, number)
        text = place.read()
        if text is None:
            return None
        try:
            manifest = Manifest.from_json(text)
        except ManifestError as error:
            raise ManifestError(f"{place}: {error}") from None
        return Noted(manifest, json.loads(text).get("rows_of"))

    def _folders(self, folder: str) -> Sequence[str]:
        return [*self._place.folders, self._place.name, FOLDER, *folder.split("/")]

    def _at(self, app: str, number: int) -> Place:
        folder, _, name = app.rpartition("/")
        return self._place.elsewhere(self._folders(folder), f"{name}.{number:015x}.json")


def _folder(subject: Subject) -> str:
    return f"{_MODES[subject.livemode]}/{_report(subject)}/{_account(subject)}"


def _report(subject: Subject) -> str:
    """Return the name of a folder: Stripe's are ones as they are, and what else a server says leads nowhere."""
    quoted = quote(subject.report, safe="")
    return quoted if quoted.strip(".") else quoted.replace(".", "%2E")


def _account(subject: Subject) -> str:
    return quote(subject.stripe_account or "-", safe="")


def _hashed(subject: Subject) -> Subject:
    """Return a subject with digests for values, which tell two apart as well as the values do."""
    digests = {name: hashlib.sha256(it.encode()).hexdigest()[:12] for name, it in subject.filters.items()}
    return replace(subject, filters=digests)


def _told(path: str) -> tuple[str, int]:
    """Return of which application and number a file is, an empty one where it is none of ours."""
    found = _NAME.fullmatch(path)
    return (found["app"], int(found["number"], 16)) if found else ("", NOTHING)


def _subject(app: str) -> Subject:
    """Return what an application is about, as `_hashed` says it."""
    mode, report, account, about = app.split("/")
    start, end, *filters = about.split(",")
    return Subject(
        unquote(report),
        mode == _MODES[True],
        None if account == "-" else unquote(account),
        dict(it.split("=", 1) for it in filters),
        *(int(at) if at else None for at in (start, end)),
    )
