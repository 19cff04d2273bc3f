"""What comes behind a report run: its file lands, as often as the task is run, and others are told of it."""

from __future__ import annotations

import json
from decimal import Decimal
from pathlib import Path
from typing import Any, NoReturn

import pyarrow.parquet
import pytest
from airflow.providers.common.compat.sdk import DAG, Asset

from airflow_reportrun.landing import report
from airflow_reportrun.landing.destination import is_compressed, resolve_destination
from airflow_reportrun.landing.stores import place_of
from airflow_reportrun.operators import (
    StripeReportDownloadOperator,
    StripeReportRunOperator,
    StripeReportToSqlOperator,
)
from airflow_reportrun.reporting.errors import ConfigurationError, ReportExpiredError
from airflow_reportrun.sandbox import AtOnce, StripeSandbox
from tests.task_runner import END, START, TaskRunner, Try, in_dag
from tests.versions import needs_airflow_3

TAKES = [StripeReportDownloadOperator, StripeReportToSqlOperator]


@pytest.fixture(autouse=True)
def sandbox(stripe_conn: StripeSandbox) -> StripeSandbox:
    stripe_conn.configure(transition=AtOnce())
    return stripe_conn


def download(run_id: Any, destination: object, **options: Any) -> Try:
    task = in_dag(StripeReportDownloadOperator, report_run_id=run_id, destination=str(destination), **options)
    return TaskRunner().run(task)


def submitted(**options: Any) -> dict[str, Any]:
    """Return what the operator returned that created a run."""
    task = in_dag(StripeReportRunOperator, report_type="balance.summary.1", task_id="create", **options)
    returned: dict[str, Any] = TaskRunner().run(task).returned
    return returned


def test_takes_what_the_run_operator_returned(sandbox: StripeSandbox, tmp_path: Path) -> None:
    """A DAG reads run, then land; a re-run of the landing creates no report run and transfers nothing."""
    runner = TaskRunner()
    with DAG("pipeline", schedule=None, start_date=START):
        create = StripeReportRunOperator(task_id="create", report_type="balance.summary.1")
        land = StripeReportDownloadOperator(
            task_id="land", report_run_id=create.output, destination=f"{tmp_path}/x.csv"
        )
    created = runner.run(create).returned
    first = runner.run(land)
    assert first.state == "success", first.error
    assert (first.returned["report_run_id"], first.returned["path"]) == (
        created["report_run_id"],
        f"{tmp_path}/x.csv",
    )
    assert runner.run(land, try_number=2).returned == first.returned
    assert len(sandbox.report_runs) == len(sandbox.requests_to("contents")) == 1


def test_lands_typed_parquet_under_the_default_layout(tmp_path: Path) -> None:
    """A root is enough; what tells reports apart is in the path."""
    tried = download(submitted(), f"{tmp_path}/", format="parquet")
    assert tried.state == "success", tried.error
    path = (
        f"{tmp_path}/report_type=balance.summary.1/interval_start={START:%Y-%m-%dT%H-%M-%SZ}/"
        f"interval_end={END:%Y-%m-%dT%H-%M-%SZ}/report.parquet"
    )
    assert tried.returned["path"] == path
    table = pyarrow.parquet.read_table(path, partitioning=None)
    assert tried.returned["rows"] == table.num_rows
    assert isinstance(table["net_amount"][0].as_py(), Decimal)


def test_column_types_reach_the_file(tmp_path: Path) -> None:
    """As a template may give them."""
    tried = download(submitted(), tmp_path / "x", format="{{ 'parquet' }}", column_types={"net_amount": "text"})
    assert tried.state == "success", tried.error
    assert isinstance(pyarrow.parquet.read_table(tmp_path / "x")["net_amount"][0].as_py(), str)


ANOTHERS_NAME = [
    ("parquet", "x.csv"), ("parquet", "x.csv.gz"), ("parquet", "X.CSV"),
    ("csv", "x.parquet"), ("csv", "x.csv.gz"), ("csv", "x.gz"),
    ("csv.gz", "x.csv"), ("csv.gz", "x.parquet"),
]  # fmt: skip


