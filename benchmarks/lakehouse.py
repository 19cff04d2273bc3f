"""A report's CSV into an Iceberg and a Delta table, beside the libraries' own overwrite of the same rows."""

from __future__ import annotations

import itertools
import logging
import shutil
import tempfile
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any

from benchmarks.measuring import Comparison, Figures, compare, cost, fresh, peak_memory
from benchmarks.reports import write_report
from tests.deltas import Ledger
from tests.icebergs import Books
from tests.landings import day, manifest_of

RUNS = 3
SIZE = 512 << 20
LANDED = (10, 1_000)
MORE = 5  # days that are restated
UNITS = {"wall": "s", "cpu": "s", "memory": "MiB", "files": "MiB"}
NOTE = (
    "Ours converts and checks the CSV; the library has the same rows in memory, as one table, and compresses as "
    "it does by default."
)


def run() -> Iterator[Comparison]:
    """Measure a large report, and a day that is restated beside few and many, in tables of both formats."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        source, cells = folder / "report.csv", folder / "cells.arrow"
        write_report(source, SIZE)
        fresh(_convert, source, cells)
        tables = {"Iceberg": (_books, _overwrite_iceberg), "Delta": (_ledger, _overwrite_delta)}
        for name, (table, overwrite) in tables.items():
            ways = {
                "the library's overwrite": partial(_one, folder / name, overwrite, cells),
                "ours": partial(_one, folder / name, partial(_land, table), source),
            }
            yield compare(f"{name}, {SIZE >> 20} MiB", UNITS, ways, runs=RUNS, note=NOTE)
        for name, (table, _) in tables.items():
            for count in LANDED:
                fresh(_fill, table, folder / f"{name}-{count}", count)
            more = {
                f"{whose}, beside {count:,} days": partial(
                    _again, restate, table, folder / f"{name}-{count}", count, itertools.count()
                )
                for whose, restate in {"ours": _restate, "the library's overwrite": _restate_by_library}.items()
                for count in LANDED
            }
            yield compare(f"{name}, a day of one row restated", {"wall": "ms", "cpu": "ms"}, more, runs=MORE)


def _books(folder: Path) -> Any:
    folder.mkdir(exist_ok=True)
    return Books(folder)


def _ledger(folder: Path) -> Any:
    return Ledger(str(folder))


def _one(folder: Path, way: Callable[[Path, Path], object], given: Path) -> Figures:
    shutil.rmtree(folder, ignore_errors=True)
    return fresh(_measured, way, folder, given)


def _measured(way: Callable[[Path, Path], object], folder: Path, given: Path) -> Figures:
    _loaded()
    figures = cost(lambda: way(folder, given))
    files = sum(it.stat().st_size for it in folder.rglob("*.parquet")) / (1 << 20)
    return {**figures, "memory": peak_memory(), "files": files}


def _loaded() -> None:
    """Import what there is to import, which is no part of this."""
    logging.disable()  # the table is what to look at
    import deltalake  # noqa: F401
    import pyiceberg.table  # noqa: F401

    import airflow_reportrun.landing.lakehouse.delta.table
    import airflow_reportrun.landing.lakehouse.iceberg.table  # noqa: F401


def _land(table: Callable[[Path], Any], folder: Path, source: Path) -> object:
    from airflow_reportrun.landing.lakehouse.loading import load

    it = table(folder).table()
    with it.errors(), source.open("rb") as file:
        return load(it, file, manifest_of("frr_1", int(source.with_suffix(".rows").read_text())))


def _convert(source: Path, cells: Path) -> None:
    """Keep what a landing makes of the CSV, for the libraries, and how many rows it has."""
    import pyarrow as pa

    from airflow_reportrun.landing.formats.columns import columns_of
    from airflow_reportrun.landing.lakehouse.layout import layout_of, tables_of
    from airflow_reportrun.landing.spool import header_of

    with source.open("rb") as file:
        layout = layout_of(columns_of(header_of(file), None, ""), None, "cells")
        tables = list(tables_of(file, layout, manifest_of("frr_1", 0), None, "Etc/UTC", "."))
    whole = pa.concat_tables(tables)
    source.with_suffix(".rows").write_text(f"{whole.num_rows}")
    with pa.OSFile(str(cells), "wb") as out, pa.ipc.new_file(out, whole.schema) as writer:
        writer.write_table(whole)


def _read(cells: Path) -> Any:
    import pyarrow as pa

    return pa.ipc.open_file(pa.OSFile(str(cells))).read_all()


def _overwrite_iceberg(folder: Path, cells: Path) -> None:
    from pyiceberg.catalog.sql import SqlCatalog

    folder.mkdir()
    rows = _read(cells)
    catalog = SqlCatalog("c", uri=f"sqlite:///{folder}/catalog.db", warehouse=f"file://{folder}")
    catalog.create_namespace("books")
    table = catalog.create_table("books.activity", rows.schema)
    start = rows["_interval_start"][0].as_py()
    table.overwrite(rows, overwrite_filter=f"_interval_start == '{start.isoformat()}'")


def _overwrite_delta(folder: Path, cells: Path) -> None:
    from deltalake import write_deltalake

    rows = _read(cells)
    write_deltalake(folder, rows.slice(0, 0))
    start = rows["_interval_start"][0].as_py()
    write_deltalake(folder, rows, mode="overwrite", predicate=f"_interval_start = '{start:%FT%TZ}'")


def _fill(table: Callable[[Path], Any], folder: Path, count: int) -> None:
    _loaded()
    for number in range(count):
        table(folder).land(["net"], [["1.00"]], f"frr_{number}", start=day(number), end=day(number + 1))


def _again(
    restate: Callable[..., Figures], table: Callable[[Path], Any], folder: Path, count: int, runs: Iterator[int]
) -> Figures:
    return fresh(restate, table, folder, count, next(runs))


def _restate(table: Callable[[Path], Any], folder: Path, count: int, run: int) -> Figures:
    """Land other figures each time: the same again would change nothing."""
    _loaded()
    about = {"start": day(count // 2), "end": day(count // 2 + 1)}
    run_id = f"frr_{count + run}"
    table(folder).landed(run_id, **about)  # what there is to import at the first use
    taken = cost(lambda: table(folder).land(["net"], [[f"{run + 2}.00"]], run_id, **about))
    return {name: taken[name] * 1e3 for name in ("wall", "cpu")}


def _restate_by_library(table: Callable[[Path], Any], folder: Path, count: int, run: int) -> Figures:
    """Put the day's rows in their own place; what is not timed reads them."""
    _loaded()
    start = datetime.fromtimestamp(day(count // 2), UTC)
    native = table(folder).native()
    if isinstance(table(folder), Books):
        day_of = f"_interval_start == '{start.isoformat()}'"
        rows = native.scan(row_filter=day_of).to_arrow()
        taken = cost(lambda: table(folder).native().overwrite(rows, overwrite_filter=day_of))
    else:
        from deltalake import write_deltalake

        rows = native.to_pyarrow_table(filters=[("_interval_start", "=", start)])
        day_of = f"_interval_start = '{start:%FT%TZ}'"
        taken = cost(lambda: write_deltalake(table(folder).native(), rows, mode="overwrite", predicate=day_of))
    if rows.num_rows != 1:
        raise SystemExit(f"{rows.num_rows} rows are of {start:%F}.")
    return {name: taken[name] * 1e3 for name in ("wall", "cpu")}
