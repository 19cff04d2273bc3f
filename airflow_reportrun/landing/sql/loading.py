"""One transaction replaces the rows of an interval, and says so in the table of manifests."""

from __future__ import annotations

import json
import logging
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import TYPE_CHECKING, Any, BinaryIO, Literal, TypeVar

import pyarrow as pa
import pyarrow.compute as pc
import sqlalchemy as sa

from airflow_reportrun.landing import typed
from airflow_reportrun.landing.columns import Column, columns_of
from airflow_reportrun.landing.manifest import Manifest, Subject, iso
from airflow_reportrun.landing.sql.databases import Database, open_database
from airflow_reportrun.landing.sql.layout import (
    Layout,
    TableName,
    add_columns,
    filters_of,
    landing_key,
    landings_table,
    layout_of,
    our_table,
    our_values,
    rows_of,
)
from airflow_reportrun.landing.sql.overlaps import Overlap, overlap
from airflow_reportrun.reporting.errors import (
    ConfigurationError,
    ContentsError,
    LandingConflictError,
    StoreError,
)

if TYPE_CHECKING:
    from airflow.providers.common.sql.hooks.sql import DbApiHook

T = TypeVar("T")

_CHUNK_SIZE = 1 << 20
_BLOCKS_AHEAD = 2  # that are converted while one is written
_SHOWN = 5  # landings in an error

log = logging.getLogger(__name__)


def landed(hook: DbApiHook, table: str, subject: Subject) -> Manifest | None:
    """Return the manifest of what is landed, None where it is not, or where its rows are not all there.

    :param table: ``table`` or ``schema.table``.
    :raises ManifestError: when a later version of this package has landed it.
    """
    database = open_database(hook)
    with database.connected() as connection, connection.begin():
        place = _place(table, connection, database)
        landings = landings_table(database, place.schema)
        inspector = sa.inspect(connection)
        if not all(inspector.has_table(name, schema=place.schema) for name in (place.name, landings.name)):
            return None
        query = sa.select(landings.c.manifest).where(_landing(landings, place, subject))
        if (text := connection.execute(query).scalar()) is None:
            return None
        manifest = Manifest.from_json(text)
        rows = our_table(database, place)
        there = _count(connection, rows, rows_of(rows, subject, database))
        return manifest if there == manifest.rows else None


def load(
    hook: DbApiHook,
    table: str,
    file: BinaryIO,
    manifest: Manifest,
    *,
    column_types: Mapping[str, str] | None = None,
    timezone: str = "Etc/UTC",
    decimal_separator: str = ".",
    on_overlap: Literal["fail", "replace"] = "fail",
) -> Manifest:
    """Replace the rows of an interval by those of a file.

    Memory does not grow with the file. Landings into the same table wait for each other.

    :param hook: of the database.
    :param table: ``table`` or ``schema.table``; without a schema it is the connection's own. It is created, and
        gets the columns that it lacks.
    :param file: the CSV as Stripe wrote it, whole and checked; it is read from its beginning, perhaps twice.
    :param manifest: what it is; ``rows`` says how many have to arrive.
    :param column_types: kinds by column name that overrule the table of `columns`.
    :param timezone: the IANA name of the time zone that the report was asked for.
    :param decimal_separator: the one that the report was asked for, a point or a comma.
    :param on_overlap: ``replace`` what the interval covers whole, such as days by their month; by default that is
        an error.
    :returns: the manifest as it is recorded.
    :raises LandingConflictError: when rows would count twice beside what is landed; nothing was changed.
    :raises ContentsError: when the report does not fit its types or the table's; no row was changed.
    :raises ConfigurationError: when a kind, the time zone or the table's name can't be, or the file is no CSV.
    """
    if manifest.rows is None:
        raise ConfigurationError(
            f"Report run {manifest.report_run_id} was asked to compress its file; a table needs it plain."
        )
    typed.check_timezone(timezone)
    names, _ = typed.split_header(next(_blocks(file), memoryview(b"")))
    columns = columns_of(names, column_types)
    database = open_database(hook)
    with database.connected() as connection:
        with connection.begin():
            place = _place(table, connection, database)
            landings = landings_table(database, place.schema)
            is_new = not sa.inspect(connection).has_table(landings.name, schema=place.schema)
        if is_new:
            database.create_landings(connection, landings)
        types = {column.name: column.declared for column in columns}
        manifest = replace(manifest, columns=tuple(names), format="sql", path=str(place), column_types=types)
        loading = _Loading(
            database, connection, place, landings, file, manifest, columns, timezone, decimal_separator, on_overlap
        )
        loading.run()
    log.info("Landed report run %s: %d rows in %s", manifest.report_run_id, manifest.rows, place)
    return manifest