@pytest.mark.parametrize(("format", "name"), ANOTHERS_NAME)
def test_a_name_of_another_format_is_refused(
    sandbox: StripeSandbox, tmp_path: Path, format: str, name: str
) -> None:
    """Readers go by the name, also by one that a template gave."""
    tried = download(submitted(), tmp_path / ("{{ 'x' }}" + name), format=format)
    assert tried.state == "failed"
    assert f"what lands there is {format}: end it in .{format}, or land" in str(tried.error)
    assert sandbox.requests_to("contents") == []
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("name", ["x.parquet", "x.csv.gz"])
def test_the_run_operator_creates_nothing_for_a_name_of_another_format(
    sandbox: StripeSandbox, tmp_path: Path, name: str
) -> None:
    """It lands what Stripe wrote, and says what lands others."""
    options = {"report_type": "balance.summary.1", "destination": f"{tmp_path}/{name}"}
    tried = TaskRunner().run(in_dag(StripeReportRunOperator, **options))
    assert tried.state == "failed"
    assert "what lands there is csv" in str(tried.error)
    assert "StripeReportDownloadOperator" in str(tried.error)
    assert sandbox.requests == []


FITTING = [
    ("csv", "x.csv"), ("csv", "x.txt"), ("csv", "csv"),
    ("csv.gz", "x.csv.gz"), ("csv.gz", "x.gz"), ("csv.gz", "x.dat"),
    ("parquet", "x.parquet"), ("parquet", "x.csv.parquet"), ("parquet", "x.csv/y"),
]  # fmt: skip


@pytest.mark.parametrize(("format", "name"), FITTING)
def test_other_names_are_the_authors_choice(tmp_path: Path, format: str, name: str) -> None:
    """Including none."""
    assert download(submitted(), tmp_path / name, format=format).state == "success"


@pytest.mark.parametrize(("name", "state"), [("x.zip", "success"), ("x.dat", "success"), ("x.csv.gz", "failed")])
def test_a_file_that_stripe_compressed_may_say_so(tmp_path: Path, name: str, state: str) -> None:
    """It is landed as it came, so that its name is not the format's."""
    try:
        found = resolve_destination(tmp_path / name, {}, compressed=is_compressed({"compress_file": True}))
    except ConfigurationError:
        assert state == "failed"
    else:
        assert (state, found) == ("success", str(tmp_path / name))


@pytest.mark.parametrize("landed_before", [False, True])
def test_types_for_columns_that_the_report_lacks_land_nothing(
    sandbox: StripeSandbox, tmp_path: Path, landed_before: bool
) -> None:
    """Also where the file is there already, since it can't be what was meant."""
    run, place = submitted(), tmp_path / "x.parquet"
    if landed_before:
        assert download(run, place, format="parquet").state == "success"
    before = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    tried = download(run, place, format="parquet", column_types={"net_amuont": "text"})
    assert tried.state == "failed"
    assert "columns that the report lacks: net_amuont. It has net_amount" in str(tried.error)
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == before


def test_one_mapping_of_types_may_serve_several_reports(tmp_path: Path) -> None:
    """What another report has is said, and no error."""
    types = {"net_amount": "text", "fee": "text", "payment_metadata[weight]": "integer"}
    assert download(submitted(), tmp_path / "x", format="parquet", column_types=types).state == "success"


def test_placeholders_say_what_the_run_was_asked_for_with(tmp_path: Path) -> None:
    """And not what it was not."""
    run = submitted(currency="usd")
    tried = download(run, f"{tmp_path}/{{report_run_id}}-{{currency}}.csv")
    assert tried.returned["path"] == f"{tmp_path}/{run['report_run_id']}-usd.csv"
    tried = download(run, f"{tmp_path}/{{payout}}.csv")
    assert "has the placeholder {payout}; known here are {report_type}, {report_run_id}, {currency}" in str(
        tried.error
    )


