"""What Airflow kept over an upgrade, or a fault: trigger arguments, events and memories of any shape."""

from __future__ import annotations

import asyncio
import json
from datetime import UTC, datetime, timedelta
from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import strategies as st

from airflow_reportrun.operators.run import _measure_wait
from airflow_reportrun.reporting import endpoints
from airflow_reportrun.reporting.parameters import ReportParameters
from airflow_reportrun.reporting.report_type_ids import ParameterShape
from airflow_reportrun.submission.memory import STORE_KEY, Memory
from airflow_reportrun.tasks.failures import Try
from airflow_reportrun.triggers import (
    StripePendingReportRunsTrigger,
    StripeReportRunTrigger,
    StripeReportTypeTrigger,
    StripeTrigger,
)
from airflow_reportrun.waiting.events import Event, PendingReportRunsEvent, ReportRunEvent, ReportTypeEvent
from airflow_reportrun.waiting.pace import Watch
from tests.fuzz import ODD, damaged, law, tried
from tests.test_events import ARRIVED, ENDED, LET_IN
from tests.test_memory import SUBMISSION, Store, recall
from tests.test_models import JSON
from tests.versions import BEFORE_3_3

NOW = 1_714_608_000.0
COMMON: dict[str, Any] = {
    "deadline": NOW,
    "since": NOW - 60,
    "not_before": 0.0,
    "poll_interval": 10.0,
    "growth": 0.25,
    "stripe_conn_id": "stripe_default",
    "stripe_account": None,
    "stripe_context": None,
    "resume": {"destination": "/x.csv", "try_began": NOW},
}
TRIGGERS: list[tuple[type[StripeTrigger], dict[str, Any]]] = [
    (StripeReportRunTrigger, {"report_run_id": "frr_1", **COMMON}),
    (StripeReportTypeTrigger, {"report_type": "balance.summary.1", "until": 1_714_608_000, **COMMON}),
    (StripePendingReportRunsTrigger, {"max_pending_report_runs": 3, "window": 60.0, **COMMON}),
]


def dicts(of: Any) -> st.SearchStrategy[dict[str, Any]]:
    """JSON objects with damage."""
    return damaged(st.just(of)).filter(lambda it: isinstance(it, dict))


@pytest.mark.parametrize(("kind", "arguments"), TRIGGERS)
@law(few=60, data=st.data())
def test_any_arguments_are_a_trigger_that_can_wait_or_a_type_error(
    kind: type[StripeTrigger], arguments: dict[str, Any], data: st.DataObject
) -> None:
    """Airflow takes a TypeError alone for the trigger's own."""
    given = data.draw(dicts(arguments))
    trigger = tried(lambda: kind(**given), TypeError)
    if isinstance(trigger, Exception):
        assert isinstance(trigger, TypeError)
        return
    path, kept = trigger.serialize()
    assert path.endswith(kind.__name__)
    assert kind(**json.loads(json.dumps(kept))).serialize() == (path, json.loads(json.dumps(kept)))
    assert trigger.backstop >= timedelta(minutes=15)
    watch = Watch(trigger.since, trigger.deadline, trigger.poll_interval, trigger.growth)
    assert watch.pause(NOW) is None or watch.own_pause(NOW) > 0
    tried(lambda: trigger.goal.request())
    assert str(trigger.goal)
    json.dumps(trigger.goal.timeout().as_payload())


EVENTS: list[tuple[type[Event], Any]] = [
    (ReportRunEvent, ENDED),
    (ReportTypeEvent, ARRIVED),
    (PendingReportRunsEvent, LET_IN),
]
RESUMED = {"destination": "/x.csv", "request_id": "req_1", "adopted": False, "refusal": "x", "try_began": NOW}
RESUMED |= {"report_type": "balance.summary.1", "created": 1_714_521_600, "room_since": NOW}


@pytest.mark.parametrize(("kind", "sound"), EVENTS)
@law(few=80, data=st.data())
def test_any_event_is_one_that_a_task_can_end_on_or_refused(
    kind: type[Event], sound: dict[str, Any], data: st.DataObject
) -> None:
    """With a sentence; what came back with it is of use, too."""
    given = data.draw(damaged(st.just({**sound, "resume": RESUMED})))
    event = tried(lambda: kind.from_payload(given), ValueError)
    if isinstance(event, Exception):
        return
    assert str(event)
    task: Any = SimpleNamespace(execution_timeout=timedelta(seconds=60))
    context: Any = {"ti": SimpleNamespace(start_date=datetime.fromtimestamp(NOW, UTC))}
    this_try = Try.of(task, context, event.resume)
    StripeReportRunTrigger(
        report_run_id="frr_1", deadline=this_try.deadline(NOW), since=NOW, resume=this_try.resume
    )
    if isinstance(event, ReportRunEvent):
        _measure_wait(event, event.resume)
    if isinstance(event, PendingReportRunsEvent) and event.resume.get("room_since"):
        StripePendingReportRunsTrigger(
            max_pending_report_runs=3, window=60.0, deadline=NOW, since=event.resume["room_since"]
        )


