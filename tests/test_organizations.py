"""Keys of an organization: which account they act as is in a context, a path of accounts, with each request."""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
import stripe

from airflow_reportrun import triggers
from airflow_reportrun.hooks import StripeReportingHook
from airflow_reportrun.operators import (
    StripeReportDownloadOperator,
    StripeReportRunOperator,
    StripeReportToSqlOperator,
)
from airflow_reportrun.reporting.errors import ConfigurationError
from airflow_reportrun.sandbox import AfterReads, AtOnce, StripeSandbox
from airflow_reportrun.sensors import StripeReportRunSensor, StripeReportTypeSensor
from airflow_reportrun.submission.idempotency import Identity
from tests.task_runner import TaskRunner, in_dag
from tests.test_connection import settings

KEY = "sk_org_test_sandbox"
VERSION = "2026-10-28.endive"
TYPE = "balance_change_from_activity.itemized.3"
PATH = "acct_platform/acct_shop"


@pytest.fixture(autouse=True)
def _trigger_looks_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(triggers, "FIRST_LOOK_AFTER", 0.0)


@pytest.fixture
def sandbox(monkeypatch: pytest.MonkeyPatch) -> Iterator[StripeSandbox]:
    """A Stripe that knows an organization's key, behind a connection that has no context of its own."""
    with StripeSandbox(api_key=KEY, transition=AtOnce()) as sandbox:
        connect(monkeypatch, sandbox)
        yield sandbox


def connect(monkeypatch: pytest.MonkeyPatch, sandbox: StripeSandbox, **extra: str) -> None:
    extra = {"stripe_version": VERSION, **extra}
    connection = {"conn_type": "stripe", "host": sandbox.url, "password": sandbox.api_key, "extra": extra}
    monkeypatch.setenv("AIRFLOW_CONN_STRIPE_DEFAULT", json.dumps(connection))


def contexts(sandbox: StripeSandbox) -> set[tuple[str | None, str | None]]:
    """The context and the account's header of all requests, in which a version never lacks."""
    assert all(request.headers["stripe-version"] == VERSION for request in sandbox.requests)
    return {(request.headers.get("stripe-context"), request.account) for request in sandbox.requests}


@pytest.mark.parametrize("deferrable", [False, True])
@pytest.mark.parametrize("of_task", [False, True])
def test_every_request_of_a_task_is_made_in_its_context(
    sandbox: StripeSandbox, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, deferrable: bool, of_task: bool
) -> None:
    """The context is the connection's or the task's; polls, triggers and downloads included."""
    connect(monkeypatch, sandbox, **({} if of_task else {"stripe_context": PATH}))
    sandbox.configure(transition=AfterReads(2))
    options = {"stripe_context": PATH} if of_task else {}
    runner = TaskRunner()
    destination = f"{tmp_path}/{{stripe_account}}.csv"
    task = in_dag(
        StripeReportRunOperator,
        report_type=TYPE,
        deferrable=deferrable,
        poll_interval=0.1,
        destination=destination,
        **options,
    )
    tried = runner.run(task)
    if deferrable:
        tried = runner.resume(task, tried)
    assert tried.state == "success", tried.error
    assert contexts(sandbox) == {(PATH, "acct_shop")}
    assert tried.returned["path"] == f"{tmp_path}/acct_shop.csv"
    assert (
        json.loads((tmp_path.with_name(f"{tmp_path.name}_manifests") / "acct_shop-csv.json").read_text())[
            "stripe_account"
        ]
        == "acct_shop"
    )


