"""A report's CSV into a table, each interval once, beside what one would do by hand."""

from __future__ import annotations

import csv
import logging
import os
import shutil
import sqlite3
import tempfile
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

from benchmarks.measuring import Comparison, Figures, command, compare, cost, fresh, peak_memory
from benchmarks.reports import NAMES, write_report
from tests.databases import Server, Warehouse, programs, running_postgres
from tests.landings import manifest_of

RUNS = 3
SIZE = 128 << 20
SMALL = 8 << 20  # for who sends each row by itself
UNITS = {"wall": "s", "cpu": "s", "memory": "MiB"}
TABLE = "activity"
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
        yield _sqlite(folder)


def _copied(server: Server, folder: Path) -> Comparison:
    source, rows = folder / "report.csv", folder / "rows.csv"
    write_report(source, SIZE)
    fresh(_measured, _land, source)
    _psql(server, f"\\copy {TABLE} TO '{rows}' (FORMAT csv)")

    def emptied() -> None:
        _psql(server, f"TRUNCATE {TABLE}, stripe_report_landings")
        _psql(server, "CHECKPOINT")

    def by_psql() -> Figures:
        emptied()
        return cost(lambda: _psql(server, f"\\copy {TABLE} FROM '{rows}' (FORMAT csv)"), children=True)

    def ours() -> Figures:
        emptied()
        return fresh(_measured, _land, source)

    def again() -> Figures:
        return fresh(_measured, _land, source)

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
    contenders = {name: partial(fresh, _measured, way, source) for name, way in everyone.items()}
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


def _land(source: Path, table: str = TABLE) -> object:
    from airflow_reportrun.landing.sql.loading import load

    with source.open("rb") as file:
        return load(Warehouse("", {}).hook, table, file, manifest_of("frr_1", _rows(source)))


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
    hook.run(f"DROP TABLE IF EXISTS inserted; CREATE TABLE inserted ({columns})")
    hook.insert_rows("inserted", _cells(source), [f'"{name}"' for name in NAMES], executemany=True)
    if (rows := hook.get_first("SELECT count(*) FROM inserted")[0]) != _rows(source):
        raise RuntimeError(f"{rows} rows were inserted")  # none, without a word, with commit_every=0
    return rows


def _to_sql(source: Path) -> object:
    import pandas as pd

    engine = Warehouse("", {}).hook.get_sqlalchemy_engine()
    return pd.read_csv(source, dtype=str).to_sql("framed", engine, if_exists="replace", index=False)


def _executemany(source: Path, target: Path) -> object:
    connection = sqlite3.connect(target)
    with connection:
        columns = ", ".join(f'"{name}" TEXT' for name in NAMES)
        connection.execute(f"CREATE TABLE {TABLE} ({columns})")
        marks = ", ".join("?" for _ in NAMES)
        connection.executemany(f"INSERT INTO {TABLE} VALUES ({marks})", _cells(source))  # noqa: S608 - our own names
    connection.close()
    return None
