"""A report's CSV into a table, each interval once, beside what one would do by hand."""

from __future__ import annotations

import csv
import io
import itertools
import logging
import os
import shutil
import sqlite3
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

from benchmarks.measuring import Comparison, Figures, command, compare, cost, fresh, peak_memory
from benchmarks.reports import NAMES, write_report
from tests.databases import Server, Warehouse, programs, running_postgres
from tests.landings import as_stripe_writes, day, manifest_of, recorded

RUNS = 3
SIZE = 128 << 20
SMALL = 8 << 20  # for who sends each row by itself
LANDINGS = (100, 10_000)
MORE = 15  # landings on top of these
UNITS = {"wall": "s", "cpu": "s", "memory": "MiB"}
TABLE = "activity"
UNITS_OF_ONE = {"wall": "ms", "beside": "ms"}
NOTE_OF_ONE = "One row lands; beside is the time under the table's lock but for the load itself."
NOTE = "CPU is the client's alone, memory the peak of its process."


def run() -> Iterator[Comparison]:
    """Measure PostgreSQL, where it is installed, and SQLite."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        folder.chmod(0o755)
        if programs():
            with running_postgres() as server:
                os.environ.update(Warehouse("postgresql", server.connection).environ)
                yield _copied(server, folder)
                yield _inserted(folder)
                yield from _one_more("PostgreSQL", folder)
        yield _sqlite(folder)
        yield from _one_more("SQLite", folder)


def _one_more(database: str, folder: Path) -> Iterator[Comparison]:
    """Land once more beside few and many landings, each in a database or schema of its own, by turns."""
    kinds: dict[str, Callable[[int], dict[str, Any]]] = {
        "payout": lambda number: {"start": None, "end": None, "payout": f"po_{number:08}"},
        "day": lambda number: {"start": day(number), "end": day(number + 1)},
        "account of a day": lambda number: {"connected_account": f"acct_{number:08}"},
        "day before these": lambda number: {"start": day(-number), "end": day(1 - number)},
    }
    for kind, about in kinds.items():
        ways = {}
        for count in LANDINGS:
            place = f"{kind.replace(' ', '_')}_{count}"
            if database == "SQLite":
                connection = {"conn_type": "sqlite", "host": str(folder / f"{place}.db")}
                environ, table = Warehouse("sqlite", connection).environ, TABLE
            else:
                Warehouse("", {}).hook.run(f"CREATE SCHEMA {place}")
                environ, table = dict(os.environ), f"{place}.{TABLE}"
            os.environ.update(environ)
            _fill(table, [about(number) for number in range(count)])
            more = iter(range(count, count + MORE))
            ways[f"{count:,} landed"] = partial(_one, environ, table, about, more)
        yield compare(f"{database}, one more {kind}", UNITS_OF_ONE, ways, runs=MORE, note=NOTE_OF_ONE)


def _fill(table: str, landings: list[dict[str, Any]]) -> None:
    """Put a row and its manifest into the tables for each landing, as a landing of its own would."""
    from airflow_reportrun.landing.rows import OURS
    from airflow_reportrun.landing.sql import layout
    from airflow_reportrun.landing.sql.databases import open_database

    _land_one(table, landings[0])
    database = open_database(Warehouse("", {}).hook)
    with database.connected() as connection:
        with connection.begin():
            schema = connection.dialect.default_schema_name
        place = layout.TableName.of(table, schema, distinguishes_case=True)
        rows, manifests = layout.our_table(database, place), layout.landings_table(database, place.schema)
        told = [manifest_of("frr_1", 1, **about) for about in landings[1:]]
        with database.alone(connection, manifests, place.key):
            cells = [dict(zip(OURS, layout.our_values(it, database), strict=True)) for it in told]
            connection.execute(rows.insert(), cells)
            connection.execute(manifests.insert(), [recorded(it, database, place.key) for it in told])


def _one(environ: dict[str, str], table: str, about: Callable[[int], Any], more: Iterator[int]) -> Figures:
    os.environ.update(environ)
    with _watched() as beside:
        started = time.perf_counter()
        _land_one(table, about(next(more)))
        wall = time.perf_counter() - started
    return {"wall": wall * 1e3, "beside": sum(beside) * 1e3}


def _land_one(table: str, about: dict[str, Any]) -> None:
    from airflow_reportrun.landing.sql.loading import landed, load

    contents = as_stripe_writes([["net"], ["1.00"]])
    manifest = manifest_of("frr_1", 1, contents=contents, **about)
    if landed(Warehouse("", {}).hook, table, manifest):
        raise RuntimeError(f"{about} is landed already")
    load(Warehouse("", {}).hook, table, io.BytesIO(contents), manifest)


@contextmanager
def _watched() -> Iterator[list[float]]:
    """Yield a list that gets the seconds under the table's lock, and those of the load in it, negative."""
    from unittest import mock

    from airflow_reportrun.landing.sql import loading

    spent: list[float] = []
    alone, load = loading._Loading._alone, loading._Loading._load

    @contextmanager
    def timed_alone(self: Any) -> Iterator[None]:
        with alone(self):
            started = time.perf_counter()
            yield
            spent.append(time.perf_counter() - started)

    def timed_load(self: Any, *args: Any) -> Any:
        started = time.perf_counter()
        try:
            return load(self, *args)
        finally:
            spent.append(started - time.perf_counter())

    with mock.patch.multiple(loading._Loading, _alone=timed_alone, _load=timed_load):
        yield spent


