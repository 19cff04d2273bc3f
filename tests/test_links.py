from __future__ import annotations

from datetime import UTC, datetime
from functools import partial
from itertools import count
from typing import Any

import pytest
from airflow.providers.common.compat.sdk import XCom

from airflow_reportrun import triggers
from airflow_reportrun.links import StripeRequestLink, request_xcoms, request_xcoms_of
from airflow_reportrun.operators import StripeReportDownloadOperator, StripeReportRunOperator
from airflow_reportrun.sandbox import AfterReads, AfterSeconds, AtOnce, RateLimited, RunFails, StripeSandbox
from airflow_reportrun.sensors import StripeReportRunSensor
from airflow_reportrun.tasks.results import GivenRun
from tests.task_runner import TaskRunner, in_dag
from tests.versions import AIRFLOW_2, needs_airflow_3

TYPE = "balance.summary.1"
LOGS = "https://dashboard.stripe.com/test/workbench/logs?object="


@pytest.mark.parametrize(
    ("pushed", "address"),
    [
        ({"request_id": "req_1", "livemode": True}, "workbench/logs?object=req_1"),
        ({"request_id": "req_1", "livemode": False}, "test/workbench/logs?object=req_1"),
        (
            {"request_id": "req_1", "livemode": True, "stripe_account": "acct_1"},
            "acct_1/workbench/logs?object=req_1",
        ),
        (
            {"request_id": "req_1", "livemode": False, "stripe_account": "acct_1"},
            "acct_1/test/workbench/logs?object=req_1",
        ),
        (
            {"request_id": "req_1&a=b", "livemode": True, "stripe_account": "../x"},
            "..%2Fx/workbench/logs?object=req_1%26a%3Db",
        ),
    ],
)
def test_leads_to_the_request_log(monkeypatch: pytest.MonkeyPatch, pushed: Any, address: str) -> None:
    """Of the account that the request acted as, where one was named, and of its mode."""
    monkeypatch.setattr(XCom, "get_value", lambda **which: pushed)
    link = StripeRequestLink().get_link(None, ti_key=None)  # type: ignore[arg-type]
    assert link == f"https://dashboard.stripe.com/{address}"


@pytest.mark.parametrize("pushed", [None, {"request_id": None, "livemode": False}, "req_1"])
def test_without_a_request_there_is_nothing_to_lead_to(monkeypatch: pytest.MonkeyPatch, pushed: Any) -> None:
    """The button stays away."""
    monkeypatch.setattr(XCom, "get_value", lambda **which: pushed)
    assert StripeRequestLink().get_link(None, ti_key=None) == ""  # type: ignore[arg-type]
    assert request_xcoms(None, livemode=True, stripe_account="acct_1") == {}


def test_leads_into_the_account_that_a_run_was_created_for() -> None:
    """Whatever the task that was given it acts as."""
    given = GivenRun.of({"report_run_id": "frr_1", "request_id": "req_1", "stripe_account": "acct_1"})
    assert request_xcoms_of(given)["stripe_request"]["stripe_account"] == "acct_1"


def test_the_link_is_there_before_the_wait(stripe_conn: StripeSandbox, monkeypatch: pytest.MonkeyPatch) -> None:
    """A task that waits in its worker for hours has it, and so has one whose worker dies meanwhile."""
    stripe_conn.configure(transition=AfterReads(9))
    task = in_dag(StripeReportRunOperator, report_type=TYPE, stripe_account="acct_1")
    seen: dict[str, Any] = {}

    def waits(run: Any, resume: Any) -> Any:
        seen.update(runner.xcoms)
        raise ValueError("enough")

    monkeypatch.setattr(task, "_wait", waits)
    runner = TaskRunner()
    if AIRFLOW_2:
        tried = runner.run(task)
        assert StripeRequestLink().address_of(tried.xcoms["stripe_request"]) == _address(stripe_conn)
    else:
        runner.run(task)
        assert seen["report/-1/_link_StripeRequestLink"] == _address(stripe_conn)


def _address(sandbox: StripeSandbox) -> str:
    (create,) = sandbox.requests_to("create")
    return f"https://dashboard.stripe.com/acct_1/test/workbench/logs?object={create.request_id}"


@pytest.mark.parametrize("deferrable", [False, True])
def test_the_link_stays_with_a_task_that_is_deferred_or_failed(
    stripe_conn: StripeSandbox, deferrable: bool
) -> None:
    """It leads to the request that created the run, whatever became of that."""
    stripe_conn.configure(transition=AfterReads(2) if deferrable else AtOnce())
    stripe_conn.inject(RunFails())
    tried = TaskRunner().run(in_dag(StripeReportRunOperator, report_type=TYPE, deferrable=deferrable))
    assert tried.state == ("deferred" if deferrable else "up_for_retry")
    assert _link(tried.xcoms) == LOGS + stripe_conn.requests_to("create")[0].request_id


