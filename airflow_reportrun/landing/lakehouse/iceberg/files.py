"""Data files of an Iceberg table: written row group by row group, and counted by whose rows are in them."""

from __future__ import annotations

import itertools
import uuid
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, cast

import pyarrow as pa
from pyiceberg import expressions
from pyiceberg.conversions import from_bytes
from pyiceberg.io.fileformat import FileFormatFactory
from pyiceberg.io.pyarrow import ArrowScan, schema_to_pyarrow
from pyiceberg.manifest import DataFile, DataFileContent, FileFormat
from pyiceberg.partitioning import PartitionFieldValue, PartitionKey
from pyiceberg.schema import Schema, sanitize_column_names
from pyiceberg.table import TableProperties
from pyiceberg.table.locations import load_location_provider
from pyiceberg.types import PrimitiveType

from airflow_reportrun.landing.lakehouse.layout import DICTIONARY, our_values
from airflow_reportrun.landing.lakehouse.table import Owner, owner_of
from airflow_reportrun.landing.rows import OURS
from airflow_reportrun.reporting.errors import ConfigurationError

if TYPE_CHECKING:
    from pyiceberg.expressions import BooleanExpression
    from pyiceberg.io import FileIO
    from pyiceberg.table import FileScanTask
    from pyiceberg.table.metadata import TableMetadata

    from airflow_reportrun.landing.lakehouse.table import Landing
    from airflow_reportrun.landing.manifest import Manifest, Subject

_GROUP = 32 << 20
"""Bytes of Arrow data in a row group, which is what is in memory here, and what a reader takes at once."""

_FILE = 2 << 30
"""Bytes of Arrow data in a file, a tenth of which it takes on disk."""

_OWNERS = OURS[:5]

_by: Any = expressions  # whose classes take more than mypy is told


def write_files(landing: Landing, metadata: TableMetadata, io: FileIO) -> Iterator[DataFile]:
    """Write the rows of a landing, and yield the files; nobody knows them until they are committed.

    :param metadata: of the table as it will be.
    """
    schema = sanitize_column_names(metadata.schema())
    arrow = schema_to_pyarrow(schema)
    names = {field.field_id: field.name for field in metadata.schema().fields}
    key = _partition(landing.manifest, metadata)
    provider = load_location_provider(metadata.location, metadata.properties)
    options = {TableProperties.PARQUET_DICT_SIZE_BYTES: str(DICTIONARY), **metadata.properties}
    one, numbers = uuid.uuid4(), itertools.count()
    groups = _groups(landing.tables())
    for first in groups:
        name = f"{next(numbers):05d}-{one}.parquet"
        path = provider.new_data_location(name, key)
        output = io.new_output(path)
        writer = FileFormatFactory.get(FileFormat.PARQUET).create_writer(output, schema, options)
        size = 0
        try:
            with writer:
                for group in itertools.chain([first], groups):
                    writer.write(_as_stored(group, schema, arrow, names))
                    size += group.nbytes
                    if size >= _FILE:
                        break
        except BaseException:
            with suppress(Exception):  # it is harmless
                io.delete(path)
            raise
        yield DataFile.from_args(
            content=DataFileContent.DATA,
            file_path=path,
            file_format=FileFormat.PARQUET,
            partition=key.partition,
            file_size_in_bytes=len(output),
            spec_id=metadata.default_spec_id,
            sort_order_id=None,
            equality_ids=None,
            key_metadata=None,
            **writer.result().to_serialized_dict(),
        )


def _groups(tables: Iterator[Any]) -> Iterator[Any]:
    """Yield what becomes a row group each."""
    waiting: list[Any] = []
    size = 0
    for table in tables:
        waiting.append(table)
        size += table.nbytes
        if size >= _GROUP:
            yield pa.concat_tables(waiting)
            waiting, size = [], 0
    if any(table.num_rows for table in waiting):
        yield pa.concat_tables(waiting)


def _as_stored(group: Any, schema: Schema, arrow: Any, names: Mapping[int, str]) -> Any:
    """Return rows with all columns of the table, in its order and by the names that its files have."""
    columns = []
    for field, kind in zip(schema.fields, arrow, strict=True):
        at = group.schema.get_field_index(names[field.field_id])
        columns.append(group.column(at).cast(kind.type) if at >= 0 else pa.nulls(group.num_rows, kind.type))
    return pa.table(columns, schema=arrow)


