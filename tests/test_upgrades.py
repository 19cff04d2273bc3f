"""What another version of this package has stored is understood: tasks are deferred and retried over an upgrade.

The payloads are written down as version 0.1.0 stored them; they are not to be made by the code that reads them.
"""

from __future__ import annotations

import asyncio
import json
import time
from pathlib import Path
from typing import Any

import pytest
from airflow.providers.common.compat.module_loading import import_string

from airflow_reportrun.hooks import StripeReportingHook
from airflow_reportrun.operators import StripeReportRunOperator
from airflow_reportrun.reporting.parameters import ReportParameters
from airflow_reportrun.sandbox import AfterReads, RunFails, StripeSandbox
from airflow_reportrun.sensors import StripeReportRunSensor, StripeReportTypeSensor
from airflow_reportrun.submission.idempotency import Identity
from airflow_reportrun.waiting.events import ReportRunEvent
from tests.task_runner import TaskRunner, in_dag
from tests.versions import needs_airflow

TRIGGER = "airflow_reportrun.triggers.StripeReportRunTrigger"

# Of the task ``report`` that the tests have, in the DAG ``stripe``.
KEY = "airflow-reportrun-73d773ba3501aa19ab7e533a9aa08a795c9748b9bbb54c738ddf03f48eea990b"


def trigger_kwargs(report_run_id: str, **others: Any) -> dict[str, Any]:
    now = int(time.time())
    return {
        "report_run_id": report_run_id,
        "deadline": now + 60.0,
        "since": now,
        "not_before": now + 0.5,
        "poll_interval": 0.01,
        "growth": 0.25,
        "stripe_conn_id": "stripe_default",
        "stripe_account": None,
        "resume": {"destination": "/data/2024.csv", "request_id": "req_luRp7ckLC8QVpD"},
        **others,
    }


def event(report_run_id: str, outcome: str = "succeeded", **others: Any) -> dict[str, Any]:
    return {
        "outcome": outcome,
        "report_run_id": report_run_id,
        "message": None,
        "report_run": {
            "report_run_id": report_run_id,
            "report_type": "balance.summary.1",
            "status": "succeeded",
            "livemode": False,
            "interval_start": 1714521600,
            "interval_end": 1714608000,
            "file_id": "file_5Mwq5Ik9uqARsnQyhDVsWfkc",
            "size": 1024,
        },
        "resume": {"destination": "/data/2024.csv", "request_id": "req_luRp7ckLC8QVpD"},
        **others,
    }


def run_operator(**kwargs: Any) -> Any:
    return in_dag(StripeReportRunOperator, **{"report_type": "balance.summary.1", "poll_interval": 0.01, **kwargs})


def created(sandbox: StripeSandbox, reads: int = 0, key: str | None = None) -> str:
    sandbox.configure(transition=AfterReads(reads))
    parameters = ReportParameters(interval_start=1714521600, interval_end=1714608000)
    return StripeReportingHook().create_report_run("balance.summary.1", parameters, idempotency_key=key).id


def fired(path: str, kwargs: dict[str, Any]) -> Any:
    """Run a trigger from what Airflow stored of it."""

    async def payloads() -> list[Any]:
        return [fired.payload async for fired in import_string(path)(**kwargs).run()]

    (payload,) = asyncio.run(payloads())
    return json.loads(json.dumps(payload))


def resumed(task: Any, payload: dict[str, Any], **how: Any) -> Any:
    return TaskRunner().run(task, next_method="execute_complete", next_kwargs={"event": payload}, **how)


def test_a_trigger_of_0_1_0_fires(stripe_conn: StripeSandbox) -> None:
    """The triggerer was restarted with this version; the event is one that a worker of either understands."""
    run_id = created(stripe_conn, reads=2)
    payload = fired(TRIGGER, trigger_kwargs(run_id))
    assert payload["report_run"]["file_id"].startswith("file_")
    payload["report_run"] |= {"file_id": "file_5Mwq5Ik9uqARsnQyhDVsWfkc", "size": 1024}
    assert payload == event(run_id)


