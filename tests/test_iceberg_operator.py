"""The operator against the sandbox, over the wire, in Airflow's own task runner."""

from __future__ import annotations

import json
from typing import Any

import pytest
from airflow.providers.common.compat.sdk import Asset

from airflow_reportrun.hooks import StripeReportingHook
from airflow_reportrun.operators import StripeReportRunOperator, StripeReportToIcebergOperator
from airflow_reportrun.reporting.errors import ConfigurationError
from airflow_reportrun.reporting.parameters import ReportParameters
from airflow_reportrun.sandbox import AtOnce, CutBody, StripeSandbox
from tests.icebergs import Books, needs_its_catalog
from tests.landings import day
from tests.task_runner import TaskRunner, Try, in_dag

pytestmark = needs_its_catalog

REPORT = "balance_change_from_activity.itemized.3"


@pytest.fixture(autouse=True)
def _runs_end_at_once(stripe_conn: StripeSandbox) -> None:
    stripe_conn.configure(transition=AtOnce())


def finished(start: int = day(1), end: int = day(2), report_type: str = REPORT, **parameters: Any) -> str:
    """Return the id of a report run that is finished."""
    hook = StripeReportingHook()
    run = hook.create_report_run(
        report_type, ReportParameters(interval_start=start, interval_end=end, **parameters)
    )
    return hook.retrieve_report_run(run.id).id


def landing(run: Any, **options: Any) -> Any:
    return in_dag(StripeReportToIcebergOperator, **{"report_run_id": run, "table": "books.activity", **options})


def lands(run: Any, books: Books, **options: Any) -> Try:
    tried = TaskRunner().run(landing(run, warehouse=books.folder, **options))
    assert tried.state == "success", tried.error
    return tried


def test_a_report_run_lands_in_a_table(stripe_conn: StripeSandbox, books: Books) -> None:
    """All its rows; what the task returns says of which run, file and table; a clear transfers nothing again."""
    ran = TaskRunner().run(in_dag(StripeReportRunOperator, report_type=REPORT, poll_interval=0.01))
    asset = Asset("stripe-activity")
    tried = lands(ran.returned, books, outlets=[asset])
    rows = books.rows("balance_transaction_id")
    assert rows
    assert {
        "path": "books.activity",
        "rows": len(rows),
        "sha256": None,
        "report_run_id": ran.returned["report_run_id"],
    }.items() <= (tried.returned.items())
    downloads = len(stripe_conn.requests_to("contents"))
    assert lands(ran.returned, books).returned == tried.returned
    assert len(stripe_conn.requests_to("contents")) == downloads
    assert len(stripe_conn.report_runs) == 1
    assert books.rows("balance_transaction_id") == rows


def test_it_takes_what_the_run_operator_returned(stripe_conn: StripeSandbox, books: Books) -> None:
    """Days add up, and a clear of one replaces it alone, by fresh figures."""
    for number in (1, 2):
        lands(finished(day(number), day(number + 1)), books)
    rows = books.rows("balance_transaction_id")
    again = finished(day(1), day(2))
    lands(again, books, column_types={"description": "text"})
    assert books.rows("balance_transaction_id") == rows
    assert again in books.told()


def test_a_span_over_landed_days_is_refused_without_a_retry(stripe_conn: StripeSandbox, books: Books) -> None:
    """Before it is downloaded, and until the author says that it replaces them."""
    lands(finished(), books)
    downloads = len(stripe_conn.requests_to("contents"))
    over = finished(day(1), day(4))
    tried = TaskRunner().run(landing(over, warehouse=books.folder))
    assert tried.state == "failed"
    assert "on_overlap='replace'" in str(tried.error)
    assert len(stripe_conn.requests_to("contents")) == downloads
    lands(over, books, on_overlap="{{ 'replace' }}")
    assert set(books.rows("_report_run_id")) == {over}


def test_a_cut_download_arrives_whole(stripe_conn: StripeSandbox, books: Books) -> None:
    """The table sees nothing of it."""
    stripe_conn.inject(CutBody(after=100), on="contents", times=2)
    tried = lands(finished(), books)
    assert tried.returned["rows"] == len(books.rows("net"))


