"""What DuckDB alone does: its file is open to one process, and its types are stricter than they look."""

from __future__ import annotations

import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
import sqlalchemy as sa
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from airflow_reportrun.coverage.table import Table
from airflow_reportrun.landing.sql import loading
from airflow_reportrun.landing.sql.databases import general, open_database
from airflow_reportrun.landing.sql.layout import landings_table
from airflow_reportrun.landing.sql.loading import landed
from airflow_reportrun.landing.sql.report import database_errors
from airflow_reportrun.landing.sql.warehouse import dataset_of, what_to_install
from airflow_reportrun.reporting.errors import (
    ConfigurationError,
    ContentsError,
    LandingConflictError,
    StoreError,
)
from tests.databases import Warehouse
from tests.landings import day, land, manifest_of
from tests.until import until

HOLDS = """
import duckdb, sys
connection = duckdb.connect(sys.argv[1], read_only=sys.argv[2] == "reads")
print(connection.execute("SELECT count(*) FROM activity").fetchall(), flush=True)
sys.stdin.read()
"""


@contextmanager
def held(warehouse: Warehouse, how: str) -> Iterator[subprocess.Popen[str]]:
    """Have the file open in another process, until its input ends."""
    command = [sys.executable, "-c", HOLDS, warehouse.connection["host"], how]
    process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert process.stdin is not None
    assert process.stdout is not None
    assert process.stdout.readline()
    with process:
        yield process
        if not process.stdin.closed:
            process.stdin.close()


@pytest.mark.parametrize("how", ["reads", "writes"])
def test_a_landing_waits_until_others_have_closed_the_file(
    duckdb: Warehouse, caplog: pytest.LogCaptureFixture, how: str
) -> None:
    """And the log says once for whom, by the number of the process."""
    caplog.set_level("INFO")
    land(duckdb.hook, ["net"], [["1.00"]])
    with held(duckdb, how) as process:
        landing = threading.Thread(target=land, args=(duckdb.hook, ["net"], [["2.00"]], "frr_2"))
        landing.start()
        try:
            until(lambda: "Waiting for it to be closed" in caplog.text)
            time.sleep(0.5)  # in which it tries again
        finally:
            assert process.stdin is not None
            process.stdin.close()
            landing.join(30)
    assert duckdb.query("SELECT net FROM activity") == [(Decimal("2.00"),)]
    (line,) = [record.message for record in caplog.records if "Waiting for it" in record.message]
    assert f"{duckdb.connection['host']} is open elsewhere" in line
    assert f"(PID {process.pid})" in line


def test_a_wait_has_an_end_which_names_who_is_waited_for(duckdb: Warehouse) -> None:
    """A retry of the task waits again."""
    land(duckdb.hook, ["net"], [["1.00"]])
    with held(duckdb, "reads") as process:
        database = open_database(duckdb.hook, patience=0.2)
        told = rf"\(PID {process.pid}\)\. DuckDB opens a file for one process.*waited 0 seconds"
        with pytest.raises(StoreError, match=told) as raised, database_errors("activity"), database.connected():
            pass
        assert raised.value.is_transient


def test_who_looks_at_what_is_landed_waits_for_seconds(duckdb: Warehouse, monkeypatch: pytest.MonkeyPatch) -> None:
    """A page must not stand still as long as a task may wait."""
    land(duckdb.hook, ["net"], [["1.00"]])
    table = Table("warehouse", "activity")
    assert [it.path for it in table.landings()] == ["main.activity"]
    monkeypatch.setattr("airflow_reportrun.coverage.table.PATIENCE", 0.2)
    with held(duckdb, "writes"), pytest.raises(StoreError, match="is open elsewhere"):
        table.landings()


