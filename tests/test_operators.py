from __future__ import annotations

import asyncio
import csv
import hashlib
import json
import os
import stat
import threading
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from airflow.providers.common.compat.sdk import DAG

from airflow_reportrun import triggers
from airflow_reportrun.hooks import StripeReportingHook
from airflow_reportrun.operators import StripeReportDownloadOperator, StripeReportRunOperator
from airflow_reportrun.reporting.errors import ConnectionLookUpError
from airflow_reportrun.sandbox import (
    AfterReads,
    AtOnce,
    CutBody,
    Dropped,
    RunFails,
    RunNeverEnds,
    ShortContents,
    StripeSandbox,
    WrongSize,
)
from airflow_reportrun.waiting.events import describe
from tests.task_runner import END, START, TaskRunner, Try, in_dag
from tests.until import until
from tests.versions import needs_airflow_3

MAY_FIRST = {"interval_start": int(START.timestamp()), "interval_end": int(END.timestamp())}


@pytest.fixture(autouse=True)
def _trigger_looks_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(triggers, "FIRST_LOOK_AFTER", 0.0)


def run_operator(**kwargs: Any) -> Any:
    return in_dag(StripeReportRunOperator, **{"report_type": "balance.summary.1", "poll_interval": 0.01, **kwargs})


def complete(task: Any, runner: TaskRunner | None = None, **how: Any) -> Try:
    """Run one try to its end, deferred or not."""
    runner = runner or TaskRunner()
    tried = runner.run(task, **how)
    return runner.resume(task, tried, **how) if tried.state == "deferred" else tried


@pytest.fixture(params=[False, True], ids=["sync", "deferrable"])
def deferrable(request: pytest.FixtureRequest) -> bool:
    """Both ways of waiting have the same outcomes."""
    return bool(request.param)


def test_reports_on_the_data_interval_and_lands_the_file(
    stripe_conn: StripeSandbox, tmp_path: Path, deferrable: bool
) -> None:
    """Interval, create, wait, download, check: the whole line."""
    stripe_conn.configure(transition=AfterReads(3))
    destination = str(tmp_path / "new" / "{report_type}-{interval_start:%Y-%m-%d}.csv")
    tried = complete(run_operator(deferrable=deferrable, destination=destination))
    assert tried.state == "success", tried.error
    (run,) = stripe_conn.report_runs
    landed = tmp_path / "new" / "balance.summary.1-2024-05-01.csv"
    contents = landed.read_bytes()
    assert stat.S_IMODE(landed.stat().st_mode) == 0o600
    assert tried.returned == {
        "report_run_id": run.id,
        "report_type": "balance.summary.1",
        "status": "succeeded",
        "livemode": False,
        **MAY_FIRST,
        "file_id": tried.returned["file_id"],
        "size": len(contents),
        "stripe_conn_id": "stripe_default",
        "stripe_account": None,
        "stripe_context": None,
        "request_id": stripe_conn.requests_to("create")[0].request_id,
        "path": str(landed),
        "sha256": hashlib.sha256(contents).hexdigest(),
        "rows": len(list(csv.reader(contents.decode().splitlines()))) - 1,
    }
    assert tried.returned["file_id"].startswith("file_")
    (create,) = stripe_conn.requests_to("create")
    assert create.form["parameters"] == {name: str(value) for name, value in MAY_FIRST.items()}
    assert tried.xcoms["report_run_id"] == run.id


def test_options_reach_stripe_templates_rendered(stripe_conn: StripeSandbox) -> None:
    """Each option has a field of Stripe's; the escape hatch is one of them."""
    task = run_operator(
        report_type="balance_change_from_activity.itemized.3",
        interval_start="{{ data_interval_start }}",
        interval_end="{{ data_interval_end | string }}",
        columns=["{{ 'net' }}", "currency"],
        currency="eur",
        reporting_category="charge",
        timezone="Europe/Berlin",
        parameters={"currency_conversion": "{{ dag.dag_id }}"},
        wait_for_completion=False,
    )
    tried = TaskRunner().run(task)
    (create,) = stripe_conn.requests_to("create")
    # The sandbox refuses the unknown parameter as Stripe would, which shows that it was sent.
    assert "parameters[currency_conversion]" in str(tried.error)
    assert create.form["parameters"] == {
        **{name: str(value) for name, value in MAY_FIRST.items()},
        "currency": "eur",
        "columns": ["net", "currency"],
        "currency_conversion": "stripe",
        "reporting_category": "charge",
        "timezone": "Europe/Berlin",
    }