def test_a_catalog_comes_from_a_connection(
    stripe_conn: StripeSandbox, books: Books, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of Airflow's type for Iceberg, with the properties of any catalog of pyiceberg's in the extra."""
    books.folder.mkdir()
    extra = {"type": "sql", "uri": f"sqlite:///{books.folder}/other.db", "warehouse": books.folder.as_uri()}
    connection = {"conn_type": "iceberg", "extra": extra}
    monkeypatch.setenv("AIRFLOW_CONN_LAKE", json.dumps(connection))
    tried = TaskRunner().run(landing(finished(), catalog_conn_id="lake"))
    assert tried.state == "failed"
    assert "the catalog has no namespace books" in str(tried.error)
    assert not stripe_conn.requests_to("contents")

    from pyiceberg.catalog import load_catalog

    catalog = load_catalog("lake", **extra)
    catalog.create_namespace("books")
    tried = TaskRunner().run(landing(finished(), catalog_conn_id="lake"))
    assert tried.state == "success", tried.error
    assert catalog.load_table("books.activity").scan().to_arrow().num_rows == tried.returned["rows"]


MARKED = "marked-secret-of-nobody"


@pytest.mark.parametrize(
    ("connection", "said"),
    [
        ({"conn_type": "postgres"}, "of type postgres: an Iceberg catalog's is iceberg"),
        ({"conn_type": "iceberg", "extra": "{no JSON"}, "its extra is no JSON object"),
        ({"conn_type": "iceberg", "extra": {"type": "none"}}, "ValueError"),
        ({"conn_type": "iceberg", "extra": {"type": "sql", "token": MARKED}}, "URI"),
        (
            {"conn_type": "iceberg", "extra": {"type": "sql", "uri": f"postgresql://me:{MARKED}@127.0.0.1:1/x"}},
            "catalog_conn_id 'lake': ",
        ),
        ({"conn_type": "iceberg", "host": "http://127.0.0.1:1", "login": "me"}, "ConnectionError"),
        (
            {"conn_type": "iceberg", "host": f"http://127.0.0.1:1/x?token={MARKED}2", "password": ""},
            "ConnectionError",
        ),
        ({"conn_type": "iceberg", "host": f"http://me:{MARKED}2@127.0.0.1:1", "password": ""}, "ConnectionError"),
        (
            {
                **{"conn_type": "iceberg", "host": "http://127.0.0.1:1", "password": ""},
                "extra": {"auth": {"type": "basic", "basic": {"username": "me", "password": f"{MARKED}2"}}},
            },
            "ConnectionError",
        ),
    ],
)
def test_a_catalog_that_can_not_be_is_an_error_without_secrets(
    stripe_conn: StripeSandbox,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    connection: dict[str, Any],
    said: str,
) -> None:
    """Neither the task's error nor its log shows what is secret, whatever pyiceberg says."""
    monkeypatch.setenv("AIRFLOW_CONN_LAKE", json.dumps({"password": MARKED} | connection))
    tried = TaskRunner().run(landing(finished(), catalog_conn_id="lake"))
    assert tried.state in ("failed", "up_for_retry")
    assert tried.error is not None
    assert said in str(tried.error)
    shown = [str(tried.error), repr(tried.error.__cause__), repr(tried.error.__context__), caplog.text]
    assert not [text for text in shown if MARKED in text]
    assert not stripe_conn.requests_to("contents")


@pytest.mark.parametrize("named", [{}, {"catalog_conn_id": "lake", "warehouse": "/lake"}])
def test_a_catalog_is_named_once(named: dict[str, str]) -> None:
    """Or the DAG file is no use."""
    with pytest.raises(ConfigurationError, match="Name the catalog of the table"):
        landing("frr_1", **named)


def test_where_it_lies_is_what_others_call_it(stripe_conn: StripeSandbox, books: Books) -> None:
    """An asset's URI and OpenLineage's name are the table's location, new or not."""
    run = finished()
    for _ in range(2):
        task = landing(run, warehouse=books.folder)
        _, landed = task.land({})
        assert landed.uri == f"{books.folder.as_uri()}/books/activity"
        assert landed.dataset() == ("file", f"{books.folder}/books/activity")


def test_a_warehouse_of_a_template_is_not_left(stripe_conn: StripeSandbox, books: Books) -> None:
    """Neither for a folder beside it nor above it; nothing is made there."""
    tried = TaskRunner().run(landing(finished(), warehouse=f"{books.folder}/{{{{ '..' }}}}/other"))
    assert tried.state == "failed"
    assert "no '..'" in str(tried.error)
    assert list(books.folder.parent.iterdir()) == []


def test_a_warehouse_that_is_a_file_fails_before_stripe_is_asked(stripe_conn: StripeSandbox, books: Books) -> None:
    """And is not tried again."""
    books.folder.write_text("a file")
    tried = TaskRunner().run(landing("frr_1", warehouse=books.folder))
    assert tried.state == "failed"
    assert f"{books.folder} is no folder. Move it away" in str(tried.error)
    assert not stripe_conn.requests_to("retrieve")
