"""A task that is given a report run looks for it where it is: in its account, and through its connection."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from airflow.providers.common.compat.sdk import DAG

from airflow_reportrun import sensors, triggers
from airflow_reportrun.operators import (
    StripeReportDownloadOperator,
    StripeReportRunOperator,
    StripeReportToSqlOperator,
)
from airflow_reportrun.sandbox import AfterReads, AtOnce, StripeSandbox
from airflow_reportrun.sensors import StripeReportRunSensor
from airflow_reportrun.tasks.results import GivenRun
from tests.task_runner import START, TaskRunner, Try, in_dag

ACCOUNTS = ["acct_berlin", "acct_oslo"]
MODES: dict[str, dict[str, Any]] = {
    "poke": {"mode": "poke"},
    "reschedule": {"mode": "reschedule"},
    "deferrable": {"deferrable": True},
}


@pytest.fixture(autouse=True)
def sandbox(stripe_conn: StripeSandbox, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> StripeSandbox:
    """Two connections to one Stripe, the second for an account of the platform, and a database."""
    stripe_conn.configure(transition=AtOnce())
    monkeypatch.setattr(triggers, "FIRST_LOOK_AFTER", 0.0)
    monkeypatch.setattr(sensors, "SHORTEST_POKE_INTERVAL", 0.0)
    connection = {"conn_type": "stripe", "host": stripe_conn.url, "password": stripe_conn.api_key}
    connection["extra"] = json.dumps({"stripe_account": "acct_lisbon"})
    monkeypatch.setenv("AIRFLOW_CONN_STRIPE_LISBON", json.dumps(connection))
    monkeypatch.setenv(
        "AIRFLOW_CONN_WAREHOUSE", json.dumps({"conn_type": "sqlite", "host": f"{tmp_path}/books.db"})
    )
    return stripe_conn


def to_its_end(task: Any, runner: TaskRunner | None = None, **how: Any) -> Try:
    runner = runner or TaskRunner()
    tried = runner.run(task, **how)
    while tried.state in ("up_for_reschedule", "deferred"):
        tried = runner.resume(task, tried, **how) if tried.state == "deferred" else runner.run(task, **how)
    return tried


def submitted(**options: Any) -> dict[str, Any]:
    """Return what the operator returned that created a run."""
    task = in_dag(StripeReportRunOperator, report_type="balance.summary.1", task_id="create", **options)
    returned: dict[str, Any] = TaskRunner().run(task).returned
    return returned


WHOSE = [
    ({"stripe_account": "acct_oslo"}, "stripe_default", "acct_oslo"),
    ({"stripe_conn_id": "stripe_lisbon"}, "stripe_lisbon", "acct_lisbon"),
    ({"stripe_conn_id": "stripe_lisbon", "stripe_account": "acct_oslo"}, "stripe_lisbon", "acct_oslo"),
]


@pytest.mark.parametrize(("options", "conn_id", "account"), WHOSE)
@pytest.mark.parametrize("deferrable", [False, True])
def test_what_a_run_returns_says_whose_it_is(
    sandbox: StripeSandbox, options: dict[str, Any], conn_id: str, account: str, deferrable: bool
) -> None:
    """In each way of waiting; the account that was acted as, wherever that was said."""
    sandbox.configure(transition=AfterReads(2))
    task = in_dag(
        StripeReportRunOperator,
        **{"report_type": "balance.summary.1", "poll_interval": 0.01, "deferrable": deferrable, **options},
    )
    returned = to_its_end(task).returned
    assert (returned["stripe_conn_id"], returned["stripe_account"]) == (conn_id, account)


@pytest.mark.parametrize(("options", "conn_id", "account"), WHOSE)
@pytest.mark.parametrize("mode", MODES)
def test_a_sensor_looks_there_and_hands_it_on(
    sandbox: StripeSandbox, options: dict[str, Any], conn_id: str, account: str, mode: str
) -> None:
    """What it was given is the whole dict of the operator, and what it returns lands."""
    sandbox.configure(transition=AfterReads(3))
    run = submitted(wait_for_completion=False, **options)
    sensor = in_dag(StripeReportRunSensor, report_run_id=run, poke_interval=0.01, **MODES[mode])
    waited = to_its_end(sensor)
    assert waited.state == "success", waited.error
    assert (waited.returned["stripe_conn_id"], waited.returned["stripe_account"]) == (conn_id, account)
    assert waited.returned["report_run_id"] == run["report_run_id"]
    assert {request.account for request in sandbox.requests} == {account}


def test_mapped_landings_take_the_runs_of_several_accounts(sandbox: StripeSandbox, tmp_path: Path) -> None:
    """What a mapped task of one DAG returned, without a word about accounts in the next ones."""
    runner = TaskRunner()
    with DAG("stripe", schedule=None, start_date=START):
        runs = StripeReportRunOperator.partial(task_id="runs", report_type="balance.summary.1").expand(
            stripe_account=ACCOUNTS
        )
    returned = [runner.run(runs, map_index=index).returned for index in range(2)]
    with DAG("stripe", schedule=None, start_date=START):
        files = StripeReportDownloadOperator.partial(
            task_id="files", destination=f"{tmp_path}/{{stripe_account}}.csv"
        ).expand(report_run_id=returned)
        tables = StripeReportToSqlOperator.partial(task_id="tables", conn_id="warehouse", table="books").expand(
            report_run_id=returned
        )
    for index, account in enumerate(ACCOUNTS):
        landed = [runner.run(task, map_index=index) for task in (files, tables)]
        assert [tried.state for tried in landed] == ["success"] * 2, [tried.error for tried in landed]
        assert [tried.returned["stripe_account"] for tried in landed] == [account] * 2
        assert (tmp_path / f"{account}.csv").exists()
    assert len(sandbox.report_runs) == 2


def test_what_a_task_says_comes_first(sandbox: StripeSandbox, tmp_path: Path) -> None:
    """The account is that of the run unless the task says another, the connection too."""
    run = submitted(stripe_account="acct_oslo")
    told: dict[str, Any] = {"report_run_id": run, "destination": f"{tmp_path}/x.csv"}
    landed = TaskRunner().run(in_dag(StripeReportDownloadOperator, **told, stripe_conn_id="stripe_lisbon"))
    assert landed.state == "success", landed.error
    assert (landed.returned["stripe_conn_id"], landed.returned["stripe_account"]) == ("stripe_lisbon", "acct_oslo")
    tried = TaskRunner().run(in_dag(StripeReportDownloadOperator, **told, stripe_account="acct_berlin"))
    assert (tried.state, sandbox.requests[-1].account) == ("failed", "acct_berlin")


def test_what_an_older_version_returned_lands(sandbox: StripeSandbox, tmp_path: Path) -> None:
    """It says nothing of connection and account, so the task's count, or its defaults."""
    for options in ({}, {"stripe_account": "acct_oslo"}, {"stripe_conn_id": "stripe_lisbon"}):
        old = {name: value for name, value in submitted(**options).items() if not name.startswith("stripe_")}
        destination = f"{tmp_path}/{old['report_run_id']}.csv"
        task = in_dag(StripeReportDownloadOperator, report_run_id=old, destination=destination, **options)
        landed = TaskRunner().run(task)
        assert landed.state == "success", landed.error


