"""Servers as people run them: with readers that stay, publications, poolers, row-level security, narrow roles."""

from __future__ import annotations

import re
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from decimal import Decimal
from typing import Any

import pytest
from airflow.providers.postgres.hooks import postgres as provider
from sqlalchemy.engine.reflection import Inspector

from airflow_reportrun.landing.sql.databases import Database, general
from airflow_reportrun.landing.sql.databases.postgresql import PostgreSQL
from airflow_reportrun.landing.sql.loading import landed
from airflow_reportrun.landing.sql.report import database_errors
from airflow_reportrun.reporting.errors import (
    ConfigurationError,
    ContentsError,
    LandingConflictError,
    ReportingError,
    StoreError,
)
from tests.databases import WAREHOUSES, Server, Warehouse, pgbouncer, running_pgbouncer
from tests.landings import day, land, manifest_of

pytestmark = pytest.mark.slow

SERVERS = [name for name in WAREHOUSES if name != "sqlite"]


@pytest.fixture(params=SERVERS)
def server(request: pytest.FixtureRequest) -> Warehouse:
    """Each database that locks tables."""
    found: Warehouse = request.getfixturevalue(request.param)
    return found


@contextmanager
def idle(warehouse: Warehouse, statement: str) -> Iterator[Any]:
    """Have a session run a statement and leave its transaction open; yields it."""
    with closing(warehouse.hook.get_conn()) as connection:
        with closing(connection.cursor()) as cursor:
            cursor.execute(statement)
            cursor.fetchall() if cursor.description else None
        yield connection


@contextmanager
def reading(warehouse: Warehouse) -> Iterator[list[float]]:
    """Read the table again and again; yields the seconds that each read took."""
    took: list[float] = []
    done = threading.Event()

    def read() -> None:
        while not done.wait(0.05):
            begun = time.monotonic()
            try:
                warehouse.query("SELECT count(*) FROM activity")
            finally:
                took.append(time.monotonic() - begun)

    reader = threading.Thread(target=read)
    reader.start()
    try:
        yield took
    finally:
        done.set()
        reader.join()


def test_a_new_column_lets_readers_by_while_one_of_them_stays(
    server: Warehouse, caplog: pytest.LogCaptureFixture
) -> None:
    """No reader waits for longer than the column does, and the landing goes on when that one has left."""
    land(server.hook, ["net"], [["1.00"]])
    with idle(server, "SELECT count(*) FROM activity") as reader, reading(server) as took:
        leaving = threading.Timer(6, reader.commit)
        leaving.start()
        land(server.hook, ["net", "fee"], [["2.00", "0.10"]], "frr_2")
        leaving.join()
    assert server.query("SELECT count(fee) FROM activity") == [(1,)]
    assert re.search(r"(public|warehouse)\.activity .* Trying again in 1 s", caplog.text)
    assert 2 < max(took) < general.DDL_TIMEOUT + 1, "nobody met the column, or somebody waited for the reader"


def test_who_never_leaves_is_named(server: Warehouse, monkeypatch: pytest.MonkeyPatch) -> None:
    """In an error that a retry may mend, with no word of what was asked; the rows are as they were."""
    monkeypatch.setattr(general, "DDL_PATIENCE", general.DDL_TIMEOUT + 2)
    land(server.hook, ["net"], [["1.00"]])
    with (
        idle(server, "SELECT count(*) FROM activity WHERE net <> 987654321"),
        reading(server) as took,
        pytest.raises(StoreError, match=r"(pid|open:) \d+ \(user \w+, .*since 20.* tried 2 times") as raised,
    ):
        land(server.hook, ["net", "fee"], [["2.00", "0.10"]], "frr_2")
    assert raised.value.is_transient
    assert "987654321" not in str(raised.value)
    assert max(took) < general.DDL_TIMEOUT + 3
    assert server.query("SELECT net FROM activity") == [(1,)]
    land(server.hook, ["net", "fee"], [["2.00", "0.10"]], "frr_2")


