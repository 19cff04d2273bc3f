from __future__ import annotations

import json

import pytest

from airflow_reportrun.reporting.models import ReportRun
from airflow_reportrun.waiting.events import ReportRunEvent, describe
from tests.test_models import RUN


def test_survives_airflows_database() -> None:
    """What a task reads is what the trigger meant."""
    event = ReportRunEvent.ended(ReportRun.from_api(RUN))
    assert ReportRunEvent.from_payload(json.loads(json.dumps(event.as_payload()))) == event


def test_a_failed_run_without_a_reason_says_so() -> None:
    """Stripe's error may be null."""
    event = ReportRunEvent.ended(ReportRun.from_api({**RUN, "status": "failed", "result": None}))
    assert event.outcome == "failed"
    assert event.message == "Report run frr_1 (balance.summary.1) failed: Stripe gave no reason"


def test_fields_of_other_versions_are_passed_over() -> None:
    """An event may be older or newer than the task that reads it."""
    event = ReportRunEvent.from_payload({"outcome": "failed", "report_run_id": "frr_1", "novelty": 1})
    assert event == ReportRunEvent(outcome="failed", report_run_id="frr_1")


@pytest.mark.parametrize("payload", [None, "success", [], {}, {"outcome": "great"}, {"outcome": "failed"}])
def test_refuses_what_is_no_event(payload: object) -> None:
    """Anything else must not pass for a finished report."""
    with pytest.raises(ValueError, match="Expected a ReportRunEvent"):
        ReportRunEvent.from_payload(payload)


def test_describes_a_run_in_small_json() -> None:
    """For XCom: no file URL, no parameters beyond the interval."""
    described = describe(ReportRun.from_api(RUN))
    assert described == {
        "report_run_id": "frr_1",
        "report_type": "balance.summary.1",
        "status": "succeeded",
        "livemode": True,
        "interval_start": 1,
        "interval_end": 2,
        "file_id": "file_1",
        "size": 53075,
    }
