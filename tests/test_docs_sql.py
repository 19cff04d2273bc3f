"""What ``docs/sql.md`` shows works."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from contextlib import closing, contextmanager
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any
from unittest import mock

import pytest
from airflow.providers.common.compat.sdk import DAG, Connection

from airflow_reportrun.landing.rows import OURS
from airflow_reportrun.landing.sql.databases import Database, open_database
from airflow_reportrun.landing.sql.layout import LANDINGS, has_near_index, landings_table
from airflow_reportrun.landing.sql.loading import landed
from airflow_reportrun.landing.sql.warehouse import what_to_install
from airflow_reportrun.operators import StripeReportRunOperator, StripeReportToSqlOperator
from airflow_reportrun.reporting.errors import ConfigurationError, LandingConflictError
from tests.databases import AND_DUCKDB, WAREHOUSES, Warehouse
from tests.docs_blocks import ROOT, programs
from tests.landings import day, land

PAGE = (ROOT / "docs" / "sql.md").read_text()
QUERY, TABLE, *NARROW = programs("docs/sql.md", "sql")


def test_the_tasks_can_be_declared() -> None:
    """As they stand there."""
    (program,) = programs("docs/sql.md")
    names: dict[str, Any] = {
        "StripeReportRunOperator": StripeReportRunOperator,
        "StripeReportToSqlOperator": StripeReportToSqlOperator,
    }
    with DAG("shown", schedule=None, start_date=datetime(2024, 1, 1, tzinfo=UTC)) as dag:
        exec(program, names)  # noqa: S102 - our own page
    assert sorted(dag.task_dict) == ["report", "to_warehouse"]
    assert dag.task_dict["to_warehouse"].upstream_task_ids == {"report"}


@pytest.mark.parametrize("warehouse", AND_DUCKDB, indirect=True)
def test_the_query_counts_its_week(warehouse: Warehouse) -> None:
    """In each database, whatever the time zone of the session; neither the day before nor the day after."""
    for number in range(9):
        rows = [["charge"], ["charge"]]
        start, end = day(number), day(number + 1)
        land(warehouse.hook, ["reporting_category"], rows, table="stripe_activity", start=start, end=end)
    zones = ["America/New_York", "Asia/Tokyo"] if warehouse.name in ("postgresql", "duckdb") else []
    for statements in [[QUERY], *([f"SET TIME ZONE '{zone}'", QUERY] for zone in zones)]:
        with closing(warehouse.hook.get_conn()) as connection, closing(connection.cursor()) as cursor:
            for statement in statements:
                cursor.execute(statement)
            assert list(cursor.fetchall()) == [("charge", 14)]


def test_a_table_made_by_hand_takes_a_report(postgres: Warehouse) -> None:
    """With the columns and types that are shown."""
    postgres.query(TABLE)
    for net in ("1.00", "1.50"):
        land(postgres.hook, ["net"], [[net]], table="my_activity")
    assert postgres.query("SELECT net FROM my_activity") == [(Decimal("1.50"),)]


@pytest.mark.parametrize(("server", "statements"), [*zip(("postgres", "mariadb"), NARROW, strict=True)])
def test_a_role_that_creates_nothing_lands(
    request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch, server: str, statements: str
) -> None:
    """With the tables and the grants that are shown, made by their owner: landed, restated, overlaps refused."""
    if server not in WAREHOUSES:
        pytest.skip(f"{server} is not installed")
    warehouse: Warehouse = request.getfixturevalue(server)
    made = {
        "postgres": "CREATE ROLE keeper LOGIN; CREATE ROLE loader LOGIN; ALTER SCHEMA public OWNER TO keeper",
        "mariadb": "CREATE USER keeper; CREATE USER loader; GRANT ALL ON warehouse.* TO keeper WITH GRANT OPTION",
    }
    with users(warehouse, "keeper", "loader"):
        for statement in made[server].split("; "):
            warehouse.query(statement)
        keeper, loader = (
            Warehouse(warehouse.name, {**warehouse.connection, "login": name}) for name in ("keeper", "loader")
        )
        keeper.known(monkeypatch)
        for statement in filter(str.strip, statements.split(";\n")):
            keeper.query(statement)
        about = f"WHERE table_name = '{LANDINGS}' ORDER BY ordinal_position"
        columns = keeper.query(f"SELECT column_name FROM information_schema.columns {about}")  # noqa: S608
        database = open_database(keeper.hook)
        with database.connected() as connection:
            assert has_near_index(connection, database, landings_table(database, keeper.schema))
        assert [name for (name,) in columns] == landings_table(Database(mock.Mock()), None).columns.keys()
        loader.known(monkeypatch)
        names, rows = ["reporting_category", "net", "created"], [["charge", "1.50", "2024-05-01 09:30:00"]]
        for number in (1, 2, 1):
            start, end = day(number), day(number + 1)
            recorded = land(loader.hook, names, rows, table="stripe_activity", start=start, end=end)
            assert landed(loader.hook, "stripe_activity", recorded) == recorded
        with pytest.raises(LandingConflictError, match="count the same twice"):
            land(loader.hook, names, rows, table="stripe_activity", end=day(3))
        assert loader.query("SELECT count(*), sum(net) FROM stripe_activity") == [(2, 3)]
        land(loader.hook, names, rows, table="stripe_activity", end=day(3), on_overlap="replace")
        with pytest.raises(ConfigurationError, match=r"must be owner|ALTER command denied"):
            land(loader.hook, [*names, "fee"], [[*rows[0], "1"]], table="stripe_activity", end=day(3))
        with pytest.raises(ConfigurationError, match=r"CREATE"):
            land(loader.hook, names, rows, table="another")
        assert loader.query("SELECT net FROM stripe_activity") == [(Decimal("1.50"),)]
        warehouse.known(monkeypatch)


@contextmanager
def users(warehouse: Warehouse, *names: str) -> Iterator[None]:
    """Have no such users before and after."""

    def drop() -> None:
        for name in names:
            if warehouse.name == "mariadb":
                warehouse.query(f"DROP USER IF EXISTS {name}")
            elif warehouse.query(f"SELECT 1 FROM pg_roles WHERE rolname = '{name}'"):  # noqa: S608
                warehouse.query(
                    f"REASSIGN OWNED BY {name} TO CURRENT_USER; DROP OWNED BY {name}; DROP ROLE {name}"
                )

    drop()
    yield
    drop()


def test_cents_add_up_in_sqlite(sqlite: Warehouse) -> None:
    """In the way that is shown."""
    (cents,) = re.findall(r"`(sum\(CAST.*?)`", PAGE)
    land(sqlite.hook, ["net"], [["0.10"], ["0.20"], ["-1.05"]])
    assert sqlite.query(f"SELECT {cents} FROM activity") == [(-75,)]  # noqa: S608 - our own page


def test_our_columns_are_explained(sqlite: Warehouse) -> None:
    """Each of them, and each of the manifests' table."""
    land(sqlite.hook, ["net"], [["0.10"]])
    columns = [row[1] for row in sqlite.query(f"PRAGMA table_info({LANDINGS})")]
    assert all(f"`{name}`" in PAGE for name in (*OURS, *columns))


def test_each_database_is_connected_from_nothing() -> None:
    """What the page says to install is what the error of its type would say, and Airflow reads the connection."""
    section = PAGE.partition("## Connections")[2].partition("\n## ")[0]
    found = re.findall(r"-providers-(\w+)\nexport AIRFLOW_CONN_WAREHOUSE='(.*?)'\n", section, re.DOTALL)
    types = {provider: Connection(conn_id="warehouse", **json.loads(text)).conn_type for provider, text in found}
    assert types == {name: name for name in ("sqlite", "duckdb", "postgres", "mysql")}
    assert all(f"pip install apache-airflow-providers-{name}" in what_to_install(it) for name, it in types.items())