def test_without_waiting_it_returns_the_pending_run(stripe_conn: StripeSandbox) -> None:
    """The sensor and the download are tasks of their own then."""
    tried = TaskRunner().run(run_operator(wait_for_completion=False, columns=None))
    assert tried.returned["status"] == "pending"
    assert [request.operation for request in stripe_conn.requests] == ["retrieve_type", "create"]


def test_without_waiting_a_run_that_failed_at_once_is_red(stripe_conn: StripeSandbox) -> None:
    """Stripe may answer a create with the end of the story."""
    stripe_conn.configure(transition=AtOnce())
    stripe_conn.inject(RunFails("No."))
    tried = TaskRunner().run(run_operator(wait_for_completion=False))
    assert tried.state == "up_for_retry"
    assert "failed: No." in str(tried.error)


def test_pushes_the_run_id_before_it_waits(stripe_conn: StripeSandbox) -> None:
    """Who looks at a task that waits can see for what."""
    tried = TaskRunner().run(run_operator(deferrable=True))
    assert tried.state == "deferred"
    (run,) = stripe_conn.report_runs
    assert tried.xcoms["report_run_id"] == run.id


def test_links_to_the_request_in_the_dashboard(stripe_conn: StripeSandbox) -> None:
    """For a test key to the logs of test mode."""
    tried = complete(run_operator())
    request_id = stripe_conn.requests_to("create")[0].request_id
    assert tried.xcoms["_link_StripeRequestLink"] == (
        f"https://dashboard.stripe.com/test/workbench/logs?object={request_id}"
    )


def test_looks_before_it_defers(stripe_conn: StripeSandbox) -> None:
    """A report that is done already needs no trigger."""
    stripe_conn.configure(transition=AfterReads(0))
    tried = TaskRunner().run(run_operator(deferrable=True))
    assert tried.state == "success"


def test_a_run_that_succeeds_at_once_needs_no_second_look(stripe_conn: StripeSandbox) -> None:
    """One look at the data, and no waiting; the answer to the create tells all of the run."""
    stripe_conn.configure(transition=AtOnce())
    assert TaskRunner().run(run_operator(deferrable=True)).state == "success"
    assert [request.operation for request in stripe_conn.requests] == ["retrieve_type", "create"]