def test_a_trigger_of_a_sensor_of_0_1_0_fires(stripe_conn: StripeSandbox) -> None:
    """It counted from its deferral, looked at even pauses, and gave nothing to have back."""
    run_id = created(stripe_conn, reads=99)
    now = time.time()
    kwargs = trigger_kwargs(
        run_id, deadline=now + 0.3, since=now, not_before=now, poll_interval=1.0, growth=0.0, resume={}
    )
    assert fired(TRIGGER, kwargs) == {
        "outcome": "timeout",
        "report_run_id": run_id,
        "message": f"Report run {run_id} was not seen to end by the deadline; Stripe goes on with it.",
        "report_run": None,
        "resume": {},
    }


def test_an_event_of_0_1_0_lands_the_file(stripe_conn: StripeSandbox, tmp_path: Path) -> None:
    """The trigger fired before the upgrade, and the worker comes after it."""
    destination, run_id = tmp_path / "x.csv", created(stripe_conn)
    resume = {"destination": str(destination), "request_id": "req_luRp7ckLC8QVpD"}
    tried = resumed(run_operator(deferrable=True), event(run_id, resume=resume))
    assert tried.state == "success", tried.error
    assert destination.stat().st_size == tried.returned["size"]
    assert (tried.returned["report_run_id"], tried.returned["request_id"]) == (run_id, "req_luRp7ckLC8QVpD")


@pytest.mark.parametrize(
    ("outcome", "of_operator", "of_sensor"),
    [("failed", "up_for_retry", "failed"), ("timeout", "up_for_retry", "failed"), ("error", "failed", "failed")],
)
def test_an_event_of_0_1_0_that_is_no_success(
    stripe_conn: StripeSandbox, outcome: str, of_operator: str, of_sensor: str
) -> None:
    """It says what it said."""
    payload = event("frr_1", outcome, message="The printer is on fire.", report_run=None)
    for task, state in (
        (run_operator(deferrable=True), of_operator),
        (in_dag(StripeReportRunSensor, report_run_id="frr_1", deferrable=True, dag_id="sensor"), of_sensor),
    ):
        tried = resumed(task, payload)
        assert tried.state == state
        assert "The printer is on fire." in str(tried.error)
    assert stripe_conn.requests == []


def test_an_event_of_0_1_0_ends_a_sensor(stripe_conn: StripeSandbox) -> None:
    """With the run that it brings, and whose it is."""
    payload = event("frr_1", resume={})
    task = in_dag(StripeReportRunSensor, report_run_id="frr_1", deferrable=True)
    whose = {"stripe_conn_id": "stripe_default", "stripe_account": None, "stripe_context": None}
    assert resumed(task, payload).returned == {**payload["report_run"], **whose, "request_id": None}


def test_events_may_be_those_of_a_later_version() -> None:
    """The triggerer was upgraded before the worker."""
    read = ReportRunEvent.from_payload({**event("frr_1"), "novelty": {"a": 1}})
    assert read == ReportRunEvent.from_payload(event("frr_1"))


@pytest.mark.parametrize(
    ("differences", "attempt", "key"),
    [
        ({}, 1, "20d8a667509392927bd87736cf46b183c6f516347ae9909b2a3b80e2a1b1dfe1"),
        ({}, 2, "09cbb7716aeeda5eb3c3511fecd1ba9347704933ab5114e844ef64977afc81c0"),
        (
            {
                "scope": "eu",
                "run_id": "manuell__täglich",
                "map_index": 2,
                "stripe_account": "acct_1",
                "livemode": None,
                "parameters": {
                    "columns[0]": "net",
                    "interval_start": "1714521600",
                    "interval_end": "1714608000",
                },
            },
            1,
            "0927f6860678dfe35586bdeeec6b4c30ff0d3868ea872f3e144a2fe627091102",
        ),
    ],
)
def test_the_keys_are_those_of_0_1_0(differences: dict[str, Any], attempt: int, key: str) -> None:
    """Another key would be another report run."""
    identity = {
        "scope": "",
        "dag_id": "close_the_books",
        "run_id": "scheduled__2024-05-02T00:00:00+00:00",
        "task_id": "report",
        "map_index": -1,
        "max_tries": 3,
        "stripe_account": None,
        "livemode": True,
        "report_type": "balance.summary.1",
        "parameters": {"interval_start": "1714521600", "interval_end": "1714608000"},
        **differences,
    }
    assert Identity(**identity).idempotency_key(attempt) == f"airflow-reportrun-{key}"