def test_another_connection_of_the_process_is_waited_for(
    duckdb: Warehouse, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """DuckDB refuses the second of two that change one table; who comes later begins anew, and not for ever."""
    monkeypatch.setattr(general, "_PAUSES", (0.1,))
    land(duckdb.hook, ["net"], [["1.00"]])
    change = "UPDATE stripe_report_landings SET row_count = row_count + 1 WHERE landing = ''"
    with closing(duckdb.hook.get_conn()) as other:
        other.begin()
        other.execute(change)
        landing = threading.Thread(target=land, args=(duckdb.hook, ["net"], [["2.00"]], "frr_2"))
        landing.start()
        until(lambda: "Another connection of this process" in caplog.text)
        other.commit()
        landing.join(30)
        assert duckdb.query("SELECT net FROM activity") == [(Decimal("2.00"),)]
        monkeypatch.setattr(general, "DDL_PATIENCE", 0.2)
        other.begin()
        other.execute(change)
        with pytest.raises(StoreError, match="Another connection of this process has changed the same tables"):
            land(duckdb.hook, ["net"], [["3.00"]], "frr_3")


def test_who_is_the_second_to_begin_a_table_of_a_process_begins_anew(duckdb: Warehouse) -> None:
    """Both bring the first row of its manifests, which DuckDB tells apart at the commit alone."""
    land(duckdb.hook, ["net"], [["1.00"]])
    mine, others = open_database(duckdb.hook), open_database(duckdb.hook)
    landings = landings_table(mine, "main")
    row = {"table_name": "new", "landing": "", "report": "", "livemode": False, "row_count": 0, "manifest": ""}
    with mine.connected() as connection, others.connected() as faster:
        commits = iter([None, faster.begin()])
        faster.execute(landings.insert(), [row])

        @sa.event.listens_for(connection.engine, "commit")
        def commit(_: Any) -> None:
            if other := next(commits, None):
                other.commit()

        with pytest.raises(general.LockedError), mine.alone(connection, landings, "new"):
            pass
        with mine.alone(connection, landings, "new"):
            pass


def test_a_database_in_memory_is_refused(duckdb: Warehouse, monkeypatch: pytest.MonkeyPatch) -> None:
    """It would be gone with the task, which would have succeeded."""
    Warehouse("duckdb", {"conn_type": "duckdb"}).known(monkeypatch)
    with pytest.raises(ConfigurationError, match=r"in memory, which is gone when the task ends: give it the path"):
        landed(duckdb.hook, "activity", manifest_of("frr_1", 1))


@pytest.mark.parametrize("there", ["no folder", "no database", "a folder"])
def test_a_file_that_cannot_be_opened_is_not_tried_again(
    duckdb: Warehouse, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, there: str
) -> None:
    """The error names it."""
    path = {"no folder": tmp_path / "none" / "w.duckdb", "no database": tmp_path / "text", "a folder": tmp_path}[
        there
    ]
    if there == "no database":
        path.write_text("no database " * 1000)
    Warehouse("duckdb", {"conn_type": "duckdb", "host": str(path)}).known(monkeypatch)
    with pytest.raises(ConfigurationError, match=str(path)) as caught, database_errors("activity"):
        landed(duckdb.hook, "activity", manifest_of("frr_1", 1))
    assert ("there is no folder" in str(caught.value)) == (there == "no folder")


@pytest.mark.parametrize("written", ["file:{}", "file://{}", "~/w.duckdb"])
def test_a_path_may_be_a_url_or_of_the_home(
    duckdb: Warehouse, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, written: str
) -> None:
    """As DuckDB takes them: both are the same to each working directory."""
    monkeypatch.setenv("HOME", str(tmp_path))
    path = tmp_path / "w.duckdb"
    Warehouse("duckdb", {"conn_type": "duckdb", "host": written.format(path)}).known(monkeypatch)
    land(duckdb.hook, ["x"], [["a"]])
    assert path.exists()


def test_instants_are_the_same_in_whichever_zone(duckdb: Warehouse, monkeypatch: pytest.MonkeyPatch) -> None:
    """The connection's own moves none, and a column without a zone has what the clocks of UTC show."""
    land(duckdb.hook, ["net"], [["1.00"]])
    duckdb.query("ALTER TABLE activity ADD COLUMN naive TIMESTAMP")
    elsewhere = {**duckdb.connection, "extra": {"settings": {"TimeZone": "America/New_York"}}}
    Warehouse("duckdb", elsewhere).known(monkeypatch)
    rows = [["2.00", "2024-03-31 03:30:00", "2024-03-31 03:30:00"]]
    kinds = {"naive": "timestamp"}
    for run_id in ("frr_2", "frr_3"):
        land(
            *(duckdb.hook, ["net", "created", "naive"], rows, run_id),
            timezone="Europe/Berlin",
            column_types=kinds,
        )
    seen = "SELECT epoch(created), naive, epoch(_interval_start), typeof(created) FROM activity"
    at = datetime(2024, 3, 31, 1, 30, tzinfo=UTC)
    expected = (at.timestamp(), at.replace(tzinfo=None), float(day(1)), "TIMESTAMP WITH TIME ZONE")
    assert duckdb.query(seen) == [expected]
    assert landed(duckdb.hook, "activity", manifest_of("frr_3", 1)) is None  # of which the types are others


def test_instants_need_no_pytz(tmp_path: Path) -> None:
    """DuckDB's own reading of them does before 2.0.1, and it is no requirement of its package."""
    code = (
        "import sys; sys.modules['pytz'] = None\n"
        "import duckdb, sqlalchemy as sa\n"
        "from airflow_reportrun.landing.sql.databases.duckdb import DuckDB\n"
        "class Hook:\n"
        f"    def get_conn(self): return duckdb.connect({str(tmp_path / 'w.duckdb')!r})\n"
        "    def get_uri(self): return 'duckdb:///'\n"
        "database = DuckDB(Hook(), 1)\n"
        "table = sa.Table('t', sa.MetaData(), sa.Column('at', database.instant_type()))\n"
        "with database.connected() as connection, connection.begin():\n"
        "    table.create(connection)\n"
        "    connection.execute(table.insert(), [{'at': database.instant(1714521600)}, {'at': None}])\n"
        "    rows = connection.execute(sa.select(table.c['at']).order_by(table.c['at'])).scalars().all()\n"
        "    print(rows == [database.instant(1714521600), None] or rows)\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.stdout == "True\n", done.stderr


CELLS = {
    "text": st.none()
    | st.text(st.characters(exclude_categories=["Cs"]) | st.sampled_from('",\n\r\\%:?$'), max_size=8),
    "net": st.none() | st.decimals(-(10**20) + 1, 10**20 - 1, places=18).map(lambda it: f"{it:f}"),
    "count": st.none() | st.integers(-(2**63), 2**63 - 1).map(str),
    "created": st.none()
    | st.datetimes(datetime(1900, 1, 1), datetime(2200, 1, 1)).map(lambda it: f"{it:%Y-%m-%d %H:%M:%S}"),
}


@settings(max_examples=15, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(rows=st.lists(st.fixed_dictionaries(CELLS), max_size=30))
def test_cells_come_back_as_they_were(duckdb: Warehouse, rows: list[dict[str, str | None]]) -> None:
    """Text with any letter, money to its last digit, whole numbers to the largest, instants and NULL."""
    duckdb.query("DROP TABLE IF EXISTS activity")
    land(duckdb.hook, list(CELLS), [[row[name] for name in CELLS] for row in rows])
    back = duckdb.query("SELECT text, net, count, epoch(created) FROM activity")

    def read(row: dict[str, str | None]) -> tuple[Any, ...]:
        net, count, created = row["net"], row["count"], row["created"]
        at = created and (datetime.fromisoformat(created) - datetime(1970, 1, 1)) / timedelta(seconds=1)
        return row["text"], net and Decimal(net), count and int(count), at

    assert sorted(map(repr, back)) == sorted(repr(read(row)) for row in rows)


def test_a_number_that_is_too_large_is_not_told(duckdb: Warehouse) -> None:
    """An error that stays, without the value; nothing has changed."""
    land(duckdb.hook, ["x"], [["a"]])
    duckdb.query("ALTER TABLE activity ADD COLUMN count int")
    with (
        pytest.raises(ContentsError, match=r"table activity: .*INT32") as raised,
        database_errors("activity"),
    ):
        land(duckdb.hook, ["x", "count"], [["b", "5000000000"]], "frr_2")
    assert "5000000000" not in str(raised.value)
    assert duckdb.query("SELECT x FROM activity") == [("a",)]


def test_a_column_may_be_given_room_for_larger_amounts(duckdb: Warehouse) -> None:
    """Fewer places leave more digits before the point."""
    land(duckdb.hook, ["net"], [["1.00"]])
    larger = [[f"{10**20}.5"]]
    with pytest.raises(ContentsError, match="Row 1 of column 'net' has more than the 20 digits before the point"):
        land(duckdb.hook, ["net"], larger, "frr_2")
    duckdb.query("ALTER TABLE activity ALTER net TYPE decimal(38, 6)")
    land(duckdb.hook, ["net"], larger, "frr_2")
    assert duckdb.query("SELECT net FROM activity") == [(Decimal(larger[0][0]),)]


def test_many_batches_are_one_transaction(duckdb: Warehouse, monkeypatch: pytest.MonkeyPatch) -> None:
    """The last one may fail: then none of them came."""
    monkeypatch.setattr("airflow_reportrun.landing.formats.typed.BLOCK_SIZE", 64)
    monkeypatch.setattr("airflow_reportrun.landing.spool._CHUNK_SIZE", 64)
    land(duckdb.hook, ["count"], [[str(number)] for number in range(50)])
    assert duckdb.query("SELECT count(*), sum(count) FROM activity") == [(50, sum(range(50)))]
    with pytest.raises(ContentsError, match="column 'count'"):
        land(duckdb.hook, ["count"], [*[[str(number)] for number in range(50)], ["many"]], "frr_2")
    assert duckdb.query("SELECT count(*), min(_report_run_id) FROM activity") == [(50, "frr_1")]


def test_batches_are_let_go_as_they_are_written(duckdb: Warehouse, monkeypatch: pytest.MonkeyPatch) -> None:
    """A transaction must not keep what it has taken, or memory grows with the report."""
    monkeypatch.setattr("airflow_reportrun.landing.formats.typed.BLOCK_SIZE", 1 << 16)
    monkeypatch.setattr("airflow_reportrun.landing.spool._CHUNK_SIZE", 1 << 16)
    batches, held = loading._Loading._batches, []

    def measured(self: Any, *args: Any) -> Iterator[Any]:
        for batch in batches(self, *args):
            held.append(pa.total_allocated_bytes())
            yield batch

    monkeypatch.setattr(loading._Loading, "_batches", measured)
    land(duckdb.hook, ["x"], [["x" * 1000] for _ in range(6000)])
    assert len(held) > 80
    assert max(held) - held[0] < 2 << 20


def test_a_view_is_refused(duckdb: Warehouse) -> None:
    """It takes no rows, whatever columns it has."""
    land(duckdb.hook, ["net"], [["1.00"]], table="kept")
    duckdb.query("CREATE VIEW activity AS SELECT * FROM kept")
    with pytest.raises(ConfigurationError, match=r"main\.activity is a view, into which DuckDB"):
        landed(duckdb.hook, "activity", manifest_of("frr_2", 1))


def test_a_table_of_another_schema_is_its_own(duckdb: Warehouse) -> None:
    """With its own manifests; upper and lower case make no difference."""
    land(duckdb.hook, ["net"], [["1.00"]])
    duckdb.query("CREATE SCHEMA finance")
    land(duckdb.hook, ["net"], [["2.00"]], table="finance.activity", end=day(3))
    assert duckdb.query("SELECT net FROM finance.activity") == [(Decimal("2.00"),)]
    with pytest.raises(LandingConflictError):
        land(duckdb.hook, ["net"], [["3.00"]], table="finance.Activity")


def test_rows_that_no_manifest_tells_of_are_found(duckdb: Warehouse) -> None:
    """Of the same filters or fewer, and of an id whose version is another."""
    land(duckdb.hook, ["net"], [["1.00"]], "frr_1", currency="usd", report_type="balance.summary.1")
    duckdb.query("DELETE FROM stripe_report_landings WHERE landing <> ''")
    month: dict[str, Any] = {"end": day(32), "report_type": "balance.summary.2"}
    usd: dict[str, Any] = {"currency": "usd"}
    for filters in ({}, usd):
        with pytest.raises(LandingConflictError, match="that no manifest tells of"):
            land(duckdb.hook, ["net"], [["9.00"]], "frr_9", on_overlap="replace", **month, **filters)
    land(duckdb.hook, ["net"], [["9.00"]], "frr_9", currency="eur", **month)
    land(duckdb.hook, ["net"], [["2.00"]], "frr_2", currency="usd", report_type="balance.summary.2")
    assert duckdb.query("SELECT net FROM activity ORDER BY net") == [(Decimal("2.00"),), (Decimal("9.00"),)]


def test_openlineage_is_told_the_file(duckdb: Warehouse) -> None:
    """As of SQLite, whatever SQLAlchemy has no dialect for."""
    assert dataset_of(duckdb.hook, "main.activity") == (f"duckdb://{duckdb.connection['host']}", "main.activity")


def test_its_provider_is_named_where_it_is_missing() -> None:
    """The one of Airflow's."""
    assert "pip install apache-airflow-providers-duckdb" in what_to_install("duckdb")
