"""An Iceberg table: what is there, and one snapshot that replaces an interval and says so."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager, suppress
from functools import cached_property
from typing import TYPE_CHECKING, Any, TypeAlias

import pyarrow as pa
from pyiceberg import exceptions
from pyiceberg.io.pyarrow import schema_to_pyarrow
from pyiceberg.partitioning import PartitionField, PartitionSpec
from pyiceberg.schema import Schema
from pyiceberg.table import Table
from pyiceberg.table.snapshots import Operation
from pyiceberg.table.update import AddSnapshotUpdate
from pyiceberg.transforms import MonthTransform, Transform
from pyiceberg.types import (
    BooleanType,
    DateType,
    DecimalType,
    IcebergType,
    LongType,
    NestedField,
    StringType,
    TimestamptzType,
)

from airflow_reportrun.landing.lakehouse.facts import OWN, Facts, essentials_of
from airflow_reportrun.landing.lakehouse.iceberg.files import (
    of_owner,
    owners_in,
    require_one_partition,
    touching,
    write_files,
)
from airflow_reportrun.landing.lakehouse.iceberg.gathering import Gathering
from airflow_reportrun.landing.lakehouse.table import LakeTable, Landing, Noted, OvertakenError, Owner
from airflow_reportrun.landing.names import identifier_of
from airflow_reportrun.landing.report import Landed
from airflow_reportrun.landing.rows import OURS
from airflow_reportrun.reporting.errors import ConfigurationError, ContentsError, LandingConflictError

if TYPE_CHECKING:
    from pyiceberg.expressions import BooleanExpression
    from pyiceberg.manifest import DataFile
    from pyiceberg.table import FileScanTask, Transaction
    from pyiceberg.table.update import TableRequirement, TableUpdate

    from airflow_reportrun.landing.lakehouse.iceberg.catalogs import Lakehouse
    from airflow_reportrun.landing.manifest import Manifest, Subject

NEWEST = 2
"""The newest version of the format that pyiceberg (0.12.0) writes."""

PARTITIONS: Transform[Any, int] = MonthTransform()
"""Of both bounds in new tables, so that a landing reads of the files near it alone."""

PROPERTIES: Mapping[str, str] = {
    # Whose the rows of a file are is told by its statistics, which would cut texts off.
    **{f"write.metadata.metrics.column.{name}": "full" for name in OURS},
    # Each commit writes all that the table says of itself into a new file: the twenty before it are enough.
    "write.metadata.delete-after-commit.enabled": "true",
    "write.metadata.previous-versions-max": "20",
}
"""Of new tables."""

_NO_RETRIES = {"commit.retry.num-retries": "0"}

_OVERTAKEN = (
    *(exceptions.CommitFailedException, exceptions.ValidationException),
    exceptions.TableAlreadyExistsError,
)


_Counted: TypeAlias = "tuple[FileScanTask, Mapping[tuple[Owner, str], int]]"
"""A file, and its rows by whose they are and the report run that they name."""


class IcebergTable(LakeTable):
    """A table of a catalog.

    :param lakehouse: whose table it is.
    :param table: ``namespace.table``; a namespace may have points.
    :raises ConfigurationError: when it can't be a table's name.
    """

    format = "iceberg"
    told_in = "the table's properties"

    def __init__(self, lakehouse: Lakehouse, table: str) -> None:
        self.name = table
        self._lakehouse = lakehouse
        self._catalog = lakehouse.catalog
        self._identifier = identifier_of(table)
        self._table: Table | None = None
        self._tasks: dict[BooleanExpression, Sequence[_Counted]] = {}
        self._written: tuple[object, Sequence[DataFile]] | None = None
        self._has_another = False  # something that is no table has the name
        self._has_doubts = False  # of whether a commit was one

    def look(self) -> None:
        """Load the table anew.

        :raises ConfigurationError: when its format can't be written, or its partitions would cut an interval.
        :raises LandingConflictError: when something else has its name.
        """
        self._tasks = {}
        vars(self).pop("facts", None)
        self._table = None
        try:
            self._table = self._catalog.load_table(self._identifier)
        except exceptions.NoSuchIcebergTableError:  # there is one, of another format
            raise
        except exceptions.NoSuchTableError:
            if self._has_another:
                raise LandingConflictError(
                    f"table {self.name}: the catalog has something else of this name, such as a view. Name "
                    "another table."
                ) from None
        self.looked_at = True
        if self._table is None:
            self._require_namespace()
            return
        metadata = self._table.metadata
        if metadata.format_version > NEWEST:
            raise ConfigurationError(
                f"The table {self.name} has version {metadata.format_version} of Iceberg's format, and pyiceberg "
                f"writes up to version {NEWEST}: name another table."
            )
        if {*OURS} <= {*metadata.schema().column_names}:
            require_one_partition(metadata, self.name)

    def _require_namespace(self) -> None:
        """Refuse to make one in a catalog that is somebody else's."""
        namespace = self._identifier[:-1]
        if not self._lakehouse.is_ours and not self._catalog.namespace_exists(namespace):
            raise ConfigurationError(
                f"table {self.name}: the catalog has no namespace {'.'.join(namespace)}; create it, or name a "
                "table in another one."
            )

    def _make_namespace(self) -> None:
        namespace = self._identifier[:-1]
        try:
            self._catalog.create_namespace_if_not_exists(namespace)
        except Exception:
            if not self._catalog.namespace_exists(namespace):  # unless somebody else has made it
                raise

    @property
    def schema(self) -> Any | None:
        """The table's columns, None where there is no table."""
        if self._table is None:
            return None
        return schema_to_pyarrow(self._table.schema(), include_field_ids=False)

    @cached_property
    def facts(self) -> Facts:
        """What the table's properties tell."""
        return Facts(self._table.properties if self._table else {})

    def owners(self, subject: Subject | None = None) -> Mapping[tuple[Owner, str], int]:
        """Count rows by whose they are, in the files that may have some."""
        found: Counter[tuple[Owner, str]] = Counter()
        for _, owners in self._files(touching(subject)):
            found.update(owners)
        return found

    def _files(self, near: BooleanExpression) -> Sequence[_Counted]:
        if self._table is None:
            return ()
        if near not in self._tasks:
            table = self._table
            planned = table.scan(row_filter=near).plan_files()
            self._tasks[near] = [(task, owners_in(task, table.metadata, table.io, near)) for task in planned]
        return self._tasks[near]

    def replace(self, landing: Landing) -> int:
        """Replace rows and properties in one commit, of one snapshot.

        Where others have put rows of several intervals into one file, pyiceberg writes what stays of it anew, in a
        snapshot more of the same commit.
        """
        mine = landing.manifest
        said = self.facts.changed(Noted(mine, mine.report_run_id), landing.told_no_more)
        transaction = self._begun(landing, said)
        files = self._written_for(landing, transaction)
        rows = sum(file.record_count for file in files)
        if rows != mine.rows:
            raise ContentsError(
                f"The report has {mine.rows} rows, and {rows} of them would come into {self.name}: it has an "
                "empty line. Nothing changed."
            )
        subjects = (mine.subject, *landing.replaced)
        whole = self._cleared(transaction, subjects)
        _say(transaction, said)
        kind = Operation.OVERWRITE if whole else Operation.APPEND
        with Gathering(transaction, kind, essentials_of(mine)) as snapshot:
            for file in whole:
                snapshot.delete_data_file(file)
            for file in files:
                snapshot.append_data_file(file)
        self._commit(transaction)
        self._written = None
        return rows

    def confirm(self, noted: Noted) -> None:
        """Let the properties say so, with a snapshot of no rows, which is what others are overtaken by."""
        if self._table is None:
            raise OvertakenError
        said = self.facts.changed(noted)
        transaction = self._transaction(self._table, said)
        _say(transaction, said)
        properties = dict(essentials_of(noted.manifest))
        with transaction.update_snapshot(snapshot_properties=properties).fast_append():
            pass
        self._commit(transaction)

    def _begun(self, landing: Landing, said: Mapping[str, str | None]) -> Transaction:
        """Begin a transaction in which the table is there, and has all columns."""
        if self._table is None:
            fields = [
                NestedField(number, field.name, _type(field.type), required=not field.nullable)
                for number, field in enumerate(landing.layout.fields, 1)
            ]
            schema = Schema(*fields)
            bounds = ("_interval_start", "_interval_end")
            spec = PartitionSpec(
                *(
                    PartitionField(schema.find_field(name).field_id, number, PARTITIONS, f"{name}_{PARTITIONS}")
                    for number, name in enumerate(bounds, 1000)
                )
            )
            if self._lakehouse.is_ours:
                self._make_namespace()
            return self._catalog.create_table_transaction(
                self._identifier, schema, partition_spec=spec, properties=dict(PROPERTIES)
            )
        transaction = self._transaction(self._table, said)
        if landing.layout.missing:
            with transaction.update_schema() as update:
                for field in landing.layout.missing:
                    update.add_column((field.name,), _type(field.type))
        return transaction

    def _transaction(self, table: Table, said: Mapping[str, str | None]) -> Transaction:
        """Begin a transaction that is not tried again: who is overtaken has to decide again.

        pyiceberg copies what it knows of the table at each step, so that it is told no more than it looks at: no
        catalog sees this, but the changes alone.

        :param said: the properties that will change.
        """
        metadata, current = table.metadata, table.current_snapshot()
        known = {
            "properties": {
                **{name: it for name, it in table.properties.items() if not name.startswith(OWN) or name in said},
                **_NO_RETRIES,
            },
            "snapshots": [current] if current else [],
            "snapshot_log": [],
        }
        less = metadata.model_copy(update=known)
        it = Table(table.name(), less, table.metadata_location, table.io, table.catalog, table.config)
        return it.transaction()

    def _written_for(self, landing: Landing, transaction: Transaction) -> Sequence[DataFile]:
        """Write the rows, unless they are written already for a table of the same form."""
        metadata = transaction.table_metadata
        form = metadata.schema(), metadata.spec(), metadata.location
        if self._written is None or self._written[0] != form:
            self.give_up()
            files: list[DataFile] = []
            self._written = form, files
            for file in write_files(landing, metadata, transaction._table.io):
                files.append(file)
        return self._written[1]

    def _cleared(self, transaction: Transaction, subjects: Sequence[Subject]) -> Sequence[DataFile]:
        """Return the files in which all rows go; where others have some of them, let the rows go by condition."""
        whole: dict[str, DataFile] = {}
        gone: set[Owner] = set()
        is_cut = False
        for task, owners in self._files(touching(subjects[0])):  # which has the others in it
            ours = {it: count for it, count in owners.items() if any(map(it[0].is_about, subjects))}
            gone |= {owner for owner, _ in ours}
            if sum(ours.values()) == task.file.record_count:
                whole[task.file.file_path] = task.file
            elif ours:
                is_cut = True
        if not is_cut:
            return list(whole.values())
        for owner in sorted(gone, key=str):
            transaction.delete(of_owner(owner))  # takes whole files of its rows away, too
        return ()

    def _commit(self, transaction: Transaction) -> None:
        """Commit, unless somebody else has.

        What was written is given up only where it is known that nothing was committed: whatever else ends this, a
        timeout of the task included, the files may be the table's by now.

        :raises OvertakenError: also when nobody knows whether it was committed: the next look tells, once.
        """
        written, self._written = self._written, None
        _count_what_counted(transaction._table)
        try:
            self._table = transaction.commit_transaction()
        except _OVERTAKEN as error:
            self._has_another = isinstance(error, exceptions.TableAlreadyExistsError)
            self._written = written
        except exceptions.CommitStateUnknownException:
            if self._has_doubts:
                raise
            self._has_doubts = True
        except Exception as error:
            if "database is locked" not in str(error):  # by another commit: this one was none
                raise
            self._written = written
        else:
            return
        raise OvertakenError

    def give_up(self) -> None:
        """Remove files that nothing tells of."""
        if self._written is None:
            return
        io = self._table.io if self._table else self._catalog._load_file_io()
        for file in self._written[1]:
            with suppress(Exception):  # it is harmless
                io.delete(file.file_path)
        self._written = None

    def errors(self) -> AbstractContextManager[None]:
        """Make errors of ours of what the catalog, the store and pyiceberg say."""
        return self._lakehouse.errors(self.name)

    def called(self, manifest: Manifest) -> Landed:
        """Return what is landed: an asset and OpenLineage call it by where it lies."""
        uri = self._table.location() if self._table else ""
        scheme, _, path = uri.rpartition("://")
        bucket, _, name = path.partition("/")
        dataset = ("file", path) if scheme in ("", "file") else (f"{scheme}://{bucket}", name)
        return Landed(self.name, uri, manifest, lambda: dataset)


