"""A finished report run lands in a table: downloaded, checked, and loaded at once."""

from __future__ import annotations

import logging
import re
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal
from urllib.parse import quote

from airflow_reportrun.landing.formats.columns import check_column_types, require_columns
from airflow_reportrun.landing.manifest import Manifest
from airflow_reportrun.landing.report import (
    Contents,
    Landed,
    default_columns,
    finished_file,
    is_csv,
    require_unexpired,
    say_newer,
)
from airflow_reportrun.landing.sql.loading import landed, load
from airflow_reportrun.landing.stores.local import LocalFile
from airflow_reportrun.reporting.errors import (
    ConfigurationError,
    ContentsError,
    ReportingError,
    StoreError,
)

if TYPE_CHECKING:
    from airflow.providers.common.sql.hooks.sql import DbApiHook

    from airflow_reportrun.hooks import StripeReportingHook
    from airflow_reportrun.reporting.models import ReportRun

log = logging.getLogger(__name__)


def land_in_table(
    hook: StripeReportingHook,
    run: ReportRun,
    warehouse: DbApiHook,
    table: str,
    *,
    column_types: Mapping[str, str] | None = None,
    on_overlap: Literal["fail", "replace"] = "fail",
) -> Landed:
    """Bring the file of a report run into a table, unless it is there, or that of a newer run is.

    The file waits in the worker's temporary folder until it is whole, so that the table is locked for no longer
    than its rows take; it has no name there, and is gone however the process ends.

    :param hook: of the account that the run acted as.
    :param run: a succeeded one.
    :param warehouse: of the database.
    :param table: ``table`` or ``schema.table``.
    :param column_types: kinds by column name that overrule
        :mod:`~airflow_reportrun.landing.formats.columns`.
    :param on_overlap: see :func:`~airflow_reportrun.landing.sql.loading.load`.
    :raises ReportRunFailedError: when the run failed.
    :raises ReportNotReadyError: when the run has no file yet.
    :raises ReportExpiredError: when Stripe no longer has the file, and its rows are not there.
    :raises DownloadError: when what comes is not the report that was asked for, or there is no room for it.
    :raises LandingConflictError: when rows would count twice, or be lost.
    :raises ContentsError: when a cell is not of its column's type, or of the table's.
    :raises ConfigurationError: when the file is compressed, or an option can't be.
    :raises StoreError: when the database can't be reached, or the temporary folder can't be written to.
    """
    check_column_types(column_types or {})
    file = finished_file(run)
    if not is_csv(run):
        raise ConfigurationError(f"Report run {run.id} has a compressed file, which no table can take.")
    account = hook.settings.stripe_account
    known: dict[str, Any] = {"file_sha256": "", "rows": None, "columns": None, "format": "sql", "path": table}
    with _database_errors(table):
        before = landed(
            *(warehouse, table, Manifest.of(run, file, account, **known)),
            column_types=column_types,
            on_overlap=on_overlap,
        )
    if before and before.file_id == file.id:
        require_columns(before.columns or (), column_types)
        log.info("Report run %s is landed already, in %s", run.id, before.path)
        return _landed(warehouse, before)
    if before:
        say_newer(before.path, before, run)
        return _landed(warehouse, before)
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
        with _database_errors(table):
            manifest = load(
                warehouse,
                table,
                spool,
                Manifest.of(run, file, account, **{**known, **facts}),
                column_types=column_types,
                timezone=run.parameters.get("timezone", "Etc/UTC"),
                decimal_separator=run.parameters.get("decimal_separator", "."),
                on_overlap=on_overlap,
            )
    if manifest.file_id != file.id:
        say_newer(manifest.path, manifest, run)
    return _landed(warehouse, manifest)


@contextmanager
def _database_errors(table: str) -> Iterator[None]:
    """Say what the database said in its first line, without values: what follows, of any driver, may be a row."""
    try:
        yield
    except Exception as error:
        said = getattr(error, "orig", None) or error
        kinds = {kind.__name__ for kind in type(said).__mro__}  # those of Python's database API, of any driver
        if isinstance(error, ReportingError) or not kinds & {"DatabaseError", "InterfaceError", "SQLAlchemyError"}:
            raise
        kind: type[ReportingError] = StoreError
        if kinds & {"IntegrityError", "DataError"}:
            kind = ContentsError
        elif kinds & {"ProgrammingError", "NotSupportedError"}:
            kind = ConfigurationError
        raise kind(f"table {table}: {type(said).__name__}: {_shown(said)}") from None


def _shown(said: BaseException) -> str:
    """Return the first line of what a database said, and in which line and column of a COPY, without values."""
    # MySQL quotes the value: Duplicate entry 'a customer' for key 'an_index'.
    line = re.sub(r"'.*' for ", "'…' for ", str(said), flags=re.DOTALL).partition("\n")[0]
    context = getattr(getattr(said, "diag", None), "context", None) or ""
    place = re.match(r"COPY .*, line \d+(, column .*?)?(?=:|\n|$)", context)
    return f"{line} ({place[0]})" if place else line


def _landed(warehouse: DbApiHook, manifest: Manifest) -> Landed:
    # By the connection: its host may be another one for each who knows the database.
    uri = f"sql://{quote(warehouse.get_conn_id())}/{quote(manifest.path)}"
    return Landed(manifest.path, uri, manifest)