def test_a_task_without_a_file_goes_on_by_what_its_trigger_saw(
    stripe_conn: StripeSandbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It asks neither Stripe nor Airflow's connections, and loads no client of either."""
    stripe_conn.configure(transition=AfterReads(1))
    runner, task = TaskRunner(), run_operator(deferrable=True, stripe_account="acct_1")
    tried = runner.run(task)
    event = json.loads(json.dumps(asyncio.run(anext(runner.trigger(tried).run())).payload))
    asked = len(stripe_conn.requests)
    task = run_operator(deferrable=True, stripe_account="acct_1")
    ended = runner.run(task, next_method="execute_complete", next_kwargs={"event": event})
    assert "hook" not in vars(task)
    assert len(stripe_conn.requests) == asked
    assert ended.returned == {
        **describe(
            StripeReportingHook(stripe_account="acct_1").retrieve_report_run(stripe_conn.report_runs[0].id)
        ),
        "stripe_conn_id": "stripe_default",
        "stripe_account": "acct_1",
        "stripe_context": None,
        "request_id": ended.xcoms["stripe_request"]["request_id"],
        "path": None,
        "sha256": None,
        "rows": None,
    }


def test_an_earlier_versions_event_is_completed_by_stripe(stripe_conn: StripeSandbox) -> None:
    """It does not say whose the run is, or not all of the run."""
    stripe_conn.configure(transition=AfterReads(1))
    runner, task = TaskRunner(), run_operator(deferrable=True)
    tried = runner.run(task)
    event = json.loads(json.dumps(asyncio.run(anext(runner.trigger(tried).run())).payload))
    whole = runner.run(task, next_method="execute_complete", next_kwargs={"event": event}).returned
    whose = ("stripe_conn_id", "stripe_account", "stripe_context")
    resume = {name: it for name, it in event["resume"].items() if name not in whose}
    short = {name: event["report_run"][name] for name in ("report_run_id", "report_type", "status")}
    for older in ({**event, "resume": resume}, {**event, "report_run": short}):
        ended = runner.run(task, next_method="execute_complete", next_kwargs={"event": older})
        assert ended.returned == whole


def test_the_trigger_looks_first_ten_seconds_after_deferring(
    stripe_conn: StripeSandbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Airflow fails tasks whose trigger fires before it has noticed the deferral."""
    monkeypatch.undo()
    connection = {"conn_type": "stripe", "host": stripe_conn.url, "password": stripe_conn.api_key}
    monkeypatch.setenv("AIRFLOW_CONN_STRIPE_DEFAULT", json.dumps(connection))
    runner = TaskRunner()
    trigger = runner.trigger(runner.run(run_operator(deferrable=True)))
    assert 8 < trigger.not_before - time.time() <= 10


def test_the_deadline_is_an_instant_and_airflows_comes_later(stripe_conn: StripeSandbox) -> None:
    """It survives a triggerer's restart, and the task gets to say what became of the run."""
    runner = TaskRunner()
    tried = runner.run(run_operator(deferrable=True, timeout=timedelta(hours=1)))
    trigger = runner.trigger(tried)
    assert trigger.deadline == pytest.approx(stripe_conn.report_runs[0].created + 3600, abs=2)
    assert tried.deferral.trigger_timeout > timedelta(hours=1)


def test_nothing_secret_is_stored_with_the_trigger(stripe_conn: StripeSandbox) -> None:
    """Airflow keeps and logs a trigger's arguments."""
    tried = TaskRunner().run(run_operator(deferrable=True))
    assert stripe_conn.api_key not in repr(tried.deferral)


def test_a_failed_run_fails_the_task_with_stripes_words(stripe_conn: StripeSandbox, deferrable: bool) -> None:
    """And a retry makes a second report run, and only one."""
    stripe_conn.inject(RunFails("The printer is on fire."))
    task, runner = run_operator(deferrable=deferrable), TaskRunner()
    tried = complete(task, runner)
    assert tried.state == "up_for_retry"
    assert "The printer is on fire." in str(tried.error)
    assert complete(task, runner, try_number=2).state == "success"
    assert complete(task, runner, try_number=3).state == "success"
    assert [run.status for run in stripe_conn.report_runs] == ["failed", "succeeded"]


def test_a_run_that_never_ends_times_out_and_a_retry_looks_again(
    stripe_conn: StripeSandbox, deferrable: bool
) -> None:
    """Left pending is not succeeded; another run would be just as slow. The time counts from the submission."""
    stripe_conn.inject(RunNeverEnds())
    task, runner = run_operator(deferrable=deferrable, timeout=0.1), TaskRunner()
    for try_number in (1, 2):
        tried = complete(task, runner, try_number=try_number)
        assert tried.state == "up_for_retry"
        assert "not seen to end by the deadline" in str(tried.error)
    assert len(stripe_conn.report_runs) == 1


def test_a_key_that_is_rotated_while_waiting_costs_nothing(
    stripe_conn: StripeSandbox, deferrable: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The connection is read anew before an error is taken for final."""
    stripe_conn.configure(transition=AfterReads(9))

    def rotate() -> None:
        until(lambda: len(stripe_conn.requests_to("retrieve")) > 1)  # the first may be the worker's
        connection = {"conn_type": "stripe", "host": stripe_conn.url, "password": "sk_test_rotated"}
        monkeypatch.setenv("AIRFLOW_CONN_STRIPE_DEFAULT", json.dumps(connection))
        stripe_conn.api_key = "sk_test_rotated"

    thread = threading.Thread(target=rotate)
    thread.start()
    try:
        tried = complete(run_operator(deferrable=deferrable, poll_interval=0.1))
    finally:
        thread.join()
        stripe_conn.api_key = "sk_test_sandbox"
    assert tried.state == "success", tried.error
    assert 401 in [request.status for request in stripe_conn.requests_to("retrieve")]
    assert len(stripe_conn.report_runs) == 1


@pytest.mark.parametrize("now", [None, "{"])
def test_a_connection_that_is_gone_while_a_task_is_deferred_costs_a_retry(
    stripe_conn: StripeSandbox, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, now: str | None
) -> None:
    """Deleted, or unreadable: the trigger fails the try; the retry lands the same report run once it is back."""
    there = os.environ["AIRFLOW_CONN_STRIPE_DEFAULT"]
    task, runner = run_operator(deferrable=True, destination=f"{tmp_path}/report.csv"), TaskRunner()
    stripe_conn.configure(transition=AfterReads(2))
    tried = runner.run(task)
    assert tried.state == "deferred"
    monkeypatch.delenv("AIRFLOW_CONN_STRIPE_DEFAULT")
    if now is not None:
        monkeypatch.setenv("AIRFLOW_CONN_STRIPE_DEFAULT", now)
    with pytest.raises(ConnectionLookUpError, match="'stripe_default'"):
        runner.resume(task, tried)
    monkeypatch.setenv("AIRFLOW_CONN_STRIPE_DEFAULT", there)
    assert complete(task, runner, try_number=2).state == "success"
    assert len(stripe_conn.report_runs) == 1
    assert (tmp_path / "report.csv").exists()


def test_a_connection_that_leads_to_another_account_while_a_task_is_deferred(
    stripe_conn: StripeSandbox, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nothing of that account lands as this one's: the report run is not there, which the error says."""
    stripe_conn.configure(transition=AfterReads(2))
    task, runner = run_operator(deferrable=True, destination=f"{tmp_path}/report.csv"), TaskRunner()
    tried = runner.run(task)
    told = json.loads(os.environ["AIRFLOW_CONN_STRIPE_DEFAULT"])
    told["extra"] = {"stripe_account": "acct_berlin"}
    monkeypatch.setenv("AIRFLOW_CONN_STRIPE_DEFAULT", json.dumps(told))
    tried = runner.resume(task, tried)
    assert tried.state in ("failed", "up_for_retry")
    assert stripe_conn.report_runs[0].id in str(tried.error)
    assert not (tmp_path / "report.csv").exists()


def test_what_stripe_refuses_is_not_tried_again(stripe_conn: StripeSandbox) -> None:
    """The same request would be refused again, so retries are not spent."""
    tried = complete(run_operator(columns=["weather"]))
    assert tried.state == "failed"
    assert "weather" in str(tried.error)
    assert stripe_conn.report_runs == []


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"interval_start": "2024-05-01T00:00:00", "interval_end": "2024-05-02T00:00:00Z"}, "interval_start"),
        ({"interval_start": "2024-05-02T00:00:00Z", "interval_end": "2024-05-01T00:00:00Z"}, "before its end"),
        ({"timezone": "Europe/Atlantis"}, "IANA name"),
        ({"payout": "po_1"}, "leave out payout"),
        ({"report_type": "payout_reconciliation.by_id.itemized.4"}, "payout is missing"),
        ({"destination": "reports/x.csv"}, "is relative"),
        ({"destination": "/tmp"}, "is a folder"),  # noqa: S108
        ({"destination": "/data/{month}.csv"}, "placeholder {month}"),
        ({"stripe_account": "me"}, "acct_…"),
        ({"report_type": None}, "report_type is the id"),
        ({"report_type": []}, "report_type is the id"),
        ({"fresh": "{{ 'perhaps' }}"}, "fresh is True or False"),
        (
            {"interval": "day", "report_type": "payout_reconciliation.by_id.itemized.4", "payout": "po_1"},
            "leave out interval",
        ),
        ({"currency": 5}, "currency has to be a text"),
        ({"parameters": "{}"}, "mapping of Stripe's names"),
        ({"parameters": {"share": 0.5}}, "can't be sent to Stripe as float"),
        ({"expect_livemode": True}, "has a test key"),
    ],
)
def test_bad_input_is_one_clear_error_before_anything_is_sent(
    stripe_conn: StripeSandbox, options: dict[str, Any], message: str
) -> None:
    """And no retry is spent on it."""
    tried = TaskRunner().run(run_operator(**options))
    assert tried.state == "failed"
    assert message in str(tried.error)
    assert stripe_conn.requests == []