class _Loading:
    """One landing into a table."""

    def __init__(
        self,
        database: Database,
        connection: sa.engine.Connection,
        place: TableName,
        landings: sa.Table,
        file: BinaryIO,
        manifest: Manifest,
        columns: Sequence[Column],
        timezone: str,
        decimal_separator: str,
        on_overlap: str,
    ) -> None:
        self._database = database
        self._connection = connection
        self._place = place
        self._landings = landings
        self._file = file
        self._manifest = manifest
        self._subject = manifest.subject
        self._columns = columns
        self._timezone = timezone
        self._separator = decimal_separator
        self._replaces = on_overlap == "replace"

    def run(self) -> None:
        """Load at once, or make the table fit first."""
        with self._alone():
            replaced, layout = self._prepared()
            if self._fits(layout):
                self._load(replaced, layout)
                return
        # An altered table is locked for readers, and in some databases DDL ends a transaction. So the contents are
        # looked at before, and the rows come after.
        for _ in self._batches(layout, lambda table: table):
            pass
        with self._alone():
            _, layout = self._prepared()
            if not layout.exists:
                self._create(layout)
            else:
                add_columns(self._connection, layout)
        with self._alone():
            self._load(*self._prepared())

    def _alone(self) -> Any:
        return self._database.alone(self._connection, self._landings, self._place.key)

    def _fits(self, layout: Layout) -> bool:
        return not layout.missing if layout.exists else self._database.creates_in_transaction

    def _prepared(self) -> tuple[Sequence[Subject], Layout]:
        """Look at what is there: what is replaced, and how the report fits."""
        layout = layout_of(self._connection, self._database, self._place, self._columns)
        return self._replaced() if layout.exists else (), layout

    def _create(self, layout: Layout) -> None:
        """Make the table, and forget what was landed in one of its name that was dropped."""
        # In this order: where DDL ends the transaction, another landing may come right after it.
        self._connection.execute(self._landings.delete().where(self._here()))
        layout.table.create(self._connection)

    def _here(self) -> Any:
        return sa.and_(self._landings.c.table_name == self._place.key, self._landings.c.landing != "")

    def _load(self, replaced: Sequence[Subject], layout: Layout) -> None:
        connection, table, landings = self._connection, layout.table, self._landings
        if not layout.exists:
            self._create(layout)
        for subject in (self._subject, *replaced):
            if layout.exists:
                connection.execute(table.delete().where(rows_of(table, subject, self._database)))
            connection.execute(landings.delete().where(_landing(landings, self._place, subject)))
        ours = our_values(self._manifest, self._database)
        batches = self._batches(layout, lambda cells: self._database.batch(cells, layout.columns, ours))
        rows = self._database.write(connection, table, batches)
        if rows is None:
            rows = _count(connection, table, rows_of(table, self._subject, self._database))
        if rows != self._manifest.rows:
            raise ContentsError(
                f"The report has {self._manifest.rows} rows, and {rows} of them came into {self._place}: it "
                "has an empty line, or a trigger or a rule of the table keeps some out. No row was changed."
            )
        connection.execute(landings.insert(), [self._row()])

    def _row(self) -> Mapping[str, Any]:
        subject = self._subject
        return {
            "table_name": self._place.key,
            "landing": landing_key(subject),
            "report": subject.report,
            "livemode": subject.livemode,
            "stripe_account": subject.stripe_account,
            "filters": filters_of(subject),
            "interval_start": self._database.instant(subject.interval_start),
            "interval_end": self._database.instant(subject.interval_end),
            "report_run_id": self._manifest.report_run_id,
            "row_count": self._manifest.rows,
            "manifest": self._manifest.to_json(),
        }

    def _replaced(self) -> Sequence[Subject]:
        """Return what is landed of other bounds, and goes with this landing.

        :raises LandingConflictError: when something can't stand beside this landing.
        :raises StoreError: when a newer report run has landed since that was looked at.
        """
        new, landings = self._subject, self._landings
        here = self._here()
        other_mode = sa.select(landings.c.report_run_id).where(here, landings.c.livemode != new.livemode).limit(1)
        if (run_id := self._connection.execute(other_mode).scalar()) is not None:
            mine, its = ("live", "test") if new.livemode else ("test", "live")
            raise LandingConflictError(
                f"{self._place} has {its} data (report run {run_id}), and {self._manifest.report_run_id} is of "
                f"{mine} data: land it in another table."
            )
        near = list(self._near(here))
        for there in near:
            if there.subject == new:
                self._require_better(there)
        old = [it.subject for it in near if overlap(new, it.subject) is not Overlap.APART]
        others = [subject for subject in old if subject != new]
        covered = [subject for subject in others if overlap(new, subject) is Overlap.COVERED]
        if len(covered) == len(others) and (self._replaces or not others):
            return covered
        shown = "; ".join(_described(subject) for subject in others[:_SHOWN])
        more = f" and {len(others) - _SHOWN} more" if len(others) > _SHOWN else ""
        if len(covered) == len(others):
            ways = "set on_overlap='replace' to put this landing in their place"
        else:
            ways = "land what covers them whole, since replacing them would lose a part"
        raise LandingConflictError(
            f"{_described(new)} would count the same twice beside what is landed in {self._place}: {shown}{more}. "
            f"Ways out: {ways}, land it in another table, or delete those rows and their manifests in "
            f"{landings.name}."
        )

    def _require_better(self, there: Manifest) -> None:
        """Refuse to put an older report, or less of it, in the place of one of the same subject."""
        mine = self._manifest
        if there.is_newer_than(mine.report_run_created):
            raise StoreError(
                f"Report run {there.report_run_id} has landed in {self._place} meanwhile, and is newer than "
                f"{mine.report_run_id}; a retry leaves it there."
            )
        lost = [name for name in there.columns or () if name not in (mine.columns or ())]
        if lost and there.report_type == mine.report_type:
            raise LandingConflictError(
                f"{_described(mine.subject)} is landed in {self._place} with columns that this report lacks: "
                f"{', '.join(lost)}. Ask for these columns, too, land it in another table, or delete its rows and "
                f"its manifest in {self._landings.name}."
            )

    def _near(self, here: Any) -> Iterator[Manifest]:
        """Yield the landings that may overlap."""
        c, new = self._landings.c, self._subject
        conditions = [here, c.report == new.report]
        conditions.append(
            c.stripe_account.is_(None) if new.stripe_account is None else c.stripe_account == new.stripe_account
        )
        start, end = (self._database.instant(bound) for bound in (new.interval_start, new.interval_end))
        if start is not None and end is not None:
            conditions += [
                sa.or_(c.interval_end.is_(None), c.interval_end > start),
                sa.or_(c.interval_start.is_(None), c.interval_start < end),
            ]
        elif end is not None:
            conditions.append(sa.or_(c.interval_end == end, c.interval_start.isnot(None)))
        query = sa.select(c.manifest).where(*conditions).order_by(c.interval_start, c.interval_end)
        for (text,) in self._connection.execute(query):
            yield Manifest.from_json(text)

    def _batches(self, layout: Layout, make: Callable[[Any], T]) -> Iterator[T]:
        """Convert the file, ahead of who takes what is made of it."""
        converter = _Rows(layout, self._timezone, self._separator, holds_nul=self._database.holds_nul)
        blocks = _blocks(self._file)
        _, first = typed.split_header(next(blocks, memoryview(b"")))

        def work(block: memoryview) -> T:
            return make(converter.convert(block))

        with ThreadPoolExecutor(1) as converting:
            try:
                waiting = deque([converting.submit(work, first)])
                for block in blocks:
                    waiting.append(converting.submit(work, block))
                    if len(waiting) > _BLOCKS_AHEAD:
                        yield waiting.popleft().result()
                while waiting:
                    yield waiting.popleft().result()
            finally:
                converting.shutdown(cancel_futures=True)


