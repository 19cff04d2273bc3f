"""PostgreSQL, which takes rows by COPY."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from io import RawIOBase
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pyarrow.compute as pc
import sqlalchemy as sa

from airflow_reportrun.landing.sql.databases.general import (
    DDL_TIMEOUT,
    LOCK_TIMEOUT,
    OPTIONS,
    Database,
    LockedError,
    seconds,
)
from airflow_reportrun.reporting.errors import ConfigurationError, ContentsError, ReportingError

if TYPE_CHECKING:
    from airflow_reportrun.landing.formats.columns import Column

# In the text that COPY reads. The backslash comes first, since the others are written with one.
_NULL = r"\N"
_ESCAPES = {ord("\\"): r"\\", ord("\t"): r"\t", ord("\n"): r"\n", ord("\r"): r"\r"}

_ABOUT = """
SELECT
    CASE WHEN has_schema_privilege(c.relnamespace, 'USAGE') THEN row_security_active(c.oid) END,
    c.relkind = 'v' AND NOT EXISTS (
        SELECT FROM pg_trigger t WHERE t.tgrelid = c.oid AND t.tgtype & 68 = 68  -- INSTEAD OF INSERT
    ),
    (
        SELECT string_agg(p.policyname || ' for ' || p.cmd, ', ' ORDER BY p.cmd, p.policyname) FROM pg_policies p
        WHERE p.schemaname = n.nspname AND p.tablename = c.relname
    ),
    EXISTS (SELECT FROM pg_publication p WHERE p.pubdelete),
    c.relkind = 'r' AND NOT c.relispartition  -- of which triggers are internal before 15
    AND NOT EXISTS (SELECT FROM pg_trigger t WHERE t.tgrelid = c.oid AND NOT t.tgisinternal)
    AND NOT EXISTS (  -- which cuts text without a word
        SELECT FROM pg_attribute a WHERE a.attrelid = c.oid AND a.atttypid = 'name'::regtype
    ),
    array_to_string(ARRAY[
        CASE WHEN NOT has_any_column_privilege(c.oid, 'SELECT') THEN 'SELECT' END,
        CASE WHEN NOT has_any_column_privilege(c.oid, 'INSERT') THEN 'INSERT' END,
        CASE WHEN NOT has_table_privilege(c.oid, 'DELETE') THEN 'DELETE' END
    ], ', ')
FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
WHERE n.nspname = :schema AND c.relname = :name
"""

_INDEXES = """
SELECT ARRAY(
    SELECT a.attname::text FROM unnest(i.indkey) WITH ORDINALITY k (number, place)
    LEFT JOIN pg_attribute a ON a.attrelid = i.indrelid AND a.attnum = k.number AND k.number > 0
    WHERE k.place <= i.indnkeyatts ORDER BY k.place
) FROM pg_index i WHERE i.indrelid = to_regclass(:target) AND i.indpred IS NULL AND i.indisvalid
"""

_HOLDERS = """
WITH RECURSIVE made AS (  -- with its partitions, which DDL locks, too
    SELECT to_regclass(:target)::oid AS oid UNION SELECT i.inhrelid FROM made JOIN pg_inherits i ON inhparent = oid
)
SELECT DISTINCT l.pid, a.usename, a.application_name, a.state, a.xact_start
FROM pg_locks l LEFT JOIN pg_stat_activity a USING (pid), made
WHERE l.granted AND l.pid IS DISTINCT FROM pg_backend_pid() AND (
    l.relation = made.oid AND l.database = (SELECT oid FROM pg_database WHERE datname = current_database())
    OR made.oid IS NULL AND l.locktype = 'transactionid' AND a.datname = current_database()
) ORDER BY 1 LIMIT 5
"""

_PUBLICATIONS = """
SELECT DISTINCT p.pubname FROM pg_publication p JOIN pg_publication_tables t USING (pubname)
WHERE p.pubdelete AND t.schemaname = :schema AND t.tablename = :name ORDER BY 1
"""


class PostgreSQL(Database):
    """PostgreSQL, by psycopg 2 or 3: whichever the hook's connection is of."""

    byte_order = "C"
    creates_in_transaction = True
    distinguishes_case = True
    holds_nul = False
    knows_time_zones = True
    most_columns = 1600

    def __init__(self, raw: Any, driver: str) -> None:
        # What a connection's extra may make of rows (dictionaries), SQLAlchemy can't read.
        if driver == "psycopg":
            from psycopg.rows import tuple_row

            raw.row_factory = tuple_row
            raw.prepare_threshold = None  # a pooler may hand the next transaction to another session
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
        self._copies = True

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
        with self.alone(connection, landings, landings.name), self.ddl(connection, landings):
            landings.create(connection, checkfirst=True)

    @contextmanager
    def ddl(self, connection: sa.engine.Connection, table: sa.Table) -> Iterator[None]:
        """Wait for seconds: readers of a table wait for DDL that waits for one of them."""
        connection.exec_driver_sql(f"SET LOCAL lock_timeout = '{DDL_TIMEOUT}s'")
        try:
            yield
        except sa.exc.DBAPIError as error:
            if _code(error) != "55P03":
                raise
            raise LockedError(f"The table {table} has to be altered, and somebody holds a lock on it.") from None
        connection.exec_driver_sql(f"SET LOCAL lock_timeout = '{LOCK_TIMEOUT}s'")

    def holders(self, connection: sa.engine.Connection, table: sa.Table) -> str:
        """Name the sessions; of a table that is not there, those that write and may be creating it."""
        target = f"{_quoted(str(table.schema))}.{_quoted(table.name)}"
        with connection.begin():
            found = connection.execute(sa.text(_HOLDERS), {"target": target}).all()
        shown = "; ".join(_holder(*one) for one in found) or "nobody any more"
        return f"Who holds it: {shown}. They have to commit; pg_terminate_backend(pid) ends one."

    def indexes(self, connection: sa.engine.Connection, table: sa.Table) -> Iterator[Sequence[str | None]]:
        """Yield the same by a question that SQLAlchemy takes less time to write."""
        target = f"{_quoted(str(table.schema))}.{_quoted(table.name)}"
        yield from connection.execute(sa.text(_INDEXES), {"target": target}).scalars()

    def is_text(self, column: Any, text: str) -> Any:
        """Say that it is text, which psycopg2 leaves to the column: one of type ``name`` would cut both alike."""
        return column == sa.cast(text, sa.Text)

    def check_table(self, connection: sa.engine.Connection, schema: str | None, name: str) -> None:
        """Refuse a table whose rows the role may not replace, and see how it takes rows."""
        about = connection.execute(sa.text(_ABOUT), {"schema": schema, "name": name}).one()
        secured, is_view, policies, publishes, self.keeps_what_it_takes, lacking = about
        self._copies = not secured and not is_view  # of which it refuses COPY
        if secured:
            self.keeper = (
                f"row-level security (policies: {policies or 'none'}; they have to let the connection's role see, "
                f"add and delete all rows of what it lands), {Database.keeper}"
            )
        place = f"{_quoted(str(schema))}.{_quoted(name)}"
        if lacking:
            user = connection.execute(sa.select(sa.func.current_user())).scalar()
            raise ConfigurationError(
                f"The role {user} may not do in the table {schema}.{name} what a landing does: "
                f"GRANT {lacking} ON {place} TO {_quoted(str(user))}."
            )
        if publishes:
            self._require_deletable(connection, schema, name)

    def _require_deletable(self, connection: sa.engine.Connection, schema: str | None, name: str) -> None:
        """Refuse a table of which a publication lets no row be deleted: the server says so of a plan already."""
        place = f"{_quoted(str(schema))}.{_quoted(name)}"
        attempt = connection.begin_nested()
        try:
            connection.exec_driver_sql("SET LOCAL lock_timeout = '1s'")  # after which the landing has to find out
            connection.exec_driver_sql(f"EXPLAIN DELETE FROM {place}".replace("%", "%%"))  # noqa: S608
        except sa.exc.DBAPIError as error:
            attempt.rollback()
            if _code(error) == "55P03":
                return
            names = connection.execute(sa.text(_PUBLICATIONS), {"schema": schema, "name": name}).scalars().all()
            if (explained := _unpublishable(error, f"{schema}.{name}", place, names)) is None:
                raise
            raise explained from None
        attempt.rollback()  # and with it the lock

    def explained(self, error: Exception) -> ReportingError | None:
        """Say what to grant, and tell errors that stay, which drivers call operational, from those that pass."""
        code = _code(error)
        said = str(getattr(error, "orig", None) or error).partition("\n")[0]
        if code == "42501" and said.startswith("must be owner"):
            return ConfigurationError(
                f"{said}: let the owner add what this report has more (docs/sql.md shows the types), or make the "
                "connection's role a member of the owner's."
            )
        if code == "3F000" or (code == "42501" and "row-level security" not in said):
            return ConfigurationError(
                f"{said}: grant the connection's role USAGE on the schema, SELECT, INSERT and DELETE on the table "
                "and on stripe_report_landings, and CREATE on the schema where tables are to be made (docs/sql.md "
                "has the statements)."
            )
        if code == "42501":
            return ConfigurationError(
                f"{said}: its policies have to let the connection's role see and write these."
            )
        if code == "42P10" and "generated" in said:
            return ConfigurationError(f"{said}: a landing writes it, so it has to be a plain one.")
        if refused := _unpublishable(error):
            return refused
        if code in ("54000", "54011"):
            return ContentsError(
                f"{said}: a table has {self.most_columns} columns at most, dropped ones included, and a row 8,160 "
                "bytes, in which a long cell counts 18: ask for the report with fewer columns. No row was changed."
            )
        return None

    def type_of(self, column: Column) -> Any:
        """Return ``numeric`` without a scale for money, which keeps the digits that were written."""
        return sa.Numeric() if column.kind == "money" else super().type_of(column)

    def batch(self, table: Any, columns: Sequence[Column], ours: Sequence[Any]) -> Any:
        """Make lines of COPY's text, which the server reads faster than CSV."""
        if not self._copies:
            return super().batch(table, columns, ours)
        cells = [_as_text(table[column.name]) for column in columns]
        last = "\t".join(_NULL if value is None else str(value).translate(_ESCAPES) for value in ours) + "\n"
        lines = pc.binary_join_element_wise(*cells, last, "\t", null_handling="replace", null_replacement=_NULL)
        whole = lines.combine_chunks()
        size = pc.sum(pc.binary_length(whole)).as_py() or 0
        return memoryview(whole.buffers()[2] or b"")[:size]  # they lie one behind the other there

    def write(self, connection: sa.engine.Connection, table: sa.Table, batches: Iterator[Any]) -> int | None:
        """Copy, as a stream."""
        if not self._copies:
            return super().write(connection, table, batches)
        # Neither driver looks for parameters here, so that SQLAlchemy's own quoting (which doubles %) won't do.
        names = ", ".join(_quoted(column.name) for column in table.columns)
        place = f"{_quoted(str(table.schema))}.{_quoted(table.name)}"
        copy_from = f"COPY {place} ({names}) FROM STDIN WITH (FORMAT text, ENCODING 'UTF8')"
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