@pytest.mark.parametrize("option", ["timeout", "poll_interval", "data_timeout", "settle"])
def test_times_are_positive(option: str) -> None:
    """A negative one would be a time-out before the first look, or a storm of requests."""
    with pytest.raises(ValueError, match=r"not (negative|-5)"):
        run_operator(**{option: -5})


def test_times_may_be_timedeltas() -> None:
    """As everywhere in Airflow."""
    task = run_operator(timeout=timedelta(hours=1), poll_interval=timedelta(minutes=1), data_timeout=90)
    assert (task.timeout, task.poll_interval, task.data_timeout.seconds) == (timedelta(hours=1), 60, 90)


@pytest.mark.parametrize("option", ["destination", "interval_start", "stripe_account", "currency", "timezone"])
def test_an_option_that_came_to_nothing_is_not_one_that_was_left_out(
    stripe_conn: StripeSandbox, option: str
) -> None:
    """The task would be green with another report, or without a file."""
    tried = TaskRunner().run(native(run_operator(**{option: "{{ none }}"})))
    assert tried.state == "failed"
    assert f"{option}: the template or the upstream task gave nothing" in str(tried.error)
    assert stripe_conn.requests == []


def test_a_subclass_may_have_templates_of_its_own(stripe_conn: StripeSandbox) -> None:
    """And set them after our constructor, as Airflow's authors do."""

    class WithLedger(StripeReportRunOperator):
        template_fields = (*StripeReportRunOperator.template_fields, "ledger")

        def __init__(self, *, ledger: str, **kwargs: Any) -> None:
            super().__init__(**kwargs)
            self.ledger = ledger

    task = in_dag(WithLedger, report_type="balance.summary.1", poll_interval=0.01, ledger="{{ 1 + 1 }}")
    assert complete(task).state == "success"