@pytest.mark.parametrize("given", ["None", "", "{'report_run_id': 'frr_1'}", {"path": "x"}, ["frr_1"]])
def test_refuses_what_is_no_report_run(sandbox: StripeSandbox, tmp_path: Path, given: object) -> None:
    """A template of a whole dict renders to text; the error shows the one to write."""
    tried = download(given, tmp_path / "x.csv")
    assert tried.state == "failed"
    assert "{{ ti.xcom_pull('the_task', key='report_run_id') }}" in str(tried.error)
    assert sandbox.requests == []


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"format": "{{ 'xlsx' }}"}, "format is one of csv, csv.gz, parquet, not 'xlsx'"),
        ({"column_types": {"net": "money"}}, "column_types are for the format parquet"),
        ({"column_types": "money", "format": "parquet"}, "column_types must be a mapping"),
        ({"format": "{{ none }}", "column_types": "{{ none }}"}, "format, column_types: the template"),
    ],
)
def test_bad_options_are_said_before_anything_is_sent(
    sandbox: StripeSandbox, tmp_path: Path, options: dict[str, Any], message: str
) -> None:
    """One clear error each, which no retry would mend."""
    tried = download("frr_1", tmp_path / "x", **options)
    assert tried.state == "failed"
    assert message in str(tried.error)
    assert sandbox.requests == []


@pytest.mark.parametrize("task_class", [StripeReportDownloadOperator, StripeReportRunOperator])
def test_an_asset_event_tells_what_landed(sandbox: StripeSandbox, tmp_path: Path, task_class: type) -> None:
    """Whoever the asset wakes knows the interval and the file, without secrets."""
    options: dict[str, Any] = {"outlets": [Asset(f"file://{tmp_path}/x.csv")], "destination": f"{tmp_path}/x.csv"}
    if task_class is StripeReportDownloadOperator:
        options["report_run_id"] = submitted()["report_run_id"]
    else:
        options["report_type"] = "balance.summary.1"
    tried = TaskRunner().run(in_dag(task_class, **options))
    assert tried.state == "success", tried.error
    (extra,) = tried.asset_extras
    run = sandbox.report_runs[0]
    assert {name: extra[name] for name in extra if name not in ("landed_at", "file_sha256")} == {
        "path": f"{tmp_path}/x.csv",
        "report_run_id": run.id,
        "report_type": "balance.summary.1",
        "interval_start": f"{START:%Y-%m-%dT%H:%M:%SZ}",
        "interval_end": f"{END:%Y-%m-%dT%H:%M:%SZ}",
        "stripe_account": None,
        "livemode": False,
        "file_id": tried.returned["file_id"],
        "rows": tried.returned["rows"],
        "format": "csv",
    }
    assert extra["file_sha256"] == tried.returned["sha256"]
    assert sandbox.api_key not in str(extra)


@pytest.mark.parametrize("task_class", TAKES)
@pytest.mark.parametrize("given", ["dict", "id"])
def test_the_link_leads_to_the_request_where_it_is_known(
    sandbox: StripeSandbox, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, task_class: type, given: str
) -> None:
    """The dict of the run operator says which created the run; of a bare id nobody knows it."""
    monkeypatch.setenv("AIRFLOW_CONN_WAREHOUSE", json.dumps({"conn_type": "sqlite", "host": f"{tmp_path}/x.db"}))
    run = submitted()
    options: dict[str, Any] = {"conn_id": "warehouse", "table": "books"}
    if task_class is StripeReportDownloadOperator:
        options = {"destination": f"{tmp_path}/x.csv"}
    tried = TaskRunner().run(
        in_dag(task_class, report_run_id=run if given == "dict" else run["report_run_id"], **options)
    )
    (created,) = sandbox.requests_to("create")
    known = given == "dict"
    assert tried.returned["request_id"] == (created.request_id if known else None)
    link = tried.xcoms.get("_link_StripeRequestLink") or ""
    address = f"https://dashboard.stripe.com/test/workbench/logs?object={created.request_id}"
    assert link == (address if known else "")


