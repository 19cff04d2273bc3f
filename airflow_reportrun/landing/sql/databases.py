"""What databases do differently: connections, transactions, locks, types, and the fastest way for rows."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from decimal import Decimal
from io import RawIOBase
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv
import sqlalchemy as sa
from sqlalchemy.pool import NullPool

from airflow_reportrun.landing.manifest import iso
from airflow_reportrun.reporting.errors import ConfigurationError, LandingConflictError, StoreError

if TYPE_CHECKING:
    from airflow.providers.common.sql.hooks.sql import DbApiHook

    from airflow_reportrun.landing.columns import Column

LOCK_TIMEOUT = 3600
"""Seconds that a landing waits for others into the same table, where the database knows such a limit."""

MONEY_DECIMALS = 18
"""Places of money in a database whose decimals need a scale."""

_ROWS_AT_ONCE = 1 << 14  # of what is written for COPY: with fewer it takes longer
_ROWS_IN_A_STATEMENT = 1000  # since drivers may make one of them, and servers limit its size

_OPTIONS: Mapping[str, Any] = {
    "poolclass": NullPool,
    "hide_parameters": True,  # rows are about customers, and errors go to logs
    "future": True,
}


def open_database(hook: DbApiHook) -> Database:
    """Return what a hook's connection leads to; nothing but the connection itself is opened.

    PostgreSQL and SQLite are reached through ``hook.get_conn``, so that what it makes of the connection's extra
    holds, others through ``hook.get_sqlalchemy_engine``.
    """
    if hook.dialect_name == "sqlite":
        return SQLite(hook)
    if hook.dialect_name == "postgresql":
        raw = hook.get_conn()
        driver = type(raw).__module__.partition(".")[0]
        if driver in ("psycopg", "psycopg2"):
            return PostgreSQL(raw, driver)
        raw.close()
    if hook.dialect_name in ("mysql", "mariadb"):
        return MySQL(hook)
    return Database(hook.get_sqlalchemy_engine(dict(_OPTIONS)))


class Database:
    """Any database that SQLAlchemy has a dialect for.

    Its tables are made and altered before the transaction that loads, since not all databases can do it within.
    """

    creates_in_transaction = False
    """A table that was created is gone when the transaction is rolled back, and nobody sees it before the end."""
    distinguishes_case = False
    """Columns whose names differ in upper and lower case alone are two."""
    holds_nul = True
    """Text may have the character NUL."""
    knows_time_zones = False
    """Instants are stored as such, and not as what the clocks showed somewhere."""
    impossible_name = "\0"
    """What no column can have in its name, as a regular expression."""
    text_holds_everything = False
    """Timestamps, dates and money are stored as text, of this module's own making."""
    table_options: Mapping[str, Any] = {}
    """How tables are created, in the words of SQLAlchemy's dialect."""

    def __init__(self, engine: sa.engine.Engine) -> None:
        self.engine = engine

    @contextmanager
    def connected(self) -> Iterator[sa.engine.Connection]:
        """Open the connection."""
        with self.engine.connect() as connection:
            yield connection

    @contextmanager
    def alone(self, connection: sa.engine.Connection, landings: sa.Table, name: str) -> Iterator[None]:
        """Begin a transaction which no other one of ours for the same table gets ahead of."""
        # An UPDATE waits for others in every database, and a transaction sees what they have done only if it comes
        # before the first SELECT.
        lock = {"table_name": name, "landing": ""}
        key = sa.and_(*(landings.c[column] == value for column, value in lock.items()))
        with connection.begin():
            exists = connection.execute(sa.select(landings.c.landing).where(key)).first()
        if not exists:
            try:
                with connection.begin():
                    nothing = {"report": "", "livemode": False, "row_count": 0, "manifest": ""}
                    connection.execute(landings.insert(), [{**lock, **nothing}])
            except sa.exc.IntegrityError:
                pass  # another one was faster
        with connection.begin():
            connection.execute(landings.update().where(key).values(row_count=landings.c.row_count + 1))
            yield

    def create_landings(self, connection: sa.engine.Connection, landings: sa.Table) -> None:
        """Create the table of manifests, unless another one is faster."""
        try:
            with connection.begin():
                landings.create(connection)
        except sa.exc.DBAPIError:
            if not sa.inspect(connection).has_table(landings.name, schema=landings.schema):
                raise
            connection.rollback()

    def distinguishes_tables(self, connection: sa.engine.Connection) -> bool:
        """Tell whether tables whose names differ in upper and lower case alone are two."""
        return self.distinguishes_case

    def check_table(self, connection: sa.engine.Connection, schema: str | None, name: str) -> None:
        """Refuse a table whose rows can't be replaced at once."""

    def is_text(self, column: Any, text: str) -> Any:
        """Return the condition that one of our columns has exactly this text."""
        return column == text

    def type_of(self, column: Column) -> Any:
        """Return the type that a column of a report is given."""
        if column.kind == "money":
            return sa.Numeric(38, max(column.decimals, MONEY_DECIMALS))
        return {
            "integer": sa.BigInteger(),
            "boolean": sa.Boolean(),
            "timestamp": sa.DateTime(timezone=True),
            "timestamp_utc": sa.DateTime(timezone=True),
            "date": sa.Date(),
            "text": sa.Text(),
        }[column.kind]

    def instant_type(self) -> Any:
        """Return the type of our own timestamps."""
        return sa.DateTime(timezone=True)

    def instant(self, seconds: int | None) -> Any:
        """Return what is stored of an instant, given in epoch seconds."""
        return None if seconds is None else datetime.fromtimestamp(seconds, UTC)

    def batch(self, table: Any, columns: Sequence[Column], ours: Sequence[Any]) -> Any:
        """Make of a table of typed columns what `write` takes, possibly in another thread.

        :param ours: the values of our own columns, which each row has behind its own cells.
        """
        keys = [f"c{number}" for number in range(len(columns) + len(ours))]
        return [dict(zip(keys, row, strict=True)) for row in _rows(table, columns, ours, Decimal)]

    def write(self, connection: sa.engine.Connection, table: sa.Table, batches: Iterator[Any]) -> int | None:
        """Insert the rows.

        :param table: with the columns of the report in its order, and ours behind them.
        :returns: how many the database says that it took; None where it doesn't.
        """
        # Keys of our own: the characters of a column's name need not do for a parameter's.
        keyed = sa.Table(
            table.name,
            sa.MetaData(),
            *(sa.Column(column.name, column.type, key=f"c{n}") for n, column in enumerate(table.columns)),
            schema=table.schema,
        )
        for batch in batches:
            for first in range(0, len(batch), _ROWS_IN_A_STATEMENT):
                connection.execute(keyed.insert(), batch[first : first + _ROWS_IN_A_STATEMENT])
        return None


