"""A report's CSV to typed Parquet, beside what one would write by hand with pyarrow, DuckDB or polars."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from importlib import import_module
from pathlib import Path
from typing import Any

from benchmarks import downloads
from benchmarks.downloads import once
from benchmarks.measuring import Comparison, Figures, compare, cost, fresh, peak_memory, serving
from benchmarks.reports import NAMES, TYPES, write_report
from benchmarks.servers import Stripe, file_server

RUNS = 3
SIZE, HUGE = 512 << 20, 2 << 30
UNITS = {"cpu": "s", "wall": "s", "memory": "MiB", "file": "MiB"}
CHUNK_SIZE = 1 << 20
LINK_RATE = 50_000_000  # bytes a second

Converter = Callable[[Path, Path], object]


def run() -> Iterator[Comparison]:
    """Measure a conversion from the disk and as part of a landing, and a landing behind a link."""
    with _report(SIZE) as (source, target):
        yield _beside_others(source, target, SIZE, runs=RUNS)
        yield _behind_a_link(source, target)


def run_huge() -> Iterator[Comparison]:
    """Measure whether memory stays what it was where the report is larger."""
    with _report(HUGE) as (source, target):
        yield _beside_others(source, target, HUGE, runs=1)


@contextmanager
def _report(size: int) -> Iterator[tuple[Path, Path]]:
    """Write a report of a size; the second path is that of a file to come, in the temporary folder."""
    with tempfile.TemporaryDirectory() as name:
        source, target = Path(name) / "source.csv", Path(name) / "target.parquet"
        write_report(source, size)
        yield source, target


def _beside_others(source: Path, target: Path, size: int, *, runs: int) -> Comparison:
    everyone: dict[str, tuple[str, Converter]] = {
        "pyarrow by hand, 1 MiB blocks": ("pyarrow.parquet", by_pyarrow),
        "DuckDB by hand": ("duckdb", by_duckdb),
        "polars by hand": ("polars", by_polars),
        "ours, the conversion alone": ("airflow_reportrun.landing.formats.parquet", ours),
    }
    contenders: dict[str, Callable[[], Figures]] = {
        name: partial(fresh, _measured, library, converter, source, target)
        for name, (library, converter) in everyone.items()
    }
    note = (
        "Memory is the process's peak. What is landed comes by HTTP, is checked and synced; others read the disk. "
        "By hand DuckDB and polars round money, and DuckDB loses the empty text."
    )
    with serving(file_server, source) as server:
        server.facts.connect()
        contenders["ours, landed"] = partial(fresh, _landed, server.facts, target, "parquet")
        return compare(f"parquet, {size >> 20} MiB", UNITS, contenders, runs=runs, note=note)


def _measured(library: str, converter: Converter, source: Path, target: Path) -> Figures:
    import_module(library)
    import_module("pandas")  # which pyarrow loads when it is first used, where it finds it
    figures = cost(lambda: converter(source, target))
    return {**figures, "memory": peak_memory(), "file": target.stat().st_size / (1 << 20)}


def _landed(stripe: Stripe, target: Path, format: str) -> Figures:
    import_module("pandas")
    figures = once(partial(downloads.ours, format=format), stripe, target)
    return {**figures, "memory": peak_memory(), "file": target.stat().st_size / (1 << 20)}


def ours(source: Path, target: Path) -> object:
    """Convert as a landing does."""
    from airflow_reportrun.landing.formats.parquet import write_parquet

    with target.open("wb") as file:
        return write_parquet(_chunks(source), file)


def _chunks(source: Path) -> Iterator[bytes]:
    with source.open("rb") as file:
        while chunk := file.read(CHUNK_SIZE):
            yield chunk


def by_pyarrow(source: Path, target: Path) -> object:
    """Stream batches, as pyarrow's documentation does it."""
    import pyarrow as pa
    import pyarrow.csv
    import pyarrow.parquet

    known = {"money": pa.decimal128(38, 2), "timestamp": pa.timestamp("s"), "boolean": pa.bool_()}
    types = {name: known[TYPES[name]] if name in TYPES else pa.string() for name in NAMES}
    reader = pyarrow.csv.open_csv(
        source,
        pyarrow.csv.ReadOptions(block_size=1 << 20),
        pyarrow.csv.ParseOptions(newlines_in_values=True),
        pyarrow.csv.ConvertOptions(
            column_types=types, null_values=[""], strings_can_be_null=True, quoted_strings_can_be_null=False
        ),
    )
    with pyarrow.parquet.ParquetWriter(target, reader.schema) as writer:
        for batch in reader:
            writer.write_batch(batch)
    return None


def by_duckdb(source: Path, target: Path) -> object:
    """Copy, in one statement."""
    import duckdb

    known = {"money": "DECIMAL(38, 2)", "timestamp": "TIMESTAMP", "boolean": "BOOLEAN"}
    types = ", ".join(f"'{name}': '{known[TYPES[name]] if name in TYPES else 'VARCHAR'}'" for name in NAMES)
    csv = f"read_csv('{source}', header = true, quote = '\"', escape = '\"', columns = {{{types}}})"
    duckdb.execute("SET enable_progress_bar = false")
    return duckdb.execute(f"COPY (SELECT * FROM {csv}) TO '{target}' (FORMAT parquet)")  # noqa: S608 - our own names


def by_polars(source: Path, target: Path) -> object:
    """Scan and sink, in one expression."""
    import polars as pl

    known: dict[str, Any] = {"money": pl.Decimal(38, 2), "timestamp": pl.Datetime("us"), "boolean": pl.Boolean}
    schema = {name: known[TYPES[name]] if name in TYPES else pl.String for name in NAMES}
    return pl.scan_csv(source, schema=schema).sink_parquet(target)


def _behind_a_link(source: Path, target: Path) -> Comparison:
    with serving(file_server, source, rate=LINK_RATE) as server:
        server.facts.connect()
        contenders: dict[str, Callable[[], Figures]] = {
            "curl -o": partial(cost, partial(downloads.curl, server.facts, target), children=True),
            "ours, CSV": partial(fresh, _landed, server.facts, target.with_suffix(".csv"), "csv"),
            "ours, Parquet": partial(fresh, _landed, server.facts, target, "parquet"),
        }
        title = f"landing, {SIZE >> 20} MiB behind a link of {LINK_RATE // 1_000_000} MB/s"
        return compare(title, UNITS, contenders, runs=RUNS)