@pytest.mark.parametrize("deferrable", [False, True])
def test_a_retry_attaches_to_the_run_of_a_try_of_0_1_0(stripe_conn: StripeSandbox, deferrable: bool) -> None:
    """Which kept nothing but Stripe's key."""
    run_id = created(stripe_conn, key=KEY)
    tried = TaskRunner().run(run_operator(deferrable=deferrable), try_number=2)
    assert tried.returned["report_run_id"] == run_id
    assert len(stripe_conn.report_runs) == 1


def test_a_retry_after_a_failed_run_of_0_1_0_creates_one(stripe_conn: StripeSandbox) -> None:
    """The second attempt has the key that it had."""
    stripe_conn.inject(RunFails())
    created(stripe_conn, key=KEY)
    for try_number in (2, 3):
        assert TaskRunner().run(run_operator(), try_number=try_number).state == "success"
    assert [run.status for run in stripe_conn.report_runs] == ["failed", "succeeded"]


def stored(report_run_id: str | None) -> dict[str, Any]:
    """What a version to come may keep in the state store: all that this one keeps, and more."""
    return {
        "max_tries": 3,
        "first_try": time.time() - 60,
        "earliest": time.time() - 360,
        "novelty": [1, 2],
        "submission": {
            "scope": "",
            "stripe_account": None,
            "livemode": False,
            "report_type": "balance.summary.1",
            "parameters": {"interval_start": 1714521600, "interval_end": 1714608000},
            "attempt": 4,
            "idempotency_key": "a-key-of-another-make",
            "report_run_id": report_run_id,
            "request_id": "req_luRp7ckLC8QVpD",
            "novelty": {"a": 1},
        },
    }


@needs_airflow(3, 3, "state store")
@pytest.mark.parametrize("answered", [True, False])
def test_what_a_later_version_kept_is_understood(stripe_conn: StripeSandbox, answered: bool) -> None:
    """Somebody goes back to this version: the report run is found by its id, or by the key that was sent."""
    run_id = created(stripe_conn, key="a-key-of-another-make")
    runner = TaskRunner(store={"report/-1/stripe_report_run": stored(run_id if answered else None)})
    tried = runner.run(run_operator(), try_number=2)
    assert tried.returned["report_run_id"] == run_id
    assert len(stripe_conn.report_runs) == 1


@needs_airflow(3, 3, "state store")
def test_what_is_kept_is_what_another_version_reads(stripe_conn: StripeSandbox) -> None:
    """The names in the store are for good; to change one is to forget what was asked for."""
    created(stripe_conn)
    runner = TaskRunner()
    assert runner.run(run_operator()).state == "success"
    assert runner.store
    (kept,) = runner.store.values()
    pattern = stored(None)
    assert kept.keys() == pattern.keys() - {"novelty"}
    assert kept["submission"].keys() == pattern["submission"].keys() - {"novelty"}


# What the code of commit 607ea23 stored, as it was read out of Airflow then; instants and ids apart.

RUN_TRIGGER = TRIGGER, "execute_complete"
DATA_TRIGGER = "airflow_reportrun.triggers.StripeReportTypeTrigger", "execute_when_available"
SENSOR_OF_DATA = "airflow_reportrun.triggers.StripeReportTypeTrigger", "execute_complete"
POLICY = {"__type": "airflow_reportrun.retry_policy.StripeRetryPolicy"}


def data_trigger_kwargs(**others: Any) -> dict[str, Any]:
    now = time.time()
    return {
        "report_type": "balance.summary.1",
        "until": 1714608000,
        "deadline": now + 259200.0,
        "since": now,
        "not_before": now + 0.1,
        "poll_interval": 60.0,
        "growth": 0.25,
        "stripe_conn_id": "stripe_default",
        "stripe_account": None,
        "resume": {"refusal": None},
        **others,
    }