ENTRY = {"max_tries": 3, "first_try": 5000.0, "earliest": 4700.0, "submission": SUBMISSION}


@law(few=120, kept=damaged(st.just(ENTRY)) | JSON)
def test_any_memory_leads_to_a_request_or_is_passed_over(kept: Any) -> None:
    """A task that can't go on from what was kept could only be cleared."""
    memory = tried(lambda: recall(Store({STORE_KEY: kept})))
    assert isinstance(memory, Memory)
    datetime.fromtimestamp(memory.first_try, UTC)
    memory.forget_others("", None, False)
    if (submission := memory.submission) is None:
        return
    memory.keep(submission)
    assert recall(Store(json.loads(json.dumps(memory.store)))).submission == submission
    parameters = ReportParameters.from_dict(submission.parameters)
    tried(lambda: endpoints.create_report_run(submission.report_type, parameters, idempotency_key="k"))
    endpoints.create_report_run(
        submission.report_type,
        ReportParameters(interval_start=1, interval_end=2, payout=None),
        idempotency_key=submission.idempotency_key,
        shape=ParameterShape.INTERVAL,
    )
    if submission.report_run_id is not None:
        endpoints.retrieve_report_run(submission.report_run_id)


# Where sensors begin without a worker, and DAG runs without a task

STARTS: list[tuple[str, dict[str, Any]]] = [
    (
        "ReportRunStart",
        {"timeout": 60.0, "poll_interval": 10.0, "ends": True, "returns": True, "report_run_id": "frr_1"},
    ),
    (
        "ReportTypeStart",
        {
            **{"timeout": 60.0, "poll_interval": 10.0, "ends": True, "returns": True, "settle": 0.0},
            **{"report_type": "balance.summary.1", "interval_end": 1_714_608_000, "interval": None},
        },
    ),
]
WHOSE = {"stripe_conn_id": "stripe_default", "stripe_account": None, "stripe_context": None}
needs_starts = pytest.mark.skipif(BEFORE_3_3, reason="before Airflow 3.3 no sensor begins in the triggerer")


@needs_starts
@pytest.mark.parametrize(("name", "sound"), STARTS)
@law(few=60, data=st.data())
def test_any_arguments_are_a_start_that_comes_to_a_wait_or_say_why_not(
    name: str, sound: dict[str, Any], data: st.DataObject
) -> None:
    """A TypeError of the constructor with a sentence, or an error of ours when the options are read."""
    from airflow_reportrun import start_triggers

    kind = getattr(start_triggers, name)
    given = data.draw(dicts({**sound, **WHOSE}))
    if name == "ReportTypeStart":  # without an end it is the schedule that says it
        given["interval_end"] = given.get("interval_end") or 1_714_608_000
    start = tried(lambda: kind(**given), TypeError)
    if isinstance(start, Exception):
        assert isinstance(start, TypeError)
        return
    path, kept = start.serialize()
    assert path.endswith(name)
    assert kind(**kept).serialize() == (path, kept)
    args = SimpleNamespace(timeout=timedelta(hours=1))
    start._task_instance = SimpleNamespace(task=SimpleNamespace(execution_timeout=None, start_trigger_args=args))
    start.timeout_after = datetime.fromtimestamp(NOW, UTC)
    if not isinstance(tried(lambda: asyncio.run(start.prepare(start.options))), Exception):
        tried(lambda: start.waits({**start._of_the_try(), **WHOSE}), TypeError)


WATCHED = {"report_type": "balance.summary.1", "since": 1_714_608_000, "poll_interval": 300.0, **WHOSE}


@needs_starts
@law(few=60, given=dicts(WATCHED), told=st.none() | st.integers(0, 10**10) | ODD)
def test_any_arguments_are_a_watcher_or_a_type_error(given: dict[str, Any], told: Any) -> None:
    """And whatever was kept of how far it told is a sentence in a log at worst."""
    from airflow_reportrun.event_triggers import StripeReportDataTrigger

    trigger = tried(lambda: StripeReportDataTrigger(**given), TypeError)
    if isinstance(trigger, Exception):
        assert isinstance(trigger, TypeError)
        return
    assert StripeReportDataTrigger(**trigger.serialize()[1]).serialize() == trigger.serialize()
    assert trigger.shared_stream_key() == StripeReportDataTrigger(**trigger.serialize()[1]).shared_stream_key()
    name = "x"
    stores: Any = SimpleNamespace(_by_name={name: SimpleNamespace(get=lambda _: told)})
    trigger.asset_state_store = stores
    tried(lambda: asyncio.run(trigger._read(name)), ValueError)