def test_a_reader_that_stays_in_a_file_lets_others_by(sqlite: Warehouse, monkeypatch: pytest.MonkeyPatch) -> None:
    """A commit waits for all readers, and new ones for it; the landing comes in when that one has left."""
    land(sqlite.hook, ["net"], [["1.00"]])
    with idle(sqlite, "BEGIN") as reader:
        reader.execute("SELECT count(*) FROM activity").fetchall()
        with monkeypatch.context() as hurried:
            hurried.setattr(general, "DDL_PATIENCE", 0)
            with pytest.raises(StoreError, match="Somebody reads the database's file"):
                land(sqlite.hook, ["net"], [["2.00"]], "frr_2")
        with reading(sqlite) as took:
            landing = threading.Thread(target=land, args=(sqlite.hook, ["net"], [["3.00"]], "frr_3"))
            landing.start()
            landing.join(general.DDL_TIMEOUT + 2)
            assert landing.is_alive()
            reader.commit()
            landing.join()
    assert sqlite.query("SELECT net FROM activity") == [("3.00",)]
    assert max(took) < general.DDL_TIMEOUT + 1


@pytest.mark.parametrize("look", ["has_table", "get_columns"])
def test_a_table_that_comes_between_two_looks_has_its_columns(
    postgres: Warehouse, monkeypatch: pytest.MonkeyPatch, look: str
) -> None:
    """Another landing may create it in any moment, and it is nobody else's for that."""
    ask = getattr(Inspector, look)

    def asked(self: Any, table_name: str, *args: Any, **kwargs: Any) -> Any:
        if table_name != "activity":
            return ask(self, table_name, *args, **kwargs)
        monkeypatch.setattr(Inspector, look, ask)
        try:
            return ask(self, table_name, *args, **kwargs)
        finally:
            land(postgres.hook, ["net"], [["2.00"]], "frr_2", start=day(2), end=day(3))

    monkeypatch.setattr(Inspector, look, asked)
    land(postgres.hook, ["net"], [["1.00"]])
    assert sorted(postgres.query("SELECT net FROM activity")) == [(Decimal("1.00"),), (Decimal("2.00"),)]


@pytest.mark.parametrize("table", ["activity", "stripe_report_landings"])
def test_a_table_that_somebody_else_is_creating_is_waited_for_in_seconds(
    postgres: Warehouse, monkeypatch: pytest.MonkeyPatch, table: str
) -> None:
    """Also that of the manifests; whose transaction it may be is said."""
    monkeypatch.setattr(general, "DDL_PATIENCE", 0)
    with idle(postgres, f"CREATE TABLE {table} (a int)"):
        begun = time.monotonic()
        with pytest.raises(
            StoreError, match=rf"table public.{table} .* pid \d+ \(user {postgres.connection['login']}"
        ):
            land(postgres.hook, ["net"], [["1.00"]])
        assert time.monotonic() - begun < general.DDL_TIMEOUT + 5
    land(postgres.hook, ["net"], [["1.00"]])


def test_a_role_that_sees_little_of_others_is_told_what_it_may_know(
    postgres: Warehouse, monkeypatch: pytest.MonkeyPatch
) -> None:
    """PostgreSQL shows it whose session has the lock, and neither its state nor its time."""
    monkeypatch.setattr(general, "DDL_PATIENCE", 0)
    land(postgres.hook, ["net"], [["1.00"]])
    role = narrow(postgres, "stripe_report_landings")
    postgres.query(f"ALTER TABLE activity OWNER TO {role}")
    who = rf"pid \d+ \(user {postgres.connection['login']}(, application [^,]*)?\)"
    with (
        idle(postgres, "SELECT count(*) FROM activity"),
        acting_as(role, postgres, monkeypatch),
        pytest.raises(StoreError, match=who),
    ):
        land(postgres.hook, ["net", "fee"], [["2.00", "0.10"]], "frr_2")


def test_a_prepared_transaction_is_named(postgres: Warehouse, monkeypatch: pytest.MonkeyPatch) -> None:
    """It keeps its locks without a session."""
    monkeypatch.setattr(general, "DDL_PATIENCE", 0)
    land(postgres.hook, ["net"], [["1.00"]])
    with idle(postgres, "LOCK TABLE activity IN SHARE MODE; PREPARE TRANSACTION 'left'"):
        try:
            with pytest.raises(StoreError, match=r"Who holds it: a prepared transaction \(pg_prepared_xacts\)\."):
                land(postgres.hook, ["net", "fee"], [["2.00", "0.10"]], "frr_2")
        finally:
            with closing(postgres.hook.get_conn()) as connection:
                connection.autocommit = True
                connection.cursor().execute("ROLLBACK PREPARED 'left'")