def _partition(manifest: Manifest, metadata: TableMetadata) -> PartitionKey:
    """Return the partition of all rows of a landing."""
    schema, spec = metadata.schema(), metadata.spec()
    ours = dict(zip(OURS, our_values(manifest), strict=True))
    values = []
    for field in spec.fields:
        source = schema.find_field(field.source_id)
        value = ours[source.name]
        values.append(PartitionFieldValue(field, field.transform.transform(source.field_type)(value)))
    return PartitionKey(values, spec, schema)


def require_one_partition(metadata: TableMetadata, table: str) -> None:
    """Refuse a table whose partitions would cut an interval into pieces.

    :raises ConfigurationError: see above.
    """
    sources = [metadata.schema().find_field(field.source_id).name for field in metadata.spec().fields]
    if others := [name for name in sources if name not in OURS]:
        raise ConfigurationError(
            f"The table {table} is partitioned by {', '.join(others)}, and would cut an interval into pieces: "
            f"partition it by {', '.join(_OWNERS)} or not at all, or name another table."
        )


def touching(subject: Subject | None) -> BooleanExpression:
    """Return the filter that rows fulfil which may be in the way of a subject, of any; it is for reading alone."""
    if subject is None:
        return expressions.AlwaysTrue()
    start, end = _instant(subject.interval_start), _instant(subject.interval_end)
    if start is not None and end is not None:
        return _and(_by.GreaterThan("_interval_end", start), _by.LessThan("_interval_start", end))
    return exactly(subject)


def exactly(subject: Subject) -> BooleanExpression:
    """Return the filter that rows with the bounds of a subject fulfil, of whatever report.

    By equality and NULL alone, which are right however rows lie in files (pyiceberg 0.12.0).
    """
    bounds = ("_interval_start", subject.interval_start), ("_interval_end", subject.interval_end)
    return _and(*(_by.IsNull(name) if it is None else _by.EqualTo(name, _instant(it)) for name, it in bounds))


def of_owner(owner: Owner) -> BooleanExpression:
    """Return the filter that rows of an owner fulfil; see :func:`exactly`."""
    values: Sequence[Any] = (
        *(owner.report_type, owner.stripe_account, owner.filters),
        *(_instant(it) for it in (owner.interval_start, owner.interval_end)),
    )
    named = zip(_OWNERS, values, strict=True)
    return _and(*(_by.IsNull(name) if it is None else _by.EqualTo(name, it) for name, it in named))


def owners_in(
    task: FileScanTask, metadata: TableMetadata, io: FileIO, near: BooleanExpression
) -> Mapping[tuple[Owner, str], int]:
    """Count the rows of a file by whose they are and the report run that they name.

    Its statistics tell, or its rows where they don't.

    :param near: the filter for which the file was planned; of other rows nothing has to be told.
    """
    if not task.delete_files and (owner := _told(task.file, metadata.schema())):
        return {owner: task.file.record_count}
    scan = ArrowScan(metadata, io, metadata.schema().select(*OURS), near)
    found: Counter[tuple[Owner, str]] = Counter()
    for batch in scan.to_record_batches([task]):
        groups = pa.table(batch).select(list(OURS)).group_by(list(OURS)).aggregate([([], "count_all")])
        for row in groups.to_pylist():
            found[owner_of(row)] += row["count_all"]
    return found


def _told(file: DataFile, schema: Schema) -> tuple[Owner, str] | None:
    """Return whose all rows of a file are, and of which report run; None where its statistics don't tell.

    A bound that was cut off differs from the other one, since the upper one is rounded up.
    """
    values: list[Any] = []
    nulls, lower, upper = file.null_value_counts or {}, file.lower_bounds or {}, file.upper_bounds or {}
    for name in OURS:
        field = schema.find_field(name)
        number = field.field_id
        bound = lower.get(number)
        if nulls.get(number) == file.record_count:
            values.append(None)
        elif nulls.get(number) == 0 and bound is not None and bound == upper.get(number):
            values.append(from_bytes(cast(PrimitiveType, field.field_type), bound))
        else:
            return None
    start, end = (None if it is None else it // 1_000_000 for it in values[3:5])
    return Owner(values[0], values[1], values[2], start, end), values[5]


def _and(*filters: BooleanExpression) -> BooleanExpression:
    both: BooleanExpression = _by.And(*filters)
    return both


def _instant(seconds: int | None) -> datetime | None:
    return None if seconds is None else datetime.fromtimestamp(seconds, UTC)