@needs_airflow_3("Asset.ref")
@pytest.mark.parametrize("task_class", [*TAKES, StripeReportRunOperator])
def test_an_asset_that_is_referred_to_is_told_as_well(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, task_class: type
) -> None:
    """By its name, by its address, beside other assets, and for whichever task lands."""
    monkeypatch.setenv("AIRFLOW_CONN_WAREHOUSE", json.dumps({"conn_type": "sqlite", "host": f"{tmp_path}/x.db"}))
    known = [Asset(name=f"report {i}", uri=f"x-test://report/{i}") for i in range(3)]
    outlets = [Asset.ref(name="report 0"), Asset.ref(uri="x-test://report/1"), known[2], "something else"]
    options: dict[str, Any] = {"report_type": "balance.summary.1"}
    if task_class in TAKES:
        options = {"report_run_id": submitted()}
    if task_class is StripeReportToSqlOperator:
        options |= {"conn_id": "warehouse", "table": "books"}
    else:
        options["destination"] = f"{tmp_path}/x.csv"
    tried = TaskRunner(assets=known).run(in_dag(task_class, outlets=outlets, **options))
    assert tried.state == "success", tried.error
    told = [(extra["report_run_id"], extra["rows"]) for extra in tried.asset_extras]
    assert told == [(tried.returned["report_run_id"], tried.returned["rows"])] * 3


@needs_airflow_3("AssetAlias")
def test_an_alias_becomes_the_asset_that_landed() -> None:
    """Where the path is known only when the task runs."""
    from airflow.sdk import AssetAlias

    tried = download(submitted(), "memory://reports/x.csv", outlets=[AssetAlias("stripe")])
    assert tried.state == "success", tried.error
    assert [extra["path"] for extra in tried.asset_extras] == ["memory://reports/x.csv"]


def test_a_report_run_lands_in_any_store(sandbox: StripeSandbox) -> None:
    """The run operator's plain destination, too; the id of the run is known only behind it."""
    task = in_dag(
        StripeReportRunOperator,
        report_type="balance.summary.1",
        destination="memory://reports/{report_type}/{report_run_id}.csv",
    )
    tried = TaskRunner().run(task)
    assert tried.state == "success", tried.error
    (run,) = sandbox.report_runs
    assert tried.returned["path"] == f"memory://reports/balance.summary.1/{run.id}.csv"
    contents = place_of(tried.returned["path"]).read()
    assert contents is not None
    assert len(contents) == tried.returned["size"]


def test_a_destination_of_another_interval_is_refused_before_a_run_is_created(
    sandbox: StripeSandbox, tmp_path: Path
) -> None:
    """Each day would ask for a report, and find at its end that it has no place."""
    options = {"report_type": "balance.summary.1", "destination": f"{tmp_path}/latest.csv"}
    assert TaskRunner().run(in_dag(StripeReportRunOperator, **options)).state == "success"
    next_day = {"interval_start": "2024-05-02T00:00Z", "interval_end": "2024-05-03T00:00Z"}
    tried = TaskRunner(run_id="scheduled__2024-05-03").run(in_dag(StripeReportRunOperator, **options, **next_day))
    assert tried.state == "failed"
    assert "another report is landed there (interval_start '2024-05-01T00:00:00Z' and not '2024-05-02T0" in str(
        tried.error
    )
    assert len(sandbox.report_runs) == 1


def test_a_file_that_expired_while_it_was_waited_for_is_worth_a_retry(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Which asks for a fresh run; the retry policy must not stand in its way."""

    def land(*args: Any, **options: Any) -> NoReturn:
        raise ReportExpiredError("The file expired.")

    monkeypatch.setattr(report, "land_report", land)
    task = in_dag(StripeReportRunOperator, report_type="balance.summary.1", destination=f"{tmp_path}/x.csv")
    tried = TaskRunner().run(task)
    assert tried.state == "up_for_retry"
    assert "A retry of this task does so, too." in str(tried.error)


def test_credentials_in_a_destination_are_not_shown(tmp_path: Path) -> None:
    """Not in the error that refuses them, nor in another one that comes first."""
    run = submitted()
    for secret in ("something", "some/thing+/else"):
        for rest in ("b/{bad}", "b/../x", "b/x.csv", "b/{interval_start:%H:%M}"):
            tried = download(run, f"s3://someone:{secret}@{rest}")
            assert tried.state == "failed"
            assert "credentials belong into an Airflow connection" in str(tried.error)
            assert "thing" not in str(tried.error)
