"""The tables: the one with the reports' rows, and the one that says what is landed in it."""

from __future__ import annotations

import re
import secrets
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from string import digits
from typing import TYPE_CHECKING, Any

import sqlalchemy as sa

from airflow_reportrun.landing.contract import LONGEST_NAME, PLAIN, Contract, fitting
from airflow_reportrun.landing.formats.columns import KINDS
from airflow_reportrun.landing.names import split_table
from airflow_reportrun.landing.rows import LONGEST_TEXT, OURS, filters_of
from airflow_reportrun.reporting.errors import ConfigurationError, ContentsError, LandingConflictError

if TYPE_CHECKING:
    from airflow_reportrun.landing.formats.columns import Column
    from airflow_reportrun.landing.manifest import Manifest, Subject
    from airflow_reportrun.landing.sql.databases import Database

LANDINGS = "stripe_report_landings"
"""Name of the table of manifests, which stands in the schema of the tables that it is about."""


_QUOTES = "\"'`[]"


@dataclass(frozen=True)
class TableName:
    """Where rows go.

    :param schema: None where the database has none.
    :param name: of the table.
    :param key: the same, as manifests and locks know it: one table has one.
    """

    schema: str | None
    name: str
    key: str

    @classmethod
    def of(cls, table: str, default_schema: str | None, *, distinguishes_case: bool) -> TableName:
        """Read ``table`` or ``schema.table``.

        :raises ConfigurationError: when it is neither.
        """
        schema, name = split_table(table)
        if any(part[0] in _QUOTES or part[-1] in _QUOTES for part in (schema, name) if part):
            raise ConfigurationError(
                f"table {table!r}: give the name without quotes; it is taken as it is, upper and lower case, too."
            )
        if len(name.encode()) > LONGEST_NAME or name.lower() == LANDINGS:
            why = (
                "is the table of manifests" if name.lower() == LANDINGS else f"has more than {LONGEST_NAME} bytes"
            )
            raise ConfigurationError(f"table {table!r}: {name} {why}; choose another name.")
        return cls(schema or default_schema, name, name if distinguishes_case else name.lower())

    def __str__(self) -> str:
        return f"{self.schema}.{self.name}" if self.schema else self.name


@dataclass(frozen=True)
class Layout:
    """How a report's columns lie in the table.

    :param table: with the columns of the report in its order, and ours behind them.
    :param columns: those of the report that are kept; as text where the table has text.
    :param digits: how many the table has before and behind the point where it limits them, by the money's name.
    :param exists: the table does.
    :param missing: the columns that it lacks.
    """

    table: sa.Table
    columns: Sequence[Column]
    digits: Mapping[str, tuple[int, int]]
    exists: bool
    missing: Sequence[Any]


def landings_table(database: Database, schema: str | None) -> sa.Table:
    """Return the table of manifests."""
    instant = database.instant_type()
    return sa.Table(
        LANDINGS,
        sa.MetaData(),
        sa.Column("table_name", sa.String(255), primary_key=True),
        sa.Column("landing", sa.String(64), primary_key=True),
        sa.Column("report", sa.String(255), nullable=False),
        sa.Column("livemode", sa.Boolean(), nullable=False),
        sa.Column("stripe_account", sa.String(255)),
        sa.Column("filters", database.text),
        sa.Column("interval_start", instant),
        sa.Column("interval_end", instant),
        sa.Column("report_run_id", sa.String(255)),
        sa.Column("row_count", sa.BigInteger(), nullable=False),
        sa.Column("manifest", database.text, nullable=False),
        schema=schema,
        **database.table_options,
    )


def near_index(database: Database, schema: str | None) -> sa.Index:
    """Return the index that landings which may overlap are found by; the table of manifests may be without it."""
    c = landings_table(database, schema).c
    columns: list[Any] = [c.table_name, c.livemode, c.report, c.stripe_account, c.interval_end, c.interval_start]
    if database.byte_order:  # elsewhere text without a limit need not do for an index
        # Before the bounds, since of those with other filters there may be thousands in one interval.
        columns.insert(4, sa.collate(c.filters, "C") if database.byte_order == "C" else c.filters)
    # Of 3,072 bytes in MySQL, with four for a character.
    length = {"table_name": 255, "report": 100, "stripe_account": 50, "filters": 150}
    name = f"{LANDINGS}_near_{secrets.token_hex(4)}"  # another one may be left of a table that was renamed
    return sa.Index(name, *columns, mysql_length=length, mariadb_length=length)


def has_near_index(connection: sa.engine.Connection, database: Database, landings: sa.Table) -> bool:
    """Tell whether the table of manifests has that index, by whatever name."""
    wanted = [column.name for column in near_index(database, landings.schema).columns]
    return any([*it][: len(wanted)] == wanted for it in database.indexes(connection, landings))


