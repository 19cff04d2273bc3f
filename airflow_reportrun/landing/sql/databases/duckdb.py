"""DuckDB, whose file is open to one process at a time."""

from __future__ import annotations

import logging
import os
import random
import re
import time
from collections import deque
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import duckdb
import pyarrow as pa
import sqlalchemy as sa
from sqlalchemy.dialects import registry
from sqlalchemy.engine.default import DefaultDialect
from sqlalchemy.sql.compiler import GenericTypeCompiler, IdentifierPreparer

from airflow_reportrun.landing.sql.databases.files import in_memory, require_absolute, unopened
from airflow_reportrun.landing.sql.databases.general import OPTIONS, Database, LockedError
from airflow_reportrun.reporting.errors import ConfigurationError, StoreError

if TYPE_CHECKING:
    from airflow.providers.common.sql.hooks.sql import DbApiHook

    from airflow_reportrun.landing.formats.columns import Column

log = logging.getLogger(__name__)

_IN_SCHEMA = (  # information_schema takes twice as long
    "SELECT {0}_name AS name FROM duckdb_{0}s() WHERE database_name = current_database() AND schema_name = ?"
)
_PAUSES = (0.1, 10.0)  # seconds, the first and the longest: a try costs ten milliseconds of CPU time
_ROWS = "_reportrun_rows"
_HELD = re.compile(
    r'Could not set lock on file "(?P<file>.*)": (?P<by>.*)'
    r'|Unique file handle conflict: .* the database file "(?P<ours>.*)" is already attached'
)

_NO_FILE = re.compile("^IO Error: Cannot open file")

_OF_OTHERS = re.compile("[Cc]onflict|constraint violation")
"""What DuckDB says of a transaction that another one was faster than; the second only at the commit."""


class DuckDB(Database):
    """DuckDB, as its hook opens it; tables of pyarrow are what it takes rows from."""

    byte_order = "BINARY"
    creates_in_transaction = True
    indexes_ranges = False  # its indexes find single rows, and a table with one can't be renamed or lose a column
    knows_time_zones = True

    def __init__(self, hook: DbApiHook, patience: float) -> None:
        def connect() -> _Connection:
            raw = _opened(hook, patience)
            # Casts between instants and what clocks show go by it.
            raw.execute("SET TimeZone = 'UTC'")
            return _Connection(raw)

        super().__init__(sa.create_engine("reportrun+duckdb://", creator=connect, **OPTIONS))

    @contextmanager
    def connected(self) -> Iterator[sa.engine.Connection]:
        """Open the connection, unless all would be gone at its end."""
        with super().connected() as connection:
            with connection.begin():
                database = "SELECT path, type FROM duckdb_databases() WHERE database_name = current_database()"
                path, kind = connection.exec_driver_sql(database).one()
            if kind == "duckdb" and not path:
                raise in_memory("DuckDB")
            yield connection

    @contextmanager
    def alone(self, connection: sa.engine.Connection, landings: sa.Table, name: str) -> Iterator[None]:
        """Begin with a row that others of this process have to change, too; other processes have waited before.

        :raises LockedError: when they did, since here the second one is refused and not kept waiting.
        """
        try:
            with super().alone(connection, landings, name):
                yield
        except sa.exc.OperationalError as error:
            # A commit that a full disk has failed is of the same class.
            if not isinstance(error.orig, duckdb.TransactionException) or not _OF_OTHERS.search(str(error.orig)):
                raise
            raise LockedError("Another connection of this process has changed the same tables.") from None

    def check_table(self, connection: sa.engine.Connection, schema: str | None, name: str) -> None:
        """Refuse a view."""
        if name.lower() in map(str.lower, sa.inspect(connection).get_view_names(schema=schema)):
            raise ConfigurationError(f"{schema}.{name} is a view, into which DuckDB takes no rows: name a table.")

    def type_of(self, column: Column) -> Any:
        """Return a type that knows time zones for instants."""
        return _Instant() if column.kind.startswith("timestamp") else super().type_of(column)

    def instant_type(self) -> Any:
        """Return the type of our own timestamps."""
        return _Instant()

    def batch(self, table: Any, columns: Sequence[Column], ours: Sequence[Any]) -> Any:
        """Take the table as it is, with names that nothing in SQL is meant by; our values are parameters."""
        return table.rename_columns([f"c{number}" for number in range(len(columns))]), ours

    def write(self, connection: sa.engine.Connection, table: sa.Table, batches: Iterator[Any]) -> int | None:
        """Insert all batches by one statement, as a stream; money is text until it is in its column.

        A statement for each would keep all of them in memory until the commit: what is registered is part of the
        transaction.
        """
        quoted = connection.dialect.identifier_preparer
        names = ", ".join(quoted.quote(column.name) for column in table.columns)
        first, ours = next(batches)
        failed: list[BaseException] = []

        def stream() -> Iterator[Any]:
            try:
                yield from first.to_batches()
                for cells, _ in batches:
                    yield from cells.to_batches()
            except BaseException as error:  # which DuckDB turns into one of its own
                failed.append(error)
                raise

        connection.connection.raw.register(_ROWS, pa.RecordBatchReader.from_batches(first.schema, stream()))
        values = ", ".join([*first.column_names, *["?"] * len(ours)])
        insert = f"INSERT INTO {quoted.format_table(table)} ({names}) SELECT {values} FROM {_ROWS}"  # noqa: S608
        try:
            connection.exec_driver_sql(insert, tuple(ours))
        except Exception:
            if failed:
                raise failed[0] from None
            raise
        connection.connection.raw.unregister(_ROWS)  # after an error it can't be, and goes with the connection
        return None