class SQLite(Database):
    """SQLite, which has neither exact decimals nor timestamps: both are text here."""

    creates_in_transaction = True
    text_holds_everything = True

    def __init__(self, hook: DbApiHook) -> None:
        def connect() -> Any:
            connection = hook.get_conn()
            # The module would begin transactions by itself, late and without the lock that a writer needs.
            connection.isolation_level = None
            connection.execute(f"PRAGMA busy_timeout = {LOCK_TIMEOUT * 1000}")
            return connection

        super().__init__(sa.create_engine("sqlite://", creator=connect, **_OPTIONS))

    @contextmanager
    def alone(self, connection: sa.engine.Connection, landings: sa.Table, name: str) -> Iterator[None]:
        """Begin as the one writer that the file has."""
        with connection.begin():
            connection.exec_driver_sql("BEGIN IMMEDIATE")
            yield

    def create_landings(self, connection: sa.engine.Connection, landings: sa.Table) -> None:
        """Create it as the one writer, so that nobody else does."""
        with self.alone(connection, landings, landings.name):
            landings.create(connection, checkfirst=True)

    def type_of(self, column: Column) -> Any:
        """Return a type whose affinity leaves the values as they are."""
        return {"integer": sa.BigInteger(), "boolean": sa.Boolean()}.get(column.kind, sa.Text())

    def instant_type(self) -> Any:
        """Return text."""
        return sa.Text()

    def instant(self, seconds: int | None) -> Any:
        """Return ISO 8601 in UTC."""
        return iso(seconds)

    def batch(self, table: Any, columns: Sequence[Column], ours: Sequence[Any]) -> Any:
        """Make tuples, with texts of what SQLite has no type for."""
        written = [_as_text(table[column.name], column) for column in columns]
        return list(_rows(pa.table(written, names=table.column_names), columns, ours, str))

    def write(self, connection: sa.engine.Connection, table: sa.Table, batches: Iterator[Any]) -> int | None:
        """Hand tuples to the driver: dictionaries on the way would take as long as the rest."""
        # All names have a parameter each, in the order of the columns.
        statement = str(table.insert().compile(dialect=connection.dialect))
        for batch in batches:
            if batch:
                connection.exec_driver_sql(statement, batch)
        return None