ONES_OWN = """
CREATE TABLE activity (
    net numeric, _report_type varchar(255) NOT NULL, _stripe_account varchar(255), _filters {},
    _interval_start timestamptz, _interval_end timestamptz, _report_run_id varchar(255) NOT NULL
)
"""
PARTITIONED = f"""
{ONES_OWN.format("varchar(255)")} PARTITION BY RANGE (_interval_end);
CREATE TABLE activity_2024 PARTITION OF activity FOR VALUES FROM ('2024-01-01') TO ('2025-01-01')
"""


@pytest.mark.parametrize("made", [PARTITIONED, "CREATE TABLE activity_2024 () INHERITS (activity)"])
def test_who_reads_a_part_of_a_table_is_named(
    postgres: Warehouse, monkeypatch: pytest.MonkeyPatch, made: str
) -> None:
    """A new column waits for those who hold a partition, or a table that inherits from it."""
    monkeypatch.setattr(general, "DDL_PATIENCE", 0)
    if made is not PARTITIONED:
        land(postgres.hook, ["net"], [["1.00"]])
    postgres.query(made)
    with (
        idle(postgres, "SELECT count(*) FROM activity_2024"),
        pytest.raises(StoreError, match=r"Who holds it: pid \d+ \(user"),
    ):
        land(postgres.hook, ["net", "fee"], [["2.00", "0.10"]], "frr_2")


def test_rows_that_a_partition_keeps_out_are_noticed(postgres: Warehouse) -> None:
    """The server counts what it was given, and a trigger of the part is none of the whole."""
    postgres.query(PARTITIONED)
    postgres.query(
        "CREATE FUNCTION spoil() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN "
        "NEW._filters := 'x'; RETURN NEW; END $$; "
        "CREATE TRIGGER spoil BEFORE INSERT ON activity_2024 FOR EACH ROW "
        "WHEN (NEW.net = 2) EXECUTE FUNCTION spoil()"
    )
    with pytest.raises(ContentsError, match="has 2 rows, and 1 of them came into"):
        land(postgres.hook, ["net"], [["1.00"], ["2.00"]])


def test_rows_that_a_new_table_alters_are_noticed(postgres: Warehouse) -> None:
    """An event trigger may have given it one, as extensions that audit do."""
    postgres.query(
        "CREATE FUNCTION spoil() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN "
        "NEW._filters := 'x'; RETURN NEW; END $$; "
        "CREATE FUNCTION audit() RETURNS event_trigger LANGUAGE plpgsql AS $$ BEGIN "
        "IF to_regclass('activity') IS NOT NULL THEN "
        "CREATE TRIGGER spoil BEFORE INSERT ON activity FOR EACH ROW EXECUTE FUNCTION spoil(); END IF; END $$; "
        "CREATE EVENT TRIGGER audit ON ddl_command_end WHEN TAG IN ('CREATE TABLE') EXECUTE FUNCTION audit()"
    )
    try:
        land(postgres.hook, ["net"], [["1.00"]], table="before")  # the table of manifests is made with this one
        with pytest.raises(ContentsError, match="has 1 rows, and 0 of them came into"):
            land(postgres.hook, ["net"], [["1.00"]])
    finally:
        postgres.query("DROP EVENT TRIGGER audit")


def test_text_that_a_column_cuts_is_noticed(postgres: Warehouse) -> None:
    """The server's own type for names holds 63 bytes, and says nothing of more."""
    postgres.query(ONES_OWN.format("name"))
    with pytest.raises(ContentsError, match="has 1 rows, and 0 of them came into"):
        land(postgres.hook, ["net"], [["1.00"]], currency="usd", reporting_category="x" * 60)


def test_a_column_of_ours_that_is_generated_is_refused(postgres: Warehouse) -> None:
    """Nobody is sent to a publication that there is not."""
    postgres.query(ONES_OWN.format("text GENERATED ALWAYS AS (NULL::text) STORED"))
    with pytest.raises(ConfigurationError, match="is a generated column: a landing writes it"):
        land(postgres.hook, ["net"], [["1.00"]])


