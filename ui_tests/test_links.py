"""A task's link, its rendered options and its note in the UI of Airflow 3.3, in Chromium.

With ``WRITE_DOCS=1`` the picture of the docs is made.
"""

from __future__ import annotations

import json
import os
import threading
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
import requests

from airflow_reportrun.operators import StripeReportRunOperator
from airflow_reportrun.sandbox import StripeSandbox
from demo.airflow import Airflow

sync_api = pytest.importorskip("playwright.sync_api")

ROOT = Path(__file__).parent.parent
PICTURES = ROOT / "docs" / "pictures"
DAG_ID = "stripe_links"
DASHBOARD = "https://dashboard.stripe.com"

DAG = """
from datetime import UTC, datetime, timedelta
from pathlib import Path

from airflow.sdk import DAG

from airflow_reportrun.operators import StripeReportDownloadOperator, StripeReportRunOperator
from airflow_reportrun.sensors import StripeReportRunSensor

with DAG(
    "stripe_links",
    schedule=None,
    start_date=datetime(2026, 1, 1, tzinfo=UTC),
    default_args={"retries": 3, "retry_delay": timedelta(seconds=1)},
):
    activity = StripeReportRunOperator(
        task_id="activity",
        report_type="balance_change_from_activity.itemized.3",
        interval_start=datetime(2026, 3, 1, tzinfo=UTC),
        interval_end="{{ logical_date }}",
        columns=("balance_transaction_id", "gross", "currency"),
        parameters={"decimal_separator": "."},
        destination=Path("REPORTS/{interval_start:%Y-%m-%d}.csv"),
        deferrable=True,
    )
    StripeReportRunOperator.partial(
        task_id="accounts", report_type="balance.summary.1", interval="day", deferrable=True
    ).expand(stripe_account=["acct_berlin", "acct_oslo"])
    StripeReportRunOperator(
        task_id="refused", report_type="balance.summary.1", interval="day", columns=["no_such_column"]
    )
    wait = StripeReportRunSensor(task_id="wait", report_run_id=activity.output, deferrable=True)
    land = StripeReportDownloadOperator(
        task_id="land", report_run_id=activity.output, destination="REPORTS/{report_type}.csv.gz", format="csv.gz"
    )
"""


class Gate:
    """Keeps report runs pending until it is opened."""

    def __init__(self) -> None:
        self.opened = threading.Event()

    def is_due(self, *, reads: int, age: float) -> bool:
        """Tell whether it is open."""
        return self.opened.is_set()


@pytest.fixture(scope="module")
def gate() -> Gate:
    return Gate()


@pytest.fixture(scope="module")
def sandbox(gate: Gate) -> Iterator[StripeSandbox]:
    with StripeSandbox(transition=gate) as sandbox:
        yield sandbox


@pytest.fixture(scope="module")
def airflow(tmp_path_factory: pytest.TempPathFactory, sandbox: StripeSandbox) -> Iterator[Airflow]:
    """Airflow with a run of the DAG, in which all is submitted that waits for nothing."""
    home = tmp_path_factory.mktemp("airflow")
    dags = home / "dags"
    dags.mkdir()
    (dags / "stripe_links.py").write_text(DAG.replace("REPORTS", str(home / "reports")))
    connection = {"conn_type": "stripe", "host": sandbox.url, "password": sandbox.api_key}
    environment = {
        "AIRFLOW_CONN_STRIPE_DEFAULT": json.dumps(connection),
        # A machine that is busy with other things takes its time.
        "AIRFLOW__CORE__PARALLELISM": "2",
        "AIRFLOW__WORKERS__EXECUTION_API_TIMEOUT": "60",
        "PYTHONPATH": str(ROOT),
    }
    airflow = Airflow(home, dags, environment)
    airflow.run("db", "migrate")
    airflow.run("dags", "reserialize")
    with airflow:
        airflow.post(f"dags/{DAG_ID}/dagRuns", {"logical_date": "2026-03-02T00:00:00Z", "dag_run_id": "march"})
        until_states(airflow, activity="deferred", refused="failed", accounts="deferred")
        yield airflow


@pytest.fixture
def page(browser: Any) -> Iterator[Any]:
    page = browser.new_page(viewport={"width": 1280, "height": 560})
    page.set_default_timeout(60_000)
    yield page
    page.close()


