"""Machines that lack what one takes for granted: room on a disk, a home, a database of time zones."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from contextlib import suppress
from pathlib import Path

import pytest

from airflow_reportrun.hooks import StripeReportingHook
from airflow_reportrun.landing.report import Landed, land_report
from airflow_reportrun.landing.stores import place_of
from airflow_reportrun.landing.tables import land_in
from airflow_reportrun.reporting.errors import ReportingError
from airflow_reportrun.reporting.models import ReportRun
from airflow_reportrun.reporting.parameters import ReportParameters
from airflow_reportrun.sandbox import AtOnce, StripeSandbox
from tests.icebergs import HAS_ITS_CATALOG, needs_its_catalog
from tests.test_landing_full_disk import disk_of

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parent.parent
TYPE = "balance_change_from_activity.itemized.3"
FILES = ("csv", "csv.gz", "parquet")
DATABASES = ("sqlite", "duckdb")
TABLES = (*DATABASES, pytest.param("iceberg", marks=needs_its_catalog), "delta")


@pytest.fixture(autouse=True)
def sandbox(stripe_conn: StripeSandbox) -> StripeSandbox:
    stripe_conn.configure(transition=AtOnce())
    return stripe_conn


def finished(day: int = 1, **options: object) -> ReportRun:
    start = 1714521600 + day * 86_400
    parameters = ReportParameters(interval_start=start, interval_end=start + 3 * 86_400, **options)  # type: ignore[arg-type]
    return StripeReportingHook().create_report_run(TYPE, parameters)


def land(run: ReportRun, kind: str, folder: Path) -> Landed:
    """Land a report below a folder in a way of landing."""
    hook = StripeReportingHook()
    if kind in FILES:
        return land_report(hook, run, place_of(f"{folder}/report.{kind}"), format=kind)
    if kind in DATABASES:
        from airflow_reportrun.landing.sql.report import DatabaseTable
        from airflow_reportrun.landing.sql.warehouse import warehouse_of

        os.environ["AIRFLOW_CONN_OF_DISK"] = json.dumps({"conn_type": kind, "host": f"{folder}/{kind}.db"})
        return land_in(hook, run, DatabaseTable(warehouse_of("of_disk", None), "activity"))
    from airflow_reportrun.landing.lakehouse.report import LakehouseTable

    if kind == "iceberg":
        from airflow_reportrun.landing.lakehouse.iceberg.catalogs import lakehouse_of
        from airflow_reportrun.landing.lakehouse.iceberg.table import IcebergTable

        return land_in(
            hook, run, LakehouseTable(IcebergTable(lakehouse_of(None, f"{folder}/{kind}"), "books.it"), hook)
        )
    from airflow_reportrun.landing.lakehouse.delta.storage import location_of
    from airflow_reportrun.landing.lakehouse.delta.table import DeltaLakeTable

    return land_in(hook, run, LakehouseTable(DeltaLakeTable(location_of(f"{folder}/{kind}")), hook))


# --- A full disk ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", TABLES)
def test_a_table_on_a_full_disk_keeps_what_it_has(tmp_path: Path, kind: str) -> None:
    """The error says so at once, and is one for a retry, which lands where there is room again."""
    with disk_of("8m", tmp_path / "disk") as disk:
        before = land(finished(1), kind, disk)
        with suppress(OSError), (disk / "filler").open("wb", buffering=0) as filler:
            while filler.write(bytes(4096)):
                pass
        run = finished(10)
        with pytest.raises(ReportingError, match=r"No space left on device|disk is full") as caught:
            land(run, kind, disk)
        assert caught.value.is_transient
        (disk / "filler").unlink()
        assert land(finished(1), kind, disk).manifest.rows == before.manifest.rows
        assert land(run, kind, disk).manifest.report_run_id == run.id


# --- No home, and no time zones ------------------------------------------------------------------------------


LANDS = """
import sys
from pathlib import Path

from airflow_reportrun.hooks import StripeReportingHook
from airflow_reportrun.reporting.errors import ConfigurationError
from tests.test_hostile_machines import land

run = StripeReportingHook().retrieve_report_run(sys.argv[1])
for kind in sys.argv[3:]:
    try:
        print(kind, land(run, kind, Path(sys.argv[2])).manifest.rows)
    except ConfigurationError as error:
        print(kind, error)
"""
KINDS = [*FILES, *DATABASES, *(["iceberg"] if HAS_ITS_CATALOG else []), "delta"]


def landed_elsewhere(run: ReportRun, folder: Path, *before: str, **environment: str) -> list[str]:
    """Land in each way in a process of its own, and return what came of it."""
    folder.mkdir(exist_ok=True)
    done = subprocess.run(
        [*before, sys.executable, "-c", LANDS, run.id, str(folder), *KINDS],
        env={**os.environ, "PYTHONPATH": str(ROOT), **environment},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    return [line for line in done.stdout.splitlines() if line.startswith(tuple(f"{kind} " for kind in KINDS))]


def test_a_home_that_is_not_there_is_not_needed(tmp_path: Path) -> None:
    """Nothing is written beside what was asked for, and what is kept in a home is not missed."""
    nowhere = dict.fromkeys(("HOME", "XDG_CACHE_HOME", "XDG_CONFIG_HOME"), "/proc/1/nowhere")
    assert landed_elsewhere(finished(), tmp_path / "lake", **nowhere) == [f"{kind} 523" for kind in KINDS]


def test_without_the_systems_time_zones_reports_in_utc_land(tmp_path: Path) -> None:
    """A slim container has Python's alone, which pyarrow does not read; for others the error says what to do."""
    hidden = ["unshare", "--mount", "sh", "-c", 'mount -t tmpfs tmpfs /usr/share/zoneinfo && exec "$@"', "sh"]
    try:
        if subprocess.run([*hidden, "true"], capture_output=True).returncode:
            pytest.skip("nothing may be mounted here")
    except OSError as error:
        pytest.skip(f"unshare: {error}")
    assert landed_elsewhere(finished(), tmp_path / "utc", *hidden) == [f"{kind} 523" for kind in KINDS]
    for line in landed_elsewhere(finished(timezone="Europe/Berlin"), tmp_path / "berlin", *hidden):
        is_text = line.startswith("csv")
        assert line.endswith(" 523" if is_text else " as by apt-get install tzdata."), line
