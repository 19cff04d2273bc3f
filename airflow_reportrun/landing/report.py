"""A finished report run lands: downloaded, checked, in its format, published at once, and told in a manifest."""

from __future__ import annotations

import hashlib
import io
import logging
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from functools import partial
from typing import TYPE_CHECKING, Any, BinaryIO, cast

from airflow_reportrun import metrics
from airflow_reportrun.landing.contract import PLAIN, Contract
from airflow_reportrun.landing.decision import STAYS
from airflow_reportrun.landing.destination import is_compressed
from airflow_reportrun.landing.formats import FORMATS
from airflow_reportrun.landing.formats.columns import check_column_types, columns_of, require_columns
from airflow_reportrun.landing.formats.csv_gz import gzipped
from airflow_reportrun.landing.lake import gather_manifest, root_of
from airflow_reportrun.landing.manifest import Manifest, iso
from airflow_reportrun.landing.publication import There, require_kept
from airflow_reportrun.landing.stores.place import MovedError
from airflow_reportrun.landing.structure import ReportCheck
from airflow_reportrun.reporting.errors import (
    ConfigurationError,
    ContentsError,
    DownloadError,
    ReportExpiredError,
    ReportNotReadyError,
    ReportRunFailedError,
)

if TYPE_CHECKING:
    from airflow_reportrun.hooks import StripeReportingHook
    from airflow_reportrun.landing.formats.columns import Column
    from airflow_reportrun.landing.stores.place import Place
    from airflow_reportrun.reporting.models import File, ReportRun

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Landed:
    """A report in its place.

    :param path: of the data: a local path or a URL; for a table its name.
    :param uri: the same as an asset is called.
    :param manifest: what was landed there.
    :param dataset: what OpenLineage calls it, a namespace and a name; a database may have to be asked.
    """

    path: str
    uri: str
    manifest: Manifest
    dataset: Callable[[], tuple[str, str]] = field(compare=False)

    def essentials(self) -> dict[str, Any]:
        """Return what goes with an asset event: small, JSON, without secrets."""
        names = (
            *("report_run_id", "report_type", "interval_start", "interval_end", "stripe_account", "livemode"),
            *("file_id", "file_sha256", "rows", "format", "landed_at"),
        )
        return {"path": self.path, **{name: getattr(self.manifest, name) for name in names}}


def check_format(format: str, column_types: Mapping[str, str] | None, contract: Contract = PLAIN) -> None:
    """Refuse what can't be a format, and types and names for one that has what Stripe wrote.

    :raises ConfigurationError: see above; also when a format's package is not installed.
    """
    if format not in FORMATS:
        raise ConfigurationError(f"format is one of {', '.join(FORMATS)}, not {format!r}.")
    if format == "parquet":
        from airflow_reportrun.landing.formats import parquet  # noqa: F401 - says what to install
    elif column_types:
        raise ConfigurationError(f"column_types are for the format parquet; {format} has none.")
    elif contract != PLAIN:
        raise ConfigurationError(
            f"naming, metadata and schema are for the format parquet; {format} is as Stripe wrote it."
        )
    check_column_types(column_types or {})
    contract.check_types(column_types or {})


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


def _ended(looking: Iterable[Future[None]]) -> None:
    """Wait for looks, and raise what they raise."""
    for look in looking:
        look.result()


