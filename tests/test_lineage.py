"""Airflow's own provider of OpenLineage, told of tasks in Airflow's own task runner; it writes to a file."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pyarrow.parquet
import pytest

from airflow_reportrun.landing.stores.local import LocalFile
from airflow_reportrun.landing.stores.objects import StoredObject
from airflow_reportrun.landing.stores.place import Place
from airflow_reportrun.operators import (
    StripeReportDownloadOperator,
    StripeReportRunOperator,
    StripeReportToSqlOperator,
)
from airflow_reportrun.sandbox import AfterReads, AtOnce, RunFails, StripeSandbox
from airflow_reportrun.sensors import StripeReportRunSensor, StripeReportTypeSensor
from tests.databases import Warehouse
from tests.lineages import told_to
from tests.task_runner import END, START, TaskRunner, Try, in_dag
from tests.versions import AIRFLOW_2, needs_airflow

if AIRFLOW_2:
    pytest.skip("Airflow 2 calls its listeners elsewhere", allow_module_level=True)

pytest.importorskip("airflow.providers.openlineage", exc_type=ImportError)

from openlineage.client.naming.dataset import ABFSS, GCS, S3, DatasetNaming, LocalFileSystem

REPORT = "balance_change_from_activity.itemized.3"
DAY = {"nominalStartTime": "2024-05-01T00:00:00Z", "nominalEndTime": "2024-05-02T00:00:00Z"}


@dataclass
class Events:
    """What OpenLineage was told, in a file; a line is an event."""

    file: Path

    @property
    def all(self) -> list[dict[str, Any]]:
        """Oldest first."""
        return [json.loads(line) for line in self.file.read_text().splitlines()]

    @property
    def types(self) -> list[str]:
        """START, COMPLETE or FAIL."""
        return [event["eventType"] for event in self.all]

    @property
    def last(self) -> dict[str, Any]:
        """The newest one."""
        return self.all[-1]


@pytest.fixture
def events(tmp_path: Path) -> Iterator[Events]:
    """Have all tasks told to OpenLineage."""
    file = tmp_path / "events.jsonl"
    with told_to(file):
        yield Events(file)


@pytest.fixture(autouse=True)
def sandbox(stripe_conn: StripeSandbox) -> StripeSandbox:
    """Runs end at the first look."""
    stripe_conn.configure(transition=AtOnce())
    return stripe_conn


def ran(task: Any, runner: TaskRunner | None = None, **how: Any) -> Try:
    tried = (runner or TaskRunner()).run(task, **how)
    assert tried.state == "success", tried.error
    return tried


def report(**options: Any) -> Any:
    return in_dag(StripeReportRunOperator, **{"report_type": REPORT, "poll_interval": 0.01, **options})


def named(datasets: Sequence[dict[str, Any]]) -> list[tuple[str, str]]:
    return [(it["namespace"], it["name"]) for it in datasets]


def test_a_task_tells_what_it_read_and_wrote(events: Events, tmp_path: Path) -> None:
    """The report as input, the file with its columns, rows and bytes as output, and Stripe's id of the run."""
    tried = ran(report(destination=f"{tmp_path}/x.csv", stripe_account="acct_1Nq"))
    assert events.types == ["START", "COMPLETE"]
    event = events.last
    assert named(event["inputs"]) == [("stripe://acct_1Nq", f"reporting/{REPORT}")]
    assert named(event["outputs"]) == [("file", f"{tmp_path}/x.csv")]
    (output,) = event["outputs"]
    header = (tmp_path / "x.csv").read_text().partition("\n")[0].replace('"', "").split(",")
    assert [it["name"] for it in output["facets"]["schema"]["fields"]] == header
    statistics = output["outputFacets"]["outputStatistics"]
    assert (statistics["rowCount"], statistics["size"]) == (tried.returned["rows"], tried.returned["size"])
    query = event["run"]["facets"]["externalQuery"]
    assert (query["externalQueryId"], query["source"]) == (tried.returned["report_run_id"], "stripe://acct_1Nq")