def our_values(manifest: Manifest, database: Database) -> Sequence[Any]:
    """Return what each row of a landing says in our columns."""
    subject = manifest.subject
    return (
        *(manifest.report_type, subject.stripe_account, filters_of(subject)),
        *(database.instant(subject.interval_start), database.instant(subject.interval_end)),
        manifest.report_run_id,
    )


def rows_of(table: sa.Table, subject: Subject, database: Database, report_type: str) -> Any:
    """Return the condition that the rows of a landing fulfil, of whichever version of the report.

    :param report_type: as for `rows_of_report`.
    """
    conditions = [rows_of_report(table, subject, database, report_type)]
    text, column = filters_of(subject), table.c["_filters"]
    conditions.append(column.is_(None) if text is None else database.is_text(column, text))
    for name, bound in (("_interval_start", subject.interval_start), ("_interval_end", subject.interval_end)):
        column = table.c[name]
        conditions.append(column.is_(None) if bound is None else column == database.instant(bound))
    return sa.and_(*conditions)


def rows_of_report(table: sa.Table, subject: Subject, database: Database, report_type: str) -> Any:
    """Return the condition that all rows of a report and an account fulfil, whatever their bounds and filters.

    :param report_type: the version that most are likely of: those are told faster.
    """
    kind, family = table.c["_report_type"], subject.report
    like = family.replace("/", "//").replace("_", "/_").replace("%", "/%")
    # What follows is a version where nothing but digits does; otherwise it is a family whose name goes on.
    without_digits: Any = kind
    for digit in digits:
        without_digits = sa.func.replace(without_digits, digit, "")
    version_follows = without_digits == f"{family}.".translate(dict.fromkeys(map(ord, digits)))
    account, column = subject.stripe_account, table.c["_stripe_account"]
    return sa.and_(
        sa.or_(kind == report_type, kind == family, sa.and_(kind.like(f"{like}._%", escape="/"), version_follows)),
        column.is_(None) if account is None else database.is_text(column, account),
    )


def our_table(database: Database, place: TableName) -> sa.Table:
    """Return the table as far as it is known without a report."""
    return sa.Table(place.name, sa.MetaData(), *_our_columns(database), schema=place.schema)


def layout_of(
    connection: sa.engine.Connection,
    database: Database,
    place: TableName,
    columns: Sequence[Column],
    contract: Contract = PLAIN,
) -> Layout:
    """Look at a table, and say how a report fits into it.

    :param columns: of the report.
    :param contract: what they are called there, and whether the table may change.
    :raises ContentsError: when it does not: two names for one column, or a column of another type.
    :raises LandingConflictError: when the table is none of ours, or has the columns by other names.
    """
    columns = contract.kept(columns)
    names = _names(columns, database, contract)
    inspector = sa.inspect(connection)
    found: Sequence[Any] = ()
    # First, as another landing may create it meanwhile: a table that is there has its columns.
    exists = inspector.has_table(place.name, schema=place.schema)
    with suppress(sa.exc.NoSuchTableError):
        found = inspector.get_columns(place.name, schema=place.schema)
    exists = exists or bool(found)
    known = {_folded(column["name"], database): column for column in found}
    if exists and (lost := [name for name in OURS if _folded(name, database) not in known]):
        raise LandingConflictError(
            f"The table {place} exists and lacks {', '.join(lost)}, which tell whose row is whose: "
            "name another table, or add these columns to it (docs/sql.md shows how they are defined)."
        )
    contract.require_one_form(place, columns, [column["name"] for column in found], spelled=fitting)
    if exists:
        database.check_table(connection, place.schema, place.name)
    for ours in _our_columns(database) if exists else ():
        kind = known[_folded(ours.name, database)]["type"]
        if not _holds_ours(kind, ours.type, database):
            raise LandingConflictError(
                f"The column {ours.name!r} of the table {place} is {kind}, and has to be {_name(ours.type)}, or "
                "rows would not be found again: alter it, or name another table."
            )
    laid, digits = [], {}
    written = []
    missing, new = [], []
    unfit, unlike = [], []
    for column, name in zip(columns, names, strict=True):
        there = known.get(_folded(name, database))
        if there is None:
            made = sa.Column(name, database.type_of(column))
            missing.append(made)
            new.append(column)
        else:
            if (fitted := _fitted(column, there, database)) is None:
                unfit.append((column, there))
            if fitted is None or fitted.kind != column.kind:
                unlike.append((column, there["type"]))
            column = fitted or column
            made = sa.Column(there["name"], there["type"])
        laid.append(made)
        written.append(column)
        if column.kind == "money" and isinstance(made.type, sa.Numeric):
            precision, scale = made.type.precision, made.type.scale
            if precision is not None and scale is not None:
                digits[column.name] = max(precision - scale, 0), scale
    if exists:
        contract.require_kept(f"The table {place}", new, unlike)
    if unfit:
        raise ContentsError(_misfits(unfit, database, place))
    ours = _our_columns(database)
    table = sa.Table(place.name, sa.MetaData(), *laid, *ours, schema=place.schema, **database.table_options)
    if not exists and database.indexes_ranges:
        # What is deleted and counted by; an end has every report but that of a payout, which has a filter.
        by = (table.c["_interval_end"], table.c["_interval_start"], table.c["_filters"])
        sa.Index(_index_name(place.name), *by)
    count = max(len(found), len(OURS)) + len(missing)
    if database.most_columns is not None and count > database.most_columns:
        raise ContentsError(
            f"The table {place} would have {count} columns, {len(OURS)} of them ours, and can have "
            f"{database.most_columns}: ask for the report with fewer columns."
        )
    if exists and missing and place.name in inspector.get_view_names(schema=place.schema):
        lacking = ", ".join(str(sa.schema.CreateColumn(it).compile(dialect=connection.dialect)) for it in missing)
        raise ContentsError(
            f"{place} is a view without columns that the report has: add them to the table below "
            f"({lacking}) and to the view (CREATE OR REPLACE VIEW), or ask for the report without them."
        )
    return Layout(table, written, digits, exists, missing)


