"""One transaction replaces the rows of an interval, and says so in the table of manifests."""

from __future__ import annotations

import logging
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Any, BinaryIO, Literal, TypeVar

import sqlalchemy as sa

from airflow_reportrun.landing.contract import PLAIN, Contract
from airflow_reportrun.landing.decision import Answer
from airflow_reportrun.landing.formats.arranged import Arrangement
from airflow_reportrun.landing.formats.columns import Column, columns_of
from airflow_reportrun.landing.manifest import Manifest
from airflow_reportrun.landing.rows import filters_of, landing_key
from airflow_reportrun.landing.spool import columns_in, converted
from airflow_reportrun.landing.sql.cells import Cells
from airflow_reportrun.landing.sql.databases import Database, open_database
from airflow_reportrun.landing.sql.layout import (
    Layout,
    TableName,
    add_columns,
    has_near_index,
    landings_table,
    layout_of,
    near_index,
    our_table,
    our_values,
    rows_of,
)
from airflow_reportrun.landing.sql.neighbours import Neighbours
from airflow_reportrun.reporting.errors import (
    ConfigurationError,
    ContentsError,
    LandingConflictError,
    ReportingError,
)

if TYPE_CHECKING:
    from airflow.providers.common.sql.hooks.sql import DbApiHook


T = TypeVar("T")

log = logging.getLogger(__name__)


def landed(
    hook: DbApiHook,
    table: str,
    manifest: Manifest,
    *,
    columns: Sequence[str] = (),
    column_types: Mapping[str, str] | None = None,
    contract: Contract = PLAIN,
    on_overlap: Literal["fail", "replace"] = "fail",
) -> Manifest | None:
    """Return the manifest of what is landed and stays there, None where there is something to land.

    It is of this very report run, in the types that are asked for, or of a newer one; all its rows are there.

    :param table: ``table`` or ``schema.table``.
    :param manifest: of what is to be landed, as far as it is known.
    :param columns: of the report, where they are known: whether they fit is said now.
    :param column_types: kinds by column name that overrule the table of `columns`.
    :param contract: what the columns are called, and whether they may change.
    :param on_overlap: see :func:`load`.
    :raises ContentsError: when the columns do not fit the database or the table.
    :raises ConfigurationError: when the table's rows can't be replaced: a privilege is lacking, for example.
    :raises LandingConflictError: when it can't stand beside what is landed, or the table is none of ours.
    :raises ManifestError: when a later version of this package has landed it.
    """
    typed_as = partial(columns_of, column_types=column_types, report_type=manifest.report_type)
    database = open_database(hook)
    with database.connected() as connection, connection.begin():
        place = place_of_table(table, connection, database)
        landings = landings_table(database, place.schema)
        look = partial(layout_of, connection, database, place)
        exists = look(()).exists
        if exists and sa.inspect(connection).has_table(landings.name, schema=place.schema):
            database.check_table(connection, landings.schema, landings.name)
            neighbours = Neighbours(connection, database, place, landings, manifest)
            evolving = replace(contract, schema="evolve")
            if stays := neighbours.settled(
                typed_as,
                lambda there: bool(look(there, evolving).missing),  # the owner has dropped one of its columns
                contract,
                may_go=on_overlap == "replace",
            ):
                return stays
        look(typed_as(columns), contract)
        return None


