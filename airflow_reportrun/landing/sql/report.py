"""A finished report run lands in a table of a database; what the database says then becomes an error of ours."""

from __future__ import annotations

import re
import sqlite3
from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any, BinaryIO
from urllib.parse import quote

from airflow_reportrun.landing.report import Landed
from airflow_reportrun.landing.sql.loading import landed, load
from airflow_reportrun.landing.sql.warehouse import dataset_of
from airflow_reportrun.landing.tables import Asked
from airflow_reportrun.reporting.errors import (
    ConfigurationError,
    ContentsError,
    ReportingError,
    StoreError,
    raise_alone,
)

if TYPE_CHECKING:
    from airflow.providers.common.sql.hooks.sql import DbApiHook

    from airflow_reportrun.landing.manifest import Manifest


@dataclass(frozen=True)
class DatabaseTable(Asked):
    """A table of a database.

    :param warehouse: of the database.
    :param name: ``table`` or ``schema.table``.
    """

    warehouse: DbApiHook
    name: str
    format = "sql"

    def errors(self) -> AbstractContextManager[None]:
        """Make errors of ours of those of the database."""
        return database_errors(self.name)

    def landed(self, manifest: Manifest, columns: Sequence[str]) -> Manifest | None:
        """Return the manifest of what is landed and stays there, None where there is something to land."""
        return landed(self.warehouse, self.name, manifest, columns=columns, **self.asked)

    def load(self, file: BinaryIO, manifest: Manifest, *, timezone: str, decimal_separator: str) -> Manifest:
        """Replace the rows of an interval in one transaction."""
        written: Any = {"timezone": timezone, "decimal_separator": decimal_separator}
        return load(self.warehouse, self.name, file, manifest, **written, **self.asked)

    def called(self, manifest: Manifest) -> Landed:
        """Return what is landed, by its connection: the host may be another for each who knows the database."""
        uri = f"sql://{quote(self.warehouse.get_conn_id())}/{quote(manifest.path)}"
        return Landed(manifest.path, uri, manifest, partial(dataset_of, self.warehouse, manifest.path))


@contextmanager
def database_errors(table: str) -> Iterator[None]:
    """Say what the database said in its first line, without values: what follows, of any driver, may be a row."""
    try:
        yield
    except Exception as error:
        said = getattr(error, "orig", None) or error
        kinds = {kind.__name__ for kind in type(said).__mro__}  # those of Python's database API, of any driver
        if isinstance(error, ReportingError) or not kinds & {"DatabaseError", "InterfaceError", "SQLAlchemyError"}:
            raise
        kind = _kind_by_code(said)
        if kind is None and kinds & {"IntegrityError", "DataError"}:
            kind = ContentsError
        elif kind is None and kinds & {"ProgrammingError", "NotSupportedError"}:
            kind = ConfigurationError
        raise_alone((kind or StoreError)(f"table {table}: {type(said).__name__}: {_shown(said)}"))


