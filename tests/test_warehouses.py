"""The examples of warehouses with the real providers, and Snowflake's on fakesnow: ``make warehouses``."""

from __future__ import annotations

import json
import runpy
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from airflow.providers.common.compat.sdk import DAG

from airflow_reportrun.sandbox import AtOnce, StripeSandbox
from tests.task_runner import TaskRunner, Try

fakesnow = pytest.importorskip("fakesnow", reason="fakesnow and the providers come with make warehouses")
sqlglot = pytest.importorskip("sqlglot")
connector = pytest.importorskip("snowflake.connector")
pq = pytest.importorskip("pyarrow.parquet")

EXAMPLES = Path(__file__).parent.parent / "example_dags" / "warehouses"
NAMES = ["bigquery", "databricks", "redshift", "snowflake"]
LAST = {"bigquery": "load"}


def example(name: str) -> DAG:
    """Return the DAG of an example, as its file makes it."""
    found: list[DAG] = []
    enter = DAG.__enter__

    def entering(self: DAG) -> DAG:
        found.append(self)
        return enter(self)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(DAG, "__enter__", entering)
        runpy.run_path(str(EXAMPLES / f"stripe_to_{name}.py"))
    (dag,) = found
    return dag


class Landed:
    """A DAG run of an example, whose report is in a folder."""

    def __init__(self, stripe: StripeSandbox, name: str, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        stripe.configure(transition=AtOnce())
        monkeypatch.setenv("AIRFLOW_VAR_STRIPE_LAKE", str(folder))
        self.dag, self.runner, self.folder = example(name), TaskRunner(), folder
        self.land()

    def land(self) -> None:
        """Ask for a report, and land it."""
        report = self.dag.get_task("report")
        tried = self.runner.run(report)
        if tried.state == "deferred":
            tried = self.runner.resume(report, tried)
        assert tried.state == "success", tried.error
        self.ran("to_lake")

    def run(self, task_id: str) -> Try:
        """Run a task."""
        return self.runner.run(self.dag.get_task(task_id))

    def ran(self, *task_ids: str) -> None:
        """Run tasks that have to succeed."""
        for task_id in task_ids:
            tried = self.run(task_id)
            assert tried.state == "success", f"{task_id}: {tried.error!r}"

    def rendered(self, task_id: str) -> Any:
        """Return a task with its templates rendered, as its ``execute`` sees them."""
        task = self.dag.get_task(task_id)
        seen: list[Any] = []
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(type(task), "execute", lambda self, context: seen.append(self))
            self.ran(task_id)
        return seen[0]

    @property
    def rows(self) -> list[dict[str, Any]]:
        """The rows of the file."""
        (file,) = self.folder.glob("*.parquet")
        found: list[dict[str, Any]] = pq.read_table(file).to_pylist()
        return found


@pytest.mark.parametrize("name", NAMES)
def test_an_example_is_parsed_and_stored_as_airflow_does(name: str) -> None:
    """With the provider's own operators, whose options are checked."""
    from airflow.serialization.serialized_objects import DagSerialization

    dag = example(name)
    stored = json.loads(json.dumps(DagSerialization.to_dict(dag)))
    assert [it["__var"]["task_id"] for it in stored["dag"]["tasks"]] == list(dag.task_dict)
    assert {"report", "to_lake", LAST.get(name, "replace")} <= set(dag.task_dict)
    assert "not run against the service" in (EXAMPLES / f"stripe_to_{name}.py").read_text()


def statements(task: Any) -> list[str]:
    """Return the SQL of a task."""
    if hasattr(task, "_create_sql_query"):
        return [task._create_sql_query()]
    sql = getattr(task, "sql", [])
    return [sql] if isinstance(sql, str) else list(sql)


@pytest.mark.parametrize("name", ["databricks", "redshift", "snowflake"])
def test_its_statements_are_of_its_sql(
    stripe_conn: StripeSandbox, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    """As sqlglot reads it: rendered, with the interval's own bounds and staging table."""
    run = Landed(stripe_conn, name, tmp_path, monkeypatch)
    said = {it: statements(run.rendered(it)) for it in run.dag.task_dict if it not in ("report", "to_lake")}
    for text in (it for them in said.values() for it in them):
        assert sqlglot.parse_one(text, dialect=name), text
    replacing = "\n".join(said["replace"])
    assert replacing.count("1714521600") == replacing.count("1714608000") == 2
    assert "stripe_activity_20240501" in replacing
    assert all("stripe_activity_20240501" in " ".join(said[it]) for it in ("prepare", "count", "drop"))


def test_bigquery_is_told_of_one_partition(
    stripe_conn: StripeSandbox, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The load job names it, and truncates what it names."""
    task = Landed(stripe_conn, "bigquery", tmp_path, monkeypatch).rendered("load")
    assert task.destination_project_dataset_table == "finance.stripe_activity$20240501"
    assert task.source_objects == ["stripe/activity_20240501.parquet"]
    assert (task.write_disposition, task.source_format) == ("WRITE_TRUNCATE", "PARQUET")


def test_redshift_replaces_its_staging_table_alone(
    stripe_conn: StripeSandbox, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The method empties the table that it names."""
    task = Landed(stripe_conn, "redshift", tmp_path, monkeypatch).rendered("copy")
    assert (task.method, task.table, task.schema) == ("REPLACE", "stripe_activity_20240501", None)
    assert task.s3_key == "stripe/activity_20240501.parquet"


@pytest.fixture
def snow(
    stripe_conn: StripeSandbox, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[tuple[Landed, Any]]:
    """Snowflake's example over a folder as its stage, and a cursor."""
    account = {"conn_type": "snowflake", "login": "me", "password": "x", "schema": "PUBLIC"}
    extra = {"account": "fake", "database": "DB", "warehouse": "W"}
    monkeypatch.setenv("AIRFLOW_CONN_SNOWFLAKE_DEFAULT", json.dumps({**account, "extra": extra}))
    with fakesnow.patch(), connector.connect(database="DB", schema="PUBLIC") as connection:
        cursor = connection.cursor()
        cursor.execute(f"CREATE STAGE stripe_lake URL = 'file://{tmp_path}/'")
        yield Landed(stripe_conn, "snowflake", tmp_path, monkeypatch), cursor


LOADS = ("prepare", "copy", "count", "replace", "drop")
THERE = "SELECT balance_transaction_id, net, _report_run_id FROM stripe_activity"


def test_snowflake_has_each_row_once(snow: tuple[Landed, Any]) -> None:
    """After a retry of each task, after all of them again, and beside another interval, which stays."""
    run, cursor = snow
    for task_id in LOADS[:-1]:
        run.ran(task_id, task_id)
    run_id = run.runner.xcoms["to_lake/-1/return_value"]["report_run_id"]
    expected = sorted((it["balance_transaction_id"], float(it["net"]), run_id) for it in run.rows)
    assert expected

    def there() -> list[Any]:
        return sorted((name, float(net), of) for name, net, of in cursor.execute(THERE).fetchall())

    assert there() == expected
    cursor.execute(
        "INSERT INTO stripe_activity SELECT 'txn_other', created_utc, reporting_category, currency, gross, fee, "
        "net, _interval_end, dateadd(day, 1, _interval_end), 'frr_other' FROM stripe_activity LIMIT 1"
    )
    other = [it for it in there() if it[2] == "frr_other"]
    run.ran(*LOADS, *LOADS)
    assert there() == sorted([*expected, *other])


def test_snowflake_takes_no_part_of_a_file(snow: tuple[Landed, Any]) -> None:
    """What came is counted before anything is replaced."""
    run, cursor = snow
    run.ran(*LOADS)
    before = sorted(cursor.execute(THERE).fetchall())
    run.ran("prepare", "copy")
    cursor.execute(
        "DELETE FROM stripe_activity_20240501 WHERE net = (SELECT max(net) FROM stripe_activity_20240501)"
    )
    tried = run.run("count")
    assert tried.state != "success"
    assert sorted(cursor.execute(THERE).fetchall()) == before


def test_snowflake_keeps_what_a_replacement_that_fails_would_have_replaced(snow: tuple[Landed, Any]) -> None:
    """The deletion goes with the rest of its transaction."""
    run, cursor = snow
    run.ran(*LOADS)
    before = sorted(cursor.execute(THERE).fetchall())
    assert before
    assert run.run("replace").state != "success"  # of which the staging table is dropped
    assert sorted(cursor.execute(THERE).fetchall()) == before


def test_fakesnow_skips_a_file_that_a_table_has_loaded(snow: tuple[Landed, Any]) -> None:
    """As Snowflake does: deleted and copied again by itself, an interval would be empty."""
    run, cursor = snow
    run.ran("prepare", "copy")
    cursor.execute("DELETE FROM stripe_activity_20240501")
    run.ran("copy")
    assert cursor.execute("SELECT count(*) FROM stripe_activity_20240501").fetchall() == [(0,)]
    assert run.run("count").state != "success"
    run.ran("prepare", "copy", "count")


def test_fakesnow_is_not_snowflake_in_what_the_page_names(snow: tuple[Landed, Any]) -> None:
    """What it can't show: when one of these mends itself, the page says too much."""
    run, cursor = snow
    run.ran("prepare", "copy")
    staging = "stripe_activity_20240501"
    ((total,),) = cursor.execute(f"SELECT sum(net) FROM {staging}").fetchall()  # noqa: S608 - our own words
    assert isinstance(total, float)
    (file,) = run.folder.glob("*.parquet")
    pq.write_table(pq.read_table(file).slice(0, 1), file)
    ((_, status, *_),) = cursor.execute(
        f"COPY INTO {staging} FROM @stripe_lake/ FILES = ('{file.name}') FILE_FORMAT = (TYPE = PARQUET) "
        "MATCH_BY_COLUMN_NAME = CASE_INSENSITIVE"
    ).fetchall()
    assert status == "LOAD_SKIPPED"
    for statement in ("BEGIN", "CREATE TABLE gone (a int)", "ROLLBACK"):
        cursor.execute(statement)
    with pytest.raises(connector.errors.ProgrammingError, match="GONE does not exist"):
        cursor.execute("SELECT * FROM gone")
    cursor.execute("BEGIN")
    cursor.execute(f"DELETE FROM {staging}")  # noqa: S608
    with pytest.raises(connector.errors.ProgrammingError, match="GONE does not exist"):
        cursor.execute("SELECT * FROM gone")
    assert cursor.execute("COMMIT").fetchall() == [("Statement executed successfully.",)]
    assert cursor.execute(f"SELECT count(*) FROM {staging}").fetchall() != [(0,)]  # noqa: S608
