"""What is landed near: found by an index, whatever else is landed, and in tables that earlier versions made."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import pytest
import sqlalchemy as sa
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy.sql import quoted_name

from airflow_reportrun.landing.manifest import FILTERS, Manifest
from airflow_reportrun.landing.overlaps import Overlap, overlap
from airflow_reportrun.landing.rows import landing_key
from airflow_reportrun.landing.sql.databases import open_database
from airflow_reportrun.landing.sql.layout import (
    TableName,
    has_near_index,
    landings_table,
    near_index,
    our_table,
    our_values,
)
from airflow_reportrun.landing.sql.loading import landed
from airflow_reportrun.landing.sql.neighbours import Neighbours
from airflow_reportrun.reporting.errors import LandingConflictError
from tests.databases import AND_DUCKDB, WAREHOUSES, Warehouse
from tests.landings import OURS, day, land, manifest_of, recorded

pytestmark = pytest.mark.slow

BOUNDS: Mapping[str, Sequence[Any]] = {
    "of.neither": [(None, None)],
    "of.ends": [(None, day(2)), (None, day(3))],
    "of.intervals": [(day(1), day(2)), (day(2), day(3)), (day(1), day(3))],
}
REPORTS = [
    (f"{report}.{version}", *it) for report, bounds in BOUNDS.items() for it in bounds for version in (1, 2)
]
VALUES = ["usd", "eur", "us", "usd~", 'u"sd', "%", "a_b", "é", "}"]
FILTER_SETS = st.dictionaries(st.sampled_from([*FILTERS, "d", "zeta"]), st.sampled_from(VALUES), max_size=4)
ABOUT = st.builds(
    lambda report, filters, account: {
        **{"report_type": report[0], "start": report[1], "end": report[2], "account": account},
        **filters,
    },
    *(st.sampled_from(REPORTS), FILTER_SETS | st.just({"payout": "x" * 300})),
    st.sampled_from([None, None, None, "acct_1"]),
)


@pytest.fixture(params=["", "any other"])
def way(request: pytest.FixtureRequest, warehouse: Warehouse, monkeypatch: pytest.MonkeyPatch) -> Warehouse:
    """Each database, and PostgreSQL as one whose order of text is not known."""
    if request.param:
        if warehouse.name != "postgresql":
            pytest.skip("PostgreSQL goes this way for all")
        monkeypatch.setattr(type(warehouse.hook), "dialect_name", "other")
    return warehouse


@contextmanager
def connected(warehouse: Warehouse) -> Iterator[tuple[Any, Any, TableName, sa.Table]]:
    database = open_database(warehouse.hook)
    with database.connected() as connection:
        with connection.begin():
            schema = connection.dialect.default_schema_name
            landings = landings_table(database, schema)
        yield connection, database, TableName(schema, "activity", "activity"), landings


@pytest.mark.parametrize("warehouse", AND_DUCKDB, indirect=True)
@settings(deadline=None, max_examples=20, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(there=st.lists(ABOUT, min_size=30, max_size=60), news=st.lists(ABOUT, min_size=10, max_size=20))
def test_whatever_overlaps_is_found(way: Warehouse, there: list[Any], news: list[Any]) -> None:
    """As by a look at each landing, and each once."""
    manifests = {landing_key(it.subject): it for it in (manifest_of("frr_1", 1, **about) for about in there)}
    with connected(way) as (connection, database, place, landings):
        with connection.begin():
            landings.create(connection, checkfirst=True)
        with database.alone(connection, landings, "activity"):
            connection.execute(landings.delete())
            for table in ("activity", "another"):
                rows = [recorded(manifest, database, table) for manifest in manifests.values()]
                connection.execute(landings.insert(), rows)
        for about in news:
            mine = manifest_of("frr_new", 1, **about)
            with connection.begin():
                found = Neighbours(connection, database, place, landings, mine)._near()
            keys = [landing_key(it.subject) for it in found]
            assert len(keys) == len(set(keys))
            assert set(keys) >= {
                key for key, it in manifests.items() if overlap(mine.subject, it.subject) is not Overlap.APART
            }


@pytest.mark.parametrize(
    ("there", "new"),
    [(a, b) for a in BOUNDS for b in BOUNDS if a != b],
)
def test_one_report_has_one_kind_of_bounds(way: Warehouse, there: str, new: str) -> None:
    """Nobody knows of another; what could be said of it is refused."""
    land(way.hook, ["net"], [["1.00"]], start=BOUNDS[there][0][0], end=BOUNDS[there][0][1])
    start, end = BOUNDS[new][0]
    if {there, new} == {"of.neither", "of.ends"}:
        land(way.hook, ["net"], [["2.00"]], "frr_2", start=start, end=end)
        return
    with pytest.raises(LandingConflictError, match="would lose a part"):
        land(way.hook, ["net"], [["2.00"]], "frr_2", start=start, end=end, on_overlap="replace")


NUMBERS = range(1, 41)
KINDS: Mapping[str, Any] = {
    "payouts": lambda n: {"start": None, "end": None, "payout": f"po_{n}"},
    "payouts of an account": lambda n: {
        **{"start": None, "end": None, "connected_account": "acct_1", "payout": f"po_{n}"},
        "reporting_category": "fee",
    },
    "days": lambda n: {"start": day(n), "end": day(n + 1)},
    "days beside those of another report": lambda n: {
        **{"start": day(n), "end": day(n + 1)},
        **({"report_type": "payouts.itemized.3"} if n in (99, 5000) else {}),
    },
    "instants": lambda n: {"start": None, "end": day(n)},
    "accounts of a platform": lambda n: {"account": f"acct_{n}"},
    "connected accounts of a day": lambda n: {"connected_account": f"acct_{n}", "currency": "usd"},
    "categories of a day": lambda n: {"currency": "usd", "reporting_category": f"c{n}"},
}


@pytest.mark.parametrize("kind", KINDS)
def test_a_landing_reads_near_manifests_alone(way: Warehouse, kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """However many there are: of these each is apart from all others."""
    land(way.hook, ["net"], [["1.00"]], **KINDS[kind](0))
    with connected(way) as (connection, database, _, landings), connection.begin():
        for n in NUMBERS:
            connection.execute(landings.insert(), [recorded(manifest_of("frr_1", 1, **KINDS[kind](n)), database)])
    read: list[str] = []
    from_json = Manifest.from_json

    def noted(text: str) -> Manifest:
        read.append(text)
        return from_json(text)

    monkeypatch.setattr(Manifest, "from_json", noted)
    about = KINDS[kind](99)
    assert landed(way.hook, "activity", manifest_of("frr_2", 1, **about)) is None
    land(way.hook, ["net"], [["2.00"]], "frr_2", **about)
    assert read == []
    land(way.hook, ["net"], [["3.00"]], "frr_3", **about)
    assert len(set(read)) == 1  # its own


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("name", ["sqlite", *({"mariadb"} & {*WAREHOUSES})])
def test_what_is_near_is_sought_and_not_read_through(request: pytest.FixtureRequest, name: str, kind: str) -> None:
    """As far as a database counts what it does: it is as much beside many as beside few."""
    warehouse: Warehouse = request.getfixturevalue(name)
    land(warehouse.hook, ["net"], [["1.00"]], **KINDS[kind](0))
    spent: list[int] = []
    for numbers in (range(1, 41), range(41, 1001)):
        with connected(warehouse) as (connection, database, place, landings):
            told = [manifest_of("frr_1", 1, **KINDS[kind](n)) for n in numbers]
            cells = [dict(zip(OURS, our_values(it, database), strict=True)) for it in told]
            with connection.begin():
                connection.execute(landings.insert(), [recorded(it, database) for it in told])
                connection.execute(our_table(database, place).insert(), cells)
            neighbours = Neighbours(
                connection, database, place, landings, manifest_of("frr_2", 1, **KINDS[kind](5000))
            )
            with connection.begin(), counting(warehouse, connection) as counted:
                neighbours.require_told(neighbours.covered(may_go=False))
            spent += counted
    assert spent[1] <= spent[0] * 1.2 + 2


@contextmanager
def counting(warehouse: Warehouse, connection: Any) -> Iterator[list[int]]:
    """Yield a list that gets the steps of SQLite's machine, or the entries that MariaDB reads."""
    counted: list[int] = []
    if warehouse.name == "sqlite":
        steps: list[None] = []
        raw = connection.connection.driver_connection
        raw.set_progress_handler(lambda: steps.append(None), 1)
        yield counted
        raw.set_progress_handler(None, 0)
        counted.append(len(steps))
        return
    connection.exec_driver_sql("FLUSH STATUS")
    yield counted
    status = connection.exec_driver_sql("SHOW SESSION STATUS LIKE 'Handler_read%%'").all()
    counted.append(sum(int(number) for _, number in status))


