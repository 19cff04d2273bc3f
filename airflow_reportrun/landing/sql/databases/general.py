"""Any database that SQLAlchemy knows, and what all of them share."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from decimal import Decimal
from typing import TYPE_CHECKING, Any, TypeVar

import pyarrow as pa
import sqlalchemy as sa
from sqlalchemy.pool import NullPool

from airflow_reportrun.reporting.errors import ReportingError, StoreError

if TYPE_CHECKING:
    from airflow_reportrun.landing.formats.columns import Column

T = TypeVar("T")

log = logging.getLogger(__name__)

LOCK_TIMEOUT = 3600
"""Seconds that a landing waits for others into the same table, where the database knows such a limit."""

DDL_TIMEOUT = 3
"""Seconds that DDL waits for somebody's lock, and who comes later waits behind it, where the database knows such a
limit. PostgreSQL sends an autovacuum away after one (``deadlock_timeout``)."""

DDL_PATIENCE = 120
"""Seconds over which it is sent again."""

_PAUSES = (1, 2, 4, 8)  # seconds between, the last one from then on

MONEY_DECIMALS = 18
"""Places of money in a database whose decimals need a scale."""

OPTIONS: Mapping[str, Any] = {
    "poolclass": NullPool,
    "hide_parameters": True,  # rows are about customers, and errors go to logs
    "future": True,
}
"""Of SQLAlchemy's engines."""

_ROWS_IN_A_STATEMENT = 1000  # since drivers may make one of them, and servers limit its size


class LockedError(StoreError):
    """Somebody's lock is in the way of what locks others out; nothing was changed."""


class Database:
    """Any database that SQLAlchemy has a dialect for.

    Its tables are made and altered before the transaction that loads, since not all databases can do it within.
    """

    byte_order: str | None = None
    """The collation by which text is in the order of its bytes; None where that is not known."""
    creates_in_transaction = False
    """A table that was created is gone when the transaction is rolled back, and nobody sees it before the end."""
    distinguishes_case = False
    """Columns whose names differ in upper and lower case alone are two."""
    holds_nul = True
    """Text may have the character NUL."""
    knows_time_zones = False
    """Instants are stored as such, and not as what the clocks showed somewhere."""
    indexes_ranges = True
    """An index finds the rows between two values; without one all are looked at."""
    impossible_name = "\0"
    """What no column can have in its name, as a regular expression."""
    text_holds_everything = False
    """Timestamps, dates and money are stored as text, of this module's own making."""
    table_options: Mapping[str, Any] = {}
    """How tables are created, in the words of SQLAlchemy's dialect."""
    text: Any = sa.Text()
    """The type of text without a limit."""
    most_columns: int | None = None
    """How many columns a table can have, where that is known."""
    keeps_what_it_takes = False
    """The table has the rows that `write` says it took: no trigger has a say in it. `check_table` finds out."""
    keeper = "a trigger or a rule of the table"
    """What may keep rows that are deleted, or keep out those that come; `check_table` may tell more of it."""

    def __init__(self, engine: sa.engine.Engine) -> None:
        self.engine = engine

    @contextmanager
    def connected(self) -> Iterator[sa.engine.Connection]:
        """Open the connection."""
        with self.engine.connect() as connection:
            try:
                yield connection
            except Exception as error:
                if explained := self.explained(error):
                    raise explained from None
                raise

    def explained(self, error: Exception) -> ReportingError | None:
        """Return what is to be said of an error whose class, which its driver chose, tells less."""
        return None

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

    def patiently(self, connection: sa.engine.Connection, table: sa.Table, step: Callable[[], T]) -> T:
        """Take a step again while somebody's lock is in its way; in between, who waits behind it goes on.

        :param step: a whole transaction.
        :param table: of the DDL.
        :raises LockedError: when the lock stays; it says whose it is, as far as the database tells.
        """
        end = time.monotonic() + DDL_PATIENCE
        tries = 0
        while True:
            try:
                return step()
            except LockedError as error:
                said = f"{error} {self.holders(connection, table)}".strip()
            pause = _PAUSES[min(tries, len(_PAUSES) - 1)]
            tries += 1
            if time.monotonic() + pause > end:
                raise LockedError(f"{said} This was tried {tries} times; a retry of the task tries again.")
            log.warning("%s Trying again in %d s.", said, pause)
            time.sleep(pause)

    @contextmanager
    def ddl(self, connection: sa.engine.Connection, table: sa.Table) -> Iterator[None]:
        """Send DDL in a transaction, with `DDL_TIMEOUT` where the database knows one.

        :raises LockedError: when that was too short.
        """
        yield

    def holders(self, connection: sa.engine.Connection, table: sa.Table) -> str:
        """Say who has a lock on a table, without a word of their queries, which may have values."""
        return ""

    def create(self, connection: sa.engine.Connection, table: sa.Table) -> None:
        """Create the table of the rows."""
        with self.ddl(connection, table):
            table.create(connection)
            if connection.dialect.name == "postgresql":
                # Or no row could be deleted once a publication has the table. Nothing else is written for it where
                # the server has no logical replication.
                target = connection.dialect.identifier_preparer.format_table(table)
                connection.exec_driver_sql(f"ALTER TABLE {target} REPLICA IDENTITY FULL")

    def create_landings(self, connection: sa.engine.Connection, landings: sa.Table) -> None:
        """Create the table of manifests, unless another one is faster."""
        try:
            with connection.begin(), self.ddl(connection, landings):
                landings.create(connection)
        except sa.exc.DBAPIError:
            if not sa.inspect(connection).has_table(landings.name, schema=landings.schema):
                raise
            connection.rollback()

    def distinguishes_tables(self, connection: sa.engine.Connection) -> bool:
        """Tell whether tables whose names differ in upper and lower case alone are two."""
        return self.distinguishes_case

    def indexes(self, connection: sa.engine.Connection, table: sa.Table) -> Iterator[Sequence[str | None]]:
        """Yield the columns of each index over all rows of a table, None for an expression."""
        for it in sa.inspect(connection).get_indexes(table.name, schema=table.schema):
            if not any(option.endswith("_where") for option in it.get("dialect_options", ())):
                yield it["column_names"]

    def check_table(self, connection: sa.engine.Connection, schema: str | None, name: str) -> None:
        """Refuse a table whose rows can't be replaced, or not at once."""

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
            "text": self.text,
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
        return [dict(zip(keys, row, strict=True)) for row in python_rows(table, columns, ours, Decimal)]

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


def seconds(cells: Any) -> Any:
    """Return timestamps in UTC that don't say so; a report has no fractions."""
    return cells.cast(pa.timestamp("s", "UTC")).cast(pa.timestamp("s"))


def python_rows(
    table: Any, columns: Sequence[Column], ours: Sequence[Any], money: Any
) -> Iterator[tuple[Any, ...]]:
    """Yield the rows of a table, our own values behind them; ``money`` makes something of its text."""
    cells = [table[number].to_pylist() for number in range(len(columns))]
    if money is not str:
        for number, column in enumerate(columns):
            if column.kind == "money":
                cells[number] = [None if cell is None else money(cell) for cell in cells[number]]
    for row in zip(*cells, strict=True):
        yield (*row, *ours)
