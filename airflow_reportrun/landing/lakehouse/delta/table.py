"""A Delta table: what is there, and one commit that replaces an interval and says so."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from datetime import UTC, datetime
from functools import cached_property
from typing import TYPE_CHECKING, Any

import pyarrow as pa
from deltalake import CommitProperties, DeltaTable, QueryBuilder, Transaction, WriterProperties, write_deltalake
from deltalake.exceptions import CommitFailedError, TableNotFoundError

from airflow_reportrun.landing.lakehouse.delta.told import FOLDER, NOTHING, Manifests, Note, app_of, days_of
from airflow_reportrun.landing.lakehouse.facts import essentials_of
from airflow_reportrun.landing.lakehouse.layout import DICTIONARY, OUR_FIELDS
from airflow_reportrun.landing.lakehouse.table import LakeTable, Landing, Noted, OvertakenError, Owner, owner_of
from airflow_reportrun.landing.report import Landed
from airflow_reportrun.landing.rows import OURS, filters_of
from airflow_reportrun.reporting.errors import ContentsError, LandingConflictError

if TYPE_CHECKING:
    from airflow_reportrun.landing.lakehouse.delta.storage import Location
    from airflow_reportrun.landing.lakehouse.layout import Layout
    from airflow_reportrun.landing.manifest import Manifest, Subject

_ROWS_IN_GROUP = 100_000
"""Rows in a row group, which is what is in memory here, and what a reader takes at once."""

_FIRST = "_stripe_report_first"
"""What the log has since the first landing: of two at once, live and test, one has to see the other."""


class DeltaLakeTable(LakeTable):
    """A table in a folder.

    :param location: of the folder.
    """

    format = "delta"
    told_in = f"the table's folder {FOLDER}"

    def __init__(self, location: Location) -> None:
        self.name = location.url
        self._location = location
        self._table: DeltaTable | None = None
        self._counted: dict[tuple[int | None, int | None] | None, Mapping[tuple[Owner, str], int]] = {}

    def look(self) -> None:
        """Load the table anew.

        :raises LandingConflictError: when the folder has something else in it.
        """
        self._counted = {}
        vars(self).pop("facts", None)
        self._table = self._loaded()
        if self._table is None:
            self._require_room()
        self.looked_at = True

    def _loaded(self) -> DeltaTable | None:
        try:
            return DeltaTable(self._location.uri, storage_options=dict(self._location.options))
        except TableNotFoundError:
            return None

    def _require_room(self) -> None:
        """Refuse a folder of other files, whose readers would take the table's for theirs."""
        place = self._location.place
        names = place.names_in([*place.folders, place.name])
        # What is called so is the data of a first landing that was killed.
        others = sorted(name for name in names if not name.startswith(("_", ".", "part-")))
        if others:
            raise LandingConflictError(
                f"{self.name} is no Delta table, and has other files, such as {others[0]}: name a folder of the "
                "table's own."
            )

    @property
    def schema(self) -> Any | None:
        """The table's columns, None where there is no table."""
        return None if self._table is None else pa.schema(self._table.schema().to_arrow())

    @cached_property
    def facts(self) -> Manifests:
        """What the table's log and its manifests tell."""

        def number_of(app: str) -> int | None:
            return self._table.transaction_version(app) if self._table else None

        return Manifests(self._location.place, number_of)

    def owners(self, subject: Subject | None = None) -> Mapping[tuple[Owner, str], int]:
        """Count rows by whose they are, in the files that may have some."""
        bounds = None if subject is None else (subject.interval_start, subject.interval_end)
        if self._table is None:
            return {}
        if bounds not in self._counted:
            names = ", ".join(f'"{name}"' for name in OURS)
            query = f"SELECT {names}, count(*) AS n FROM t WHERE {_touching(subject)} GROUP BY {names}"  # noqa: S608
            rows = pa.table(QueryBuilder().register("t", self._table).execute(query).read_all()).to_pylist()
            self._counted[bounds] = {owner_of(row): row["n"] for row in rows}
        return self._counted[bounds]

    def replace(self, landing: Landing) -> int:
        """Replace rows in one commit, which has the number of the manifest."""
        mine = landing.manifest
        tables = _Counted(landing, self.name)
        reader = pa.RecordBatchReader.from_batches(landing.layout.schema, tables.batches())
        noted = Noted(mine, mine.report_run_id)
        options: dict[str, Any] = {"mode": "overwrite", "predicate": self._gone(landing), "schema_mode": "merge"}
        if self._table is None:
            options = {"mode": "error", "configuration": dict(_properties(landing.layout))}
        try:
            self._commit(reader, noted, landing.told_no_more, **options)
        except Exception:
            if tables.failed:
                raise tables.failed from None  # of which deltalake has made text
            raise
        return tables.rows

    def confirm(self, noted: Noted) -> None:
        """Let the log have the number of this manifest, with a commit that brings nothing else."""
        if self._table is None:
            raise OvertakenError
        nothing = pa.schema(OUR_FIELDS).empty_table()
        self._commit(nothing, noted, (), mode="append", schema_mode="merge")

    def _commit(self, rows: Any, noted: Noted, gone: Sequence[Subject], **options: Any) -> None:
        """Write rows, and commit them with what the log says of the landing.

        deltalake itself commits again behind others, unless their commits have one of these applications, or rows
        that this one replaces. But who creates a table would do so over one that was created meanwhile.

        :raises OvertakenError: when others have committed what has to be looked at.
        """
        note, manifest = Note.of(noted), noted.manifest
        self.facts.write(note)
        numbers = {
            **dict.fromkeys(days_of(manifest.subject), note.number),
            **{app_of(it): NOTHING for it in gone},
            note.app: note.number,
        }
        if self._table is None or self._table.transaction_version(_FIRST) is None:
            numbers[_FIRST] = note.number
        properties = CommitProperties(
            custom_metadata=dict(essentials_of(manifest)),
            max_commit_retries=0 if self._table is None else None,
            app_transactions=[Transaction(app, number) for app, number in numbers.items()],
        )
        where: Any = {"storage_options": dict(self._location.options)} if self._table is None else {}
        looked_at = self._table and self._table.version()
        try:
            write_deltalake(
                self._location.uri if self._table is None else self._table,
                rows,
                writer_properties=WriterProperties(
                    compression="ZSTD",
                    max_row_group_size=_ROWS_IN_GROUP,
                    dictionary_page_size_limit=DICTIONARY,
                ),
                commit_properties=properties,
                **where,
                **options,
            )
        except Exception as error:
            # Who creates it meets whoever was faster in errors of several classes.
            if not isinstance(error, CommitFailedError) and self._table is not None:
                raise
            now = self._loaded()
            if (now and now.version()) == looked_at:
                raise
        else:
            return
        raise OvertakenError

    def _gone(self, landing: Landing) -> str:
        """Return the condition that rows fulfil which a landing replaces, and its own, but no others.

        What lies within its bounds and does not go has been refused.
        """
        mine = landing.manifest.subject
        subjects = (mine, *landing.replaced)
        types = {owner.report_type for owner, _ in self.owners(mine) if owner.is_of(mine)}
        if {(it.interval_start, it.interval_end) for it in subjects} == {(mine.interval_start, mine.interval_end)}:
            bounds = _exactly(mine)
        else:
            start, end = _instant(mine.interval_start), _instant(mine.interval_end)
            bounds = f'"_interval_start" >= {start} AND "_interval_end" <= {end}'
        return " AND ".join(
            (
                _among("_report_type", {*types, landing.manifest.report_type}),
                _among("_stripe_account", {mine.stripe_account}),
                _among("_filters", {filters_of(it) for it in subjects}),
                bounds,
            )
        )

    def errors(self) -> AbstractContextManager[None]:
        """Make errors of ours of what the store and deltalake say."""
        return self._location.errors()

    def called(self, manifest: Manifest) -> Landed:
        """Return what is landed, as an asset and as OpenLineage call it."""
        place = self._location.place
        return Landed(self.name, place.uri, manifest, lambda: place.dataset)


