"""The operator against the sandbox, over the wire, in Airflow's own task runner."""

from __future__ import annotations

import csv
import io
import json
import re
import sqlite3
import sys
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from airflow.providers.common.compat.sdk import Asset

from airflow_reportrun.hooks import StripeReportingHook
from airflow_reportrun.landing.sql import report
from airflow_reportrun.landing.sql.loading import load
from airflow_reportrun.landing.sql.report import database_errors
from airflow_reportrun.landing.tables import land_in
from airflow_reportrun.operators import StripeReportRunOperator, StripeReportToSqlOperator
from airflow_reportrun.reporting.errors import ConfigurationError, ContentsError, ReportingError, StoreError
from airflow_reportrun.reporting.parameters import ReportParameters
from airflow_reportrun.sandbox import (
    AtOnce,
    CutBody,
    Fault,
    Framed,
    Garbage,
    ProxyPage,
    RunFails,
    RunNeverEnds,
    ShortContents,
    StripeSandbox,
    Unavailable,
    WrongLength,
)
from tests.databases import Warehouse
from tests.landings import day
from tests.task_runner import TaskRunner, Try, in_dag

MANIFESTS = "SELECT manifest FROM stripe_report_landings WHERE landing <> ''"
REPORT = "balance_change_from_activity.itemized.3"


@pytest.fixture(autouse=True)
def _runs_end_at_once(stripe_conn: StripeSandbox) -> None:
    stripe_conn.configure(transition=AtOnce())


def finished(
    start: int = day(1),
    end: int = day(2),
    report_type: str = REPORT,
    account: str | None = None,
    **parameters: Any,
) -> str:
    """Return the id of a report run that is finished."""
    hook = StripeReportingHook(stripe_account=account)
    asked = ReportParameters(interval_start=start, interval_end=end, **parameters)
    run = hook.create_report_run(report_type, asked)
    return hook.retrieve_report_run(run.id).id


def landing(run: Any, **options: Any) -> Any:
    return in_dag(
        StripeReportToSqlOperator,
        **{"report_run_id": run, "table": "activity", "conn_id": "warehouse", **options},
    )


def lands(run: Any, **options: Any) -> Try:
    tried = TaskRunner().run(landing(run, **options))
    assert tried.state == "success", tried.error
    return tried


def contents(run_id: str, account: str | None = None) -> list[dict[str, str]]:
    """Return the rows that Stripe has for a report run."""
    hook = StripeReportingHook(stripe_account=account)
    file = hook.retrieve_report_run(run_id).result
    assert file is not None
    text = hook.read_file(file, lambda chunks: b"".join(chunks)).decode()
    return list(csv.DictReader(io.StringIO(text)))


def ids(warehouse: Warehouse) -> list[str]:
    return sorted(row[0] for row in warehouse.query("SELECT balance_transaction_id FROM activity"))


def test_a_report_run_lands_in_a_table(stripe_conn: StripeSandbox, warehouse: Warehouse) -> None:
    """All its rows, and what the task returns says of which run, file and table."""
    run_id = finished()
    tried = lands(run_id)
    expected = contents(run_id)
    assert expected
    assert ids(warehouse) == sorted(row["balance_transaction_id"] for row in expected)
    table = f"{warehouse.schema}.activity"
    assert {"report_run_id": run_id, "path": table, "rows": len(expected), "sha256": None}.items() <= (
        tried.returned.items()
    )
    (manifest,) = (json.loads(text) for (text,) in warehouse.query(MANIFESTS))
    assert (manifest["report_run_id"], manifest["file_id"]) == (run_id, tried.returned["file_id"])
    assert manifest["rows"] == len(expected)


def test_it_takes_what_the_run_operator_returned(stripe_conn: StripeSandbox, warehouse: Warehouse) -> None:
    """So that a DAG reads: run, then land."""
    ran = TaskRunner().run(in_dag(StripeReportRunOperator, report_type=REPORT, poll_interval=0.01))
    lands(ran.returned)
    assert len(stripe_conn.report_runs) == 1
    assert ids(warehouse) == sorted(
        row["balance_transaction_id"] for row in contents(ran.returned["report_run_id"])
    )


