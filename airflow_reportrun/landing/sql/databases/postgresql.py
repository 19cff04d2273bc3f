"""PostgreSQL, which takes rows by COPY."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from io import RawIOBase
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pyarrow.csv
import sqlalchemy as sa

from airflow_reportrun.landing.sql.databases.general import LOCK_TIMEOUT, OPTIONS, Database, seconds

if TYPE_CHECKING:
    from airflow_reportrun.landing.formats.columns import Column

_ROWS_AT_ONCE = 1 << 14  # of what is written for COPY: with fewer it takes longer


class PostgreSQL(Database):
    """PostgreSQL, by psycopg 2 or 3: whichever the hook's connection is of."""

    byte_order = "C"
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
            **OPTIONS,
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
        cells = [seconds(some) if pa.types.is_timestamp(some.type) else some for some in (*own, *constant)]
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