def near_indexes(warehouse: Warehouse, table: str = "stripe_report_landings") -> list[str]:
    """Return the names of the indexes that are ours."""
    with connected(warehouse) as (connection, *_), connection.begin():
        return [
            str(it["name"]) for it in sa.inspect(connection).get_indexes(table) if "livemode" in it["column_names"]
        ]


def test_the_index_is_made_once(way: Warehouse, caplog: pytest.LogCaptureFixture) -> None:
    """With the table of manifests, and for one that is without it; what refuses it refuses no landing."""
    for number in (1, 2, 3, 4):
        land(way.hook, ["net"], [["1.00"]], start=day(number), end=day(number + 1))
        (name,) = near_indexes(way)
        if number == 2:
            way.query(f"DROP INDEX {name}" + (" ON stripe_report_landings" if way.name == "mariadb" else ""))
    assert "has no index" not in caplog.text


def test_the_index_has_a_name_that_nothing_else_has(way: Warehouse, caplog: pytest.LogCaptureFixture) -> None:
    """Neither one that went along with a table of manifests, nor a table of somebody's."""
    caplog.set_level("INFO")
    land(way.hook, ["net"], [["1.00"]])
    way.query("ALTER TABLE stripe_report_landings RENAME TO kept")
    way.query("CREATE TABLE stripe_report_landings_near (a int)")
    land(way.hook, ["net"], [["2.00"]], "frr_2")
    assert len(near_indexes(way)) == len(near_indexes(way, "kept")) == 1
    assert "has no index" not in caplog.text


