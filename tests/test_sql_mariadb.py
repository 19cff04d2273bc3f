"""What MariaDB's defaults would cut, merge or not roll back: ``make mariadb``."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import pytest

from airflow_reportrun.landing.sql import loading
from airflow_reportrun.landing.sql.loading import landed
from airflow_reportrun.reporting.errors import ConfigurationError, ContentsError, LandingConflictError
from tests.databases import Warehouse, has_mariadb
from tests.landings import day, land, manifest_of

if not has_mariadb():
    pytest.skip("MariaDB or its provider is not installed", allow_module_level=True)

CLIENTS = ["mysqlclient", "mysql-connector-python", "pymysql"]
OURS = """
    _report_type varchar(255) NOT NULL, _stripe_account varchar(255), _filters varchar(255),
    _interval_start timestamp NULL, _interval_end timestamp NULL, _report_run_id varchar(255) NOT NULL
"""
PAYOUT: Mapping[str, Any] = {"start": None, "end": None}


@contextmanager
def server(warehouse: Warehouse, name: str, value: str) -> Iterator[None]:
    """Set a variable of the server for connections that are to come."""
    ((before,),) = warehouse.query(f"SELECT @@global.{name}")
    warehouse.query(f"SET GLOBAL {name} = {value}")
    try:
        yield
    finally:
        warehouse.query(f"SET GLOBAL {name} = {before if isinstance(before, int) else repr(before)}")


def test_every_letter_fits_whatever_the_database_has_by_default(mariadb: Warehouse) -> None:
    """Case and trailing spaces count, too, as in other databases."""
    mariadb.query("ALTER DATABASE warehouse CHARACTER SET latin1")
    cells = ["é", "e", "E", "E ", "李", "😀"]
    land(mariadb.hook, ["x"], [[cell] for cell in cells])
    land(mariadb.hook, ["x", "y"], [["z", "😀"]], start=day(2), end=day(3))
    assert sorted(x for (x,) in mariadb.query("SELECT x FROM activity WHERE y IS NULL")) == sorted(cells)
    assert mariadb.query("SELECT count(*) FROM activity WHERE x = 'e'") == [(1,)]
    assert mariadb.query("SELECT y FROM activity WHERE y IS NOT NULL") == [("😀",)]


@pytest.mark.parametrize("cells", [["1.00", "é" * 40_000], ["9" * 21, "x"]])
def test_nothing_is_cut_where_the_server_is_not_strict(mariadb: Warehouse, cells: list[str]) -> None:
    """Neither long text nor large money; the interval stays as it was."""
    with server(mariadb, "sql_mode", "''"):
        land(mariadb.hook, ["net", "x"], [["1.00", "x"]])
        mariadb.query("ALTER TABLE activity MODIFY x text")  # as earlier versions made it
        with pytest.raises(Exception, match=r"more than the 20 digits before the point|activity.*x.* LONGTEXT"):
            land(mariadb.hook, ["net", "x"], [cells], "frr_2")
    assert mariadb.query("SELECT x FROM activity") == [("x",)]


@pytest.mark.parametrize(
    ("kind", "cell"), [("text", "x" * 70_000), ("text", "é" * 40_000), ("text CHARACTER SET latin1", "😀")]
)
def test_a_column_that_a_cell_does_not_fit_is_altered_as_the_error_says(
    mariadb: Warehouse, kind: str, cell: str
) -> None:
    """The statement is whole, and what it makes tells as many texts apart as before."""
    table, column = "50% of it", "payment_metadata[it's]"
    land(mariadb.hook, ["net", column], [["1.00", "x"]], table=table)
    mariadb.query(f'ALTER TABLE "{table}" MODIFY "{column}" {kind}')
    with pytest.raises(ContentsError, match="utf8mb4_bin") as raised:
        land(mariadb.hook, ["net", column], [["1.00", cell]], "frr_2", table=table)
    mariadb.query(str(raised.value).partition("room: ")[2].rstrip("."))
    land(mariadb.hook, ["net", column], [["1.00", cell]], "frr_2", table=table)
    made = "SELECT collation_name FROM information_schema.columns WHERE data_type = 'longtext' AND table_name = "
    assert mariadb.query(f"{made}'{table}'") == [("utf8mb4_bin",)]


def test_a_system_versioned_table_says_how_a_column_is_added(mariadb: Warehouse) -> None:
    """Rows land there as in any; a retry could not add the column."""
    land(mariadb.hook, ["net"], [["1.00"]])
    mariadb.query("ALTER TABLE activity ADD SYSTEM VERSIONING")
    land(mariadb.hook, ["net"], [["2.00"]], "frr_2")
    with pytest.raises(ConfigurationError, match="SET system_versioning_alter_history = KEEP before"):
        land(mariadb.hook, ["net", "fee"], [["3.00", "0.10"]], "frr_3")
    assert mariadb.query("SELECT net FROM activity") == [(2,)]


@pytest.mark.parametrize("table", ["activity ", "warehouse .activity", "a😀", "a\0"])
def test_a_table_that_can_not_be_is_refused_before_the_download(mariadb: Warehouse, table: str) -> None:
    """In our words; MariaDB cuts some of them, and calls others wrong."""
    with pytest.raises(ConfigurationError, match="nothing there can have the name"):
        landed(mariadb.hook, table, manifest_of("frr_1", 1))
    assert mariadb.query("SHOW TABLES") == []


def test_a_table_without_transactions_is_neither_made_nor_filled(mariadb: Warehouse) -> None:
    """A killed try would leave its rows."""
    with server(mariadb, "default_storage_engine", "'MyISAM'"):
        land(mariadb.hook, ["net"], [["1.00"]])
        mariadb.query(f"CREATE TABLE mine (net numeric(12, 2), {OURS})")
    engines = "SELECT DISTINCT engine FROM information_schema.tables WHERE table_schema = 'warehouse'"
    assert sorted(mariadb.query(engines)) == [("InnoDB",), ("MyISAM",)]
    with pytest.raises(LandingConflictError, match=r"warehouse.mine is of MyISAM, .* ENGINE = InnoDB"):
        land(mariadb.hook, ["net"], [["1.00"]], table="mine")
    mariadb.query("ALTER TABLE mine ENGINE = InnoDB")
    land(mariadb.hook, ["net"], [["1.00"]], table="mine")


@pytest.mark.parametrize("made_by", ["us", "its owner"])
def test_filters_that_differ_in_case_alone_are_two(mariadb: Warehouse, made_by: str) -> None:
    """Whatever the collation of a table that its owner made."""
    if made_by == "its owner":
        mariadb.query(f"CREATE TABLE activity (net numeric(12, 2), {OURS}) COLLATE utf8mb4_general_ci")
    for _ in range(2):
        first = land(mariadb.hook, ["net"], [["1.00"]], "frr_1", payout="po_1a", **PAYOUT)
        second = land(mariadb.hook, ["net"], [["2.00"], ["3.00"]], "frr_2", payout="po_1A", **PAYOUT)
    assert mariadb.query("SELECT sum(net) FROM activity") == [(6,)]
    for recorded in (first, second):
        assert landed(mariadb.hook, "activity", recorded) == recorded


def test_tables_that_differ_in_case_alone_are_two(mariadb: Warehouse) -> None:
    """Where the server has them so: one that is made anew forgets nothing of the other."""
    land(mariadb.hook, ["net"], [["1.00"]], table="activity")
    land(mariadb.hook, ["net"], [["1.00"]], table="Activity", start=day(20), end=day(21))
    with pytest.raises(LandingConflictError):
        land(mariadb.hook, ["net"], [["1.00"]], table="activity", end=day(8))


@pytest.mark.parametrize("client", CLIENTS)
def test_each_driver_lands_and_keeps_to_the_servers_packet(
    mariadb: Warehouse, monkeypatch: pytest.MonkeyPatch, client: str
) -> None:
    """However many rows a block has; backslashes mean nothing, whatever the server's mode."""
    cells = ["a\\'b\"\0😀", "\\", None, ""]
    packet, mode = ("max_allowed_packet", str(1 << 20)), ("sql_mode", "'NO_BACKSLASH_ESCAPES'")
    with server(mariadb, *packet), server(mariadb, *mode):
        connection = {**mariadb.connection, "extra": {"client": client}}
        warehouse = Warehouse("mariadb", connection).known(monkeypatch)
        for times in (1, 3000):
            recorded = land(warehouse.hook, ["x"], [[cell] for cell in cells * times])
        assert landed(warehouse.hook, "activity", recorded) == recorded
        mariadb.known(monkeypatch)
    assert sorted(map(repr, mariadb.query("SELECT x, count(*) FROM activity GROUP BY x"))) == sorted(
        repr((cell, 3000)) for cell in cells
    )


