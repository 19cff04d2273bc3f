"""A finished report run lands: downloaded, checked, in its format, published at once, and told in a manifest."""

from __future__ import annotations

import hashlib
import io
import logging
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, fields, replace
from typing import TYPE_CHECKING, Any, BinaryIO, cast

from airflow_reportrun.landing.decision import Answer, decide, refusal
from airflow_reportrun.landing.destination import is_compressed
from airflow_reportrun.landing.formats import FORMATS
from airflow_reportrun.landing.formats.columns import check_column_types, columns_of, require_columns
from airflow_reportrun.landing.formats.csv_gz import gzipped
from airflow_reportrun.landing.manifest import Manifest, Subject, iso
from airflow_reportrun.landing.stores.place import ANY, MovedError
from airflow_reportrun.landing.structure import ReportCheck
from airflow_reportrun.reporting.errors import (
    ConfigurationError,
    ContentsError,
    DownloadError,
    LandingConflictError,
    ManifestError,
    MoreDecimalsError,
    ReportExpiredError,
    ReportNotReadyError,
    ReportRunFailedError,
    StoreError,
)

if TYPE_CHECKING:
    from airflow_reportrun.hooks import StripeReportingHook
    from airflow_reportrun.landing.stores.place import Place, Replacement
    from airflow_reportrun.reporting.models import File, ReportRun

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Landed:
    """A report in its place.

    :param path: of the data: a local path or a URL; for a table its name.
    :param uri: the same as an asset is called.
    :param manifest: what was landed there.
    """

    path: str
    uri: str
    manifest: Manifest

    def essentials(self) -> dict[str, Any]:
        """Return what goes with an asset event: small, JSON, without secrets."""
        names = (
            *("report_run_id", "report_type", "interval_start", "interval_end", "stripe_account", "livemode"),
            *("file_id", "file_sha256", "rows", "format", "landed_at"),
        )
        return {"path": self.path, **{name: getattr(self.manifest, name) for name in names}}


def check_format(format: str, column_types: Mapping[str, str] | None) -> None:
    """Refuse what can't be a format, and types for one that has none.

    :raises ConfigurationError: see above; also when a format's package is not installed.
    """
    if format not in FORMATS:
        raise ConfigurationError(f"format is one of {', '.join(FORMATS)}, not {format!r}.")
    if format == "parquet":
        from airflow_reportrun.landing.formats import parquet  # noqa: F401 - says what to install
    elif column_types:
        raise ConfigurationError(f"column_types are for the format parquet; {format} has none.")
    check_column_types(column_types or {})


def manifest_of(place: Place) -> Place:
    """Return the place of the manifest of what lies in another one; readers of data folders pass it over."""
    return place.beside(f"_{place.name}.manifest.json")


def finished_file(run: ReportRun) -> File:
    """Return the file of a report run.

    :raises ReportRunFailedError: when the run failed.
    :raises ReportNotReadyError: when the run has no file yet.
    """
    if run.status == run.status.FAILED:
        raise ReportRunFailedError(run.id, run.report_type, run.error)
    if run.result is None:
        raise ReportNotReadyError(
            f"Report run {run.id} is {run.status} and has no file yet; wait for it with StripeReportRunSensor."
        )
    return run.result


def require_unexpired(run: ReportRun, file: File) -> None:
    """Refuse a file that Stripe keeps no longer.

    :raises ReportExpiredError: see above.
    """
    if file.expires_at is not None and file.expires_at <= time.time():
        raise ReportExpiredError(
            f"The file of report run {run.id} expired at {iso(file.expires_at)}. Clear the task that created it, "
            "which asks for a fresh one."
        )


def is_csv(run: ReportRun) -> bool:
    """Tell whether the file is text: of what Stripe was asked to compress, only size and digest can be told."""
    return not is_compressed(run.parameters)


