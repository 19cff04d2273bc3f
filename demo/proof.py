"""What backfills left behind, held against what should be there: by SQL, over the files and over the tables."""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import duckdb
from pyiceberg.catalog import load_catalog

from airflow_reportrun.hooks import StripeReportingHook
from airflow_reportrun.landing.lake import manifest_of
from airflow_reportrun.landing.lakehouse.facts import Facts
from airflow_reportrun.landing.manifest import Manifest
from airflow_reportrun.landing.report import land_report
from airflow_reportrun.landing.rows import OURS
from airflow_reportrun.landing.stores import place_of
from airflow_reportrun.reporting.models import ReportRun
from airflow_reportrun.reporting.parameters import ReportParameters
from airflow_reportrun.waiting.goals import ReportRunEnds
from airflow_reportrun.waiting.loop import wait
from airflow_reportrun.waiting.pace import Watch

DAY = int(timedelta(days=1).total_seconds())
TABLE = "stripe_activity"
ICEBERG_TABLE = f"books.{TABLE}"

TOTALS = "SELECT currency, count(*), {sum}(gross), {sum}(fee), {sum}(net) FROM {rows} GROUP BY currency ORDER BY 1"
"""Per currency; what a finance team would look at first."""

DIFFERENT = """
SELECT count(*) FROM (
  (SELECT * FROM {days} EXCEPT ALL SELECT * FROM {whole})
  UNION ALL
  (SELECT * FROM {whole} EXCEPT ALL SELECT * FROM {days})
)
"""

Totals = list[tuple[Any, ...]]


@dataclass(frozen=True)
class Landings:
    """Where the DAG lands its days.

    :param lake: folder of Parquet files.
    :param warehouse: SQLite database.
    :param lakehouse: folder of the Iceberg table, with a catalog in it.
    """

    lake: Path
    warehouse: Path
    lakehouse: Path

    def files(self) -> dict[int, tuple[Path, Manifest]]:
        """Return file and manifest of each landed interval, by its start in epoch seconds."""
        found = {}
        for path in self.lake.rglob("*.parquet"):
            if told := manifest_of(place_of(str(path))).read():
                manifest = Manifest.from_json(told)
                if not manifest.landing:
                    found[manifest.subject.interval_start or 0] = path, manifest
        return dict(sorted(found.items()))

    def tables(self) -> dict[int, Manifest]:
        """Return the manifest of each interval in the table, by its start in epoch seconds."""
        with sqlite3.connect(self.warehouse) as database:
            rows = database.execute("SELECT manifest FROM stripe_report_landings")
            manifests = [Manifest.from_json(text) for (text,) in rows]
        return _by_start(manifests)

    def iceberg(self) -> Any:
        """Return the Iceberg table, as pyiceberg finds it."""
        catalog = load_catalog(
            "reportrun",
            type="sql",
            uri=f"sqlite:///{self.lakehouse}/catalog.db",
            warehouse=f"file://{self.lakehouse}",
        )
        return catalog.load_table(ICEBERG_TABLE)

    def told(self) -> dict[int, Manifest]:
        """Return the manifest of each interval in the Iceberg table, by its start in epoch seconds."""
        return _by_start(it.manifest for _, it in Facts(self.iceberg().properties).all())

    def state(self, start: int) -> tuple[Any, ...]:
        """Return what a change of an interval's file or figures would change."""
        path, _ = self.files()[start]
        with sqlite3.connect(self.warehouse) as database:
            found = database.execute(f"SELECT * FROM {TABLE} WHERE _interval_start = ?", [_iso(start)])  # noqa: S608
            figures = [number for number, column in enumerate(found.description) if not column[0].startswith("_")]
            rows = sorted(repr([row[number] for number in figures]) for row in found)
        in_iceberg = self._iceberg_files(_begins_at(start))
        return path.stat().st_ino, path.stat().st_mtime_ns, rows, in_iceberg

    def spoil(self, start: int) -> None:
        """Break the file of an interval, and lose rows of it in the tables."""
        path, _ = self.files()[start]
        path.write_bytes(path.read_bytes()[:100])
        with sqlite3.connect(self.warehouse) as database:
            database.execute(
                f"DELETE FROM {TABLE} WHERE _interval_start = ? AND rowid % 2",  # noqa: S608
                [_iso(start)],
            )
        self.iceberg().delete(f"{_begins_at(start)} and net > 0")

    def lake_totals(self, *files: Path) -> Totals:
        """Add up Parquet files, all that are landed by default."""
        return _duckdb(TOTALS.format(sum="sum", rows=_parquet(files or self._paths())))

    def iceberg_totals(self) -> Totals:
        """Add up the files of the Iceberg table's current snapshot."""
        return _duckdb(TOTALS.format(sum="sum", rows=_parquet(self._iceberg_files())))

    def rows_apart(self, whole: Path) -> int:
        """Count the rows that the days have and one report over all of them lacks, and the other way round."""
        rows = f"SELECT * EXCLUDE ({', '.join(OURS)}) FROM {_parquet(self._iceberg_files())}"  # noqa: S608
        places = _parquet(self._paths()), f"({rows})"
        return sum(_duckdb(DIFFERENT.format(days=it, whole=_parquet([whole])))[0][0] for it in places)

    def _iceberg_files(self, row_filter: str = "true") -> list[Path]:
        planned = self.iceberg().scan(row_filter=row_filter).plan_files()
        return sorted(Path(it.file.file_path.removeprefix("file://")) for it in planned)

    def _paths(self) -> list[Path]:
        return [path for path, _ in self.files().values()]

    def warehouse_totals(self) -> Totals:
        """Add up the table; SQLite has no exact decimals, so that the sum is one of ours over text."""
        with sqlite3.connect(self.warehouse) as database:
            database.create_aggregate("exact_sum", 1, _ExactSum)  # type: ignore[arg-type]
            rows = database.execute(TOTALS.format(sum="exact_sum", rows=TABLE)).fetchall()
        return [(currency, count, *map(Decimal, sums)) for currency, count, *sums in rows]