def test_our_facet_tells_which_runs_they_are(events: Events, tmp_path: Path) -> None:
    """Airflow's and Stripe's, by their ids; and the interval, which Airflow's own facet need not have."""
    tried = ran(report(destination=f"{tmp_path}/x.csv"), map_index=3)
    facet = events.last["run"]["facets"]["stripe_reportRun"]
    assert {name: it for name, it in facet.items() if not name.startswith("_")} == {
        "airflowRunId": "scheduled__2024-05-02",
        "mapIndex": 3,
        "tryNumber": 1,
        "reportRunId": tried.returned["report_run_id"],
        "reportType": REPORT,
        "status": "succeeded",
        "livemode": False,
        "account": "stripe_default",
        "intervalStart": "2024-05-01T00:00:00Z",
        "intervalEnd": "2024-05-02T00:00:00Z",
        "landedReportRunId": tried.returned["report_run_id"],
        "landedFileSha256": tried.returned["sha256"],
    }


def test_a_deferred_task_is_one_run_with_one_end(events: Events, sandbox: StripeSandbox, tmp_path: Path) -> None:
    """Airflow tells of its start once more when it goes on, with the same id."""
    sandbox.configure(transition=AfterReads(2))
    task, runner = report(destination=f"{tmp_path}/x.csv", deferrable=True), TaskRunner()
    deferred = runner.run(task)
    assert deferred.state == "deferred", deferred.error
    assert runner.resume(task, deferred).state == "success"
    assert events.types == ["START", "START", "COMPLETE"]
    assert len({event["run"]["runId"] for event in events.all}) == 1
    assert named(events.last["outputs"]) == [("file", f"{tmp_path}/x.csv")]


def test_mapped_tasks_are_runs_of_their_own(events: Events, tmp_path: Path) -> None:
    """Each with its report run and its file."""
    for index, account in enumerate(["acct_1", "acct_2"]):
        ran(report(destination=f"{tmp_path}/{account}.csv", stripe_account=account), map_index=index)
    ends = [event for event in events.all if event["eventType"] == "COMPLETE"]
    assert len({event["run"]["runId"] for event in ends}) == 2
    assert [named(event["inputs"])[0][0] for event in ends] == ["stripe://acct_1", "stripe://acct_2"]
    assert len({event["run"]["facets"]["externalQuery"]["externalQueryId"] for event in ends}) == 2


@needs_airflow(3, 3, "dates of partitions")
def test_the_run_of_a_partition_has_its_interval_as_nominal_time(events: Events) -> None:
    """Such a run has no data interval that Airflow could tell."""
    from airflow.sdk import CronPartitionTimetable

    partition = {
        **{"logical_date": None, "data_interval_start": None, "data_interval_end": None},
        **{"partition_key": "2024-05-01", "partition_date": datetime(2024, 5, 1, tzinfo=UTC)},
    }
    schedule = CronPartitionTimetable("0 0 * * *", timezone="UTC", key_format="%Y-%m-%d")
    ran(report(schedule=schedule), TaskRunner(run_id="scheduled__p", dag_run=partition))
    facets = events.last["run"]["facets"]
    assert DAY.items() <= facets["nominalTime"].items()
    assert facets["stripe_reportRun"]["airflowRunId"] == "scheduled__p"


def test_two_runs_without_a_date_are_told_apart_by_our_facet(events: Events) -> None:
    """Airflow makes the id of run_after alone, so that they can share it."""
    dateless = {"logical_date": None, "data_interval_start": None, "data_interval_end": None}
    for run_id in ("manual__a", "manual__b"):
        ran(report(interval="day"), TaskRunner(run_id=run_id, dag_run=dateless))
    ends = [event["run"] for event in events.all if event["eventType"] == "COMPLETE"]
    assert len({run["runId"] for run in ends}) == 1
    told = [run["facets"]["stripe_reportRun"] for run in ends]
    assert [facet["airflowRunId"] for facet in told] == ["manual__a", "manual__b"]
    assert len({facet["reportRunId"] for facet in told}) == 2