class Contents:
    """What is found out about a file's contents while they pass.

    :param run: what the file is of.
    :param default_columns: those of the report type, for a run that was not asked for others.
    """

    def __init__(self, run: ReportRun, default_columns: Sequence[str]) -> None:
        self._expected = finished_file(run).size
        asked = run.parameters.get("columns")
        self._check = ReportCheck(asked, at_least=() if asked else default_columns) if is_csv(run) else None
        self._digest = hashlib.sha256()
        self.size = 0

    def watched(self, chunks: Iterable[bytes]) -> Iterator[bytes]:
        """Look at chunks on their way.

        :raises DownloadError: when they are not the report that was asked for.
        """
        for chunk in chunks:
            if self._check:
                self._check.feed(chunk)
            self.size += len(chunk)
            self._digest.update(chunk)
            yield chunk
        if self.size != self._expected:
            raise DownloadError(f"{self.size} bytes came, and Stripe's file has {self._expected}")
        if self._check:
            self._check.end()

    @property
    def rows(self) -> int | None:
        """Records that have passed, None where they can't be told."""
        return self._check.rows if self._check else None

    @property
    def sha256(self) -> str:
        """Of what has passed, in hexadecimal."""
        return self._digest.hexdigest()

    def facts(self) -> dict[str, Any]:
        """Return what a manifest says of the contents."""
        check = self._check
        return {
            "file_sha256": self.sha256,
            "rows": self.rows,
            "columns": check.columns if check else None,
        }


def land_report(
    hook: StripeReportingHook,
    run: ReportRun,
    place: Place,
    *,
    format: str = "csv",
    column_types: Mapping[str, str] | None = None,
    overwrite: bool = False,
) -> Landed:
    """Bring the file of a report run into its place, unless it is there, or that of a newer run is.

    What is there decides before the download, and again when all is ready to be published.

    :param hook: of the account that the run acted as.
    :param run: a succeeded one.
    :param place: see :func:`~airflow_reportrun.landing.stores.objects.place_of`.
    :param format: one of ``FORMATS``.
    :param column_types: for ``parquet``: kinds by column name that overrule the table of
        :mod:`~airflow_reportrun.landing.formats.columns`.
    :param overwrite: a file that is there without a manifest may be replaced.
    :raises ReportRunFailedError: when the run failed.
    :raises ReportNotReadyError: when the run has no file yet.
    :raises ReportExpiredError: when Stripe no longer has the file, and it is not there.
    :raises LandingConflictError: when another report or interval is landed in the place, or a file is there that
        no manifest tells of.
    :raises DownloadError: when what comes is not the report that was asked for, or there is no room for it.
    :raises ContentsError: when a cell is not of its column's type.
    :raises StoreError: when the store can't be reached, or refuses, or others land there at the same time.
    """
    check_format(format, column_types)
    file = finished_file(run)
    if format != "csv" and not is_csv(run):
        raise ConfigurationError(
            f"Report run {run.id} has a compressed file; only format='csv' can land it as it is."
        )
    account = hook.settings.stripe_account
    unknown: dict[str, Any] = {"file_sha256": "", "rows": None, "columns": None}
    mine = Manifest.of(run, file, account, format=format, path=place.name, **unknown)
    there = _There(place, run, format=format, column_types=column_types, overwrite=overwrite)
    with place.errors():
        if there.answer(mine) in _STAYS:
            stays = cast(Manifest, there.manifest)
            if stays.file_id == file.id:
                require_columns(stays.columns or (), column_types)
            return Landed(str(place), place.uri, stays)
        require_unexpired(run, file)
        place.require_space(file.size)
        defaults = default_columns(hook, run)

        def publish(chunks: Iterator[bytes]) -> Manifest:
            contents = Contents(run, defaults)
            try:
                with place.replaced(there.data) as new:
                    facts = _write(contents, chunks, new.file, run, format, column_types)
                    if there.manifest is None or there.manifest.file_sha256 != facts["file_sha256"]:
                        new.finish()  # what takes long is not done under the lock
                    with place.held() as alone:
                        return there.publish(new, replace(mine, **facts), None if alone else hook.sleep)
            except MovedError:  # while it was written
                return there.publish(None, mine, None)

        while True:
            try:
                manifest = hook.read_file(file, publish)
                break
            except MoreDecimalsError as error:  # each time about more places, of which there can't be many
                log.warning("%s It is downloaded once more.", error)
                column_types = error.column_types
    return Landed(str(place), place.uri, manifest)


