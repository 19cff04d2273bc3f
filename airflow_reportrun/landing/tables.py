"""A finished report run lands in a table, of whatever kind: looked at, downloaded whole, checked, and loaded."""

from __future__ import annotations

import logging
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO, Literal, Protocol

from airflow_reportrun import metrics
from airflow_reportrun.landing.contract import PLAIN, Contract
from airflow_reportrun.landing.destination import is_compressed
from airflow_reportrun.landing.formats.columns import check_column_types, require_columns
from airflow_reportrun.landing.manifest import Manifest
from airflow_reportrun.landing.publication import say_newer
from airflow_reportrun.landing.report import (
    Contents,
    Landed,
    default_columns,
    finished_file,
    require_unexpired,
)
from airflow_reportrun.landing.stores.local import LocalFile
from airflow_reportrun.reporting.errors import ConfigurationError

if TYPE_CHECKING:
    from airflow_reportrun.hooks import StripeReportingHook
    from airflow_reportrun.reporting.models import ReportRun

log = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True)
class Asked:
    """What a task asks for of a report in a table.

    :param column_types: kinds by column name that overrule
        :mod:`~airflow_reportrun.landing.formats.columns`.
    :param contract: what the columns are called, and whether they may change.
    :param on_overlap: ``replace`` what an interval covers whole, such as days by their month; by default that is
        an error.
    """

    column_types: Mapping[str, str] | None = None
    contract: Contract = PLAIN
    on_overlap: Literal["fail", "replace"] = "fail"

    @property
    def asked(self) -> Mapping[str, Any]:
        """The same, by name."""
        return {"column_types": self.column_types, "contract": self.contract, "on_overlap": self.on_overlap}


class Table(Protocol):
    """A table that reports are landed in, with what the task asks for."""

    @property
    def name(self) -> str:
        """What the task calls it."""

    @property
    def format(self) -> str:
        """What manifests call its kind."""

    @property
    def column_types(self) -> Mapping[str, str] | None:
        """As in :class:`Asked`."""

    @property
    def contract(self) -> Contract:
        """As in :class:`Asked`."""

    def errors(self) -> AbstractContextManager[None]:
        """Make errors of ours of those of the table's library."""

    def landed(self, manifest: Manifest, columns: Sequence[str]) -> Manifest | None:
        """Return the manifest of what is landed and stays there, None where there is something to land.

        :param manifest: of what is to be landed, as far as it is known.
        :param columns: of the report, where they are known: whether they fit is said now.
        """

    def load(self, file: BinaryIO, manifest: Manifest, *, timezone: str, decimal_separator: str) -> Manifest:
        """Replace the rows of an interval by those of a file, at once, and return the manifest of what is there.

        :param file: the CSV as Stripe wrote it, whole and checked; it is read from its beginning, perhaps twice.
        :param manifest: what it is; ``rows`` says how many have to arrive.
        :param timezone: the IANA name of the time zone that the report was asked for.
        :param decimal_separator: the one that the report was asked for.
        """

    def called(self, manifest: Manifest) -> Landed:
        """Return what is landed, and what others call the place."""


def settled_in(table: Table, manifest: Manifest) -> Manifest | None:
    """Return the manifest of what is landed and stays there, None where there is something to land.

    Nothing is written.

    :param manifest: of what is to be landed, as far as that is known before the download.
    :raises ReportingError: when it would be refused; see :func:`land_in`.
    """
    check_column_types(table.column_types or {})
    table.contract.check_types(table.column_types or {})
    if is_compressed(manifest.parameters):
        raise ConfigurationError(
            f"Report run {manifest.report_run_id} has a compressed file, which no table can take."
        )
    with table.errors():
        return table.landed(manifest, manifest.parameters.get("columns") or ())


def land_in(hook: StripeReportingHook, run: ReportRun, table: Table) -> Landed:
    """Bring the file of a report run into a table, unless it is there, or that of a newer run is.

    The file waits in the worker's temporary folder until it is whole, so that nobody waits for a slow line; it has
    no name there, and is gone however the process ends.

    :param hook: of the account that the run acted as.
    :param run: a succeeded one.
    :raises ReportRunFailedError: when the run failed.
    :raises ReportNotReadyError: when the run has no file yet.
    :raises ReportExpiredError: when Stripe no longer has the file, and its rows are not there.
    :raises DownloadError: when what comes is not the report that was asked for, or there is no room for it.
    :raises ConfigurationError: when the file is compressed, or an option can't be.
    :raises StoreError: when the temporary folder can't be written to.
    :raises LandingConflictError: when rows would count twice, or be lost.
    :raises ContentsError: when a cell is not of its column's type, or of the table's.
    :raises ReportingError: what else the table raises.
    """
    file = finished_file(run)
    account = hook.settings.stripe_account
    known: dict[str, Any] = {
        **{"file_sha256": "", "rows": None, "columns": None},
        **{"format": table.format, "path": table.name},
    }
    before = settled_in(table, Manifest.of(run, file, account, **known))
    if before and before.file_id == file.id:
        require_columns(before.columns or (), table.column_types)
        log.info("Report run %s is landed already, in %s", run.id, before.path)
        return table.called(before)
    if before:
        say_newer(before.path, before, run)
        return table.called(before)
    require_unexpired(run, file)
    folder = LocalFile(Path(tempfile.gettempdir(), file.id))
    defaults = default_columns(hook, run)

    with folder.errors():
        folder.require_space(file.size)
        spool = tempfile.TemporaryFile()  # noqa: SIM115 - closed below, where other errors are possible
    with spool:

        def save(chunks: Iterator[bytes]) -> dict[str, Any]:
            spool.seek(0)
            spool.truncate()
            contents = Contents(run, defaults)
            for chunk in contents.watched(chunks):
                spool.write(chunk)
            spool.flush()
            return contents.facts()

        with folder.errors():
            facts = hook.read_file(file, save)
        with table.errors():
            manifest = table.load(
                spool,
                Manifest.of(run, file, account, **{**known, **facts}),
                timezone=run.parameters.get("timezone") or "Etc/UTC",
                decimal_separator=run.parameters.get("decimal_separator") or ".",
            )
    if manifest.file_id == file.id:
        metrics.landed(run.report_type, manifest.format, file.size, manifest.rows)
    else:
        say_newer(manifest.path, manifest, run)
    return table.called(manifest)
