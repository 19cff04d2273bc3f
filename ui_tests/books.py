"""Writes what was landed long ago, as our own tasks would have left it, without running one for each day."""

from __future__ import annotations

import hashlib
import sqlite3
import time
from collections.abc import Iterable, Mapping
from contextlib import closing
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

from airflow_reportrun.landing.lake import layout, manifest_of
from airflow_reportrun.landing.manifest import Manifest, iso
from airflow_reportrun.landing.sql.databases import open_database
from airflow_reportrun.landing.sql.layout import landings_table
from airflow_reportrun.landing.sql.warehouse import warehouse_of
from airflow_reportrun.landing.stores import place_of
from tests.landings import recorded
from ui_tests.plan import TYPES, YEARS

CONTENTS = b'"net"\n"1.00"\n'


def midnight(day: date) -> datetime:
    """Return the beginning of a day in UTC."""
    return datetime(day.year, day.month, day.day, tzinfo=UTC)


def days(first: date, last: date) -> Iterable[date]:
    """Yield the days from one to another."""
    return (first + timedelta(days=number) for number in range((last - first).days + 1))


def manifest(report_type: str, start: datetime, end: datetime, rows: int) -> Manifest:
    """Return what tells of a landed interval."""
    bounds = {"interval_start": int(start.timestamp()), "interval_end": int(end.timestamp())}
    digest = hashlib.sha256(repr((report_type, bounds)).encode()).hexdigest()
    return Manifest(
        report_run_id=f"frr_{digest[:24]}",
        report_run_created=iso(end.timestamp() + 46_800),
        report_type=report_type,
        parameters=bounds,
        interval_start=iso(bounds["interval_start"]),
        interval_end=iso(bounds["interval_end"]),
        stripe_account=None,
        livemode=False,
        file_id=f"file_{digest[24:48]}",
        file_size=len(CONTENTS),
        file_sha256=hashlib.sha256(CONTENTS).hexdigest(),
        rows=rows,
        columns=("net",),
        format="csv",
        path="report.csv",
        size=len(CONTENTS),
        sha256=hashlib.sha256(CONTENTS).hexdigest(),
        landed_at=iso(end.timestamp() + 46_830),
    )


def land_in_lake(root: Path, report_type: str, spans: Iterable[tuple[datetime, datetime]], **rows: int) -> None:
    """Put intervals below a root of the default layout.

    :param rows: by the day that an interval begins on, where it is another number than 12.
    """
    for start, end in spans:
        folders = layout({"report_type": report_type, "interval_start": start, "interval_end": end})
        place = place_of(str(root.joinpath(*folders, "report.csv")))
        note = manifest_of(place)
        for it, contents in (
            (place, CONTENTS),
            (note, manifest(report_type, start, end, rows.get(f"{start:d%Y%m%d}", 12)).to_json().encode()),
        ):
            path = Path(it.url)
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(contents)


def land_in_table(conn_id: str, path: Path, table: str, today: date) -> None:
    """Put years of days of many report types into the table of manifests of a table; some days are missing."""
    database: Any = open_database(warehouse_of(conn_id, None))
    first = today.replace(year=today.year - YEARS, day=1)
    rows: list[Mapping[str, Any]] = []
    for number, report_type in enumerate(TYPES):
        for day in days(first, today - timedelta(days=2)):
            if day.day == 11 + number and day.month == 3:
                continue
            start = midnight(day)
            rows.append(recorded(manifest(report_type, start, start + timedelta(days=1), 12), database, table))
    landings = landings_table(database, None)
    with database.connected() as connection, connection.begin():
        landings.metadata.create_all(connection)
    names = [column.name for column in landings.columns]
    values = f"({', '.join(names)}) VALUES ({', '.join(f':{name}' for name in names)})"
    with closing(sqlite3.connect(path)) as connection, connection:  # SQLAlchemy would commit each row
        connection.execute(f"CREATE TABLE {table} (net)")  # of one that is not there, nothing is believed
        connection.executemany(f"INSERT INTO {landings.name} {values}", rows)


def today() -> date:
    """Return the day that it is in UTC."""
    return datetime.fromtimestamp(time.time(), UTC).date()