def load(
    hook: DbApiHook,
    table: str,
    file: BinaryIO,
    manifest: Manifest,
    *,
    column_types: Mapping[str, str] | None = None,
    contract: Contract = PLAIN,
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
    :param contract: what the columns are called, and whether they may change.
    :param timezone: the IANA name of the time zone that the report was asked for.
    :param decimal_separator: the one that the report was asked for, a point or a comma.
    :param on_overlap: ``replace`` what the interval covers whole, such as days by their month; by default that is
        an error.
    :returns: the manifest as it is recorded. It is another run's where a newer one has landed meanwhile, which
        stays; where the same figures are landed already, it alone is new, and the rows stay.
    :raises LandingConflictError: when rows would count twice beside what is landed, or the table keeps rows that
        are deleted; nothing was changed.
    :raises ContentsError: when the report does not fit its types or the table's; no row was changed.
    :raises ConfigurationError: when a kind, the time zone or the table's name can't be, or the file is no CSV.
    """
    columns, told = columns_in(file, manifest, column_types, contract, timezone)
    database = open_database(hook)
    with database.connected() as connection:
        with connection.begin():
            place = place_of_table(table, connection, database)
            landings = landings_table(database, place.schema)
            is_new = not sa.inspect(connection).has_table(landings.name, schema=place.schema)
        if is_new:
            database.patiently(connection, landings, lambda: database.create_landings(connection, landings))
        with connection.begin():
            has_index = not database.indexes_ranges or has_near_index(connection, database, landings)
            # What does not fit is said before the wait for others.
            layout_of(connection, database, place, columns, contract)
        if not has_index:
            _make_index(hook, landings)
        manifest = replace(told, format="sql", path=str(place))
        loading = _Loading(
            *(database, connection, place, landings, file, manifest, columns),
            *(column_types or {}, contract, timezone, decimal_separator, on_overlap),
        )
        return loading.run()


def _make_index(hook: DbApiHook, landings: sa.Table) -> None:
    """Give the table of manifests the index that it is without after earlier versions of this package.

    Landings are right without it, and take longer the more there are.
    """
    database = open_database(hook)  # of its own: what is refused here ends nothing else
    index = near_index(database, landings.schema)
    try:
        with database.connected() as connection, database.alone(connection, landings, landings.name):
            if not has_near_index(connection, database, landings):
                with database.ddl(connection, landings):
                    index.create(connection)
    except (sa.exc.DBAPIError, ReportingError) as error:
        log.info(
            "%s has no index for what is near yet (%s); its owner can run: %s",
            *(landings.name, type(getattr(error, "orig", error)).__name__),
            sa.schema.CreateIndex(index).compile(dialect=database.engine.dialect),
        )


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
        column_types: Mapping[str, str],
        contract: Contract,
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
        self._column_types = column_types
        self._contract = contract
        self._timezone = timezone
        self._separator = decimal_separator
        self._neighbours = Neighbours(connection, database, place, landings, manifest)
        self._may_go = on_overlap == "replace"
        self._has_lacked = False

    def run(self) -> Manifest:
        """Load at once, or make the table fit first; returns the manifest of what is there then."""
        found = self._patiently(self._load_at_once)
        if isinstance(found, Manifest):
            return found
        # An altered table is locked for readers, and in some databases DDL ends a transaction. So the contents are
        # looked at before, and the rows come after.
        for _ in self._batches(found, lambda table: table):
            pass
        self._patiently(self._make_fit)
        return self._patiently(self._load_into_it)

    def _load_at_once(self) -> Layout | Manifest:
        """Load, unless the table has to be made to fit; returns what it looks like then."""
        with self._alone():
            replaced, layout, stays = self._prepared()
            if stays:
                return stays
            return self._load(replaced, layout) if self._fits(layout) else layout

    def _load_into_it(self) -> Manifest:
        with self._alone():
            replaced, layout, stays = self._prepared()
            return stays or self._load(replaced, layout)

    def _make_fit(self) -> None:
        with self._alone():
            _, layout, stays = self._prepared()
            if stays:
                return
            if not layout.exists:
                self._create(layout)
                return
            with self._database.ddl(self._connection, layout.table):
                add_columns(self._connection, layout)

    def _patiently(self, step: Callable[[], T]) -> T:
        table = our_table(self._database, self._place)
        return self._database.patiently(self._connection, table, step)

    def _alone(self) -> Any:
        return self._database.alone(self._connection, self._landings, self._place.key)

    def _fits(self, layout: Layout) -> bool:
        return not layout.missing if layout.exists else self._database.creates_in_transaction

    def _prepared(self) -> tuple[Sequence[Manifest], Layout, Manifest | None]:
        """Look at what is there: what is replaced, how the report fits, and what stays there instead."""
        look = partial(layout_of, self._connection, self._database, self._place)
        mine, neighbours = self._manifest, self._neighbours
        # What stays need not fit, whatever is asked for now.
        if newer := neighbours.newer(lambda: look(()).exists):
            return (), look(()), newer
        layout = look(self._columns, self._contract)
        if not layout.exists:
            return (), layout, None
        self._has_lacked = self._has_lacked or bool(layout.missing)  # in rows that are there nothing is in these
        answer, replaced = neighbours.verdict(lacking=self._has_lacked, may_go=self._may_go)
        if answer is Answer.LANDED:
            return (), layout, neighbours.same
        if answer is Answer.CONFIRMED:
            self._connection.execute(self._landings.delete().where(neighbours.about(self._subject)))
            self._connection.execute(self._landings.insert(), [self._row()])
            log.info(
                "Report run %s has the figures that are in %s: no row is changed", mine.report_run_id, self._place
            )
            return (), layout, mine
        return replaced, layout, None

    def _create(self, layout: Layout) -> None:
        """Make the table, and forget what was landed in one of its name that was dropped."""
        # In this order: where DDL ends the transaction, another landing may come right after it.
        self._connection.execute(self._landings.delete().where(self._neighbours.here))
        self._database.create(self._connection, layout.table)

    def _load(self, replaced: Sequence[Manifest], layout: Layout) -> Manifest:
        connection, table, landings, mine = self._connection, layout.table, self._landings, self._manifest
        if not layout.exists:
            self._create(layout)
        self._neighbours.warn_of_loss(replaced)
        gone = [it.subject for it in replaced]
        for subject in (self._subject, *gone):
            if layout.exists:
                self._delete(table, rows_of(table, subject, self._database, mine.report_type))
        for subject in (self._subject, *gone, *self._neighbours.disproved):
            connection.execute(landings.delete().where(self._neighbours.about(subject)))
        ours = our_values(mine, self._database)
        batches = self._batches(layout, lambda cells: self._database.batch(cells, layout.columns, ours))
        there = self._database.write(connection, table, batches)
        if connection.dialect.name == "postgresql":  # a trigger may wait for the commit
            connection.exec_driver_sql("SET CONSTRAINTS ALL IMMEDIATE")
        for subject in gone:
            self._require_gone(table, rows_of(table, subject, self._database, mine.report_type))
        if there is None or not self._database.keeps_what_it_takes:
            there = self._neighbours.rows_there(mine)
        if there != mine.rows:
            raise ContentsError(
                f"The report has {mine.rows} rows, and {there} of them came into {self._place}: it has an empty "
                f"line, or {self._database.keeper} keeps some out, alters or adds some. Nothing changed."
            )
        connection.execute(landings.insert(), [self._row()])
        log.info("Landed report run %s: %d rows in %s", mine.report_run_id, mine.rows, self._place)
        return mine

    def _delete(self, table: sa.Table, rows: Any) -> None:
        self._connection.execute(table.delete().where(rows))
        self._require_gone(table, rows)

    def _require_gone(self, table: sa.Table, rows: Any) -> None:
        left = sa.select(sa.literal(1)).select_from(table).where(rows).limit(1)
        if self._connection.execute(left).first():
            raise LandingConflictError(
                f"{self._place} keeps rows that are deleted, as {self._database.keeper} can have it, and they "
                "would count beside the new ones. Alter that, or name another table; which rows are looked at is "
                "for a view to say. No row was changed."
            )

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

    def _batches(self, layout: Layout, make: Callable[[Any], T]) -> Iterator[T]:
        """Convert the file, ahead of who takes what is made of it."""
        laid = {column.name: column for column in layout.columns}
        columns = [laid.get(column.name, column) for column in self._columns]
        arranged = Arrangement(columns, self._contract)
        converter = Cells(
            columns,
            layout.digits,
            self._timezone,
            self._separator,
            self._column_types,
            holds_nul=self._database.holds_nul,
        )
        return converted(self._file, converter, lambda cells: make(arranged(cells)))


def place_of_table(table: str, connection: sa.engine.Connection, database: Database) -> TableName:
    """Return where rows of a table go.

    :raises ConfigurationError: when no table can be called so.
    """
    schema = connection.dialect.default_schema_name
    place = TableName.of(table, schema, distinguishes_case=database.distinguishes_tables(connection))
    for part in (place.schema or "", place.name):
        if re.search(database.impossible_name, part):
            raise ConfigurationError(f"table {table!r}: nothing there can have the name {part!r}; choose another.")
    return place
