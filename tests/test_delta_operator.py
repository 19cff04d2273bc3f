"""The operator against the sandbox, over the wire, in Airflow's own task runner."""

from __future__ import annotations

from typing import Any

import pytest
from airflow.providers.common.compat.sdk import Asset

from airflow_reportrun.hooks import StripeReportingHook
from airflow_reportrun.operators import StripeReportRunOperator, StripeReportToDeltaOperator
from airflow_reportrun.reporting.parameters import ReportParameters
from airflow_reportrun.sandbox import AtOnce, CutBody, StripeSandbox
from tests.deltas import Ledger
from tests.landings import day
from tests.task_runner import TaskRunner, Try, in_dag

REPORT = "balance_change_from_activity.itemized.3"


@pytest.fixture(autouse=True)
def _runs_end_at_once(stripe_conn: StripeSandbox) -> None:
    stripe_conn.configure(transition=AtOnce())


def finished(start: int = day(1), end: int = day(2), report_type: str = REPORT, **parameters: Any) -> str:
    """Return the id of a report run that is finished."""
    hook = StripeReportingHook()
    asked = ReportParameters(interval_start=start, interval_end=end, **parameters)
    return hook.retrieve_report_run(hook.create_report_run(report_type, asked).id).id


def landing(run: Any, table: Any, **options: Any) -> Any:
    return in_dag(StripeReportToDeltaOperator, report_run_id=run, table=table, **options)


def lands(run: Any, ledger: Ledger, **options: Any) -> Try:
    tried = TaskRunner().run(landing(run, ledger.folder, **options))
    assert tried.state == "success", tried.error
    return tried


def test_a_report_run_lands_in_a_table(stripe_conn: StripeSandbox, ledger: Ledger) -> None:
    """All its rows; what the task returns says of which run, file and table; a clear transfers nothing again."""
    ran = TaskRunner().run(in_dag(StripeReportRunOperator, report_type=REPORT, poll_interval=0.01))
    tried = lands(ran.returned, ledger, outlets=[Asset("stripe-activity")])
    rows = ledger.rows("balance_transaction_id")
    assert rows
    expected = {"path": ledger.url, "rows": len(rows), "sha256": None}
    assert {**expected, "report_run_id": ran.returned["report_run_id"]}.items() <= tried.returned.items()
    downloads = len(stripe_conn.requests_to("contents"))
    assert lands(ran.returned, ledger).returned == tried.returned
    assert len(stripe_conn.requests_to("contents")) == downloads
    assert len(stripe_conn.report_runs) == 1
    assert ledger.rows("balance_transaction_id") == rows


def test_days_add_up(stripe_conn: StripeSandbox, ledger: Ledger) -> None:
    """A clear of one replaces it alone, by fresh figures."""
    for number in (1, 2):
        lands(finished(day(number), day(number + 1)), ledger)
    rows = ledger.rows("balance_transaction_id")
    again = finished(day(1), day(2))
    lands(again, ledger, column_types={"description": "text"})
    assert ledger.rows("balance_transaction_id") == rows
    assert again in ledger.told()


def test_a_span_over_landed_days_is_refused_without_a_retry(stripe_conn: StripeSandbox, ledger: Ledger) -> None:
    """Before it is downloaded, and until the author says that it replaces them."""
    lands(finished(), ledger)
    downloads = len(stripe_conn.requests_to("contents"))
    over = finished(day(1), day(4))
    tried = TaskRunner().run(landing(over, ledger.url))
    assert tried.state == "failed"
    assert "on_overlap='replace'" in str(tried.error)
    assert len(stripe_conn.requests_to("contents")) == downloads
    lands(over, ledger, on_overlap="{{ 'replace' }}")
    assert set(ledger.rows("_report_run_id")) == {over}


def test_a_cut_download_arrives_whole(stripe_conn: StripeSandbox, ledger: Ledger) -> None:
    """The table sees nothing of it."""
    stripe_conn.inject(CutBody(after=100), on="contents", times=2)
    tried = lands(finished(), ledger)
    assert tried.returned["rows"] == len(ledger.rows("net"))
    assert ledger.version == 0


def test_where_it_lies_is_what_others_call_it(stripe_conn: StripeSandbox, ledger: Ledger) -> None:
    """An asset's URI and OpenLineage's name are the table's folder, new or not."""
    run = finished()
    for _ in range(2):
        _, landed = landing(run, f"{ledger.url}/").land({})
        assert landed.uri == f"file://{ledger.url}"
        assert landed.dataset() == ("file", ledger.url)


@pytest.mark.parametrize(("table", "said"), [("lake", "is relative"), ("/dev/null", "is no folder")])
def test_a_table_that_can_not_be_fails_before_stripe_is_asked(
    stripe_conn: StripeSandbox, table: str, said: str
) -> None:
    """And is not tried again."""
    tried = TaskRunner().run(landing("frr_1", f"{{{{ '{table}' }}}}/activity"))
    assert tried.state == "failed"
    assert said in str(tried.error)
    assert not stripe_conn.requests_to("retrieve")