def native(task: Any) -> Any:
    """Let the DAG of a task render templates to Python's own objects."""
    task.dag.render_template_as_native_obj = True
    return task


def test_a_destination_needs_the_finished_report() -> None:
    """Found when the DAG is parsed."""
    with pytest.raises(ValueError, match="wait_for_completion"):
        run_operator(destination="/data/x.csv", wait_for_completion=False)


def test_crash_before_the_answer_makes_one_run(stripe_conn: StripeSandbox, deferrable: bool) -> None:
    """Stripe committed, the task never heard of it: the next try is given that run."""
    stripe_conn.inject(Dropped(committed=True), times=6)  # more than the client sends again by itself
    task, runner = run_operator(deferrable=deferrable), TaskRunner()
    assert runner.run(task).state == "up_for_retry"
    assert complete(task, runner, try_number=2).state == "success"
    assert len(stripe_conn.report_runs) == 1


def test_a_crash_after_deferring_attaches(stripe_conn: StripeSandbox) -> None:
    """The trigger is lost with its triggerer and the task starts over: same run."""
    task, runner = run_operator(deferrable=True), TaskRunner()
    assert runner.run(task).state == "deferred"
    assert complete(task, runner, try_number=2).state == "success"
    assert len(stripe_conn.report_runs) == 1


def test_a_retry_after_success_attaches(stripe_conn: StripeSandbox, tmp_path: Path, deferrable: bool) -> None:
    """The worker died between the landing and its last word."""
    task = run_operator(deferrable=deferrable, destination=str(tmp_path / "x.csv"))
    runner = TaskRunner()
    first = complete(task, runner)
    second = complete(task, runner, try_number=2)
    assert first.returned == second.returned
    assert len(stripe_conn.report_runs) == 1


def test_a_clear_asks_for_a_fresh_run(stripe_conn: StripeSandbox, deferrable: bool) -> None:
    """Airflow moves max_tries on a clear, and only then."""
    task, runner = run_operator(deferrable=deferrable), TaskRunner()
    complete(task, runner, try_number=1, max_tries=3)
    complete(task, runner, try_number=2, max_tries=4)
    assert len(stripe_conn.report_runs) == 2


