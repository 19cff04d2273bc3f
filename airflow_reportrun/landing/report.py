"""A finished report run lands: downloaded, checked, in its format, published at once, and told in a manifest."""

from __future__ import annotations

import hashlib
import io
import logging
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, fields, replace
from typing import TYPE_CHECKING, Any, BinaryIO, cast

from airflow_reportrun.landing.destination import is_compressed
from airflow_reportrun.landing.formats import FORMATS
from airflow_reportrun.landing.formats.columns import check_column_types, columns_of, require_columns
from airflow_reportrun.landing.formats.csv_gz import gzipped
from airflow_reportrun.landing.manifest import Manifest, Subject, iso
from airflow_reportrun.landing.structure import ReportCheck
from airflow_reportrun.reporting.errors import (
    ConfigurationError,
    ContentsError,
    DownloadError,
    LandingConflictError,
    ManifestError,
    ReportExpiredError,
    ReportNotReadyError,
    ReportRunFailedError,
    StoreError,
)

if TYPE_CHECKING:
    from airflow_reportrun.hooks import StripeReportingHook
    from airflow_reportrun.landing.stores.place import Place
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
) -> Landed:
    """Bring the file of a report run into its place, unless it is there, or that of a newer run is.

    The data is published first and its manifest after it. Data that is about to be replaced loses its manifest
    first, so that no manifest ever tells of other data than lies beside it.

    :param hook: of the account that the run acted as.
    :param run: a succeeded one.
    :param place: see :func:`~airflow_reportrun.landing.stores.objects.place_of`.
    :param format: one of ``FORMATS``.
    :param column_types: for ``parquet``: kinds by column name that overrule the table of
        :mod:`~airflow_reportrun.landing.formats.columns`.
    :raises ReportRunFailedError: when the run failed.
    :raises ReportNotReadyError: when the run has no file yet.
    :raises ReportExpiredError: when Stripe no longer has the file, and it is not there.
    :raises LandingConflictError: when another report or interval is landed in the place.
    :raises DownloadError: when what comes is not the report that was asked for, or there is no room for it.
    :raises ContentsError: when a cell is not of its column's type.
    :raises StoreError: when the store can't be reached, or refuses.
    """
    check_format(format, column_types)
    file = finished_file(run)
    if format != "csv" and not is_csv(run):
        raise ConfigurationError(
            f"Report run {run.id} has a compressed file; only format='csv' can land it as it is."
        )
    account = hook.settings.stripe_account
    subject = Subject.of(run.report_type, run.parameters, livemode=run.livemode, stripe_account=account)
    note = manifest_of(place)
    with place.errors():
        before = _landed_before(note, subject)
        found = place.mark() if before else None
        if before and not _is_as_wanted(before, place, format, column_types):
            before = None
        if before and before.file_id == file.id:
            require_columns(before.columns or (), column_types)
            log.info("Report run %s is landed already, in %s", run.id, place)
            return Landed(str(place), place.uri, before)
        if before and before.is_newer_than(iso(run.created)):
            say_newer(place, before, run)
            return Landed(str(place), place.uri, before)
        require_unexpired(run, file)
        place.require_space(file.size)
        defaults = default_columns(hook, run)

        def publish(chunks: Iterator[bytes]) -> tuple[dict[str, Any], object]:
            contents = Contents(run, defaults)
            with place.replaced() as new:
                facts = _write(contents, chunks, new.file, run, format, column_types)
                if before and before.file_sha256 == contents.sha256:
                    new.wanted = False
                    return {name: getattr(before, name) for name in (*facts, "etag")}, found
                new.last = note.remove
            return {**facts, "etag": place.etag()}, new.mark or place.mark()

        facts, mark = hook.read_file(file, publish)
        manifest = Manifest.of(run, file, account, format=format, path=place.name, **facts)
        with note.replaced() as new:
            new.file.write(manifest.to_json().encode())
        if place.mark() != mark:
            note.remove()
            raise StoreError(f"{place}: another task has landed there at the same time; a retry makes it sure.")
    log.info(
        "Landed report run %s: %s rows, %d bytes, sha256 %s in %s",
        *(run.id, manifest.rows, file.size, manifest.file_sha256, place),
    )
    return Landed(str(place), place.uri, manifest)


def require_free(place: Place, subject: Subject) -> None:
    """Refuse a place where another report is landed, before anything is asked for it.

    :param subject: ``livemode`` need not be right: what a key is for may be unknown.
    :raises LandingConflictError: see above.
    :raises ManifestError: when something else lies where the manifest should be.
    """
    with place.errors():
        _landed_before(manifest_of(place), subject, any_mode=True)


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


def _landed_before(note: Place, subject: Subject, *, any_mode: bool = False) -> Manifest | None:
    text = note.read()
    if text is None:
        return None
    try:
        before = Manifest.from_json(text)
    except ManifestError as error:
        raise ManifestError(f"{note}: {error}") from None
    if any_mode:
        subject = replace(subject, livemode=before.livemode)
    if before.subject != subject:
        raise LandingConflictError(
            f"{note} says that another report is landed there ({_difference(before.subject, subject)}). Put what "
            "tells them apart into destination, such as {interval_start:%Y-%m-%d}, or end it with / for the "
            "default layout."
        )
    return before


def _difference(before: Subject, now: Subject) -> str:
    return ", ".join(
        f"{field.name} {getattr(before, field.name)!r} and not {getattr(now, field.name)!r}"
        for field in fields(Subject)
        if getattr(before, field.name) != getattr(now, field.name)
    )


def _is_as_wanted(before: Manifest, place: Place, format: str, column_types: Mapping[str, str] | None) -> bool:
    """Tell whether what a manifest tells of is there, and in the form that is asked for now."""
    if before.format != format or not place.has(before.size, before.sha256, before.etag):
        return False
    if before.column_types is None:
        return True
    wanted = columns_of(before.columns or (), column_types, before.report_type)
    return {column.name: column.declared for column in wanted} == before.column_types


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
            report_type=run.report_type,
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
