"""``make bench``: run the subjects, print their tables and write ``build/bench.json``."""

from __future__ import annotations

import argparse
import json
import os
import platform
import shutil
import subprocess
from collections.abc import Callable, Iterator
from functools import partial
from importlib import metadata
from pathlib import Path

from benchmarks import calls, coverage, downloads, imports, parquet, sandbox, waiting
from benchmarks.measuring import Comparison, Record


def _sql() -> Iterator[Comparison]:
    # It has all of Airflow loaded. Each process that measures begins with what this module loads.
    from benchmarks import sql

    return sql.run()


def _lakehouse() -> Iterator[Comparison]:
    from benchmarks import lakehouse  # likewise

    return lakehouse.run()


def _live(what: str) -> Iterator[Comparison]:
    from benchmarks import triggerer  # with requests and the sandbox

    runs = {
        "waiting": triggerer.run_waiting,
        "restart": triggerer.run_restart,
        "backfill": triggerer.run_backfill,
    }
    return runs[what]()


SUBJECTS = {
    "imports": imports.run,
    "calls": calls.run,
    "coverage": coverage.run,
    "downloads": downloads.run,
    "parquet": parquet.run,
    "sandbox": sandbox.run,
    "sql": _sql,
    "waiting": waiting.run,
}
LONG: dict[str, Callable[[], Iterator[Comparison]]] = {
    "downloads-huge": downloads.run_huge,
    "parquet-huge": parquet.run_huge,
    "lakehouse": _lakehouse,
    "live-waiting": partial(_live, "waiting"),
    "live-restart": partial(_live, "restart"),
    "live-backfill": partial(_live, "backfill"),
    "waiting-huge": waiting.run_huge,
}
"""Subjects that are measured only where they are named."""

RECORDS = Path(__file__).parent.parent / "build" / "bench.json"
PACKAGES = (
    *("apache-airflow", "apache-airflow-providers-http", "apache-airflow-providers-dbt-cloud"),
    *("requests", "aiohttp"),
    *("stripe", "starlette", "uvicorn", "uvloop", "h11"),
    *("pyarrow", "duckdb", "polars", "pandas", "SQLAlchemy", "psycopg"),
)


def main() -> None:
    """Run the subjects named, or all; the file keeps what it has of others."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument(
        "subjects", nargs="*", metavar="subject", help=f"of {', '.join(SUBJECTS)} (all if none), {', '.join(LONG)}"
    )
    chosen = parser.parse_args().subjects or list(SUBJECTS)
    if unknown := set(chosen) - set(SUBJECTS | LONG):
        parser.error(f"no such subject: {', '.join(sorted(unknown))}")
    # Airflow users run with byte code; without it each fresh process would compile everything again.
    os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
    os.environ["AIRFLOW__LOGGING__LOGGING_LEVEL"] = "ERROR"  # hooks say more than the tables
    print(_machine())
    for subject in chosen:
        records: list[Record] = []
        for comparison in (SUBJECTS | LONG)[subject]():
            print(f"\n{comparison.table()}", flush=True)
            records += comparison.records()
        _keep(subject, records)
        print(f"\n{len(records)} figures of {subject} are in {RECORDS}", flush=True)


def _keep(subject: str, records: list[Record]) -> None:
    """Put a subject's records in the file, in the place of those that it has of it."""
    kept = json.loads(RECORDS.read_text()) if RECORDS.exists() else []
    others = [it for it in kept if it.get("subject", subject) != subject]
    RECORDS.parent.mkdir(exist_ok=True)
    whole = RECORDS.with_suffix(".partial")
    whole.write_text(json.dumps([*others, *({"subject": subject, **it} for it in records)], indent=2) + "\n")
    whole.replace(RECORDS)


def _machine() -> str:
    installed = {distribution.name: distribution.version for distribution in metadata.distributions()}
    versions = [f"{name} {installed.get(name, 'not installed')}" for name in PACKAGES]
    found = shutil.which("curl")
    curl = (
        subprocess.run([found, "--version"], capture_output=True, text=True, check=True).stdout if found else "-"
    )
    return "\n".join(
        (
            f"{os.cpu_count()} cores, {platform.platform()}, load {os.getloadavg()[0]:.1f}",
            f"Python {platform.python_version()}, {', '.join(versions)}",
            " ".join(curl.split()[:4]),
        )
    )


if __name__ == "__main__":  # children that are spawned import this module again
    main()