def test_a_report_run_that_failed_is_told_with_stripes_words(events: Events, sandbox: StripeSandbox) -> None:
    """By Airflow's facet of errors; nothing was written."""
    sandbox.inject(RunFails("No such luck."))
    assert TaskRunner().run(report(), try_number=4, max_tries=3).state == "failed"
    assert events.types == ["START", "FAIL"]
    event = events.last
    assert "No such luck." in event["run"]["facets"]["errorMessage"]["message"]
    (run,) = sandbox.report_runs
    assert event["run"]["facets"]["externalQuery"]["externalQueryId"] == run.id
    assert event["run"]["facets"]["stripe_reportRun"]["status"] == "failed"
    assert (named(event["inputs"]), event["outputs"]) == ([("stripe://stripe_default", f"reporting/{REPORT}")], [])


def test_a_task_that_failed_before_there_was_a_run_tells_its_error_alone(events: Events) -> None:
    """Which report it would have been, nobody knows for sure."""
    assert TaskRunner().run(report(interval_start="2024-05-01")).state == "failed"
    assert (events.types, events.last["inputs"]) == (["START", "FAIL"], [])
    assert "interval_start" in events.last["run"]["facets"]["errorMessage"]["message"]


@pytest.mark.parametrize("deferred", [False, True], ids=["poke", "deferred"])
def test_a_sensor_of_a_report_run_tells_what_its_operator_told(
    events: Events, sandbox: StripeSandbox, deferred: bool
) -> None:
    """The report, the report run and its interval; it has written nothing."""
    sandbox.configure(transition=AfterReads(3))
    given = ran(report(wait_for_completion=False, stripe_account="acct_1Nq")).returned
    task, runner = (
        in_dag(StripeReportRunSensor, report_run_id=given, poke_interval=0.01, deferrable=deferred),
        TaskRunner(),
    )
    tried = runner.run(task)
    if deferred:
        tried = runner.resume(task, tried)
    assert tried.state == "success", tried.error
    event = events.last
    assert (event["eventType"], event["outputs"]) == ("COMPLETE", [])
    assert named(event["inputs"]) == [("stripe://acct_1Nq", f"reporting/{REPORT}")]
    assert event["run"]["facets"]["externalQuery"]["externalQueryId"] == given["report_run_id"]
    facet = event["run"]["facets"]["stripe_reportRun"]
    assert (facet["status"], facet["intervalStart"]) == ("succeeded", "2024-05-01T00:00:00Z")


def test_a_sensor_of_a_report_run_that_failed_tells_of_it(events: Events, sandbox: StripeSandbox) -> None:
    """With Stripe's words in Airflow's facet of errors, as an operator does."""
    sandbox.inject(RunFails("No such luck."))
    assert TaskRunner().run(report(), try_number=4, max_tries=3).state == "failed"
    assert (
        TaskRunner().run(in_dag(StripeReportRunSensor, report_run_id=sandbox.report_runs[0].id)).state == "failed"
    )
    facets = events.last["run"]["facets"]
    assert (events.last["eventType"], facets["stripe_reportRun"]["status"]) == ("FAIL", "failed")
    assert "No such luck." in facets["errorMessage"]["message"]


@pytest.mark.parametrize("deferred", [False, True], ids=["poke", "deferred"])
def test_a_sensor_of_a_report_type_tells_the_report(
    events: Events, sandbox: StripeSandbox, monkeypatch: pytest.MonkeyPatch, deferred: bool
) -> None:
    """Under the account that the connection names; there is no report run to tell of."""
    connection = {"conn_type": "stripe", "host": sandbox.url, "password": sandbox.api_key}
    whose = json.dumps({**connection, "extra": {"stripe_account": "acct_1Nq"}})
    monkeypatch.setenv("AIRFLOW_CONN_STRIPE_DEFAULT", whose)
    sandbox.configure(data_available_end=int(START.timestamp()) if deferred else int(END.timestamp()))
    task = in_dag(StripeReportTypeSensor, report_type=REPORT, deferrable=deferred)
    runner = TaskRunner()
    tried = runner.run(task)
    if deferred:
        sandbox.configure(data_available_end=int(END.timestamp()))
        tried = runner.resume(task, tried)
    assert tried.state == "success", tried.error
    event = events.last
    assert (event["eventType"], event["outputs"]) == ("COMPLETE", [])
    assert named(event["inputs"]) == [("stripe://acct_1Nq", f"reporting/{REPORT}")]
    assert not event["run"]["facets"].keys() & {"externalQuery", "stripe_reportRun"}