def test_mapped_tasks_have_a_run_each(stripe_conn: StripeSandbox, deferrable: bool) -> None:
    """They may ask for the very same report."""
    with DAG("stripe", schedule=None, start_date=START):
        task = StripeReportRunOperator.partial(
            task_id="report",
            retries=3,
            report_type="balance.summary.1",
            poll_interval=0.01,
            deferrable=deferrable,
        ).expand(currency=["usd", "usd"])
    runner = TaskRunner()
    for map_index in (0, 1, 0):
        assert complete(task, runner, map_index=map_index).state == "success"
    assert len(stripe_conn.report_runs) == 2


def test_two_dag_runs_of_one_interval_have_a_run_each(stripe_conn: StripeSandbox, deferrable: bool) -> None:
    """A manual run beside the scheduled one asks for fresh figures."""
    task = run_operator(deferrable=deferrable)
    for run_id in ("scheduled__2024-05-02", "manual__2024-05-02"):
        complete(task, TaskRunner(run_id=run_id))
    assert len(stripe_conn.report_runs) == 2


def test_scopes_keep_two_deployments_apart(stripe_conn: StripeSandbox, monkeypatch: pytest.MonkeyPatch) -> None:
    """Same DAG, same ids, one Stripe account."""
    for scope in ("eu", "us", "eu"):
        connection = {
            "conn_type": "stripe",
            "host": stripe_conn.url,
            "password": stripe_conn.api_key,
            "extra": {"idempotency_scope": scope},
        }
        monkeypatch.setenv("AIRFLOW_CONN_STRIPE_DEFAULT", json.dumps(connection))
        complete(run_operator())
    assert len(stripe_conn.report_runs) == 2


@needs_airflow_3("DAG runs without a logical date")
def test_a_payout_needs_no_interval(stripe_conn: StripeSandbox) -> None:
    """The shape decides: it asks with the payout alone, in a DAG run without any interval, too."""
    dag_run = {"logical_date": None, "data_interval_start": None, "data_interval_end": None}
    task = run_operator(report_type="payout_reconciliation.by_id.summary.1", payout="po_1")
    TaskRunner(dag_run=dag_run).run(task)
    (create,) = stripe_conn.requests_to("create")
    assert create.form["parameters"] == {"payout": "po_1"}


@pytest.mark.parametrize("options", [{}, {"interval_end": "2024-05-02T00:00:00Z"}])
def test_an_instant_is_the_end_of_the_interval(stripe_conn: StripeSandbox, options: dict[str, str]) -> None:
    """Balances are asked for at an instant, which needs no start."""
    task = run_operator(report_type="ending_balance_reconciliation.summary.1", wait_for_data=False, **options)
    TaskRunner().run(task)
    (create,) = stripe_conn.requests_to("create")
    assert create.form["parameters"] == {"interval_end": str(MAY_FIRST["interval_end"])}


def test_a_key_that_does_not_tell_its_mode_is_asked_for_it(monkeypatch: pytest.MonkeyPatch) -> None:
    """Stripe says with each report type whether it is about live data; nothing is created for that."""
    with StripeSandbox(api_key="sk_org_sandbox") as sandbox:
        extra = {"stripe_context": "acct_1", "stripe_version": "2026-10-28.endive"}
        connection = {"conn_type": "stripe", "host": sandbox.url, "password": sandbox.api_key, "extra": extra}
        monkeypatch.setenv("AIRFLOW_CONN_STRIPE_DEFAULT", json.dumps(connection))
        tried = TaskRunner().run(run_operator(expect_livemode=True))
        assert "this task expects live data" in str(tried.error)
        assert [request.operation for request in sandbox.requests] == ["retrieve_type"]


def test_expecting_the_mode_that_the_key_has(stripe_conn: StripeSandbox) -> None:
    """The check lets the right key through."""
    assert complete(run_operator(expect_livemode=False)).state == "success"


def test_acts_as_the_account_that_the_task_names(stripe_conn: StripeSandbox, deferrable: bool) -> None:
    """While creating, polling and downloading alike."""
    complete(run_operator(stripe_account="acct_1", deferrable=deferrable))
    assert {request.account for request in stripe_conn.requests} == {"acct_1"}