_LARGE = 64 << 10
"""Bytes of a chunk that are worth a thread: a server may send small ones."""


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
        """Look at chunks on their way: at large ones in threads beside, at the first before anybody gets it.

        :raises DownloadError: when they are not the report that was asked for.
        """
        looks = [self._digest.update, *([self._check.feed] if self._check else [])]
        with ThreadPoolExecutor(len(looks)) as pool:
            looking: list[Future[None]] = []
            for chunk in chunks:
                _ended(looking)
                looking = []
                if self.size and len(chunk) >= _LARGE:
                    looking = [pool.submit(look, chunk) for look in looks]
                else:
                    for look in looks:
                        look(chunk)
                self.size += len(chunk)
                yield chunk
            _ended(looking)
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
    contract: Contract = PLAIN,
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
    :param contract: for ``parquet``: what the columns are called, and whether they may change.
    :param overwrite: a file that is there without a manifest may be replaced.
    :raises ReportRunFailedError: when the run failed.
    :raises ReportNotReadyError: when the run has no file yet.
    :raises ReportExpiredError: when Stripe no longer has the file, and it is not there.
    :raises LandingConflictError: when another report or interval is landed in the place, or one beside it that
        would count the same twice, or a file is there that no manifest tells of.
    :raises DownloadError: when what comes is not the report that was asked for, or there is no room for it.
    :raises ContentsError: when a cell is not of its column's type.
    :raises StoreError: when the store can't be reached, or refuses, or others land there at the same time.
    """
    check_format(format, column_types, contract)
    file = finished_file(run)
    if format != "csv" and not is_csv(run):
        raise ConfigurationError(
            f"Report run {run.id} has a compressed file; only format='csv' can land it as it is."
        )
    account = hook.settings.stripe_account
    unknown: dict[str, Any] = {"file_sha256": "", "rows": None, "columns": None}
    mine = Manifest.of(run, file, account, format=format, path=place.name, **unknown, **contract.form)
    there = There(place, run, format=format, column_types=column_types, contract=contract, overwrite=overwrite)
    with place.errors():
        gather_manifest(place)
        if there.answer(mine) in STAYS:
            stays = cast(Manifest, there.manifest)
            if stays.file_id == file.id:
                require_columns(stays.columns or (), column_types)
            return _landed(place, stays)
        require_unexpired(run, file)
        accept = partial(require_kept, place, mine.subject, contract=contract) if contract.freezes else None
        if accept:  # by what is known before the download
            accept(columns_of(run.parameters.get("columns") or (), column_types, run.report_type))
        place.require_space(file.size)
        defaults = default_columns(hook, run)

        def publish(chunks: Iterator[bytes]) -> Manifest:
            contents = Contents(run, defaults)
            try:
                with place.replaced(there.data, near=there.note) as new:
                    facts = _write(contents, chunks, new.file, run, format, column_types, contract, accept)
                    if there.manifest is None or there.manifest.file_sha256 != facts["file_sha256"]:
                        new.finish()  # what takes long is not done under the lock
                    with place.locked(root_of(place)) as alone:
                        return there.publish(new, replace(mine, **facts), None if alone else hook.sleep)
            except MovedError:  # while it was written
                return there.publish(None, mine, None)

        manifest = hook.read_file(file, publish)
    if manifest.file_id == file.id:
        metrics.landed(run.report_type, format, file.size, manifest.rows)
    return _landed(place, manifest)


def _landed(place: Place, manifest: Manifest) -> Landed:
    return Landed(str(place), place.uri, manifest, lambda: place.dataset)


def default_columns(hook: StripeReportingHook, run: ReportRun) -> Sequence[str]:
    """Return the columns that a run's file has at least, none where that can't be known.

    A report type that was changed after the run says nothing of its file.
    """
    if run.parameters.get("columns"):
        return ()
    report_type = hook.retrieve_report_type(run.report_type)
    return report_type.default_columns if report_type.updated <= run.created else ()


def _write(
    contents: Contents,
    chunks: Iterator[bytes],
    file: BinaryIO,
    run: ReportRun,
    format: str,
    column_types: Mapping[str, str] | None,
    contract: Contract,
    accept: Callable[[Sequence[Column]], None] | None,
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
            report_type=run.report_type,
            timezone=run.parameters.get("timezone") or "Etc/UTC",
            decimal_separator=run.parameters.get("decimal_separator") or ".",
            contract=contract,
            accept=accept,
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