def instances(airflow: Airflow) -> list[dict[str, Any]]:
    """Return the task instances of the run."""
    found: list[dict[str, Any]] = airflow.get(f"dags/{DAG_ID}/dagRuns/march/taskInstances")["task_instances"]
    return found


def until_states(airflow: Airflow, timeout: float = 400, **wanted: str) -> None:
    """Wait until tasks are in these states; an API that does not answer in time is asked again."""
    deadline = time.monotonic() + timeout
    states: dict[str, str | None] = {}
    while not states.items() >= wanted.items():
        assert time.monotonic() < deadline, states
        time.sleep(3)
        with suppress(requests.Timeout):
            states = {it["task_id"]: it["state"] for it in instances(airflow)}


def link_of(page: Any, airflow: Airflow, task: str) -> str | None:
    """Return where the link of a task leads, None where the UI shows none."""
    page.goto(f"{airflow.url}/dags/{DAG_ID}/runs/march/tasks/{task}/details")
    page.get_by_text("Task ID", exact=True).wait_for()
    page.wait_for_load_state("networkidle")
    link = page.get_by_role("link", name="Stripe request log")
    link = link if link.count() else page.locator("a", has_text="Stripe request log")
    found: str | None = link.get_attribute("href") if link.count() else None
    return found


def log_of(sandbox: StripeSandbox, account: str | None = None, status: int = 200) -> str:
    """Return the address of the log of an account's request that created a report run, or was refused."""
    (create,) = [it for it in sandbox.requests_to("create") if (it.account, it.status) == (account, status)]
    place = f"{account}/test" if account else "test"
    return f"{DASHBOARD}/{place}/workbench/logs?object={create.request_id}"


def test_a_task_links_its_request_while_it_is_deferred(
    page: Any, airflow: Airflow, sandbox: StripeSandbox
) -> None:
    """As soon as the report run is submitted."""
    assert link_of(page, airflow, "activity") == log_of(sandbox)
    if os.environ.get("WRITE_DOCS") == "1":
        PICTURES.mkdir(exist_ok=True)
        page.screenshot(path=PICTURES / "grid-with-link.png", animations="disabled")


def test_mapped_tasks_link_into_their_accounts(page: Any, airflow: Airflow, sandbox: StripeSandbox) -> None:
    """Each its own."""
    for index, account in enumerate(["acct_berlin", "acct_oslo"]):
        assert link_of(page, airflow, f"accounts/mapped/{index}") == log_of(sandbox, account)


def test_a_request_that_was_refused_is_linked(page: Any, airflow: Airflow, sandbox: StripeSandbox) -> None:
    """From the task that failed over it."""
    assert link_of(page, airflow, "refused") == log_of(sandbox, status=400)


def test_options_are_rendered_readably(page: Any, airflow: Airflow) -> None:
    """Instants, lists, dicts and paths as their author knows them."""
    page.goto(f"{airflow.url}/dags/{DAG_ID}/runs/march/tasks/activity/rendered_templates")
    rows = page.locator("table tr")
    for option, shown in {
        "interval_start": "2026-03-01 00:00:00+00:00",
        "interval_end": "2026-03-02 00:00:00+00:00",
        "columns": '"balance_transaction_id",',
        "parameters": '"decimal_separator": "."',
        "destination": "/reports/{interval_start:%Y-%m-%d}.csv",
    }.items():
        row = rows.filter(has=page.get_by_role("cell", name=option, exact=True))
        sync_api.expect(row).to_contain_text(shown)


@pytest.mark.parametrize("task", ["activity", "accounts"])
def test_a_task_has_a_note(page: Any, airflow: Airflow, task: str) -> None:
    """Mapped or not, what it does is said where its author said nothing."""
    page.goto(f"{airflow.url}/dags/{DAG_ID}/tasks/{task}")
    page.get_by_role("button", name="Documentation").click()
    said, _, _ = StripeReportRunOperator.note.partition("[")
    sync_api.expect(page.get_by_role("dialog")).to_contain_text(said)


def test_those_that_take_up_the_run_link_its_request(
    page: Any, airflow: Airflow, sandbox: StripeSandbox, gate: Gate
) -> None:
    """A sensor and a download, once they know of it; until then they have no link."""
    assert link_of(page, airflow, "wait") is None
    gate.opened.set()
    until_states(airflow, activity="success", wait="success", land="success")
    for task in ("activity", "wait", "land"):
        assert link_of(page, airflow, task) == log_of(sandbox)