def test_a_wrong_size_lands_nothing(stripe_conn: StripeSandbox, tmp_path: Path) -> None:
    """The file of the try before stays as it was; no part of the new one is left."""
    destination = tmp_path / "x.csv"
    destination.write_text("yesterday")
    stripe_conn.inject(WrongSize(by=1))
    task = run_operator(destination=str(destination), overwrite=True)
    task.hook.sleep = lambda seconds: None
    tried = complete(task)
    assert tried.state == "up_for_retry"
    assert "Stripe's file has" in str(tried.error)
    assert destination.read_text() == "yesterday"
    assert list(tmp_path.iterdir()) == [destination]


def test_a_cut_download_is_begun_again(stripe_conn: StripeSandbox, tmp_path: Path) -> None:
    """Announced or not, a short body is noticed."""
    destination = tmp_path / "x.csv"
    stripe_conn.inject(ShortContents(kept=10))
    stripe_conn.inject(CutBody(after=10), on="contents")
    task = run_operator(destination=str(destination))
    tried = complete(task)
    assert tried.state == "success"
    assert destination.stat().st_size == tried.returned["size"]


def submitted(sandbox: StripeSandbox, reads: int = 0) -> str:
    sandbox.configure(transition=AfterReads(reads))
    tried = TaskRunner().run(run_operator(wait_for_completion=False))
    return str(tried.returned["report_run_id"])


def test_downloads_a_finished_run(stripe_conn: StripeSandbox, tmp_path: Path) -> None:
    """From the id alone; creates nothing."""
    run_id = submitted(stripe_conn)
    destination = str(tmp_path / "{report_type}" / "{interval_end:%Y}-{report_run_id}.csv")
    tried = TaskRunner().run(in_dag(StripeReportDownloadOperator, report_run_id=run_id, destination=destination))
    assert tried.state == "success", tried.error
    landed = tmp_path / "balance.summary.1" / f"2024-{run_id}.csv"
    assert tried.returned["path"] == str(landed)
    assert tried.returned["sha256"] == hashlib.sha256(landed.read_bytes()).hexdigest()
    assert len(stripe_conn.report_runs) == 1


def test_download_says_when_there_is_no_file(stripe_conn: StripeSandbox, tmp_path: Path) -> None:
    """Pending may get better with a retry, failed may not."""
    destination = str(tmp_path / "x.csv")
    pending = submitted(stripe_conn, reads=9)
    tried = TaskRunner().run(in_dag(StripeReportDownloadOperator, report_run_id=pending, destination=destination))
    assert tried.state == "up_for_retry"
    assert "StripeReportRunSensor" in str(tried.error)
    stripe_conn.reset()
    stripe_conn.inject(RunFails("No."))
    failed = submitted(stripe_conn)
    tried = TaskRunner().run(in_dag(StripeReportDownloadOperator, report_run_id=failed, destination=destination))
    assert tried.state == "failed"
    assert "failed: No." in str(tried.error)
    assert list(tmp_path.iterdir()) == []


def test_download_refuses_what_is_no_id(stripe_conn: StripeSandbox) -> None:
    """A template that found nothing renders to "None"."""
    task = in_dag(StripeReportDownloadOperator, report_run_id="None", destination="/data/x.csv")
    tried = TaskRunner().run(task)
    assert "report_run_id is the id of a report run, or" in str(tried.error)
    assert stripe_conn.requests == []


def test_an_event_of_nobody_is_an_error() -> None:
    """Somebody's own trigger would otherwise be taken for success."""
    with pytest.raises(ValueError, match="Expected a ReportRunEvent"):
        run_operator().execute_complete({}, "success")


def test_start_dates_are_irrelevant(stripe_conn: StripeSandbox) -> None:
    """The interval of a backfill comes from its DAG run, however long ago."""
    dag_run = {
        "data_interval_start": datetime(2022, 1, 1, tzinfo=UTC),
        "data_interval_end": datetime(2022, 2, 1, tzinfo=UTC),
        "logical_date": datetime(2022, 1, 1, tzinfo=UTC),
        "run_type": "backfill",
    }
    tried = complete(run_operator(), TaskRunner(dag_run=dag_run))
    assert tried.returned["interval_start"] == 1640995200