@pytest.mark.parametrize("extra", [{"autocommit": True}, {"init_command": "SET autocommit = 1"}])
@pytest.mark.parametrize("client", CLIENTS[:2])
def test_a_connection_that_commits_each_statement_does_no_harm(
    mariadb: Warehouse, monkeypatch: pytest.MonkeyPatch, client: str, extra: Mapping[str, Any]
) -> None:
    """A landing that fails changes nothing."""
    connection = {**mariadb.connection, "extra": {"client": client, **extra}}
    warehouse = Warehouse("mariadb", connection).known(monkeypatch)
    land(warehouse.hook, ["net"], [["1.00"]])
    with pytest.raises(ContentsError, match="has 3 rows, and 2 of them came"):
        land(warehouse.hook, ["net"], [["2.00"], ["3.00"]], "frr_2", claimed=3)
    assert mariadb.query("SELECT net FROM activity") == [(1,)]


def test_instants_are_utc_whatever_the_servers_time_zone(mariadb: Warehouse) -> None:
    """Also in an owner's column that the server converts."""
    mariadb.query(f"CREATE TABLE activity (created timestamp NULL, {OURS})")
    with server(mariadb, "time_zone", "'+05:00'"):
        recorded = land(mariadb.hook, ["created"], [["2024-05-01 00:00:00"]])
        assert landed(mariadb.hook, "activity", recorded) == recorded
    seconds = "SELECT unix_timestamp(created), unix_timestamp(_interval_start) FROM activity"
    assert mariadb.query(seconds) == [(day(1), day(1))]


