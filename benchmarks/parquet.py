"""A report's CSV to typed Parquet, beside what one would write by hand with pyarrow, DuckDB or polars."""

from __future__ import annotations

import random
import socket
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from benchmarks.measuring import Comparison, Figures, compare, cost, fresh, peak_memory, serving
from benchmarks.servers import HOST

RUNS = 3
SIZES = (64 << 20, 512 << 20)
OURS = "airflow_reportrun.landing.parquet"
UNITS = {"cpu": "s", "wall": "s", "memory": "MiB", "file": "MiB"}
CHUNK_SIZE = 1 << 20
LINK_RATE = 50_000_000  # bytes a second

TYPES = {
    **dict.fromkeys(("gross", "fee", "net", "customer_facing_amount"), "money"),
    **dict.fromkeys(("created", "available_on", "charge_created", "created_utc"), "timestamp"),
    "is_link": "boolean",
    "automatic_payout_effective_at": "timestamp",
}
TEXTS = (
    *(
        "balance_transaction_id",
        "currency",
        "reporting_category",
        "description",
        "customer_name",
        "customer_email",
    ),
    *("charge_id", "card_brand", "payment_metadata[order_id]", "invoice_number"),
)
NAMES = (*TEXTS, *TYPES)

Converter = Callable[[Path, Path], object]


def run() -> Iterator[Comparison]:
    """Measure two sizes from the disk, and the larger one behind a link."""
    for size in SIZES:
        with tempfile.TemporaryDirectory() as name:
            source, target = Path(name) / "source.csv", Path(name) / "target.parquet"
            write_report(source, size)
            yield _from_disk(source, target, size)
            if size == SIZES[-1]:
                yield _behind_a_link(source, target, size)


def write_report(path: Path, size: int) -> None:
    """Write twenty columns, ``size`` bytes or a little more; rows differ, and some cells are null."""
    chance = random.Random(1)  # noqa: S311 - a seed, so that each run has the same bytes
    with path.open("w", encoding="utf-8") as file:
        file.write(",".join(f'"{name}"' for name in NAMES) + "\n")
        while file.tell() < size:
            file.writelines(_line(chance) for _ in range(1000))


def _line(chance: random.Random) -> str:
    second = chance.randrange(86_400 * 28)
    day, rest = divmod(second, 86_400)
    time_of_day = f"{rest // 3600:02}:{rest // 60 % 60:02}:{rest % 60:02}"
    created, at_midnight = f"2024-05-{day + 1:02} {time_of_day}", f"2024-05-{day + 1:02} 00:00:00"
    gross, fee, who = chance.randrange(-100_000, 9_000_000), chance.randrange(90_000), chance.randrange(100_000)
    token = f"{chance.getrandbits(96):024x}"
    description = f'"Order {token[:6]}: Espresso, ""large"""' if second % 3 else ""
    order = f'"{who % 977}"' if who % 2 else ""
    cents = [
        f'"{"-" * (value < 0)}{abs(value) // 100}.{abs(value) % 100:02}"' for value in (gross, fee, gross - fee)
    ]
    return (
        f'"txn_{token}","usd","{"charge" if gross > 0 else "refund"}",{description},"Zoë Müller {who}",'
        f'"{who}@example.com","ch_{token}","visa",{order},,'
        f'{",".join(cents)},{cents[0]},"{created}","{at_midnight}","{created}","{created}","false","{at_midnight}"\n'
    )


def _from_disk(source: Path, target: Path, size: int) -> Comparison:
    everyone: dict[str, tuple[str, Converter]] = {
        "pyarrow by hand, 1 MiB blocks": ("pyarrow.parquet", by_pyarrow),
        "ours": (OURS, ours),
        "DuckDB by hand": ("duckdb", by_duckdb),
        "polars by hand": ("polars", by_polars),
    }
    contenders: dict[str, Callable[[], Figures]] = {
        name: partial(fresh, _measured, library, converter, source, target)
        for name, (library, converter) in everyone.items()
        if find_spec(library.partition(".")[0])
    }
    absent = [name for name in everyone if name not in contenders]
    note = "Memory is the process's peak. By hand DuckDB and polars round money, and DuckDB loses the empty text."
    if absent:
        note += f" Not installed: {', '.join(absent)}."
    return compare(f"parquet, {size >> 20} MiB from the disk", UNITS, contenders, runs=RUNS, note=note)


def _measured(library: str, converter: Converter, source: Path, target: Path) -> Figures:
    import_module(library)
    figures = cost(lambda: converter(source, target))
    return {**figures, "memory": peak_memory(), "file": target.stat().st_size / (1 << 20)}


def ours(source: Path, target: Path) -> object:
    """Convert as a landing does."""
    return _convert(_chunks(source), target)


def _convert(chunks: Iterator[bytes], target: Path) -> object:
    from airflow_reportrun.landing.parquet import write_parquet

    with target.open("wb") as file:
        return write_parquet(chunks, file)


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
    return duckdb.execute(f"COPY (SELECT * FROM {csv}) TO '{target}' (FORMAT parquet)")  # noqa: S608 - our own names


def by_polars(source: Path, target: Path) -> object:
    """Scan and sink, in one expression."""
    import polars as pl

    known: dict[str, Any] = {"money": pl.Decimal(38, 2), "timestamp": pl.Datetime("us"), "boolean": pl.Boolean}
    schema = {name: known[TYPES[name]] if name in TYPES else pl.String for name in NAMES}
    return pl.scan_csv(source, schema=schema).sink_parquet(target)


def _behind_a_link(source: Path, target: Path, size: int) -> Comparison:
    with serving(link, source) as server:
        contenders: dict[str, Callable[[], Figures]] = {
            "download alone": partial(fresh, _measured, OURS, partial(_download, server.facts), source, target),
            "converted meanwhile": partial(
                fresh, _measured, OURS, partial(_meanwhile, server.facts), source, target
            ),
        }
        title = f"parquet, {size >> 20} MiB behind a link of {LINK_RATE // 1_000_000} MB/s"
        return compare(title, UNITS, contenders, runs=RUNS)


def _download(port: int, source: Path, target: Path) -> object:
    with target.open("wb") as file:
        file.writelines(_received(port))
    return None


def _meanwhile(port: int, source: Path, target: Path) -> object:
    return _convert(_received(port), target)


def _received(port: int) -> Iterator[bytes]:
    with socket.create_connection((HOST, port), timeout=60) as connection:
        while chunk := connection.recv(CHUNK_SIZE):
            yield chunk


@contextmanager
def link(source: Path) -> Iterator[int]:
    """Send a file to whoever connects to the port, never faster than the rate: what a pause lost stays lost."""

    def serve() -> None:
        while True:
            connection, _ = listener.accept()
            with connection:
                free_at = time.monotonic()
                for chunk in _pieces(source):
                    free_at = max(free_at, time.monotonic() - 0.001) + len(chunk) / LINK_RATE
                    connection.sendall(chunk)
                    time.sleep(max(0.0, free_at - time.monotonic()))

    with socket.create_server((HOST, 0)) as listener:
        threading.Thread(target=serve, daemon=True).start()
        yield listener.getsockname()[1]


def _pieces(source: Path) -> Iterator[bytes]:
    with source.open("rb") as file:
        while piece := file.read(128 << 10):
            yield piece