def test_a_download_tells_the_types_of_its_columns(events: Events, tmp_path: Path) -> None:
    """Where its format has types; a CSV has none."""
    given = ran(report()).returned
    ran(
        in_dag(
            StripeReportDownloadOperator,
            report_run_id=given,
            destination=f"{tmp_path}/x.parquet",
            format="parquet",
        )
    )
    (output,) = events.last["outputs"]
    types = {it["name"]: it.get("type") for it in output["facets"]["schema"]["fields"]}
    assert (types["net"], types["currency"]) == ("money(6)", "text")
    assert named(events.last["inputs"]) == [("stripe://stripe_default", f"reporting/{REPORT}")]


def test_columns_are_told_as_they_are_called_where_they_are(events: Events, tmp_path: Path) -> None:
    """Not by Stripe's names, by which nobody finds them there."""
    given = ran(report(columns=["net", "payment_metadata[a]", "payment_metadata[order-id]"])).returned
    for options in ({"naming": "snake_case"}, {"metadata": "json"}):
        ran(
            in_dag(
                StripeReportDownloadOperator,
                **{"report_run_id": given, "destination": f"{tmp_path}/x.parquet", "format": "parquet", **options},
            )
        )
        (output,) = events.last["outputs"]
        names = pyarrow.parquet.read_schema(tmp_path / "x.parquet").names
        assert [it["name"] for it in output["facets"]["schema"]["fields"]] == names
        assert {it["type"] for it in output["facets"]["schema"]["fields"]} == {"money(6)", "text"}


def test_a_table_is_named_by_its_database(events: Events, warehouse: Warehouse) -> None:
    """By OpenLineage's rules, for PostgreSQL as its own operators do it."""
    given = ran(report()).returned
    task = in_dag(StripeReportToSqlOperator, report_run_id=given, conn_id="warehouse", table="activity")
    tried = ran(task)
    (output,) = events.last["outputs"]
    hook = warehouse.hook
    connection = hook.get_connection("warehouse")
    port = {"postgresql": 5432, "mariadb": 3306}.get(warehouse.name)
    authority = hook.get_openlineage_authority_part(connection, default_port=port)
    assert (output["namespace"], output["name"]) == {
        "sqlite": (f"sqlite://{connection.host}", "activity"),
        "postgresql": (f"postgres://{authority}", "postgres.public.activity"),
        "mariadb": (f"mysql://{authority}", "warehouse.activity"),
    }[warehouse.name]
    assert output["outputFacets"]["outputStatistics"]["rowCount"] == tried.returned["rows"]
    assert {it["name"]: it["type"] for it in output["facets"]["schema"]["fields"]}["net"].startswith("money(")


def stored(url: str, path: str, *protocol: str) -> Place:
    fs: Any = SimpleNamespace(protocol=protocol, account_name="books")
    return StoredObject(url, fs, path)


@pytest.mark.parametrize(
    ("place", "rule"),
    [
        (LocalFile(Path("/data/x.csv")), LocalFileSystem("/data/x.csv")),
        (stored("s3://aws@bucket/a/x.csv", "bucket/a/x.csv", "s3", "s3a"), S3("bucket", "a/x.csv")),
        (stored("gcs://bucket/a/x.csv", "bucket/a/x.csv", "gs", "gcs"), GCS("bucket", "a/x.csv")),
        (stored("abfs://azure@box/a/x.csv", "box/a/x.csv", "abfs", "az"), ABFSS("box", "books", "a/x.csv")),
    ],
)
def test_a_file_is_named_by_openlineages_rules(place: Place, rule: DatasetNaming) -> None:
    """In each store, as whoever reads it names it, and without the connection."""
    assert place.dataset == (rule.get_namespace(), rule.get_name())


def test_no_event_has_a_secret(events: Events, sandbox: StripeSandbox, tmp_path: Path) -> None:
    """Neither the key, nor the address of the file."""
    ran(report(destination=f"{tmp_path}/x.csv"))
    sandbox.inject(RunFails("No."))
    TaskRunner(run_id="another").run(report(), try_number=4, max_tries=3)
    text = events.file.read_text()
    assert "externalQuery" in text
    assert sandbox.api_key not in text
    assert "/contents" not in text