def test_a_connection_that_lacks_letters_is_refused(mariadb: Warehouse, monkeypatch: pytest.MonkeyPatch) -> None:
    """With what to do."""
    few = Warehouse("mariadb", {**mariadb.connection, "extra": {"charset": "latin1"}}).known(monkeypatch)
    with pytest.raises(ConfigurationError, match=r'charset latin1, .*\{"charset": "utf8mb4"\}'):
        land(few.hook, ["x"], [["x"]])


@pytest.mark.parametrize("name", ["m[😀]", "m "])
def test_a_column_that_can_not_be_is_refused(mariadb: Warehouse, name: str) -> None:
    """Before anything is made of it."""
    with pytest.raises(ContentsError, match="No table there can have a column"):
        land(mariadb.hook, ["net", name], [["1.00", "x"]])
    land(mariadb.hook, ["net", "m[`é`]%s"], [["1.00", "x"]])


def landing_at_once(warehouse: Warehouse, *landings: Mapping[str, Any]) -> list[str]:
    """Land in threads; returns their errors."""
    errors = []

    def run(about: Mapping[str, Any]) -> None:
        try:
            land(warehouse.hook, ["net"], [["1.00"]], **about)
        except Exception as error:
            errors.append(repr(error))

    threads = [threading.Thread(target=run, args=(about,)) for about in landings]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return errors


def record_late(monkeypatch: pytest.MonkeyPatch, seconds: float) -> None:
    """Wait between the rows and the manifest."""
    row = loading._Loading._row

    def late(self: Any) -> Mapping[str, Any]:
        time.sleep(seconds)
        return row(self)

    monkeypatch.setattr(loading._Loading, "_row", late)


def test_landings_into_several_tables_do_not_meet(mariadb: Warehouse, monkeypatch: pytest.MonkeyPatch) -> None:
    """Though all of them write to the table of manifests, in which InnoDB may lock what is not there."""
    record_late(monkeypatch, 0.3)
    for number in (1, 2):
        tables = [{"table": f"table_{table}", "start": day(number), "end": day(number + 1)} for table in range(4)]
        assert landing_at_once(mariadb, *tables) == []


def test_a_landing_waits_for_longer_than_innodb(mariadb: Warehouse, monkeypatch: pytest.MonkeyPatch) -> None:
    """Which gives up on a locked row after 50 seconds by default."""
    land(mariadb.hook, ["net"], [["1.00"]], start=day(9), end=day(10))
    record_late(monkeypatch, 2.5)
    with server(mariadb, "innodb_lock_wait_timeout", "1"):
        days = [{"start": day(number), "end": day(number + 1)} for number in (1, 2)]
        assert landing_at_once(mariadb, *days) == []
    assert mariadb.query("SELECT count(*) FROM activity") == [(3,)]