class _Counted:
    """The rows of a landing on their way.

    :ivar rows: how many have passed.
    :ivar failed: what went wrong in making them.
    """

    def __init__(self, landing: Landing, table: str) -> None:
        self.rows = 0
        self.failed: BaseException | None = None
        self._landing, self._table = landing, table

    def batches(self) -> Iterator[Any]:
        """Yield them, and raise at their end if they are not as many as the report has."""
        try:
            for table in self._landing.tables():
                self.rows += table.num_rows
                yield from table.to_batches()
            if self.rows != self._landing.manifest.rows:
                raise ContentsError(
                    f"The report has {self._landing.manifest.rows} rows, and {self.rows} of them would come into "
                    f"{self._table}: it has an empty line. Nothing changed."
                )
        except Exception as error:
            self.failed = error
            raise


def _properties(layout: Layout) -> Mapping[str, str]:
    """Return the properties of a new table.

    Statistics of money are floats in the log, and pyarrow finds no row of a file whose smallest or largest is
    written with an exponent there, such as 0.000001 (deltalake 1.6.6).
    """
    told = [
        field.name
        for field in layout.fields
        if field.name in OURS
        or (pa.types.is_temporal(field.type) and re.fullmatch(r"\w+", field.name, flags=re.ASCII))
    ]
    return {
        "delta.dataSkippingStatsColumns": ",".join(told),
        "delta.checkpointInterval": "50",  # what is not in the last one is read file by file
        "delta.logRetentionDuration": "interval 3650 days",  # the table can be read as it was; the default is 30
    }


def _touching(subject: Subject | None) -> str:
    """Return the condition that rows fulfil which may be in the way of a subject, of whatever report; of any."""
    if subject is None:
        return "TRUE"
    start, end = subject.interval_start, subject.interval_end
    if start is None or end is None:
        return _exactly(subject)
    return (
        f'("_interval_start" < {_instant(end)} AND "_interval_end" > {_instant(start)}) OR ({_exactly(subject)})'
    )


def _exactly(subject: Subject) -> str:
    bounds = ("_interval_start", subject.interval_start), ("_interval_end", subject.interval_end)
    return " AND ".join(f'"{name}" IS NULL' if at is None else f'"{name}" = {_instant(at)}' for name, at in bounds)


def _among(name: str, values: Collection[str | None]) -> str:
    texts = [_text(it) for it in sorted(filter(None, values))]
    either = [f'"{name}" IN ({", ".join(texts)})'] if texts else []
    either += [f'"{name}" IS NULL'] if None in values else []
    return f"({' OR '.join(either)})"


def _text(value: str) -> str:
    return "'" + value.replace("'", "''") + "'"


def _instant(seconds: int | None) -> str:
    """Return an instant as text: of another literal deltalake makes nanoseconds, which it compares with none."""
    return f"'{datetime.fromtimestamp(seconds or 0, UTC):%Y-%m-%dT%H:%M:%SZ}'"