def test_what_is_landed_is_not_transferred_again(stripe_conn: StripeSandbox, warehouse: Warehouse) -> None:
    """A clear changes nothing; rows that are gone, or other types, make it land anew."""
    run_id = finished()
    first = lands(run_id)
    downloads = len(stripe_conn.requests_to("contents"))
    assert downloads
    assert lands(run_id).returned == first.returned
    assert len(stripe_conn.requests_to("contents")) == downloads
    before = ids(warehouse)
    warehouse.query(f"DELETE FROM activity WHERE balance_transaction_id = '{before[0]}'")  # noqa: S608 - ours
    lands(run_id)
    assert len(stripe_conn.requests_to("contents")) == downloads + 1
    assert ids(warehouse) == before
    lands(run_id, column_types={"description": "text", "net": "money(4)"})
    assert len(stripe_conn.requests_to("contents")) == downloads + 2
    assert ids(warehouse) == before


def test_an_older_run_leaves_the_rows_of_a_newer_one(stripe_conn: StripeSandbox, warehouse: Warehouse) -> None:
    """Whichever task comes last; nothing is transferred for it."""
    older = finished()
    stripe_conn.advance(86_400)
    newer = finished()
    told = lands(newer).returned
    downloads = len(stripe_conn.requests_to("contents"))
    assert lands(older).returned["rows"] == told["rows"]
    assert len(stripe_conn.requests_to("contents")) == downloads
    assert warehouse.query("SELECT DISTINCT _report_run_id FROM activity") == [(newer,)]


@pytest.mark.parametrize("options", [{}, {"column_types": {"description": "text", "net": "money(4)"}}], ids=str)
def test_a_newer_run_that_lands_meanwhile_stays(
    stripe_conn: StripeSandbox, warehouse: Warehouse, monkeypatch: pytest.MonkeyPatch, options: dict[str, Any]
) -> None:
    """The older one has looked before, and downloaded all: it leaves the rows there, and its task succeeds."""
    older = finished()
    stripe_conn.advance(86_400)
    newer = finished()

    def late(*args: Any, **kwargs: Any) -> Any:
        monkeypatch.setattr(report, "load", load)
        hook = StripeReportingHook()
        land_in(hook, hook.retrieve_report_run(newer), report.DatabaseTable(warehouse.hook, "activity"))
        return load(*args, **kwargs)

    monkeypatch.setattr(report, "load", late)
    lands(older, **options)
    assert len(stripe_conn.requests_to("contents")) == 2
    assert warehouse.query("SELECT DISTINCT _report_run_id FROM activity") == [(newer,)]
    lands(older, **options)
    assert len(stripe_conn.requests_to("contents")) == 2


def test_days_add_up_and_a_clear_replaces_its_day_alone(warehouse: Warehouse) -> None:
    """Backfill, restate, backfill again."""
    runs = [finished(day(number), day(number + 1)) for number in (1, 2, 3)]
    for run in (*runs, *runs):
        lands(run)
    again = finished(day(2), day(3))
    lands(again)
    whole = sorted(row["balance_transaction_id"] for row in contents(finished(day(1), day(4))))
    assert ids(warehouse) == whole
    by_run = {row[0] for row in warehouse.query("SELECT DISTINCT _report_run_id FROM activity")}
    assert by_run == set(runs)  # the figures are the same
    assert again in "".join(text for (text,) in warehouse.query(MANIFESTS))


def test_a_span_over_landed_days_is_refused_without_a_retry(
    stripe_conn: StripeSandbox, warehouse: Warehouse
) -> None:
    """Before it is downloaded, and until the author says that it replaces them."""
    lands(finished(day(1), day(2)))
    downloads = len(stripe_conn.requests_to("contents"))
    over = finished(day(1), day(4))
    tried = TaskRunner().run(landing(over))
    assert tried.state == "failed"
    assert "on_overlap='replace'" in str(tried.error)
    assert len(stripe_conn.requests_to("contents")) == downloads
    lands(over, on_overlap="{{ 'replace' }}")
    assert ids(warehouse) == sorted(row["balance_transaction_id"] for row in contents(over))