class MySQL(Database):
    """MySQL and MariaDB, whose defaults may cut, merge, and not roll back."""

    impossible_name = "[\0\U00010000-\U0010ffff]| $"
    table_options: Mapping[str, Any] = {
        f"{dialect}_{option}": value
        for option, value in {"engine": "InnoDB", "charset": "utf8mb4", "collate": "utf8mb4_bin"}.items()
        for dialect in ("mysql", "mariadb")
    }

    def __init__(self, hook: DbApiHook) -> None:
        # A level that is set ends the autocommit that a connection's extra may ask for, and this one locks no rows
        # but those that are replaced.
        super().__init__(hook.get_sqlalchemy_engine({**_OPTIONS, "isolation_level": "READ COMMITTED"}))

    @contextmanager
    def connected(self) -> Iterator[sa.engine.Connection]:
        """Open the connection, on which what does not fit is an error, and instants without a zone are of UTC."""
        with super().connected() as connection:
            with connection.begin():
                charset = connection.exec_driver_sql("SELECT @@character_set_client").scalar()
                connection.exec_driver_sql(
                    "SET time_zone = '+00:00', "
                    "sql_mode = CONCAT_WS(',', NULLIF(@@sql_mode, ''), 'STRICT_ALL_TABLES')"
                )
            if charset != "utf8mb4":
                raise ConfigurationError(
                    f"The database's connection has the charset {charset}, which not every character is in: "
                    'give the Airflow connection the extra {"charset": "utf8mb4"}.'
                )
            yield connection

    @contextmanager
    def alone(self, connection: sa.engine.Connection, landings: sa.Table, name: str) -> Iterator[None]:
        """Begin behind a lock that DDL, which ends the transaction, leaves in place."""
        with self._lock(connection, landings, name), super().alone(connection, landings, name):
            yield

    def create_landings(self, connection: sa.engine.Connection, landings: sa.Table) -> None:
        """Create it behind a lock: a table can't be looked at while another one creates it."""
        with self._lock(connection, landings, landings.name):
            super().create_landings(connection, landings)

    @contextmanager
    def _lock(self, connection: sa.engine.Connection, landings: sa.Table, name: str) -> Iterator[None]:
        key = "reportrun_" + hashlib.sha256(f"{landings.schema}.{name}".encode()).hexdigest()[:40]
        with connection.begin():
            got = connection.execute(sa.select(sa.func.get_lock(key, LOCK_TIMEOUT))).scalar()
        if not got:
            raise StoreError(f"Other landings into {name} have taken longer than {LOCK_TIMEOUT} seconds.")
        yield
        # After an error the connection is closed, and the lock goes with it.
        with connection.begin():
            connection.execute(sa.select(sa.func.release_lock(key)))

    def distinguishes_tables(self, connection: sa.engine.Connection) -> bool:
        """Ask, since it depends on the server's file system."""
        return connection.exec_driver_sql("SELECT @@lower_case_table_names").scalar() == 0

    def check_table(self, connection: sa.engine.Connection, schema: str | None, name: str) -> None:
        """Refuse an engine without transactions."""
        query = sa.text(
            "SELECT engine FROM information_schema.tables JOIN information_schema.engines USING (engine) "
            "WHERE table_schema = :schema AND table_name = :name AND transactions <> 'YES'"
        )
        if engine := connection.execute(query, {"schema": schema, "name": name}).scalar():
            raise LandingConflictError(
                f"The table {schema}.{name} is of {engine}, which has no transactions, so that an interval can't "
                "be replaced at once: ALTER TABLE … ENGINE = InnoDB, or name another table."
            )

    def is_text(self, column: Any, text: str) -> Any:
        """Compare bytes too, since a collation may find po_1a in po_1A."""
        return sa.and_(column == text, sa.cast(column, sa.LargeBinary) == text.encode())