@pytest.mark.parametrize(
    "resume", ["missing", None, {}, {"destination": None}, {"destination": ""}, {"novelty": 1}]
)
def test_nothing_is_green_without_landing(stripe_conn: StripeSandbox, tmp_path: Path, resume: Any) -> None:
    """An event that lost where to land, or is older than the task's destination, lands where the task says."""
    runner, task = TaskRunner(), run_operator(deferrable=True, destination=f"{tmp_path}/{{report_run_id}}.csv")
    stripe_conn.configure(transition=AfterReads(2))
    deferred = runner.run(task)
    event = asyncio.run(first_event(runner.trigger(deferred)))
    del event["resume"]
    event |= {} if resume == "missing" else {"resume": resume}
    tried = runner.run(task, next_method="execute_complete", next_kwargs={"event": event})
    assert tried.state == "success", tried.error
    (run,) = stripe_conn.report_runs
    assert tried.returned["path"] == f"{tmp_path}/{run.id}.csv"
    assert Path(tried.returned["path"]).stat().st_size == tried.returned["size"]


@pytest.mark.parametrize("resume", [{"destination": 1}, {"destination": ["/data/x.csv"]}, "x", 7, ["destination"]])
def test_an_event_that_is_damaged_is_a_clear_error(
    stripe_conn: StripeSandbox, tmp_path: Path, resume: Any
) -> None:
    """A retry attaches to the same run, and lands it."""
    runner, task = TaskRunner(), run_operator(deferrable=True, destination=f"{tmp_path}/x.csv")
    stripe_conn.configure(transition=AfterReads(2))
    event = {**asyncio.run(first_event(runner.trigger(runner.run(task)))), "resume": resume}
    tried = runner.run(task, next_method="execute_complete", next_kwargs={"event": event})
    assert tried.state == "up_for_retry"
    assert "its resume is missing or damaged" in str(tried.error)
    assert complete(task, runner, try_number=2).returned["path"] == f"{tmp_path}/x.csv"
    assert len(stripe_conn.report_runs) == 1


async def first_event(trigger: Any) -> dict[str, Any]:
    (payload,) = [event.payload async for event in trigger.run()]
    return dict(payload)


def test_columns_that_are_mapped_over_and_empty_are_refused(stripe_conn: StripeSandbox) -> None:
    """What upstream gives to a mapped task comes into its constructor, as if the author had written it."""
    with DAG("stripe", schedule=None, start_date=START):
        mapped = StripeReportRunOperator.partial(task_id="report", report_type="balance.summary.1").expand(
            columns=[["net_amount"], []]
        )
    tried = TaskRunner().run(mapped.unmap({"columns": []}), map_index=1)
    assert "columns: the template or the upstream task gave nothing" in str(tried.error)
    assert stripe_conn.requests_to("create") == []


@needs_airflow_3("DAG runs without a logical date")
@pytest.mark.parametrize(
    "options",
    [{"payout": "po_1"}, {"interval_end": "2024-05-02T00:00:00Z"}, {"payout": "po_1", "interval": "day"}],
)
def test_a_guessed_shape_is_said_to_be_one(stripe_conn: StripeSandbox, options: dict[str, Any]) -> None:
    """Who knows better what a new report type takes is told how to say so."""
    task = in_dag(StripeReportRunOperator, report_type="brand_new.thing.1", schedule=None, **options)
    runner = TaskRunner(dag_run=dict.fromkeys(("logical_date", "data_interval_start", "data_interval_end")))
    tried = runner.run(task)
    assert "parameter_shape=" in str(tried.error)
    assert stripe_conn.requests_to("create") == []


def test_an_event_with_a_destination_that_is_none_lands_nothing(
    stripe_conn: StripeSandbox, tmp_path: Path
) -> None:
    """A damaged one must not end in the worker's folder."""
    stripe_conn.configure(transition=AfterReads(2))
    runner, task = TaskRunner(), run_operator(deferrable=True, destination=str(tmp_path / "x.csv"))
    deferred = runner.run(task)
    trigger = deferred.deferral.trigger_kwargs
    stored = json.loads(json.dumps(trigger).replace(str(tmp_path / "x.csv"), "relative.csv"))
    deferred.deferral.trigger_kwargs = stored
    tried = runner.resume(task, deferred)
    assert tried.state == "failed"
    assert "relative" in str(tried.error)
    assert not Path("relative.csv").exists()
