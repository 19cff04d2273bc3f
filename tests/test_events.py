from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from airflow_reportrun.reporting.models import ReportRun
from airflow_reportrun.waiting.events import (
    Event,
    PendingReportRunsEvent,
    ReportRunEvent,
    ReportTypeEvent,
    describe,
)
from tests.test_models import JSON, RUN

NO_TEXTS: list[Any] = [1, ["frr_1"], {}, True]
NO_INSTANTS: list[Any] = [True, -1, 10**400, 1e300, "now"]
ANYTHING: list[Any] = [1, "great", ["succeeded"]]


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


ENDED = ReportRunEvent.ended(ReportRun.from_api(RUN)).as_payload()
DATA = {"report_type": "balance.summary.1", "livemode": True, "data_available_start": 1, "data_available_end": 2}
LET_IN = PendingReportRunsEvent.room(3, 2, 1714608000).as_payload()
SPOILT_ROOM: list[dict[str, Any]] = [
    *({"max_pending_report_runs": value} for value in [None, 0, -1, "3", True, 3.0]),
    *({"pending": value} for value in [None, 3, -1, "2", True]),
    *({"newest": value} for value in [None, -1, "2", 1.5, True]),
    {"resume": {"room_since": "now"}},
]
ARRIVED: dict[str, Any] = {"outcome": "available", "report_type": "balance.summary.1", "availability": DATA}


@pytest.mark.parametrize(
    ("kind", "event", "damaged"),
    [
        *(
            (ReportRunEvent, {**ENDED, **spoilt}, next(iter(spoilt)))
            for spoilt in [
                *({"outcome": value} for value in ANYTHING),
                *({"report_run_id": value} for value in NO_TEXTS),
                *({"message": value} for value in NO_TEXTS),
                *({"resume": value} for value in ANYTHING),
                *({"resume": {"destination": value}} for value in NO_TEXTS),
                {"resume": {"adopted": "no"}},
                *({"resume": {"try_began": value}} for value in NO_INSTANTS),
                *({"resume": {"created": value}} for value in NO_INSTANTS),
                *({"report_run": value} for value in [None, *ANYTHING, {}]),
                {"report_run": {**ENDED["report_run"], "report_run_id": "frr_2"}},
                {"report_run": {**ENDED["report_run"], "status": "failed"}},
            ]
        ),
        *(
            (ReportTypeEvent, {**ARRIVED, **spoilt}, next(iter(spoilt)))
            for spoilt in [
                *({"report_type": value} for value in NO_TEXTS),
                *({"availability": value} for value in [None, *ANYTHING, {}]),
                *({"availability": {**DATA, "data_available_end": value}} for value in [None, "2", 1.5, -1, True]),
                {"resume": {"refusal": 1}},
            ]
        ),
        *((PendingReportRunsEvent, {**LET_IN, **spoilt}, next(iter(spoilt))) for spoilt in SPOILT_ROOM),
    ],
)
def test_refuses_a_damaged_event(kind: type[Event], event: dict[str, Any], damaged: str) -> None:
    """A task must not end on half of what its trigger said; a retry finds out anew."""
    with pytest.raises(
        ValueError, match=f"its {damaged} is missing or damaged: .* A retry of the task looks again"
    ):
        kind.from_payload(json.loads(json.dumps(event)))


@given(payload=JSON | st.fixed_dictionaries({name: JSON | st.just(value) for name, value in ENDED.items()}))
def test_whatever_comes_is_an_event_or_refused(payload: Any) -> None:
    """With one kind of error."""
    try:
        event = ReportRunEvent.from_payload(payload)
    except ValueError:
        return
    assert event.outcome in ReportRunEvent.outcomes
    assert event.report_run is not None or event.outcome != "succeeded"


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
