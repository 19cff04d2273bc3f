"""What is the sensors' own; how their waits end is in ``test_outcomes``."""

from __future__ import annotations

import logging
import time
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from airflow_reportrun import triggers
from airflow_reportrun.hooks import StripeReportingHook
from airflow_reportrun.operators import StripeReportRunOperator
from airflow_reportrun.reporting.parameters import ReportParameters
from airflow_reportrun.sandbox import AfterReads, RunFails, StripeSandbox
from airflow_reportrun.sensors import StripeReportRunSensor, StripeReportTypeSensor
from tests.task_runner import END, START, TaskRunner, Try, in_dag
from tests.versions import needs_airflow_3

MODES: dict[str, dict[str, Any]] = {
    "poke": {"mode": "poke"},
    "reschedule": {"mode": "reschedule"},
    "deferrable": {"deferrable": True},
}
UNTIL = int(END.timestamp())
HOUR = 3600


@pytest.fixture(params=MODES)
def mode(request: pytest.FixtureRequest) -> dict[str, Any]:
    """Each way of waiting."""
    return MODES[request.param]


def create(sandbox: StripeSandbox, reads: int = 2) -> str:
    sandbox.configure(transition=AfterReads(reads))
    parameters = ReportParameters(interval_start=1714521600, interval_end=1714608000)
    return StripeReportingHook().create_report_run("balance.summary.1", parameters).id


def test_returns_the_run_that_it_waited_for(stripe_conn: StripeSandbox) -> None:
    """Small, for the tasks after it."""
    run_id = create(stripe_conn, reads=0)
    returned = TaskRunner().run(in_dag(StripeReportRunSensor, report_run_id=run_id)).returned
    assert returned.pop("file_id").startswith("file_")
    assert returned.pop("size") > 0
    assert returned == {
        "report_run_id": run_id,
        "report_type": "balance.summary.1",
        "status": "succeeded",
        "livemode": False,
        "interval_start": 1714521600,
        "interval_end": 1714608000,
        "stripe_conn_id": "stripe_default",
        "stripe_account": None,
        "stripe_context": None,
        "request_id": None,
    }


def test_an_id_from_a_template_that_found_nothing(stripe_conn: StripeSandbox, mode: dict[str, Any]) -> None:
    """A clear error before anything is sent."""
    tried = TaskRunner().run(in_dag(StripeReportRunSensor, report_run_id="{{ none }}", **mode))
    assert tried.state == "failed"
    assert "report_run_id: the template or the upstream task gave nothing" in str(tried.error)
    assert stripe_conn.requests == []


def test_deferred_it_polls_as_often_as_it_was_told(stripe_conn: StripeSandbox) -> None:
    """poke_interval and timeout mean the same as in the other modes."""
    run_id = create(stripe_conn)
    runner = TaskRunner()
    task = in_dag(
        StripeReportRunSensor,
        report_run_id=run_id,
        deferrable=True,
        poke_interval=77,
        timeout=timedelta(minutes=10),
    )
    tried = runner.run(task)
    trigger = runner.trigger(tried)
    assert (trigger.poll_interval, trigger.growth) == (77, 0)
    assert 590 < trigger.deadline - time.time() <= 600
    assert tried.deferral.trigger_timeout > timedelta(minutes=10)


def defer_for_data(sandbox: StripeSandbox, runner: TaskRunner | None = None, **options: Any) -> Any:
    """Return the trigger of a sensor that waits for data which is far from there."""
    sandbox.configure(data_available_end=int(START.timestamp()) - 100 * 24 * HOUR)
    runner = runner or TaskRunner()
    task = in_dag(StripeReportTypeSensor, **{"report_type": "balance.summary.1", "deferrable": True, **options})
    tried = runner.run(task)
    assert tried.state == "deferred", tried.error
    return runner.trigger(tried)


@pytest.mark.parametrize(
    ("options", "until"),
    [
        ({}, UNTIL),
        ({"schedule": "0 6 * * *"}, UNTIL),
        ({"interval": "month"}, int(START.timestamp())),
        ({"settle": timedelta(hours=96)}, UNTIL + 96 * HOUR),
        ({"settle": HOUR}, UNTIL + HOUR),
        ({"interval": "month", "settle": HOUR}, int(START.timestamp()) + HOUR),
        ({"interval_end": "2024-05-03T00:00:00+02:00"}, UNTIL + 22 * HOUR),
        ({"interval_end": UNTIL + 5}, UNTIL + 5),
        ({"interval_end": str(UNTIL + 5), "settle": 10}, UNTIL + 15),
        ({"interval_end": datetime(2024, 5, 2, 12, tzinfo=UTC)}, UNTIL + 12 * HOUR),
        ({"interval_end": "{{ data_interval_start }}"}, int(START.timestamp())),
        ({"interval_end": "{{ dag_run.conf['until'] }}"}, UNTIL + 7 * HOUR),
    ],
)
def test_waits_for_the_end_of_the_interval(
    stripe_conn: StripeSandbox, options: dict[str, Any], until: int
) -> None:
    """The one that the operator would report on, or an instant that is given."""
    runner = TaskRunner(dag_run={"conf": {"until": "2024-05-02T07:00:00Z"}})
    assert defer_for_data(stripe_conn, runner, **options).until == until


@needs_airflow_3("data intervals that are empty")
def test_waits_for_the_last_period_where_the_data_interval_is_empty(stripe_conn: StripeSandbox) -> None:
    """As the operator does it, so that a pair of them is about the same."""
    tick = datetime(2024, 5, 2, 6, tzinfo=UTC)
    dag_run = {"logical_date": tick, "data_interval_start": tick, "data_interval_end": tick, "run_after": tick}
    trigger = defer_for_data(stripe_conn, TaskRunner(dag_run=dag_run), schedule="0 6 * * *")
    assert trigger.until == tick.timestamp()


