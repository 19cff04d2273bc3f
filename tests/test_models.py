from __future__ import annotations

from typing import Any

import pytest

from airflow_reportrun.reporting.errors import ReportRunFailedError, UnexpectedResponseError
from airflow_reportrun.reporting.models import File, ListPage, ReportRun, ReportRunStatus, ReportType

FILE: dict[str, Any] = {
    "id": "file_1",
    "object": "file",
    "created": 1680000100,
    "expires_at": 1711536100,
    "filename": "frr_1.csv",
    "purpose": "finance_report_run",
    "size": 53075,
    "title": None,
    "type": "csv",
    "url": "https://files.stripe.com/v1/files/file_1/contents",
}
RUN: dict[str, Any] = {
    "id": "frr_1",
    "object": "reporting.report_run",
    "created": 1680000000,
    "error": None,
    "livemode": True,
    "parameters": {"interval_start": 1, "interval_end": 2},
    "report_type": "balance.summary.1",
    "result": FILE,
    "status": "succeeded",
    "succeeded_at": 1680000200,
}


def test_reads_a_report_run_with_its_file() -> None:
    """Stripe's names and units stay as they are."""
    run = ReportRun.from_api(RUN)
    assert run.result == File("file_1", 1680000100, 53075, FILE["url"], "frr_1.csv", 1711536100, "csv")
    assert (run.id, run.livemode, run.succeeded_at, run.error) == ("frr_1", True, 1680000200, None)
    assert run.parameters == {"interval_start": 1, "interval_end": 2}


@pytest.mark.parametrize(
    ("said", "reason"), [("Too many rows.", "Too many rows."), (None, "Stripe gave no reason")]
)
def test_a_failed_run_says_why(said: str | None, reason: str) -> None:
    """In Stripe's words, where there are any."""
    run = ReportRun.from_api({**RUN, "status": "failed", "result": None, "error": said})
    assert (
        str(ReportRunFailedError(run.id, run.report_type, run.error))
        == f"Report run frr_1 (balance.summary.1) failed: {reason}"
    )


def test_reads_a_pending_run_and_passes_over_what_stripe_adds() -> None:
    """New fields in an answer must not break old software."""
    run = ReportRun.from_api({**RUN, "status": "pending", "result": None, "succeeded_at": None, "novelty": {}})
    assert (run.result, run.succeeded_at) == (None, None)


@pytest.mark.parametrize(
    ("status", "terminal", "known"),
    [("pending", False, True), ("succeeded", True, True), ("failed", True, True), ("paused", False, False)],
)
def test_a_status_answers_for_itself(status: str, terminal: bool, known: bool) -> None:
    """A word that nobody knows is waited for, and still says what arrived."""
    it = ReportRunStatus(status)
    assert (it.is_terminal, it.is_known, str(it)) == (terminal, known, status)


@pytest.mark.parametrize(
    "body",
    [
        None,
        [],
        {},
        {**RUN, "object": "charge"},
        {**RUN, "id": None},
        {**RUN, "created": "yesterday"},
        {**RUN, "created": True},
        {**RUN, "livemode": 1},
        {**RUN, "parameters": None},
        {**RUN, "result": {"object": "file"}},
        {**RUN, "error": 7},
        {key: value for key, value in RUN.items() if key != "status"},
    ],
)
def test_refuses_what_is_no_report_run(body: object) -> None:
    """A half-read answer would surface far from where it went wrong."""
    with pytest.raises(UnexpectedResponseError, match="Expected"):
        ReportRun.from_api(body)


def test_reads_a_report_type() -> None:
    """How far the data reaches is what readiness is decided by."""
    body = {
        "id": "balance.summary.1",
        "object": "reporting.report_type",
        "data_available_end": 1713571200,
        "data_available_start": 1640995200,
        "default_columns": ["category", "net_amount"],
        "livemode": False,
        "name": "Balance summary",
        "updated": 1713620000,
        "version": 1,
    }
    report_type = ReportType.from_api(body)
    assert report_type.data_available_end == 1713571200
    assert report_type.default_columns == ("category", "net_amount")
    assert ReportType.from_api({**body, "default_columns": None}).default_columns == ()


def test_refuses_a_page_that_is_none() -> None:
    """A list says whether more follows, or a listing could end too early unnoticed."""
    with pytest.raises(UnexpectedResponseError, match="has_more"):
        ListPage.from_api({"object": "list", "data": []})