def _count_what_counted(table: Table) -> None:
    """Let a commit be one that was refused because it is there: an answer got lost, and it was sent again.

    pyiceberg looks for that between its own tries, which are off, and would remove what the table is made of.
    """
    commit = table._do_commit

    def committed(updates: tuple[TableUpdate, ...], requirements: tuple[TableRequirement, ...]) -> None:
        try:
            commit(updates, requirements)
        except (exceptions.CommitFailedException, exceptions.TableAlreadyExistsError):
            mine = {it.snapshot.snapshot_id for it in updates if isinstance(it, AddSnapshotUpdate)}
            with suppress(exceptions.NoSuchTableError):
                now = table.catalog.load_table(table.name())
                if mine and mine <= {it.snapshot_id for it in now.metadata.snapshots}:
                    table.metadata, table.metadata_location = now.metadata, now.metadata_location
                    return
            raise

    table._do_commit = committed  # type: ignore[method-assign]


def _say(transaction: Transaction, said: Mapping[str, str | None]) -> None:
    """Let the table say so; None takes a property away."""
    if gone := [name for name, text in said.items() if text is None]:
        transaction.remove_properties(*gone)
    transaction.set_properties({name: text for name, text in said.items() if text is not None})


def _type(kind: Any) -> IcebergType:
    """Return Iceberg's type of a column that a layout has."""
    if pa.types.is_decimal(kind):
        return DecimalType(kind.precision, kind.scale)
    if pa.types.is_timestamp(kind):
        return TimestamptzType()
    if pa.types.is_date(kind):
        return DateType()
    if pa.types.is_boolean(kind):
        return BooleanType()
    return LongType() if pa.types.is_integer(kind) else StringType()