def test_a_retry_has_the_link_of_the_request_that_created_its_run(stripe_conn: StripeSandbox) -> None:
    """Its own only found the run again."""
    runner = TaskRunner()
    task = in_dag(StripeReportRunOperator, report_type=TYPE, wait_for_completion=False)
    runner.run(task)
    tried = runner.run(task, try_number=2)
    assert _link(tried.xcoms) == LOGS + stripe_conn.requests_to("create")[0].request_id


def test_what_stripe_refused_is_linked_as_well(stripe_conn: StripeSandbox) -> None:
    """Its log shows what was wrong with it."""
    tried = TaskRunner().run(in_dag(StripeReportRunOperator, report_type=TYPE, columns=["no_such_column"]))
    assert tried.state == "failed"
    assert _link(tried.xcoms) == LOGS + stripe_conn.requests_to("create")[0].request_id


def test_a_task_without_a_report_run_has_no_link(stripe_conn: StripeSandbox) -> None:
    """Where nothing of Stripe's is known by a request."""
    tried = TaskRunner().run(
        in_dag(StripeReportDownloadOperator, report_run_id="frr_1", destination="/nowhere/x.csv")
    )
    assert not _link(tried.xcoms)


@needs_airflow_3("such line")
def test_airflow_is_not_asked_for_a_request_that_there_is_none_of(
    stripe_conn: StripeSandbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It would log an error for each process of a task that waits or fails before it submits, or has a bare id."""
    asked: list[Any] = []
    monkeypatch.setattr(XCom, "get_value", lambda **which: asked.append(which))
    monkeypatch.setattr(triggers, "FIRST_LOOK_AFTER", 0.0)
    run_operator = partial(in_dag, StripeReportRunOperator, report_type=TYPE)
    for task, state in (
        (run_operator(deferrable=True, max_pending_report_runs=1), "deferred"),
        (run_operator(interval_start="soon", interval_end="later"), "failed"),
        (in_dag(StripeReportDownloadOperator, report_run_id="frr_1", destination="/nowhere/x.csv"), "failed"),
    ):
        assert TaskRunner(dag_run={"start_date": datetime.now(UTC)}).run(task).state == state
    others = (f"manual__{number}" for number in count())
    for make in (partial(in_dag, StripeReportRunSensor), run_operator):
        for is_bare in (True, False):
            stripe_conn.configure(transition=AfterSeconds(3600))
            asks = run_operator(wait_for_completion=False)
            created = TaskRunner(run_id=next(others)).run(asks).returned  # in one run it is attached to before 3.3
            given = created["report_run_id"] if is_bare else created
            runner = TaskRunner()
            tried = runner.run(make(report_run_id=given, deferrable=True))
            assert tried.state == "deferred"
            stripe_conn.advance(3600)
            assert runner.resume(make(report_run_id=given, deferrable=True), tried).state == "success"
    assert asked == []


def test_a_run_that_another_task_created_keeps_its_link(stripe_conn: StripeSandbox, tmp_path: Any) -> None:
    """In the tasks that take it up and land it, mapped ones among them."""
    stripe_conn.configure(transition=AtOnce())
    run = TaskRunner().run(in_dag(StripeReportRunOperator, report_type=TYPE)).returned
    adopts = in_dag(StripeReportRunOperator, report_type=TYPE, report_run_id=run)
    lands = in_dag(StripeReportDownloadOperator, report_run_id=run, destination=f"{tmp_path}/x.csv")
    for task in (adopts, lands):
        for map_index in (-1, 3):
            tried = TaskRunner().run(task, map_index=map_index)
            assert tried.state == "success"
            assert _link(tried.xcoms) == LOGS + run["request_id"]


def test_a_limit_that_was_met_before_is_not_what_is_linked(stripe_conn: StripeSandbox) -> None:
    """The request that was sent again is the one that created the run."""
    stripe_conn.inject(RateLimited())
    tried = TaskRunner().run(in_dag(StripeReportRunOperator, report_type=TYPE, wait_for_completion=False))
    assert _link(tried.xcoms) == LOGS + stripe_conn.requests_to("create")[-1].request_id


def _link(xcoms: dict[str, Any]) -> str:
    """Return where the UI leads: what Airflow 3 wrote down, what Airflow 2 works out."""
    if AIRFLOW_2:
        return StripeRequestLink().address_of(xcoms.get("stripe_request"))
    return str(xcoms["_link_StripeRequestLink"])