def test_an_index_of_the_owners_is_found_by_its_columns(way: Warehouse) -> None:
    """Under any name; one of some manifests alone is none."""
    land(way.hook, ["net"], [["1.00"]])
    (name,) = near_indexes(way)
    on = " ON stripe_report_landings" if way.name == "mariadb" else ""
    way.query(f"DROP INDEX {name}{on}")
    with connected(way) as (connection, database, place, landings), connection.begin():
        index = near_index(database, place.schema)
        index.name = quoted_name("an_owners", quote=None)
        if way.name != "mariadb":
            where = sa.text("row_count > 5")
            partly: dict[str, Any] = {f"{dialect}_where": where for dialect in ("sqlite", "postgresql")}
            sa.Index("of_some", *(landings.c[it.name] for it in index.columns), **partly).create(connection)
        assert not has_near_index(connection, database, landings)
        index.create(connection)
    land(way.hook, ["net"], [["2.00"]], "frr_2")
    assert {*near_indexes(way)} - {"of_some"} == {"an_owners"}


# As version 0.1.0 made them.
LANDINGS_DDL = """
CREATE TABLE stripe_report_landings (
    table_name VARCHAR(255) NOT NULL,
    landing VARCHAR(64) NOT NULL,
    report VARCHAR(255) NOT NULL,
    livemode BOOLEAN NOT NULL,
    stripe_account VARCHAR(255),
    filters TEXT,
    interval_start {instant},
    interval_end {instant},
    report_run_id VARCHAR(255),
    row_count BIGINT NOT NULL,
    manifest TEXT NOT NULL,
    PRIMARY KEY (table_name, landing)
){options}
"""
TABLE_DDL = """
CREATE TABLE activity (
    net {money},
    created {instant},
    who TEXT,
    _report_type VARCHAR(255) NOT NULL,
    _stripe_account VARCHAR(255),
    _filters VARCHAR(255),
    _interval_start {instant},
    _interval_end {instant},
    _report_run_id VARCHAR(255) NOT NULL
){options}
"""
INDEX_DDL = "CREATE INDEX activity_landing ON activity (_interval_end, _interval_start, _filters)"
IN: Mapping[str, Mapping[str, str]] = {
    "sqlite": {"instant": "TEXT", "money": "TEXT", "options": ""},
    "postgresql": {"instant": "TIMESTAMP WITH TIME ZONE", "money": "NUMERIC", "options": ""},
    "mariadb": {
        **{"instant": "DATETIME", "money": "NUMERIC(38, 18)"},
        "options": "ENGINE=InnoDB CHARSET=utf8mb4 COLLATE utf8mb4_bin",
    },
}
MANIFEST: Mapping[str, Any] = {
    "report_run_id": "frr_1",
    "report_type": "balance_change_from_activity.itemized.3",
    "parameters": {"interval_start": 1714521600, "interval_end": 1714608000},
    **{"interval_start": None, "interval_end": None, "stripe_account": None, "livemode": False},
    **{"file_id": "file_frr_1", "file_size": 55},
    "file_sha256": "913893e2afc901d42e22640f4813b056a12b7f6f8a6e4d44580545997f63f6bc",
    **{"rows": 1, "columns": ["net", "created", "who"], "format": "sql", "path": "main.activity"},
    "column_types": {"net": "money(6)", "created": "timestamp", "who": "text"},
    **{"size": None, "sha256": None, "etag": None, "report_run_created": "2024-05-03T09:00:00Z"},
    **{"landed_at": None, "landed_by": "airflow-provider-reportrun 0.1.0", "version": 1},
}
LANDING = "7a149848dad8ec88597dc3b2e81c5ba141e6da29df5ddf300079ebf97f7b49c1"
NAMES, ROW = ["net", "created", "who"], ["1.00", "2024-05-01 09:00:00", "x"]