class _ExactSum:
    def __init__(self) -> None:
        self.total = Decimal(0)

    def step(self, text: str | None) -> None:
        self.total += Decimal(text or 0)

    def finalize(self) -> str:
        return str(self.total)


def prove(
    hook: StripeReportingHook,
    landings: Landings,
    report_type: str,
    first: datetime,
    days: int,
    *,
    since: int,
    created: int,
    whole: Path,
) -> list[str]:
    """Print the tables and the proof; return what is not as it should be.

    :param hook: asks Stripe what it knows of the report runs.
    :param landings: what the tasks left.
    :param report_type: what they asked for.
    :param first: midnight that the first day begins at, UTC.
    :param days: how many days there should be.
    :param since: epoch seconds before which report runs are not of this demo.
    :param created: how many report runs there should be.
    :param whole: Parquet file of one report over all days; see :func:`land_whole`.
    """
    begin = int(first.timestamp())
    wanted = [begin + day * DAY for day in range(days)]
    files, tables, iceberg = landings.files(), landings.tables(), landings.told()
    runs = [
        run.id
        for run in hook.list_report_runs(created={"gte": since})
        if run.report_type == report_type
        and run.parameters["interval_start"] in wanted
        and run.parameters["interval_end"] - run.parameters["interval_start"] == DAY
    ]
    print(f"\n{'interval':10}  {'report run':28}  {'rows':>5}  {'sha256':12}  file")
    for start, (path, manifest) in files.items():
        told = f"{manifest.report_run_id:28}  {manifest.rows:5}  {manifest.file_sha256[:12]}"
        print(f"{datetime.fromtimestamp(start, UTC):%Y-%m-%d}  {told}  {path.relative_to(landings.lake)}")

    problems = []
    if any(list(landed) != wanted for landed in (files, tables, iceberg)):
        problems.append("some interval is missing, or one too many is there")
    if len(runs) != created:
        problems.append(f"{len(runs)} report runs were created, and not {created}")
    of_files = {start: manifest for start, (_, manifest) in files.items()}
    if not _runs(of_files) == _runs(tables) == _runs(iceberg):
        problems.append("lake, warehouse and Iceberg table are not of the same report runs")
    for path, manifest in files.values():
        if not place_of(str(path)).has(manifest.size, manifest.sha256, None):
            problems.append(f"{path} is not the file that was landed")
    if problems:
        return problems

    totals = {
        "one report": landings.lake_totals(whole),
        "the lake (DuckDB)": landings.lake_totals(),
        "the warehouse (SQLite)": landings.warehouse_totals(),
        "the Iceberg table": landings.iceberg_totals(),
    }
    print(f"\n{'':22}  {'currency':8}  {'rows':>6}  {'gross':>14}  {'fee':>12}  {'net':>14}")
    for name, lines in totals.items():
        for currency, count, *sums in lines:
            gross, fee, net = map(_shown, sums)
            print(f"{name:22}  {currency:8}  {count:6}  {gross:14}  {fee:12}  {net:14}")
    print(f"\nintervals {days}, landed {len(files)}, report runs created {len(runs)}")
    if len({tuple(lines) for lines in totals.values()}) != 1:
        problems.append("the days do not add up to the report over all of them")
    if apart := landings.rows_apart(whole):
        problems.append(f"{apart} rows of the days differ from the report over all of them")
    return problems


def _by_start(manifests: Iterable[Manifest]) -> dict[int, Manifest]:
    found = {manifest.subject.interval_start or 0: manifest for manifest in manifests}
    return dict(sorted(found.items()))


def _runs(landed: Mapping[int, Manifest]) -> dict[int, str]:
    return {start: manifest.report_run_id for start, manifest in landed.items()}


def _shown(amount: Decimal) -> Decimal:
    """Leave out zeros behind the cents, such as those of the six places that money has in Parquet."""
    cents = amount.quantize(Decimal("0.01"))
    return cents if cents == amount else amount


def create_whole(hook: StripeReportingHook, report_type: str, first: datetime, days: int) -> ReportRun:
    """Ask for one report over all days."""
    begin = int(first.timestamp())
    return hook.create_report_run(
        report_type, ReportParameters(interval_start=begin, interval_end=begin + days * DAY)
    )


def land_whole(hook: StripeReportingHook, run: ReportRun, path: Path) -> None:
    """Land the report over all days as Parquet, when it is there."""
    event = wait(hook, ReportRunEnds(run.id), Watch(run.created, time.time() + 3600, 2))
    if event.outcome != "succeeded":
        raise SystemExit(f"The report over all days: {event.message}")
    land_report(hook, hook.retrieve_report_run(run.id), place_of(str(path)), format="parquet")


def _parquet(files: Iterable[Path]) -> str:
    names = ", ".join("'{}'".format(str(file).replace("'", "''")) for file in files)
    return f"read_parquet([{names}], hive_partitioning=false, union_by_name=true)"


def _duckdb(query: str) -> Totals:
    with duckdb.connect() as database:
        return database.execute(query).fetchall()


def _iso(seconds: int) -> str:
    return f"{datetime.fromtimestamp(seconds, UTC):%Y-%m-%dT%H:%M:%SZ}"


def _begins_at(seconds: int) -> str:
    return f"_interval_start == '{datetime.fromtimestamp(seconds, UTC).isoformat()}'"
