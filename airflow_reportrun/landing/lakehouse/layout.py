"""How a report lies in a table of a lakehouse: its columns, typed as in Parquet files, and six of ours."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, BinaryIO

from airflow_reportrun.landing.contract import PLAIN, Contract
from airflow_reportrun.landing.formats.arranged import Arrangement
from airflow_reportrun.landing.formats.columns import KINDS, Column
from airflow_reportrun.landing.formats.parquet import DecimalConverter
from airflow_reportrun.landing.formats.typed import INSTANT
from airflow_reportrun.landing.rows import OURS, filters_of
from airflow_reportrun.landing.spool import converted
from airflow_reportrun.reporting.errors import ContentsError, LandingConflictError

import pyarrow as pa  # isort: skip - after the converter, which says what to install

if TYPE_CHECKING:
    from airflow_reportrun.landing.manifest import Manifest

_TABLES_AHEAD = 16  # about a row group: what makes the next one goes on while one is written
_REQUIRED = ("_report_type", "_report_run_id")

OUR_FIELDS: Sequence[Any] = [
    pa.field(name, INSTANT if name.startswith("_interval") else pa.string(), nullable=name not in _REQUIRED)
    for name in OURS
]
"""What each row says of whose it is."""


DICTIONARY = 64 << 10
"""Bytes of a column's different values in a row group, beyond which they are written as they are: to go on costs
twice the time, and makes no smaller files of what hardly repeats."""


@dataclass(frozen=True)
class Layout:
    """How a report lies in a table.

    :param columns: of the report, in its order; as text where the table has text.
    :param arranged: makes the ones that are kept, by their names, of tables of all of them.
    :param fields: as the table has them or gets them: those of the report, and ours behind them.
    :param missing: those of them that the table lacks.
    """

    columns: Sequence[Column]
    arranged: Arrangement
    fields: Sequence[Any]
    missing: Sequence[Any]

    @property
    def schema(self) -> Any:
        """Of what is written."""
        return pa.schema(self.fields)


def require_ours(there: Any, table: str) -> None:
    """Refuse a table that is somebody else's.

    :param there: the table's schema.
    :param table: what it is called.
    :raises LandingConflictError: when columns of ours are missing, or of another type.
    """
    known = {field.name: field for field in there}
    if lost := [name for name in OURS if name not in known]:
        raise LandingConflictError(
            f"The table {table} exists and lacks {', '.join(lost)}, which tell whose row is whose: name another "
            "table."
        )
    for ours in OUR_FIELDS:
        kind = _plain(known[ours.name].type)
        if kind != ours.type:
            raise LandingConflictError(
                f"The column {ours.name!r} of the table {table} is {kind}, and has to be {ours.type}, or rows "
                "would not be found again: name another table."
            )


def layout_of(columns: Sequence[Column], there: Any | None, table: str, contract: Contract = PLAIN) -> Layout:
    """Say how a report fits into a table.

    A column that the table has as text takes the text that Stripe wrote. Any other difference is refused: with
    other places a decimal would be rounded by some readers, and others would misread its older files.

    :param columns: of the report, in its order.
    :param there: the table's schema, None where there is no table.
    :param table: what it is called, for errors.
    :param contract: what the columns are called there, and whether the table may change.
    :raises ContentsError: when it does not: two names for one column, or columns of another type.
    :raises LandingConflictError: when the table is none of ours, or has the columns by other names.
    """
    kept = contract.kept(columns)
    names = contract.names(kept, ours=OURS, folds_case=True)  # as most readers of lakes do
    if there is not None:
        require_ours(there, table)
        contract.require_one_form(table, kept, there.names)
    known = {field.name.lower(): field for field in there or ()}
    written, fields, missing, new, unfit, unlike = {}, [], [], [], [], []
    for column, name in zip(kept, names, strict=True):
        found = known.get(name.lower())
        fitted: Column | None = column
        if found is None:
            made = pa.field(name, type_of(column))
            missing.append(made)
            new.append(column)
        else:
            if (fitted := _fitted(column, found.type)) is None:
                unfit.append((column, found))
            if fitted is None or fitted.kind != column.kind:
                unlike.append((column, found.type))
            made = pa.field(found.name, type_of(fitted or column))
        written[column.name] = fitted or column
        fields.append(made)
    if there is not None:
        contract.require_kept(f"The table {table}", new, unlike)
    if unfit:
        raise ContentsError(_misfits(unfit, table))
    laid = [written.get(column.name, column) for column in columns]
    arranged = Arrangement(laid, contract, [field.name for field in fields])
    return Layout(
        laid, arranged, [*fields, *OUR_FIELDS], missing if there is not None else [*missing, *OUR_FIELDS]
    )


def type_of(column: Column) -> Any:
    """Return the type that a column of a report has in a table."""
    return DecimalConverter([column], "Etc/UTC", ".").schema.field(0).type


def tables_of(
    file: BinaryIO,
    layout: Layout,
    manifest: Manifest,
    column_types: Mapping[str, str] | None,
    timezone: str,
    decimal_separator: str,
) -> Iterator[Any]:
    """Yield a report as tables of a layout, of some megabytes each; memory does not grow with it.

    :param file: the CSV as Stripe wrote it; it is read from its beginning.
    :param manifest: what it is.
    :param column_types: what the task says of columns, for the error that says what else is needed.
    :raises ContentsError: when cells are not of their columns' types; after the last table.
    """
    converter = DecimalConverter(layout.columns, timezone, decimal_separator, column_types)
    ours = [pa.scalar(it, field.type) for it, field in zip(our_values(manifest), OUR_FIELDS, strict=True)]
    schema = layout.schema

    def make(table: Any) -> Any:
        cells = layout.arranged(table)
        own = (pa.repeat(it, cells.num_rows) for it in ours)
        return pa.table([*cells.columns, *own], schema=schema)

    return converted(file, converter, make, ahead=_TABLES_AHEAD)


def our_values(manifest: Manifest) -> Sequence[Any]:
    """Return what each row of a landing says in our columns."""
    subject = manifest.subject
    return (
        *(manifest.report_type, subject.stripe_account, filters_of(subject)),
        *(None if it is None else it * 1_000_000 for it in (subject.interval_start, subject.interval_end)),
        manifest.report_run_id,
    )


def _fitted(column: Column, kind: Any) -> Column | None:
    """Return how a column of the report goes into one of a type, None where it does not."""
    if _plain(kind) == type_of(column):
        return column
    return replace(column, kind="text") if _plain(kind) == pa.string() else None


def _plain(kind: Any) -> Any:
    """Return a type without what only tells how it lies in memory."""
    return pa.string() if pa.types.is_large_string(kind) or pa.types.is_string_view(kind) else kind


def _misfits(unfit: Sequence[tuple[Column, Any]], table: str) -> str:
    """Say which columns of a table are of another type than the report's, and what would do."""
    said = "; ".join(
        f"the column {column.name!r} of the table {table} is {there.type}, and the report's is {column.declared} "
        f"({type_of(column)})"
        for column, there in unfit
    )
    ways_out = {column.name: way for column, there in unfit if (way := _way_out(column, there.type))}
    ask = f", or set column_types={ways_out!r} where the report's cells are that" if ways_out else ""
    return f"{said[0].upper()}{said[1:]}: values would be lost or changed. Name another table{ask}."


def _way_out(column: Column, kind: Any) -> str | None:
    """Return the kind that a column of a type takes."""
    if pa.types.is_decimal(kind):
        fitting = replace(column, kind="money", decimals=kind.scale)
        return fitting.declared if kind.scale >= 0 and type_of(fitting) == kind else None
    return next(
        (it for it in KINDS if it not in ("money", "text") and type_of(replace(column, kind=it)) == kind), None
    )