def data_event(**others: Any) -> dict[str, Any]:
    return {
        "outcome": "available",
        "message": None,
        "resume": {"refusal": None},
        "report_type": "balance.summary.1",
        "availability": {
            "report_type": "balance.summary.1",
            "livemode": False,
            "data_available_start": 1640995200,
            "data_available_end": 1714608000,
        },
        **others,
    }


def entry(report_run_id: str | None, **others: Any) -> dict[str, Any]:
    """What was kept of a submission that was sent."""
    return {
        "max_tries": 3,
        "first_try": time.time() - 60,
        "earliest": time.time() - 360,
        "submission": {
            "scope": "",
            "stripe_account": None,
            "livemode": False,
            "report_type": "balance.summary.1",
            "parameters": {"interval_end": 1714608000, "interval_start": 1714521600},
            "attempt": 1,
            "idempotency_key": KEY,
            "report_run_id": report_run_id,
            "request_id": None if report_run_id is None else "req_asWMcRQujuqOjn",
            **others,
        },
    }


def goes_on(task: Any, path: tuple[str, str], kwargs: dict[str, Any]) -> Any:
    """Run a stored trigger to its event, and the task with it."""
    trigger, method = path
    runner = TaskRunner()
    tried = runner.run(task, next_method=method, next_kwargs={"event": fired(trigger, kwargs)})
    return runner.resume(task, tried) if tried.state == "deferred" else tried


def test_a_task_that_was_deferred_for_its_report_goes_on(stripe_conn: StripeSandbox, tmp_path: Path) -> None:
    """From the trigger to the file."""
    run_id, destination = created(stripe_conn, reads=1), tmp_path / "x.csv"
    resume = {"destination": str(destination), "request_id": "req_asWMcRQujuqOjn", "adopted": False}
    tried = goes_on(run_operator(deferrable=True), RUN_TRIGGER, trigger_kwargs(run_id, resume=resume))
    assert tried.state == "success", tried.error
    assert (tried.returned["report_run_id"], tried.returned["request_id"]) == (run_id, "req_asWMcRQujuqOjn")
    assert destination.stat().st_size == tried.returned["size"]


def test_an_adopted_run_that_failed_meanwhile_is_still_final(stripe_conn: StripeSandbox) -> None:
    """What the trigger was given to have back says so."""
    stripe_conn.inject(RunFails("No."))
    run_id = created(stripe_conn, reads=1)
    resume = {"destination": None, "request_id": None, "adopted": True}
    tried = goes_on(run_operator(deferrable=True), RUN_TRIGGER, trigger_kwargs(run_id, resume=resume))
    assert tried.state == "failed"


def test_a_task_that_was_deferred_for_its_data_goes_on(stripe_conn: StripeSandbox) -> None:
    """It asks once when the data is there, and waits for what it asked for."""
    stripe_conn.configure(transition=AfterReads(0))
    tried = goes_on(run_operator(deferrable=True), DATA_TRIGGER, data_trigger_kwargs())
    assert tried.state == "success", tried.error
    assert len(stripe_conn.report_runs) == 1


def test_a_task_that_was_deferred_for_room_goes_on(stripe_conn: StripeSandbox) -> None:
    """The names are for good: those of the trigger, its arguments, the method and what comes back."""
    stripe_conn.configure(transition=AfterReads(0))
    now = time.time()
    path = "airflow_reportrun.triggers.StripePendingReportRunsTrigger", "execute_when_room"
    kwargs = {
        "max_pending_report_runs": 3,
        "window": 43200.0,
        "deadline": now + 259200.0,
        "since": now,
        "not_before": now + 0.1,
        "poll_interval": 15.0,
        "growth": 0.0,
        "stripe_conn_id": "stripe_default",
        "stripe_account": None,
        "stripe_context": None,
        "resume": {"room_since": now},
    }
    assert fired(path[0], kwargs) == {
        "outcome": "room",
        "message": None,
        "resume": {"room_since": now},
        "max_pending_report_runs": 3,
        "pending": 0,
        "newest": pytest.approx(now - 43200, abs=60),
    }
    tried = goes_on(run_operator(deferrable=True, max_pending_report_runs=3), path, kwargs)
    assert tried.state == "success", tried.error
    assert len(stripe_conn.report_runs) == 1


