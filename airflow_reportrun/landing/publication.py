"""What is in a place, and whether a report may take it: before its download, and again when it is published."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from typing import TYPE_CHECKING

from airflow_reportrun.landing.beside import landed_last, require_apart
from airflow_reportrun.landing.contract import PLAIN, Contract
from airflow_reportrun.landing.decision import STAYS, Answer, decide, refusal
from airflow_reportrun.landing.formats.columns import columns_of
from airflow_reportrun.landing.lake import WAS_MOVED, former_manifests_of, gather_manifest, manifest_of
from airflow_reportrun.landing.manifest import Manifest, Subject, iso
from airflow_reportrun.landing.stores.place import ANY, MovedError
from airflow_reportrun.reporting.errors import LandingConflictError, ManifestError, StoreError

if TYPE_CHECKING:
    from airflow_reportrun.landing.formats.columns import Column
    from airflow_reportrun.landing.stores.place import Place, Replacement
    from airflow_reportrun.reporting.models import ReportRun

log = logging.getLogger(__name__)

_LOOKS = 8
"""How often a landing decides anew because somebody else was faster."""

_PATIENCE = 5.0
"""Seconds after which a newer run that is being landed, and has not moved on, counts as interrupted."""

_OF_DATA = ("rows", "columns", "size", "sha256", "etag", "column_types", "naming", "metadata")
"""What a manifest says of the data beside it, whichever report run has confirmed it."""


class There:
    """What is in a place, as it was when it was looked at last.

    :param run: that is to land there.
    :param format: that is asked for now.
    :param column_types: likewise.
    :param contract: likewise.
    :param overwrite: data that no manifest tells of may be replaced.
    :ivar note: where the manifest lies.
    :ivar manifest: what it says.
    :ivar data: mark of the data.
    """

    def __init__(
        self,
        place: Place,
        run: ReportRun,
        *,
        format: str,
        column_types: Mapping[str, str] | None,
        contract: Contract = PLAIN,
        overwrite: bool,
    ) -> None:
        self.manifest: Manifest | None = None
        self.data: object = ANY
        self._place, self.note, self._told = place, manifest_of(place), ANY
        self._run, self._wanted, self._overwrite = run, (format, column_types, contract), overwrite
        self._intact = False
        self._mine: object = None  # the mark of what this task has published

    def answer(self, mine: Manifest) -> Answer:
        """Look what is there, and return what to do about it.

        :raises LandingConflictError: when another report is there, or a file that no manifest tells of, or beside
            it what would count the same twice.
        """
        self._look()
        there = self.manifest
        answer = decide(
            mine,
            there,
            intact=self._intact,
            as_wanted=there is not None and _is_as_wanted(there, *self._wanted),
            unknown=self.data not in (None, self._mine) and not self._overwrite,
        )
        _refuse(answer, self._place, self.note, there, mine.subject)
        if there is None or there.landing or self.data is None:
            require_apart(self._place, mine.subject)
        if answer is Answer.LANDED:
            log.info("Report run %s is landed already, in %s", self._run.id, self._place)
        elif answer is Answer.NEWER and there:
            say_newer(self._place, there, self._run)
        return answer

    def publish(self, new: Replacement | None, mine: Manifest, sleep: Callable[[float], None] | None) -> Manifest:
        """Publish a report, unless what is there by now stays; return the manifest of what is there then.

        The data is published between two manifests: one that says that it is being landed, and the one that says
        that it is. So none tells of other data as landed than lies beside it, and what a kill leaves is known.

        :param new: the data, None where the store has dropped it because somebody else has landed there.
        :param sleep: waits for who may be landing there now; None where nobody can be.
        :raises LandingConflictError: as :meth:`answer`.
        :raises StoreError: when others publish there at the same time.
        """
        place, note, tried = self._place, self.note, False
        waited_for: tuple[object, object] | None = None
        for _ in range(_LOOKS):
            answer = self.answer(mine)
            there, told, data = self.manifest, self._told, self.data
            if there and answer in STAYS:
                return there
            newer = there and there.landing and there.is_newer_than(mine.report_run_created)
            if newer and sleep and (told, data) != waited_for:
                waited_for = told, data
                sleep(_PATIENCE)
                continue
            try:
                if there and answer is Answer.CONFIRMED:
                    mine = replace(mine, **{name: getattr(there, name) for name in _OF_DATA})
                elif tried or new is None:  # what went up for it is gone
                    break
                else:
                    with note.errors():
                        told = note.write(mine.as_landing().to_json().encode(), told)
                    tried = True
                    data = self._mine = new.publish(data)
                    mine = replace(mine, etag=place.etag(data))
                with note.errors():
                    told = note.write(mine.to_json().encode(), told)
            except MovedError:
                certain = (place.compares or sleep is None) and not self._overwrite
                nobody = certain and tried and there is None and note.mark() == told
                if nobody and not place.has(mine.size, mine.sha256, None):
                    note.remove()  # what has come is somebody else's, and not ours whose answer got lost
                continue
            if place.mark() == data:
                log.info(
                    "Landed report run %s: %s rows, %d bytes, sha256 %s in %s",
                    *(self._run.id, mine.rows, mine.file_size, mine.file_sha256, place),
                )
                return mine
            with suppress(MovedError):  # somebody else tells already
                note.write(mine.as_landing().to_json().encode(), told)
            break
        raise StoreError(f"{place}: another task lands there at the same time; a retry decides anew.")

    def _look(self) -> None:
        # In this order: whoever publishes data here has written a manifest before.
        data = self._place.mark()
        while True:
            with self.note.errors():
                told = self.note.mark()
                if (told, data) == (self._told, self.data):
                    return  # what would be read is known
                it = None if told is None else _read(self.note, self._place)
            self._told, self.data, self.manifest = told, data, it
            self._intact = bool(it and not it.landing and self._place.has(it.size, it.sha256, it.etag, data))
            if not it or self._intact or it.landing:
                return
            # Another landing may have begun and ended since the data was looked at.
            data = self._place.mark()
            if data == self.data:
                break
        if data is not None:
            log.warning("%s is not what its manifest tells of: it is landed anew.", self._place)


def require_free(place: Place, subject: Subject, *, overwrite: bool = False, any_mode: bool = False) -> None:
    """Refuse a place where another report is landed, or beside which the same is, before anything is asked for.

    :param any_mode: what the key is for is not known, and so whether ``livemode`` is right.
    :param overwrite: as in :func:`~airflow_reportrun.landing.report.land_report`.
    :raises LandingConflictError: see above; also when a file is there that no manifest tells of.
    :raises ManifestError: when something else lies where the manifest should be.
    """
    with place.errors():
        gather_manifest(place)
    landed_in(place, subject, overwrite=overwrite, any_mode=any_mode, gathered=True)


def landed_in(
    place: Place,
    subject: Subject,
    *,
    overwrite: bool,
    any_mode: bool,
    gathered: bool = False,
    before: Mapping[str, tuple[Place, Manifest]] | None = None,
) -> Manifest | None:
    """Return the manifest of what a report finds in its place, None where it finds nothing; writes nothing.

    :param gathered: the manifest is looked for where it belongs, and nowhere else.
    :param before: what will be landed before the report, by the URLs of places.
    :raises ReportingError: as :func:`require_free`.
    """
    with place.errors():
        note = manifest_of(place)
        data = place.mark()
        with note.errors():  # after the data: whoever publishes that has written a manifest before
            notes = [note] if gathered else [note, *former_manifests_of(place)]
            there = next(filter(None, (_read(it, place) for it in notes)), None)
        unknown = there is None and data is not None and not overwrite
        if there and any_mode:
            subject = replace(subject, livemode=there.livemode)
        _refuse(refusal(subject, there, unknown=unknown), place, note, there, subject)
        if there is None or there.landing or data is None:
            others = ((at, it.subject) for at, it in (before or {}).values())
            require_apart(place, subject, any_mode=any_mode and there is None, before=others)
        if before and place.url in before:
            _, it = before[place.url]
            subject = replace(subject, livemode=it.livemode) if any_mode else subject
            _refuse(refusal(subject, it), place, note, it, subject)
    return there


def require_kept(place: Place, subject: Subject, columns: Sequence[Column], contract: Contract) -> None:
    """Refuse a report that the files below a root would have to change for, where their schema is frozen.

    The first report makes the schema, as it makes a table.

    :param columns: of the report, as far as they are known.
    :raises ContentsError: see above.
    :raises ConfigurationError: when what is landed there can't be known.
    """
    for other in landed_last(place, subject):
        with suppress(ManifestError):  # of somebody else
            text = manifest_of(other).read()
            there = None if text is None else Manifest.from_json(text)
            if there and not there.landing and there.format == "parquet":
                return contract.require_kept_as(f"What is landed as {other}", there, columns)
    return None


def say_newer(place: object, before: Manifest, run: ReportRun) -> None:
    """Say in the log why a report run does not land."""
    log.warning(
        "%s has the figures of report run %s of %s, which is newer than %s of %s; they stay.",
        *(place, before.report_run_id, before.report_run_created, run.id, iso(run.created)),
    )


def _read(note: Place, place: Place) -> Manifest | None:
    text = note.read()
    if text is None:
        return None
    try:
        there = Manifest.from_json(text)
    except ManifestError as error:
        raise ManifestError(
            f"{note}: {error} Remove the data, too, or set overwrite=True then: without a manifest it is nobody's."
        ) from None
    if there.path != place.name:
        raise LandingConflictError(
            f"{note} tells of {there.path}, where {place.name} would have its own: choose another name."
        )
    return there


def _refuse(answer: Answer | None, place: Place, note: Place, there: Manifest | None, subject: Subject) -> None:
    """Raise the error of an answer that is one."""
    if answer is Answer.NOBODYS:
        raise LandingConflictError(
            f"{place} is there already, and no manifest says that it is a report of ours (there is no {note}). "
            f"Remove it, or set overwrite=True to have the report in its place; {WAS_MOVED}."
        )
    if answer is Answer.ANOTHERS and there:
        state = "is being landed there, or was when it was interrupted" if there.landing else "is landed there"
        raise LandingConflictError(
            f"{note} says that another report {state} ({_difference(there.subject, subject)}). "
            + (
                "Put what tells them apart into destination, such as {interval_start:%Y-%m-%d}, or end it with / "
                "for the default layout."
                if there.livemode == subject.livemode
                else "Test data and live data have folders of their own: name another destination."
            )
        )


def _difference(before: Subject, now: Subject) -> str:
    there, wanted = (
        {**vars(it), "interval_start": iso(it.interval_start), "interval_end": iso(it.interval_end)}
        for it in (before, now)
    )
    return ", ".join(
        f"{name} {there[name]!r} and not {wanted[name]!r}" for name in there if there[name] != wanted[name]
    )


def _is_as_wanted(
    before: Manifest, format: str, column_types: Mapping[str, str] | None, contract: Contract
) -> bool:
    """Tell whether what is landed has the form that is asked for now."""
    if before.format != format or not contract.is_form_of(before):
        return False
    if before.column_types is None:
        return True
    wanted = columns_of(before.columns or (), column_types, before.report_type)
    return {column.name: column.declared for column in wanted} == before.column_types