def test_the_reports_time_zone_counts(warehouse: Warehouse) -> None:
    """What it writes in local time is the same instant in the table."""
    run_id = finished(timezone="America/New_York")
    lands(run_id)
    local = "2024-04-30 20:00:00", "2024-05-01 20:00:00"
    assert all(local[0] <= row["created"] < local[1] for row in contents(run_id))
    bounds = warehouse.query("SELECT min(created), max(created) FROM activity")[0]
    assert [str(bound)[:10] for bound in bounds] == ["2024-05-01", "2024-05-01"]


def test_a_cut_download_arrives_whole(stripe_conn: StripeSandbox, warehouse: Warehouse) -> None:
    """The table sees nothing of it."""
    run_id = finished()
    stripe_conn.inject(CutBody(after=100), on="contents", times=2)
    lands(run_id)
    assert ids(warehouse) == sorted(row["balance_transaction_id"] for row in contents(run_id))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"table": "{{ 'a.b.c' }}"}, "table"),
        ({"on_overlap": "{{ 'merge' }}"}, "on_overlap"),
        ({"column_types": {"net": "{{ 'float' }}"}}, "column_types"),
        ({"conn_id": "stripe_default"}, "of type stripe"),
        ({"report_run_id": "file_1"}, "report_run_id"),
    ],
)
def test_what_can_not_be_fails_without_a_retry(
    stripe_conn: StripeSandbox, sqlite: Warehouse, options: dict[str, Any], message: str
) -> None:
    """And writes nothing."""
    tried = TaskRunner().run(landing(**{"run": finished(), **_renamed(options)}))
    assert tried.state == "failed"
    assert message in str(tried.error)
    assert stripe_conn.requests_to("contents") == []
    assert sqlite.query("SELECT count(*) FROM sqlite_master") == [(0,)]


def test_columns_that_do_not_fit_fail_before_the_download(
    stripe_conn: StripeSandbox, warehouse: Warehouse
) -> None:
    """Where the report run was asked for them, here with another type than the table has; without a retry."""
    run = finished(columns=["balance_transaction_id", "net"])
    ours = "_report_type, _stripe_account, _filters, _interval_start, _interval_end, _report_run_id"
    lands(run, table="kept")
    downloads = len(stripe_conn.requests_to("contents"))
    warehouse.query(f"CREATE TABLE activity AS SELECT count(*) AS net, {ours} FROM kept GROUP BY {ours}")  # noqa: S608
    tried = TaskRunner().run(landing(run))
    assert tried.state == "failed"
    assert f"The column 'net' of the table {warehouse.schema}.activity is" in str(tried.error)
    assert len(stripe_conn.requests_to("contents")) == downloads


@pytest.mark.parametrize("landed_before", [False, True])
def test_types_for_columns_that_the_report_lacks_change_nothing(warehouse: Warehouse, landed_before: bool) -> None:
    """Neither table nor row, also where the rows are there already."""
    run = finished()
    if landed_before:
        lands(run)
    tried = TaskRunner().run(landing(run, column_types={"feee": "money(9)"}))
    assert tried.state == "failed"
    assert "columns that the report lacks: feee. It has fee" in str(tried.error)
    if landed_before:
        assert ids(warehouse) == sorted(row["balance_transaction_id"] for row in contents(run))
    else:
        with pytest.raises(Exception, match="activity"):
            ids(warehouse)


def test_one_mapping_of_types_may_serve_several_reports(warehouse: Warehouse) -> None:
    """What another report has is said, and no error."""
    lands(finished(columns=["balance_transaction_id", "net"]), column_types={"fee": "money(9)", "net": "text"})