def test_a_user_that_sees_no_transactions_is_told_what_to_look_at(
    request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch
) -> None:
    """MariaDB shows them to the privilege PROCESS alone."""
    if "mariadb" not in SERVERS:
        pytest.skip("MariaDB is not installed")
    mariadb: Warehouse = request.getfixturevalue("mariadb")
    monkeypatch.setattr(general, "DDL_PATIENCE", 0)
    land(mariadb.hook, ["net"], [["1.00"]])
    mariadb.query("CREATE OR REPLACE USER altering")
    mariadb.query("GRANT ALL ON warehouse.* TO altering")
    with idle(mariadb, "SELECT count(*) FROM activity"), acting_as("altering", mariadb, monkeypatch):
        with pytest.raises(StoreError, match=r"somebody holds a lock on it\. SHOW PROCESSLIST"):
            land(mariadb.hook, ["net", "fee"], [["2.00", "0.10"]], "frr_2")
        land(mariadb.hook, ["net"], [["2.00"]], "frr_2")


def narrow(postgres: Warehouse, *tables: str, may: str = "SELECT, INSERT, DELETE") -> str:
    """Make a role that may do no more than this."""
    postgres.query("DO $$ BEGIN IF to_regrole('loader') IS NULL THEN CREATE ROLE loader LOGIN; END IF; END $$")
    postgres.query("GRANT USAGE ON SCHEMA public TO loader")
    for table in tables:
        postgres.query(f"GRANT {may} ON {table} TO loader")
    return "loader"