# Drivers have one class for what passes (a lock, a full disk) and for what stays, such as a missing table.
_PASSES_IN_SQLITE = {
    *(sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED, sqlite3.SQLITE_PROTOCOL, sqlite3.SQLITE_INTERRUPT),
    *(sqlite3.SQLITE_NOMEM, sqlite3.SQLITE_IOERR, sqlite3.SQLITE_FULL, sqlite3.SQLITE_SCHEMA),
}
_STAYS_IN_POSTGRESQL: Mapping[str, type[ReportingError]] = {
    "P0001": ContentsError,  # a trigger or a function of the owner's refuses
    **dict.fromkeys(
        ("28", "2B", "54", "55000"), ConfigurationError
    ),  # who, what depends, how many columns, in no state
}
# Until a session begins, drivers tell no code. What else is said passes, such as too many clients, or an LDAP that
# does not answer; in another language than English all of it seems to.
_STAYS_AT_POSTGRESQLS_DOOR = re.compile(
    r'FATAL:  ((database|role|user) ".*" does not exist|role ".*" is not permitted to log in'
    r'|(password|Peer|Ident|certificate|"?trust"?|SASL) authentication failed'
    r"|no pg_hba.conf entry|pg_hba.conf rejects|permission denied for database"
    r"|unrecognized configuration parameter|invalid value for parameter"
    r"|no such (database|user)|unsupported startup parameter)"  # PgBouncer's
    r"|failed: fe_sendauth: no password supplied|server does not support SSL, but SSL was required"
    r"|^(connection is bad: )?invalid "
)
_STAYS_IN_MYSQL: Mapping[Any, type[ReportingError]] = {
    # Too large, too long, no such value, refused by a trigger (1644) or a check.
    **dict.fromkeys((1264, 1265, 1292, 1364, 1365, 1366, 1406, 1411, 1644, 3819, 4025), ContentsError),
    # No right to it, or there is no such database, table, column or function, or it can't be that large.
    **dict.fromkeys((1045, 1130, 1251, 1698, 1820, 1862, 3118, 4119, 4151), ConfigurationError),  # who, versions
    **dict.fromkeys((1044, 1142, 1143, 1227, 1370, 1049, 1054, 1109, 1146, 1305), ConfigurationError),
    **dict.fromkeys((1059, 1060, 1061, 1064, 1069, 1070, 1071, 1101, 1103, 1113, 1117, 1118), ConfigurationError),
    **dict.fromkeys((1166, 1170, 1273, 1286, 1347, 1348, 1471), ConfigurationError),
}


# Of a file that can't be opened; what else is said of files passes, such as a full disk.
_STAYS_IN_DUCKDB = re.compile(
    r"^IO Error: (Cannot open|.* Is a directory|.* not a valid DuckDB|.* version number)"
)


def _kind_by_code(said: BaseException) -> type[ReportingError] | None:
    """Return the error that a database's own code means, None where it says nothing or it passes."""
    driver = type(said).__module__.partition(".")[0].lower()
    if driver == "sqlite3":
        code = getattr(said, "sqlite_errorcode", None)  # the lowest byte is of the kind, others are of the detail
        passes = code is None or code & 0xFF in _PASSES_IN_SQLITE
        return (
            None if passes or isinstance(said, sqlite3.IntegrityError | sqlite3.DataError) else ConfigurationError
        )
    if driver in ("psycopg", "psycopg2"):
        state = getattr(said, "sqlstate", None) or getattr(said, "pgcode", None) or ""
        if not state and _stays_at_the_door(str(said)):
            return ConfigurationError
        return _STAYS_IN_POSTGRESQL.get(state) or _STAYS_IN_POSTGRESQL.get(state[:2])
    if driver in ("mysqldb", "pymysql", "mysql"):
        return _STAYS_IN_MYSQL.get(said.args[0] if said.args else None)
    if driver == "_duckdb":
        return ConfigurationError if _STAYS_IN_DUCKDB.search(str(said)) else None
    return None


def _stays_at_the_door(said: str) -> bool:
    """Tell whether PostgreSQL refuses a connection for good, at each address that was tried."""
    tried = [line for line in said.splitlines() if " failed: " in line] or [said]
    return all(_STAYS_AT_POSTGRESQLS_DOOR.search(line) for line in tried)


def _shown(said: BaseException) -> str:
    """Return the first line of what a database said, and in which line and column of a COPY, without values."""
    # MySQL quotes the value: Duplicate entry 'a customer' for key 'an_index'. DuckDB does, too, but numbers.
    line = re.sub(r"'.*' for ", "'…' for ", str(said), flags=re.DOTALL).partition("\n")[0]
    if re.match("(Conversion|Constraint|Out of Range) Error: ", line):
        line = re.sub(r"""["'].*["']|(?<=value )-?[0-9][0-9.]*""", "…", line)
    context = getattr(getattr(said, "diag", None), "context", None) or ""
    place = re.match(r"COPY .*, line \d+(, column .*?)?(?=:|\n|$)", context)
    return f"{line} ({place[0]})" if place else line