class PostgreSQL(Database):
    """PostgreSQL, by psycopg 2 or 3: whichever the hook's connection is of."""

    creates_in_transaction = True
    distinguishes_case = True
    holds_nul = False
    knows_time_zones = True

    def __init__(self, raw: Any, driver: str) -> None:
        # What a connection's extra may make of rows (dictionaries), SQLAlchemy can't read.
        if driver == "psycopg":
            from psycopg.rows import tuple_row

            raw.row_factory = tuple_row
        else:
            raw.cursor_factory = None
        # With a snapshot from before the wait for others, as the role may have it by default, their work would be
        # unknown.
        engine = sa.create_engine(
            f"postgresql+{driver}://",
            creator=lambda: raw,
            isolation_level="READ COMMITTED",
            **_OPTIONS,
        )
        super().__init__(engine)
        self._has_copy = driver == "psycopg"

    @contextmanager
    def alone(self, connection: sa.engine.Connection, landings: sa.Table, name: str) -> Iterator[None]:
        """Begin with a lock that nobody but us looks at, and that ends with the transaction."""
        key = hashlib.sha256(f"airflow_reportrun:{landings.schema}.{name}".encode()).digest()[:8]
        with connection.begin():
            connection.exec_driver_sql(f"SET LOCAL lock_timeout = '{LOCK_TIMEOUT}s'")
            connection.exec_driver_sql("SET LOCAL TimeZone = 'UTC'")  # of what is copied
            number = int.from_bytes(key, "big", signed=True)
            connection.execute(sa.select(sa.func.pg_advisory_xact_lock(sa.cast(number, sa.BigInteger))))
            yield

    def create_landings(self, connection: sa.engine.Connection, landings: sa.Table) -> None:
        """Create it behind a lock: ``IF NOT EXISTS`` alone fails when two come at once."""
        with self.alone(connection, landings, landings.name):
            landings.create(connection, checkfirst=True)

    def type_of(self, column: Column) -> Any:
        """Return ``numeric`` without a scale for money, which keeps the digits that were written."""
        return sa.Numeric() if column.kind == "money" else super().type_of(column)

    def batch(self, table: Any, columns: Sequence[Column], ours: Sequence[Any]) -> Any:
        """Make CSV, in which each text is quoted and a null is not."""
        own = [table[column.name] for column in columns]
        count = table.num_rows
        constant = [pa.nulls(count, pa.string()) if value is None else pa.repeat(value, count) for value in ours]
        cells = [_seconds(some) if pa.types.is_timestamp(some.type) else some for some in (*own, *constant)]
        buffer = pa.BufferOutputStream()
        pyarrow.csv.write_csv(
            pa.table(cells, names=[str(number) for number in range(len(cells))]),
            buffer,
            pyarrow.csv.WriteOptions(include_header=False, batch_size=_ROWS_AT_ONCE),
        )
        return memoryview(buffer.getvalue())

    def write(self, connection: sa.engine.Connection, table: sa.Table, batches: Iterator[Any]) -> int | None:
        """Copy, as a stream."""
        # Neither driver looks for parameters here, so that SQLAlchemy's own quoting (which doubles %) won't do.
        names = ", ".join(_quoted(column.name) for column in table.columns)
        place = f"{_quoted(str(table.schema))}.{_quoted(table.name)}"
        copy_from = f"COPY {place} ({names}) FROM STDIN WITH (FORMAT csv, ENCODING 'UTF8')"
        with connection.connection.cursor() as cursor:  # type: ignore[attr-defined]
            if self._has_copy:
                with cursor.copy(copy_from) as copy:
                    for batch in batches:
                        copy.write(batch)
            else:
                stream = _Stream(batches)
                try:
                    cursor.copy_expert(copy_from, stream, 1 << 20)
                except Exception:
                    if stream.error:  # which the driver has turned into one of its own
                        raise stream.error from None
                    raise
            return int(cursor.rowcount)


class _Stream(RawIOBase):
    """Batches of bytes as a file, which psycopg 2 reads."""

    def __init__(self, batches: Iterator[memoryview]) -> None:
        self._batches = batches
        self._left = memoryview(b"")
        self.error: Exception | None = None

    def readable(self) -> bool:
        return True

    def readinto(self, target: Any) -> int:
        while not self._left:
            try:
                batch = next(self._batches, None)
            except Exception as error:
                self.error = error
                raise
            if batch is None:
                return 0
            self._left = batch
        size = min(len(target), len(self._left))
        target[:size] = self._left[:size]
        self._left = self._left[size:]
        return size


def _quoted(name: str) -> str:
    return '"' + name.replace('"', '""') + '"'


def _seconds(cells: Any) -> Any:
    """Return timestamps in UTC that don't say so; a report has no fractions."""
    return cells.cast(pa.timestamp("s", "UTC")).cast(pa.timestamp("s"))


def _as_text(cells: Any, column: Column) -> Any:
    """Write timestamps and dates as ISO 8601, and leave the rest."""
    if column.kind in ("timestamp", "timestamp_utc"):
        written = _seconds(cells).cast(pa.string())
        return pc.binary_join_element_wise(pc.replace_substring(written, " ", "T"), "Z", "")
    return cells.cast(pa.string()) if column.kind == "date" else cells


def _rows(table: Any, columns: Sequence[Column], ours: Sequence[Any], money: Any) -> Iterator[tuple[Any, ...]]:
    cells = [table[number].to_pylist() for number in range(len(columns))]
    if money is not str:
        for number, column in enumerate(columns):
            if column.kind == "money":
                cells[number] = [None if cell is None else money(cell) for cell in cells[number]]
    for row in zip(*cells, strict=True):
        yield (*row, *ours)