def test_returns_how_far_the_data_reaches(stripe_conn: StripeSandbox) -> None:
    """The end of the interval counts as reached when the data ends there; nothing is created."""
    stripe_conn.configure(data_available_start=UNTIL - HOUR, data_available_end=UNTIL)
    tried = TaskRunner().run(in_dag(StripeReportTypeSensor, report_type="balance.summary.1"))
    assert tried.returned == {
        "report_type": "balance.summary.1",
        "livemode": False,
        "data_available_start": UNTIL - HOUR,
        "data_available_end": UNTIL,
    }
    assert [request.operation for request in stripe_conn.requests] == ["retrieve_type"]


def test_asks_with_what_its_templates_say(stripe_conn: StripeSandbox) -> None:
    """For a sensor that is mapped over accounts or report types, too."""
    options = {"report_type": "balance.{{ 'summary' }}.1", "stripe_account": "acct_{{ 1 + 1 }}"}
    assert TaskRunner().run(in_dag(StripeReportTypeSensor, **options)).state == "success"
    (request,) = stripe_conn.requests
    assert (request.path.rsplit("/", 1)[1], request.account) == ("balance.summary.1", "acct_2")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"interval_end": "2024-05-02T00:00:00"}, "interval_end is '2024-05-02T00:00:00': it names no instant"),
        ({"interval_end": "{{ none }}"}, "interval_end: the template or the upstream task gave nothing"),
        ({"interval_end": "20240502"}, "before 1974"),
        ({"report_type": ""}, "'' is not the id"),
        ({"report_type": ["balance.summary.1"]}, "is not the id"),
        ({"stripe_account": "me"}, "acct_…"),
    ],
)
def test_bad_input_is_one_clear_error_before_anything_is_sent(
    stripe_conn: StripeSandbox, mode: dict[str, Any], options: dict[str, Any], message: str
) -> None:
    """And no retry is spent on it."""
    task = in_dag(StripeReportTypeSensor, **{"report_type": "balance.summary.1", **options, **mode})
    tried: Try = TaskRunner().run(task)
    assert tried.state == "failed"
    assert message in str(tried.error)
    assert stripe_conn.requests == []


@pytest.mark.parametrize("option", ["report_type", "interval_end"])
def test_an_option_that_came_to_nothing_is_not_one_that_was_left_out(
    stripe_conn: StripeSandbox, option: str
) -> None:
    """The sensor would be green for another instant."""
    task = in_dag(StripeReportTypeSensor, **{"report_type": "balance.summary.1", option: "{{ none }}"})
    task.dag.render_template_as_native_obj = True
    tried = TaskRunner().run(task)
    assert f"{option}: the template or the upstream task gave nothing" in str(tried.error)
    assert stripe_conn.requests == []


def test_settling_backwards_is_found_when_the_dag_is_parsed() -> None:
    """It is no template, so it need not wait for a run."""
    with pytest.raises(ValueError, match="settle is not negative"):
        in_dag(StripeReportTypeSensor, report_type="balance.summary.1", settle=-1)


@pytest.mark.parametrize("ends", ["succeeded", "failed"])
def test_the_log_names_the_run_and_its_outcome(
    stripe_conn: StripeSandbox,
    mode: dict[str, Any],
    ends: str,
    caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """In each mode, from the first look on."""
    monkeypatch.setattr(triggers, "FIRST_LOOK_AFTER", 0.0)
    if ends == "failed":
        stripe_conn.inject(RunFails())
    run_id = create(stripe_conn)
    with caplog.at_level(logging.INFO):
        to_its_end(in_dag(StripeReportRunSensor, report_run_id=run_id, poke_interval=0.01, **mode))
    assert f"Waiting for the end of report run {run_id}." in caplog.text
    assert f"Report run {run_id}: {ends}." in caplog.text


def test_the_log_names_the_data_that_is_waited_for(
    stripe_conn: StripeSandbox, mode: dict[str, Any], caplog: pytest.LogCaptureFixture
) -> None:
    """And that it is there."""
    with caplog.at_level(logging.INFO):
        TaskRunner().run(in_dag(StripeReportTypeSensor, report_type="balance.summary.1", **mode))
    assert "Waiting for Stripe's data for balance.summary.1 to reach 2024-05-02 00:00:00 UTC." in caplog.text
    assert "Data of balance.summary.1: available." in caplog.text


def test_its_link_leads_to_the_request_of_the_run(
    stripe_conn: StripeSandbox, mode: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where it was given what the run operator returned, and the tasks after it have it from the sensor."""
    monkeypatch.setattr(triggers, "FIRST_LOOK_AFTER", 0.0)
    stripe_conn.configure(transition=AfterReads(2))
    submit = in_dag(StripeReportRunOperator, report_type="balance.summary.1", wait_for_completion=False)
    run = TaskRunner().run(submit).returned
    tried = to_its_end(in_dag(StripeReportRunSensor, report_run_id=run, poke_interval=0.01, **mode))
    assert tried.returned["request_id"] == run["request_id"]
    assert tried.xcoms["_link_StripeRequestLink"] == (
        f"https://dashboard.stripe.com/test/workbench/logs?object={run['request_id']}"
    )


def to_its_end(task: Any) -> Try:
    runner = TaskRunner()
    tried = runner.run(task)
    while tried.state in ("up_for_reschedule", "deferred"):
        tried = runner.resume(task, tried) if tried.state == "deferred" else runner.run(task)
    return tried