def _as_text(cells: Any) -> Any:
    """Return cells of any type as COPY reads them, but for those that are null."""
    cells = (seconds(cells) if pa.types.is_timestamp(cells.type) else cells).cast(pa.string())
    written = b"".join(bytes(chunk.buffers()[2] or b"") for chunk in cells.chunks)  # or more than the cells
    for mark, escaped in _ESCAPES.items():
        if mark in written:
            cells = pc.replace_substring(cells, chr(mark), escaped)
    return cells


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


def _code(error: Exception) -> str | None:
    """Return the server's code of an error, which each driver calls otherwise."""
    said = getattr(error, "orig", error)
    code: str | None = getattr(said, "sqlstate", None) or getattr(said, "pgcode", None)
    return code


def _unpublishable(
    error: Exception, table: str = "", place: str = "…", publications: Sequence[str] = ()
) -> ConfigurationError | None:
    """Say what lets a published table's rows be deleted; None of another error.

    :param table: whose rows were to be deleted; what is refused may be a partition of it.
    :param place: the same, as statements have it.
    """
    code, original = _code(error), getattr(error, "orig", error)
    said = str(original).partition("\n")[0]
    if code not in ("42P10", "55000") or (code == "55000" and "replica identity" not in said):
        return None
    detail = getattr(getattr(original, "diag", None), "message_detail", None)
    refused = re.search('"(.+)"', said)
    if refused and refused[1] != table.rpartition(".")[2]:
        place = _quoted(refused[1])
    which = f"The table {table} is in the publication {', '.join(publications)}: " if publications else ""
    if code == "55000" or "WHERE" in (detail or ""):
        way = f"Unless it publishes a list of columns, this mends it: ALTER TABLE {place} REPLICA IDENTITY FULL."
    else:
        publication = _quoted(publications[0]) if publications else "…"
        way = (
            f"Publish all columns: ALTER PUBLICATION {publication} DROP TABLE {place}; "
            f"ALTER PUBLICATION {publication} ADD TABLE {place}. Or list a key with the others: "
            f"ALTER TABLE {place} ADD COLUMN id bigserial PRIMARY KEY, REPLICA IDENTITY DEFAULT."
        )
    return ConfigurationError(f"{which}{said}. {f'{detail} ' if detail else ''}{way}")


def _holder(pid: int | None, user: str | None, application: str | None, state: str | None, since: Any) -> str:
    """Describe a session; of other roles' PostgreSQL tells less."""
    if pid is None:
        return "a prepared transaction (pg_prepared_xacts)"
    when = since and f"since {since:%Y-%m-%d %H:%M:%S %Z}"
    facts = (user and f"user {user}", application and f"application {application}", state, when)
    return f"pid {pid} ({', '.join(fact for fact in facts if fact)})"