def add_columns(connection: sa.engine.Connection, layout: Layout) -> None:
    """Add the columns that an existing table lacks."""
    dialect = connection.dialect
    target = dialect.identifier_preparer.format_table(layout.table)
    for column in layout.missing:
        definition = sa.schema.CreateColumn(layout.table.c[column.name]).compile(dialect=dialect)
        connection.exec_driver_sql(f"ALTER TABLE {target} ADD COLUMN {definition}")


def _index_name(table: str) -> str:
    """Return a name that nothing else has: it stays an index's when its table is renamed, and may be a table's."""
    end = f"_landing_{secrets.token_hex(4)}"
    return table.encode()[: LONGEST_NAME - len(end)].decode(errors="ignore") + end


def _our_columns(database: Database) -> Sequence[Any]:
    text, instant = sa.String(LONGEST_TEXT), database.instant_type()
    types = (text, text, text, instant, instant, text)
    required = ("_report_type", "_report_run_id")
    return [sa.Column(name, kind, nullable=name not in required) for name, kind in zip(OURS, types, strict=True)]


def _names(columns: Sequence[Column], database: Database, contract: Contract) -> Sequence[str]:
    """Return the names that the database gets for the report's columns, all of them different."""
    names = contract.names(columns, ours=OURS, folds_case=not database.distinguishes_case, spelled=fitting)
    for column, name in zip(columns, names, strict=True):
        if re.search(database.impossible_name, name):
            raise ContentsError(
                f"No table there can have a column {column.name!r}; set naming='snake_case', or ask for the "
                "report with other columns."
            )
    return names


def _folded(name: str, database: Database) -> str:
    return name if database.distinguishes_case else name.lower()


def _fitted(column: Column, there: Any, database: Database) -> Column | None:
    """Return how a column of the report goes into one that the table has, None where values would be lost."""
    kind = there["type"]
    if database.text_holds_everything and isinstance(database.type_of(column), sa.Text):
        if isinstance(kind, sa.String):
            return column
    elif isinstance(kind, sa.String):
        return replace(column, kind="text")  # as Stripe wrote it
    elif _holds(kind, column.kind, database):
        return column
    return None


def _misfits(unfit: Sequence[tuple[Column, Any]], database: Database, place: TableName) -> str:
    """Say which columns of a table are of another type than the report's, and what would do."""
    said = "; ".join(
        f"the column {column.name!r} of the table {place} is {there['type']}, and the report's is {column.kind}"
        for column, there in unfit
    )
    held = {
        column.name: [it for it in KINDS if it != "text" and _fitted(replace(column, kind=it), there, database)]
        for column, there in unfit
    }
    ways_out = {name: kinds[0] for name, kinds in held.items() if kinds}
    ask = f", or set column_types={ways_out!r} where the report's cells are that" if ways_out else ""
    return (
        f"{said[0].upper()}{said[1:]}: values would be lost or changed. "
        f"Alter the table's columns, or name another table{ask}."
    )


def _name(kind: Any) -> str:
    return "timestamp with time zone" if isinstance(kind, sa.DateTime) else "text"


def _holds_ours(kind: Any, wanted: Any, database: Database) -> bool:
    if isinstance(wanted, sa.String):
        return isinstance(kind, sa.String)
    return isinstance(kind, sa.DateTime) and (bool(kind.timezone) or not database.knows_time_zones)


def _holds(kind: Any, wanted: str, database: Database) -> bool:
    exact = isinstance(kind, sa.Numeric) and not isinstance(kind, sa.Float)
    if wanted == "money":
        return exact
    if wanted == "integer":
        return exact or isinstance(kind, sa.Integer)
    if wanted == "boolean":  # many databases have numbers for it
        return isinstance(kind, sa.Boolean) or (not database.distinguishes_case and isinstance(kind, sa.Integer))
    if wanted in ("timestamp", "timestamp_utc"):
        return isinstance(kind, sa.DateTime)
    return wanted == "date" and isinstance(kind, sa.Date)