_STAYS = (Answer.LANDED, Answer.NEWER)

_LOOKS = 8
"""How often a landing decides anew because somebody else was faster."""

_PATIENCE = 5.0
"""Seconds after which a newer run that is being landed, and has not moved on, counts as interrupted."""

_OF_DATA = ("rows", "columns", "size", "sha256", "etag", "column_types")
"""What a manifest says of the data beside it, whichever report run has confirmed it."""


class _There:
    """What is in a place, as it was when it was looked at last.

    :param run: that is to land there.
    :param format: that is asked for now.
    :param column_types: likewise.
    :param overwrite: data that no manifest tells of may be replaced.
    :ivar manifest: what the manifest says.
    :ivar data: mark of the data.
    """

    def __init__(
        self,
        place: Place,
        run: ReportRun,
        *,
        format: str,
        column_types: Mapping[str, str] | None,
        overwrite: bool,
    ) -> None:
        self.manifest: Manifest | None = None
        self.data: object = ANY
        self._place, self._note, self._told = place, manifest_of(place), ANY
        self._run, self._wanted, self._overwrite = run, (format, column_types), overwrite
        self._intact = False
        self._mine: object = None  # the mark of what this task has published

    def answer(self, mine: Manifest) -> Answer:
        """Look what is there, and return what to do about it.

        :raises LandingConflictError: when another report is there, or a file that no manifest tells of.
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
        _refuse(answer, self._place, self._note, there, mine.subject)
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
        place, note, tried = self._place, self._note, False
        waited_for: tuple[object, object] | None = None
        for _ in range(_LOOKS):
            answer = self.answer(mine)
            there, told, data = self.manifest, self._told, self.data
            if there and answer in _STAYS:
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
                    told = note.write(mine.as_landing().to_json().encode(), told)
                    tried = True
                    data = self._mine = new.publish(data)
                    mine = replace(mine, etag=place.etag(data))
                told = note.write(mine.to_json().encode(), told)
            except MovedError:
                certain = place.compares or sleep is None
                if certain and tried and there is None and note.mark() == told and not self._overwrite:
                    note.remove()  # nobody of ours has been here: what has come is somebody else's
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
        data, told = self._place.mark(), self._note.mark()
        if (told, data) == (self._told, self.data):
            return  # what would be read is known
        self._told, self.data = told, data
        self.manifest = it = None if told is None else _read(self._note)
        self._intact = bool(it and not it.landing and self._place.has(it.size, it.sha256, it.etag, data))


def require_free(place: Place, subject: Subject, *, overwrite: bool = False) -> None:
    """Refuse a place where another report is landed, before anything is asked for it.

    :param subject: ``livemode`` need not be right: what a key is for may be unknown.
    :param overwrite: as in :func:`land_report`.
    :raises LandingConflictError: see above; also when a file is there that no manifest tells of.
    :raises ManifestError: when something else lies where the manifest should be.
    """
    note = manifest_of(place)
    with place.errors():
        there, unknown = _read(note), False
        if there is None and not overwrite and place.mark() is not None:
            there, unknown = _read(note), True  # again: somebody may have come to land here
        if there:
            subject = replace(subject, livemode=there.livemode)
        _refuse(refusal(subject, there, unknown=unknown), place, note, there, subject)


def say_newer(place: object, before: Manifest, run: ReportRun) -> None:
    """Say in the log why a report run does not land."""
    log.warning(
        "%s has the figures of report run %s of %s, which is newer than %s of %s; they stay.",
        *(place, before.report_run_id, before.report_run_created, run.id, iso(run.created)),
    )


def default_columns(hook: StripeReportingHook, run: ReportRun) -> Sequence[str]:
    """Return the columns that a run's file has at least, none where that can't be known.

    A report type that was changed after the run says nothing of its file.
    """
    if run.parameters.get("columns"):
        return ()
    report_type = hook.retrieve_report_type(run.report_type)
    return report_type.default_columns if report_type.updated <= run.created else ()


def _read(note: Place) -> Manifest | None:
    text = note.read()
    if text is None:
        return None
    try:
        return Manifest.from_json(text)
    except ManifestError as error:
        raise ManifestError(
            f"{note}: {error} Remove the data with it, or set overwrite=True: without a manifest it is nobody's."
        ) from None


def _refuse(answer: Answer | None, place: Place, note: Place, there: Manifest | None, subject: Subject) -> None:
    """Raise the error of an answer that is one."""
    if answer is Answer.NOBODYS:
        raise LandingConflictError(
            f"{place} is there already, and no manifest says that it is a report of ours (there is no {note}). "
            "Remove it, or set overwrite=True to have the report in its place."
        )
    if answer is Answer.ANOTHERS and there:
        state = "is being landed there, or was when it was interrupted" if there.landing else "is landed there"
        raise LandingConflictError(
            f"{note} says that another report {state} ({_difference(there.subject, subject)}). Put what "
            "tells them apart into destination, such as {interval_start:%Y-%m-%d}, or end it with / for the "
            "default layout."
        )


def _difference(before: Subject, now: Subject) -> str:
    return ", ".join(
        f"{field.name} {getattr(before, field.name)!r} and not {getattr(now, field.name)!r}"
        for field in fields(Subject)
        if getattr(before, field.name) != getattr(now, field.name)
    )


def _is_as_wanted(before: Manifest, format: str, column_types: Mapping[str, str] | None) -> bool:
    """Tell whether what is landed has the form that is asked for now."""
    if before.format != format:
        return False
    if before.column_types is None:
        return True
    wanted = columns_of(before.columns or (), column_types)
    there = columns_of(before.columns or (), before.column_types)
    return all(
        have.kind == want.kind and have.decimals >= want.decimals for have, want in zip(there, wanted, strict=True)
    )


def _write(
    contents: Contents,
    chunks: Iterator[bytes],
    file: BinaryIO,
    run: ReportRun,
    format: str,
    column_types: Mapping[str, str] | None,
) -> dict[str, Any]:
    """Write a report in its format, and return what the manifest says of it."""
    watched = contents.watched(chunks)
    if format == "csv":
        for chunk in watched:
            file.write(chunk)
        return {**contents.facts(), "size": contents.size, "sha256": contents.sha256}
    digesting = _Digesting(file)
    types = None
    if format == "csv.gz":
        for piece in gzipped(watched):
            digesting.write(piece)
    else:
        from airflow_reportrun.landing.formats.parquet import write_parquet

        written = write_parquet(
            watched,
            cast(BinaryIO, digesting),
            column_types=column_types,
            timezone=run.parameters.get("timezone", "Etc/UTC"),
            decimal_separator=run.parameters.get("decimal_separator", "."),
        )
        types = {column.name: column.declared for column in written.columns}
        if written.rows != contents.rows:
            raise ContentsError(f"The report has {contents.rows} records, and {written.rows} rows came of them.")
    return {
        **contents.facts(),
        "size": digesting.size,
        "sha256": digesting.sha256,
        "column_types": types,
    }


class _Digesting(io.RawIOBase):
    """Passes on what is written, and knows its digest."""

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        self._digest = hashlib.sha256()
        self.size = 0

    @property
    def sha256(self) -> str:
        return self._digest.hexdigest()

    def writable(self) -> bool:
        return True

    def write(self, data: Any) -> int:
        self._digest.update(data)
        self._file.write(data)
        self.size += len(data)
        return len(data)