def _opened(hook: DbApiHook, patience: float) -> Any:
    """Open the file, when no other process has it open; its owner is said as often as it is another one.

    :raises ConfigurationError: when it can't be, or is another one for each worker.
    :raises StoreError: when that takes too long.
    """
    path = _path(hook)
    require_absolute(path)
    end = time.monotonic() + patience
    pause, longest = _PAUSES
    said = ""
    while True:
        try:
            return hook.get_conn()
        except duckdb.Error as error:
            if (held := _HELD.search(str(error))) is None:
                if path and _NO_FILE.search(str(error)):
                    raise unopened("DuckDB", path, error) from None
                raise
            by = (held["by"] or "another thread of this process closes it").partition(". ")[
                0
            ]  # what follows advises
            waits = f"{held['file'] or held['ours']} is open elsewhere: {by}."
        if time.monotonic() + pause > end:
            raise StoreError(
                f"{waits} DuckDB opens a file for one process that writes, or for some that only read, and this "
                f"one has waited {patience:.0f} seconds: who has it open has to close it; a retry waits again."
            )
        if waits != said:
            log.info("%s Waiting for it to be closed.", waits)
            said = waits
        time.sleep(random.uniform(pause / 2, pause))  # noqa: S311 - no secret
        pause = min(pause * 1.5, longest)


def _path(hook: DbApiHook) -> str | None:
    """Return the path of the file, None where it is elsewhere, as in MotherDuck."""
    database = sa.engine.make_url(hook.get_uri()).database or ""
    path = database.removeprefix("file:")
    return None if not path or re.match(r"\w+:", path) else os.path.expanduser(path)


class _Connection:
    """A connection of DuckDB's as SQLAlchemy expects one."""

    def __init__(self, raw: Any) -> None:
        self.raw = raw

    def cursor(self) -> _Cursor:
        return _Cursor(self.raw)

    def begin(self) -> None:
        self.raw.begin()

    def commit(self) -> None:
        self.raw.commit()

    def rollback(self) -> None:
        with suppress(duckdb.TransactionException):  # none is open, as after a commit that failed
            self.raw.rollback()

    def close(self) -> None:
        self.raw.close()


class _Cursor:
    """The connection itself, which DuckDB's own cursor is not: that one sees nothing of an open transaction.

    All rows are fetched at once, since those that are left would keep the next statement out.
    """

    arraysize = 1
    rowcount = -1
    lastrowid = None

    def __init__(self, raw: Any) -> None:
        self._raw = raw
        self._rows: deque[Any] = deque()
        self.description: Any = None

    def execute(self, statement: str, parameters: Sequence[Any] = ()) -> None:
        self._raw.execute(statement, list(parameters))
        self.description = self._raw.description
        self._rows = deque(self._raw.fetchall())

    def executemany(self, statement: str, parameters: Sequence[Sequence[Any]]) -> None:
        for some in parameters:
            self.execute(statement, some)

    def fetchone(self) -> Any:
        return self._rows.popleft() if self._rows else None

    def fetchmany(self, size: int | None = None) -> list[Any]:
        return [self._rows.popleft() for _ in range(min(size or self.arraysize, len(self._rows)))]

    def fetchall(self) -> list[Any]:
        rows, self._rows = list(self._rows), deque()
        return rows

    def close(self) -> None:
        self._rows.clear()