@contextmanager
def acting_as(role: str, postgres: Warehouse, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Let the connection be another role's meanwhile."""
    Warehouse(postgres.name, {**postgres.connection, "login": role}).known(monkeypatch)
    try:
        yield
    finally:
        postgres.known(monkeypatch)


@pytest.fixture
def published(postgres: Warehouse) -> Iterator[Warehouse]:
    """A PostgreSQL that has all its tables replicated."""
    postgres.query("CREATE PUBLICATION everything FOR ALL TABLES")
    yield postgres
    postgres.query("DROP PUBLICATION everything")


@pytest.mark.parametrize("way", ["its own", "as any other"])
def test_published_tables_are_restated(published: Warehouse, monkeypatch: pytest.MonkeyPatch, way: str) -> None:
    """A new table has what a replica finds its rows by, and subscribers get the deletion."""
    if way == "as any other":
        monkeypatch.setattr(type(published.hook), "dialect_name", "other")
    land(published.hook, ["net"], [["1.00"]])
    published.query("SELECT pg_create_logical_replication_slot('seen', 'test_decoding')")
    try:
        land(published.hook, ["net"], [["2.00"]], "frr_2")
        changes = [
            text for (text,) in published.query("SELECT data FROM pg_logical_slot_get_changes('seen', NULL, NULL)")
        ]
    finally:
        published.query("SELECT pg_drop_replication_slot('seen')")
    about = [text for text in changes if text.startswith("table public.activity:")]
    assert [("DELETE" in text, "net[numeric]:1.00" in text) for text in about] == [(True, True), (False, False)]


def test_a_published_table_without_an_identity_is_refused_before_the_download(published: Warehouse) -> None:
    """Once, with the statement that mends it, which works; a key of its own does, too."""
    land(published.hook, ["net"], [["1.00"]])
    published.query("ALTER TABLE activity REPLICA IDENTITY DEFAULT")
    new = manifest_of("frr_2", 1)
    for attempt in (
        lambda: landed(published.hook, "activity", new),
        lambda: land(published.hook, ["net"], [["2.00"]], "frr_2"),
    ):
        with pytest.raises(
            ConfigurationError, match=r"publication everything: .*: ALTER TABLE .* FULL\."
        ) as raised:
            attempt()
    (mending,) = [part for part in str(raised.value).split(": ") if part.startswith("ALTER")]
    published.query(mending.rstrip("."))
    land(published.hook, ["net"], [["2.00"]], "frr_2")
    published.query("ALTER TABLE activity REPLICA IDENTITY DEFAULT, ADD COLUMN id bigserial PRIMARY KEY")
    land(published.hook, ["net"], [["3.00"]], "frr_3")
    assert published.query("SELECT net FROM activity") == [(3,)]


KEY = "ADD COLUMN id bigserial PRIMARY KEY, REPLICA IDENTITY DEFAULT"


@pytest.mark.parametrize(
    ("identity", "of", "ways", "after"),
    [
        (None, "(net)", slice(0, 2), ""),
        (None, "(net)", slice(2, 3), "ALTER PUBLICATION few SET TABLE activity (id, net)"),
        (KEY, "(net)", slice(0, 2), ""),
        (KEY, "WHERE (net > 1)", slice(0, 1), ""),
    ],
)
def test_a_publication_of_some_columns_or_rows_is_refused_before_the_download(
    postgres: Warehouse, identity: str | None, of: str, ways: slice, after: str
) -> None:
    """PostgreSQL deletes no row where what is published tells too little of it; each way out works."""
    land(postgres.hook, ["net"], [["1.00"]])
    postgres.query(f"ALTER TABLE activity {identity or 'REPLICA IDENTITY FULL'}")
    postgres.query(f"CREATE PUBLICATION few FOR TABLE activity {of}")
    try:
        for attempt in (
            lambda: landed(postgres.hook, "activity", manifest_of("frr_2", 1)),
            lambda: land(postgres.hook, ["net"], [["2.00"]], "frr_2"),
        ):
            with pytest.raises(ConfigurationError, match=r"in the publication few: cannot delete") as raised:
                attempt()
        for statement in [*re.findall(r"ALTER .*?(?=[.;](?: |$))", str(raised.value))[ways], after]:
            postgres.query(statement or "SELECT 1")
        land(postgres.hook, ["net"], [["2.00"]], "frr_2")
        assert postgres.query("SELECT net FROM activity") == [(2,)]
    finally:
        postgres.query("DROP PUBLICATION few")


def test_what_becomes_of_a_publication_during_the_download_is_said_with_its_way_out(
    postgres: Warehouse, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The server refuses the deletion itself then."""
    land(postgres.hook, ["net"], [["1.00"]])
    monkeypatch.setattr(PostgreSQL, "check_table", Database.check_table)
    postgres.query("CREATE PUBLICATION few FOR TABLE activity (net)")
    try:
        with pytest.raises(ConfigurationError, match=r"Column list .* Publish all columns: ALTER PUBLICATION"):
            land(postgres.hook, ["net"], [["2.00"]], "frr_2")
    finally:
        postgres.query("DROP PUBLICATION few")


def test_a_lock_on_a_published_table_is_waited_for_as_on_any(
    published: Warehouse, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whether its rows may be deleted is asked for a second at most."""
    monkeypatch.setattr(general, "DDL_PATIENCE", 0)
    recorded = land(published.hook, ["net"], [["1.00"]])
    with idle(published, "LOCK TABLE activity IN SHARE MODE"):
        assert landed(published.hook, "activity", recorded) == recorded
        with pytest.raises(StoreError, match="Who holds it"):
            land(published.hook, ["net", "fee"], [["2.00", "0.10"]], "frr_2")


def test_what_a_publication_refuses_of_a_partition_is_refused_before_the_download(published: Warehouse) -> None:
    """The table has an identity, a part of it has none; that of the part alone counts."""
    published.query(f"{PARTITIONED}; ALTER TABLE activity REPLICA IDENTITY FULL")
    for attempt in (
        lambda: landed(published.hook, "activity", manifest_of("frr_1", 1)),
        lambda: land(published.hook, ["net"], [["1.00"]]),
    ):
        with pytest.raises(ConfigurationError, match=r'ALTER TABLE "activity_2024" REPLICA IDENTITY FULL'):
            attempt()
    published.query("ALTER TABLE activity REPLICA IDENTITY DEFAULT")
    published.query("ALTER TABLE activity_2024 REPLICA IDENTITY FULL")
    for _ in range(2):
        land(published.hook, ["net"], [["1.00"]])


@pytest.fixture(params=["psycopg", "psycopg2"])
def pooled(
    request: pytest.FixtureRequest,
    postgres: Warehouse,
    _postgres_server: Server,
    monkeypatch: pytest.MonkeyPatch,
) -> Iterator[Warehouse]:
    """A PostgreSQL behind a PgBouncer that gives each transaction another session, by either driver."""
    if pgbouncer() is None:
        pytest.skip("PgBouncer is not installed: apt-get install pgbouncer")
    if request.param == "psycopg" and not getattr(provider, "USE_PSYCOPG3", False):
        pytest.skip("Airflow's provider does not use it with this SQLAlchemy")
    monkeypatch.setattr(provider, "USE_PSYCOPG3", request.param == "psycopg", raising=False)
    with running_pgbouncer(_postgres_server) as connection:
        yield Warehouse("postgresql", connection).known(monkeypatch)


def test_landings_at_once_share_the_sessions_of_a_pooler(pooled: Warehouse) -> None:
    """They wait for each other there, too, and none of them changes a session for the next one."""
    errors: list[Exception] = []

    def days(numbers: Sequence[int]) -> None:
        try:
            for number in numbers:
                land(pooled.hook, ["net"], [["1.00"]], f"frr_{number}", start=day(number), end=day(number + 1))
        except Exception as error:
            errors.append(error)

    settings = "SELECT name, setting FROM pg_settings WHERE name IN ('lock_timeout', 'TimeZone') ORDER BY 1"
    before = pooled.query(settings)
    for _ in range(2):
        threads = [threading.Thread(target=days, args=[range(first, 29, 4)]) for first in range(1, 5)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert errors == []
    assert pooled.query("SELECT sum(net) FROM activity") == [(28,)]
    assert pooled.query(settings) == before


def test_a_pooled_session_keeps_no_statement_of_ours(pooled: Warehouse) -> None:
    """The next landing, in the same session, would find its own prepared by another one."""
    for _ in range(2):
        for number in range(1, 9):
            land(pooled.hook, ["net"], [["1.00"]], start=day(number), end=day(number + 1))
        for _ in range(2):
            recorded = land(pooled.hook, ["net", "fee"], [["5", "1"]], end=day(9), on_overlap="replace")
        assert landed(pooled.hook, "activity", recorded) == recorded
        assert pooled.query("SELECT net, fee FROM activity") == [(5, 1)]
        assert pooled.query("SELECT statement FROM pg_prepared_statements") == []
        pooled.query("DELETE FROM activity; DELETE FROM stripe_report_landings")


def test_a_role_that_may_make_no_index_lands_without_it(
    postgres: Warehouse, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """In a table of manifests from before there was one; the log has the statement for its owner."""
    caplog.set_level("INFO")
    land(postgres.hook, ["net"], [["1.00"]])
    ((name,),) = postgres.query(
        "SELECT indexname FROM pg_indexes WHERE indexname LIKE 'stripe_report_landings_near%'"
    )
    postgres.query(f"DROP INDEX {name}")
    role = narrow(postgres, "activity", "stripe_report_landings")
    with acting_as(role, postgres, monkeypatch):
        land(postgres.hook, ["net"], [["2.00"]], "frr_2")
    assert postgres.query("SELECT net FROM activity") == [(2,)]
    (statement,) = re.findall(r"its owner can run: (.*)", caplog.text)
    postgres.query(statement)
    caplog.clear()
    with acting_as(role, postgres, monkeypatch):
        land(postgres.hook, ["net"], [["3.00"]], "frr_3")
    assert "can run" not in caplog.text


def test_rows_are_inserted_where_policies_choose_them(
    postgres: Warehouse, monkeypatch: pytest.MonkeyPatch
) -> None:
    """COPY is refused there; NULL, quotes and digits arrive as they do by COPY."""
    rows = [["1.50", "", None, "2024-05-01 09:30:00"], ["2.000", '"é\n"', None, None]]
    names = ["net", "what", "fee", "created"]
    cells = "SELECT net::text, what, fee, created FROM activity ORDER BY net"
    land(postgres.hook, names, rows)
    copied = postgres.query(cells)
    role = narrow(postgres, "activity", "stripe_report_landings")
    postgres.query("ALTER TABLE activity ENABLE ROW LEVEL SECURITY")
    postgres.query(f"CREATE POLICY loads ON activity TO {role} USING (true)")
    with acting_as(role, postgres, monkeypatch):
        for run_id, some in (("frr_2", rows[:1]), ("frr_3", rows)):
            recorded = land(postgres.hook, names, some, run_id)
        assert landed(postgres.hook, "activity", recorded) == recorded
    assert postgres.query(cells) == copied
    postgres.query("ALTER POLICY loads ON activity WITH CHECK (net < 2)")
    with acting_as(role, postgres, monkeypatch), pytest.raises(ConfigurationError, match="policies have to"):
        land(postgres.hook, names, rows[1:], "frr_4")
    assert postgres.query("SELECT DISTINCT _report_run_id FROM activity") == [("frr_3",)]


@pytest.mark.parametrize(
    ("policies", "error"),
    [
        (["FOR SELECT USING (true)", "FOR INSERT WITH CHECK (true)"], LandingConflictError),
        (["FOR DELETE USING (true)", "FOR INSERT WITH CHECK (true)", "FOR SELECT USING (net < 2)"], ContentsError),
    ],
)
def test_policies_that_keep_rows_are_named(
    postgres: Warehouse, monkeypatch: pytest.MonkeyPatch, policies: Sequence[str], error: type[ReportingError]
) -> None:
    """What the role can't delete, and what it can't see, is no trigger's doing; nothing has changed."""
    land(postgres.hook, ["net"], [["1.00"]])
    role = narrow(postgres, "activity", "stripe_report_landings")
    postgres.query("ALTER TABLE activity ENABLE ROW LEVEL SECURITY")
    for number, policy in enumerate(policies):
        postgres.query(f"CREATE POLICY p{number} ON activity {policy}")
    named = r"row-level security \(policies: (p0 for DELETE, )?p1 for INSERT, p[02] for SELECT; they have to let"
    with acting_as(role, postgres, monkeypatch), pytest.raises(error, match=named):
        land(postgres.hook, ["net"], [["2.00"]], "frr_2")
    assert postgres.query("SELECT net FROM activity") == [(1,)]


def test_a_view_takes_rows_as_its_table_does(postgres: Warehouse) -> None:
    """COPY knows no view but one with a trigger of its own."""
    land(postgres.hook, ["net"], [["1.00"]], table="kept")
    postgres.query("CREATE VIEW activity AS SELECT * FROM kept")
    for net in ("3.00", "2.00"):
        land(postgres.hook, ["net"], [[net]], start=day(2), end=day(3))
    assert postgres.query("SELECT net FROM kept ORDER BY net") == [(1,), (2,)]


def test_a_view_that_lacks_columns_says_where_they_belong(warehouse: Warehouse) -> None:
    """Before the download where the report was asked for them; what it says to add is enough."""
    land(warehouse.hook, ["net"], [["1.00"]], table="kept")
    warehouse.query("CREATE VIEW activity AS SELECT * FROM kept")
    for attempt in (
        lambda: landed(warehouse.hook, "activity", manifest_of("frr_2", 1), columns=["net", "fee"]),
        lambda: land(warehouse.hook, ["net", "fee"], [["2.00", "0.10"]], "frr_2"),
    ):
        with pytest.raises(ContentsError, match=r"activity is a view .* below \(fee \w+") as raised:
            attempt()
    column = str(raised.value).partition("below (")[2].partition(") and to")[0]
    warehouse.query(f"ALTER TABLE kept ADD COLUMN {column}")
    if warehouse.name != "sqlite":  # whose views take rows by triggers alone
        warehouse.query("CREATE OR REPLACE VIEW activity AS SELECT * FROM kept")
        land(warehouse.hook, ["net", "fee"], [["2.00", "0.10"]], "frr_2", start=day(2), end=day(3))
        assert warehouse.query("SELECT fee FROM kept WHERE fee IS NOT NULL") == [(Decimal("0.10"),)]


@pytest.mark.parametrize("may", ["SELECT, INSERT", "SELECT"])
def test_a_privilege_that_is_lacking_is_named_before_the_download(
    postgres: Warehouse, monkeypatch: pytest.MonkeyPatch, may: str
) -> None:
    """With the statement that grants it, which works."""
    land(postgres.hook, ["net"], [["1.00"]])
    role = narrow(postgres, "stripe_report_landings")
    postgres.query(f"GRANT {may} ON activity TO {role}")
    lacking = 'DELETE ON "public"."activity" TO "loader"'
    with acting_as(role, postgres, monkeypatch), pytest.raises(ConfigurationError, match=lacking) as raised:
        landed(postgres.hook, "activity", manifest_of("frr_2", 1))
    postgres.query(str(raised.value).partition(": ")[2].rstrip("."))
    with acting_as(role, postgres, monkeypatch):
        land(postgres.hook, ["net"], [["2.00"]], "frr_2")


def test_what_a_narrow_role_may_not_says_what_to_grant(
    postgres: Warehouse, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Columns and tables are its owner's matter; a schema that it may not use is said, too."""
    land(postgres.hook, ["net"], [["1.00"]])
    role = narrow(postgres, "activity", "stripe_report_landings")
    with acting_as(role, postgres, monkeypatch):
        with pytest.raises(ConfigurationError, match="must be owner of table activity: let the owner add"):
            land(postgres.hook, ["net", "fee"], [["2.00", "0.10"]], "frr_2")
        with pytest.raises(ConfigurationError, match=r"permission denied for schema public: grant .* CREATE"):
            land(postgres.hook, ["net"], [["2.00"]], "frr_2", table="another")
    postgres.query(f"REVOKE USAGE ON SCHEMA public FROM {role}")
    with acting_as(role, postgres, monkeypatch):
        for table in ("activity", "public.activity"):
            with pytest.raises(ConfigurationError, match="grant the connection's role USAGE"):
                land(postgres.hook, ["net"], [["2.00"]], "frr_2", table=table)


DOORS = {
    ("postgresql", "schema"): 'database "nobody" does not exist',
    ("postgresql", "login"): 'role "nobody" does not exist',
    ("mariadb", "schema"): "Unknown database 'nobody'",
    ("mariadb", "login"): "Access denied for user 'nobody'",
}


@pytest.mark.parametrize("what", ["schema", "login", "host"])
@pytest.mark.parametrize("three", [True, False])
def test_a_door_that_stays_shut_is_not_knocked_at_again(
    server: Warehouse, monkeypatch: pytest.MonkeyPatch, what: str, three: bool
) -> None:
    """No such database or role, by each driver; a server that does not answer may come back."""
    has_three = getattr(provider, "USE_PSYCOPG3", False)
    monkeypatch.setattr(provider, "USE_PSYCOPG3", three and has_three, raising=False)
    Warehouse(server.name, {**server.connection, what: "nobody"}).known(monkeypatch)
    kind, words = (ConfigurationError, DOORS[server.name, what]) if what != "host" else (StoreError, "host|server")
    with pytest.raises(kind, match=words) as raised, database_errors("activity"):
        landed(server.hook, "activity", manifest_of("frr_1", 1))
    assert raised.value.is_transient is (what == "host")


LIMITS = {"sqlite": 2000, "postgresql": 1600, "mariadb": 1017}


@pytest.mark.parametrize("name", WAREHOUSES)
def test_a_table_has_as_many_columns_as_the_database_has_room_for(
    request: pytest.FixtureRequest, name: str
) -> None:
    """One more is refused before anything is sent, for a table that is there, too."""
    warehouse: Warehouse = request.getfixturevalue(name)
    names = [f"c{number}" for number in range(LIMITS[warehouse.name] - 6)]
    with pytest.raises(ContentsError, match=rf"{LIMITS[warehouse.name] + 1} columns, 6 of them ours"):
        land(warehouse.hook, [*names, "one_more"], [])
    land(warehouse.hook, names, [["x"] * len(names)])
    with pytest.raises(ContentsError, match=rf"{LIMITS[warehouse.name] + 1} columns, 6 of them ours"):
        land(warehouse.hook, [*names[1:], "one_more", "c0"], [], "frr_2")
    for table in ("activity", "another"):  # where the run was asked for its columns, before its file is fetched
        with pytest.raises(ContentsError, match="ask for the report with fewer columns"):
            landed(warehouse.hook, table, manifest_of("frr_2", 1), columns=[*names, "one_more"])


def test_a_row_that_is_too_wide_is_an_error_that_stays(server: Warehouse) -> None:
    """Whatever its driver calls it; nothing has changed."""
    names = [f"c{number}" for number in range(500)]
    land(server.hook, names, [["x"] * 500])
    with pytest.raises(ContentsError, match="fewer columns"):
        land(server.hook, names, [["x" * 3000] * 500], "frr_2")
    assert server.query("SELECT c1 FROM activity") == [("x",)]


def test_many_long_cells_fit(server: Warehouse) -> None:
    """Two hundred columns of them, and one of a hundred thousand bytes."""
    rows: list[list[str | None]] = [["é" * 3000] * 200, ["é" * 50_000, *[None] * 199]]
    land(server.hook, [f"c{number}" for number in range(200)], rows)
    length = "octet_length" if server.name == "postgresql" else "length"
    assert server.query(f"SELECT {length}(c0) FROM activity ORDER BY 1") == [(6000,), (100_000,)]  # noqa: S608