@pytest.mark.parametrize(
    ("conn_type", "message"),
    [
        ("snowflake", "pip install apache-airflow-providers-snowflake"),
        ("mssql", "pip install apache-airflow-providers-microsoft-mssql"),
        ("gcpbigquery", "pip install apache-airflow-providers-google"),
        ("pg", "its type 'pg' has no hook here"),
        ("generic", "its type 'generic' has no hook here"),
        ("", "its type None has no hook here"),
    ],
)
def test_a_database_without_its_provider_names_what_to_install(
    stripe_conn: StripeSandbox, monkeypatch: pytest.MonkeyPatch, conn_type: str, message: str
) -> None:
    """Airflow says an AttributeError of some of these."""
    run = finished()
    monkeypatch.setenv("AIRFLOW_CONN_WAREHOUSE", json.dumps({"conn_type": conn_type, "password": "a secret"}))
    tried = TaskRunner().run(landing(run))
    assert tried.state == "failed"
    assert message in str(tried.error)
    assert "a secret" not in str(tried.error)
    assert stripe_conn.requests_to("contents") == []


def test_a_database_whose_driver_is_missing_names_what_to_install(
    stripe_conn: StripeSandbox, sqlite: Warehouse, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The provider is there, and its hook can't be imported."""
    run = finished()
    monkeypatch.setitem(sys.modules, "airflow.providers.sqlite.hooks.sqlite", None)
    tried = TaskRunner().run(landing(run))
    assert tried.state == "failed"
    assert "pip install apache-airflow-providers-sqlite" in str(tried.error)


def _renamed(options: dict[str, Any]) -> dict[str, Any]:
    return {"run" if name == "report_run_id" else name: value for name, value in options.items()}


@pytest.mark.parametrize("outcome", [RunFails("no data"), RunNeverEnds()])
def test_a_run_without_a_file_lands_nothing(stripe_conn: StripeSandbox, sqlite: Warehouse, outcome: Any) -> None:
    """Whether it failed or is not finished."""
    stripe_conn.inject(outcome)
    tried = TaskRunner().run(landing(finished()))
    assert tried.state in ("failed", "up_for_retry")
    assert sqlite.query("SELECT count(*) FROM sqlite_master") == [(0,)]


def test_a_file_that_is_too_short_changes_no_row(stripe_conn: StripeSandbox, warehouse: Warehouse) -> None:
    """The table has what it had before."""
    run_id = finished()
    lands(run_id)
    before = ids(warehouse)
    again = finished()
    stripe_conn.inject(ShortContents(kept=100), times=20)
    task = landing(again)
    task.hook.sleep = lambda seconds: None
    tried = TaskRunner().run(task)
    assert tried.state != "success"
    assert ids(warehouse) == before


def test_an_asset_event_tells_what_landed(sqlite: Warehouse) -> None:
    """With the manifest's essentials."""
    run_id = finished()
    asset = Asset("sql://warehouse/main.activity")
    (extra,) = TaskRunner().run(landing(run_id, outlets=[asset])).asset_extras
    assert extra["path"] == "main.activity"
    assert (extra["report_run_id"], extra["rows"]) == (run_id, len(ids(sqlite)))


def test_a_database_that_refuses_a_row_says_so_without_the_row(warehouse: Warehouse) -> None:
    """A retry would end the same, and what drivers add to the first line may be about a customer."""
    run = finished()
    lands(run)
    warehouse.hook.run("DELETE FROM activity")
    length = "(3)" if warehouse.name == "mariadb" else ""  # which an index over text has to say
    warehouse.hook.run(f"CREATE UNIQUE INDEX one_currency ON activity (currency{length})")
    tried = TaskRunner().run(landing(run))
    assert tried.state == "failed"
    assert "table activity: " in str(tried.error)
    assert re.search("unique|Duplicate entry", str(tried.error), re.IGNORECASE)
    assert not re.search("txn_|usd", str(tried.error))
    assert tried.error is not None
    assert tried.error.__cause__ is not None
    assert "txn_" not in str(tried.error.__cause__)


def test_a_cell_that_is_too_long_is_named_without_what_is_in_it(postgres: Warehouse) -> None:
    """By line and column, which PostgreSQL tells beside the rows that it shows."""
    run = finished()
    lands(run)
    postgres.query("DELETE FROM activity")
    postgres.query("ALTER TABLE activity ALTER COLUMN balance_transaction_id TYPE varchar(2)")
    error = str(TaskRunner().run(landing(run)).error)
    assert "value too long" in error
    assert "(COPY activity, line 1, column balance_transaction_id)" in error
    assert "txn_" not in error


FAULTS: list[Fault] = [
    *(CutBody(5_000), CutBody(5_000, "chunked"), CutBody(5_000, "close"), Framed("close"), Garbage(after=3_000)),
    *(ProxyPage(200), ShortContents(kept=5_000), WrongLength(-10), Unavailable()),
]


@pytest.mark.parametrize("fault", FAULTS, ids=repr)
@pytest.mark.parametrize("times", [1, 1000], ids=["once", "for good"])
def test_faults_land_all_rows_or_none(
    stripe_conn: StripeSandbox, sqlite: Warehouse, fault: Fault, times: int
) -> None:
    """The rows that are there stay until all of the others have come, to a file that no database knows of."""
    older, newer = finished(), finished()
    lands(older)
    expected = ids(sqlite)
    stripe_conn.inject(fault, on="contents", times=times)
    task = landing(newer)
    task.hook.sleep = lambda seconds: None
    tried = TaskRunner().run(task)
    assert tried.state == "success" or times > 1
    there = sqlite.query("SELECT report_run_id FROM stripe_report_landings")
    assert there == [(newer if tried.state == "success" else older,)]
    assert ids(sqlite) == expected


@pytest.mark.parametrize("conn_type", ["sqlite", "duckdb"])
@pytest.mark.parametrize("folder", ["missing", "closed"])
def test_a_file_that_can_not_be_opened_is_named(
    stripe_conn: StripeSandbox, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, conn_type: str, folder: str
) -> None:
    """With its folder, where that is not there; nothing is transferred, and no retry would help."""
    path = tmp_path / folder / "warehouse.db"
    if folder == "closed":
        path.mkdir(parents=True)  # as good as a file that one may not read, which root may
    connection = {"conn_type": conn_type, "host": str(path)}
    monkeypatch.setenv("AIRFLOW_CONN_WAREHOUSE", json.dumps(connection))
    tried = TaskRunner().run(landing(finished()))
    assert tried.state == "failed"
    assert type(tried.error).__name__ == "AirflowFailException"
    assert str(path) in str(tried.error)
    if folder == "missing":
        assert f"there is no folder {path.parent}. " in str(tried.error)
    assert stripe_conn.requests_to("contents") == []


@pytest.mark.parametrize("conn_type", ["sqlite", "duckdb"])
@pytest.mark.parametrize("host", [None, "", ":memory:", "rel.db", "folder/rel.db", "file:rel.db"])
def test_a_file_that_is_another_one_for_each_task_is_refused(
    stripe_conn: StripeSandbox, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, conn_type: str, host: str | None
) -> None:
    """In memory, or below a working directory; nothing is made or transferred, and no retry would help."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("AIRFLOW_CONN_WAREHOUSE", json.dumps({"conn_type": conn_type, "host": host}))
    tried = TaskRunner().run(landing(finished()))
    assert tried.state == "failed"
    assert type(tried.error).__name__ == "AirflowFailException"
    why = "is relative, and" if host and "rel" in host else "in memory, which is gone when the task ends: give it"
    assert why in str(tried.error)
    assert stripe_conn.requests_to("contents") == []
    assert not list(tmp_path.glob("**/*.db"))


@pytest.mark.parametrize("folder", ["", "/"])
def test_the_login_of_a_sqlite_file_is_refused_and_not_told(
    stripe_conn: StripeSandbox, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, folder: str
) -> None:
    """Airflow puts it before the path, which is none then, be it absolute or not."""
    monkeypatch.chdir(tmp_path)
    about = {
        "conn_type": "sqlite",
        "host": f"{folder and tmp_path}{folder}w.db",
        "login": "books",
        "password": "hidden",
    }
    monkeypatch.setenv("AIRFLOW_CONN_WAREHOUSE", json.dumps(about))
    tried = TaskRunner().run(landing(finished()))
    assert type(tried.error).__name__ == "AirflowFailException"
    assert "has a login or a password, of which a file has none" in str(tried.error)
    assert "hidden" not in str(tried.error)
    assert list(tmp_path.iterdir()) == []


def test_a_value_that_a_database_quotes_is_left_out() -> None:
    """As MySQL does, whatever is in it."""
    said = "(1062, \"Duplicate entry 'Jane\n' for O'Neill' for key 'who'\")"
    with pytest.raises(ContentsError) as raised, database_errors("activity"):
        raise sqlite3.IntegrityError(said)
    assert str(raised.value) == ("table activity: IntegrityError: (1062, \"Duplicate entry '…' for key 'who'\")")
    assert raised.value.__context__ is None


def test_somebody_elses_table_is_refused_before_a_download(
    stripe_conn: StripeSandbox, warehouse: Warehouse
) -> None:
    """In our words, whether manifests are there or not; a table that lost one of our columns is one, too."""
    warehouse.hook.run("CREATE TABLE theirs (net text)")
    run = finished()

    def refused(table: str, lost: str) -> None:
        tried = TaskRunner().run(landing(run, table=table))
        assert tried.state == "failed"
        assert f"{table} exists and lacks {lost}" in str(tried.error)

    refused("theirs", "_report_type")
    lands(run)
    refused("theirs", "_report_type")
    warehouse.hook.run("ALTER TABLE activity DROP COLUMN _report_run_id")
    refused("activity", "_report_run_id")
    assert len(stripe_conn.requests_to("contents")) == 1


def said(module: str, *args: object, **facts: object) -> Exception:
    """Return what a driver raises for nearly everything."""
    base = type("DatabaseError", (Exception,), {})
    error: Exception = type("OperationalError", (base,), {"__module__": module, **facts})(*args)
    return error


def in_sqlite(folder: Path, *statements: str, uri: str = "file:{}/w.db", busy: str | None = None) -> Exception:
    """Return what SQLite says of the last statement, while another connection holds a lock."""
    with (
        closing(sqlite3.connect(uri.format(folder), uri=True, timeout=0, isolation_level=None)) as connection,
        closing(sqlite3.connect(folder / "w.db", isolation_level=None)) as other,
    ):
        if busy:
            other.execute(busy)
        try:
            for statement in statements:
                connection.execute(statement)
        except sqlite3.Error as error:
            return error
    raise AssertionError("SQLite took it")


@pytest.mark.parametrize(
    ("statements", "kind"),
    [
        (["SELECT * FROM nowhere"], ConfigurationError),
        (["CREATE TABLE t (a)", "SELECT b FROM t ORDER BY c"], ConfigurationError),
        (["SELECT FROM WHERE"], ConfigurationError),
        (["PRAGMA query_only = 1", "CREATE TABLE t (a)"], ConfigurationError),
        (["CREATE TABLE t (a UNIQUE)", "INSERT INTO t VALUES (1), (1)"], ContentsError),
        (
            ["PRAGMA max_page_count = 2", "CREATE TABLE t (a)", "INSERT INTO t VALUES (zeroblob(99999))"],
            StoreError,
        ),
    ],
)
def test_what_stays_in_sqlite_is_not_tried_again(
    tmp_path: Path, statements: list[str], kind: type[ReportingError]
) -> None:
    """It has one class for a table that is not there and for a full disk."""
    with pytest.raises(kind, match=r"^table activity: \w+Error: .") as raised, database_errors("activity"):
        raise in_sqlite(tmp_path, *statements)
    assert type(raised.value) is kind


def test_what_is_no_database_stays_so_and_a_lock_passes(tmp_path: Path) -> None:
    """A file of something else, a folder that is not there, and somebody who writes."""
    with pytest.raises(StoreError), database_errors("activity"):
        raise in_sqlite(tmp_path, "BEGIN IMMEDIATE", busy="BEGIN EXCLUSIVE")
    (tmp_path / "text").write_text("no database " * 100)
    with pytest.raises(ConfigurationError), database_errors("activity"):
        raise in_sqlite(tmp_path, "SELECT * FROM t", uri="file:{}/text")
    with pytest.raises(ConfigurationError), database_errors("activity"):
        sqlite3.connect(tmp_path / "nowhere" / "w.db")


DOOR = 'connection failed: connection to server at "127.0.0.1", port 5432 failed: '
SHUT = [
    f'{DOOR}FATAL:  password authentication failed for user "loader"',
    f'{DOOR}FATAL:  no pg_hba.conf entry for host "10.0.0.1", user "loader", database "w", SSL encryption\n'
    f'{DOOR}FATAL:  no pg_hba.conf entry for host "10.0.0.1", user "loader", database "w", no encryption',
    f'{DOOR}FATAL:  permission denied for database "w"\nDETAIL:  User does not have CONNECT privilege.',
    f"{DOOR}fe_sendauth: no password supplied",
    'connection is bad: invalid sslmode value: "nonsense"',
]
MAY_OPEN = [
    "no connection",
    f"{DOOR}FATAL:  the database system is starting up",
    f"{DOOR}FATAL:  sorry, too many clients already",
    f'{DOOR}FATAL:  LDAP authentication failed for user "loader"',
    f'{DOOR}FATAL:  password authentication failed for user "loader"\n{DOOR}Connection refused',
]


@pytest.mark.parametrize(
    ("error", "kind"),
    [
        *((said("psycopg.errors", "…", sqlstate=code), ContentsError) for code in ["P0001"]),
        *((said("psycopg2.errors", "…", pgcode=code), ConfigurationError) for code in ["54011", "55000", "28000"]),
        *(
            (said("psycopg.errors", "…", sqlstate=code), StoreError)
            for code in ["55P03", "57014", "53100", "40001"]
        ),
        *((said("psycopg", words), ConfigurationError) for words in SHUT),
        *((said("psycopg2", words), StoreError) for words in MAY_OPEN),
        *((said("MySQLdb._exceptions", code), ConfigurationError) for code in [1054, 1142, 1118, 1146, 1698]),
        *((said("pymysql.err", code), ConfigurationError) for code in [1045, 1130, 4119, 4151]),
        *((said("pymysql.err", code), ContentsError) for code in [1366, 1644, 4025]),
        *((said("mysql.connector.errors", code), StoreError) for code in [1205, 1213, 2013, 1114, 1290]),
        (said("another", 1054), StoreError),
    ],
    ids=repr,
)
def test_what_stays_on_a_server_is_not_tried_again(error: Exception, kind: type[ReportingError]) -> None:
    """By the code, where the driver's class says too little, and by the words where there is none yet."""
    with pytest.raises(kind), database_errors("activity"):
        raise error


def test_a_connection_that_is_missing_is_named(stripe_conn: StripeSandbox) -> None:
    """Nothing was asked of Stripe, and a retry asks Airflow again."""
    tried = TaskRunner().run(landing("frr_1", conn_id="nobody"))
    assert tried.state == "up_for_retry"
    assert "there is no Airflow connection 'nobody'" in str(tried.error)
    assert stripe_conn.requests == []


def test_a_table_that_was_dropped_is_landed_in_anew(warehouse: Warehouse) -> None:
    """Manifests of rows that are gone neither refuse nor count."""
    lands(finished(day(1), day(8)))
    warehouse.hook.run("DROP TABLE activity")
    lands(finished(day(1), day(2)))
    assert warehouse.query("SELECT count(*) FROM stripe_report_landings WHERE landing <> ''") == [(1,)]