class _Rows(typed.Converter):
    """Refuses what the table can't hold as it is."""

    def __init__(self, layout: Layout, timezone: str, decimal_separator: str, *, holds_nul: bool) -> None:
        super().__init__(layout.columns, timezone, decimal_separator)
        self._places = layout.places
        self._holds_nul = holds_nul
        self._may_have_nul = False

    def convert(self, block: memoryview) -> Any:
        """Convert a block; only one with a NUL is looked at cell by cell."""
        self._may_have_nul = not self._holds_nul and b"\0" in bytes(block)
        return super().convert(block)

    def made(self, column: Column, cells: Any) -> Any:
        """Return what goes into the table."""
        made = super().made(column, cells)
        if (places := self._places.get(column.name)) is not None:
            pattern = rf"\.[0-9]{{{places}}}[0-9]*[1-9]"
            self._refuse(
                column, made, pattern, f"more than the {places} decimal places that the table's column has"
            )
        if self._may_have_nul and pa.types.is_string(made.type):
            self._refuse(column, made, r"\x00", "the character NUL, which the database has no room for")
        return made

    def _refuse(self, column: Column, cells: Any, pattern: str, what: str) -> None:
        found = pc.index(pc.match_substring_regex(cells, pattern), pa.scalar(True)).as_py()
        if found >= 0:
            raise ContentsError(f"Row {self.rows + found + 1} of column {column.name!r} has {what}.")


def _blocks(file: BinaryIO) -> Iterator[memoryview]:
    file.seek(0)
    return typed.blocks_of(iter(lambda: file.read(_CHUNK_SIZE), b""))


def _place(table: str, connection: sa.engine.Connection, database: Database) -> TableName:
    schema = connection.dialect.default_schema_name
    return TableName.of(table, schema, distinguishes_case=database.distinguishes_tables(connection))


def _landing(landings: sa.Table, place: TableName, subject: Subject) -> Any:
    return sa.and_(landings.c.table_name == place.key, landings.c.landing == landing_key(subject))


def _count(connection: sa.engine.Connection, table: sa.Table, condition: Any) -> int:
    return int(connection.execute(sa.select(sa.func.count()).select_from(table).where(condition)).scalar_one())


def _described(subject: Subject) -> str:
    """Say what a landing is about, for an error."""
    bounds = [iso(bound) for bound in (subject.interval_start, subject.interval_end)]
    when = f" from {bounds[0]} to {bounds[1]}" if bounds[0] else f" at {bounds[1]}" if bounds[1] else ""
    filters = f" with {json.dumps(dict(subject.filters), sort_keys=True)}" if subject.filters else ""
    account = f" of {subject.stripe_account}" if subject.stripe_account else ""
    return f"{subject.report}{account}{when}{filters}"