@pytest.mark.parametrize(
    "given", [{"stripe_account": 1}, {"stripe_account": ["acct_1"]}, {"stripe_conn_id": 1}, {"stripe_context": 1}]
)
def test_what_does_not_say_whose_it_is_is_refused(
    sandbox: StripeSandbox, tmp_path: Path, given: dict[str, Any]
) -> None:
    """Rather than looked for somewhere else."""
    given = {"report_run_id": "frr_1", **given}
    task = in_dag(StripeReportDownloadOperator, report_run_id=given, destination=f"{tmp_path}/x.csv")
    tried = TaskRunner().run(task)
    assert tried.state == "failed"
    assert "stripe_account and stripe_context that come with frr_1 are texts" in str(tried.error)
    assert sandbox.requests == []


@pytest.mark.parametrize(
    ("account", "named"), [(None, "in the key's own account"), ("acct_berlin", "account acct_berlin")]
)
@pytest.mark.parametrize("what", ["download", "sql", "adopt", *MODES])
def test_a_run_that_is_not_found_names_the_account(
    sandbox: StripeSandbox, tmp_path: Path, what: str, account: str | None, named: str
) -> None:
    """The usual reason is that it is another account's; each task that takes a run says where it looked."""
    run_id = submitted(stripe_account="acct_oslo")["report_run_id"]
    about = {"report_run_id": run_id, "stripe_account": account}
    task = {
        "download": lambda: in_dag(StripeReportDownloadOperator, destination=f"{tmp_path}/x.csv", **about),
        "sql": lambda: in_dag(StripeReportToSqlOperator, conn_id="warehouse", table="books", **about),
        "adopt": lambda: in_dag(StripeReportRunOperator, report_type="balance.summary.1", **about),
    }.get(what, lambda: in_dag(StripeReportRunSensor, poke_interval=0.01, **MODES[what], **about))()
    tried = to_its_end(task)
    assert tried.state == "failed"
    assert f", {named})" in str(tried.error)


def test_the_triggerer_names_it_too(sandbox: StripeSandbox) -> None:
    """The other colour has the same words."""
    sandbox.configure(transition=AfterReads(9))
    run, runner = submitted(wait_for_completion=False, stripe_account="acct_oslo"), TaskRunner()
    task = in_dag(StripeReportRunSensor, report_run_id=run, deferrable=True, poke_interval=0.01)
    deferred = runner.run(task)
    sandbox.reset()
    assert "account acct_oslo)" in str(runner.resume(task, deferred).error)


def test_an_operator_adopts_what_another_returned(sandbox: StripeSandbox) -> None:
    """As the tasks after it do."""
    run = submitted()
    task = in_dag(StripeReportRunOperator, report_type="balance.summary.1", report_run_id=run, dag_id="other")
    assert TaskRunner().run(task).returned["report_run_id"] == run["report_run_id"]
    assert len(sandbox.report_runs) == 1


def test_a_run_is_looked_for_by_the_path_that_it_was_created_by() -> None:
    """The last account of the path alone is not the way there for a key of an organization."""
    given = {"report_run_id": "frr_1", "stripe_account": "acct_oslo", "stripe_context": "acct_1/acct_oslo"}
    seen = GivenRun.of(given).hook(None, None, None)
    assert (seen.stripe_account, seen.stripe_context) == (None, "acct_1/acct_oslo")
    said = GivenRun.of(given).hook(None, "acct_berlin", None)
    assert (said.stripe_account, said.stripe_context) == ("acct_berlin", None)


def test_a_run_of_another_account_is_not_adopted(stripe_conn: StripeSandbox) -> None:
    """Rather than not found, for a reason that nobody would guess."""
    given = {"report_run_id": "frr_1", "stripe_account": "acct_oslo"}
    task = in_dag(StripeReportRunOperator, report_type="balance.summary.1", report_run_id=given)
    tried = TaskRunner().run(task)
    assert tried.state == "failed"
    assert "was created for acct_oslo, and this task acts as the account of the key" in str(tried.error)
    assert stripe_conn.requests == []