def test_an_event_about_data_goes_on(stripe_conn: StripeSandbox) -> None:
    """The trigger fired before the upgrade; what Stripe had refused is told where the time is over."""
    stripe_conn.configure(transition=AfterReads(0))
    task, method = run_operator(), DATA_TRIGGER[1]
    assert TaskRunner().run(task, next_method=method, next_kwargs={"event": data_event()}).state == "success"
    late = data_event(outcome="timeout", message="Too late.", availability=None, resume={"refusal": "Not yet."})
    tried = TaskRunner().run(task, next_method=method, next_kwargs={"event": late})
    assert tried.state == "failed"
    assert "Too late." in str(tried.error)
    assert "Stripe had said: Not yet." in str(tried.error)


def test_a_sensor_that_was_deferred_goes_on(stripe_conn: StripeSandbox) -> None:
    """Each of the two, from its trigger to what it returns."""
    run_id = created(stripe_conn, reads=1)
    options = {"poll_interval": 1.0, "growth": 0.0, "resume": {}}
    sensor = in_dag(StripeReportRunSensor, report_run_id=run_id, deferrable=True)
    tried = goes_on(sensor, RUN_TRIGGER, trigger_kwargs(run_id, **options))
    assert tried.returned["report_run_id"] == run_id
    sensor = in_dag(StripeReportTypeSensor, report_type="balance.summary.1", deferrable=True)
    tried = goes_on(sensor, SENSOR_OF_DATA, data_trigger_kwargs(**options))
    assert tried.returned["report_type"] == "balance.summary.1"


@needs_airflow(3, 3, "state store")
@pytest.mark.parametrize("answered", [True, False])
@pytest.mark.parametrize(
    "key", [KEY, "airflow-reportrun-7516a830bc3ca597bf5ef270c07deaa7dec663ce146f5d5b574d6cedd45deca0"]
)
@pytest.mark.parametrize("ahead", [-600, 0, 600])
def test_a_retry_goes_on_from_what_was_kept(
    stripe_conn: StripeSandbox, answered: bool, key: str, ahead: int
) -> None:
    """The report run is found by its id, or by the key that was sent, also one of a ``fresh`` run."""
    stripe_conn.configure(clock=lambda: time.time() - ahead)
    run_id = created(stripe_conn, key=key)
    kept = entry(run_id if answered else None, idempotency_key=key)
    tried = TaskRunner(store={"report/-1/stripe_report_run": kept}).run(run_operator(), try_number=2)
    assert tried.returned["report_run_id"] == run_id, tried.error
    assert len(stripe_conn.report_runs) == 1


@needs_airflow(3, 3, "state store")
def test_a_retry_goes_on_from_a_try_that_asked_for_nothing(stripe_conn: StripeSandbox) -> None:
    """As one that waited for its data: the time counts from its first try."""
    stripe_conn.configure(data_available_end=1714521600)
    kept = {**entry(None), "submission": None}
    runner = TaskRunner(store={"report/-1/stripe_report_run": kept})
    tried = runner.run(run_operator(deferrable=True), try_number=2)
    assert tried.state == "deferred"
    assert tried.deferral.next_method == DATA_TRIGGER[1]
    assert runner.trigger(tried).serialize()[0] == DATA_TRIGGER[0]
    assert runner.trigger(tried).deadline == kept["first_try"] + 259200.0


@needs_airflow(3, 3, "retry policy")
def test_the_retry_policy_is_found_where_it_was() -> None:
    """A DAG that was stored names it by its path."""
    policy = import_string(POLICY["__type"])
    assert policy.deserialize(POLICY).serialize() == POLICY