@pytest.fixture
def earlier(warehouse: Warehouse) -> Warehouse:
    """A table and its manifests as an earlier version left them."""
    form = "{}T{}Z" if warehouse.name == "sqlite" else "{} {}"
    utc = "+00" if warehouse.name == "postgresql" else ""
    start, end, created = (
        f"'{form.format(*at.split())}{utc}'"
        for at in ("2024-05-01 00:00:00", "2024-05-02 00:00:00", "2024-05-01 09:00:00")
    )
    report, manifest = "balance_change_from_activity.itemized", json.dumps(MANIFEST, indent=1)
    bounds = f"{start}, {end}"
    row = f"('1.00', {created}, 'x', '{report}.3', NULL, NULL, {bounds}, 'frr_1')"
    told = f"('activity', '{LANDING}', '{report}', false, NULL, NULL, {bounds}, 'frr_1', 1, '{manifest}')"
    for ddl in (LANDINGS_DDL, TABLE_DDL, INDEX_DDL):
        warehouse.query(ddl.format(**IN[warehouse.name]))
    for table, values in (("activity", row), ("stripe_report_landings", told)):
        warehouse.query(f"INSERT INTO {table} VALUES {values}")  # noqa: S608 - our own words
    return warehouse


def test_what_earlier_versions_landed_is_found_and_restated(earlier: Warehouse) -> None:
    """By its manifest and its rows; the same figures leave the rows, others replace them, an older run neither."""
    about: dict[str, Any] = {"created": "2024-05-03T09:00:00Z"}
    found = landed(earlier.hook, "activity", manifest_of("frr_1", 1, **about))
    assert found == Manifest.from_json(json.dumps(MANIFEST))
    older: dict[str, Any] = {"created": "2024-05-03T08:00:00Z"}
    assert land(earlier.hook, NAMES, [["9.00", None, "y"]], "frr_0", **older) == found
    newer: dict[str, Any] = {"created": "2024-05-03T10:00:00Z"}
    assert land(earlier.hook, NAMES, [ROW], "frr_2", **newer).report_run_id == "frr_2"
    assert earlier.query("SELECT who, _report_run_id FROM activity") == [("x", "frr_1")]
    land(earlier.hook, NAMES, [["2.00", None, "y"], ["3.00", None, "z"]], "frr_3", **newer)
    assert earlier.query("SELECT who, _report_run_id FROM activity ORDER BY who") == [
        ("y", "frr_3"),
        ("z", "frr_3"),
    ]
    assert earlier.query("SELECT report_run_id, row_count FROM stripe_report_landings WHERE landing <> ''") == [
        ("frr_3", 2)
    ]


def test_what_earlier_versions_landed_is_covered_or_in_the_way(earlier: Warehouse) -> None:
    """A month over its day is refused, and replaces it where that is asked for."""
    month: dict[str, Any] = {"start": day(1), "end": day(32), "created": "2024-06-03T08:00:00Z"}
    with pytest.raises(LandingConflictError, match="report run frr_1"):
        land(earlier.hook, NAMES, [ROW], "frr_2", **month)
    land(earlier.hook, NAMES, [ROW], "frr_2", on_overlap="replace", **month)
    assert earlier.query("SELECT _report_run_id FROM activity") == [("frr_2",)]