def test_all_operators_and_sensors_take_a_context(
    sandbox: StripeSandbox, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """As a template, too, and mapped: each account of an organization by one connection."""
    database = {"conn_type": "sqlite", "host": str(tmp_path / "warehouse.db")}
    monkeypatch.setenv("AIRFLOW_CONN_WAREHOUSE", json.dumps(database))
    template = "{{ 'acct_platform/' }}acct_shop"
    run = in_dag(StripeReportRunOperator, report_type=TYPE, stripe_context=template)
    report_run = TaskRunner().run(run).returned
    tasks: list[tuple[type, dict[str, Any]]] = [
        (StripeReportDownloadOperator, {"report_run_id": report_run, "destination": f"{tmp_path}/x.csv"}),
        (StripeReportToSqlOperator, {"report_run_id": report_run, "table": "t", "conn_id": "warehouse"}),
        (StripeReportRunSensor, {"report_run_id": report_run["report_run_id"]}),
        (StripeReportTypeSensor, {"report_type": TYPE}),
        (StripeReportTypeSensor, {"report_type": TYPE, "mode": "reschedule"}),
    ]
    for task_class, options in tasks:
        tried = TaskRunner().run(in_dag(task_class, stripe_context=template, **options))
        assert tried.state == "success", tried.error
    assert contexts(sandbox) == {(PATH, "acct_shop")}


@pytest.mark.parametrize(
    ("extra", "task", "words"),
    [
        ({"stripe_version": VERSION}, {}, "needs stripe_context"),
        ({"stripe_context": PATH}, {}, "needs stripe_version"),
        ({"stripe_version": VERSION, "stripe_account": "acct_1"}, {}, "needs stripe_context"),
        (
            {"stripe_version": VERSION, "stripe_context": PATH},
            {"stripe_account": "acct_1"},
            "needs stripe_context",
        ),
        ({"stripe_version": VERSION, "stripe_context": PATH}, {"stripe_context": ""}, "stripe_context is empty"),
    ],
)
def test_a_key_of_an_organization_without_what_it_needs_is_refused(
    extra: dict[str, str], task: dict[str, str], words: str
) -> None:
    """Before Stripe would, and by the name of the field."""
    with pytest.raises(ConfigurationError, match=words):
        settings(extra, task=task, password=KEY)


def test_an_account_and_a_context_are_not_given_together() -> None:
    """One supersedes the other at Stripe; which one was meant is not for us to say."""
    both = {"stripe_account": "acct_1", "stripe_context": "acct_2"}
    for extra, task in ((both, {}), ({}, both)):
        with pytest.raises(ConfigurationError, match="stripe_account and stripe_context both"):
            settings(extra, task=task)


def test_what_a_task_says_of_the_account_comes_before_all_that_the_connection_says() -> None:
    """In either way of saying it, with keys for which both are possible."""
    it = settings({"stripe_account": "acct_1"}, task={"stripe_context": "acct_2/acct_3"})
    assert (it.stripe_account, it.stripe_context, it.headers().get("Stripe-Account")) == (
        "acct_3",
        "acct_2/acct_3",
        None,
    )
    it = settings({"stripe_context": "acct_2/acct_3"}, task={"stripe_account": "acct_1"})
    assert (it.stripe_account, it.stripe_context, it.headers()["Stripe-Account"]) == ("acct_1", None, "acct_1")


def test_each_context_has_a_report_run_of_its_own(sandbox: StripeSandbox) -> None:
    """Also where two paths end in the same account; a retry finds its own."""
    seen: dict[str, set[str]] = {}
    for context in ("acct_1", "acct_2", "acct_1/acct_3", "acct_2/acct_3"):
        for try_number in (1, 2):
            runner = TaskRunner(store=None)
            task = in_dag(StripeReportRunOperator, report_type=TYPE, stripe_context=context)
            tried = runner.run(task, try_number=try_number)
            seen.setdefault(context, set()).add(tried.returned["report_run_id"])
    assert [len(runs) for runs in seen.values()] == [1, 1, 1, 1]
    assert len(set.union(*seen.values())) == 4
    assert len({request.idempotency_key for request in sandbox.requests_to("create")}) == 4


def test_a_remembered_run_of_another_context_is_forgotten(sandbox: StripeSandbox) -> None:
    """Whoever mends the context and retries is given that account's figures."""
    runner = TaskRunner()
    for try_number, context in enumerate(("acct_1/acct_3", "acct_2"), 1):
        tried = runner.run(
            in_dag(StripeReportRunOperator, report_type=TYPE, stripe_context=context), try_number=try_number
        )
        assert tried.state == "success"
    assert [run.account for run in sandbox.report_runs] == ["acct_3", "acct_2"]


@pytest.mark.parametrize("account", [None, "acct_1"])
def test_keys_without_a_context_are_those_of_earlier_versions(account: str | None) -> None:
    """Otherwise an upgrade would ask for the reports of that day again."""
    it = settings({"stripe_account": account})
    assert it.acting_as == account
    identity = Identity(
        scope="",
        dag_id="dag",
        run_id="run",
        task_id="task",
        map_index=-1,
        max_tries=3,
        stripe_account=it.acting_as,
        livemode=False,
        report_type=TYPE,
        parameters={},
    )
    known = {
        None: "airflow-reportrun-50428dad71cc2376d77df342be85eea2a6fef3ab939222724ae23a3ccede5012",
        "acct_1": "airflow-reportrun-6b2c7dca87b875f2ee2f8b1554733001dd547c62c0af49d18d2f313d6e82c9e9",
    }
    assert identity.idempotency_key(1) == known[account]


def test_a_landed_report_of_an_organization_is_replaced_by_its_own(
    sandbox: StripeSandbox, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Whose key does not tell the mode: what is landed there is compared when the new report is."""
    sandbox.api_key = "sk_org_sandbox"
    connect(monkeypatch, sandbox, stripe_context="acct_1")
    for max_tries in (3, 4):
        task = in_dag(StripeReportRunOperator, report_type=TYPE, destination=f"{tmp_path}/x.csv")
        assert TaskRunner().run(task, max_tries=max_tries).state == "success"
    assert len(sandbox.report_runs) == 2


def test_the_test_button_names_what_is_missing(monkeypatch: pytest.MonkeyPatch, sandbox: StripeSandbox) -> None:
    """Where the form has a field for it."""
    assert "needs stripe_context" in StripeReportingHook().test_connection()[1]
    connect(monkeypatch, sandbox, stripe_context="acct_1")
    assert StripeReportingHook().test_connection()[0]


# The sandbox, by Stripe's own SDK


def client_of(sandbox: StripeSandbox, **options: Any) -> stripe.StripeClient:
    return stripe.StripeClient(KEY, base_addresses={"api": sandbox.url}, max_network_retries=0, **options)


def test_the_sandbox_wants_a_context_and_a_version(
    sandbox: StripeSandbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With Stripe's words for the first."""
    monkeypatch.setattr(stripe, "enable_telemetry", False)
    with pytest.raises(
        stripe.InvalidRequestError, match="Please include the Stripe-Context header with your target"
    ):
        client_of(sandbox).v1.reporting.report_types.list()
    in_context = client_of(sandbox, stripe_context="acct_1/acct_2")
    assert in_context.v1.reporting.report_types.list().data
    assert sandbox.requests[-1].account == "acct_2"
    with pytest.raises(stripe.PermissionError):
        client_of(sandbox, stripe_context="acct_1/customer_2").v1.reporting.report_types.list()
    platform = client_of(sandbox, stripe_context="acct_sandbox")
    platform.v1.reporting.report_types.list()
    assert sandbox.requests[-1].account is None


@pytest.mark.parametrize("extra", [{"stripe_context": PATH}, {"stripe_account": "acct_shop"}, {}])
def test_tasks_of_one_account_wait_together_whether_they_name_it_or_not(
    extra: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """An operator that leaves it to the connection, one that names it, and a sensor of what the first returned."""
    with StripeSandbox(transition=AfterReads(9)) as sandbox:
        connect(monkeypatch, sandbox, **extra)
        left = in_dag(StripeReportRunOperator, report_type=TYPE, deferrable=True)
        named = in_dag(StripeReportRunOperator, report_type=TYPE, deferrable=True, **extra)
        whole = in_dag(StripeReportRunOperator, report_type=TYPE, deferrable=True, max_pending_report_runs=1)
        created = in_dag(StripeReportRunOperator, report_type=TYPE, wait_for_completion=False)
        given = TaskRunner().run(created).returned
        watching = in_dag(StripeReportRunSensor, report_run_id=given, deferrable=True)
        runs = [TaskRunner(run_id=str(n), dag_run={"start_date": datetime.now(UTC)}) for n in range(4)]
        tried = [it.run(task) for it, task in zip(runs, (left, named, whole, watching), strict=True)]
        triggers = [TaskRunner().trigger(it) for it in tried]
    assert {it.state for it in tried} == {"deferred"}
    assert type(triggers[2]).__name__ == "StripePendingReportRunsTrigger"
    known = {(it.stripe_conn_id, it.stripe_account, it.stripe_context) for it in triggers}
    assert known == {("stripe_default", extra.get("stripe_account"), extra.get("stripe_context"))}