def _copied(server: Server, folder: Path) -> Comparison:
    source, rows = folder / "report.csv", folder / "rows.csv"
    write_report(source, SIZE)
    runs = itertools.count()
    fresh(_measured, partial(_land, run=next(runs)), source)
    _psql(server, f"\\copy {TABLE} TO '{rows}' (FORMAT csv)")

    def emptied() -> None:
        _psql(server, f"TRUNCATE {TABLE}, stripe_report_landings")
        _psql(server, "CHECKPOINT")

    def by_psql() -> Figures:
        emptied()
        return cost(lambda: _psql(server, f"\\copy {TABLE} FROM '{rows}' (FORMAT csv)"), children=True)

    def ours() -> Figures:
        emptied()
        return again()

    def again() -> Figures:
        return fresh(_measured, partial(_land, run=next(runs)), source)

    title = f"PostgreSQL, {SIZE >> 20} MiB"
    contenders = {"psql \\copy of the same rows": by_psql, "ours": ours, "ours, in place of the rows": again}
    return compare(title, UNITS, contenders, runs=RUNS, note=NOTE)


def _psql(server: Server, statement: str) -> None:
    psql = str(next(path for path in (Path("/usr/bin/psql"), Path(shutil.which("psql") or "")) if path.is_file()))
    where = ("-h", str(server.folder), "-U", server.user, "-d", "postgres")
    command(psql, "-X", "-q", "-v", "ON_ERROR_STOP=1", *where, "-c", statement)


def _inserted(folder: Path) -> Comparison:
    source = folder / "small.csv"
    write_report(source, SMALL)
    everyone: dict[str, Callable[[Path], object]] = {
        "DbApiHook.insert_rows": _insert_rows,
        "pandas to_sql": _to_sql,
        "ours": partial(_land, table="landed"),
    }

    def one(way: Callable[[Path], object]) -> Figures:
        Warehouse("", {}).hook.run("DROP TABLE IF EXISTS inserted, framed, landed, stripe_report_landings")
        return fresh(_measured, way, source)

    contenders = {name: partial(one, way) for name, way in everyone.items()}
    return compare(f"PostgreSQL, {SMALL >> 20} MiB", UNITS, contenders, runs=RUNS, note=NOTE)


def _sqlite(folder: Path) -> Comparison:
    source, target = folder / "report.csv", folder / "warehouse.db"
    if not source.exists():
        write_report(source, SIZE)
    os.environ.update(Warehouse("sqlite", {"conn_type": "sqlite", "host": str(target)}).environ)

    def one(way: Callable[[Path], object]) -> Figures:
        target.unlink(missing_ok=True)
        return fresh(_measured, way, source)

    ways: dict[str, Callable[[Path], object]] = {
        "executemany by hand, all text": partial(_executemany, target=target),
        "ours": _land,
    }
    contenders = {name: partial(one, way) for name, way in ways.items()}
    return compare(f"SQLite, {SIZE >> 20} MiB", UNITS, contenders, runs=RUNS, note=NOTE)


def _measured(way: Callable[[Path], object], source: Path) -> Figures:
    logging.disable()  # the table is what to look at
    Warehouse("", {}).hook.get_conn().close()  # what there is to import
    import pandas  # noqa: F401 - which pyarrow loads when it is first used, where it finds it

    import airflow_reportrun.landing.sql.loading  # noqa: F401

    return {**cost(lambda: way(source)), "memory": peak_memory()}


def _land(source: Path, table: str = TABLE, *, run: int = 0) -> object:
    """Land what no run before has landed, by its digest: what is there already stays."""
    from airflow_reportrun.landing.sql.loading import load

    manifest = manifest_of(f"frr_{run}", _rows(source), contents=f"{run}".encode())
    with source.open("rb") as file:
        return load(Warehouse("", {}).hook, table, file, manifest)


def _rows(source: Path) -> int:
    """Count as the download does, which is no part of this."""
    counted = source.with_suffix(".rows")
    if not counted.exists():
        with source.open("rb") as file:
            counted.write_text(str(sum(1 for _ in file) - 1))  # no cell here has a newline
    return int(counted.read_text())


def _cells(source: Path) -> Iterator[Any]:
    with source.open(newline="", encoding="utf-8") as file:
        rows = csv.reader(file)
        next(rows)
        for row in rows:
            yield [cell or None for cell in row]


def _insert_rows(source: Path) -> object:
    hook = Warehouse("", {}).hook
    columns = ", ".join(f'"{name}" text' for name in NAMES)
    hook.run(f"CREATE TABLE inserted ({columns})")
    hook.insert_rows("inserted", _cells(source), [f'"{name}"' for name in NAMES], executemany=True)
    if (rows := hook.get_first("SELECT count(*) FROM inserted")[0]) != _rows(source):
        raise RuntimeError(f"{rows} rows were inserted")  # none, without a word, with commit_every=0
    return rows


def _to_sql(source: Path) -> object:
    import pandas as pd

    engine = Warehouse("", {}).hook.get_sqlalchemy_engine()
    return pd.read_csv(source, dtype=str).to_sql("framed", engine, index=False)


def _executemany(source: Path, target: Path) -> object:
    connection = sqlite3.connect(target)
    with connection:
        columns = ", ".join(f'"{name}" TEXT' for name in NAMES)
        connection.execute(f"CREATE TABLE {TABLE} ({columns})")
        marks = ", ".join("?" for _ in NAMES)
        connection.executemany(f"INSERT INTO {TABLE} VALUES ({marks})", _cells(source))  # noqa: S608 - our own names
    connection.close()
    return None