class _Instant(sa.TIMESTAMP):
    """TIMESTAMP WITH TIME ZONE, read as a number: DuckDB before 2.0.1 makes Python's instants by pytz."""

    def __init__(self) -> None:
        super().__init__(timezone=True)

    def column_expression(self, column: Any) -> Any:
        return sa.func.epoch_us(column, type_=self)

    def result_processor(self, dialect: Any, coltype: Any) -> Any:
        return lambda value: None if value is None else datetime.fromtimestamp(value / 1e6, UTC)


class _Other(sa.types.UserDefinedType[Any]):
    """A type that no column of a report goes into, by DuckDB's name."""

    def __init__(self, name: str) -> None:
        self.name = name

    def get_col_spec(self, **_: Any) -> str:
        return self.name


def _type(name: str) -> Any:
    """Return the type of a column that is there."""
    if decimal := re.fullmatch(r"DECIMAL\((\d+),(\d+)\)", name):
        return sa.Numeric(int(decimal[1]), int(decimal[2]))
    if re.fullmatch("U?(TINY|SMALL|BIG|HUGE)?INT(EGER)?", name):
        return sa.BigInteger()
    if name.startswith("TIMESTAMP"):
        return _Instant() if name == "TIMESTAMP WITH TIME ZONE" else sa.TIMESTAMP()
    known = {
        "VARCHAR": sa.Text(),
        "BOOLEAN": sa.Boolean(),
        "DATE": sa.Date(),
    }
    return known.get(name) or _Other(name)


class _Quotes(IdentifierPreparer):
    """Puts each name in quotes: which words are reserved grows with DuckDB's versions."""

    def quote(self, ident: str, force: Any = None) -> str:
        return self.quote_identifier(ident)


class _Types(GenericTypeCompiler):
    """The names of types that differ."""

    def visit_TIMESTAMP(self, type_: Any, **_: Any) -> str:  # noqa: N802 - SQLAlchemy's name
        return "TIMESTAMP WITH TIME ZONE" if type_.timezone else "TIMESTAMP"


class Dialect(DefaultDialect):
    """As much of a dialect as landings take.

    duckdb-engine, which is for all of SQLAlchemy, can't describe a table of DuckDB 2.0 (0.17.0 asks for
    PostgreSQL's ``pg_collation``), and leaves ``at``, a reserved word by now, without quotes.
    """

    name = "duckdb"
    driver = "duckdb"
    default_paramstyle = "qmark"
    preparer = _Quotes
    type_compiler = type_compiler_cls = _Types  # the former until SQLAlchemy 2
    supports_native_boolean = True
    supports_statement_cache = True

    @classmethod
    def import_dbapi(cls) -> Any:
        """Return the module with the errors."""
        return duckdb

    dbapi = import_dbapi  # type: ignore[assignment]  # until SQLAlchemy 2

    def do_begin(self, dbapi_connection: Any) -> None:
        """Begin a transaction, which DuckDB does not by itself."""
        dbapi_connection.begin()

    def _get_default_schema_name(self, connection: Any) -> str:
        return str(connection.exec_driver_sql("SELECT current_schema()").scalar())

    def has_table(self, connection: Any, table_name: str, schema: str | None = None, **_: Any) -> bool:
        """Tell whether there is a table or a view of that name, upper or lower case."""
        there = f"{_IN_SCHEMA.format('table')} UNION ALL {_IN_SCHEMA.format('view')}"
        query = f"SELECT 1 FROM ({there}) WHERE lower(name) = lower(?)"  # noqa: S608 - our own words
        schema = schema or self.default_schema_name
        return connection.exec_driver_sql(query, (schema, schema, table_name)).first() is not None

    def get_columns(self, connection: Any, table_name: str, schema: str | None = None, **_: Any) -> Any:
        """Return the columns of a table or a view; none of one that is not there."""
        if not self.has_table(connection, table_name, schema):
            return []
        place = self.identifier_preparer.format_table(sa.table(table_name, schema=schema))
        found = connection.exec_driver_sql("SELECT name, type FROM pragma_table_info(?) ORDER BY cid", (place,))
        return [{"name": name, "type": _type(kind), "nullable": True, "default": None} for name, kind in found]

    def get_view_names(self, connection: Any, schema: str | None = None, **_: Any) -> list[str]:
        """Return the names of views."""
        found = connection.exec_driver_sql(_IN_SCHEMA.format("view"), (schema or self.default_schema_name,))
        return [name for (name,) in found]


registry.register("reportrun.duckdb", __name__, "Dialect")
